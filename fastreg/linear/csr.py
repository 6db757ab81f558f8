"""Layer 5, checked copies of sparse matrices: the kernels can use their indices without further checks.

Anybody can assign the three arrays of a SciPy matrix: views, other dtypes, other lengths, indices outside the shape,
outdated flags. SciPy's own compiled code does not check them. So this module copies and checks the structure before
SciPy or scikit-learn read it, and only the copy is used afterwards. The values are not copied: if another thread
changes them during a call, the results change, but no memory outside the array is accessed.
"""

from copy import copy

import numpy as np
from scipy import sparse

from fastreg._boundary.linear import take_indices

INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)
FLOATS = np.dtype(np.float32), np.dtype(np.float64)


def checked_matrix(x, copy_indices=True):
    """A sparse matrix as CSR with a checked structure that the caller cannot change; other inputs as they are.

    With ``copy_indices=False``, the indices may share the caller's memory. The attribute `shares_indices` of the result
    says whether they do. They must then be copied and checked again where they are used, as Learner.learn does.
    """
    if not sparse.issparse(x):
        return native(x) if isinstance(x, np.ndarray) else x
    if len(x.shape) != 2:
        raise ValueError(f"X: expected 2 dimensions, got a sparse array of shape {x.shape}")
    if x.format == "csr":
        return _from_compressed(x, copy_indices)
    if x.format == "csc":
        return _from_compressed(x, copy_indices=True).tocsr()
    return _from_other_format(x, *x.shape)


def _from_compressed(x, copy_indices):
    """From CSR or CSC; for CSC, `rows` are the columns of the matrix."""
    x = copy(x)  # shallow; SciPy's constructors take ten times as long
    rows, columns = x.shape if x.format == "csr" else x.shape[::-1]
    data, indices, indptr = (np.asarray(a) for a in (x.data, x.indices, x.indptr))
    data = native(data)
    check_one_dimension(data, "values")
    check_integers(indices, "indices")
    starts = row_starts(indptr, rows, min(len(data), len(indices)))
    data, indices = data[: starts[-1]], indices[: starts[-1]]  # the arrays may be longer than the last row
    if indices.dtype not in (INT32, INT64) or not indices.flags.c_contiguous or not indices.flags.aligned:
        indices, copy_indices = indices.astype(INT32 if indices.dtype.itemsize < 4 else INT64), True
    copy_indices = copy_indices or data.dtype not in FLOATS or not data.dtype.isnative
    checked, canonical = take_indices(indices, starts, columns, copy_indices)
    if not copy_indices and not canonical:
        checked, canonical = take_indices(indices, starts, columns, True)
    wide = starts[-1] > np.iinfo(checked.dtype).max
    x.data, x.indices, x.indptr = data, checked, starts.astype(INT64 if wide else checked.dtype)
    x.shares_indices = checked is indices
    x.has_canonical_format = canonical
    return x


def native(a):
    """The array in native byte order: scikit-learn would convert byte-swapped float32 to float64."""
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


def row_starts(indptr, rows, limit):
    """A checked copy of `indptr`: it starts at 0, never decreases, and ends at no more than `limit`."""
    check_integers(indptr, "indptr")
    starts = np.array(indptr, np.intp)  # numbers that intp cannot hold become negative
    if len(starts) != rows + 1 or starts[0] != 0 or (starts[1:] < starts[:-1]).any() or starts[-1] > limit:
        raise ValueError(
            f"X: expected a CSR matrix with {rows + 1} numbers in indptr that increase from 0 to the number of entries,"
            f" at most {limit}, got other numbers"
        )
    return starts


def check_integers(a, name):
    check_one_dimension(a, name)
    if a.dtype.kind not in "iu":
        raise ValueError(f"X: expected a CSR matrix with integers as {name}, got dtype {a.dtype}")


def checked_indices(indices, limit):
    """A copy of the indices as int64; ValueError if one is negative or not below `limit`."""
    check_integers(indices, "indices")
    indices = np.array(indices, np.int64)
    if indices.min(initial=0) < 0 or indices.max(initial=-1) >= limit:
        raise ValueError(f"X: expected a matrix with indices from 0 to {limit - 1}, got others")
    return indices


def check_one_dimension(a, name):
    if a.ndim != 1:
        raise ValueError(f"X: expected a CSR matrix with one-dimensional {name}, got shape {a.shape}")


def _from_other_format(x, rows, columns):
    """From COO, or from a format that SciPy converts to COO."""
    try:
        if x.format == "bsr":
            x = copy(x)
            block_rows, block_columns = x.blocksize
            x.indices = checked_indices(np.asarray(x.indices), columns // block_columns)
            x.indptr = row_starts(np.asarray(x.indptr), rows // block_rows, min(len(x.indices), len(x.data)))
        elif x.format == "lil" and [*map(len, x.rows)] != [*map(len, x.data)]:
            raise ValueError("rows and values of different lengths")
        x = x.tocoo()
        data, row, column = (np.asarray(a) for a in (native(x.data), *x.coords))
        coords = []
        for a, limit in ((row, rows), (column, columns)):
            if a.shape != data.shape:
                raise ValueError(f"X: expected as many indices as values, {len(data)}, got {len(a)}")
            coords.append(checked_indices(a, limit))
        return sparse.coo_array((data, tuple(coords)), (rows, columns)).tocsr()
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
        if str(error).startswith("X:"):
            raise
        raise ValueError(f"X: expected a sparse matrix with parts that fit each other, got another; {error}") from error
