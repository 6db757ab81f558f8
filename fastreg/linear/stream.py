"""Layer 5, the part of the linear models that does not need scikit-learn: weights that learn from samples in order.

The weights have shape (features, columns), one column for each class. A sample updates rows, so that the pending
penalty of a feature is applied to all columns at once. The state is kept between calls: the weights do not depend on
how a stream is split into batches.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import numpy as np

from fastreg._boundary.linear import Learner, mean_loss, record_type
from fastreg.linear.factors import NONE, Factors, check_products, checked_factors
from fastreg.linear.optimizers import OPTIMIZERS
from fastreg.linear.scales import FEW, Mean, Sizes, Span, follow, level, misleading, stretch
from fastreg.linear.stream_units import Split, StreamUnits
from fastreg.linear.units import Units
from fastreg.reference.losses import LOG_LINK, LOSSES

SCALED = ("squared_error", "huber", "quantile")  # losses of which the targets have a size
SQUARES = 1e-30, 1e30  # of sizes, within which learning rates follow them
CHUNK = 1 << 15  # samples between two checks for an interrupt, in a call that can be interrupted
BLOCK = 1 << 14  # samples whose learning rates are computed at a time
STEPS = np.arange(BLOCK, dtype=float)
LONG = 1 << 27  # a call with more values times columns can be interrupted: it takes seconds


class Task(NamedTuple):
    """The settings of a training call."""

    rates: Callable  # maps steps, squares of sizes and how far steps are stretched to rates: see Parameters._rates
    strengths: tuple  # l1, l2 and l21; for FTRL, their totals are these times the number of samples
    loss: str
    parameter: float  # of the loss: epsilon, quantile or power
    limit_rates: bool  # whether no step goes beyond the minimum of the loss of its own sample
    base_rate: float  # if not 0, instead of `rates`: for features and targets of size 1
    follows_sizes: bool = False  # whether rates follow the sizes of samples, and those far beyond them are left out
    factors: Factors = NONE
    starts_at_target: bool = False  # whether the intercept of losses in SCALED starts at the first target
    center: float | None = None  # where the intercept starts, for losses with log link; None: at the first sample


class Stream(StreamUnits):
    """The weights and the intercept of a linear model, with the state of their optimizer.

    Parameters
    ----------
    features, columns : int
    dtype : float32 or float64
    optimizer : str
        A name in OPTIMIZERS.
    intercept : bool
        Whether there is an intercept. It is not penalised.
    positive : bool
        Whether the weights cannot be negative. The intercept can.
    """

    def __init__(self, features, columns, dtype, optimizer, intercept, positive=False):
        self.optimizer, self.positive = optimizer, bool(positive)
        self.shape, self.dtype, self.has_intercept = (features, columns), np.dtype(dtype), bool(intercept)
        self._learner = self._new_learner()

    def _new_learner(self, factors=None):
        features, columns = self.shape
        direction, initial_state, initial_stamp, _ = OPTIMIZERS[self.optimizer]
        records = np.zeros(features, record_type(direction, self.dtype, columns))
        if initial_stamp:
            records["stamp"] = initial_stamp
        for name, x in zip("ab", initial_state):
            records[name] = x
        own = [np.full(columns, x, self.dtype) for x in (0.0, *initial_state)] if self.has_intercept else []
        return Learner(records, direction, own, factors, low=0.0 if self.positive else -inf)

    def factors_of(self, penalty_factor):
        """The checked penalty factors. They are read once, as long as the argument is the same object."""
        factors = self._factors
        if factors.given is not penalty_factor:
            current = self._stored if self._learner is None else self._learner
            factors = checked_factors(penalty_factor, self.shape[0], self.dtype, current.factors)
            self._factors = factors
        return factors

    def learn(self, samples, order, targets, weights, task, epochs=1, private=False, left_out=None):
        """One step for each entry of `order`; returns the sum of the losses before the steps.

        A call completes or changes nothing. A long call trains a copy in chunks and can be interrupted between them.
        With ``private=True``, every call does so without a copy: if it fails, the caller discards the stream. The
        numbers of samples that are left out, because they exceed all sizes so far, are added to the list `left_out`.
        """
        left_out = [] if left_out is None else left_out
        if private:
            return self._learn_in_chunks(samples, order, targets, weights, task, epochs, left_out)
        call = samples, order, targets, weights, task, epochs, left_out
        values = len(order) * int(samples.starts[-1]) // max(1, len(samples)) * self.shape[1]
        if values <= LONG or values <= 4 * self.learner.records.size * self.shape[1]:
            try:
                return self.learner.learn(lambda: self._prepare(*call))
            except Split:  # nothing has changed
                pass
        return self.learner.exchange(lambda copy: self._with_learner(copy)._learn_in_chunks(*call))

    def _learn_in_chunks(self, samples, order, targets, weights, task, epochs, left_out):
        """Part by part; nobody else can have this stream."""
        total, start, count = 0.0, 0, CHUNK
        while True:
            part = slice(start, start + count)
            own, split = (order[part], targets, None if weights is None else weights[part]), None
            try:
                total += self.learner.learn(lambda own=own: self._prepare(samples, *own, task, epochs, left_out))
            except Split as found:
                split = found
            if split is not None:
                if split.center is not None:
                    self._begin_anew(split.sizes, split.center, task)
                    left_out.extend(split.left_out)
                    total = 0.0
                elif not split.count:
                    self._change_units(split.sizes, task)
                count = split.count or count
                continue
            start += count
            if start >= len(order):
                return total
            count = CHUNK

    def _prepare(self, samples, order, targets, weights, task, epochs, left_out):
        """The arguments of the compiled loop; Learner.learn calls this after it has locked out other training calls."""
        sizes = self._survey(self.sizes, samples, order, task)
        sizes = self._watch_targets(sizes, samples, order, targets, task)
        if sizes.units and samples.fit(self.shape[0]):
            samples, targets = self._in_units(Units.unpacked(sizes.units), samples, order), targets[order]
            order = np.arange(len(order))
        center, factors = self._center(samples, order, targets, task), self._factor_array(sizes, task)
        spans, last_level = [Span(len(order), sizes.scale, sizes.of_targets.last)], sizes.learnt_level
        if task.follows_sizes and len(order):
            distances = None
            if task.loss in SCALED:
                if sizes.origin is None:  # it stays if the intercept is placed later: the targets are the same
                    sizes = sizes._replace(origin=float(self.intercept()[0]) if self._is_given else center)
                distances = self._distances(samples, order, targets, sizes.origin)
            spans, kept, sizes = follow(sizes, samples, order, distances)
            if kept is not None:
                left_out.append(int(np.count_nonzero(~kept)))
                order, weights = order[kept], None if weights is None else weights[kept]
            if len(order):
                sizes = sizes._replace(learnt_level=level(task.loss, spans[-1].size))
        table = self._table(task, spans)
        self._check_rates(table[0])
        if len(order):
            largest = self._largest_factor(sizes.units, task.factors, factors)
            check_products([x[-1] for x in table[1:4]], largest, self.dtype)  # they never fall within a call
        return (
            samples, order, targets, weights, samples.offsets, table, list(LOSSES).index(task.loss), task.parameter,
            LOSSES[task.loss] if task.limit_rates else 0.0, task.base_rate * last_level or table[4].max(initial=0),
            epochs, center, sizes.numbers(), factors,
        )  # fmt: skip

    def _watch_targets(self, sizes, samples, order, targets, task):
        """The Sizes with the first targets. Split where these mislead: the stream begins anew after them."""
        if sizes.seen > FEW or not (len(order) and task.follows_sizes and task.loss in SCALED) or self._is_placed:
            return sizes
        left = FEW - sizes.seen
        early = *sizes.early, *self._own_targets(samples, order[:left], targets).tolist()
        if len(early) < FEW or len(order) <= left:
            return sizes._replace(early=early)
        moves = self.has_intercept and task.starts_at_target
        origin = float(np.median(early)) if moves else sizes.origin or 0.0
        found = misleading(early, origin)
        if found is None:
            return sizes._replace(early=())
        if left:
            raise Split(left)
        size, absurd = found
        sizes = Sizes(sizes.seen, of_targets=Mean(last=size), learnt_level=level(task.loss, size), origin=origin)
        raise Split(0, sizes, origin if moves else self.learner.center, [absurd] * (absurd > 0))

    @staticmethod
    def _own_targets(samples, order, targets):
        """The targets without their offsets."""
        with np.errstate(over="ignore"):
            return targets.take(order, mode="clip") - (0.0 if samples.offsets is None else samples.offsets[order])

    # Learning rates

    def _table(self, task, spans):
        """The learning rates and strengths of the next steps, each an array for all steps or of one number.

        See Learner.learn. They are computed in parts that stay in cache.
        """
        table, start, count = None, 0, spans[-1].stop
        for span in spans:
            for first in range(start, max(1, span.stop), BLOCK):
                part = slice(first, min(span.stop, first + BLOCK))
                rows = self._rows(task, part, span)
                if part == slice(0, count):
                    return rows
                table = [x[:1] for x in rows] if table is None else table
                for k, x in enumerate(rows):
                    if len(table[k]) == 1 and (len(x) > 1 or x[0] != table[k][0]):
                        number, table[k] = table[k][0], np.empty(count)
                        table[k][:first] = number
                    if len(table[k]) > 1:
                        table[k][part] = x
            start = span.stop
        return table

    def _rows(self, task, part, span):
        """The same of steps that have the same sizes."""
        steps = factor = 1.0
        if self.optimizer == "ftrl" or not task.base_rate:
            steps = STEPS[: part.stop - part.start] + float(self.completed + part.start)
        if self.optimizer == "ftrl":
            factor = steps + 1.0
        with np.errstate(over="ignore"):  # checked by _prepare
            strengths = [x * factor if x else 0.0 for x in task.strengths]
        lr, *intercept = self._rates(task, steps, span)
        return [x if isinstance(x, np.ndarray) else np.array([x]) for x in (lr, *strengths, *intercept)]

    def _rates(self, task, steps, span):
        """The learning rates of the weights and of the intercept, 0 for the same, and the squares of Learner.learn."""
        if task.base_rate:
            own = level(task.loss, span.size)
            return task.base_rate / span.scale * own, task.base_rate * own, 1.0
        # an array, since functions of NumPy may have other bits for a number
        scales = np.array([span.scale if task.follows_sizes else 1.0])
        squares = np.minimum(np.maximum(scales * scales, SQUARES[0]), SQUARES[1])
        longer = stretch(task.loss, task.parameter, span.size) if task.follows_sizes else 1.0
        lr, own = task.rates(steps, squares, longer)
        return (lr, 0.0, 1.0) if own is None else (lr, own, squares)

    def _distances(self, samples, order, targets, origin):
        """How far the targets are from the origin."""
        with np.errstate(over="ignore"):
            return np.abs(self._own_targets(samples, order, targets) - origin)

    def _center(self, samples, order, targets, task):
        """Where the intercept starts.

        With log link, slopes are exponential in the distance to the minimum: from far off, adaptive steps would be tiny
        for good. So the intercept starts where the first sample is predicted right, or as 1 where its target is zero.
        Where the learning rates depend on the size of the targets, it is that of their distances from there, too.
        """
        is_scaled = task.loss in SCALED and task.starts_at_target
        is_free = len(order) > 0 and self.has_intercept and not self.completed and not self._is_given
        if not is_free or not (is_scaled or task.loss in LOG_LINK):
            return self.learner.center
        if task.center is not None:
            return task.center
        y, offset = targets[order[0]], 0.0 if samples.offsets is None else samples.offsets[order[0]]
        if is_scaled:
            return float(y - offset)
        return float(np.log(y) - offset if y > 0 else -offset)

    def _check_rates(self, lr):
        """Check that the dtype of the weights can hold the learning rates, and for FTRL their inverses."""
        if lr.min(initial=1) >= 1e-30 and lr.max(initial=1) <= 1e30:
            return
        with np.errstate(all="ignore"):
            rounded = lr.astype(self.dtype)
            bad = ~np.isfinite(rounded) | ((rounded == 0) & (lr > 0))
            if self.optimizer == "ftrl":
                bad |= ~np.isfinite(1 / rounded)
        if bad.any():
            can = "can hold and invert" if self.optimizer == "ftrl" else "can hold"
            raise ValueError(
                f"eta0, learning_rate: expected learning rates that {self.dtype}, the dtype of the weights, {can}, got"
                f" {lr[bad][0]!r}"
            )

    def squares(self):
        """The sums of squared gradients, (columns, features), and their initial value.

        None for SGD, which has none, and for a model from a file that has only its weights.
        """
        optimizer = OPTIMIZERS[self.optimizer]
        if optimizer.squares is None or self._learner is None:
            return None, 0.0
        return self.learner.records["ab"[optimizer.squares]].T, optimizer.initial_state[optimizer.squares]

    def loss(self, margins, targets, weights, task):
        """The mean loss of samples with these margins, (samples, columns)."""
        margins = np.ascontiguousarray(margins, dtype=float)
        return mean_loss(margins, targets, weights, list(LOSSES).index(task.loss), task.parameter)
