"""The demo: what regularisation does, shown on real data with fastreg's updates; `python -m fastreg demo`.

This file and its settings need nothing beyond the standard library, so that the command line can explain itself without
the demo's extra packages; `run` imports the rest. A section of the demo is a function that takes (settings, screen) and
returns the figures it wants written, by file name; a new one is a row of `run`'s list.

    network.py      the network and its two training loops: the example to copy
    expressions.py  the same updates as NumPy expressions, and the clock
    digits.py       penalties compared, strengths swept: handwritten digits with some labels made wrong
    optimizers.py   momentum and Adam, the penalty in the gradient against the proximal step
    twins.py        correlated features: the diabetes data with every column twice
    text.py         L1 on a stream of text: docstrings in mini-batches, against scikit-learn's partial_fit
    claims.py       the lesson's sentences, judged by the numbers of the run
    report.py       headings, tables, progress
    figures.py      the pictures
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

PENALTIES = ("none", "l2", "l1-subgradient", "l1-proximal", "elastic-net")


@dataclass(frozen=True)
class Settings:
    """What the command line can change; the defaults show the lesson clearly for every seed that was tried."""

    penalties: tuple = PENALTIES
    l1: float = 1e-3
    l2: float = 3e-3
    epochs: int = 100
    seed: int = 0
    label_noise: float = 0.2
    out: Path = field(default_factory=lambda: Path("fastreg-demo"))


class CannotWriteError(Exception):
    """The folder for the pictures cannot be made or written to."""


def prepare(out):
    """Make the folder for the pictures and see that it can be written to: trouble comes before the work, not after."""
    probe = out / f".fastreg-{os.getpid()}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotWriteError(f"cannot write to {str(out)!r}: {error.strerror}") from error


def run(settings):
    """Run every section, print what it found and write its pictures."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    from fastreg.demo import digits, figures, optimizers, report, text, twins

    prepare(settings.out)
    screen, written = report.Screen(), []
    with threadpool_limits(1):  # matrices this small gain nothing from two, and times are compared
        for section in (digits.section, optimizers.section, twins.section, text.section):
            for name, figure in section(settings, screen).items():
                written.append(figures.save(figure, settings.out / name))
    screen.finish(written)
