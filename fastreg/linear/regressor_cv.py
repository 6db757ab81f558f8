"""Layer 5, the regressor that chooses its own strength."""

import numpy as np

from fastreg.linear.cv import ChosenStrength
from fastreg.linear.regressor import StreamingRegressor


class StreamingRegressorCV(ChosenStrength, StreamingRegressor):
    """Linear regression with an elastic-net penalty that chooses its own strength.

    On a set of data, :meth:`fit` chooses it by cross-validation; on a stream, :meth:`partial_fit` trains all strengths
    in one pass and chooses by progressive validation: see :class:`StreamingClassifierCV`. Everything else is as for
    :class:`StreamingRegressor`, whose methods it has.

    Parameters
    ----------
    loss : {"squared_error", "huber", "quantile", "cross_entropy", "poisson", "gamma", "tweedie"}, \
            default "squared_error"
    alphas, l1_ratio, eps, rule, cv, max_iter, tol
        As for :class:`StreamingClassifierCV`. The grid of :meth:`partial_fit`, from 0.1 to 1e-6, suits targets of about
        unit size: for others give a list. By default, the 5 folds are consecutive samples, as in scikit-learn.
    optimizer, penalty_factor, epsilon, quantile, power, learning_rate, eta0, power_t, fit_intercept, positive, verbose
        As for :class:`StreamingRegressor`.

    Attributes
    ----------
    alpha_, l1_ratio_, alphas_, loss_path_, mean_loss_path_, standard_error_path_, progressive_loss_, \
            progressive_standard_error_, coef_path_, intercept_path_, nonzero_path_, path_
        As for :class:`StreamingClassifierCV`. "squared_error" is half the squared error: `loss_path_` is half of
        scikit-learn's `mse_path_`.
    coef_, intercept_, n_iter_, n_features_in_, feature_names_in_
        As for :class:`StreamingRegressor`; `n_iter_` is the number of iterations at the chosen strength.

    Raises
    ------
    ValueError, RuntimeError, MemoryError
        As for :class:`StreamingClassifierCV`.

    Notes
    -----
    Those of :class:`StreamingClassifierCV` apply.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastreg.linear import StreamingRegressorCV
    >>> x, y = load_diabetes(return_X_y=True)
    >>> model = StreamingRegressorCV(rule="1se").fit(x, y)
    >>> round(model.alpha_, 3), model.coef_.round().tolist()
    (0.198, [0.0, -77.0, 511.0, 235.0, 0.0, 0.0, -171.0, 0.0, 451.0, 1.0])

    The whole table: ``pandas.DataFrame(model.path_)``, and as a picture: ``model.plot_path()``.

    >>> model.path_["nonzeros"][:12].tolist()
    [0, 2, 2, 2, 3, 4, 4, 4, 4, 5, 6, 6]
    """

    def __init__(
        self, loss="squared_error", *, alphas=30, l1_ratio=1.0, eps=1e-3, rule="min", cv=None, optimizer="ftrl",
        penalty_factor=None, epsilon=0.1, quantile=0.5, power=1.5, learning_rate="auto", eta0=None, power_t=0.25,
        fit_intercept=True, positive=False, max_iter=1000, tol=1e-3, verbose=0,
    ):  # fmt: skip
        self.loss = loss
        self.alphas = alphas
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.rule = rule
        self.cv = cv
        self.optimizer = optimizer
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
        self.verbose = verbose

    def fit(self, X, y, sample_weight=None, offset=None, groups=None):
        """Choose the strength by cross-validation, and train on all samples at the chosen strength.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)
            Other dtypes are converted to float64. CSR is the fastest sparse format.
        y : array, (samples,)
            Converted to float64.
        sample_weight : float or array, (samples,), optional
            Not negative; for training and for the losses of the test parts.
        offset : float or array, (samples,), optional
            Added to the margins x·w + intercept: for losses with log link, the logarithm of the exposure.
        groups : array, (samples,), optional
            For a `cv` that keeps groups of samples together.

        Returns
        -------
        self : StreamingRegressorCV
        """
        snapshot = self._snapshot()
        x, targets, weights = snapshot._validate(X, y, sample_weight, reset=True)
        snapshot._fit(x, targets, weights, 1, snapshot._numbers(offset, x, "offset"), groups)
        return self._replace_with(snapshot)

    def required_memory(self, n_features, dtype=np.float64):
        """The bytes that :meth:`partial_fit` will take for all strengths, and for a copy of the chosen model.

        Parameters
        ----------
        n_features : int
        dtype : float32 or float64
            Of X.

        Returns
        -------
        bytes : int

        Examples
        --------
        >>> from fastreg.linear import StreamingRegressorCV
        >>> StreamingRegressorCV(alphas=[0.1, 0.01]).required_memory(n_features=1_000_000) < 10**9
        True
        """
        return self._required_memory(n_features, 1, dtype)
