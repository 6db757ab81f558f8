"""Weights have the same bits for every split of a stream into batches; scikit-learn loses zeros on small batches."""

import pickle

import numpy as np
import pytest
from linear_cases import LOSSES, OPTIMIZERS, PAIRS, bits, data, in_batches, is_classifier, make, stored
from scipy import sparse
from sklearn.linear_model import SGDClassifier

from fastreg.linear import StreamingClassifier
from fastreg.linear import stream as _stream

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs


def halved(t):
    return 0.1 * 0.5 ** (t // 10)


SCHEDULES = {
    "ftrl": [{}, {"eta0": 0.5}],
    "adagrad": [{}, {"learning_rate": "constant", "eta0": 0.2}],
    "sgd": [{}, *({"learning_rate": x, "eta0": 0.05} for x in ("constant", "invscaling", "optimal", halved))],
}
FORMS = [("dense", np.float32, 3), ("dense", np.float64, 2), (np.int32, np.float64, 3), (np.int64, np.float32, 2)]
FORMS_BY_NAME = {f"{np.dtype(f) if f != 'dense' else f}-{d.__name__}-{c}": (f, d, c) for f, d, c in FORMS}


@pytest.mark.parametrize("form", FORMS_BY_NAME)
@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_batches_do_not_change_the_weights(loss, optimizer, form):
    form, dtype, classes = FORMS_BY_NAME[form]
    x, y = data(loss, 24, classes=classes)
    x = stored(x, form, dtype)
    weights = np.random.default_rng(1).choice([0, 0.5, 1, 3], len(y))
    weights[1] = 0
    for schedule in SCHEDULES[optimizer]:
        options = schedule | {"alpha": 0.01, "l1_ratio": 0.6}
        expected = in_batches(make(loss, optimizer, **options), x, y, len(y), weights)
        fitted = make(loss, optimizer, **options, shuffle=False, max_iter=1, tol=None).fit(x, y, weights)
        assert np.isfinite(expected.coef_).all()
        assert expected.coef_.any()
        assert bits(fitted) == bits(expected)
        for size in (1, 10):
            assert bits(in_batches(make(loss, optimizer, **options), x, y, size, weights)) == bits(expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_chunks_do_not_change_the_weights(optimizer, monkeypatch):
    x, y = data("log_loss")
    expected = in_batches(make("log_loss", optimizer), x, y, len(y))
    monkeypatch.setattr(_stream, "CHUNK", 7)
    assert bits(in_batches(make("log_loss", optimizer), x, y, len(y))) == bits(expected)


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_reading_or_pickling_between_batches_does_not_change_the_weights(loss, optimizer):
    x, y = data(loss, classes=3)
    x = stored(x, np.int32, np.float64)
    expected, model = in_batches(make(loss, optimizer), x, y, len(y)), make(loss, optimizer)
    known = {"classes": np.unique(y)} if is_classifier(loss) else {}
    for k in range(0, len(y), 6):
        model.partial_fit(x[k : k + 6], y[k : k + 6], **known)
        model = pickle.loads(pickle.dumps(model))
        assert model.coef_.shape == expected.coef_.shape
        model.predict(x)
    assert bits(model) == bits(expected)


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_samples_of_weight_zero_are_skipped(loss, optimizer):
    x, y = data(loss)
    weights = np.random.default_rng(2).choice([0, 1.0], len(y))
    positive = weights > 0
    with_zeros = in_batches(make(loss, optimizer), x, y, 1, weights)
    assert bits(with_zeros) == bits(in_batches(make(loss, optimizer), x[positive], y[positive], 4))


@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad"])
def test_empty_samples_do_not_affect_the_scale(optimizer):
    """Otherwise an empty first document would determine the default learning rate of the stream."""
    x, y = data("log_loss", count=50)
    x *= 1e3
    full = x[1:]
    model = in_batches(make("log_loss", optimizer), stored(x, np.int32, float), y, len(y))
    expected = in_batches(make("log_loss", optimizer), full, y[1:], 10)._stream.sizes.scale
    assert model._stream.sizes.scale == pytest.approx(expected, rel=0.2)
    assert expected > 100
    empty = make("log_loss", optimizer).partial_fit(0 * x, y, [0, 1])
    assert not empty.coef_.any()
    assert np.isfinite(empty.intercept_).all()


PENALTIES = {"l1": 1.0, "elasticnet": 0.7}


@pytest.fixture(scope="module")
def few_features_matter():
    """400 features: 10 determine the class and are never zero, the others are rare noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 400)) * (rng.random((600, 400)) < 0.05)
    x[:, :10] = rng.standard_normal((600, 10))
    return sparse.csr_array(x), (x[:, :10].sum(axis=1) > 0).astype(int)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_batches_do_not_change_the_zeros(few_features_matter, optimizer, penalty):
    x, y = few_features_matter
    ours = {"alpha": 0.01, "l1_ratio": PENALTIES[penalty], "optimizer": optimizer}
    expected = in_batches(StreamingClassifier(**ours), x, y, len(y))
    tens = in_batches(StreamingClassifier(**ours), x, y, 10)
    assert expected.coef_[0, :10].all()
    assert np.count_nonzero(expected.coef_) < (20 if optimizer == "ftrl" else 240)
    assert bits(expected) == bits(tens)
    if penalty == "l1":
        assert bits(expected) == bits(in_batches(StreamingClassifier(**ours), x, y, 1))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_scikit_learn_loses_its_zeros(few_features_matter, penalty):
    """If this fails with a new version of scikit-learn, the documentation must change."""
    x, y = few_features_matter
    theirs = SGDClassifier(loss="log_loss", penalty=penalty, l1_ratio=PENALTIES[penalty], alpha=0.01, shuffle=False)
    theirs.set_params(max_iter=1, tol=None)
    once = np.count_nonzero(theirs.fit(x, y).coef_)
    for k in range(0, len(y), 10):
        theirs.partial_fit(x[k : k + 10], y[k : k + 10], [0, 1])
    assert np.count_nonzero(theirs.coef_) > 250 > 40 > once


def test_every_loss_is_tested():
    assert list(LOSSES) == list(_stream.LOSSES)
    assert set(OPTIMIZERS) == set(_stream.OPTIMIZERS) == set(SCHEDULES)
