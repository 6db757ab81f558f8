"""No byte outside an array is read or written: arrays lie directly before or after pages without access rights.

An access is a segmentation fault, so the calls run in a child process, which runs this file as a script. One test shows
that an access ends the child.
"""

import ctypes
import mmap
import os
import sys

import numpy as np
import pytest
from cases import ORDINARY, PENALTIES, RULES, numbers, python, python_with, update, updated, values
from lazy_cases import CASES as LAZY
from lazy_cases import gradients
from lazy_cases import make as make_lazy
from optimizer_cases import COMBINATIONS, make

import fastreg
from fastreg._boundary import dispatch

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith(("linux", "darwin")), reason="mprotect is a POSIX call; only Linux and macOS are tried"
)
LENGTHS = range(71)
PAGE = mmap.PAGESIZE


class Guarded:
    """One page between two that may be neither read nor written."""

    def __init__(self):
        self.pages = mmap.mmap(-1, 3 * PAGE)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        mprotect = ctypes.CDLL(None, use_errno=True).mprotect
        for page in (self.start, self.start + 2 * PAGE):
            if mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, a, at_end):
        """A copy of `a` at the start or at the end of the open page."""
        offset = PAGE + (PAGE - a.nbytes if at_end else 0)
        guarded = np.frombuffer(self.pages, a.dtype, a.size, offset)
        guarded[...] = a
        return guarded


def every_length(dtype):
    pages = Guarded(), Guarded()
    for n in LENGTHS:
        w, g = values(dtype, n)
        for rule in RULES:
            expected = updated(fastreg, rule, w, g, ORDINARY)
            for at_end in ((False, False), (False, True), (True, False), (True, True)):
                x, y = (page.array(a, end) for page, a, end in zip(pages, (w, g), at_end, strict=True))
                update(fastreg, rule, x, y, ORDINARY)
                assert x.tobytes() == expected.tobytes()
        for name in PENALTIES:
            strengths = numbers(name, 0.3)
            for at_end in (False, True):
                value = PENALTIES[name](pages[0].array(w, at_end), *strengths)
                assert value == PENALTIES[name](w, *strengths)
    print(dispatch.name, "stayed inside")


def every_length_of_an_optimizer(dtype):
    """An optimizer allocates its state and copies factors and bounds, so they are moved to the pages afterwards."""
    pages = [Guarded() for _ in range(8)]
    for n in LENGTHS[:36]:
        (w, g), f = values(dtype, n), np.linspace(0, 2, n).astype(dtype)
        for name, mode in COMBINATIONS:
            for factor in (None, f):
                x, options = w.copy(), {"mode": mode, "l1": 0.3, "l2": 0.2, "penalty_factor": factor}
                if factor is not None:
                    options["bounds"] = (-f, f)
                make(name, x, **options).step(g)
                for at_end in (False, True):
                    optimizer = make(name, w.copy(), **options)
                    guarded = iter(pages)

                    def place(a, guarded=guarded, at_end=at_end):
                        return a if a is None else next(guarded).array(a, at_end)

                    tensors = optimizer._tensors
                    parts = [place(a) for a in (tensors.weights[0], *tensors.states[0], tensors.factors[0])]
                    bounds = tensors.bounds[0] and tuple(map(place, tensors.bounds[0]))
                    optimizer._tensors = type(tensors)(
                        ["0"], parts[:1], [parts[1:-1]], parts[-1:], [bounds], [None], [0], [(0, 1)], tensors.settings
                    )
                    optimizer.step(place(g))
                    assert parts[0].tobytes() == x.tobytes()
    print(dispatch.name, "stayed inside")


def every_length_of_groups(dtype):
    pages = [Guarded() for _ in range(4)]
    for n in LENGTHS[:36]:
        (w, g), f = values(dtype, n), np.full(n, 2, dtype)
        for shape in {(n,), (1, n), (n, 1), (2, n // 2), (n // 2, 2), (2, n // 4, 2)}:
            size = int(np.prod(shape))
            for axis in (None, *range(len(shape))):
                x, expected = ([a[:size].reshape(shape).copy() for a in (w, g, f)] for _ in range(2))
                fastreg.group_update(expected[0], expected[1], 0.1, 0.1, 0.2, 0.3, axis)
                for at_end in (False, True):
                    guarded = [p.array(a.ravel(), at_end).reshape(shape) for p, a in zip(pages, x, strict=False)]
                    fastreg.group_update(*guarded[:2], 0.1, 0.1, 0.2, 0.3, axis)
                    assert guarded[0].tobytes() == expected[0].tobytes()
                    value = fastreg.group_penalty(guarded[0], 0.1, 0.2, 0.3, axis)
                    assert value == fastreg.group_penalty(expected[0], 0.1, 0.2, 0.3, axis)
                    options = {"l1": 0.1, "l21": 0.3, "group_axis": axis, "penalty_factor": x[2]}
                    optimizer = fastreg.Adagrad(x[0].copy(), 0.1, **options)
                    tensors, y = optimizer._tensors, x[0].copy()
                    fastreg.Adagrad(y, 0.1, **options).step(x[1])
                    parts = (tensors.weights[0], tensors.states[0][0], tensors.factors[0], x[1])
                    own = [p.array(a.ravel(), at_end).reshape(shape) for p, a in zip(pages, parts, strict=True)]
                    optimizer._tensors = type(tensors)(
                        ["0"], own[:1], [own[1:2]], own[2:3], [None], tensors.axes, [0], [(0, 1)], tensors.settings
                    )
                    optimizer.step(own[3])
                    assert own[0].tobytes() == y.tobytes()
    print(dispatch.name, "stayed inside")


def every_length_of_a_lazy_step(dtype):
    pages = [Guarded() for _ in range(3)]
    for n in LENGTHS[1:36]:
        data, indices, indptr = gradients(6, (n,), dtype, n, n, np.int32 if n % 2 else np.int64, n % 3 == 0)
        for name in LAZY:
            x = values(dtype, n)[0]
            for at_end in (False, True):
                w, g, places = (page.array(a, at_end) for page, a in zip(pages, (x, data, indices), strict=True))
                plain = x.copy()
                for weights, arrays in ((plain, (data, indices)), (w, (g, places))):
                    lazy = make_lazy(name, weights, l1=0.3, l2=0.2)
                    lazy.step_csr(*arrays, indptr)
                    lazy.step(arrays[1], arrays[0])
                    assert lazy.weights(arrays[1]).tobytes() == lazy.weights()[indices].tobytes()
                    lazy.flush()
                assert w.tobytes() == plain.tobytes()
    print(dispatch.name, "stayed inside")


FUNCTIONS = ["every_length", "every_length_of_an_optimizer", "every_length_of_groups", "every_length_of_a_lazy_step"]


def one_too_far(dtype):
    a = Guarded().array(np.ones(8, dtype), at_end=True)
    print("about to read")
    sys.stdout.flush()
    fastreg.l1_penalty(np.lib.stride_tricks.as_strided(a, (9,)), 1.0)
    print("survived")


@pytest.mark.parametrize("variant", dispatch.MODULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_length_accesses_memory_outside(function, dtype, variant):
    result = python_with(variant, __file__, function, dtype)
    assert (result.returncode, result.stdout.strip()) == (0, f"{variant} stayed inside"), result.stderr


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_access_outside_ends_the_process(dtype):
    options = os.environ.get("ASAN_OPTIONS", "") + ":handle_segv=0"  # AddressSanitizer would report it and exit
    result = python(__file__, "one_too_far", dtype, ASAN_OPTIONS=options)
    assert result.stdout.strip() == "about to read"
    assert result.returncode < 0, "the child should have died of a signal"


if __name__ == "__main__":
    globals()[sys.argv[1]](np.dtype(sys.argv[2]).type)
