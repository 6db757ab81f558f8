"""Layer 5, training and fitted attributes of the two estimators."""

import time
from math import isfinite
from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from fastreg.convert import from_sklearn
from fastreg.linear.csr import checked_matrix
from fastreg.linear.factors import penalty_of
from fastreg.linear.fitting import DivergenceError, Fitting
from fastreg.linear.labels import short
from fastreg.linear.order import stream_order
from fastreg.linear.results import Results
from fastreg.linear.samples import Samples
from fastreg.linear.scales import ABSURD, ABSURD_IN_UNITS, SMALL, level, unevenness
from fastreg.linear.stream import Stream, Task
from fastreg.optimizers.group_axis import zero_group_counts
from fastreg.optimizers.notices import warn
from fastreg.optimizers.reports import Report, row
from fastreg.reference.losses import LOG_LINK

LOOKED_AT = 64  # sample of a stream at which the sizes of features are compared


class StreamingBase(Results, Fitting):
    """Training on a set of data or on a stream; the subclasses check targets and interpret margins."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_stream")

    # Training

    def _snapshot(self):
        """A shallow copy: parameters and fitted attributes that belong together, even if another thread trains.

        Training works on the snapshot, and `_replace_with` stores the result with a single assignment to `__dict__`. An
        interrupt comes before or after it, so that the attributes always belong to the same model.
        """
        snapshot = object.__new__(type(self))
        snapshot.__dict__ = dict(vars(self))
        return snapshot

    def _replace_with(self, snapshot):
        """Adopt the fitted attributes of the snapshot."""
        new = vars(self) | {name: x for name, x in vars(snapshot).items() if name not in self._get_param_names()}
        if "feature_names_in_" not in vars(snapshot):
            new.pop("feature_names_in_", None)
        self.__dict__ = new
        return self

    def _task(self):
        return self._task_of(self._stream, self._strengths(self._stream))

    def _task_of(self, stream, strengths):
        own_rates = self._has_own_rates()
        return Task(
            self._rates, strengths, *self._loss_of_margins(),
            limit_rates=self.optimizer == "sgd" and (self._is_auto() or self.loss in LOG_LINK),
            base_rate=0.25 if own_rates and self.optimizer != "sgd" else 0.0,
            follows_sizes=own_rates,
            factors=self._checked_factors(stream, strengths[1]),
            starts_at_target=own_rates,
        )  # fmt: skip

    def _strengths(self, stream, strength=None):
        """The strengths l1, l2 and l21, of the model or of another alpha and l1_ratio."""
        l1, l2 = from_sklearn(*(self._strength() if strength is None else strength))
        return (0.0, l2, l1) if self._is_grouped(stream) else (l1, l2, 0.0)

    def _is_grouped(self, stream):
        """Whether the weights of a feature are a group; a single weight has the same penalty as without groups."""
        return self.group is not None and stream.shape[1] > 1

    def _checked_factors(self, stream, l2):
        """The Factors, if they are valid for this optimizer."""
        factors = stream.factors_of(self.penalty_factor)
        if self.optimizer == "sgd" and l2 != 0 and factors.fraction is not None:
            raise ValueError(
                "penalty_factor: expected only 0 and 1 with optimizer='sgd' and an L2 penalty, since pending L2"
                f" penalties with other factors have no closed form, got {factors.fraction!r}; set l1_ratio=1 or"
                " another optimizer"
            )
        return factors

    def _new_stream(self, x, columns):
        return Stream(x.shape[1], columns, x.dtype, self.optimizer, self.fit_intercept, self.positive)

    def _warm_stream(self, x, columns):
        """A copy of the fitted stream, for warm_start=True."""
        stream = self._stream
        for name, given, expected in (
            ("optimizer", self.optimizer, stream.optimizer),
            ("fit_intercept", self.fit_intercept, stream.has_intercept),
            ("positive", self.positive, stream.positive),
            ("features in X", x.shape[1], stream.shape[0]),
            ("columns of weights", columns, stream.shape[1]),
        ):
            self._check_warm_start(name, given, expected, given == expected)
        return stream.copy()

    def _check_warm_start(self, name, given, expected, same):
        if not same:
            raise ValueError(
                f"warm_start: expected {name} as in the last fit, {short(expected)}, got {short(given)}; set"
                " warm_start=False to fit a new model"
            )

    def _partial_fit(self, x, targets, weights, columns, offsets=None):
        """One pass over the next batch of a stream."""
        start, first = time.perf_counter(), not hasattr(self, "_stream")
        if first:
            self._stream = self._new_stream(x, columns)
        else:
            x = self._cast(x, self._stream.dtype)
            self._check_same(self._stream)
        samples = self._samples(x, offsets)
        order, weights = stream_order(len(samples), weights)
        left_out, seen = [], self._stream.sizes.seen
        loss = self._learn(samples, order, targets, weights, self._task(), private=first, left_out=left_out)
        self._tell_sizes(x, seen, len(order), left_out, self._stream, self._task())
        if self.verbose:
            self._report(f"{self._stream.completed} samples", "mean loss", loss, time.perf_counter() - start)

    def _samples(self, x, offsets):
        """The samples of a batch; they are finite. (One pass over the values: `follow` needs the largest one.)"""
        samples = Samples(x, offsets)
        if not isfinite(samples.largest):
            assert_all_finite(samples.data, input_name="X", estimator_name=type(self).__name__)
        return samples

    def _tell_left_out(self, left_out, count):
        """Warn of samples that were not learnt."""
        if left_out:
            warn(
                f"X, y: {sum(left_out)} of {count} samples were left out, with a feature or target beyond {ABSURD:g}"
                f" times the usual size, or {ABSURD_IN_UNITS:g} where features have units (docs/streams.md); to learn"
                " from them, scale the data or set eta0",
                UserWarning,
            )

    def _tell_sizes(self, x, seen, count, left_out, stream, task):
        """Warn of samples that were left out, and once of what the rates do not suit: small targets, and features that
        need units and get none.
        """
        self._tell_left_out(left_out, count)
        is_due = self._has_own_rates() and seen < LOOKED_AT <= seen + count
        size = stream.sizes.of_targets.last
        if is_due and self.optimizer != "sgd" and 0 < size < min(SMALL, level(self.loss, size)):
            warn(
                f"y: targets of about {size:.1g}; steps of optimizer={self.optimizer!r} do not get smaller with targets"
                f" below {SMALL:g}, and may be too long at first: multiply y by a number, or set optimizer='sgd'",
                UserWarning,
            )
        if is_due and not issparse(x) and len(x) > 1:
            uneven = unevenness(x[-LOOKED_AT:], *stream.suits(task))
            if uneven:
                warn(
                    f"X: {uneven}, and a stream has one learning rate for all features: some hardly learn; scale them"
                    " (StandardScaler), or use fit, which ends at the minimum",
                    UserWarning,
                )

    def _check_same(self, stream):
        """Check the parameters that the first call of partial_fit has settled."""
        for name, first_value in (
            ("optimizer", stream.optimizer),
            ("fit_intercept", stream.has_intercept),
            ("positive", stream.positive),
        ):
            if getattr(self, name) != first_value:
                raise ValueError(f"{name}: expected {first_value!r}, as in the first call, got {getattr(self, name)!r}")

    def _cast(self, x, dtype):
        """The samples in the dtype of the first call."""
        if x.dtype == dtype:
            return x
        given = x.data if issparse(x) else x
        with np.errstate(over="ignore"):
            cast = given.astype(dtype)
        if not np.isfinite(cast).all() and np.isfinite(given).all():
            raise ValueError(
                f"X: expected numbers that {dtype}, the dtype of the first call, can hold, got larger ones"
            )
        if not issparse(x):
            return cast
        x.data = cast  # a private matrix; SciPy's astype would sort it and sum duplicates
        return x

    def _learn(self, samples, order, *args, **kwargs):
        """One step for each entry of `order`; returns the mean of the losses before the steps."""
        total = self._stream.learn(samples, order, *args, **kwargs)
        if not np.isfinite(total):
            raise DivergenceError
        return total / max(1, len(order))

    def _sample_weights(self, sample_weight, x):
        weights = self._numbers(sample_weight, x, "sample_weight")
        return None if weights is None else self._check_weights(weights, "sample_weight")

    def _numbers(self, given, x, name):
        """A number for each sample: a checked copy, which the caller cannot change afterwards; None for none."""
        if given is None:
            return None
        try:
            numbers = np.full(x.shape[0], given) if isinstance(given, Real) else np.array(given)
            numbers = check_array(numbers, ensure_2d=False, dtype=np.float64, order="C", input_name=name)
        except (TypeError, ValueError) as error:
            if name in str(error):
                raise
            raise ValueError(f"{name}: expected numbers, got {short(given)}; {error}") from error
        if numbers.shape != x.shape[:1]:
            raise ValueError(f"{name}: expected one for each of {x.shape[0]} samples, got shape {numbers.shape}")
        return numbers

    def _check_weights(self, weights, name):
        """The weights, if they are finite and not negative, and their sum is finite."""
        with np.errstate(over="ignore"):
            if not (weights >= 0).all() or not np.isfinite(weights.sum()):
                raise ValueError(f"{name}: expected finite numbers, not negative, with a finite sum, got others")
        return weights

    # Results

    @property
    def n_iter_(self):
        """The number of epochs of the last fit; 1 after partial_fit."""
        return self._fitted_stream("n_iter_").epochs

    def report(self):
        """Zeros, norm and penalty of `coef_`, as one row: see :meth:`fastreg.Optimizer.report`.

        `untouched` counts the weights that never had a gradient, such as those of features without a value; None for
        "sgd", which has no state that tells.

        Examples
        --------
        >>> from fastreg.linear import StreamingRegressor
        >>> x, y = [[1.0, 0.0], [0.0, 1.0]], [3.0, 0.0]
        >>> StreamingRegressor(alpha=0.25, l1_ratio=1.0, fit_intercept=False).fit(x, y).report()
        tensor  size  zeros  share  untouched  norm  penalty
        coef_      2      1  50.0%          1   2.5    0.625
        total      2      1  50.0%          1   2.5    0.625
        """
        stream = self._fitted_stream("report").copy()  # weights and state of the same moment
        coef = stream.coef()
        counts = zero_group_counts(coef, 1) if self._is_grouped(stream) else (None, None)
        return Report(coef_=row(coef, self._penalty_of(stream), *stream.squares(), counts))

    def _penalty_of(self, stream):
        return penalty_of(stream.coef(), self._strengths(stream), stream.factors_of(self.penalty_factor).array)

    def _margins(self, x):
        """The margins; called on a snapshot if the caller also needs other attributes of the same model."""
        check_is_fitted(self)
        x = validate_data(self, checked_matrix(x), accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        margins = self._stream.margins(x, self._is_sparse)
        return margins[:, 0] if margins.shape[1] == 1 else margins
