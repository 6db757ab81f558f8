"""Paths of strengths: every solution is a minimum, whatever is screened; the null model, and the strengths above it."""

from math import inf

import numpy as np
import pytest
from scipy import sparse

from fastreg.linear import descent, newton, paths
from fastreg.linear.newton import Objective, Penalty, minimise
from fastreg.linear.paths import Path, gradient, null_model
from fastreg.reference.losses import LOSSES

FEATURES, SAMPLES, TOLERANCE = 130, 80, 1e-11
CASES = {
    "lasso": ("squared_error", {}),
    "elastic net": ("squared_error", {"ratio": 0.5}),
    "ridge": ("squared_error", {"ratio": 0.0}),
    "classes": ("log_loss", {"ratio": 0.9}),
    "factors": ("log_loss", {"factors": True}),
    "positive": ("squared_error", {"low": 0.0}),
    "no intercept": ("log_loss", {"intercept": False}),
    "one against the rest": ("log_loss", {"columns": 3}),
    "softmax": ("multinomial", {"columns": 3}),
    "softmax, factors": ("multinomial", {"columns": 3, "factors": True, "ratio": 0.7}),
    "softmax, positive": ("multinomial", {"columns": 3, "low": 0.0}),
    "softmax, no intercept": ("multinomial", {"columns": 3, "intercept": False}),
    "groups": ("multinomial", {"columns": 3, "grouped": True}),
    "counts": ("poisson", {}),
}


def problem(case, form="sparse"):
    """Objective, start, reference, and a function from alpha to strengths."""
    loss, options = CASES[case]
    columns, ratio = options.get("columns", 1), options.get("ratio", 1.0)
    rng = np.random.default_rng(len(case))
    x = rng.standard_normal((SAMPLES, FEATURES)) * (rng.random((SAMPLES, FEATURES)) < 0.3)
    margins = x[:, :6] @ rng.standard_normal((6, columns))
    if columns > 1:
        y, c = margins.argmax(axis=1).astype(float), np.zeros(columns)
    elif loss == "log_loss":
        y, c = np.where(margins[:, 0] > 0.3, 1.0, -1.0), np.zeros(1)
    else:
        y = rng.poisson(np.exp(0.3 * margins[:, 0])).astype(float) if loss == "poisson" else margins[:, 0]
        c = np.array([np.log(y.mean()) if loss == "poisson" else y.mean()])
    shares = rng.random(SAMPLES)
    factors = np.array([0.0, 1.0, 2.5])[np.arange(FEATURES) % 3] if "factors" in options else None
    if factors is not None:
        factors[3::3] = 0.5
    penalty = Penalty(0.0, 0.0, 0.0, factors, options.get("low", -inf))
    x = sparse.csr_matrix(x) if form == "sparse" else x
    intercept = options.get("intercept", True)
    code = list(LOSSES).index(loss), 0.0
    objective = Objective(x, y, shares / shares.sum(), None, code, penalty, intercept)
    c = c if intercept else np.zeros(columns)
    reference = objective(np.zeros((FEATURES, columns)), c)
    start = null_model(objective, c, reference, TOLERANCE, 200)

    def strengths(alpha):
        l1, l2 = alpha * ratio, alpha * (1 - ratio)
        return (0.0, l2, l1) if "grouped" in options else (l1, l2, 0.0)

    return objective, start, reference, strengths


def excess(objective, w, b):
    """By how much the derivatives violate the conditions of a minimum, at most."""
    l1, l2, l21, factors, low = objective.penalty
    f = np.ones((len(w), 1)) if factors is None else factors[:, np.newaxis]
    x = objective.x.toarray() if sparse.issparse(objective.x) else objective.x
    _, slopes, _ = objective.derivatives(np.ascontiguousarray(x @ w + b), True)
    g = x.T @ slopes + f * l2 * w
    by_intercept = np.abs(slopes.sum(axis=0)).max() if objective.intercept else 0.0
    if l21:
        norms = np.linalg.norm(w, axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            at_zero = np.maximum(0, np.linalg.norm(g, axis=1, keepdims=True) - l21 * f)
            found = np.where(norms > 0, np.abs(g + l21 * f * w / norms).max(axis=1, keepdims=True), at_zero)
    else:
        pull = -g if low == 0 else np.abs(g)
        found = np.where(w != 0, np.abs(g + l1 * f * np.sign(w)), np.maximum(0, pull - l1 * f))
    return max(found.max(), by_intercept)


@pytest.mark.parametrize(
    ("case", "form"),
    [*((case, "sparse") for case in CASES), *((case, "dense") for case in ("lasso", "softmax", "groups"))],
)
def test_each_strength_of_a_path_is_a_minimum(case, form):
    objective, start, reference, strengths = problem(case, form)
    path, largest = Path(objective, start, reference, [0.0], TOLERANCE, 200), 0.0
    assert path.is_screened
    for alpha in 0.3 * np.geomspace(1, 0.03, 6):
        w, b, _, converged = path.to(strengths(alpha))
        assert converged
        assert excess(path.objective, w, b) < 2e-4 * alpha
        largest = max(largest, np.abs(w).max())
    assert largest > 0


@pytest.mark.parametrize("case", ["lasso", "factors", "softmax", "groups"])
def test_features_that_the_rule_drops_wrongly_come_back(case, monkeypatch):
    objective, start, reference, strengths = problem(case)
    path, sizes, restricted = Path(objective, start, reference, [0.0], TOLERANCE, 200), [], paths.restricted
    path.threshold = -inf  # then the rule keeps only unpenalised features
    monkeypatch.setattr(paths, "restricted", lambda o, kept: sizes.append(len(kept)) or restricted(o, kept))
    own = path.to(strengths(0.02))
    monkeypatch.setattr(paths, "FEW", FEATURES)
    whole = Path(objective, start, reference, [0.0], TOLERANCE, 200)
    expected = whole.to(strengths(0.02))
    assert not whole.is_screened
    assert len(sizes) > 2  # solved again after some have joined
    np.testing.assert_allclose(own.w, expected.w, atol=2e-4 * np.abs(expected.w).max())


@pytest.mark.parametrize("case", [case for case in CASES if "groups" not in case])
def test_the_null_model_has_only_unpenalised_weights_and_a_vanishing_slope(case):
    objective, start, _, _ = problem(case)
    factors = objective.penalty.factors
    free = np.zeros(FEATURES, bool) if factors is None else factors == 0
    assert not start.w[~free].any()
    assert free.any() == start.w.any()
    slopes = gradient(objective, *start[:2])
    assert np.abs(slopes[free]).max(initial=0) < 1e-5


@pytest.mark.parametrize(("ratio", "intercept"), [(0.5, False), (1.0, True)])
def test_joint_steps_of_the_softmax_end_where_the_diagonal_ones_do(ratio, intercept, monkeypatch):
    objective, start, reference, _ = problem("softmax" if intercept else "softmax, no intercept", "dense")
    objective.penalty = objective.penalty._replace(l1=0.02 * ratio, l2=0.02 * (1 - ratio))
    w, _, iterations, converged = minimise(objective, *start[:2], reference, 1e-10, 100)
    monkeypatch.setattr(newton, "LARGEST_WORK", 0)
    expected, _, more, also = minimise(objective, *start[:2], reference, 1e-10, 2000)
    assert converged
    assert also
    assert iterations < more
    np.testing.assert_allclose(w, expected, atol=2e-4 * np.abs(expected).max())


def test_a_singular_system_has_the_shortest_solution():
    matrix, right = np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([2.0, 2.0])
    np.testing.assert_allclose(descent.solved(matrix, right)[0], [1.0, 1.0])
    np.testing.assert_allclose(descent.solved(np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([2.0, 1.0]))[0], [2.0, 0.0])
