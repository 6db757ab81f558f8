"""FTRL-Proximal: Algorithm 1 of McMahan et al. (2013), its objective, its warm start, and its strengths."""

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, values
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

import fastreg


def algorithm_1(w, gradients, alpha, beta, l1, l2):
    """One coordinate as in the paper. It computes the weight before the gradient, so once more at the end."""
    z, n = 0.0, 0.0
    for g in [*gradients, None]:
        w = 0.0 if abs(z) <= l1 else -(z - np.sign(z) * l1) / ((beta + np.sqrt(n)) / alpha + l2)
        if g is not None:
            sigma = (np.sqrt(n + g * g) - np.sqrt(n)) / alpha
            z += g - sigma * w
            n += g * g
    return w, z, n


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (1.5, 0.25), (20.0, 1.0)])
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_it_is_algorithm_1(l1, l2, beta):
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((50, 20)) * rng.exponential(1, 20) + 0.2
    w = np.zeros(20)
    optimizer = fastreg.FTRL(w, 0.3, beta=beta, l1=l1, l2=l2)
    for g in gradients:
        optimizer.step(g)
    expected, z, n = np.array([algorithm_1(0.0, gs, 0.3, beta, l1, l2) for gs in gradients.T]).T
    np.testing.assert_allclose(w, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(w == 0, expected == 0)
    np.testing.assert_allclose(optimizer.state["0"]["z"], z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(optimizer.state["0"]["n"], n, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_it_minimises_all_linearised_losses_and_the_penalty(seed):
    """Σ g·x + ½ Σ sigma·(x − w)² + beta/(2·lr)·x² + l1·|x| + l2/2·x², over all steps so far."""
    rng = np.random.default_rng(seed)
    lr, beta, l1, l2 = 0.3, 0.7, *rng.exponential(0.5, 2)
    w, seen, n = np.zeros(1), [], 0.0
    optimizer = fastreg.FTRL(w, lr, beta=beta, l1=l1, l2=l2)
    for g in rng.standard_normal((30, 1)):
        sigma = (np.sqrt(n + g[0] ** 2) - np.sqrt(n)) / lr
        seen.append((g[0], sigma, w[0]))
        n += g[0] ** 2
        optimizer.step(g)

        def objective(x):
            losses = sum(g * x + sigma / 2 * (x - at) ** 2 for g, sigma, at in seen)
            return losses + beta / (2 * lr) * x * x + l1 * abs(x) + l2 / 2 * x * x

        best = minimize_scalar(objective, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10})
        assert objective(w[0]) <= best.fun + 1e-12
        assert w[0] == pytest.approx(best.x, abs=1e-6)


starts = st.sampled_from([0.0, 1.0, 0.1]), st.sampled_from([0.1, 2.0]), st.floats(0, 4), st.floats(0, 4)


@given(st.sampled_from(DTYPES), *starts)
def test_a_warm_start_keeps_the_weights_while_the_gradient_is_zero(dtype, initial, lr, l1, l2):
    w, _ = values(dtype, 33)
    before = w.copy()
    f = np.linspace(0, 2, 33)
    optimizer = fastreg.FTRL(
        [w],
        lr,
        initial_accumulator_value=initial,
        l1=l1 // 2**-20 * 2**-20,
        l2=l2 // 2**-20 * 2**-20,
        penalty_factor=[f],
    )
    for _ in range(5):
        optimizer.step([np.zeros_like(w)])
        np.testing.assert_allclose(
            w, before, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps * (1 + lr * l1)
        )
        np.testing.assert_array_equal(w[before == 0], 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cold_start_discards_the_weights(dtype):
    w = np.array([3, -2, 0], dtype)
    cold = fastreg.FTRL(w, 0.5, warm_start=False)
    assert w.tolist() == [3, -2, 0], "not before the first step"
    assert (cold.state["0"]["z"] == 0).all()
    cold.step(np.zeros(3, dtype))
    assert (w == 0).all()


def test_from_zero_weights_warm_and_cold_are_the_same():
    x, y, g = np.zeros(9), np.zeros(9), values(float, 9)[1]
    for w, warm in ((x, True), (y, False)):
        optimizer = fastreg.FTRL(w, 0.5, l1=0.3, warm_start=warm)
        for _ in range(3):
            optimizer.step(g)
    assert_same_bits(x, y)


def test_special_weights_start_without_a_warning():
    w = np.array([np.nan, np.inf, -np.inf, 1e308, 5e-324, -0.0])
    optimizer = fastreg.FTRL(w, 1e-3, l1=0.5)
    optimizer.step(np.zeros(6))
    assert np.isnan(w[0])
    assert w[5] == 0


def test_the_strengths_are_totals_over_the_stream():
    """Constant strengths lose their effect. Multiplied by the number of steps, they are those of the mean loss."""
    target, l1 = np.array([2.0, 0.5]), 1.0
    constant, growing = np.zeros(2), np.zeros(2)
    once, each = fastreg.FTRL(constant, 1.0, l1=l1), fastreg.FTRL(growing, 1.0, l1=lambda n: l1 * (n + 1))
    for _ in range(20_000):
        once.step(constant - target)
        each.step(growing - target)
    np.testing.assert_allclose(constant, target, atol=1e-3)
    np.testing.assert_allclose(growing, [1.0, 0.0], atol=1e-3)
    assert growing[1] == 0
