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
    from sklearn.utils import check_array, check_random_state, compute_class_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f'fastreg.linear: expected scikit-learn 1.6 or later, pip install "scikit-learn>=1.6"; {error}'
    ) from error

from fastreg._stream import OPTIMIZERS, Samples, Stream
from fastreg.convert import from_sklearn

__all__ = ["StreamingClassifier", "StreamingRegressor"]

MOST = 16  # visits of a sample in an epoch, on average


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
        if self.eta0 == 0:
            raise ValueError("eta0: expected a positive number, got 0")
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
        if not isinstance(x, Real) or isinstance(x, bool) or not low <= x <= high or x == inf:
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
            rates = np.array([schedule(t) for t in steps.tolist()], float)
            if not (np.isfinite(rates) & (rates >= 0)).all():
                raise ValueError("learning_rate: expected a callable that returns finite numbers, not negative")
            return rates
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

    def _begin(self, x, columns):
        self._stream = Stream(x.shape[1], columns, x.dtype, self.optimizer, self.fit_intercept)

    def _fit(self, x, targets, weights, columns):
        """Epochs over a set of data, until the losses no longer fall."""
        if weights is not None and not weights.any():
            raise ValueError("sample_weight, class_weight: expected some positive sample weights, got all zero")
        samples, rng = Samples(x), check_random_state(self.random_state)
        if not (
            self.warm_start
            and hasattr(self, "_stream")
            and self._stream.suits(x, columns, self.optimizer, self.fit_intercept)
        ):
            self._begin(x, columns)
        order, weights = visits(samples, targets, weights) if self.shuffle else stream(len(samples), weights)
        best, patience, began = inf, self.n_iter_no_change, time.perf_counter()
        for epoch in range(1, self.max_iter + 1):
            places = rng.permutation(len(order)) if self.shuffle else slice(None)
            loss = self._pass(samples, order[places], targets, None if weights is None else weights[places])
            self.n_iter_ = epoch
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
        if not (np.isfinite(self._stream.coef()).all() and np.isfinite(self.intercept_).all()):
            raise ValueError(DIVERGED)
        return self

    def _partial_fit(self, x, targets, weights, columns):
        """One pass over the next piece of a stream."""
        began = time.perf_counter()
        if not hasattr(self, "_stream"):
            samples = Samples(x)
            self._begin(x, columns)
        else:
            samples = Samples(self._cast(x))
            for name, was in (("optimizer", self._stream.optimizer), ("fit_intercept", self._stream.has_intercept)):
                if getattr(self, name) != was:
                    raise ValueError(f"{name}: expected {was!r}, as the stream began, got {getattr(self, name)!r}")
        order, weights = stream(len(samples), weights)
        loss = self._pass(samples, order, targets, weights)
        self.n_iter_ = 1
        if self.verbose:
            self._tell(f"{self._stream.completed} samples", loss, time.perf_counter() - began)
        return self

    def _cast(self, x):
        """Samples in the dtype of the first ones."""
        dtype = self._stream.dtype
        if x.dtype == dtype:
            return x
        with np.errstate(over="ignore"):
            x = x.astype(dtype)
        if not np.isfinite(x.data if issparse(x) else x).all():
            raise ValueError(
                f"X: expected numbers that {dtype}, the dtype of the first samples, can hold, got larger ones"
            )
        return x

    def _pass(self, samples, order, targets, weights):
        """A step for each sample of `order`; the mean of their losses."""
        strengths = from_sklearn(self.alpha, self.l1_ratio)
        total = self._stream.learn(
            samples, order, targets, weights, self._rates, strengths, self.loss, float(self.epsilon),
            careful=self.optimizer == "sgd" and self._is_auto(),
            unit=0.25 if self.optimizer != "sgd" and self.eta0 is None else 0.0,
        )  # fmt: skip
        if not np.isfinite(total):
            raise ValueError(DIVERGED)
        return total / max(1, len(order))

    def _tell(self, when, loss, seconds):
        coef = self._stream.coef()
        kept = np.count_nonzero(coef)
        print(f"{when}: mean loss {loss:.6g}, {kept} of {coef.size} weights not zero, {seconds:.2f} s", flush=True)

    def _weights(self, sample_weight, x):
        if sample_weight is None:
            return None
        weights = np.full(x.shape[0], sample_weight) if isinstance(sample_weight, Real) else sample_weight
        weights = check_array(weights, ensure_2d=False, dtype=np.float64, order="C", input_name="sample_weight")
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
        self._fitted("coef_")
        return self._shaped(self._stream.coef())

    @property
    def intercept_(self):
        """The intercept; zero without one."""
        self._fitted("intercept_")
        stream = self._stream
        return np.zeros(len(stream.coef())) if stream.intercept is None else stream.intercept.copy()

    def _fitted(self, name):
        if not hasattr(self, "_stream"):
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted")

    def _margins(self, x):
        check_is_fitted(self)
        x = validate_data(self, x, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        margins = self._stream.margins(x)
        return margins[:, 0] if margins.shape[1] == 1 else margins


DIVERGED = (
    "eta0: expected a learning rate small enough for these features, got weights or losses that are no longer finite;"
    " scale the features (StandardScaler, MaxAbsScaler) or lower eta0"
)


def stream(count, weights):
    """The samples to visit, as they come, and their weights; one of weight zero is none."""
    order = np.arange(count)
    if weights is None:
        return order, None
    return order[weights > 0], weights[weights > 0]


def visits(samples, targets, weights):
    """The samples to visit in an epoch, in an order that depends on them alone, and the weights of the visits.

    A sample of weight k is visited k times, which is the same as k copies of weight 1; a fraction is spread over the
    next whole number of visits. Weights are relative: those of the visits average to 1.
    """
    order = np.arange(len(samples))
    if weights is not None:
        times = np.ceil(weights / max(1.0, weights.mean() / MOST)).astype(np.intp)
        order = np.repeat(order, times)
        weights = (weights / np.maximum(times, 1))[order]
        weights = weights / weights.mean()
    key = samples.prints[order] + np.pi * targets[order] + (0 if weights is None else np.e * weights)
    by_content = np.argsort(key)  # equal samples may change places
    return order[by_content], None if weights is None else weights[by_content]


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
        samples seen. "auto" is "optimal", but no step takes a sample beyond the minimum of its own loss: features need
        not be scaled for it to converge. The other optimizers have "constant" (auto) alone.
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
        True: the data of :meth:`fit` are a set. Their order does not matter, a weight of k means the same as k copies
        (up to a mean weight of 16, beyond which visits would get too many), and weights are relative. False: they are a
        stream, taken exactly as :meth:`partial_fit` does.
    random_state : int, RandomState or None
        For the shuffling.
    class_weight : dict, "balanced" or None
        Multiplies sample weights; "balanced" is for :meth:`fit` only.
    warm_start : bool, default False
        Let :meth:`fit` go on from where the last one ended.
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

    Errors are raised before anything has changed, with two exceptions. Training that diverges ends in a ValueError,
    with weights that are lost: fit anew. An interrupt, or an error in a callable, comes between samples, every so many
    thousand: those before it have been learned. One thread at a time may train; another gets a RuntimeError.

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
        self._check_parameters()
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C")
        check_classification_targets(y)
        weights = self._weights(sample_weight, X)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y: expected at least two classes, got one class, {classes[0]!r}")
        weights = self._by_class(weights, classes, codes, y)
        if not np.array_equal(getattr(self, "classes_", classes), classes):
            vars(self).pop("_stream", None)  # not a warm start: it knows other classes
        self.classes_ = classes
        return self._fit(X, self._targets(codes), weights, self._columns())

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
        self._check_parameters()
        first = not hasattr(self, "_stream")
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", reset=first)
        known = np.unique(classes) if first and classes is not None else getattr(self, "classes_", None)
        if known is None:
            raise ValueError("classes: expected all classes in the first call of partial_fit, got None")
        if classes is not None and not np.array_equal(known, np.unique(classes)):
            raise ValueError(f"classes: expected {known!r}, as in the first call, got {classes!r}")
        if len(known) < 2:
            raise ValueError(f"classes: expected at least two classes, got {classes!r}")
        if not np.isin(y, known).all():
            raise ValueError(f"y: expected labels among the classes {known!r}, got {np.setdiff1d(y, known)!r} too")
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight: expected a dict or None with partial_fit, which cannot balance what is to come"
            )
        codes = np.searchsorted(known, y)
        weights = self._by_class(self._weights(sample_weight, X), known, codes, y)
        self.classes_ = known
        return self._partial_fit(X, self._targets(codes), weights, self._columns())

    def _columns(self):
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _targets(self, codes):
        """-1 and 1 for two classes, else their numbers."""
        return 2.0 * codes - 1 if len(self.classes_) == 2 else codes.astype(float)

    def _by_class(self, weights, classes, codes, y):
        """Sample weights times those of the classes."""
        if self.class_weight is None:
            return weights
        if not isinstance(self.class_weight, dict) and self.class_weight != "balanced":
            raise ValueError(f"class_weight: expected a dict, 'balanced' or None, got {self.class_weight!r}")
        own = np.asarray(compute_class_weight(self.class_weight, classes=classes, y=y), float)[codes]
        return self._usable(own if weights is None else own * weights, "class_weight")

    def _shaped(self, coef):
        return coef

    def decision_function(self, X):
        """The margins, (samples,) for two classes, else (samples, classes)."""
        return self._margins(X)

    def predict(self, X):
        """The class with the largest margin for each sample."""
        margins = self._margins(X)
        places = (margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)
        return self.classes_[places]

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
        return self._fit(*self._checked(X, y, sample_weight, reset=True), 1)

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
        return self._partial_fit(*self._checked(X, y, sample_weight, reset=not hasattr(self, "_stream")), 1)

    def _checked(self, x, y, sample_weight, reset):
        self._check_parameters()
        x, y = validate_data(
            self, x, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", y_numeric=True, reset=reset
        )
        return x, np.ascontiguousarray(y, dtype=float), self._weights(sample_weight, x)

    def _shaped(self, coef):
        return coef[0]

    def predict(self, X):
        """The predicted values, (samples,)."""
        return self._margins(X)
