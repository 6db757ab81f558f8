"""fit ends at the minimum of its objective, whatever the scales of features and targets."""

import re
import warnings

import numpy as np
import pytest
from linear_cases import LOSSES, OPTIMIZERS, data, is_classifier, make
from scipy import sparse
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    TweedieRegressor,
)  # fmt: skip

from fastreg.reference import losses as reference

optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        yield


def standardised(x):
    return (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)


def fitted(loss, x, y, optimizer="ftrl", **options):
    return make(loss, optimizer, **{"random_state": 0} | options).fit(x, y)


@optimizers
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(1e-3, 1.0), (0.1, 1.0), (1.0, 0.5), (0.5, 0.0)])
def test_squared_error_is_that_of_an_elastic_net(optimizer, alpha, l1_ratio):
    x, y = load_diabetes(return_X_y=True)
    x = standardised(x)
    exact = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000).fit(x, y)
    model = fitted("squared_error", x, y, optimizer, alpha=alpha, l1_ratio=l1_ratio)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-4 * np.abs(exact.coef_).max())
    np.testing.assert_array_equal(model.coef_ == 0, exact.coef_ == 0)
    np.testing.assert_allclose(model.intercept_, exact.intercept_, rtol=1e-8)


@optimizers
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_log_loss_and_multinomial_are_those_of_logistic_regression(optimizer, l1_ratio):
    for loss, load in (("log_loss", load_breast_cancer), ("multinomial", load_iris)):
        x, y = load(return_X_y=True)
        x, alpha = standardised(x), 0.01
        exact = LogisticRegression(C=1 / (alpha * len(y)), l1_ratio=l1_ratio, solver="saga", tol=1e-8, max_iter=100_000)
        exact.fit(x, y)
        model = fitted(loss, x, y, optimizer, alpha=alpha, l1_ratio=l1_ratio)
        np.testing.assert_allclose(model.coef_, exact.coef_, atol=2e-3 * np.abs(exact.coef_).max())
        np.testing.assert_allclose(model.predict_proba(x), exact.predict_proba(x), atol=1e-3)


GLM = {
    "poisson": (PoissonRegressor, {}, {}),
    "gamma": (GammaRegressor, {}, {}),
    "tweedie": (TweedieRegressor, {"power": 1.7, "link": "log"}, {"power": 1.7}),
}


@optimizers
@pytest.mark.parametrize("loss", GLM)
def test_losses_with_log_link_are_those_of_scikit_learn(loss, optimizer):
    x, y = load_diabetes(return_X_y=True)
    x = standardised(x)
    kind, theirs, ours = GLM[loss]
    exact = kind(alpha=0.1, tol=1e-10, max_iter=10_000, **theirs).fit(x, y)
    model = fitted(loss, x, y, optimizer, alpha=0.1, l1_ratio=0.0, **ours)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-4 * np.abs(exact.coef_).max())
    np.testing.assert_allclose(model.predict(x), exact.predict(x), rtol=1e-4)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantiles_are_those_of_scikit_learn(quantile):
    x, y = load_diabetes(return_X_y=True)
    x = standardised(x)

    def objective(model):
        r = y - model.predict(x)
        return np.maximum(quantile * r, (quantile - 1) * r).mean() + 0.1 * np.abs(model.coef_).sum()

    exact = QuantileRegressor(quantile=quantile, alpha=0.1).fit(x, y)
    model = fitted("quantile", x, y, quantile=quantile, alpha=0.1, l1_ratio=1.0)
    assert objective(exact) * (1 - 1e-9) <= objective(model) <= objective(exact) * (1 + 1e-4)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "multinomial"])
def test_the_minimum_is_that_of_a_general_solver(loss):
    """Every loss, with an L2 penalty, so that L-BFGS applies; where the loss has corners, it cannot be much better."""
    x, y = data(loss, 200, features=6)
    target = 2.0 * y - 1 if is_classifier(loss) else y
    model = fitted(loss, x, y, alpha=0.05, l1_ratio=0.0)
    name, parameter = model._loss_of_margins()

    def objective(v):
        margins = x @ v[:-1] + v[-1]
        slopes = reference.slope(name, parameter, margins, target) / len(y)
        value = reference.loss(name, parameter, margins, target).mean() + 0.025 * v[:-1] @ v[:-1]
        return value, np.r_[x.T @ slopes + 0.05 * v[:-1], slopes.sum()]

    ours = np.r_[model.coef_.ravel(), model.intercept_]
    theirs = minimize(objective, ours, jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    assert objective(ours)[0] <= theirs.fun + (2e-5 if loss in ("hinge", "quantile") else 2e-6) * abs(
        objective(0 * ours)[0]
    )


@optimizers
@pytest.mark.parametrize("loss", ["squared_error", "huber", "log_loss", "squared_hinge", "poisson"])
def test_units_do_not_matter_without_a_penalty(loss, optimizer):
    """Offsets of a million, features of scale 1e-6 and 1e6 side by side: the same predictions."""
    x, y = data(loss, 300, features=4, density=1)
    if is_classifier(loss):
        y = y ^ (np.random.default_rng(0).random(300) < 0.2)  # not separable
    alpha = 1e-40 if optimizer == "sgd" else 0.0  # whose default schedule divides by it
    expected = fitted(loss, x, y, optimizer, alpha=alpha)._margins(x)
    offset = np.array([1e6, 0, -1e4, 5.0])
    for changed in (x * [1e-6, 1e6, 1.0, 1e3], x + offset, 1e3 + x * [1e-2, 1e5, 1.0, 1e3]):
        model = fitted(loss, changed, y, optimizer, alpha=alpha)
        np.testing.assert_allclose(model._margins(changed), expected, atol=1e-4 * np.abs(expected).max())


@optimizers
def test_targets_in_their_own_units(optimizer):
    x, y = data("squared_error", 200, density=1)
    expected = fitted("squared_error", x, y, optimizer, alpha=0.0)
    for factor, offset in ((1e4, 0.0), (1e-6, 0.0), (1.0, 1e6), (1e5, -1e8)):
        model = fitted("squared_error", x, factor * y + offset, optimizer, alpha=0.0)
        np.testing.assert_allclose(model.coef_, factor * expected.coef_, rtol=1e-5, atol=factor * 1e-6)


def test_correlated_features():
    """Coordinate descent alone would need thousands of sweeps."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((100, 1))
    x = common + 1e-3 * rng.standard_normal((100, 8))
    y = x @ np.arange(8.0) + 0.1 * rng.standard_normal(100)
    model = fitted("squared_error", x, y, alpha=0.0)
    a = np.c_[x, np.ones(100)]
    exact = np.linalg.lstsq(a, y, rcond=None)[0]
    np.testing.assert_allclose(model.coef_, exact[:-1], rtol=1e-6)
    assert model.n_iter_ < 20


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", ["dense", "sparse", "single"])
def test_forms_of_samples_agree(loss, form):
    x, y = data(loss, 150)
    expected = fitted(loss, x, y, alpha=0.01)
    changed = {"dense": np.asfortranarray(x), "sparse": sparse.csc_matrix(x), "single": x.astype(np.float32)}[form]
    model = fitted(loss, changed, y, alpha=0.01)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=2e-3 * np.abs(expected.coef_).max())
    np.testing.assert_allclose(model._margins(x), expected._margins(x), atol=5e-3)


def test_duplicates_of_a_sparse_matrix_are_added_up():
    x, y = data("squared_error", 100)
    parts = sparse.csr_matrix(x)
    rows, columns = parts.nonzero()
    half = parts[rows, columns].A1 / 2
    doubled = sparse.csr_matrix((100, 12))
    order = np.argsort(np.r_[rows, rows], kind="stable")
    doubled.data, doubled.indices = np.r_[half, half][order], np.r_[columns, columns][order].astype(np.int32)
    doubled.indptr = 2 * parts.indptr
    doubled.has_canonical_format = False
    one, other = (fitted("squared_error", a, y, alpha=0.1) for a in (parts, doubled))
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-12)


@optimizers
def test_factors_bounds_and_groups(optimizer):
    """The conditions of a minimum, feature by feature."""
    x, y = data("squared_error", 200, density=1)
    factors = np.where(np.arange(12) < 2, 0.0, 1.0)
    model = fitted("squared_error", x, -y, optimizer, alpha=0.3, l1_ratio=1.0, penalty_factor=factors, positive=True)
    slopes = -x.T @ (-y - model.predict(x)) / 200
    at_zero, w = model.coef_ == 0, model.coef_
    assert (w >= 0).all()
    assert 0 < at_zero.sum() < 12
    np.testing.assert_allclose(slopes[~at_zero], -0.3 * factors[~at_zero], atol=1e-7)
    assert (slopes[at_zero] >= -0.3 * factors[at_zero] - 1e-9).all()
    if optimizer == "adagrad":
        return
    x, y = data("log_loss", 200, classes=3, density=1)
    for loss in ("log_loss", "multinomial"):
        model = fitted(loss, x, y, optimizer, alpha=0.05, l1_ratio=0.8, group="features")
        p = 1 / (1 + np.exp(-model._margins(x))) if loss == "log_loss" else model.predict_proba(x)
        slopes = (p - (y[:, None] == model.classes_)).T @ x / 200
        norms = np.sqrt((model.coef_**2).sum(axis=0))
        assert 0 < (norms == 0).sum() < 12
        own = 0.05 * (0.8 * model.coef_ / np.where(norms > 0, norms, 1) + 0.2 * model.coef_)
        np.testing.assert_allclose((slopes + own)[:, norms > 0], 0, atol=1e-5)
        assert (np.sqrt((slopes**2).sum(axis=0))[norms == 0] <= 0.04 + 1e-9).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_data_that_say_little(loss):
    """Constant and empty features, one sample, separable classes, and weights that are all zero."""
    x, y = data(loss, 60)
    wide = np.c_[x, np.full(60, 7.0), np.zeros(60)]
    model = fitted(loss, wide, y, alpha=1e-3)
    np.testing.assert_array_equal(model.coef_[..., -2:], 0)
    none = fitted(loss, x, y, alpha=1e6, l1_ratio=1.0)
    assert not none.coef_.any()
    assert np.isfinite(fitted(loss, x[[y.argmin(), y.argmax()]], y[[y.argmin(), y.argmax()]], alpha=1e-3).coef_).all()
    if not is_classifier(loss):
        assert fitted(loss, x[1:2], y[1:2], alpha=1e-3).predict(x[1:2]) == pytest.approx(y[1:2], abs=0.15)
    assert np.isfinite(fitted(loss, x, y, alpha=0.0).coef_).all()


@pytest.mark.parametrize("loss", LOSSES)
@optimizers
def test_a_stream_goes_on_from_the_minimum(loss, optimizer):
    """A pass over the same data leaves the weights near it."""
    x, y = data(loss, 300)
    model = fitted(loss, x, y, optimizer, alpha=0.01)
    before, n_iter = model._margins(x), model.n_iter_
    assert n_iter > 1
    model.partial_fit(x, y)
    assert model.n_iter_ == 1
    assert np.abs(model._margins(x) - before).mean() < 0.5 * np.abs(before).mean() + 0.1


def test_it_is_left_out_where_the_user_wants_certain_steps(capsys):
    x, y = data("log_loss", 100)
    left_out = [
        {"tol": None, "max_iter": 3}, {"shuffle": False}, {"eta0": 0.1}, {"polish": False}, {"max_iter": 1},
        {"optimizer": "sgd", "learning_rate": "constant"},
    ]  # fmt: skip
    for options in left_out:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            make(**{"loss": "log_loss", "verbose": 1, "max_iter": 20} | options).fit(x, y)
        assert "iteration" not in capsys.readouterr().out
    model = make("log_loss", alpha=0.05, l1_ratio=1.0, verbose=1, random_state=0).fit(x, y)
    last = capsys.readouterr().out.splitlines()[-1]
    form = r"iteration (\d+): objective (\d\.\d+), (\d+) of 12 weights not zero, \d+\.\d\d s"
    iterations, objective, left = re.fullmatch(form, last).groups()
    assert int(iterations) == model.n_iter_
    assert int(left) == np.count_nonzero(model.coef_)
    expected = np.logaddexp(0, -(2 * y - 1) * model.decision_function(x)).mean() + model.penalty()
    assert float(objective) == pytest.approx(expected, rel=1e-5)


def test_too_few_iterations_are_said():
    x, y = data("log_loss", 100)
    with pytest.warns(ConvergenceWarning, match=r"^max_iter: the objective was still falling after 6 iterations"):
        make("log_loss", max_iter=6, alpha=1e-5, random_state=0).fit(x, y)


@pytest.mark.parametrize("loss", LOSSES)
def test_majorants_are_above_the_loss(loss):
    """The parabola that touches the loss at a margin is nowhere below it, for the losses that are linear far off.

    Where a loss is flat, the parabola is, too.
    """
    name, smoothing = {"tweedie": "poisson"}.get(loss, loss), 0.3
    if name in reference.LOG_LINK or name == "multinomial":
        return
    margins = np.linspace(-5, 5, 401)
    for y in (-1.0, 1.0) if is_classifier(loss) else (0.0, 0.3, 1.0):
        at, to = np.meshgrid(margins, margins)
        parts = [f(name, 0.4, at, y, smoothing) for f in (reference.loss, reference.slope, reference.majorant)]
        parabola = parts[0] + parts[1] * (to - at) + 0.5 * parts[2] * (to - at) ** 2
        if name in ("hinge", "quantile", "huber", "modified_huber", "squared_error"):
            is_above = parabola >= reference.loss(name, 0.4, to, y, smoothing) - 1e-9
            assert (is_above | (parts[1] == 0)).all()


def test_a_constant_feature_without_penalty_is_not_dropped():
    x, y = load_iris(return_X_y=True)
    x[:, 2] = 0.0
    given = np.full((3, 4), 0.25)
    for group in (None, "features"):
        model = make("log_loss", "ftrl", alpha=0.05, l1_ratio=0.8, group=group, penalty_factor=[1.0, 1.0, 0.0, 1.0])
        model.fit(x, y, coef_init=given, intercept_init=np.zeros(3))
        assert model.coef_[:, 2].all()
        model = make("log_loss", "ftrl", alpha=0.05, l1_ratio=0.8, group=group)
        assert not model.fit(x, y, coef_init=given, intercept_init=np.zeros(3)).coef_[:, 2].any()


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_features_whose_squares_overflow_are_refused(form):
    x, y = load_diabetes(return_X_y=True)
    x[3, 2] = -1e200
    with pytest.raises(ValueError, match=r"X: expected features of magnitude at most 1e\+150, got 1e\+200"):
        make("squared_error", "ftrl").fit(form(x), y)
