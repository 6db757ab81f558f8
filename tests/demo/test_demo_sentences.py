"""The lesson, sentence by sentence: the fits that its experiments share, and how cases become verdicts."""

import numpy as np
import pytest


def test_fits_agree_with_scikit_learn(lesson):
    from sklearn.linear_model import ElasticNet

    rng = np.random.default_rng(0)
    design = lesson.designs.draw(rng, lesson.designs.sparse_weights(rng, 2, 8, 3), 30, noise=0.5)
    x, y = design.train
    for share in (1.0, 0.5):
        path = lesson.fits.fit(x, y, share, [0.1, 0.01], steps=2000)
        for i in range(2):
            for j, strength in enumerate((0.1, 0.01)):
                model = ElasticNet(alpha=strength, l1_ratio=share, fit_intercept=False, tol=1e-12, max_iter=100_000)
                np.testing.assert_allclose(path[i, :, j], model.fit(x[i], y[i]).coef_, atol=1e-8)
    ridge = lesson.fits.fit(x, y, 0.0, [0.1], steps=2000)[0, :, 0]
    known = np.linalg.solve(x[0].T @ x[0] / 30 + 0.1 * np.eye(8), x[0].T @ y[0] / 30)
    np.testing.assert_allclose(ridge, known, atol=1e-8)


def test_fits_go_on_until_the_minimum_is_near(lesson, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 40, 1)) + 0.05 * rng.standard_normal((1, 40, 60))  # strongly correlated
    y = x[:, :, 0] - x[:, :, 1]
    w, strengths = lesson.fits.fit(x, y, 0.9, [1e-4], steps=1), np.full((1, 60, 1), 1e-4)
    gradient = x.transpose(0, 2, 1) @ (x @ w - y[:, :, None]) / 40
    pull = lesson.fits.violation(w, gradient, 0.9 * strengths, 0.1 * strengths)
    assert 0 < pull <= lesson.fits.TOLERANCE * np.abs(x.transpose(0, 2, 1) @ y[:, :, None] / 40).max()
    monkeypatch.setattr(lesson.fits, "MOST", 2)
    with pytest.raises(ArithmeticError, match="strengths: expected a minimum within 2 steps"):
        lesson.fits.fit(x, y, 0.9, [1e-4], steps=1)


def test_more_features_than_samples_have_the_same_fits_as_by_the_gram_matrix(lesson):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((1, 10, 30)), rng.standard_normal((1, 10))
    twice = np.concatenate([x, x], axis=1), np.concatenate([y, y], axis=1)  # 30 features, 20 samples: the Gram matrix
    np.testing.assert_allclose(lesson.fits.fit(x, y, 0.5), lesson.fits.fit(*twice, 0.5), atol=1e-6)


def test_the_strength_is_chosen_on_validation_data(lesson):
    x = np.eye(4)[None] * 2.0
    y = np.ones((1, 4))
    train, test = (x, y), (x, y)
    weak = lesson.fits.choose(train, (x, y), test, (1.0,))
    strong = lesson.fits.choose(train, (x, np.zeros_like(y)), test, (1.0,))
    assert weak.nonzero[0] == 1
    assert strong.nonzero[0] == 0
    assert strong.errors[0] == 1 > weak.errors[0]


def test_every_penalty_chooses_from_the_same_number_of_candidates(lesson, monkeypatch):
    counts = {}

    def fit(x, y, share, strengths):
        counts[share] = len(strengths)
        return np.zeros((*x.shape[::2], len(strengths)))

    monkeypatch.setattr(lesson.fits, "fit", fit)
    data = np.ones((1, 4, 2)), np.ones((1, 4))
    lesson.fits.choose_each(data, data, data)
    totals = [sum(counts[share] for share in shares) for shares in lesson.fits.SHARES.values()]
    assert totals == [len(lesson.fits.CANDIDATES)] * 3


def test_correlated_features_have_the_requested_correlation(lesson):
    x = lesson.designs.correlated(np.random.default_rng(0), (20_000, 4), 0.9, 2)
    found = np.corrcoef(x, rowvar=False)
    assert abs(found[0, 1] - 0.9) < 0.02
    assert abs(found[1, 2]) < 0.03
    copies = lesson.designs.correlated(np.random.default_rng(0), (5, 4), 1.0, 2)
    assert np.array_equal(copies[:, ::2], copies[:, 1::2])


@pytest.mark.parametrize(
    ("cases", "verdict", "text"),
    [
        ({"a": True, "b": np.True_}, "holds", "in every case: a; b"),
        ({"a": True, "b": np.False_}, "holds under conditions", "yes: a. no: b"),
        ({"a": False}, "does not hold", "in no case: a"),
    ],
)
def test_the_verdict_follows_from_the_cases(lesson, cases, verdict, text):
    row = lesson.sentences.Row("l1-zeros", cases, "")
    assert (row.verdict, row.conditions) == (verdict, text)


def test_a_row_without_cases_has_no_verdict(lesson):
    with pytest.raises(ValueError, match="cases: expected at least one for 'l1-zeros'"):
        _ = lesson.sentences.Row("l1-zeros", {}, "").verdict


@pytest.mark.parametrize(
    ("theorems", "verdict", "text"),
    [
        ({"a": True}, "does not hold", "in no case: case. theorems, checked: a"),
        (
            {"a": True, "b": np.False_},
            "error in the implementation",
            "in no case: case. theorems, checked: a. fails: b",
        ),
    ],
)
def test_a_theorem_decides_no_verdict_but_shows_an_error_if_it_fails(lesson, theorems, verdict, text):
    row = lesson.sentences.Row("l1-zeros", {"case": False}, "", theorems)
    assert (row.verdict, row.conditions) == (verdict, text)


def test_a_difference_counts_if_its_interval_leaves_out_zero(lesson):
    noise = np.array([-1.0, 1.0, -1.0, 1.0])
    limit = 3.182 * noise.std(ddof=1) / 2  # Student's t, three degrees of freedom
    assert lesson.sentences.below(noise - 1.01 * limit, np.zeros(4))
    assert not lesson.sentences.below(noise - 0.99 * limit, np.zeros(4))
    assert not lesson.sentences.below(noise + 1.01 * limit, np.zeros(4))


def test_splits_of_the_same_data_have_a_larger_error(lesson):
    noise = np.array([-1.0, 1.0, -1.0, 1.0])
    limit = 3.182 * noise.std(ddof=1) * np.sqrt(1 / 4 + 0.5)
    assert lesson.sentences.below(noise - 1.01 * limit, np.zeros(4), test_ratio=0.5)
    assert not lesson.sentences.below(noise - 0.99 * limit, np.zeros(4), test_ratio=0.5)
