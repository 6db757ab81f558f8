"""Layer 4, what the boundary's modules share: the chosen kernels, and the way to the slow half of the checks.

The slow half, in errors.py, wraps other buffers without a copy and finds the words for what is wrong.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite
from numpy cimport (
    import_array, ndarray, NPY_NOTYPE, NPY_VOID, PyArray_DATA, PyArray_DescrFromType, PyArray_EquivTypenums,
    PyArray_ISCARRAY_RO, PyArray_ITEMSIZE, PyArray_SIZE, PyArray_TYPE,
)

from fastreg._kernels.table cimport CAPSULE

from weakref import ref

from numpy import asarray

from fastreg._boundary import bfloat16 as _bfloat16, errors, dispatch

import_array()

kernels = <const Kernels*>PyCapsule_GetPointer(dispatch.module.kernels, CAPSULE)


cdef ndarray slow_array(object x, str name):
    return errors.as_array(x, name)


cdef double slow_double(object x, str name) except? -1:
    return errors.as_float(x, name)


cdef int number_of_bfloat16 = NPY_NOTYPE  # that of ml_dtypes, from NumPy, once an array of it has come


cdef bint is_bfloat16(ndarray a) noexcept:
    """Not inline: only arrays of neither float32 nor float64 come here."""
    global number_of_bfloat16
    cdef int number = PyArray_TYPE(a)
    if number == number_of_bfloat16:
        return True
    if not _bfloat16.is_bfloat16(a.dtype):
        return False
    if number != NPY_VOID:
        number_of_bfloat16 = number
    return True


cdef int check(double x, str name, bint single, bint finite=True) except -1:
    """Not negative, and finite where asked; after rounding to float32 too, where a positive number may not vanish."""
    cdef double rounded = <double><float>x if single else x
    if not 0 <= rounded or (finite and not isfinite(rounded)) or (rounded == 0 and x != 0):
        raise errors.bad_number(x, name, single, finite)
    return 0


cdef list as_arrays(list grads, list names):
    """Gradients as arrays over the same memory; None stays."""
    cdef list arrays = []
    for x, name in zip(grads, names):
        arrays.append(None if x is None else asarray(as_array(x, f"grads[{name}]")))
    return arrays


cpdef list guard(list arrays):
    """Weak references to arrays and to those that they are views of: NumPy resizes no array that has one, ever."""
    guards = []
    for a in arrays:
        while isinstance(a, ndarray):
            guards.append(ref(a))
            a = a.base
    return guards


cdef void* pointer_to(ndarray a, int number, Py_ssize_t n, str name) except? NULL:
    """Where n elements of NumPy's type `number` lie one after the other, for a kernel that takes all of this on trust.

    They are aligned to their size: bfloat16 may come as a type without an alignment of its own. There may be more.
    """
    if (a is None or not (PyArray_TYPE(a) == number or PyArray_EquivTypenums(PyArray_TYPE(a), number))
            or not PyArray_ISCARRAY_RO(a) or PyArray_SIZE(a) < n
            or (PyArray_SIZE(a) > 0 and <size_t>PyArray_DATA(a) % <size_t>PyArray_ITEMSIZE(a) != 0)):
        raise errors.bad_memory(a, PyArray_DescrFromType(number), n, name)
    return PyArray_DATA(a)
