"""penalty_factor: the minimum of the weighted penalty, bits, splits, changes between calls, copies, errors."""

import pickle

import joblib
import numpy as np
import pytest
from linear_cases import DENSE, OPTIMIZERS, PAIRS, bits, data, in_batches, is_classifier, make, slopes, stored
from sklearn.base import clone
from sklearn.linear_model import ElasticNet, LogisticRegression

from fastreg.linear import StreamingRegressor

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs
pairs = pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
SETTINGS = {"ftrl": {}, "adagrad": {}, "sgd": {"learning_rate": "optimal", "eta0": 0.5}}
FACTORS = np.array([1, 0, 2.5, 0.5, 1, 3, 0, 1, 0.1, 1, 7, 1])


def valid(optimizer, l1_ratio=1.0):
    """Factors that have a closed form with this optimizer."""
    return (FACTORS > 0).astype(float) if optimizer == "sgd" and l1_ratio < 1 else FACTORS


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_the_minimum_is_that_of_scikit_learn_with_scaled_features(loss, optimizer):
    """An L1 penalty with factor f on w is one with factor 1 on v = f·w, for the feature x/f.

    The tolerances are those of test_linear_fit.py: an objective within 0.1 % (Adagrad: 1 %).
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 6))
    f = np.array([0.5, 1, 2, 1, 3, 0.25])
    y = x[:, :3] @ [2, -1.5, 1] + 0.5 + 0.3 * rng.standard_normal(200)
    if loss == "log_loss":
        y, alpha = (y > 0.5).astype(int), 0.02
        exact = LogisticRegression(solver="saga", l1_ratio=1.0, C=1 / (alpha * 200), tol=1e-8, max_iter=10_000)
    else:
        alpha = 0.1
        exact = ElasticNet(alpha=alpha, l1_ratio=1.0, tol=1e-8, max_iter=10_000)
    exact.fit(x / f, y)
    exact_coef = exact.coef_.ravel() / f

    def objective(w, intercept):
        m = x @ w + intercept
        losses = np.logaddexp(0, m) - y * m if loss == "log_loss" else (m - y) ** 2 / 2
        return losses.mean() + alpha * f @ np.abs(w)

    options = SETTINGS[optimizer] | {"max_iter": 300, "tol": None, "random_state": 0}
    model = make(loss, optimizer, alpha=alpha, l1_ratio=1.0, penalty_factor=f, **options).fit(x, y)
    best, own = objective(exact_coef, exact.intercept_), objective(model.coef_.ravel(), model.intercept_)
    assert best <= own * (1 + 1e-6)
    assert own <= best * (1.01 if optimizer == "adagrad" else 1.001)
    np.testing.assert_allclose(model.coef_.ravel(), exact_coef, rtol=0, atol=0.02)
    if optimizer == "ftrl":
        np.testing.assert_array_equal(model.coef_.ravel() == 0, exact_coef == 0)


@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad"])
def test_the_elastic_net_with_factors_minimises_its_objective(optimizer):
    """With L2, the factor of a feature multiplies both strengths: the gradient of the objective vanishes."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, 4))
    y = x @ [2, -1.5, 1, 0] + 0.3 * rng.standard_normal(300)
    f, alpha = np.array([0.5, 2, 0, 1]), 0.2
    options = {"fit_intercept": False, "max_iter": 400, "tol": None, "random_state": 0}
    model = make("squared_error", optimizer, alpha=alpha, l1_ratio=0.5, penalty_factor=f, **options).fit(x, y)
    w = model.coef_
    slope = x.T @ (x @ w - y) / len(y) + alpha * f * 0.5 * (np.sign(w) + w)
    assert np.abs(slope[:3]).max() < 0.02
    assert abs(w[3]) < 0.01


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pairs
def test_factors_of_one_change_no_bit(loss, optimizer, dtype, classes):
    x, y = data(loss, classes=classes)
    for form in ("dense", np.int32):
        samples = stored(x, form, dtype)
        options = {"alpha": 0.01, "l1_ratio": 0.6}
        expected = in_batches(make(loss, optimizer, **options), samples, y, 7)
        model = in_batches(make(loss, optimizer, **options, penalty_factor=np.ones(12)), samples, y, 7)
        assert bits(model) == bits(expected)
        assert model.penalty() == expected.penalty()


@pytest.mark.parametrize("classes", [2, 3])
@pairs
def test_an_unpenalised_feature_survives_any_strength(loss, optimizer, classes):
    x, y = data(loss, 60, classes=classes, density=1)
    f = np.ones(12)
    f[2] = 0
    for options in ({"eta0": 0.1}, {"eta0": 0.1, "l1_ratio": 1}):
        model = make(loss, optimizer, alpha=1e6, penalty_factor=f, **options)
        if optimizer == "sgd":
            model.set_params(learning_rate="constant")
        coef = np.atleast_2d(in_batches(model, x, y, 10).coef_)
        assert coef[:, 2].all()
        assert not np.delete(coef, 2, axis=1).any()
        assert model.penalty() == 0


@pytest.mark.parametrize("classes", [2, 3])
@pairs
def test_splits_and_pickles_change_no_bit(loss, optimizer, classes):
    x, y = data(loss, 24, classes=classes)
    for form, dtype in (("dense", np.float32), (np.int64, np.float64)):
        samples = stored(x, form, dtype)
        for l1_ratio in (0.6, 1.0):
            f = valid(optimizer, l1_ratio)
            options = {"alpha": 0.01, "l1_ratio": l1_ratio, "penalty_factor": f}
            expected = in_batches(make(loss, optimizer, **options), samples, y, len(y))
            assert np.isfinite(expected.coef_).all()
            assert bits(expected) != bits(in_batches(make(loss, optimizer, **options).set_params(penalty_factor=None),
                                                     samples, y, len(y)))  # fmt: skip
            for size in (1, 10):
                assert bits(in_batches(make(loss, optimizer, **options), samples, y, size)) == bits(expected)
            model = in_batches(make(loss, optimizer, **options), samples[:10], y[:10], 10) if classes == 2 else None
            if model is not None:
                model = pickle.loads(pickle.dumps(model)).partial_fit(samples[10:], y[10:])
                assert bits(model) == bits(expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["squared_error", "hinge"])
def test_the_weights_are_those_of_dense_steps(loss, optimizer):
    """A loop of dense steps, with the rounding of pending penalties as the only difference."""
    x, y = data(loss, 40)
    targets = 2.0 * y - 1 if is_classifier(loss) else y
    kind, options = DENSE[optimizer]
    w, eta0, alpha = np.zeros((13, 1)), 0.1, 0.02
    steps = kind(w, eta0, l1=alpha, penalty_factor=np.append(FACTORS, 0)[:, None], **options)
    for t, (sample, target) in enumerate(zip(np.column_stack([x, np.ones(40)]), targets)):
        if optimizer == "ftrl":
            steps.param_groups[0].update(l1=(t + 1) * alpha)
        steps.step(np.outer(sample, slopes(loss, sample @ w, target)))
    rate = {"eta0": eta0, "learning_rate": "constant"}
    model = make(loss, optimizer, alpha=alpha, l1_ratio=1.0, penalty_factor=FACTORS, **rate)
    np.testing.assert_allclose(in_batches(model, x, y, 7).coef_.ravel(), w[:-1, 0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
@pairs
def test_factors_can_change_between_calls(loss, optimizer, classes):
    """Steps before the change keep the old factors; equal factors in another array, or another form, change nothing."""
    x, y = data(loss, 60, classes=classes)
    x = stored(x, np.int32, float)
    options, known = {"alpha": 0.01, "l1_ratio": 1.0}, {"classes": np.unique(y)} if is_classifier(loss) else {}

    def streamed(factors):
        model = make(loss, optimizer, **options)
        for f, part in zip(factors, (slice(20), slice(20, 40), slice(40, 60))):
            model.set_params(penalty_factor=f).partial_fit(x[part], y[part], **known)
        return model

    f = FACTORS
    assert bits(streamed([f, f, f])) == bits(streamed([f, f.tolist(), tuple(f)]))
    changed = streamed([f, f, f[::-1]])
    assert bits(changed) not in (bits(streamed([f, f, f])), bits(streamed([f[::-1]] * 3)))
    model = streamed([f, f])
    before = model.coef_
    model.set_params(penalty_factor=None)
    np.testing.assert_array_equal(model.coef_, before)
    model.partial_fit(x[:1], y[:1], sample_weight=[0.0])  # no step
    np.testing.assert_array_equal(model.coef_, before)
    model.partial_fit(x[40:], y[40:])
    assert bits(model) == bits(streamed([f, f, None]))


def test_a_changed_factor_leaves_pending_penalties_as_they_were():
    """SGD: two steps that do not touch feature 1, with factors 1 and then 3."""
    x, y = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), [100.0, 0.0, 0.0]
    options = {"optimizer": "sgd", "learning_rate": "constant", "eta0": 0.01, "alpha": 1.0, "l1_ratio": 1.0}
    model = StreamingRegressor(**options, penalty_factor=[1.0, 1.0]).partial_fit(x[:2], y[:2])
    model.set_params(penalty_factor=[1.0, 3.0]).partial_fit(x[2:], y[2:])
    np.testing.assert_allclose(model.coef_[1], 1 - 0.01 * (1 + 1 + 3), rtol=1e-14)


@pairs
def test_warm_start_takes_new_factors(loss, optimizer):
    x, y = data(loss, 60)
    model = make(loss, optimizer, alpha=0.05, l1_ratio=1.0, warm_start=True, max_iter=3, tol=None, random_state=0)
    model.fit(x, y)
    f = np.full(12, 1e6)
    f[:3] = 0.01
    model.set_params(penalty_factor=f).fit(x, y)
    assert model.coef_.ravel()[:3].all()
    assert np.abs(model.coef_.ravel()[3:]).max() < 1e-6


def test_scikit_learn_conventions(tmp_path):
    x, y = data("squared_error", 60)
    given = FACTORS.tolist()
    model = StreamingRegressor(alpha=0.01, penalty_factor=given)
    assert model.penalty_factor is given
    assert model.get_params()["penalty_factor"] is given
    assert clone(model).penalty_factor == given
    assert clone(StreamingRegressor(penalty_factor=FACTORS)).fit(x, y).coef_.any()
    model.fit(x, y)
    assert given == FACTORS.tolist()
    mapped = joblib.load(joblib.dump(model.set_params(penalty_factor=FACTORS), tmp_path / "model")[0], mmap_mode="r")
    assert bits(mapped.partial_fit(x, y)) == bits(model.partial_fit(x, y))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_penalty_is_the_weighted_one(classes):
    x, y = data("log_loss", 60, classes=classes)
    model = in_batches(make("log_loss", alpha=0.01, l1_ratio=0.3, penalty_factor=FACTORS), x, y, 10)
    w = model.coef_
    expected = 0.01 * (FACTORS * (0.3 * np.abs(w) + 0.35 * w**2)).sum()
    np.testing.assert_allclose(model.penalty(), expected, rtol=1e-14)
    assert model.report()["coef_"].penalty == model.penalty()


def test_fractions_need_a_closed_form():
    x, y = data("squared_error")
    model = StreamingRegressor(optimizer="sgd", penalty_factor=FACTORS)
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=r"^penalty_factor: expected only 0 and 1 with optimizer='sgd'.* got 2\.5"):
            call(x, y)
    model.set_params(l1_ratio=1.0).partial_fit(x, y)
    before = bits(model)
    with pytest.raises(ValueError, match=r"^penalty_factor: expected only 0 and 1"):
        model.set_params(l1_ratio=0.5).partial_fit(x, y)
    assert bits(model) == before
    model.set_params(alpha=0).partial_fit(x, y)


def test_factors_that_the_dtype_cannot_hold():
    x, y = data("squared_error")
    for f in (1e39, 1e-46):
        model = StreamingRegressor(penalty_factor=np.full(12, f))
        model.fit(x, y)
        with pytest.raises(ValueError, match=r"^penalty_factor: expected finite float32 numbers, not negative, got 1e"):
            model.fit(x.astype(np.float32), y)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_that_the_dtype_cannot_hold(optimizer, dtype):
    """alpha and the factors are finite, but not their product; for FTRL, not its total over the samples."""
    x, y = data("squared_error")
    x, most = x.astype(dtype), float(np.finfo(dtype).max)
    factors = [1.0] * 11 + [1000.0]
    for l1_ratio in (0, 1):
        options = {"optimizer": optimizer, "l1_ratio": l1_ratio, "penalty_factor": [1.0] * 12}
        model = StreamingRegressor(alpha=1e-3, **options).partial_fit(x, y)
        before = bits(model)
        model.set_params(alpha=most / 10, penalty_factor=factors if l1_ratio else [1.0] * 11 + [0.0])
        if optimizer == "ftrl" or l1_ratio:
            for call in (model.partial_fit, model.fit):
                with pytest.raises(ValueError, match=r"^alpha: expected a strength that float.* penalty_factor"):
                    call(x, y)
            assert bits(model) == before
        model.set_params(alpha=most / 1e6).partial_fit(x, y)
