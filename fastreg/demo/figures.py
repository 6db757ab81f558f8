"""The pictures: matplotlib's objects without pyplot, so that no backend and no global state of the caller is touched.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; line styles and markers repeat what colours say.
A picture is written under another name and then renamed: an interrupted run leaves no half of one.
"""

import os

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
UNITS = 12


def save(figure, path):
    """Write the picture whole or not at all; returns the path."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(part, format="png", dpi=150)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def plain(axes):
    """Less ink."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def strength(sweeps, words):
    """Accuracy and sparsity against strength, one column for each penalty; over- and underfitting shaded."""
    figure = Figure(figsize=(1 + 3.7 * len(sweeps), 6.2), layout="constrained")
    grid = figure.subplots(2, len(sweeps), sharex="col", sharey="row", squeeze=False, height_ratios=(3, 2))
    for (penalty, outcomes), (above, below) in zip(sweeps.items(), grid.T):
        x = [o.l1 or o.l2 for o in outcomes]
        for name, label, style in (
            ("train", "training labels", {"color": BLUE, "marker": "o", "linestyle": "--"}),
            ("test", "test digits", {"color": GREEN, "marker": "s"}),
            ("noise", "wrong labels learned", {"color": VERMILION, "marker": "^", "linestyle": ":"}),
        ):
            above.plot(x, [getattr(o, name) for o in outcomes], label=label, markersize=4.5, **style)
        below.plot(x, [o.zeros / o.size for o in outcomes], color=BLUE, marker="o", markersize=4.5, label="exact zeros")
        first = outcomes[0].norm
        below.plot(
            x, [o.norm / first for o in outcomes], color=ORANGE, marker="D", markersize=4, linestyle="--", label="norm"
        )
        for axes in (above, below):
            plain(axes)
            axes.set(xscale="log", ylim=(-0.03, 1.03))
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            shade(axes, x, words[penalty], named=axes is above)
        above.set_title(penalty, pad=18)
        below.set_xlabel(f"strength {strength_name(outcomes[0])}")
    grid[0, 0].set_ylabel("share reproduced")
    grid[1, 0].set_ylabel("share of weights exactly zero;\nnorm relative to the weakest")
    grid[0, 0].legend(loc="center left", frameon=True, fontsize=8)
    grid[1, 0].legend(loc="center left", frameon=True, fontsize=8)
    return figure


def strength_name(o):
    """Which strength the axis shows, and what the other one does meanwhile."""
    if o.l1 == 0:
        return "l2"
    return "l1" if o.l2 == 0 else f"l1, with l2 = {o.l2 / o.l1:g}·l1"


def shade(axes, x, verdicts, *, named):
    """Grey where a strength over- or underfits, with its name on top."""
    edges = np.sqrt(np.array(x[1:]) * x[:-1])
    edges = np.concatenate([[x[0] ** 2 / edges[0]], edges, [x[-1] ** 2 / edges[-1]]])
    axes.set_xlim(edges[0], edges[-1])
    for name in ("overfits", "underfits"):
        places = [i for i, verdict in enumerate(verdicts) if verdict == name]
        for i in places:
            axes.axvspan(edges[i], edges[i + 1], color=GREY, alpha=0.13 if name == "overfits" else 0.26, linewidth=0)
        if places and named:
            middle = np.sqrt(edges[places[0]] * edges[places[-1] + 1])
            place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 8}
            axes.text(middle, 1.01, name, color="#444444", **place)


def histograms(outcomes):
    """The weights of each network, one row each on common axes; exact zeros counted beside."""
    figure = Figure(figsize=(7.5, 1 + 1.45 * len(outcomes)), layout="constrained")
    rows = figure.subplots(len(outcomes), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    limit = min(1.0, max(np.abs(o.all_weights).max() for o in outcomes)) or 1.0
    bins = np.linspace(-limit, limit, 122)  # an odd number of bins: one is centred on zero
    for axes, o in zip(rows, outcomes):
        plain(axes)
        w = o.all_weights
        axes.hist(np.clip(w[w != 0], -limit, limit), bins, color=BLUE, label="other weights")
        axes.bar(0, o.zeros, width=bins[1] - bins[0], color=VERMILION, label="exactly zero")
        axes.set(yscale="log", ylim=(0.8, 2 * o.size))
        axes.text(0.01, 0.93, o.penalty, transform=axes.transAxes, va="top", weight="bold")
        axes.text(0.99, 0.93, f"{o.zeros / o.size:.1%} exactly zero", transform=axes.transAxes, va="top", ha="right")
    rows[0].legend(loc="upper center", bbox_to_anchor=(0.5, 1.32), ncols=2, frameon=False, fontsize=9)
    rows[-1].set_xlabel(f"weight (outermost bins: {limit:.2g} and beyond)")
    figure.supylabel("number of weights", fontsize=10)
    return figure


def first_layer(outcomes):
    """What the units of the first layer with the largest norms look at: their 64 weights as an image of 8×8."""
    figure = Figure(figsize=(0.78 * UNITS + 1.9, 0.84 * len(outcomes) + 0.7), layout="constrained")
    grid = figure.subplots(len(outcomes), UNITS, squeeze=False)
    for row, o in zip(grid, outcomes):
        w = o.weights[0]
        largest = np.argsort(-np.linalg.norm(w, axis=0))[:UNITS]
        limit = np.abs(w[:, largest]).max() or 1.0
        for axes, unit in zip(row, largest):
            image = axes.imshow(w[:, unit].reshape(8, 8), cmap="PuOr", vmin=-limit, vmax=limit)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#cccccc")
        row[0].set_ylabel(o.penalty, rotation=0, ha="right", va="center", fontsize=9)
        bar = figure.colorbar(image, ax=row, fraction=0.012, pad=0.008, ticks=[-limit, 0, limit], format="%.2g")
        bar.ax.tick_params(labelsize=7)
    figure.suptitle(f"First-layer weights of the {UNITS} units with the largest norm, each as 8×8 pixels", fontsize=11)
    return figure


def optimizers(courses):
    """Test accuracy and exact zeros over the epochs, a column for each optimizer; blank pixels by themselves."""
    names = list(dict.fromkeys(c.optimizer for c in courses))
    figure = Figure(figsize=(1.5 + 4 * len(names), 6), layout="constrained")
    grid = figure.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
    styles = {"subgradient": {"color": VERMILION, "linestyle": "--"}, "proximal": {"color": BLUE, "linestyle": "-"}}
    for name, (above, below) in zip(names, grid.T):
        for c in (c for c in courses if c.optimizer == name):
            epochs, shares = np.arange(1, len(c.test) + 1), c.zeros / np.maximum(c.sizes, 1)
            style = styles[c.mode] | {"linewidth": 1.4, "marker": "." if len(epochs) < 10 else ""}
            above.plot(epochs, c.test, label=c.mode, **style)
            below.plot(epochs, shares[:, 0], label=f"{c.mode}: weights that have had a gradient", **style)
            style |= {"linestyle": ":", "linewidth": 2.5}
            below.plot(epochs, shares[:, 1], label=f"{c.mode}: weights of pixels that are always blank", **style)
        above.set_title(name)
        below.set_xlabel("epochs")
        below.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for axes in (above, below):
            plain(axes)
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    best = max(c.test.max() for c in courses)
    grid[0, 0].set(ylabel="test digits recognised", ylim=(best - 0.12, best + 0.01))  # without the first steep epochs
    grid[0, -1].legend(loc="lower right", fontsize=9)
    grid[1, 0].set(ylabel="exact zeros", ylim=(-0.02, 1.02))
    lines = below.get_legend_handles_labels()
    figure.legend(*lines, title="exact zeros", loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def twins(lasso, net):
    """The weight of every feature against its twin's, from every start."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    ends = np.stack([lasso.first, lasso.second, net.first, net.second])
    limits = ends.min() - 2, ends.max() + 2
    panels = ((f"L1 (l1 = {lasso.l1:g})", lasso), (f"elastic net (l1 = {net.l1:g}, l2 = {net.l2:g})", net))
    for axes, (name, result) in zip(figure.subplots(1, 2, sharey=True), panels):
        plain(axes)
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--", label="equal weight")
        styles = zip(((BLUE, "o"), (ORANGE, "s"), (GREEN, "D"), (VERMILION, "^")), (16, 34, 60, 130))
        for start, (w, v, ((colour, marker), size)) in enumerate(zip(result.first, result.second, styles), 1):
            # Outlines of growing size: starts that end in the same place stay visible.
            axes.scatter(w, v, s=size, marker=marker, facecolors="none", edgecolors=colour, label=f"start {start}")
        axes.set(title=name, xlabel="weight of a feature", aspect="equal", xlim=limits, ylim=limits)
    figure.axes[0].set_ylabel("weight of its twin")
    figure.suptitle("The features of the diabetes data and their twins (weights per standard deviation)", fontsize=11)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=9, frameon=False)
    return figure


def text(courses, documents):
    """Non-zero weights and accuracy along the stream; hollow, to the right, what a single call comes to."""
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    styles = ((BLUE, "o", "-"), (GREEN, "s", "-."), (VERMILION, "^", "--"))
    for c, (colour, marker, line) in zip(courses, styles):
        style = {"color": colour, "marker": marker, "markersize": 4}
        end = style | {"linestyle": "", "markersize": 8, "markerfacecolor": "none"}
        for axes, path, whole in ((above, c.kept, c.whole_kept), (below, c.accuracy, c.whole_accuracy)):
            axes.plot(c.seen, path, linestyle=line, label=f"{c.name}, in mini-batches", **style)
            axes.plot(1.04 * c.seen[-1], whole, label=f"{c.name}, in one call", **end)
    for axes in (above, below):
        plain(axes)
    above.set(ylabel="non-zero weights", ylim=(0, None))
    above.yaxis.set_major_formatter("{x:,.0f}")
    best = max(c.accuracy.max() for c in courses)
    below.set(ylabel="held-out documents told right", ylim=(best - 0.25, best + 0.01), xlabel="documents seen")
    below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.suptitle(f"Docstrings of {' and '.join(documents.packages)}, told apart with L1", fontsize=11)
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure
