"""Correlated groups with many more features than samples: the elastic net against L1 alone and L2 alone."""

from functools import lru_cache

import numpy as np
from matplotlib.figure import Figure

from fastreg._show.figures import GREY, add_caption, style_axes
from fastreg._show.tables import heading, make_table, percent
from fastreg.demo.lesson import designs, fits
from fastreg.demo.lesson.sentences import Row, below, print_rows
from fastreg.demo.lesson.truths import COLOURS

TRUTHS, SAMPLES, N, VALIDATION, GROUPS, SIZE, USEFUL = 6, 6, 40, 100, 12, 10, 2  # SAMPLES of each truth
NOISE, CORRELATION = 0.3, 0.95
WHOLE, ONE = f"all features of {USEFUL} groups matter alike", f"one feature of each of {USEFUL} groups matters"
UNLIKE = f"all features of {USEFUL} groups matter, with any sign"
STABLER = 0.9  # a spread counts as smaller below this ratio
POORLY = 1.15  # a penalty does poorly if its error beyond the noise is at least this many times that of the net


def draw_truths(rng):
    """TRUTHS weights (TRUTHS, features) of each kind, by name."""
    signs, place = rng.choice((-1.0, 1.0), (TRUTHS, USEFUL, 1)), rng.integers(SIZE, size=(TRUTHS, USEFUL, 1))
    weights = {
        WHOLE: np.broadcast_to(signs, (TRUTHS, USEFUL, SIZE)),
        ONE: signs * (np.arange(SIZE) == place),
        UNLIKE: rng.standard_normal((TRUTHS, USEFUL, SIZE)),
    }
    others = np.zeros((TRUTHS, (GROUPS - USEFUL) * SIZE))
    return {name: np.hstack([w.reshape(TRUTHS, -1), others]) for name, w in weights.items()}


@lru_cache(maxsize=1)
def fit_groups(seed):
    """The chosen models of each penalty, by kind of truth; SAMPLES neighbours have the same true weights."""
    rng = np.random.default_rng(seed)
    chosen = {}
    for name, weights in draw_truths(rng).items():
        options = {"noise": NOISE, "correlation": CORRELATION, "size": SIZE, "validation": VALIDATION}
        design = designs.draw(rng, np.repeat(weights, SAMPLES, axis=0), N, **options)
        chosen[name] = fits.choose_each(design.train, design.validation, design.test)
    return chosen


def spread(chosen):
    """The standard deviation of a weight over the samples of a truth at one strength, mean over the features."""
    samples, features = chosen.common.shape
    return chosen.common.reshape(TRUTHS, samples // TRUTHS, features).std(axis=1, ddof=1).mean(axis=1)


def judge(chosen):
    """The rows, from the chosen models by kind of truth and penalty."""
    stable, better, poor, numbers, spreads = {}, {}, {}, [], []
    for name, models in chosen.items():
        l1, l2, net = models.values()
        stable[f"{name}: sparse"] = net.nonzero.mean() < 0.5
        stable[f"{name}: weights vary less than those of L1"] = below(spread(net), STABLER * spread(l1))
        for other in ("L1", "L2"):
            better[f"{name}: than {other}"] = below(net.errors, models[other].errors)
        excess = [m.errors.mean() - NOISE**2 for m in (l1, l2, net)]
        poor[name] = min(excess[:2]) > POORLY * excess[2] and all(below(net.errors, m.errors) for m in (l1, l2))
        numbers.append(f"{name}: error beyond the noise L1 {excess[0]:.3f}, L2 {excess[1]:.3f}, net {excess[2]:.3f}")
        spreads.append(
            f"{name}: {net.nonzero.mean():.0%} of the weights are left, with L1 {l1.nonzero.mean():.0%}; standard "
            f"deviation of a weight over the samples {spread(net).mean():.3f}, with L1 {spread(l1).mean():.3f}"
        )
    return [
        Row("net-sparse-stable", stable, "; ".join(spreads)),
        Row("net-correlated", better, "; ".join(numbers)),
        Row("net-both-poor", poor, f"L1 and L2 count as poor where both have {POORLY - 1:.0%} more error"),
    ]


def draw(chosen):
    """The mean weight of every feature and its spread for one truth with whole groups, and the errors of all."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    *rows, last = figure.subplots(4, 1, height_ratios=(1, 1, 1, 1.1))
    weights = [m.common[:SAMPLES] for m in chosen[WHOLE].values()]
    limit = 1.1 * max(np.max(np.abs(w.mean(axis=0)) + w.std(axis=0)) for w in weights)
    for axes, name, w in zip(rows, chosen[WHOLE], weights):
        style_axes(axes)
        middle, deviation = w.mean(axis=0), w.std(axis=0)
        places = np.arange(len(middle))
        axes.bar(places, middle, color=COLOURS[name])
        axes.errorbar(places, middle, deviation, fmt="none", ecolor=GREY, elinewidth=0.7)
        axes.axvline(USEFUL * SIZE - 0.5, color="black", linewidth=0.8)
        axes.set(ylabel=name, xticks=[], ylim=(-limit, limit))
    text = f"features in groups of {SIZE} (left of the line: matter); bars: mean weight, grey: deviation"
    rows[-1].set_xlabel(text, fontsize=9)
    style_axes(last)
    for place, models in enumerate(chosen.values()):
        for shift, (name, m) in enumerate(models.items()):
            label = name if place == 0 else None
            last.barh(place + 0.27 * (1 - shift), m.errors.mean() - NOISE**2, 0.25, color=COLOURS[name], label=label)
    last.set_yticks(range(len(chosen)), [name.replace(" groups ", " groups\n") for name in chosen], fontsize=8)
    last.set_xlabel("error beyond the noise (lower is better)", fontsize=9)
    last.legend(fontsize=8)
    add_caption(
        figure,
        "Grey lines show how a weight varies from sample to sample. Look within a group whether the weight lies on a "
        "few features or on all of them, and outside the groups whether the others are exactly zero. Below: the test "
        "errors for each kind of truth.",
    )
    return figure


def section(settings, console):
    """Fit all truths; returns the figure."""
    chosen = fit_groups(settings.seed)
    console.print(
        heading(
            "Correlated groups",
            f"{GROUPS * SIZE} features in {GROUPS} groups, with correlation {CORRELATION:g} within a group, but only "
            f"{N} samples, drawn {SAMPLES} times from each of {TRUTHS} truths of every kind. The strength of every "
            "penalty, and the share of the elastic net, are chosen on validation data.",
        )
    )
    columns = "test\nerror", "weights\nleft %", "deviation\nof weights"
    table = make_table("Models at their best strengths", ("truth", "penalty"), columns)
    for name, models in chosen.items():
        for penalty, m in models.items():
            numbers = f"{m.errors.mean():.3f}", percent(m.nonzero.mean()), f"{spread(m).mean():.3f}"
            table.add_row(name if penalty == "L1" else "", penalty, *numbers)
    console.print(table)
    print_rows(console, judge(chosen))
    return {"groups.png": draw(chosen)}
