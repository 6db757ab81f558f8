"""Lazy updates as Python objects: repeated and missing construction, threads, allocations, and freed memory."""

import gc
import sys
import threading
import tracemalloc
import weakref
from contextlib import suppress

import numpy as np
import pytest
from lazy_cases import CASES, make, snapshot

import fastreg

names = pytest.mark.parametrize("name", CASES)
ARGUMENTS = {
    "step": (np.array([1, 4]), np.ones(2)),
    "step_csr": (np.ones(2), np.array([1, 4]), np.array([0, 1, 2])),
}


@names
def test_neither_weights_nor_state_can_be_resized(name):
    w = np.ones(100)
    lazy = make(name, w)
    for a in (w, *lazy.state.values()):
        with pytest.raises(ValueError, match="resize"):
            a.resize(10, refcheck=False)


@names
def test_a_second_init_starts_again(name):
    lazy = make(name, np.ones(3), penalty_factor=np.array([0, 1, 1.0]))
    lazy.step(np.array([2, 0, 2]), np.ones(3))
    w, expected = (np.ones(100_000) for _ in range(2))
    lazy.__init__(w, 0.1, l1=0.1, l2=0.2)
    fresh = CASES[name].lazy(expected, 0.1, l1=0.1, l2=0.2)
    for each in (lazy, fresh):
        each.step(np.array([99_999, 0, 99_999]), np.ones(3))
    assert snapshot(lazy) == snapshot(fresh)
    with pytest.raises(ValueError, match=r"^l1: "):
        lazy.__init__(np.ones(3), 0.1, l1=-1)


@pytest.mark.parametrize("kind", [fastreg.LazySGD, fastreg.LazyAdagrad, fastreg.LazyFTRL])
def test_objects_without_init_raise(kind):
    for method in ("step", "step_csr", "flush", "weights", "state_dict", "_record"):
        with pytest.raises(TypeError, match=f"^{kind.__name__}: expected a call of __init__ first"):
            getattr(kind.__new__(kind), method)(*ARGUMENTS.get(method, ()))
    settings = "lr", "l1", "l2", "penalty_factor", "mode"
    for attribute in (*settings, "w", "completed", "has_pending_penalty", "state", "__dict__"):
        with suppress(TypeError, AttributeError):
            getattr(kind.__new__(kind), attribute)
    for act in (repr, lambda x: x.__reduce__(), lambda x: setattr(x, "lr", 0.1), lambda x: x.load_state_dict({})):
        with pytest.raises((TypeError, AttributeError)):
            act(kind.__new__(kind))


@names
def test_threads_on_one_object_raise_or_wait(name):
    """Large runs release the GIL. A step in another thread then raises an error, and all steps made are complete."""
    w, count = np.zeros(1000), 50
    lazy = make(name, w, 1.0)
    indptr = np.arange(0, 40_001, 1000)
    indices, data = np.tile(np.arange(1000), 40), np.ones(40_000)
    made, errors = [0], []

    def work():
        for _ in range(count):
            try:
                lazy.step_csr(data, indices, indptr)
                made[0] += 40
                lazy.weights()
                lazy.load_state_dict(lazy.state_dict())
            except RuntimeError as error:
                errors.append(str(error))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert all("one call at a time" in text for text in errors)
    if name in ("proximal", "truncated"):
        assert len(set(w.tolist())) == 1
        assert -w[0] % 40 == 0
    assert lazy.completed % 40 == 0


@names
def test_steps_allocate_nothing_and_memory_does_not_grow(name):
    lazy = make(name, np.ones(1 << 16), l1=0.1, l2=0.1)
    indices, values, bad = np.array([7, 3, 7]), np.ones(3), np.array([1 << 16])
    data, places, starts = np.ones(400), np.arange(400), np.arange(0, 401, 4)

    def work(count):
        for _ in range(count):
            lazy.step(indices, values)

    def everything():
        lazy.step_csr(data, places, starts)
        lazy.weights(indices)
        for act in (lambda: lazy.step(bad, values[:1]), lambda: setattr(lazy, "lr", -1)):
            with suppress(ValueError):
                act()
        lazy.load_state_dict(lazy.state_dict())
        lazy.flush()

    work(10), everything(), everything()
    gc.collect()
    references = [sys.getrefcount(x) for x in (lazy, lazy.w, indices, values, bad, data, places, starts)]
    tracemalloc.start()
    try:
        work(10)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work(20_000)
        after, peak = tracemalloc.get_traced_memory()
        assert peak - before < 2000
        assert after - before < 1000
        for _ in range(20):
            everything()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 4000
    finally:
        tracemalloc.stop()
    assert [sys.getrefcount(x) for x in (lazy, lazy.w, indices, values, bad, data, places, starts)] == references


@names
def test_an_object_is_freed_with_everything_that_it_references(name):
    w = np.ones(5)

    class Schedule:
        def __call__(self, n):
            return 0.1

    schedule = Schedule()
    lazy = make(name, w, schedule, penalty_factor=np.ones(5))
    schedule.lazy = lazy  # a cycle
    lazy.step(np.array([3, 1]), np.ones(2))
    held = [weakref.ref(x) for x in (w, schedule, *lazy.state.values())]
    assert len(lazy.weights()) == 5
    del w, schedule, lazy
    gc.collect()
    assert [r() for r in held] == [None] * len(held)
