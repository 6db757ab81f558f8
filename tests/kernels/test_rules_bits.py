"""Every rule has the bits of the reference: sizes, layouts, strengths, special values, and other ways to call it."""

import numpy as np
import pytest
from cases import (
    LAYOUTS,
    ORDINARY,
    RULES,
    SIZES,
    STORED,
    STRENGTHS,
    Strengths,
    arithmetic,
    assert_like_reference,
    special_values,
    updated,
    values,
)

import fastreg
from fastreg import reference

pytestmark = [
    pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name),
    pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__),
]


@pytest.mark.parametrize("size", SIZES)
def test_sizes_around_vector_widths_and_the_release_of_the_gil(rule, dtype, size):
    assert_like_reference(rule, *values(dtype, size), ORDINARY)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(rule, dtype, layout):
    base_w, base_g = values(dtype, 120)
    w, g = LAYOUTS[layout](base_w), LAYOUTS[layout](base_g)
    outside = base_w.copy()
    outside_w = LAYOUTS[layout](outside)
    outside_w[...] = 0
    assert_like_reference(rule, w, g, ORDINARY)
    w[...] = 0
    assert base_w.tobytes() == outside.tobytes(), "an update must not touch what surrounds its array"


@pytest.mark.parametrize("strengths", STRENGTHS)
def test_strengths(rule, dtype, strengths):
    assert_like_reference(rule, *values(dtype, 1003), STRENGTHS[strengths])


@pytest.mark.parametrize("strengths", STRENGTHS)
def test_special_values(rule, dtype, strengths):
    assert_like_reference(rule, *special_values(dtype), STRENGTHS[strengths])


def test_strengths_at_the_limits_of_the_dtype(rule, dtype):
    info = np.finfo(arithmetic(dtype))
    limits = [0, info.smallest_subnormal, info.tiny, 1, info.max]
    for lr in limits:
        for strength in limits:
            assert_like_reference(rule, *special_values(dtype), Strengths(float(lr), float(strength), float(strength)))


def test_a_strength_is_rounded_to_the_dtype_once(rule, dtype):
    """0.1 has another value in float32; 1/3 + 2**-54 is close to a tie."""
    for x in (0.1, 1 / 3, 1 / 3 + 2**-54, 1 + 2**-24, 1 + 2**-24 + 2**-50):
        w, g = values(dtype, 33)
        s = Strengths(x, x, x, x)
        rounded = Strengths(*(float(arithmetic(dtype)(number)) for number in s))
        assert updated(fastreg, rule, w, g, s).tobytes() == updated(fastreg, rule, w, g, rounded).tobytes()
        assert_like_reference(rule, w, g, s)


def test_many_updates_in_a_row(rule, dtype):
    w, g = values(dtype, 257)
    expected = w.copy()
    for i in range(50):
        s = Strengths(0.1 / (1 + i), 0.01 * i, 0.02, 0.8)
        w, expected = updated(fastreg, rule, w, g, s), updated(reference, rule, expected, g, s)
        g = -g
    assert w.tobytes() == expected.tobytes()


def test_keyword_arguments_give_the_same_bits(rule, dtype):
    w, g = values(dtype, 33)
    strengths = {name: getattr(ORDINARY, name) for name in rule.strengths}
    named = w.copy()
    rule.function(fastreg)(**strengths, mode=rule.mode, grad=g, lr=ORDINARY.lr, w=named)
    assert named.tobytes() == updated(fastreg, rule, w, g, ORDINARY).tobytes()


def test_a_mode_string_that_is_not_interned_gives_the_same_bits(rule, dtype):
    w, g = values(dtype, 33)
    strengths = [getattr(ORDINARY, name) for name in rule.strengths]
    mode = "".join(list(rule.mode))
    assert mode is not rule.mode
    other = w.copy()
    rule.function(fastreg)(other, g, ORDINARY.lr, *strengths, mode=mode)
    assert other.tobytes() == updated(fastreg, rule, w, g, ORDINARY).tobytes()
