"""bfloat16: stored in 16 bits, computed in float32, rounded once to the nearest, of two as near to the even one.

The bits of all rules and directions are compared in test_bits.py and test_directions.py; here is what is special.
"""

import copy
import io
import pickle

import ml_dtypes
import numpy as np
import pytest
from cases import ORDINARY, RULES, assert_like_reference, assert_same_bits, python, special_values, update, updated
from ml_dtypes import bfloat16
from optimizer_cases import COMBINATIONS, Twin, make

import fastreg
from fastreg import reference
from fastreg._boundary import bfloat16 as _bfloat16, errors

BITS = _bfloat16.BITS
STRIPE = 512  # from so many on, weights without state are converted in pairs
rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def bits_of(a):
    return a.view(np.uint16)


def every_bfloat16():
    return np.arange(2**16, dtype=np.uint16).view(bfloat16)


# -- Rounding ---------------------------------------------------------------------------------------------------------


def exact_sums():
    """Pairs whose float32 sum is exact, and lies on, just above or just below the middle between two bfloat16."""
    numbers = [1.0, 1.0078125, 1.9921875, -1.0, -1.0078125, 3.3895e38, 2.0**-126, 2.0**-133, 3 * 2.0**-133, 0.0, -0.0]
    for x in np.array(numbers, bfloat16).astype(np.float32):
        unit = np.spacing(np.abs(x)) * np.float32(2**16)  # the spacing of bfloat16
        for share in (0.5, 0.5 + 2**-7, 0.5 - 2**-7, 0.25, 0.75, 1.0):
            for signed in (unit * np.float32(share), -unit * np.float32(share)):
                yield x, signed


@pytest.mark.parametrize("size", [1, 31, STRIPE, 3 * STRIPE + 5])
def test_it_rounds_to_the_nearest_and_ties_to_even(size):
    """Against the rounding of ml_dtypes, and against a search for the nearest."""
    patterns = np.arange(2**16, dtype=np.uint16)
    finite = patterns[patterns & 0x7F80 != 0x7F80].view(bfloat16).astype(np.float64)
    finite = np.append(finite, [2.0**128, -(2.0**128)])  # where infinity stands among the numbers
    for x, y in exact_sums():
        if np.float32(y).astype(bfloat16) != np.float32(y):
            continue  # no bfloat16, so no gradient
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
def test_every_number_survives_a_step_of_nothing(tail):
    """NaN as NaN, subnormals and infinities as they are; subtracting nothing from −0 gives −0."""
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
def test_addresses_that_are_no_multiple_of_a_pair(rule, offset):
    rng = np.random.default_rng(offset)
    w, g = rng.standard_normal((2, STRIPE + 70)).astype(bfloat16)
    assert_like_reference(rule, w[offset:], g[offset - 1 : -1], ORDINARY)


def test_a_nan_of_the_state_stays_one():
    """All ones would be rounded to a negative zero."""
    w, g = np.zeros(STRIPE, bfloat16), np.zeros(STRIPE, bfloat16)
    optimizer = fastreg.SGD(w, 0.1, momentum=0.9)
    optimizer.step(g)
    optimizer.state["0"]["momentum_buffer"].view(np.uint32)[...] = 0xFFFFFFFF
    optimizer.step(g)
    assert np.isnan(w).all()


def test_the_arithmetic_is_that_of_float32():
    """Many small steps get lost in bfloat16, but not those of one call, nor those that momentum has gathered."""
    w, g = np.ones(40, bfloat16), np.full(40, 2**-8, bfloat16)
    fastreg.elastic_net_update(w, g, 0.25, 0.25, 0.25)
    assert w.tolist() == [np.float32(1 - 0.25 * (2**-8 + 0.25 + 0.25)).astype(bfloat16)] * 40
    optimizer = fastreg.SGD(w, 0.1, momentum=0.9)
    optimizer.step(np.full(40, 0.1, bfloat16))
    optimizer.step(np.full(40, 0.1, bfloat16))
    tenth = np.float32(bfloat16(0.1))
    assert (optimizer.state["0"]["momentum_buffer"] == np.float32(0.9) * tenth + tenth).all()


# -- Optimizers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "mode"), COMBINATIONS)
def test_mixed_dtypes_in_one_optimizer(name, mode):
    rng = np.random.default_rng(7)
    dtypes = [bfloat16, np.float32, np.float64, bfloat16]
    params = [rng.standard_normal((3, 300)).astype(dtype) for dtype in dtypes]
    params[3] = np.asfortranarray(params[3])
    grads = [w * w for w in params]
    grads[3] = np.asfortranarray(grads[3])
    twins = [Twin(name, w, mode, l1=0.3, l2=0.2) for w in params]
    optimizer = make(name, params, mode=mode, l1=0.3, l2=0.2)
    for _ in range(3):
        optimizer.step(grads)
        for twin, g in zip(twins, grads, strict=True):
            twin.step(g)
    for w, twin, state, dtype in zip(params, twins, optimizer.state.values(), dtypes, strict=True):
        assert_same_bits(w, twin.w)
        for actual, expected in zip(state.values(), twin.state, strict=True):
            assert actual.dtype == (np.float32 if dtype is bfloat16 else dtype)
            assert actual.flags.f_contiguous == w.flags.f_contiguous
            assert_same_bits(actual, expected)


@pytest.mark.parametrize("name", ["Momentum", "AMSGrad", "FTRL"])
@pytest.mark.parametrize("how", ["file", "pickle", "deepcopy"])
def test_state_goes_out_and_comes_back(name, how):
    rng = np.random.default_rng(8)
    w, g = rng.standard_normal((2, 40)).astype(bfloat16)
    straight = w.copy()
    whole = make(name, straight, l1=0.1, penalty_factor=np.linspace(0, 2, 40))
    first = make(name, w, l1=0.1, penalty_factor=np.linspace(0, 2, 40))
    for _ in range(4):
        whole.step(g)
    for _ in range(2):
        first.step(g)
    if how == "file":
        file = io.BytesIO()
        np.savez(file, **first.state_dict())
        file.seek(0)
        second = make(name, w, l1=0.1, penalty_factor=np.linspace(0, 2, 40))
        second.load_state_dict(np.load(file))
    else:
        second = copy.deepcopy(first) if how == "deepcopy" else pickle.loads(pickle.dumps(first))
    for _ in range(2):
        second.step(g)
    assert_same_bits(second.params, straight)


def test_values_of_an_optimizer():
    w = np.array([1, -2, 0, -0.0], bfloat16)
    optimizer = fastreg.SGD(w, l1=0.5, l2=2.0)
    assert optimizer.zeros() == 2
    assert optimizer.penalty() == 1.5 + 5.0
    assert fastreg.SGD(w, l1=0.5, penalty_factor=[1, 0, 1, 1]).penalty() == 0.5
    assert fastreg.SGD(w.view(BITS), l1=0.5, penalty_factor=[1, 0, 1, 1]).penalty() == 0.5
    assert fastreg.SGD(w.view(BITS)).zeros() == 2
    assert optimizer.params is w


@pytest.mark.parametrize("policy", ["raise", "skip"])
@pytest.mark.parametrize("at", [0, 100, 600, -1])
def test_what_is_not_finite_is_found(policy, at):
    w, g = np.ones(1030, bfloat16), np.ones(1030, bfloat16)
    optimizer = fastreg.SGD(w, 0.5, on_nonfinite=policy)
    optimizer.step(g)
    for bad in (np.inf, -np.inf, np.nan):
        g[at] = bad
        if policy == "raise":
            with pytest.raises(FloatingPointError):
                optimizer.step(g)
        else:
            optimizer.step(g)
    assert (w == 0.5).all()


def test_clipping():
    grads = [np.full(1030, 3, bfloat16), np.full((2, 3), 4, np.float32)]
    expected = np.sqrt(1030 * 9 + 6 * 16)
    assert fastreg.clip_grad_norm(grads, 1.0) == pytest.approx(expected, rel=1e-15)
    factor = np.float32(reference.clip_coefficient(expected, 1.0))
    assert_same_bits(grads[0], (np.full(1030, 3, np.float32) * factor).astype(bfloat16))


# -- The boundary -----------------------------------------------------------------------------------------------------


BAD = {  # name → w, grad, and what the TypeError says
    "a gradient of float32": (bfloat16, np.float32, "grad: expected dtype bfloat16 like w, got float32"),
    "weights of float32": (np.float32, bfloat16, "grad: expected dtype float32 like w, got bfloat16"),
    "bits without a name": (np.uint16, bfloat16, "w: expected dtype float32, float64 or bfloat16, got uint16"),
    "half precision": (bfloat16, np.float16, "grad: expected dtype float32, float64 or bfloat16, got float16"),
    "another of ml_dtypes": (ml_dtypes.float8_e5m2, bfloat16, "w: .* got float8_e5m2"),
    "byte-swapped": (np.dtype(bfloat16).newbyteorder(">"), bfloat16, "w: expected dtype float32, .* bfloat16"),
    "another structure": (np.dtype([("x", np.uint16)]), bfloat16, "w: expected dtype float32, .* bfloat16"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_go_together(case):
    w_dtype, g_dtype, text = BAD[case]
    w, g = np.zeros(6, w_dtype), np.zeros(6, g_dtype)
    with pytest.raises(TypeError, match=f"^{text}"):
        fastreg.l1_update(w, g, 0.1, 0.2)
    assert not w.view(np.uint8).any()


def test_errors_of_shape_order_and_memory_are_those_of_other_arrays():
    base = np.zeros((6, 4), bfloat16)
    frozen = np.zeros(3, bfloat16)
    frozen.flags.writeable = False
    for w, g, text in (
        (base, np.zeros((4, 6), bfloat16), r"grad: expected shape \(6, 4\)"),
        (base, np.zeros((6, 4), bfloat16, order="F"), "grad: expected C order"),
        (base[:, ::2], np.zeros((6, 2), bfloat16), "w: .* contiguous"),
        (base[:4], base[2:], "w and grad: .* overlap"),
        (frozen, np.zeros(3, bfloat16), "w: .* read-only"),
        (np.zeros(9, np.uint8)[1:].view(bfloat16), np.zeros(4, bfloat16), "w: .* aligned"),
    ):
        with pytest.raises(ValueError, match=f"^{text}"):
            fastreg.l1_update(w, g, 0.1, 0.2)


@pytest.mark.parametrize("number", [1e39, 1e-60])
def test_numbers_must_be_such_in_float32(number):
    w = np.zeros(3, bfloat16)
    with pytest.raises(ValueError, match=r"^l1: .* float32"):
        fastreg.l1_update(w, w.copy(), 0.1, number)
    with pytest.raises(ValueError, match=r"^l1: .* float32"):
        fastreg.SGD(w, l1=number)
    fastreg.l1_update(w, w.copy(), 0.1, 1e-40)  # zero in no dtype with the exponents of float32


def test_the_bits_alone_are_as_good_and_need_no_ml_dtypes():
    w, g = np.random.default_rng(9).standard_normal((2, 700)).astype(bfloat16)
    expected = updated(reference, RULES[-1], w, g, ORDINARY)
    plain, mixed = w.copy().view(BITS), w.copy().view(np.dtype([("bfloat16", np.uint16)]))
    update(fastreg, RULES[-1], plain, g.view(BITS), ORDINARY)
    update(fastreg, RULES[-1], mixed, g, ORDINARY)
    assert bits_of(plain).tolist() == bits_of(mixed).tolist() == bits_of(expected).tolist()
    code = "import sys, numpy as np, fastreg\n"
    code += "w = np.full(600, 0x3f80, np.uint16).view([('bfloat16', np.uint16)])\n"
    code += "fastreg.l1_update(w, np.zeros_like(w), 0.5, 0.5)\nassert (w.view(np.uint16) == 0x3f40).all()\n"
    code += "optimizer = fastreg.Adam(w, l1=0.1, penalty_factor=np.ones(600))\noptimizer.step(np.zeros_like(w))\n"
    code += "optimizer.penalty(), optimizer.zeros()\nassert 'ml_dtypes' not in sys.modules, 'never imported'\n"
    done = python("-W", "error", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 3, 4)])
def test_widening_keeps_values_shape_and_order(shape):
    a = np.random.default_rng(10).standard_normal(shape).astype(bfloat16)
    for x in (a, a.T, a.view(BITS), a.T.view(BITS)):
        w = _bfloat16.wide(x)
        assert type(w) is np.ndarray
        assert (w.dtype, w.shape) == (np.float32, x.shape)
        assert (w.flags.c_contiguous, w.flags.f_contiguous) == (x.flags.c_contiguous, x.flags.f_contiguous)
        np.testing.assert_array_equal(w, x.view(bfloat16).astype(np.float32))
    ordinary = np.ones(shape)
    assert _bfloat16.wide(ordinary) is ordinary


def test_a_module_of_that_name_without_the_dtype(monkeypatch):
    monkeypatch.setitem(_bfloat16.sys.modules, "ml_dtypes", pytest)
    assert not _bfloat16.is_bfloat16(np.dtype(float))
    assert _bfloat16.is_bfloat16(BITS)
    assert errors.bad_array(np.ones(3), "w") is None
