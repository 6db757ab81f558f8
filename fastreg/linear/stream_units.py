"""Layer 5, the units of a stream: where its features need them, and how the model goes on in others."""

import numpy as np

from fastreg.linear.optimizers import OPTIMIZERS
from fastreg.linear.scales import FEW, Mean
from fastreg.linear.units import (
    ALL,
    DENSE_FEATURES,
    EVEN,
    FEATURES,
    STRONGEST,
    Survey,
    Units,
    follow_features,
    none_for,
    shrinkage,
    tells_nothing,
)  # fmt: skip
from fastreg.linear.weights import COPIED, StreamWeights


class Split(Exception):  # noqa: N818, since it is no error
    """A call is to be made in parts: `count` samples first; where that is 0, features get the units of `sizes`, or,
    with a `center`, the stream begins anew from that intercept.
    """

    def __init__(self, count, sizes=None, center=None, left_out=()):
        super().__init__(count)
        self.count, self.sizes, self.center, self.left_out = count, sizes, center, left_out


class StreamUnits(StreamWeights):
    """The base of Stream, which has a Learner and the other settings."""

    def _can_have_units(self, task):
        """Whether features are learnt in units where they need them."""
        fits = self.shape[0] <= (DENSE_FEATURES if self._makes_dense() else FEATURES)
        is_plain = task.factors.fraction is None and self._strongest(task) <= STRONGEST
        return fits and is_plain and task.follows_sizes

    def _strongest(self, task):
        return max(task.strengths)

    def _makes_dense(self):
        """Whether samples in units must be dense: for SGD, pending L2 penalties with factors have no closed form."""
        return self.optimizer == "sgd"

    def suits(self, task):
        """Whether features that differ in size are learnt in units, and whether those far from zero have origins."""
        has_units = self._can_have_units(task)
        return has_units, has_units and self._can_have_origins()

    def _can_have_origins(self):
        return self.has_intercept and self.shape[0] <= DENSE_FEATURES

    def _survey(self, sizes, samples, order, task):
        """The Sizes with what these samples tell of the features. Split where they must be learnt in parts."""
        if not len(order) or not samples.fit(self.shape[0]):  # which the learner refuses
            return sizes
        features, units = self.shape[0], Units.unpacked(sizes.units)
        if not self._can_have_units(task):
            if units is not None:
                raise Split(0, sizes._replace(survey=(), units=(), of_samples=Mean()))
            return sizes._replace(survey=())
        most = max(1, COPIED // max(1, features))
        if units is not None and len(order) > most:
            raise Split(most)
        if tells_nothing(sizes.survey, sizes.seen, len(order)):
            return sizes
        survey = Survey.unpacked(sizes.survey, features)
        if sizes.of_samples.has_moved and survey.is_due(
            sizes.seen
        ):  # the weights find their new size first: see scales.py
            survey = survey.start_again(sizes.seen)
        known = survey, units, sizes.seen, samples, order
        survey, change = follow_features(*known, self._can_have_origins(), self.optimizer != "sgd")
        if change is not None:
            start, new = change
            size, packed = (Mean(), ()) if new is None else (Mean(last=1.0), new.packed())
            raise Split(start, sizes._replace(survey=survey.packed(), units=packed, of_samples=size))
        return sizes._replace(survey=survey.packed())

    def _in_units(self, units, samples, order):
        """These samples with features in units."""
        return samples.in_units(units, order, self._makes_dense() or not units.are_scales)

    def _factor_array(self, sizes, task):
        """The penalty factors that the learner needs: the array that it has, if it is the same."""
        if not sizes.units:
            return task.factors.array
        factors = Units.unpacked(sizes.units).factors.astype(self.dtype)
        if task.factors.array is not None:
            factors *= task.factors.array
        factors.flags.writeable = False
        current = self.learner.factors
        return current if current is not None and np.array_equal(current, factors) else factors

    @staticmethod
    def _largest_factor(units, factors, array):
        """What the dtype must hold times the strengths: units are squared."""
        return max(1.0, float(array.max())) ** 2 if units else factors.largest

    def _change_units(self, sizes, task):
        """Go on in the units of `sizes`: the model predicts the same. Nobody else can have this stream."""
        learner, features = self.learner, self.shape[0]
        learner.flush()
        old, new = Units.unpacked(self.sizes.units), Units.unpacked(sizes.units)
        before, after = (none_for(features) if x is None else x for x in (old, new))
        _, weights, *_ = learner.read(features)
        raw, center, intercept = before.raw_weights(weights.astype(float)), learner.center, None
        if self.has_intercept:
            intercept = (learner.intercept[0] + after.moved(raw) - before.moved(raw)).astype(self.dtype)
        if old is None and sizes.seen <= FEW and not self._is_placed:
            raw, intercept = 0 * raw, None if intercept is None else 0 * intercept
        jumped = np.zeros(features, bool)
        if new is not None:
            first = Survey.unpacked(sizes.survey, features).first if old is None else old.exponents
            jumped = new.exponents - first >= EVEN
        self._convert_sums(shrinkage(old, new), jumped | (old is None and sizes.seen < ALL))
        learner.set_units(self._factor_array(sizes, task), new is not None)
        with np.errstate(over="ignore", under="ignore"):
            weights = after.weights(raw).T.astype(self.dtype)
        learner.place(weights, intercept, learner.epochs)
        if new is not None:
            learner.solve(task.base_rate * sizes.learnt_level)
        learner._count(learner.epochs, center, sizes.numbers())

    def _begin_anew(self, sizes, center, task):
        """Forget what was learnt, but not the numbers of steps. Nobody else can have this stream."""
        learner, (features, columns) = self.learner, self.shape
        learner.flush()
        self._convert_sums(np.zeros(features, int), np.ones(features, bool))
        learner.set_units(self._factor_array(sizes, task), False)
        zeros = np.zeros(columns, self.dtype) if self.has_intercept else None
        learner.place(np.zeros((columns, features), self.dtype), zeros, learner.epochs)
        learner.solve(task.base_rate * sizes.learnt_level)
        learner._count(learner.epochs, center, sizes.numbers())

    def _convert_sums(self, shrinkages, starts_again):
        """Sums of squared gradients become about those of features in new units, or start again.

        They start again where steps before were at rates that did not suit and can have had any gradients: before the
        first units, and where features have become much larger.
        """
        optimizer, learner = OPTIMIZERS[self.optimizer], self.learner
        if optimizer.squares is None:
            return
        initial, sums = optimizer.initial_state[optimizer.squares], learner.records["ab"[optimizer.squares]]
        with np.errstate(over="ignore", under="ignore"):
            sums[...] = initial + (sums - initial) * np.ldexp(1.0, -2 * shrinkages)[:, np.newaxis]
        sums[starts_again] = initial
        if starts_again.any():
            for own in learner.intercept[1 + optimizer.squares :]:
                own[...] = initial
