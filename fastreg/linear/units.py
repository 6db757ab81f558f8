"""Layer 5, units of features: what the default learning rates learn from where features differ in size, or lie far off.

One learning rate cannot suit features of size 1e-6 and 1e6, or near a million with a standard deviation of 1. Such
features are learnt as x' = (x − origin)/2ᵏ, which is near 1, with weights w' = 2ᵏ·w and l1 and l2 divided by 2ᵏ and 4ᵏ:
the objective is the same, powers of two round nothing, and the intercept takes what the origins add up to. Data that
one rate suits have no units, and are not copied.

Units follow from the samples since their number last doubled, about 80 of them, and change only where it doubles: they
do not depend on how a stream is split. Logarithms are averaged and origins are medians, so that one absurd value is
none. Where units change, weights and sums of squared gradients are converted: see StreamUnits._change_units. Where
features have become larger, they change only after the weights, at the rates so far, had time to become smaller.
"""

from typing import NamedTuple

import numpy as np

from fastreg._boundary.linear import rows_in_units
from fastreg.linear.scales import doublings, measured

FIRST = 8  # the sample before which features are compared for the first time
ALL = 1 << 7  # samples that are all measured; of later ones about 80 until their number doubles
OCTAVES = 8
ROWS = 3  # the last samples, of which origins are medians
FEW = 16  # values from which on a size is known; or most of the samples so far
UNEVEN = 6  # log2 of the ratio of two sizes, also in time, or of the inverse of the largest, that needs units
EVEN = 4  # and below which there are none any more
FAR = 1.0  # log2 of the distance from zero in standard deviations, from which on a feature gets an origin
UNSURE = 8.0  # both are more by this over the root of the number of samples: chance moves them by 2 over it, about
VERY_FAR = 6.0  # from which on that is only after MANY samples
MANY = 64  # in which no value was zero
NEAR = 0.8  # and from which on it keeps an origin
PEAK = 4  # log2 of the ratio of the second largest value to the size, at most
MOVED = 4  # standard deviations between an origin and the last samples, beyond which it moves
ROUNDING = 8  # a standard deviation of fewer units in the last place of the values themselves counts as none
UNKNOWN = -(1 << 20)  # the logarithm of a size
LARGEST = {4: 40, 8: 120}  # exponents beyond it are none, by the bytes of a weight: there are no units then
STRONGEST = 1e4  # strengths beyond it have no units: a weight can hold this times 4⁴⁰, times the number of samples
FEATURES = 1 << 12  # with more features there are no units
DENSE_FEATURES = 1 << 10  # with more, sparse samples are not made dense: no origins, and no units for SGD with L2


class Units(NamedTuple):
    """Of each feature, x' = (x − origin)/2**exponent."""

    exponents: np.ndarray  # int64
    origins: np.ndarray  # float64

    @classmethod
    def unpacked(cls, packed):
        """From what `packed` returns; None for (), raw features."""
        return cls(np.frombuffer(packed[0], np.int64), np.frombuffer(packed[1])) if packed else None

    def packed(self):
        """Bytes, for Sizes: they cannot change, and can be compared."""
        return self.exponents.tobytes(), self.origins.tobytes()

    @property
    def factors(self):
        """What l1 is multiplied by: weights in units are that much smaller in raw ones."""
        return np.ldexp(1.0, -self.exponents)

    @property
    def are_scales(self):
        """Whether zeros stay zeros."""
        return not self.origins.any()

    def of(self, x, order=None):
        """Dense samples in units, in this order, in their dtype."""
        x = np.require(x, requirements="CA")
        order = np.arange(len(x)) if order is None else order
        return rows_in_units(x.ravel(), x.shape[1], order, self.origins, self.factors)

    def raw_values(self, values, features):
        """Single weights, of these features, for raw ones."""
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(values, -self.exponents[features])

    def raw_weights(self, weights):
        """Weights (features, columns) for raw features, in their dtype."""
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(weights, -self.exponents[:, np.newaxis])

    def weights(self, raw):
        """Weights (features, columns) for features in units, from those for raw ones."""
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(raw, self.exponents[:, np.newaxis])

    @property
    def raw_sizes(self):
        """The binary logarithms of the sizes of raw features."""
        return np.where(self.origins != 0, np.frexp(self.origins)[1], self.exponents)

    def moved(self, raw):
        """What the origins add to the margins, (columns,): the intercept for raw features is smaller by that."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (raw.astype(float) * self.origins[:, np.newaxis]).sum(axis=0)


def none_for(features):
    """Raw features as Units."""
    return Units(np.zeros(features, np.int64), np.zeros(features))


def shrinkage(old, new):
    """By which power of two gradients become smaller in new Units, by feature; None for raw features.

    None becomes larger: where features are smaller than in the old units, they were not when gradients were summed.
    Only for raw features, since the user has set learning rates for them.
    """
    if new is None:
        return -old.raw_sizes
    return np.maximum(new.raw_sizes if old is None else new.exponents - old.exponents, 0)


class Magnitude(NamedTuple):
    """Of numbers, by feature: their mean binary logarithm, and more where a few are far larger. One absurd is none."""

    total: np.ndarray  # of the binary logarithms of those that are not zero
    number: np.ndarray
    largest: np.ndarray  # the two largest, (2, features), the larger one last

    @classmethod
    def of_none(cls, features):
        return cls(np.zeros(features), np.zeros(features), np.zeros((2, features)))

    def add(self, x):
        """With numbers (samples, features), one sample after the other.

        Between powers of two logarithms are linear, so that their bits do not depend on a library.
        """
        x = np.abs(x)
        mantissas, exponents = np.frexp(x)
        counts = (x != 0) & np.isfinite(x)
        logarithms = np.where(counts, exponents + 2 * mantissas - 2, 0.0)
        total = self.total
        for row in logarithms:  # without cumsum: along an axis, that of NumPy 2.0 crashes where it gets no memory
            total = total + row
        largest = np.sort(np.concatenate([self.largest, np.where(counts, x, 0.0)]), axis=0)[-2:]
        return Magnitude(total, self.number + np.count_nonzero(counts, axis=0), largest)

    def mean(self, bias):
        """The mean logarithm, plus what it is below that of the size."""
        return self.total / np.maximum(self.number, 1) + bias

    def logarithm(self, bias):
        """The binary logarithm of the size."""
        mean = self.mean(bias)
        return np.maximum(mean, np.where(self.largest[0] > 0, np.frexp(self.largest[0])[1] - PEAK, mean))

    def only(self, kept):
        """Of the features that are kept."""
        return Magnitude(*(kept * x for x in self))


class Survey(NamedTuple):
    """What is known of features since the number of samples last doubled."""

    judged: int  # the number of samples when units were last chosen
    measured: int  # samples since then
    rows: np.ndarray  # the last measured samples, (up to ROWS, features)
    middle: np.ndarray  # the median of those before; at first the first sample
    first: np.ndarray  # the binary logarithms of the sizes that features had first
    value: np.ndarray  # the last one that is not zero
    changes: np.ndarray  # how many were another one than the value before
    grew: np.ndarray  # 1.0 for those that needed larger units already when these were last chosen
    sizes: Magnitude  # of values
    spreads: Magnitude  # of the differences of values, but for zeros, from the middle

    @classmethod
    def unpacked(cls, packed, features):
        """From what `packed` returns; () for nothing known."""
        if not packed:
            none, zero, first = Magnitude.of_none(features), np.zeros(features), np.full(features, float(UNKNOWN))
            return cls(0, 0, np.zeros((0, features)), zero, first, zero, zero, zero, none, none)
        judged, measured, rows, *others = packed
        rows = np.frombuffer(rows).reshape(-1, features)
        *arrays, a, b, c, d, e, f = (np.frombuffer(x) for x in others)
        magnitudes = (Magnitude(*x, largest.reshape(2, features)) for *x, largest in ((a, b, c), (d, e, f)))
        return cls(judged, measured, rows, *arrays, *magnitudes)

    def packed(self):
        """Numbers and bytes, for Sizes."""
        judged, measured, *arrays, sizes, spreads = self
        return judged, measured, *(x.tobytes() for x in (*arrays, *sizes, *spreads))

    def add(self, rows):
        """With these samples, in this order: they give the same bits however they are split."""
        rows = rows.astype(float)
        middle = self.middle if len(self.rows) else rows[0]
        with np.errstate(over="ignore", invalid="ignore"):
            sizes, spreads = self.sizes.add(rows), self.spreads.add(np.where(rows, rows - middle, 0))
        value, changes = self.value, self.changes
        for row in rows:
            differs = (row != 0) & (row != value)
            value, changes = np.where(differs, row, value), changes + differs
        return self._replace(
            measured=self.measured + len(rows), rows=np.concatenate([self.rows, rows])[-ROWS:], middle=middle,
            value=value, changes=changes, sizes=sizes, spreads=spreads,
        )  # fmt: skip

    def choose(self, present, seen, dtype, can_move, is_adaptive):
        """Before sample number `seen`: the Units that suit, the present ones or None while these do; and what is known
        from there on.
        """
        old = none_for(len(self.first)) if present is None else present
        had_origin, known = old.origins != 0, self.sizes.number >= min(FEW, 0.75 * self.measured)
        far, size, usual = self._sizes(had_origin, known, dtype, can_move)
        first = np.where(known & (self.first == UNKNOWN), usual, self.first)
        before = first if present is None else old.exponents
        grows = known & (size > before + 1)
        waits = grows & (self.grew == 0) & (size > usual + 2)
        after = self._replace(first=first, grew=grows * 1.0).start_again(seen)
        own = np.where(known, np.where(waits, before, size), 0).astype(np.int64)
        least = UNEVEN + UNSURE / max(1, self.measured) ** 0.5 if present is None else EVEN
        has_changed = known.any() and np.abs(usual - first)[known].max() >= least
        is_due = far.any() or has_changed or self._is_uneven(own[known], least, is_adaptive)
        if not is_due or np.abs(own).max(initial=0) > LARGEST[dtype.itemsize]:
            return None, after
        differs = (far != had_origin) | (np.abs(own - old.exponents) > 1) | (present is None)
        exponents = np.where(known & differs, own, old.exponents)
        if present is None:  # others are learnt slowly until they are known
            exponents[~known] = max(0, own[known].max(initial=0))
        middle = np.median(self.rows, axis=0)
        stays = had_origin & (np.abs(middle - old.origins) <= MOVED * np.ldexp(1.0, own))
        origins = np.where(far & ~stays, middle, np.where(far | ~known, old.origins, 0.0))
        new = Units(exponents, origins)
        return present if present is not None and all(map(np.array_equal, new, present)) else new, after

    def _sizes(self, had_origin, known, dtype, can_move):
        """Which features lie far from zero, and the binary logarithms, rounded, of the sizes of all; those of the usual
        values alone, without peaks.

        The mean logarithm of normally distributed values is 0.97 below that of their standard deviation, and 0.47 for
        differences. (Differences from the sample before would make a feature that moves slowly seem far from zero.) A
        feature that hardly varies, such as one that marks rare samples, may have larger values: it is not taken to be
        smaller than most.
        """
        size, spread = self.sizes.logarithm(0.97), self.spreads.logarithm(0.47)
        varies = 2 * self.changes >= self.sizes.number
        limit = np.where(had_origin, NEAR, FAR + UNSURE / max(1, self.measured) ** 0.5)
        exact = spread - size > np.log2(ROUNDING * np.finfo(dtype).eps)
        # Zeros, which may mark what is missing, would lie very far from an origin: that it has none must be known.
        has_none = (self.sizes.number == self.measured) & ((size - spread < VERY_FAR) | (self.measured >= MANY))
        far = can_move & known & varies & exact & has_none & (size - spread > limit)
        size, usual = np.where(far, spread, size), np.where(far, self.spreads.mean(0.47), self.sizes.mean(0.97))
        most = np.median(size[known & varies]) if (known & varies).any() else 0.0
        size, usual = (np.where(varies, x, np.maximum(x, most)) for x in (size, usual))
        return far, np.rint(size), np.rint(usual)

    @staticmethod
    def _is_uneven(own, least, is_adaptive):
        """Whether one learning rate does not suit features of these sizes.

        Sums of squared gradients of adaptive optimizers start at the size of 1.
        """
        if not len(own):
            return False
        return (is_adaptive and own.max() <= -least) or own.max() - own.min() >= least

    def is_due(self, seen):
        """Whether units are chosen before sample number `seen`."""
        return seen >= FIRST and seen & (seen - 1) == 0 and self.judged != seen and self.measured >= FIRST

    def start_again(self, seen):
        """After units were chosen. Features with few values so far keep them."""
        if seen < ALL:
            return self._replace(judged=seen)
        few = self.sizes.number < FEW
        sums = {"sizes": self.sizes.only(few), "spreads": self.spreads.only(few), "changes": few * self.changes}
        return self._replace(judged=seen, measured=0, middle=np.median(self.rows, axis=0), **sums)


def tells_nothing(packed, seen, count):
    """Whether the next samples neither change the packed Survey nor what is chosen from it."""
    last = seen + count - 1
    if seen < ALL or seen.bit_length() != last.bit_length() or (seen & (seen - 1) == 0 and packed[:1] != (seen,)):
        return False
    return not measured(seen, count, ALL, OCTAVES)


def follow_features(survey, units, seen, samples, order, can_move, is_adaptive):
    """The Survey after these samples; and, where units change before one of them, its place and the Units, or None."""
    start, count = 0, len(order)
    while start < count:
        now = seen + start
        if survey.is_due(now):
            new, survey = survey.choose(units, now, samples.data.dtype, can_move, is_adaptive)
            if new is not units:
                return survey, (start, new)
        stop = min([count, *(start + end + 1 for end in doublings(now, count - start)[:1])])
        places = measured(now, stop - start, ALL, OCTAVES)
        rows = order[start:stop][places]
        if len(rows):
            survey = survey.add(samples.rows(rows))
        start = stop
    return survey, None
