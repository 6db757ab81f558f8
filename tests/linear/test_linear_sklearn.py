"""Linear models are scikit-learn estimators: checks, copies, pipelines, searches, feature names."""

import copy
import doctest
import pickle

import joblib
import numpy as np
import pytest
from linear_cases import OPTIONAL, PAIRS, bits, data, in_batches, is_classifier, make, stored
from scipy.special import expit
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from fastreg.linear import StreamingClassifier, StreamingRegressor, classifier, regressor

DOCUMENTS = [
    "the cat sat",
    "a dog ran",
    "cats sat on the mat",
    "dogs ran off",
    "",
    "the mat",
    "off ran a dog",
    "sat",
] * 4
TOPICS = np.array(["cat", "dog", "cat", "dog", "dog", "cat", "dog", "cat"] * 4)


def with_poor_score(model):
    tags = super(StreamingRegressor, model).__sklearn_tags__()
    tags.regressor_tags.poor_score = True
    return tags


# They take ten seconds each, and the optimizer has little part in what they check.
CHECKED = [pair for pair in PAIRS if pair[1] == "ftrl" or pair[0] in ("log_loss", "squared_error")]


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.SkipTestWarning", "ignore::sklearn.exceptions.ConvergenceWarning"
)
@pytest.mark.parametrize(("loss", "optimizer"), CHECKED)
def test_all_checks_of_scikit_learn_pass(loss, optimizer, monkeypatch):
    if loss == "cross_entropy":  # scikit-learn has no tag for targets from 0 to 1
        monkeypatch.setattr(regressor, "check_targets", lambda y, model: np.copyto(y, expit(y)))
        monkeypatch.setattr(StreamingRegressor, "__sklearn_tags__", with_poor_score)
    results = check_estimator(make(loss, optimizer), on_fail="raise")
    assert len(results) > 50
    for result in results:
        assert result["status"] == "passed" or result["check_name"] in OPTIONAL, result


@pytest.mark.parametrize("module", [classifier, regressor], ids=lambda module: module.__name__)
def test_examples_of_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_defaults_are_checked():
    for kind in (StreamingClassifier, StreamingRegressor):
        model = kind()
        assert make(model.loss, model.optimizer).get_params() == model.get_params()
        assert (model.loss, model.optimizer) in PAIRS


@pytest.fixture(scope="module")
def trained():
    """A model for each case after half of its stream, with the complete data."""
    models = {}
    for loss, optimizer in PAIRS:
        x, y = data(loss, 40, classes=3)
        models[loss, optimizer] = in_batches(make(loss, optimizer), x[:20], y[:20], 20), x, y
    return models


def resumed(model, x, y):
    return bits(model.partial_fit(x[20:], y[20:]))


COPIES = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, path: copy.deepcopy(model),
    "joblib": lambda model, path: joblib.load(joblib.dump(model, path / "model")[0]),
    "joblib, mapped": lambda model, path: joblib.load(joblib.dump(model, path / "model")[0], mmap_mode="r"),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_copies_are_equal_and_train_independently(trained, loss, optimizer, how, tmp_path):
    model, x, y = trained[loss, optimizer]
    before = bits(model)
    one, other = (COPIES[how](model, tmp_path) for _ in range(2))
    np.testing.assert_array_equal(one.predict(x), model.predict(x))
    assert resumed(one, x, y) != before
    assert bits(model) == bits(other) == before
    assert bits(one) == resumed(other, x, y)
    expected = in_batches(make(loss, optimizer), x, y, 20)
    np.testing.assert_array_equal(one.coef_, expected.coef_)


def test_a_pickle_contains_the_weights_once():
    x = stored(np.eye(2), np.int32, float)
    x.resize((2, 100_000))
    model = StreamingClassifier(optimizer="sgd").partial_fit(x, [0, 1], [0, 1])
    size = len(pickle.dumps(model))
    assert model.coef_.size == 100_000
    assert size == len(pickle.dumps(model)) < 2.5e6 + 3000


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_a_clone_has_only_the_parameters(trained, loss, optimizer):
    model, x, _ = trained[loss, optimizer]
    new = clone(model.set_params(alpha=0.5))
    model.set_params(alpha=1e-4)
    assert new.get_params() == model.get_params() | {"alpha": 0.5}
    assert not hasattr(new, "coef_")
    assert not hasattr(new, "intercept_")
    with pytest.raises(ValueError, match="not fitted"):
        new.predict(x)


@pytest.mark.parametrize("optimizer", ["ftrl", "sgd", "adagrad"])
def test_text_in_a_pipeline(optimizer):
    hashed = HashingVectorizer(n_features=2**18)
    pipeline = make_pipeline(hashed, StreamingClassifier(optimizer=optimizer, max_iter=20, tol=None, random_state=0))
    pipeline.fit(DOCUMENTS, TOPICS)
    assert pipeline.score(DOCUMENTS, TOPICS) == 1
    assert 0 < np.count_nonzero(pipeline[-1].coef_) <= 11
    streamed = StreamingClassifier(optimizer=optimizer)
    for _ in range(20):
        for k in range(0, len(DOCUMENTS), 5):
            streamed.partial_fit(hashed.transform(DOCUMENTS[k : k + 5]), TOPICS[k : k + 5], ["cat", "dog"])
    assert (streamed.predict(hashed.transform(DOCUMENTS)) == TOPICS).mean() > 0.85


@pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning"
)  # the RuntimeWarning is from jax
def test_grid_search_in_two_processes():
    x, y = data("log_loss", 100)
    grid = {"alpha": [1e-4, 1e-2, 100.0]}
    model = StreamingClassifier(max_iter=5, tol=None, random_state=0, l1_ratio=1.0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model), {"streamingclassifier__alpha": grid["alpha"]}, n_jobs=2
    )
    with joblib.parallel_config(backend="multiprocessing"):  # starts faster than the default backend
        search.fit(x, y)
    scores = search.cv_results_["mean_test_score"]
    assert search.best_params_["streamingclassifier__alpha"] != 100
    assert scores[:2].max() > 0.8 > scores[2]
    alone = GridSearchCV(model, grid).fit(stored(x, np.int32, np.float32), y)
    assert alone.best_score_ > 0.8


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_cross_validation(loss, optimizer):
    x, y = data(loss, 150, density=1)
    model = make(loss, optimizer, max_iter=300 if loss in ("huber", "cross_entropy") else 20, tol=None, random_state=0)
    assert cross_val_score(model, x, y, cv=3).min() > 0.8
    if loss == "log_loss":
        assert cross_val_score(model, x, y, cv=3, scoring="neg_log_loss").min() > -0.5


def test_calibrated_hinge():
    x, y = data("hinge", 150)
    calibrated = CalibratedClassifierCV(StreamingClassifier("hinge", max_iter=20, tol=None, random_state=0), cv=3)
    p = calibrated.fit(x, y).predict_proba(x)
    assert ((p[:, 1] > 0.5) == y).mean() > 0.8


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities(classes):
    x, y = data("log_loss", 60, classes=classes)
    model = in_batches(make("log_loss"), x, y, 10)
    p = model.predict_proba(x)
    assert p.shape == (60, classes)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(x))
    margins = model.decision_function(x)
    expected = 1 / (1 + np.exp(-margins))
    if classes == 3:
        expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p[:, 1] if classes == 2 else p, expected)
    far = model.predict_proba(x * 1e300)
    assert ((far >= 0) & (far <= 1)).all()
    np.testing.assert_allclose(far.sum(axis=1), 1)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_losses_without_probabilities(loss):
    model = in_batches(make(loss), *data(loss), 10)
    assert not hasattr(model, "predict_proba")
    with pytest.raises(AttributeError, match="predict_proba"):
        _ = model.predict_proba
    model.set_params(loss="log_loss")
    assert hasattr(model, "predict_proba")


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_predictions_for_few_rows_read_only_their_weights(loss, optimizer):
    """After a step, margins of few non-zeros apply pending penalties to their own features only."""
    x, y = data(loss, 40, 2000, 3 if is_classifier(loss) else 2, density=0.01)
    x[:, :3] += np.random.default_rng(1).standard_normal((40, 3))
    x = stored(x, np.int32, float)
    model = in_batches(make(loss, optimizer, alpha=0.01), x[:39], y[:39], 39)
    few = x[[3, 0]]
    assert model._stream._cache is None
    margins = model._margins(few)
    assert model._stream._cache is None, "all weights have been read"
    expected = few @ np.atleast_2d(model.coef_).T + model.intercept_
    np.testing.assert_allclose(margins, expected if margins.ndim == 2 else expected[:, 0], rtol=1e-13)
    np.testing.assert_array_equal(model._margins(few), margins)


def test_feature_names():
    pandas = pytest.importorskip("pandas")
    x, y = data("log_loss")
    frame = pandas.DataFrame(x, columns=[f"feature {i}" for i in range(x.shape[1])])
    model = StreamingClassifier().partial_fit(frame, y, [0, 1])
    assert list(model.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame[frame.columns[::-1]], y)
