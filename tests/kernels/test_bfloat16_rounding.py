"""bfloat16 is stored in 16 bits, computed in float32, and rounded once: to the nearest, ties to even.

test_rules_bits.py and test_directions_bits.py compare the bits of all rules and directions, also for bfloat16.
"""

import numpy as np
import pytest
from cases import ORDINARY, RULES, assert_like_reference, assert_same_bits, special_values
from ml_dtypes import bfloat16

import fastreg

STRIPE = 512  # weights without state are converted in pairs from this size on
rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def bits_of(a):
    return a.view(np.uint16)


def every_bfloat16():
    return np.arange(2**16, dtype=np.uint16).view(bfloat16)


def exact_sums():
    """Pairs with an exact float32 sum on, just above or just below the middle between two bfloat16 numbers."""
    numbers = [1.0, 1.0078125, 1.9921875, -1.0, -1.0078125, 3.3895e38, 2.0**-126, 2.0**-133, 3 * 2.0**-133, 0.0, -0.0]
    for x in np.array(numbers, bfloat16).astype(np.float32):
        unit = np.spacing(np.abs(x)) * np.float32(2**16)  # the spacing of bfloat16
        for share in (0.5, 0.5 + 2**-7, 0.5 - 2**-7, 0.25, 0.75, 1.0):
            for signed in (unit * np.float32(share), -unit * np.float32(share)):
                yield x, signed


@pytest.mark.parametrize("size", [1, 31, STRIPE, 3 * STRIPE + 5])
def test_it_rounds_to_the_nearest_and_ties_to_even(size):
    """Compared with the rounding of ml_dtypes, and with a search for the nearest number."""
    patterns = np.arange(2**16, dtype=np.uint16)
    finite = patterns[patterns & 0x7F80 != 0x7F80].view(bfloat16).astype(np.float64)
    finite = np.append(finite, [2.0**128, -(2.0**128)])  # infinity, as a candidate of the search
    for x, y in exact_sums():
        if np.float32(y).astype(bfloat16) != np.float32(y):
            continue  # it is not a bfloat16 number, so it cannot be a gradient
        w, g = np.full(size, x, bfloat16), np.full(size, -y, bfloat16)
        fastreg.l2_update(w, g, 1.0, 0.0)
        exact = np.float64(x) + np.float64(y)
        with np.errstate(over="ignore"):
            assert (bits_of(w) == bits_of(np.float32(exact).astype(bfloat16))).all()
        nearest = finite[np.abs(finite - exact) == np.abs(finite - exact).min()]
        assert w[0] in np.where(np.abs(nearest) < 2.0**128, nearest, np.copysign(np.inf, nearest))
        if len(set(nearest.tolist())) == 2:
            assert bits_of(w)[0] % 2 == 0


@pytest.mark.parametrize("tail", [0, 7])
def test_a_step_of_zero_keeps_every_number(tail):
    """NaN stays NaN, subnormals and infinities are unchanged, and −0 − 0 is −0."""
    w = np.resize(every_bfloat16(), 2**16 + tail)
    before = w.copy()
    fastreg.l2_update(w, np.zeros_like(w), 0.0, 0.0, mode="proximal")
    assert_same_bits(w, before)
    assert (bits_of(w)[bits_of(before) & 0x7FFF > 0x7F80] & 0x40).all(), "quiet"


@rules
@pytest.mark.parametrize("shift", [0, 1, 17])
def test_special_values_at_every_place_of_a_stripe(rule, shift):
    w, g = special_values(bfloat16)
    w, g = (np.roll(np.resize(a, 4 * STRIPE + 484), shift) for a in (w, g))
    assert_like_reference(rule, w, g, ORDINARY)


@rules
def test_random_patterns(rule):
    rng = np.random.default_rng(11)
    w, g = rng.integers(0, 2**16, (2, 40 * STRIPE + 3), np.uint16).view(bfloat16)
    assert_like_reference(rule, w.copy(), g.copy(), ORDINARY)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 33, 511, 512, 513, 544, 1023, 1024, 1025, 4096, 4097])
@rules
def test_sizes_around_stripes(rule, size):
    rng = np.random.default_rng(size)
    w, g = rng.standard_normal((2, size)).astype(bfloat16)
    assert_like_reference(rule, w.copy(), g.copy(), ORDINARY)


@rules
@pytest.mark.parametrize("offset", [1, 2, 3, 5])
def test_addresses_that_are_not_aligned_to_a_pair(rule, offset):
    rng = np.random.default_rng(offset)
    w, g = rng.standard_normal((2, STRIPE + 70)).astype(bfloat16)
    assert_like_reference(rule, w[offset:], g[offset - 1 : -1], ORDINARY)


def test_a_nan_in_the_state_gives_nan_weights():
    """Rounding the pattern of all ones without a check for NaN would give a negative zero."""
    w, g = np.zeros(STRIPE, bfloat16), np.zeros(STRIPE, bfloat16)
    optimizer = fastreg.SGD(w, 0.1, momentum=0.9)
    optimizer.step(g)
    optimizer.state["0"]["momentum_buffer"].view(np.uint32)[...] = 0xFFFFFFFF
    optimizer.step(g)
    assert np.isnan(w).all()


def test_the_arithmetic_is_that_of_float32():
    """bfloat16 loses many small steps, but not the terms of one call, nor those in a momentum buffer."""
    w, g = np.ones(40, bfloat16), np.full(40, 2**-8, bfloat16)
    fastreg.elastic_net_update(w, g, 0.25, 0.25, 0.25)
    assert w.tolist() == [np.float32(1 - 0.25 * (2**-8 + 0.25 + 0.25)).astype(bfloat16)] * 40
    optimizer = fastreg.SGD(w, 0.1, momentum=0.9)
    optimizer.step(np.full(40, 0.1, bfloat16))
    optimizer.step(np.full(40, 0.1, bfloat16))
    tenth = np.float32(bfloat16(0.1))
    assert (optimizer.state["0"]["momentum_buffer"] == np.float32(0.9) * tenth + tenth).all()
