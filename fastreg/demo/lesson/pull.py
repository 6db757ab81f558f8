"""The pull of a penalty: one step of each rule without a gradient, for weights of different sizes.

Without a gradient only the penalty moves a weight, so the change divided by the learning rate is its pull.
"""

import numpy as np
from matplotlib.figure import Figure

from fastreg import SGD, Adam, AdamW
from fastreg._show.figures import BLUE, GREEN, ORANGE, VERMILION, add_caption, style_axes
from fastreg._show.tables import heading
from fastreg.demo.lesson.sentences import Row, print_rows

LR, STRENGTH = 0.1, 0.5
SIZES = np.logspace(-3, 1, 81)
START, STEPS = 1.02, 60  # no multiple of lr·l1: the textbook rule would hit zero up to rounding
ROUNDING = 1e-6  # the relative deviation below which pulls are called constant or proportional
RULES = {  # name → class, mode
    "textbook": (SGD, "subgradient"),
    "decoupled": (SGD, "decoupled"),
    "truncated": (SGD, "truncated"),
    "proximal": (SGD, "proximal"),
    "Adam, in the gradient": (Adam, "subgradient"),
    "AdamW": (AdamW, "decoupled"),
}
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


def judge(l1, l2):
    """The rows, from the pulls of each rule with L1 and with L2."""
    above = SIZES > 1.01 * LR * STRENGTH
    small = SIZES < 0.99 * LR * STRENGTH
    largest, smallest = l1["proximal"][above], l1["proximal"][small]
    return [
        Row(
            "l1-constant",
            {
                "weights above lr·l1, every rule": all(constant(pull[above]) for pull in l1.values()),
                "weights below lr·l1, textbook and decoupled": all(constant(l1[rule][small]) for rule in TEXTBOOK),
                "weights below lr·l1, proximal and truncated (they stop at zero)": all(
                    constant(l1[rule][small]) for rule in PROXIMAL
                ),
            },
            f"proximal: {largest.min():.2f} to {largest.max():.2f} on weights above lr·l1 = {LR * STRENGTH:g}, "
            f"{smallest.min():.2f} to {smallest.max():.2f} below",
        ),
        Row(
            "l2-proportional",
            {
                "every mode of SGD": all(constant(l2[rule] / SIZES) for rule in (*TEXTBOOK, *PROXIMAL)),
                "AdamW": constant(l2["AdamW"] / SIZES),
                "Adam with the penalty in the gradient": constant(l2["Adam, in the gradient"] / SIZES),
            },
            f"pull per weight: textbook {np.min(l2['textbook'] / SIZES):.2f} to "
            f"{np.max(l2['textbook'] / SIZES):.2f}; Adam, which divides by the size of the gradient, "
            f"{np.min(l2['Adam, in the gradient'] / SIZES):.2g} to {np.max(l2['Adam, in the gradient'] / SIZES):.2g}",
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
    console.print(
        heading(
            "The pull of a penalty",
            f"Each rule makes one step without a gradient on weights from {SIZES[0]:g} to {SIZES[-1]:g}, with strength "
            f"{STRENGTH:g} and learning rate {LR:g}. Only the penalty moves them, so the change shows its pull.",
        )
    )
    print_rows(console, judge(l1, l2))
    return {"pull.png": draw(l1, l2)}
