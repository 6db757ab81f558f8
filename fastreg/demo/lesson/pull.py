"""The pull of a penalty: one step of each rule without a gradient, for weights of different sizes.

Without a gradient only the penalty moves a weight, so the change divided by the learning rate is its pull. What a rule
does in one step follows from its formula; the run only checks it. What the pull does to the minimum is decided by the
data, because the features share the target: there, the larger half of the weights is compared with the smaller half.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from fastreg import SGD, Adam, AdamW, Optimizer
from fastreg._show.figures import BLUE, GREEN, ORANGE, VERMILION, add_caption, style_axes
from fastreg._show.tables import heading
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, below, print_rows

LR, STRENGTH = 0.1, 0.5
SIZES = np.logspace(-3, 1, 81)
START, STEPS = 1.02, 60  # no multiple of lr·l1: the textbook rule would hit zero up to rounding
ROUNDING = 1e-6  # the relative deviation below which pulls are called constant or proportional
RULES: dict[str, tuple[type[Optimizer], str]] = {  # name → class, mode
    "textbook": (SGD, "subgradient"),
    "decoupled": (SGD, "decoupled"),
    "truncated": (SGD, "truncated"),
    "proximal": (SGD, "proximal"),
    "Adam, in the gradient": (Adam, "subgradient"),
    "AdamW": (AdamW, "decoupled"),
}
SAMPLES, N, FEATURES, NOISE, AT_MINIMUM = 100, 200, 20, 0.3, 0.05  # regressions, and their strength
KINDS = {  # name → correlation, group size, scales of the features
    "independent features": (0.0, 1, 1.0),
    "pairs with correlation 0.9": (0.9, 2, 1.0),
    "features of different scales": (0.0, 1, np.logspace(-0.5, 0.5, FEATURES)),
}
EQUAL = 1.5  # the halves are shrunk equally if neither is shrunk more than this many times as far
TEXTBOOK, PROXIMAL = ("textbook", "decoupled"), ("truncated", "proximal")


def measure(rule, **strength):
    """The pull of a rule on weights of the SIZES."""
    kind, mode = RULES[rule]
    w = SIZES.copy()
    optimizer = kind(w, lr=LR, mode=mode, **strength)
    optimizer.step(np.zeros_like(w))
    return (SIZES - w) / LR


def follow(rule, **strength):
    """A weight from its START on, and its size after each of the STEPS without a gradient."""
    kind, mode = RULES[rule]
    w, sizes = np.array([START]), [START]
    optimizer = kind(w, lr=LR, mode=mode, **strength)
    for _ in range(STEPS):
        optimizer.step(np.zeros(1))
        sizes.append(abs(float(w[0])))
    return np.array(sizes)


def constant(values):
    """Whether all values are the same, up to rounding."""
    return bool(np.ptp(values) <= ROUNDING * np.max(np.abs(values)))


class Halves(NamedTuple):
    """How far the larger and the smaller half of the weights are shrunk at the minimum, by sample."""

    larger: np.ndarray
    smaller: np.ndarray

    @property
    def equal(self):
        """Whether both are the same up to the factor EQUAL."""
        one, other = self
        return below(one, EQUAL * other) and below(other, EQUAL * one)

    def __str__(self):
        return f"{self.larger.mean():.3f} and {self.smaller.mean():.3f}"


def shrink(rng, correlation, size, scales):
    """The distance by which L1 moves weights towards zero, and its ratio to the weights for L2, both as Halves."""
    weights = rng.uniform(0.2, 1, (SAMPLES, FEATURES)) * rng.choice((-1.0, 1.0), (SAMPLES, FEATURES))
    x, y = designs.draw(rng, weights, N, noise=NOISE, correlation=correlation, size=size).train
    x = x * scales
    free = np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(x, y)])
    by_l1, by_l2 = (fits.fit(x, y, share, [AT_MINIMUM])[:, :, 0] * np.sign(free) for share in (1.0, 0.0))
    distances, ratios = [], []
    for before, lasso, ridge in zip(np.abs(free), by_l1, by_l2):
        distances.append([np.mean(before[half] - lasso[half]) for half in halves(before, lasso != 0)])
        ratios.append([1 - np.sum(ridge[half]) / np.sum(before[half]) for half in halves(before, ridge != 0)])
    return Halves(*np.transpose(distances)), Halves(*np.transpose(ratios))


def halves(sizes, left):
    """The places of the larger and of the smaller half of the weights that are left."""
    places = np.flatnonzero(left)
    return np.array_split(places[np.argsort(-sizes[places])], 2)


def judge(l1, l2, shrunk):
    """The rows, from the pulls of each rule with L1 and with L2, and the pairs of Halves at the minimum by data."""
    above = SIZES > 1.01 * LR * STRENGTH
    small = SIZES < 0.99 * LR * STRENGTH
    adam = l2["Adam, in the gradient"] / SIZES
    return [
        Row(
            "l1-constant",
            {f"at the minimum, {name}": distance.equal for name, (distance, _) in shrunk.items()},
            "the larger and the smaller half of the weights are moved by "
            + "; ".join(f"{name}: {distance}" for name, (distance, _) in shrunk.items()),
            {
                "in a step: constant above lr·l1, every rule": all(constant(pull[above]) for pull in l1.values()),
                "textbook and decoupled also below": all(constant(l1[rule][small]) for rule in TEXTBOOK),
                "proximal and truncated pull less there, and stop at zero": not any(
                    constant(l1[rule][small]) for rule in PROXIMAL
                ),
            },
        ),
        Row(
            "l2-proportional",
            {f"at the minimum, {name}": ratio.equal for name, (_, ratio) in shrunk.items()},
            "the larger and the smaller half of the weights lose the shares "
            + "; ".join(f"{name}: {ratio}" for name, (_, ratio) in shrunk.items())
            + f"; a step of Adam, which divides by the size of the gradient, pulls {adam.min():.2g} to "
            f"{adam.max():.2g} per weight",
            {
                "in a step: every mode of SGD": all(constant(l2[rule] / SIZES) for rule in (*TEXTBOOK, *PROXIMAL)),
                "AdamW": constant(l2["AdamW"] / SIZES),
                "not in Adam's gradient": not constant(adam),
            },
        ),
    ]


def draw(l1, l2):
    """The pull against the size of the weight, and the way of a weight to zero."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines = (
        ("L1, proximal", l1["proximal"], BLUE, "-"),
        ("L1, textbook", l1["textbook"], VERMILION, "--"),
        ("L2, textbook", l2["textbook"], GREEN, "-"),
        ("L2 in Adam's gradient", l2["Adam, in the gradient"], ORANGE, ":"),
    )
    for name, pull, colour, line in lines:
        left.plot(SIZES, pull, line, color=colour, label=name)
    left.set(xscale="log", yscale="log", xlabel="size of the weight", ylabel="pull: change in a step / lr")
    ways = (
        ("L1, proximal", follow("proximal", l1=STRENGTH), BLUE, "-"),
        ("L1, textbook", follow("textbook", l1=STRENGTH), VERMILION, "--"),
        ("L2, textbook", follow("textbook", l2=STRENGTH), GREEN, "-"),
    )
    for name, sizes, colour, line in ways:
        right.plot(np.where(sizes > 0, sizes, np.nan), line, color=colour, label=name)
        if (sizes == 0).any():
            step = int(np.argmax(sizes == 0))
            right.plot(step, 2e-3, "v", color=colour, label=f"exactly zero from step {step} on")
    right.set(yscale="log", ylim=(1.7e-3, 2), xlabel="steps without a gradient", ylabel="size of the weight")
    for axes in (left, right):
        style_axes(axes)
        axes.legend(fontsize=8)
    add_caption(
        figure,
        "Left: the pull of L1 is a horizontal line, that of L2 rises with the weight. The proximal rule pulls less "
        "where less is enough to reach zero. In the gradient of Adam, the pull of L2 loses its proportion. Right: L1 "
        "reaches zero by the proximal rule; the textbook rule steps over it again and again, by about lr·l1; L2 takes "
        "the same share of the weight in every step.",
    )
    return figure


def section(settings, console):
    """Measure the pull of each rule; returns the figure."""
    l1 = {rule: measure(rule, l1=STRENGTH) for rule in RULES}
    l2 = {rule: measure(rule, l2=STRENGTH) for rule in RULES}
    rng = np.random.default_rng(settings.seed)
    shrunk = {name: shrink(rng, *kind) for name, kind in KINDS.items()}
    console.print(
        heading(
            "The pull of a penalty",
            f"Each rule makes one step without a gradient on weights from {SIZES[0]:g} to {SIZES[-1]:g}, with strength "
            f"{STRENGTH:g} and learning rate {LR:g}. Only the penalty moves them, so the change shows its pull. Then "
            f"regressions with {FEATURES} features are fitted to {SAMPLES} samples with strength {AT_MINIMUM:g} and "
            "with none: the difference of the weights shows what the pull does to the minimum.",
        )
    )
    print_rows(console, judge(l1, l2, shrunk))
    return {"pull.png": draw(l1, l2)}
