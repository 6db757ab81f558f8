"""The kernels read and write only inside arrays, even if callables or other threads change the arguments."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from linear_cases import (
    OPTIMIZERS,
    PAIRS,
    bits,
    data,
    field,
    in_batches,
    is_classifier,
    make,
    misaligned,
    stored,
    swapped,
)
from scipy import sparse

from fastreg._boundary import linear as _learn
from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.linear import regressor as _regressor
from fastreg.linear.csr import checked_matrix
from fastreg.linear.samples import Samples
from fastreg.linear.stream import Stream

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs

EMPTY = {
    "no entries": lambda: sparse.csr_array((30, 12)),
    "one entry in the first row": lambda: sparse.csr_array((np.ones(1), [0], np.r_[0, np.ones(30, int)]), (30, 12)),
    "int64": lambda: stored(np.zeros((30, 12)), np.int64, float),
    "zeros": lambda: np.zeros((30, 12)),
}


class NumpyWithCanaries:
    """NumPy with an `empty` that appends a canary to each new array."""

    def __init__(self):
        self.buffers = []

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype=float):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        self.buffers.append((np.full(size + 64, 0xAB, np.uint8), size))
        return self.buffers[-1][0][:size].view(dtype).reshape(shape)


@pytest.mark.parametrize("case", EMPTY)
@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_no_writes_behind_arrays_of_length_zero(loss, optimizer, case, monkeypatch):
    numpy = NumpyWithCanaries()
    monkeypatch.setattr(_learn, "np", numpy)
    x, y = EMPTY[case](), data(loss, classes=3)[1]
    model = in_batches(make(loss, optimizer), x, y, 7)
    model.predict(x)
    known = {"classes": np.unique(y)} if is_classifier(loss) else {}
    make(loss, optimizer).partial_fit(x, y, sample_weight=np.zeros(30), **known).predict(x)
    assert numpy.buffers
    assert all((buffer[size:] == 0xAB).all() for buffer, size in numpy.buffers)


DENSE = {
    "misaligned": misaligned,
    "a field of a structured array": field,
    "byte-swapped": swapped,
    "long doubles": lambda x: x.astype(np.longdouble),
    "rows of a larger array": lambda x: np.repeat(x, 2, axis=0)[::2],
    "Fortran order": np.asfortranarray,
    "stride 0": lambda x: np.broadcast_to(x[:1], x.shape),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", DENSE)
def test_dense_arrays_of_any_kind(case, dtype):
    x, y = data("log_loss")
    unusual = DENSE[case](x.astype(dtype))
    for optimizer in OPTIMIZERS:
        model = make("log_loss", optimizer).partial_fit(unusual, y, [0, 1])
        expected = make("log_loss", optimizer).partial_fit(np.array(unusual, model.coef_.dtype, order="C"), y, [0, 1])
        assert bits(model) == bits(expected)


def test_bfloat16_features_train():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, y = data("log_loss")
    converted = x.astype(bfloat16)
    expected = StreamingClassifier().partial_fit(converted.astype(float), y, [0, 1])
    assert bits(StreamingClassifier().partial_fit(converted, y, [0, 1])) == bits(expected)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_indices_copied_in_blocks(optimizer, index, monkeypatch):
    """Rows longer than a block, blocks that end between rows, skipped rows."""
    rng = np.random.default_rng(0)
    x = sparse.random(300, 6000, density=0.01, format="csr", random_state=0)
    wide = sparse.random(2, 6000, density=0.9, format="csr", random_state=1)
    x = sparse.vstack([x[:100], wide, x[100:]], format="csr")
    x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(index)
    y, weights = rng.standard_normal(302), rng.choice([0.0, 1.0, 2.0], 302)
    assert checked_matrix(x, copy_indices=False).shares_indices
    models = []
    for copied in (False, True):
        monkeypatch.setattr(
            _regressor, "checked_matrix", lambda x, copy_indices, c=copied: checked_matrix(x, copy_indices or c)
        )
        models.append(make("squared_error", optimizer))
        for _ in range(2):
            models[-1].partial_fit(x, y, sample_weight=weights)
    assert bits(models[0]) == bits(models[1])


CALLABLES = {
    "indices": lambda x, y, w: x.indices.fill(500_000_000),
    "negative indices": lambda x, y, w: x.indices.fill(-(2**31)),
    "indptr": lambda x, y, w: x.indptr.fill(500_000_000),
    "shorter data": lambda x, y, w: x.data.resize(2, refcheck=False),
    "other arrays": lambda x, y, w: vars(x).update(data=x.data[:0], indices=x.indices[:0], indptr=x.indptr[:1]),
    "another shape": lambda x, y, w: setattr(x, "_shape", (10**6, 10**6)),
    "targets": lambda x, y, w: y.fill(np.nan),
    "weights": lambda x, y, w: w.fill(np.nan),
}


@pytest.mark.parametrize("form", [np.int32, np.int64])
@pytest.mark.parametrize("case", CALLABLES)
@pytest.mark.parametrize("call", ["fit", "partial_fit", "first"])
def test_a_callable_that_changes_checked_arguments(call, case, form):
    """The model is trained on the arguments as they were checked."""
    x, y = data("squared_error", 60, density=1)
    options = {"optimizer": "sgd", "max_iter": 2, "tol": None, "shuffle": False}
    expected = StreamingRegressor(learning_rate=lambda t: 0.01, **options)
    x, weights = stored(x, form, float), np.ones(60)
    calls = []

    def rate(t):
        if model.n_features_in_ if call == "partial_fit" else True:
            calls.append(t)
            try:
                CALLABLES[case](x, y, weights)
            except ValueError:  # an array that is in use cannot be resized
                assert case == "shorter data"
        return 0.01

    model = StreamingRegressor(learning_rate=lambda t: 0.01, **options)
    if call == "partial_fit":
        model.partial_fit(x.copy(), y)
        expected.partial_fit(x.copy(), y)
    method = "fit" if call == "fit" else "partial_fit"
    getattr(expected, method)(x.copy(), y.copy(), sample_weight=weights.copy())
    model.learning_rate = rate
    getattr(model, method)(x, y, sample_weight=weights)
    assert calls
    if "indices" in case and call == "partial_fit":
        assert np.isfinite(model.coef_).all()  # the indices are shared: other indices, but within the range
    else:
        assert bits(model) == bits(expected)


WRITER = """
import sys, threading
import numpy as np
from scipy import sparse
from fastreg.linear import StreamingClassifier
x = sparse.random(20_000, 300, density=0.1, format="csr", random_state=0)
y = np.arange(20_000) % 2
model, stop = StreamingClassifier(optimizer=sys.argv[1], max_iter=1).partial_fit(x, y, [0, 1]), threading.Event()
good, starts = x.indices.copy(), x.indptr.copy()

def write():
    while not stop.is_set():
        x.indices[:] = 2_000_000_000
        x.indptr[1:] = -7
        try:
            x.data.resize(3, refcheck=False)
            x.data = np.ones(len(good))
        except ValueError:
            pass
        x.indices[:], x.indptr[:] = good, starts

thread = threading.Thread(target=write)
thread.start()
for _ in range(60):
    for name in ("partial_fit", "fit", "score"):
        try:
            getattr(model, name)(x, y)
        except ValueError as error:
            assert "X" in str(error) or "eta0" in str(error), error
stop.set()
thread.join()
"""


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_thread_that_writes_to_the_matrix(optimizer):
    """The results may change or be errors, but nothing crashes."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WRITER, optimizer], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr[-2000:]


def test_arrays_in_use_cannot_be_resized():
    x, y = data("squared_error", 60, density=1)
    x = stored(x, np.int32, float)
    refused = []

    def rate(t):
        for a in (x.data, x.indices):
            try:
                a.resize(1, refcheck=False)
            except ValueError as error:
                refused.append(str(error))
        return 0.1

    StreamingRegressor(optimizer="sgd").partial_fit(x, y).set_params(learning_rate=rate).partial_fit(x, y)
    assert len(refused) == 120


def test_the_learner_checks_the_number_of_features():
    x, y = data("squared_error")
    model = StreamingRegressor().partial_fit(x[:, :5], y)
    before = bits(model)
    model.n_features_in_ = 12
    for form in (x, sparse.csr_array(x), sparse.csr_array((30, 12))):
        for call in (model.partial_fit, lambda x, y: model.predict(x)):
            with pytest.raises(ValueError, match=r"^X: expected 5 features, as in the first call, got 12"):
                call(form, y)
    assert bits(model) == before


def test_indices_outside_the_range_are_not_read():
    stream = Stream(5, 1, np.dtype(float), "sgd", True)
    for k in (-1, 5, 2**62):
        with pytest.raises(ValueError, match=r"^X: expected indices from 0 to 4"):
            stream.learner.read(5, np.array([0, k]))


SAMPLES = {
    "data": (lambda a: a[:-1], "X: expected at least"),
    "indices": (lambda a: a[:-1], "X: expected at least"),
    "starts": (lambda a: a.astype(np.int16), "X: expected at least 1 elements of dtype"),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("form", ["dense", np.int32, np.int64])
def test_arrays_are_checked_before_pointers_are_used(name, form):
    """Independently of earlier checks."""
    x, y = data("squared_error")
    model = StreamingRegressor().partial_fit(x, y)
    samples = Samples(checked_matrix(stored(x, form, float)))
    change, match = SAMPLES[name]
    kinds = [change, swapped, lambda a: a[::-1]] if name != "starts" else [change, swapped]
    for kind in kinds:
        valid = getattr(samples, name)
        setattr(samples, name, kind(valid))
        with pytest.raises(ValueError, match="X: expected at least"):
            model._stream.learn(samples, np.arange(30), y, None, model._task())
        with pytest.raises(ValueError, match=match.split(" of")[0][:20]):
            _learn.sizes_of(samples, np.arange(30))
        with pytest.raises(ValueError, match=match.split(" of")[0][:20]):
            _learn.fingerprints_of(samples)
        setattr(samples, name, valid)
    invalid = y.astype(np.float32), y[:-1], y.astype(">f8")
    for targets in invalid:
        with pytest.raises(ValueError, match="y: expected at least 30 elements"):
            model._stream.learn(samples, np.arange(30), targets, None, model._task())
    with pytest.raises(ValueError, match="order: expected samples from 0 to 29, got 30"):
        _learn.sizes_of(samples, np.array([3, 30]))
    with pytest.raises(ValueError, match="order: expected at least"):
        model._stream.learn(samples, np.arange(30, dtype=np.int16), y, None, model._task())


def test_models_in_several_threads_share_only_the_matrix():
    x, y = data("log_loss", 400)
    x = stored(x, np.int32, float)
    expected = in_batches(StreamingClassifier(), x, y, 20)
    models = [StreamingClassifier() for _ in range(4)]
    threads = [threading.Thread(target=in_batches, args=(model, x, y, 20)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(bits(model) == bits(expected) for model in models)
