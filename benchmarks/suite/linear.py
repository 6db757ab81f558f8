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


class DenseEpoch:
    """The same for dense samples of several lengths, in both dtypes, for two classes and for ten against the rest."""

    params = [["200000 x 20", "50000 x 200", "5000 x 5000"], ["float32", "float64"], [2, 10], OPTIMIZERS]
    param_names = ["rows", "dtype", "classes", "optimizer"]
    timeout = 300

    def setup(self, rows, dtype, classes, optimizer):
        try:
            from sklearn.linear_model import SGDClassifier

            from fastreg import linear
        except ImportError as error:
            raise NotImplementedError(str(error)) from error
        warnings.simplefilter("ignore")
        rng = np.random.default_rng(0)
        n, p = map(int, rows.split(" x "))
        x = rng.standard_normal((n, p), dtype)
        y = (x @ rng.standard_normal((p, classes), dtype)).argmax(axis=1)
        penalty = {"alpha": ALPHA, "l1_ratio": L1_RATIO}
        self.arguments = (x, y, np.arange(classes))
        self.fastreg = linear.StreamingClassifier(loss="log_loss", optimizer=optimizer, **penalty).partial_fit
        self.sklearn = SGDClassifier(loss="log_loss", penalty="elasticnet", **penalty).partial_fit

    def time_epoch(self, rows, dtype, classes, optimizer):
        self.fastreg(*self.arguments)

    def track_gain(self, rows, dtype, classes, optimizer):
        names = {"fastreg": self.fastreg, "sklearn": self.sklearn, "arguments": self.arguments}
        return ratio(statement("sklearn(*arguments)", **names), statement("fastreg(*arguments)", **names), budget=5)


DenseEpoch.track_gain.unit = "times as fast as scikit-learn"


def counts():
    """Logarithms of word counts that follow Zipf's law, and classes that depend on 300 of the 3000 commonest words."""
    rng = np.random.default_rng(0)
    n, p = 10_000, 100_000
    frequencies = 1 / np.arange(1, p + 1)
    words = rng.choice(p, n * NONZEROS, p=frequencies / frequencies.sum()).astype(np.int32)
    x = scipy.sparse.csr_matrix((np.ones(n * NONZEROS), words, NONZEROS * np.arange(n + 1, dtype=np.int32)), (n, p))
    x.sum_duplicates()
    x.data = np.log1p(x.data)
    w = np.zeros(p)
    w[rng.choice(3000, 300, replace=False)] = 2 * rng.standard_normal(300)
    margins = x @ w
    return x, (margins - np.median(margins) + 0.5 * rng.logistic(size=n) > 0).astype(int)


class Fit:
    """L1 logistic regression to the minimum, with defaults: the time of scikit-learn's liblinear over that of fit."""

    params = [[1e-3, 1e-4]]
    param_names = ["alpha"]
    timeout = 300

    def setup(self, alpha):
        try:
            from sklearn.linear_model import LogisticRegression

            from fastreg.linear import StreamingClassifier
        except ImportError as error:
            raise NotImplementedError(str(error)) from error
        warnings.simplefilter("ignore")
        self.x, self.y = counts()
        self.alpha = alpha
        self.fastreg = StreamingClassifier(alpha=alpha, l1_ratio=1.0, random_state=0)
        strength = 1 / (alpha * len(self.y))
        self.sklearn = LogisticRegression(C=strength, l1_ratio=1.0, solver="liblinear", random_state=0)

    def time_fit(self, alpha):
        self.fastreg.fit(self.x, self.y)

    def track_gain(self, alpha):
        names = {"fastreg": self.fastreg.fit, "sklearn": self.sklearn.fit, "arguments": (self.x, self.y)}
        return ratio(statement("sklearn(*arguments)", **names), statement("fastreg(*arguments)", **names), budget=5)

    def track_excess(self, alpha):
        """How far the objective of fastreg is above that of scikit-learn; negative where it is below."""
        found = []
        for model in (self.fastreg, self.sklearn):
            model.fit(self.x, self.y)
            losses = np.logaddexp(0, (1 - 2 * self.y) * model.decision_function(self.x))
            found.append(losses.mean() + alpha * np.abs(model.coef_).sum())
        return found[0] / found[1] - 1


Fit.track_gain.unit = "times as fast as liblinear"
Fit.track_excess.unit = "of the objective of liblinear"


class Path:
    """The strength chosen by 5 folds among 30: its time, and that of scikit-learn divided by it."""

    params = [["lasso", "wide lasso"]]
    param_names = ["data"]
    timeout = 300

    def setup(self, data):
        try:
            from sklearn.linear_model import LassoCV

            from fastreg import linear
        except ImportError as error:
            raise NotImplementedError(str(error)) from error
        warnings.simplefilter("ignore")
        rng = np.random.default_rng(0)
        n, p = (5_000, 300) if data == "lasso" else (300, 5_000)
        x = rng.standard_normal((n, p))
        self.arguments = x, x[:, :30] @ rng.standard_normal(30) + 5 * rng.standard_normal(n)
        self.fastreg, self.sklearn = linear.StreamingRegressorCV().fit, LassoCV(alphas=30, cv=5).fit

    def time_path(self, data):
        self.fastreg(*self.arguments)

    def track_gain(self, data):
        names = {"fastreg": self.fastreg, "sklearn": self.sklearn, "arguments": self.arguments}
        return ratio(statement("sklearn(*arguments)", **names), statement("fastreg(*arguments)", **names), budget=5)


Path.track_gain.unit = "times as fast as scikit-learn"
