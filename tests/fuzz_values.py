"""Random values for fuzz.py: arrays in many forms, equal and inconsistent sparse matrices, bad numbers.

A form is a name and a function of a plain array. The forms in VALID must be taken, with the same results as the plain
array. The others may be refused, but must not be taken for something else.
"""

import array
import io
import random

import numpy as np
from ml_dtypes import bfloat16
from scipy import sparse

SIZES = [0, 1, 2, 3, 8, 15, 16, 17, 33, 64, 65, 513, 1025, 4097, 8193, 20_000]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e-310, 1e-45, 1e308, 3e38, 1.0, -1.0]
BAD_NUMBERS = [-1.0, np.nan, np.inf, 1e39, 1e-46, 1e300, 10**400, "0.1", None, [0.1], np.array([0.1]), 1j, object()]


class Draw(random.Random):
    """The random choices of one sequence of operations."""

    def chance(self, p):
        return self.random() < p

    def dtype(self):
        return self.choice([np.float32, np.float64, bfloat16])

    def generator(self):
        return np.random.default_rng(self.getrandbits(32))

    def numbers(self, shape, dtype=np.float64, special=0.15):
        """Ordinary numbers and zeros, sometimes with a special one among them."""
        rng = self.generator()
        x = np.array(rng.standard_normal(shape) * rng.choice([0, 1e-3, 1, 10], shape), dtype)
        if x.size and self.chance(special):
            with np.errstate(all="ignore"):
                x.flat[self.randrange(x.size)] = dtype(self.choice(SPECIAL))
        return x

    def strength(self):
        return self.choice([0.0, 0.1, 0.5, 1e-3, np.float32(0.25), 1])


# -- Dense arrays -----------------------------------------------------------------------------------------------------


def at_offset(x, room):
    """A copy in a larger buffer, at an offset in bytes."""
    buffer = np.zeros(x.nbytes + 16, np.uint8)
    y = buffer[room : room + x.nbytes].view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


def field(x):
    """A field of a structured array."""
    table = np.zeros(x.shape, [("number", np.int8), ("x", x.dtype)])
    table["x"] = x
    return table["x"]


def strided(x):
    return np.repeat(x[..., None], 2, axis=-1)[..., 0]


def read_only(x):
    x = x.copy(order="K")
    x.flags.writeable = False
    return x


class Subclass(np.ndarray):
    """An array with a method that NumPy calls for each view."""

    def __array_finalize__(self, other):
        self.called = True


VALID = {
    "plain": lambda x: x.copy(),
    "Fortran": lambda x: x.copy(order="F"),
    "offset": lambda x: at_offset(x, 8),
    "subclass": lambda x: x.copy().view(Subclass),
}
ODD = {
    "misaligned": lambda x: at_offset(x, 1),
    "two bytes off": lambda x: at_offset(x, 2),
    "field": field,
    "strided": strided,
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1] if x.ndim else x.copy(),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()) if x.dtype != bfloat16 else x.astype(">f4"),
    "read-only": read_only,
    "whole numbers": lambda x: np.zeros(x.shape, np.int64),
    "half": lambda x: np.zeros(x.shape, np.float16),
    "objects": lambda x: np.zeros(x.shape, object),
    "other dtype": lambda x: np.zeros(x.shape, np.float32 if x.dtype == np.float64 else np.float64),
    "longer": lambda x: np.zeros((*x.shape[:-1], x.shape[-1] + 1) if x.ndim else (1,), x.dtype),
    "broadcast": lambda x: np.broadcast_to(x.ravel()[:1].sum(), x.shape),
    "list": lambda x: np.asarray(x, float).tolist(),
    "array.array": lambda x: array.array("d", [1.0] * x.size),
    "memoryview": lambda x: memoryview(x.copy()) if x.dtype != bfloat16 else None,
    "nothing": lambda x: None,
    "text": lambda x: "weights",
}


def formed(draw, x, odd=0.15):
    """x in some form, and whether it must be taken."""
    forms = ODD if draw.chance(odd) else VALID
    name = draw.choice(list(forms))
    return forms[name](x), forms is VALID


# -- Indices ----------------------------------------------------------------------------------------------------------

INDICES = {  # of int64 numbers
    "int64": lambda x: x.copy(),
    "int32": lambda x: x.astype(np.int32),
    "misaligned": lambda x: at_offset(x, 1),
    "strided": strided,
    "reversed": lambda x: x[::-1].copy()[::-1],
    "field": field,
    "read-only": read_only,
    "byte-swapped": lambda x: x.astype(">i8"),
    "int16": lambda x: x.astype(np.int16),
    "uint32": lambda x: x.astype(np.uint32),
    "uint64": lambda x: x.astype(np.uint64),
    "float": lambda x: x.astype(float),
    "2-d": lambda x: x[:, None],
    "list": lambda x: x.tolist(),
}
TAKEN_INDICES = ("int64", "int32", "read-only")


def damaged_indices(draw, x, most):
    """Indices with one of them outside the range, just or by far."""
    x = x.copy()
    if x.size:
        x[draw.randrange(x.size)] = draw.choice([-1, most, most + 1, 2**31 - 1, -(2**31), 2**32, 2**62, -(2**63)])
    return x


def damaged_starts(draw, indptr):
    """An indptr that decreases, has another end, or has another length."""
    indptr = indptr.copy()
    how = draw.randrange(4)
    if how == 0:
        return indptr[:-1]
    if how == 1:
        return np.append(indptr, indptr[-1])
    indptr[draw.randrange(len(indptr))] += draw.choice([-1, 1, 2**31 - 1, -(2**31)])
    return indptr


# -- Sparse matrices --------------------------------------------------------------------------------------------------


def rebuilt(x, data=None, indices=None, indptr=None):
    """The matrix with other parts, assigned to its attributes without a check."""
    made = sparse.csr_matrix(x.shape, dtype=x.dtype)
    made.data = x.data.copy() if data is None else data
    made.indices = x.indices.copy() if indices is None else indices
    made.indptr = x.indptr.copy() if indptr is None else indptr
    return made


def unsorted(x):
    """The entries of each row in reverse order."""
    data, indices = x.data.copy(), x.indices.copy()
    for start, stop in zip(x.indptr[:-1], x.indptr[1:]):
        data[start:stop], indices[start:stop] = data[start:stop][::-1].copy(), indices[start:stop][::-1].copy()
    made = rebuilt(x, data, indices)
    made.has_canonical_format = made.has_sorted_indices = True  # which is false
    return made


def halves(x):
    """Each entry twice, with half of the value; this is exact, except for some subnormal numbers."""
    made = rebuilt(x, np.repeat(x.data / 2, 2), np.repeat(x.indices, 2), x.indptr * 2)
    made.has_canonical_format = True  # which is false
    return made


def with_room(x):
    """Parts that are longer than indptr says, with an invalid index in the unused part."""
    return rebuilt(x, np.append(x.data, x.dtype.type(np.nan)), np.append(x.indices, np.int32(2**31 - 1)))


SAME = {  # matrices that are equal to a canonical CSR matrix
    "plain": lambda x: x.copy(),
    "strided data": lambda x: rebuilt(x, strided(x.data)),
    "reversed data": lambda x: rebuilt(x, x.data[::-1].copy()[::-1]),
    "misaligned data": lambda x: rebuilt(x, at_offset(x.data, 1)),
    "byte-swapped data": lambda x: rebuilt(x, x.data.astype(x.dtype.newbyteorder())),
    "field data": lambda x: rebuilt(x, field(x.data)),
    "read-only": lambda x: rebuilt(x, read_only(x.data), read_only(x.indices), read_only(x.indptr)),
    "strided indices": lambda x: rebuilt(x, indices=strided(x.indices)),
    "reversed indices": lambda x: rebuilt(x, indices=x.indices[::-1].copy()[::-1]),
    "misaligned indices": lambda x: rebuilt(x, indices=at_offset(x.indices, 1)),
    "int64 indices": lambda x: rebuilt(x, indices=x.indices.astype(np.int64)),
    "int16 indices": lambda x: rebuilt(x, indices=x.indices.astype(np.int16)),
    "uint32 indices": lambda x: rebuilt(x, indices=x.indices.astype(np.uint32)),
    "byte-swapped indices": lambda x: rebuilt(x, indices=x.indices.astype(">i4")),
    "int64 indptr": lambda x: rebuilt(x, indptr=x.indptr.astype(np.int64)),
    "strided indptr": lambda x: rebuilt(x, indptr=strided(x.indptr)),
    "unsorted": unsorted,
    "halves": halves,
    "room behind": with_room,
    "CSC": sparse.csc_matrix,
    "COO": sparse.coo_array,
    "array": sparse.csr_array,
}


def lying(draw, x):
    """A matrix with indices outside, or with parts that do not fit each other; and whether it is certainly invalid."""
    how = draw.randrange(4)
    if how == 0 and x.nnz:
        return rebuilt(x, indices=damaged_indices(draw, x.indices.astype(np.int64), x.shape[1])), True
    if how == 1 and x.nnz:
        return rebuilt(x, data=x.data[:-1]), True
    if how == 2 and x.nnz:
        return rebuilt(x, indices=x.indices[:-1]), True
    return rebuilt(x, indptr=damaged_starts(draw, x.indptr)), False


DENSE = (
    "plain",
    "Fortran",
    "offset",
    "misaligned",
    "field",
    "strided",
    "reversed",
    "byte-swapped",
    "read-only",
    "list",
)


def same_dense(draw, x):
    """An equal array in some form, or lists."""
    name = draw.choice(DENSE)
    return (VALID | ODD)[name](x)


# -- Files ------------------------------------------------------------------------------------------------------------


def tampered(draw, saved):
    """A state with an entry that is missing or has changed."""
    saved = dict(saved)
    key = draw.choice(list(saved))
    x, how = saved[key], draw.randrange(8)
    if how == 0:
        del saved[key]
    elif how == 1:
        saved[key] = draw.choice([None, object(), "x", b"", [], {}, 2**63, -1, np.nan, 1e300])
    elif how == 2:
        saved["epoch"] = 3
    elif isinstance(x, np.ndarray) and x.size:
        y = np.array(x)
        if how == 3 and y.dtype.kind in "fi":
            y.flat[draw.randrange(y.size)] = draw.choice([np.nan, np.inf, -1, 2]) if y.dtype.kind == "f" else -1
        choices = [y, y.ravel()[:1], y.astype(object), y.astype(">f8"), read_only(y), y[None]]
        saved[key] = y if how == 3 else draw.choice(choices)
    return saved


def damaged_file(draw, saved):
    """A stored state with some bits flipped or the end cut off; None if it cannot be opened as a file."""
    file = io.BytesIO()
    np.savez(file, **saved)
    raw = bytearray(file.getvalue())
    if draw.chance(0.3):
        raw = raw[: draw.randrange(len(raw))]
    for _ in range(draw.randint(0, 4)):
        if raw:
            raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    try:
        return np.load(io.BytesIO(bytes(raw)))
    except Exception:
        return None
