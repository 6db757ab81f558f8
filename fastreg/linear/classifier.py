"""Layer 5, the classifier: two classes have one column of weights, more have one column each, against the rest."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from fastreg.linear.base import StreamingBase
from fastreg.linear.csr import checked_matrix
from fastreg.linear.labels import (
    check_class_weight,
    check_list,
    class_weights_of,
    encode,
    kind_of,
    same_classes,
    short,
    sorted_classes,
)
from fastreg.linear.prediction import Prediction


class StreamingClassifier(ClassifierMixin, Prediction, StreamingBase):
    """Linear classifier with an elastic-net penalty, trained one sample at a time.

    It minimises mean loss + alpha·(l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂²) by proximal steps. The intercept is not
    penalised. :meth:`partial_fit` applies pending penalties exactly: the weights do not depend on how a stream is split
    into batches, and weights that the penalty removes are exactly zero. With more than two classes, it trains one
    classifier for each class against the rest, except with ``loss="multinomial"``.

    Parameters
    ----------
    loss : {"log_loss", "hinge", "squared_hinge", "modified_huber", "multinomial"}, default "log_loss"
        "modified_huber" is the squared hinge up to a margin of −1, and linear beyond: it forgives wrong labels and
        still has probabilities. "multinomial" is the log-loss of all classes together (softmax), as
        scikit-learn's LogisticRegression minimises it; with two classes, it is "log_loss".
    optimizer : {"ftrl", "sgd", "adagrad"}, default "ftrl"
        The rules of :class:`fastreg.LazyFTRL`, :class:`fastreg.LazySGD` and :class:`fastreg.LazyAdagrad`. The strengths
        of FTRL grow with the number of samples, so that all three minimise the same objective. FTRL compares the sum of
        all gradients of a feature with the penalty. After one pass over rare features, it has far fewer non-zero
        weights than the other two.
    alpha : float, default 1e-4
        Strength of the penalty.
    l1_ratio : float, default 0.15
        Share of the L1 penalty: 1 for L1 alone, 0 for L2 alone.
    penalty_factor : array, (features,), optional
        Multiplies the penalty of each feature, in all classes: finite, not negative; 0 leaves a feature unpenalised.
        The factors are not rescaled; glmnet rescales its penalty.factor so that they sum to the number of features.
        An array is read when it is first seen: to change the factors between calls, set another array. With "sgd" and
        an L2 penalty, factors other than 0 and 1 are an error, since they have no closed form. With "ftrl", new factors
        apply to the first sample after the change.
    group : {"features"}, optional
        With more than two classes, the weights w_j of a feature in all classes are a group, and the group lasso
        alpha·l1_ratio·Σ_j ‖w_j‖₂ takes the place of the L1 penalty: a feature leaves all classes at once. With two
        classes, it is the L1 penalty. Not with "adagrad", which has no closed form for it.
    learning_rate : {"auto", "optimal", "invscaling", "constant"} or callable, default "auto"
        For ``optimizer="sgd"``, where t is the number of samples so far: "optimal" is 1/(alpha·t + 1/eta0),
        "invscaling" is eta0/(t + 1)^power_t, a callable is called with t. "auto" is "optimal" with a limit: no step
        goes beyond the minimum of the loss of its own sample, except with ``loss="hinge"``; without `eta0`, rates are
        those for features divided by their size (see `eta0`), and the intercept, not penalised, has at least the first
        rate / √(t + 1). The other optimizers adapt their step sizes; "auto" and "constant" then mean the same.
    eta0 : float, optional
        The initial learning rate. The default is 0.01 for "sgd"; with "optimal", it is L. Bottou's heuristic. For
        "ftrl" and "adagrad", it is 1/4 divided by the mean size of samples, where the size of a sample is the root mean
        square of its non-zero features. The mean is that of the samples since their number last doubled; no weight
        moves where it changes. By default, features that differ in size by a factor of 100 or lie far from zero have
        units of their own (docs/streams.md), with the same objective, and samples with a feature a million times larger
        are left out with a warning, from the 17th sample on: they would end the learning of all weights.
    power_t : float, default 0.5
        The exponent of "invscaling".
    fit_intercept : bool, default True
    positive : bool, default False
        If True, no weight in `coef_` is negative, in any class. The intercept is free.
    max_iter : int, default 1000
        Maximum number of epochs and iterations of :meth:`fit`.
    tol : float or None, default 1e-3
        Epochs end when the objective, mean loss plus penalty, has not fallen by `tol` of what it was after the first
        one for `n_iter_no_change` epochs. The Newton method of `polish` ends when an iteration takes off less than
        ``1e-6·tol``, with "hinge" and "quantile" ``1e-3·tol``, of what the fit has taken off the objective of a model
        without features. With None, :meth:`fit` runs exactly `max_iter` epochs.
    n_iter_no_change : int, default 5
    shuffle : bool, default True
        If True, :meth:`fit` treats the data as a set: their order does not matter, and only the ratios of sample
        weights do, up to rounding. Integer weights without a common factor and with a mean of at most 16 give exactly
        the model of repeated samples. If False, :meth:`fit` processes the data in order, as :meth:`partial_fit` does,
        and a weight multiplies the gradient of its sample.
    random_state : int, RandomState or None, default None
        Seed of the shuffling.
    class_weight : dict, "balanced" or None, default None
        Factors of the sample weights; a class that is not in the dict has weight 1. "balanced" is for :meth:`fit` only.
    warm_start : bool, default False
        If True, :meth:`fit` continues from the fitted weights. It is an error to change the classes, the number of
        features, `optimizer`, `fit_intercept` or `positive`. The dtype of the weights does not change. `coef_init` and
        `intercept_init` of :meth:`fit` take precedence over the fitted ones.
    verbose : int, default 0
        If positive, print a line for each epoch, or each call of :meth:`partial_fit`.
    polish : bool, default True
        If True, :meth:`fit` makes a few epochs of the optimizer, from which :meth:`partial_fit` can continue, and then
        goes to the minimum of the objective by a proximal Newton method with coordinate descent. That needs no learning
        rate, does not depend on the scales of the features, and takes memory for a second copy of X. The corners of
        "hinge" and "quantile" are rounded off over 0.001 of the mean loss of a constant prediction. It is left out
        with ``shuffle=False``, ``tol=None``, or an `eta0` or `learning_rate` of your own: then the epochs of the
        optimizer are the whole fit.

    Attributes
    ----------
    coef_ : ndarray, float32 or float64, (1, features) or (classes, features)
        A CSR matrix after :meth:`sparsify`. It cannot be changed in place, but set: see Notes.
    intercept_ : ndarray, (1,) or (classes,)
        Can be set, too.
    classes_ : ndarray, (classes,)
    n_iter_ : int
        Number of epochs and iterations of the last :meth:`fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, (features,)
        Only if X has feature names.

    Raises
    ------
    ValueError
        From :meth:`fit` and :meth:`partial_fit` if a parameter, X, y or the weights are invalid, or if weights or
        losses are no longer finite.
    RuntimeError
        From :meth:`partial_fit` if another call trains the same model.

    Warns
    -----
    ConvergenceWarning
        If :meth:`fit` stops at `max_iter`, if the objective rises from epoch to epoch, or if a constant prediction has
        a smaller mean loss. The message says what to change.

    Notes
    -----
    :meth:`partial_fit` costs O(non-zeros), regardless of the number of features. Reading `coef_` costs a pass over all
    features. The log-loss needs exp, so that results can differ in the last bits between machines.

    A call that fails or is interrupted leaves the model unchanged. There is one exception: if :meth:`partial_fit`
    diverges, it raises ValueError and the weights are lost. :meth:`partial_fit` can be interrupted only if it takes
    seconds. A callable `learning_rate` is called for all samples of a batch before the first step.

    Other threads can call :meth:`predict`, copy or pickle a model while it trains. They see the weights before or after
    a call, never in between. If several threads call :meth:`fit`, the last result remains. If another thread changes X
    during a call, the result is undefined, but no memory outside X is accessed.

    If `coef_` or `intercept_` of a fitted model is set, training goes on from there: numbers of samples and sums of
    squared gradients stay, and no penalty is pending. The numbers are those that were set, to the bit. With "ftrl",
    which solves for its weights, that holds until the next sample, from where each weight can differ by a few roundings
    of its gradient sum.

    Labels are compared with Python's ==: the string "1" is not the number 1, but True is.

    References
    ----------
    Z. Lipton, C. Elkan, "Efficient elastic net regularization for sparse linear models" (2015), arXiv 1505.06449.

    H. B. McMahan et al., "Ad click prediction: a view from the trenches" (2013), for FTRL.

    J. Duchi, Y. Singer, "Efficient online and batch learning using forward backward splitting" (2009), for SGD.

    M. Yuan, Y. Lin, "Model selection and estimation in regression with grouped variables" (2006), for `group`.

    G.-X. Yuan, C.-H. Ho, C.-J. Lin, "An improved GLMNET for L1-regularized logistic regression" (2012), for `polish`.

    L. Bottou, "Stochastic gradient descent tricks" (2012), for the learning rate "optimal".

    T. Zhang, "Solving large scale linear prediction problems using stochastic gradient descent algorithms" (2004), for
    "modified_huber".

    Examples
    --------
    >>> import numpy as np
    >>> from fastreg.linear import StreamingClassifier
    >>> x = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    >>> model = StreamingClassifier(alpha=0.05, l1_ratio=1.0)
    >>> for _ in range(10):
    ...     _ = model.partial_fit(x, ["no", "yes", "no", "yes"], classes=["no", "yes"])
    >>> model.predict(x).tolist()
    ['no', 'yes', 'no', 'yes']
    >>> (model.coef_ == 0).tolist()
    [[False, False, True]]

    The model of another library, in a form for many features of which few matter:

    >>> model.coef_, model.intercept_ = np.array([[-1.5, 2.0, 0.0]]), 0.25
    >>> model.sparsify().coef_.nnz, model.decision_function(x[:2]).tolist()
    (2, [-1.25, 2.25])

    With several classes, ``group="features"`` removes a feature from all of them at once:

    >>> x = np.random.default_rng(0).standard_normal((200, 4))
    >>> model = StreamingClassifier(alpha=0.1, l1_ratio=1.0, group="features")
    >>> model = model.fit(x, x[:, :3].argmax(axis=1))
    >>> (model.coef_ == 0).all(axis=0).tolist()
    [False, False, False, True]
    """

    _losses = ("log_loss", "hinge", "squared_hinge", "modified_huber", "multinomial")
    _default_schedule = "optimal"

    def __init__(
        self, loss="log_loss", *, optimizer="ftrl", alpha=1e-4, l1_ratio=0.15, penalty_factor=None,
        group=None, learning_rate="auto", eta0=None, power_t=0.5, fit_intercept=True, positive=False, max_iter=1000,
        tol=1e-3, n_iter_no_change=5, shuffle=True, random_state=None, class_weight=None, warm_start=False, verbose=0,
        polish=True,
    ):  # fmt: skip
        self.loss = loss
        self.optimizer = optimizer
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.penalty_factor = penalty_factor
        self.group = group
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
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.verbose = verbose
        self.polish = polish

    def fit(self, X, y, sample_weight=None, *, coef_init=None, intercept_init=None):
        """Train on a set of data.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)
            Other dtypes are converted to float64. CSR is the fastest sparse format.
        y : array, (samples,)
            Labels: numbers, strings or bytes.
        sample_weight : float or array, (samples,), optional
            Not negative.
        coef_init : array or sparse matrix, (1, features) or (classes, features), optional
            The weights to start from, those of another model for example; zeros by default. With ``warm_start=True``
            they replace the fitted weights, and the counters and the sums of squared gradients stay.
        intercept_init : float or array, (1,) or (classes,), optional
            The same for the intercept.

        Returns
        -------
        self : StreamingClassifier
        """
        snapshot = self._snapshot()
        snapshot._fit_labels(X, y, sample_weight, (coef_init, intercept_init))
        return self._replace_with(snapshot)

    def _fit_labels(self, x, y, sample_weight, start):
        self._check_parameters()
        check_class_weight(self.class_weight)
        x, y = self._validate(x, y, reset=True)
        kind_of(y, "y")
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y: expected at least two classes, got one class, {classes[0]!r}")
        weights = self._with_class_weights(self._sample_weights(sample_weight, x), classes, codes, y)
        if self.warm_start and hasattr(self, "_stream"):
            self._check_warm_start("classes", classes, self.classes_, same_classes(classes, self.classes_))
        self.classes_ = classes
        self._fit(x, self._targets(codes), weights, self._columns(), given=start)

    def _validate(self, x, y, reset, is_batch=False):
        check_list(y, "y")
        return validate_data(
            self, checked_matrix(x, copy_indices=reset), y, accept_sparse="csr", dtype=[np.float64, np.float32],
            order="C", reset=reset, ensure_all_finite=not is_batch,  # see _samples
        )  # fmt: skip

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train on the next batch of a stream: one step for each sample, in order.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)
            Converted to the dtype of the first call.
        y : array, (samples,)
            Labels: numbers, strings or bytes.
        classes : array, (classes,), optional
            All classes that the stream can contain. Required in the first call.
        sample_weight : float or array, (samples,), optional
            Factors of the gradients; a sample of weight 0 is skipped.

        Returns
        -------
        self : StreamingClassifier
        """
        snapshot = self._snapshot()
        first = not snapshot.__sklearn_is_fitted__()
        snapshot._partial_fit_labels(X, y, classes, sample_weight, first)
        return self._replace_with(snapshot) if first else self

    def _partial_fit_labels(self, x, y, classes, sample_weight, first):
        self._check_parameters()
        check_class_weight(self.class_weight)
        x, y = self._validate(x, y, reset=first, is_batch=True)
        given = None if classes is None else sorted_classes(classes)
        known = given if first else self.classes_
        if known is None:
            raise ValueError("classes: expected all classes in the first call of partial_fit, got None")
        if given is not None and not same_classes(known, given):
            raise ValueError(f"classes: expected {short(known)}, as in the first call, got {short(classes)}")
        if len(known) < 2:
            raise ValueError(f"classes: expected at least two classes, got {short(classes)}")
        codes = encode(y, known)
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight: expected a dict or None with partial_fit, got {self.class_weight!r}, which needs all"
                " labels in advance"
            )
        weights = self._with_class_weights(self._sample_weights(sample_weight, x), known, codes, y)
        self.classes_ = known
        targets = self._targets(codes)
        del codes  # the next array takes its memory, which need not be asked for page by page
        self._partial_fit(x, targets, weights, self._columns())

    def _columns(self):
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _targets(self, codes):
        """-1 and 1 for two classes, otherwise the codes as floats."""
        return np.array([-1.0, 1.0])[codes] if len(self.classes_) == 2 else codes.astype(float)

    def _with_class_weights(self, weights, classes, codes, y):
        """The sample weights times the weights of their classes."""
        if self.class_weight is None:
            return weights
        own = class_weights_of(self.class_weight, classes, codes, y)
        with np.errstate(over="ignore"):
            return self._check_weights(own if weights is None else own * weights, "class_weight")

    def _loss_of_margins(self):
        return ("log_loss" if self.loss == "multinomial" and self._columns() == 1 else self.loss), 0.0

    def _constant_margins(self, targets, weights, offsets):
        """Margins that do not depend on the features, one for each column; they minimise the mean loss."""
        codes = np.arange(len(self.classes_)) if self._columns() > 1 else [1]
        p = np.array([weights[targets == code].sum() for code in codes]) / weights.sum()
        loss, _ = self._loss_of_margins()
        if loss == "log_loss":
            p = np.clip(p, 1e-300, 1 - 1e-16)
            return [np.log(p / (1 - p))]
        if loss == "multinomial":
            return [np.log(np.maximum(p, 1e-300))]
        return [np.where(p > 0.5, 1.0, -1.0)] if loss == "hinge" else [2 * p - 1]

    def _coef_shape(self, coef):
        return coef
