"""The same size of data with a sparse and with a dense truth: L1, L2 and elastic net, each at its own best strength."""

from functools import lru_cache

import numpy as np
from matplotlib.figure import Figure

from fastreg._show.figures import BLUE, GREEN, ORANGE, add_caption, style_axes
from fastreg._show.tables import heading, make_table
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, below, print_rows

SAMPLES, N, FEATURES, USEFUL, NOISE = 40, 50, 50, 3, 0.5
COLOURS = dict(zip(fits.SHARES, (BLUE, GREEN, ORANGE)))


@lru_cache(maxsize=1)
def fit_both(seed):
    """The chosen models of each penalty, for each truth."""
    rng = np.random.default_rng(seed)
    truths = {
        f"{USEFUL} of {FEATURES} features matter": designs.sparse_weights(rng, SAMPLES, FEATURES, USEFUL),
        f"all {FEATURES} features matter a little": designs.dense_weights(rng, SAMPLES, FEATURES),
    }
    chosen = {}
    for name, weights in truths.items():
        design = designs.draw(rng, weights, N, noise=NOISE)
        chosen[name] = fits.choose_each(design.train, design.validation, design.test)
    return chosen


def judge(sparse, dense):
    """The rows, from the test errors by penalty."""
    rows = []
    for name, penalty, errors in (("l1-irrelevant", "L1", sparse), ("l2-dense", "L2", dense)):
        others = [other for other in errors if other != penalty]
        cases = {f"against {other}": below(errors[penalty], errors[other]) for other in others}
        numbers = ", ".join(f"{other} {e.mean():.3f}" for other, e in errors.items())
        rows.append(Row(name, cases, f"mean squared error on test data: {numbers} (noise alone {NOISE**2:g})"))
    return rows


def draw(chosen):
    """The test errors of every sample."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, (name, models) in zip(figure.subplots(1, 2, sharey=True), chosen.items()):
        style_axes(axes)
        parts = axes.boxplot([m.errors for m in models.values()], patch_artist=True, widths=0.6, showfliers=False)
        for box, colour in zip(parts["boxes"], COLOURS.values()):
            box.set(facecolor=colour, alpha=0.6)
        axes.set_xticks(range(1, 1 + len(models)), models)
        axes.axhline(NOISE**2, color="black", linewidth=0.8, linestyle=":", label="noise alone")
        axes.set_title(name)
    figure.axes[0].set_ylabel("squared error on test data")
    figure.axes[0].legend(fontsize=8)
    add_caption(
        figure,
        f"Test errors of {SAMPLES} samples; lower is better. Left few features matter, right all matter a little: "
        "compare in each panel which of L1 and L2 is lower, and how near the elastic net is to the better one.",
    )
    return figure


def section(settings, console):
    """Fit both truths; returns the figure."""
    chosen = fit_both(settings.seed)
    console.print(
        heading(
            "Sparse and dense truths",
            f"{N} samples with {FEATURES} features, drawn {SAMPLES} times from a sparse and from a dense truth. Every "
            f"penalty gets its own best strength on {N} validation samples, and is judged on test data.",
        )
    )
    table = make_table("Mean squared error on test data", ("truth",), tuple(fits.SHARES))
    for name, models in chosen.items():
        table.add_row(name, *(f"{m.errors.mean():.3f}" for m in models.values()))
    console.print(table)
    errors = [{name: m.errors for name, m in models.items()} for models in chosen.values()]
    print_rows(console, judge(*errors))
    return {"truths.png": draw(chosen)}
