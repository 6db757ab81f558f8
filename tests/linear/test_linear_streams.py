"""It makes no difference how a stream is cut, to any bit: scikit-learn's own model loses its zeros on mini-batches."""

import pickle

import numpy as np
import pytest
from linear_cases import LOSSES, OPTIMIZERS, PAIRS, bits, data, in_pieces, is_classifier, make, stored
from scipy import sparse
from sklearn.linear_model import SGDClassifier

from fastreg.linear import StreamingClassifier
from fastreg.linear import stream as _stream

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # of few epochs


def halves(t):
    return 0.1 * 0.5 ** (t // 10)


SCHEDULES = {
    "ftrl": [{}, {"eta0": 0.5}],
    "adagrad": [{}, {"learning_rate": "constant", "eta0": 0.2}],
    "sgd": [{}, *({"learning_rate": x, "eta0": 0.05} for x in ("constant", "invscaling", "optimal", halves))],
}
FORMS = [("dense", np.float32, 3), ("dense", np.float64, 2), (np.int32, np.float64, 3), (np.int64, np.float32, 2)]
FORMS_BY_NAME = {f"{np.dtype(f) if f != 'dense' else f}-{d.__name__}-{c}": (f, d, c) for f, d, c in FORMS}


@pytest.mark.parametrize("form", FORMS_BY_NAME)
@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_the_cut_of_a_stream_makes_no_difference(loss, optimizer, form):
    form, dtype, classes = FORMS_BY_NAME[form]
    x, y = data(loss, 24, classes=classes)
    x = stored(x, form, dtype)
    weights = np.random.default_rng(1).choice([0, 0.5, 1, 3], len(y))
    weights[1] = 0
    for schedule in SCHEDULES[optimizer]:
        options = schedule | {"alpha": 0.01, "l1_ratio": 0.6}
        whole = in_pieces(make(loss, optimizer, **options), x, y, len(y), weights)
        fitted = make(loss, optimizer, **options, shuffle=False, max_iter=1, tol=None).fit(x, y, weights)
        assert np.isfinite(whole.coef_).all()
        assert whole.coef_.any()
        assert bits(fitted) == bits(whole)
        for size in (1, 10):
            assert bits(in_pieces(make(loss, optimizer, **options), x, y, size, weights)) == bits(whole)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nor_does_the_look_at_the_keyboard(optimizer, monkeypatch):
    x, y = data("log_loss")
    whole = in_pieces(make("log_loss", optimizer), x, y, len(y))
    monkeypatch.setattr(_stream, "CHUNK", 7)
    assert bits(in_pieces(make("log_loss", optimizer), x, y, len(y))) == bits(whole)


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_nor_a_look_at_the_weights_or_a_pickle_in_between(loss, optimizer):
    x, y = data(loss, classes=3)
    x = stored(x, np.int32, np.float64)
    whole, model = in_pieces(make(loss, optimizer), x, y, len(y)), make(loss, optimizer)
    known = {"classes": np.unique(y)} if is_classifier(loss) else {}
    for k in range(0, len(y), 6):
        model.partial_fit(x[k : k + 6], y[k : k + 6], **known)
        model = pickle.loads(pickle.dumps(model))
        assert model.coef_.shape == whole.coef_.shape
        model.predict(x)
    assert bits(model) == bits(whole)


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_a_sample_of_weight_zero_is_none(loss, optimizer):
    x, y = data(loss)
    weights = np.random.default_rng(2).choice([0, 1.0], len(y))
    kept = weights > 0
    with_zeros = in_pieces(make(loss, optimizer), x, y, 1, weights)
    assert bits(with_zeros) == bits(in_pieces(make(loss, optimizer), x[kept], y[kept], 4))


@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad"])
def test_empty_samples_leave_the_scale_to_the_first_with_features(optimizer):
    """An empty document at the start must not set the default learning rate for good."""
    x, y = data("log_loss", count=50)
    x *= 1e-3
    full = x[1:]
    model = in_pieces(make("log_loss", optimizer), stored(x, np.int32, float), y, len(y))
    assert model._stream.scale == in_pieces(make("log_loss", optimizer), full, y[1:], 10)._stream.scale < 1e-2
    empty = make("log_loss", optimizer).partial_fit(0 * x, y, [0, 1])
    assert not empty.coef_.any()
    assert np.isfinite(empty.intercept_).all()


PENALTIES = {"l1": 1.0, "elasticnet": 0.7}


@pytest.fixture(scope="module")
def few_features_matter():
    """400 features, of which 10 tell the class and are always there, the others seldom."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 400)) * (rng.random((600, 400)) < 0.05)
    x[:, :10] = rng.standard_normal((600, 10))
    return sparse.csr_array(x), (x[:, :10].sum(axis=1) > 0).astype(int)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_zeros_are_kept(few_features_matter, optimizer, penalty):
    x, y = few_features_matter
    ours = {"alpha": 0.01, "l1_ratio": PENALTIES[penalty], "optimizer": optimizer}
    whole = in_pieces(StreamingClassifier(**ours), x, y, len(y))
    tens = in_pieces(StreamingClassifier(**ours), x, y, 10)
    assert whole.coef_[0, :10].all()
    assert np.count_nonzero(whole.coef_) < (20 if optimizer == "ftrl" else 240)
    assert bits(whole) == bits(tens)
    if penalty == "l1":
        assert bits(whole) == bits(in_pieces(StreamingClassifier(**ours), x, y, 1))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_scikit_learn_loses_its_zeros(few_features_matter, penalty):
    """Where it no longer does, the docs must no longer say so."""
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
