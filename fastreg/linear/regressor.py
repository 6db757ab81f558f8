"""Layer 5, the regressor: one column of weights."""

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from fastreg.linear.base import StreamingBase
from fastreg.linear.csr import checked_matrix


class StreamingRegressor(RegressorMixin, StreamingBase):
    """Linear regression with an elastic-net penalty, trained one sample at a time.

    It minimises mean loss + alpha·(l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂²) by proximal steps. The intercept is not
    penalised. The weights do not depend on how a stream is split into batches, and weights that the penalty removes are
    exactly zero.

    Parameters
    ----------
    loss : {"squared_error", "huber"}, default "squared_error"
        With r = prediction − y, "squared_error" is r²/2. "huber" is the same up to abs(r) = epsilon, and linear beyond.
    epsilon : float, default 0.1
        Only for "huber".
    learning_rate : {"auto", "invscaling", "optimal", "constant"} or callable, default "auto"
        As for :class:`StreamingClassifier`, but with "sgd", "auto" is "invscaling" with the limit.
    power_t : float, default 0.25
        The exponent of "invscaling".
    optimizer, alpha, l1_ratio, penalty_factor, eta0, fit_intercept, positive, max_iter, tol, n_iter_no_change,
    shuffle, random_state, warm_start, verbose
        As for :class:`StreamingClassifier`.

    Attributes
    ----------
    coef_ : ndarray, float32 or float64, (features,)
        Read-only.
    intercept_ : ndarray, (1,)
    n_iter_ : int
        Number of epochs of the last :meth:`fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, (features,)
        Only if X has feature names.

    Raises
    ------
    ValueError, RuntimeError
        As for :class:`StreamingClassifier`.

    Warns
    -----
    ConvergenceWarning
        As for :class:`StreamingClassifier`.

    Notes
    -----
    The notes of :class:`StreamingClassifier` on cost, errors and threads apply.

    References
    ----------
    Z. Lipton, C. Elkan, "Efficient elastic net regularization for sparse linear models" (2015), arXiv 1505.06449.

    Examples
    --------
    >>> import numpy as np
    >>> from fastreg.linear import StreamingRegressor
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((300, 3))
    >>> y = 2 * x[:, 0] - x[:, 1]
    >>> model = StreamingRegressor(alpha=0.01, l1_ratio=1.0)
    >>> for k in range(0, 300, 50):
    ...     _ = model.partial_fit(x[k : k + 50], y[k : k + 50])
    >>> model.coef_.round(1).tolist()
    [2.0, -1.0, 0.0]

    Which features a strong penalty spares:

    >>> model = StreamingRegressor(alpha=100.0, l1_ratio=1.0, penalty_factor=[0, 1, 1])
    >>> model.partial_fit(x, y).coef_.round(1).tolist()
    [1.9, 0.0, 0.0]
    """

    _losses = ("squared_error", "huber")
    _default_schedule = "invscaling"
    group = None  # no parameter, since there is one weight for each feature; the code shared with the classifier asks

    def __init__(
        self, loss="squared_error", *, optimizer="ftrl", alpha=1e-4, l1_ratio=0.15, penalty_factor=None, epsilon=0.1,
        learning_rate="auto", eta0=None, power_t=0.25, fit_intercept=True, positive=False, max_iter=1000, tol=1e-3,
        n_iter_no_change=5, shuffle=True, random_state=None, warm_start=False, verbose=0,
    ):  # fmt: skip
        self.loss = loss
        self.optimizer = optimizer
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.penalty_factor = penalty_factor
        self.epsilon = epsilon
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.fit_intercept = fit_intercept
        self.positive = positive
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
        X : array or sparse matrix, float32 or float64, (samples, features)
            Other dtypes are converted to float64. CSR is the fastest sparse format.
        y : array, (samples,)
            Converted to float64.
        sample_weight : float or array, (samples,), optional
            Not negative.

        Returns
        -------
        self : StreamingRegressor
        """
        snapshot = self._snapshot()
        snapshot._fit(*snapshot._validate(X, y, sample_weight, reset=True), 1)
        return self._replace_with(snapshot)

    def partial_fit(self, X, y, sample_weight=None):
        """Train on the next batch of a stream: one step for each sample, in order.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)
            Converted to the dtype of the first call.
        y : array, (samples,)
            Converted to float64.
        sample_weight : float or array, (samples,), optional
            Factors of the gradients; a sample of weight 0 is skipped.

        Returns
        -------
        self : StreamingRegressor
        """
        snapshot = self._snapshot()
        first = not hasattr(snapshot, "_stream")
        snapshot._partial_fit(*snapshot._validate(X, y, sample_weight, reset=first), 1)
        return self._replace_with(snapshot) if first else self

    def _validate(self, x, y, sample_weight, reset):
        self._check_parameters()
        x, y = validate_data(
            self, checked_matrix(x, copy_indices=reset), y, accept_sparse="csr", dtype=[np.float64, np.float32],
            order="C", y_numeric=True, reset=reset,
        )  # fmt: skip
        return x, np.array(y, dtype=float), self._sample_weights(sample_weight, x)

    def _constant_margins(self, targets, weights):
        """Predictions that do not depend on the features: the weighted mean, and the weighted median."""
        order = np.argsort(targets)
        total = np.cumsum(weights[order])
        median = targets[order][np.searchsorted(total, total[-1] / 2)]
        return [np.array([targets @ (weights / weights.sum())]), np.array([median])]

    def _coef_shape(self, coef):
        return coef[0]

    def predict(self, X):
        """The predictions x·w + intercept.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)

        Returns
        -------
        predictions : ndarray, (samples,)
        """
        return self._margins(X)
