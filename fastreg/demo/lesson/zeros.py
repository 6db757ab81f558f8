"""Exact zeros: one regression by every mode of L1 and of L2, and the weights over the strengths."""

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
LARGEST_FALL = 0.1  # between two neighbouring strengths, as a share of the largest norm


def descend(x, y, l1, l2, mode):
    """The weights after the STEPS of gradient descent with a constant learning rate."""
    gram, moment = x.T @ x / len(x), x.T @ y / len(x)
    w, rate = np.ones(x.shape[1]), 1 / np.linalg.norm(gram, 2)
    for _ in range(STEPS):
        elastic_net_update(w, gram @ w - moment, rate, l1, l2, mode=mode)
    return w


def judge(l1, l2, path):
    """The rows, from the weights by mode, and the weights (features, strengths) of L2, the strongest first."""
    norms = np.linalg.norm(path, axis=0)
    smooth = bool(np.all(np.diff(norms) > 0) and np.max(np.diff(norms)) < LARGEST_FALL * norms[-1])
    return [
        Row(
            "l1-zeros",
            {f"mode {mode}": np.any(w == 0) for mode, w in l1.items()},
            "zeros of " + f"{FEATURES} weights: " + ", ".join(f"{mode} {np.sum(w == 0)}" for mode, w in l1.items()),
        ),
        Row(
            "l2-no-zeros",
            {f"mode {mode}": np.all(w != 0) for mode, w in l2.items()}
            | {f"{path.shape[1]} strengths from {GRID[-1]:g} to {GRID[0]:g}": smooth and np.all(path != 0)},
            f"{np.sum(path == 0)} zeros; from the weakest to the strongest the norm falls from {norms[-1]:.2f} to "
            f"{norms[0]:.3f}, by at most {np.max(np.diff(norms)):.3f} between neighbours",
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
    """Fit one regression by every mode; returns the figure."""
    rng = np.random.default_rng(settings.seed)
    design = designs.draw(rng, designs.sparse_weights(rng, 1, FEATURES, USEFUL), N, noise=NOISE)
    (x,), (y,) = design.train
    l1 = {mode: descend(x, y, STRENGTH, 0.0, mode) for mode in MODES}
    l2 = {mode: descend(x, y, 0.0, STRENGTH, mode) for mode in MODES}
    paths = {name: fits.fit(*design.train, share, GRID, steps=1000)[0] for name, share in (("L1", 1.0), ("L2", 0.0))}
    console.print(
        heading(
            "Exact zeros",
            f"A regression with {FEATURES} features, of which {USEFUL} matter, is fitted to {N} samples by "
            f"{STEPS} steps of every mode with strength {STRENGTH:g}, and at {len(GRID)} strengths. Zeros are counted "
            "exactly, without a tolerance.",
        )
    )
    table = make_table("Weights that are exactly zero", ("mode",), ("L1", "L2"))
    for mode in MODES:
        table.add_row(mode, str(np.sum(l1[mode] == 0)), str(np.sum(l2[mode] == 0)))
    console.print(table)
    print_rows(console, judge(l1, l2, paths["L2"]))
    return {"zeros.png": draw(paths)}
