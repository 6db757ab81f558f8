"""Layer 5, training on a set of data: epochs of the optimizer, then a proximal Newton method to the minimum."""

import time
from math import inf

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from fastreg.linear.newton import Objective, Penalty, minimise
from fastreg.linear.order import set_order, stream_order
from fastreg.linear.parameters import Parameters
from fastreg.linear.samples import Samples
from fastreg.optimizers.notices import warn
from fastreg.reference.losses import LOSSES

TOLERANCE = 0.005  # relative: fit warns only if a constant is better by more than rounding and the last step explain
FIRST_FALL = 0.1  # epochs before the Newton method end when one takes off a smaller share of the loss
ACCURACY = 1e-6  # of the Newton method: it ends when an iteration takes off this times tol
CORNERED = {"hinge": 1e-3, "quantile": 1e-3}  # the same for losses with a corner, where it is slower
WIDTHS = (1.0, 0.1, 0.01, 0.001)  # of the parabola in place of a corner, in mean losses of a constant prediction
DIVERGED = (
    "eta0: expected a learning rate small enough for these features, got weights or losses that are not finite;"
    " scale the features (StandardScaler, MaxAbsScaler) or lower eta0"
)


class DivergenceError(ValueError):
    """The weights or losses of a stream are not finite."""

    def __init__(self):
        super().__init__(DIVERGED)


class Fitting(Parameters):
    """What :meth:`fit` does with a checked set of data."""

    def _fit(self, x, targets, weights, columns, offsets=None, given=(None, None)):
        """Train a new stream, or with warm_start a copy of the present one; from a given coef_ and intercept_."""
        self._check_some_weight(weights)
        if self.warm_start and hasattr(self, "_stream"):
            self._stream = self._warm_stream(x, columns)
            x = self._cast(x, self._stream.dtype)
        else:
            self._stream = self._new_stream(x, columns)
            if self._is_sparse:
                self._is_sparse = False
        if any(part is not None for part in given):
            self._stream.place(*given, names=("coef_init", "intercept_init"))
        start = time.perf_counter()
        samples, task = Samples(x, offsets), self._task()
        if self.shuffle:
            order, step_weights = set_order(samples, targets, weights)
            weights = np.bincount(order, step_weights, len(samples)).astype(float)  # without what they have in common
            task = task._replace(center=self._first_intercept(samples, order, targets, step_weights))
        else:
            order, step_weights = stream_order(len(samples), weights)
        constants = self._constants(targets, weights, offsets, columns)
        epochs = self._run_epochs(samples, order, targets, step_weights, task, start)
        if self._is_polished() and epochs < self.max_iter:
            self._polish(x, targets, weights / weights.sum(), offsets, constants, epochs, start)
        elif self._is_polished() and epochs > 1:
            self._warn(f"max_iter: the objective was still falling after {epochs} epochs; increase max_iter")
        if not self._is_finite():
            raise DivergenceError
        self._compare_with_constant(x, targets, weights, offsets, task, constants)

    def _check_some_weight(self, weights, where=""):
        if weights is not None and not weights.any():
            raise ValueError(f"sample_weight, class_weight: expected some positive sample weights{where}, got all zero")

    def _is_polished(self):
        """Whether the Newton method follows: not where the user wants a certain number or kind of steps."""
        has_own_steps = self.tol is None or self.eta0 is not None or not self._is_auto()
        return self.polish and self.shuffle and not has_own_steps

    def _is_finite(self):
        return bool(np.isfinite(self._stream.coef()).all() and np.isfinite(self._stream.intercept()).all())

    def _constants(self, targets, weights, offsets, columns):
        """Margins, without their offsets, that do not depend on the features."""
        constants = [np.zeros(columns)]
        if self.fit_intercept:
            own = np.ones(len(targets)) if weights is None else weights
            constants += self._constant_margins(targets, own, np.zeros(len(targets)) if offsets is None else offsets)
        return constants

    def _first_intercept(self, samples, order, targets, weights):
        """Where the intercept starts in the first fit to a set; None for no choice."""
        return

    def _run_epochs(self, samples, order, targets, weights, task, start):
        """Epochs until the objective stops falling, or falls slowly if the Newton method follows; their number."""
        rng = check_random_state(self.random_state)
        polished, best, last, least, patience = self._is_polished(), inf, inf, 0.0, self.n_iter_no_change
        for epoch in range(1, self.max_iter + 1):
            steps = rng.permutation(len(order)) if self.shuffle else slice(None)
            own, left_out = None if weights is None else weights[steps], []
            call = samples, order[steps], targets, own, task
            try:
                loss = self._learn(*call, epochs=epoch, private=True, left_out=left_out)
            except DivergenceError:
                if polished:  # features have scales at which the steps diverge: the Newton method starts anew
                    return epoch
                raise
            if self.verbose:
                self._report(f"epoch {epoch}", "mean loss", loss, time.perf_counter() - start)
            if polished:
                if not (last == inf or last - loss > FIRST_FALL * abs(last)):
                    return epoch
                last = loss
            elif self.tol is not None:
                last = loss + self._penalty_of(self._stream)
                least = least or self.tol * abs(last)
                patience = self.n_iter_no_change if last < best - least else patience - 1
                best = min(best, last)
                if patience == 0:
                    break
        else:
            if self.tol is not None and self.max_iter > 1:
                self._warn(f"max_iter: the objective was still falling after {self.max_iter} epochs; increase max_iter")
        if not polished:  # the Newton method leaves nothing out
            self._tell_left_out(left_out, len(order))
        if not polished and self.tol is not None and last > best + self.n_iter_no_change * least:
            self._warn(
                f"fit: the objective rose from {best:.6g} to {last:.6g}; lower eta0, or leave eta0 and learning_rate at"
                " their defaults"
            )
        return epoch

    def _polish(self, x, targets, shares, offsets, constants, epochs, start):
        """To the minimum, from the better of the present weights and a model without features.

        `shares` are the weights of the samples in the mean loss.
        """
        stream = self._stream
        if not self._is_finite():
            stream = self._stream = self._new_stream(x, stream.shape[1])
        objective = self._objective(x, targets, shares, offsets, self._strengths(stream), self.fit_intercept)
        w, b = stream.coef().T.astype(float), stream.intercept().astype(float)
        reference, constant = self._best_constant(objective, constants)
        if reference < objective(w, b):
            w, b = np.zeros_like(w), constant
        widths, accuracy = self._widths(reference)
        left, converged = self.max_iter - epochs, True
        for width in widths:
            smooth = objective.smoothed(width)
            w, b, iterations, converged = minimise(smooth, w, b, reference, accuracy, left)
            left -= iterations
            if self.verbose:
                self._stream.place(w.T, b)
                seconds = time.perf_counter() - start
                self._report(f"iteration {self.max_iter - left}", "objective", objective(w, b), seconds)
            if left == 0:
                converged = converged and width == widths[-1]
                break
        if not converged:
            self._warn(f"max_iter: the objective was still falling after {self.max_iter} iterations; increase max_iter")
        self._place(w, b, self.max_iter - left)

    def _objective(self, x, targets, shares, offsets, strengths, has_intercept):
        """The Objective of samples, whose weights `shares` add up to 1."""
        factors = self._stream.factors_of(self.penalty_factor).array
        low = 0.0 if self.positive else -inf
        penalty = Penalty(*strengths, None if factors is None else factors.astype(float), low)
        name, parameter = self._loss_of_margins()
        loss = list(LOSSES).index(name), parameter
        return Objective(x, targets, shares, offsets, loss, penalty, has_intercept)

    def _best_constant(self, objective, constants):
        """The objective of the best of these intercepts without features, and that intercept."""
        zeros = np.zeros((objective.x.shape[1], len(constants[0])))
        reference, constant = min(((objective(zeros, c), c) for c in constants), key=lambda pair: pair[0])
        if not np.isfinite(reference):
            raise ValueError(
                f"y: expected targets for which a constant prediction has a finite mean loss, got {reference}"
                f" with loss={self.loss!r}"
            )
        return reference, constant.astype(float)

    def _widths(self, reference):
        """The widths of the parabolas in place of corners, one after the other, and the tolerance of `minimise`."""
        name = self._loss_of_margins()[0]
        widths = [width * reference for width in WIDTHS if reference > 0] if name in CORNERED else [0.0]
        return widths, CORNERED.get(name, ACCURACY) * self.tol

    def _place(self, w, b, epochs):
        """Makes these the weights (features, columns) and intercepts of the stream."""
        with np.errstate(over="ignore"):
            w, b = w.T.astype(self._stream.dtype), b.astype(self._stream.dtype)
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise DivergenceError
        self._stream.place(w, b, epochs=epochs)

    def _compare_with_constant(self, x, targets, weights, offsets, task, constants):
        """Warn if a constant prediction has a smaller loss: then fit has not converged."""
        first = np.zeros((len(targets), 1)) if offsets is None else offsets[:, np.newaxis]
        loss = self._stream.loss(first + self._stream.margins(x), targets, weights, task)
        rounded = [c.astype(self._stream.dtype) for c in constants]
        best = min(self._stream.loss(first + c, targets, weights, task) for c in rounded)
        if not loss <= best + TOLERANCE * abs(best):
            self._warn(
                f"fit: the mean loss is {loss:.6g} after {self.n_iter_} epochs, and {best:.6g} for a constant"
                " prediction; scale the features (StandardScaler, MaxAbsScaler), or change eta0 or max_iter"
            )

    def _warn(self, message):
        warn(message, ConvergenceWarning)

    def _report(self, progress, what, value, seconds):
        coef = self._stream.coef()
        nonzero = np.count_nonzero(coef)
        print(f"{progress}: {what} {value:.6g}, {nonzero} of {coef.size} weights not zero, {seconds:.2f} s", flush=True)
