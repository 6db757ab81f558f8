"""Numbers that the boundary takes and refuses, as arguments of the functions, and how to check a refusal."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from cases import AXIS, NUMBERS, UPDATES, values

import fastreg


class AsFloat:
    def __init__(self, x):
        self.x = x

    def __float__(self):
        return self.x


class AsIndex:
    def __index__(self):
        return 1


NAN, INF = float("nan"), float("inf")
GOOD = {
    "zero": 0.0,
    "negative zero": -0.0,
    "int": 1,
    "int zero": 0,
    "bool": True,
    "float16": np.float16(0.5),
    "float32": np.float32(0.1),
    "float64": np.float64(0.1),
    "long double": np.longdouble(0.1),
    "int64": np.int64(1),
    "uint8": np.uint8(1),
    "bool_": np.True_,
    "0-d array": np.array(0.1),
    "0-d float32 array": np.array(0.1, np.float32),
    "0-d int array": np.array(1),
    "0-d byte-swapped array": np.array(0.1, np.dtype(float).newbyteorder()),
    "Fraction": Fraction(1, 10),
    "Decimal": Decimal("0.1"),
    "__float__": AsFloat(0.1),
    "__index__": AsIndex(),
    "float subclass": type("F", (float,), {})(0.1),
    "int subclass": type("I", (int,), {})(1),
    "subnormal of float32": 1e-44,
}
NOT_A_NUMBER = {
    "None": None,
    "str": "0.1",
    "bytes": b"0.1",
    "NumPy str": np.str_("0.1"),
    "NumPy bytes": np.bytes_(b"0.1"),
    "0-d array of str": np.array("0.1"),
    "0-d array of objects": np.array(None),
    "complex": 0.1 + 0j,
    "complex64": np.complex64(0.1),
    "complex128": np.complex128(0.1 + 1j),
    "0-d complex array": np.array(0.1 + 0j),
    "datetime64": np.datetime64("2020-01-01"),
    "timedelta64": np.timedelta64(1, "s"),
    "void": np.void(b"12345678"),
    "masked": np.ma.masked,
    "list": [0.1],
    "huge list": [0.1] * 100_000,
    "tuple": (0.1,),
    "dict": {},
    "1-d array": np.array([0.1]),
    "2-d array": np.array([[0.1]]),
    "empty array": np.array([]),
    "type": float,
    "function": abs,
    "Ellipsis": ...,
    "__float__ that gives no float": AsFloat("0.1"),
}
OUT_OF_RANGE = {
    "NaN": NAN,
    "negative": -0.1,
    "negative int": -1,
    "minus infinity": -INF,
    "smallest negative": -5e-324,
    "huge negative int": -(10**400),
    "NumPy NaN": np.float32(NAN),
    "negative NumPy int": np.int8(-1),
    "negative Fraction": Fraction(-1, 3),
    "Decimal NaN": Decimal("NaN"),
    "tiny Fraction": Fraction(1, 10**400),
    "tiny Decimal": Decimal("1e-400"),
    "tiny negative Decimal": Decimal("-1e-400"),
}
INFINITE = {"infinity": INF, "huge int": 10**400, "NumPy infinity": np.float32(INF), "Decimal": Decimal("Infinity")}
OUT_OF_FLOAT32 = {
    "too large": 1e39,
    "just too large": float(np.finfo(np.float32).max) * (1 + 2**-24),
    "too small": 1e-50,
    "just too small": 2.0**-150,
    "large int": 10**39,
    "large NumPy number": np.float64(1e39),
    "small Fraction": Fraction(1, 10**50),
}


def arguments(name, dtype, **changed):
    """Good arguments of a function by name, except for those given."""
    w, g = values(dtype, 33)
    good = {"w": w} | ({"grad": g} if name in UPDATES else {}) | dict.fromkeys(NUMBERS[name], 0.5) | AXIS.get(name, {})
    return good | changed


def assert_refused(name, dtype, parameter, value, error, **more):
    given = arguments(name, dtype, **{parameter: value}, **more)
    before = given["w"].tobytes()
    with pytest.raises(error, match=rf"^{parameter}: .* got ") as caught:
        getattr(fastreg, name)(**given)
    assert type(caught.value) is error
    assert len(str(caught.value)) < 1000
    assert given["w"].tobytes() == before
