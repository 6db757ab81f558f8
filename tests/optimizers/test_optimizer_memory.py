"""Optimizers as Python objects: references, memory, allocations of a step, and freed objects."""

import copy
import gc
import sys
import tracemalloc
import weakref
from contextlib import suppress

import numpy as np
import pytest
from cases import values
from optimizer_cases import DIRECTIONS, make

import fastreg


def attempt(function, *args):
    with suppress(TypeError, ValueError, FloatingPointError):
        function(*args)


def everything(optimizer, grads, bad):
    """Good and failed calls of all methods."""
    optimizer.step(grads)
    optimizer.bind(grads)
    optimizer.step()
    attempt(optimizer.step, bad)
    attempt(optimizer.bind, bad)
    attempt(optimizer.step, grads[:1])
    attempt(optimizer.step, [None, np.ones(3)[::2]])
    attempt(optimizer.step, [memoryview(grads[0]), np.full(3, np.nan)])
    optimizer.bind(None)
    attempt(optimizer.step)
    attempt(optimizer.load_state_dict, optimizer.state_dict() | {"completed": -1})
    optimizer.load_state_dict(optimizer.state_dict())
    attempt(optimizer.param_groups[0].__setitem__, "lr", -1)
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.penalty("tensor"), optimizer.zeros("group")
    fastreg.clip_grad_norm(grads, 1.0)


def setting(name):
    params, grads = [np.ones(9), np.ones(3)], [np.full(9, 0.5), np.full(3, 0.5)]
    optimizer = make(name, params, l1=lambda n: 0.1, penalty_factor=[np.ones(9), 2.0], on_nonfinite="raise")
    return optimizer, params, grads, [grads[0], [1.0, 2.0, 3.0]]


@pytest.mark.parametrize("name", DIRECTIONS)
def test_no_reference_leaks(name):
    optimizer, params, grads, bad = setting(name)
    watched = [optimizer, optimizer._tensors, optimizer.param_groups[0], *params, *grads, bad[1], grads, bad]
    watched += [a for state in optimizer.state.values() for a in state.values()]
    everything(optimizer, grads, bad)
    gc.collect()
    before = [sys.getrefcount(x) for x in watched]
    for _ in range(100):
        everything(optimizer, grads, bad)
    gc.collect()
    after = [sys.getrefcount(x) for x in watched]
    assert all(abs(a - b) < 10 for a, b in zip(after, before, strict=True)), list(zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["Momentum", "AMSGrad", "FTRL"])
def test_memory_does_not_grow_with_the_number_of_calls(name):
    optimizer, _, grads, bad = setting(name)
    for _ in range(50):
        everything(optimizer, grads, bad)
    tracemalloc.start()
    try:
        everything(optimizer, grads, bad)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(200):
            everything(optimizer, grads, bad)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4000


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("bound", [False, True])
def test_a_step_allocates_nothing_of_the_size_of_the_weights(name, bound):
    w, g = np.ones(1 << 18), np.zeros(1 << 18)
    optimizer = make(name, [w], l1=0.1, l2=0.1, on_nonfinite="raise")
    if bound:
        optimizer.bind([g])
    grads = None if bound else [g]
    optimizer.step(grads)
    tracemalloc.start()
    try:
        optimizer.step(grads)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(3):
            optimizer.step(grads)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1000
    assert peak - before < 20_000  # one of the arrays has 2 MB


@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_state_has_the_size_that_the_rule_needs(name):
    w, _ = values(np.float32, 1000)
    state = make(name, [w]).state["0"]
    assert sum(a.nbytes for a in state.values()) == len(DIRECTIONS[name].fields) * w.nbytes
    assert all(a.dtype == np.float32 and a.flags.owndata for a in state.values())


def test_an_optimizer_is_freed_with_everything_that_it_references():
    class Array(np.ndarray):
        pass

    w, g = np.ones(3), np.ones(3)
    optimizer = fastreg.Adam({"w": w}, l1=lambda n: 0.1)
    optimizer.bind({"w": g})
    optimizer.step()
    state = optimizer.state["w"]["exp_avg"]
    references = [weakref.ref(x) for x in (w, g, optimizer, state)]
    del w, g, optimizer, state
    gc.collect()
    assert [r() for r in references] == [None] * 4


def test_gradients_are_referenced_only_while_they_are_bound():
    optimizer = fastreg.SGD([np.zeros(3)], 1.0)
    for release in (lambda: optimizer.bind(None), lambda: optimizer.bind([np.ones(3)])):
        g = np.ones(3)
        held = weakref.ref(g)
        optimizer.bind([g])
        del g
        gc.collect()
        optimizer.step()
        assert held() is not None
        release()
        gc.collect()
        assert held() is None
    g = np.ones(3)
    held = weakref.ref(g)
    optimizer.step([g])
    del g
    gc.collect()
    assert held() is None, "a step does not keep its gradients"


def test_an_optimizer_references_its_weights():
    optimizer = fastreg.SGD([np.ones(1000)], 0.5)
    gc.collect()
    optimizer.step([np.ones(1000)])
    assert optimizer.params[0].tolist() == [0.5] * 1000


def test_a_failed_construction_frees_everything():
    class Array(np.ndarray):
        pass

    w = np.ones(3)
    held = weakref.ref(w)
    for bad in ([w, w], [w, np.ones(3, int)], [w, [1.0]], [{"params": w, "lr": -1}], [{"params": w}, {"params": w}]):
        with pytest.raises((TypeError, ValueError)):
            fastreg.Adam(bad)
    del w, bad
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("count", [1, 1000])
def test_many_tensors(count):
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(rng.integers(0, 40)).astype(rng.choice(["f4", "f8"])) for _ in range(count)]
    grads, expected = [w.copy() for w in params], [w.copy() for w in params]
    fastreg.Adam(params, 0.1, l1=0.1).step(grads)
    for w, g in zip(expected, grads, strict=True):
        fastreg.Adam(w, 0.1, l1=0.1).step(g)
    assert [w.tobytes() for w in params] == [w.tobytes() for w in expected]


@pytest.mark.filterwarnings("ignore:Setting the shape")  # deprecated in NumPy 2.5
@pytest.mark.parametrize("of", ["weights", "state"])
def test_a_copy_of_weights_that_no_longer_fit_their_state_is_refused(of):
    w = np.ones((2, 3))
    optimizer = fastreg.Adam([w])
    changed = w if of == "weights" else optimizer.state["0"]["exp_avg"]
    changed.shape = (3, 2)
    with pytest.raises(ValueError, match=r"^params\[0\]: expected weights like their state"):
        copy.deepcopy(optimizer)
