"""The benchmark for users: fastreg and all installed peers, measured side by side. Run it by `python -m fastreg bench`.

This file needs the standard library only, so that `--help` works everywhere. JSON output needs NumPy; the table and
the picture need the extra packages of "bench".

    cases.py      what is measured: the rules as formulas
    codegen.py    these formulas translated for each peer
    c_loops.py    the same in C, compiled at run time
    contract.py   the interface of a peer
    native.py     fastreg, its reference, C loops, and the memory floors
    libraries.py  NumPy, numexpr, numba, jax, torch
    peers.py      all peers and their check; the asv suite loads them by path (see benchmarks/suite/__init__.py)
    machine.py    caches, memory, one thread
    measure.py    interleaved rounds, ratios, noise
    compare.py    the run: all measurements as plain data
    report.py     the tables and the picture
"""

import json
from dataclasses import dataclass
from pathlib import Path

RULES = ("elastic_net-proximal", "l2-subgradient", "Adam:l2-decoupled")
SIZES = (1, 1_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True)
class Settings:
    """The options of the command line. The defaults take about a minute."""

    rules: tuple = RULES
    sizes: tuple = SIZES
    dtype: str = "float64"
    peers: tuple | None = None  # all
    seconds: float = 30.0
    out: Path | None = Path("fastreg-bench")  # None: no picture
    json: bool = False


class SettingError(ValueError):
    """An unknown rule or peer."""


def run(settings):
    """Measure, then print tables and write a picture, or print JSON. Options and the folder are checked first."""
    from fastreg.bench import machine

    machine.single_thread()  # before a BLAS or a thread pool is loaded
    from fastreg.bench import compare

    compare.validate(settings)
    if settings.out:
        from fastreg._show.files import prepare_folder
        from fastreg.bench import report

        prepare_folder(settings.out)
    if settings.json:
        result = compare.run(settings, lambda description, share: None)
        write_picture(result, settings)
        print(json.dumps(result, indent=1, allow_nan=False))
        return

    from fastreg._show.console import ReportConsole
    from fastreg.bench import report

    console = ReportConsole()
    console.print(report.intro(settings))
    with console.progress(1.0) as start_task:
        result = compare.run(settings, lambda description, share: start_task(description)(share))
    for part in report.tables(result):
        console.print(part)
    console.finish(write_picture(result, settings))


def write_picture(result, settings):
    """Write the picture if the settings name a folder; returns the list of paths."""
    if not settings.out:
        return []
    from fastreg._show.figures import save
    from fastreg.bench import report

    return [save(report.picture(result), settings.out / "speed.png")]
