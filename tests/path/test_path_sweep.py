"""Sweeps in sequence: what train gets and may return, the table, errors."""

import sys

import numpy as np
import pytest
from path_cases import FOLDS, STRENGTHS, chain, chain_scores

from fastreg.path import SweepTable, sweep


@pytest.mark.parametrize("order", [STRENGTHS, STRENGTHS[::-1], [0.25, 1.0, 0.125, 0.5]], ids=str)
def test_a_warm_start_goes_from_the_strongest_to_the_weakest(order):
    table = sweep(chain, order, folds=FOLDS)
    assert table.strengths.tolist() == STRENGTHS
    assert np.array_equal(table.scores, chain_scores())
    assert np.array_equal(table.extras["steps"], np.repeat([[1], [2], [3], [4]], FOLDS, axis=1))
    assert (table.extras["first"] == 1.0).all()


def test_without_a_warm_start_the_state_is_none():
    table = sweep(chain, STRENGTHS, folds=FOLDS, warm_start=False)
    assert np.array_equal(table.scores, np.array(STRENGTHS)[:, None] + np.arange(FOLDS))
    assert (table.extras["steps"] == 1).all()


def test_a_state_can_be_any_object_without_a_checkpoint():
    seen = []

    def train(strength, fold, state):
        seen.append(state)
        return {strength, fold}, strength

    sweep(train, [2.0, 1.0], folds=["x", "y"])
    assert seen == [None, None, {2.0, "x"}, {2.0, "y"}]


def test_folds_are_numbers_or_given_elements():
    seen = []

    def train(strength, fold, state):
        assert state is None
        seen.append((strength, fold))
        return 0.0

    sweep(train, [1.0, 2.0])
    sweep(train, [3.0], folds=np.int64(2))
    sweep(train, [4.0], folds=((np.arange(k), "test") for k in (1, 2)))
    assert seen[:4] == [(2.0, 0), (1.0, 0), (3.0, 0), (3.0, 1)]
    assert [(len(fold[0]), fold[1]) for _, fold in seen[4:]] == [(1, "test"), (2, "test")]
    assert all(type(strength) is float for strength, _ in seen)


@pytest.mark.parametrize(
    ("returned", "score", "extras"),
    [
        (1, 1.0, {}),
        (np.float32(0.5), 0.5, {}),
        (np.array(2.0), 2.0, {}),
        (float("nan"), float("nan"), {}),
        (("state", 3), 3.0, {}),
        ((4, {"zeros": np.int64(7)}), 4.0, {"zeros": 7.0}),
        (({"a": 1}, 5.0), 5.0, {}),
        (({"a": 1}, 5.0, {"zeros": True, "norm": 2}), 5.0, {"zeros": 1.0, "norm": 2.0}),
    ],
    ids=str,
)
def test_what_train_may_return(returned, score, extras):
    table = sweep(lambda *_: returned, [1.0])
    assert table.scores.dtype == np.float64
    np.testing.assert_array_equal(table.scores, [[score]])
    assert table.extras == {name: np.array([[value]]) for name, value in extras.items()}


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (None, TypeError, "train: expected a number as its score, got NoneType"),
        ("1", TypeError, "train: expected a number as its score, got str"),
        (1j, TypeError, "train: expected a number as its score, got complex"),
        (np.zeros(2), TypeError, "train: expected a number as its score, got ndarray"),
        ([1.0], TypeError, "train: expected a number as its score, got list"),
        ((), ValueError, "train: expected it to return 1 to 3 values, got 0"),
        ((1, 2, {}, 3), ValueError, "train: expected it to return 1 to 3 values, got 4"),
        ((1, 2, 3), TypeError, "train: expected its reports as a dict of numbers by name, got 3"),
        ((1, {2: 3}), TypeError, "train: expected its reports as a dict of numbers by name"),
        ((1, {"a": [3]}), TypeError, "train: expected a number as its report 'a', got list"),
    ],
    ids=str,
)
def test_what_train_may_not_return(returned, error, message):
    with pytest.raises(error, match=message) as raised:
        sweep(lambda *_: returned, [1.0, 0.5])
    assert raised.value.__notes__ == ["in train at strength 1.0, fold 0 of 0 to 0"]


def test_reports_that_come_later_are_nan_before():
    def train(strength, fold, state):
        return strength, {"late": 1.0} if strength < 1 else {}

    table = sweep(train, [1.0, 0.5])
    np.testing.assert_array_equal(table.extras["late"], [[np.nan], [1.0]])


def test_an_exception_of_train_is_named_and_keeps_its_type():
    def train(strength, fold, state):
        if strength == 0.5 and fold == 1:
            raise ZeroDivisionError("the data")
        return 0.0

    with pytest.raises(ZeroDivisionError, match="the data") as raised:
        sweep(train, [1.0, 0.5], folds=2)
    assert raised.value.__notes__ == ["in train at strength 0.5, fold 1 of 0 to 1"]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((None, [1.0]), {}, TypeError, "train: expected a function"),
        ((chain, []), {}, ValueError, "strengths: expected at least one number"),
        ((chain, [1.0, -1.0]), {}, ValueError, "strengths: expected finite numbers, not negative, got -1.0"),
        ((chain, [1.0, np.inf]), {}, ValueError, "strengths: expected finite numbers, not negative, got inf"),
        ((chain, [1.0, 2.0, 1.0]), {}, ValueError, "strengths: expected different numbers, got 1.0 more than once"),
        ((chain, 1.0), {}, ValueError, "strengths: expected one dimension"),
        ((chain, ["a"]), {}, TypeError, "strengths: expected an array of real numbers"),
        ((chain, [1.0]), {"folds": 0}, ValueError, "folds: expected at least one fold, got none"),
        ((chain, [1.0]), {"folds": []}, ValueError, "folds: expected at least one fold, got none"),
        ((chain, [1.0]), {"folds": 2.0}, TypeError, "folds: expected a number of folds or their elements, got float"),
        ((chain, [1.0]), {"folds": True}, TypeError, "folds: expected"),
        ((chain, [1.0]), {"folds": "ab"}, TypeError, "folds: expected"),
        ((chain, [1.0]), {"warm_start": 1}, TypeError, "warm_start: expected a bool"),
        ((chain, [1.0]), {"greater_is_better": None}, TypeError, "greater_is_better: expected a bool"),
        ((chain, [1.0]), {"progress": "yes"}, TypeError, "progress: expected a bool"),
        ((chain, [1.0]), {"key": 3}, TypeError, "key: expected a string, got int"),
        ((chain, [1.0]), {"n_jobs": 0}, ValueError, "n_jobs: expected None or an integer other than 0"),
        ((chain, [1.0]), {"n_jobs": 1.5}, TypeError, "n_jobs: expected None or an integer, got float"),
    ],
    ids=str,
)
def test_a_sweep_refuses(arguments, options, error, message):
    with pytest.raises(error, match=message):
        sweep(*arguments, **options)


def test_a_table_chooses_and_prints():
    losses = {4.0: (5.0, 7.0), 2.0: (2.0, 2.5), 1.0: (1.0, 3.0), 0.5: (np.nan, 0.0)}
    table = sweep(lambda s, k, _: (losses[s][k], {"zeros": 10 * s}), list(losses), folds=2)
    assert (table.best(), table.best("1se"), table.choose("1se")) == (1.0, 2.0, 1)
    np.testing.assert_array_equal(table.mean, [6.0, 2.25, 2.0, np.nan])
    np.testing.assert_array_equal(table.standard_error, [1.0, 0.25, 1.0, np.nan])
    assert repr(table).splitlines() == [
        "strength  loss  std. error  zeros",
        "       4     6           1     40",
        "       2  2.25        0.25     20  1se",
        "       1     2           1     10  min",
        "     0.5   nan         nan      5",
    ]
    scores = SweepTable(table.strengths, table.scores, greater_is_better=True)
    assert (scores.best(), scores.best("1se")) == (4.0, 4.0)
    assert repr(scores).splitlines()[1].endswith("min, 1se")
    single = sweep(lambda s, k, _: s, [1.0, 2.0])
    assert repr(single).splitlines() == ["strength  loss", "       2     2", "       1     1  min"]
    with pytest.raises(ValueError, match="expected at least 2 folds"):
        single.best("1se")
    assert "min" not in repr(sweep(lambda *_: np.nan, [1.0]))


def test_a_table_goes_into_a_data_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(sweep(chain, STRENGTHS, folds=FOLDS).to_dict())
    assert list(frame.columns) == ["strength", "fold", "score", "steps", "first"]
    assert len(frame) == 12
    means = frame.groupby("strength")["score"].mean()
    np.testing.assert_array_equal(means[STRENGTHS], chain_scores().mean(axis=1))


@pytest.mark.parametrize("strengths", [STRENGTHS, [1.0, 0.1, 0.0]], ids=str)
def test_a_table_draws_itself(strengths):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    table = sweep(chain, strengths, folds=FOLDS)
    ax = table.plot(Figure().subplots())
    line, *marks = ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), strengths)
    np.testing.assert_array_equal(line.get_ydata(), table.mean)
    assert {mark.get_xdata()[0] for mark in marks} == {table.best(), table.best("1se")}
    assert ax.get_xscale() == ("log" if all(strengths) else "symlog")
    assert len(ax.collections) == 1
    single = sweep(chain, strengths).plot(Figure().subplots())
    assert (single.get_xlabel(), single.get_ylabel(), len(single.collections)) == ("strength", "loss", 0)


def test_a_table_makes_a_figure_of_its_own():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    ax = sweep(chain, STRENGTHS, folds=FOLDS, greater_is_better=True).plot()
    assert ax.get_ylabel() == "score"
    pyplot.close(ax.figure)


@pytest.mark.parametrize(("wanted", "lines"), [(True, 4), (None, 0), (False, 0)])
def test_progress_without_a_terminal(wanted, lines, capsys):
    sweep(chain, [1.0, 0.5], folds=2, progress=wanted)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (
        captured.err.splitlines()
        == [
            "1/4  strength 1, fold 0: 1",
            "2/4  strength 1, fold 1: 2",
            "3/4  strength 0.5, fold 0: 1.5",
            "4/4  strength 0.5, fold 1: 2.5",
        ][:lines]
    )


@pytest.mark.parametrize("wanted", [True, None, False])
def test_progress_in_a_terminal_is_a_bar(wanted, capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    sweep(chain, [1.0, 0.5], folds=2, progress=wanted)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("4/4" in captured.err) == (wanted is not False)


def test_without_rich_a_terminal_gets_lines(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    sweep(chain, [1.0], progress=True)
    assert capsys.readouterr().err == "1/1  strength 1, fold 0: 1\n"


def test_the_network_of_the_demo():
    pytest.importorskip("sklearn")
    from path_cases import network_training

    train, folds = network_training()
    table = sweep(train, [3e-3, 1e-3, 1e-4], folds=folds)
    assert (table.extras["zeros"] > 0).all()
    assert table.mean[0] > table.mean[1] > table.mean[2]
