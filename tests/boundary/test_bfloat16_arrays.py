"""Arrays of bfloat16: those of ml_dtypes and those of its bits are accepted; mixtures with other dtypes are refused."""

import ml_dtypes
import numpy as np
import pytest
from cases import ORDINARY, RULES, python, update, updated
from ml_dtypes import bfloat16

import fastreg
from fastreg import reference
from fastreg._boundary import bfloat16 as storage
from fastreg._boundary import errors

BITS = storage.BITS


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
def test_dtypes_that_do_not_match(case):
    w_dtype, g_dtype, text = BAD[case]
    w, g = np.zeros(6, w_dtype), np.zeros(6, g_dtype)
    with pytest.raises(TypeError, match=f"^{text}"):
        fastreg.l1_update(w, g, 0.1, 0.2)
    assert not w.view(np.uint8).any()


def test_errors_of_shape_order_and_memory_are_as_for_other_dtypes():
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
def test_numbers_must_fit_into_float32(number):
    w = np.zeros(3, bfloat16)
    with pytest.raises(ValueError, match=r"^l1: .* float32"):
        fastreg.l1_update(w, w.copy(), 0.1, number)
    with pytest.raises(ValueError, match=r"^l1: .* float32"):
        fastreg.SGD(w, l1=number)
    fastreg.l1_update(w, w.copy(), 0.1, 1e-40)  # not zero in a dtype with the exponents of float32


def test_arrays_of_bits_work_without_ml_dtypes():
    w, g = np.random.default_rng(9).standard_normal((2, 700)).astype(bfloat16)
    expected = updated(reference, RULES[-1], w, g, ORDINARY)
    plain, mixed = w.copy().view(BITS), w.copy().view(np.dtype([("bfloat16", np.uint16)]))
    update(fastreg, RULES[-1], plain, g.view(BITS), ORDINARY)
    update(fastreg, RULES[-1], mixed, g, ORDINARY)
    assert plain.tobytes() == mixed.tobytes() == expected.tobytes()
    code = "import sys, numpy as np, fastreg\n"
    code += "w = np.full(600, 0x3f80, np.uint16).view([('bfloat16', np.uint16)])\n"
    code += "fastreg.l1_update(w, np.zeros_like(w), 0.5, 0.5)\nassert (w.view(np.uint16) == 0x3f40).all()\n"
    code += "optimizer = fastreg.Adam(w, l1=1e-9, penalty_factor=np.ones(600))\noptimizer.step(np.ones_like(w))\n"
    code += "optimizer.penalty(), optimizer.zeros()\nassert 'ml_dtypes' not in sys.modules, 'never imported'\n"
    done = python("-W", "error", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 3, 4)])
def test_conversion_to_float32_keeps_values_shape_and_order(shape):
    a = np.random.default_rng(10).standard_normal(shape).astype(bfloat16)
    for x in (a, a.T, a.view(BITS), a.T.view(BITS)):
        w = storage.as_float32(x)
        assert type(w) is np.ndarray
        assert (w.dtype, w.shape) == (np.float32, x.shape)
        assert (w.flags.c_contiguous, w.flags.f_contiguous) == (x.flags.c_contiguous, x.flags.f_contiguous)
        np.testing.assert_array_equal(w, x.view(bfloat16).astype(np.float32))
    ordinary = np.ones(shape)
    assert storage.as_float32(ordinary) is ordinary


def test_another_module_named_ml_dtypes_without_the_dtype(monkeypatch):
    monkeypatch.setitem(storage.sys.modules, "ml_dtypes", pytest)
    assert not storage.is_bfloat16(np.dtype(float))
    assert storage.is_bfloat16(BITS)
    assert errors.bad_array(np.ones(3), "w") is None
