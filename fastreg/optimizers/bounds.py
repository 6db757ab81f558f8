"""Layer 5, bounds: the interval in which each weight stays, as one pair of numbers or as arrays like the weights."""

from collections.abc import Iterable
from math import inf

import numpy as np

from fastreg._boundary import errors
from fastreg._boundary.bfloat16 import as_float32, dtype_name, to_bfloat16
from fastreg.optimizers.params import computed, filled


def split_bounds(layout, weights, bounds, what="bounds"):
    """The bounds of each tensor as two arrays, both without dimensions or both like it; None where there are none."""
    low, high = checked_pair(bounds, what)
    sides = [layout.flatten(x, f"{what}[{k}]") if is_many(x) else [x] * len(weights) for k, x in enumerate((low, high))]
    return [bounds_of(f"params[{name}]", w, own, what) for name, w, own in zip(layout.names, weights, zip(*sides))]


def checked_pair(bounds, what):
    """Bounds as (low, high), where None stands for no bounds."""
    if bounds is None:
        return -inf, inf
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise TypeError(f"{what}: expected a pair (low, high), got {bounds!r}")
    return tuple(x if is_many(x) else errors.as_float(x, what) for x in bounds)


def is_many(x):
    """Whether a side of the bounds is in the form of params rather than one number."""
    return isinstance(x, Iterable) and not isinstance(x, (str, bytes)) and getattr(x, "ndim", 1) > 0


def bounds_of(name, w, pair, what):
    """The bounds of one tensor: see split_bounds. They are copies, in the dtype in which the tensor is computed."""
    sides = [side_of(f"{what}[{k}]", name, w, x) for k, x in enumerate(pair)]
    if all(side.ndim == 0 for side in sides) and sides[0] == -inf and sides[1] == inf:
        return None
    if any(side.ndim for side in sides):
        sides = [side if side.ndim else filled(w, side) for side in sides]
    low, high = sides
    bad = ~((low <= high) & (low < inf) & (high > -inf))
    if bad.any():
        first = tuple(float(side[bad][0]) for side in sides)
        raise ValueError(f"{what}: expected low <= high, below inf and above -inf, for {name}, got {first}")
    return tuple(sides)


def side_of(what, name, w, x):
    """One side of the bounds, rounded to the dtype of the weights, so that weights at a bound can be stored."""
    given = as_float32(errors.as_buffer(x, what)) if is_many(x) else np.asarray(errors.as_float(x, what))
    if given.dtype.kind not in "fiub":
        raise TypeError(f"{what}: expected real numbers for {name}, got dtype {given.dtype}")
    if given.ndim and given.shape != w.shape:
        raise ValueError(f"{what}: expected shape {w.shape} like {name}, got {given.shape}")
    with np.errstate(over="ignore"):
        rounded = given.astype(computed(w))
        rounded = to_bfloat16(rounded) if w.dtype.itemsize == 2 else rounded
    dtype = dtype_name(w.dtype)
    bad = np.isnan(given) | (np.isinf(rounded) & np.isfinite(given)) | ((rounded == 0) & (given != 0))
    if bad.any():
        raise ValueError(
            f"{what}: expected numbers that {dtype} can hold, or infinities, for {name}, got {given[bad][0]}"
        )
    return filled(w, rounded) if given.ndim else rounded


def lazy_bounds(w, bounds):
    """The bounds of lazy updates: one pair of numbers with 0 between them, in the dtype of w."""
    pair = checked_pair(bounds, "bounds")
    if any(map(is_many, pair)):
        raise TypeError(
            "bounds: expected two numbers for lazy updates (bounds of each weight would be two more reads from memory"
            f" for each non-zero), got {bounds!r}"
        )
    low, high = (float(x) for x in bounds_of("w", w, pair, "bounds") or pair)
    if not low <= 0 <= high:
        raise ValueError(
            "bounds: expected low <= 0 <= high for lazy updates (a weight without a gradient moves towards zero and"
            f" must stay within them), got {(low, high)}"
        )
    return low, high


def joined(bounds):
    """The inverse of split_bounds for the tensors of a group, as two lists."""
    pairs = [(-inf, inf) if own is None else own for own in bounds]
    return tuple(
        [x.item() if np.ndim(x) == 0 and isinstance(x, np.ndarray) else x for x in side] for side in zip(*pairs)
    )
