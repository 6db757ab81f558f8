"""Converters for groups, MCP and weights that are not negative, compared with the libraries where they are installed.

The evidence is that of test_convert_libraries.py: at the optimum of another solver, the gradient of the mean loss
balances our penalty; or another penalty has the value of ours. ncvreg, grpreg, SGL, sparsegl and gglasso need R, so
only their formulas are tested.
"""

import warnings
from math import sqrt

import numpy as np
import pytest
from convert_cases import SCORE, N, W, X, factors, group_distance, library, squared
from numpy.linalg import norm

import fastreg
from fastreg import convert
from fastreg.convert import BoundedStrengths, GroupStrengths, MCPStrengths, Strengths

GROUPS = [[0, 1], [2, 3], [4]]
SIZES = [len(group) for group in GROUPS]


def group_penalty(w, s, groups=GROUPS):
    """The penalty by fastreg's definition: a group's factor multiplies all its strengths."""
    parts = zip(groups, factors(s, groups))
    return sum(f * (s.l1 * abs(w[g]).sum() + s.l2 / 2 * (w[g] @ w[g]) + s.l21 * norm(w[g])) for g, f in parts)


def assert_group_optimal(w, gradient, s, tol, groups=GROUPS):
    """w is optimal, and of both kinds of groups, of zeros and others, there are some."""
    zeros = [not w[group].any() for group in groups]
    assert any(zeros)
    assert not all(zeros)
    assert group_distance(w, gradient, s, groups) < tol


# -- Bounds ------------------------------------------------------------------------------------------------------------

POSITIVE = [
    ("Lasso", {"alpha": 0.1}, convert.from_sklearn(0.1, 1, positive=True)),
    ("ElasticNet", {"alpha": 0.2, "l1_ratio": 0.3}, convert.from_sklearn(0.2, 0.3, True)),
    ("Ridge", {"alpha": 7.0}, convert.from_sklearn_ridge(7, N, positive=True)),
]


@pytest.mark.parametrize(("name", "options", "strengths"), POSITIVE)
def test_positive_of_sklearn_gives_bounds(name, options, strengths):
    linear_model = library("sklearn.linear_model")
    model = getattr(linear_model, name)(fit_intercept=False, tol=1e-11, max_iter=200_000, positive=True, **options)
    w = model.fit(X, SCORE).coef_
    slope = squared(w) + strengths.l1 + strengths.l2 * w
    assert strengths.bounds == (0, np.inf)
    assert (w == 0).any()
    assert (slope[w == 0] >= -1e-6).all()
    np.testing.assert_allclose(slope[w > 0], 0, atol=1e-6)


def test_without_positive_there_are_no_bounds():
    assert convert.from_sklearn(0.5, 1, positive=False) == Strengths(0.5, 0)
    assert convert.from_sklearn_ridge(1.0, 2, positive=np.False_) == Strengths(0, 0.5)
    assert convert.from_sklearn(1, 1, np.True_).scaled(0.5) == BoundedStrengths(0.5, 0, (0, np.inf))
    optimizer = fastreg.SGD(np.ones(3), 0.1, **convert.from_sklearn(0.1, 0.5, positive=True)._asdict())
    optimizer.step(np.full(3, 100.0))
    assert (optimizer.params == 0).all()
    for bad in (1, None, "yes"):
        for call in (lambda x: convert.from_sklearn(1, 1, x), lambda x: convert.from_sklearn_ridge(1, 1, x)):
            with pytest.raises(TypeError, match=f"^positive: expected a bool, got {type(bad).__name__}"):
                call(bad)


# -- Groups ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "l1_ratio"), [("MultiTaskLasso", 1.0), ("MultiTaskElasticNet", 0.6)])
def test_sklearn_multi_task(name, l1_ratio):
    linear_model = library("sklearn.linear_model")
    y = np.stack([SCORE, X[:, 0] - SCORE, X[:, 4]], axis=1)
    options = {} if l1_ratio == 1 else {"l1_ratio": l1_ratio}
    model = getattr(linear_model, name)(alpha=0.2, fit_intercept=False, tol=1e-13, max_iter=200_000, **options)
    w = model.fit(X, y).coef_.T
    gradient, s = X.T @ (X @ w - y) / N, convert.from_sklearn_multitask(0.2, l1_ratio)
    rows = [list(range(3 * i, 3 * i + 3)) for i in range(5)]
    assert_group_optimal(w.ravel(), gradient.ravel(), s, 1e-6, rows)


@pytest.mark.parametrize("weights", [None, [1.5, 0.5, 1.2]])
def test_skglm_group_lasso(weights):
    skglm = library("skglm")
    given = None if weights is None else np.array(weights)
    model = skglm.GroupLasso(groups=GROUPS, alpha=0.3, weights=given, fit_intercept=False, tol=1e-12)
    w = model.fit(X, SCORE).coef_
    assert_group_optimal(w, squared(w), convert.from_skglm_groups(0.3, 1 if weights is None else weights), 1e-6)


def test_skglm_sparse_group_penalty():
    penalties = library("skglm.penalties")
    ends, order = np.array([0, 2, 4, 5], np.int32), np.arange(5, dtype=np.int32)
    for weights, feature in (([0.5, 1.5, 2.0], 0.0), ([2.0] * 3, 0.7)):
        theirs = penalties.WeightedL1GroupL2(0.3, np.array(weights), np.full(5, feature), ends, order)
        s = convert.from_skglm_groups(0.3, weights, feature)
        assert theirs.value(W) == pytest.approx(group_penalty(W, s), rel=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 0.7])
def test_adelie(alpha):
    adelie = library("adelie")
    y, x = adelie.glm.gaussian(SCORE), np.asfortranarray(X)
    options = {"groups": np.array([0, 2, 4]), "alpha": alpha, "lmda_path": np.array([0.25]), "intercept": False}
    path = adelie.grpnet(x, y, tol=1e-14, early_exit=False, progress_bar=False, **options)
    w = path.betas.toarray().ravel()
    assert_group_optimal(w, squared(w), convert.from_adelie(0.25, SIZES, alpha), 1e-6)


# group_lasso starts at random, and its line search ends early where rounding decides: it comes to 1e-7 or only to 3e-5.
GROUP_LASSO = [  # scale_reg, group_reg, l1_reg, sizes
    ("group_size", 0.12, 0.0, SIZES),
    ("none", 0.18, 0.0, 1),
    ("none", 0.12, 0.05, 1),
    ("inverse_group_size", 0.2, 0.0, [1 / 2, 1 / 2, 1]),
]


@pytest.mark.parametrize(("scale", "reg", "l1_reg", "sizes"), GROUP_LASSO)
def test_group_lasso(scale, reg, l1_reg, sizes):
    group_lasso = library("group_lasso")
    options = {"group_reg": reg, "l1_reg": l1_reg, "scale_reg": scale, "n_iter": 2000, "tol": 1e-8, "random_state": 0}
    model = group_lasso.GroupLasso([0, 0, 1, 1, 2], fit_intercept=False, supress_warning=True, **options)
    x = X - X.mean(axis=0)  # it centres X
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn about its own names
        w = model.fit(x, SCORE).coef_.ravel()
    assert_group_optimal(w, x.T @ (x @ w - SCORE) / N, convert.from_group_lasso(reg, l1_reg, sizes), 1e-3)


def test_logistic_group_lasso():
    group_lasso = library("group_lasso")
    options = {"group_reg": 0.05, "l1_reg": 0.0, "n_iter": 1000, "tol": 1e-8, "random_state": 0}
    model = group_lasso.LogisticGroupLasso([0, 0, 1, 1, 2], fit_intercept=False, supress_warning=True, **options)
    x, y = X - X.mean(axis=0), np.stack([SCORE <= 0, SCORE > 0], axis=1).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        w = model.fit(x, SCORE > 0).coef_
    scores = x @ w
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    rows = [[2 * i + k for i in group for k in range(2)] for group in GROUPS]
    s = convert.from_group_lasso(0.05, 0.0, SIZES)
    assert_group_optimal(w.ravel(), (x.T @ (p - y) / N).ravel(), s, 1e-3, rows)


def test_documented_group_penalties_of_r():
    norms = [norm(W[group]) for group in GROUPS]
    roots = sum(sqrt(size) * x for size, x in zip(SIZES, norms))
    squares = sum(sqrt(size) * x * x for size, x in zip(SIZES, norms))
    for function in (convert.from_grpreg, convert.from_adelie):
        documented = 0.4 * (0.3 * roots + 0.7 / 2 * squares)
        assert group_penalty(W, function(0.4, SIZES, 0.3)) == pytest.approx(documented)
    assert group_penalty(W, convert.from_sgl(0.4, 0.0, SIZES)) == pytest.approx(0.4 * roots)
    parts = [0.4 * (0.3 * abs(W[group]).sum() + 0.7 * sqrt(len(group)) * norm(W[group])) for group in GROUPS]
    for group, part in zip(GROUPS, parts):  # a group of parameters for each
        assert group_penalty(W, convert.from_sgl(0.4, 0.3, len(group)), [group]) == pytest.approx(part)


def test_equal_weights_are_part_of_the_strengths():
    equal = GroupStrengths(0.25, 0, 1.5, None)
    assert convert.from_sgl(1.0, 0.25, 4) == convert.from_sgl(1.0, 0.25, [4, 4]) == equal
    assert convert.from_sgl(1.0, 0.25, np.array(4)) == convert.from_sgl(1.0, 0.25, np.array([4, 4])) == equal
    assert equal.scaled(2) == GroupStrengths(0.5, 0, 3.0, None)
    assert convert.from_adelie(1.0, (1, 4)).scaled(2) == GroupStrengths(0, 0, 2.0, [1.0, 2.0])


# -- MCP ---------------------------------------------------------------------------------------------------------------


def test_skglm_mcp():
    skglm = library("skglm")
    x = (X - X.mean(axis=0)) / X.std(axis=0)
    s = convert.from_skglm_mcp(0.3, 3.0)
    w = skglm.MCPRegression(alpha=0.3, gamma=3.0, fit_intercept=False, tol=1e-13).fit(x, SCORE).coef_
    gradient = x.T @ (x @ w - SCORE) / N
    slope = np.maximum(s.l1 - abs(w) / s.gamma, 0)
    assert (abs(gradient[w == 0]) <= s.l1 + 1e-9).all()
    np.testing.assert_allclose((gradient + slope * np.sign(w))[w != 0], 0, atol=1e-9)
    assert {0 < v < 0.9 for v in abs(w)} == {True, False}
    theirs = library("skglm.penalties").MCPenalty(0.3, 3.0)
    assert fastreg.l1_penalty(W, s.l1, gamma=s.gamma) == pytest.approx(theirs.value(W), rel=1e-12)
    weighted = library("skglm.penalties").WeightedMCPenalty(0.3, 3.0, np.full(5, 0.7))
    many = s.scaled(0.7)
    assert fastreg.l1_penalty(W, many.l1, gamma=many.gamma) == pytest.approx(weighted.value(W), rel=1e-12)


def test_documented_penalty_of_ncvreg():
    l1, l2, gamma = convert.from_ncvreg(0.4, 3.5, 0.3)
    size, lam = abs(W), 0.3 * 0.4
    mcp = np.where(size <= 3.5 * lam, lam * size - size**2 / (2 * 3.5), 3.5 * lam**2 / 2)
    documented = mcp.sum() + 0.7 * 0.4 / 2 * (W @ W)
    assert fastreg.elastic_net_penalty(W, l1, l2, gamma=gamma) == pytest.approx(documented, rel=1e-12)


def ncvreg_step(z, l1, l2, gamma):
    """The minimiser over one weight in `src/ncvreg_init.c`, for a column of variance 1."""
    if abs(z) <= l1:
        return 0.0
    if abs(z) <= gamma * l1 * (1 + l2):
        return np.sign(z) * (abs(z) - l1) / (1 + l2 - 1 / gamma)
    return z / (1 + l2)


def test_the_step_of_ncvreg_is_our_proximal_step():
    for z in np.linspace(-2, 2, 101):
        w, s = np.zeros(1), convert.from_ncvreg(0.5, 3.0, 0.8)
        fastreg.elastic_net_update(w, np.array([-z]), 1.0, s.l1, s.l2, gamma=s.gamma, mode="proximal")
        assert w[0] == pytest.approx(ncvreg_step(z, 0.4, 0.5 * (1 - 0.8), 3.0), abs=1e-14)


@pytest.mark.parametrize("factor", [0, 0.25, 3, N])
def test_scaled_mcp_is_a_multiple(factor):
    s = MCPStrengths(0.4, 0.2, 3.0)
    value = fastreg.elastic_net_penalty(W, *s[:2], gamma=s.gamma)
    many = s.scaled(factor)
    assert fastreg.elastic_net_penalty(W, *many[:2], gamma=many.gamma) == pytest.approx(factor * value, rel=1e-12)
    with pytest.raises(ValueError, match=r"^gamma: expected a quotient that a float can hold"):
        MCPStrengths(0.0, 0.0, 1e-300).scaled(1e100)


# -- Errors ------------------------------------------------------------------------------------------------------------

RATIO, POSITIVE_NUMBER = r"a number in \[0, 1\]", "a positive, finite number"
ARGUMENTS = [
    (convert.from_sklearn_multitask, {"alpha": 0.1, "l1_ratio": 0.5}, {"l1_ratio": RATIO}),
    (convert.from_skglm_mcp, {"alpha": 0.1, "gamma": 3}, {"gamma": "a positive number"}),
    (convert.from_ncvreg, {"lambda_": 0.1, "gamma": 3, "alpha": 0.5}, {"gamma": "a positive number", "alpha": RATIO}),
    (convert.from_adelie, {"lmda": 0.1, "alpha": 0.5, "sizes": 2}, {"alpha": RATIO, "sizes": POSITIVE_NUMBER}),
    (convert.from_grpreg, {"lambda_": 0.1, "alpha": 0.5, "sizes": 2}, {"alpha": RATIO, "sizes": POSITIVE_NUMBER}),
    (convert.from_sgl, {"lambda_": 0.1, "alpha": 0.5, "sizes": 2}, {"alpha": RATIO, "sizes": POSITIVE_NUMBER}),
    (convert.from_group_lasso, {"group_reg": 0.1, "l1_reg": 0.5, "sizes": 2}, {"sizes": POSITIVE_NUMBER}),
    (convert.from_skglm_groups, {"alpha": 0.1, "weights": 2, "weights_features": 0.1}, {}),
    (MCPStrengths(1.0, 1.0, 2.0).scaled, {"factor": 0.1}, {}),
    (GroupStrengths(1.0, 1.0, 2.0).scaled, {"factor": 0.1}, {}),
    (BoundedStrengths(1.0, 1.0, (0.0, np.inf)).scaled, {"factor": 0.1}, {}),
]


@pytest.mark.parametrize(("function", "good", "expected"), ARGUMENTS)
def test_errors_name_the_argument(function, good, expected):
    assert function(**good)
    for name in good:
        words = expected.get(name, "a finite number, not negative")
        for bad in (-0.5, np.nan, -np.inf, *([] if name == "gamma" else [np.inf, 10**400])):
            with pytest.raises(ValueError, match=f"^{name}: expected {words}, got {bad}"):
                function(**{**good, name: bad})
        for bad in (None, 0.5j, np.complex128(0.5)):
            with pytest.raises(TypeError, match=f"^{name}: expected a real number.*, got {type(bad).__name__}"):
                function(**{**good, name: bad})
        for bad in ("1", [0.5, None], np.array([[0.5]])):
            with pytest.raises(TypeError, match=rf"^{name}(\[\d\])?: expected a real number, got "):
                function(**{**good, name: bad})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: convert.from_adelie(1, []), "sizes: expected a number for each group, got none"),
        (lambda: convert.from_adelie(1, [1, 0]), r"sizes\[1\]: expected a positive, finite number, got 0"),
        (
            lambda: convert.from_skglm_groups(1, [1, -1]),
            r"weights\[1\]: expected a finite number, not negative, got -1",
        ),
        (
            lambda: convert.from_sgl(1, 0.5, [1, 2]),
            "sizes: expected one number for all groups with l1 > 0, got different",
        ),
        (lambda: convert.from_group_lasso(1, 0.5, [1, 2]), "sizes: expected one number for all groups with l1 > 0"),
        (lambda: convert.from_skglm_groups(1, [1, 2], 1), "weights: expected one number for all groups with l1 > 0"),
        (lambda: convert.from_adelie(1e308, 9), "l1, l2 and l21: expected strengths that a float can hold"),
        (lambda: convert.from_sklearn(1, 1).scaled(1e308).scaled(1e308), "l1 and l2: expected strengths that a float"),
    ],
)
def test_errors_of_groups(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
