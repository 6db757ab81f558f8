"""Paths of squared errors on Gram matrices: they are those on the samples, whatever the folds and the scales."""

import numpy as np
import pytest
from sklearn.model_selection import ShuffleSplit
from threadpoolctl import threadpool_limits

from fastreg.linear import StreamingRegressorCV, folds
from fastreg.linear.folds import Part
from fastreg.linear.gram import is_partition, moments_of, moments_of_folds, reduced

SAMPLES, FEATURES = 240, 110  # more than paths.FEW
RNG = np.random.default_rng(5)
X = RNG.standard_normal((SAMPLES, FEATURES)) + RNG.standard_normal((SAMPLES, 1))
Y = X[:, :5] @ [2.0, -1.0, 1.0, 0.5, -0.5] + RNG.standard_normal(SAMPLES) + 3.0
WEIGHTS = np.random.default_rng(6).integers(0, 3, SAMPLES).astype(float)
OUTLIER = np.vstack([X[:-1], 1e8 * X[-1:]])  # a difference of Gram matrices would leave nothing but rounding
CASES = {
    "lasso": ({}, {}, X),
    "elastic net": ({"l1_ratio": [0.2, 0.9]}, {}, X),
    "ridge": ({"l1_ratio": 0.0}, {}, X),
    "factors": ({"penalty_factor": np.arange(FEATURES) % 3.0}, {}, X),
    "positive": ({"positive": True}, {}, X),
    "no intercept": ({"fit_intercept": False}, {}, X),
    "weights": ({}, {"sample_weight": WEIGHTS}, X),
    "huge weights": ({}, {"sample_weight": 1e300 * WEIGHTS}, X),
    "offset": ({}, {"offset": np.sin(np.arange(SAMPLES))}, X),
    "random folds": ({"cv": ShuffleSplit(3, random_state=0)}, {}, X),
    "far from zero": ({}, {}, X + 1e5),
    "float32": ({}, {}, X.astype(np.float32)),
    "scales": ({}, {}, X * np.logspace(-9, 9, FEATURES)),
    "constant features": ({}, {}, np.column_stack([np.full(SAMPLES, 0.1), X, np.full(SAMPLES, 1e9)])),
    "a copy": ({}, {}, np.column_stack([X, X[:, 0]])),
}


def both(monkeypatch, options, arguments, x, y=Y):
    """The model from Gram matrices, and the one from the samples."""
    with threadpool_limits(1):
        model = StreamingRegressorCV(**{"alphas": 8, "tol": 1e-6} | options).fit(x, y, **arguments)
        monkeypatch.setattr(folds, "pays", lambda x, folds: False)
        return model, StreamingRegressorCV(**model.get_params()).fit(x, y, **arguments)


@pytest.mark.parametrize("case", CASES)
def test_paths_are_those_on_the_samples(case, monkeypatch):
    model, other = both(monkeypatch, *CASES[case])
    np.testing.assert_allclose(model.alphas_, other.alphas_, rtol=1e-9)
    np.testing.assert_allclose(model.loss_path_, other.loss_path_, rtol=1e-6)
    assert model.alpha_ == pytest.approx(other.alpha_, rel=1e-9)
    if case != "a copy":  # weights of copies share what they add up to in any proportion
        for a, b in ((model.coef_path_, other.coef_path_), (model.coef_, other.coef_)):
            np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())
        assert np.array_equal(model.nonzero_path_[:4], other.nonzero_path_[:4])
    np.testing.assert_allclose(
        model.predict(CASES[case][2]), other.predict(CASES[case][2]), atol=1e-6 * np.abs(Y).max()
    )


def test_as_many_rows_as_independent_features():
    x = np.column_stack([X[:, :4], X[:, 0] + X[:, 1], np.ones(SAMPLES)])
    rows = reduced(moments_of(Part(x, Y, np.full(SAMPLES, 2.0), None), True))
    assert len(rows.x) == len(rows.targets) == 4
    expected = np.cov(np.column_stack([x, Y]).T, bias=True)
    np.testing.assert_allclose(rows.x.T @ rows.x / 4, expected[:-1, :-1], atol=1e-12)
    np.testing.assert_allclose(rows.x.T @ rows.targets / 4, expected[:-1, -1], atol=1e-12)
    empty = reduced(moments_of(Part(np.ones((SAMPLES, 2)), Y, np.ones(SAMPLES), None), True))
    assert not empty.x.any()
    assert not empty.targets.any()


@pytest.mark.parametrize("has_intercept", [True, False])
def test_training_parts_are_sums_of_the_other_folds(has_intercept):
    whole = Part(OUTLIER, Y, WEIGHTS, None)
    tests = np.array_split(np.random.default_rng(0).permutation(SAMPLES), 7)
    pairs = [(np.setdiff1d(np.arange(SAMPLES), test), test) for test in tests]
    assert is_partition(pairs, SAMPLES)
    everything, trainings = moments_of_folds(whole, pairs, has_intercept)
    parts = [*(whole.of(train) for train, _ in pairs), whole]
    found = [*trainings, everything]
    assert len(found) == len(parts)
    for own, part in zip(found, parts):
        expected = moments_of(part, has_intercept)
        np.testing.assert_allclose(own.means, expected.means, rtol=1e-9, atol=1e-9 * np.abs(part.x).mean())
        sizes = np.sqrt(expected.products.diagonal())
        errors = np.abs(own.products * WEIGHTS.sum() - expected.products)
        assert (errors <= 1e-10 * np.outer(sizes, sizes)).all()


@pytest.mark.parametrize("pairs", [
    [([1, 2], [0]), ([0, 2], [1])],  # a sample that is in no test part
    [([1, 2], [0]), ([0, 2], [0, 1]), ([0, 1], [2])],  # one that is in two
    [([1, 2], [0]), ([0], [1]), ([0, 1], [2])],  # a training part that leaves one out
    [([1, 2], [0]), ([0, 2, 2], [1]), ([0, 1], [2])],  # one that has one twice
    [([0, 1, 2], [0]), ([0, 2], [1]), ([0, 1], [2])],  # one that has the test part
])  # fmt: skip
def test_other_folds_are_no_partition(pairs):
    assert not is_partition([tuple(map(np.array, pair)) for pair in pairs], 3)


def test_squares_that_overflow():
    moments = moments_of(Part(np.array([[1.0], [2.0]]), np.array([1e200, -1e200]), np.ones(2), None), True)
    assert reduced(moments) is None
    with pytest.raises(ValueError, match="finite mean loss"):
        StreamingRegressorCV(cv=2).fit(np.arange(8.0)[:, None], np.array([1e200, -1e200] * 4))
