"""The functions as Python objects: signatures, docstrings, pickles, wrong calls, reference counts and memory."""

import copy
import gc
import inspect
import pickle
import pydoc
import sys
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from cases import PENALTIES, UPDATES, numbers, values

import fastreg
from fastreg import reference

functions = pytest.mark.parametrize("name", UPDATES | PENALTIES)
updates = pytest.mark.parametrize("name", UPDATES)


def positional(name):
    """Good positional arguments."""
    w, g = values(np.float64, 33)
    return [w, *([g] if name in UPDATES else []), *numbers(name, 0.5)]


@functions
def test_signature_and_docstring_are_those_of_the_reference(name):
    function, twin = getattr(fastreg, name), getattr(reference, name)
    assert inspect.signature(function) == inspect.signature(twin)
    assert inspect.getdoc(function) == inspect.getdoc(twin)
    assert (function.__name__, function.__qualname__, function.__module__) == (name, name, "fastreg")
    assert name in pydoc.render_doc(function, renderer=pydoc.plaintext)


@functions
def test_functions_can_be_pickled_and_copied(name):
    function = getattr(fastreg, name)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.deepcopy(function) is function


@updates
def test_updates_return_none(name):
    assert UPDATES[name](*positional(name)) is None


@functions
def test_too_few_arguments(name):
    for n in range(len(positional(name))):
        with pytest.raises(TypeError, match=name):
            getattr(fastreg, name)(*positional(name)[:n])


@functions
def test_each_missing_argument(name):
    parameters = list(inspect.signature(getattr(fastreg, name)).parameters)[: len(positional(name))]
    arguments = dict(zip(parameters, positional(name), strict=True))
    for missing in parameters:
        with pytest.raises(TypeError, match=name):
            getattr(fastreg, name)(**{k: v for k, v in arguments.items() if k != missing})


@functions
def test_too_many_arguments(name):
    for extra in (["proximal"], [0.5, "proximal", 1.0], [None] * 10):
        arguments = [*positional(name), *extra]
        before = arguments[0].tobytes()
        with pytest.raises(TypeError, match=name):
            getattr(fastreg, name)(*arguments)
        assert arguments[0].tobytes() == before


@functions
@pytest.mark.parametrize("keyword", ["weights", "out", "W", "", "lr ", "l3", "step", "momentum", "a" * 1000])
def test_an_unexpected_argument(name, keyword):
    arguments = positional(name)
    before = arguments[0].tobytes()
    with pytest.raises(TypeError, match=name):
        getattr(fastreg, name)(*arguments, **{keyword: 1.0})
    assert arguments[0].tobytes() == before


@pytest.mark.parametrize(
    ("name", "keyword"),
    [("l1_update", "l2"), ("l2_update", "l1"), ("l2_update", "theta"), ("l1_penalty", "l2"), ("l2_penalty", "lr")],
)
def test_an_argument_of_another_function(name, keyword):
    with pytest.raises(TypeError, match=keyword):
        getattr(fastreg, name)(*positional(name), **{keyword: 0.5})


@functions
def test_an_argument_given_twice(name):
    arguments = positional(name)
    for parameter in list(inspect.signature(getattr(fastreg, name)).parameters)[: len(arguments)]:
        with pytest.raises(TypeError, match=parameter):
            getattr(fastreg, name)(*arguments, **{parameter: arguments[0]})


@functions
def test_other_ways_to_call(name):
    function = getattr(fastreg, name)
    results = []
    for call in (
        lambda a: function(*a),
        lambda a: function(*a[:2], **dict(zip(list(inspect.signature(function).parameters)[2:], a[2:], strict=False))),
        lambda a: function.__call__(*a),
        lambda a: next(map(function, *([x] for x in a))),
    ):
        arguments = positional(name)
        results.append((call(arguments), arguments[0].tobytes()))
    assert results == [results[0]] * 4


def attempt(function, *args, **kwargs):
    with suppress(TypeError, ValueError):
        function(*args, **kwargs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_reference_is_lost_or_kept(dtype):
    w, g = values(dtype, 9)
    lr, l1, theta, mode = 0.1 + w.size, np.float64(0.25), np.array(0.5), "".join(["trun", "cated"])
    unknown, wrong, buffer = "".join(["un", "known"]), [0.5], memoryview(w.copy())
    watched = [w, g, lr, l1, theta, mode, unknown, wrong, buffer, *(getattr(fastreg, name) for name in fastreg.__all__)]
    arguments = {"lr": lr, "l1": l1}

    def calls():
        fastreg.l1_update(w, g, lr, l1, mode=mode, theta=theta)
        fastreg.l1_update(w, grad=g, mode=mode, **arguments)
        fastreg.elastic_net_update(buffer, g, lr, l1, l1, mode=mode)
        fastreg.l2_penalty(w, l1)
        for bad in (
            (w, w, lr, l1),
            (w, g, wrong, l1),
            (wrong, g, lr, l1),
            (w, g, lr),
            (w, g, lr, l1, mode),
            (w, g, -lr, l1),
        ):
            attempt(fastreg.l1_update, *bad)
        attempt(fastreg.l1_update, w, g, lr, l1, mode=unknown)
        attempt(fastreg.l1_update, w, g, lr, l1, mode=wrong)
        attempt(fastreg.l1_update, w, g, lr, l1, theta=theta)
        attempt(fastreg.l1_update, w, g, lr, l1, lr=lr)
        attempt(fastreg.l1_update, w, g, lr, l1, unknown=unknown)
        attempt(fastreg.l1_penalty, wrong, l1)
        attempt(fastreg.l1_penalty, w, wrong)

    calls()
    gc.collect()
    before = [sys.getrefcount(x) for x in watched]
    for _ in range(200):
        calls()
    gc.collect()
    after = [sys.getrefcount(x) for x in watched]
    assert all(abs(a - b) < 20 for a, b in zip(after, before, strict=True)), list(zip(before, after, strict=True))


def test_an_update_or_a_penalty_allocates_nothing():
    w, g = np.ones(1 << 20), np.zeros(1 << 20)

    def calls():
        for mode in reference.MODES:
            fastreg.elastic_net_update(w, g, 0.1, 0.2, 0.3, mode=mode)
        fastreg.elastic_net_penalty(w, 0.1, 0.2)

    calls()
    tracemalloc.start()
    try:
        calls()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(5):
            calls()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1000
    assert peak - before < 10_000  # one of the arrays has 8 MB


@pytest.mark.parametrize("good", [True, False])
def test_memory_does_not_grow_with_the_number_of_calls(good):
    w, g = values(np.float32, 9)

    def calls(n):
        for _ in range(n):
            attempt(fastreg.l1_update, memoryview(w), g, 0.1 if good else -1.0, 0.2, mode="proximal")
            attempt(fastreg.l1_update, w, g if good else [0.0], 0.1, 0.2)
            attempt(fastreg.l1_penalty, w if good else w[::2], 0.1)

    tracemalloc.start()
    try:
        calls(100)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        calls(1000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2000
