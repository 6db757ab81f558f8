"""The lesson, sentence by sentence: each experiment can refute its sentences."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastreg.__main__ import main


def held(rows):
    """The cases of each row, by the name of its sentence."""
    return {row.name: [bool(holds) for holds in row.cases.values()] for row in rows}


def agree(rows):
    """Whether the run agrees with all theorems, for each row by the name of its sentence."""
    return {row.name: all(row.theorems.values()) for row in rows}


def test_pulls(lesson):
    sizes, rules, halves = lesson.pull.SIZES, lesson.pull.RULES, lesson.pull.Halves
    noise = np.array([-0.01, 0, 0.01])
    same, other = halves(1 + noise, 1.2 - noise), halves(1 + noise, 2 - noise)
    l1, l2 = ({rule: lesson.pull.measure(rule, **{name: 0.5}) for rule in rules} for name in ("l1", "l2"))
    rows = lesson.pull.judge(l1, l2, {"a": (same, other), "b": (halves(*same[::-1]), halves(*other[::-1]))})
    assert held(rows) == {"l1-constant": [True] * 2, "l2-proportional": [False] * 2}
    rows = lesson.pull.judge(l1, l2, {"a": (other, same)})
    assert held(rows) == {"l1-constant": [False], "l2-proportional": [True]}
    assert agree(rows) == {"l1-constant": True, "l2-proportional": True}
    steep, flat = dict.fromkeys(rules, 0.5 * sizes), dict.fromkeys(rules, np.ones_like(sizes))
    for pulls in ((steep, l2), (flat, flat)):
        rows = lesson.pull.judge(*pulls, {"a": (same, same)})
        assert rows[0].verdict == "error in the implementation"
    assert rows[1].verdict == "error in the implementation"
    assert lesson.pull.follow("proximal", l1=0.5)[-1] == 0
    assert lesson.pull.follow("textbook", l1=0.5).min() > 0


def test_halves_are_those_of_the_weights_that_are_left(lesson):
    sizes, left = np.array([3.0, 1, 9, 2, 4]), np.array([True, True, False, True, True])
    larger, smaller = lesson.pull.halves(sizes, left)
    assert sorted(larger) == [0, 4]
    assert sorted(smaller) == [1, 3]


def test_zeros(lesson):
    falling, judge = np.linspace(0.1, 1, 50)[None], lesson.zeros.judge
    rows = judge({"data": {"proximal": np.zeros(3)}}, {"proximal": np.ones(3)}, falling, {"a": 0.96, "b": 0.94})
    assert held(rows) == {"l1-zeros": [True], "l2-no-zeros": [True, False]}
    assert agree(rows) == {"l1-zeros": True, "l2-no-zeros": True}
    rows = judge({"data": {"proximal": np.ones(3)}}, {"proximal": np.ones(3)}, falling, {"a": 0.0})
    assert held(rows) == {"l1-zeros": [False], "l2-no-zeros": [False]}
    jump = np.where(falling > 0.5, falling, 0.0)
    for l2, path in ((np.array([0.0, 1]), falling), (np.ones(2), jump), (np.ones(2), falling[:, ::-1])):
        rows = judge({"data": {"proximal": np.zeros(3)}}, {"proximal": l2}, path, {"a": 1.0})
        assert rows[1].verdict == "error in the implementation"


def test_a_weight_that_grows_or_changes_its_sign_does_not_shrink(lesson):
    paths = np.array([[0.0, 1, 2], [0, -1, -2], [0, 3, 2], [-0.1, 0, 2]])  # the strongest first
    assert lesson.zeros.shrinking(paths[None]).tolist() == [[True, True, False, False]]


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
    little, much = (value + np.array([0.0, 0.01, 0.02]) for value in (0.2, 0.8))
    good, bad = lesson.plane.Effects(much, little, much, little), lesson.plane.Effects(little, much, little, much)
    rows = lesson.plane.judge(along_l1, along_l2, {"data": good})
    assert held(rows) == {"l1-sparsity": [True] * 3, "l2-shrinkage": [True]}
    assert agree(rows) == {"l1-sparsity": True, "l2-shrinkage": True}
    rows = lesson.plane.judge(along_l2 * (along_l1 > 0), along_l2, {"data": bad})
    assert held(rows) == {"l1-sparsity": [False] * 3, "l2-shrinkage": [False]}
    rows = lesson.plane.judge(along_l2, along_l1.T, {"data": good})
    assert [row.verdict for row in rows] == ["error in the implementation"] * 2


def test_the_effects_are_those_at_the_same_loss(lesson, monkeypatch):
    monkeypatch.setattr(lesson.plane, "SAMPLES", 2)
    rng = np.random.default_rng(0)
    effects = lesson.plane.measure_effects(rng, lesson.designs.sparse_weights(rng, 2, 40, 3), 0.0)
    assert np.all(effects.zeros_by_l1 > effects.zeros_by_l2)
    assert np.all((np.array(effects) > 0) & (np.array(effects) < 1))


def models(l1, l2, net, *, nonzero=0.1, spread=0.1):
    """Chosen models of two truths with constant errors and slight noise; the spread is that of the net, L1 has 1."""
    noise = np.array([-0.001, 0, 0.001])
    result = {}
    for name, error, deviation in (("L1", l1, 1.0), ("L2", l2, 1.0), ("elastic net", net, spread)):
        weights = deviation * np.array([[-1.0], [0.0], [1.0], [5.0], [6.0], [7.0]])
        result[name] = SimpleNamespace(errors=error + noise, nonzero=np.full(3, nonzero), common=weights)
    return result


def test_groups(lesson, monkeypatch):
    monkeypatch.setattr(lesson.grouped, "TRUTHS", 2)
    good, bad = models(3.0, 3.0, 1.0), models(1.0, 1.0, 1.0, nonzero=0.9, spread=1.0)
    np.testing.assert_allclose(lesson.grouped.spread(good["L1"]), [1, 1])  # within each truth
    assert held(lesson.grouped.judge({"one": good, "other": good})) == {
        "net-sparse-stable": [True] * 4,
        "net-correlated": [True] * 4,
        "net-both-poor": [True] * 2,
    }
    assert held(lesson.grouped.judge({"one": bad, "other": bad})) == {
        "net-sparse-stable": [False] * 4,
        "net-correlated": [False] * 4,
        "net-both-poor": [False] * 2,
    }


def test_each_kind_of_truth_has_its_weights_in_the_first_groups(lesson):
    grouped = lesson.grouped
    useful = grouped.USEFUL * grouped.SIZE
    for name, weights in grouped.draw_truths(np.random.default_rng(0)).items():
        assert weights.shape == (grouped.TRUTHS, grouped.GROUPS * grouped.SIZE)
        assert not weights[:, useful:].any()
        assert np.all(np.count_nonzero(weights, axis=1) == (grouped.USEFUL if name == grouped.ONE else useful))
        assert len(np.unique(weights, axis=0)) > 1


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


def test_splits_of_real_data_are_not_counted_as_independent(lesson):
    noise = np.array([-1.0, 0.0, 1.0])
    errors = {"L1": 4 + noise, "L2": 4 + noise, "elastic net": np.full(3, 1.0)}  # limits 2.5 and 3.9
    rows = lesson.counted.judge({"drawn": errors, next(iter(lesson.counted.REAL)): errors})
    assert held(rows)["net-generalises"] == [True, False]


def test_noise_in_the_inputs(lesson):
    def tested(accuracy):
        shape = 5, len(lesson.robust.NOISE)
        return SimpleNamespace(accuracy=accuracy + 0.01 * np.arange(-2, 3)[:, None] * np.ones(shape))

    def results(l2, l1, fewer):
        accuracies = {"no penalty": 0.8, "L2": l2, "L1": l1, lesson.robust.FEWER: fewer}
        return {
            name: tested(accuracy if name == "no penalty" else accuracy + 0.002 * (name == "L1"))
            for name, accuracy in accuracies.items()
        }

    rows = lesson.robust.judge({0.2: results(0.9, 0.9, 0.7), 0.0: results(0.7, 0.9, 0.9)}, 1 / 3)
    cases = [True, True, False, False, True, True]
    assert held(rows) == {"simple-generalises": cases, "simple-robust": cases}


def test_differences_of_networks_are_paired_by_seed_and_corrected_for_shared_images(lesson):
    seeds, noises = np.array([-0.02, -0.01, 0, 0.01, 0.02])[:, None], np.ones(len(lesson.robust.NOISE))
    none = SimpleNamespace(accuracy=(0.8 + 5 * seeds) * noises)
    better = SimpleNamespace(accuracy=(0.83 + 6 * seeds) * noises)  # limits 0.020 and 0.038
    tested = {"no penalty": none, **dict.fromkeys(lesson.robust.SIMPLER, better)}
    assert all(held(lesson.robust.judge({0.0: tested}, 0.0))["simple-generalises"])
    assert not any(held(lesson.robust.judge({0.0: tested}, 0.5))["simple-generalises"])


def test_the_weights_that_are_left_are_trained_on_alone(lesson):
    robust, rng = lesson.robust, np.random.default_rng(0)
    x, y = rng.random((64, 64)), rng.integers(10, size=64)
    sparse = robust.train_network(x, y, 0, 3, l1=0.05)
    fewer = robust.train_network(x, y, 0, 3, fewer=sparse)
    for before, after in zip(sparse.weights, fewer.weights):
        assert 0 < np.count_nonzero(before) < before.size
        assert np.array_equal(before != 0, after != 0)
        assert np.any(before != after)


# -- The run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(lesson, monkeypatch):
    """Smaller experiments: their results are of no interest."""
    sizes = {
        "support": {"SAMPLES": 2, "FEATURES": 20, "N": 20},
        "truths": {"SAMPLES": 2, "FEATURES": 10, "N": 20},
        "bootstrap": {"SETS": 2, "RESAMPLES": 3},
        "variance": {"SAMPLES": 3, "TESTS": 10},
        "plane": {
            "SAMPLES": 2,
            "FACTORS": np.array([10.0]),
            "L1": np.array([0.0, 0.1]),
            "L2": np.array([0.0, 0.1, 1.0]),
        },
        "pull": {"SAMPLES": 2},
        "zeros": {"SAMPLES": 2},
        "grouped": {"TRUTHS": 2, "SAMPLES": 2, "GROUPS": 3, "VALIDATION": 20},
        "counted": {"SAMPLES": 2},
        "robust": {"SEEDS": 2},
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
    assert len(list(tmp_path.glob("*.png"))) == len(sections)
    assert "Handwritten" not in printed


def test_an_unknown_section_is_an_error_that_lists_all(tmp_path, capsys):
    from fastreg.demo import SECTIONS

    with pytest.raises(SystemExit):
        main(["demo", "--only", "everything", "--out", str(tmp_path)])
    printed = capsys.readouterr().err
    assert "argument --only: invalid choice: 'everything'" in printed
    assert all(name in printed for name in SECTIONS)
