"""All measured implementations; the asv suite and `python -m fastreg bench` share them.

A peer prepares a case for given arrays and returns a statement for timeit that does one update in place. It raises Skip
if its package is not installed or has no such rule; asv then shows "n/a", and the command line prints the reason.
`check` compares one update with the reference before anything is timed. Packages are imported when a peer is prepared,
after single_thread in machine.py has limited the threads.
"""

from functools import cache
from importlib import import_module

import numpy as np

from . import c_loops, libraries, native
from .cases import LR, workload
from .contract import Peer, Prepared, Skip, function

__all__ = ["PEERS", "Peer", "Prepared", "Skip", "check", "footprint", "function", "prepare", "version"]

PEERS = native.PEERS | libraries.PEERS


def prepare(name, case, arrays, lr=LR):
    """The statement of a peer; raises Skip if it cannot be measured."""
    try:
        return PEERS[name].prepare(case, arrays, lr)
    except ModuleNotFoundError as error:
        raise Skip(f"{error.name} is not installed") from error


def footprint(case, names):
    """The largest number of arrays of the case's size that exist at once if these peers are measured."""
    copies = ("jax" in names) + ("fastreg" in names and case.direction != "Plain")  # the optimizer allocates its state
    temporaries = max((PEERS[name].temporaries for name in names), default=0)
    warm_start = 5 if case.direction == "FTRL" else 0
    return len(case.arrays) * (1 + copies) + max(temporaries, warm_start)


@cache
def check(name, case, dtype):
    """Compare one update with the reference, at a rate that changes weights; raises AssertionError, or Skip."""
    size, lr = 1003, 0.1
    arrays = workload(case, size, dtype)
    expected = {key: x.copy() for key, x in arrays.items()}
    if name == "axpy":
        expected["w"] += np.dtype(dtype).type(lr) * expected["g"]
    elif name != "C traffic":
        function(prepare("reference", case, expected, lr))()
    prepared = prepare(name, case, arrays, lr)
    function(prepared)()
    tolerance = 1e-12 if np.dtype(dtype) == np.float64 else 2e-6
    w, expected = prepared.weights(), expected["w"]
    if not np.allclose(w, expected, rtol=tolerance, atol=tolerance):
        worst = np.max(np.abs(w - expected))
        raise AssertionError(f"{name} does not compute {case.name} in {dtype}: weights differ by up to {worst:.1e}")


def version(module):
    """The version of the module that a peer requires; None if it is not installed."""
    if module == "compiler":
        return c_loops.compiler_version()
    try:
        return import_module(module).__version__
    except ImportError:
        return None
