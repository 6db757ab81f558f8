"""Long streams, 64-bit counters and special values: errors of a closed form that short random streams do not show."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits
from lazy_cases import CASES, make, make_dense, scatter

import fastreg

names = pytest.mark.parametrize("name", CASES)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
NOTHING = np.empty(0), np.empty(0, np.int64)


def make_steps_without_gradient(lazy, steps, chunk=1_000_000):
    """Makes this number of steps without a gradient."""
    while steps:
        count = min(steps, chunk)
        lazy.step_csr(*(a.astype(d) for a, d in zip(NOTHING, (lazy.w.dtype, np.int32))), np.zeros(count + 1, np.int32))
        steps -= count


@pytest.mark.parametrize("mode", ["proximal", "truncated"])
@pytest.mark.parametrize(("l1", "l2"), [(1e-7, 0.0), (1e-7, 1e-8), (1e-9, 1e-7), (0.0, 1e-7)])
def test_ten_million_steps_of_a_tiny_penalty(mode, l1, l2):
    """The total is compensated: a plain sum would have an error of about 1e-10."""
    count, lr = 10_000_000, 0.3
    lazy = fastreg.LazySGD(np.array([1.0, 0.25, -1.0]), lr, l1=l1, l2=l2, mode=mode)
    make_steps_without_gradient(lazy, count)
    threshold, a = lr * l1, 1 / (1 + lr * l2) if mode == "proximal" else 1 - lr * l2
    with localcontext() as context:
        context.prec = 60
        power = Decimal(a) ** count
        sum_of_powers = Decimal(count) if a == 1 else (1 - power) / (1 - Decimal(a))
        debt = Decimal(threshold) * sum_of_powers * (Decimal(a) if mode == "proximal" else 1)
        exact = [float(max(power * Decimal(x) - debt, Decimal(0))) for x in (1.0, 0.25)]
    # The product has as many rounding errors as a dense run. The compensated sum has none.
    tolerance = 1e-15 if l2 == 0 else 2e-12
    np.testing.assert_allclose(lazy.weights(), [*exact, -exact[0]], rtol=0, atol=tolerance)
    if l2 == 0:
        clock = lazy.state_dict()["clock"]
        true = Fraction(threshold) * count
        assert abs(Fraction(clock[2]) - Fraction(clock[3]) - true) < Fraction(1, 10**25)
        assert abs(Fraction(clock[2]) - true) <= Fraction(np.spacing(clock[2]))


def test_the_total_of_changing_strengths_is_compensated():
    strengths = 10.0 ** np.random.default_rng(0).uniform(-12, -2, 20_000)
    lazy = fastreg.LazySGD(np.ones(1), 0.1, l1=lambda n: strengths[n])
    make_steps_without_gradient(lazy, strengths.size)
    true = sum(Fraction(0.1 * float(l1)) for l1 in strengths)
    assert abs(Fraction(lazy.state_dict()["clock"][2]) - true) <= Fraction(np.spacing(float(true)))


@pytest.mark.parametrize("mode", ["proximal", "truncated"])
@pytest.mark.parametrize("spike", [1e2, 1e5, 1e9, 1e15])
def test_small_thresholds_are_not_lost_in_a_large_total(mode, spike):
    """One step with a large l1, then small ones: the clock is rebased before their digits are lost to rounding."""
    w, g = np.ones(3), np.array([-1.0])
    dense = w.copy()
    lazy, other = fastreg.LazySGD(w, 0.1, l1=spike, mode=mode), fastreg.SGD(dense, 0.1, l1=spike, mode=mode)
    for step in range(200):
        place = step % 2
        lazy.step(np.array([place]), g)
        other.step(scatter(np.array([place]), g, (3,)))
        lazy.l1 = other.param_groups[0]["l1"] = 1e-4
    lazy.step(*NOTHING[::-1])
    other.step(np.zeros(3))
    assert dense[0] > 0
    np.testing.assert_allclose(lazy.weights(), dense, rtol=1e-12)


def test_float32_truncated_steps_shrink_as_dense_ones_do():
    """1 − lr·l2 is not rounded to float32, because the rounding error would repeat at every step."""
    w, count = np.ones(4, np.float32), 20_000
    lazy = fastreg.LazySGD(w, 0.1, l2=1e-3, mode="truncated")
    make_steps_without_gradient(lazy, count)
    exact = (1 - float(np.float32(0.1) * np.float32(1e-3))) ** count
    np.testing.assert_allclose(lazy.weights(), exact, rtol=2e-7)


def test_ten_million_missed_steps_of_adagrad():
    lazy = fastreg.LazyAdagrad(np.array([1.0, -2.0]), 0.3, l1=1e-8, l2=1e-9)
    make_steps_without_gradient(lazy, 10_000_000, 2_500_000)
    eta = 0.3 / (np.sqrt(0.1) + 1e-10)
    with localcontext() as context:
        context.prec = 60
        a, threshold = Decimal(1 / (1 + eta * 1e-9)), Decimal(eta * 1e-8)
        power = a**10_000_000
        exact = [float(power * x - threshold * a * (1 - power) / (1 - a)) for x in (1, 2)]
    np.testing.assert_allclose(lazy.weights(), [exact[0], -exact[1]], rtol=1e-13)


@names
def test_counters_have_64_bits(name):
    lazy = make(name, np.array([1.0, 1.0]), 0.1, l1=1e-20)
    lazy.step(np.array([0]), np.zeros(1))
    saved = lazy.state_dict() | {"completed": 2**62}
    lazy.load_state_dict(saved)
    assert lazy.completed == 2**62
    if name == "Adagrad":
        np.testing.assert_allclose(lazy.weights(), 1 - 0.1 / np.sqrt(0.1) * 1e-20 * 2**62, rtol=1e-9)
    calls = []
    lazy.l1 = lambda n: calls.append(n) or 1e-20
    lazy.step(np.array([1]), np.zeros(1))
    lazy.step_csr(np.zeros(1), np.array([0]), np.array([0, 0, 1]))
    assert calls == [2**62, 2**62, 2**62 + 1, 2**62 + 2]
    assert lazy.completed == 2**62 + 3


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0]


@names
@dtypes
@pytest.mark.parametrize("strengths", [(0.1, 0.0, 0.0), (0.1, 0.3, 0.0), (0.1, 0.0, 0.3), (0.1, 0.3, 0.3)])
def test_nan_and_infinities(name, dtype, strengths):
    """As dense steps, with two exceptions. An infinite weight without a gradient stays infinite in the truncated mode;
    in dense steps 0·inf makes it NaN. The weight of FTRL follows from its state."""
    lr, l1, l2 = strengths
    w, g = (x.ravel().copy() for x in np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype)))
    dense = w.copy()
    with np.errstate(all="ignore"):
        lazy, optimizer = (f(name, x, lr, l1=l1, l2=l2) for f, x in ((make, w), (make_dense, dense)))
    first = w.copy()
    rows = np.flatnonzero(np.arange(w.size) % 2)
    for indices in (rows, rows[:0], rows[::3].copy(), rows[:0]):
        lazy.step(indices, g[indices])
        optimizer.step(scatter(indices, g[indices], w.shape))
        now = lazy.weights()
        assert np.isnan(now[np.isnan(first)]).all(), "a NaN stays one"
        if name in ("truncated", "FTRL"):
            lost = ~np.isfinite(dense)
            assert not np.isfinite(now[lost]).any()
            np.testing.assert_allclose(now[~lost], dense[~lost], rtol=1e-5, atol=1e-7)
        else:
            np.testing.assert_allclose(now, dense, rtol=1e-5, atol=1e-7)


@names
def test_a_factor_of_zero_exempts_a_weight_with_any_value(name):
    w = np.array([np.nan, np.inf, 1.0, 1e300])
    with np.errstate(all="ignore"):
        lazy = make(name, w, l1=1.0, l2=1.0 if name != "truncated" else 0.5, penalty_factor=np.zeros(4))
    make_steps_without_gradient(lazy, 3000)
    if name == "FTRL":  # the closed form returns the initial weights of the warm start
        np.testing.assert_allclose(lazy.weights()[2:], w[2:], rtol=1e-15)
    else:
        assert_same_bits(lazy.weights(), w)


HUGE = {np.float32: 1e30, np.float64: 1e200}


@pytest.mark.parametrize("name", ["proximal", "Adagrad"])
@dtypes
@pytest.mark.parametrize("which", [("l1",), ("l2",), ("l1", "l2")])
def test_products_that_overflow_are_those_of_dense_steps(name, dtype, which):
    """Overflow of lr·l1 and lr·l2 may not lead to inf − inf or 0·inf, for weights with and without gradients."""
    huge, w = HUGE[dtype], np.array([1, -2, 3, 0.5, 0, np.nan], dtype)
    dense, g = w.copy(), np.array([1, -5], dtype)
    lazy, optimizer = (f(name, x, 0.1, l1=0.01, l2=0.1) for f, x in ((make, w), (make_dense, dense)))
    settings = [("lr", 0.1), ("l1", 0.01), ("l2", 0.1)]
    for changes in (dict(settings), dict(settings) | {"lr": huge} | dict.fromkeys(which, huge), dict(settings)):
        lazy._change(**changes)
        optimizer.param_groups[0].update(changes)
        for indices in (np.array([0, 3]), np.array([1, 3])):
            lazy.step(indices, g)
            optimizer.step(scatter(indices, g, w.shape))
            np.testing.assert_allclose(lazy.weights(), dense, rtol=1e-5)
    assert np.isnan(lazy.weights()).tolist() == [False] * 5 + [True]
