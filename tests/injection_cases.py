"""The base of the operations that injection.py disturbs: their form, and states that can be compared.

The operations are in injection_optimizer_cases.py, injection_lazy_cases.py and injection_linear_cases.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Operation(NamedTuple):
    """One operation. The last three functions take the subject, a namespace that `make` returns."""

    make: Callable  # () → a subject in its old state
    act: Callable  # the call that is disturbed
    look: Callable  # the whole visible state, in a form that can be compared
    go_on: Callable  # later calls, which show the state that is not visible


def plain(x):
    """An object as bytes, numbers and texts that can be compared; a callable stays as it is."""
    if isinstance(x, (np.ndarray, np.generic)):
        return (x.dtype.str, x.shape, x.tolist() if x.dtype == object else x.tobytes())
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(value) for value in x]
    return repr(x) if isinstance(x, float) else x


def falling(n):
    """A schedule in Python code."""
    return 0.1 / (1 + n)


def arrays(seed, dtype=np.float64, shapes=((7,), (3, 2))):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def load(s):
    s.it.load_state_dict(s.saved)
