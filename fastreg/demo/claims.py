"""Claims of the textbook and of the documentation, each checked on the results of the run.

No result is assumed here: every claim can fail. A claim is left out if the trainings that it needs were not chosen on
the command line. The textbook says of L1 in general what only some of its forms do, so that claim is checked for each
form separately.
"""

from typing import NamedTuple

import numpy as np

EQUAL = 1e-6  # weights of duplicated features are called equal below this difference, per standard deviation
ROUNDING = 1e-10  # scores of the network before and after the cut are called equal below this difference


class Claim(NamedTuple):
    """A claim, whether it holds in this run, and the numbers that show it."""

    text: str
    holds: bool
    numbers: str


def compared(results, data):
    """Claims about the comparison of penalties."""
    by_name = {r.penalty: r for r in results}
    none, l2, lasso, net = (by_name.get(p) for p in ("none", "l2", "l1-proximal", "elastic-net"))
    penalised = [r for r in results if r is not none]
    claims = []
    if none and penalised:
        claims.append(learns_noise(none, penalised, data))
    for name, form in (("l1-subgradient", "textbook rule"), ("l1-proximal", "proximal rule")):
        if name in by_name:
            r = by_name[name]
            claims.append(Claim(f"L1 sets weights exactly to zero ({form}).", r.zeros > 0, zeros_of(r)))
    if lasso:
        used = lasso.weights[0][data.nonblank].any(axis=1)
        numbers = f"{used.sum()} of the {used.size} pixels that are not always blank are used"
        claims.append(Claim("L1 selects features (proximal rule).", not used.all(), numbers))
    if none and l2:
        numbers = f"norm {l2.norm:.1f}, without a penalty {none.norm:.1f}; {zeros_of(l2)}"
        shrunk = l2.norm < none.norm and l2.zeros == 0
        claims.append(Claim("L2 shrinks the weights and sets none to zero.", shrunk, numbers))
    if lasso and net:
        numbers = f"{zeros_of(net)}; norm {net.norm:.1f}, with L1 alone {lasso.norm:.1f}"
        claims.append(Claim("Elastic net does both.", net.zeros > 0 and net.norm < lasso.norm, numbers))
    return claims


def zeros_of(result):
    """The number of exact zeros as text."""
    return f"{result.zeros:,} of {result.size:,} weights are zero"


def learns_noise(none, penalised, data):
    """Whether the network without a penalty fits more noise and classifies fewer test digits than all others.

    Without corrupted labels there is no such noise, and the claim is that a penalty has nothing to cure.
    """
    best = max(penalised, key=lambda r: r.test)
    numbers = f"test accuracy {none.test:.1%}, with {best.penalty} {best.test:.1%}"
    if len(data.corrupted) == 0:
        text = (
            "If no label is corrupted, a network without a penalty classifies as well as with the best one, within "
            "two standard errors."
        )
        variance = best.test * (1 - best.test) + none.test * (1 - none.test)
        error = float(np.sqrt(variance / len(data.y_test)))
        return Claim(
            text, none.test >= best.test - 2 * error, f"{numbers}; standard error of the difference {error:.1%}"
        )
    text = "Without a penalty on large weights a network learns the noise."
    numbers = f"{numbers}; corrupted labels reproduced: {none.noise:.1%}, with {best.penalty} {best.noise:.1%}"
    return Claim(text, all(none.noise > r.noise and none.test < r.test for r in penalised), numbers)


def swept(sweeps, fits):
    """Claims about the strengths, from the trials and how they fit, for each penalty."""
    claims = []
    for penalty, trials in sweeps.items():
        weakest, strongest = ((trials[i].loss, fits[penalty][i]) for i in (0, -1))
        best = trials[fits[penalty].index("best")].loss
        claims.append(
            Claim(
                f"The strength of {penalty} must be tuned: too small overfits, too large underfits.",
                weakest[1] == "overfits" and strongest[1] == "underfits",
                f"validation loss: smallest strength {weakest[0]:.2f} ({weakest[1]}), best {best:.2f}, "
                f"largest {strongest[0]:.2f} ({strongest[1]})",
            )
        )
    return claims


def optimizers(histories, images):
    """Claims about the optimizers: proximal and subgradient mode, and weights without a gradient in Adam's metric."""
    by_name = {(h.optimizer, h.mode): h for h in histories}
    claims = []
    for name in dict.fromkeys(h.optimizer for h in histories):
        textbook, proximal = by_name[name, "subgradient"], by_name[name, "proximal"]
        trained = int(proximal.zeros[-1, 0])
        claims.append(
            Claim(
                f"Proximal {name} gives exact zeros, the subgradient gives none.",
                trained > 0 and textbook.result.zeros == 0,
                f"proximal: {trained:,} zeros among trained weights; subgradient: {textbook.result.zeros:,} zeros "
                "among all weights",
            )
        )
        accuracy, baseline = proximal.result.test, textbook.result.test
        error = float(np.sqrt(baseline * (1 - baseline) / images))
        claims.append(
            Claim(
                f"Proximal {name} has the same test accuracy within one standard error, or a better one.",
                accuracy >= baseline - error,
                f"proximal {accuracy:.1%}, subgradient {baseline:.1%}; standard error for {images} images {error:.1%}",
            )
        )
    adam, momentum = (by_name[name, "proximal"] for name in ("Adam", "momentum"))
    without, size = adam.first_zeros[1:].sum(), adam.result.size
    claims.append(
        Claim(
            "In Adam's metric weights without a gradient become zero at the first step. This is no feature selection.",
            adam.first_zeros[1] == adam.sizes[0, 1] > momentum.first_zeros[1],
            f"after one step {without:,} of {size:,} weights are zero and have never had a gradient, "
            f"{adam.first_zeros[1]:,} of them on blank pixels; with momentum {momentum.first_zeros[1:].sum():,}",
        )
    )
    return claims


def correlated(lasso, net, cycle):
    """Claims about duplicated features, and the limit cycle."""
    claims = [
        Claim(
            "Elastic net handles correlated features: duplicated features get equal weights.",
            net.difference.max() < EQUAL,
            f"largest difference {net.difference.max():.0e}, over all starts",
        ),
        Claim(
            "L1 does not: the shares depend on the initial weights.",
            lasso.difference.min() > EQUAL,
            f"largest difference {lasso.difference.min():.1f} to {lasso.difference.max():.1f}; the sums agree with the "
            f"lasso coefficients to {lasso.error.max():.0e}",
        ),
    ]
    if cycle.weights:
        ranges = " and ".join(f"{width:.3f} for lr*l1 = {lr * lasso.l1:.3f}" for lr, width in cycle.widths.items())
        near = all(0.5 < width / (lr * lasso.l1) < 3 for lr, width in cycle.widths.items())
        claims.append(
            Claim(
                "The textbook rule never reaches zero: it ends in a limit cycle of about lr*l1 to either side.",
                cycle.zeros == 0 and near,
                f"the {cycle.weights} weights that are zero in the lasso solution were exactly zero in {cycle.zeros} "
                f"steps; they vary over {ranges}",
            )
        )
    return claims


def streaming(results, documents):
    """Claims about the stream of docstrings: mini-batches and a single call, fastreg and scikit-learn."""
    ftrl, sgd, sklearn = results
    nonzeros, size = int(ftrl.nonzeros[-1]), documents.features
    pairs = (
        (ftrl.progressive_accuracy, sklearn.progressive_accuracy, documents.y),
        (ftrl.accuracy[-1], sklearn.accuracy[-1], documents.y_test),
    )
    errors = [float(np.sqrt(b * (1 - b) / len(y))) for _, b, y in pairs]
    return [
        Claim(
            "The weights do not depend on how the stream is split into batches.",
            ftrl.differing == sgd.differing == 0,
            f"of {len(ftrl.weights):,} weights {ftrl.differing} (FTRL) and {sgd.differing} (SGD) differ in any bit "
            "between mini-batches and a single call",
        ),
        Claim(
            "L1 stays sparse on a stream of mini-batches.",
            nonzeros <= ftrl.single_nonzeros and 2 * nonzeros < size,
            f"{nonzeros:,} of the {size:,} features seen have a nonzero weight, after a single call "
            f"{ftrl.single_nonzeros:,}",
        ),
        Claim(
            "scikit-learn's SGD does not: each call of partial_fit drops the pending penalty.",
            sklearn.nonzeros[-1] > 1.5 * sklearn.single_nonzeros,
            f"{sklearn.nonzeros[-1]:,} features have a nonzero weight, after a single call "
            f"{sklearn.single_nonzeros:,}; {sklearn.differing:,} weights differ",
        ),
        Claim(
            "FTRL has fewer nonzero weights than scikit-learn's SGD and the same accuracy within two standard errors, "
            "or a better one.",
            nonzeros < sklearn.nonzeros[-1] and all(a >= b - 2 * error for (a, b, _), error in zip(pairs, errors)),
            f"progressive accuracy {ftrl.progressive_accuracy:.1%}, scikit-learn {sklearn.progressive_accuracy:.1%}; "
            f"test accuracy {ftrl.accuracy[-1]:.1%}, scikit-learn {sklearn.accuracy[-1]:.1%}; "
            f"standard errors {errors[0]:.1%} and {errors[1]:.1%}",
        ),
    ]


def pruning(pruned, data):
    """Claims about the group lasso, from a network without a penalty, one with L1 and one with the group lasso."""
    none, lasso, grouped = pruned
    pixels, images = data.nonblank & ~grouped.kept, len(data.y_test)
    units = sum(len(w) for w in grouped.result.weights[1:])
    baseline, accuracy = none.result.test, grouped.result.test
    before, after = grouped.seconds
    error = float(np.sqrt(baseline * (1 - baseline) / images))
    return [
        Claim(
            "The group lasso removes whole pixels and whole units.",
            pixels.any() and grouped.removed_units > 0,
            f"{pixels.sum()} of the {data.nonblank.sum()} pixels that are not always blank, and "
            f"{grouped.removed_units} of the {units} hidden units",
        ),
        Claim(
            "To cut them out changes the outputs by rounding only.",
            grouped.difference < ROUNDING,
            f"largest difference of the scores of {images} test images {grouped.difference:.1g}",
        ),
        Claim(
            "The smaller network has fewer multiplications, and its forward pass is faster.",
            grouped.multiplications < none.multiplications and after < before,
            f"{grouped.multiplications:,} multiplications, before {none.multiplications:,}; "
            f"{before / after:.1f} times faster",
        ),
        Claim(
            "It has the same test accuracy as the network without a penalty within one standard error, or a better "
            "one.",
            accuracy >= baseline - error,
            f"group lasso {accuracy:.1%}, no penalty {baseline:.1%}; standard error for {images} images {error:.1%}",
        ),
        Claim(
            "L1 with as many nonzero weights leaves larger matrices.",
            lasso.multiplications > grouped.multiplications,
            f"after the same cut {lasso.multiplications:,} multiplications for {lasso.nonzeros:,} nonzero weights; "
            f"group lasso {grouped.multiplications:,} for {grouped.nonzeros:,}; test accuracy {lasso.result.test:.1%}, "
            f"group lasso {accuracy:.1%}",
        ),
    ]
