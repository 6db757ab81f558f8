"""Exact zeros: regressions by every mode of L1 and of L2, and the weights over the strengths.

That a ridge regression has no exact zeros, and that its norm falls, are theorems; the run only checks them. Whether
every single weight shrinks is decided by the data: some may grow, or change their sign, while the strength grows. For
L1, the strength is chosen on validation data, so that the data decide whether it is large enough.
"""

import numpy as np
from matplotlib.figure import Figure

from fastreg import elastic_net_update
from fastreg._show.figures import BLUE, GREY, VERMILION, add_caption, style_axes
from fastreg._show.tables import heading, make_table
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, print_rows
from fastreg.reference import MODES

N, FEATURES, USEFUL, NOISE = 100, 40, 6, 0.5
STRENGTH, STEPS = 0.1, 1000
GRID = np.logspace(2, -3, 101)
SPARSE, DENSE = f"{USEFUL} of {FEATURES} features matter", f"all {FEATURES} matter alike"
SAMPLES, COARSE = 20, GRID[::4]  # where single weights are followed
KINDS = {"independent": (0.0, 1), "pairs with correlation 0.9": (0.9, 2)}  # name → correlation, group size
MOST = 0.95  # "all" weights: at least this share of them
GROWTH = 1e-3  # a weight grows if it does so by more than this share of the largest weight


def descend(design, l1, l2, mode):
    """The weights after the STEPS of gradient descent with a constant learning rate, for the first sample."""
    x, y = (part[0] for part in design.train)
    gram, moment = x.T @ x / len(x), x.T @ y / len(x)
    w, rate = np.ones(x.shape[1]), 1 / np.linalg.norm(gram, 2)
    for _ in range(STEPS):
        elastic_net_update(w, gram @ w - moment, rate, l1, l2, mode=mode)
    return w


def best_strength(design):
    """The strength of L1 on the GRID that is best on validation data."""
    return GRID[np.argmin(fits.squared_errors(fits.fit(*design.train, 1.0, GRID), *design.validation)[0])]


def shrinking(paths):
    """Which weights neither grow nor change their sign while the strength grows, of shape (samples, features).

    The paths have the shape (samples, features, strengths), the strongest first.
    """
    sizes = paths * np.sign(paths[:, :, -1:])
    growth = GROWTH * np.abs(paths).max(axis=(1, 2))[:, None]
    return (np.diff(sizes, axis=2).min(axis=2) > -growth) & (sizes.min(axis=2) > -growth)


def measure_shares(rng):
    """The share of shrinking weights among those of features that matter and among the others, by the kind of data."""
    shares = {}
    for name, (correlation, size) in KINDS.items():
        weights = designs.sparse_weights(rng, SAMPLES, FEATURES, USEFUL)
        design = designs.draw(rng, weights, N, noise=NOISE, correlation=correlation, size=size)
        shrinks = shrinking(fits.fit(*design.train, 0.0, COARSE, steps=1000))
        shares[f"features that matter, {name}"] = np.mean(shrinks[weights != 0])
        shares[f"the others, {name}"] = np.mean(shrinks[weights == 0])
    return shares


def judge(l1, l2, path, shares):
    """The rows.

    They come from the weights of L1 by data and mode, those of L2 by mode, the weights (features, strengths) of L2 at
    all strengths, the strongest first, and the shares of shrinking weights by data.
    """
    norms = np.linalg.norm(path, axis=0)
    return [
        Row(
            "l1-zeros",
            {f"mode {mode}, {data}": np.any(w == 0) for data, modes in l1.items() for mode, w in modes.items()},
            f"zeros of {FEATURES} weights at the best strength: "
            + "; ".join(
                f"{data}: " + ", ".join(f"{mode} {np.sum(w == 0)}" for mode, w in modes.items())
                for data, modes in l1.items()
            ),
        ),
        Row(
            "l2-no-zeros",
            {f"all weights shrink: {data}": share >= MOST for data, share in shares.items()},
            f"{np.sum(path == 0)} zeros; weights that neither grow nor change their sign: "
            + "; ".join(f"{data} {share:.0%}" for data, share in shares.items()),
            {
                "no zeros in any mode": all(np.all(w != 0) for w in l2.values()),
                "nor at any strength": np.all(path != 0),
                "the norm falls": np.all(np.diff(norms) > 0),
            },
        ),
    ]


def draw(paths):
    """Every weight against the strength, for L1 and for L2."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, (name, path) in zip(figure.subplots(1, 2, sharey=True), paths.items()):
        style_axes(axes)
        for w in path:
            axes.plot(GRID, np.where(w != 0, w, np.nan), color=BLUE, linewidth=0.9)
            axes.plot(GRID, np.where(w == 0, 0, np.nan), color=VERMILION, linewidth=2.5)
        axes.axhline(0, color=GREY, linewidth=0.5)
        axes.plot([], color=BLUE, label="not zero")
        axes.plot([], color=VERMILION, linewidth=2.5, label="exactly zero")
        axes.set(xscale="log", xlabel="strength", title=name)
    figure.axes[0].set_ylabel("weights")
    figure.axes[0].legend(fontsize=8)
    add_caption(
        figure,
        "With L1, weight after weight meets the zero line and stays on it (orange). With L2, all weights approach the "
        "line together and none is ever on it.",
    )
    return figure


def section(settings, console):
    """Fit regressions by every mode and at every strength; returns the figure."""
    rng = np.random.default_rng(settings.seed)
    truths = {SPARSE: designs.sparse_weights(rng, 1, FEATURES, USEFUL), DENSE: np.ones((1, FEATURES))}
    data = {name: designs.draw(rng, weights, N, noise=NOISE) for name, weights in truths.items()}
    best = {name: best_strength(design) for name, design in data.items()}
    l1 = {name: {mode: descend(design, best[name], 0.0, mode) for mode in MODES} for name, design in data.items()}
    sparse = data[SPARSE]
    l2 = {mode: descend(sparse, 0.0, STRENGTH, mode) for mode in MODES}
    paths = {name: fits.fit(*sparse.train, share, GRID, steps=1000)[0] for name, share in (("L1", 1.0), ("L2", 0.0))}
    console.print(
        heading(
            "Exact zeros",
            f"Regressions with {FEATURES} features, {N} samples: {STEPS} steps of every mode, with L1 at "
            f"the strength that is best on validation data and L2 at {STRENGTH:g}, and at {len(GRID)} strengths. Zeros "
            "are counted exactly, without a tolerance.",
        )
    )
    table = make_table("Weights that are exactly zero", ("mode",), (*(f"L1, {name}" for name in l1), "L2"))
    for mode in MODES:
        table.add_row(mode, *(str(np.sum(w[mode] == 0)) for w in (*l1.values(), l2)))
    console.print(table)
    print_rows(console, judge(l1, l2, paths["L2"], measure_shares(rng)))
    return {"zeros.png": draw(paths)}
