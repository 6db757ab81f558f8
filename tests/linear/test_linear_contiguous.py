"""Dense samples, for which the weights lie in contiguous arrays, give the bits of sparse ones."""

import pickle

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, PAIRS, bits, data, is_classifier, make
from scipy import sparse

PENALTY = {"alpha": 0.02, "l1_ratio": 0.5}
OPTIONS = {
    "default": {},
    "elastic net": {"eta0": 0.05, **PENALTY},
    "positive": {"positive": True, **PENALTY},
    "factors": {"penalty_factor": True, "alpha": 0.02, "l1_ratio": 1.0},
    "groups": {"group": "features", "fit_intercept": False, **PENALTY},
}
SIZES = [9, 1, 8, 2, 20]  # of batches: from 8 samples on, weights are copied to contiguous arrays


def rows(x):
    """`x` as a CSR matrix that stores all values, zeros too: sums over a sample are in the same order."""
    count, features = x.shape
    indices = np.tile(np.arange(features, dtype=np.int32), count)
    return sparse.csr_array((x.ravel(), indices, np.arange(count + 1, dtype=np.int32) * features), x.shape)


def trained(model, x, y, sizes, forms=(np.asarray,), numbers=(None, None)):
    """The model after batches of these sizes, in these forms by turns, with these weights and offsets of samples."""
    known = {"classes": np.unique(y)} if hasattr(model, "predict_proba") or hasattr(model, "class_weight") else {}
    stops = np.cumsum(sizes)
    assert stops[-1] == len(y)
    for k, (start, stop) in enumerate(zip(stops - sizes, stops)):
        own = {name: v[start:stop] for name, v in zip(("sample_weight", "offset"), numbers) if v is not None}
        model.partial_fit(forms[k % len(forms)](x[start:stop]), y[start:stop], **known, **own)
    return model


def model_of(loss, optimizer, options, features):
    if options.get("penalty_factor"):
        options = options | {"penalty_factor": np.arange(features) % 3}
    return make(loss, optimizer, **options)


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_same_bits_as_sparse_samples(loss, optimizer, case):
    if case == "groups" and (optimizer == "adagrad" or not is_classifier(loss)):
        pytest.skip("without a meaning")
    for dtype, classes in ((np.float64, 2), (np.float32, 3)):
        x, y = data(loss, sum(SIZES), 13, classes)
        x, weights = x.astype(dtype), np.random.default_rng(0).choice([0.5, 1, 3], len(y))
        expected = trained(model_of(loss, optimizer, OPTIONS[case], 13), x, y, [len(y)], (rows,), (weights, None))
        assert expected.coef_.any()
        for sizes, forms in (([len(y)], (np.asarray,)), (SIZES, (np.asarray,)), (SIZES, (np.asarray, rows))):
            model = model_of(loss, optimizer, OPTIONS[case], 13)
            assert bits(trained(model, x, y, sizes, forms, (weights, None))) == bits(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_number_of_features(optimizer, dtype):
    """Below, at and above the lengths of vectors and blocks."""
    for features in (1, 2, 7, 8, 9, 63, 64, 65, 130):
        x, y = data("log_loss", 30, max(3, features), 3)
        x = x[:, :features].astype(dtype)
        expected = trained(make("log_loss", optimizer), x, y, [30], (rows,))
        assert bits(trained(make("log_loss", optimizer), x, y, [30])) == bits(expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_offsets(loss, optimizer):
    x, y = data(loss, 40)
    offsets = np.random.default_rng(0).uniform(-1, 1, 40)
    expected = trained(make(loss, optimizer), x, y, [40], (rows,), (None, offsets))
    assert bits(trained(make(loss, optimizer), x, y, [15, 25], numbers=(None, offsets))) == bits(expected)


RESTARTS = {
    "sgd": {"eta0": 1.0, "learning_rate": "constant", "alpha": 2.0, "l1_ratio": 0.0},  # 3⁻ᵗ falls below 1e-150
    "adagrad": PENALTY,  # rates change at powers of two, before which all weights are brought up to date
    "ftrl": PENALTY,
}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_clocks_that_start_again(optimizer, classes):
    x, y = data("log_loss", 400, classes=classes)
    expected = trained(make("log_loss", optimizer, **RESTARTS[optimizer]), x, y, [400], (rows,))
    model = trained(make("log_loss", optimizer, **RESTARTS[optimizer]), x, y, [390, 10])
    assert bits(model) == bits(expected)
    if optimizer == "sgd":
        assert model._stream.learner.records["stamp"][0, 0] < 1e100  # its inverse; 3⁴⁰⁰ without a restart


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_between_calls_weights_are_set_and_models_pickled(optimizer):
    x, y = data("log_loss", 40, classes=3)
    models = []
    for forms in ((np.asarray,), (rows,)):
        model = trained(make("log_loss", optimizer, **PENALTY), x[:20], y[:20], [20], forms)
        model.coef_ = np.where(np.abs(model.coef_) > 0.1, 0, model.coef_ + 0.05)
        models.append(trained(pickle.loads(pickle.dumps(model)), x[20:], y[20:], [20], forms))
    assert bits(models[0]) == bits(models[1])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_samples_in_random_order(optimizer):
    """As in fit: an epoch of which the samples lie anywhere in the array."""
    x, y = data("squared_error", 60)
    options = {"max_iter": 3, "tol": None, "random_state": 0, "optimizer": optimizer}
    expected = make("squared_error", **options).fit(rows(x), y)
    assert bits(make("squared_error", **options).fit(x, y)) == bits(expected)
