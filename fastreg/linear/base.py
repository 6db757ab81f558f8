"""Layer 5, what the two estimators share: parameters, training, and fitted attributes."""

import time
import warnings
from math import inf
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastreg.convert import from_sklearn
from fastreg.linear.csr import trusted
from fastreg.linear.labels import (
    short,
)
from fastreg.linear.order import stream, visits
from fastreg.linear.stream import OPTIMIZERS, Samples, Stream, Task

LARGEST = float(np.finfo(float).max)
WORSE = 0.005  # relatively: more than a constant is what no optimum is; rounding and a last step aside
DIVERGED = (
    "eta0: expected a learning rate small enough for these features, got weights or losses that are no longer finite;"
    " scale the features (StandardScaler, MaxAbsScaler) or lower eta0"
)


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
