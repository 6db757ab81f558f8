"""Layer 4, what the modules of the boundary share: the chosen kernels, and calls of the slow checks in errors.py.

The slow checks wrap other buffers without a copy and write the error messages.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite
from numpy cimport (
    import_array, ndarray, NPY_NOTYPE, NPY_VOID, PyArray_DATA, PyArray_DescrFromType, PyArray_EquivTypenums,
    PyArray_DIM, PyArray_IS_C_CONTIGUOUS, PyArray_ISCARRAY_RO, PyArray_ITEMSIZE, PyArray_NDIM, PyArray_SIZE,
    PyArray_TYPE,
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


cdef int bfloat16_type_num = NPY_NOTYPE  # NumPy's number for the bfloat16 of ml_dtypes, set by the first such array


cdef bint is_bfloat16(ndarray a) noexcept:
    """Not inline, because it is only called for arrays that are neither float32 nor float64."""
    global bfloat16_type_num
    cdef int type_num = PyArray_TYPE(a)
    if type_num == bfloat16_type_num:
        return True
    if not _bfloat16.is_bfloat16(a.dtype):
        return False
    if type_num != NPY_VOID:
        bfloat16_type_num = type_num
    return True


cdef int check(double x, str name, bint single, bint finite=True) except -1:
    """Raises ValueError unless x is not negative and, if `finite`, not infinite.

    If `single`, the same must hold after rounding to float32, and a positive number must not become 0.
    """
    cdef double rounded = <double><float>x if single else x
    if not 0 <= rounded or (finite and not isfinite(rounded)) or (rounded == 0 and x != 0):
        raise errors.bad_number(x, name, single, finite)
    return 0


cdef int set_groups(Task* t, ndarray w, object axis, str name) except -1:
    """Sets how the groups along an axis of a plain array lie in memory; without an axis, the array is one group."""
    cdef Py_ssize_t i, k, n = PyArray_NDIM(w)
    t.outer, t.groups, t.inner, t.pitch = 1, 1, PyArray_SIZE(w), PyArray_SIZE(w)
    if axis is None:
        return 0
    k = errors.axis_index(axis, n, name)
    t.groups, t.inner = PyArray_DIM(w, <int>k), 1
    for i in range(n):
        if i != k and (i < k) == PyArray_IS_C_CONTIGUOUS(w):
            t.outer *= PyArray_DIM(w, <int>i)
        elif i != k:
            t.inner *= PyArray_DIM(w, <int>i)
    t.pitch = t.groups*t.inner
    return 0


cdef list as_arrays(list grads, list names):
    """The gradients as arrays over the same memory; None stays None."""
    cdef list arrays = []
    for x, name in zip(grads, names):
        arrays.append(None if x is None else asarray(as_array(x, f"grads[{name}]")))
    return arrays


cpdef list guard(list arrays):
    """Weak references to the arrays and their bases: NumPy never resizes an array that has a weak reference."""
    guards = []
    for a in arrays:
        while isinstance(a, ndarray):
            guards.append(ref(a))
            a = a.base
    return guards


cdef void* pointer_to(ndarray a, int type_num, Py_ssize_t n, str name) except? NULL:
    """The data of an array, checked for a kernel that checks nothing itself.

    The array must be contiguous, have NumPy's type `type_num` and at least n elements. They must be aligned to their
    size, which is checked on its own: bfloat16 may come as a type that NumPy does not align.
    """
    if (a is None or not (PyArray_TYPE(a) == type_num or PyArray_EquivTypenums(PyArray_TYPE(a), type_num))
            or not PyArray_ISCARRAY_RO(a) or PyArray_SIZE(a) < n
            or (PyArray_SIZE(a) > 0 and <size_t>PyArray_DATA(a) % <size_t>PyArray_ITEMSIZE(a) != 0)):
        raise errors.bad_memory(a, PyArray_DescrFromType(type_num), n, name)
    return PyArray_DATA(a)
