"""The rules agree with exact rational arithmetic and with a worked example; zeros, NaN and infinite weights.

The formulas here are written from their definitions, on purpose independent of the reference.
"""

from fractions import Fraction

import numpy as np
import pytest
from cases import DTYPES, RULES, STRENGTHS, Strengths, update, updated, values

import fastreg
from fastreg import reference


def sign(x):
    return (x > 0) - (x < 0)


def soft_threshold(x, t):
    return sign(x) * max(abs(x) - t, 0)


def truncated(w, g, lr, l1, l2, theta):
    x = w - lr * (g + l2 * w)
    return soft_threshold(x, lr * l1) if abs(x) <= theta else x


FORMULAS = {
    "subgradient": lambda w, g, lr, l1, l2, theta: w - lr * (g + l1 * sign(w) + l2 * w),
    "decoupled": lambda w, g, lr, l1, l2, theta: w - lr * g - lr * (l1 * sign(w) + l2 * w),
    "truncated": truncated,
    "proximal": lambda w, g, lr, l1, l2, theta: soft_threshold(w - lr * g, lr * l1) / (1 + lr * l2),
}

rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
implementations = pytest.mark.parametrize("implementation", [fastreg, reference], ids=["fastreg", "reference"])


def test_every_mode_has_a_formula():
    assert FORMULAS.keys() == {rule.mode for rule in RULES}


@rules
@dtypes
@implementations
def test_a_rule_is_its_formula_in_exact_arithmetic(implementation, rule, dtype):
    w, g = values(dtype, 200)
    s = Strengths(0.125, 0.5, 0.25, 1.0)  # exact in either dtype
    l1, l2 = (Fraction(getattr(s, name)) if name in rule.strengths else 0 for name in ("l1", "l2"))
    theta = s.theta if "l1" in rule.strengths else np.inf
    exact = [
        FORMULAS[rule.mode](Fraction(float(x)), Fraction(float(y)), Fraction(s.lr), l1, l2, theta)
        for x, y in zip(w, g, strict=True)
    ]
    scale = np.abs(w) + np.abs(g) + 1
    error = np.abs(updated(implementation, rule, w, g, s) - np.array(exact, float)) / scale
    assert error.max() <= 4 * np.finfo(dtype).eps


EXAMPLE = {  # w − lr·g is 2.1875, −2.1875, 0, 0.15625, −0.15625
    "subgradient": [1.4375, -1.4375, 0, -0.125, 0.125],
    "decoupled": [1.4375, -1.4375, 0, -0.125, 0.125],
    "truncated": [1.4375, -1.4375, 0, 0, 0],
    "proximal": [1.55, -1.55, 0, 0, 0],
}


@dtypes
@implementations
@pytest.mark.parametrize("mode", EXAMPLE)
def test_a_worked_example(implementation, dtype, mode):
    """lr = 1/4 and l1 = l2 = 1: a threshold of 1/4, a shrinkage by w/4 or to 4/5."""
    w = np.array([2, -2, 0, 0.125, -0.125], dtype)
    g = np.array([-0.75, 0.75, 0, -0.125, 0.125], dtype)
    implementation.elastic_net_update(w, g, 0.25, 1.0, 1.0, mode=mode)
    np.testing.assert_allclose(w, EXAMPLE[mode], rtol=4 * np.finfo(dtype).eps)


@rules
@dtypes
def test_a_nan_never_becomes_a_number(rule, dtype):
    for w, g in ((np.nan, 0.0), (0.0, np.nan), (np.nan, np.nan), (np.inf, np.nan), (np.nan, -np.inf)):
        for s in STRENGTHS.values():
            x = np.full(9, w, dtype)
            update(fastreg, rule, x, np.full(9, g, dtype), s)
            assert np.isnan(x).all(), (w, g, s)


@rules
@dtypes
@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_an_infinite_weight_stays_in_proximal_and_is_nan_elsewhere(rule, dtype, infinite):
    for l2 in (0.0, 0.5):
        w = np.full(9, infinite, dtype)
        update(fastreg, rule, w, np.ones(9, dtype), Strengths(0.1, 0.5, l2))
        expected = infinite if rule.mode == "proximal" else np.nan
        np.testing.assert_array_equal(w, np.full(9, expected, dtype))


@dtypes
@pytest.mark.parametrize("mode", ["truncated", "proximal"])
def test_a_weight_below_the_threshold_becomes_positive_zero(dtype, mode):
    tiny = np.finfo(dtype).smallest_subnormal
    for magnitude in (0, tiny, 0.05, np.nextafter(dtype(0.0625), dtype(0)), 0.0625):
        w = np.array([magnitude, -magnitude], dtype)
        fastreg.l1_update(w, np.zeros(2, dtype), 0.125, 0.5, mode=mode)
        assert w.tobytes() == bytes(w.nbytes)


@dtypes
@pytest.mark.parametrize("mode", ["truncated", "proximal"])
def test_a_weight_one_ulp_above_the_threshold_is_kept(dtype, mode):
    above = np.nextafter(dtype(0.0625), dtype(1))
    w = np.array([above, -above], dtype)
    fastreg.l1_update(w, np.zeros(2, dtype), 0.125, 0.5, mode=mode)
    np.testing.assert_array_equal(w, [above - dtype(0.0625), dtype(0.0625) - above])


@dtypes
def test_theta_is_the_largest_magnitude_that_is_truncated(dtype):
    beyond = np.nextafter(dtype(1), dtype(2))
    w = np.array([1, -1, beyond, -beyond, 0.01, -0.01], dtype)
    fastreg.l1_update(w, np.zeros(6, dtype), 0.5, 0.5, mode="truncated", theta=1.0)
    np.testing.assert_array_equal(w, np.array([0.75, -0.75, beyond, -beyond, 0, 0], dtype))


@dtypes
@pytest.mark.parametrize("mode", ["subgradient", "decoupled"])
def test_the_textbook_rule_oscillates_around_zero_and_never_reaches_it(dtype, mode):
    w, g = np.full(9, 0.5, dtype), np.zeros(9, dtype)
    for _ in range(200):
        fastreg.l1_update(w, g, 0.1, 0.3, mode=mode)
    assert (w != 0).all()
    assert (np.abs(w) <= 0.1 * 0.3).all()
    for _ in range(200):
        fastreg.l1_update(w, g, 0.1, 0.3, mode="proximal")
    assert (w == 0).all()


@dtypes
@pytest.mark.parametrize("mode", ["subgradient", "decoupled"])
def test_l1_does_not_move_a_zero_of_either_sign(dtype, mode):
    w = np.array([0.0, -0.0], dtype)
    fastreg.l1_update(w, np.zeros(2, dtype), 0.1, 0.3, mode=mode)
    np.testing.assert_array_equal(w, np.zeros(2, dtype))


def test_the_default_mode_is_the_textbook_rule():
    w, g = values(np.float64, 33)
    for name, strengths in (("l1", [0.5]), ("l2", [0.25]), ("elastic_net", [0.5, 0.25])):
        default, textbook = w.copy(), w.copy()
        getattr(fastreg, f"{name}_update")(default, g, 0.1, *strengths)
        getattr(fastreg, f"{name}_update")(textbook, g, 0.1, *strengths, mode="subgradient")
        assert default.tobytes() == textbook.tobytes()
