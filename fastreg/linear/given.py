"""Layer 5, weights and intercepts that a user gives to a model: their checks."""

import numpy as np
from scipy import sparse

from fastreg.linear.labels import short


def checked_weights(given, name, shape, dtype, positive=False):
    """A private copy of weights (columns, features); one column may come as a vector, and all as a sparse matrix."""
    columns, features = shape
    expected = f"({columns}, {features})" + (f" or ({features},)" if columns == 1 else "")
    if sparse.issparse(given):
        if given.shape != shape and not (columns == 1 and given.shape == (features,)):
            raise ValueError(f"{name}: expected shape {expected}, got {given.shape}")
        given = given.toarray()
    array = numbers(given, f"{name}: expected an array of numbers,")
    if array.shape != shape and not (columns == 1 and array.shape == (features,)):
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")
    weights = _in_dtype(array.reshape(shape), name, dtype)
    if positive and (weights < 0).any():
        raise ValueError(f"{name}: expected no negative weight with positive=True, got {weights[weights < 0][0]}")
    return weights


def checked_intercept(given, name, columns, dtype, has_intercept):
    """A private copy of an intercept (columns,); a single one may come as a number."""
    array = numbers(given, f"{name}: expected an array of numbers,")
    if array.shape != (columns,) and not (columns == 1 and array.shape == ()):
        raise ValueError(f"{name}: expected shape ({columns},){' or a number' * (columns == 1)}, got {array.shape}")
    intercept = _in_dtype(array.reshape(columns), name, dtype)
    if not has_intercept and intercept.any():
        raise ValueError(f"{name}: expected 0 with fit_intercept=False, got {short(intercept)}")
    return intercept


def numbers(given, expected, kinds="fiu"):
    """The argument as an array of real numbers; `expected` begins the message of errors."""
    if isinstance(given, np.ma.MaskedArray):
        raise ValueError(f"{expected} got a masked array")
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected} got {short(given)}; {error}") from error
    if array.dtype.kind not in kinds:
        raise ValueError(f"{expected} got {short(given)}")
    return array


def _in_dtype(array, name, dtype):
    """A copy in the dtype of the weights, if that can hold it."""
    with np.errstate(over="ignore"):
        rounded = array.astype(dtype) + dtype.type(0)  # a zero is +0.0, as steps give it
    bad = ~np.isfinite(rounded)
    if bad.any():
        raise ValueError(f"{name}: expected finite numbers that {dtype} can hold, got {array[bad][0]}")
    return rounded
