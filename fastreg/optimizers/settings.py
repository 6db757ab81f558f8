"""Layer 5, settings: what each may be, and the numbers that callable ones give.

A check takes the name and the value of a setting. It returns the value as a plain Python object, or raises a TypeError
or ValueError that starts with the name.
"""

from math import inf, isfinite

import numpy as np

from fastreg._boundary import errors, threads
from fastreg.reference import MODES

SCHEDULES = ("lr", "l1", "l2", "l21")  # these may be callables of the number of completed steps
NONFINITE = ("propagate", "raise", "skip")


def number(name, x, low=0.0, high=inf, *, below_high=False):
    value = x if type(x) is float else errors.as_float(x, name)
    if not low <= value <= high or (below_high and value >= high):
        raise ValueError(f"{name}: expected a number from {low:g} to {'below ' * below_high}{high:g}, got {x!r}")
    return value


def positive(name, x):
    value = number(name, x)
    if value == 0:
        raise ValueError(f"{name}: expected a positive number or inf, got {x!r}")
    return value


def finite(name, x):
    value = number(name, x)
    if not isfinite(value):
        raise ValueError(f"{name}: expected a finite number, not negative, got {x!r}")
    return value


def fraction(name, x):
    return number(name, x, 0, 1)


def decay(name, x):
    return number(name, x, 0, 1, below_high=True)


def two_decays(name, x):
    if not isinstance(x, (tuple, list, np.ndarray)) or len(x) != 2:
        raise TypeError(f"{name}: expected two numbers, got {x!r}")
    return decay(f"{name}[0]", x[0]), decay(f"{name}[1]", x[1])


def boolean(name, x):
    if not isinstance(x, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {x!r}")
    return bool(x)


def mode_name(name, x):
    return tuple(MODES)[errors.mode_index(x, tuple(MODES))]


def number_or_callable(name, x):
    return x if callable(x) else finite(name, x)


def nonfinite_policy(name, x):
    if not isinstance(x, str) or x not in NONFINITE:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, NONFINITE))}, got {x!r}")
    return x


def thread_count(name, x):
    return None if x is None else threads.count(name, x)


CHECKS = dict.fromkeys(SCHEDULES, number_or_callable) | {
    "gamma": positive,
    "mode": mode_name,
    "theta": number,
    "momentum": decay,
    "dampening": fraction,
    "nesterov": boolean,
    "alpha": fraction,
    "betas": two_decays,
    "eps": finite,
    "amsgrad": boolean,
    "beta": finite,
    "initial_accumulator_value": finite,
    "warm_start": boolean,
}

DECAYS = tuple(key for key, check in CHECKS.items() if check in (decay, two_decays))


def checked_settings(changes, float32):
    """Settings, each checked on its own; `float32` is whether they are rounded to float32."""
    checked = {key: CHECKS[key](key, value) for key, value in changes.items()}
    if float32:
        for key, value in checked.items():
            for x in value if isinstance(value, tuple) else (value,):
                if isinstance(x, float):
                    check_float32(key, x)
                    if key in DECAYS and to_float32(x) == 1:
                        raise ValueError(f"{key}: expected a number below 1 in float32 too, got {x!r}")
    return checked


def evaluate_schedules(settings, completed, float32):
    """The settings after this number of completed steps, with numbers in place of callables."""
    numbers = dict(settings)
    for name in SCHEDULES:
        if callable(numbers.get(name)):
            numbers[name] = finite(name, numbers[name](completed))
            if float32:
                check_float32(name, numbers[name])
    return numbers


def check_float32(name, x):
    """Raise ValueError for a finite number that is zero or infinite once it is rounded to float32."""
    if isfinite(x) and (not np.isfinite(rounded := to_float32(x)) or (rounded == 0 and x != 0)):
        raise errors.bad_number(x, name, True, True)


def to_float32(x):
    """x rounded to float32. Numbers that are too large become infinite, without a warning."""
    with np.errstate(over="ignore"):
        return np.float32(x)


class StepSettings:
    """The settings of a step that no group has: what all optimizers share, also those of fastreg.torch."""

    @property
    def on_nonfinite(self):
        """What to do about an infinity or a NaN in a gradient: "propagate", "raise" or "skip"."""
        return self._on_nonfinite

    @on_nonfinite.setter
    def on_nonfinite(self, policy):
        self._on_nonfinite = nonfinite_policy("on_nonfinite", policy)

    @property
    def threads(self):
        """How many threads a step may use; None for the default of the process, `fastreg.get_num_threads()`."""
        return self._threads

    @threads.setter
    def threads(self, n):
        self._threads = thread_count("threads", n)
