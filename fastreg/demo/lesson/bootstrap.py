"""Bootstrap: models of resampled data, for independent features, for correlated pairs and for copies.

Fits start from random weights: where L1 has many solutions, as with copies, a fit from equal weights would always end
in the same one and hide that the others exist.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from fastreg import path
from fastreg._show.figures import BLUE, GREEN, ORANGE, VERMILION, add_caption, style_axes
from fastreg._show.tables import heading, make_table, percent
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, print_rows

SETS, RESAMPLES, N, PAIRS, USEFUL, NOISE = 20, 30, 60, 6, 3, 1.0
DESIGNS = {"independent features": 0.0, "pairs with correlation 0.9": 0.9, "pairs of copies": 1.0}
SHARES = {"L1": 1.0, "L2": 0.0, "elastic net": 0.5}
MARGIN = 1.4  # a spread counts as larger from this ratio on
UNEQUAL = 0.5  # weights of a pair count as shared while their difference is below this share of their sum
DROPPED = 0.1  # "may drop": at least this share of useful weights is zero


@dataclass(frozen=True)
class Resampled:
    """Weights of the resamples, of shape (sets, resamples, features), and the true weights (sets, features).

    The pairs that matter come first.
    """

    weights: np.ndarray
    true: np.ndarray
    useful: int = 2 * USEFUL

    @property
    def spread(self):
        """The standard deviation of useful weights over the resamples relative to the true weights, mean over all."""
        deviations = np.std(self.weights, axis=1)[:, : self.useful]
        return float(np.mean(deviations / self.true[:, : self.useful]))

    @property
    def kept(self):
        """How often each feature has a nonzero weight."""
        return np.mean(self.weights != 0, axis=(0, 1))

    @property
    def dropped(self):
        """The share of useful weights that are exactly zero."""
        return float(np.mean(self.weights[:, :, : self.useful] == 0))

    @property
    def inequality(self):
        """The difference within useful pairs, as a share of their sum."""
        one, other = self.weights[:, :, 0 : self.useful : 2], self.weights[:, :, 1 : self.useful : 2]
        return float(np.sum(np.abs(one - other)) / np.sum(np.abs(one + other)))


def resample(rng, correlation):
    """Fit each penalty to resamples of every set, at the strength that is best on the validation data of all sets."""
    weights = np.zeros((SETS, 2 * PAIRS))
    weights[:, : 2 * USEFUL] = 1.0
    design = designs.draw(rng, weights, N, noise=NOISE, correlation=correlation, size=2)
    rows = rng.integers(N, size=(SETS, RESAMPLES, N))
    x, y = (part[np.arange(SETS)[:, None, None], rows] for part in design.train)
    x, y = x.reshape(-1, *x.shape[2:]), y.reshape(-1, N)
    start = rng.normal(0, 1, (len(x), 2 * PAIRS, 1))
    resampled = {}
    for name, share in SHARES.items():
        errors = fits.squared_errors(fits.fit(*design.train, share), *design.validation)
        best = fits.STRENGTHS[[path.choose(errors.T, "min", fits.STRENGTHS)]]
        fitted = fits.fit(x, y, share, best, start=start)
        resampled[name] = Resampled(fitted.reshape(SETS, RESAMPLES, -1), design.weights)
    return resampled


def judge(results):
    """The rows, from the resampled weights by design and penalty; the first design has independent features."""
    independent, *correlated = results
    l1, l2 = ({name: r[penalty] for name, r in results.items()} for penalty in ("L1", "L2"))
    spreads = ", ".join(f"{name} {l1[name].spread:.2f} and {l2[name].spread:.2f}" for name in results)
    inequality = ", ".join(f"{name} {l1[name].inequality:.2f} and {l2[name].inequality:.2f}" for name in correlated)
    dropped = ", ".join(f"{name} {percent(l1[name].dropped)}%" for name in results)
    return [
        Row(
            "l2-stable",
            {name: l1[name].spread > MARGIN * l2[name].spread for name in results},
            f"standard deviation of useful weights, relative to the truth, with L1 and with L2: {spreads}",
        ),
        Row(
            "l2-spreads",
            {name: l2[name].inequality < UNEQUAL for name in correlated},
            f"difference within a pair relative to the sum, with L1 and with L2: {inequality}",
        ),
        Row(
            "l1-unstable",
            {name: l1[name].spread > MARGIN * l1[independent].spread for name in correlated},
            f"the same with L1: {', '.join(f'{n} {r.spread:.2f}' for n, r in l1.items())}",
        ),
        Row(
            "l1-drops",
            {name: r.dropped >= DROPPED for name, r in l1.items()},
            f"weights of useful features that are zero with L1: {dropped}",
        ),
    ]


def draw(results):
    """How often each feature is kept, and the weights of the pairs that matter."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    grid = figure.subplots(2, len(results), sharey="row", height_ratios=(2, 3))
    styles = {"L1": (BLUE, "o"), "L2": (GREEN, "s"), "elastic net": (ORANGE, "D")}
    for (name, penalties), (above, below) in zip(results.items(), grid.T):
        for shift, (penalty, r) in enumerate(penalties.items()):
            colour, marker = styles[penalty]
            places = np.arange(1, 1 + len(r.kept)) + 0.27 * (shift - 1)
            above.bar(places, r.kept, width=0.25, color=colour)
            pairs = r.weights[0, :, : r.useful].reshape(-1, 2)
            below.scatter(*pairs.T, s=12, marker=marker, facecolors="none", edgecolors=colour, label=penalty)
        for axes in (above, below):
            style_axes(axes)
        above.axvline(2 * USEFUL + 0.5, color=VERMILION, linewidth=1)
        above.set(title=name, xlabel="feature (left of the line: matters)")
        below.set(xlabel="weight of one of a pair")
    grid[0, 0].set_ylabel("kept in resamples")
    grid[1, 0].set_ylabel("weight of the other")
    grid[1, 0].legend(fontsize=8)
    add_caption(
        figure,
        "Above: how often each feature keeps a nonzero weight. A useful feature below 100 % was dropped in some "
        "resamples. Below: the two weights of useful pairs, a point for each resample of one set. Compare how far L1 "
        "(circles) and L2 (squares) spread along the falling diagonal, from left to right for more correlated pairs.",
    )
    return figure


def section(settings, console):
    """Fit resamples of each design; returns the figure."""
    rng = np.random.default_rng(settings.seed)
    results = {name: resample(rng, correlation) for name, correlation in DESIGNS.items()}
    console.print(
        heading(
            "Resampled data",
            f"{SETS} sets of {N} samples and {2 * PAIRS} features in pairs; both features of {USEFUL} pairs matter "
            f"equally. Every set is resampled {RESAMPLES} times, and each penalty is fitted from random weights at its "
            "best strength. A stable method gives nearly the same weights each time.",
        )
    )
    columns = "spread of\nweights", "unequal\nin pairs", "useful\ndropped %", "others\nkept %"
    table = make_table("Weights over the resamples", ("features", "penalty"), columns)
    for name, penalties in results.items():
        for penalty, r in penalties.items():
            kept = percent(r.kept[r.useful :].mean())
            numbers = f"{r.spread:.2f}", f"{r.inequality:.2f}", percent(r.dropped), kept
            table.add_row(name if penalty == "L1" else "", penalty, *numbers)
    console.print(table)
    print_rows(console, judge(results))
    return {"bootstrap.png": draw(results)}
