"""Default learning rates know the sizes of features and targets: they follow changes, and leave out what is absurd."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, bits, in_batches, make, stored
from scipy import sparse
from sklearn.preprocessing import scale

from fastreg.linear import StreamingClassifierCV, StreamingRegressor, StreamingRegressorCV
from fastreg.linear.units import Units

optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)
forms = pytest.mark.parametrize("form", ["dense", np.int32], ids=["dense", "sparse"])
ignore_left_out = pytest.mark.filterwarnings("ignore:X, y. .* were left out:UserWarning")


def linear(count=1500, features=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, features))
    return x, x @ rng.standard_normal(features) + 0.1 * rng.standard_normal(count) + 3


def size_of_samples(model):
    """The size for learning rates, of raw features."""
    units = Units.unpacked(model._stream.sizes.units)
    return model._stream.sizes.scale * (1 if units is None else np.median(1 / units.factors))


def relative_error(model, x, y):
    return np.mean((model.predict(x) - y) ** 2) / y.var()


@optimizers
@forms
@pytest.mark.parametrize("value", [1e20, -1e9, 1e300])
def test_an_absurd_value_is_left_out_and_said(optimizer, form, value):
    x, y = linear()
    x[700, 2] = value
    model, rest = make("squared_error", optimizer, alpha=1e-8), np.delete(np.arange(len(y)), 700)
    with pytest.warns(
        UserWarning, match=r"^X, y: 1 of 1500 samples were left out, with a feature or target beyond 1e\+06"
    ):
        model.partial_fit(stored(x, form, float), y)
    for _ in range(4):
        model.partial_fit(x[rest], y[rest])
    assert relative_error(model, x[rest], y[rest]) < 0.01


@optimizers
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_an_absurd_target_is_left_out(optimizer, loss):
    x, y = linear()
    spoiled = y.copy()
    spoiled[[20, 700]] = 1e60, -1e12
    with pytest.warns(UserWarning, match="2 of 1500 samples were left out"):
        model = make(loss, optimizer, alpha=1e-8).partial_fit(x, spoiled)
    clean = make(loss, optimizer, alpha=1e-8).partial_fit(x, y)
    np.testing.assert_allclose(model.coef_, clean.coef_, rtol=0, atol=0.1)


def test_the_strengths_of_a_stream_leave_it_out_too():
    x, y = linear()
    x[700, 2], y[800] = 1e20, 1e60
    with pytest.warns(UserWarning, match="2 of 1500 samples were left out"):
        model = StreamingRegressorCV(alphas=[1e-6, 1e-2]).partial_fit(x, y)
    assert model.progressive_loss_.max() < 1


@optimizers
def test_a_given_rate_leaves_nothing_out(optimizer):
    x, y = linear(100)
    y[50] = 1e9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make("squared_error", optimizer, eta0=1e-3).partial_fit(x, y)
    assert model._stream.completed == 100


def test_where_all_samples_are_left_out_nothing_moves():
    x, y = linear(100)
    model = make("squared_error").partial_fit(x, y)
    before = model.coef_.tobytes(), model.intercept_.tobytes()
    with pytest.warns(UserWarning, match="3 of 3 samples"):
        model.partial_fit(np.full((3, 6), 1e30), y[:3])
    assert (model.coef_.tobytes(), model.intercept_.tobytes()) == before
    assert model._stream.completed == 100
    assert model._stream.sizes.seen == 103


@ignore_left_out
@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad"])
def test_an_absurd_first_sample_is_forgotten(optimizer):
    x, y = linear()
    x[0, 2] = 1e20
    model, others = make("squared_error", optimizer, alpha=1e-8), np.arange(6) != 2
    for _ in range(5):
        model.partial_fit(x, y)
    expected = np.linalg.lstsq(np.column_stack([x[1:], np.ones(1499)]), y[1:], rcond=None)[0][:6]
    np.testing.assert_allclose(model.coef_[others], expected[others], atol=0.1)


@ignore_left_out
@optimizers
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize(("place", "value"), [(0, 1e4), (0, -1e20), (5, 1e9), (15, 1e12)])
@pytest.mark.parametrize("size", [2000, 1, 10])
def test_an_absurd_target_among_the_first_is_forgotten(optimizer, loss, place, value, size):
    x, y = linear(2000)
    clean, y = y, y.copy()
    y[place] = value
    model, whole, other = (make(loss, optimizer, alpha=1e-8) for _ in range(3))
    in_batches(model, x[:300], y[:300], size)
    assert bits(model) == bits(whole.partial_fit(x[:300], y[:300]))
    other.partial_fit(x[:300], clean[:300])
    for _ in range(3):
        model.partial_fit(x[100:], y[100:])
        other.partial_fit(x[100:], clean[100:])
    assert relative_error(model, x, clean) < relative_error(other, x, clean) + 0.05


@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad"])
def test_absurd_first_targets_are_forgotten_at_many_strengths(optimizer):
    x, y = linear(300)
    y[3] = 1e9
    model = StreamingRegressorCV(alphas=[1e-2, 1e-4], l1_ratio=0.5, optimizer=optimizer)
    with pytest.warns(UserWarning, match="1 of 300 samples were left out"):
        model.partial_fit(x, y)
    assert model.progressive_loss_.max() < 10
    with pytest.warns(UserWarning, match="1 of 300 samples were left out"):
        single = make("squared_error", optimizer, alpha=1e-4, l1_ratio=0.5).partial_fit(x, y)
    assert model._progress.stream.weights(1).tobytes() == np.atleast_2d(single.coef_).tobytes()


def test_what_is_not_forgotten():
    x, y = linear(300)
    plain = make("squared_error", "ftrl").partial_fit(x, y)
    y[3] = 900.0
    assert not make("squared_error", "ftrl").partial_fit(x, y)._stream.sizes.early
    sparse_targets = np.where(np.arange(300) % 20 == 19, y, 0.0)  # zero but for a few
    assert make("squared_error", "ftrl").partial_fit(x, sparse_targets).coef_.any()
    y[0] = 1e20
    placed = make("squared_error", "ftrl").partial_fit(x[:1], y[:1])
    placed.coef_, placed.intercept_ = plain.coef_, plain.intercept_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        in_batches(placed, x[1:], y[1:], 7)
    assert np.isfinite(placed.coef_).all()


@pytest.mark.parametrize("factor", [1e3, 1e8])
@ignore_left_out
def test_the_scale_follows_a_change_of_units(factor):
    x, y = linear(8192)
    x[1024:] *= factor
    model = make("squared_error").partial_fit(x, y)
    assert size_of_samples(model) == pytest.approx(factor, rel=0.3)


@ignore_left_out
@optimizers
@forms
def test_batches_do_not_matter(optimizer, form):
    x, y = linear(3000)
    x[0], x[700, 2], x[1500:1520, 1], y[2000] = 0, 1e20, 1e9, 1e60
    x[500:] *= 3
    x = stored(x, form, float)
    whole = in_batches(make("squared_error", optimizer), x, y, 3000)
    for size in (1, 7, 1024, 1700):
        assert bits(in_batches(make("squared_error", optimizer), x, y, size)) == bits(whole)


@ignore_left_out
@pytest.mark.parametrize("kind", [StreamingClassifierCV, StreamingRegressorCV])
def test_each_strength_has_the_bits_of_a_single_model(kind):
    x, y = linear(3000)
    x[700, 2], x[1500:] = 1e20, 5 * x[1500:]
    y, first = (y > 3, {"classes": [False, True]}) if kind is StreamingClassifierCV else (y, {})
    for optimizer in ("ftrl", "adagrad", *(["sgd"] if not first else [])):  # its schedule depends on alpha for classes
        many = kind(alphas=[1e-2, 1e-4], optimizer=optimizer).partial_fit(x, y, **first)
        for s, alpha in enumerate([1e-2, 1e-4]):
            own = many._progress.stream.single(s)
            alone = make("log_loss" if first else "squared_error", optimizer, alpha=alpha, l1_ratio=many.l1_ratio)
            alone.partial_fit(x, y, **first)
            assert own.coef().tobytes() == alone._stream.coef().tobytes(), optimizer
            assert own.intercept().tobytes() == alone._stream.intercept().tobytes()


@pytest.mark.parametrize("exponent", [-10, -3, 3, 10, 30])
def test_sgd_does_not_depend_on_the_unit_of_all_features(exponent):
    """Powers of two: without a penalty, the weights have the same bits but for their exponent."""
    x, y = linear(300)
    model = make("squared_error", "sgd", alpha=0.0).partial_fit(x, y)
    scaled = make("squared_error", "sgd", alpha=0.0).partial_fit(2.0**exponent * x, y)
    assert (2.0**exponent * scaled.coef_).tobytes() == model.coef_.tobytes()
    assert scaled.intercept_.tobytes() == model.intercept_.tobytes()


@optimizers
@pytest.mark.parametrize("unit", [1e-3, 1, 1e6])
@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_features_of_any_unit(optimizer, unit, loss):
    x, y = linear()
    y = y > 3 if loss == "log_loss" else y
    model, first = make(loss, optimizer, alpha=1e-12), {"classes": [False, True]} if loss == "log_loss" else {}
    for _ in range(5):
        model.partial_fit(unit * x, y, **first)
    if loss == "log_loss":
        assert model.score(unit * x, y) > 0.95
    else:
        assert relative_error(model, unit * x, y) < 0.01


@optimizers
@pytest.mark.parametrize("alpha", [1.0, 100.0])
def test_the_intercept_moves_under_a_strong_penalty(optimizer, alpha):
    """It is not penalised, so it goes to the log-odds although all weights are zero."""
    rng = np.random.default_rng(0)
    x, y = scale(rng.standard_normal((2000, 4))), rng.random(2000) < 0.1
    model = make("log_loss", optimizer, alpha=alpha, l1_ratio=1.0)
    for _ in range(5):
        model.partial_fit(x, y, classes=[False, True])
    assert np.abs(model.coef_).max() < 0.01
    assert model.intercept_[0] == pytest.approx(np.log(y.mean() / (1 - y.mean())), abs=0.25)


@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad"])
def test_the_intercept_has_its_own_rate_in_all_parts_of_a_long_call(optimizer):
    """Indices of the caller are copied in parts; the size of the targets changes in a later one."""
    x, y = linear(3000)
    y[1500:] = 1000 * y[1500:]
    x = stored(x, np.int32, float)
    whole = in_batches(make("squared_error", optimizer), x, y, 3000)
    assert bits(in_batches(make("squared_error", optimizer), x, y, 100)) == bits(whole)


def test_the_last_sample_of_a_batch_is_left_out_where_the_level_changes():
    """The intercept of FTRL is built on the rate of the last sample that it learned from."""
    x, y = linear(1100)
    y *= np.linspace(1, 50, 1100)
    y[1023] = 1e60
    models = []
    for size in (1100, 1024):
        with pytest.warns(UserWarning, match="1 of .* samples were left out"):
            models.append(in_batches(make("squared_error", "ftrl"), x, y, size))
    assert bits(models[0]) == bits(models[1])


@optimizers
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_targets_of_any_size_are_learnt_with_every_loss(optimizer, loss, size):
    """Where slopes do not grow with the size of targets, steps do."""
    x, y = linear()
    model = StreamingRegressor(loss=loss, optimizer=optimizer, alpha=1e-12)
    is_small = size < 2e-4 and loss != "quantile" and optimizer != "sgd"
    with pytest.warns(UserWarning, match="^y: targets of about 2e-06; .*multiply y") if is_small else nullcontext():
        model.partial_fit(x, size * y)
    for _ in range(4):
        model.partial_fit(x, size * y)
    error = np.abs(model.predict(x) - size * y).mean()
    assert error < (1 if is_small else 0.1) * size * np.std(y)


@optimizers
@pytest.mark.parametrize("how", ["fit", "set", "init"])
def test_targets_far_from_zero_are_not_left_out_where_the_intercept_is_placed(optimizer, how):
    """Their distances are not those from zero, although the intercept starts there from then on."""
    x, y = linear()
    y += 1e9
    model = make("squared_error", optimizer, alpha=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if how == "fit":
            model.fit(x, y)
        elif how == "set":
            model.partial_fit(x, y)
            model.intercept_ = model.intercept_
        else:
            model.set_params(max_iter=1, tol=None).fit(x, y, coef_init=np.zeros(6), intercept_init=1e9)
        for _ in range(3):
            model.partial_fit(x, y)
    assert model._stream.sizes.of_targets.last < 10
    assert relative_error(model, x, y) < 0.01


@pytest.mark.filterwarnings("ignore:max_iter:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", [{"shuffle": False}, {"tol": None}])
def test_a_fit_of_epochs_says_what_it_leaves_out(options):
    x, y = linear(500)
    x[300, 1] = 1e20
    with pytest.warns(UserWarning, match="1 of 500 samples were left out"):
        make("hinge", max_iter=2, **options).fit(x, y > 3)


def test_duplicates_with_an_infinite_sum_are_refused():
    x, y = linear(20)
    model = make("squared_error").partial_fit(x.astype(np.float32), y)
    before = bits(model)
    values, columns, starts = np.float32([3e38, 3e38, 1]), np.array([0, 0, 1]), np.array([0, 2, 3])
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.partial_fit(sparse.csr_array((values, columns, starts), (2, 6)), y[:2])
    assert bits(model) == before


@ignore_left_out
@optimizers
@pytest.mark.parametrize("factor", [1e7, 1e12])
@pytest.mark.parametrize("which", ["features", "targets"])
def test_a_stream_goes_on_after_a_change_of_units(optimizer, factor, which):
    """It leaves samples out until their number doubles, then learns from them at the rates so far."""
    x, y = linear(9000)
    changed = x if which == "features" else y
    changed[2000:] *= factor
    model = make("squared_error", optimizer, alpha=1e-8).partial_fit(x, y)
    assert relative_error(model, x[2000:], y[2000:]) < 0.2
    assert 2000 < 9000 - model._stream.completed <= 2096  # those from 2000 to 4095, but for some small targets
    assert size_of_samples(model) == pytest.approx(factor if which == "features" else 1, rel=0.3)


def test_sizes_of_the_first_samples_are_all_counted():
    """A small first one does not make the others far."""
    x, y = linear(8)
    x[0] *= 1e-9
    model = make("squared_error")
    for start, stop, size in ((0, 1, 1e-9), (1, 2, 1), (2, 4, 1), (4, 8, 1)):
        model.partial_fit(x[start:stop], y[start:stop])
        assert model._stream.sizes.scale == pytest.approx(size, rel=0.9)


@ignore_left_out
@pytest.mark.filterwarnings("ignore:X. features .* differ in size:UserWarning")
@optimizers
@pytest.mark.parametrize("features", [slice(None), [0]], ids=["all", "one"])
def test_the_weights_follow_a_change_of_units(optimizer, features):
    x, y = linear(3000)
    x[1500:, features] *= 1000
    model = make("squared_error", optimizer, alpha=1e-12).partial_fit(x, y)
    for _ in range(4):
        model.partial_fit(x[1500:], y[1500:])
    assert relative_error(model, x[1500:], y[1500:]) < 0.2


@pytest.mark.parametrize(("alpha", "unit"), [(1e-300, 1e15), (1e300, 1e-15)])
def test_sgd_with_strengths_that_no_number_holds_for_features_of_size_1(alpha, unit):
    x, y = linear(200)
    with np.errstate(all="raise", under="ignore"):
        model = make("log_loss", "sgd", alpha=alpha).partial_fit(unit * x, y > 3, classes=[False, True])
    assert np.isfinite(model.coef_).all()
