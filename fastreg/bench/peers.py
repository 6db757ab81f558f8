"""Every implementation that is measured, once: the asv suite and `python -m fastreg bench` take them from here.

A peer prepares a case over given arrays and hands back a statement for timeit that does one update in place. It raises
Skip, which asv reads as "not applicable" and the command line prints, where its package is not installed or has no such
rule; `check` compares one update with the reference before anything is timed. Packages are imported when a peer is
prepared, after one thread was asked for (single_thread in machine.py).
"""

from functools import cache
from importlib import import_module

import numpy as np

from . import libraries, loops, native
from .cases import LR, workload
from .contract import Peer, Prepared, Skip, function

__all__ = ["PEERS", "Peer", "Prepared", "Skip", "check", "footprint", "function", "prepare", "version"]

PEERS = native.PEERS | libraries.PEERS


def prepare(name, case, arrays, lr=LR):
    """The statement of a peer, or Skip."""
    try:
        return PEERS[name].prepare(case, arrays, lr)
    except ModuleNotFoundError as error:
        raise Skip(f"{error.name} is not installed") from error


def footprint(case, names):
    """How many arrays of the case's size are held at once, at most, where these take part."""
    copies = ("jax" in names) + ("fastreg" in names and case.direction != "Plain")  # the optimizer's state is its own
    spare = max((PEERS[name].spare for name in names), default=0)
    return len(case.arrays) * (1 + copies) + max(spare, 5 if case.direction == "FTRL" else 0)  # 5: its warm start


@cache
def check(name, case, dtype):
    """One update at a rate that moves weights, against the reference; AssertionError where they differ, or Skip."""
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
    w, want = prepared.weights(), expected["w"]
    if not np.allclose(w, want, rtol=tolerance, atol=tolerance):
        worst = np.max(np.abs(w - want))
        raise AssertionError(f"{name}: not the rule {case.name} in {dtype}: weights differ by up to {worst:.1e}")


def version(module):
    """The version of what a peer needs, or None where it is not installed."""
    if module == "compiler":
        return loops.compiler_version()
    try:
        return import_module(module).__version__
    except ImportError:
        return None
