"""Layer 5, the regularisation path: the minimum of the objective at many strengths, strongest first.

Each strength starts at the solution of the one before (Friedman, Hastie & Tibshirani 2010). With many features, only
those are solved for that the sequential strong rule keeps; the others are checked against the optimality conditions
afterwards, and those that violate them join (Tibshirani et al., "Strong rules for discarding predictors in lasso-type
problems", 2012). Columns of all strengths in common passes of the optimizer were rejected: `fit` ends at the minimum by
the Newton method of newton.py anyway, and from one strength to the next that takes few iterations on few features.
"""

from copy import copy
from math import inf
from typing import NamedTuple

import numpy as np
from scipy import sparse

from fastreg.linear.newton import Columns, minimise

FEW = 100  # features, up to which all are solved for
SLACK = 1e-5  # relative, by which the derivative at a weight of zero may exceed the strength


class Solution(NamedTuple):
    """The minimum at one strength."""

    w: np.ndarray  # (features, columns)
    b: np.ndarray
    iterations: int
    converged: bool


def restricted(objective, features):
    """The objective of these features alone."""
    new, (data, indices, starts, centres) = copy(objective), objective.columns
    samples = len(objective.targets)
    if indices is None:
        new.x = objective.x[:, features]
        data = data.reshape(-1, samples)[features].ravel()
        new.columns = Columns(data, None, np.arange(len(features) + 1) * samples, centres[features])
    else:
        counts = starts[features + 1] - starts[features]
        own = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        places = np.repeat(starts[features] - own[:-1], counts) + np.arange(own[-1])
        new.columns = Columns(data[places], indices[places], own, centres[features])
        new.x = sparse.csc_matrix(new.columns[:3], (samples, len(features)))
    factors = objective.penalty.factors
    new.penalty = objective.penalty._replace(factors=None if factors is None else factors[features])
    return new


def gradient(objective, w, b):
    """The derivatives of the mean loss by the weights, (features, columns)."""
    active = np.flatnonzero(w.any(axis=1))
    margins = restricted(objective, active).margins(w[active], b)
    _, slopes, _ = objective.derivatives(margins, True)
    return objective.columns.sums(slopes)


def feature_sizes(slopes, penalty, grouped):
    """How far the derivatives (features, columns) pull each feature away from zero."""
    pulls = penalty.pulls(slopes)
    return np.sqrt(np.einsum("jc,jc->j", pulls, pulls)) if grouped else pulls.max(axis=1)


def null_model(objective, constant, reference, tol, max_iter):
    """The Solution without penalised features; `reference` is the objective of the best constant."""
    zeros = np.zeros((objective.x.shape[1], len(constant)))
    factors = objective.penalty.factors
    free = np.zeros(0, np.intp) if factors is None else np.flatnonzero(factors == 0)
    if len(free) == 0 and not objective.intercept:
        return Solution(zeros, constant, 0, True)
    own, *rest = minimise(restricted(objective, free), zeros[free], constant, reference, tol, max_iter)
    zeros[free] = own
    return Solution(zeros, *rest)


class Path:
    """Solutions at one strength after the other.

    Parameters
    ----------
    objective : Objective
        Of the training samples, smoothed by the last width; the strengths of its penalty are replaced.
    start : Solution
        The null model.
    reference : float
        The objective of a model without features.
    widths : list
        Of the parabolas in place of corners, one after the other; none if the null model is the solution everywhere.
    tol : float
        As for `minimise`.
    max_iter : int
        At each strength.
    """

    def __init__(self, objective, start, reference, widths, tol, max_iter):
        self.objective, self.reference, self.widths = objective, reference, widths
        self.tol, self.max_iter = tol, max_iter
        self.last, self.threshold, self.sizes = start, None, None
        self.is_screened = len(start.w) > FEW and len(widths) > 0

    def _update_slopes(self):
        """How far the derivatives of the mean loss pull each feature away from zero, over its penalty factor."""
        slopes = gradient(self.objective, *self.last[:2])
        penalty = self.objective.penalty
        sizes = feature_sizes(slopes, penalty, bool(penalty.l21))
        factors = np.ones(len(sizes)) if penalty.factors is None else penalty.factors
        self.sizes = np.divide(sizes, factors, out=np.full(len(sizes), inf), where=factors > 0)

    def to(self, strengths):
        """The Solution at the next strengths l1, l2 and l21."""
        if not self.widths:
            return self.last
        self.objective.penalty = self.objective.penalty._replace(**dict(zip(("l1", "l2", "l21"), strengths)))
        threshold = max(strengths[0], strengths[2])
        if self.is_screened and self.sizes is None:
            self._update_slopes()
        if self.is_screened and self.threshold is None:  # the strength at which the null model is the solution
            self.threshold = self.sizes[np.isfinite(self.sizes)].max(initial=0)
        if self.is_screened and threshold > 0:
            self._solve_screened(threshold)
        else:
            self.last = self._minimise(self.objective, *self.last[:2])
            if self.is_screened:
                self._update_slopes()
        self.threshold = threshold
        return self.last

    def _minimise(self, objective, w, b):
        total, converged = 0, True
        for width in self.widths:
            smooth = objective.smoothed(width)
            w, b, iterations, converged = minimise(smooth, w, b, self.reference, self.tol, self.max_iter, exact=True)
            total += iterations
        return Solution(w, b, total, converged)

    def _solve_screened(self, threshold):
        w, b = self.last[:2]
        kept = w.any(axis=1) | (self.sizes >= 2 * threshold - self.threshold)
        iterations = 0
        while True:
            features = np.flatnonzero(kept)
            own, b, more, converged = self._minimise(restricted(self.objective, features), w[features], b)
            iterations += more
            w = np.zeros_like(w)
            w[features] = own
            self.last = Solution(w, b, iterations, converged)
            self._update_slopes()
            violated = ~kept & (self.sizes > threshold * (1 + SLACK))
            if not violated.any():
                return
            kept |= violated
