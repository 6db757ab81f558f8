"""The pictures of the demo, one function each."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fastreg._show.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, add_caption, style_axes

UNITS = 12
ZERO = "#56B497"  # a colour that the maps of the weights do not have


def strength(sweeps, fits, chosen):
    """Accuracy and sparsity against strength, one column for each penalty; over- and underfitting are shaded.

    A star is the test accuracy of the chosen network, the only one that is tested.
    """
    figure = Figure(figsize=(1 + 3.7 * len(sweeps), 6.2), layout="constrained")
    grid = figure.subplots(2, len(sweeps), sharex="col", sharey="row", squeeze=False, height_ratios=(3, 2))
    for (penalty, results), (above, below) in zip(sweeps.items(), grid.T):
        x, final = [r.l1 or r.l2 for r in results], chosen[penalty]
        for name, label, style in (
            ("train", "training accuracy", {"color": BLUE, "marker": "o", "linestyle": "--"}),
            ("validation", "validation accuracy", {"color": GREEN, "marker": "s"}),
            ("noise", "corrupted labels reproduced", {"color": VERMILION, "marker": "^", "linestyle": ":"}),
        ):
            accuracies = [getattr(r, name) for r in results]
            if np.isfinite(accuracies).any():  # without corrupted labels there is no noise
                above.plot(x, accuracies, label=label, markersize=4.5, **style)
        star = {"color": ORANGE, "marker": "*", "markersize": 13, "linestyle": ""}
        above.plot([final.l1 or final.l2], [final.test], label="test accuracy, chosen", **star)
        below.plot(x, [r.zeros / r.size for r in results], color=BLUE, marker="o", markersize=4.5, label="exact zeros")
        norms = [r.norm / results[0].norm for r in results]
        below.plot(x, norms, color=ORANGE, marker="D", markersize=4, linestyle="--", label="norm")
        for axes in (above, below):
            style_axes(axes)
            axes.set(xscale="log", ylim=(-0.03, 1.03))
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            shade(axes, x, fits[penalty], named=axes is above)
        above.set_title(penalty, pad=18)
        below.set_xlabel(f"strength {strength_name(results[0])}")
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel("share of exact zeros;\nnorm relative to the first one")
    grid[0, 0].legend(loc="center left", frameon=True, fontsize=8)
    grid[1, 0].legend(loc="center left", frameon=True, fontsize=8)
    found = {fit for column in fits.values() for fit in column}
    shaded = {
        "overfits": "Light grey: too weak, better than the best on training images, and worse on validation images.",
        "underfits": "Dark grey: too strong, worse on training and on validation images.",
    }
    notes = ["Star: the strength with the lowest validation loss, tested at the end."]
    notes += [text for name, text in shaded.items() if name in found]
    if "overfits" not in found:
        notes.append("By the validation loss, no strength of this grid overfits.")
    notes.append(
        "Below: L1 and elastic net make more and more weights exactly zero; L2 shrinks them and makes none zero."
    )
    add_caption(figure, " ".join(notes))
    return figure


def strength_name(r):
    """The strength on the axis, and the other one relative to it."""
    if r.l1 == 0:
        return "l2"
    return "l1" if r.l2 == 0 else f"l1, with l2 = {r.l2 / r.l1:g}·l1"


def shade(axes, x, fits, *, named):
    """Shade the strengths that overfit or underfit; if `named`, with a label on top."""
    edges = np.sqrt(np.array(x[1:]) * x[:-1])
    edges = np.concatenate([[x[0] ** 2 / edges[0]], edges, [x[-1] ** 2 / edges[-1]]])
    axes.set_xlim(edges[0], edges[-1])
    for name in ("overfits", "underfits"):
        places = [i for i, fit in enumerate(fits) if fit == name]
        for i in places:
            axes.axvspan(edges[i], edges[i + 1], color=GREY, alpha=0.13 if name == "overfits" else 0.26, linewidth=0)
        if places and named:
            middle = np.sqrt(edges[places[0]] * edges[places[-1] + 1])
            place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 8}
            axes.text(middle, 1.01, name, color="#444444", **place)


def histograms(results):
    """Histograms of the weights, one row for each network on shared axes, with a separate bar for exact zeros."""
    figure = Figure(figsize=(7.5, 1 + 1.45 * len(results)), layout="constrained")
    rows = figure.subplots(len(results), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    limit = min(1.0, max(np.abs(r.all_weights).max() for r in results)) or 1.0
    bins = np.linspace(-limit, limit, 122)  # an odd number of bins, so that one is centred on zero
    for axes, r in zip(rows, results):
        style_axes(axes)
        w = r.all_weights
        axes.hist(np.clip(w[w != 0], -limit, limit), bins, color=BLUE, label="other weights")
        axes.bar(0, r.zeros, width=bins[1] - bins[0], color=VERMILION, label="exactly zero")
        axes.set(yscale="log", ylim=(0.8, 2 * r.size))
        axes.text(0.01, 0.93, r.penalty, transform=axes.transAxes, va="top", weight="bold")
        axes.text(0.99, 0.93, f"{r.zeros / r.size:.1%} exactly zero", transform=axes.transAxes, va="top", ha="right")
    rows[0].legend(loc="upper center", bbox_to_anchor=(0.5, 1.32), ncols=2, frameon=False, fontsize=9)
    rows[-1].set_xlabel("weight (outermost bins include all larger magnitudes)")
    figure.supylabel("number of weights", fontsize=10)
    add_caption(
        figure,
        "The orange bar counts weights that are exactly zero. Only proximal steps with L1 have it: the textbook rule "
        "and L2 move weights close to zero, but not onto it.",
    )
    return figure


def first_layer(results):
    """The weights of the first-layer units with the largest norms, each unit as an image of 8×8 pixels."""
    figure = Figure(figsize=(0.78 * UNITS + 1.9, 0.84 * len(results) + 0.7), layout="constrained")
    grid = figure.subplots(len(results), UNITS, squeeze=False)
    colours = colormaps["PuOr"].with_extremes(bad=ZERO)
    for row, r in zip(grid, results):
        w = r.weights[0]
        largest = np.argsort(-np.linalg.norm(w, axis=0))[:UNITS]
        limit = np.abs(w[:, largest]).max() or 1.0
        for axes, unit in zip(row, largest):
            weights = np.ma.masked_equal(w[:, unit], 0).reshape(8, 8)
            image = axes.imshow(weights, cmap=colours, vmin=-limit, vmax=limit)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#cccccc")
        row[0].set_ylabel(r.penalty, rotation=0, ha="right", va="center", fontsize=9)
        bar = figure.colorbar(image, ax=row, fraction=0.012, pad=0.008, ticks=[-limit, 0, limit], format="%.2g")
        bar.ax.tick_params(labelsize=7)
    figure.suptitle(f"First-layer weights of the {UNITS} units with the largest norm, each as 8×8 pixels", fontsize=11)
    add_caption(
        figure,
        "Green: exactly zero. White: nearly zero, but not zero. The textbook rule of L1 has white pixels only. "
        "Proximal L1 and the elastic net have green ones: removed pixels, and units of which all weights are removed.",
    )
    return figure


def optimizers(histories):
    """Test accuracy and exact zeros by epoch, a column for each optimizer; zeros of blank pixels separately."""
    names = list(dict.fromkeys(h.optimizer for h in histories))
    figure = Figure(figsize=(1.5 + 4 * len(names), 6), layout="constrained")
    grid = figure.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
    styles = {"subgradient": {"color": VERMILION, "linestyle": "--"}, "proximal": {"color": BLUE, "linestyle": "-"}}
    for name, (above, below) in zip(names, grid.T):
        for h in (h for h in histories if h.optimizer == name):
            epochs, shares = np.arange(1, len(h.test) + 1), h.zeros / np.maximum(h.sizes, 1)
            style = styles[h.mode] | {"linewidth": 1.4, "marker": "." if len(epochs) < 10 else ""}
            above.plot(epochs, h.test, label=h.mode, **style)
            below.plot(epochs, shares[:, 0], label=f"{h.mode}: trained weights", **style)
            style |= {"linestyle": ":", "linewidth": 2.5}
            below.plot(epochs, shares[:, 1], label=f"{h.mode}: weights of blank pixels", **style)
        above.set_title(name)
        below.set_xlabel("epochs")
        below.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for axes in (above, below):
            style_axes(axes)
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    best = max(h.test.max() for h in histories)
    grid[0, 0].set(ylabel="test accuracy", ylim=(best - 0.12, best + 0.01))  # omits the first epochs
    grid[0, -1].legend(loc="lower right", fontsize=9)
    grid[1, 0].set(ylabel="exact zeros", ylim=(-0.02, 1.02))
    lines = below.get_legend_handles_labels()
    figure.legend(*lines, title="exact zeros", loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    add_caption(
        figure,
        "Above: compare how fast the two modes learn. Below: weights that are exactly zero, which only the proximal "
        "mode (solid, dotted blue) makes. With Adam, weights of blank pixels have no gradient: see how early they go.",
    )
    return figure


def pruning(pruned, data):
    """The norms of groups before the cut: of each pixel as 8×8 pixels, of hidden units in decreasing order."""
    figure = Figure(figsize=(9, 7.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.05))
    groups = [[np.linalg.norm(w, axis=1) for w in p.result.weights] for p in pruned]
    limit = max(norms[0].max() for norms in groups) or 1.0
    colours = colormaps["viridis"].with_extremes(bad=VERMILION)
    grid = above.subplots(1, len(pruned))
    for axes, p, norms in zip(grid, pruned, groups):
        pixels = np.ma.masked_equal(norms[0], 0).reshape(8, 8)
        image = axes.imshow(pixels, cmap=colours, vmin=0, vmax=limit)
        for i in np.flatnonzero(~data.nonblank):
            axes.text(i % 8, i // 8, "×", color="white", ha="center", va="center", fontsize=9)
        axes.set(xticks=[], yticks=[], title=f"{p.name}: {p.pixels} pixels left")
    above.colorbar(image, ax=grid, fraction=0.03, pad=0.02, label="norm of a pixel's outgoing weights")
    above.supxlabel("orange: removed; ×: blank in every training image", fontsize=9)
    styles = (GREY, ":"), (ORANGE, "--"), (BLUE, "-")
    for layer, axes in enumerate(below.subplots(1, 2, width_ratios=(3, 2), sharey=True), 1):
        style_axes(axes)
        for p, norms, (colour, line) in zip(pruned, groups, styles):
            norms = np.sort(norms[layer])[::-1]
            left = np.count_nonzero(norms)
            label = f"{p.name}: {left}" + " units left" * (p is pruned[0])
            axes.plot(np.arange(1, left + 1), norms[:left], color=colour, linestyle=line, label=label)
            axes.plot(np.arange(left + 1, len(norms) + 1), norms[left:], ".", color=colour, markersize=2.5)
        axes.set(xlabel=f"units of hidden layer {layer}, sorted by norm", ylim=(-0.03 * axes.get_ylim()[1], None))
        axes.legend(fontsize=9)
    below.axes[0].set_ylabel("norm of a unit's outgoing weights\n(dots: removed)")
    add_caption(
        figure,
        "The group lasso removes whole pixels (orange squares that are not ×) and whole units (dots). L1 has as many "
        "weights left, but they lie in more pixels and more units.",
    )
    return figure


def correlated(lasso, net):
    """The weight of every feature against the weight of its copy, from every start."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    weights = np.stack([lasso.columns, lasso.copies, net.columns, net.copies])
    limits = weights.min() - 2, weights.max() + 2
    panels = ((f"L1 (l1 = {lasso.l1:g})", lasso), (f"elastic net (l1 = {net.l1:g}, l2 = {net.l2:g})", net))
    for axes, (name, result) in zip(figure.subplots(1, 2, sharey=True), panels):
        style_axes(axes)
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--", label="equal weights")
        styles = zip(((BLUE, "o"), (ORANGE, "s"), (GREEN, "D"), (VERMILION, "^")), (16, 34, 60, 130))
        for start, (w, v, ((colour, marker), size)) in enumerate(zip(result.columns, result.copies, styles), 1):
            # Outlines of increasing size, so that starts with the same result stay visible.
            axes.scatter(w, v, s=size, marker=marker, facecolors="none", edgecolors=colour, label=f"start {start}")
        axes.set(title=name, xlabel="weight of a feature", aspect="equal", xlim=limits, ylim=limits)
    figure.axes[0].set_ylabel("weight of its copy")
    figure.suptitle("Weights of the diabetes features and of their copies", fontsize=11)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=9, frameon=False)
    add_caption(
        figure,
        "Each point is a feature and its copy. With L1, points of different starts lie apart, on the same falling "
        "diagonal: only the sum of the two weights is determined. With the elastic net all starts agree on equal "
        "weights.",
    )
    return figure


def streaming(results, documents):
    """Nonzero weights and test accuracy along the stream; hollow markers at the right show the single call."""
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    styles = ((BLUE, "o", "-"), (GREEN, "s", "-."), (VERMILION, "^", "--"))
    for r, (colour, marker, line) in zip(results, styles):
        style = {"color": colour, "marker": marker, "markersize": 4}
        hollow = style | {"linestyle": "", "markersize": 8, "markerfacecolor": "none"}
        for axes, path, single in ((above, r.nonzeros, r.single_nonzeros), (below, r.accuracy, r.single_accuracy)):
            axes.plot(r.seen, path, linestyle=line, label=f"{r.name}, mini-batches", **style)
            axes.plot(1.04 * r.seen[-1], single, label=f"{r.name}, single call", **hollow)
    for axes in (above, below):
        style_axes(axes)
    above.set(ylabel="nonzero weights", ylim=(0, None))
    above.yaxis.set_major_formatter("{x:,.0f}")
    best = max(r.accuracy.max() for r in results)
    below.set(ylabel="test accuracy", ylim=(best - 0.25, best + 0.01), xlabel="documents seen")
    below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.suptitle(f"Classification of docstrings of {' and '.join(documents.packages)} with L1", fontsize=11)
    figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    add_caption(
        figure,
        "Hollow markers: after a single call with all documents. Where they continue the line of the mini-batches, the"
        " size of the batches does not matter; where they lie far below it, mini-batches lose sparsity.",
    )
    return figure
