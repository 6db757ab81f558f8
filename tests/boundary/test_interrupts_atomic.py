"""Ctrl-C at any moment of any call leaves the whole old state or the whole new one, and the object works afterwards.

The tests interrupt at a sample of the points; ``.ci/inject`` tries all of them.
"""

import random
import signal
import threading
from math import inf
from time import perf_counter

import numpy as np
import pytest
from alarm import Alarm
from injection import OPERATIONS, difference, find_fault, interrupt, outcomes, sweep
from injection_cases import Operation, falling, plain

import fastreg
from fastreg.linear import StreamingRegressor


def points_to_try(name):
    """At how many points; most points of the linear models are in scikit-learn's code."""
    if name.endswith("large"):
        return 4
    return 15 if "classifier" in name or "regressor" in name else 60


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_interrupt_before_any_bytecode(name):
    _, tried, findings = sweep(OPERATIONS[name], interrupt, points_to_try(name))
    assert tried
    assert not findings, f"{len(findings)} of {tried} interrupts left neither the old state nor the new: {findings[:3]}"


class Pair:
    """An object with a fault that the injection must find: it writes one number after the other."""

    def __init__(self):
        self.one = self.two = self.three = 0

    def write(self):
        self.one += 1
        self.two += 1


class Locked(Pair):
    """Another fault: the state is complete, but an interrupt leaves the lock locked."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def write(self):
        assert self.lock.acquire(False)
        self.three += 1
        self.lock.release()


class Hidden(Pair):
    """Another fault: the torn state shows only in later calls."""

    def write(self):
        self.two += 1
        self.three += 1


@pytest.mark.parametrize(("kind", "found"), [(Pair, "torn"), (Locked, "cannot go on"), (Hidden, "goes on differently")])
def test_the_injection_finds_faults(kind, found):
    look = {Pair: lambda x: (x.one, x.two), Locked: lambda x: x.three, Hidden: lambda x: x.three}[kind]

    def go_on(x):
        x.write()
        x.three += x.two

    *_, findings = sweep(Operation(kind, lambda x: x.write(), look, go_on), interrupt)
    assert findings
    assert all(what.startswith(found) for _, what in findings)


# -- Real signals -----------------------------------------------------------------------------------------------------


DISTURBANCES = 5  # the test ends after this many
SECONDS = 8  # or after this time, since on a loaded machine alarms come late


def long_steps():
    w = [np.zeros(1 << 20, np.float32), np.zeros(1 << 19, np.float32)]
    optimizer, grads = fastreg.SGD(w, falling, momentum=0.9, threads=2), [np.ones_like(x) for x in w]
    look = lambda: plain([optimizer.params, optimizer.state, optimizer.completed, optimizer.state_dict()])  # noqa: E731
    return look, lambda: optimizer.step(grads)


def long_lazy_steps():
    rng = np.random.default_rng(0)
    lazy = fastreg.LazySGD(np.zeros(100_000), falling, l1=1e-3)
    indices, values = rng.integers(0, 100_000, 1_000_000), rng.standard_normal(1_000_000)
    indptr = np.arange(0, 1_000_001, 1000)
    look = lambda: plain([lazy.w, lazy.state_dict(), lazy.weights()])  # noqa: E731
    return look, lambda: lazy.step_csr(values, indices, indptr)


def long_loading():
    """Two states in turn: the optimizer's own count selects the next one, so that an interrupt cannot separate them."""
    w = [np.zeros(1 << 19) for _ in range(3)]
    one, other = fastreg.Adam(w, 0.1), fastreg.Adam([x + 1 for x in w], falling)
    other.step([x + 1 for x in w])
    states = {0: other.state_dict() | {"group.0.lr": 0.2}, 1: one.state_dict()}
    return lambda: plain([one.state, one.state_dict(), one.completed]), lambda: one.load_state_dict(
        states[one.completed]
    )


def long_partial_fit():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4000, 200)), rng.standard_normal(4000)
    model = StreamingRegressor(optimizer="adagrad").partial_fit(x[:10], y[:10])
    look = lambda: plain([model.coef_, model.intercept_, model.n_iter_])  # noqa: E731
    return look, lambda: model.partial_fit(x, y)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that raises a signal")
@pytest.mark.parametrize("make", [long_steps, long_lazy_steps, long_loading, long_partial_fit])
def test_a_signal_during_a_long_call(make):
    """Compared with a twin that makes each completed call without a disturbance."""
    (look, act), (look_at_twin, act_twin) = make(), make()
    duration, rng, disturbed = inf, random.Random(0), 0
    for call in (act, act_twin):
        start = perf_counter()
        call()
        duration = min(duration, perf_counter() - start)
    until = perf_counter() + SECONDS
    with Alarm() as alarm:
        while disturbed < DISTURBANCES and perf_counter() < until:
            disturbed += alarm.disturb(act, max(1e-5, rng.uniform(0, 1) * duration))
            old, seen = look_at_twin(), look()
            if seen != old:
                act_twin()
                new = look_at_twin()
                assert seen == new, difference(seen, ((old,), (new,)))
    act()
    act_twin()
    assert look() == look_at_twin()
    if not disturbed:
        pytest.skip("no alarm came during a call on this loaded machine")


def test_the_old_state_differs_from_the_new():
    """Otherwise a call without any effect would pass."""
    same = {name for name, operation in OPERATIONS.items() if len({repr(x) for x, _ in outcomes(operation)}) == 1}
    assert all(
        name.partition(": ")[0] in ("bind", "predict", "report") or name.endswith(("weights", "has_pending_penalty"))
        for name in same
    )
    operation = OPERATIONS["bind"]
    old, new = outcomes(operation)
    assert old[1] == new[1]  # the steps that follow bring their own gradients
    assert find_fault(operation, operation.make(), [old, new]) is None
