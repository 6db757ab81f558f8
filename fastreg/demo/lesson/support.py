"""A known support: a few features matter among many. Which does L1 find, and how many others does it take?"""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from fastreg import path
from fastreg._show.figures import BLUE, GREY, VERMILION, add_caption, style_axes
from fastreg._show.tables import heading, make_table
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, print_rows

SAMPLES, N, FEATURES, USEFUL, NOISE = 20, 100, 100, 4, 0.4
STRENGTHS = path.grid(1.0, 31)
MOST = 0.75  # "most": at least this share of the samples, or of the features
DESIGNS = {  # name → correlation, size of the groups
    "independent features": (0.0, 1),
    "correlated ones": (0.9, 5),
}


@dataclass(frozen=True)
class Found:
    """Numbers of features found, true and false, of shape (samples, strengths); the index of the best strength."""

    true: np.ndarray
    false: np.ndarray
    best: np.ndarray
    useful: int = USEFUL

    @property
    def exact(self):
        """The share of samples for which some strength finds all that matter and no others."""
        return np.mean(np.any((self.true == self.useful) & (self.false == 0), axis=1))

    def at_best(self, counts):
        """The counts at the best strength of each sample."""
        return np.take_along_axis(counts, self.best[:, None], axis=1)[:, 0]


def find(rng, correlation, size):
    """Fit L1 at all strengths, and count what it finds."""
    weights = designs.sparse_weights(rng, SAMPLES, FEATURES, USEFUL)
    design = designs.draw(rng, weights, N, noise=NOISE, correlation=correlation, size=size)
    fitted = fits.fit(*design.train, 1.0, STRENGTHS)
    nonzero, useful = fitted != 0, (design.weights != 0)[:, :, None]
    best = np.argmin(fits.squared_errors(fitted, *design.validation), axis=1)
    return Found((nonzero & useful).sum(axis=1), (nonzero & ~useful).sum(axis=1), best)


def dense_share(rng):
    """The share of nonzero weights of L1 at its best strength where all features matter."""
    design = designs.draw(rng, designs.dense_weights(rng, SAMPLES, FEATURES // 2), N, noise=NOISE)
    return fits.choose(design.train, design.validation, design.test, (1.0,)).nonzero.mean()


def judge(found, dense):
    """The rows, from what is found in each design, and the share of weights left where all features matter."""
    sparse, selects, numbers = {}, {}, []
    for name, f in found.items():
        true, false = f.at_best(f.true), f.at_best(f.false)
        share = np.mean(true + false) / FEATURES
        sparse[f"{f.useful} of {FEATURES} features matter, {name}"] = share < 0.5
        selects[f"finds all that matter: {name}, at the strength that predicts best"] = (
            np.mean(true == f.useful) >= MOST
        )
        selects[f"takes no others: {name}, at the strength that predicts best"] = np.mean(false == 0) >= MOST
        selects[f"both, at some other strength: {name}"] = f.exact >= MOST
        numbers.append(
            f"{name}: an exact strength exists in {f.exact:.0%} of the samples; the best for prediction finds "
            f"{true.mean():.1f} of {f.useful} and {false.mean():.1f} others"
        )
    sparse["all features matter"] = dense < 0.5
    first = next(iter(found.values()))
    share = np.mean(first.at_best(first.true + first.false)) / FEATURES
    return [
        Row("l1-sparse", sparse, f"{share:.0%} of the weights are left; {dense:.0%} where all features matter"),
        Row("l1-selects", selects, "; ".join(numbers)),
    ]


def draw(found):
    """The numbers of features found over the strengths."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, (name, f) in zip(figure.subplots(1, 2, sharey=True), found.items()):
        style_axes(axes)
        axes.plot(STRENGTHS, f.true.mean(axis=0), color=BLUE, label="found, of those that matter")
        axes.plot(STRENGTHS, f.false.mean(axis=0), "--", color=VERMILION, label="found, but do not matter")
        axes.axhline(f.useful, color=BLUE, linewidth=0.6, linestyle=":")
        best = np.exp(np.mean(np.log(STRENGTHS[f.best])))
        axes.axvline(best, color=GREY, linewidth=1, label="predicts best (validation)")
        axes.set(xscale="log", yscale="symlog", xlabel="strength of L1", title=name)
    figure.axes[0].set_ylabel(f"features (mean of {SAMPLES} samples)")
    figure.axes[0].legend(fontsize=8)
    add_caption(
        figure,
        "Dotted: the number of features that matter. Where the blue line reaches it while the orange line is near "
        "zero, L1 selects the right features. The grey strength predicts best: look whether it takes others as well. "
        "To predict well and to select exactly are two aims.",
    )
    return figure


def section(settings, console):
    """Count true and false features over the strengths; returns the figure."""
    rng = np.random.default_rng(settings.seed)
    found = {name: find(rng, *options) for name, options in DESIGNS.items()}
    console.print(
        heading(
            "A known support",
            f"{USEFUL} of {FEATURES} features determine the target of {N} samples. L1 is fitted at {len(STRENGTHS)} "
            f"strengths to {SAMPLES} such sets, and the features with a nonzero weight are compared with the truth.",
        )
    )
    table = make_table("At the strength that predicts the validation data best", ("features",), ("true", "false"))
    for name, f in found.items():
        table.add_row(name, f"{f.at_best(f.true).mean():.1f}", f"{f.at_best(f.false).mean():.1f}")
    console.print(table)
    print_rows(console, judge(found, dense_share(rng)))
    return {"support.png": draw(found)}
