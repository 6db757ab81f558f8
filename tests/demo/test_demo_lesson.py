"""The lesson, sentence by sentence: the fits, the verdicts, and that each experiment can refute its sentences."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastreg.__main__ import main

EXPERIMENTS = ("pull", "zeros", "support", "truths", "bootstrap", "variance", "plane", "grouped", "counted", "robust")


@pytest.fixture(scope="module")
def lesson():
    """The experiments by name, and `sentences`, `fits` and `designs`."""
    for name in ("sklearn", "matplotlib", "rich"):
        pytest.importorskip(name)
    from importlib import import_module

    names = (*EXPERIMENTS, "sentences", "fits", "designs")
    return SimpleNamespace(**{name: import_module(f"fastreg.demo.lesson.{name}") for name in names})


def held(rows):
    """The cases of each row, by the name of its sentence."""
    return {row.name: [bool(holds) for holds in row.cases.values()] for row in rows}


# -- Fits and verdicts ------------------------------------------------------------------------------------------------


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


def test_a_difference_counts_from_two_standard_errors_on(lesson):
    noise = np.array([-1.0, 1.0, -1.0, 1.0])
    error = noise.std(ddof=1) / 2
    assert lesson.sentences.below(noise - 2.01 * error, np.zeros(4))
    assert not lesson.sentences.below(noise - 1.99 * error, np.zeros(4))
    assert not lesson.sentences.below(noise + 2.01 * error, np.zeros(4))


# -- Each sentence can hold and can be refuted ------------------------------------------------------------------------


def test_pulls(lesson):
    sizes, rules = lesson.pull.SIZES, lesson.pull.RULES
    flat, steep = dict.fromkeys(rules, np.ones_like(sizes)), dict.fromkeys(rules, 0.5 * sizes)
    assert held(lesson.pull.judge(flat, steep)) == {"l1-constant": [True] * 3, "l2-proportional": [True] * 3}
    assert held(lesson.pull.judge(steep, flat)) == {"l1-constant": [False] * 3, "l2-proportional": [False] * 3}
    measured = ({rule: lesson.pull.measure(rule, **{name: 0.5}) for rule in rules} for name in ("l1", "l2"))
    assert held(lesson.pull.judge(*measured)) == {
        "l1-constant": [True, True, False],
        "l2-proportional": [True, True, False],
    }
    assert lesson.pull.follow("proximal", l1=0.5)[-1] == 0
    assert lesson.pull.follow("textbook", l1=0.5).min() > 0


def test_zeros(lesson):
    falling = np.linspace(0.1, 1, 50)[None]
    rows = lesson.zeros.judge({"proximal": np.zeros(3)}, {"proximal": np.ones(3)}, falling)
    assert held(rows) == {"l1-zeros": [True], "l2-no-zeros": [True, True]}
    jump = np.where(falling > 0.5, falling, 0.0)
    rows = lesson.zeros.judge({"proximal": np.ones(3)}, {"proximal": np.array([0.0, 1])}, jump)
    assert held(rows) == {"l1-zeros": [False], "l2-no-zeros": [False, False]}


def test_support(lesson):
    def cases(true, false, dense):
        found = lesson.support.Found(np.array([[2, true]] * 4), np.array([[9, false]] * 4), np.full(4, 1), useful=2)
        return held(lesson.support.judge({"data": found}, dense))

    assert cases(2, 0, 0.1) == {"l1-sparse": [True, True], "l1-selects": [True, True, True]}
    assert cases(1, 80, 0.9) == {"l1-sparse": [False, False], "l1-selects": [False, False, False]}
    assert cases(2, 1, 0.9)["l1-selects"] == [True, False, False]


def test_truths(lesson):
    low, middle, high = (value + np.array([0.0, 0.01, 0.02]) for value in (1, 2, 3))
    best_l1, best_l2 = ({"L1": a, "L2": b, "elastic net": middle} for a, b in ((low, high), (high, low)))
    assert held(lesson.truths.judge(best_l1, best_l2)) == {"l1-irrelevant": [True] * 2, "l2-dense": [True] * 2}
    assert held(lesson.truths.judge(best_l2, best_l1)) == {"l1-irrelevant": [False] * 2, "l2-dense": [False] * 2}


def test_resamples(lesson):
    def resampled(scale, unequal, dropped):
        rng = np.random.default_rng(0)
        weights = 1 + scale * rng.standard_normal((2, 50, 4))
        weights[:, :, ::2] += unequal
        weights[:, :dropped] = 0
        return lesson.bootstrap.Resampled(weights, np.ones((2, 4)), useful=4)

    steady, wild = resampled(0.01, 0.0, 0), resampled(0.3, 5.0, 20)
    rows = lesson.bootstrap.judge({"a": {"L1": steady, "L2": steady}, "b": {"L1": wild, "L2": steady}})
    assert held(rows) == {
        "l2-stable": [False, True],
        "l2-spreads": [True],
        "l1-unstable": [True],
        "l1-drops": [False, True],
    }
    rows = lesson.bootstrap.judge({"a": {"L1": wild, "L2": wild}, "b": {"L1": steady, "L2": wild}})
    assert held(rows) == {
        "l2-stable": [False, False],
        "l2-spreads": [False],
        "l1-unstable": [False],
        "l1-drops": [True, False],
    }


def test_bias_and_variance(lesson):
    s = np.logspace(-2, 0, 5)
    rising, falling = np.array([0, 1, 2, 4, 8.0]), np.array([8, 4, 2, 1, 0.0])
    balanced = lesson.variance.Decomposition(s, rising, falling, rising)
    assert held(lesson.variance.judge({"L1": balanced}, balanced)) == {
        "too-small": [True] * 2,
        "too-large": [True] * 2,
        "balance": [True],
    }
    harmless = lesson.variance.Decomposition(s, np.ones(5), falling[::-1], falling)
    assert held(lesson.variance.judge({"L1": harmless}, harmless)) == {
        "too-small": [False] * 2,
        "too-large": [False] * 2,
        "balance": [False],
    }


def test_plane(lesson):
    along_l1 = np.linspace(0, 1, 6) * np.ones((4, 1))
    along_l2 = np.linspace(1, 0, 4)[:, None] * np.ones(6)
    assert held(lesson.plane.judge(along_l1, along_l2)) == {"l1-sparsity": [True] * 3, "l2-shrinkage": [True] * 2}
    rows = lesson.plane.judge(along_l2, 1 - along_l2 + along_l1)
    assert held(rows) == {"l1-sparsity": [False] * 3, "l2-shrinkage": [False] * 2}


def models(l1, l2, net, *, nonzero=0.1, spread=0.1):
    """Chosen models of constant errors, with slight noise; the spread is that of the net, L1 has 1."""
    noise = np.array([-0.001, 0, 0.001])
    result = {}
    for name, error, deviation in (("L1", l1, 1.0), ("L2", l2, 1.0), ("elastic net", net, spread)):
        weights = deviation * np.array([[-1.0], [0.0], [1.0]])
        result[name] = SimpleNamespace(errors=error + noise, nonzero=np.full(3, nonzero), common=weights)
    return result


def test_groups(lesson):
    one, other = lesson.grouped.WHOLE, lesson.grouped.ONE
    good, bad = models(3.0, 3.0, 1.0), models(1.0, 1.0, 1.0, nonzero=0.9, spread=1.0)
    assert held(lesson.grouped.judge({one: good, other: good})) == {
        "net-sparse-stable": [True] * 3,
        "net-correlated": [True] * 4,
        "net-both-poor": [True] * 2,
    }
    assert held(lesson.grouped.judge({one: bad, other: bad})) == {
        "net-sparse-stable": [False] * 3,
        "net-correlated": [False] * 4,
        "net-both-poor": [False] * 2,
    }


def test_counts(lesson):
    def errors(l1, l2, net):
        return {name: m.errors for name, m in models(l1, l2, net).items()}

    assert lesson.counted.count(errors(3, 2, 1)) == {"L1": 0, "L2": 0, "elastic net": 3}
    rows = lesson.counted.judge({"a": errors(3, 2, 1), "b": errors(3, 2, 1)})
    assert held(rows) == {"net-generalises": [True] * 2, "net-often-best": [True] * 2}
    assert "6 of 6 samples (100%)" in rows[1].numbers
    rows = lesson.counted.judge({"a": errors(1, 2, 3), "b": errors(3, 1, 2)})
    assert held(rows) == {"net-generalises": [False] * 2, "net-often-best": [False] * 2}
    assert "worse than both in 3 of 6 samples" in rows[0].numbers


def test_noise_in_the_inputs(lesson):
    def tested(accuracy):
        return SimpleNamespace(accuracy=np.full(len(lesson.robust.NOISE), accuracy))

    noisy = {"no penalty": tested(0.8), "L1": tested(0.9)}
    assert held(lesson.robust.judge({0.2: noisy, 0.0: noisy}, 450)) == {
        "simple-generalises": [True] * 2,
        "simple-robust": [True] * 2,
    }
    same = {"no penalty": tested(0.9), "L1": tested(0.91)}
    assert held(lesson.robust.judge({0.2: noisy, 0.0: same}, 450)) == {
        "simple-generalises": [True, False],
        "simple-robust": [True, False],
    }


# -- The run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(lesson, monkeypatch):
    """Smaller experiments: their results are of no interest."""
    sizes = {
        "support": {"SAMPLES": 2, "FEATURES": 20, "N": 20},
        "truths": {"SAMPLES": 2, "FEATURES": 10, "N": 20},
        "bootstrap": {"SETS": 2, "RESAMPLES": 3},
        "variance": {"SAMPLES": 3, "TESTS": 10},
        "plane": {"L1": np.array([0.0, 0.1]), "L2": np.array([0.0, 0.1, 1.0])},
        "grouped": {"SAMPLES": 2, "GROUPS": 3, "VALIDATION": 20},
        "counted": {"SAMPLES": 2},
    }
    for name, values in sizes.items():
        for constant, value in values.items():
            monkeypatch.setattr(getattr(lesson, name), constant, value)
    for cached in (lesson.truths.fit_both, lesson.grouped.fit_groups):
        cached.cache_clear()
    yield
    for cached in (lesson.truths.fit_both, lesson.grouped.fit_groups):
        cached.cache_clear()


def test_the_last_table_has_a_row_for_every_sentence(lesson, small, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    from fastreg.demo import SECTIONS

    sections = [name for name, module in SECTIONS.items() if module.startswith("lesson.")]
    only = [word for name in sections for word in ("--only", name)]
    assert main(["demo", *only, "--epochs", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    words = " ".join(printed[printed.index("The whole lesson") :].split())
    assert words.count("holds") + words.count("does not hold") >= len(lesson.sentences.SENTENCES)
    for sentence in lesson.sentences.SENTENCES.values():
        assert " ".join(sentence.split()[:3]) in words
    assert len(list(tmp_path.glob("*.png"))) == len(sections) == len(EXPERIMENTS)
    assert "Handwritten" not in printed


def test_an_unknown_section_is_an_error_that_lists_all(tmp_path, capsys):
    from fastreg.demo import SECTIONS

    with pytest.raises(SystemExit):
        main(["demo", "--only", "everything", "--out", str(tmp_path)])
    printed = capsys.readouterr().err
    assert "argument --only: invalid choice: 'everything'" in printed
    assert all(name in printed for name in SECTIONS)
