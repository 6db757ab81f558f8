"""Layer 5, penalty factors: what multiplies the strengths, as one number for a tensor or as one number for each weight.

Dense and lazy optimizers share these checks.
"""

import numpy as np

from fastreg.optimizers.params import filled
from fastreg.optimizers.settings import check_float32, finite, to_float32


def split_factors(layout, weights, factors):
    """Penalty factors as a number for each tensor, and an array or None for each."""
    if factors is None or np.isscalar(factors) or layout.kind == "array":
        factors = [factors] * len(weights)
    else:
        factors = layout.flatten(factors, "penalty_factor")
    parts = [split_factor(f"penalty_factor[{name}]", w, f) for name, w, f in zip(layout.names, weights, factors)]
    return [number for number, _ in parts], [array for _, array in parts]


def split_factor(name, w, factor):
    """The penalty factor of one tensor as a number for all of it, and as a new array like it or None."""
    if factor is None or np.ndim(factor) == 0:
        return 1.0 if factor is None else finite(name, factor), None
    if isinstance(factor, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask, got MaskedArray")
    factor = np.asarray(factor)
    if factor.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected real numbers, got dtype {factor.dtype}")
    if factor.shape != w.shape:
        raise ValueError(f"{name}: expected shape {w.shape} like the weights, got {factor.shape}")
    with np.errstate(over="ignore"):
        array = filled(w, factor)
    bad = ~(np.isfinite(array) & (array >= 0)) | ((array == 0) & (factor != 0))
    if bad.any():
        raise ValueError(f"{name}: expected finite {array.dtype} numbers, not negative, got {factor[bad][0]}")
    return 1.0, array


def largest_factor(number, array):
    """The largest factor of a tensor, from what split_factor gave: products with smaller ones do not overflow."""
    return number if array is None else float(array.max(initial=0))


def check_products(settings, factor, float32):
    """Raise ValueError where a strength times a factor overflows or underflows, in float32 too where that is used.

    Strengths that are callables are left out. The kernels round a strength before they multiply it by an array. Most
    products are far from the ends of both dtypes: the check must be fast, since schedules come here at every step.
    """
    for key in ("l1", "l2", "l21"):
        strength = settings.get(key, 0.0)
        if callable(strength) or strength == 0 or factor in (0, 1) or 1e-30 < strength * factor < 1e30:
            continue
        rounded = float(to_float32(strength)) if float32 else strength
        name, product = f"{key} times penalty_factor", max(strength, rounded) * factor
        finite(name, product)
        if product == 0:
            raise ValueError(f"{name}: expected a number that float64 can hold, got {strength!r} * {factor!r}")
        if float32:
            check_float32(name, product)
