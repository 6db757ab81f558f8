"""Grids, and the choice of a strength from a table of scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastreg.path import alpha_max, choose, grid, mean_and_standard_error

NAN, INF = float("nan"), float("inf")


def lasso(x, y, alpha, factor=1.0, rounds=4000):
    """The weights of the lasso on mean ½(y − p)², by proximal gradient descent."""
    w, rate = np.zeros(x.shape[1]), len(x) / np.linalg.norm(x, 2) ** 2
    for _ in range(rounds):
        w = w - rate * x.T @ (x @ w - y) / len(x)
        w -= np.clip(w, -rate * alpha * factor, rate * alpha * factor)
    return w


@pytest.mark.parametrize("factor", [None, [1.0, 2.0, 0.5, 3.0]], ids=["no factor", "factors"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.3])
def test_all_weights_are_zero_from_alpha_max_on_and_not_just_below(factor, l1_ratio):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=50)
    largest = alpha_max(-x.T @ y / 50, l1_ratio, factor)
    weights = 1.0 if factor is None else np.array(factor)
    assert not lasso(x, y, largest * l1_ratio * (1 + 1e-12), weights).any()
    assert lasso(x, y, largest * l1_ratio * (1 - 1e-6), weights).any()


def test_alpha_max_is_rounded_up():
    rng = np.random.default_rng(1)
    for _ in range(200):
        g, factor, ratio = rng.normal(size=9), rng.uniform(0.1, 3, 9), float(rng.uniform(0.01, 1))
        largest = alpha_max(g, ratio, factor)
        assert (largest * ratio * factor >= np.abs(g)).all()
        below = largest * (1 - 1e-15)
        assert (below * ratio * factor < np.abs(g)).any()


@pytest.mark.parametrize(
    ("gradient", "options", "expected"),
    [
        ([1.0, -3.0, 2.0], {}, 3.0),
        ([[1, -3], [2, 0]], {"l1_ratio": 0.5}, 6.0),
        (np.float32([0.1]), {}, float(np.float32(0.1))),
        ([5.0, 3.0], {"penalty_factor": [0.0, 2.0]}, 1.5),
        ([[4.0, 1.0], [2.0, 6.0]], {"penalty_factor": [4.0, 6.0]}, 1.0),
        ([0.0, -0.0], {}, 0.0),
        (2.0, {}, 2.0),
    ],
    ids=str,
)
def test_alpha_max_of_a_gradient(gradient, options, expected):
    assert alpha_max(gradient, **options) == expected


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([NAN, 1.0],), ValueError, "gradient: expected finite numbers, got nan"),
        (([],), ValueError, "gradient: expected at least one number"),
        ((["a"],), TypeError, "gradient: expected an array of real numbers"),
        (([1j],), TypeError, "gradient: expected an array of real numbers"),
        (([[1.0], [1.0, 2.0]],), TypeError, "gradient: expected an array of real numbers"),
        ((np.ma.masked_array([1.0], [True]),), TypeError, "gradient: .* masked array"),
        (([1.0], 0), ValueError, r"l1_ratio: expected a number in \(0, 1\], got 0"),
        (([1.0], 1.1), ValueError, "l1_ratio: expected"),
        (([1.0], "1"), TypeError, "l1_ratio: expected a real number"),
        (([1.0, 2.0], 1, [1.0, -1.0]), ValueError, "penalty_factor: expected finite numbers, not negative, got -1.0"),
        (([1.0, 2.0], 1, [1.0, NAN]), ValueError, "penalty_factor: expected finite numbers, not negative, got nan"),
        (([1.0, 2.0], 1, [1.0] * 3), ValueError, r"penalty_factor: expected a shape that broadcasts to \(2,\)"),
        (([1.0, 2.0], 1, [[1.0]] * 3), ValueError, "penalty_factor: expected a shape"),
        (([1.0, 2.0], 1, 0.0), ValueError, "penalty_factor: expected a weight with a penalty, got none"),
        (([1e300], 1, 1e-300), ValueError, "expected a quotient that a float can hold"),
    ],
    ids=str,
)
def test_alpha_max_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        alpha_max(*arguments)


def test_a_grid_is_geometric_and_starts_at_alpha_max():
    strengths = grid(0.7, 30)
    assert strengths.shape == (30,)
    assert strengths.dtype == np.float64
    assert strengths[0] == 0.7
    assert strengths[-1] == pytest.approx(0.7e-3)
    np.testing.assert_allclose(strengths[1:] / strengths[:-1], 1e-3 ** (1 / 29))
    assert grid(2.0, 1).tolist() == [2.0]
    assert grid(1e-307, 3, eps=0.5)[-1] == 0.5e-307


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.0,), ValueError, "alpha_max: expected a positive, finite number, got 0.0"),
        ((INF,), ValueError, "alpha_max: expected"),
        ((-1.0,), ValueError, "alpha_max: expected"),
        ((1.0, 0), ValueError, "n_alphas: expected an integer from 1, got 0"),
        ((1.0, True), ValueError, "n_alphas: expected an integer"),
        ((1.0, 2.0), TypeError, "n_alphas: expected an integer, got float"),
        ((1.0, 3, 1.0), ValueError, r"eps: expected a number in \(0, 1\)"),
        ((1.0, 3, 0.0), ValueError, "eps: expected"),
        ((5e-324, 3), ValueError, "strengths that float64 can tell apart"),
        ((1.0, 100, 1 - 1e-15), ValueError, "strengths that float64 can tell apart"),
    ],
    ids=str,
)
def test_a_grid_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        grid(*arguments)


def test_mean_and_standard_error_are_those_of_numpy_and_of_glmnet():
    scores = np.random.default_rng(0).normal(size=(6, 5))
    mean, error = mean_and_standard_error(scores)
    np.testing.assert_allclose(mean, scores.mean(axis=1))
    np.testing.assert_allclose(error, scores.std(axis=1, ddof=1) / np.sqrt(5))
    same = mean_and_standard_error(scores, np.full(5, 7))
    np.testing.assert_allclose(same, (mean, error))
    weights = np.array([1.0, 2, 3, 4, 5])
    mean, error = mean_and_standard_error(scores, weights)
    np.testing.assert_allclose(mean, np.average(scores, axis=1, weights=weights))
    variance = [np.average((s - m) ** 2, weights=weights) / 4 for s, m in zip(scores, mean)]
    np.testing.assert_allclose(error, np.sqrt(variance))
    mean, error = mean_and_standard_error([1.0, 2.0])
    assert mean.tolist() == [1.0, 2.0]
    assert np.isnan(error).all()
    mean, error = mean_and_standard_error([[1.0, NAN], [1.0, INF], [1.0, 3.0]])
    assert np.isnan(mean).tolist() == [True, False, False]
    assert np.isnan(error).tolist() == [True, True, False]


LOSSES = np.array([[4.0, 6.0], [2.0, 2.5], [1.0, 3.0], [2.5, 3.5]])  # best: 2 ± 1, row 1 within
STRENGTHS = np.array([1.0, 0.1, 0.01, 0.001])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]], ids=str)
@pytest.mark.parametrize(("rule", "row"), [("min", 2), ("1se", 1)])
def test_the_order_of_the_rows_does_not_matter(rule, row, order):
    losses, strengths = LOSSES[order], STRENGTHS[order]
    assert order[choose(losses, rule, strengths)] == row
    assert order[choose(-losses, rule, strengths, greater_is_better=True)] == row


def test_the_rule_takes_the_strongest_within_and_not_the_weakest():
    # weaker strengths that are within one standard error, too, are never taken
    losses = [[9.0, 11.0], [1.0, 2.0], [1.0, 1.9], [1.0, 1.8], [1.0, 1.95]]
    strengths = [5.0, 4.0, 3.0, 2.0, 1.0]
    assert choose(losses, "1se", strengths) == 1
    assert choose(losses, "min", strengths) == 3
    assert choose(losses, "1se", strengths[::-1]) == 4
    # also if a strength between is outside
    assert choose([[1.9, 2.0], [5.0, 5.1], [1.0, 3.0]], "1se", [3.0, 2.0, 1.0]) == 0
    # a mean at exactly one standard error is within it
    assert choose([[3.0, 3.0], [1.0, 3.0]], "1se", [2.0, 1.0]) == 0
    assert choose([[3.0, np.nextafter(3.0, 4) + 1e-15], [1.0, 3.0]], "1se", [2.0, 1.0]) == 1


@given(st.integers(2, 6), st.integers(2, 5), st.randoms(use_true_random=False))
def test_the_rules_are_their_definitions(n, folds, random):
    losses = np.array([[random.choice([0.0, 1.0, 1.5, 2.0, NAN]) for _ in range(folds)] for _ in range(n)])
    strengths = np.array(random.sample([0.0, 0.1, 0.5, 1.0, 2.0, 3.0], n))
    means = {s: row.mean() for s, row in zip(strengths, losses) if not np.isnan(row).any()}
    if not means:
        return
    best = max(s for s in means if means[s] == min(means.values()))
    row = losses[strengths == best][0]
    error = np.sqrt(np.sum((row - row.mean()) ** 2) / (folds - 1) / folds)
    assert strengths[choose(losses, "min", strengths)] == best
    within = {s for s in means if means[s] <= means[best] + error + 1e-12}
    surely = {s for s in means if means[s] <= means[best] + error - 1e-12 or s == best}
    chosen = strengths[choose(losses, "1se", strengths)]
    assert max(surely) <= chosen <= max(within)
    assert chosen >= best


def test_ties_go_to_the_strongest():
    losses = [[2.0, 2.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    assert choose(losses, "min", [1.0, 2.0, 4.0, 3.0]) == 2
    assert choose(losses, "1se", [1.0, 2.0, 4.0, 3.0]) == 2
    assert choose(losses, "min") == 1


def test_rows_that_are_not_finite_are_not_chosen():
    losses = [[0.0, NAN], [-INF, 0.0], [5.0, 7.0], [6.0, INF], [6.0, 6.5]]
    strengths = [5.0, 4.0, 3.0, 2.0, 1.0]
    assert choose(losses, "min", strengths) == 2
    assert choose(losses, "1se", strengths) == 2
    with pytest.raises(ValueError, match="scores: expected a row of finite numbers, got none"):
        choose([[NAN, 1.0], [INF, 2.0]])


def test_one_column_and_a_standard_error_of_another_kind():
    losses, strengths = [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]
    assert choose(losses) == choose(losses, "min", strengths) == 2
    for table in (losses, np.reshape(losses, (3, 1))):
        with pytest.raises(ValueError, match="scores: expected at least 2 folds with rule='1se'"):
            choose(table, "1se", strengths)
    assert choose(losses, "1se", strengths, standard_error=[9.0, 9.0, 1.0]) == 1
    assert choose(losses, "1se", strengths, standard_error=[9.0, 9.0, 0.0]) == 2


def test_fold_weights_count_in_the_mean():
    losses = [[1.0, 4.0], [3.0, 3.0]]
    assert choose(losses, "min", [2.0, 1.0]) == 0
    assert choose(losses, "min", [2.0, 1.0], fold_weights=[1, 9]) == 1


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((LOSSES, "max"), {}, ValueError, "rule: expected 'min' or '1se', got 'max'"),
        ((LOSSES, ["min"]), {}, ValueError, "rule: expected"),
        ((LOSSES, "1se"), {}, ValueError, "strengths: expected the strength of each row"),
        ((LOSSES, "min", [1.0]), {}, ValueError, r"strengths: expected shape \(4,\), one for each row, got \(1,\)"),
        ((LOSSES, "min", [1.0, 2.0, 3.0, NAN]), {}, ValueError, "strengths: expected finite numbers, not negative"),
        ((LOSSES, "min", [1.0, 2.0, 3.0, -1.0]), {}, ValueError, "strengths: expected finite numbers, not negative"),
        ((LOSSES, "min", [[1.0, 2.0, 3.0, 4.0]]), {}, ValueError, "strengths: expected one dimension"),
        ((LOSSES[None],), {}, ValueError, r"scores: expected shape \(strengths, folds\) or \(strengths,\)"),
        ((1.0,), {}, ValueError, "scores: expected shape"),
        (([],), {}, ValueError, "scores: expected at least one number"),
        ((["a"],), {}, TypeError, "scores: expected an array of real numbers"),
        ((LOSSES,), {"greater_is_better": "no"}, TypeError, "greater_is_better: expected a bool"),
        ((LOSSES,), {"fold_weights": [1.0]}, ValueError, r"fold_weights: expected shape \(2,\)"),
        ((LOSSES,), {"fold_weights": [1.0, 0.0]}, ValueError, "fold_weights: expected positive, finite numbers"),
        ((LOSSES, "1se", STRENGTHS), {"standard_error": [1.0]}, ValueError, r"standard_error: expected shape \(4,\)"),
        ((LOSSES, "1se", STRENGTHS), {"standard_error": [NAN] * 4}, ValueError, "standard_error: expected numbers"),
    ],
    ids=str,
)
def test_a_choice_refuses(arguments, options, error, message):
    with pytest.raises(error, match=message):
        choose(*arguments, **options)
