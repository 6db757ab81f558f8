"""group="features": the minimum with the group lasso, dense steps, splits, factors and bounds, two classes, reports."""

import copy
import pickle

import numpy as np
import pytest
from linear_cases import bits, data, in_batches, make, slopes, stored
from scipy.special import expit
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

import fastreg
from fastreg.linear import StreamingClassifier

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs
OPTIMIZERS = ("ftrl", "sgd")  # that have a closed form
LOSSES = StreamingClassifier._losses
SETTINGS = {"ftrl": {}, "sgd": {"learning_rate": "optimal", "eta0": 0.5}}
cases = pytest.mark.parametrize(("loss", "optimizer"), [(loss, name) for loss in LOSSES for name in OPTIMIZERS])


def objective(w, b, x, y, alpha, l1_ratio, factors):
    """Mean log-loss of the classes against the rest, plus the penalty; w is (classes, features)."""
    margins = y * (x @ w.T + b)
    penalty = factors * (l1_ratio * np.linalg.norm(w, axis=0) + (1 - l1_ratio) / 2 * (w**2).sum(axis=0))
    return np.logaddexp(0, -margins).sum(axis=1).mean() + alpha * penalty.sum()


def minimum(x, y, alpha, l1_ratio, factors):
    """Weights and intercepts at the minimum, by 20 000 proximal gradient steps of the reference's formulas."""
    w, b = np.zeros((y.shape[1], x.shape[1])), np.zeros(y.shape[1])
    lr = 4 / (np.linalg.norm(x, 2) ** 2 / len(x) + 1)
    for _ in range(20_000):
        slopes = -y * expit(-y * (x @ w.T + b)) / len(x)
        w, b = w - lr * slopes.T @ x, b - lr * slopes.sum(axis=0)
        norms = np.linalg.norm(w, axis=0)
        shrink = np.maximum(0, norms - lr * alpha * l1_ratio * factors)
        w = w * np.divide(shrink, norms, where=norms > 0, out=np.zeros_like(norms))
        w /= 1 + lr * alpha * (1 - l1_ratio) * factors
    return w, b


@pytest.mark.parametrize("weighted", [False, True], ids=["", "factors"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.6])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_minimum_is_that_of_the_group_lasso(optimizer, l1_ratio, weighted):
    """The tolerances are those of test_linear_fit.py; FTRL also has the same zeros.

    SGD's steps, 1/(alpha·t), are small for large weights without a penalty: these are still 5 % too small.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 8))
    labels = (x[:, :3] @ rng.standard_normal((3, 4)) + 0.3 * rng.standard_normal((200, 4))).argmax(axis=1)
    y = np.where(labels[:, None] == np.arange(4), 1.0, -1.0)
    factors = np.array([1, 0, 3, 1, 1, 0, 1, 1]) if weighted else np.ones(8)
    alpha, factors = 0.08, np.minimum(factors, 1) if optimizer == "sgd" and l1_ratio < 1 else factors
    exact = minimum(x, y, alpha, l1_ratio, factors)
    options = SETTINGS[optimizer] | {"max_iter": 300, "tol": None, "random_state": 0}
    options |= {"penalty_factor": factors} if weighted else {}
    model = make("log_loss", optimizer, alpha=alpha, l1_ratio=l1_ratio, group="features", **options).fit(x, labels)
    best = objective(*exact, x, y, alpha, l1_ratio, factors)
    own = objective(model.coef_, model.intercept_, x, y, alpha, l1_ratio, factors)
    assert best <= own * (1 + 1e-6)
    assert own <= best * 1.001
    np.testing.assert_allclose(model.coef_, exact[0], rtol=0, atol=0.05 if optimizer == "sgd" and weighted else 0.02)
    zero = ~exact[0].any(axis=0)
    assert 2 <= zero.sum() < 8
    if optimizer == "ftrl":
        np.testing.assert_array_equal(~model.coef_.any(axis=0), zero)
    losses = own - model.penalty()
    assert losses == pytest.approx(objective(model.coef_, model.intercept_, x, y, 0, 0, factors), rel=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_feature_has_weights_in_all_classes_or_in_none(optimizer):
    """With the log-loss: a weight that never had a gradient, as with the hinge loss, is zero in any group."""
    x, y = data("log_loss", 60, classes=3)
    alpha = 0.1 if optimizer == "ftrl" else 0.5
    loss, options = "log_loss", {"alpha": alpha, "l1_ratio": 1.0}
    model = in_batches(make(loss, optimizer, **options, group="features"), x, y, 10)
    nonzero = model.coef_ != 0
    assert (nonzero.all(axis=0) | ~nonzero.any(axis=0)).all()
    row = model.report()["coef_"]
    assert (row.groups, row.zero_groups) == (12, 12 - np.count_nonzero(nonzero.any(axis=0)))
    assert 0 < row.zero_groups < 12
    assert row.penalty == pytest.approx(alpha * np.linalg.norm(model.coef_, axis=0).sum(), rel=1e-14)
    assert "zero groups" in repr(model.report())
    plain = in_batches(make(loss, optimizer, **options), x, y, 10)
    assert plain.report()["coef_"].groups is None
    assert bits(plain) != bits(model)


@pytest.mark.parametrize("positive", [False, True])
@cases
def test_the_weights_are_those_of_dense_steps(loss, optimizer, positive):
    """Steps of the dense optimizer with rows as groups; the intercept is a group with factor 0."""
    x, y = data(loss, 40, classes=3)
    codes, alpha, eta0 = np.unique(y, return_inverse=True)[1], 0.3, 0.1
    factors = np.array([1, 0, 2, 0.5, 1, 3, 1, 1, 0.1, 1, 7, 1])
    bounds = (np.zeros((13, 3)), np.full((13, 3), np.inf))
    bounds[0][-1] = -np.inf
    options = {"l21": alpha, "group_axis": 0, "penalty_factor": np.repeat(np.append(factors, 0), 3).reshape(13, 3)}
    options |= {"bounds": bounds} if positive else {}
    w = np.zeros((13, 3))
    kind = fastreg.FTRL if optimizer == "ftrl" else fastreg.SGD
    steps = kind(w, eta0, **options)
    for t, (sample, code) in enumerate(zip(np.column_stack([x, np.ones(40)]), codes)):
        if optimizer == "ftrl":
            steps.param_groups[0].update(l21=(t + 1) * alpha)
        targets = np.where(code == np.arange(3), 1.0, -1.0)
        steps.step(np.outer(sample, slopes(loss, sample @ w, targets)))
    rate = {"eta0": eta0, "learning_rate": "constant", "positive": positive, "penalty_factor": factors}
    model = make(loss, optimizer, alpha=alpha, l1_ratio=1.0, group="features", **rate)
    np.testing.assert_allclose(in_batches(model, x, y, 7).coef_, w[:-1].T, rtol=1e-9, atol=1e-12)
    assert (w[:-1] == 0).all(axis=1).any()
    assert not positive or model.coef_.min() >= 0


@cases
def test_splits_and_copies_change_no_bit(loss, optimizer):
    x, y = data(loss, 24, classes=3)
    for form, dtype in (("dense", np.float32), (np.int32, np.float64), (np.int64, np.float32)):
        samples = stored(x, form, dtype)
        for options in ({}, {"positive": True}, {"penalty_factor": np.arange(12) % 2}):
            options = {"alpha": 0.05, "l1_ratio": 0.7, "group": "features"} | options
            expected = in_batches(make(loss, optimizer, **options), samples, y, len(y))
            assert expected.coef_.any()
            for size in (1, 10):
                model = make(loss, optimizer, **options)
                for k in range(0, len(y), size):
                    model.partial_fit(samples[k : k + size], y[k : k + size], np.unique(y))
                    model = copy.deepcopy(model) if k % 2 else pickle.loads(pickle.dumps(model))
                assert bits(model) == bits(expected)
            own = {"shuffle": False, "max_iter": 1, "tol": None}
            assert bits(make(loss, optimizer, **options, **own).fit(samples, y)) == bits(expected)


@cases
def test_two_classes_have_the_bits_of_l1(loss, optimizer):
    x, y = data(loss)
    models = [make(loss, optimizer, alpha=0.05, l1_ratio=0.7, group=group) for group in (None, "features")]
    expected, model = (in_batches(own, x, y, 7) for own in models)
    assert bits(model) == bits(expected)
    assert model.penalty() == expected.penalty()
    assert model.report() == expected.report()


@cases
def test_groups_can_begin_and_end_between_calls(loss, optimizer):
    """Steps before the change keep their penalty, with any split."""
    x, y = data(loss, 60, classes=3)
    options = {"alpha": 0.05, "l1_ratio": 1.0}

    def streamed(size):
        model = make(loss, optimizer, **options)
        for group, start in ((None, 0), ("features", 20), (None, 40)):
            model.set_params(group=group)
            for k in range(start, start + 20, size):
                model.partial_fit(x[k : k + size], y[k : k + size], np.unique(y))
        return model

    assert bits(streamed(20)) == bits(streamed(2))
    whole = in_batches(make(loss, optimizer, **options, group="features"), x, y, 20)
    assert bits(streamed(20)) != bits(whole)


def test_adagrad_has_no_closed_form():
    x, y = data("log_loss", classes=3)
    model = StreamingClassifier(optimizer="adagrad", group="features")
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=r"^group: expected None with optimizer='adagrad'.* got 'features'"):
            call(x, y)


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.SkipTestWarning", "ignore::sklearn.exceptions.ConvergenceWarning"
)
def test_scikit_learn_conventions():
    model = StreamingClassifier(group="features", positive=True)
    assert clone(model).get_params() == model.get_params()
    check_estimator(model.set_params(positive=False), on_fail="raise")
