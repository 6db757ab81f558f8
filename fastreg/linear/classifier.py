"""Layer 5, the classifier: binary, or one class against the rest for each column of weights."""

import numpy as np
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from fastreg.linear.base import _Streaming
from fastreg.linear.csr import trusted
from fastreg.linear.labels import (
    check_class_weight,
    check_listed,
    codes_of,
    kind_of,
    same_classes,
    short,
    sorted_classes,
    weights_of,
)


class StreamingClassifier(ClassifierMixin, _Streaming):
    """A linear classifier that learns sample by sample, with exact zeros, also while it streams.

    Minimises mean loss + alpha·(l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂²) by proximal steps; the intercept is not
    penalised. Two classes have one vector of weights; more have one each, against the rest.

    Parameters
    ----------
    loss : {"log_loss", "hinge", "squared_hinge"}
    optimizer : {"ftrl", "sgd", "adagrad"}
        As :class:`fastreg.LazyFTRL`, :class:`fastreg.LazySGD` and :class:`fastreg.LazyAdagrad`, the first with
        strengths that grow with the samples seen, so that all three minimise the same. FTRL weighs all gradients of a
        feature so far against the penalty: after one pass over rare features it leaves far fewer weights than the
        others.
    alpha : float, default 1e-4
        Strength of the penalty. Too small overfits, too large underfits.
    l1_ratio : float, default 0.15
        1 for L1 alone, 0 for L2 alone, as in scikit-learn.
    learning_rate : {"auto", "optimal", "invscaling", "constant"} or callable
        With "sgd": "optimal" is 1/(alpha·t + 1/eta0), "invscaling" eta0/(t + 1)^power_t; a callable is given t, the
        samples seen. "auto" is "optimal", but no step takes a sample beyond the minimum of its own loss, if that is not
        "hinge". It is not enough for features of very different sizes: scale them (StandardScaler, MaxAbsScaler). The
        other optimizers have "constant" (auto) alone.
    eta0 : float, optional
        The first learning rate. By default 1/4 over the size of the features that the samples so far have (their root
        mean square; looked at again when the samples have doubled) for "ftrl" and "adagrad", L. Bottou's heuristic for
        "sgd" with "optimal", or 0.01.
    power_t : float, default 0.5
    fit_intercept : bool, default True
    max_iter : int, default 1000
        Most epochs of :meth:`fit`.
    tol : float or None, default 1e-3
        Epochs end when the mean loss has not fallen by this for `n_iter_no_change` of them; None for max_iter in any
        case.
    n_iter_no_change : int, default 5
    shuffle : bool, default True
        True: the data of :meth:`fit` are a set. Their order does not matter. Weights are relative: times a constant,
        they give the same model, but for rounding. Whole weights without a common factor are numbers of copies, to the
        bit, as long as their mean is at most 16; beyond it, visits would get too many. False: the data are a stream,
        taken exactly as :meth:`partial_fit` does, and a weight multiplies a sample's gradient.
    random_state : int, RandomState or None
        For the shuffling.
    class_weight : dict, "balanced" or None
        Multiplies sample weights; a class that is absent counts 1. "balanced" is for :meth:`fit` only.
    warm_start : bool, default False
        Let :meth:`fit` go on from where the last one ended: an error if classes, features, optimizer or fit_intercept
        are others. The dtype stays the first one's.
    verbose : int, default 0
        Print a line for every epoch or call of partial_fit.

    Attributes
    ----------
    coef_ : ndarray, (1, features) or (classes, features)
    intercept_ : ndarray, (1,) or (classes,)
    classes_ : ndarray
    n_iter_ : int
    n_features_in_ : int

    Notes
    -----
    A call of :meth:`partial_fit` costs O(non-zeros), whatever the number of features; reading `coef_` costs a pass over
    all of them. Margins need exp for the log-loss, so that results can differ in the last bits between machines.

    A call happens whole or not at all, whatever stops it: an error, an interrupt, memory that runs out. Only a call of
    :meth:`partial_fit` that diverges has been made when it raises its ValueError: its weights are lost, fit anew. An
    interrupt waits for the end of a call of partial_fit, unless that takes seconds. A callable is asked for all
    learning rates of such a call before the first step.

    One call of partial_fit at a time may train a model; another gets a RuntimeError. Calls of fit do not disturb each
    other: the last one's model stays. Who reads a model that another thread trains, copies or pickles it, gets that of
    one moment. A thread that changes the values of X during a call changes what is learned; what it does to the indices
    of a sparse matrix can do no more than that.

    A ConvergenceWarning tells when :meth:`fit` ends worse than a constant would be: features are not scaled, or, with
    "sgd", a strong penalty has made the intercept slow, which learns at the same rate as the weights.

    Labels are compared as Python compares them: the text "1" is not the number 1, but True is.

    References
    ----------
    Z. Lipton, C. Elkan, "Efficient elastic net regularization for sparse linear models" (2015), arXiv 1505.06449.
    """

    _losses = ("log_loss", "hinge", "squared_hinge")
    _auto = "optimal"
    epsilon = 0.1

    def __init__(
        self, loss="log_loss", *, optimizer="ftrl", alpha=1e-4, l1_ratio=0.15, learning_rate="auto", eta0=None,
        power_t=0.5, fit_intercept=True, max_iter=1000, tol=1e-3, n_iter_no_change=5, shuffle=True, random_state=None,
        class_weight=None, warm_start=False, verbose=0,
    ):  # fmt: skip
        self.loss = loss
        self.optimizer = optimizer
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.random_state = random_state
        self.class_weight = class_weight
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
        StreamingClassifier
            This one.
        """
        twin = self._snapshot()
        twin._train_set(X, y, sample_weight)
        return self._take(twin)

    def _train_set(self, x, y, sample_weight):
        self._check_parameters()
        check_class_weight(self.class_weight)
        x, y = self._validated(x, y, reset=True)
        kind_of(y, "y")
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y: expected at least two classes, got one class, {classes[0]!r}")
        weights = self._by_class(self._weights(sample_weight, x), classes, codes, y)
        if self.warm_start and hasattr(self, "_stream"):
            self._warm("classes", classes, self.classes_, same_classes(classes, self.classes_))
        self.classes_ = classes
        self._fit(x, self._targets(codes), weights, self._columns())

    def _validated(self, x, y, reset):
        check_listed(y, "y")
        return validate_data(
            self, trusted(x, borrowed=not reset), y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C",
            reset=reset,
        )  # fmt: skip

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train on the next samples of a stream, each visited once, in order.

        Parameters
        ----------
        X : array or CSR matrix, (samples, features)
        y : array, (samples,)
        classes : array, optional
            All classes that the stream can hold; needed in the first call.
        sample_weight : array, (samples,), optional
            Multiplies the gradients; 0 leaves a sample out.

        Returns
        -------
        StreamingClassifier
            This one.
        """
        twin = self._snapshot()
        first = not hasattr(twin, "_stream")
        twin._train_piece(X, y, classes, sample_weight, first)
        return self._take(twin) if first else self

    def _train_piece(self, x, y, classes, sample_weight, first):
        self._check_parameters()
        check_class_weight(self.class_weight)
        x, y = self._validated(x, y, reset=first)
        told = None if classes is None else sorted_classes(classes)
        known = told if first else self.classes_
        if known is None:
            raise ValueError("classes: expected all classes in the first call of partial_fit, got None")
        if told is not None and not same_classes(known, told):
            raise ValueError(f"classes: expected {short(known)}, as in the first call, got {short(classes)}")
        if len(known) < 2:
            raise ValueError(f"classes: expected at least two classes, got {short(classes)}")
        codes = codes_of(y, known)
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight: expected a dict or None with partial_fit, which cannot balance what is to come"
            )
        weights = self._by_class(self._weights(sample_weight, x), known, codes, y)
        self.classes_ = known
        self._partial_fit(x, self._targets(codes), weights, self._columns())

    def _columns(self):
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _targets(self, codes):
        """-1 and 1 for two classes, else their numbers."""
        return 2.0 * codes - 1 if len(self.classes_) == 2 else codes.astype(float)

    def _by_class(self, weights, classes, codes, y):
        """Sample weights times those of the classes."""
        if self.class_weight is None:
            return weights
        own = weights_of(self.class_weight, classes, codes, y)
        with np.errstate(over="ignore"):
            return self._usable(own if weights is None else own * weights, "class_weight")

    def _constants(self, targets, weights):
        """Margins of models that know nothing of the features, a column each, among them one of the best."""
        codes = np.arange(len(self.classes_)) if self._columns() > 1 else [1]
        p = np.array([weights[targets == code].sum() for code in codes]) / weights.sum()
        if self.loss == "log_loss":
            p = np.clip(p, 1e-300, 1 - 1e-16)
            return [np.log(p / (1 - p))]
        return [2 * p - 1] if self.loss == "squared_hinge" else [np.where(p > 0.5, 1.0, -1.0)]

    def _shaped(self, coef):
        return coef

    def decision_function(self, X):
        """The margins, (samples,) for two classes, else (samples, classes)."""
        return self._margins(X)

    def predict(self, X):
        """The class with the largest margin for each sample."""
        now = self._snapshot()
        margins = now._margins(X)
        places = (margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)
        return now.classes_[places]

    def _has_proba(self):
        if self.loss != "log_loss":
            raise AttributeError(f"predict_proba: expected loss='log_loss', got {self.loss!r}")
        return True

    @available_if(_has_proba)
    def predict_proba(self, X):
        """Probabilities, (samples, classes): of the log-loss alone. Those of more than two classes are normalised."""
        margins = self._margins(X)
        if margins.ndim == 1:
            return np.column_stack([expit(-margins), expit(margins)])
        p = expit(margins)
        totals = p.sum(axis=1, keepdims=True)
        return np.where(totals > 0, p / np.where(totals > 0, totals, 1), 1 / p.shape[1])
