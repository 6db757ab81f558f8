"""Layer 5, the picture of a path of strengths. Matplotlib is imported when it is drawn."""

import numpy as np

MOST_LINES = 50  # weights that are drawn: those that are largest somewhere


def draw(found, weights, ax=None):
    """The Axes of the mean losses of a Choice, with the number of weights; in a new figure also the Weights."""
    from matplotlib import pyplot

    lower = None
    if ax is None:
        _, (ax, lower) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 7), layout="constrained")
    alphas, means, errors = (x[found.ratio] for x in (found.alphas, found.means, found.errors))
    ax.plot(alphas, means, color="C0", marker=".", label="mean loss")
    if np.isfinite(errors).any():
        ax.fill_between(alphas, means - errors, means + errors, color="C0", alpha=0.2, label="± one standard error")
    marks = {found.least: "min"}
    if found.spared is not None:
        marks[found.spared] = "1se" if found.spared != found.least else "min and 1se"
    for s, name in marks.items():
        for panel in (ax, lower):
            if panel is not None:
                style = "-" if s == found.chosen else "--"
                panel.axvline(alphas[s], color="0.4", linestyle=style, label=f"{name}: alpha = {alphas[s]:.3g}")
    counts = ax.twinx()
    counts.plot(alphas, weights.nonzeros(), color="C1", linestyle=":", label="weights that are not zero")
    counts.set_ylabel("weights that are not zero")
    counts.set_ylim(bottom=0)
    if alphas.min() > 0:
        ax.set_xscale("log")
    else:
        ax.set_xscale("symlog", linthresh=min(alphas[alphas > 0], default=1.0))
    ax.set_ylabel("loss")
    ax.set_title(f"l1_ratio = {found.strength[1]:g}, chosen alpha = {found.strength[0]:.3g}")
    handles = [pair for panel in (ax, counts) for pair in zip(*panel.get_legend_handles_labels())]
    ax.legend(*zip(*handles), fontsize="small", loc="upper center")
    if lower is None:
        ax.set_xlabel("alpha")
    else:
        lower.plot(alphas, _largest(weights), linewidth=0.8)
        lower.axhline(0, color="0.8", linewidth=0.8)
        lower.set_xlabel("alpha")
        lower.set_ylabel("weights")
    return ax


def _largest(weights):
    """The weights that are largest somewhere on the path, (S, at most MOST_LINES)."""
    count, columns = weights.intercepts.shape
    coef = weights.coef.tocsc()
    sizes = abs(coef).max(axis=0).toarray().ravel()
    few = np.argsort(-sizes, kind="stable")[: max(1, MOST_LINES // columns)]
    return coef[:, few].toarray().reshape(count, -1)
