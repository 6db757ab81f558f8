"""The benchmark that a user runs: fastreg and every peer that is installed, side by side; `python -m fastreg bench`.

This file needs nothing beyond the standard library, so that the command line can explain itself. JSON needs NumPy
alone; the table and the picture need the extra packages of "bench".

    cases.py      what is measured: the rules, as formulas
    texts.py      these formulas in the languages of the peers
    loops.py      the same in C, compiled at run time
    contract.py   what a peer is
    native.py     fastreg, its reference, C, and the floors
    libraries.py  NumPy, numexpr, numba, jax, torch
    peers.py      all of them, checked; the asv suite takes them from here, by path (see benchmarks/suite/__init__.py)
    machine.py    caches, memory, one thread
    measure.py    rounds, ratios, noise
    compare.py    the run: what is measured at which size, as plain data
    report.py     the table and the picture
"""

import json
from dataclasses import dataclass
from pathlib import Path

RULES = ("elastic_net-proximal", "l2-subgradient", "Adam:l2-decoupled")
SIZES = (1, 1_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True)
class Settings:
    """What the command line can change; the defaults take about a minute."""

    rules: tuple = RULES
    sizes: tuple = SIZES
    dtype: str = "float64"
    peers: tuple | None = None  # all
    seconds: float = 30.0
    out: Path | None = Path("fastreg-bench")  # None: no picture
    json: bool = False


class SettingError(ValueError):
    """A rule or a peer that does not exist."""


def run(settings):
    """Measure, then print a table and write a picture, or print JSON; what can fail comes first."""
    from fastreg.bench import machine

    machine.single_thread()  # before anything loads a BLAS or a pool of threads
    from fastreg.bench import compare

    compare.validate(settings)
    if settings.out:
        from fastreg.bench import report
        from fastreg.demo import prepare

        prepare(settings.out)
    if settings.json:
        result = compare.run(settings, lambda *now: None)
        draw(result, settings)
        print(json.dumps(result, indent=1, allow_nan=False))
        return

    from fastreg.bench import report
    from fastreg.demo.report import Screen

    screen = Screen()
    screen.print(report.intro(settings))
    with screen.progress(1.0) as under_way:
        result = compare.run(settings, lambda what, share: under_way(what)(share))
    for part in report.tables(result):
        screen.print(part)
    screen.finish(draw(result, settings))


def draw(result, settings):
    """Write the picture where one is wanted; the list of its paths."""
    if not settings.out:
        return []
    from fastreg.bench import report
    from fastreg.demo.figures import save

    return [save(report.picture(result), settings.out / "speed.png")]
