"""fit minimises the documented objective, and treats data as a set."""

import re
import warnings

import numpy as np
import pytest
from linear_cases import INVERSE_LINKS, OPTIMIZERS, PAIRS, bits, data, in_batches, is_classifier, make, stored
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, LogisticRegression

from fastreg.linear.order import set_order
from fastreg.linear.samples import Samples
from fastreg.reference.losses import LOG_LINK

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs
SETTINGS = {"ftrl": {}, "adagrad": {}, "sgd": {"learning_rate": "optimal", "eta0": 0.5}}
pairs = pytest.mark.parametrize(("loss", "optimizer"), PAIRS)


def same(loss, optimizer, *data_sets, **options):
    """Whether models of these data sets have the same bits."""
    models = [make(loss, optimizer, **{"random_state": 0, "max_iter": 4, "tol": None} | options) for _ in data_sets]
    assert models[0].fit(*data_sets[0]).coef_.any()
    return all(bits(model.fit(*own)) == bits(models[0]) for model, own in zip(models[1:], data_sets[1:]))


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_the_minimum_is_that_of_scikit_learn(loss, optimizer, l1_ratio):
    """The objective agrees within 0.1 % (Adagrad: 1 %); FTRL also has the same zeros, the others only small weights."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 12))
    y = x[:, :3] @ [2, -1.5, 1] + 0.5 + 0.3 * rng.standard_normal(200)
    if loss == "log_loss":
        y, alpha = (y > 0.5).astype(int), 0.02
        exact = LogisticRegression(solver="saga", l1_ratio=l1_ratio, C=1 / (alpha * 200), tol=1e-8, max_iter=10_000)
    else:
        alpha = 0.1
        exact = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-8, max_iter=10_000)
    exact.fit(x, y)

    def objective(model):
        w = model.coef_.ravel()
        m = x @ w + model.intercept_
        losses = np.logaddexp(0, m) - y * m if loss == "log_loss" else (m - y) ** 2 / 2
        return losses.mean() + alpha * (l1_ratio * np.abs(w).sum() + (1 - l1_ratio) / 2 * w @ w)

    options = SETTINGS[optimizer] | {"max_iter": 300, "tol": None, "random_state": 0}
    model = make(loss, optimizer, alpha=alpha, l1_ratio=l1_ratio, **options).fit(x, y)
    assert objective(exact) <= objective(model) * (1 + 1e-6)
    assert objective(model) <= objective(exact) * (1.01 if optimizer == "adagrad" else 1.001)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=0.02)
    np.testing.assert_allclose(model.intercept_, exact.intercept_, rtol=0, atol=0.03)
    if optimizer == "ftrl":
        np.testing.assert_array_equal(model.coef_ == 0, exact.coef_ == 0)
        assert (model.coef_ == 0).any() == (l1_ratio > 0)


@pairs
def test_large_features_with_a_common_offset(loss, optimizer):
    rng = np.random.default_rng(0)
    x = 100 + 1e3 * rng.standard_normal((300, 6))
    y = (x[:, 0] - x[:, 1]) / 1e3
    y = (y > 0).astype(int) if is_classifier(loss) else INVERSE_LINKS.get(loss, np.asarray)(y)
    score = make(loss, optimizer, max_iter=50, tol=None, random_state=0).fit(x, y).score(x, y)
    assert score > (0.9 if loss in LOG_LINK else 0.95)
    streamed = in_batches(make(loss, optimizer), x, y, 10)
    assert np.isfinite(streamed.coef_).all()
    assert streamed.score(x, y) > (0.9 if is_classifier(loss) else -1)


@pairs
def test_shuffled_data_are_a_set(loss, optimizer):
    """The order does not matter, a weight of k means k copies, and only the ratios of the weights matter."""
    x, y = data(loss, 60, classes=3)
    weights = np.random.default_rng(1).integers(0, 4, 60)
    copies = np.repeat(x, weights, axis=0), np.repeat(y, weights)
    order = np.random.default_rng(2).permutation(60)
    positive = weights > 0
    fractions = weights * 0.25
    assert same(loss, optimizer, (x, y, weights), copies, (x[order], y[order], weights[order]))
    assert same(loss, optimizer, (x, y, weights), (x[positive], y[positive], weights[positive]))
    assert same(loss, optimizer, (x, y, fractions), (x, y, 0.5 * fractions))
    sparse = [stored(x, form, np.float64) for form in (np.int32, np.int64)]
    assert same(loss, optimizer, *((s, y) for s in sparse), (sparse[0][order], y[order]))


@pairs
def test_without_shuffling_data_are_a_stream(loss, optimizer):
    x, y = data(loss)
    twice = np.tile(x, (2, 1)), np.tile(y, 2)
    model = make(loss, optimizer, shuffle=False, max_iter=2, tol=None)
    assert bits(model.fit(x, y)) == bits(in_batches(make(loss, optimizer), *twice, 7))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_class_weights_are_sample_weights(optimizer):
    x, y = data("log_loss", 60, classes=3)
    by_class = {"one": 1.0, "two": 3.0}  # an absent class has weight 1
    own = np.array([by_class.get(c, 1.0) for c in y])
    weights = np.random.default_rng(0).integers(1, 4, 60)
    for given in (None, weights):
        total = own if given is None else own * given
        options = {"random_state": 0, "max_iter": 3, "tol": None}
        weighted = make("log_loss", optimizer, class_weight=by_class, **options).fit(x, y, given)
        assert bits(weighted) == bits(make("log_loss", optimizer, **options).fit(x, y, total))
        streamed = in_batches(make("log_loss", optimizer, class_weight=by_class), x, y, 10, given)
        assert bits(streamed) == bits(in_batches(make("log_loss", optimizer), x, y, 10, total))
    few = np.concatenate([np.flatnonzero(y == "one")[:4], np.flatnonzero(y == "two")])
    balanced = make("log_loss", optimizer, class_weight="balanced", **options).fit(x[few], y[few])
    balanced_weights = np.where(y[few] == "one", 24 / 8, 24 / 40)
    np.testing.assert_allclose(
        balanced.coef_, make("log_loss", optimizer, **options).fit(x[few], y[few], balanced_weights).coef_
    )


def test_a_balanced_rare_class_is_found():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((400, 3)), np.repeat([0, 1], [380, 20])
    x[y == 1] += 1
    plain, balanced = (
        make("log_loss", class_weight=w, max_iter=20, tol=None, random_state=0).fit(x, y) for w in (None, "balanced")
    )
    assert plain.predict(x[y == 1]).mean() < 0.5 < 0.6 < balanced.predict(x[y == 1]).mean()


@pytest.mark.filterwarnings("ignore:fit. the objective rose")
@pairs
def test_number_of_epochs(loss, optimizer):
    x, y = data(loss, 60)
    options = {"polish": False, "random_state": 0}
    with pytest.warns(ConvergenceWarning, match=r"^max_iter: the objective was still falling after 2 epochs"):
        assert make(loss, optimizer, max_iter=2, **options).fit(x, y).n_iter_ == 2
    assert make(loss, optimizer, max_iter=7, tol=None).fit(x, y).n_iter_ == 7
    early, late = (make(loss, optimizer, tol=1e9, n_iter_no_change=n, **options).fit(x, y).n_iter_ for n in (1, 4))
    assert (early, late) == (1, 4) or (early, late) == (2, 5)
    converged = make(loss, optimizer, max_iter=2000, tol=1e-2, **options).fit(x, y)
    assert 5 < converged.n_iter_ < 2000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert make(loss, optimizer, tol=0.0, max_iter=3, **options).fit(x, y).n_iter_ <= 3


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_epochs_end_by_a_share_of_the_objective(factor):
    """The targets' unit does not matter to it, with steps that follow it."""
    x, y = data("squared_error", 100)
    rates = {"optimizer": "sgd", "learning_rate": "constant", "eta0": 0.01, "alpha": 0.01, "l1_ratio": 0.0}
    expected = make("squared_error", random_state=0, **rates).fit(x, y)
    model = make("squared_error", random_state=0, **rates).fit(x, factor * y)
    assert model.n_iter_ == expected.n_iter_
    np.testing.assert_allclose(model.coef_, factor * expected.coef_, rtol=1e-9, atol=factor * 1e-12)


def test_an_objective_that_rises_is_noticed():
    x, y = data("squared_error", 100)
    with pytest.warns(ConvergenceWarning, match=r"^fit: the objective rose from \d\S* to \d\S*; lower eta0"):
        make("squared_error", "sgd", random_state=0, learning_rate=lambda t: 0.01 if t < 1000 else 0.35).fit(x, y)


@pairs
def test_warm_starts(loss, optimizer):
    x, y = data(loss)
    options = {"shuffle": False, "tol": None}
    expected = make(loss, optimizer, max_iter=3, **options).fit(x, y)
    model = make(loss, optimizer, max_iter=1, warm_start=True, **options)
    for _ in range(3):
        model.fit(x, y)
    assert bits(model) == bits(expected)
    model.set_params(warm_start=False).fit(x, y)
    once = make(loss, optimizer, max_iter=1, **options).fit(x, y)
    assert bits(model) == bits(once)


CHANGES = {
    "features": ({}, lambda x, y: (x[:, :5], y), "expected features in X as in the last fit, 12, got 5"),
    "classes": ({}, lambda x, y: (x, y + 4), r"expected classes .*\[0, 1, 2\]\), got array\(\[4, 5, 6\]\)"),
    "fewer classes": ({}, lambda x, y: (x[y < 2], y[y < 2]), "expected classes"),
    "classes of another kind": ({}, lambda x, y: (x, y.astype(str)), "expected classes"),
    "optimizer": (
        {"optimizer": "adagrad"},
        lambda x, y: (x, y),
        "expected optimizer as in the last fit, 'ftrl', got 'ad",
    ),
    "intercept": ({"fit_intercept": False}, lambda x, y: (x, y), "expected fit_intercept as in the last fit, True"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_warm_start_with_other_data_or_parameters_is_refused(case):
    x, _ = data("log_loss")
    y = np.arange(30) % 3
    options, change, match = CHANGES[case]
    model = make("log_loss", warm_start=True, random_state=0, max_iter=3, tol=None).fit(x, y)
    before = bits(model)
    with pytest.raises(ValueError, match=rf"^warm_start: {match}"):
        model.set_params(**options).fit(*change(x, y))
    assert bits(model) == before
    assert model.n_features_in_ == 12
    new = model.set_params(warm_start=False).fit(*change(x, y))
    other = make("log_loss", **{"random_state": 0, "max_iter": 3, "tol": None} | options).fit(*change(x, y))
    assert bits(new) == bits(other)


@pytest.mark.parametrize("form", ["dense", np.int32])
def test_a_warm_start_does_not_change_the_dtype(form):
    """partial_fit and scikit-learn behave the same."""
    x, y = data("log_loss")
    x = x.astype(np.float32)
    options = {"warm_start": True, "random_state": 0, "max_iter": 3, "tol": None}
    one, other = (make("log_loss", **options).fit(stored(x, form, float), y) for _ in range(2))
    assert bits(one.fit(stored(x, form, np.float32), y)) == bits(other.fit(stored(x, form, float), y))
    assert one.coef_.dtype == float


WEIGHTS = {
    "small integers": lambda rng: rng.integers(0, 5, 60),
    "large integers": lambda rng: rng.integers(1, 1000, 60),
    "twos and threes": lambda rng: rng.choice([2, 3], 60),
    "halves": lambda rng: rng.integers(0, 5, 60) / 2,
    "all equal": lambda rng: np.full(60, 0.3),
    "very different": lambda rng: rng.choice([1e-12, 1.0, np.pi], 60),
    "any": lambda rng: rng.random(60),
    "balanced": None,
}


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_ratios_of_weights_matter(optimizer, kind):
    """A common factor changes neither the number of epochs nor, up to the accuracy of the fit, the model."""
    x, y = data("log_loss", 60)
    weights = WEIGHTS[kind](np.random.default_rng(0)) if WEIGHTS[kind] else np.where(y, 60 / 7, 60 / 53)
    expected = make("log_loss", optimizer, random_state=0).fit(x, y, weights)
    for factor in (0.5, 3.0, 0.1, 10.0, 1e-30, 1e30, np.pi):
        model = make("log_loss", optimizer, random_state=0).fit(x, y, weights * factor)
        assert model.n_iter_ == expected.n_iter_
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-5, atol=1e-6)
        if kind in ("small integers", "twos and threes", "all equal"):
            assert bits(model) == bits(expected)
        classes = make("log_loss", optimizer, random_state=0, class_weight={0: factor, 1: factor}).fit(x, y, weights)
        assert classes.n_iter_ == expected.n_iter_


def test_the_number_of_steps_per_epoch_is_bounded():
    """At most 17 steps per sample on average, for any weights; a common factor does not matter."""
    samples = Samples(data("log_loss", 60)[0])
    for weights in (*(f(np.random.default_rng(0)) for f in WEIGHTS.values() if f), np.r_[1e-300, np.ones(59)]):
        order, step_weights = set_order(samples, np.zeros(60), 1.0 * weights)
        assert len(order) <= 17 * 60
        np.testing.assert_allclose(step_weights.mean(), 1)
        total = np.bincount(order, step_weights, minlength=60)
        np.testing.assert_allclose(total / total.sum(), weights / weights.sum(), rtol=1e-8, atol=1e-15)
    assert len(set_order(samples, np.zeros(60), np.full(60, 7.0))[0]) == 60


CONSTANT = {
    "features that are not scaled": (
        "squared_error",
        "ftrl",
        {"polish": False},
        lambda x, y: (np.c_[x, 1e6 * x[:, :1] ** 2], y),
    ),
    "a rate that is too small": ("squared_hinge", "adagrad", {"eta0": 1e-9}, lambda x, y: (x, y > 1)),
}


@pytest.mark.filterwarnings("ignore:max_iter", "ignore:fit. the objective rose")
@pytest.mark.parametrize("case", CONSTANT)
def test_a_warning_if_a_constant_has_a_smaller_loss(case):
    loss, optimizer, options, change = CONSTANT[case]
    x, y = change(*data("squared_error", 100))
    with pytest.warns(
        ConvergenceWarning, match=r"^fit: the mean loss is .* after \d+ epochs, and .* for a constant prediction"
    ):
        make(loss, optimizer, random_state=0, **options).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        make(loss, optimizer, random_state=0, **options | {"alpha": 0.5}).fit(*data(loss, 100))


@pytest.mark.parametrize(("loss", "optimizer"), [(loss, optimizer) for loss, optimizer in PAIRS if optimizer != "sgd"])
def test_a_strong_penalty_fits_the_intercept_only(loss, optimizer):
    """The intercept is not penalised: without weights it still minimises the loss, without a warning."""
    x, y = data(loss, 200, density=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make(loss, optimizer, alpha=100.0, l1_ratio=1.0, random_state=0, tol=1e-6).fit(x, y)
    assert not model.coef_.any()
    assert not make(loss, optimizer, fit_intercept=False, alpha=100.0, l1_ratio=1.0).fit(x, y).coef_.any()


def test_the_random_state_determines_the_model():
    x, y = data("log_loss")
    options = {"max_iter": 2, "tol": None}
    models = [make("log_loss", random_state=s, **options).fit(x, y) for s in (0, 1, np.random.RandomState(0))]
    assert bits(models[0]) == bits(models[2]) != bits(models[1])


def test_lines_of_verbose(capsys):
    x, y = data("log_loss")
    model = make("log_loss", alpha=0.05, l1_ratio=1.0, verbose=1, max_iter=3, tol=None).fit(x, y)
    model.partial_fit(x[:7], y[:7])
    lines = capsys.readouterr().out.splitlines()
    form = r"(epoch (\d)|(\d+) samples): mean loss (\d\.\d+), (\d+) of 12 weights not zero, \d+\.\d\d s"
    epochs = [re.fullmatch(form, line) for line in lines]
    assert [m[1] for m in epochs] == ["epoch 1", "epoch 2", "epoch 3", "97 samples"]
    assert int(epochs[-1][5]) == np.count_nonzero(model.coef_) < 12
    assert float(epochs[2][4]) < float(epochs[0][4])
    model.set_params(verbose=0).partial_fit(x, y)
    assert capsys.readouterr().out == ""


def test_verbose_reports_the_progressive_loss(capsys):
    """The loss of each sample before its own step."""
    x, y = data("log_loss")
    model, losses = make("log_loss"), []
    for i in range(len(y)):
        p = expit(model.decision_function(x[i : i + 1])[0]) if i else 0.5
        losses.append(-np.log(p if y[i] else 1 - p))
        model.partial_fit(x[i : i + 1], y[i : i + 1], [0, 1])
    make("log_loss", verbose=1).partial_fit(x, y, [0, 1])
    reported = float(re.search(r"mean loss (\S+),", capsys.readouterr().out)[1])
    np.testing.assert_allclose(reported, np.mean(losses), rtol=1e-5)
