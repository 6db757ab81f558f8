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
