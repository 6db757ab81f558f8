"""Regression problems with known optima, for the tests of convergence."""

import numpy as np
from sklearn.datasets import load_diabetes

import fastreg

DIABETES = load_diabetes()


class Squares:
    """The loss ½·mean(r²) of a linear model, r its residuals."""

    def __init__(self, x, y):
        self.h, self.c, self.k = x.T @ x / len(y), x.T @ y / len(y), y @ y / (2 * len(y))
        self.lr = 1 / np.linalg.eigvalsh(self.h)[-1]

    def value(self, w):
        return 0.5 * w @ self.h @ w - self.c @ w + self.k

    def gradient(self, w):
        return (self.h @ w - self.c).astype(w.dtype)


def diabetes():
    return Squares(DIABETES.data, DIABETES.target - DIABETES.target.mean())


def random_problem(seed, n=60, d=40):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3 * rng.standard_normal((d, d)) / np.sqrt(d))
    return x, x[:, :8] @ rng.standard_normal(8) + rng.standard_normal(n)


def objective(problem, w, l1, l2):
    return problem.value(w) + fastreg.elastic_net_penalty(w, l1, l2)
