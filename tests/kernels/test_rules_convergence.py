"""Repeated updates converge to the optima that independent solvers find, with the same zeros.

Only fastreg changes the penalised weights; the loops here choose the point at which the gradient is evaluated.
"""

import numpy as np
import pytest
from regression_cases import DIABETES, Squares, diabetes, objective, random_problem
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import ElasticNet, Lasso, Ridge

import fastreg

INTERCEPT = 152.133484


def descend(problem, l1, l2, mode, steps=20_000, dtype=float):
    """Gradient descent in which each step is one update."""
    w = np.zeros(len(problem.c), dtype)
    lr = problem.lr / (1 + problem.lr * l2)
    for _ in range(steps):
        fastreg.elastic_net_update(w, problem.gradient(w), lr, l1, l2, mode=mode)
    return w


def violation(g, w, l1, l2):
    """The distance from optimality: 0 must be a subgradient of E + R."""
    return np.where(w != 0, np.abs(g + l2 * w + l1 * np.sign(w)), np.maximum(np.abs(g) - l1, 0)).max()


def test_the_intercept_of_the_diabetes_data_is_that_of_the_known_optima():
    assert DIABETES.target.mean() == pytest.approx(INTERCEPT, abs=1e-6)


@pytest.mark.parametrize(("l1", "optimum", "nonzero"), [(0.1, 1629.0545425789, 7), (0.5, 2152.1229925894, 4)])
def test_proximal_reaches_the_known_optima_of_the_diabetes_data(l1, optimum, nonzero):
    w = descend(diabetes(), l1, 0.0, "proximal")
    assert objective(diabetes(), w, l1, 0.0) == pytest.approx(optimum, abs=1e-9)
    assert np.count_nonzero(w) == nonzero
    lasso = Lasso(l1, tol=1e-14, max_iter=100_000).fit(DIABETES.data, DIABETES.target)
    np.testing.assert_allclose(w, lasso.coef_, rtol=0, atol=1e-8)
    assert lasso.intercept_ == pytest.approx(INTERCEPT, abs=1e-6)


@pytest.mark.parametrize("mode", ["proximal", "truncated"])
@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.1, 0.01), (0.05, 0.002), (1.0, 0.0), (2.0, 0.5), (5.0, 0.0)])
def test_diabetes_has_the_coefficients_of_scikit_learn(mode, l1, l2):
    """alpha·r = l1 and alpha·(1 − r) = l2."""
    w = descend(diabetes(), l1, l2, mode)
    model = ElasticNet(l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-14, max_iter=1_000_000)
    model.fit(DIABETES.data, DIABETES.target)
    np.testing.assert_allclose(w, model.coef_, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(w == 0, model.coef_ == 0)


@pytest.mark.parametrize("mode", ["proximal", "truncated"])
@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.1, 0.2), (0.02, 0.05), (1.0, 0.1)])
@pytest.mark.parametrize("seed", range(3))
def test_random_data_with_irrelevant_features(mode, l1, l2, seed):
    x, y = random_problem(seed)
    problem = Squares(x, y)
    w = descend(problem, l1, l2, mode)
    model = ElasticNet(l1 + l2, l1_ratio=l1 / (l1 + l2), fit_intercept=False, tol=1e-15, max_iter=1_000_000).fit(x, y)
    np.testing.assert_allclose(w, model.coef_, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(w == 0, model.coef_ == 0)
    assert violation(problem.gradient(w), w, l1, l2) < 1e-10


def test_a_solver_of_another_kind_finds_the_same_optimum():
    """L-BFGS-B over the positive and the negative parts, where the penalty is smooth."""
    x, y = random_problem(7, n=100, d=15)
    problem, l1, l2 = Squares(x, y), 0.2, 0.1

    def split(z):
        w = z[:15] - z[15:]
        g = problem.gradient(w) + l2 * w
        return problem.value(w) + l1 * z.sum() + l2 / 2 * w @ w, np.concatenate([g + l1, l1 - g])

    found = minimize(
        split, np.ones(30), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 30, options={"ftol": 1e-15, "gtol": 1e-10}
    )
    w = descend(problem, l1, l2, "proximal", 3000)
    assert objective(problem, w, l1, l2) == pytest.approx(found.fun, rel=1e-12)
    np.testing.assert_allclose(w, found.x[:15] - found.x[15:], atol=1e-6)


@pytest.mark.parametrize("mode", ["subgradient", "decoupled", "truncated", "proximal"])
def test_l2_alone_is_ridge_regression_in_every_mode(mode):
    x, y = random_problem(3)
    problem, l2 = Squares(x, y), 0.3
    w = np.zeros(40)
    for _ in range(3000):
        fastreg.l2_update(w, problem.gradient(w), problem.lr / 2, l2, mode=mode)
    ridge = Ridge(l2 * len(y), fit_intercept=False, solver="cholesky").fit(x, y)  # it has a sum where we have a mean
    np.testing.assert_allclose(w, ridge.coef_, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["subgradient", "decoupled"])
def test_the_textbook_rule_comes_near_the_optimum_and_has_no_zeros(mode):
    x, y = random_problem(1)
    problem, l1 = Squares(x, y), 0.3
    exact, textbook = (descend(problem, l1, 0.0, m, 3000) for m in ("proximal", mode))
    assert np.count_nonzero(exact) < 40
    assert np.count_nonzero(textbook) == 40
    assert np.abs(textbook - exact).max() < 3 * problem.lr * l1
    assert objective(problem, textbook, l1, 0.0) > objective(problem, exact, l1, 0.0)


def test_float32_finds_the_zeros_of_float64():
    x, y = random_problem(2)
    single, double = (descend(Squares(x, y), 0.2, 0.1, "proximal", 3000, dtype) for dtype in (np.float32, np.float64))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=2e-6)
    np.testing.assert_array_equal(single == 0, double == 0)


class Softmax:
    """Mean log-loss of the digits, the first 1347 for training; 64 × 10 weights and ten biases."""

    def __init__(self):
        digits = load_digits()
        self.x, self.y = digits.data[:1347] / 16, digits.target[:1347]
        self.onehot = np.eye(10)[self.y]
        with_ones = np.column_stack([self.x, np.ones(1347)])
        self.lr = 2 / np.linalg.eigvalsh(with_ones.T @ with_ones / 1347)[-1]  # the Hessian of log-sum-exp is at most ½

    def value(self, w, b):
        z = self.x @ w + b
        return (logsumexp(z, axis=1) - z[np.arange(1347), self.y]).mean()

    def gradients(self, w, b):
        r = (softmax(self.x @ w + b, axis=1) - self.onehot) / 1347
        return self.x.T @ r, r.sum(axis=0)


def test_sparse_softmax_regression_of_the_digits():
    """FISTA with restarts (O'Donoghue & Candès 2015): gradient and update are evaluated at an extrapolated point."""
    problem, l1 = Softmax(), 1e-3
    w, b, t = np.zeros((64, 10)), np.zeros(10), 1.0
    ahead_w, ahead_b, moved = w.copy(), b.copy(), 1.0
    while moved > 1e-11:
        old_w, old_b, from_w, from_b = w, b, ahead_w.copy(), ahead_b.copy()
        w, b = ahead_w, ahead_b
        g_w, g_b = problem.gradients(w, b)
        fastreg.elastic_net_update(w, g_w, problem.lr, l1, 0.0, mode="proximal")
        fastreg.elastic_net_update(b, g_b, problem.lr, 0.0, 0.0, mode="proximal")
        if np.vdot(from_w - w, w - old_w) + np.vdot(from_b - b, b - old_b) > 0:
            t = 1.0
        t, factor = (1 + np.sqrt(1 + 4 * t * t)) / 2, t - 1
        ahead_w, ahead_b = w + factor / t * (w - old_w), b + factor / t * (b - old_b)
        moved = np.abs(w - old_w).max() + np.abs(b - old_b).max()
    g_w, g_b = problem.gradients(w, b)
    assert problem.value(w, b) + fastreg.l1_penalty(w, l1) == pytest.approx(0.3098435730, abs=1e-10)
    assert np.count_nonzero(w) == 148
    assert violation(g_w, w, l1, 0.0) < 1e-9
    assert np.abs(g_b).max() < 1e-9
