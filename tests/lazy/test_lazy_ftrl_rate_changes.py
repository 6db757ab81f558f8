"""LazyFTRL whose lr changes: the same weights as dense steps, at every moment; lr = 0 stands still."""

import copy
import pickle

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits
from lazy_cases import each, gradients, scatter, snapshot, weights

import fastreg

RATES = [0.5, 0.5, 0.05, 2.0, 0.0, 0.0, 0.3, 0.3, 1e-3, 1.0, 1.0, 1.0]
WARMUP = [0.0, 0.0, *RATES]
OPTIONS = {
    "vector": ((13,), {"l1": 0.4, "l2": 0.3}),
    "matrix": ((9, 3), {"l1": 0.4}),
    "cold start": ((13,), {"l1": 0.1, "warm_start": False}),
    "bounds": ((13,), {"l1": 0.1, "bounds": (-0.5, 0.7)}),
    "MCP": ((13,), {"l1": 0.1, "gamma": 20.0}),
    "groups": ((9, 4), {"l21": 0.5, "l1": 0.1, "l2": 0.2}),
    "groups of one": ((13,), {"l21": 0.5}),
    "growing strengths": ((13,), {"l1": lambda n: 0.05 * n, "l2": lambda n: 0.01 * n}),
}
options = pytest.mark.parametrize("case", OPTIONS)
rates = pytest.mark.parametrize("rates", [RATES, WARMUP], ids=["", "warmup"])


def scheduled(kind, w, rates, own):
    return kind(w, lambda n: rates[n % len(rates)], **own)


@options
@rates
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("csr", [False, True])
def test_it_equals_dense_steps(case, rates, dtype, csr):
    shape, own = OPTIONS[case]
    w = weights(shape, dtype)
    dense_w = w.copy()
    lazy = scheduled(fastreg.LazyFTRL, w, rates, own)
    dense = scheduled(fastreg.FTRL, dense_w, rates, own | ({"group_axis": 0} if "l21" in own else {}))
    data, indices, indptr = gradients(40, shape, dtype, most=4)
    if csr:
        lazy.step_csr(data, indices, indptr)
    for k, (rows, g) in enumerate(each(data, indices, indptr)):
        dense.step(scatter(rows, g, shape))
        if not csr:
            lazy.step(rows, g)
            assert_close(lazy.weights(), dense_w, dtype)
            if k % 7 == 3:
                lazy.flush()
    lazy.flush()
    assert_close(w, dense_w, dtype)
    assert not lazy.has_pending_penalty
    assert lazy.completed == dense.completed == 40


def assert_close(actual, expected, dtype):
    scale = max(np.abs(expected).max(), 1)
    assert np.abs(actual - expected).max() <= 2000 * np.finfo(dtype).eps * scale


def test_a_change_of_lr_moves_no_weight():
    w = np.array([0.95, -3.0, 1e-5, 0.0, 40.0])
    before = w.copy()
    lazy = fastreg.LazyFTRL(w, 0.5, l1=0.1, l2=0.1)
    for lr in np.exp(np.random.default_rng(0).normal(0, 2, 200)).tolist():
        lazy.lr = lr
        lazy.step(np.array([1, 4]), np.zeros(2))
        np.testing.assert_allclose(lazy.weights(), before, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("warm", [True, False])
def test_lr_0_stands_still(warm):
    (w, other), g = (weights((9,), float) for _ in range(2)), np.ones(3)
    rows = np.array([0, 2, 5])
    rested, straight = (fastreg.LazyFTRL(x, 0.0, l1=0.1, warm_start=warm) for x in (w, other))
    for _ in range(2):
        before, state = w.copy(), [x.copy() for x in rested.state.values()]
        rested.step(rows, g)
        assert_same_bits(w, before)
        assert_same_bits(rested.weights(), before)
        assert all((x == y).all() for x, y in zip(rested.state.values(), state, strict=True))
    for lazy in (rested, straight):
        lazy.lr = 0.5
        lazy.step(rows, g)
    rested.lr = 0.0
    rested.l1 = 0.3
    before = rested.weights()
    rested.step(rows, g)
    assert_same_bits(rested.weights(), before)
    rested.l1 = 0.1
    for lazy in (rested, straight):
        lazy.lr = 0.2
        lazy.step(rows, g)
    assert_same_bits(rested.weights(), straight.weights())
    assert rested.completed == straight.completed + 3


@options
@rates
@pytest.mark.parametrize("way", ["dict", "pickle", "deepcopy"])
def test_resumed_streams_have_the_same_bits(case, rates, way):
    shape, own = OPTIONS[case]
    own = {k: x for k, x in own.items() if not callable(x)}
    for stop in range(6):
        w = weights(shape, float)
        straight = fastreg.LazyFTRL(w, rates[0], **own)
        stream = each(*gradients(12, shape, float, most=4))
        for lr, (rows, g) in list(zip(rates, stream, strict=False))[:stop]:
            straight.lr = lr
            straight.step(rows, g)
        if way == "dict":
            resumed = fastreg.LazyFTRL(w.copy(), 0.7, **own)
            resumed.load_state_dict(straight.state_dict())
        else:
            resumed = copy.deepcopy(straight) if way == "deepcopy" else pickle.loads(pickle.dumps(straight))
        assert snapshot(resumed) == snapshot(straight)
        for lr, (rows, g) in list(zip(rates, stream, strict=False))[stop:]:
            for lazy in (straight, resumed):
                lazy.lr = lr
                lazy.step(rows, g)
        assert snapshot(resumed) == snapshot(straight)


def test_files_without_the_lr_of_the_state():
    for steps in (0, 3):
        lazy = fastreg.LazyFTRL(weights((9,), float), 0.5, l1=0.1)
        for _ in range(steps):
            lazy.step(np.array([1, 2]), np.ones(2))
        saved = {k: x for k, x in lazy.state_dict().items() if k != "built_on"}
        other = fastreg.LazyFTRL(lazy.w.copy(), 0.2, l1=0.1)
        other.load_state_dict(saved)
        assert snapshot(other) == snapshot(lazy)


def test_an_lr_with_an_infinite_inverse_is_refused():
    lazy = fastreg.LazyFTRL(np.ones(3, np.float32), 0.5)
    with pytest.raises(ValueError, match=r"^1/lr: "):
        lazy.lr = 1e-40
