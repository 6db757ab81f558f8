"""Layer 5, matrices that a caller can change at any time, as those that the kernels may trust.

A SciPy matrix is three arrays that anybody can assign: views, other types, other lengths, indices that point anywhere,
flags that are out of date. SciPy's own compiled code believes them all. So what says where the entries lie is copied
here and checked, before SciPy or scikit-learn see it; the copy is what is used. The values stay the caller's memory:
who changes them during a call gets other numbers.
"""

from copy import copy

import numpy as np
from scipy import sparse

from fastreg._boundary.linear import take_indices

INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)
FLOATS = np.dtype(np.float32), np.dtype(np.float64)


def trusted(x, borrowed=False):
    """`x`, or what it says with a structure that nobody else can change, in CSR, if it is a sparse matrix.

    If `borrowed`, the indices may remain the caller's memory: then whoever uses them copies and checks them once more,
    as Learner.learn does, and it shows in the attribute `borrowed` of what is returned.
    """
    if not sparse.issparse(x):
        return native(x) if isinstance(x, np.ndarray) else x
    if len(x.shape) != 2:
        raise ValueError(f"X: expected 2 dimensions, got a sparse array of shape {x.shape}")
    if x.format == "csr":
        return _compressed(x, borrowed)
    if x.format == "csc":
        return _compressed(x, False).tocsr()
    return _from_places(x, *x.shape)


def _compressed(x, borrowed):
    """For CSC, the rows are the columns."""
    x = copy(x)  # shallow; SciPy's constructors take ten times as long
    rows, columns = x.shape if x.format == "csr" else x.shape[::-1]
    data, indices, indptr = (np.asarray(a) for a in (x.data, x.indices, x.indptr))
    data = native(data)
    one_dimension(data, "values")
    whole_numbers(indices, "indices")
    starts = starts_of(indptr, rows, min(len(data), len(indices)))
    data, indices = data[: starts[-1]], indices[: starts[-1]]  # there may be room behind
    if indices.dtype not in (INT32, INT64) or not indices.flags.c_contiguous or not indices.flags.aligned:
        indices, borrowed = indices.astype(INT32 if indices.dtype.itemsize < 4 else INT64), False
    borrowed = borrowed and data.dtype in FLOATS and data.dtype.isnative
    found, canonical = take_indices(indices, starts, columns, not borrowed)
    if borrowed and not canonical:
        found, canonical = take_indices(indices, starts, columns, True)
    wide = starts[-1] > np.iinfo(found.dtype).max
    x.data, x.indices, x.indptr = data, found, starts.astype(INT64 if wide else found.dtype)
    x.borrowed = found is indices
    x.has_canonical_format = canonical
    return x


def native(a):
    """In native byte order: scikit-learn would make byte-swapped float32 float64, and so the model."""
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


def starts_of(indptr, rows, most):
    """Where the rows start, as a copy that is checked."""
    whole_numbers(indptr, "indptr")
    starts = np.array(indptr, np.intp)  # what an intp cannot hold turns negative
    if len(starts) != rows + 1 or starts[0] != 0 or (starts[1:] < starts[:-1]).any() or starts[-1] > most:
        raise ValueError(
            f"X: expected a CSR matrix whose indptr has {rows + 1} numbers that rise from 0 to the number of its"
            f" entries, at most {most}, got another"
        )
    return starts


def whole_numbers(a, name):
    one_dimension(a, name)
    if a.dtype.kind not in "iu":
        raise ValueError(f"X: expected a CSR matrix whose {name} are whole numbers, got dtype {a.dtype}")


def within(indices, most):
    """A copy, as int64; ValueError where one lies outside."""
    whole_numbers(indices, "indices")
    indices = np.array(indices, np.int64)
    if indices.min(initial=0) < 0 or indices.max(initial=-1) >= most:
        raise ValueError(f"X: expected a matrix with indices from 0 to {most - 1}, got others")
    return indices


def one_dimension(a, name):
    if a.ndim != 1:
        raise ValueError(f"X: expected a CSR matrix whose {name} have one dimension, got shape {a.shape}")


def _from_places(x, rows, columns):
    """From COO, or by way of it."""
    try:
        if x.format == "bsr":
            x = copy(x)
            high, wide = x.blocksize
            x.indices = within(np.asarray(x.indices), columns // wide)
            x.indptr = starts_of(np.asarray(x.indptr), rows // high, min(len(x.indices), len(x.data)))
        elif x.format == "lil" and [*map(len, x.rows)] != [*map(len, x.data)]:
            raise ValueError("rows and values of different lengths")
        x = x.tocoo()
        data, row, column = (np.asarray(a) for a in (native(x.data), *x.coords))
        places = []
        for a, most in ((row, rows), (column, columns)):
            if a.shape != data.shape:
                raise ValueError(f"X: expected as many indices as values, {len(data)}, got {len(a)}")
            places.append(within(a, most))
        return sparse.coo_array((data, tuple(places)), (rows, columns)).tocsr()
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
        if str(error).startswith("X:"):
            raise
        raise ValueError(f"X: expected a sparse matrix whose parts fit each other, got another; {error}") from error
