"""Linear models are equal to a loop of dense steps: margins, slope of the loss, a step of all weights."""

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, PAIRS, data, dense_loop, in_batches, is_classifier, make, stored

STRENGTHS = {"l1": (0.02, 1.0), "l2": (0.05, 0.0), "elastic net": (0.02, 0.5), "none": (0.0, 0.5)}


def columns(loss, y):
    """The targets, one column each: 1 for the class of the column, -1 for the rest."""
    if not is_classifier(loss):
        return y[:, None]
    classes = np.unique(y)
    return np.where(y[:, None] == (classes[1:] if len(classes) == 2 else classes), 1.0, -1.0)


def compare(model, loss, optimizer, x, y, weights=None, rates=None, form="dense", **options):
    expected = dense_loop(
        loss, optimizer, x, columns(loss, y), np.ones(len(y)) if weights is None else weights, rates=rates, **options
    )
    model = in_batches(model, stored(x, form, float), y, 50, weights)
    scale = np.abs(expected).max()
    assert scale > 0.001
    coef = np.atleast_2d(model.coef_)
    np.testing.assert_allclose(coef, expected[:, :-1], rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(model.intercept_, expected[:, -1], rtol=0, atol=1e-10 * scale)
    np.testing.assert_array_equal(coef == 0, expected[:, :-1] == 0)
    return coef


@pytest.mark.parametrize("strengths", STRENGTHS)
@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_equal_to_dense_steps(loss, optimizer, strengths):
    alpha, l1_ratio = STRENGTHS[strengths]
    options = {"eta0": 0.05 if optimizer == "sgd" else 0.5, "alpha": alpha, "l1_ratio": l1_ratio}
    for classes in (2, 3) if is_classifier(loss) else (2,):
        x, y = data(loss, 150, 20, classes)
        for form, intercept in (("dense", True), (np.int32, False)):
            model = make(loss, optimizer, learning_rate="constant", fit_intercept=intercept, **options)
            coef = compare(model, loss, optimizer, x, y, form=form, intercept=intercept, **options)
            assert (coef == 0).any() or optimizer != "ftrl" or alpha * l1_ratio == 0


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_with_sample_weights(loss, optimizer):
    options = {"eta0": 0.05, "alpha": 0.02, "l1_ratio": 0.5}
    x, y = data(loss, 150, 20, 3)
    weights = np.random.default_rng(0).uniform(0.1, 3, len(y))
    compare(make(loss, optimizer, learning_rate="constant", **options), loss, optimizer, x, y, weights, **options)


SCHEDULES = {
    "invscaling": lambda t: 0.1 / (t + 1) ** 0.3,
    "optimal": lambda t: 1 / (0.02 * t + 1 / 0.1),
    "callable": lambda t: 0.1 if t % 3 else 0.0,
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_with_learning_rates_that_change(loss, schedule):
    f, options = SCHEDULES[schedule], {"eta0": 0.1, "alpha": 0.02, "l1_ratio": 0.5}
    x, y = data(loss, 150, 20)
    model = make(loss, "sgd", learning_rate=f if schedule == "callable" else schedule, power_t=0.3, **options)
    compare(model, loss, "sgd", x, y, rates=[f(t) for t in range(len(y))], form=np.int64, **options)


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge", "squared_error"])
def test_auto_does_not_step_beyond_the_minimum_of_the_loss_of_a_sample(loss):
    """The learning rate is at most 1/(largest second derivative · squared norm of the sample with a 1 appended)."""
    curvature = {"log_loss": 0.25, "squared_hinge": 2.0}.get(loss, 1.0)
    x, y = data(loss, 150, 20)
    x *= 5
    options = {"eta0": 1.0, "alpha": 0.02, "l1_ratio": 0.5}
    steps = np.arange(len(y))
    rates = 1 / (0.02 * steps + 1) if is_classifier(loss) else 1 / (steps + 1) ** 0.25
    limits = 1 / (curvature * ((x**2).sum(axis=1) + 1))
    assert (limits < rates).any()
    model = make(loss, "sgd", **options) if is_classifier(loss) else make(loss, "sgd", power_t=0.25, **options)
    compare(model, loss, "sgd", x, y, rates=np.minimum(rates, limits), **options)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_auto_ends_at_the_minimum_where_slopes_do_not_grow(loss, weighted):
    """The slope is limited, and not the rate: far from the minimum steps are longer than with the largest curvature."""
    x, y = data(loss, 150, 20)
    weights = np.random.default_rng(0).uniform(0.1, 3, len(y)) if weighted else None
    options = {"eta0": 1.0, "alpha": 0.02, "l1_ratio": 0.5}
    rates = 1 / np.arange(1, len(y) + 1) ** 0.25
    model = make(loss, "sgd", power_t=0.25, **options)
    compare(model, loss, "sgd", 5 * x, 5 * y + 0.01, weights, rates, limited=True, **options)


@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad"])
def test_the_default_rate_depends_on_the_size_of_the_features(optimizer):
    """The weights are similar to those for features divided by their size."""
    x, y = data("log_loss", 150, 20)
    x = np.sign(x)
    large = in_batches(make("log_loss", optimizer, alpha=0.0), 1024 * x, y, 50)
    ordinary = in_batches(make("log_loss", optimizer, alpha=0.0, eta0=0.25), x, y, 50)
    if optimizer == "ftrl":
        ordinary = in_batches(make("log_loss", optimizer, alpha=0.0), x, y, 50)
        assert ordinary._stream.sizes.scale == 1
    assert large._stream.sizes.scale == 1024
    correlation = np.corrcoef(large.coef_[0] * 1024, ordinary.coef_[0])[0, 1]
    assert correlation > 0.95


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_is_near_float64(optimizer):
    x, y = data("log_loss", 150, 20)
    single, double = (
        in_batches(make("log_loss", optimizer, eta0=0.1), stored(x.astype(np.float32), np.int32, dtype), y, 50)
        for dtype in (np.float32, np.float64)
    )
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=0, atol=1e-5 * np.abs(double.coef_).max())
