"""Properties of the optimizers for all weights, gradients and settings, tested with Hypothesis."""

import copy

import numpy as np
from cases import DTYPES, assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from optimizer_cases import COMBINATIONS, DIRECTIONS, make, snapshot

combinations = st.sampled_from(COMBINATIONS)


@st.composite
def tensors(draw, count=None):
    """Pairs of weights and gradients of any shapes, dtypes and orders, with any floats at all."""
    pairs = []
    for _ in range(draw(st.integers(1, 5)) if count is None else count):
        dtype = draw(st.sampled_from(DTYPES))
        shape = draw(array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
        elements = st.floats(width=8 * np.dtype(dtype).itemsize)
        order = draw(st.sampled_from("CF"))
        pairs.append(tuple(np.array(draw(arrays(dtype, shape, elements=elements)), order=order) for _ in range(2)))
    return pairs


def numbers(low=0.0):
    return st.floats(low, 64, width=32).filter(lambda x: x == 0 or x > 2**-100)


strengths = st.fixed_dictionaries({"lr": numbers(2**-20), "l1": numbers(), "l2": numbers()})


def trained(name, mode, w, grads, **options):
    """A copy of the weights after the steps, and the optimizer."""
    w = np.array(w, order="K")
    optimizer = make(name, w, mode=mode, **options)
    for g in grads:
        optimizer.step(np.asarray(g))
    return w, optimizer


def assert_same_training(one, other):
    for a, b in zip(one.state.values(), other.state.values(), strict=True):
        for x, y in zip(a.values(), b.values(), strict=True):
            assert_same_bits(x, y)


@given(combinations, tensors(), strengths, st.booleans())
def test_several_tensors_in_one_call_equal_one_in_each(combination, pairs, options, grouped):
    params = [w.copy(order="K") for w, _ in pairs]
    optimizer = make(
        combination[0], [{"params": w} for w in params] if grouped else params, mode=combination[1], **options
    )
    for _ in range(3):
        optimizer.step([g for _, g in pairs])
    for (w, g), x in zip(pairs, params, strict=True):
        expected, _ = trained(*combination, w, [g] * 3, **options)
        assert_same_bits(x, expected)


@given(combinations, tensors(count=3), st.lists(strengths, min_size=3, max_size=3))
def test_groups_are_separate_optimizers(combination, pairs, options):
    params = [w.copy(order="K") for w, _ in pairs]
    groups = [{"params": [w]} | own for w, own in zip(params, options, strict=True)]
    optimizer = make(combination[0], groups, mode=combination[1])
    for _ in range(2):
        optimizer.step([[g] for _, g in pairs])
    for (w, g), x, own in zip(pairs, params, options, strict=True):
        assert_same_bits(x, trained(*combination, w, [g] * 2, **own)[0])


@given(combinations, tensors(count=1), strengths)
def test_factors_of_one_equal_no_factors(combination, pairs, options):
    ((w, g),) = pairs
    plain, one = trained(*combination, w, [g] * 2, **options)
    weighted, other = trained(*combination, w, [g] * 2, **options, penalty_factor=np.ones(w.shape))
    if options["l1"]:
        assert_same_bits(weighted, plain)
        assert_same_training(one, other)
    else:  # without l1 another kernel runs, which does not add 0·sign(w)
        np.testing.assert_array_equal(weighted, plain)


@given(combinations, tensors(count=1), strengths)
def test_a_factor_of_zero_is_no_penalty(combination, pairs, options):
    ((w, g),) = pairs
    w, g = np.nan_to_num(w, posinf=1, neginf=-1), np.nan_to_num(g, posinf=1, neginf=-1)  # 0·inf is NaN
    free, _ = trained(*combination, w, [g] * 2, lr=options["lr"])
    weighted, _ = trained(*combination, w, [g] * 2, **options, penalty_factor=np.zeros(w.shape))
    np.testing.assert_array_equal(weighted, free)


@given(combinations, tensors(count=2), strengths, st.lists(st.booleans(), min_size=1, max_size=5))
def test_a_skipped_tensor_and_its_state_do_not_change(combination, pairs, options, present):
    (w, g), (x, h) = pairs
    params = [w.copy(order="K"), x.copy(order="K")]
    optimizer = make(combination[0], params, mode=combination[1], **options)
    for p in present:
        before = [a.tobytes() for a in (params[0], *optimizer.state["0"].values())]
        optimizer.step([g if p else None, h])
        after = [a.tobytes() for a in (params[0], *optimizer.state["0"].values())]
        assert p or after == before
    expected, alone = trained(*combination, w, [g] * sum(present), **options)
    assert_same_bits(params[0], expected)
    assert optimizer.state_dict()["tensor.0.steps"] == sum(present) == alone.completed


@given(combinations, tensors(count=1), strengths, st.data())
def test_any_slices_equal_the_whole(combination, pairs, options, data):
    ((w, g),) = pairs
    w, g = w.ravel(), g.ravel()
    cuts = sorted(data.draw(st.lists(st.integers(0, w.size), max_size=4)))
    whole, _ = trained(*combination, w, [g] * 2, **options)
    sliced = w.copy()
    spans = list(zip([0, *cuts], [*cuts, w.size], strict=True))
    optimizer = make(combination[0], [sliced[a:b] for a, b in spans], mode=combination[1], **options)
    for _ in range(2):
        optimizer.step([g[a:b] for a, b in spans])
    assert_same_bits(sliced, whole)


@given(combinations, tensors(count=1), strengths, st.integers(0, 15), st.integers(0, 15))
def test_the_bits_do_not_depend_on_alignment(combination, pairs, options, offset_w, offset_g):
    ((w, g),) = pairs
    w, g = w.ravel(), g.ravel()
    x, y = np.zeros(w.size + 32, w.dtype), np.zeros(w.size + 32, w.dtype)
    x[offset_w : offset_w + w.size], y[offset_g : offset_g + w.size] = w, g
    optimizer = make(combination[0], x[offset_w : offset_w + w.size], mode=combination[1], **options)
    for _ in range(2):
        optimizer.step(y[offset_g : offset_g + w.size])
    assert_same_bits(x[offset_w : offset_w + w.size], trained(*combination, w, [g] * 2, **options)[0])
    assert not x[:offset_w].any()
    assert not x[offset_w + w.size :].any()


@given(combinations, tensors(count=1), strengths)
def test_a_nan_never_becomes_a_number(combination, pairs, options):
    ((w, g),) = pairs
    result, _ = trained(*combination, w, [g], **options)
    lost = np.isnan(g) if combination[0] == "FTRL" else np.isnan(g) | np.isnan(w)
    assert np.isnan(result[lost]).all()
    result, _ = trained(*combination, w, [g, np.zeros_like(g)], **options)
    assert np.isnan(result[lost]).all()


@given(combinations, tensors(count=1), strengths)
def test_the_negated_problem_has_the_negated_result(combination, pairs, options):
    ((w, g),) = pairs
    there, _ = trained(*combination, w, [g, -g, g], **options)
    back, _ = trained(*combination, -w, [-g, g, -g], **options)
    np.testing.assert_array_equal(back, -there)


@given(st.sampled_from(sorted(DIRECTIONS)), tensors(), strengths, st.integers(0, 3))
@settings(max_examples=100)
def test_resuming_after_any_step_changes_nothing(name, pairs, options, at):
    one = make(name, [w.copy(order="K") for w, _ in pairs], **options)
    other = make(name, [w.copy(order="K") for w, _ in pairs], **options)
    grads = [g for _, g in pairs]
    for i in range(4):
        if i == at:
            saved, state = copy.deepcopy(other), other.state_dict()
            other = make(name, saved.params, **options)
            other.load_state_dict(state)
        one.step(grads)
        other.step(grads)
    assert snapshot(one) == snapshot(other)
