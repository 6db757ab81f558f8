"""Checks of the converters' arguments and results; every message names what was expected and what came."""

from math import inf, isfinite
from numbers import Real

NOT_NEGATIVE = ("a finite number, not negative", lambda x: 0 <= x < inf)
POSITIVE = ("a positive, finite number", lambda x: 0 < x < inf)
UNBOUNDED = ("a positive number", lambda x: x > 0)
RATIO = ("a number in [0, 1]", lambda x: 0 <= x <= 1)


def number(x, name, allowed=NOT_NEGATIVE):
    """x as a float; an array or a tensor counts as a number only if it has no dimensions."""
    expected, fits = allowed
    number = x.item() if getattr(x, "ndim", None) == 0 else x
    if not isinstance(number, Real):
        raise TypeError(f"{name}: expected a real number, got {type(x).__name__} ({x!r})")
    try:
        value = float(number)
    except OverflowError:
        value = inf
    if not fits(value):
        raise ValueError(f"{name}: expected {expected}, got {x!r}")
    return value


def numbers(x, name, allowed=NOT_NEGATIVE):
    """A number for each group as a list of floats, or one float for all groups."""
    if isinstance(x, Real) or getattr(x, "ndim", None) == 0:
        return number(x, name, allowed)
    try:
        values = list(x)
    except TypeError:
        raise TypeError(
            f"{name}: expected a real number, or one for each group, got {type(x).__name__} ({x!r})"
        ) from None
    if not values:
        raise ValueError(f"{name}: expected a number for each group, got none")
    return [number(value, f"{name}[{i}]", allowed) for i, value in enumerate(values)]


def flag(x, name):
    """x as a bool; NumPy's bool has no dimensions and an item."""
    value = x.item() if getattr(x, "ndim", None) == 0 else x
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected a bool, got {type(x).__name__} ({x!r})")
    return value


def checked(strengths):
    """A named tuple of strengths from arguments that are in range; their product or quotient can still overflow."""
    names = [name for name in ("l1", "l2", "l21") if name in strengths._fields]
    values = [getattr(strengths, name) for name in names]
    if not all(map(isfinite, values)):
        names, values = (f"{', '.join(x[:-1])} and {x[-1]}" for x in (names, list(map(repr, values))))
        raise ValueError(f"{names}: expected strengths that a float can hold, got {values}")
    if not getattr(strengths, "gamma", 1) > 0:
        raise ValueError("gamma: expected a quotient that a float can hold, got 0.0")
    return strengths
