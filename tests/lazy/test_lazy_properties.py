"""Properties that hold for any stream of sparse gradients: order, splits, scales, columns, and reads without effect."""

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits
from hypothesis import given
from hypothesis import strategies as st
from lazy_cases import CASES, each, gradients, make, snapshot, weights

names = pytest.mark.parametrize("name", CASES)
SHAPES = st.sampled_from([(1,), (6,), (40,), (4, 3), (7, 1)])
STRONG = {"l1": 0.1, "l2": 0.3}


@st.composite
def streams(draw, duplicates=True):
    """(weights, CSR gradients)"""
    shape, dtype = draw(SHAPES), draw(st.sampled_from(DTYPES))
    index = draw(st.sampled_from([np.int32, np.int64]))
    seed, count = draw(st.tuples(st.integers(0, 1000), st.integers(0, 20)))
    twice = duplicates and draw(st.booleans())
    return weights(shape, dtype, seed), gradients(count, shape, dtype, seed, 6, index, twice)


def trained(name, w, grads, **options):
    """A lazy object after a step for each gradient."""
    lazy = make(name, w.copy(), **STRONG | options)
    for indices, values in each(*grads):
        lazy.step(indices, values)
    return lazy


@names
@given(stream=streams(duplicates=False), seed=st.integers(0, 1000))
def test_the_order_of_indices_does_not_matter(name, stream, seed):
    w, grads = stream
    rng = np.random.default_rng(seed)
    shuffled = make(name, w.copy(), **STRONG)
    for indices, values in each(*grads):
        order = rng.permutation(len(indices))
        shuffled.step(indices[order], values[order])
    assert snapshot(shuffled) == snapshot(trained(name, w, grads))


@names
@given(stream=streams())
def test_duplicates_are_summed_first(name, stream):
    w, grads = stream
    merged = make(name, w.copy(), **STRONG)
    for indices, values in each(*grads):
        unique = np.unique(indices)
        sums = np.zeros((len(unique), *w.shape[1:]), w.dtype)
        for k, i in enumerate(unique):
            for x in values[indices == i]:
                sums[k] = sums[k] + x
        merged.step(unique, sums)
    assert_same_bits(merged.weights(), trained(name, w, grads).weights())


@names
@given(stream=streams(), cuts=st.lists(st.integers(0, 20), max_size=4))
def test_runs_split_in_any_way_have_the_same_bits(name, stream, cuts):
    w, (data, indices, indptr) = stream
    steps = len(indptr) - 1
    split = make(name, w.copy(), **STRONG)
    bounds = [0, *sorted(min(cut, steps) for cut in cuts), steps]
    for i, (a, b) in enumerate(zip(bounds[:-1], bounds[1:])):
        part = slice(indptr[a], indptr[b])
        if i % 2:
            for g in each(data, indices, indptr[a : b + 1]):
                split.step(*g)
        else:
            split.step_csr(data[part], indices[part], indptr[a : b + 1] - indptr[a])
    assert snapshot(split) == snapshot(trained(name, w, (data, indices, indptr)))
    whole = make(name, w.copy(), lambda n: 0.1, **STRONG)
    whole.step_csr(data, indices, indptr)
    assert_same_bits(whole.w, split.w)


@names
@given(stream=streams(), seed=st.integers(0, 1000))
def test_reads_have_no_effect_and_return_the_flushed_weights(name, stream, seed):
    w, grads = stream
    lazy = trained(name, w, grads)
    before = snapshot(lazy)
    now = lazy.weights()
    places = np.random.default_rng(seed).integers(0, len(w), 9)
    assert_same_bits(lazy.weights(places), now[places])
    assert_same_bits(lazy.weights(places.astype(np.int32)), now[places])
    assert lazy.weights(places[:0]).shape == (0, *w.shape[1:])
    assert lazy.has_pending_penalty == (not np.array_equal(now, lazy.w))
    assert snapshot(lazy) == before
    assert not np.shares_memory(now, lazy.w)
    assert now.dtype == w.dtype
    lazy.flush()
    assert_same_bits(lazy.w, now)
    assert not lazy.has_pending_penalty


@names
@given(stream=streams(), exponent=st.integers(-8, 8))
def test_scaling_by_powers_of_two_scales_the_weights(name, stream, exponent):
    """Scales w, the gradients and l1. The bits are the same, except for subnormal numbers."""
    w, grads = stream
    c = 2.0**exponent
    if name in ("Adagrad", "FTRL"):
        return  # their accumulators do not scale linearly
    data, indices, indptr = grads
    scaled = trained(name, w * w.dtype.type(c), (data * data.dtype.type(c), indices, indptr), l1=0.1 * c)
    assert_same_bits(scaled.weights(), trained(name, w, grads).weights() * w.dtype.type(c))


@pytest.mark.parametrize("name", ["proximal", "truncated", "Adagrad"])
@given(stream=streams(duplicates=False))
def test_without_a_penalty_only_rows_with_gradients_change(name, stream):
    w, grads = stream
    lazy = trained(name, w, grads, l1=0.0, l2=0.0)
    expected, total = w.copy(), np.full_like(w, 0.1)
    for indices, values in each(*grads):
        if name == "Adagrad":
            total[indices] += values * values
            eta = w.dtype.type(0.1) / (np.sqrt(total[indices]) + w.dtype.type(1e-10))
            expected[indices] -= eta * values
        else:
            expected[indices] -= w.dtype.type(0.1) * values
    assert not lazy.has_pending_penalty
    assert_same_bits(lazy.w, expected)


@pytest.mark.parametrize("name", ["proximal", "truncated", "Adagrad"])  # FTRL solves from its state, which rounds
@given(stream=streams())
def test_the_penalty_never_increases_a_weight_without_a_gradient(name, stream):
    w, grads = stream
    lazy = trained(name, w, grads)
    before = np.abs(lazy.weights())
    for _ in range(3):
        lazy.step(np.empty(0, np.int64), np.empty((0, *w.shape[1:]), w.dtype))
        now = np.abs(lazy.weights())
        assert (now <= before).all()
        before = now


@names
@given(stream=streams())
def test_columns_of_a_matrix_are_updated_like_vectors(name, stream):
    """If the gradients have whole rows of a matrix, each column is updated like a vector."""
    w, (data, indices, indptr) = stream
    if w.ndim == 1:
        return
    matrix = trained(name, w, (data, indices, indptr)).weights()
    for j in range(w.shape[1]):
        column = trained(name, w[:, j].copy(), (data[:, j].copy(), indices, indptr))
        assert_same_bits(column.weights(), matrix[:, j].copy())
