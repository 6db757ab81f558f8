"""Code of the caller that runs during a step and changes what the step uses: schedules, mappings, threads."""

import threading

import numpy as np
import pytest
from cases import assert_same_bits, values

import fastreg

keys = pytest.mark.parametrize("key", ["lr", "l1", "l2"])


def set_read_only(optimizer, w, g):
    w.flags.writeable = False


def resize_weights(optimizer, w, g):
    w.resize(1 << 18, refcheck=False)


def resize_gradient(optimizer, w, g):
    g.resize(1 << 18, refcheck=False)


def unbind(optimizer, w, g):
    optimizer.bind(None)


def bind_another(optimizer, w, g):
    optimizer.bind(np.full(64, 3.0))


def step_again(optimizer, w, g):
    optimizer.step(np.ones(64))


def load(optimizer, w, g):
    optimizer.load_state_dict(optimizer.state_dict())


def change_a_setting(optimizer, w, g):
    optimizer.param_groups[0]["momentum"] = 0.5


def change_the_policy(optimizer, w, g):
    optimizer.on_nonfinite = "raise"


ACTIONS = [
    set_read_only,
    resize_weights,
    resize_gradient,
    unbind,
    bind_another,
    step_again,
    load,
    change_a_setting,
    change_the_policy,
]


class Number:
    """A number that calls a function when it is converted."""

    def __init__(self, act):
        self.act = act

    def __float__(self):
        self.act()
        return 0.5


@pytest.mark.parametrize("action", ACTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("how", ["step", "bound"])
@pytest.mark.parametrize("late", [False, True], ids=["called", "converted"])
def test_a_schedule_that_interferes_with_its_own_step(action, how, late):
    """It may be an error or not, but the weights are written as a whole or not at all, and never when read-only."""
    w, g, inside = np.ones(64), np.ones(64), []

    def act():
        if optimizer.completed and not inside:
            inside.append(1)
            action(optimizer, w, g)

    def schedule(n):
        if late:
            return Number(act)
        act()
        return 0.5

    optimizer = None
    optimizer = fastreg.SGD([w], lambda n: 0.5 if optimizer is None else schedule(n), momentum=0.9)
    bound = how == "bound"
    if bound:
        optimizer.bind([g])
    optimizer.step(None if bound else [g])
    before, state = w.copy(), optimizer.state["0"]["momentum_buffer"].copy()
    try:
        optimizer.step(None if bound else [g])
    except (ValueError, TypeError, RuntimeError):
        n = min(64, w.size)
        if action is not step_again:
            assert_same_bits(w[:n], before[:n])
            assert_same_bits(optimizer.state["0"]["momentum_buffer"], state)
    else:
        assert w.flags.writeable
    assert len(set(w.ravel()[:64].tolist())) == 1, "whole or not at all"
    assert inside


class Grads(dict):
    """A mapping that calls a function when an item is read."""

    def __init__(self, items, act):
        super().__init__(items)
        self.act = act

    def __getitem__(self, key):
        if key == "b":
            self.act()
        return super().__getitem__(key)


@pytest.mark.parametrize("action", ACTIONS[:3], ids=lambda f: f.__name__)
@pytest.mark.parametrize("method", ["step", "bind"])
def test_gradients_that_change_other_arrays_while_they_are_read(action, method):
    w, g = np.ones(64), np.ones(64)
    optimizer = fastreg.SGD({"a": w, "b": np.ones(3)}, 0.5, momentum=0.9)
    with pytest.raises(ValueError, match=r"^(params|grads)\[a\]: |^cannot resize"):
        getattr(optimizer, method)(Grads({"a": g, "b": np.ones(3)}, lambda: action(optimizer, w, g)))
    assert (w.ravel()[:64] == 1).all()
    assert optimizer.params["b"].tolist() == [1.0] * 3
    assert optimizer.completed == 0


def test_gradients_that_step_while_they_are_read():
    w = np.ones(3)
    optimizer = fastreg.SGD({"a": w, "b": np.ones(3)}, 0.5)
    good = {"a": np.ones(3), "b": np.ones(3)}
    optimizer.step(Grads(good, lambda: optimizer.step(good)))
    assert w.tolist() == [0.0] * 3
    assert optimizer.completed == 2


def test_separate_optimizers_in_threads_give_the_results_of_a_single_thread():
    def train(seed):
        w, g = values(np.float32, 20_000, seed)
        optimizer = fastreg.Adam([w], lambda n: 0.1 / (1 + n), l1=0.1)
        for i in range(60):
            optimizer.step([g if i % 3 else -g])
        return w.tobytes(), optimizer.completed

    expected = [train(seed) for seed in range(8)]
    results = [None] * 8
    threads = [threading.Thread(target=lambda i=i: results.__setitem__(i, train(i))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == expected


def test_one_optimizer_in_threads_does_not_crash():
    """The order of the calls is open, and a call during another one may be an error."""
    optimizer = fastreg.Adam([np.ones(20_000)])
    errors = []

    def work():
        for i in range(100):
            try:
                optimizer.bind([np.ones(20_000)]) if i % 3 else optimizer.step([np.ones(20_000)])
                optimizer.step()
                optimizer.bind(None)
            except (RuntimeError, ValueError) as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    optimizer.step([np.ones(20_000)])
    assert np.isfinite(optimizer.params[0]).all()
