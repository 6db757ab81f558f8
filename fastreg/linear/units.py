"""Layer 5, units of features: what the default learning rates learn from where features differ in size, or lie far off.

One learning rate cannot suit features of size 1e-6 and 1e6, or near a million with a standard deviation of 1. Such
features are learnt as x' = (x − origin)/2ᵏ, which is near 1, with weights w' = 2ᵏ·w and l1 and l2 divided by 2ᵏ and 4ᵏ:
the objective is the same, powers of two round nothing, and the intercept takes what the origins add up to. Data that
one rate suits have no units, and are not copied.

Units follow from the samples since their number last doubled, about 80 of them, and change only where it doubles: they
do not depend on how a stream is split. Logarithms are averaged and origins are medians, so that one absurd value is
none. Where units change, weights and sums of squared gradients are converted: see Stream._change_units.
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
UNEVEN = 7  # log2 of the ratio of two sizes, also in time, or of the inverse of the largest, that needs units
EVEN = 4  # and below which there are none any more
FAR = 1.0  # log2 of the distance from zero in standard deviations, from which on a feature gets an origin,
UNSURE = 8.0  # more by this over the root of the number of samples, since chance moves it by about 2 over that root
NEAR = 0.8  # and from which on it keeps an origin
MOVED = 4  # standard deviations between an origin and the last samples, beyond which it moves
ROUNDING = 8  # a standard deviation of fewer units in the last place of the values themselves counts as none
UNKNOWN = -(1 << 20)  # the logarithm of a size
LARGEST = 40  # the exponents lie within ±40
STRONGEST = 1e4  # strengths beyond it have no units: float32 can hold this times 4⁴⁰, times the number of samples
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


class Survey(NamedTuple):
    """What is known of features since the number of samples last doubled: sums of binary logarithms, by feature."""

    judged: int  # the number of samples when units were last chosen
    measured: int  # samples since then
    rows: np.ndarray  # the last measured samples, (up to ROWS, features)
    sizes: np.ndarray  # sum for absolute values that are not zero
    values: np.ndarray  # their number
    spreads: np.ndarray  # the same for differences from the sample measured before
    differences: np.ndarray
    first: np.ndarray  # the binary logarithms of the sizes that features had first

    @classmethod
    def unpacked(cls, packed, features):
        """From what `packed` returns; () for nothing known."""
        if not packed:
            zero = np.zeros(features)
            return cls(0, 0, np.zeros((0, features)), zero, zero, zero, zero, np.full(features, float(UNKNOWN)))
        judged, measured, rows, *others = packed
        return cls(judged, measured, np.frombuffer(rows).reshape(-1, features), *map(np.frombuffer, others))

    def packed(self):
        """Numbers and bytes, for Sizes."""
        judged, measured, *arrays = self
        return judged, measured, *(x.tobytes() for x in arrays)

    def add(self, rows):
        """With these samples, in this order: they give the same bits however they are split."""
        rows = rows.astype(float)
        with np.errstate(over="ignore", invalid="ignore"):
            before = np.concatenate([self.rows[-1:], rows])
            sizes, values = _logarithms(rows, self.sizes)
            spreads, differences = _logarithms(np.diff(before, axis=0), self.spreads)
        return self._replace(
            rows=before[-ROWS:] if len(rows) >= ROWS else np.concatenate([self.rows, rows])[-ROWS:],
            sizes=sizes, values=self.values + values, spreads=spreads, differences=self.differences + differences,
            measured=self.measured + len(rows),
        )  # fmt: skip

    def choose(self, present, seen, dtype, can_move, is_adaptive):
        """Before sample number `seen`: the Units that suit, the present ones or None while these do; and what is known
        from there on.
        """
        size, spread = self._logarithms()
        old = none_for(len(size)) if present is None else present
        had_origin, known = old.origins != 0, self.values >= min(FEW, 0.75 * self.measured)
        varies = (2 * self.differences >= self.measured) & (spread - size > np.log2(ROUNDING * np.finfo(dtype).eps))
        limit = np.where(had_origin, NEAR, FAR + UNSURE / max(1, self.measured) ** 0.5)
        far = can_move & known & varies & (size - spread > limit)
        own = np.rint(np.where(far, spread, size)).astype(np.int64)
        first = np.where(known & (self.first == UNKNOWN), own, self.first)
        after = self._replace(first=first).start_again(seen)
        least = UNEVEN if present is None else EVEN
        if not far.any() and not self._is_uneven(own[known], first[known], least, is_adaptive):
            return None, after
        own = np.clip(own, -LARGEST, LARGEST)
        differs = (far != had_origin) | (np.abs(own - old.exponents) > 1) | (present is None)
        exponents = np.where(known & differs, own, old.exponents)
        middle = np.median(self.rows, axis=0)
        stays = had_origin & (np.abs(middle - old.origins) <= MOVED * np.ldexp(1.0, own))
        origins = np.where(far & ~stays, middle, np.where(far | ~known, old.origins, 0.0))
        new = Units(exponents, origins)
        return present if present is not None and all(map(np.array_equal, new, present)) else new, after

    def _logarithms(self):
        """The binary logarithms of sizes and of standard deviations.

        For normally distributed values, the mean logarithm is 0.97 below that of the standard deviation, and 0.47 for
        differences. (For a feature that is 0 or 1 it is 0 above that of its size: such an error does not matter.)
        """
        return (self.sizes / np.maximum(self.values, 1) + 0.97, self.spreads / np.maximum(self.differences, 1) + 0.47)

    @staticmethod
    def _is_uneven(own, first, least, is_adaptive):
        """Whether one learning rate does not suit features of these sizes, or not after the `first` sizes.

        Sums of squared gradients of adaptive optimizers start at the size of 1.
        """
        if not len(own):
            return False
        is_small = is_adaptive and own.max() <= -least
        return is_small or np.abs(own - first).max() >= least or own.max() - own.min() >= least

    def is_due(self, seen):
        """Whether units are chosen before sample number `seen`."""
        return seen >= FIRST and seen & (seen - 1) == 0 and self.judged != seen

    def start_again(self, seen):
        """After units were chosen. Features with few values so far keep them."""
        if seen < ALL:
            return self._replace(judged=seen)
        few = self.values < FEW
        sums = (few * x for x in (self.sizes, self.values, self.spreads, self.differences))
        return Survey(seen, 0, self.rows, *sums, self.first)


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


def _logarithms(x, total):
    """The sum of the binary logarithms of what is not zero, added to the total one after the other, and its number.

    Between powers of two they are linear, so that their bits do not depend on a library.
    """
    mantissas, exponents = np.frexp(np.abs(x))
    counts = (x != 0) & np.isfinite(x)
    logarithms = np.where(counts, exponents + 2 * mantissas - 2, 0.0)
    return np.cumsum(np.concatenate([total[np.newaxis], logarithms]), axis=0)[-1], np.count_nonzero(counts, axis=0)
