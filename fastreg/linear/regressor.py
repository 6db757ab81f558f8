"""Layer 5, the regressor: one column of weights."""

from math import inf

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from fastreg.linear.base import StreamingBase
from fastreg.linear.csr import checked_matrix
from fastreg.linear.targets import check_targets, constant_margins, interval, loss_of_margins, predictions
from fastreg.reference.losses import LOG_LINK


class StreamingRegressor(RegressorMixin, StreamingBase):
    """Linear regression with an elastic-net penalty, trained one sample at a time.

    It minimises mean loss + alpha·(l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂²) by proximal steps. The intercept is not
    penalised. The weights do not depend on how a stream is split into batches, and weights that the penalty removes are
    exactly zero.

    Parameters
    ----------
    loss : {"squared_error", "huber", "quantile", "cross_entropy", "poisson", "gamma", "tweedie"}, \
            default "squared_error"
        With r = prediction − y, "squared_error" is r²/2. "huber" is the same up to abs(r) = epsilon, and linear beyond.
        "quantile", the pinball loss, is quantile·abs(r) below y and (1 − quantile)·abs(r) above it.

        "cross_entropy" is the log-loss for targets from 0 to 1, such as click rates or soft labels: it predicts the
        mean of y as 1/(1 + exp(−margin)), with margin = x·w + intercept.

        "poisson", "gamma" and "tweedie" predict mu = exp(margin). They are half the unit deviance, without the terms
        that do not depend on the weights: mu − y·log(mu) for "poisson", log(mu) + y/mu for "gamma". With l1_ratio=0,
        the objective is that of scikit-learn's PoissonRegressor, GammaRegressor and TweedieRegressor(link="log") with
        the same alpha.
    epsilon : float, default 0.1
        Only for "huber".
    quantile : float, default 0.5
        Only for "quantile": the share of targets below the predictions, between 0 and 1.
    power : float, default 1.5
        Only for "tweedie": the variance of y grows with this power of its mean; 0, or at least 1. 1 is "poisson", 2
        "gamma"; between them y is zero or positive, as the total of an uncertain number of claims. 0 is the squared
        error of exp(margin). With 0 and above 2 the loss is not convex.
    learning_rate : {"auto", "invscaling", "optimal", "constant"} or callable, default "auto"
        As for :class:`StreamingClassifier`, but with "sgd", "auto" is "invscaling" with the limit. With log link, the
        limit reduces the slope and not the learning rate, for all learning rates: slopes are exponential in the margin.
    power_t : float, default 0.25
        The exponent of "invscaling".
    eta0 : float, optional
        As for :class:`StreamingClassifier`. For "ftrl" and "adagrad" with "squared_error", "huber" or "quantile", the
        default is multiplied by the size of the targets if that is above 1: their mean distance from the first one,
        over the same samples. With a default rate, targets a million times further away are left out with a warning;
        where one of the first 16 is a thousand times further away than the others, these are forgotten.
    optimizer, alpha, l1_ratio, penalty_factor, fit_intercept, positive, max_iter, tol, n_iter_no_change, shuffle,
    random_state, warm_start, verbose, polish
        As for :class:`StreamingClassifier`.

    Attributes
    ----------
    coef_ : ndarray, float32 or float64, (features,)
        A CSR matrix of shape (1, features) after :meth:`sparsify`. It cannot be changed in place, but set, as for
        :class:`StreamingClassifier`.
    intercept_ : ndarray, (1,)
        Can be set, too.
    n_iter_ : int
        Number of epochs and iterations of the last :meth:`fit`.
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

    With the default `eta0`, the intercept starts at the first target for "squared_error", and except with "sgd" for
    "huber" and "quantile", too.

    With log link, the intercept starts where the first sample is predicted right, or as 1 if its target is zero; in
    :meth:`fit` with ``shuffle=True``, where all are predicted right by one number. Adaptive steps would take very long
    from far off. For the same reason, in the slopes of "gamma" and "tweedie", the ratio of y to its prediction counts
    as at most 4·√t in step t, except with "sgd". Exponentials continue as their tangents from exp(200) on.

    References
    ----------
    Z. Lipton, C. Elkan, "Efficient elastic net regularization for sparse linear models" (2015), arXiv 1505.06449.

    P. McCullagh, J. Nelder, "Generalized linear models" (1989), and B. Jorgensen, "The theory of dispersion models"
    (1997), for the deviances with log link.

    R. Koenker, G. Bassett, "Regression quantiles" (1978), for "quantile".

    L. Papke, J. Wooldridge, "Econometric methods for fractional response variables" (1996), for "cross_entropy".

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

    Counts in periods of different lengths, which enter as the logarithm of an expected factor:

    >>> days = rng.integers(1, 30, 2000)
    >>> x = rng.standard_normal((2000, 3))
    >>> y = rng.poisson(0.2 * days * np.exp(0.5 * x[:, 0]))
    >>> model = StreamingRegressor("poisson", l1_ratio=1.0, alpha=0.05, random_state=0)
    >>> model = model.fit(x, y, offset=np.log(days))
    >>> model.predict([[0.0, 0.0, 0.0]], offset=[np.log(10)]).round().tolist()
    [2.0]
    """

    _losses = ("squared_error", "huber", "quantile", "cross_entropy", "poisson", "gamma", "tweedie")
    _default_schedule = "invscaling"
    group = None  # no parameter, since there is one weight for each feature; the code shared with the classifier asks

    def __init__(
        self, loss="squared_error", *, optimizer="ftrl", alpha=1e-4, l1_ratio=0.15, penalty_factor=None, epsilon=0.1,
        quantile=0.5, power=1.5, learning_rate="auto", eta0=None, power_t=0.25, fit_intercept=True, positive=False,
        max_iter=1000, tol=1e-3, n_iter_no_change=5, shuffle=True, random_state=None, warm_start=False, verbose=0,
        polish=True,
    ):  # fmt: skip
        self.loss = loss
        self.optimizer = optimizer
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.penalty_factor = penalty_factor
        self.epsilon = epsilon
        self.quantile = quantile
        self.power = power
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
        self.polish = polish

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss in LOG_LINK and interval(*loss_of_margins(self))[0] >= 0
        return tags

    def fit(self, X, y, sample_weight=None, offset=None, *, coef_init=None, intercept_init=None):
        """Train on a set of data.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)
            Other dtypes are converted to float64. CSR is the fastest sparse format.
        y : array, (samples,)
            Converted to float64.
        sample_weight : float or array, (samples,), optional
            Not negative.
        offset : float or array, (samples,), optional
            Added to the margins x·w + intercept: for losses with log link, the logarithm of the exposure.
        coef_init : array or sparse matrix, (features,), optional
            The weights to start from, those of another model for example; zeros by default. With ``warm_start=True``
            they replace the fitted weights, and the counters and the sums of squared gradients stay.
        intercept_init : float or array, (1,), optional
            The same for the intercept.

        Returns
        -------
        self : StreamingRegressor
        """
        snapshot = self._snapshot()
        x, targets, weights = snapshot._validate(X, y, sample_weight, reset=True)
        offsets = snapshot._numbers(offset, x, "offset")
        snapshot._fit(x, targets, weights, 1, offsets, (coef_init, intercept_init))
        return self._replace_with(snapshot)

    def partial_fit(self, X, y, sample_weight=None, offset=None):
        """Train on the next batch of a stream: one step for each sample, in order.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)
            Converted to the dtype of the first call.
        y : array, (samples,)
            Converted to float64.
        sample_weight : float or array, (samples,), optional
            Factors of the gradients; a sample of weight 0 is skipped.
        offset : float or array, (samples,), optional
            As for :meth:`fit`.

        Returns
        -------
        self : StreamingRegressor
        """
        snapshot = self._snapshot()
        first = not snapshot.__sklearn_is_fitted__()
        x, targets, weights = snapshot._validate(X, y, sample_weight, reset=first, is_batch=True)
        snapshot._partial_fit(x, targets, weights, 1, snapshot._numbers(offset, x, "offset"))
        return self._replace_with(snapshot) if first else self

    def _validate(self, x, y, sample_weight, reset, is_batch=False):
        self._check_parameters()
        x, y = validate_data(
            self, checked_matrix(x, copy_indices=reset), y, accept_sparse="csr", dtype=[np.float64, np.float32],
            order="C", y_numeric=True, reset=reset, ensure_all_finite=not is_batch,  # see _samples
        )  # fmt: skip
        targets = np.array(y, dtype=float)
        check_targets(targets, self)
        return x, targets, self._sample_weights(sample_weight, x)

    def _check_loss_parameters(self):
        self._check_number("epsilon", 0, inf)
        self._check_number("quantile", 0, 1)
        self._check_number("power", 0, inf)
        if self.quantile in (0, 1):
            raise ValueError(f"quantile: expected a number between 0 and 1, got {self.quantile!r}")
        if 0 < self.power < 1:
            raise ValueError(
                f"power: expected 0 or a number of at least 1, since no distribution has another, got {self.power!r}"
            )

    def _loss_of_margins(self):
        return loss_of_margins(self)

    def _constant_margins(self, targets, weights, offsets):
        return constant_margins(self, targets, weights, offsets)

    def _first_intercept(self, samples, order, targets, weights):
        if self.loss not in LOG_LINK:
            return None
        weights = np.ones(len(order)) if weights is None else weights
        offsets = np.zeros(len(order)) if samples.offsets is None else samples.offsets[order]
        found = constant_margins(self, targets[order], weights, offsets)
        return float(found[0][0]) if found else None

    def _coef_shape(self, coef):
        return coef[0]

    def predict(self, X, offset=None):
        """The predictions: the margins x·w + intercept + offset, for some losses mapped to the scale of y.

        With log link these are exp(margin), for "cross_entropy" 1/(1 + exp(−margin)).

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)
        offset : float or array, (samples,), optional
            As for :meth:`fit`.

        Returns
        -------
        predictions : ndarray, (samples,)
        """
        snapshot = self._snapshot()
        margins = snapshot._margins(X)
        offsets = snapshot._numbers(offset, margins, "offset")
        return predictions(margins if offsets is None else margins + offsets, snapshot.loss)
