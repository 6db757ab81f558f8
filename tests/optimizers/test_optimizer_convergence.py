"""Every direction converges to the optimum of loss plus penalty that scikit-learn finds, with the same zeros."""

import numpy as np
import pytest
from regression_cases import DIABETES, Squares, diabetes, objective, random_problem
from sklearn.linear_model import ElasticNet

import fastreg

L = 1 / diabetes().lr  # the largest curvature


def decaying(lr, half):
    return lambda n: lr / (1 + n / half)


OPTIMIZERS = {  # on the diabetes data; learning rates within the limits of stability of each
    "Plain": lambda w, **penalty: fastreg.SGD(w, 1 / L, **penalty),
    "momentum": lambda w, **penalty: fastreg.SGD(w, 0.5 / L, momentum=0.9, **penalty),
    "dampening": lambda w, **penalty: fastreg.SGD(w, 1 / L, momentum=0.9, dampening=0.5, **penalty),
    "Nesterov": lambda w, **penalty: fastreg.SGD(w, 0.5 / L, momentum=0.9, nesterov=True, **penalty),
    "Adam, decaying": lambda w, **penalty: fastreg.Adam(w, lambda n: 20 * 0.9985**n, **penalty),
    "AMSGrad, decaying": lambda w, **penalty: fastreg.Adam(w, lambda n: 20 * 0.9985**n, amsgrad=True, **penalty),
    "Adagrad": lambda w, **penalty: fastreg.Adagrad(w, 100.0, **penalty),
    "RMSprop, decaying": lambda w, **penalty: fastreg.RMSprop(w, lambda n: 20 * 0.9985**n, **penalty),
}
KNOWN = {0.1: (1629.0545425789, 7), 0.5: (2152.1229925894, 4)}  # l1 → the Lasso's objective, nonzero coefficients


def train(make, problem, l1, l2, steps=20_000):
    """Train with bound gradients; only the optimizer changes the weights."""
    w, g = np.zeros(len(problem.c)), np.empty(len(problem.c))
    optimizer = make(w, l1=l1, l2=l2)
    optimizer.bind(g)
    for _ in range(steps):
        g[...] = problem.gradient(w)
        optimizer.step()
    return w


def optimum_of_scikit_learn(l1, l2):
    model = ElasticNet(l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-14, max_iter=1_000_000)
    return model.fit(DIABETES.data, DIABETES.target).coef_


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.5, 0.0), (0.1, 0.01)])
def test_the_optima_of_the_diabetes_data(name, l1, l2):
    w, expected = train(OPTIMIZERS[name], diabetes(), l1, l2), optimum_of_scikit_learn(l1, l2)
    np.testing.assert_array_equal(w == 0, expected == 0)
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-8)
    if l2 == 0:
        optimum, nonzero = KNOWN[l1]
        assert objective(diabetes(), w, l1, l2) == pytest.approx(optimum, abs=1e-9)
        assert np.count_nonzero(w) == nonzero


@pytest.mark.parametrize("options", [{}, {"dampening": 0.5}, {"nesterov": True}], ids=str)
@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.5, 0.0), (0.1, 0.01)])
def test_truncation_with_momentum_converges_to_the_optimum(options, l1, l2):
    """Its L2 is a gradient step of size lr/(1 − momentum), which must be stable."""
    lr = 8.0 if l2 else 0.5 / L

    def make(w, **penalty):
        return fastreg.SGD(w, lr, momentum=0.9, mode="truncated", **options, **penalty)

    w, expected = train(make, diabetes(), l1, l2), optimum_of_scikit_learn(l1, l2)
    np.testing.assert_array_equal(w == 0, expected == 0)
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-8)


def test_with_lr_alone_momentum_would_converge_to_a_weaker_penalty():
    """Why the step size is lr·(1 − dampening)/(1 − momentum): with lr alone, the optimum is that of a tenth of l1."""
    problem, momentum = diabetes(), 0.9
    w, buffer = np.zeros(10), np.zeros(10)
    lr = 0.5 / L
    for _ in range(20_000):
        buffer = momentum * buffer + problem.gradient(w)
        v = w - lr * buffer
        w = v - np.clip(v, -lr * 0.5, lr * 0.5)
    np.testing.assert_allclose(w, optimum_of_scikit_learn(0.05, 0.0), atol=1e-8)
    assert np.abs(w - optimum_of_scikit_learn(0.5, 0.0)).max() > 100


def test_penalty_factors_give_the_adaptive_lasso():
    """The lasso with factors f is the lasso of the columns divided by f (Zou 2006). A factor of 0 keeps its weight."""
    x, y = random_problem(5, n=80, d=12)
    f = np.array([0.5, 1, 2, 4] * 3)
    problem, scaled = Squares(x, y), Squares(x / f, y)
    w = train(lambda w, **p: fastreg.SGD(w, problem.lr, penalty_factor=f, **p), problem, 0.3, 0.0, 5000)
    v = train(lambda w, **p: fastreg.SGD(w, scaled.lr, **p), scaled, 0.3, 0.0, 20_000)
    np.testing.assert_allclose(w, v / f, atol=1e-10)
    np.testing.assert_array_equal(w == 0, v == 0)
    assert 0 < np.count_nonzero(w) < 12
    free = train(
        lambda w, **p: fastreg.SGD(w, problem.lr, penalty_factor=[0] + [1] * 11, **p), problem, 100.0, 0.0, 500
    )
    assert np.count_nonzero(free) == 1


def test_ftrl_with_strengths_that_grow_with_the_steps_solves_the_lasso():
    x, y = random_problem(6, n=80, d=12)
    problem = Squares(x, y)
    w, g = np.zeros(12), np.empty(12)
    optimizer = fastreg.FTRL(w, 1.0, l1=lambda n: 0.3 * (n + 1))
    optimizer.bind(g)
    for _ in range(20_000):
        g[...] = problem.gradient(w)
        optimizer.step()
    best = train(lambda w, **p: fastreg.SGD(w, problem.lr, **p), problem, 0.3, 0.0, 2000)
    np.testing.assert_allclose(w, best, atol=1e-3)
    np.testing.assert_array_equal(w == 0, best == 0)
