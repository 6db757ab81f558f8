"""Epochs of the streaming estimators compared with scikit-learn, on the same rows: dense, and sparse like text."""

import warnings

import numpy as np
import scipy.sparse

from .workload import ratio, statement

ROWS = {"dense": (20_000, 50), "sparse": (100_000, 1_000_000)}
NONZEROS = 100
OPTIMIZERS = ["sgd", "adagrad", "ftrl"]
ALPHA, L1_RATIO = 1e-4, 0.5


def data(kind):
    """Features, classes and targets of a linear model with noise."""
    rng = np.random.default_rng(0)
    n, p = ROWS[kind]
    if kind == "dense":
        x = rng.standard_normal((n, p))
    else:
        places = rng.integers(0, p, (n, NONZEROS), dtype=np.int32).ravel()  # scikit-learn's SGD requires int32
        starts = NONZEROS * np.arange(n + 1, dtype=np.int32)
        x = scipy.sparse.csr_matrix((rng.standard_normal(n * NONZEROS), places, starts), (n, p))
        x.sum_duplicates()
    y = x @ (rng.standard_normal(p) * (rng.random(p) < 0.1)) + 0.1 * rng.standard_normal(n)
    return x, (y > 0).astype(int), y


class Epoch:
    """One epoch by partial_fit: its time, and the time of scikit-learn divided by it, in interleaved rounds."""

    params = [["classifier", "regressor"], list(ROWS), OPTIMIZERS]
    param_names = ["task", "rows", "optimizer"]
    timeout = 300

    def setup(self, task, rows, optimizer):
        try:
            from sklearn.linear_model import SGDClassifier, SGDRegressor

            from fastreg import linear
        except ImportError as error:
            raise NotImplementedError(str(error)) from error
        warnings.simplefilter("ignore")
        x, classes, targets = data(rows)
        penalty = {"alpha": ALPHA, "l1_ratio": L1_RATIO}
        if task == "classifier":
            model = linear.StreamingClassifier(loss="log_loss", optimizer=optimizer, **penalty)
            sklearn = SGDClassifier(loss="log_loss", penalty="elasticnet", **penalty)
            self.arguments = (x, classes, [0, 1])
        else:
            model = linear.StreamingRegressor(optimizer=optimizer, **penalty)
            sklearn = SGDRegressor(penalty="elasticnet", **penalty)
            self.arguments = (x, targets)
        self.fastreg, self.sklearn = model.partial_fit, sklearn.partial_fit

    def time_epoch(self, task, rows, optimizer):
        self.fastreg(*self.arguments)

    def track_gain(self, task, rows, optimizer):
        names = {"fastreg": self.fastreg, "sklearn": self.sklearn, "arguments": self.arguments}
        return ratio(statement("sklearn(*arguments)", **names), statement("fastreg(*arguments)", **names), budget=5)


Epoch.track_gain.unit = "times as fast as scikit-learn"
