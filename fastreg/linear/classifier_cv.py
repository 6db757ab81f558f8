"""Layer 5, the classifier that chooses its own strength."""

import numpy as np

from fastreg.linear.classifier import StreamingClassifier
from fastreg.linear.cv import ChosenStrength


class StreamingClassifierCV(ChosenStrength, StreamingClassifier):
    """Linear classifier with an elastic-net penalty that chooses its own strength.

    On a set of data, :meth:`fit` chooses it by cross-validation, and trains on all samples at the chosen strength. On a
    stream, :meth:`partial_fit` trains all strengths in one pass, and each sample is predicted before it is learnt
    (progressive validation): the choice can be read at any time. The strengths are judged by the loss, not by the
    accuracy, which would hardly tell them apart.

    Everything else is as for :class:`StreamingClassifier`, whose methods it has: it is that model at the strength
    `alpha_`.

    Parameters
    ----------
    loss : {"log_loss", "hinge", "squared_hinge", "modified_huber", "multinomial"}, default "log_loss"
    alphas : int or array, (S,), default 30
        The strengths to try, or their number. For :meth:`fit`, a number gives a geometric grid from the smallest
        strength at which all penalised weights are zero down to `eps` times that, for each share of L1; below
        ``l1_ratio=0.001``, from the strength for 0.001, since L2 alone removes no weight. For :meth:`partial_fit`,
        which does not know the data, it gives a geometric grid from 0.1 to 1e-6.
    l1_ratio : float or array, (R,), default 1.0
        The share of the L1 penalty, or several to try.
    eps : float, default 1e-3
        The weakest strength of a grid of :meth:`fit` over its strongest one.
    rule : {"min", "1se"}, default "min"
        "min" chooses the strength with the smallest mean loss, "1se" the strongest one with a mean loss within one
        standard error of the smallest: a simpler model that the data cannot tell from the best. With several shares of
        L1, both choose among the strengths of the share that has the smallest mean loss. For streams, "1se" is to be
        preferred, since one pass overfits little, so that all weak strengths have about the same loss.
    cv : int, splitter or iterable of pairs of indices, optional
        The folds of :meth:`fit`, as in scikit-learn: 5 by default, stratified for classifiers. They are made once, for
        all strengths.
    max_iter : int, default 1000
        Maximum number of iterations of the Newton method at each strength.
    tol : float, default 1e-3
        The Newton method ends when an iteration takes off less than ``1e-6·tol``, with "hinge" and "quantile"
        ``1e-3·tol``, of what it has taken off the objective of a model without features.
    class_weight : dict, "balanced" or None, default None
        Factors of the sample weights, in training and in the losses of the test parts; "balanced" is for :meth:`fit`
        only.
    optimizer, penalty_factor, group, learning_rate, eta0, power_t, fit_intercept, positive, verbose
        As for :class:`StreamingClassifier`. `optimizer` and the learning rate are those of :meth:`partial_fit`, where
        `learning_rate` "auto" of "sgd" is "invscaling" with the limit; "optimal", which depends on the strength, is
        not allowed. With more than two classes, `group` is for :meth:`fit` only.

    Attributes
    ----------
    alpha_, l1_ratio_ : float
        The chosen strength and share of L1.
    alphas_ : ndarray, (S,) or (R, S)
        The strengths, strongest first; with a second dimension if `l1_ratio` is a list.
    loss_path_ : ndarray, (S, folds) or (R, S, folds)
        After :meth:`fit`, the mean losses on the test parts of the folds.
    mean_loss_path_, standard_error_path_ : ndarray, (S,) or (R, S)
        The mean losses by strength, and the standard errors of these means. If there are sample or class weights, a
        fold has the total weight of its test part.
    progressive_loss_, progressive_standard_error_ : ndarray, (S,) or (R, S)
        The same after :meth:`partial_fit`: the weighted mean of the losses of all samples so far, each before it was
        learnt. The standard errors are those of the means, not of differences between strengths (not paired).
    coef_path_, intercept_path_ : ndarray, of shape ``(S, *coef_.shape)`` and ``(S, *intercept_.shape)``
        The models of all strengths with the chosen share of L1, trained on all samples. After :meth:`sparsify`,
        `coef_path_` is a CSR matrix, (S·classes, features).
    nonzero_path_ : ndarray, (S,)
        How many weights of these models are not zero.
    path_ : dict of ndarray, (S,)
        "alpha", "l1_ratio", "mean_loss", "standard_error" and "nonzeros" of these models, for a pandas.DataFrame.
    coef_, intercept_, classes_, n_iter_, n_features_in_, feature_names_in_
        As for :class:`StreamingClassifier`; `n_iter_` is the number of iterations at the chosen strength.

    Raises
    ------
    ValueError, RuntimeError
        As for :class:`StreamingClassifier`; also if a class is missing in the training part of a fold.
    MemoryError
        From the first :meth:`partial_fit`, before anything is allocated, if all strengths do not fit into memory: see
        :meth:`required_memory`.

    Notes
    -----
    :meth:`fit` follows one path from the strongest to the weakest strength for each fold, and one for all samples. Each
    strength starts at the solution of the one before, and ends at the minimum (see fastreg/linear/paths.py).

    The first :meth:`partial_fit` can be interrupted. Later ones cannot: a copy to fall back on would take as much
    memory as all strengths.

    After :meth:`fit`, :meth:`partial_fit` goes on with the chosen strength alone. On a stream, `coef_` and predictions
    are those of the strength that is chosen at the moment, with the bits of a :class:`StreamingClassifier` of this
    strength, and a file of a sparsified model contains the chosen strength alone.

    References
    ----------
    J. Friedman, T. Hastie, R. Tibshirani, "Regularization paths for generalized linear models via coordinate descent"
    (2010), for the grid and the path.

    R. Tibshirani et al., "Strong rules for discarding predictors in lasso-type problems" (2012).

    L. Breiman et al., "Classification and regression trees" (1984), for the rule "1se".

    A. Blum, A. Kalai, J. Langford, "Beating the hold-out: bounds for k-fold and progressive cross-validation" (1999).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from fastreg.linear import StreamingClassifierCV
    >>> x, y = load_breast_cancer(return_X_y=True)
    >>> x = scale(x)
    >>> model = StreamingClassifierCV(rule="1se").fit(x, y)
    >>> round(model.alpha_, 4), int((model.coef_ != 0).sum()), round(model.score(x, y), 2)
    (0.0053, 10, 0.98)

    A stream, in which the strength is chosen as it goes:

    >>> model = StreamingClassifierCV(alphas=[0.1, 0.01, 0.001], rule="1se")
    >>> for k in range(0, 500, 100):
    ...     _ = model.partial_fit(x[k : k + 100], y[k : k + 100], classes=[0, 1])
    >>> model.alpha_, model.progressive_loss_.round(1).tolist()
    (0.01, [0.3, 0.1, 0.1])
    """

    def __init__(
        self, loss="log_loss", *, alphas=30, l1_ratio=1.0, eps=1e-3, rule="min", cv=None, optimizer="ftrl",
        penalty_factor=None, group=None, learning_rate="auto", eta0=None, power_t=0.5, fit_intercept=True,
        positive=False, max_iter=1000, tol=1e-3, class_weight=None, verbose=0,
    ):  # fmt: skip
        self.loss = loss
        self.alphas = alphas
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.rule = rule
        self.cv = cv
        self.optimizer = optimizer
        self.penalty_factor = penalty_factor
        self.group = group
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.max_iter = max_iter
        self.tol = tol
        self.class_weight = class_weight
        self.verbose = verbose

    def fit(self, X, y, sample_weight=None, groups=None):
        """Choose the strength by cross-validation, and train on all samples at the chosen strength.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)
            Other dtypes are converted to float64. CSR is the fastest sparse format.
        y : array, (samples,)
            Labels: numbers, strings or bytes.
        sample_weight : float or array, (samples,), optional
            Not negative; for training and for the losses of the test parts.
        groups : array, (samples,), optional
            For a `cv` that keeps groups of samples together.

        Returns
        -------
        self : StreamingClassifierCV
        """
        snapshot = self._snapshot()
        snapshot._fit_labels(X, y, sample_weight, groups)
        return self._replace_with(snapshot)

    def _check_training_part(self, part, where):
        codes = np.array([-1.0, 1.0]) if self._columns() == 1 else np.arange(len(self.classes_), dtype=float)
        for code, label in zip(codes, self.classes_):
            if not part.weights[part.targets == code].any():
                raise ValueError(
                    f"cv: expected samples of each class with a positive weight{where}, got none of class {label!r};"
                    " give other folds, or fewer"
                )

    def required_memory(self, n_features, n_classes=2, dtype=np.float64):
        """The bytes that :meth:`partial_fit` will take for all strengths, and for a copy of the chosen model.

        Parameters
        ----------
        n_features, n_classes : int
        dtype : float32 or float64
            Of X.

        Returns
        -------
        bytes : int

        Examples
        --------
        >>> from fastreg.linear import StreamingClassifierCV
        >>> StreamingClassifierCV(alphas=[0.1, 0.01]).required_memory(n_features=1_000_000) < 10**9
        True
        """
        return self._required_memory(n_features, 1 if n_classes == 2 else n_classes, dtype)
