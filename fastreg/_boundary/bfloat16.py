"""Layer 4, bfloat16 arrays. NumPy has no such dtype: it comes from ml_dtypes, which is never imported here.

A bfloat16 tensor of torch gives NumPy only its bits. An array over them has the dtype BITS and needs no ml_dtypes.
"""

import sys

import numpy as np

from fastreg import reference

BITS = np.dtype([("bfloat16", np.uint16)])


def is_bfloat16(dtype):
    """Whether the dtype is the bfloat16 of ml_dtypes, or BITS."""
    kind = getattr(sys.modules.get("ml_dtypes"), "bfloat16", None)
    return dtype == BITS or (kind is not None and dtype.type is kind and dtype.isnative)


def dtype_name(dtype):
    """The name of a dtype in error messages."""
    return "bfloat16" if is_bfloat16(dtype) else str(dtype)


def as_float32(a):
    """The array converted to float32 if it holds bfloat16; other arrays are returned as they are."""
    if a.dtype != BITS:
        return reference.as_float32(a)
    w = np.empty_like(a, np.float32, subok=False)
    np.left_shift(a.view(np.uint16), 16, out=w.view(np.uint32), dtype=np.uint32)
    return w


def to_bfloat16(a):
    """float32 numbers, none of them a NaN, rounded to the nearest that bfloat16 can hold, ties to even."""
    bits = np.asarray(a, np.float32).view(np.uint32)
    return np.asarray(bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000, np.uint32).view(np.float32)
