"""The sentences of the lesson, and the verdict on each: an experiment tries a sentence in several cases.

A sentence holds if it holds in every case. It does not hold if it holds in none. Otherwise it holds under conditions,
and the row names the cases on either side. Cases compare means over many samples, and a difference counts only if zero
lies outside its 95 % interval, or if its ratio passes a margin that stands in the experiment.

What algebra settles is no case, because no data could refute the sentence there. A row names such theorems apart: the
run only checks them, and one that fails shows an error in the implementation.
"""

from dataclasses import dataclass, field

import numpy as np
from rich.text import Text
from scipy.stats import t as student

from fastreg._show.tables import make_table

HOLDS, CONDITIONS, REFUTED = "holds", "holds under conditions", "does not hold"
FAULT = "error in the implementation"
STYLES = {HOLDS: "bold green", CONDITIONS: "bold cyan", REFUTED: "bold yellow", FAULT: "bold red"}

SENTENCES = {  # name → sentence, in the order of the lesson
    "l1-constant": "The pull of L1 is the same for weights of every size.",
    "l2-proportional": "The pull of L2 is proportional to the weight.",
    "l1-zeros": "L1 drives weights exactly to zero.",
    "l2-no-zeros": "L2 shrinks weights smoothly and never makes them zero.",
    "l1-sparse": "L1 gives sparse models.",
    "l1-selects": "L1 selects features: it finds those that matter, and no others.",
    "l1-irrelevant": "L1 is best where many features are irrelevant.",
    "l2-dense": "L2 is best where most features contribute a little.",
    "l2-stable": "L2 learns stably: its weights vary less from sample to sample than those of L1.",
    "l2-spreads": "L2 spreads importance over related features.",
    "l1-unstable": "L1 is unstable under correlation.",
    "l1-drops": "L1 may drop useful features.",
    "too-small": "Too small a strength overfits.",
    "too-large": "Too large a strength underfits.",
    "balance": "The best strength balances bias and variance.",
    "l1-sparsity": "In the elastic net, l1 sets the sparsity.",
    "l2-shrinkage": "In the elastic net, l2 sets the shrinkage.",
    "net-sparse-stable": "The elastic net is sparse, yet stable.",
    "net-correlated": "The elastic net is better on correlated features than L1 alone and L2 alone.",
    "net-generalises": "The elastic net generalises better than L1 alone and L2 alone.",
    "net-both-poor": "The elastic net does well where L1 alone and L2 alone do poorly.",
    "net-often-best": "Combining the two often gives the best performance.",
    "simple-generalises": "Simpler models, with smaller or fewer weights, generalise better.",
    "simple-robust": "Simpler models are more robust to noise in their inputs.",
}


@dataclass(frozen=True)
class Row:
    """A sentence by name, whether it holds in each case (by name), and the numbers that show it.

    `theorems` says of each theorem, by name, whether the run agrees with it.
    """

    name: str
    cases: dict
    numbers: str
    theorems: dict = field(default_factory=dict)

    @property
    def verdict(self):
        """One of HOLDS, CONDITIONS and REFUTED, from the cases; FAULT if a theorem fails."""
        if not self.cases:
            raise ValueError(f"cases: expected at least one for {self.name!r}, got none")
        if not all(self.theorems.values()):
            return FAULT
        held = [bool(holds) for holds in self.cases.values()]
        return HOLDS if all(held) else CONDITIONS if any(held) else REFUTED

    @property
    def conditions(self):
        """The cases by name: those in which the sentence holds, and those in which it does not; then the theorems."""
        for_it, against = named(self.cases, True), named(self.cases, False)
        if not against:
            text = f"in every case: {for_it}"
        else:
            text = f"yes: {for_it}. no: {against}" if for_it else f"in no case: {against}"
        checked, failed = named(self.theorems, True), named(self.theorems, False)
        return text + (f". theorems, checked: {checked}" if checked else "") + (f". fails: {failed}" if failed else "")


def named(cases, wanted):
    """The names of the cases with the wanted outcome."""
    return "; ".join(name for name, holds in cases.items() if bool(holds) == wanted)


def below(a, b, *, test_ratio=0.0):
    """Whether a is smaller than b: the 95 % interval of the mean of the paired differences lies below zero.

    Random splits of the same data share samples, so that their differences are correlated. `test_ratio`, the number of
    test samples divided by that of the others, corrects the variance for it (Nadeau & Bengio, "Inference for the
    generalization error", 2003). It is 0 for independent samples.
    """
    difference = np.asarray(a) - np.asarray(b)
    n = len(difference)
    error = difference.std(ddof=1) * np.sqrt(1 / n + test_ratio)
    return bool(difference.mean() < -student.ppf(0.975, n - 1) * error)


def print_rows(console, rows):
    """Print the verdicts of an experiment, and keep them for the last table."""
    console.rows.extend(rows)
    table = make_table("Sentences of the lesson, tried on this data")
    table.add_column("sentence", ratio=3)
    table.add_column("verdict", ratio=2)
    table.add_column("measured", ratio=4)
    for row in rows:
        table.add_row(SENTENCES[row.name], Text(row.verdict, STYLES[row.verdict]), row.numbers)
    console.print(table)


def summary(rows):
    """The table of all sentences that were tried, in the order of the lesson."""
    by_name = {row.name: row for row in rows}
    table = make_table("The whole lesson")
    table.add_column("sentence", ratio=3)
    table.add_column("verdict", ratio=2)
    table.add_column("in which cases", ratio=4)
    for name, sentence in SENTENCES.items():
        if name in by_name:
            row = by_name[name]
            table.add_row(sentence, Text(row.verdict, STYLES[row.verdict]), row.conditions)
    return table
