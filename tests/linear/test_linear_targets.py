"""Targets that a loss allows, and probabilities of classes."""

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, bits, data, in_batches, make
from sklearn.linear_model import SGDClassifier

from fastreg.linear import StreamingRegressor
from fastreg.reference.losses import LOG_LINK

pytestmark = pytest.mark.filterwarnings(
    "ignore:fit. the mean loss", "ignore::sklearn.exceptions.ConvergenceWarning"
)  # models with few epochs
BAD = {
    "poisson": ({}, -1.0, "non-negative numbers from 0 to 1e+30 with loss='poisson'"),
    "poisson, large": ({"loss": "poisson"}, 1e200, "non-negative numbers"),
    "gamma": ({}, 0.0, "positive numbers from 1e-30 to 1e+30 with loss='gamma'"),
    "tweedie": ({}, -1e-9, "non-negative numbers from 0 to 1e+30 with loss='tweedie', power=1.5"),
    "tweedie of power 1": ({"loss": "tweedie", "power": 1}, -1.0, "non-negative numbers .* power=1"),
    "tweedie of power 2": ({"loss": "tweedie", "power": 2}, 0.0, "positive numbers .* power=2"),
    "tweedie of power 3": ({"loss": "tweedie", "power": 3}, 0.0, "positive numbers .* power=3"),
    "cross_entropy": ({}, 1.5, "numbers from 0 to 1 with loss='cross_entropy'"),
    "cross_entropy, negative": ({"loss": "cross_entropy"}, -0.1, "numbers from 0 to 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_targets_without_a_meaning_are_errors(case):
    options, bad, message = BAD[case]
    loss = options.get("loss", case)
    options = {"loss": loss} | options
    x, y = data(loss, 30)
    model = in_batches(StreamingRegressor(**options), x, y, 10)
    before = bits(model)
    y[17] = bad
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=rf"^y: expected {message}.*, got {bad!r}$".replace("+", r"\+")):
            call(x, y)
    assert bits(model) == before
    with pytest.raises(ValueError, match=r"^y: expected"):
        StreamingRegressor(**options).fit(x, y)


@pytest.mark.parametrize("loss", [*LOG_LINK, "cross_entropy"])
def test_targets_that_are_all_the_same(loss):
    x = np.random.default_rng(0).standard_normal((40, 3))
    for y in (0.0, 1.0) if loss not in ("gamma", "cross_entropy") else (1.0, 0.5):
        model = StreamingRegressor(loss, max_iter=20, tol=None).fit(x, np.full(40, y))
        assert np.isfinite(model.coef_).all()
        np.testing.assert_allclose(model.predict(x), y, atol=0.3)


@pytest.mark.parametrize(
    ("name", "bad"), [("quantile", b) for b in (0, 1, -0.1, 2, "a", None)] + [("power", b) for b in (0.5, -1, np.nan)]
)
def test_parameters_of_losses_are_checked(name, bad):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        StreamingRegressor("quantile", **{name: bad}).fit([[1.0], [2.0]], [1.0, 2.0])


def test_tags_say_that_targets_are_positive():
    assert StreamingRegressor("poisson").__sklearn_tags__().target_tags.positive_only
    assert not StreamingRegressor("tweedie", power=0).__sklearn_tags__().target_tags.positive_only
    assert not StreamingRegressor("quantile").__sklearn_tags__().target_tags.positive_only


# -- Probabilities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("loss", ["log_loss", "multinomial", "modified_huber"])
def test_logarithms_of_probabilities(loss, classes):
    x, y = data(loss, 60, classes=classes)
    model = in_batches(make(loss), x, y, 10)
    p, logs = model.predict_proba(x), model.predict_log_proba(x)
    np.testing.assert_allclose(np.exp(logs), p, rtol=1e-12)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(x))
    far = model.predict_log_proba(1e6 * x)
    assert not np.isnan(far).any()
    if loss != "modified_huber":
        assert far.min() < -1e4
        assert np.isfinite(far).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_of_modified_huber_are_those_of_scikit_learn(classes):
    x, y = data("modified_huber", 80, classes=classes)
    theirs = SGDClassifier("modified_huber", random_state=0).fit(x, y)
    model = in_batches(make("modified_huber"), x, y, 10)
    learner = model._stream.learner
    model.__dict__["_margins"] = lambda _: theirs.decision_function(x)
    assert learner.completed == 80
    np.testing.assert_allclose(model.predict_proba(x), theirs.predict_proba(x), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_modified_huber_is_near_scikit_learn(optimizer):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 4))
    y = (x[:, 0] - x[:, 1] + 0.5 * rng.standard_normal(500) > 0).astype(int)
    theirs = SGDClassifier("modified_huber", alpha=0.01, random_state=0, max_iter=2000, tol=None, average=True).fit(
        x, y
    )
    model = make("modified_huber", optimizer, alpha=0.01, l1_ratio=0, max_iter=100, tol=None, random_state=0).fit(x, y)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=0.15)
