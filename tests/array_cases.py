"""Arrays that the boundary refuses, for the update functions and for lazy updates, and how to check the refusal."""

import re
from array import array

import numpy as np
import pytest


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    b = raw[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    return b


def read_only(a):
    a.flags.writeable = False
    return a


class Interface:
    """An object with an array interface but no buffer: to use it takes a copy, or trust in a pointer."""

    def __init__(self, a):
        self.a = a
        self.__array_interface__ = a.__array_interface__

    def __array__(self, dtype=None, copy=None):
        return self.a

    def __len__(self):
        return len(self.a)

    def __getitem__(self, i):
        return self.a[i]


BAD_ARRAYS = {  # name → a function that turns a good array of shape (4, 6) into a bad w or grad, and the error
    "list": (lambda a: a.tolist(), TypeError),
    "tuple": (lambda a: tuple(a.ravel()), TypeError),
    "nothing": (lambda a: None, TypeError),
    "number": (lambda a: 1.5, TypeError),
    "str": (lambda a: "weights", TypeError),
    "range": (lambda a: range(24), TypeError),
    "iterator": (lambda a: iter(a), TypeError),
    "type": (lambda a: np.ndarray, TypeError),
    "dtype": (lambda a: a.dtype, TypeError),
    "object with an array interface": (Interface, TypeError),
    "int64": (lambda a: a.astype(np.int64), TypeError),
    "int32": (lambda a: a.astype(np.int32), TypeError),
    "uint64 of the same bytes": (lambda a: a.view(f"u{a.itemsize}"), TypeError),
    "bool": (lambda a: a > 0, TypeError),
    "float16": (lambda a: a.astype(np.float16), TypeError),
    "long double": (lambda a: a.astype(np.longdouble), TypeError),
    "complex64": (lambda a: a.astype(np.complex64), TypeError),
    "complex128": (lambda a: a.astype(np.complex128), TypeError),
    "object": (lambda a: a.astype(object), TypeError),
    "str array": (lambda a: a.astype("U8"), TypeError),
    "bytes array": (lambda a: a.astype("S8"), TypeError),
    "array of variable strings": (lambda a: np.array([["x"] * 6] * 4, np.dtypes.StringDType()), TypeError),
    "datetime": (lambda a: a.astype(np.int64).view("M8[s]"), TypeError),
    "structured": (lambda a: a.view([("x", a.dtype)]), TypeError),
    "void": (lambda a: a.view(f"V{a.itemsize}"), TypeError),
    "masked": (lambda a: np.ma.array(a, mask=a > 0), TypeError),
    "masked without a mask": (lambda a: np.ma.array(a), TypeError),
    "array.array of ints": (lambda a: array("i", range(24)), TypeError),
    "bytes": (lambda a: a.tobytes(), TypeError),
    "bytearray": (lambda a: bytearray(a.tobytes()), TypeError),
    "byte-swapped": (lambda a: a.astype(a.dtype.newbyteorder()), ValueError),
    "byte-swapped buffer": (lambda a: memoryview(a.astype(a.dtype.newbyteorder())), ValueError),
    "misaligned": (misaligned, ValueError),
    "misaligned buffer": (lambda a: memoryview(misaligned(a)), ValueError),
    "every other column": (lambda a: np.repeat(a, 2, axis=1)[:, ::2], ValueError),
    "every other row": (lambda a: np.repeat(a, 2, axis=0)[::2], ValueError),
    "columns of a wider array": (lambda a: np.hstack([a, a])[:, :6], ValueError),
    "strided buffer": (lambda a: memoryview(np.repeat(a, 2, axis=0))[::2], ValueError),
    "reversed": (lambda a: a[::-1], ValueError),
    "reversed columns": (lambda a: a[:, ::-1], ValueError),
    "a field of records": (lambda a: np.zeros(a.shape, [("x", a.dtype), ("y", a.dtype)])["x"], ValueError),
    "real part": (lambda a: a.astype(np.result_type(a, np.complex64)).real, ValueError),
    "swapped axes": (lambda a: np.zeros((4, 2, 3), a.dtype).swapaxes(1, 2), ValueError),
}
BAD_W = {  # bad as w only, since w is written
    "read-only": (read_only, ValueError),
    "read-only view": (lambda a: read_only(a[:]), ValueError),
    "view of bytes": (lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape), ValueError),
    "read-only memoryview": (lambda a: memoryview(a).toreadonly(), ValueError),
    "broadcast": (lambda a: np.broadcast_to(a[0], a.shape), ValueError),
}
OTHER = {np.float32: np.float64, np.float64: np.float32}


def memory(x):
    """All bytes that x can reach, also those of the array that owns its memory."""
    if isinstance(x, np.ndarray):
        while isinstance(x.base, np.ndarray):
            x = x.base
        return (x.tolist() if x.dtype.hasobject else np.ndarray.tobytes(x.view(np.ndarray))), repr(x.flags)
    try:
        return memoryview(x).tobytes()
    except TypeError:
        return repr(x)


def assert_refused(call, arguments, error, start):
    """The call raises exactly this type of error, the message starts as given, and no argument has changed."""
    before = [memory(x) for x in arguments]
    with pytest.raises(error, match=f"^{re.escape(start)}") as caught:
        call(*arguments)
    assert type(caught.value) is error
    assert ", got " in str(caught.value)
    assert len(str(caught.value)) < 600
    assert [memory(x) for x in arguments] == before
