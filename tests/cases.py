"""The tables that tests share (dtypes, sizes, strengths, values, layouts), the comparison of bits, and new processes.

The rules come from the registry of the package, so that a new one is tested as soon as it is listed there.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from ml_dtypes import bfloat16, finfo

import fastreg
from fastreg import reference
from fastreg._boundary import dispatch
from fastreg._registry import RULES as REGISTRY

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent  # the source tree, if the tests are in one
RULES = list(REGISTRY.values())
DTYPES = [np.float32, np.float64]
STORED = [*DTYPES, bfloat16]  # what weights and gradients may be; bfloat16 is computed with in float32
SIZES = [0, 1, 3, 4, 7, 8, 9, 31, 33, 1000, 8191, 8192, 10_007]  # vector widths, then where the GIL is released
UPDATES = {name: getattr(fastreg, name) for name in fastreg.__all__ if name.endswith("_update")}
PENALTIES = {name: getattr(fastreg, name) for name in fastreg.__all__ if name.endswith("_penalty")}
NUMBERS = {  # function → its numeric parameters, in the order of its signature
    name: [p for p in ("lr", "l1", "l2", "l21") if p in parameters]
    for name, parameters in {
        "l1_update": ("lr", "l1"),
        "l2_update": ("lr", "l2"),
        "elastic_net_update": ("lr", "l1", "l2"),
        "l1_penalty": ("l1",),
        "l2_penalty": ("l2",),
        "elastic_net_penalty": ("l1", "l2"),
        "group_update": ("lr", "l1", "l2", "l21"),
        "group_penalty": ("l1", "l2", "l21"),
    }.items()
}
AXIS = {"group_update": {"group_axis": None}, "group_penalty": {"group_axis": None}}  # function → its other parameter


def numbers(name, x):
    """What follows the arrays in a call of a function: x for each number."""
    return [x] * len(NUMBERS[name]) + list(AXIS.get(name, {}).values())


class Strengths(NamedTuple):
    lr: float
    l1: float
    l2: float
    theta: float = np.inf
    gamma: float = np.inf


STRENGTHS = {
    "ordinary": Strengths(0.1, 0.7, 0.3),
    "no step": Strengths(0.0, 0.7, 0.3),
    "no penalty": Strengths(0.1, 0.0, 0.0),
    "no l1": Strengths(0.1, 0.0, 0.3, 0.5),
    "no l2": Strengths(0.1, 0.7, 0.0),
    "theta": Strengths(0.1, 0.7, 0.3, 0.5),
    "theta zero": Strengths(0.1, 0.7, 0.3, 0.0),
    "negative zeros": Strengths(-0.0, -0.0, -0.0, -0.0),
    "subnormal": Strengths(0.1, 1e-40, 1e-41, 1e-42),
    "huge": Strengths(1e30, 1e30, 1e30, 1e30),
    "MCP": Strengths(0.1, 0.7, 0.3, gamma=1.5),
    "MCP in steps above gamma": Strengths(0.1, 0.7, 0.0, gamma=0.03),
    "MCP in steps of gamma": Strengths(0.1, 0.7, 0.0, gamma=0.1),
    "MCP without l1": Strengths(0.1, 0.0, 0.3, gamma=1.5),
    "huge MCP": Strengths(1e30, 1e30, 1e30, gamma=1e30),
    "subnormal MCP": Strengths(0.1, 1e-40, 1e-41, gamma=1e-42),
}
ORDINARY = STRENGTHS["ordinary"]


def arithmetic(dtype):
    """The dtype in which weights of a dtype are computed."""
    return np.float32 if dtype is bfloat16 else dtype


def values(dtype, size, seed=0):
    """Weights and a gradient; some weights are zero, some small enough for a threshold to remove them."""
    rng = np.random.default_rng([seed, size])
    w, g = rng.standard_normal((2, size)) * rng.choice([0, 1e-3, 0.1, 1, 100], (2, size), p=[0.1, 0.2, 0.3, 0.3, 0.1])
    return w.astype(dtype), g.astype(dtype)


def special_values(dtype):
    """Every special weight with every special gradient."""
    info = finfo(dtype)
    positive = [0, info.smallest_subnormal, info.tiny, info.eps, 0.1, 0.5, 1, 1 + info.eps, info.max, np.inf, np.nan]
    x = np.array([*positive, *(-np.array(positive, dtype))], dtype)
    w, g = np.meshgrid(x, x)
    return w.ravel().copy(), g.ravel().copy()


class Subclass(np.ndarray):
    pass


LAYOUTS = {  # name → an array over the memory of a flat one with 120 elements
    "1-d": lambda a: a,
    "0-d": lambda a: a[:1].reshape(()),
    "one element": lambda a: a[7:8],
    "empty": lambda a: a[:0],
    "empty 3-d": lambda a: a[:0].reshape(3, 0, 2),
    "empty slice of a strided view": lambda a: a[::2][:0],
    "C 2-d": lambda a: a.reshape(8, 15),
    "C 4-d": lambda a: a.reshape(2, 3, 4, 5),
    "rows of C 2-d": lambda a: a.reshape(8, 15)[2:5],
    "Fortran 2-d": lambda a: a.reshape(8, 15).T,
    "Fortran 4-d": lambda a: a.reshape((2, 3, 4, 5), order="F"),
    "columns of Fortran 2-d": lambda a: a.reshape((8, 15), order="F")[:, 3:9],
    "axes of length 1": lambda a: a.reshape(1, 120, 1, 1),
    "any strides where the length is 1": lambda a: np.lib.stride_tricks.as_strided(a[5:], (1, 9), (-24, a.itemsize)),
    "one element of a reversed view": lambda a: a[::-1][3:4],
    "odd offset": lambda a: a[1:],
    "subclass": lambda a: a.view(Subclass),
    "matrix": lambda a: a.reshape(8, 15).view(np.matrix),
    "recarray": lambda a: a.view(np.recarray),
}


def update(implementation, rule, w, g, s):
    """One update by a rule of the registry."""
    options = {"theta": s.theta} if rule.mode == "truncated" and "l1" in rule.strengths else {}
    options |= {"gamma": s.gamma} if rule.mode in reference.MODES_OF["MCP"] and "l1" in rule.strengths else {}
    strengths = [getattr(s, name) for name in rule.strengths]
    assert rule.function(implementation)(w, g, s.lr, *strengths, mode=rule.mode, **options) is None


def updated(implementation, rule, w, g, s):
    """The new weights, in an array of their own."""
    w = w.copy(order="K")
    update(implementation, rule, w, g, s)
    return w


def bits(a):
    """The elements as integers, every NaN as the same one: the contract leaves its payload and sign open."""
    a = np.array(a, subok=False)
    with np.errstate(invalid="ignore"):  # signalling ones
        a[np.isnan(a)] = np.nan
    return a.view(f"u{a.itemsize}")


def assert_same_bits(actual, expected):
    np.testing.assert_array_equal(bits(actual), bits(expected), strict=True)


def assert_like_reference(rule, w, g, s):
    """Updates w in place; compares it with the reference, and the gradient with what it was."""
    before = g.tobytes()
    expected = updated(reference, rule, w, g, s)
    update(fastreg, rule, w, g, s)
    assert_same_bits(w, expected)
    assert g.tobytes() == before


def through_a_file(saved, path):
    """A saved state after a round trip through a file."""
    np.savez(path / "state.npz", **saved)
    with np.load(path / "state.npz") as loaded:  # allow_pickle is False by default
        return dict(loaded)


def python(*arguments, **environment):
    """Runs a new process of this interpreter, which imports the same fastreg; every processor feature is allowed."""
    home = Path(fastreg.__file__).parents[1]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(home), str(TESTS)]))
    inherited = {name: value for name, value in os.environ.items() if name != dispatch.VARIABLE}
    return subprocess.run(
        [sys.executable, *arguments],
        env=inherited | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def better_than(variant):
    """What must be disabled for a variant of the kernels to be chosen."""
    names = list(dispatch.MODULES)
    return ",".join(names[: names.index(variant)])


def python_with(variant, *arguments):
    """The same with this variant of the kernels; skips the test where it was not built or cannot run."""
    if variant not in dispatch.available():
        pytest.skip(f"no {variant}: not built, or not in this processor")
    return python(*arguments, **{dispatch.VARIABLE: better_than(variant)})
