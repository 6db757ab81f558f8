"""Layer 5, the regressor."""

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from fastreg.linear.base import _Streaming
from fastreg.linear.csr import trusted


class StreamingRegressor(RegressorMixin, _Streaming):
    """A linear regression that learns sample by sample, with exact zeros, also while it streams.

    Minimises mean loss + alpha·(l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂²), the squared error with a ½, by proximal steps;
    the intercept is not penalised.

    Parameters
    ----------
    loss : {"squared_error", "huber"}
        "huber" is linear where the error exceeds epsilon.
    epsilon : float, default 0.1
        For "huber".
    learning_rate : {"auto", "invscaling", "optimal", "constant"} or callable
        As of :class:`StreamingClassifier`, but "auto" is "invscaling" for "sgd".
    power_t : float, default 0.25
    optimizer, alpha, l1_ratio, eta0, fit_intercept, max_iter, tol, n_iter_no_change, shuffle, random_state, warm_start,
    verbose
        As of :class:`StreamingClassifier`.

    Attributes
    ----------
    coef_ : ndarray, (features,)
    intercept_ : ndarray, (1,)
    n_iter_ : int
    n_features_in_ : int
    """

    _losses = ("squared_error", "huber")
    _auto = "invscaling"

    def __init__(
        self, loss="squared_error", *, optimizer="ftrl", alpha=1e-4, l1_ratio=0.15, epsilon=0.1, learning_rate="auto",
        eta0=None, power_t=0.25, fit_intercept=True, max_iter=1000, tol=1e-3, n_iter_no_change=5, shuffle=True,
        random_state=None, warm_start=False, verbose=0,
    ):  # fmt: skip
        self.loss = loss
        self.optimizer = optimizer
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.epsilon = epsilon
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X, y, sample_weight=None):
        """Train on a set of data.

        Parameters
        ----------
        X : array or CSR matrix, float32 or float64, (samples, features)
        y : array, (samples,)
        sample_weight : array, (samples,), optional
            Not negative.

        Returns
        -------
        StreamingRegressor
            This one.
        """
        twin = self._snapshot()
        twin._fit(*twin._checked(X, y, sample_weight, reset=True), 1)
        return self._take(twin)

    def partial_fit(self, X, y, sample_weight=None):
        """Train on the next samples of a stream, each visited once, in order.

        Parameters
        ----------
        X : array or CSR matrix, (samples, features)
        y : array, (samples,)
        sample_weight : array, (samples,), optional
            Multiplies the gradients; 0 leaves a sample out.

        Returns
        -------
        StreamingRegressor
            This one.
        """
        twin = self._snapshot()
        first = not hasattr(twin, "_stream")
        twin._partial_fit(*twin._checked(X, y, sample_weight, reset=first), 1)
        return self._take(twin) if first else self

    def _checked(self, x, y, sample_weight, reset):
        self._check_parameters()
        x, y = validate_data(
            self, trusted(x, borrowed=not reset), y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C",
            y_numeric=True, reset=reset,
        )  # fmt: skip
        return x, np.array(y, dtype=float), self._weights(sample_weight, x)

    def _constants(self, targets, weights):
        """Predictions of models that know nothing of the features: the mean, and the median."""
        order = np.argsort(targets)
        total = np.cumsum(weights[order])
        median = targets[order][np.searchsorted(total, total[-1] / 2)]
        return [np.array([targets @ (weights / weights.sum())]), np.array([median])]

    def _shaped(self, coef):
        return coef[0]

    def predict(self, X):
        """The predicted values, (samples,)."""
        return self._margins(X)
