"""Row groups of lazy updates: the bits of the reference, the weights of dense steps, state, and what is refused."""

import copy
import pickle
import time

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits
from lazy_cases import Twin, each, gradients, make, make_dense, scatter, snapshot, weights

import fastreg

names = pytest.mark.parametrize("name", ["proximal", "FTRL"])
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
SHAPES = [(12, 3), (9, 1), (7, 8), (6, 37), (5, 1100), (30,)]
POSITIVE = (0.0, np.inf)


def changing(name, count, l1=False, seed=0):
    """Strengths of each step, some of them zero; l1 only if asked for, and then from time to time."""
    rng = np.random.default_rng([seed, 7])
    table = rng.uniform(0.3, 1.5, (count, 4)) * [0.1, 0.05, 0.2, 0.1 if name == "proximal" else 5.0]
    table[rng.random(count) < 0.1, 2] = 0.0
    if not l1:
        table[:, 1] = 0.0
    elif name == "proximal":  # either l1 or l21
        table[:, 3] *= np.repeat(np.arange(count // 7 + 1) % 3 > 0, 7)[:count]
        table[:, 1] *= table[:, 3] == 0
    return [tuple(row) for row in table.tolist()]


def factors_for(shape, values, seed=0):
    """The same factor for all weights of a row."""
    f = np.random.default_rng(seed).choice(values, (shape[0], *[1] * (len(shape) - 1)))
    return np.broadcast_to(f, shape).copy()


@names
@dtypes
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bounds", [None, POSITIVE], ids=["", "positive"])
@pytest.mark.parametrize("factors", [None, (0, 1)], ids=["", "factors"])
def test_random_streams_have_the_bits_of_the_reference(name, dtype, shape, bounds, factors):
    f = factors if factors is None else factors_for(shape, factors).astype(dtype)
    strengths = changing(name, 80, l1=True)
    w = weights(shape, dtype)
    twin = Twin(name, w, f, strengths[0], bounds)
    keys = ("lr", "l1", "l2", "l21")
    lazy = make(name, w, **dict(zip(keys, strengths[0])), bounds=bounds, penalty_factor=f)
    grads = each(*gradients(len(strengths), shape, dtype, 3, 4, np.int32, duplicates=True))
    for s, ((rows, g), numbers) in enumerate(zip(grads, strengths)):
        lazy._change(**dict(zip(keys, numbers)))
        lazy.step(rows, g)
        twin.step(rows, g, *numbers)
        if s % 4 == 0:
            assert_same_bits(w, twin.w)
            assert_same_bits(lazy.weights(), twin.weights())
            for mine, its in zip(lazy._arrays, twin.state):
                assert_same_bits(mine, its)


@names
@pytest.mark.parametrize("shape", [(40, 3), (40,), (40, 1)])
@pytest.mark.parametrize("bounds", [None, POSITIVE], ids=["", "positive"])
@pytest.mark.parametrize("case", ["plain", "zeros and ones", "fractions", "l1 too"])
def test_ten_thousand_steps_equal_dense_ones(name, shape, bounds, case):
    count = 10_000 if case == "plain" else 2000
    strengths = changing(name, count, l1=case == "l1 too")
    options = {"bounds": bounds}
    if case in ("zeros and ones", "fractions"):
        options["penalty_factor"] = factors_for(shape, (0, 1) if case == "zeros and ones" else (0, 0.3, 1, 2.5))
    if case == "fractions":
        strengths = [(lr, l1, 0.0, l21) for lr, l1, _, l21 in strengths]
    w = weights(shape, np.float64)
    dense = w.copy()
    keys = ("lr", "l1", "l2", "l21")
    options |= dict(zip(keys, strengths[0]))
    lazy, optimizer = make(name, w, **options), make_dense(name, dense, group_axis=0, **options)
    zeros = 0
    for s, (indices, values) in enumerate(each(*gradients(count, shape, np.float64, 4, 5))):
        if s % (1 if name == "proximal" else 10) == 0:
            changes = dict(zip(keys, strengths[s]))
            lazy._change(**changes)
            optimizer.param_groups[0].update(changes)
        lazy.step(indices, values)
        optimizer.step(scatter(indices, values, shape))
        if s % 100 < 2:
            now = lazy.weights()
            np.testing.assert_allclose(now, dense, rtol=0, atol=1e-12 * max(1, np.abs(dense).max()))
            np.testing.assert_array_equal(now == 0, dense == 0)
            zeros += (dense.reshape(len(w), -1) == 0).all(axis=1).sum()
    assert zeros
    assert lazy.zeros() == optimizer.zeros()
    assert lazy.penalty() == pytest.approx(optimizer.penalty(), rel=1e-9)
    report, expected = lazy.report()["w"], optimizer.report()["0"]
    counts = (expected.groups, expected.zero_groups) if lazy.l21 else (None, None)
    assert (report.groups, report.zero_groups) == counts
    lazy.flush()
    assert not lazy.has_pending_penalty


@names
def test_weights_outside_the_bounds_are_moved_in_by_the_first_step(name):
    w = weights((30, 4), np.float64)
    dense = w.copy()
    options = {"lr": 0.2, "l2": 0.3, "l21": 0.5, "bounds": POSITIVE}
    lazy, optimizer = make(name, w, **options), make_dense(name, dense, group_axis=0, **options)
    for indices, values in each(*gradients(5, (30, 4), np.float64, 1, 3)):
        lazy.step(indices, values)
        optimizer.step(scatter(indices, values, w.shape))
        np.testing.assert_allclose(lazy.weights(), dense, rtol=1e-13, atol=1e-15)


def test_a_pending_state_can_be_loaded_with_narrower_bounds():
    w = weights((30, 4), np.float64)
    lazy = make("proximal", w, l2=0.3, l21=0.05)
    for indices, values in each(*gradients(9, (30, 4), np.float64, 1, 3)):
        lazy.step(indices, values)
    other, dense = make("proximal", w.copy(), l2=0.3, l21=0.05, bounds=POSITIVE), lazy.weights()
    other.load_state_dict(lazy.state_dict())
    optimizer = make_dense("proximal", dense, l2=0.3, l21=0.05, bounds=POSITIVE, group_axis=0)
    for it in (other, optimizer):
        it.step(
            *[np.array([3]), np.ones((1, 4))] if it is other else [scatter(np.array([3]), np.ones((1, 4)), w.shape)]
        )
    np.testing.assert_allclose(other.weights(), dense, rtol=1e-13, atol=1e-15)


@names
def test_splits_readers_and_resumed_streams_have_the_same_bits(name):
    shape = (20, 5)
    data, indices, indptr = gradients(60, shape, np.float64, 1, 5)
    options = {"l2": 0.2, "l21": lambda n: 0.02 * (1 + n % 3) if n > 10 else 0.0, "bounds": POSITIVE}
    lazy = make(name, weights(shape, np.float64), **options)
    whole = make(name, weights(shape, np.float64), **options)
    whole.step_csr(data, indices, indptr)
    others = []
    for s, g in enumerate(each(data, indices, indptr)):
        if s == 25:
            loaded = make(name, lazy.w.copy(), **options)
            loaded.load_state_dict(lazy.state_dict())
            saved = lazy.l21
            lazy.l21 = 0.05  # callables cannot be pickled here
            others = [pickle.loads(pickle.dumps(lazy)), copy.deepcopy(lazy)]
            lazy.l21 = saved
            for other in others:
                other.l21 = saved
            others.append(loaded)
        for it in (lazy, *others):
            it.step(*g)
        places = np.array([3, 0, 19, 3])
        assert_same_bits(lazy.weights(places), lazy.weights()[places])
    for other in (whole, *others):
        assert snapshot(other) == snapshot(lazy)
    now = lazy.weights()
    lazy.flush()
    assert_same_bits(lazy.w, now)


def test_a_state_of_0_1_0_can_be_loaded():
    lazy = make("proximal", np.ones(5), l1=0.1)
    lazy.step(np.array([1]), np.ones(1))
    saved = lazy.state_dict()
    assert saved["last"].tolist() == [0.1, 0.1, 0.0, 0.0]
    old = {key: x for key, x in saved.items() if key != "l21"} | {"last": saved["last"][:3]}
    other = make("proximal", lazy.w.copy(), l1=0.3)
    other.load_state_dict(old)
    assert snapshot(other) == snapshot(lazy)


@names
def test_a_step_touches_only_the_rows_of_its_gradient(name):
    w = weights((1000, 6), np.float64)
    lazy = make(name, w, l21=0.1, l2=0.1)
    for k in range(20):
        before = w.copy()
        lazy.step(np.array([k, 500]), np.ones((2, 6)))
        assert set(np.flatnonzero((w != before).any(axis=1))) <= {k, 500}


@names
def test_the_time_of_a_step_does_not_depend_on_the_number_of_rows(name):
    times = {}
    for rows in (1000, 100_000):
        lazy = make(name, np.ones((rows, 8)), l21=0.001, l2=0.1)
        indices, values = np.arange(0, 1000, 20), np.ones((50, 8))
        for _ in range(3):
            start = time.perf_counter()
            for _ in range(200):
                lazy.step(indices, values)
            times[rows] = min(times.get(rows, 1), time.perf_counter() - start)
    assert times[100_000] < 5 * times[1000]


def test_what_is_refused():
    w = np.full((4, 3), 9.0)
    uneven = np.ones((4, 3))
    uneven[1, 2] = 0
    for kind, options, reason in (
        (fastreg.LazyAdagrad, {}, "step size"),
        (fastreg.LazySGD, {"l1": 0.1}, "closed form"),
        (fastreg.LazySGD, {"mode": "truncated"}, "mode='truncated'"),
        (fastreg.LazySGD, {"bounds": (0, 1)}, "bounds"),
        (fastreg.LazyFTRL, {"bounds": (-1, 0)}, "bounds"),
        (fastreg.LazySGD, {"penalty_factor": uneven}, "penalty_factor"),
        (fastreg.LazyFTRL, {"penalty_factor": uneven}, "penalty_factor"),
    ):
        for l21 in (0.1, lambda n: 0.1):
            with pytest.raises(ValueError, match=rf"^l21: expected 0 with .*{reason}.*, got 0.1$"):
                kind(w, 0.1, l21=l21, **options)
        lazy = kind(w, 0.1, **options)
        with pytest.raises(ValueError, match=r"^l21: expected 0 with "):
            lazy.l21 = 0.1
        assert lazy.l21 == 0
    for bad in (-1.0, np.nan, np.inf, "0.1", None):
        with pytest.raises((TypeError, ValueError), match=r"^l21: "):
            fastreg.LazySGD(w, 0.1, l21=bad)
    with pytest.raises(ValueError, match=r"^penalty_factor: "):
        fastreg.LazySGD(w, 0.1, l21=0.1, l2=0.1, penalty_factor=np.full((4, 3), 0.5))
    assert (w == 9).all()


@pytest.mark.parametrize("name", ["proximal", "Adagrad", "FTRL"])
def test_in_a_vector_it_is_l1(name):
    w = weights((20,), np.float64)
    one, other = make(name, w, l1=0.1, l21=0.2), make(name, w.copy(), l1=0.1 + 0.2)
    for indices, values in each(*gradients(40, (20,), np.float64, 1, 5)):
        one.step(indices, values)
        other.step(indices, values)
    assert_same_bits(one.weights(), other.weights())


@names
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_weights(name, shape):
    lazy = make(name, np.ones(shape), l21=0.1, penalty_factor=np.ones(shape), bounds=POSITIVE)
    count = min(shape[0], 2)
    for _ in range(2):
        lazy.step(np.arange(count), np.ones((count, shape[1])))
    lazy.flush()
    assert lazy.weights().shape == shape
