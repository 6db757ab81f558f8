"""Training resumed from a file, a pickle or a copy has the bits of training without interruption."""

import copy
import pickle

import numpy as np
import pytest
from cases import assert_same_bits, through_a_file
from optimizer_cases import DIRECTIONS, make, snapshot, train, weights

import fastreg

names = pytest.mark.parametrize("name", DIRECTIONS)


def params_of(kind):
    """Different tensors; the keys of the mapping look like keys of a state_dict."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal((3, 5)),
        np.asfortranarray(rng.standard_normal((4, 2)).astype(np.float32)),
        np.array(0.5),
        np.zeros((0, 3)),
        rng.standard_normal(33),
    ]
    if kind == "list":
        return arrays
    if kind == "groups":
        return [
            {"params": arrays[:2], "lr": 0.05},
            {"params": arrays[2:], "l1": 0.3, "penalty_factor": [2.0, 1.0, np.arange(33)]},
        ]
    return dict(zip(["my.group.w", "group.0.lr", "tensor.a.steps", "z", "completed"], arrays, strict=True))


@names
@pytest.mark.parametrize("kind", ["list", "mapping", "groups"])
@pytest.mark.parametrize("way", ["dict", "file", "file object", "pickle", "deepcopy"])
def test_resumed_training_has_the_same_bits(name, kind, way, tmp_path):
    options = {"l1": 0.1, "l2": 0.2, "lr": 0.1}
    straight = make(name, params_of(kind), **options)
    train(straight, 0, 7)
    interrupted = make(name, params_of(kind), **options)
    train(interrupted, 0, 3)
    if way in ("pickle", "deepcopy"):
        resumed = copy.deepcopy(interrupted) if way == "deepcopy" else pickle.loads(pickle.dumps(interrupted))
    else:
        resumed = make(name, params_of(kind), **options | {"lr": 0.7, "l2": 0.0})
        train(resumed, 20, 22)
        for w, trained in zip(weights(resumed), weights(interrupted), strict=True):
            w[...] = trained
        before = [[id(a) for a in state.values()] for state in resumed.state.values()]
        saved = interrupted.state_dict()
        if way == "file object":
            np.savez(tmp_path / "state.npz", **saved)
            with np.load(tmp_path / "state.npz") as file:
                resumed.load_state_dict(file)
        else:
            resumed.load_state_dict(saved if way == "dict" else through_a_file(saved, tmp_path))
        assert [[id(a) for a in state.values()] for state in resumed.state.values()] == before, "in place"
    assert snapshot(resumed) == snapshot(interrupted)
    assert all(type(resumed.param_groups[0][k]) is type(x) for k, x in interrupted.param_groups[0].items())
    frozen = snapshot(interrupted)
    train(resumed, 3, 7)
    assert snapshot(resumed) == snapshot(straight)
    assert snapshot(interrupted) == frozen, "nothing is shared with the one that was saved"
    assert resumed.params is not interrupted.params


@names
def test_a_state_dict_has_copies_that_later_steps_do_not_change(name):
    optimizer = make(name, [np.ones(3), np.ones((2, 2), np.float32)], l1=0.1)
    train(optimizer, 0, 2)
    saved = optimizer.state_dict()
    text = repr(saved)
    train(optimizer, 2, 4)
    assert repr(saved) == text
    for key, x in saved.items():
        assert isinstance(key, str)
        assert isinstance(x, (np.ndarray, int, float, bool, str, tuple))


def test_counts_of_skipped_steps_and_tensors_are_restored():
    one = fastreg.Adam({"a": np.ones(2), "b": np.ones(2)}, on_nonfinite="skip")
    g, bad = np.ones(2), np.full(2, np.nan)
    for grads in ({"a": g, "b": None}, {"a": g, "b": g}, {"a": bad, "b": g}):
        one.step(grads)
    other = fastreg.Adam({"a": np.ones(2), "b": np.ones(2)}, on_nonfinite="skip")
    other.load_state_dict(one.state_dict())
    assert (other.completed, other.skipped) == (2, 1)
    assert other.state_dict()["tensor.b.steps"] == 1


def test_schedules_stay_as_they_are_constructed(tmp_path):
    def make_one():
        return fastreg.SGD([np.ones(3)], lambda n: 1 / (1 + n), l1=lambda n: 0.1, momentum=0.5)

    one, other, straight = make_one(), make_one(), make_one()
    train(straight, 0, 5)
    train(one, 0, 3)
    saved = one.state_dict()
    assert not any(callable(x) for x in saved.values())
    other.load_state_dict(through_a_file(saved, tmp_path))
    other.params[0][...] = one.params[0]
    train(other, 3, 5)
    assert_same_bits(other.params[0], straight.params[0])


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@names
def test_pickles_contain_weights_factors_groups_and_policies(name, protocol):
    factors = np.array([0.0, 1.0, 2.0])
    groups = [
        {"params": {"a": np.ones(3)}, "penalty_factor": {"a": factors}},
        {"params": np.ones(2, np.float32), "lr": 0.5},
    ]
    optimizer = make(name, groups, l1=0.25, on_nonfinite="skip")
    optimizer.step([{"a": np.ones(3)}, None])
    twin = pickle.loads(pickle.dumps(optimizer, protocol))
    assert snapshot(twin) == snapshot(optimizer)
    assert twin.penalty("tensor") == optimizer.penalty("tensor")
    assert (type(twin), repr(twin)) == (type(optimizer), repr(optimizer))
    for each in (twin, optimizer):
        each.step([{"a": np.full(3, np.nan)}, None])
        each.step([{"a": np.ones(3)}, np.ones(2, np.float32)])
        assert each.skipped == 1
    assert snapshot(twin) == snapshot(optimizer)
    assert pickle.loads(pickle.dumps(twin)).params[0].keys() == {"a"}


def test_copies_preserve_memory_orders_and_shared_objects():
    w = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    optimizer = make("Adam", w, l1=0.1, penalty_factor=np.arange(6.0).reshape(2, 3))
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert twin.params.flags.f_contiguous
        x = np.asfortranarray(w)
        again = copy.deepcopy(twin)
        twin.step(x.copy(order="F"))
        again.step(x.copy(order="F"))
        assert_same_bits(twin.params, again.params)
        assert w.tolist() == [[0, 1, 2], [3, 4, 5]]
    nested = copy.deepcopy({"model": w, "optimizer": optimizer})
    assert nested["model"] is nested["optimizer"].params, "a model and its optimizer are copied together"


def test_other_keys_are_ignored(tmp_path):
    donor, optimizer = (fastreg.Adam({"a": np.ones(3)}, lr) for lr in (0.5, 0.25))
    donor.step({"a": np.ones(3)})
    np.savez(tmp_path / "all.npz", epoch=7, note=np.array({"not": "read"}, object), w=np.ones(3), **donor.state_dict())
    with np.load(tmp_path / "all.npz") as file:
        optimizer.load_state_dict(file)
    assert snapshot(optimizer)[1:] == snapshot(donor)[1:]
