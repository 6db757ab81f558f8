"""Bias and variance over the strengths, measured over repeated samples of one truth."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from fastreg._show.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, add_caption, style_axes
from fastreg._show.tables import heading, make_table
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, print_rows

SAMPLES, N, FEATURES, NOISE, TESTS = 60, 40, 25, 1.0, 200
SHARES = {"L1": 1.0, "L2": 0.0, "elastic net": 0.5}
MARGIN = 1.1  # an error counts as higher from this ratio on
TOLERANCE = (
    0.02  # bias and variance count as monotone if steps in the other direction are below this share of the range
)


@dataclass(frozen=True)
class Decomposition:
    """Squared bias, variance and training error at each strength, the weakest first."""

    strengths: np.ndarray
    bias: np.ndarray
    variance: np.ndarray
    train: np.ndarray

    @property
    def error(self):
        """The mean squared error against the noiseless target: squared bias plus variance."""
        return self.bias + self.variance

    @property
    def best(self):
        """The index of the smallest sum."""
        return int(np.argmin(self.error))

    @property
    def overfits(self):
        """Whether the weakest strength has a larger error than the best, but a smaller one on its training data."""
        return bool(self.error[0] > MARGIN * self.error[self.best] and self.train[0] < self.train[self.best])

    @property
    def underfits(self):
        """Whether the largest strength has larger errors than the best, on its training data, too."""
        return bool(self.error[-1] > MARGIN * self.error[self.best] and self.train[-1] > self.train[self.best])

    @property
    def balances(self):
        """Whether bias rises and variance falls with the strength, and the smallest sum lies inside."""
        rises, falls = rising(self.bias), rising(-self.variance)
        return bool(rises and falls and 0 < self.best < len(self.strengths) - 1)


def rising(values):
    """Whether the values rise, up to steps back of less than the TOLERANCE."""
    return bool(np.ptp(values) > 0 and np.min(np.diff(values)) > -TOLERANCE * np.ptp(values))


def decompose(rng, share, noise):
    """Fit repeated samples of one truth at all strengths."""
    weights = designs.dense_weights(rng, 1, FEATURES)
    weights /= np.linalg.norm(weights)
    x, tests = rng.standard_normal((SAMPLES, N, FEATURES)), rng.standard_normal((TESTS, FEATURES))
    y = (x @ weights[0]) + noise * rng.standard_normal((SAMPLES, N))
    path = fits.fit(x, y, share)[:, :, ::-1]
    predictions, truth = tests @ path, tests @ weights[0]
    bias = np.mean((predictions.mean(axis=0) - truth[:, None]) ** 2, axis=0)
    variance = np.mean(predictions.var(axis=0), axis=0)
    return Decomposition(fits.STRENGTHS[::-1], bias, variance, fits.squared_errors(path, x, y).mean(axis=0))


def judge(noisy, noiseless):
    """The rows, from the decompositions by penalty with noise, and from one without noise in the target."""
    small = {name: d.overfits for name, d in noisy.items()} | {"L2, no noise in the target": noiseless.overfits}
    large = {name: d.underfits for name, d in noisy.items()} | {"L2, no noise in the target": noiseless.underfits}
    first = next(iter(noisy.values()))
    return [
        Row(
            "too-small",
            small,
            f"L1: smallest strength: error {first.error[0]:.3f}, training error {first.train[0]:.3f}; best: "
            f"{first.error[first.best]:.3f} and {first.train[first.best]:.3f}. Without noise in the target, and with "
            f"more samples than features, there is nothing to overfit: smallest {noiseless.error[0]:.1g}, best "
            f"{noiseless.error[noiseless.best]:.1g}",
        ),
        Row(
            "too-large",
            large,
            f"L1: largest strength: error {first.error[-1]:.3f}, training error {first.train[-1]:.3f}",
        ),
        Row(
            "balance",
            {name: d.balances for name, d in noisy.items()},
            "squared bias and variance at the best strength: "
            + ", ".join(f"{name} {d.bias[d.best]:.2f} and {d.variance[d.best]:.2f}" for name, d in noisy.items()),
        ),
    ]


def draw(noisy):
    """Bias, variance and their sum over the strengths."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (name, d) in zip(figure.subplots(1, len(noisy), sharey=True), noisy.items()):
        style_axes(axes)
        axes.plot(d.strengths, d.bias, "--", color=BLUE, label="squared bias")
        axes.plot(d.strengths, d.variance, ":", color=VERMILION, label="variance")
        axes.plot(d.strengths, d.error, color=GREEN, label="sum")
        axes.plot(
            d.strengths[d.best], d.error[d.best], "o", color=ORANGE, label=f"minimum at {d.strengths[d.best]:.2g}"
        )
        axes.plot(d.strengths, d.train, color=GREY, linewidth=0.8, label="training error")
        axes.set(xscale="log", xlabel="strength", title=name)
        axes.legend(fontsize=7)
    figure.axes[0].set_ylabel("squared error")
    add_caption(
        figure,
        "From left to right the penalty gets stronger. Look how variance and bias change with it, where their sum is "
        "smallest (dot), and where the training error (grey) is: it does not show the best strength.",
    )
    return figure


def section(settings, console):
    """Measure bias and variance; returns the figure."""
    rngs = np.random.default_rng(settings.seed).spawn(2)
    seeds = rngs[0].integers(2**32)
    noisy = {name: decompose(np.random.default_rng(seeds), share, NOISE) for name, share in SHARES.items()}
    noiseless = decompose(rngs[1], SHARES["L2"], 0.0)
    console.print(
        heading(
            "Bias and variance",
            f"{SAMPLES} samples of {N} rows come from one truth with {FEATURES} features. At each strength, bias is "
            "the error of the mean prediction, variance is the spread of the predictions over the samples, and "
            "their sum is the error against the noiseless target.",
        )
    )
    columns = "best\nstrength", "squared\nbias", "variance", "sum", "sum,\nsmallest", "sum,\nlargest"
    table = make_table("At the best strength, and at both ends", ("penalty",), columns)
    for name, d in noisy.items():
        values = d.bias[d.best], d.variance[d.best], d.error[d.best], d.error[0], d.error[-1]
        table.add_row(name, f"{d.strengths[d.best]:.2g}", *(f"{value:.3f}" for value in values))
    console.print(table)
    print_rows(console, judge(noisy, noiseless))
    return {"bias-variance.png": draw(noisy)}
