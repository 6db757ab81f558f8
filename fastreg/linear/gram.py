"""Layer 5, squared errors of many samples by few features: a set of as many rows as features has the same minima.

With the intercept at its optimum, the mean loss depends on the weights only through the centred Gram matrix G of the
features and their products with the target. A factor R with RᵀR = G stands for the samples, and paths.py needs no other
code. G comes from BLAS, once for the test part of each fold: a training part has the sum over the other folds. To
subtract the test part from the whole was rejected: a single huge sample would leave nothing but rounding. Sets are
merged around their own means (Chan, Golub & LeVeque, "Algorithms for computing the sample variance", 1983), where all
terms are positive.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf

from fastreg.linear.descent import SMALL
from fastreg.linear.newton import BLOCK

FLAT = 1e-13  # standard deviation over mean, below which a feature is constant
quietly = np.errstate(over="ignore", invalid="ignore")  # `reduced` refuses what is not finite


class Moments(NamedTuple):
    """Of the features and, in the last column, the target."""

    weight: float
    means: np.ndarray  # zero without an intercept
    products: np.ndarray  # Σ weight·(column − mean)·(other column − mean)

    @quietly
    def merged(self, other):
        """Those of the samples of both."""
        weight = self.weight + other.weight
        if not weight > 0:
            return self
        share, distance = other.weight / weight, other.means - self.means
        products = np.outer(distance, distance * (self.weight * share))
        products += self.products
        products += other.products
        return Moments(weight, self.means + share * distance, products)


class Reduced(NamedTuple):
    """Samples without intercept: their mean loss is that of the others, less what no weights change."""

    x: np.ndarray
    targets: np.ndarray
    means: np.ndarray  # of the features and the target of the others

    def solution(self, found):
        """The Solution for the others from that for these."""
        return found._replace(b=self.means[-1] - self.means[:-1] @ found.w)


def moments_of(part, has_intercept):
    """The Moments of a Part with dense samples."""
    targets = part.targets if part.offsets is None else part.targets - part.offsets
    blocks = [slice(start, start + BLOCK) for start in range(0, len(targets), BLOCK)]
    return reduce(
        Moments.merged, (block_moments(part.x[b], targets[b], part.weights[b], has_intercept) for b in blocks)
    )


@quietly
def block_moments(x, targets, weights, has_intercept):
    """The same for so few samples that a copy takes little memory."""
    z, weight = np.column_stack([x, targets]).astype(float, copy=False), weights.sum()
    means = np.zeros(z.shape[1])
    if has_intercept and weight > 0:
        means = weights @ z / weight
        z -= means
    z *= np.sqrt(weights)[:, np.newaxis]
    return Moments(weight, means, z.T @ z)


@quietly
def reduced(moments):
    """The Reduced samples with these Moments; None where squares overflow."""
    products, means = moments.products / moments.weight, moments.means
    sizes = np.sqrt(products.diagonal())
    sizes[sizes <= FLAT * np.abs(means)] = 0  # nothing but rounding
    scale = np.divide(1, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    unit = products * scale * scale[:, np.newaxis]
    if not np.isfinite(unit).all():
        return None
    factor, order, rank, _ = dpstrf(unit[:-1, :-1])  # pivoting leaves rounding of features that depend on others
    upper, order, count = np.triu(factor)[:rank], order - 1, max(1, rank)
    x, targets = np.zeros((count, len(sizes) - 1)), np.zeros(count)
    x[:rank, order] = upper
    targets[:rank] = solve_triangular(upper[:, :rank], unit[order[:rank], -1], trans="T")
    return Reduced(x * (np.sqrt(count) * sizes[:-1]), targets * (np.sqrt(count) * sizes[-1]), means)


def is_partition(folds, count):
    """Whether each of the samples is in one test part, and in the training parts of the other folds."""
    owners = np.full(count, -1)
    for k, (_, test) in enumerate(folds):
        owners[test] = k
    others = [np.flatnonzero(owners != k) for k in range(len(folds))]
    is_complete = sum(len(test) for _, test in folds) == count and (owners >= 0).all()
    return is_complete and all(np.array_equal(np.sort(train), own) for (train, _), own in zip(folds, others))


def moments_of_folds(whole, folds, has_intercept):
    """The Moments of all samples, and an iterator of those of the training parts."""
    whole = whole._replace(weights=whole.weights / whole.weights.sum())
    if not is_partition(folds, len(whole.targets)) or len(folds) * whole.x.shape[1] ** 2 > max(whole.x.size, SMALL):
        return moments_of(whole, has_intercept), (moments_of(whole.of(train), has_intercept) for train, _ in folds)
    tests = [moments_of(whole.of(test), has_intercept) for _, test in folds]
    later = [Moments(0.0, np.zeros_like(tests[0].means), np.zeros_like(tests[0].products))]
    for own in reversed(tests):
        later.append(later[-1].merged(own))

    def trainings():
        before = later[0]
        for own, after in zip(tests, later[-2::-1]):
            yield before.merged(after)
            before = before.merged(own)

    return later[-1], trainings()


def pays(x, folds):
    """Whether paths on Reduced samples are faster than those on the training parts: they are fewer."""
    return not sparse.issparse(x) and min(len(train) for train, _ in folds) > x.shape[1]
