"""Correlated groups with many more features than samples: the elastic net against L1 alone and L2 alone."""

from functools import lru_cache

import numpy as np
from matplotlib.figure import Figure

from fastreg._show.figures import GREY, add_caption, style_axes
from fastreg._show.tables import heading, make_table, percent
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, below, print_rows
from fastreg.demo.lesson.truths import COLOURS

SAMPLES, N, VALIDATION, GROUPS, SIZE, USEFUL = 30, 40, 100, 12, 10, 2
NOISE, CORRELATION = 0.3, 0.95
WHOLE, ONE = f"all features of {USEFUL} groups matter", f"one feature of each of {USEFUL} groups matters"
STABLER = 0.9  # a spread counts as smaller up to this ratio
POORLY = 1.15  # a penalty does poorly if its error beyond the noise is at least this many times that of the net


@lru_cache(maxsize=1)
def fit_groups(seed):
    """The chosen models of each penalty, for both truths; every sample has the same true weights."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((2, SAMPLES, GROUPS, SIZE))
    weights[0, :, :USEFUL] = 1.0
    weights[1, :, :USEFUL, 0] = 1.0
    chosen = {}
    for name, truth in zip((WHOLE, ONE), weights.reshape(2, SAMPLES, -1)):
        options = {"noise": NOISE, "correlation": CORRELATION, "size": SIZE, "validation": VALIDATION}
        design = designs.draw(rng, truth, N, **options)
        chosen[name] = fits.choose_each(design.train, design.validation, design.test)
    return chosen


def spread(chosen):
    """The standard deviation of a weight over the samples at one strength, mean over the features."""
    return float(np.std(chosen.common, axis=0).mean())


def judge(chosen):
    """The rows, from the chosen models by truth and penalty."""
    stable, better, poor, numbers = {}, {}, {}, []
    for name, models in chosen.items():
        l1, l2, net = models.values()
        stable[f"{name}: sparse"] = net.nonzero.mean() < 0.5
        for other in ("L1", "L2"):
            better[f"{name}: than {other}"] = below(net.errors, models[other].errors)
        excess = [m.errors.mean() - NOISE**2 for m in (l1, l2, net)]
        poor[name] = min(excess[:2]) > POORLY * excess[2] and all(below(net.errors, m.errors) for m in (l1, l2))
        numbers.append(f"{name}: error beyond the noise L1 {excess[0]:.3f}, L2 {excess[1]:.3f}, net {excess[2]:.3f}")
    l1, _, net = chosen[WHOLE].values()
    stable[f"{WHOLE}: weights vary less than those of L1"] = spread(net) < STABLER * spread(l1)
    return [
        Row(
            "net-sparse-stable",
            stable,
            f"{net.nonzero.mean():.0%} of the weights are left, with L1 {l1.nonzero.mean():.0%}; standard deviation of "
            f"a weight over the samples {spread(net):.3f}, with L1 {spread(l1):.3f}",
        ),
        Row("net-correlated", better, "; ".join(numbers)),
        Row("net-both-poor", poor, f"L1 and L2 count as poor where both have {POORLY - 1:.0%} more error"),
    ]


def draw(chosen):
    """The mean weight of every feature and its spread, and the errors, where whole groups matter."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    *rows, last = figure.subplots(4, 1, height_ratios=(1, 1, 1, 1.1))
    models = chosen[WHOLE]
    for axes, (name, m) in zip(rows, models.items()):
        style_axes(axes)
        middle, deviation = m.common.mean(axis=0), m.common.std(axis=0)
        places = np.arange(len(middle))
        axes.bar(places, middle, color=COLOURS[name])
        axes.errorbar(places, middle, deviation, fmt="none", ecolor=GREY, elinewidth=0.7)
        axes.axvline(USEFUL * SIZE - 0.5, color="black", linewidth=0.8)
        axes.set(ylabel=name, xticks=[], ylim=(-0.04, 0.14))
    text = f"features in groups of {SIZE} (left of the line: matter); bars: mean weight, grey: deviation"
    rows[-1].set_xlabel(text, fontsize=9)
    style_axes(last)
    for place, models in enumerate(chosen.values()):
        for shift, (name, m) in enumerate(models.items()):
            label = name if place == 0 else None
            last.barh(place + 0.27 * (1 - shift), m.errors.mean() - NOISE**2, 0.25, color=COLOURS[name], label=label)
    last.set_yticks(range(len(chosen)), [name.replace(" matter", "\nmatter") for name in chosen], fontsize=8)
    last.set_xlabel("error beyond the noise (lower is better)", fontsize=9)
    last.legend(fontsize=8)
    add_caption(
        figure,
        "Grey lines show how a weight varies from sample to sample. Look within a group whether the weight lies on a "
        "few features or on all of them, and outside the groups whether the others are exactly zero. Below: the test "
        "errors where whole groups matter, and where one feature of each does.",
    )
    return figure


def section(settings, console):
    """Fit both truths; returns the figure."""
    chosen = fit_groups(settings.seed)
    console.print(
        heading(
            "Correlated groups",
            f"{GROUPS * SIZE} features in {GROUPS} groups, with correlation {CORRELATION:g} within a group, but only "
            f"{N} samples, drawn {SAMPLES} times. The strength of every penalty, and the share of the elastic net, are "
            "chosen on validation data.",
        )
    )
    columns = "test\nerror", "weights\nleft %", "deviation\nof weights"
    table = make_table("Models at their best strengths", ("truth", "penalty"), columns)
    for name, models in chosen.items():
        for penalty, m in models.items():
            numbers = f"{m.errors.mean():.3f}", percent(m.nonzero.mean()), f"{spread(m):.3f}"
            table.add_row(name if penalty == "L1" else "", penalty, *numbers)
    console.print(table)
    print_rows(console, judge(chosen))
    return {"groups.png": draw(chosen)}
