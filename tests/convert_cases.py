"""A regression problem and the conditions of its optima, for the tests that compare converters with other libraries."""

import os
import warnings

import numpy as np
import pytest

N = 60
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 5))
SCORE = X @ [0.9, -0.7, 0.0, 0.05, 0.4] + 0.3 * rng.normal(size=N)
W, G = rng.normal(size=(2, 5))


def library(name, **environ):
    """Imports another library, or skips the test; its own warnings on import are ignored."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        for key, value in environ.items():
            patch.setenv(key, os.environ.get(key, value))
        return pytest.importorskip(name)


def squared(w):
    """The gradient of ½·mean (y − p)²."""
    return X.T @ (X @ w - SCORE) / N


def factors(s, groups):
    """The penalty factor of each group."""
    return [1.0] * len(groups) if s.penalty_factor is None else s.penalty_factor


def group_distance(w, gradient, s, groups):
    """How far 0 is from the subgradients of loss + penalty at w, the gradient that of the loss (Karush-Kuhn-Tucker)."""
    largest = 0.0
    for group, f in zip(groups, factors(s, groups)):
        v, g = w[group], gradient[group] + f * s.l2 * w[group]
        size = np.linalg.norm(v)
        if size:
            g = g + f * s.l21 * v / size
        at_zero = np.maximum(abs(g) - f * s.l1, 0)
        distance = np.where(v == 0, at_zero, abs(g + f * s.l1 * np.sign(v))).max()
        if not size:
            distance = max(0.0, np.linalg.norm(at_zero) - f * s.l21)
        largest = max(largest, distance)
    return largest
