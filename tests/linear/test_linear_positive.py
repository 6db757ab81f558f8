"""positive=True: no weight is negative, at any time, and the minimum is that of scikit-learn's Lasso and ElasticNet."""

import copy
import pickle

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, PAIRS, bits, data, in_batches, is_classifier, make, stored
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso

from fastreg.linear import StreamingClassifier, StreamingRegressor

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs
pairs = pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
SETTINGS = {"ftrl": {}, "adagrad": {}, "sgd": {"learning_rate": "optimal", "eta0": 0.05}}


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_minimum_is_that_of_scikit_learn(optimizer, l1_ratio):
    """On the diabetes data, with y in units of its standard deviation, since steps are as large as the residuals.

    The tolerances are about three times the error of the last steps after 300 epochs, the largest of three orders of
    the samples: objective 5e-4, weights 0.0024, Adagrad 0.33 % and 0.01. FTRL has the same zeros, apart from weights
    that are smaller than its error.
    """
    x, y = load_diabetes(return_X_y=True)
    x, y = x / x.std(axis=0), (y - y.mean()) / y.std()
    alpha = 0.05
    kind = Lasso(alpha=alpha) if l1_ratio == 1 else ElasticNet(alpha=alpha, l1_ratio=l1_ratio)
    exact = kind.set_params(positive=True, tol=1e-10, max_iter=100_000).fit(x, y)
    free = clone(exact).set_params(positive=False).fit(x, y)
    assert (free.coef_ < -0.01).any()  # the bound matters
    assert 0 < np.count_nonzero(exact.coef_) < 10

    def objective(model):
        w = model.coef_
        return ((x @ w + model.intercept_ - y) ** 2).mean() / 2 + alpha * (
            l1_ratio * np.abs(w).sum() + (1 - l1_ratio) / 2 * w @ w
        )

    options = SETTINGS[optimizer] | {"max_iter": 300, "tol": None, "random_state": 0}
    model = StreamingRegressor(optimizer=optimizer, alpha=alpha, l1_ratio=l1_ratio, positive=True, **options).fit(x, y)
    assert (model.coef_ >= 0).all()
    assert objective(exact) <= objective(model) * (1 + 1e-9)
    assert objective(model) <= objective(exact) * (1.01 if optimizer == "adagrad" else 1.0015)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=0.03 if optimizer == "adagrad" else 0.007)
    if optimizer == "ftrl":
        clear = (exact.coef_ == 0) | (exact.coef_ > 0.007)
        np.testing.assert_array_equal((model.coef_ == 0)[clear], (exact.coef_ == 0)[clear])


@pytest.mark.parametrize("classes", [2, 3])
@pairs
def test_no_weight_is_negative_and_splits_change_no_bit(loss, optimizer, classes):
    x, y = data(loss, 24, classes=classes)
    for form, dtype in (("dense", np.float32), (np.int64, np.float64)):
        samples = stored(x, form, dtype)
        for options in ({}, {"penalty_factor": np.arange(12) % 2}):
            options = {"alpha": 0.01, "l1_ratio": 0.6, "positive": True} | options
            expected = in_batches(make(loss, optimizer, **options), samples, y, len(y))
            free = in_batches(make(loss, optimizer, **options).set_params(positive=False), samples, y, len(y))
            assert free.coef_.min() < 0 <= expected.coef_.min()
            assert expected.coef_.max() > 0
            known = {"classes": np.unique(y)} if is_classifier(loss) else {}
            for size in (1, 10):
                model = make(loss, optimizer, **options)
                for k in range(0, len(y), size):
                    model.partial_fit(samples[k : k + size], y[k : k + size], **known)
                    assert model.coef_.min() >= 0
                    model = copy.deepcopy(model) if k % 2 else pickle.loads(pickle.dumps(model))
                assert bits(model) == bits(expected)
            own = {"shuffle": False, "max_iter": 1, "tol": None}
            assert bits(make(loss, optimizer, **options, **own).fit(samples, y)) == bits(expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_intercept_is_free(optimizer):
    x = np.random.default_rng(0).random((200, 3))
    y = x[:, 0] - 5
    model = StreamingRegressor(optimizer=optimizer, positive=True, max_iter=100, tol=None, random_state=0).fit(x, y)
    assert model.intercept_[0] < -4.5
    assert (model.coef_ >= 0).all()
    assert model.coef_[0] > 0.5


def test_weights_that_are_positive_anyway_have_the_same_bits():
    x = np.abs(np.random.default_rng(0).standard_normal((50, 3)))
    y = x.sum(axis=1)
    for optimizer in OPTIMIZERS:
        free, bounded = (
            in_batches(StreamingRegressor(optimizer=optimizer, positive=p, eta0=0.01), x, y, 10) for p in (False, True)
        )
        assert free.coef_.min() > 0
        assert bits(free) == bits(bounded)


@pairs
def test_the_bound_belongs_to_the_model(loss, optimizer):
    """As `fit_intercept`: it cannot change between calls, but a new fit can have another."""
    x, y = data(loss)
    model = in_batches(make(loss, optimizer), x, y, 10)
    before = bits(model)
    model.set_params(positive=True)
    with pytest.raises(ValueError, match=r"^positive: expected False, as in the first call, got True"):
        model.partial_fit(x, y)
    model.set_params(warm_start=True)
    with pytest.raises(ValueError, match=r"^warm_start: expected positive as in the last fit, False, got True"):
        model.fit(x, y)
    assert bits(model) == before
    model.set_params(warm_start=False, max_iter=2, tol=None).fit(x, y)
    assert model.coef_.min() >= 0
    model.set_params(warm_start=True).fit(x, y)
    assert model.coef_.min() >= 0


def test_a_clone_keeps_the_parameter():
    for kind in (StreamingClassifier, StreamingRegressor):
        assert clone(kind(positive=True)).positive is True
        assert kind().positive is False
        x, y = data("hinge")
        assert kind(positive=np.True_, max_iter=2, tol=None).fit(x, y).coef_.min() >= 0
