"""Layer 4, the slow checks: they wrap buffers that are no ndarray, and write the error messages.

The fast checks (checks.pxd) only decide whether an argument is valid. If it is not, a `bad_*` function finds out in
plain Python what is wrong, and returns the exception to raise. This happens before anything is written.
"""

import operator
import reprlib
import sys
from inspect import signature

import numpy as np

from fastreg._boundary.bfloat16 import BITS, dtype_name, is_bfloat16
from fastreg._boundary.keywords import advice

BUFFERS = "a NumPy array or a buffer that can be used without a copy (memoryview, array.array, CPU torch tensor)"
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def as_array(x, name):
    """x as an ndarray over the same memory; TypeError if that needs a copy, or for a tensor of an unsupported dtype."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor) and x.dtype not in torch_dtypes():
        raise bad_tensor(x, name)
    return as_buffer(x, name)


def as_buffer(x, name):
    """As as_array, for any dtype."""
    if isinstance(x, np.ma.MaskedArray):
        return _refuse(x, name, f"; its mask would be ignored, pass {name}.filled(...) or {name}.data")
    if isinstance(x, np.ndarray):
        return x
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return _from_torch(x, name, torch)
    try:
        return np.asarray(memoryview(x))
    except (TypeError, ValueError, NotImplementedError, BufferError, RuntimeError) as error:
        hint = "" if isinstance(x, (list, tuple, int, float)) else f" ({error})"
        return _refuse(
            x, name, f"{hint}; nothing is copied here, so convert once with numpy.asarray and keep the array"
        )


def _refuse(x, name, why):
    raise TypeError(f"{name}: expected {BUFFERS}, got {type(x).__name__}{why}")


def _from_torch(x, name, torch):
    if x.requires_grad:
        raise TypeError(f"{name}: expected a tensor without autograd, got one that requires grad; pass {name}.detach()")
    if x.device.type != "cpu" or x.layout != torch.strided:
        raise bad_tensor(x, name)
    if x.is_neg():
        raise TypeError(f"{name}: expected a plain tensor, got a lazily negated view; pass {name}.resolve_neg()")
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy().view(BITS)
    return x.numpy()


def torch_dtypes():
    torch = sys.modules["torch"]
    return torch.float32, torch.float64, torch.bfloat16


def bad_tensor(x, name):
    """The error for a tensor of torch that the kernels cannot read, whatever its memory is; None if there is none."""
    if x.dtype not in torch_dtypes():
        return TypeError(f"{name}: expected dtype float32, float64 or bfloat16, got {x.dtype}")
    if x.device.type != "cpu" or x.layout != sys.modules["torch"].strided:
        return TypeError(f"{name}: expected a dense tensor on the CPU, got layout {x.layout} on device {x.device}")
    return None


def bad_torch_memory(name, *tensors):
    """The error for tensors that lie in memory in a way that the kernels cannot use, although nothing else is wrong."""
    got = ", ".join(
        "None" if x is None else f"shape {tuple(x.shape)}, strides {x.stride()}, dtype {x.dtype}" for x in flat(tensors)
    )
    expected = "parameter, gradient, state, factors and bounds that lie in memory alike"
    return ValueError(f"{name}: expected {expected}, got {got}")


def flat(tensors):
    return [y for x in tensors for y in (x if isinstance(x, list) else [x])]


def parameter_name(group, k, j):
    """The name of a parameter of an optimizer of torch, the j-th of its k-th group."""
    names = group.get("param_names")
    return names[j] if names else f"param_groups[{k}]['params'][{j}]"


def bad_step_count(steps, name):
    """The error for a count of steps that torch would not have written."""
    return ValueError(
        f"{name}: expected a float tensor on the CPU with one element, from 0 to 2**53, got {_short(steps)}"
    )


def bad_rate(lr, beta, name):
    """The error for what z of FTRL is built on, if no step of fastreg.torch would have written it."""
    return ValueError(
        f"{name}: expected 'built_on_lr' and 'built_on_beta' as float64 tensors on the CPU with one element, numbers"
        f" from 0 in the range of the weights, got {_short(lr)} and {_short(beta)}"
    )


def bad_array(a, name, writable=False):
    """The error for an array that cannot be used, without looking at other arrays; None if there is none."""
    if not is_bfloat16(a.dtype) and (a.dtype.kind != "f" or a.dtype.newbyteorder("=") not in DTYPES):
        return TypeError(f"{name}: expected dtype float32, float64 or bfloat16, got {a.dtype}")
    if not a.dtype.isnative:
        return ValueError(
            f"{name}: expected native byte order, got {a.dtype.str} (byte-swapped); convert once with"
            f" {name}.astype({name}.dtype.newbyteorder('='))"
        )
    if writable and not a.flags.writeable:
        return ValueError(f"{name}: expected a writable array, got a read-only one; it is updated in place")
    if not a.flags.aligned or (is_bfloat16(a.dtype) and address(a) % 2):
        return ValueError(f"{name}: expected an array aligned to its dtype, got a misaligned one; pass {name}.copy()")
    if not a.flags.forc:
        return ValueError(
            f"{name}: expected an array that is contiguous in C or Fortran order, got strides {a.strides} for shape"
            f" {a.shape}; work on a contiguous copy, numpy.ascontiguousarray({name})"
        )
    return None


def bad_memory(a, dtype, n, name):
    """The error for an array that is not n contiguous, aligned elements of this dtype."""
    got = "None" if a is None else f"{a.size} of dtype {a.dtype.str}, strides {a.strides} and aligned={a.flags.aligned}"
    return ValueError(
        f"{name}: expected at least {n} elements of dtype {dtype.str} in an aligned, contiguous array, got {got}"
    )


def bad_pair(w, g, w_name="w", g_name="grad"):
    """The error for weights w that cannot be updated with the gradient g."""
    error = bad_array(w, w_name, writable=True) or bad_array(g, g_name)
    if error is not None:
        return error
    expected, got = dtype_name(w.dtype), dtype_name(g.dtype)
    if got != expected:
        return TypeError(f"{g_name}: expected dtype {expected} like {w_name}, got {got}")
    if g.shape != w.shape:
        return ValueError(f"{g_name}: expected shape {w.shape} like {w_name}, got {g.shape}")
    if not ((w.flags.c_contiguous and g.flags.c_contiguous) or (w.flags.f_contiguous and g.flags.f_contiguous)):
        want, got = ("C", "Fortran") if w.flags.c_contiguous else ("Fortran", "C")
        remedy = f"pass numpy.asarray(..., order={want[0]!r})"
        return ValueError(f"{g_name}: expected {want} order like {w_name}, got {got} order; {remedy}")
    return bad_overlap(w_name, g_name)


def bad_state(w, s, name):
    """The error for weights that no longer match their state or factors, because one of them was changed in place."""
    return ValueError(
        f"{name}: expected weights like their state or factors, of dtype {s.dtype}, shape {s.shape} and strides"
        f" {s.strides}, got dtype {dtype_name(w.dtype)}, shape {w.shape} and strides {w.strides}"
    )


def bad_overlap(first, second):
    """The error for two arrays that share memory."""
    return ValueError(
        f"{first} and {second}: expected arrays that share no memory, got arrays that overlap; pass a copy of one"
    )


def bad_rows(w, name):
    """The error for weights that cannot be updated row by row."""
    if (error := bad_array(w, name, writable=True)) is not None:
        return error
    if not 1 <= w.ndim <= 2:
        return ValueError(f"{name}: expected 1 or 2 dimensions, got shape {w.shape}")
    if not w.flags.c_contiguous:
        return ValueError(f"{name}: expected C order, in which rows are contiguous, got Fortran order")
    return ValueError(f"{name}: expected memory, dtype and shape as at construction, got a changed array")


def bad_index(a, name):
    """The error for an array that cannot be used as indices."""
    if a.dtype.kind != "i" or a.dtype.itemsize not in (4, 8):
        return TypeError(f"{name}: expected dtype int32 or int64, got {a.dtype}")
    if a.ndim != 1:
        return ValueError(f"{name}: expected one dimension, got shape {a.shape}")
    return ValueError(
        f"{name}: expected an aligned, contiguous array in native byte order, got dtype {a.dtype.str}, strides"
        f" {a.strides} and aligned={a.flags.aligned}; pass {name}.astype({name}.dtype.newbyteorder('='))"
    )


def bad_values(values, w, n, name):
    """The error for values that, with n indices, are not a gradient of w."""
    if (error := bad_array(values, name)) is not None:
        return error
    if values.dtype != w.dtype:
        return TypeError(f"{name}: expected dtype {w.dtype} like w, got {values.dtype}")
    expected = (n, *w.shape[1:])
    if values.shape != expected:
        return ValueError(f"{name}: expected shape {expected}, one entry for each index, got {values.shape}")
    return ValueError(f"{name}: expected C order, got Fortran order; pass numpy.ascontiguousarray({name})")


def bad_place(indices, rows):
    """The error for indices that are out of range."""
    expected = f"indices: expected integers from 0 to {rows - 1}"
    outside = np.flatnonzero((indices < 0) | (indices >= rows))
    if len(outside) == 0:
        return ValueError(f"{expected}, got others that were changed during the call")
    position = int(outside[0])
    return ValueError(f"{expected}, got {indices[position]} at position {position}")


def check_starts(indptr, n):
    """Raise ValueError unless indptr is that of a CSR matrix with n entries, as in SciPy."""
    if len(indptr) == 0 or indptr[0] != 0 or indptr[-1] != n or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"indptr: expected positions that start at 0, never decrease and end at {n}, got others")


def address(a):
    """The address of an array's data."""
    return a.ctypes.data  # NumPy's __array_interface__ crashes if memory runs out


def as_float(x, name):
    """Convert a real number to float. Strings, complex numbers and masked arrays are refused, not converted."""
    torch = sys.modules.get("torch")
    number = x
    if isinstance(x, np.ndarray) and x.ndim == 0 and not isinstance(x, np.ma.MaskedArray):
        number = x[()]
    elif torch is not None and isinstance(x, torch.Tensor) and x.ndim == 0:
        number = x.item()
    if isinstance(number, np.generic):
        known = isinstance(number, (np.floating, np.integer, np.bool_))
    elif isinstance(number, np.ma.MaskedArray) or getattr(number, "ndim", 0):
        known = False
    else:
        known = hasattr(type(number), "__float__") or hasattr(type(number), "__index__")
    if not known:
        _no_number(x, name)
    try:
        result = float(number)
    except OverflowError:
        return float("-inf") if number < 0 else float("inf")
    except TypeError as error:
        _no_number(x, name, error)
    if result == 0 and number != 0:
        raise ValueError(f"{name}: expected a number that float64 can hold, got {_short(x)}, which rounds to {result}")
    return result


def _short(x):
    """A short text of x in one line, even if repr(x) is long or fails."""
    return reprlib.repr(x)


def _no_number(x, name, cause=None):
    raise TypeError(f"{name}: expected a real number, got {type(x).__name__} ({_short(x)})") from cause


def bad_number(x, name, single, finite):
    """The error for a number x that is out of range."""
    if np.isnan(x) or x < 0 or (finite and np.isinf(x)):
        expected = "a finite number, not negative" if finite else "a number from 0 to infinity"
        return ValueError(f"{name}: expected {expected}, got {x!r}")
    with np.errstate(over="ignore"):
        rounded = float(np.float32(x)) if single else x
    return ValueError(
        f"{name}: expected a number that float32, the dtype of the computation, can hold, got {x!r}, which rounds to"
        f" {rounded}"
    )


def mode_index(mode, modes):
    """The index of a mode that is not the interned string."""
    expected = f"mode: expected one of {', '.join(map(repr, modes))}"
    if not isinstance(mode, str):
        raise TypeError(f"{expected}, got {type(mode).__name__} ({_short(mode)})")
    text = str.__str__(mode)  # a subclass may define its own equality
    if text not in modes:
        raise ValueError(f"{expected}, got {_short(text)}")
    return modes.index(text)


def bad_theta(theta, mode):
    """The error for theta with a mode that has no theta."""
    return ValueError(f"theta: expected inf unless mode='truncated', got {theta!r} with mode={mode!r}")


def bad_gamma(gamma, where="", reason="which has no meaning for MCP"):
    """The error for a gamma that is not positive, or that is finite where MCP has no meaning."""
    if where:
        return ValueError(f"gamma: expected inf with {where}, {reason}, got {gamma!r}")
    return ValueError(f"gamma: expected a positive number or inf, got {gamma!r}")


def as_axis(axis):
    """A group axis as None or an int; may run Python code of the caller."""
    if axis is None:
        return None
    try:
        if not isinstance(axis, (bool, np.bool_)) and np.ndim(axis) == 0:
            return operator.index(axis)
    except TypeError:
        pass
    raise TypeError(f"group_axis: expected None or an integer, got {type(axis).__name__} ({_short(axis)})")


def axis_index(axis, ndim, name):
    """The index of an axis, from 0, in an array with this number of dimensions."""
    if not -ndim <= axis < ndim:
        expected = f"an axis of {name}, from {-ndim} to {ndim - 1}" if ndim else f"None for {name} without dimensions"
        raise ValueError(f"group_axis: expected {expected}, got {axis}")
    return axis % ndim


def bad_l21(l21, where, reason):
    """The error for a group lasso where it has no meaning."""
    return ValueError(f"l21: expected 0 with {where}, {reason}, got {l21!r}")


def bad_call(function, args, kwargs):
    """The error for arguments that do not match the function's signature."""
    try:
        signature(function).bind(*args, **kwargs)
    except TypeError as error:
        return TypeError(f"{function.__name__}() {error}{advice(kwargs, signature(function).parameters)}")
    return TypeError(f"{function.__name__}(): expected arguments that match {signature(function)}, got others")
