"""Features that differ in size or lie far from zero get units (linear/units.py): the objective stays the same."""

import copy
import pickle

import numpy as np
import pytest
from linear_cases import in_batches, make
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from fastreg.linear import StreamingClassifier, StreamingClassifierCV, StreamingRegressor, StreamingRegressorCV
from fastreg.linear import weights as weights_module
from fastreg.linear.units import Units

OPTIMIZERS = ["ftrl", "sgd", "adagrad"]
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)
SIZES = 10.0 ** np.arange(-3, 3)
CHANGES = {
    "sizes": lambda x: x * SIZES,
    "12 orders of magnitude": lambda x: x * np.logspace(-6, 6, 6),
    "offsets": lambda x: x + 1e6,
    "one offset": lambda x: x + np.array([0, 0, 2000, 0, 0, 0]),
    "tiny": lambda x: x * 1e-6,
    "both": lambda x: x * SIZES + np.array([0, 1e3, 0, 0, 1e6, 0]),
}
changes = pytest.mark.parametrize("change", CHANGES)


def linear(count=2000):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 6))
    return x, x @ [1.0, -2, 0, 0.5, 0, 3] + 5 + 0.1 * rng.standard_normal(count)


def units(model):
    return Units.unpacked(model._stream.sizes.units)


def relative_error(model, x, y):
    return np.mean((model.predict(x) - y) ** 2) / np.var(y)


# -- Learning ---------------------------------------------------------------------------------------------------------


@optimizers
@changes
def test_a_few_passes_are_enough(change, optimizer):
    x, y = linear()
    x = CHANGES[change](x)
    model = make("squared_error", optimizer, alpha=1e-20)
    classifier = make("log_loss", optimizer, alpha=1e-20)
    for _ in range(5):
        in_batches(model, x, y, 250)
        classifier.partial_fit(x, y > 5, classes=[False, True])
    assert relative_error(model, x, y) < 0.02
    assert classifier.score(x, y > 5) > 0.9


@optimizers
@pytest.mark.parametrize("loss", ["huber", "quantile", "poisson", "gamma", "hinge", "squared_hinge", "modified_huber"])
def test_every_loss(loss, optimizer):
    x, y = linear()
    y = y > 5 if "hinge" in loss or loss == "modified_huber" else np.exp(y / 5) if loss in ("poisson", "gamma") else y
    first = {"classes": [False, True]} if y.dtype == bool else {}
    plain, model = (make(loss, optimizer, alpha=1e-20) for _ in range(2))
    for _ in range(5):
        plain.partial_fit(x, y, **first)
        model.partial_fit(CHANGES["sizes"](x), y, **first)
    assert units(plain) is None
    assert units(model) is not None
    if first:
        assert model.score(CHANGES["sizes"](x), y) > plain.score(x, y) - 0.03
    else:
        error, expected = relative_error(model, CHANGES["sizes"](x), y), relative_error(plain, x, y)
        assert error < 2 * expected + 0.02


@optimizers
@pytest.mark.parametrize("change", ["sizes", "both"])
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(0.1, 0.15), (0.03, 1.0), (0.1, 0.0)])
def test_the_penalty_is_that_of_raw_weights(change, alpha, l1_ratio, optimizer):
    """The passes approach the minimum that `fit` finds in raw features, and remove the same ones."""
    x, y = linear()
    x = CHANGES[change](x)
    settings = {"alpha": alpha, "l1_ratio": l1_ratio}
    fitted = make("squared_error", "ftrl", **settings, tol=1e-9, max_iter=3000).fit(x, y)
    model = make("squared_error", optimizer, **settings)
    for _ in range(20):
        model.partial_fit(x, y)

    def objective(own):
        return np.mean((own.predict(x) - y) ** 2) / 2 + own.penalty()

    assert objective(model) < objective(fitted) + 0.01 * (np.var(y) / 2 - objective(fitted))
    assert model.coef_[np.abs(fitted.coef_) * SIZES > 0.2].all()
    if optimizer == "ftrl":
        assert not model.coef_[fitted.coef_ == 0].any()


@pytest.mark.parametrize("optimizer", ["ftrl", "sgd"])
def test_groups_and_factors(optimizer):
    x, y = linear()
    x, classes = CHANGES["sizes"](x), np.digitize(y, [2, 6])
    grouped = {"alpha": 0.05, "l1_ratio": 1.0, "group": "features"}
    fitted = make("log_loss", "ftrl", **grouped, tol=1e-9, max_iter=3000).fit(x, classes)
    model = make("log_loss", optimizer, **grouped)
    for _ in range(30):
        model.partial_fit(x, classes, classes=[0, 1, 2])
    assert units(model) is not None
    assert np.array_equal((model.coef_ == 0).all(axis=0), (fitted.coef_ == 0).all(axis=0))
    strong = make("squared_error", optimizer, alpha=1e4, l1_ratio=1.0, penalty_factor=[1, 1, 1, 0, 1, 1])
    for _ in range(5):
        strong.partial_fit(x, y)
    assert np.flatnonzero(strong.coef_).tolist() == [3]


@optimizers
def test_positive_weights(optimizer):
    x, y = linear()
    model = make("squared_error", optimizer, alpha=1e-20, positive=True)
    for _ in range(5):
        model.partial_fit(CHANGES["both"](x), y)
    assert units(model) is not None
    assert (model.coef_ >= 0).all()
    assert (model.coef_[[0, 3, 5]] * SIZES[[0, 3, 5]]).round().tolist() == [1, 0, 3]


@optimizers
@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("place", [50, 1000])
@pytest.mark.parametrize("features", [slice(None), slice(1), slice(5)])
def test_the_size_of_features_changes_within_a_stream(place, features, factor, optimizer):
    x, y = linear()
    x[place:, features] *= factor
    model = make("squared_error", optimizer, alpha=1e-20).partial_fit(x, y)
    for _ in range(4):
        model.partial_fit(x[1000:], y[1000:])
    assert relative_error(model, x[1000:], y[1000:]) < 0.02


@optimizers
def test_data_that_one_rate_suits_have_no_units(optimizer):
    x, y = linear()
    rare = np.where(np.random.default_rng(0).random(x.shape) < [1, 1, 1, 0.02, 0.05, 0.01], 1 + x, 0)
    slow = np.apply_along_axis(np.convolve, 0, x, np.ones(5) / 2, mode="same")
    scaled = StandardScaler().fit_transform(rare)
    mild = x * np.logspace(-0.5, 0.5, 6)
    for own in (x, mild, x + 1, np.sign(x), (x > 1) * 1.0, rare, scaled, slow, 0 * x, np.ones_like(x)):
        assert units(make("squared_error", optimizer).partial_fit(own, y)) is None
    assert units(make("squared_error", optimizer, eta0=1e-9).partial_fit(x * SIZES, y)) is None
    assert (
        units(
            make("squared_error", optimizer, l1_ratio=1.0, penalty_factor=6 * [0.5]).partial_fit(x[:60] * SIZES, y[:60])
        )
        is None
    )


# -- Streams ----------------------------------------------------------------------------------------------------------


@optimizers
@changes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_do_not_depend_on_how_a_stream_is_split(change, dtype, optimizer):
    x, y = linear(300)
    x[200:, 1] *= 1e3
    x = CHANGES[change](x).astype(dtype)
    whole = make("squared_error", optimizer).partial_fit(x, y)
    assert units(whole) is not None or (change, optimizer) == ("tiny", "sgd")
    for size in (1, 7, 64, 100):
        model = in_batches(make("squared_error", optimizer), x, y, size)
        assert model.coef_.tobytes() == whole.coef_.tobytes()
        assert model.intercept_.tobytes() == whole.intercept_.tobytes()
        assert model._stream.learner.records.tobytes() == whole._stream.learner.records.tobytes()
        assert model._stream.sizes == whole._stream.sizes


@optimizers
@changes
def test_dense_and_sparse_samples_give_the_same_bits(change, optimizer):
    x, y = linear(300)
    x = CHANGES[change](x)
    dense = in_batches(make("squared_error", optimizer), x, y, 50)
    mixed = make("squared_error", optimizer)
    for k in range(0, 300, 50):
        part = x[k : k + 50]
        mixed.partial_fit(sparse.csr_array(part) if k % 100 else part, y[k : k + 50])
    assert mixed.coef_.tobytes() == dense.coef_.tobytes()
    assert mixed.intercept_.tobytes() == dense.intercept_.tobytes()
    np.testing.assert_allclose(mixed.predict(sparse.csr_array(x)), dense.predict(x), rtol=1e-12)


@optimizers
def test_copies_in_parts_have_the_same_bits(optimizer, monkeypatch):
    x, y = linear(300)
    x = CHANGES["both"](x)
    whole = make("squared_error", optimizer).partial_fit(x, y)
    whole.partial_fit(x, y)
    monkeypatch.setattr("fastreg.linear.stream_units.COPIED", 50)
    monkeypatch.setattr(weights_module, "COPIED", 50)
    parts = make("squared_error", optimizer).partial_fit(x, y)
    parts.partial_fit(x, y)
    assert parts.coef_.tobytes() == whole.coef_.tobytes()
    np.testing.assert_allclose(parts.predict(x), whole.predict(x), rtol=1e-12)


@optimizers
@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e30), (np.float32, 1e15), (np.float64, 1e150)])
def test_sizes_that_a_number_cannot_hold_with_its_square(optimizer, dtype, size):
    """Features beyond the largest exponents get no units; others are learnt as without any."""
    x, y = linear()
    x = (x * [1, 1, 1, 1, 1, size]).astype(dtype)
    model = make("squared_error", optimizer, alpha=0.0)
    for _ in range(3):
        model.partial_fit(x, y)
    assert (units(model) is None) == (size != 1e30)
    assert relative_error(model, x, y) < (0.02 if size == 1e30 else 1.01)


@optimizers
def test_rare_large_values(optimizer):
    """A feature that is zero in most samples: nothing is known of its size before it has been seen often enough."""
    x, y = linear(4000)
    x[:, 5] *= np.random.default_rng(1).random(4000) < 0.01
    y = x @ [1.0, -2, 0, 0.5, 0, 3]
    model = make("squared_error", optimizer, alpha=0.0)
    for _ in range(3):
        model.partial_fit(x * [1, 1, 1e5, 1e5, 1, 1e5], y)
    assert relative_error(model, x * [1, 1, 1e5, 1e5, 1, 1e5], y) < 0.02


@optimizers
@pytest.mark.filterwarnings("ignore:X, y. .* were left out:UserWarning")
@pytest.mark.parametrize("middle", [40.0, 1e6])
def test_zeros_that_mark_what_is_missing(middle, optimizer):
    """They lie very far from the other values, but not from zero."""
    x, y = linear()
    x[:, 2] = (middle + x[:, 2]) * (np.random.default_rng(1).random(2000) < 0.9)
    model = make("squared_error", optimizer, alpha=0.0)
    for _ in range(3):
        model.partial_fit(x, y)
    assert relative_error(model, x, y) < (1 if optimizer == "sgd" and middle == 40 else 0.02)


@optimizers
def test_an_absurd_first_value_is_forgotten(optimizer):
    x, y = linear()
    x[0, 3] = 1e20
    model = make("squared_error", optimizer, alpha=1e-20)
    for _ in range(5):
        in_batches(model, x[1:], y[1:], 500) if model.__sklearn_is_fitted__() else model.partial_fit(x, y)
    assert relative_error(model, x[1:], y[1:]) < 0.02


# -- Results ----------------------------------------------------------------------------------------------------------


@optimizers
def test_raw_weights_predict(optimizer):
    x, y = linear()
    x = CHANGES["both"](x)
    model = make("squared_error", optimizer).partial_fit(x, y)
    np.testing.assert_allclose(x @ model.coef_ + model.intercept_, model.predict(x), rtol=1e-6)
    sparsified = copy.deepcopy(model).sparsify()
    assert (sparsified.coef_.toarray()[0] == model.coef_).all()
    assert sparsified.intercept_.tobytes() == model.intercept_.tobytes()
    np.testing.assert_allclose(sparsified.predict(x), model.predict(x), rtol=1e-12)
    few = sparse.csr_array(x[:1])
    model.partial_fit(x, y)
    np.testing.assert_allclose(model.predict(few), model.predict(x[:1]), rtol=1e-12)


def test_predictions_in_float32_keep_their_digits_under_an_offset():
    x, y = linear()
    x = (x + 1e4).astype(np.float32)
    model = make("squared_error", "ftrl", alpha=1e-20)
    for _ in range(5):
        model.partial_fit(x, y)
    assert relative_error(model, x, y) < 0.02


@optimizers
def test_files(optimizer):
    x, y = linear(300)
    x = CHANGES["both"](x)
    model = make("squared_error", optimizer, alpha=1e-20).partial_fit(x, y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.predict(x).tobytes() == model.predict(x).tobytes()
        expected = copy.deepcopy(model).partial_fit(x, y)
        assert other.partial_fit(x, y).coef_.tobytes() == expected.coef_.tobytes()
    small = pickle.loads(pickle.dumps(copy.deepcopy(model).sparsify()))
    np.testing.assert_allclose(small.predict(x), model.predict(x), rtol=1e-12)
    assert (small.coef_.toarray()[0] == model.coef_).all()
    for _ in range(5):
        small.partial_fit(x, y)
    assert relative_error(small, x, y) < 0.1


@optimizers
def test_weights_can_be_given(optimizer):
    x, y = linear(300)
    x = CHANGES["both"](x)
    model = make("squared_error", optimizer).partial_fit(x, y)
    intercept, given = model.intercept_, [1.0, 2, 3, 4, 5, 0]
    model.coef_ = given
    assert model.coef_.tolist() == given
    np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-9, atol=1e-6)
    model.intercept_ = [7.0]
    np.testing.assert_allclose(model.intercept_, 7.0, rtol=1e-6)
    np.testing.assert_allclose(model.coef_, given, rtol=1e-12)
    with pytest.raises(ValueError, match=r"^coef_: expected finite numbers"):
        model.coef_ = [1e308, 0, 0, 0, 0, 1e308]
    assert model.coef_.tolist() == pytest.approx(given, rel=1e-12)


@optimizers
def test_rates_of_the_user_are_those_of_raw_features(optimizer):
    """Units end with the default rates: what is learnt stays, and so does a model with lr = 0."""
    x, y = linear(300)
    x = CHANGES["sizes"](x)
    model = make("squared_error", optimizer).partial_fit(x, y)
    before = model.coef_, model.intercept_
    model.set_params(eta0=1e-300 if optimizer != "ftrl" else 1e-30, learning_rate="constant", alpha=0.0)
    model.partial_fit(x, y)
    assert units(model) is None
    np.testing.assert_allclose(model.coef_, before[0], rtol=1e-12)
    np.testing.assert_allclose(model.intercept_, before[1], rtol=1e-12)


@optimizers
def test_own_rates_just_before_units_would_be_chosen(optimizer):
    """Then nothing is known of the features."""
    x, y = linear(400)
    x = CHANGES["sizes"](x)
    model = make("squared_error", optimizer, alpha=0.0).partial_fit(x[:255], y[:255])
    model.set_params(eta0=1e-9).partial_fit(x[255:256], y[255:256])
    model.set_params(eta0=None).partial_fit(x[256:], y[256:])
    assert np.isfinite(model.coef_).all()


@optimizers
def test_fit_ends_at_the_same_minimum(optimizer):
    x, y = linear()
    fitted = [make("squared_error", optimizer, alpha=1e-3, tol=1e-8).fit(CHANGES["offsets"](x), y)]
    fitted.append(make("squared_error", optimizer, alpha=1e-3, tol=1e-8).fit(x, y))
    np.testing.assert_allclose(fitted[0].coef_, fitted[1].coef_, atol=1e-5)


# -- Many strengths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad"])  # the default rates of "sgd" depend on the strength
@changes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_strength_has_the_bits_of_a_single_model(loss, optimizer, change, dtype):
    x, y = linear(300)
    x[200:, 1] *= 1e3
    x = CHANGES[change](x).astype(dtype)
    alphas, is_classifier = [0.1, 1e-3, 1e-9], loss == "log_loss"
    estimator, y = (StreamingClassifierCV, np.digitize(y, [2, 6])) if is_classifier else (StreamingRegressorCV, y)
    model = estimator(alphas=alphas, l1_ratio=0.5, optimizer=optimizer, penalty_factor=[1, 1, 0, 1, 1, 1])
    first = {"classes": [0, 1, 2]} if is_classifier else {}
    for k in range(0, 300, 75):
        part = sparse.csr_array(x[k : k + 75]) if k == 75 else x[k : k + 75]
        model = pickle.loads(pickle.dumps(model)) if k == 225 else model
        model.partial_fit(part, y[k : k + 75], **first)
    stream = model._progress.stream
    assert stream.sizes.units
    for s, alpha in enumerate(alphas):
        single = make(loss, optimizer, alpha=alpha, l1_ratio=0.5, penalty_factor=[1, 1, 0, 1, 1, 1])
        single.partial_fit(x, y, **first)
        assert stream.weights(s).tobytes() == np.atleast_2d(single.coef_).tobytes()
        assert stream.intercepts(s).tobytes() == single.intercept_.tobytes()


@optimizers
def test_the_strength_is_chosen_on_raw_features(optimizer):
    x, y = linear()
    plain, model = (StreamingRegressorCV(alphas=np.geomspace(1e-2, 1e-9, 8), optimizer=optimizer) for _ in range(2))
    for k in range(0, 2000, 100):
        plain.partial_fit(x[k : k + 100], y[k : k + 100])
        model.partial_fit(CHANGES["offsets"](x[k : k + 100]), y[k : k + 100])
    assert relative_error(model, CHANGES["offsets"](x), y) < 2 * relative_error(plain, x, y) + 0.15


def test_a_change_of_units_at_many_strengths_can_be_interrupted(monkeypatch):
    x, y = linear(1000)
    model = StreamingRegressorCV(alphas=[1e-2, 1e-4]).partial_fit(x[:100], y[:100])
    before = model.coef_.tobytes(), model._progress.stream.completed
    with monkeypatch.context() as patch:
        patch.setattr("fastreg.linear.stream_units.StreamUnits._change_units", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(CHANGES["one offset"](x), y)
    assert (model.coef_.tobytes(), model._progress.stream.completed) == before
    model.partial_fit(CHANGES["one offset"](x), y)
    assert model._progress.stream.sizes.units


def interrupted(*_):
    raise KeyboardInterrupt


# -- Where there are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x: x * np.logspace(-3, 3, 6), r"features 0 and 5 differ in size by a factor of \de\+0[56]"),
        (lambda x: x + np.array([0, 0, 2e3, 0, 0, 0]), "features . and 2 differ in size by a factor of 2e"),
        (lambda x: x + 2e3, "feature 0 is near 2e\\+03, with a standard deviation of"),
    ],
    ids=["units", "one offset", "offsets"],
)
@pytest.mark.parametrize(
    "make_model",
    [
        lambda: StreamingRegressor(penalty_factor=6 * [0.5]),
        lambda: StreamingRegressor(alpha=1e5),
    ],
    ids=["fractions", "strong"],
)
def test_features_that_one_rate_does_not_suit_are_told_once(make_model, change, match):
    x, y = linear(200)
    model = make_model().partial_fit(change(x)[:50], y[:50])
    with pytest.warns(UserWarning, match=f"^X: {match}.*scale them"):
        model.partial_fit(change(x)[50:100], y[50:100])
    model.partial_fit(change(x)[100:], y[100:])


def test_without_an_intercept_features_have_units_but_no_origins():
    x, y = linear(200)
    for optimizer in OPTIMIZERS:
        model = StreamingRegressor(optimizer=optimizer, fit_intercept=False)
        model.partial_fit(x * np.logspace(-3, 3, 6), y)
        assert model._stream.sizes.units
    with pytest.warns(UserWarning, match=r"^X: feature 2 is near 2e\+03, with a standard deviation of 9.9e-01"):
        StreamingRegressor(fit_intercept=False).partial_fit(x + np.array([0, 0, 2e3, 0, 0, 0]), y)


def test_features_that_suit_are_not_told():
    x, y = linear(200)
    for optimizer in OPTIMIZERS:
        StreamingClassifier(optimizer=optimizer).partial_fit(CHANGES["both"](x), y > 5, classes=[False, True])
