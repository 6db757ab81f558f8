"""Layer 5, what the default learning rates know of the data: the sizes of samples and targets, and what exceeds them.

Sizes are means over the samples since their number last doubled: they follow a change of units, and forget. They change
only where it doubles, since each change costs a pass over all weights. A sample far beyond them is left out: its
gradient would end the learning of all weights that it meets. Where most are far, units have changed: until the number
doubles once more, samples are learnt at the rates so far, with which the weights find their new size; at smaller ones,
adaptive optimizers would not get there. Of the first targets, none is known to be absurd before there are FEW: then the
stream begins anew if one was. Nothing here depends on how a stream is split.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from fastreg._boundary.linear import add_in_order

MEASURED = 1 << 10  # samples that are all measured; of later ones about 158 until their number doubles
GOLDEN = (1 + 5**0.5) / 2
FEW = 16  # samples after which sizes are known well enough to tell what is far from them
ABSURD = 1e6  # times the size so far: a sample that is left out
ABSURD_IN_UNITS = 1e4  # the same for features in units, see units.py
EARLY = 1e3  # times the size of most of the first FEW targets: they are forgotten
FAR = 30  # times the size so far: left out of the mean, unless most sizes are: then units have changed
SMALL = 1e-3  # targets for which adaptive steps may be too long at first
SMALLEST_LEVEL, LARGEST_LEVEL = 1e-15, 1e30
UNEVEN = 1e3  # ratio of the sizes of features, or of a mean to the standard deviation, that one rate does not suit


class Mean(NamedTuple):
    """The mean of some sizes since the number of samples last doubled; those that are far from `last` count apart."""

    total: float = 0.0
    near: int = 0  # their number
    far: int = 0  # that of the others
    last: float = 0.0  # the mean when the number of samples last doubled; 0 before there is one
    has_moved: bool = False  # whether most sizes before that were far: `last` waits, and no size is far from it

    @property
    def limit(self):
        """Sizes beyond it are absurd."""
        return inf if self.has_moved else ABSURD * self.last

    def add(self, sizes, is_known):
        """With these sizes, in this order: they give the same bits however they are split.

        `is_known` says whether `last` is the mean of enough samples to tell what is far.
        """
        if not len(sizes):
            return self
        can_be_far = is_known and self.last and not self.has_moved
        far = int(np.count_nonzero(sizes > FAR * self.last)) if can_be_far else 0
        usual = sizes[sizes <= FAR * self.last] if far else sizes
        total = add_in_order(self.total, np.ascontiguousarray(usual, float))
        return self._replace(total=total, near=self.near + len(usual), far=self.far + far)

    def start_again(self):
        """After the number of samples has doubled."""
        if self.far > self.near:
            return Mean(last=self.last, has_moved=True)
        return Mean(last=self.total / self.near if self.near else self.last)


class Sizes(NamedTuple):
    """The sizes after the samples so far."""

    seen: int = 0  # samples, with those that were left out
    of_samples: Mean = Mean()
    of_targets: Mean = Mean()  # their distances from the origin
    learnt_level: float = 1.0  # that of the last sample that was not left out: FTRL's intercept is built on its rate
    origin: float | None = None  # where the intercept was before the first sample; None before that
    survey: tuple = ()  # of features: a packed Survey, and the next Units (units.py), as bytes, which do not change
    early: tuple = ()  # the first targets, until there are FEW
    units: tuple = ()  # those in which features are learnt, as which samples are measured; () for raw ones

    @classmethod
    def of(cls, numbers):
        """From nested tuples, as pickles have them; () for none so far."""
        seen, samples, targets, *others = numbers or cls()
        return cls(seen, Mean(*samples), Mean(*targets), *others)

    def numbers(self):
        """The same as nested tuples."""
        return self.seen, tuple(self.of_samples), tuple(self.of_targets), *self[3:]

    @property
    def scale(self):
        """The size of samples for learning rates."""
        return self.of_samples.last or 1.0

    @property
    def limit(self):
        """Features beyond it are absurd. In units, no others are much larger than 1."""
        limit = self.of_samples.limit
        return min(limit, ABSURD_IN_UNITS) if self.units and limit < inf else limit


def misleading(targets, origin):
    """Whether the first targets mislead, and how: the size of the others, and the number of absurd ones; or None.

    One of them is EARLY times as far from the origin as the others, which would end the learning of the weights; or
    the first one, where the intercept started, is FAR times as far.
    """
    distances = np.abs(np.array(targets) - origin)
    near = distances[distances > 0]
    typical = float(np.median(near)) if len(near) else 0.0
    if not typical or (distances.max() <= EARLY * typical and distances[0] <= FAR * typical):
        return None
    return float(near[near <= FAR * typical].mean()), int(np.count_nonzero(distances > ABSURD * typical))


class Span(NamedTuple):
    """Samples up to this one, from the end of the span before, that have the same sizes for learning rates."""

    stop: int
    scale: float
    size: float  # of targets, as `last` of Mean


def level(loss, size):
    """The size of targets for adaptive steps. Slopes fall with it, so that small targets need no smaller steps, but for
    "quantile".
    """
    return min(max(size, SMALLEST_LEVEL if loss == "quantile" else 1.0), LARGEST_LEVEL)


def stretch(loss, epsilon, size):
    """How many times longer than for squared errors steps are to be, where slopes do not grow with the targets."""
    if loss == "quantile":
        return level(loss, size)
    return min(size / epsilon, LARGEST_LEVEL) if loss == "huber" and size > epsilon > 0 else 1.0


def follow(sizes, samples, order, distances):
    """For these samples their Spans, whether they are kept, and the Sizes after them without `learnt_level`.

    `distances` are those of the targets from the origin; None for targets without a size. None instead of whether
    samples are kept if all are; spans are those of the samples that are kept.
    """
    count, seen = len(order), sizes.seen
    ends = {count - 1, *doublings(seen, count)}
    if not sizes.of_samples.last:
        ends.update(np.flatnonzero(samples.sizes(order))[:1].tolist())  # the first size is used at once
    used, start, absurd = [(0, sizes)], 0, []
    for end in sorted(ends):
        part, has_doubled = slice(start, end + 1), (seen + end + 1) & (seen + end) == 0
        is_known = seen + start >= FEW
        if is_known:
            if sizes.of_samples.last and samples.largest > sizes.limit:
                absurd.append(start + np.flatnonzero(samples.exceed(order[part], sizes.limit)))
            if distances is not None:
                absurd.append(start + np.flatnonzero(distances[part] > max(sizes.of_targets.limit, ABSURD)))
        places = measured(seen + start, end + 1 - start, MEASURED, 9) if sizes.of_samples.last else slice(None)
        own = samples.sizes(order[part][places])
        x = sizes.of_samples.add(own[own > 0], is_known)  # an empty sample has no size
        y = sizes.of_targets if distances is None else sizes.of_targets.add(distances[part], is_known)
        x = x.start_again() if has_doubled or not x.last else x
        y = y.start_again() if has_doubled else y
        sizes = sizes._replace(seen=seen + end + 1, of_samples=x, of_targets=y)
        used.append((end, sizes))
        start = end + 1
    kept = None
    if any(map(len, absurd)):
        kept = np.ones(count, bool)
        kept[np.concatenate(absurd)] = False
    return _spans(used, count, kept), kept, sizes


def _spans(used, count, kept):
    """Spans, as few as possible, from pairs of a sample and the Sizes from there on."""
    starts, all_sizes = zip(*used)
    stops = [*starts[1:], count]
    if kept is not None:
        stops = np.concatenate([[0], np.cumsum(kept.astype(np.intp))])[stops].tolist()
    spans, start = [], 0
    for stop, x in zip(stops, all_sizes):
        if stop == start:
            continue
        own = Span(stop, x.scale, x.of_targets.last)
        if spans and spans[-1][1:] == own[1:]:
            spans.pop()
        spans.append(own)
        start = stop
    return spans or [Span(0, x.scale, x.of_targets.last)]


def doublings(seen, count):
    """Where the number of samples doubles: after each power of two of them."""
    return [(1 << k) - seen - 1 for k in range(seen.bit_length(), (seen + count).bit_length())]


def measured(seen, count, least, octaves):
    """Which of the next samples are measured, of which none but the last doubles their number.

    All of the first `least`. Later ones are evenly spread over the stream, at an irrational distance, so that they meet
    no period of the data, and 2**(octaves − 1)/1.6 until the number doubles.
    """
    if seen < least:
        return slice(None)
    distance = GOLDEN * 2.0 ** (seen.bit_length() - octaves)
    multiples = range(int(seen // distance), int((seen + count) // distance) + 1)
    places = (int(k * distance) - seen for k in multiples)
    return [place for place in places if 0 <= place < count]


def unevenness(x, has_units, has_origins):
    """What one learning rate for all features does not suit in these dense samples, in words; None for nothing.

    Sizes do not matter where features have units, nor does how far they are from zero where they have origins.
    """
    if has_units and has_origins:
        return None
    with np.errstate(all="ignore"):
        means, spreads = x.mean(axis=0, dtype=float), x.std(axis=0, dtype=float)
        sizes = np.hypot(means, spreads) * np.sqrt(len(x) / np.count_nonzero(x, axis=0))
        small, large = np.argmin(np.where(sizes > 0, sizes, np.inf)), np.argmax(np.where(sizes > 0, sizes, 0))
        if not has_units and UNEVEN * sizes[small] < sizes[large] < np.inf:
            return f"features {small} and {large} differ in size by a factor of {sizes[large] / sizes[small]:.0e}"
        far = np.flatnonzero((np.abs(means) > UNEVEN * spreads) & (spreads > 1e-12 * np.abs(means)))[:1]
    for k in far:
        return f"feature {k} is near {means[k]:.3g}, with a standard deviation of {spreads[k]:.1e}"
    return None
