"""Default learning rates on streams: they follow the sizes of features and targets, and no weight moves by that."""

import numpy as np
import pytest
from linear_cases import bits, data, in_batches, make
from scipy import sparse
from sklearn.datasets import load_diabetes, load_linnerud

from fastreg.linear import StreamingClassifier
from fastreg.linear.scales import Sizes

adaptive = pytest.mark.parametrize("optimizer", ["ftrl", "adagrad"])


@adaptive
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("columns", [1, 3])
def test_a_sample_without_a_gradient_moves_nothing_where_the_rate_changes(optimizer, form, columns):
    x = np.random.default_rng(0).standard_normal((200, 4))
    y = np.arange(200) % 2 if columns == 1 else np.arange(200) % 3
    x[np.arange(200), y] += 9
    model = StreamingClassifier("hinge", optimizer=optimizer, alpha=0).partial_fit(x, y, classes=np.unique(y))
    model.coef_ = np.array([[-5.0, 5, 0, 0]]) if columns == 1 else 10 * np.eye(3, 4) - 5
    right = (np.abs(model.decision_function(x).reshape(200, -1)) > 1).all(axis=1) & (model.predict(x) == y)
    assert right.sum() > 100
    x, y, before = np.tile(x[right], (60, 1))[:3000], np.tile(y[right], 60)[:3000], model.coef_.copy()
    classes = {"classes": np.unique(y)}
    for start in range(0, 3000, 700):  # the rate changes several times, first by a hundred
        batch = slice(start, start + 700)
        model.partial_fit(form(100 * x[batch]), y[batch], **classes)
    np.testing.assert_allclose(model.coef_, before, rtol=1e-9)


@adaptive
@pytest.mark.parametrize("load", [load_diabetes, load_linnerud])
@pytest.mark.parametrize("unit", [1.0, 1e3, 1e9])
def test_targets_in_their_own_units(optimizer, load, unit):
    """The mean squared error relative to that of the mean; after 5 passes, it was 53 for linnerud."""
    x, y = load(return_X_y=True)
    y = unit * y.reshape(len(x), -1)[:, 0]
    x, model = (x - x.mean(0)) / x.std(0), make("squared_error", optimizer, alpha=1e-6)
    for _ in range(5):
        model.partial_fit(x, y)
    assert np.mean((model.predict(x) - y) ** 2) < 0.85 * y.var()
    assert np.abs(model.intercept_[0] - y.mean()) < 0.25 * y.std()


@adaptive
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_batches_do_not_matter_where_targets_are_large(loss, optimizer):
    x, y = data(loss, 300)
    y = 1e4 + 500 * y
    whole = in_batches(make(loss, optimizer), x, y, 300)
    for size in (1, 7, 128):
        assert bits(in_batches(make(loss, optimizer), x, y, size)) == bits(whole)


def test_small_targets_have_the_rate_of_size_1():
    x, y = data("squared_error", 200)
    model = in_batches(make("squared_error", "ftrl"), x, 0.01 * y, 50)
    assert model._stream.sizes.learnt_level == 1
    assert in_batches(make("squared_error", "ftrl"), x, 100 * y, 50)._stream.sizes.learnt_level > 50


@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad", "sgd"])
def test_a_given_rate_does_not_depend_on_targets(optimizer):
    x, y = data("squared_error", 200)
    model = in_batches(make("squared_error", optimizer, eta0=0.01), x, 1000 + y, 50)
    assert model._stream.learner.center == 0
    assert model._stream.sizes == Sizes()


def test_penalty_factors_do_not_multiply_the_rate_of_the_intercept():
    x, y = data("squared_error", 50)
    model = make("squared_error", "ftrl", alpha=1e-299, penalty_factor=np.full(x.shape[1], 1e300))
    assert np.isfinite(in_batches(model, x, 1e20 * y, 50).coef_).all()
