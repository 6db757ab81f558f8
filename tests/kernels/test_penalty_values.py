"""The values of the penalties: the bits of the reference, accurate sums, special values, layouts."""

import math
import random

import numpy as np
import pytest
from cases import AXIS, DTYPES, LAYOUTS, PENALTIES, SIZES, STORED, special_values, values

import fastreg
from fastreg import reference

LANES, BLOCK = reference.LANES, reference.BLOCK
AROUND_BLOCKS = [k * BLOCK + d for k in (1, 2, 5) for d in (-LANES, -1, 0, 1, LANES, LANES + 3)]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
penalties = pytest.mark.parametrize("name", sorted(PENALTIES.keys() - AXIS.keys()))  # groups: test_groups.py


def value(implementation, name, w, l1=0.1, l2=0.3):
    strengths = {"l1_penalty": (l1,), "l2_penalty": (l2,), "elastic_net_penalty": (l1, l2)}[name]
    return getattr(implementation, name)(w, *strengths)


def same(a, b):
    return type(a) is type(b) is float and (a.hex() == b.hex() or (math.isnan(a) and math.isnan(b)))


@pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)
@penalties
@pytest.mark.parametrize("size", [*range(40), *SIZES[9:], *AROUND_BLOCKS])
def test_the_bits_are_those_of_the_reference(dtype, name, size):
    w, _ = values(dtype, size)
    assert same(value(fastreg, name, w), value(reference, name, w))


@dtypes
@penalties
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(dtype, name, layout):
    w, _ = values(dtype, 120)
    w = LAYOUTS[layout](w)
    before = w.tobytes()
    result = value(fastreg, name, w)
    assert same(result, value(reference, name, w))
    assert same(result, value(fastreg, name, np.array(w.ravel(order="K"), subok=False)))
    assert w.tobytes() == before


@dtypes
@penalties
@pytest.mark.parametrize("size", [1, 17, 1000, BLOCK + 1, 100_000])
def test_the_sum_is_close_to_the_exact_one(dtype, name, size):
    w, _ = values(dtype, size)
    x = w.astype(float).tolist()
    l1, l2 = (0.1 if "l1" in name or "elastic" in name else 0), (0.3 if "l2" in name or "elastic" in name else 0)
    exact = l1 * math.fsum(map(abs, x)) + l2 / 2 * math.fsum(a * a for a in x)
    assert value(fastreg, name, w) == pytest.approx(exact, rel=1e-14, abs=0)


def test_float32_weights_are_summed_in_float64():
    w = np.full(1_000_003, 0.1, np.float32)
    exact = float(np.float32(0.1)) * w.size
    assert fastreg.l1_penalty(w, 1.0) == pytest.approx(exact, rel=1e-12)
    assert fastreg.l2_penalty(np.array([1e30], np.float32), 2.0) == pytest.approx(1e60, rel=1e-6)
    assert fastreg.l1_penalty(np.array([1e-45, 1e-45], np.float32), 1.0) == 2 * float(np.float32(1e-45))


@dtypes
@penalties
def test_empty_and_zero_weights_have_the_value_zero(dtype, name):
    for w in (np.zeros(0, dtype), np.zeros((3, 0), dtype), np.zeros(100, dtype), -np.zeros(100, dtype)):
        assert same(value(fastreg, name, w), 0.0)
        assert math.copysign(1, value(fastreg, name, w)) == 1


@dtypes
@penalties
@pytest.mark.parametrize("place", [0, 15, 16, 99])
def test_nan_and_infinity_reach_the_value(dtype, name, place):
    w, _ = values(dtype, 100)
    w[place] = np.nan
    assert math.isnan(value(fastreg, name, w))
    w[place] = -np.inf
    assert value(fastreg, name, w) == math.inf
    w[(place + 1) % 100] = np.nan
    assert math.isnan(value(fastreg, name, w))


@dtypes
def test_a_strength_of_zero_adds_zero_for_any_weights(dtype):
    for x in (np.inf, -np.inf, np.nan, np.finfo(dtype).max):
        w = np.array([x, 1], dtype)
        assert same(fastreg.l1_penalty(w, 0), 0.0)
        assert same(fastreg.l2_penalty(w, 0), 0.0)
        assert same(fastreg.elastic_net_penalty(w, 0, 0), 0.0)
    assert fastreg.elastic_net_penalty(np.array([1e200, -1e200]), 0.5, 0) == 1e200
    assert fastreg.elastic_net_penalty(np.array([1e200, -1e200]), 0, 0.5) == math.inf


@penalties
def test_special_values_one_by_one(name):
    for dtype in DTYPES:
        for x in np.unique(special_values(dtype)[0]):
            for w in (np.array([x, 1], dtype), np.full(40, x), np.full(5000, x)):
                assert same(value(fastreg, name, w), value(reference, name, w)), x


@penalties
def test_sums_that_overflow(name):
    for x in (4.1e153, 1e154, 1e200, 1e308):
        for size in (2, 11, 16, 5000):
            assert same(value(fastreg, name, np.full(size, x)), value(reference, name, np.full(size, x)))


@penalties
def test_the_value_is_that_of_the_definition(name):
    w = np.array([[3.0, -4.0], [0.0, 0.5]])
    expected = {
        "l1_penalty": 0.5 * 7.5,
        "l2_penalty": 0.25 / 2 * 25.25,
        "elastic_net_penalty": 0.5 * 7.5 + 0.25 / 2 * 25.25,
    }
    assert value(fastreg, name, w, 0.5, 0.25) == expected[name]


@dtypes
@penalties
def test_the_bits_do_not_depend_on_the_address(dtype, name):
    w, _ = values(dtype, 5000)
    results = set()
    for offset in range(17):
        base = np.empty(5000 + 17, dtype)
        base[offset : offset + 5000] = w
        results.add(value(fastreg, name, base[offset : offset + 5000]).hex())
    assert len(results) == 1


@penalties
def test_the_order_of_the_weights_changes_only_the_rounding(name):
    x = values(np.float64, 10_000)[0].tolist()
    first = value(fastreg, name, np.array(x))
    random.Random(0).shuffle(x)
    assert value(fastreg, name, np.array(x)) == pytest.approx(first, rel=1e-13)


def test_l1_and_l2_alone_are_parts_of_the_elastic_net():
    w, _ = values(np.float64, 1000)
    assert same(fastreg.elastic_net_penalty(w, 0.5, 0), fastreg.l1_penalty(w, 0.5))
    assert same(fastreg.elastic_net_penalty(w, 0, 0.5), fastreg.l2_penalty(w, 0.5))
    assert same(fastreg.elastic_net_penalty(w, 0.5, 0.25), fastreg.l1_penalty(w, 0.5) + fastreg.l2_penalty(w, 0.25))
