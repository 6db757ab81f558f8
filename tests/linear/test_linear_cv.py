"""Cross-validation of the strength: against single models, and what the fitted model offers."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from linear_cases import LOSSES, OPTIONAL, bits, data, is_classifier, make
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold, KFold
from sklearn.preprocessing import scale
from sklearn.utils.estimator_checks import check_estimator

from fastreg.linear import (
    StreamingClassifier,
    StreamingClassifierCV,
    StreamingRegressor,
    StreamingRegressorCV,
    paths,
)
from fastreg.linear.choice import choice_of
from fastreg.linear.newton import minimise

KINDS = {StreamingClassifier: StreamingClassifierCV, StreamingRegressor: StreamingRegressorCV}
HALVES = [(np.arange(0, 60, 2), np.arange(1, 60, 2)), (np.arange(1, 60, 2), np.arange(0, 60, 2))]


def choosing(loss, **options):
    return KINDS[LOSSES[loss]](loss, **options)


def fitted(loss="log_loss", classes=2, **options):
    x, y = data(loss, 60, 8, classes=classes)
    return choosing(loss, **{"alphas": 6, "cv": HALVES} | options).fit(x, y), x, y


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.SkipTestWarning", "ignore::sklearn.exceptions.ConvergenceWarning"
)
@pytest.mark.parametrize("kind", KINDS.values())
def test_all_checks_of_scikit_learn_pass(kind):
    results = check_estimator(kind(alphas=3, cv=3), on_fail="raise")  # some of its data have 3 samples of a class
    assert len(results) > 50
    for result in results:
        assert result["status"] == "passed" or result["check_name"] in OPTIONAL, result


@pytest.mark.parametrize("loss", LOSSES)
def test_scores_are_the_losses_of_single_models(loss):
    model, x, y = fitted(loss)
    codes = (2.0 * y - 1) if is_classifier(loss) else y
    for s in (1, 4) if loss not in ("hinge", "quantile") else (1,):  # where the minimum is flat, test losses differ
        for k, (train, test) in enumerate(HALVES):
            single = make(loss, alpha=model.alphas_[s], l1_ratio=1.0).fit(x[train], y[train])
            margins = single._stream.margins(x[test])
            expected = single._stream.loss(margins, codes[test], None, single._task())
            rtol = 0.02 if loss in ("hinge", "quantile") else 2e-3
            assert model.loss_path_[s, k] == pytest.approx(expected, rel=rtol)
    np.testing.assert_allclose(model.mean_loss_path_, model.loss_path_.mean(axis=1))
    spread = np.abs(model.loss_path_[:, 0] - model.loss_path_[:, 1]) / 2
    np.testing.assert_allclose(model.standard_error_path_, spread)
    assert model.alpha_ == model.alphas_[model.mean_loss_path_.argmin()]
    single = make(loss, alpha=model.alpha_, l1_ratio=1.0).fit(x, y)
    tolerance = 0.05 if loss in ("hinge", "quantile") else 2e-3
    np.testing.assert_allclose(model.coef_, single.coef_, atol=tolerance * np.abs(single.coef_).max())


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in ("hinge", "quantile")])
def test_the_grid_starts_where_all_weights_vanish(loss):
    model, x, y = fitted(loss, penalty_factor=[1, 1, 2, 0.5, 1, 1, 1, 1], cv=2)
    assert model.nonzero_path_[0] == 0 < model.nonzero_path_[-1]
    assert model.alphas_[-1] == pytest.approx(1e-3 * model.alphas_[0])
    below = choosing(loss, alphas=[0.99 * model.alphas_[0]], penalty_factor=model.penalty_factor, cv=2).fit(x, y)
    assert below.nonzero_path_[0] > 0


def test_the_grid_with_groups_factors_of_zero_and_bounds():
    model, *_ = fitted("multinomial", classes=3, group="features")
    assert model.nonzero_path_[0] == 0 < model.nonzero_path_[1]
    assert not (model.coef_path_ != 0).any(axis=1)[1].all()
    model, *_ = fitted(penalty_factor=[0, 1, 1, 1, 1, 1, 1, 1])
    assert np.flatnonzero(model.coef_path_[0]).tolist() == [0]
    model, *_ = fitted(positive=True)
    assert model.nonzero_path_[0] == 0 < model.nonzero_path_[1]
    assert (model.coef_path_ >= 0).all()


@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_integer_weights_count_as_repeated_samples(loss):
    x, y = data(loss, 60, 8)
    weights = np.random.default_rng(0).integers(0, 3, 60)
    repeats = np.repeat(np.arange(60), weights)
    folds = [[np.flatnonzero(np.isin(repeats, rows)) for rows in pair] for pair in HALVES]
    own = choosing(loss, alphas=6, cv=HALVES, rule="1se").fit(x, y, sample_weight=weights)
    same = choosing(loss, alphas=6, cv=folds, rule="1se").fit(
        x[repeats], y[repeats], sample_weight=np.full(len(repeats), 2.0)
    )
    np.testing.assert_allclose(own.alphas_, same.alphas_)
    np.testing.assert_allclose(own.loss_path_, same.loss_path_, rtol=1e-4)
    sums = np.array([weights[test].sum() for _, test in HALVES])
    np.testing.assert_allclose(own.mean_loss_path_, own.loss_path_ @ sums / sums.sum())


def test_class_weights_are_sample_weights():
    x, y = data("log_loss", 60, 8)
    own = StreamingClassifierCV(alphas=6, cv=HALVES, class_weight={0: 3.0}).fit(x, y)
    same = StreamingClassifierCV(alphas=6, cv=HALVES).fit(x, y, sample_weight=np.where(y == 0, 3.0, 1.0))
    np.testing.assert_array_equal(own.loss_path_, same.loss_path_)


def test_offsets_are_used_in_training_and_scores():
    x, y = data("poisson", 60, 8)
    exposure = np.random.default_rng(0).uniform(1, 20, 60)
    shifted = StreamingRegressorCV("poisson", alphas=6, cv=HALVES).fit(x, y, offset=np.full(60, 2.0))
    plain = StreamingRegressorCV("poisson", alphas=6, cv=HALVES).fit(x, y)
    np.testing.assert_allclose(shifted.loss_path_, plain.loss_path_, rtol=1e-5)
    np.testing.assert_allclose(shifted.intercept_ + 2, plain.intercept_, rtol=1e-3)
    other = StreamingRegressorCV("poisson", alphas=6, cv=HALVES).fit(x, y, offset=np.log(exposure))
    assert np.abs(other.loss_path_ - plain.loss_path_).max() > 0.01


def test_one_standard_error_takes_the_strongest_strength_within_it():
    x, y = load_breast_cancer(return_X_y=True)
    model, least = (StreamingClassifierCV(alphas=12, rule=rule).fit(scale(x), y) for rule in ("1se", "min"))
    best = model.mean_loss_path_.argmin()
    within = model.mean_loss_path_ <= model.mean_loss_path_[best] + model.standard_error_path_[best]
    assert model.alpha_ == model.alphas_[within.argmax()] > least.alpha_ == least.alphas_[best]
    assert np.count_nonzero(model.coef_) < np.count_nonzero(least.coef_)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if not is_classifier(loss)])
@pytest.mark.parametrize("features", [8, 120])
def test_a_constant_target_has_a_constant_model(loss, features):
    x = np.random.default_rng(0).normal(size=(30, features))
    for constant in {"squared_error": (0.0, 0.1, 3.0), "cross_entropy": (0.1, 0.5)}.get(loss, (0.1, 3.0)):
        model = choosing(loss, alphas=3, cv=3).fit(x, np.full(30, constant))
        np.testing.assert_allclose(model.predict(x), constant, rtol=1e-6, atol=1e-12)
        assert not model.coef_.any()
        assert model.alpha_ == model.alphas_[0]
        assert np.isfinite(model.loss_path_).all()


def test_a_target_that_is_constant_in_a_test_part_only():
    x, _ = data("squared_error", 60, 8)
    assert StreamingRegressorCV("quantile", alphas=4).fit(x, np.maximum(np.arange(60.0) - 11, 0)).alpha_ > 0


@pytest.mark.parametrize("rule", ["min", "1se"])
def test_a_single_sample_of_a_stream(rule):
    x, y = data("squared_error", 23, 8)
    model = StreamingRegressorCV(rule=rule, alphas=4, verbose=1).partial_fit(x[:1], y[:1], sample_weight=[1e-20])
    assert model.alpha_ in model.alphas_
    assert np.isnan(model.progressive_standard_error_).all()
    assert np.isfinite(model.partial_fit(x[1:], y[1:]).progressive_standard_error_).all()


def test_memory_is_said_for_any_integer():
    sizes = {StreamingRegressorCV(alphas=n).required_memory(1000) for n in (30, np.int64(30))}
    assert len(sizes) == 1


def test_the_fitted_model_is_the_plain_one():
    model, x, y = fitted("multinomial", classes=3)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)
    same = pickle.loads(pickle.dumps(model))
    assert (same.alpha_, same.coef_path_.tolist()) == (model.alpha_, model.coef_path_.tolist())
    sparse = copy.deepcopy(model).sparsify()
    assert sparse.coef_path_.shape == (6 * 3, 8)
    assert (sparse.predict(x) == model.predict(x)).all()
    assert str(clone(model).get_params()) == str(model.get_params())
    assert model.report()["coef_"].zeros == model.zeros() == (model.coef_ == 0).sum()
    before = model.alpha_, model.loss_path_.tobytes()
    model.partial_fit(x, y)
    same.partial_fit(x[:20], y[:20]).partial_fit(x[20:], y[20:])
    assert bits(model) == bits(same)
    assert (model.alpha_, model.loss_path_.tobytes()) == before
    model.coef_ = np.zeros((3, 8))
    assert not model.coef_.any()


def test_tables_and_names():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    x, y = data("squared_error", 60, 8)
    frame = pandas.DataFrame(x, columns=list("abcdefgh"))
    model = StreamingRegressorCV(alphas=6).fit(frame, pandas.Series(y))
    assert model.feature_names_in_.tolist() == list("abcdefgh")
    table = pandas.DataFrame(model.path_)
    assert table.shape == (6, 5)
    assert table["nonzeros"].tolist() == (model.coef_path_ != 0).sum(axis=1).tolist()
    assert model.coef_path_.shape == (6, 8)
    assert model.intercept_path_.shape == (6, 1)
    chosen = model.alphas_.tolist().index(model.alpha_)
    np.testing.assert_allclose(model.coef_path_[chosen], model.coef_, rtol=1e-12)


def test_folds_of_groups_and_dense_and_sparse_samples():
    x, y = data("squared_error", 60, 8)
    groups = np.arange(60) % 6
    own = StreamingRegressorCV(alphas=4, cv=GroupKFold(3)).fit(x, y, groups=groups)
    same = StreamingRegressorCV(alphas=4, cv=GroupKFold(3).split(x, y, groups)).fit(x, y)
    np.testing.assert_array_equal(own.loss_path_, same.loss_path_)
    single = StreamingRegressorCV(alphas=4, cv=GroupKFold(3)).fit(x.astype(np.float32), y, groups=groups)
    np.testing.assert_allclose(single.loss_path_, own.loss_path_, rtol=1e-4)
    assert single.coef_.dtype == single.coef_path_.dtype == np.float32


def test_a_picture_of_the_path():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    for model in (fitted(rule="1se")[0], fitted("squared_error", alphas=[1.0, 0.1, 0.0])[0]):
        ax = model.plot_path()
        marks = [line for line in ax.lines if line.get_linestyle() == "-" and len(set(line.get_xdata())) == 1]
        assert [line.get_xdata()[0] for line in marks] == [model.alpha_]
        assert ax.lines[0].get_ydata().tolist() == model.mean_loss_path_.tolist()
        assert len(ax.figure.axes) == 3
        own = pyplot.figure().subplots()
        assert model.plot_path(own) is own
        assert len(own.figure.axes) == 2
        pyplot.close("all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": [0.1, -1.0]}, "alphas: expected finite numbers, not negative, got -1"),
        ({"alphas": [0.1, np.nan]}, "alphas: expected finite numbers"),
        ({"alphas": [np.inf]}, "alphas: expected finite numbers"),
        ({"alphas": []}, "alphas: expected at least one number"),
        ({"alphas": 0}, "alphas: expected a number from 1, or a list of strengths, got 0"),
        ({"alphas": True}, "alphas: expected a number from 1"),
        ({"alphas": 0.5}, "alphas: expected one dimension"),
        ({"l1_ratio": [0.5, 1.5]}, "l1_ratio: expected numbers from 0 to 1, got 1.5"),
        ({"l1_ratio": -0.1}, "l1_ratio: expected finite numbers, not negative, got -0.1"),
        ({"l1_ratio": []}, "l1_ratio: expected at least one number"),
        ({"eps": 1.0}, "eps: expected a number between 0 and 1, got 1.0"),
        ({"rule": "best"}, "rule: expected one of 'min', '1se', got 'best'"),
        ({"tol": None}, "tol: expected a finite number from 0, got None"),
        ({"cv": "five"}, "cv"),
        ({"cv": []}, "cv: expected at least one fold, got none"),
        ({"cv": [([0, 1, 2], [])]}, "cv: expected training and test samples in each fold, got none in fold 0"),
        ({"cv": [([0, 1, 60], [2])]}, "cv: expected indices of 60 samples, got"),
        ({"cv": [([0.5, 1], [2])]}, "cv: expected indices of 60 samples, got"),
        ({"cv": KFold(61)}, "n_splits=61 greater than the number of samples"),
        ({"cv": HALVES[:1], "rule": "1se"}, "rule: expected 'min' with a single fold"),
        ({"learning_rate": "optimal", "optimizer": "sgd"}, "learning_rate: expected one that does not depend"),
    ],
)
def test_bad_parameters_are_named_and_change_nothing(options, message):
    model, x, y = fitted("squared_error")
    before = bits(model), model.loss_path_.tobytes()
    model.set_params(**options)
    with pytest.raises(ValueError, match=message):
        model.fit(x, y)
    model.set_params(rule="min", alphas=6, l1_ratio=1.0)
    assert (bits(model), model.loss_path_.tobytes()) == before


def test_bad_data_are_named():
    x, y = data("log_loss", 60, 8)
    order = np.argsort(y, kind="stable")
    with pytest.raises(
        ValueError, match=r"cv: expected samples of each class .* in the training part of fold 0, got none of"
    ):
        StreamingClassifierCV(cv=KFold(2)).fit(x[order], y[order])
    with pytest.raises(ValueError, match=r"sample_weight, class_weight: .* in the test part of fold 0, got all zero"):
        StreamingClassifierCV(cv=HALVES).fit(x, y, sample_weight=np.arange(60) % 2 == 0)
    with pytest.raises(ValueError, match="got all zero"):
        StreamingClassifierCV(cv=HALVES).fit(x, y, sample_weight=0.0)
    for name in ("alpha_", "loss_path_", "path_", "coef_path_", "progressive_loss_", "coef_"):
        assert not hasattr(StreamingClassifierCV(), name)


def test_a_single_fold_has_no_standard_error():
    model, *_ = fitted(cv=HALVES[:1])
    assert np.isnan(model.standard_error_path_).all()
    assert model.alpha_ == model.alphas_[model.loss_path_[:, 0].argmin()]


def test_probabilities_as_targets():
    x, y = data("cross_entropy", 60, 8)
    model = StreamingRegressorCV("cross_entropy", alphas=6, cv=HALVES).fit(x, y)
    np.testing.assert_allclose(model.predict(x), expit(x @ model.coef_ + model.intercept_))


@pytest.mark.parametrize("kind", [StreamingRegressor, StreamingRegressorCV])
def test_warnings_name_the_line_of_the_caller(kind):
    x, y = data("squared_error", 60, 8)
    options = {"alphas": 4} if kind is StreamingRegressorCV else {}
    with pytest.warns(ConvergenceWarning, match="max_iter") as caught:
        kind("huber", max_iter=1 if options else 2, **options).fit(x, 100 * y)
    assert {Path(warning.filename).name for warning in caught} == {"test_linear_cv.py"}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fold_in_which_a_constant_has_no_loss():
    x, y = data("quantile", 60, 8)
    y[::2] = 1.0
    model = choosing("quantile", alphas=3, cv=HALVES).fit(x, y)
    assert np.isfinite(model.loss_path_).all()
    assert np.ptp(model.loss_path_[:, 0]) == 0, "trained on the constant half"


def test_a_common_factor_of_all_sample_weights_changes_nothing():
    x, y = data("squared_error", 61, 8)
    one, other = (choosing("squared_error", alphas=9, cv=3, rule="1se") for _ in range(2))
    one.fit(x, y)
    other.fit(x, y, sample_weight=np.full(61, 4.0))
    np.testing.assert_array_equal(one.mean_loss_path_, other.mean_loss_path_)
    assert one.alpha_ == other.alpha_


def test_folds_without_a_finite_loss_are_named():
    scores = np.array([[[1.0, np.inf], [1.0, np.nan]]])
    with pytest.raises(ValueError, match=r"^cv: .*; fold 1 without any"):
        choice_of(np.ones(1), np.array([[0.2, 0.1]]), scores, "min")


@pytest.mark.parametrize("options", [{"penalty_factor": np.arange(150) > 0}, {"group": "features"}])
def test_the_first_strength_is_screened(options):
    x, y = data("multinomial", 60, 150, classes=3)
    model = StreamingClassifierCV("multinomial", alphas=3, eps=0.5, cv=HALVES, **options)
    solved = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "minimise", lambda o, *args, **kw: solved.append(o.x.shape[1]) or minimise(o, *args, **kw))
        model.fit(x, y)
    assert 0 < max(solved) < 150, "all are solved for a part of the features"


def test_the_sparse_path_is_a_copy():
    model = fitted()[0].sparsify()
    model.coef_path_.data[:] = 9.0
    assert not (model.coef_path_.data == 9.0).any()
