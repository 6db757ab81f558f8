"""Lazy training resumed from a file, a pickle or a copy has the bits of training without interruption."""

import copy
import pickle

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, through_a_file
from lazy_cases import CASES, STREAMS, each, gradients, make, schedule, snapshot, weights

import fastreg

names = pytest.mark.parametrize("name", CASES)


def train(lazy, grads, strengths, start, stop):
    for s in range(start, stop):
        lazy.lr, lazy.l1, lazy.l2 = 0.01, 0.01, 0.0  # only the last change before a step counts
        lazy._change(**dict(zip(("lr", "l1", "l2"), strengths[s])))
        lazy.step(*grads[s])


@names
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("stream", range(len(STREAMS)))
@pytest.mark.parametrize("way", ["file", "pickle", "deepcopy"])
def test_resumed_training_has_the_same_bits(name, dtype, stream, way, tmp_path):
    shape, index, duplicates, factors = STREAMS[stream]
    grads = each(*gradients(40, shape, dtype, 1, 4, index, duplicates))
    strengths = schedule(name, dtype, 40, 2)
    f = None
    if factors:
        f = np.random.default_rng(2).choice([0, 1] if factors == 1 else [0, 0.5, 2], shape)
        strengths = [(lr, l1, l2 * (factors == 1)) for lr, l1, l2 in strengths]
    straight, interrupted = (make(name, weights(shape, dtype), l1=0.1, penalty_factor=f) for _ in range(2))
    train(straight, grads, strengths, 0, 40)
    train(interrupted, grads, strengths, 0, 17)
    if way == "file":
        resumed = make(name, weights(shape, dtype, 1), 0.7, penalty_factor=f)
        train(resumed, grads, strengths, 20, 30)
        before = [id(a) for a in resumed._arrays]
        resumed.load_state_dict(through_a_file({"w": interrupted.w} | interrupted.state_dict(), tmp_path))
        resumed.w[...] = interrupted.w
        assert [id(a) for a in resumed._arrays] == before, "in place"
    else:
        resumed = copy.deepcopy(interrupted) if way == "deepcopy" else pickle.loads(pickle.dumps(interrupted))
    assert snapshot(resumed) == snapshot(interrupted)
    frozen = snapshot(interrupted)
    train(resumed, grads, strengths, 17, 40)
    assert snapshot(resumed) == snapshot(straight)
    assert snapshot(interrupted) == frozen, "nothing is shared with the one that was saved"
    assert_same_bits(resumed.weights(), straight.weights())
    assert (type(resumed), repr(resumed)) == (type(straight), repr(straight))


@pytest.mark.parametrize("mode", ["proximal", "truncated"])
def test_a_state_saved_while_l1_alternates_with_zero_can_be_loaded(mode):
    """The compensation of the total is added with the next l1; a stamp later than the clock would be refused."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        lazy = fastreg.LazySGD(np.ones(2), 0.1, l1=0.1, l2=0.1, mode=mode)
        for _ in range(6):
            lazy.l1 = rng.choice([0.0, rng.random()])
            lazy.step(np.array([0]), rng.standard_normal(1))
        lazy.l1 = 0.0
        lazy.step(np.empty(0, np.int64), np.empty(0))
        assert snapshot(pickle.loads(pickle.dumps(lazy))) == snapshot(lazy)


@names
def test_weights_and_their_lazy_object_are_copied_together(name):
    w = np.ones(4)
    both = copy.deepcopy({"w": w, "lazy": make(name, w)})
    assert both["lazy"].w is both["w"]


@names
def test_schedules_stay_as_they_are_constructed(name, tmp_path):
    one, other = (make(name, np.ones(4), lambda n: 0.1 / (1 + n), l1=lambda n: 0.01 * n) for _ in range(2))
    for lazy, count in ((one, 5), (other, 2)):
        for _ in range(count):
            lazy.step(np.array([1]), np.array([0.5]))
    saved = one.state_dict()
    assert not {"lr", "l1"} & saved.keys()
    other.load_state_dict(through_a_file(saved, tmp_path))
    other.w[...] = one.w
    for lazy in (one, other):
        lazy.step(np.array([2]), np.array([0.5]))
    assert snapshot(one) == snapshot(other)


@names
def test_other_keys_are_ignored(name, tmp_path):
    donor, lazy = (make(name, np.linspace(-1, 1, 5), lr, l1=0.2) for lr in (0.5, 0.25))
    donor.step(np.array([1, 4]), np.ones(2))
    np.savez(tmp_path / "all.npz", w=donor.w, epoch=7, note=np.array({"not": "read"}, object), **donor.state_dict())
    lazy.w[...] = donor.w
    with np.load(tmp_path / "all.npz") as file:
        lazy.load_state_dict(file)
    assert snapshot(lazy) == snapshot(donor)
