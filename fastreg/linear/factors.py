"""Layer 5, the penalty factors of a linear model: one for each feature, checked when the argument is first seen.

A batch of a stream costs O(non-zeros): a pass over the factors of all features at each call would cost more than that.
"""

from typing import NamedTuple

import numpy as np

from fastreg import reference
from fastreg._boundary.functions import penalty_value
from fastreg.linear.given import numbers
from fastreg.linear.labels import short
from fastreg.optimizers.group_axis import group_penalty_with_factors
from fastreg.optimizers.params import filled


class Factors(NamedTuple):
    """Penalty factors of features."""

    given: object  # the argument
    array: np.ndarray | None  # a copy in the dtype of the weights, read-only
    fraction: float | None  # one that is neither 0 nor 1, if there is any
    largest: float


NONE = Factors(None, None, None, 1.0)


def checked_factors(given, features, dtype, current):
    """The factors of an argument; the array `current` if it has the same values. ValueError unless they are valid."""
    if given is None:
        return NONE
    expected = f"penalty_factor: expected {features} numbers, one for each feature,"
    array = numbers(given, expected, "fiub")
    if array.ndim == 0:
        raise ValueError(f"{expected} got {short(given)}")
    if array.shape != (features,):
        raise ValueError(f"{expected} got shape {array.shape}")
    with np.errstate(over="ignore"):
        factors = array.astype(dtype)
    bad = ~(np.isfinite(factors) & (factors >= 0)) | ((factors == 0) & (array != 0))
    if bad.any():
        raise ValueError(f"penalty_factor: expected finite {dtype} numbers, not negative, got {array[bad][0]}")
    fractions = factors[(factors != 0) & (factors != 1)]
    factors.flags.writeable = False
    if current is not None and np.array_equal(factors, current):
        factors = current
    largest = float(factors.max(initial=0))
    return Factors(given, factors, float(fractions[0]) if len(fractions) else None, largest)


def penalty_of(coef, strengths, factors):
    """The penalty of weights (classes, features) at the strengths l1, l2 and l21; `factors` are None for 1 each."""
    l1, l2, l21 = strengths
    value = penalty_value(coef, reference.ElasticNet(l1, l2), None if factors is None else filled(coef, factors))
    return value + group_penalty_with_factors(coef, factors, l21, 1)


def check_products(strengths, largest, dtype):
    """Raise ValueError unless the dtype can hold the strengths and their products with the largest factor."""
    with np.errstate(over="ignore"):
        products = np.array(strengths).astype(dtype) * dtype.type(max(1.0, largest))
    if not np.isfinite(products).all():
        raise ValueError(
            f"alpha: expected a strength that {dtype}, the dtype of the weights, can hold, also times penalty_factor,"
            f" got {max(strengths):g} times {largest:g}"
        )
