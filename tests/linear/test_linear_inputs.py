"""Unusual samples, arrays and labels: inputs are not written, memory is not shared, calls do not leak."""

import copy
import gc
import pickle
import tracemalloc

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, PAIRS, bits, data, in_batches, is_classifier, make, misaligned, stored
from scipy import sparse

from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.reference.losses import LOG_LINK

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs
pairs = pytest.mark.parametrize(("loss", "optimizer"), PAIRS)


def trained(loss, optimizer, x, y):
    model = make(loss, optimizer, max_iter=2, tol=None, random_state=0, alpha=0.01).fit(x, y)
    return model.partial_fit(x, y)


def read_only(x):
    """Make an array read-only, or all arrays of a sparse matrix."""
    for a in (x.data, x.indices, x.indptr) if sparse.issparse(x) else (x,):
        a.flags.writeable = False
    return x


def swapped(x):
    x = x.copy()
    x.data = x.data.astype(">f8")
    return x


def mapped(x, path):
    np.save(path / "x.npy", x)
    return np.load(path / "x.npy", mmap_mode="r")


DENSE = {
    "read-only": lambda x, path: read_only(x.copy()),
    "mapped": mapped,
    "Fortran order": lambda x, path: np.asfortranarray(x),
    "strided": lambda x, path: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x, path: x[::-1].copy()[::-1],
    "misaligned": lambda x, path: misaligned(x),
    "byte-swapped": lambda x, path: x.astype(">f8"),
    "lists": lambda x, path: x.tolist(),
}
SPARSE = {
    "read-only": read_only,
    "CSC": sparse.csc_array,
    "COO": sparse.coo_array,
    "matrix": sparse.csr_matrix,
    "byte-swapped": swapped,
    "arrays longer than the last row": lambda x: sparse.csr_array(
        (np.r_[x.data, 9, 9], np.r_[x.indices, 7, 7], x.indptr), x.shape
    ),
}


def test_array_elements_after_the_last_row_are_not_read():
    """SciPy's constructors remove them; they exist after an assignment to the attributes, with any values."""
    x = sparse.random(50, 10_000, density=1e-3, format="csr", random_state=1)
    model = StreamingClassifier().partial_fit(x, np.arange(50) % 2, classes=[0, 1])
    longer = x[:1].copy()
    longer.data, longer.indices = np.append(longer.data, 0.0), np.append(longer.indices, np.int32(2_000_000_000))
    expected = copy.deepcopy(model).decision_function(x[:1])
    np.testing.assert_array_equal(model.decision_function(longer), expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("form", DENSE)
def test_dense_arrays_of_any_kind(optimizer, form, tmp_path):
    x, y = data("log_loss")
    unusual = DENSE[form](x, tmp_path)
    expected = trained("log_loss", optimizer, x, y)
    model = trained("log_loss", optimizer, unusual, y)
    assert bits(model) == bits(expected)
    np.testing.assert_allclose(model.decision_function(unusual), expected.decision_function(x), rtol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("form", SPARSE)
def test_sparse_matrices_of_any_kind(optimizer, form):
    x, y = data("log_loss")
    plain, unusual = stored(x, np.int32, float), SPARSE[form](stored(x, np.int32, float))
    expected = trained("log_loss", optimizer, plain, y)
    model = trained("log_loss", optimizer, unusual, y)
    assert bits(model) == bits(expected)
    np.testing.assert_array_equal(model.decision_function(unusual), expected.decision_function(plain))


@pairs
def test_duplicate_and_unsorted_entries_are_summed(loss, optimizer):
    """The matrix itself does not change."""
    x, y = data(loss, classes=3)
    clean = stored(x, np.int32, float)
    indices, values, indptr = [], [], [0]
    for i in range(len(y)):
        own, values_of_row = clean.indices[clean.indptr[i] : clean.indptr[i + 1]][::-1], clean[[i]].data[::-1]
        indices += [*own, *own]
        values += [*(0.25 * values_of_row), *(0.75 * values_of_row)]
        indptr.append(len(indices))
    unusual = sparse.csr_array((np.array(values), np.array(indices, np.int32), np.array(indptr, np.int32)), x.shape)
    before = [a.copy() for a in (unusual.data, unusual.indices, unusual.indptr)]
    model, expected = (trained(loss, optimizer, a, y) for a in (read_only(unusual), clean))
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-10, atol=1e-14)
    model.predict(unusual)
    for a, b in zip(before, (unusual.data, unusual.indices, unusual.indptr)):
        np.testing.assert_array_equal(a, b)


LABELS = {
    "bools": np.array([False, True]),
    "strings": np.array(["no", "yes"]),
    "objects": np.array(["no", "yes"], object),
    "floats": np.array([-1.0, 1.0]),
    "large": np.array([-(2**62), 2**62]),
    "unsigned": np.array([3, 200], np.uint8),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind(kind):
    x, y = data("log_loss")
    labels = LABELS[kind][y]
    expected, model = (in_batches(StreamingClassifier(), x, c, 10) for c in (y, labels))
    assert bits(model) == bits(expected)
    np.testing.assert_array_equal(model.predict(x), LABELS[kind][expected.predict(x)])
    assert model.predict(x).dtype == model.classes_.dtype == labels.dtype
    fitted = StreamingClassifier(max_iter=2, tol=None).fit(x, labels.tolist())
    assert set(fitted.predict(x)) <= set(labels.tolist())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_targets_of_any_kind(optimizer):
    x, y = data("squared_error")
    y = np.round(8 * y)
    expected = in_batches(make("squared_error", optimizer), x, y, 10)
    for unusual in (y.astype(int), y.astype(np.float32), np.repeat(y, 2)[::2], read_only(y.copy())):
        assert bits(in_batches(make("squared_error", optimizer), x, unusual, 10)) == bits(expected)


@pairs
def test_samples_without_features(loss, optimizer):
    """They change the intercept only; a feature that no sample has keeps a weight of zero."""
    x, y = data(loss)
    x[:, 5] = 0
    x[::3] = 0
    for form in ("dense", np.int32):
        model = in_batches(make(loss, optimizer), stored(x, form, float), y, 7)
        assert np.atleast_2d(model.coef_)[0, 5] == 0
    empty = sparse.csr_array((30, 12))
    model = in_batches(make(loss, optimizer), empty, y, 7)
    assert not model.coef_.any()
    assert model.intercept_.all()
    np.testing.assert_array_equal(model._margins(empty), np.full(30, model.intercept_[0]))


@pairs
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)])
def test_single_samples_and_features(loss, optimizer, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    known = {"classes": [0, 1]} if is_classifier(loss) else {}
    y = np.full(len(x), 2 if loss in LOG_LINK else 1)  # with log link, predictions start at the first target
    model = make(loss, optimizer, alpha=1e-6).partial_fit(x, y, **known)
    assert np.isfinite(model.coef_).all()
    assert model.coef_.size == shape[1]
    assert (model._margins(x) > 0).mean() > 0.5


@pytest.mark.parametrize("size", [1e-170, 1e-300, 1e-30, 1e30, 1e100])
@pairs
def test_features_of_any_size(loss, optimizer, size):
    """Their squares may overflow or underflow; the weights stay finite."""
    x, y = data(loss, density=1)
    for x_ in (x * size, stored(x * size, np.int32, float)):
        model = make(loss, optimizer, max_iter=3, tol=None, alpha=1e-6)
        assert np.isfinite(model.fit(x_, y).coef_).all()
        assert np.isfinite(model.intercept_).all()


def test_weights_of_any_size():
    x, y = data("log_loss")
    for size in (5e-324, 1e-300, 1e-3, 1e3, 1e300):
        model = StreamingClassifier(max_iter=3, tol=None, random_state=0).fit(x, y, np.full(30, size))
        assert np.isfinite(model.coef_).all()


@pairs
def test_results_do_not_share_memory_with_the_model(loss, optimizer):
    x, y = data(loss, classes=3)
    model = in_batches(make(loss, optimizer), x, y, 10)
    before, margins = bits(model), model._margins(x)
    with pytest.raises(ValueError, match="read-only"):
        model.coef_[...] = 7
    model.intercept_[...] = 7
    model._margins(x)[...] = 7
    assert bits(model) == before
    np.testing.assert_array_equal(model._margins(x), margins)
    old = model.coef_
    expected = old.copy()
    model.partial_fit(x, y)
    np.testing.assert_array_equal(old, expected)


@pairs
def test_inputs_are_neither_referenced_nor_written(loss, optimizer):
    x, y = data(loss)
    weights = np.linspace(0, 3, 30)
    before = [a.copy() for a in (x, y, weights)]
    model = make(loss, optimizer, max_iter=2, tol=None, random_state=0).fit(x, y, weights)
    model.partial_fit(x, y, sample_weight=weights)
    for a, b in zip(before, (x, y, weights)):
        np.testing.assert_array_equal(a, b)
    state = bits(model)
    x[:], y[:], weights[:] = 9, 0, 9
    assert bits(model) == state


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_calls_do_not_leak_memory(optimizer):
    x, y = data("log_loss", features=2000, classes=3, density=0.05)
    forms = [stored(x, form, float) for form in ("dense", np.int32)]
    model = in_batches(make("log_loss", optimizer), x, y, 10)

    def calls():
        for x in forms:
            model.partial_fit(x, y).predict(x)
            pickle.loads(pickle.dumps(model))
            assert model.coef_.any()

    calls()
    gc.collect()
    tracemalloc.start()
    calls()
    gc.collect()
    first = tracemalloc.get_traced_memory()[0]
    calls()
    gc.collect()
    second = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert second - first < 20_000


def test_memory_of_a_call_does_not_depend_on_the_number_of_features():
    """Neither a step nor a prediction for few samples allocates an array with an element for each feature."""
    x = sparse.csr_array((np.ones(4), np.array([0, 10**6 - 1, 5, 7]), np.array([0, 2, 4])), shape=(2, 10**6))
    for optimizer in OPTIMIZERS:
        model = StreamingRegressor(optimizer=optimizer).partial_fit(x, [0.0, 1.0])
        tracemalloc.start()
        for _ in range(3):
            model.partial_fit(x, [0.0, 1.0]).predict(x)
        assert tracemalloc.get_traced_memory()[1] < 100_000
        tracemalloc.stop()
