"""Optima on the diabetes data of scikit-learn, compared with those of independent solvers.

fastreg makes proximal gradient steps with the full gradient in float64, accelerated where plain steps would take too
long. Weights are compared to 1e-8, for weights of the size 500 (columns of norm 1) or 30 (columns of variance 1).
skglm is optional; without it, the conditions of Karush, Kuhn and Tucker remain, which no solver enters.
"""

import numpy as np
import pytest
from convert_cases import group_distance, library
from regression_cases import DIABETES, Squares, diabetes
from sklearn.linear_model import Lasso, MultiTaskElasticNet
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import fastreg
from fastreg import convert

Y = DIABETES.target - DIABETES.target.mean()
X = StandardScaler().fit_transform(DIABETES.data)  # coordinate descent with MCP needs columns of variance 1


def descend(problem, w, steps=20_000, **options):
    """Plain proximal gradient steps from w; only the optimizer changes the weights."""
    optimizer, g = fastreg.SGD(w, problem.lr, **options), np.empty_like(w)
    optimizer.bind(g)
    for _ in range(steps):
        g[...] = problem.gradient(w)
        optimizer.step()
    return w


# -- Weights that are not negative ------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=str)
def test_non_negative_lasso(alpha, options):
    """Against coordinate descent: the same zeros, which are of both kinds, and the same weights."""
    problem, s = diabetes(), convert.from_sklearn(alpha, 1, positive=True)
    problem.lr *= 1 - options.get("momentum", 0)  # the size of a step with momentum is lr/(1 − momentum)
    w = descend(problem, np.zeros(10), **options, **s._asdict())
    expected = Lasso(alpha, positive=True, tol=1e-14, max_iter=1_000_000).fit(DIABETES.data, Y).coef_
    unbounded = Lasso(alpha, tol=1e-14, max_iter=1_000_000).fit(DIABETES.data, Y).coef_
    assert ((expected == 0) & (unbounded < 0)).any()
    np.testing.assert_array_equal(w == 0, expected == 0)
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-8)


# -- MCP --------------------------------------------------------------------------------------------------------------


def mcp_distance(problem, w, l1, gamma):
    """How far 0 is from the subgradients at w: 0 at a stationary point, by the definition of the penalty."""
    g, slope = problem.gradient(w), np.maximum(l1 - abs(w) / gamma, 0)
    return np.where(w == 0, np.maximum(abs(g) - l1, 0), abs(g + slope * np.sign(w))).max()


def lasso_start(alpha):
    return Lasso(alpha, tol=1e-12, max_iter=1_000_000).fit(X, Y).coef_


MCP = [(alpha, gamma) for alpha in (1.0, 3.0, 10.0) for gamma in (1.5, 3.0, 120.0)]
CONVEX = 1 / np.linalg.eigvalsh(X.T @ X / len(Y))[0]  # with a larger gamma, loss + MCP is convex


@pytest.mark.parametrize("start", [lambda alpha: np.zeros(10), lasso_start], ids=["zeros", "lasso"])
@pytest.mark.parametrize(("alpha", "gamma"), MCP)
def test_mcp_ends_at_a_stationary_point(alpha, gamma, start):
    problem = Squares(X, Y)
    w = descend(problem, start(alpha), l1=alpha, gamma=gamma)
    assert mcp_distance(problem, w, alpha, gamma) < 1e-9
    assert (w == 0).any()
    assert (abs(w) > gamma * alpha).any() or gamma > CONVEX


@pytest.mark.parametrize(("alpha", "gamma"), MCP)
def test_mcp_against_coordinate_descent(alpha, gamma):
    """The point of skglm is stationary for our steps. Where the problem is convex, ours from zeros is the same."""
    skglm, s = library("skglm"), convert.from_skglm_mcp(alpha, gamma)
    model = skglm.MCPRegression(alpha=alpha, gamma=gamma, fit_intercept=False, tol=1e-13, max_iter=1000)
    expected = model.fit(X, Y).coef_
    w = descend(Squares(X, Y), expected.copy(), steps=100, **s._asdict())
    np.testing.assert_array_equal(w == 0, expected == 0)
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-8)
    if gamma > CONVEX:
        w = descend(Squares(X, Y), np.zeros(10), **s._asdict())
        np.testing.assert_array_equal(w == 0, expected == 0)
        np.testing.assert_allclose(w, expected, rtol=0, atol=1e-8)


# -- Groups -----------------------------------------------------------------------------------------------------------


def polynomial_features():
    """Linear features, squares and products, grouped by their first factor: groups of 11, 9, 9, 8, … 2 columns."""
    polynomials = PolynomialFeatures(2, include_bias=False)
    columns = polynomials.fit_transform(X)
    keep = [(int(np.flatnonzero(p)[0]), j) for j, p in enumerate(polynomials.powers_) if p[1] < 2]  # sex is 0 or 1
    order = [j for _, j in sorted(keep)]
    sizes = np.bincount([first for first, _ in keep]).tolist()
    return StandardScaler().fit_transform(columns[:, order]), sizes


FEATURES, SIZES = polynomial_features()
ENDS = np.cumsum([0, *SIZES])
GROUPS = [list(range(start, stop)) for start, stop in zip(ENDS, ENDS[1:])]


def parts(a):
    """Views of the groups of an array."""
    return [a[start:stop] for start, stop in zip(ENDS, ENDS[1:])]


def accelerate(optimizer, gradient, w, steps=1000):
    """Proximal steps of SGD from extrapolated points (FISTA, Beck & Teboulle 2009), restarted where they turn back
    (O'Donoghue & Candès 2015). The extrapolation changes w, and the last weights are those of a step."""
    momentum, last = 1.0, w.copy()
    for step in range(steps):
        start = w.copy()
        optimizer.step(gradient(w))
        new = w.copy()
        if np.vdot(start - new, new - last) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        if step < steps - 1:
            w += (momentum - 1) / following * (new - last)
        momentum, last = following, new
    return w


def train_groups(make, s, solve=accelerate, **options):
    """The weights of the polynomial features, a tensor for each group, trained by an optimizer with strengths s."""
    problem, w = Squares(FEATURES, Y), np.zeros(len(FEATURES.T))
    optimizer = make(parts(w), problem.lr, **s._asdict(), **options)
    return solve(optimizer, lambda w: parts(problem.gradient(w)), w)


def assert_optimal(w, s, expected=None, atol=1e-8):
    assert group_distance(w, Squares(FEATURES, Y).gradient(w), s, GROUPS) < atol
    zeros = [not part.any() for part in parts(w)]
    assert 0 < sum(zeros) < len(zeros)
    if expected is not None:
        np.testing.assert_array_equal(w == 0, expected == 0)
        np.testing.assert_allclose(w, expected, rtol=0, atol=atol)


GROUP_LASSO = [convert.from_adelie(lmda, SIZES, alpha) for lmda, alpha in ((1.0, 1.0), (3.0, 1.0), (2.0, 0.9))]


@pytest.mark.parametrize("s", GROUP_LASSO, ids=["1", "3", "with L2"])
def test_group_lasso_of_unequal_groups(s):
    assert s.penalty_factor == [np.sqrt(size) for size in SIZES]
    assert_optimal(train_groups(fastreg.SGD, s), s)


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0, np.inf)])
@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_group_lasso_against_block_coordinate_descent(alpha, bounds):
    """Also with weights that are not negative, where the group is clipped before its norm is taken."""
    skglm, weights = library("skglm"), np.sqrt(SIZES)
    positive, s = bounds[0] == 0, convert.from_skglm_groups(alpha, weights)
    model = skglm.GroupLasso(SIZES, alpha, weights, positive=positive, fit_intercept=False, tol=1e-13, max_iter=1000)
    expected, w = model.fit(FEATURES, Y).coef_, train_groups(fastreg.SGD, s, bounds=bounds)
    if not positive:
        assert_optimal(w, s, expected)
    assert (w < 0).any() != positive
    np.testing.assert_array_equal(w == 0, expected == 0)
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-8)


def sparse_groups(lambda_, alpha):
    """The optimum of the sparse group lasso, each group with strengths of its own, and these strengths."""
    each = [convert.from_sgl(lambda_, alpha, size) for size in SIZES]
    problem, w = Squares(FEATURES, Y), np.zeros(len(FEATURES.T))
    groups = [{"params": part, **s._asdict()} for part, s in zip(parts(w), each)]
    accelerate(fastreg.SGD(groups, problem.lr), lambda w: parts(problem.gradient(w)), w)
    return w, each


@pytest.mark.parametrize(("lambda_", "alpha"), [(3.0, 0.3), (3.0, 0.7)])
def test_sparse_group_lasso_of_unequal_groups(lambda_, alpha):
    w, each = sparse_groups(lambda_, alpha)
    gradient = Squares(FEATURES, Y).gradient(w)
    assert max(group_distance(w, gradient, s, [group]) for s, group in zip(each, GROUPS)) < 1e-8
    zeros = [np.count_nonzero(part == 0) / len(part) for part in parts(w)]
    assert 0 in zeros
    assert 1 in zeros
    assert any(0 < share < 1 for share in zeros)


def test_sparse_group_lasso_against_block_coordinate_descent():
    skglm, solvers = library("skglm"), library("skglm.solvers")
    datafits, penalties = library("skglm.datafits"), library("skglm.penalties")
    w, _ = sparse_groups(3.0, 0.3)
    ends, order = ENDS.astype(np.int32), np.arange(len(w), dtype=np.int32)
    penalty = penalties.WeightedL1GroupL2(3.0, 0.7 * np.sqrt(SIZES), np.full(len(w), 0.3), ends, order)
    solver = solvers.GroupBCD(tol=1e-13, max_iter=1000, fit_intercept=False, ws_strategy="fixpoint")
    model = skglm.GeneralizedLinearEstimator(datafits.QuadraticGroup(ends, order), penalty, solver)
    expected = model.fit(FEATURES, Y).coef_
    np.testing.assert_array_equal(w == 0, expected == 0)
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-8)


METRICS = {  # and how near the optimum they come in 5000 steps
    "Adam": (lambda w, lr, **s: fastreg.Adam(w, lambda n: 0.999**n, **s), 1e-8),
    "AMSGrad": (lambda w, lr, **s: fastreg.Adam(w, lambda n: 0.999**n, amsgrad=True, **s), 1e-8),
    "Adagrad": (lambda w, lr, **s: fastreg.Adagrad(w, 20.0, **s), 1e-8),
    "RMSprop": (lambda w, lr, **s: fastreg.RMSprop(w, lambda n: 0.999**n, **s), 1e-6),
}


def iterate(optimizer, gradient, w, steps=5000):
    for _ in range(steps):
        optimizer.step(gradient(w))
    return w


@pytest.mark.parametrize("name", METRICS)
def test_adaptive_metrics_end_at_the_same_group_lasso(name):
    """A proximal step that is exact in the metric has its fixed point at the optimum, whatever the metric is.

    With a constant rate, RMSprop stays about 1e-2 away, because its second moments swing with the gradients. Its error
    shrinks with the rate, and with a rate of 0.007 at the end 4e-8 remain, hence its tolerance.
    """
    (make, atol), s = METRICS[name], GROUP_LASSO[0]
    assert_optimal(train_groups(make, s, iterate), s, train_groups(fastreg.SGD, s), atol)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.9])
@pytest.mark.parametrize("axis", [0, 1])
def test_rows_and_columns_against_multi_task_models(axis, l1_ratio):
    """Three targets: the progression and two of the columns. A group is a feature, in rows or in columns."""
    y = StandardScaler().fit_transform(np.column_stack([Y, DIABETES.data[:, 3], DIABETES.data[:, 9]]))
    x, alpha = np.delete(X, [3, 9], axis=1), 0.08
    model = MultiTaskElasticNet(alpha=alpha, l1_ratio=l1_ratio, fit_intercept=False, tol=1e-15, max_iter=1_000_000)
    expected = model.fit(x, y).coef_.T
    h, c = x.T @ x / len(y), x.T @ y / len(y)
    w = np.zeros((8, 3), order="FC"[axis == 0])
    given = w if axis == 0 else w.T
    s = convert.from_sklearn_multitask(alpha, l1_ratio)
    optimizer = fastreg.SGD(given, 1 / np.linalg.eigvalsh(h)[-1], group_axis=axis, **s._asdict())
    accelerate(optimizer, lambda _: (h @ w - c) if axis == 0 else (h @ w - c).T.copy(), given)
    np.testing.assert_array_equal(w == 0, expected == 0)
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-8)
    assert 0 < np.count_nonzero(~w.any(axis=1)) < 8
