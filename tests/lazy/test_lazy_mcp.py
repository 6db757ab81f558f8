"""MCP of lazy updates: the bits of the reference, the weights of dense steps, state, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, special_values
from lazy_cases import Twin, each, gradients, make, make_dense, scatter, snapshot, weights

import fastreg

names = pytest.mark.parametrize("name", ["proximal", "FTRL"])
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
KEYS = ("lr", "l1", "l2")


def changing(name, count, seed=0):
    """Strengths of each step; l1 is constant for some steps."""
    rng = np.random.default_rng([seed, 8])
    table = rng.uniform(0.3, 1.5, (count, 3)) * ([0.1, 0.05, 0.0] if name == "proximal" else [0.1, 2.0, 0.2])
    table[:, 1] = np.repeat(table[::20, 1], 20)[:count]
    table[rng.random(count) < 0.05, 1] = 0.0
    return [tuple(row) for row in table.tolist()]


def factors_for(shape, values, seed=0):
    return np.random.default_rng(seed).choice(values, shape)


@names
@dtypes
@pytest.mark.parametrize("shape", [(33,), (9, 3)])
@pytest.mark.parametrize("gamma", [0.3, 3.0, 1e6])
@pytest.mark.parametrize("factors", [None, (0, 1, 0.5)], ids=["", "factors"])
def test_random_streams_have_the_bits_of_the_reference(name, dtype, shape, gamma, factors):
    f = factors if factors is None else factors_for(shape, factors).astype(dtype)
    strengths = changing(name, 120)
    w = weights(shape, dtype)
    twin = Twin(name, w, f, strengths[0], gamma=gamma)
    lazy = make(name, w, **dict(zip(KEYS, strengths[0])), gamma=gamma, penalty_factor=f)
    grads = each(*gradients(len(strengths), shape, dtype, 3, 4, np.int32, duplicates=True))
    for s, ((rows, g), numbers) in enumerate(zip(grads, strengths)):
        lazy._change(**dict(zip(KEYS, numbers)))
        lazy.step(rows, g)
        twin.step(rows, g, *numbers)
        if s % 4 == 0:
            assert_same_bits(w, twin.w)
            assert_same_bits(lazy.weights(), twin.weights())


@names
@dtypes
def test_special_values(name, dtype):
    w, g = special_values(dtype)
    strengths = (0.1, 0.7, 0.0)
    twin, lazy = Twin(name, w, None, strengths, gamma=2.0), make(name, w, 0.1, l1=0.7, gamma=2.0)
    rng = np.random.default_rng(0)
    for _ in range(6):
        rows = np.flatnonzero(rng.random(w.size) < 0.4)
        twin.step(rows, g[rows], *strengths)
        lazy.step(rows, g[rows])
        assert_same_bits(w, twin.w)
        assert_same_bits(lazy.weights(), twin.weights())


@names
@pytest.mark.parametrize("shape", [(40,), (14, 3)])
@pytest.mark.parametrize("gamma", [3.0, 20.0, 1e4])
@pytest.mark.parametrize("factors", [None, (0, 1, 0.5, 3)], ids=["", "factors"])
def test_ten_thousand_steps_equal_dense_ones(name, shape, gamma, factors):
    """Steps without a gradient move weights away from gamma·l1, so that rounding errors grow until a gradient comes."""
    count = 10_000 if factors is None else 2000
    strengths = changing(name, count)
    f = factors if factors is None else factors_for(shape, factors)
    w = weights(shape, np.float64)
    dense = w.copy()
    options = dict(zip(KEYS, strengths[0])) | {"gamma": gamma, "penalty_factor": f}
    lazy, optimizer = make(name, w, **options), make_dense(name, dense, **options)
    zeros = large = 0
    for s, (indices, values) in enumerate(each(*gradients(count, shape, np.float64, 4, 5))):
        if name == "proximal" or s % 20 == 0:
            changes = dict(zip(KEYS, strengths[s]))
            lazy._change(**changes)
            optimizer.param_groups[0].update(changes)
        lazy.step(indices, values)
        optimizer.step(scatter(indices, values, shape))
        if s % 50 == 0:
            now = lazy.weights()
            np.testing.assert_allclose(now, dense, rtol=0, atol=1e-12 * max(1, np.abs(dense).max()))
            np.testing.assert_array_equal(now == 0, dense == 0)
            zeros += (dense == 0).sum()
            large += (np.abs(dense) > gamma * strengths[s][1]).sum()
    assert zeros
    assert large or gamma > 100
    assert lazy.penalty() == pytest.approx(optimizer.penalty(), rel=1e-9)


@pytest.mark.parametrize("steps", [1, 7, 300, 20_000])
def test_one_weight_without_gradients(steps):
    """Weights below, near and above gamma·l1 = 1.5, through rebasing."""
    w = np.array([1e-3, 0.3, 1.2, 1.4999, 1.5 - 1e-9, 1.5 + 1e-9, 1.6, -1.2, -2.0, 0.0])
    dense = w.copy()
    lazy, optimizer = (
        make("proximal", w, 0.1, l1=0.5, gamma=3.0),
        make_dense("proximal", dense, 0.1, l1=0.5, gamma=3.0),
    )
    empty = np.empty(0, np.int64), np.empty(0)
    for _ in range(steps):
        lazy.step(*empty)
        optimizer.step(np.zeros_like(w))
    growth = min((1 - 0.1 / 3) ** -steps, 1e9)  # of rounding errors of the dense steps, too
    np.testing.assert_allclose(lazy.weights(), dense, rtol=0, atol=1e-15 * growth)
    assert (lazy.weights()[[5, 6, 8]] == [1.5 + 1e-9, 1.6, -2.0]).all()


@pytest.mark.parametrize("rate", [0.1, lambda n: 0.1 / (1 + n % 3)])
def test_splits_and_resumed_streams_have_the_same_bits(rate):
    shape = (20, 5)
    data, indices, indptr = gradients(60, shape, np.float64, 1, 5)
    options = {"lr": rate, "l1": 0.05, "gamma": 2.0}
    lazy, whole, loaded = (make("proximal", weights(shape, np.float64), **options) for _ in range(3))
    whole.step_csr(data, indices, indptr)
    others = []
    for s, g in enumerate(each(data, indices, indptr)):
        if s == 25:
            loaded.load_state_dict(lazy.state_dict())
            loaded.w[...] = lazy.w
            others = [loaded]
            if not callable(rate):
                others += [pickle.loads(pickle.dumps(lazy)), copy.deepcopy(lazy)]
        for it in (lazy, *others):
            it.step(*g)
    for other in (whole, *others):
        assert snapshot(other) == snapshot(lazy)


def test_a_tampered_state_is_refused():
    lazy = make("proximal", np.ones(5), l1=0.05, gamma=2.0)
    for i in range(3):
        lazy.step(np.array([i]), np.ones(1))
    saved = lazy.state_dict()
    before = snapshot(lazy)
    product = saved["clock"][0]
    assert product > 1
    for changes in (
        {"gamma": 3.0}, {"clock": np.array([1 / product, product, 0.0, 0.0])}, {"stamps": saved["stamps"] * 2},
        {"clock": np.array([np.inf, 0.0, 0.0, 0.0])}, {"stamps": saved["stamps"] * 0}, {"l2": 0.1}, {"lr": 2.0},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="got "):
            lazy.load_state_dict(saved | changes)
        assert snapshot(lazy) == before
    lazy.load_state_dict(saved)


def test_a_state_of_0_1_0_can_be_loaded():
    lazy = make("FTRL", np.ones(5), l1=0.1)
    lazy.step(np.array([1]), np.ones(1))
    saved = lazy.state_dict()
    old = {key: x for key, x in saved.items() if key not in ("l21", "gamma")} | {"last": saved["last"][:3]}
    other = make("FTRL", lazy.w.copy(), l1=0.3)
    other.load_state_dict(old)
    assert snapshot(other) == snapshot(lazy)


def test_what_is_refused():
    w = np.full((4, 3), 9.0)
    for kind, options, message in (
        (fastreg.LazyAdagrad, {}, "gamma: expected inf with LazyAdagrad, whose step sizes"),
        (fastreg.LazySGD, {"mode": "truncated"}, "gamma: expected inf with mode='truncated'"),
        (fastreg.LazySGD, {"bounds": (0, 1)}, "gamma: expected inf with bounds"),
        (fastreg.LazyFTRL, {"bounds": (0, 1)}, "gamma: expected inf with bounds"),
        (fastreg.LazySGD, {"l2": 0.1}, "l2: expected 0 with a finite gamma in LazySGD"),
        (fastreg.LazySGD, {"lr": 2.0}, "lr: expected a number below gamma"),
        (fastreg.LazySGD, {"lr": lambda n: 2.5}, "lr: expected a number below gamma"),
        (fastreg.LazySGD, {"l21": 0.1}, "l21: expected 0 with a finite gamma"),
        (fastreg.LazyFTRL, {"l21": 0.1}, "l21: expected 0 with a finite gamma"),
    ):
        with pytest.raises(ValueError, match=f"^{message}.*, got "):
            kind(w, **{"lr": 0.1, "l1": 0.1, "gamma": 2.0} | options)
    for bad in (0.0, -1.0, np.nan, "2", None):
        with pytest.raises((TypeError, ValueError), match=r"^gamma: "):
            fastreg.LazySGD(w, 0.1, l1=0.1, gamma=bad)
    lazy = fastreg.LazySGD(w, 0.1, l1=0.1, gamma=2.0)
    for key, x in (("l2", 0.1), ("lr", 2.0), ("l21", 0.1)):
        with pytest.raises(ValueError, match=f"^{key}: "):
            setattr(lazy, key, x)
    single = fastreg.LazySGD(w.astype(np.float32), 0.1, l1=0.1, gamma=2.0)
    with pytest.raises(ValueError, match=r"^lr: expected a number below gamma"):
        single.lr = 2 - 1e-9
    assert (w == 9).all()
