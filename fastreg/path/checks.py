"""Layer 5, checks of the arguments of this package; every message names what was expected and what came."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def numbers(given: ArrayLike, name: str) -> NDArray[np.float64]:
    """The argument as an array of float64, a copy or not. Strings, complex numbers and masked arrays are refused."""
    expected = f"{name}: expected an array of real numbers,"
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{expected} got a masked array; pass {name}.filled(...)")
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged, or a tensor of torch that requires grad
        raise TypeError(f"{expected} got {type(given).__name__}; {error}") from error
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise TypeError(f"{expected} got {type(given).__name__} of dtype {array.dtype}")
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one number, got shape {array.shape}")
    return array.astype(np.float64, copy=False)


def checked_strengths(given: ArrayLike, name: str = "strengths") -> NDArray[np.float64]:
    """Strengths (n,), finite and not negative, in any order."""
    strengths = numbers(given, name)
    if strengths.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {strengths.shape}")
    bad = ~((strengths >= 0) & (strengths < np.inf))
    if bad.any():
        raise ValueError(f"{name}: expected finite numbers, not negative, got {strengths[bad][0]}")
    return strengths
