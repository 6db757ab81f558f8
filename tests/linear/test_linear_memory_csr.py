"""Sparse matrices with unusual or damaged arrays: trained like the canonical matrix, or refused with an error for X."""

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, bits, data, field, in_batches, make, misaligned, swapped
from scipy import sparse

from fastreg.linear import StreamingClassifier

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs


def column(a):
    return np.column_stack([a, a])[:, 0]


def backwards(a):
    return a[::-1].copy()[::-1]


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
    "longer values and indices": {"data": longer, "indices": longer},
    "longer values": {"data": longer},
    "longer indices": {"indices": longer},
    "real part": {"data": lambda a: (a + 2j).real},
    "a subclass": {"data": lambda a: a.view(np.memmap), "indices": lambda a: a.view(np.memmap)},
}


def with_arrays(x, changes):
    """Change attributes of the matrix without the checks of SciPy's constructors."""
    for name, change in changes.items():
        setattr(x, name, change(getattr(x, name)))
    return x


def trained(x, y, optimizer):
    model = make("log_loss", optimizer, max_iter=2, tol=None, random_state=0).fit(x, y)
    return model.partial_fit(x, y)


@pytest.mark.parametrize("case", SAME)
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array])
def test_arrays_of_any_kind(kind, case):
    x, y = data("log_loss")
    x = sparse.csr_array(np.round(x, 1))
    for optimizer in OPTIMIZERS:
        unusual = with_arrays(kind(x), SAME[case])
        before = [np.array(a) for a in (unusual.data, unusual.indices, unusual.indptr)]
        expected, model = (trained(own, y, optimizer) for own in (x, unusual))
        assert bits(model) == bits(expected)
        np.testing.assert_array_equal(model.decision_function(unusual), expected.decision_function(x))
        for a, b in zip(before, (unusual.data, unusual.indices, unusual.indptr)):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("flag", ["has_canonical_format", "has_sorted_indices"])
def test_flags_are_ignored(flag):
    x, y = data("log_loss")
    x = sparse.csr_array(x)
    duplicated = sparse.csr_array((np.repeat(x.data / 2, 2), np.repeat(x.indices, 2), 2 * x.indptr), x.shape)
    for optimizer in OPTIMIZERS:
        setattr(duplicated, flag, True)
        assert bits(trained(duplicated, y, optimizer)) == bits(trained(x, y, optimizer))
        canonical = x.copy()
        setattr(canonical, flag, False)
        assert bits(trained(canonical, y, optimizer)) == bits(trained(x, y, optimizer))


def set_item(name, position, value):
    def change(x):
        getattr(x, name)[position] = value

    return change


def assign(name, change):
    def change_attribute(x):
        setattr(x, name, change(getattr(x, name)))

    return change_attribute


DAMAGED = {
    "index too large": set_item("indices", 5, 30),
    "index negative": set_item("indices", 5, -1),
    "index far outside": set_item("indices", 5, 2**31 - 1),
    "indices of floats": assign("indices", lambda a: a.astype(float)),
    "indices of bools": assign("indices", lambda a: a.astype(bool)),
    "indices of objects": assign("indices", lambda a: a.astype(object)),
    "indices of strings": assign("indices", lambda a: a.astype(str)),
    "indices with two dimensions": assign("indices", lambda a: a[:, None]),
    "indices beyond int64": assign("indices", lambda a: a.astype(np.uint64) + np.uint64(2**63)),
    "indices beyond int32": assign("indices", lambda a: a.astype(np.uint32) + np.uint32(2**31)),
    "a list of indices": assign("indices", lambda a: [*a.tolist(), 0.5]),
    "indices too few": assign("indices", lambda a: a[:-1]),
    "values too few": assign("data", lambda a: a[:-1]),
    "values with two dimensions": assign("data", lambda a: a[:, None]),
    "rows that overlap": set_item("indptr", 4, 0),
    "a row too long": set_item("indptr", 4, 400_000_000),
    "a row negative": set_item("indptr", 4, -400_000_000),
    "last row too long": set_item("indptr", -1, 2**31 - 1),
    "first row does not start at 0": set_item("indptr", 0, 1),
    "negative start": set_item("indptr", 0, -9),
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
@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_compressed_matrices(case, form, dtype):
    """SciPy does not check them, and its own casts and conversions would write outside the arrays."""
    x, y = data("log_loss", density=1)
    x[0] = 1
    valid = sparse.csr_array(np.round(8 * x).astype(dtype))
    model = in_batches(StreamingClassifier(), x, y, 10)
    before = bits(model)
    for call in (model.fit, model.partial_fit, lambda x, y: model.predict(x)):
        damaged = (valid.asformat(form) if form != "bsr" else valid.tobsr((1, 1))).copy()
        if form == "bsr":
            damaged.data = damaged.data.reshape(-1, 1, 1)
        if form != "csr" and case in ("another shape", "fewer features"):
            continue
        try:
            DAMAGED[case](damaged)
        except (OverflowError, ValueError):
            continue
        with pytest.raises(ValueError, match=r"^X: expected|^X has"):
            call(damaged, y)
        assert bits(model) == before


COORDINATES = {
    "row too large": ("row", 30),
    "row negative": ("row", -1),
    "column too large": ("col", 12),
    "column far outside": ("col", 2**31 - 1),
}


@pytest.mark.parametrize("case", COORDINATES)
def test_damaged_coo_and_lil_matrices(case):
    x, y = data("log_loss")
    model = in_batches(StreamingClassifier(), x, y, 10)
    name, value = COORDINATES[case]
    for call in (model.fit, model.partial_fit, lambda x, y: model.predict(x)):
        damaged = sparse.coo_matrix(x)
        getattr(damaged, name)[3] = value
        with pytest.raises(ValueError, match=r"^X: expected"):
            call(damaged, y)
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
