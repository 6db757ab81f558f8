"""clip_grad_norm: the norm, torch's coefficient, bits that depend only on the numbers, and all or nothing."""

import math

import numpy as np
import pytest
from cases import DTYPES, LAYOUTS, assert_same_bits, values
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastreg
from fastreg import reference

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


def grads_of(dtype):
    return [values(dtype, n, n)[1] for n in (0, 1, 7, 33, 5000)]


def expected_of(grads, max_norm):
    """The norm and the scaled gradients, from sums of the reference in the order of the gradients."""
    norm = math.sqrt(sum(reference.penalty_sum(reference.ElasticNet(0.0, 2.0), g) for g in grads))
    coefficient = reference.clip_coefficient(norm, max_norm)
    with np.errstate(all="ignore"):
        return norm, [g * g.dtype.type(coefficient) for g in grads]


@dtypes
@pytest.mark.parametrize("max_norm", [0, 0.5, 1, 1e6, np.inf, np.float32(2)])
def test_the_norm_and_the_gradients_have_the_bits_of_the_reference(dtype, max_norm):
    grads = grads_of(dtype)
    norm, expected = expected_of(grads, float(max_norm))
    result = fastreg.clip_grad_norm(grads, max_norm)
    assert type(result) is float
    assert result.hex() == norm.hex()
    for g, x in zip(grads, expected, strict=True):
        assert_same_bits(g, x)


def test_the_coefficient_is_that_of_torch():
    assert reference.clip_coefficient(2.0, 1.0) == 1 / (2 + 1e-6)
    assert reference.clip_coefficient(1.0, 1.0) == 1 / (1 + 1e-6)
    assert reference.clip_coefficient(0.5, 1.0) == 1.0
    assert reference.clip_coefficient(0.0, 0.0) == 0.0
    assert reference.clip_coefficient(math.inf, 1.0) == 0.0
    assert math.isnan(reference.clip_coefficient(math.nan, 1.0))
    assert math.isnan(reference.clip_coefficient(math.inf, math.inf))


def test_a_norm_within_the_limit_changes_no_bit():
    grads = [np.array([0.3, -0.0, 5e-324]), np.array([0.4], np.float32)]
    before = [g.tobytes() for g in grads]
    assert fastreg.clip_grad_norm(grads, 1.0) == pytest.approx(0.5)
    assert [g.tobytes() for g in grads] == before
    assert fastreg.clip_grad_norm(grads_of(float), np.inf) > 0


@dtypes
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_values_give_a_nonfinite_norm(dtype, bad):
    grads = [np.ones(3, dtype), np.array([1, bad], dtype)]
    norm = fastreg.clip_grad_norm(grads, 1.0)
    if np.isnan(bad):
        assert np.isnan(norm)
        assert all(np.isnan(g).all() for g in grads)
    else:
        assert norm == np.inf
        assert grads[0].tolist() == [0, 0, 0]
        assert np.isnan(grads[1][1])


@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(dtype, layout):
    base, other = values(dtype, 120)[1], values(dtype, 120)[1]
    g, plain = LAYOUTS[layout](base), LAYOUTS[layout](other).view(np.ndarray)
    norm, (expected,) = expected_of([plain], 0.5)
    assert fastreg.clip_grad_norm([g], 0.5) == norm
    assert_same_bits(g, expected)
    g[...] = plain[...] = 0
    assert base.tobytes() == other.tobytes()


FORMS = {
    "an array": lambda a, b: a,
    "a list": lambda a, b: [a, b],
    "with None": lambda a, b: [None, a, None, b],
    "a generator": lambda a, b: (g for g in (a, b)),
    "a mapping": lambda a, b: {"a": a, "b": b},
    "groups": lambda a, b: [{"params": [a]}, [b]],
    "nested": lambda a, b: {"x": [a, {"y": (b, None)}], "z": [], "none": None},
    "keys that read alike": lambda a, b: {"a": {"b": a}, "a.b": b},
    "keys with the same text": lambda a, b: {1: a, "1": b},
    "keys without a text": lambda a, b: {"": a, "0": b},
    "nothing": lambda a, b: [],
    "None": lambda a, b: None,
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    a, b = np.array([3.0, 0.0]), np.array([[4.0]])
    norm = {"an array": 3.0, "nothing": 0.0, "None": 0.0}.get(form, 5.0)
    assert fastreg.clip_grad_norm(FORMS[form](a, b), 1.0) == norm
    scale = 1 / (norm + 1e-6) if norm else 1.0
    np.testing.assert_allclose(a, [3 * scale, 0])
    np.testing.assert_allclose(b, [[4 * scale if norm == 5 else 4]])


READ_ONLY = np.ones(3)
READ_ONLY.flags.writeable = False
BASE = np.ones(10)
BAD = {
    "integers": (np.ones(3, int), TypeError, r"grads\[1\]: .*int64"),
    "read-only": (READ_ONLY, ValueError, r"grads\[1\]: .*read-only"),
    "strided": (np.ones(6)[::2], ValueError, r"grads\[1\]: .*strides"),
    "byte-swapped": (np.ones(3, ">f8"), ValueError, r"grads\[1\]: .*byte"),
    "masked": (np.ma.ones(3), TypeError, r"grads\[1\]: .*mask"),
    "a list of numbers": ([1.0, 2.0], TypeError, r"grads\[1\.0\]: .*float"),
    "a number": (1.0, TypeError, r"grads\[1\]: .*float"),
    "a string": ("gradient", TypeError, r"grads\[1\]: .*str"),
    "an empty string": ("", TypeError, r"grads\[1\]: .*str"),
    "twice the same": ([BASE, BASE], ValueError, r"(?=.*grads\[1\.[01]\]).*overlap"),
    "overlapping": ([BASE[:6], BASE[5:]], ValueError, r"(?=.*grads\[1\.[01]\]).*overlap"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_bad_gradient_leaves_all_gradients_unchanged(case):
    bad, error, text = BAD[case]
    first, last = np.full(3, 5.0), np.full(9000, 7.0, np.float32)
    with pytest.raises(error, match=f"^{text}"):
        fastreg.clip_grad_norm([first, bad, last], 1.0)
    assert (first == 5).all()
    assert (last == 7).all()
    assert (BASE == 1).all()


@pytest.mark.parametrize(
    ("max_norm", "error"),
    [(-1, ValueError), (np.nan, ValueError), ("1", TypeError), (None, TypeError), (1j, TypeError)],
)
def test_bad_limits(max_norm, error):
    g = np.full(3, 5.0)
    with pytest.raises(error, match=r"^max_norm: "):
        fastreg.clip_grad_norm([g], max_norm)
    assert (g == 5).all()


@given(st.sampled_from(DTYPES), st.data(), st.floats(0, 1e6))
def test_any_gradients_have_the_bits_of_the_reference(dtype, data, max_norm):
    elements = st.floats(width=8 * np.dtype(dtype).itemsize)
    grads = data.draw(st.lists(arrays(dtype, st.integers(0, 40), elements=elements), max_size=4))
    norm, expected = expected_of(grads, max_norm)
    assert_same_bits(np.array(fastreg.clip_grad_norm(grads, max_norm)), np.array(norm))
    for g, x in zip(grads, expected, strict=True):
        assert_same_bits(g, x)
