"""Bounds of lazy updates: the bits of the reference, the weights of dense steps, state, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, special_values
from lazy_cases import CASES, STREAMS, Twin, each, gradients, make, make_dense, run, scatter, snapshot, weights

from fastreg.linear import StreamingClassifier, StreamingRegressor

names = pytest.mark.parametrize("name", CASES)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
INTERVALS = [(0.0, np.inf), (-0.25, 0.5), (-np.inf, 0.125), (0.0, 0.0)]


@names
@dtypes
@pytest.mark.parametrize("stream", range(len(STREAMS)))
@pytest.mark.parametrize("bounds", INTERVALS)
def test_random_streams_have_the_bits_of_the_reference(name, dtype, stream, bounds):
    """The weights start outside."""
    pairs = zip(*(run(name, dtype, STREAMS[stream], 2, twin, bounds) for twin in (False, True)), strict=True)
    for actual, expected in pairs:
        assert_same_bits(actual, expected)


@names
@dtypes
def test_special_values(name, dtype):
    w, g = special_values(dtype)
    strengths, bounds = (0.1, 0.7, 0.3), (0.0, 1.0)
    twin = Twin(name, w, None, strengths, bounds)
    lazy = make(name, w, 0.1, l1=0.7, l2=0.3, bounds=bounds)
    rng = np.random.default_rng(0)
    for _ in range(6):
        rows = np.flatnonzero(rng.random(w.size) < 0.4)
        twin.step(rows, g[rows], *strengths)
        lazy.step(rows, g[rows])
        assert_same_bits(w, twin.w)
        assert_same_bits(lazy.weights(), twin.weights())


@names
@pytest.mark.parametrize("shape", [(40,), (14, 3)])
@pytest.mark.parametrize("bounds", INTERVALS[:3])
def test_ten_thousand_steps_equal_dense_ones(name, shape, bounds):
    w = weights(shape, np.float64)
    dense, count, rng = w.copy(), 10_000, np.random.default_rng(4)
    lazy, optimizer = (f(name, x, bounds=bounds) for f, x in ((make, w), (make_dense, dense)))
    at_bound = 0
    for s, (indices, values) in enumerate(each(*gradients(count, shape, np.float64, 4, 5))):
        if s % 50 == 0:
            l1 = 10 if name == "FTRL" else 0.02
            changes = {"lr": 0.05 * rng.random() + 0.01, "l1": l1 * rng.random(), "l2": 0.1 * rng.random()}
            lazy._change(**changes)
            optimizer.param_groups[0].update(changes)
        lazy.step(indices, values)
        optimizer.step(scatter(indices, values, shape))
        if s < 5 or s % 100 == 0:
            now = lazy.weights()
            np.testing.assert_allclose(now, dense, rtol=0, atol=1e-12 * max(1, np.abs(dense).max()))
            np.testing.assert_array_equal(now == 0, dense == 0)
            assert ((now >= bounds[0]) & (now <= bounds[1])).all()
            at_bound += np.isin(now, bounds).sum()
    assert at_bound


@names
def test_weights_outside_are_moved_in_by_the_first_step(name):
    w = np.array([-3.0, 0.5, 7.0, -0.1])
    dense = w.copy()
    options = {"lr": 0.5, "l1": 0.25, "bounds": (0, 1)}
    lazy, optimizer = make(name, w, **options), make_dense(name, dense, **options)
    lazy.flush()
    assert lazy.weights().tolist() == w.tolist() == [-3.0, 0.5, 7.0, -0.1]
    for _ in range(3):
        lazy.step(np.array([1]), np.ones(1))
        optimizer.step(np.array([0.0, 1, 0, 0]))
        np.testing.assert_allclose(lazy.weights(), dense, rtol=1e-15)


@pytest.mark.parametrize("name", ["proximal", "truncated", "Adagrad"])
def test_only_a_first_step_with_weights_outside_passes_over_all(name):
    for lowest, passes in ((0.0, 0), (-1.0, 1)):
        w = np.linspace(lowest, 1, 50)
        lazy = make(name, w, l1=0.1, bounds=(0, np.inf))
        for s in range(3):
            before = w.copy()
            lazy.step(np.array([7]), np.ones(1))
            assert np.count_nonzero(w != before) > 1 if passes and s == 0 else np.count_nonzero(w != before) <= 1


@names
def test_a_resumed_stream_has_the_same_bits(name):
    grads = each(*gradients(30, (20,), np.float64, 1, 5))
    lazy = make(name, weights((20,), np.float64), l1=0.1, l2=0.2, bounds=(-0.25, 0.5))
    for g in grads[:11]:
        lazy.step(*g)
    loaded = make(name, lazy.w.copy(), l1=0.1, l2=0.2, bounds=(-0.25, 0.5))
    loaded.load_state_dict(lazy.state_dict())
    others = [loaded, pickle.loads(pickle.dumps(lazy)), copy.deepcopy(lazy)]
    for g in grads[11:]:
        lazy.step(*g)
        for other in others:
            other.step(*g)
    for other in others:
        assert other.bounds == (-0.25, 0.5)
        assert snapshot(other) == snapshot(lazy)


@names
def test_a_state_can_be_loaded_with_narrower_bounds(name):
    """As with the dense optimizers, the next step moves all weights in."""
    w = np.linspace(-1, 1, 20)
    lazy = make(name, w, l1=0.01)
    lazy.step(np.array([3]), np.ones(1))
    other = make(name, lazy.w.copy(), l1=0.01, bounds=(0, 0.5))
    other.load_state_dict(lazy.state_dict())
    for it in (lazy, other):
        it.step(np.array([3]), np.ones(1))
    np.testing.assert_allclose(other.weights(), lazy.weights().clip(0, 0.5), rtol=1e-15)


@names
@dtypes
def test_bounds_are_rounded_to_the_dtype_and_cannot_be_set(name, dtype):
    w = np.full(4, 3, dtype)
    lazy = make(name, w, bounds=(-0.1, 0.3))
    lazy.step(np.array([2]), np.zeros(1, dtype))
    assert lazy.weights().tolist() == [dtype(0.3)] * 4
    assert lazy.bounds == (dtype(-0.1), dtype(0.3))
    assert make(name, w).bounds == make(name, w, bounds=None).bounds == (-np.inf, np.inf)
    with pytest.raises(AttributeError):
        lazy.bounds = (0, 1)


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        ((1, 2), ValueError), ((-2, -1), ValueError), ((1, 0), ValueError), ((np.nan, 1), ValueError),
        ((0, 1e300), ValueError), ((-1e-60, 1), ValueError), ((np.inf, np.inf), ValueError), (0.0, TypeError),
        ((0, 1, 2), TypeError), (("0", 1), TypeError), ((np.zeros(3), np.inf), TypeError), ((0, [1.0] * 3), TypeError),
    ],
)  # fmt: skip
@names
def test_what_is_refused(name, bounds, error):
    w = np.full(3, 9, np.float32)
    with pytest.raises(error, match=r"^bounds(\[\d\])?: expected .*, got "):
        make(name, w, bounds=bounds)
    assert (w == 9).all()


def train(model, x, y):
    labels = {} if isinstance(model, StreamingRegressor) else {"classes": np.unique(y)}
    for _ in range(5):
        model.partial_fit(x, y, **labels)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "ftrl"])
@pytest.mark.parametrize("classes", [1, 2, 3], ids=["regression", "binary", "one-vs-rest"])
def test_linear_models_keep_their_weights_but_not_their_intercept_within_bounds(optimizer, classes):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 6))
    y = x @ np.array([1, -1, 2, 0, -3, 0.5]) - 2
    options = {"optimizer": optimizer, "alpha": 1e-4, "random_state": 0, "positive": True}
    model = StreamingRegressor(**options) if classes == 1 else StreamingClassifier(**options)
    target = y if classes == 1 else (y > 0).astype(int) + (y > 2) * (classes - 2)
    train(model, x, target)
    assert (model.coef_ >= 0).all()
    assert (model.coef_ == 0).any()
    assert (model.coef_ > 0).any()
    assert (np.asarray(model.intercept_) < 0).any()
    other = pickle.loads(pickle.dumps(model))
    for it in (model, other, copy.deepcopy(model)):
        train(it, x, target)
        assert_same_bits(it.coef_, model.coef_)
        assert (it.coef_ >= 0).all()
