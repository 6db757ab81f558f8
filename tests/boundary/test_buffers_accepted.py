"""Any CPU buffer is accepted like a plain array, in any combination, and is used in place without a copy."""

import ctypes
import mmap
from array import array
from itertools import product

import numpy as np
import pytest
from cases import DTYPES, ORDINARY, RULES, Subclass, assert_same_bits, update, updated, values

import fastreg
from fastreg import reference

C_TYPES = {np.float32: ctypes.c_float, np.float64: ctypes.c_double}


def anonymous_map(a):
    m = mmap.mmap(-1, a.nbytes)
    m.write(a.tobytes())
    return memoryview(m).cast(a.dtype.char)


BUFFERS = {  # name → a buffer with the elements of a flat array
    "ndarray": lambda a: a.copy(),
    "subclass": lambda a: a.copy().view(Subclass),
    "array.array": lambda a: array(a.dtype.char, a.tobytes()),
    "memoryview": lambda a: memoryview(a.copy()),
    "memoryview of bytearray": lambda a: memoryview(bytearray(a.tobytes())).cast(a.dtype.char),
    "slice of a memoryview": lambda a: memoryview(np.concatenate([a[:1], a, a[:3]]))[1 : a.size + 1],
    "ctypes array": lambda a: (C_TYPES[a.dtype.type] * a.size).from_buffer_copy(a),
    "mmap": anonymous_map,
    "array of a dtype with metadata": lambda a: a.astype(np.dtype(a.dtype, metadata={"unit": "m"})),
    "array of an explicit byte order": lambda a: a.astype(a.dtype.newbyteorder("<" if np.little_endian else ">")),
}
READ_ONLY = {  # as gradients only
    "read-only array": lambda a: np.frombuffer(a.tobytes(), a.dtype),
    "read-only memoryview": lambda a: memoryview(a.copy()).toreadonly(),
    "bytes, cast": lambda a: memoryview(a.tobytes()).cast(a.dtype.char),
}
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


@dtypes
@pytest.mark.parametrize(("of_w", "of_g"), list(product(BUFFERS, BUFFERS | READ_ONLY)))
def test_buffers_of_any_two_kinds(dtype, of_w, of_g):
    a, b = values(dtype, 33)
    w, g = BUFFERS[of_w](a), (BUFFERS | READ_ONLY)[of_g](b)
    for rule in RULES:
        expected = updated(reference, rule, np.array(w), b, ORDINARY)
        update(fastreg, rule, w, g, ORDINARY)
        assert_same_bits(np.asarray(w), expected)
    assert bytes(g) == b.tobytes()


@dtypes
@pytest.mark.parametrize("case", BUFFERS | READ_ONLY)
def test_penalties_of_buffers(dtype, case):
    a, _ = values(dtype, 33)
    buffer = (BUFFERS | READ_ONLY)[case](a)
    assert fastreg.elastic_net_penalty(buffer, 0.1, 0.2) == fastreg.elastic_net_penalty(a, 0.1, 0.2)


@dtypes
@pytest.mark.parametrize("mode", ["r+", "w+", "c"])
def test_memory_mapped_weights(dtype, mode, tmp_path):
    a, b = values(dtype, 1000)
    a.tofile(tmp_path / "w")
    b.tofile(tmp_path / "g")
    g = np.memmap(tmp_path / "g", dtype, "r")
    w = np.memmap(tmp_path / "w", dtype, mode, shape=1000)
    w[:] = a
    fastreg.elastic_net_update(w, g, 0.1, 0.2, 0.3, mode="proximal")
    fastreg.elastic_net_update(a, b, 0.1, 0.2, 0.3, mode="proximal")
    assert w.tobytes() == a.tobytes()
    if mode != "c":
        w.flush()
        assert (tmp_path / "w").read_bytes() == a.tobytes()
    with pytest.raises(ValueError, match=r"^w: .*read-only"):
        fastreg.l1_update(g, a, 0.1, 0.2)


@dtypes
def test_many_dimensions(dtype):
    a, b = values(dtype, 24)
    w = memoryview(a.copy()).cast("B").cast(a.dtype.char, shape=[2, 3, 4])
    fastreg.l1_update(w, b.reshape(2, 3, 4), 0.1, 0.2)
    fastreg.l1_update(a, b, 0.1, 0.2)
    assert w.tobytes() == a.tobytes()
    deep = np.ones((1,) * 30 + (2, 3), dtype)
    fastreg.l2_update(deep, np.zeros_like(deep), 0.5, 0.5)
    np.testing.assert_array_equal(deep, np.full_like(deep, 0.75))


def test_a_ctypes_number_is_a_0d_buffer():
    w, g = ctypes.c_double(3.0), ctypes.c_double(1.0)
    fastreg.l1_update(w, g, 0.5, 1.0)
    assert w.value == 2.0


def test_a_numpy_scalar_is_taken_as_a_gradient_but_not_as_a_weight():
    w = np.array(3.0)
    fastreg.l1_update(w, np.float64(1.0), 0.5, 1.0)
    assert w == 2.0
    with pytest.raises(ValueError, match=r"^w: .*read-only"):
        fastreg.l1_update(np.float64(3.0), np.array(1.0), 0.5, 1.0)


@dtypes
def test_a_read_only_gradient(dtype):
    w, g = values(dtype, 33)
    g.flags.writeable = False
    fastreg.l1_update(w, g, 0.1, 0.2)


def test_a_buffer_is_released_after_the_call_and_after_an_error():
    w, g = array("d", [1.0, 2.0]), array("d", [0.0, 0.0])
    fastreg.l1_update(w, g, 0.1, 0.2)
    with pytest.raises(ValueError, match=r"^lr: "):
        fastreg.l1_update(w, g, -1.0, 0.2)
    with pytest.raises(ValueError, match=r"^grad: "):
        fastreg.l1_update(w, memoryview(g)[:1], 0.1, 0.2)
    fastreg.l1_penalty(w, 1.0)
    w.append(3.0)  # BufferError while an export is alive
    g.append(3.0)


def test_formats_with_a_byte_order():
    exporter = pytest.importorskip("_testbuffer", reason="this Python comes without its _testbuffer module")
    for spelling in ("d", "@d", "=d", "<d" if np.little_endian else ">d"):
        w = exporter.ndarray([1.0, -2.0], shape=[2], format=spelling, flags=exporter.ND_WRITABLE)
        fastreg.l1_update(w, np.zeros(2), 0.5, 1.0)
        assert w.tolist() == [0.5, -1.5]
    for spelling in (">d" if np.little_endian else "<d",):
        w = exporter.ndarray([1.0, -2.0], shape=[2], format=spelling, flags=exporter.ND_WRITABLE)
        with pytest.raises(ValueError, match=r"^w: .*byte-swapped"):
            fastreg.l1_update(w, np.zeros(2), 0.5, 1.0)


def assert_not_taken_for_an_array(buffer):
    with pytest.raises(TypeError, match=r"^w: "):
        fastreg.l1_update(buffer, np.zeros(4), 0.5, 1.0)
    with pytest.raises(TypeError, match=r"^grad: "):
        fastreg.l1_update(np.zeros(4), buffer, 0.5, 1.0)


@pytest.mark.parametrize("c_type", [ctypes.c_wchar, ctypes.c_void_p, ctypes.c_longdouble, ctypes.c_int, ctypes.c_bool])
def test_ctypes_arrays_of_other_types(c_type):
    assert_not_taken_for_an_array((c_type * 4)())


def test_buffers_that_numpy_cannot_describe():
    exporter = pytest.importorskip("_testbuffer", reason="this Python comes without its _testbuffer module")
    assert_not_taken_for_an_array(exporter.ndarray([1.0] * 4, shape=[2, 2], format="d", flags=exporter.ND_PIL))
    assert_not_taken_for_an_array(exporter.ndarray([1.0] * 4, shape=[4], format="dxx"))
