"""The plane of l1 and l2: the share of exact zeros and the norm of the weights for every pair of strengths.

Some of what the plane shows is a theorem: a ridge regression has no exact zeros, and more l2 never gives a larger norm.
Which of the two does more is decided by the data: from the best strength on, either is made stronger until the same
share of the explained variance is lost, and the models are compared. Equal strengths would not be comparable: l1 has
the unit of the target, l2 has none.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from fastreg._show.figures import add_caption
from fastreg._show.tables import heading
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, below, print_rows

N, FEATURES, USEFUL, NOISE, CORRELATION, SIZE = 100, 40, 8, 0.5, 0.7, 4
L1 = np.r_[0.0, np.logspace(-3, 0, 10)]
L2 = np.r_[0.0, np.logspace(-2, 2, 9)]
SAMPLES, LOST = 40, 0.25  # the share of the explained variance that is given up
FACTORS = np.logspace(0, 2, 11)[1:]  # by which l1 or l2 is made stronger
ROUNDING = 1e-9  # norms may grow by this share of the largest
SMALLER = 0.95  # a norm counts as smaller below this ratio
SMALL = 0.1  # a strength leaves something alone if it changes it by less than this share of the whole range


def fit_plane(rng):
    """The shares of zeros and the norms, of shape (l2, l1)."""
    weights = designs.sparse_weights(rng, 1, FEATURES, USEFUL)
    design = designs.draw(rng, weights, N, noise=NOISE, correlation=CORRELATION, size=SIZE)
    zeros, norms = np.empty((2, len(L2), len(L1)))
    for i, l2 in enumerate(L2):
        for j, l1 in enumerate(L1):
            total = l1 + l2
            (w,) = fits.fit(*design.train, l1 / total if total else 0.0, [total])
            zeros[i, j], norms[i, j] = np.mean(w == 0), np.linalg.norm(w)
    return zeros, norms


class Effects(NamedTuple):
    """The share of zeros and the norm of the weights of each sample, with more l1 and with more l2."""

    zeros_by_l1: np.ndarray
    zeros_by_l2: np.ndarray
    norm_by_l1: np.ndarray
    norm_by_l2: np.ndarray


def measure_effects(rng, weights, correlation):
    """The effects of more l1 and of more l2, from the best l1 = l2 on, interpolated to the loss LOST."""
    design = designs.draw(rng, weights, N, noise=NOISE, correlation=correlation, size=SIZE)
    judged = fits.squared_errors(fits.fit(*design.train, 0.5), *design.validation)
    best = np.argmin(judged.mean(axis=0))
    half, least, empty = fits.STRENGTHS[best] / 2, judged[:, best], np.mean(design.validation[1] ** 2, axis=1)
    zeros, norms = [], []
    for l1, l2 in ((FACTORS, np.ones_like(FACTORS)), (np.ones_like(FACTORS), FACTORS)):
        path = [fits.fit(*design.train, a / (a + b), [half * (a + b)]) for a, b in zip(l1, l2)]
        w = np.concatenate(path, axis=2)
        losses = fits.squared_errors(w, *design.validation) - least[:, None]
        lost = np.maximum.accumulate(losses / (empty - least)[:, None], axis=1)
        for result, values in ((zeros, np.mean(w == 0, axis=1)), (norms, np.linalg.norm(w, axis=1))):
            result.append(np.array([np.interp(LOST, *pair) for pair in zip(lost, values)]))
    return Effects(*zeros, *norms)


def measure_all(rng):
    """The effects by the kind of data."""
    truths = {
        f"{USEFUL} of {FEATURES} features matter": designs.sparse_weights(rng, SAMPLES, FEATURES, USEFUL),
        "all matter": designs.dense_weights(rng, SAMPLES, FEATURES),
    }
    kinds = {"independent": 0.0, f"correlation {CORRELATION:g}": CORRELATION}
    return {
        f"{truth}, {kind}": measure_effects(rng, weights, correlation)
        for truth, weights in truths.items()
        for kind, correlation in kinds.items()
    }


def judge(zeros, norms, effects):
    """The rows, from the planes of zeros and norms, of shape (l2, l1), and the effects by the kind of data."""
    from_l1, from_l2 = np.ptp(zeros, axis=1), np.ptp(zeros, axis=0)
    more_zeros = {name: below(e.zeros_by_l2, e.zeros_by_l1) for name, e in effects.items()}
    smaller = {name: below(e.norm_by_l2, SMALLER * e.norm_by_l1) for name, e in effects.items()}
    means = {name: [part.mean() for part in e] for name, e in effects.items()}
    return [
        Row(
            "l1-sparsity",
            {
                "more l1 gives more zeros": np.all(from_l1 > 0.5) and mostly_rising(zeros),
                "l2 leaves the zeros alone": np.all(from_l2 < SMALL),
            }
            | {f"more zeros by l1 than by l2, {name}": holds for name, holds in more_zeros.items()},
            f"at the same l1, l2 changes the zeros by up to {from_l2.max():.0%} of the weights; zeros with more l1 and "
            "with more l2: " + "; ".join(f"{name}: {m[0]:.0%}, {m[1]:.0%}" for name, m in means.items()),
            {"without l1 there are no zeros": np.all(zeros[:, 0] == 0)},
        ),
        Row(
            "l2-shrinkage",
            {f"smaller by l2 than by l1, {name}": holds for name, holds in smaller.items()},
            "norm with more l1 and with more l2: "
            + "; ".join(f"{name}: {m[2]:.2f}, {m[3]:.2f}" for name, m in means.items()),
            {"more l2 never gives a larger norm": np.all(np.diff(norms, axis=0) <= ROUNDING * norms.max())},
        ),
    ]


def mostly_rising(zeros):
    """Whether zeros increase along l1, up to steps back of 5 % of the weights: features take each other's place."""
    return bool(np.all(np.diff(zeros, axis=1) > -0.05 - 1e-9))


def draw(zeros, norms):
    """Both planes."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    titles = (zeros, "share of exact zeros", "viridis"), (norms, "norm of the weights", "cividis")
    for axes, (plane, title, colours) in zip(figure.subplots(1, 2), titles):
        image = axes.imshow(plane, origin="lower", cmap=colours, aspect="auto")
        axes.set_xticks(range(len(L1)), [f"{x:.2g}" for x in L1], rotation=60, fontsize=7)
        axes.set_yticks(range(len(L2)), [f"{x:.2g}" for x in L2], fontsize=7)
        axes.set(xlabel="l1", ylabel="l2", title=title)
        for (i, j), value in np.ndenumerate(plane):
            light = "white" if value < 0.6 * plane.max() else "black"
            axes.text(j, i, f"{value:.2g}", color=light, ha="center", va="center", fontsize=6)
        figure.colorbar(image, ax=axes, fraction=0.04)
    add_caption(
        figure,
        "Left: to the right l1 grows, upwards l2: compare how the share of zeros changes along either; the first "
        "column is without l1. Right: the norm along the same axes. If each strength did one thing only, the colours "
        "of the left picture would change to the right alone, and those of the right one upwards alone.",
    )
    return figure


def section(settings, console):
    """Fit every pair of strengths; returns the figure."""
    plane_rng, effects_rng = np.random.default_rng(settings.seed).spawn(2)
    zeros, norms = fit_plane(plane_rng)
    console.print(
        heading(
            "The plane of l1 and l2",
            f"The elastic net is fitted at {len(L1)} strengths l1 and {len(L2)} strengths l2, to {N} samples with "
            f"{FEATURES} features. Two pictures show the exact zeros and the size of the weights. Then either strength "
            f"is raised from the best l1 = l2 on, until {LOST:.0%} of the explained variance is lost, in {SAMPLES} "
            "samples of each kind.",
        )
    )
    print_rows(console, judge(zeros, norms, measure_all(effects_rng)))
    return {"plane.png": draw(zeros, norms)}
