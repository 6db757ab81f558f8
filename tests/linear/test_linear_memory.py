"""Sparse matrices whose parts are anything: as good as their canonical copy, or refused by name; never wild memory."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, PAIRS, bits, data, in_batches, is_classifier, make, stored
from scipy import sparse

from fastreg._boundary import linear as _learn
from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.linear import regressor as _regressor
from fastreg.linear.csr import checked_matrix
from fastreg.linear.stream import Stream

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs


def field(a):
    """A view of every second element of a table with a column of another kind."""
    table = np.zeros(len(a), [("other", "u1"), ("own", a.dtype)])
    table["own"] = a
    return table["own"]


def column(a):
    return np.column_stack([a, a])[:, 0]


def backwards(a):
    return a[::-1].copy()[::-1]


def misaligned(a):
    buffer = np.empty(a.nbytes + 1, np.uint8)
    buffer[1:] = np.frombuffer(a.tobytes(), np.uint8)
    return buffer[1:].view(a.dtype)


def swapped(a):
    return a.astype(a.dtype.newbyteorder())


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def longer(a):
    return np.append(a, a.dtype.type(9))


VIEWS = {f.__name__: f for f in (field, column, backwards, misaligned, swapped, read_only)}
INTEGERS = {f"int{n}": np.dtype(f"i{n // 8}") for n in (8, 16, 32, 64)}
INTEGERS |= {f"uint{n}": np.dtype(f"u{n // 8}") for n in (8, 16, 32, 64)}
SAME = {
    **{f"data: {name}": {"data": f} for name, f in VIEWS.items()},
    **{f"indices: {name}": {"indices": f} for name, f in VIEWS.items()},
    **{f"indptr: {name}": {"indptr": f} for name, f in VIEWS.items()},
    **{f"indices: {name}": {"indices": lambda a, t=t: a.astype(t)} for name, t in INTEGERS.items()},
    **{f"indptr: {name}": {"indptr": lambda a, t=t: a.astype(t)} for name, t in INTEGERS.items() if t.itemsize > 1},
    "room behind": {"data": longer, "indices": longer},
    "room behind the values": {"data": longer},
    "room behind the indices": {"indices": longer},
    "real part": {"data": lambda a: (a + 2j).real},
    "a subclass": {"data": lambda a: a.view(np.memmap), "indices": lambda a: a.view(np.memmap)},
}


def with_parts(x, parts):
    """Assigned to the attributes, past SciPy's constructors."""
    for name, change in parts.items():
        setattr(x, name, change(getattr(x, name)))
    return x


def trained(x, y, optimizer):
    model = make("log_loss", optimizer, max_iter=2, tol=None, random_state=0).fit(x, y)
    return model.partial_fit(x, y)


@pytest.mark.parametrize("case", SAME)
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array])
def test_parts_of_any_kind(kind, case):
    x, y = data("log_loss")
    x = sparse.csr_array(np.round(x, 1))
    for optimizer in OPTIMIZERS:
        odd = with_parts(kind(x), SAME[case])
        before = [np.array(a) for a in (odd.data, odd.indices, odd.indptr)]
        expected, model = (trained(own, y, optimizer) for own in (x, odd))
        assert bits(model) == bits(expected)
        np.testing.assert_array_equal(model.decision_function(odd), expected.decision_function(x))
        for a, b in zip(before, (odd.data, odd.indices, odd.indptr)):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("flag", ["has_canonical_format", "has_sorted_indices"])
def test_flags_are_not_believed(flag):
    x, y = data("log_loss")
    x = sparse.csr_array(x)
    twice = sparse.csr_array((np.repeat(x.data / 2, 2), np.repeat(x.indices, 2), 2 * x.indptr), x.shape)
    for optimizer in OPTIMIZERS:
        setattr(twice, flag, True)
        assert bits(trained(twice, y, optimizer)) == bits(trained(x, y, optimizer))
        canonical = x.copy()
        setattr(canonical, flag, False)
        assert bits(trained(canonical, y, optimizer)) == bits(trained(x, y, optimizer))


def put(name, place, value):
    def change(x):
        getattr(x, name)[place] = value

    return change


def assign(name, change):
    def smash(x):
        setattr(x, name, change(getattr(x, name)))

    return smash


SMASHED = {
    "index too large": put("indices", 5, 30),
    "index negative": put("indices", 5, -1),
    "index far outside": put("indices", 5, 2**31 - 1),
    "indices of floats": assign("indices", lambda a: a.astype(float)),
    "indices of bools": assign("indices", lambda a: a.astype(bool)),
    "indices of objects": assign("indices", lambda a: a.astype(object)),
    "indices of texts": assign("indices", lambda a: a.astype(str)),
    "indices with two dimensions": assign("indices", lambda a: a[:, None]),
    "indices beyond int64": assign("indices", lambda a: a.astype(np.uint64) + np.uint64(2**63)),
    "indices beyond int32": assign("indices", lambda a: a.astype(np.uint32) + np.uint32(2**31)),
    "a list of indices": assign("indices", lambda a: [*a.tolist(), 0.5]),
    "indices too few": assign("indices", lambda a: a[:-1]),
    "values too few": assign("data", lambda a: a[:-1]),
    "values with two dimensions": assign("data", lambda a: a[:, None]),
    "rows that overlap": put("indptr", 4, 0),
    "a row too long": put("indptr", 4, 400_000_000),
    "a row negative": put("indptr", 4, -400_000_000),
    "last row too long": put("indptr", -1, 2**31 - 1),
    "first row late": put("indptr", 0, 1),
    "negative start": put("indptr", 0, -9),
    "indptr too long": assign("indptr", lambda a: np.append(a, a[-1])),
    "indptr too short": assign("indptr", lambda a: a[:-1]),
    "indptr empty": assign("indptr", lambda a: a[:0]),
    "indptr with two dimensions": assign("indptr", lambda a: a[:, None]),
    "indptr of floats": assign("indptr", lambda a: a.astype(float)),
    "indptr beyond int64": assign("indptr", lambda a: a.astype(np.uint64) + np.uint64(2**63)),
    "indptr that overflows": assign("indptr", lambda a: np.r_[0, 2**62, -(2**62), 2**62, a[4:]]),
    "no indptr": assign("indptr", lambda a: None),
    "another shape": lambda x: setattr(x, "_shape", (300, 12)),
    "fewer features": lambda x: setattr(x, "_shape", (30, 3)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8])
@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
@pytest.mark.parametrize("case", SMASHED)
def test_matrices_that_lie(case, form, dtype):
    """SciPy does not look, and its own casts and conversions would write wherever the parts point."""
    x, y = data("log_loss", density=1)
    x[0] = 1
    fine = sparse.csr_array(np.round(8 * x).astype(dtype))
    model = in_batches(StreamingClassifier(), x, y, 10)
    before = bits(model)
    for call in (model.fit, model.partial_fit, lambda x, y: model.predict(x)):
        odd = (fine.asformat(form) if form != "bsr" else fine.tobsr((1, 1))).copy()
        if form == "bsr":
            odd.data = odd.data.reshape(-1, 1, 1)
        if form != "csr" and case in ("another shape", "fewer features"):
            continue
        try:
            SMASHED[case](odd)
        except (OverflowError, ValueError):
            continue
        with pytest.raises(ValueError, match=r"^X: expected|^X has"):
            call(odd, y)
        assert bits(model) == before


PLACES = {
    "row too large": ("row", 30),
    "row negative": ("row", -1),
    "column too large": ("col", 12),
    "column far outside": ("col", 2**31 - 1),
}


@pytest.mark.parametrize("case", PLACES)
def test_other_formats_that_lie(case):
    x, y = data("log_loss")
    model = in_batches(StreamingClassifier(), x, y, 10)
    name, value = PLACES[case]
    for call in (model.fit, model.partial_fit, lambda x, y: model.predict(x)):
        odd = sparse.coo_matrix(x)
        getattr(odd, name)[3] = value
        with pytest.raises(ValueError, match=r"^X: expected"):
            call(odd, y)
        ragged = sparse.lil_array(x)
        ragged.rows[3] = [*ragged.rows[3], *range(12)]
        with pytest.raises(ValueError, match=r"^X: expected"):
            call(ragged, y)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
def test_formats(form):
    x, y = data("log_loss")
    x = sparse.csr_array(x)
    assert bits(trained(x.asformat(form), y, "ftrl")) == bits(trained(x, y, "ftrl"))


def test_sparse_arrays_of_one_dimension_are_refused():
    x, y = data("log_loss")
    with pytest.raises(ValueError, match=r"^X: expected 2 dimensions"):
        StreamingClassifier().fit(sparse.coo_array(x[0]), y[:12])


EMPTY = {
    "rows without entries": lambda: sparse.csr_array((30, 12)),
    "the last": lambda: sparse.csr_array((np.ones(1), [0], np.r_[0, np.ones(30, int)]), (30, 12)),
    "int64": lambda: stored(np.zeros((30, 12)), np.int64, float),
    "zeros": lambda: np.zeros((30, 12)),
}


class Fenced:
    """NumPy, in which new arrays end where a canary begins."""

    def __init__(self):
        self.pages = []

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype=float):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        self.pages.append((np.full(size + 64, 0xAB, np.uint8), size))
        return self.pages[-1][0][:size].view(dtype).reshape(shape)


@pytest.mark.parametrize("case", EMPTY)
@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_nothing_is_written_behind_arrays_of_length_zero(loss, optimizer, case, monkeypatch):
    numpy = Fenced()
    monkeypatch.setattr(_learn, "np", numpy)
    x, y = EMPTY[case](), data(loss, classes=3)[1]
    model = in_batches(make(loss, optimizer), x, y, 7)
    model.predict(x)
    known = {"classes": np.unique(y)} if is_classifier(loss) else {}
    make(loss, optimizer).partial_fit(x, y, sample_weight=np.zeros(30), **known).predict(x)
    assert numpy.pages
    assert all((page[size:] == 0xAB).all() for page, size in numpy.pages)


DENSE = {
    "misaligned": lambda x: misaligned(x.ravel()).reshape(x.shape),
    "a field": lambda x: field(x.ravel()).reshape(x.shape),
    "byte-swapped": swapped,
    "long doubles": lambda x: x.astype(np.longdouble),
    "rows of a larger one": lambda x: np.repeat(x, 2, axis=0)[::2],
    "Fortran order": np.asfortranarray,
    "a matrix of strides 0": lambda x: np.broadcast_to(x[:1], x.shape),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", DENSE)
def test_dense_arrays_of_any_kind(case, dtype):
    x, y = data("log_loss")
    odd = DENSE[case](x.astype(dtype))
    for optimizer in OPTIMIZERS:
        model = make("log_loss", optimizer).partial_fit(odd, y, [0, 1])
        expected = make("log_loss", optimizer).partial_fit(np.array(odd, model.coef_.dtype, order="C"), y, [0, 1])
        assert bits(model) == bits(expected)


def test_bfloat16_features_train():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, y = data("log_loss")
    odd = x.astype(bfloat16)
    expected = StreamingClassifier().partial_fit(odd.astype(float), y, [0, 1])
    assert bits(StreamingClassifier().partial_fit(odd, y, [0, 1])) == bits(expected)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_indices_copied_in_blocks(optimizer, index, monkeypatch):
    """Rows longer than a part, parts that end between rows, rows left out."""
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
    "indices that are negative": lambda x, y, w: x.indices.fill(-(2**31)),
    "indptr": lambda x, y, w: x.indptr.fill(500_000_000),
    "data that are shorter": lambda x, y, w: x.data.resize(2, refcheck=False),
    "other parts": lambda x, y, w: vars(x).update(data=x.data[:0], indices=x.indices[:0], indptr=x.indptr[:1]),
    "another shape": lambda x, y, w: setattr(x, "_shape", (10**6, 10**6)),
    "targets": lambda x, y, w: y.fill(np.nan),
    "weights": lambda x, y, w: w.fill(np.nan),
}


@pytest.mark.parametrize("form", [np.int32, np.int64])
@pytest.mark.parametrize("case", CALLABLES)
@pytest.mark.parametrize("call", ["fit", "partial_fit", "first"])
def test_a_callable_changes_what_was_checked(call, case, form):
    """What was checked is what is used: the model is that of the matrix as it came, or it is an error."""
    x, y = data("squared_error", 60, density=1)
    options = {"optimizer": "sgd", "max_iter": 2, "tol": None, "shuffle": False}
    expected = StreamingRegressor(learning_rate=lambda t: 0.01, **options)
    x, weights = stored(x, form, float), np.ones(60)
    done = []

    def rate(t):
        if model.n_features_in_ if call == "partial_fit" else True:
            done.append(t)
            try:
                CALLABLES[case](x, y, weights)
            except ValueError:  # cannot resize an array that is in use
                assert case == "data that are shorter"
        return 0.01

    model = StreamingRegressor(learning_rate=lambda t: 0.01, **options)
    if call == "partial_fit":
        model.partial_fit(x.copy(), y)
        expected.partial_fit(x.copy(), y)
    method = "fit" if call == "fit" else "partial_fit"
    getattr(expected, method)(x.copy(), y.copy(), sample_weight=weights.copy())
    model.learning_rate = rate
    getattr(model, method)(x, y, sample_weight=weights)
    assert done
    if case.startswith("indices") and call == "partial_fit":
        assert np.isfinite(model.coef_).all()  # borrowed: other numbers, inside
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
def test_a_second_thread_that_writes_where_it_likes(optimizer):
    """It can give other numbers and errors, and no crash."""
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


def test_the_learner_compares_the_width_itself():
    x, y = data("squared_error")
    model = StreamingRegressor().partial_fit(x[:, :5], y)
    before = bits(model)
    model.n_features_in_ = 12
    for form in (x, sparse.csr_array(x), sparse.csr_array((30, 12))):
        for call in (model.partial_fit, lambda x, y: model.predict(x)):
            with pytest.raises(ValueError, match=r"^X: expected 5 features, as in the first call, got 12"):
                call(form, y)
    assert bits(model) == before


def test_places_outside_are_not_read():
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
def test_arrays_are_checked_where_pointers_are_taken(name, form):
    """Whatever the code before them has made of them."""
    x, y = data("squared_error")
    model = StreamingRegressor().partial_fit(x, y)
    from fastreg.linear.stream import Samples

    samples = Samples(checked_matrix(stored(x, form, float)))
    change, match = SAMPLES[name]
    kinds = [change, swapped, lambda a: a[::-1]] if name != "starts" else [change, swapped]
    for kind in kinds:
        good = getattr(samples, name)
        setattr(samples, name, kind(good))
        with pytest.raises(ValueError, match="X: expected at least"):
            model._stream.learn(samples, np.arange(30), y, None, model._task())
        with pytest.raises(ValueError, match=match.split(" of")[0][:20]):
            _learn.survey(samples, True)
        setattr(samples, name, good)
    other = y.astype(np.float32), y[:-1], y.astype(">f8")
    for targets in other:
        with pytest.raises(ValueError, match="y: expected at least 30 elements"):
            model._stream.learn(samples, np.arange(30), targets, None, model._task())
    with pytest.raises(ValueError, match="order: expected at least"):
        model._stream.learn(samples, np.arange(30, dtype=np.int16), y, None, model._task())


def test_threads_share_nothing_but_the_matrix():
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
