"""Layer 5, linear models that stay sparse while they stream: scikit-learn estimators over the lazy updates.

scikit-learn's SGDClassifier forgets, with every call of partial_fit, the penalty that is owed, so that its L1 stops
being sparse on mini-batches. Here the weights do not depend on how a stream is cut. Needs the extra `sklearn`.
"""

import time
import warnings
from math import inf
from numbers import Integral, Real

import numpy as np

try:
    from scipy.sparse import issparse
    from scipy.special import expit
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f'fastreg.linear: expected scikit-learn 1.6 or later, pip install "scikit-learn>=1.6"; {error}'
    ) from error

from fastreg.convert import from_sklearn
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
from fastreg.linear.stream import OPTIMIZERS, Samples, Stream, Task
from fastreg.linear.visits import stream, visits

__all__ = ["StreamingClassifier", "StreamingRegressor"]


class _Streaming(BaseEstimator):
    """What the two estimators share: parameters, learning rates, epochs."""

    _losses: tuple[str, ...]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_stream")

    # Parameters

    def _check_parameters(self):
        """Clear errors, before anything is trained."""
        self._one_of("loss", self._losses)
        self._one_of("optimizer", tuple(OPTIMIZERS))
        for name in ("fit_intercept", "shuffle", "warm_start"):
            x = getattr(self, name)
            if not isinstance(x, bool | np.bool_):
                raise ValueError(f"{name}: expected True or False, got {x!r}")
        if not callable(self.learning_rate):
            self._one_of("learning_rate", ("auto", "constant", "invscaling", "optimal"))
        for name, low, high in (("alpha", 0, inf), ("l1_ratio", 0, 1), ("power_t", 0, inf), ("epsilon", 0, inf)):
            self._number(name, low, high)
        for name in ("eta0", "tol"):
            if getattr(self, name) is not None:
                self._number(name, 0, inf)
        for name, low in (("max_iter", 1), ("n_iter_no_change", 1), ("verbose", 0)):
            x = getattr(self, name)
            if not isinstance(x, Integral) or (low and isinstance(x, bool)) or x < low:
                raise ValueError(f"{name}: expected a whole number from {low}, got {x!r}")
        try:
            check_random_state(self.random_state)
        except ValueError:
            raise ValueError(
                f"random_state: expected a whole number, a RandomState or None, got {self.random_state!r}"
            ) from None
        if self.eta0 is not None and (self.eta0 == 0 or 1 / float(self.eta0) > LARGEST):
            raise ValueError(f"eta0: expected a positive number that has a finite inverse, got {self.eta0!r}")
        if self._schedule() == "optimal" and self.alpha == 0:
            raise ValueError("alpha: expected a positive number with learning_rate='optimal', got 0")
        if self._schedule() != "constant" and self.optimizer != "sgd":
            raise ValueError(
                f"learning_rate: expected 'auto' or 'constant' with optimizer={self.optimizer!r}, whose steps shrink by"
                f" themselves, got {self.learning_rate!r}"
            )

    def _one_of(self, name, known):
        x = getattr(self, name)
        if not isinstance(x, str) or x not in known:
            raise ValueError(f"{name}: expected one of {', '.join(map(repr, known))}, got {x!r}")

    def _number(self, name, low, high):
        x = getattr(self, name)
        if not isinstance(x, Real) or isinstance(x, bool) or not low <= x <= high or x > LARGEST:
            bound = f" to {high:g}" if high < inf else ""
            raise ValueError(f"{name}: expected a finite number from {low:g}{bound}, got {x!r}")

    def _is_auto(self):
        return isinstance(self.learning_rate, str) and self.learning_rate == "auto"

    def _schedule(self):
        """The name of the schedule, or the callable that stands in its place."""
        if self._is_auto():
            return self._auto if self.optimizer == "sgd" else "constant"
        return self.learning_rate

    def _rates(self, steps):
        """The learning rates after so many steps each: as many, or one for all."""
        schedule = self._schedule()
        if callable(schedule):
            rates = [schedule(t) for t in steps.tolist()]
            if not all(isinstance(x, Real) and 0 <= x <= LARGEST for x in rates):
                raise ValueError("learning_rate: expected a callable that returns finite numbers, not negative")
            return np.array(rates, float)
        if schedule == "optimal":
            weight = self.alpha**-0.25  # a typical one, in L. Bottou's heuristic
            first = weight / max(1.0, self._steepest(weight)) if self.eta0 is None else self.eta0
            return 1 / (self.alpha * steps + 1 / first)
        first = 0.01 if self.eta0 is None else self.eta0
        return first / (steps + 1.0) ** self.power_t if schedule == "invscaling" else first

    def _steepest(self, weight):
        """The slope of the loss where a margin is as wrong as such a weight makes it."""
        return {"squared_hinge": 2 * (1 + weight), "squared_error": weight, "huber": self.epsilon}.get(self.loss, 1.0)

    # Training

    def _snapshot(self):
        """The same parameters and the same model, of one moment; what is written on it, nobody sees.

        A model is replaced by one store of `__dict__`, which no interrupt divides: at any time, attributes fit each
        other.
        """
        twin = object.__new__(type(self))
        twin.__dict__ = dict(vars(self))
        return twin

    def _take(self, twin):
        """Become what the twin is."""
        now = vars(self) | {name: x for name, x in vars(twin).items() if name not in self._get_param_names()}
        if "feature_names_in_" not in vars(twin):
            now.pop("feature_names_in_", None)
        self.__dict__ = now
        return self

    def _task(self):
        return Task(
            self._rates, from_sklearn(self.alpha, self.l1_ratio), self.loss, float(self.epsilon),
            careful=self.optimizer == "sgd" and self._is_auto(),
            unit=0.25 if self.optimizer != "sgd" and self.eta0 is None else 0.0,
        )  # fmt: skip

    def _begin(self, x, columns):
        return Stream(x.shape[1], columns, x.dtype, self.optimizer, self.fit_intercept)

    def _go_on(self, x, columns):
        """A copy of the stream, for warm starts."""
        now = {"optimizer": self.optimizer, "fit_intercept": self.fit_intercept, "features in X": x.shape[1]}
        now["columns of weights"] = columns
        was = self._stream.optimizer, self._stream.has_intercept, *self._stream.shape
        for (name, x), expected in zip(now.items(), was):
            self._warm(name, x, expected, x == expected)
        return self._stream.copy()

    def _warm(self, name, x, expected, same):
        if not same:
            raise ValueError(
                f"warm_start: expected {name} as in the last fit, {short(expected)}, got {short(x)}; with"
                " warm_start=False, fit begins anew"
            )

    def _fit(self, x, targets, weights, columns):
        """Epochs over a set of data, until the losses no longer fall."""
        if weights is not None and not weights.any():
            raise ValueError("sample_weight, class_weight: expected some positive sample weights, got all zero")
        rng = check_random_state(self.random_state)
        if self.warm_start and hasattr(self, "_stream"):
            self._stream = self._go_on(x, columns)
            x = self._cast(x)
        else:
            self._stream = self._begin(x, columns)
        samples, task = Samples(x), self._task()
        order, own = visits(samples, targets, weights) if self.shuffle else stream(len(samples), weights)
        best, patience, began = inf, self.n_iter_no_change, time.perf_counter()
        for epoch in range(1, self.max_iter + 1):
            places = rng.permutation(len(order)) if self.shuffle else slice(None)
            shares = None if own is None else own[places]
            loss = self._learn(samples, order[places], targets, shares, task, epochs=epoch, private=True)
            if self.verbose:
                self._tell(f"epoch {epoch}", loss, time.perf_counter() - began)
            if self.tol is not None:
                patience = self.n_iter_no_change if loss < best - self.tol else patience - 1
                best = min(best, loss)
                if patience == 0:
                    break
        else:
            if self.tol is not None and self.max_iter > 1:
                warnings.warn(
                    f"max_iter: the loss still fell after {self.max_iter} epochs", ConvergenceWarning, stacklevel=3
                )
        if not (np.isfinite(self._stream.coef()).all() and np.isfinite(self._stream.intercept()).all()):
            raise ValueError(DIVERGED)
        self._compare(x, targets, weights, task)

    def _compare(self, x, targets, weights, task):
        """A warning where the model is worse than one that knows nothing of the features: fit cannot have converged."""
        told = self._stream.loss(self._stream.margins(x), targets, weights, task)
        base = [np.zeros(self._stream.shape[1])]
        if self.fit_intercept:
            base += self._constants(targets, np.ones(len(targets)) if weights is None else weights)
        best = min(self._stream.loss(np.broadcast_to(c, (len(targets), len(c))), targets, weights, task) for c in base)
        if not told <= best * (1 + WORSE):
            warnings.warn(
                f"fit: the mean loss is {told:.6g} after {self.n_iter_} epochs, and {best:.6g} for a constant: expected"
                " features of similar size (StandardScaler, MaxAbsScaler), and eta0 and max_iter that let the losses"
                " fall",
                ConvergenceWarning, stacklevel=4,
            )  # fmt: skip

    def _partial_fit(self, x, targets, weights, columns):
        """One pass over the next piece of a stream."""
        began, first = time.perf_counter(), not hasattr(self, "_stream")
        if first:
            self._stream = self._begin(x, columns)
        else:
            x = self._cast(x)
            for name, was in (("optimizer", self._stream.optimizer), ("fit_intercept", self._stream.has_intercept)):
                if getattr(self, name) != was:
                    raise ValueError(f"{name}: expected {was!r}, as the stream began, got {getattr(self, name)!r}")
        samples = Samples(x)
        order, weights = stream(len(samples), weights)
        loss = self._learn(samples, order, targets, weights, self._task(), private=first)
        if self.verbose:
            self._tell(f"{self._stream.completed} samples", loss, time.perf_counter() - began)

    def _cast(self, x):
        """Samples in the dtype of the first ones."""
        dtype = self._stream.dtype
        if x.dtype == dtype:
            return x
        with np.errstate(over="ignore"):
            if issparse(x):
                x.data = x.data.astype(dtype)  # the matrix is our own; SciPy would sort and sum what nobody checked
            else:
                x = x.astype(dtype)
        if not np.isfinite(x.data if issparse(x) else x).all():
            raise ValueError(
                f"X: expected numbers that {dtype}, the dtype of the first samples, can hold, got larger ones"
            )
        return x

    def _learn(self, samples, order, *args, **kwargs):
        """A step for each sample of `order`; the mean of their losses."""
        total = self._stream.learn(samples, order, *args, **kwargs)
        if not np.isfinite(total):
            raise ValueError(DIVERGED)
        return total / max(1, len(order))

    def _tell(self, when, loss, seconds):
        coef = self._stream.coef()
        kept = np.count_nonzero(coef)
        print(f"{when}: mean loss {loss:.6g}, {kept} of {coef.size} weights not zero, {seconds:.2f} s", flush=True)

    def _weights(self, sample_weight, x):
        """A copy: what is checked is what is used."""
        if sample_weight is None:
            return None
        try:
            weights = np.full(x.shape[0], sample_weight) if isinstance(sample_weight, Real) else np.array(sample_weight)
            weights = check_array(weights, ensure_2d=False, dtype=np.float64, order="C", input_name="sample_weight")
        except (TypeError, ValueError) as error:
            if "sample_weight" in str(error):
                raise
            raise ValueError(f"sample_weight: expected numbers, got {short(sample_weight)}; {error}") from error
        if weights.shape != x.shape[:1]:
            raise ValueError(f"sample_weight: expected one for each of {x.shape[0]} samples, got shape {weights.shape}")
        return self._usable(weights, "sample_weight")

    def _usable(self, weights, name):
        """Weights whose sum is one, too."""
        with np.errstate(over="ignore"):
            if not (weights >= 0).all() or not np.isfinite(weights.sum()):
                raise ValueError(f"{name}: expected finite numbers, not negative, of finite sum, got others")
        return weights

    # Results

    @property
    def coef_(self):
        """The weights as they are now, exact zeros where the penalty has removed a feature."""
        return self._shaped(self._fitted("coef_").coef())

    @property
    def intercept_(self):
        """The intercept; zero without one."""
        return self._fitted("intercept_").intercept()

    @property
    def n_iter_(self):
        """The epochs of the last fit; 1 after partial_fit."""
        return self._fitted("n_iter_").learner.epochs

    def _fitted(self, name):
        stream = vars(self).get("_stream")
        if stream is None:
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted")
        return stream

    def _margins(self, x):
        """Of a snapshot, if the caller needs anything else of the model."""
        check_is_fitted(self)
        x = validate_data(self, trusted(x), accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        margins = self._stream.margins(x)
        return margins[:, 0] if margins.shape[1] == 1 else margins


LARGEST = float(np.finfo(float).max)
WORSE = 0.005  # relatively: more than a constant is what no optimum is; rounding and a last step aside
DIVERGED = (
    "eta0: expected a learning rate small enough for these features, got weights or losses that are no longer finite;"
    " scale the features (StandardScaler, MaxAbsScaler) or lower eta0"
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
