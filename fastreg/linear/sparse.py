"""Layer 5, sparse weights of a linear model: in memory and in files only what is not zero.

No array here is as large as the matrix of weights: with 2²⁰ features, SciPy's product of a sparse matrix with the
transposed weights would need one of that size for each call. Instead a bit for each feature says whether it has a
weight, and the number of bits before it where. A binary search takes ten times as long.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from fastreg._boundary.linear import find
from fastreg.linear.scales import Sizes
from fastreg.linear.units import Units

SMALL = 1 << 14  # weights, below which a dense copy costs nothing, and gives dense samples the bits of dense weights


class Weights(NamedTuple):
    """The weights of a model that are not zero, by feature, and its intercept."""

    coef: sparse.csr_matrix  # (columns, features), with read-only arrays
    features: np.ndarray  # those that have a weight
    rows: np.ndarray  # their weights, (len(features), columns)
    intercept: np.ndarray
    bits: np.ndarray  # 64 features in each number
    before: np.ndarray  # how many features before these 64 have a weight


class Stored(NamedTuple):
    """What a file of a sparsified model contains: it predicts, and training starts a new state at these weights."""

    coef: sparse.csr_matrix
    intercept: np.ndarray
    record: tuple  # of Learner.read_nonzero, as the next two
    numbers: tuple
    factors: np.ndarray | None

    @property
    def units(self):
        """The Units of features, in which weights and intercept are; None for raw ones."""
        return Units.unpacked(Sizes.of(self.numbers[-1]).units)


def matrix(positions, values, shape):
    """The CSR matrix (columns, features) of values at these positions in a matrix (features, columns)."""
    columns, features = shape
    indices, rows = np.divmod(positions, columns)
    order = np.argsort(rows, kind="stable")
    narrow = max(features, len(positions)) <= np.iinfo(np.int32).max
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=columns))])
    arrays = values[order], indices[order], starts
    return frozen((arrays[0], *(a.astype(np.int32 if narrow else np.int64) for a in arrays[1:])), shape)


def frozen(arrays, shape):
    """A CSR matrix of these arrays (data, indices, indptr), which become read-only."""
    for a in arrays:
        a.flags.writeable = False
    x = sparse.csr_matrix(arrays, shape)
    x.has_canonical_format = True
    return x


def shared(coef):
    """Another matrix with the same read-only arrays: it cannot be changed, only replaced."""
    return frozen((coef.data, coef.indices, coef.indptr), coef.shape)


def weights_of(coef, intercept):
    """The Weights of a CSR matrix."""
    features, places = np.unique(coef.indices, return_inverse=True)
    rows = np.zeros((len(features), coef.shape[0]), coef.dtype)
    rows[places, np.repeat(np.arange(coef.shape[0]), np.diff(coef.indptr))] = coef.data
    bits = np.zeros((coef.shape[1] + 63) // 64, np.uint64)
    np.bitwise_or.at(bits, features >> 6, np.uint64(1) << (features & 63).astype(np.uint64))
    before = np.cumsum(np.bitwise_count(bits), dtype=np.intp) - np.bitwise_count(bits)
    return Weights(coef, features, rows, intercept, bits, before)


def products(x, weights):
    """x·w, (samples, columns). For sparse samples the bits are those of dense weights: only zeros are left out."""
    columns, features = weights.coef.shape
    if not sparse.issparse(x):
        if columns * features <= SMALL:
            w = np.zeros((features, columns), weights.rows.dtype)
            w[weights.features] = weights.rows
            return x @ w
        return x[:, weights.features] @ weights.rows
    positions, places = find(x.indices, weights.bits, weights.before)
    starts = np.searchsorted(positions, x.indptr)
    own = sparse.csr_matrix((x.data[positions], places, starts), (x.shape[0], len(weights.features)))
    return own @ weights.rows
