"""Bounds: the bits of the reference, minimisers over the interval, forms, state, and what is refused."""

import pickle

import numpy as np
import pytest
from cases import SIZES, STORED, arithmetic, assert_same_bits, special_values, values
from ml_dtypes import bfloat16
from optimizer_cases import COMBINATIONS, DIRECTIONS, Twin, gradients, make, train
from scipy.optimize import nnls

import fastreg
from fastreg._boundary.bfloat16 import BITS

combinations = pytest.mark.parametrize(("name", "mode"), COMBINATIONS)
stored = pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)


def bounds_like(w, seed=0):
    """Arrays of bounds; some are infinite, some intervals are a point."""
    rng = np.random.default_rng(seed)
    start = rng.choice([-1.0, -0.25, 0.0], w.shape)
    high = start + rng.choice([0.0, 0.5, 2.0, np.inf], w.shape)
    low = np.where(rng.random(w.shape) < 0.3, -np.inf, start)
    order = "F" if w.flags.f_contiguous else "C"
    return low.astype(arithmetic(w.dtype.type), order=order), high.astype(arithmetic(w.dtype.type), order=order)


def assert_steps_like_reference(name, mode, w, g, bounds, given, threads=None, **options):
    twin = Twin(name, w, mode, bounds=bounds, **options)
    optimizer = make(name, w, mode=mode, bounds=given, threads=threads, **options)
    for gradient in (g, -g * g.dtype.type(0.5), g):
        optimizer.step(gradient)
        twin.step(gradient)
        assert_same_bits(w, twin.w)
        for actual, expected in zip(optimizer.state["0"].values(), twin.state, strict=True):
            assert_same_bits(actual, expected)


@combinations
@stored
@pytest.mark.parametrize("size", [*SIZES[:-4], 1023, 1024, 1025, 10_007])
def test_the_bits_are_those_of_the_reference(name, mode, dtype, size):
    wide = arithmetic(dtype)
    for l1, l2 in ((0.7, 0.3), (0.0, 0.3)):
        w, g = values(dtype, size)
        assert_steps_like_reference(name, mode, w, g, (wide(-0.5), wide(2)), (-0.5, 2.0), l1=l1, l2=l2)
        w, g = values(dtype, size)
        low, high = bounds_like(w)
        assert_steps_like_reference(name, mode, w, g, (low, high), (low, high), l1=l1, l2=l2)


@combinations
@stored
def test_special_values(name, mode, dtype):
    w, g = special_values(dtype)
    wide = arithmetic(dtype)
    assert_steps_like_reference(name, mode, w, g, (wide(0), wide(np.inf)), (0.0, np.inf), l1=0.5)


@stored
def test_threads_and_slices_have_the_same_bits(dtype):
    w, g = values(dtype, 700_001)
    low, high = bounds_like(w)
    for threads in (1, 4):
        x = w.copy()
        assert_steps_like_reference("Adam", "proximal", x, g, (low, high), (low, high), threads=threads, l1=0.3)


@pytest.mark.parametrize("name", [name for name, case in DIRECTIONS.items() if "proximal" in case.modes])
def test_a_step_gives_the_minimiser_over_the_interval(name):
    """A convex function of one variable: its minimiser over an interval is the one over all numbers, moved into it."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal(50)
    free, bounded = w.copy(), w.clip(-0.3, 0.8)
    free[...] = bounded
    options = {"l1": 0.02, "l2": 0.2}
    one, other = make(name, free, **options), make(name, bounded, bounds=(-0.3, 0.8), **options)
    g = rng.standard_normal(50)
    one.step(g)
    other.step(g)
    np.testing.assert_array_equal(bounded, free.clip(-0.3, 0.8))
    assert {-0.3, 0.8} <= set(bounded)


def test_gradient_descent_reaches_non_negative_least_squares():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((100, 12)), rng.standard_normal(100)
    w = -np.ones(12)
    optimizer = fastreg.SGD(w, 0.3, bounds=(0, np.inf))
    for _ in range(2000):
        optimizer.step(x.T @ (x @ w - y) / 100)
    np.testing.assert_allclose(w, nnls(x, y)[0], atol=1e-12)
    assert (w == 0).any()


def test_weights_outside_are_moved_in_by_the_first_step():
    w = np.array([-3.0, 0.5, 7.0])
    optimizer = fastreg.Adam(w, 0.0, bounds=(0, 1))
    assert w.tolist() == [-3.0, 0.5, 7.0]
    optimizer.step(np.zeros(3))
    assert w.tolist() == [0.0, 0.5, 1.0]


def test_forms_of_params_and_groups():
    params = [{"params": {"a": -np.ones(2), "b": -np.ones(3)}, "bounds": (0, {"a": np.array([0.5, 1.0]), "b": 2.0})},
              {"params": [-np.ones(2)]}, {"params": -np.ones(2), "bounds": None}]  # fmt: skip
    optimizer = fastreg.SGD(params, 1.0, bounds=(-0.25, np.inf))
    optimizer.step(
        [{"a": np.array([0.5, -9.0]), "b": np.array([-1.5, -9.0, 2.0])}, [np.array([3.0, -2.0])], np.ones(2)]
    )
    (a, b), (c,), d = optimizer.params[0].values(), optimizer.params[1], optimizer.params[2]
    assert (a.tolist(), b.tolist(), c.tolist(), d.tolist()) == ([0, 1], [0.5, 2, 0], [-0.25, 1], [-2, -2])
    nested = fastreg.SGD([{"params": [-np.ones(2)]}, {"params": -np.ones(2)}], 0.0, bounds=([[0.0], -0.5], np.inf))
    nested.step([[np.zeros(2)], np.zeros(2)])
    assert [nested.params[0][0][0], nested.params[1][0]] == [0.0, -0.5]


@stored
def test_bounds_are_rounded_to_the_dtype_of_the_weights(dtype):
    w, g = values(dtype, 100)
    fastreg.SGD(w, 0.1, bounds=(-0.1, 0.3)).step(g)
    assert w.min() == dtype(-0.1)
    assert w.max() == dtype(0.3)


def test_bounds_of_bfloat16_bits_are_those_of_bfloat16():
    """torch's bfloat16 comes as a structure, which NumPy cannot convert numbers to."""
    w, g = values(bfloat16, 100)
    low = np.linspace(-2, 0.1, 100)
    bits = w.copy()
    fastreg.SGD(w, 0.1, bounds=(low, 0.3)).step(g)
    fastreg.SGD(bits.view(BITS), 0.1, bounds=(low, 0.3)).step(g.view(BITS))
    assert_same_bits(bits, w)
    assert (w.astype(float) >= low.astype(bfloat16).astype(float)).all()


def test_bounds_are_copied():
    w, low = -np.ones(3), np.zeros(3)
    optimizer = fastreg.SGD(w, 0.0, bounds=(low, np.inf))
    low[...] = -5
    optimizer.step(np.zeros(3))
    assert (w == 0).all()


def test_a_pickle_has_the_bounds():
    w = [np.random.default_rng(0).standard_normal(5), np.ones((2, 2), np.float32)]
    low = [np.linspace(-1, 0, 5), 0.25]
    optimizer = fastreg.Adam(w, 0.5, bounds=(low, np.inf))
    train(optimizer, 0, 2)
    other = pickle.loads(pickle.dumps(optimizer))
    for i in range(2, 6):
        g = gradients(optimizer, i)
        optimizer.step(g)
        other.step(g)
    for x, y in zip(optimizer.params, other.params):
        assert_same_bits(x, y)
    assert (other.params[0] >= low[0]).all()
    assert (other.params[1] >= 0.25).all()


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        ((1, 0), ValueError), ((np.nan, 1), ValueError), (0.0, TypeError), ((0, 1, 2), TypeError),
        (("0", 1), TypeError),
        ((np.zeros(4), np.inf), ValueError), ((np.zeros(3), -np.ones(3)), ValueError), ((0, 1e300), ValueError),
        ((0, 1e-60), ValueError), ((np.inf, np.inf), ValueError), ((-np.inf, -np.inf), ValueError),
        ((np.ma.masked_array(np.zeros(3), [1, 0, 0]), 1), TypeError),
        ((0, [1.0, 2.0, 3.0]), TypeError), (([0.0], 1.0), TypeError), ((np.full(3, 1j), 5), TypeError),
    ],
)  # fmt: skip
def test_what_is_refused(bounds, error):
    w = np.full(3, 9, np.float32)
    with pytest.raises(error, match=r"^bounds(\[\d\])?: expected"):
        fastreg.SGD(w, 0.1, bounds=bounds)
    assert (w == 9).all()


@pytest.mark.parametrize(
    "cls", [fastreg.SGD, fastreg.Adagrad, fastreg.RMSprop, fastreg.Adam, fastreg.AdamW, fastreg.Lion, fastreg.FTRL]
)
def test_every_optimizer_has_them(cls):
    w = -np.ones(3)
    cls(w, 0.1, bounds=(0, 1)).step(np.ones(3))
    assert ((w >= 0) & (w <= 1)).all()


def test_sides_in_other_forms():
    weights = {"a": -np.ones(2, bfloat16), "b": -np.ones(3)}
    lows = {"a": np.array([0.5, 0.25], bfloat16), "b": np.arange(3)}
    fastreg.SGD(weights.values(), 0.0, bounds=(lows.values(), 9)).step([np.zeros(2, bfloat16), np.zeros(3)])
    assert weights["a"].astype(float).tolist() == [0.5, 0.25]
    assert weights["b"].tolist() == [0, 1, 2]
    x = [-np.ones(2), -np.ones(2)]
    fastreg.SGD(iter(x), 0.0, bounds=((k for k in (0, 1)), 2)).step([np.zeros(2)] * 2)
    assert [y[0] for y in x] == [0, 1]


def test_they_are_no_attribute_to_set():
    optimizer = fastreg.SGD(np.ones(3), bounds=(0, 1))
    with pytest.raises(AttributeError, match=r"^bounds: fixed at construction"):
        optimizer.bounds = (0, 2)


def test_a_finite_gamma_is_refused():
    with pytest.raises(ValueError, match=r"^gamma: expected inf with bounds"):
        fastreg.SGD(np.ones(3), bounds=(0, 1), gamma=3.0)
    group = fastreg.SGD(np.ones(3), bounds=(0, 1)).param_groups[0]
    with pytest.raises(ValueError, match=r"^gamma: expected inf with bounds"):
        group["gamma"] = 3.0
    with pytest.raises(TypeError, match=r"^bounds: fixed at construction"):
        group["bounds"] = (0, 2)
