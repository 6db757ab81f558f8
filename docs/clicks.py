"""A stream of clicks with hashed features: fastreg compared with scikit-learn's SGDClassifier. Draws clicks.png.

    python docs/clicks.py [--events 100000] [--batch 100] [--picture docs/clicks.png]

The events are synthetic. Each has 20 categorical fields with values that follow Zipf's law, and 10 pairs of fields, all
hashed into 2²⁰ features. Whether it is a click depends on 5 fields alone; the others are noise. Each learner sees the
same batches in the same order: it predicts a batch, and then learns it (progressive validation). Both minimise mean
log-loss + alpha·‖w‖₁ with the same alpha. fastreg has its default settings. scikit-learn has the best of nine learning
rates that were tried on these data: with its default rate, the loss is above that of a constant prediction. The times
are CPU times of `partial_fit` alone. The learners alternate, so that other load on the machine affects both.
"""

import argparse
import time

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import SGDClassifier

from fastreg.linear import StreamingClassifier

FEATURES = 2**20
FIELDS, PAIRS, VALUES, MATTER = 20, 10, 20_000, 5
LEARNERS = {
    "fastreg": lambda alpha: StreamingClassifier(alpha=alpha, l1_ratio=1.0),
    "scikit-learn": lambda alpha: SGDClassifier(
        loss="log_loss", penalty="l1", alpha=alpha, learning_rate="invscaling", eta0=1.0, power_t=0.3, random_state=0
    ),
}


def clicks(events, seed=0):
    """The hashed features of the events, a CSR matrix of float64, and whether each is a click."""
    rng = np.random.default_rng(seed)
    frequencies = 1 / np.arange(1, VALUES + 1)
    values = rng.choice(VALUES, (events, FIELDS), p=frequencies / frequencies.sum())
    effects = rng.standard_normal((MATTER, VALUES))
    margins = sum(effects[k, values[:, k]] for k in range(MATTER)) - 2.5
    y = (rng.random(events) < 1 / (1 + np.exp(-margins))).astype(int)
    pairs = values[:, :PAIRS] * VALUES + values[:, PAIRS : 2 * PAIRS]
    columns = np.hstack([values, pairs]).astype(np.uint64) + np.arange(FIELDS + PAIRS, dtype=np.uint64) * 2**32
    hashed = (columns * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(44)).astype(np.int32)  # the upper 20 bits
    starts = (FIELDS + PAIRS) * np.arange(events + 1, dtype=np.int32)
    x = csr_matrix((np.ones(hashed.size), hashed.ravel(), starts), (events, FEATURES))
    x.sum_duplicates()
    return x, y


def mean_loss(y, probabilities):
    """The mean log-loss."""
    p = np.clip(np.where(y == 1, probabilities, 1 - probabilities), 1e-15, 1)
    return float(-np.log(p).mean())


def learn(batches, alpha):
    """A row (name, seconds, progressive loss of the second half, weights that are not zero) for each learner."""
    models = {name: make(alpha) for name, make in LEARNERS.items()}
    seconds, losses = dict.fromkeys(models, 0.0), {name: [] for name in models}
    for x, y in batches:
        for name, model in models.items():
            if hasattr(model, "classes_"):
                losses[name].append(mean_loss(y, model.predict_proba(x)[:, 1]))
            start = time.process_time()
            model.partial_fit(x, y, classes=[0, 1])
            seconds[name] += time.process_time() - start
    later = len(batches) // 2
    nonzeros = {name: np.count_nonzero(model.coef_) for name, model in models.items()}
    return [(name, seconds[name], np.mean(losses[name][later:]), nonzeros[name]) for name in models]


def picture(table, path):
    """Loss over the number of weights, one point for each strength."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2), dpi=100, layout="constrained")
    for name, colour, marker in zip(LEARNERS, ("#0b6e99", "#c2571a"), ("o", "s")):
        rows = [row for row in table if row[1] == name]
        total = sum(row[2] for row in rows)
        label = f"{name}: {total:.1f} s for all {len(rows)} strengths"
        axes.plot([row[4] for row in rows], [row[3] for row in rows], color=colour, marker=marker, label=label)
    axes.set(xscale="log", xlabel="weights that are not zero", ylabel="log-loss of the next events")
    axes.set_title("Clicks with 2²⁰ hashed features, mini-batches, L1", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--picture", help="write the picture to this file")
    options = parser.parse_args()
    x, y = clicks(options.events)
    batches = [(x[i : i + options.batch], y[i : i + options.batch]) for i in range(0, options.events, options.batch)]
    constant = mean_loss(y, np.full(len(y), y.mean()))
    print(f"{options.events} events, {y.mean():.1%} clicks, {len(np.unique(x.indices))} features occur,")
    print(f"log-loss of a constant prediction {constant:.4f}\n")
    print(f"{'alpha':>8}  {'learner':<13}{'seconds':>8}{'loss':>9}{'weights':>9}")
    table = []
    for alpha in (1e-5, 3e-5, 1e-4, 3e-4):
        table += [(alpha, *row) for row in learn(batches, alpha)]
        for row in table[-len(LEARNERS) :]:
            print(f"{row[0]:8.0e}  {row[1]:<13}{row[2]:8.2f}{row[3]:9.4f}{row[4]:9d}")
    if options.picture:
        picture(table, options.picture)


if __name__ == "__main__":
    main()
