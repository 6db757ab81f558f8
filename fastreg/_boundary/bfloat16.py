"""Beside layer 4: which arrays hold bfloat16, a dtype that NumPy has from ml_dtypes alone (never imported here).

torch has its own, and gives NumPy no more than the bits; arrays over them have the dtype BITS, and need no ml_dtypes.
"""

import sys

import numpy as np

from fastreg import reference

BITS = np.dtype([("bfloat16", np.uint16)])


def is_bfloat16(dtype):
    """Whether this is the bfloat16 of ml_dtypes or that of BITS."""
    kind = getattr(sys.modules.get("ml_dtypes"), "bfloat16", None)
    return dtype == BITS or (kind is not None and dtype.type is kind and dtype.isnative)


def dtype_name(dtype):
    """What messages call a dtype."""
    return "bfloat16" if is_bfloat16(dtype) else str(dtype)


def as_float32(a):
    """The array as float32 if it holds bfloat16, else itself."""
    if a.dtype != BITS:
        return reference.as_float32(a)
    w = np.empty_like(a, np.float32, subok=False)
    np.left_shift(a.view(np.uint16), 16, out=w.view(np.uint32), dtype=np.uint32)
    return w
