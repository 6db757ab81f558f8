"""How often is the combination best? L1, L2 and elastic net on all regressions of the lesson and on two real data sets.

Every penalty has its own best strength, and the elastic net its best share of L1 too, on validation data, out of the
same number of candidates. If they were equal, each would be best in a third of the samples. The splits of a real data
set share samples, so that their differences are tested with a larger error than those of independent samples.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes

from fastreg._show.figures import add_caption, style_axes
from fastreg._show.tables import heading, make_table
from fastreg.demo.lesson import fits, grouped, truths
from fastreg.demo.lesson.sentences import Row, below, print_rows
from fastreg.demo.lesson.truths import COLOURS

SAMPLES, N, VALIDATION, TESTS = 30, 60, 60, 60  # of a real data set
TEST_RATIO = TESTS / (N + VALIDATION)
OFTEN = 0.5  # "often": in at least this share of all samples


def diabetes():
    """The diabetes data with all products of two features: 65 features, most of them of little use."""
    x, y = load_diabetes(return_X_y=True)
    one, other = np.triu_indices(x.shape[1])
    return np.hstack([x, x[:, one] * x[:, other]]), y


def breast_cancer():
    """The breast cancer data, 30 strongly correlated features; the target is the class, 0 or 1."""
    return load_breast_cancer(return_X_y=True)


REAL = {"diabetes, with products": diabetes, "breast cancer, class 0 or 1": breast_cancer}


def fit_real(seed, load):
    """The chosen models of each penalty on random splits of real data, standardised on the training part."""
    x, y = load()
    rng = np.random.default_rng(seed)
    orders = np.stack([rng.permutation(len(y))[: N + VALIDATION + TESTS] for _ in range(SAMPLES)])
    x, y = x[orders], y[orders]
    x = (x - x[:, :N].mean(axis=1, keepdims=True)) / (x[:, :N].std(axis=1, keepdims=True) + 1e-12)
    y = (y - y[:, :N].mean(axis=1, keepdims=True)) / y[:, :N].std(axis=1, keepdims=True)
    parts = (slice(N), slice(N, N + VALIDATION), slice(N + VALIDATION, None))
    return fits.choose_each(*((x[:, part], y[:, part]) for part in parts))


def fit_all(seed):
    """The test errors by data set and penalty."""
    models = truths.fit_both(seed) | grouped.fit_groups(seed)
    models |= {name: fit_real(seed, load) for name, load in REAL.items()}
    return {name: {penalty: c.errors for penalty, c in chosen.items()} for name, chosen in models.items()}


def count(errors):
    """In how many samples each penalty has the smallest error."""
    winners = np.argmin(list(errors.values()), axis=0)
    return dict(zip(errors, np.bincount(winners, minlength=len(errors))))


def judge(results):
    """The rows, from the test errors by data set and penalty."""
    better, wins, losses, total = {}, 0, 0, 0
    for name, errors in results.items():
        l1, l2, net = errors.values()
        ratio = TEST_RATIO if name in REAL else 0.0
        better[name] = all(below(net, other, test_ratio=ratio) for other in (l1, l2))
        wins += count(errors)["elastic net"]
        losses += int(np.sum(net > np.maximum(l1, l2)))
        total += len(net)
    sets = sum(better.values())
    return [
        Row(
            "net-generalises",
            better,
            f"better than both on {sets} of {len(better)} data sets; worse than both in {losses} of {total} samples",
        ),
        Row(
            "net-often-best",
            {
                f"best in at least {OFTEN:.0%} of all samples": wins >= OFTEN * total,
                "better than both on most data sets": sets > len(better) / 2,
            },
            f"it has the smallest test error in {wins} of {total} samples ({wins / total:.0%}), and on {sets} of "
            f"{len(better)} data sets by more than chance explains",
        ),
    ]


def draw(results):
    """In how many samples each penalty is best, for each data set."""
    figure = Figure(figsize=(9, 0.5 * len(results) + 1.5), layout="constrained")
    axes = figure.subplots()
    style_axes(axes)
    for place, errors in enumerate(reversed(results.values())):
        counts, left = count(errors), 0.0
        for name, number in counts.items():
            share = number / sum(counts.values())
            axes.barh(place, share, left=left, color=COLOURS[name], label=name if place == 0 else None)
            left += share
    axes.set_yticks(range(len(results)), list(reversed(results)), fontsize=8)
    axes.set(xlabel="share of the samples in which the penalty has the smallest test error", xlim=(0, 1))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9, frameon=False)
    add_caption(
        figure,
        "The longer the orange part, the more often the combination is best. If the three were equal, each colour "
        "would take a third of every bar.",
    )
    return figure


def section(settings, console):
    """Count the best penalties; returns the figure."""
    results = fit_all(settings.seed)
    console.print(
        heading(
            "How often the combination is best",
            f"L1, L2 and elastic net on {len(results)} data sets, each drawn or split at random {SAMPLES} times or "
            "more, with strengths chosen on validation data. Counted is which has the smallest error on test data.",
        )
    )
    table = make_table("Samples in which each penalty is best; mean test errors", ("data",), (*fits.SHARES, "errors"))
    for name, errors in results.items():
        means = " ".join(f"{e.mean():.3f}" for e in errors.values())
        table.add_row(name, *map(str, count(errors).values()), means)
    console.print(table)
    print_rows(console, judge(results))
    return {"counted.png": draw(results)}
