"""Layer 5, samples as the kernels need them."""

import numpy as np
from scipy import sparse

from fastreg._boundary.linear import fingerprints_of, keep, largest_magnitude, sizes_of


class Samples:
    """The rows of an array, or of a CSR matrix that csr.py has checked, without duplicates, as the kernels need them.

    The values share the caller's memory. While this object exists, that memory cannot be resized or freed.
    """

    def __init__(self, x, offsets=None):
        self.shared, self.features, self.offsets = not sparse.issparse(x), x.shape[1], offsets
        self.shares_indices = getattr(x, "shares_indices", False)  # linear.pyx then copies and checks the indices
        if self.shared:
            values, self.indices, self.longest = x.ravel(), np.arange(x.shape[1]), x.shape[1]
            self.starts = np.arange(x.shape[0] + 1)
            self.starts *= x.shape[1]
        else:
            if not x.has_canonical_format:
                x = x.copy()
                x.sum_duplicates()
            values, self.indices, self.starts = x.data, x.indices, x.indptr.astype(np.intp)
            self.longest = int(np.diff(self.starts).max(initial=0))
        self.guards = keep([values, self.indices])
        self.data = values if values.flags.aligned and values.flags.c_contiguous else values.copy()
        self._fingerprints = self._largest = self._largest_of_each = None

    def __len__(self):
        return len(self.starts) - 1

    @property
    def fingerprints(self):
        """A number for each sample that depends only on its features."""
        if self._fingerprints is None:
            self._fingerprints = fingerprints_of(self)
        return self._fingerprints

    def fit(self, features):
        """Whether they have this number of features, and the arrays all values."""
        values = min(len(self.data), len(self.data) if self.shared else len(self.indices))
        return self.features == features and values >= self.starts[-1]

    def rows(self, order):
        """A dense copy of these samples, (len(order), features)."""
        if self.shared:
            return self.data.reshape(len(self), self.features)[order]
        data, indices, starts = self._part(order)
        rows = np.zeros((len(order), self.features), data.dtype)
        rows[np.repeat(np.arange(len(order)), np.diff(starts)), indices] = data
        return rows

    def in_units(self, units, order, dense):
        """These samples with features in Units; sparse ones stay sparse unless `dense` is true."""
        offsets = None if self.offsets is None else self.offsets[order]
        if self.shared:
            return Samples(units.of(self.data.reshape(len(self), self.features), order), offsets)
        if dense:
            return Samples(units.of(self.rows(order)), offsets)
        data, indices, starts = self._part(order)
        with np.errstate(over="ignore", under="ignore"):
            data = (data * units.factors[indices]).astype(data.dtype)
        x = sparse.csr_matrix((data, indices, starts), (len(order), self.features))
        x.has_canonical_format = True
        return Samples(x, offsets)

    def _part(self, order):
        """Copies of values, indices and starts of these rows of a CSR matrix."""
        starts = np.concatenate([[0], np.cumsum(self.starts[order + 1] - self.starts[order])])
        places = np.arange(starts[-1]) + np.repeat(self.starts[order] - starts[:-1], np.diff(starts))
        indices = self.indices[places]
        if not (indices.min(initial=0) >= 0 and indices.max(initial=0) < max(1, self.features)):
            raise ValueError("X: expected indices that stay the same during a call, got others")
        return self.data[places], indices, starts

    def sizes(self, order):
        """The root mean square of the non-zero features of each sample; 0 if there are none or it is not finite."""
        return sizes_of(self, order)

    @property
    def largest(self):
        """The largest absolute value of a feature; NaN if one is NaN."""
        if self._largest is None:
            self._largest = largest_magnitude(self.data)
        return self._largest

    def exceed(self, order, limit):
        """Whether the absolute value of a feature is larger, for each sample."""
        if self._largest_of_each is None:
            filled = self.starts[1:] > self.starts[:-1]
            self._largest_of_each = np.zeros(len(self))
            self._largest_of_each[filled] = np.maximum.reduceat(np.abs(self.data), self.starts[:-1][filled])
        return self._largest_of_each[order] > limit
