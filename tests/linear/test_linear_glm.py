"""Fits with log link, quantiles, soft targets and softmax, compared with scikit-learn; offsets; extreme numbers."""

import pickle

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, bits, data, in_batches, make, stored
from scipy.special import expit, log_softmax
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    TweedieRegressor,
)
from sklearn.metrics import d2_tweedie_score

from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.reference.losses import LOG_LINK

pytestmark = pytest.mark.filterwarnings(
    "ignore:fit. the mean loss", "ignore::sklearn.exceptions.ConvergenceWarning"
)  # models with few epochs
LINKED = [(name, {}) for name in LOG_LINK] + [("tweedie", {"power": p}) for p in (0, 1, 2, 3)]


def counts(n=800, scale=3.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 6))
    mean = scale * np.exp(x[:, :3] @ [0.5, -0.4, 0.3])
    return x, mean, rng


FITS = {
    "poisson": (lambda mean, rng: rng.poisson(mean), PoissonRegressor, {}),
    "gamma": (lambda mean, rng: rng.gamma(2, mean / 2), GammaRegressor, {}),
    "tweedie": (
        lambda mean, rng: rng.gamma(2, mean / 2) * (rng.random(len(mean)) < 0.7),
        TweedieRegressor,
        {"power": 1.5, "link": "log"},
    ),
}


@pytest.mark.parametrize("scale", [3.0, 3e4, 3e-4])
@pytest.mark.parametrize("name", FITS)
def test_fits_are_near_those_of_scikit_learn(name, scale):
    """Whatever the unit of the targets."""
    draw, kind, options = FITS[name]
    x, mean, rng = counts(scale=scale)
    y = draw(mean, rng) if name != "poisson" or scale > 1 else draw(mean * 1e4, rng) / 1e4
    exact = kind(alpha=0.01, tol=1e-9, max_iter=5000, **options).fit(x, y)
    model = StreamingRegressor(name, alpha=0.01, l1_ratio=0, tol=None, max_iter=60, random_state=0).fit(x, y)
    loose = 0.1 if scale < 1 else 0.05
    np.testing.assert_allclose(model.intercept_, exact.intercept_, rtol=0, atol=loose)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=loose)
    power = {"poisson": 1, "gamma": 2}.get(name, 1.5)
    assert (
        d2_tweedie_score(y, model.predict(x), power=power) > d2_tweedie_score(y, exact.predict(x), power=power) - 0.01
    )
    assert (model.predict(x) > 0).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("name", FITS)
def test_fits_of_the_other_optimizers(name, optimizer):
    x, mean, rng = counts()
    y = FITS[name][0](mean, rng)
    model = StreamingRegressor(name, optimizer=optimizer, alpha=0.0, tol=None, max_iter=100, random_state=0).fit(x, y)
    np.testing.assert_allclose(model.coef_, [0.5, -0.4, 0.3, 0, 0, 0], rtol=0, atol=0.2)
    np.testing.assert_allclose(model.predict(x).mean(), y.mean(), rtol=0.1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("q", [0.5, 0.9])
def test_quantiles(q, optimizer):
    x, _, rng = counts()
    y = x[:, :2] @ [1.0, -1.0] + rng.standard_normal(len(x))
    exact = QuantileRegressor(quantile=q, alpha=1e-3).fit(x, y)
    model = StreamingRegressor("quantile", quantile=q, optimizer=optimizer, alpha=1e-3, l1_ratio=1.0, max_iter=100)
    model.set_params(tol=None, random_state=0).fit(x, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=0.1)
    np.testing.assert_allclose((y <= model.predict(x)).mean(), q, atol=0.05)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_multinomial(optimizer):
    """The softmax of all classes; columns of weights and intercepts are unique up to a common vector."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 5))
    y = (x @ rng.standard_normal((5, 4)) + rng.gumbel(size=(600, 4))).argmax(axis=1)
    exact = LogisticRegression(C=1 / (0.01 * 600), tol=1e-8, max_iter=1000).fit(x, y)
    model = StreamingClassifier("multinomial", optimizer=optimizer, alpha=0.01, l1_ratio=0, tol=None, max_iter=100)
    model.set_params(random_state=0).fit(x, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=0.1)
    shift = model.intercept_.mean() - exact.intercept_.mean()
    np.testing.assert_allclose(model.intercept_ - shift, exact.intercept_, rtol=0, atol=0.1)
    np.testing.assert_allclose(model.predict_proba(x), exact.predict_proba(x), atol=0.03)
    np.testing.assert_allclose(model.predict_log_proba(x), log_softmax(model.decision_function(x), axis=1))
    np.testing.assert_array_equal(model.classes_[model.predict_proba(x).argmax(axis=1)], model.predict(x))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_multinomial_with_two_classes_is_the_log_loss(optimizer):
    x, y = data("log_loss", 60)
    one, other = (
        make(name, optimizer, random_state=0, max_iter=5, tol=None).fit(x, y) for name in ("multinomial", "log_loss")
    )
    assert bits(one) == bits(other)
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x))
    np.testing.assert_array_equal(one.predict_log_proba(x), other.predict_log_proba(x))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_multinomial_margin_far_away(optimizer):
    x, y = data("multinomial", 60, classes=3)
    model = in_batches(make("multinomial", optimizer, eta0=1e4), 1e4 * x, y, 10)
    model.partial_fit(1e6 * x, y)
    assert np.isfinite(model.coef_).all()
    np.testing.assert_allclose(model.predict_proba(1e6 * x).sum(axis=1), 1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_power_of_1_is_poisson_and_2_is_gamma(optimizer):
    x, y = data("gamma", 60)
    for power, name in ((1, "poisson"), (2.0, "gamma")):
        models = [make("tweedie", optimizer, power=power), make(name, optimizer)]
        one, other = (in_batches(model, x, y, 10) for model in models)
        assert bits(one) == bits(other)


def test_soft_targets_are_weighted_labels():
    """A target of 0.3 is the label 1 with weight 0.3 and the label 0 with weight 0.7."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 4))
    y = np.clip(expit(x[:, 0] - 0.5 * x[:, 1]) + 0.2 * rng.standard_normal(500), 0, 1)
    twice, labels = np.vstack([x, x]), np.repeat([1, 0], 500)
    exact = LogisticRegression(C=1 / (0.01 * 500), tol=1e-9).fit(twice, labels, np.concatenate([y, 1 - y]))
    model = StreamingRegressor("cross_entropy", alpha=0.01, l1_ratio=0, max_iter=100, tol=None, random_state=0)
    model.fit(x, y)
    np.testing.assert_allclose(model.coef_, exact.coef_[0], rtol=0, atol=0.01)
    np.testing.assert_allclose(model.predict(x), exact.predict_proba(x)[:, 1], atol=0.01)
    hard = StreamingRegressor("cross_entropy", random_state=0).fit(x, np.rint(y))
    same = StreamingClassifier(random_state=0).fit(x, np.rint(y).astype(int))
    np.testing.assert_allclose(hard.predict(x), same.predict_proba(x)[:, 1], atol=0.02)


# -- Offsets ----------------------------------------------------------------------------------------------------------


def test_an_offset_is_the_logarithm_of_the_exposure():
    """scikit-learn has no offsets: with log link, rates with the exposure as sample weight have the same minimum."""
    x, mean, rng = counts()
    exposure = rng.uniform(0.1, 50, len(x))
    y = rng.poisson(mean * exposure)
    exact = PoissonRegressor(alpha=1e-8, tol=1e-10, max_iter=1000).fit(x, y / exposure, exposure)
    model = StreamingRegressor("poisson", alpha=0.0, tol=None, max_iter=50, random_state=0)
    model.fit(x, y, offset=np.log(exposure))
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=0.02)
    np.testing.assert_allclose(model.intercept_, exact.intercept_, atol=0.02)
    rates = model.predict(x)
    np.testing.assert_allclose(rates, exact.predict(x), rtol=0.1)
    np.testing.assert_allclose(model.predict(x, offset=np.log(exposure)), exposure * rates)
    np.testing.assert_allclose(model.predict(x, 2.0), np.exp(2) * rates)


@pytest.mark.parametrize(("name", "options"), LINKED)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_constant_offset_moves_the_intercept(name, options, optimizer):
    """From the first sample on: an exposure of a million, or a unit of a millionth, takes no time to learn."""
    x, y = data(name, 60)
    plain = in_batches(make(name, optimizer, **options), x, y, 10)
    moved = make(name, optimizer, **options)
    for k in range(0, 60, 10):
        moved.partial_fit(x[k : k + 10], y[k : k + 10], offset=np.full(10, 14.0))
    np.testing.assert_allclose(moved.coef_, plain.coef_, atol=1e-9)
    np.testing.assert_allclose(moved.intercept_, plain.intercept_ - 14, rtol=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["squared_error", "huber", "quantile", "cross_entropy", *LOG_LINK])
def test_offsets_of_all_losses_do_not_depend_on_batches(name, optimizer):
    x, y = data(name, 40)
    offsets = np.random.default_rng(3).standard_normal(40)
    for samples in (x, stored(x, np.int32, np.float32)):
        expected = make(name, optimizer).partial_fit(samples, y, offset=offsets)
        assert bits(expected) != bits(make(name, optimizer).partial_fit(samples, y))
        for size in (1, 7):
            model = make(name, optimizer)
            for k in range(0, 40, size):
                part = slice(k, k + size)
                model = pickle.loads(pickle.dumps(model.partial_fit(samples[part], y[part], offset=offsets[part])))
            assert bits(model) == bits(expected)
        stream = make(name, optimizer, shuffle=False, max_iter=1, tol=None).fit(samples, y, offset=offsets)
        assert bits(stream) == bits(expected)
        order = np.random.default_rng(4).permutation(40)
        options = {"random_state": 0, "max_iter": 3, "tol": None}
        one = make(name, optimizer, **options).fit(samples, y, offset=offsets)
        assert bits(make(name, optimizer, **options).fit(samples[order], y[order], offset=offsets[order])) == bits(one)


def test_an_offset_of_the_squared_error_is_subtracted_from_the_target():
    x, y = data("squared_error", 60)
    offsets = np.random.default_rng(3).standard_normal(60)
    options = {"shuffle": False, "max_iter": 3, "tol": None}
    one = StreamingRegressor(**options).fit(x, y, offset=offsets)
    other = StreamingRegressor(**options).fit(x, y - offsets)
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-12)
    np.testing.assert_allclose(one.predict(x, offsets), other.predict(x) + offsets)


@pytest.mark.parametrize("bad", [[1.0], np.nan, np.full(60, np.inf), "a", np.zeros((60, 1)), 1j])
def test_offsets_are_checked(bad):
    x, y = data("poisson", 60)
    model = in_batches(StreamingRegressor("poisson"), x, y, 10)
    before = bits(model)
    for call in (lambda: model.fit(x, y, offset=bad), lambda: model.partial_fit(x, y, offset=bad)):
        with pytest.raises(ValueError, match="offset"):
            call()
    with pytest.raises(ValueError, match="offset"):
        model.predict(x, offset=bad)
    assert bits(model) == before


# -- Steps that cannot overflow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("name", "options"), LINKED)
def test_extreme_margins_and_targets_stay_finite(name, options, optimizer, dtype):
    """Targets and offsets that make exp overflow; everything stays finite, and an ordinary fit after it works."""
    x, y = data(name, 60)
    x = x.astype(dtype)
    for target, offset in ((y * 1e25, 0.0), (y * 1e-25, 0.0), (y, 700.0), (y, -700.0), (y, 1e4), (y, -1e4)):
        offsets = np.where(np.arange(60) % 2, offset, 0.0)
        model = make(name, optimizer, max_iter=3, tol=None, **options).fit(x, target, offset=offsets)
        model.partial_fit(x, target, offset=-offsets)
        assert np.isfinite(model.coef_).all()
        assert np.isfinite(model.intercept_).all()
        assert np.isfinite(model.predict(1e6 * x)).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("first", [1e-6, 1.0, 1e6])
def test_an_intercept_far_off_comes_down(first, optimizer):
    """On a stream with an exposure that is known, in one pass."""
    x, mean, rng = counts(2000, scale=5.0)
    model = StreamingRegressor("poisson", optimizer=optimizer, alpha=0.0)
    model.partial_fit(x, rng.poisson(mean), offset=np.full(2000, np.log(first)))
    np.testing.assert_allclose(model.intercept_, np.log(5.0) - np.log(first), atol=0.3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("first", [1e-8, 1e-4, 1e2])
@pytest.mark.parametrize("name", ["gamma", "tweedie"])
def test_a_first_target_far_off_is_forgotten(name, first, optimizer):
    """The intercept starts there. Without the limit of `raised`, FTRL's is still at -11 after 20 000 samples."""
    x, mean, rng = counts(20_000, scale=1.0)
    y = rng.gamma(1, mean)
    y[0] = first
    model = StreamingRegressor(name, optimizer=optimizer, alpha=0.0).partial_fit(x, y)
    np.testing.assert_allclose(model.intercept_, 0, atol=0.5)
    np.testing.assert_allclose(model.coef_, [0.5, -0.4, 0.3, 0, 0, 0], atol=0.2)


def test_an_outlier_does_not_stop_sgd():
    x, mean, rng = counts(2000)
    y = rng.poisson(mean).astype(float)
    model = StreamingRegressor("poisson", optimizer="sgd", alpha=0.0, learning_rate="constant", eta0=0.01)
    model.partial_fit(x[:1000], y[:1000]).partial_fit(x[:1], [1e12]).partial_fit(x[1000:], y[1000:])
    np.testing.assert_allclose(model.coef_, [0.5, -0.4, 0.3, 0, 0, 0], atol=0.3)
