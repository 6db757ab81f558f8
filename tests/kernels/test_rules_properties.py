"""Properties of the rules that hold for all weights, gradients and strengths, checked by Hypothesis."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import DTYPES, RULES, Strengths, assert_like_reference, assert_same_bits, bits, updated, values
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import fastreg
from fastreg import reference

MODES = list(reference.MODES)
rules = st.sampled_from(RULES)
dtypes = st.sampled_from(DTYPES)


def numbers(dtype, largest=None, **options):
    """Floats of the dtype from 0 to the largest."""
    width = 8 * np.dtype(dtype).itemsize
    return st.floats(0, largest, width=width, allow_nan=False, allow_infinity=False, **options)


@st.composite
def problems(draw, moderate=False, min_size=0):
    """Weights, a gradient of the same shape, and strengths: any floats at all, or moderate ones."""
    dtype = draw(dtypes)
    width = 8 * np.dtype(dtype).itemsize
    limit = 1024 if moderate else None
    least = -1024 if moderate else None
    elements = st.floats(least, limit, width=width, allow_nan=not moderate, allow_infinity=not moderate)
    shape = draw(array_shapes(min_dims=1, max_dims=3, min_side=min_size, max_side=12))
    w, g = draw(arrays(dtype, shape, elements=elements)), draw(arrays(dtype, shape, elements=elements))
    largest = 8 if moderate else None
    s = Strengths(*(draw(numbers(dtype, largest)) for _ in range(3)), draw(numbers(dtype, largest) | st.just(np.inf)))
    return w, g, s


@given(rules, problems())
def test_any_floats_give_the_bits_of_the_reference(rule, problem):
    assert_like_reference(rule, *problem)


@given(problems(), st.sampled_from(MODES))
def test_an_elastic_net_without_l2_is_the_l1_update(problem, mode):
    w, g, s = problem
    net, l1 = w.copy(), w.copy()
    options = {"mode": mode} | ({"theta": s.theta} if mode == "truncated" else {})
    fastreg.elastic_net_update(net, g, s.lr, s.l1, 0.0, **options)
    fastreg.l1_update(l1, g, s.lr, s.l1, **options)
    assert_same_bits(net, l1)


@given(problems(), st.sampled_from(MODES))
def test_an_elastic_net_without_l1_is_the_l2_update(problem, mode):
    w, g, s = problem
    net, l2 = w.copy(), w.copy()
    fastreg.elastic_net_update(net, g, s.lr, 0.0, s.l2, mode=mode)
    fastreg.l2_update(l2, g, s.lr, s.l2, mode=mode)
    assert_same_bits(net, l2)


@given(problems(moderate=True))
def test_truncated_without_theta_or_l2_is_proximal(problem):
    w, g, s = problem
    truncated, proximal = w.copy(), w.copy()
    fastreg.l1_update(truncated, g, s.lr, s.l1, mode="truncated")
    fastreg.l1_update(proximal, g, s.lr, s.l1, mode="proximal")
    np.testing.assert_array_equal(truncated, proximal)


@given(problems(), st.sampled_from(["l1", "l2", "elastic_net"]))
def test_proximal_never_grows_or_flips_a_weight_when_the_gradient_is_zero(problem, penalty):
    w, g, s = problem
    rule = next(rule for rule in RULES if (rule.penalty, rule.mode) == (penalty, "proximal"))
    new = updated(fastreg, rule, w, np.zeros_like(g), s)
    finite = np.isfinite(w)
    assert (np.abs(new[finite]) <= np.abs(w[finite])).all()
    assert (np.sign(new[finite]) * np.sign(w[finite]) >= 0).all()


@given(rules, problems())
def test_a_nan_never_becomes_another_number(rule, problem):
    w, g, s = problem
    assert np.isnan(updated(fastreg, rule, w, g, s)[np.isnan(w) | np.isnan(g)]).all()


@given(rules, problems())
def test_the_negated_problem_has_the_negated_result(rule, problem):
    w, g, s = problem
    np.testing.assert_array_equal(updated(fastreg, rule, -w, -g, s), -updated(fastreg, rule, w, g, s))


@given(rules, problems(), st.data())
def test_slices_cut_anywhere_equal_the_whole(rule, problem, data):
    w, g, s = problem
    w, g = w.ravel(), g.ravel()
    cuts = sorted(data.draw(st.lists(st.integers(0, w.size), max_size=4)))
    parts = [updated(fastreg, rule, w[a:b], g[a:b], s) for a, b in zip([0, *cuts], [*cuts, w.size], strict=True)]
    assert_same_bits(np.concatenate(parts), updated(fastreg, rule, w, g, s))


@given(rules, problems(), st.integers(0, 15), st.integers(0, 15))
def test_the_bits_do_not_depend_on_alignment(rule, problem, offset_w, offset_g):
    w, g, s = problem
    w, g = w.ravel(), g.ravel()
    x, y = np.zeros(w.size + 32, w.dtype), np.zeros(w.size + 32, w.dtype)
    x[offset_w : offset_w + w.size], y[offset_g : offset_g + w.size] = w, g
    result = updated(fastreg, rule, x[offset_w : offset_w + w.size], y[offset_g : offset_g + w.size], s)
    assert_same_bits(result, updated(fastreg, rule, w, g, s))


@given(rules, problems())
def test_memory_order_does_not_matter(rule, problem):
    w, g, s = problem
    fortran = updated(fastreg, rule, np.asfortranarray(w), np.asfortranarray(g), s)
    assert_same_bits(np.ascontiguousarray(fortran), updated(fastreg, rule, w, g, s))


@given(rules, problems(), st.randoms(use_true_random=False))
def test_each_coordinate_is_updated_on_its_own(rule, problem, random):
    w, g, s = problem
    order = list(range(w.size))
    random.shuffle(order)
    shuffled = updated(fastreg, rule, w.ravel()[order], g.ravel()[order], s)
    assert_same_bits(shuffled, updated(fastreg, rule, w, g, s).ravel()[order])


@given(rules, problems(moderate=True))
def test_without_a_penalty_every_rule_is_gradient_descent(rule, problem):
    w, g, s = problem
    new = updated(fastreg, rule, w, g, s._replace(l1=0.0, l2=0.0))
    np.testing.assert_array_equal(new, w - w.dtype.type(s.lr) * g)


@given(problems(moderate=True, min_size=1))
def test_proximal_gives_the_minimiser_of_its_objective(problem):
    """½(x − v)² + lr·(l1·|x| + l2/2·x²) with v = w − lr·g, compared on a fine grid and close to the result."""
    w, g, s = problem
    w, g = w.astype(float).ravel(), g.astype(float).ravel()
    new = w.copy()
    fastreg.elastic_net_update(new, g, s.lr, s.l1, s.l2, mode="proximal")
    v = w - s.lr * g

    def objective(x):
        return 0.5 * (x - v) ** 2 + s.lr * (s.l1 * np.abs(x) + 0.5 * s.l2 * x * x)

    fractions = np.linspace(-0.2, 1.2, 141)[:, None]
    beside = new * (1 + np.array([-1e-3, -1e-6, 1e-6, 1e-3])[:, None])
    candidates = np.concatenate([fractions * v, beside, new + np.array([[-1e-3], [1e-3]])])
    best = objective(candidates).min(axis=0)
    assert (objective(new) <= best + 1e-12 * (1 + v * v)).all()
    assert (new[np.abs(v) <= s.lr * s.l1] == 0).all()


@given(problems())
def test_an_update_writes_the_array_and_nothing_outside(problem):
    w, g, s = problem
    base = np.full(w.size + 20, 12345, w.dtype)
    base[10:-10] = w.ravel()
    fastreg.elastic_net_update(base[10:-10], g.ravel(), s.lr, s.l1, s.l2)
    assert (base[:10] == 12345).all()
    assert (base[-10:] == 12345).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_threads_on_disjoint_slices_equal_one_call(rule, dtype):
    w, g = values(dtype, 100_003)
    s = Strengths(0.1, 0.7, 0.3)
    whole, sliced = updated(fastreg, rule, w, g, s), w.copy()
    cuts = [0, 1, 9_000, 30_001, 30_002, 77_777, w.size]

    def work(a, b):
        strengths = [getattr(s, name) for name in rule.strengths]
        rule.function(fastreg)(sliced[a:b], g[a:b], s.lr, *strengths, mode=rule.mode)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, cuts, cuts[1:]))
    assert_same_bits(sliced, whole)


@given(problems())
def test_penalties_have_the_bits_of_the_reference(problem):
    w, _, s = problem
    expected = np.array(reference.elastic_net_penalty(w, s.l1, s.l2))
    np.testing.assert_array_equal(bits(np.array(fastreg.elastic_net_penalty(w, s.l1, s.l2))), bits(expected))
