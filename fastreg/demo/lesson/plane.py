"""The plane of l1 and l2: the share of exact zeros and the norm of the weights for every pair of strengths."""

import numpy as np
from matplotlib.figure import Figure

from fastreg._show.figures import add_caption
from fastreg._show.tables import heading
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, print_rows

N, FEATURES, USEFUL, NOISE, CORRELATION, SIZE = 100, 40, 8, 0.5, 0.7, 4
L1 = np.r_[0.0, np.logspace(-3, 0, 10)]
L2 = np.r_[0.0, np.logspace(-2, 2, 9)]
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


def judge(zeros, norms):
    """The rows, from the planes of zeros and norms, of shape (l2, l1)."""
    from_l1, from_l2 = np.ptp(zeros, axis=1), np.ptp(zeros, axis=0)
    shrunk_by_l2, shrunk_by_l1 = np.ptp(norms, axis=0)[0], np.ptp(norms, axis=1)[0]
    largest = norms.max()
    return [
        Row(
            "l1-sparsity",
            {
                "more l1 gives more zeros": np.all(from_l1 > 0.5) and mostly_rising(zeros),
                "without l1 there are none": np.all(zeros[:, 0] == 0),
                "l2 leaves the zeros alone": np.all(from_l2 < SMALL),
            },
            f"zeros from {zeros[:, 0].max():.0%} to {zeros[:, -1].max():.0%} along l1; at the same l1, l2 changes them "
            f"by up to {from_l2.max():.0%} of the weights",
        ),
        Row(
            "l2-shrinkage",
            {
                "more l2 gives smaller weights": np.all(np.diff(norms[:, :-1], axis=0) <= 1e-9 * largest),
                "l1 leaves their size alone": shrunk_by_l1 < SMALL * largest,
            },
            f"without l1, l2 reduces the norm from {norms[0, 0]:.2f} by {shrunk_by_l2:.2f}; without l2, l1 reduces it "
            f"by {shrunk_by_l1:.2f}",
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
    zeros, norms = fit_plane(np.random.default_rng(settings.seed))
    console.print(
        heading(
            "The plane of l1 and l2",
            f"The elastic net is fitted at {len(L1)} strengths l1 and {len(L2)} strengths l2, to {N} samples with "
            f"{FEATURES} features. Two pictures show the exact zeros and the size of the weights.",
        )
    )
    print_rows(console, judge(zeros, norms))
    return {"plane.png": draw(zeros, norms)}
