"""The demo: what regularisation does, on real data and with fastreg's updates. Run it by `python -m fastreg demo`.

This file and its settings need the standard library only, so that `--help` works without the demo's extra packages;
`run` imports the rest. A section of the demo is a function that takes (settings, console) and returns its figures by
file name. To add a section, add its module to SECTIONS.

    network.py      the network and its two training loops: the example to copy
    expressions.py  the same updates as NumPy expressions, and their timing
    digits.py       handwritten digits with some corrupted labels: penalties compared, strengths swept
    optimizers.py   momentum and Adam: the penalty in the gradient compared with the proximal step
    pruning.py      the group lasso removes whole units and pixels, and the smaller network computes the same
    correlated.py   correlated features: the diabetes data with every column duplicated
    streaming.py    L1 on a stream of docstrings in mini-batches, compared with scikit-learn's partial_fit
    lesson/         the lesson, sentence by sentence: an experiment a file, and a verdict on each sentence
    claims.py       claims of the textbook and of the documentation, checked on the results of the run
    report.py       the text and the tables
    figures.py      the pictures
"""

import warnings
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

PENALTIES = ("none", "l2", "l1-subgradient", "l1-proximal", "elastic-net")
SECTIONS = {  # name on the command line → module, in the order of the run
    "digits": "digits",
    "optimizers": "optimizers",
    "units": "pruning",
    "copies": "correlated",
    "stream": "streaming",
    "pull": "lesson.pull",
    "zeros": "lesson.zeros",
    "support": "lesson.support",
    "truths": "lesson.truths",
    "resampled": "lesson.bootstrap",
    "variance": "lesson.variance",
    "plane": "lesson.plane",
    "groups": "lesson.grouped",
    "counted": "lesson.counted",
    "robust": "lesson.robust",
}


@dataclass(frozen=True)
class Settings:
    """The options of the command line. The defaults show the effects clearly for every seed that was tried."""

    penalties: tuple = PENALTIES
    l1: float = 1e-3
    l2: float = 3e-3
    epochs: int = 100
    seed: int = 0
    label_noise: float = 0.2
    only: tuple = tuple(SECTIONS)
    out: Path = field(default_factory=lambda: Path("fastreg-demo"))


def run(settings):
    """Run the sections: print their results and write their pictures."""
    from threadpoolctl import threadpool_limits  # a dependency of scikit-learn

    from fastreg import NoExactZerosWarning, NoGradientWarning
    from fastreg._show.console import ReportConsole
    from fastreg._show.figures import save
    from fastreg._show.files import prepare_folder

    sections = [import_module(f"fastreg.demo.{module}") for name, module in SECTIONS.items() if name in settings.only]
    from fastreg.demo.lesson import sentences

    prepare_folder(settings.out)
    console, written = ReportConsole(), []
    # One thread: matrices of this size do not profit from more, and update times are compared.
    with threadpool_limits(1), warnings.catch_warnings():
        for category in (NoExactZerosWarning, NoGradientWarning):  # the demo shows both on purpose
            warnings.simplefilter("ignore", category)
        for part in sections:
            for name, figure in part.section(settings, console).items():
                written.append(save(figure, settings.out / name))
    if console.rows:
        console.print(sentences.summary(console.rows))
    console.finish(written)
