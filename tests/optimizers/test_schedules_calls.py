"""Callables for lr, l1 and l2: when they are called, what they may return, and what happens if they raise."""

import numpy as np
import pytest
from cases import assert_same_bits, values
from optimizer_cases import DIRECTIONS, Twin, make, snapshot

import fastreg

names = pytest.mark.parametrize("name", DIRECTIONS)
keys = pytest.mark.parametrize("key", ["lr", "l1", "l2"])


@names
def test_each_step_uses_the_number_of_the_schedule(name):
    w, g = values(float, 33)
    mode = DIRECTIONS[name].modes[-1]
    twin = Twin(name, w, mode, 0.5, l1=1.0, l2=0.25)
    optimizer = make(name, w, lambda n: 0.5 / (1 + n), mode, l1=lambda n: 1.0 / (1 + n), l2=lambda n: 0.25 * (n < 2))
    for n in range(4):
        l1, l2 = 1.0 / (1 + n), 0.25 * (n < 2)
        twin.lr, twin.penalty = 0.5 / (1 + n), fastreg.reference.ElasticNet(l1, l2)
        optimizer.step(g)
        twin.step(g)
        assert_same_bits(w, twin.w)


@keys
@pytest.mark.parametrize("cls", [fastreg.SGD, fastreg.Adam, fastreg.FTRL])
def test_a_schedule_is_called_with_the_number_of_completed_steps(cls, key):
    calls = []

    def schedule(n):
        calls.append(n)
        return 0.5

    optimizer = cls([np.ones(3), np.ones(2)], **{key: schedule}, on_nonfinite="skip")
    assert set(calls) <= {0}
    calls.clear()
    good, bad = [np.ones(3), np.ones(2)], [np.ones(3), np.full(2, np.nan)]
    for grads in (good, good, [None, None], bad, good, [None, good[1]]):
        optimizer.step(grads)
    with pytest.raises(ValueError, match=r"^grads"):
        optimizer.step([])
    optimizer.step(good)
    assert calls == [0, 1, 2, 3, 3, 4, 5]
    assert (optimizer.completed, optimizer.skipped) == (6, 1)


NONSENSE = {
    "negative": (-0.5, ValueError),
    "NaN": (np.nan, ValueError),
    "infinite": (np.inf, ValueError),
    "text": ("0.1", TypeError),
    "None": (None, TypeError),
    "complex": (1j, TypeError),
    "array": (np.ones(2), TypeError),
    "callable": (lambda n: 0.1, TypeError),
    "too small for float32": (1e-60, ValueError),
    "too large for float32": (1e60, ValueError),
}


@keys
@pytest.mark.parametrize("case", NONSENSE)
@pytest.mark.parametrize("group", [0, 1])
def test_an_invalid_number_of_a_schedule_is_an_error_before_anything_is_written(key, case, group):
    value, error = NONSENSE[case]
    groups = [{"params": np.ones(3, np.float32)}, {"params": np.ones(3, np.float32)}]
    groups[group][key] = lambda n: 0.5 if n != 1 else value
    grads = [np.ones(3, np.float32)] * 2
    optimizer = fastreg.Adam(groups)
    optimizer.step(grads)
    before = snapshot(optimizer)
    with pytest.raises(error, match=f"^{key}: "):
        optimizer.step(grads)
    assert snapshot(optimizer) == before
    with pytest.raises(error, match=f"^{key}: "):
        optimizer.penalty()
    optimizer.param_groups[group][key] = 0.25
    optimizer.step(grads)
    assert optimizer.completed == 2


@keys
@pytest.mark.parametrize("error", [KeyError, ValueError, KeyboardInterrupt, MemoryError, StopIteration])
def test_an_error_of_a_schedule_propagates_and_changes_nothing(key, error):
    def schedule(n):
        if n == 2:
            raise error("of the schedule")
        return 0.5

    w, g = values(float, 33)
    x = w.copy()
    optimizer = fastreg.SGD([{"params": w, "l2": lambda n: 0.1 * n}, {"params": x, key: schedule}], momentum=0.9)
    for _ in range(2):
        optimizer.step([g, g])
    before = snapshot(optimizer)
    with pytest.raises(error, match="of the schedule"):
        optimizer.step([g, g])
    assert snapshot(optimizer) == before
    optimizer.param_groups[1][key] = 0.5
    optimizer.step([g, g])
    assert optimizer.completed == 3


def test_a_number_changed_before_a_failed_step_is_used_afterwards():
    w, g = np.zeros(1), np.ones(1)
    failing = []

    def l1(n):
        if failing:
            raise RuntimeError
        return 0.0

    optimizer = fastreg.SGD([{"params": w}, {"params": np.zeros(1), "l1": l1}], 1.0)
    optimizer.param_groups[0]["lr"] = 4.0
    failing.append(True)
    with pytest.raises(RuntimeError):
        optimizer.step([g, g])
    failing.clear()
    optimizer.step([g, g])
    assert w.tolist() == [-4.0]


def test_a_schedule_may_replace_itself_by_a_number():
    """A setting that a callable changes in its own group applies from the next step on."""
    w = np.zeros(1)

    def warm_up(n):
        if n == 1:
            optimizer.param_groups[0]["lr"] = 8.0
        return 1.0

    optimizer = fastreg.SGD(w, warm_up)
    for expected in (-1.0, -2.0, -10.0, -18.0):
        optimizer.step(np.ones(1))
        assert w.tolist() == [expected]
