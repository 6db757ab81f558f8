"""Layer 5, the end of a fit: the minimum of the objective over a set of samples, by a proximal Newton method.

Each iteration replaces the loss by its quadratic approximation, minimises that plus the penalty by coordinate descent,
and searches along the line to the result (Friedman, Hastie & Tibshirani 2010; Yuan, Ho & Lin, "An improved GLMNET for
L1-regularized logistic regression", 2012; Lee, Sun & Saunders 2014). It has no step size to choose, does not depend on
the scales of the features, and ends at exact zeros.
"""

from copy import copy
from math import inf
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular

from fastreg._boundary.descent import Descent, derivatives
from fastreg.linear import softmax
from fastreg.linear.descent import LARGEST_WORK, SMALL, descend
from fastreg.linear.factors import penalty_of
from fastreg.reference.losses import LOSSES

SHORTEST = 2.0**-30  # step along the line
NEAR = 0.01  # an iteration that takes off less than this share of all before is followed by one with exact derivatives
ROUNDING = 1e-15  # relative, of the objective
LARGEST = 1e150  # feature: sums of squares must not overflow
MULTINOMIAL, SQUARED_ERROR = (list(LOSSES).index(name) for name in ("multinomial", "squared_error"))
BLOCK = 1 << 12  # samples that are converted to float64 at a time


class Columns(NamedTuple):
    """The samples by features, a private copy."""

    data: np.ndarray
    indices: np.ndarray | None  # None for a dense matrix
    starts: np.ndarray
    centres: np.ndarray  # what has been subtracted from each feature

    def dense(self, features, samples):
        """These features as a dense matrix (samples, features)."""
        if self.indices is None:
            return self.data.reshape(-1, samples)[features].T.astype(float)
        parts = sparse.csc_matrix((self.data, self.indices, self.starts), (samples, len(self.starts) - 1))
        return parts[:, features].toarray().astype(float)

    def sums(self, slopes):
        """Σ slope·x over the samples, (features, classes): the derivatives of the mean loss by the weights."""
        features, samples = len(self.centres), len(slopes)
        if self.indices is not None:
            return sparse.csr_matrix((self.data, self.indices, self.starts), (features, samples)) @ slopes
        x, result = self.data.reshape(features, samples), np.empty((features, slopes.shape[1]))
        step = max(1, SMALL // max(1, samples))  # a copy of all in float64 would be large
        for k in range(0, features, step):
            np.matmul(x[k : k + step].astype(float, copy=False), slopes, out=result[k : k + step])
        return result + np.outer(self.centres, slopes.sum(axis=0))


def columns_of(x, weights, has_intercept):
    """The samples by features.

    A feature of a dense matrix that differs little from its mean is centred, if an intercept takes up the difference:
    the products of the mean would drown the rest in rounding. `weights` are those of the samples; they add up to 1.
    """
    values = x.data if sparse.issparse(x) else x
    largest = float(max(values.max(initial=0), -values.min(initial=0)))
    if largest > LARGEST:
        raise ValueError(f"X: expected features of magnitude at most {LARGEST}, got {largest}")
    if sparse.issparse(x):
        x = x.tocsc()
        x.sum_duplicates()
        return Columns(x.data, x.indices, x.indptr.astype(np.intp), np.zeros(x.shape[1]))
    centres = np.zeros(x.shape[1])
    if has_intercept:
        squares = np.einsum("i,ij,ij->j", weights, x, x, dtype=float)
        means = np.einsum("i,ij->j", weights, x, dtype=float)
        centres = np.where(2 * means**2 > squares, means, 0)
    data = np.empty(x.shape[::-1], x.dtype)
    np.subtract(x.T, centres[:, None], out=data, casting="same_kind")
    return Columns(data.ravel(), None, np.arange(x.shape[1] + 1) * x.shape[0], centres)


def products(x, w, b):
    """x·w + b in float64, (samples, classes)."""
    if sparse.issparse(x) or x.dtype == float:
        return np.ascontiguousarray(x @ w + b, float)
    result = np.empty((len(x), len(b)))
    for start in range(0, len(x), BLOCK):  # a copy of x in float64 would be large
        part = slice(start, start + BLOCK)
        np.matmul(x[part].astype(float), w, out=result[part])
    return result + b


class Penalty(NamedTuple):
    """The penalty of weights (features, classes)."""

    l1: float
    l2: float
    l21: float  # 0 for a single class
    factors: np.ndarray | None
    low: float

    def pulls(self, gradient):
        """How far derivatives of the loss pull weights away from zero, to where they may be."""
        return np.maximum(-gradient, 0) if self.low == 0 else np.abs(gradient)

    def __call__(self, w):
        return penalty_of(w.T, self[:3], self.factors)


class Objective:
    """Mean loss plus penalty of weights (features, classes) and intercepts (classes,).

    Parameters
    ----------
    x : array or CSR matrix, (samples, features)
    targets, weights : ndarray, float64, (samples,)
        The weights add up to 1.
    offsets : ndarray, float64, (samples,), or None
        Added to all margins.
    loss : tuple
        Code and parameter.
    penalty : Penalty
    intercept : bool
        Whether there are intercepts.
    """

    def __init__(self, x, targets, weights, offsets, loss, penalty, intercept):
        self.x, self.targets, self.weights, self.offsets = x, targets, weights, offsets
        self.loss, self.penalty, self.intercept = (*loss, 0.0), penalty, intercept
        self.columns = columns_of(x, weights, intercept)

    def smoothed(self, width):
        """The same objective, with parabolas of this width in the place of corners."""
        new = copy(self)
        new.loss = (*self.loss[:2], width)
        return new

    @property
    def is_joint(self):
        """Whether the second derivatives mix the classes, and the penalty does not."""
        return self.loss[0] == MULTINOMIAL and not self.penalty.l21

    @property
    def is_smooth(self):
        """Whether the exact second derivatives say much: a parabola in the place of a corner is narrow."""
        return self.loss[-1] == 0

    @property
    def is_quadratic(self):
        """Whether the quadratic approximation is the loss itself."""
        return self.loss[0] == SQUARED_ERROR

    def products(self, w, b):
        """x·w + b, (samples, classes)."""
        return products(self.x, w, b)

    def margins(self, w, b):
        """The products and offsets."""
        products = self.products(w, b)
        return products if self.offsets is None else products + self.offsets[:, np.newaxis]

    def derivatives(self, margins, exact):
        """The mean loss, and the samples' shares in its derivatives; the second are exact, or safe."""
        return derivatives(margins, self.targets, self.weights, *self.loss, exact)

    def __call__(self, w, b):
        """Infinite where it is not a number."""
        value = self.derivatives(self.margins(w, b), True)[0] + self.penalty(w)
        return value if value == value else inf


def minimise(objective, w, b, reference, tol, max_iter, exact=False):
    """Weights and intercepts near the minimum: (w, b, iterations, whether it has converged).

    It has when an iteration with exact second derivatives, or two iterations, take off less than `tol` of what has been
    taken off `reference`, or nothing but rounding; with squared errors, when a round of coordinate descent does. Before
    that, where the second derivative of a loss vanishes because it is linear, that of a parabola above the loss takes
    its place: progress is slower, but no step is too long.

    Parameters
    ----------
    objective : Objective
    w, b : ndarray, float64, (features, classes) and (classes,)
        Where to start.
    reference : float
        The objective of a model without features.
    tol : float
    max_iter : int
    exact : bool
        Whether the first iteration has the exact second derivatives: for a start that is near the minimum.
    """
    penalty, settled, joint = objective.penalty, False, objective.is_joint
    exact = (exact or joint) and objective.is_smooth
    margins = objective.margins(w, b)
    loss, slopes, curvatures = objective.derivatives(margins, exact)
    value = loss + penalty(w)
    for iteration in range(1, max_iter + 1):
        least = max(tol * (reference - value), ROUNDING * abs(value))
        found = joint_direction(objective, w, margins, slopes, 0.1 * least) if joint and exact else None
        if found is None:
            found = direction(objective, w, slopes, curvatures, 0.1 * least)
        change, shift, is_minimum = found
        moved = objective.products(change, shift)
        expected = (slopes * moved).sum() + penalty(w + change) - penalty(w)
        length = 1.0
        while length >= SHORTEST:
            found = objective.derivatives(margins + length * moved, exact)
            fall = value - found[0] - penalty(w + length * change)
            if fall >= -1e-3 * length * expected:
                break
            length /= 2
        else:
            length = fall = 0.0  # nothing but rounding is left, or the exact quadratic is far from the loss
        w, b, margins = w + length * change, b + length * shift, margins + length * moved
        was_settled, settled = settled, fall <= least and (length in (0, 1) or -expected <= least)
        if objective.is_quadratic and is_minimum and length == 1:
            return w, b, iteration, True
        if settled and (was_settled or (exact and length)):
            return w, b, iteration, True
        is_near = settled or joint or (length == 1 and fall <= NEAR * (reference - value))
        before, exact = exact, objective.is_smooth and is_near and not (settled and exact)
        loss, slopes, curvatures = found if length and exact == before else objective.derivatives(margins, exact)
        value = loss + penalty(w)
    return w, b, max_iter, False


def direction(objective, w, slopes, curvatures, least):
    """What leads from w and its intercepts to the minimum of the quadratic plus the penalty, and whether it does."""
    columns, penalty = objective.columns, objective.penalty
    model = Descent(
        columns.data, columns.indices, columns.starts, slopes.copy(), curvatures, w.copy(),
        penalty[:3], penalty.factors, penalty.low, objective.intercept,
    )  # fmt: skip
    is_minimum = descend(model, columns, penalty, least, objective.is_quadratic)
    change = model.weights - w
    return change, model.shift - columns.centres @ change, is_minimum


def joint_direction(objective, w, margins, slopes, least):
    """The same for a loss that mixes the classes, with its exact second derivatives; None if there are too many."""
    columns, penalty = objective.columns, objective.penalty
    gradient, total = columns.sums(slopes), slopes.sum(axis=0)
    pairs = softmax.movable(w, gradient, penalty)
    classes, features = np.nonzero(pairs.T)  # by class
    n = len(features)
    is_large = n * n * len(slopes) > LARGEST_WORK or n * len(slopes) > 4 * max(columns.data.size, SMALL)
    if n == 0 or is_large:
        return None
    gradient -= np.outer(columns.centres, total)
    system = softmax.system(objective, pairs, margins, gradient.T[pairs.T], total)
    if system is None:
        return None
    lower, first, shift_of = system
    samples = Columns(np.ascontiguousarray(lower).ravel(), None, np.arange(n + 1) * n, np.zeros(n))
    residuals = np.ascontiguousarray(solve_triangular(lower, first, lower=True)[:, np.newaxis])
    own = penalty._replace(factors=None if penalty.factors is None else penalty.factors[features])
    start = w[features, classes][:, np.newaxis]
    model = Descent(*samples[:3], residuals, np.ones((n, 1)), start.copy(), own[:3], own.factors, own.low, False)
    is_minimum = descend(model, samples, own, least)
    moved, change = (model.weights - start)[:, 0], np.zeros_like(w)
    change[features, classes] = moved
    return change, shift_of(moved) - columns.centres @ change, is_minimum
