"""The lesson's sentences, each judged by the numbers of the run: nothing here knows how the run should end.

A claim whose trainings were not chosen on the command line is left out. The lesson says of L1 in general what only some
of its forms do, so that sentence is judged for each form by itself.
"""

from typing import NamedTuple

import numpy as np

EQUAL = 1e-6  # standard deviations of a feature apart: twins that differ by less are called equal


class Claim(NamedTuple):
    """A sentence of the lesson, whether this run bears it out, and the numbers that say so."""

    text: str
    holds: bool
    numbers: str


def compared(outcomes, data):
    """Claims on the table of penalties."""
    by_name = {o.penalty: o for o in outcomes}
    none, l2, lasso, net = (by_name.get(p) for p in ("none", "l2", "l1-proximal", "elastic-net"))
    penalised = [o for o in outcomes if o is not none]
    claims = []
    if none and penalised:
        claims.append(learns_noise(none, penalised, data))
    for name, form in (("l1-subgradient", "by the textbook rule"), ("l1-proximal", "by the proximal rule")):
        if name in by_name:
            o = by_name[name]
            claims.append(
                Claim(f"L1 drives weights exactly to zero, {form}.", o.zeros > 0, f"{o.zeros:,} zeros of {o.size:,}")
            )
    if lasso:
        used = lasso.weights[0][data.inked].any(axis=1)
        numbers = f"{used.sum()} pixels used of the {used.size} that ever carry ink"
        claims.append(Claim("L1 so selects features (proximal rule).", not used.all(), numbers))
    if none and l2:
        numbers = f"norm {l2.norm:.1f} for {none.norm:.1f} without a penalty, {l2.zeros:,} zeros of {l2.size:,}"
        kept = l2.norm < none.norm and l2.zeros == 0
        claims.append(Claim("L2 shrinks the weights and keeps them all.", kept, numbers))
    if lasso and net:
        numbers = f"{net.zeros:,} zeros of {net.size:,}, norm {net.norm:.1f} for {lasso.norm:.1f} with L1 alone"
        claims.append(Claim("Elastic net does both.", net.zeros > 0 and net.norm < lasso.norm, numbers))
    return claims


def learns_noise(none, penalised, data):
    """Whether the unpenalised network learned more noise and fewer digits than any other."""
    text = "Without a penalty on large weights a network learns the noise."
    best = max(penalised, key=lambda o: o.test)
    numbers = f"test accuracy {none.test:.1%} for {best.test:.1%} with {best.penalty}"
    if len(data.wrong) == 0:
        return Claim(text, none.test < best.test, f"{numbers} (no label was made wrong)")
    numbers = f"{numbers}; wrong labels learned: {none.noise:.1%} for {best.noise:.1%}"
    return Claim(text, all(none.noise > o.noise and none.test < o.test for o in penalised), numbers)


def swept(sweeps, words):
    """Claims on the sweeps, given the outcomes and the verdicts for each penalty."""
    claims = []
    for penalty, outcomes in sweeps.items():
        verdicts = words[penalty]
        ends = [f"{outcomes[i].test:.1%} ({verdicts[i]})" for i in (0, -1)]
        best = outcomes[verdicts.index("best")]
        claims.append(
            Claim(
                f"The strength of {penalty} must be tuned: too small overfits, too large underfits.",
                verdicts[0] == "overfits" and verdicts[-1] == "underfits",
                f"test accuracy {ends[0]} at the weakest, {best.test:.1%} at the best, {ends[1]} at the strongest",
            )
        )
    return claims


def optimizers(courses, images):
    """Claims on the optimizers: proximal against subgradient, and Adam's metric where there is no gradient."""
    by_name = {(c.optimizer, c.mode): c for c in courses}
    claims = []
    for name in dict.fromkeys(c.optimizer for c in courses):
        textbook, proximal = by_name[name, "subgradient"], by_name[name, "proximal"]
        live = int(proximal.zeros[-1, 0])
        claims.append(
            Claim(
                f"Proximal {name} gives exact zeros where the subgradient gives none.",
                live > 0 and textbook.outcome.zeros == 0,
                f"{live:,} zeros on weights that have had a gradient, for {textbook.outcome.zeros:,} on all weights",
            )
        )
        ours, theirs = proximal.outcome.test, textbook.outcome.test
        error = float(np.sqrt(theirs * (1 - theirs) / images))
        claims.append(
            Claim(
                f"Proximal {name} is as accurate on the test digits, to one standard error, or better.",
                ours >= theirs - error,
                f"{ours:.1%} for {theirs:.1%}; the standard error for {images} images is {error:.1%}",
            )
        )
    adam, momentum = (by_name[name, "proximal"] for name in ("Adam", "momentum"))
    without, size = adam.at_once[1:].sum(), adam.outcome.size
    claims.append(
        Claim(
            "In Adam's metric weights without a gradient go at the first step; that is no feature selection.",
            adam.at_once[1] == adam.sizes[0, 1] > momentum.at_once[1],
            f"after one step {without:,} of {size:,} weights are zero without ever having had a gradient, "
            f"{adam.at_once[1]:,} of them on blank pixels; with momentum {momentum.at_once[1:].sum():,}",
        )
    )
    return claims


def twins(lasso, net, cycle):
    """Claims on the twins, and the limit cycle."""
    claims = [
        Claim(
            "Elastic net copes with correlated features: twins get equal weight.",
            net.apart.max() < EQUAL,
            f"at most {net.apart.max():.0e} apart, from every start",
        ),
        Claim(
            "L1 does not: it leaves the shares to the start.",
            lasso.apart.min() > EQUAL,
            f"{lasso.apart.min():.1f} to {lasso.apart.max():.1f} apart; only their sums are the lasso's "
            f"coefficients, to {lasso.error.max():.0e}",
        ),
    ]
    if cycle.weights:
        swings = " and ".join(f"{width:.3f} at lr*l1 = {lr * lasso.l1:.3f}" for lr, width in cycle.widths.items())
        near = all(0.5 < width / (lr * lasso.l1) < 3 for lr, width in cycle.widths.items())
        claims.append(
            Claim(
                "The textbook rule never reaches zero: it ends in a limit cycle, about lr*l1 to either side.",
                cycle.zeros == 0 and near,
                f"the {cycle.weights} weights that the lasso drops were exactly zero {cycle.zeros} times and swing "
                f"over {swings}",
            )
        )
    return claims


def text(courses, documents):
    """Claims on the stream of text: mini-batches against a single call, fastreg against scikit-learn."""
    ours, other, theirs = courses
    kept, size = int(ours.kept[-1]), documents.features
    pairs = ((ours.foretold, theirs.foretold, documents.y), (ours.accuracy[-1], theirs.accuracy[-1], documents.y_test))
    errors = [float(np.sqrt(b * (1 - b) / len(y))) for _, b, y in pairs]
    return [
        Claim(
            "The weights do not depend on how the stream is cut.",
            ours.differ == other.differ == 0,
            f"of {len(ours.streamed):,} weights {ours.differ} (FTRL) and {other.differ} (SGD) differ in any bit "
            "between mini-batches and a single call",
        ),
        Claim(
            "L1 stays sparse while streaming.",
            kept <= ours.whole_kept and 2 * kept < size,
            f"{kept:,} of the {size:,} features seen have a weight, {ours.whole_kept:,} after a single call",
        ),
        Claim(
            "scikit-learn's does not: each call of partial_fit forgets the penalty that is owed.",
            theirs.kept[-1] > 1.5 * theirs.whole_kept,
            f"{theirs.kept[-1]:,} features have a weight, {theirs.whole_kept:,} after a single call; "
            f"{theirs.differ:,} weights differ",
        ),
        Claim(
            "With fewer weights FTRL is as accurate as scikit-learn, to two standard errors, or better.",
            kept < theirs.kept[-1] and all(a >= b - 2 * error for (a, b, _), error in zip(pairs, errors)),
            f"foretold: {ours.foretold:.1%} for {theirs.foretold:.1%}; held out: {ours.accuracy[-1]:.1%} for "
            f"{theirs.accuracy[-1]:.1%}; standard errors {errors[0]:.1%} and {errors[1]:.1%}",
        ),
    ]
