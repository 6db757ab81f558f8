"""Layer 4, what the boundary's modules share: the chosen kernels, and the way to the slow half of the checks.

The slow half, in _diagnose.py, wraps other buffers without a copy and finds the words for what is wrong.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite
from numpy cimport import_array

from fastreg._kernels cimport CAPSULE

from fastreg import _diagnose, _dispatch

import_array()

kernels = <const Kernels*>PyCapsule_GetPointer(_dispatch.module.kernels, CAPSULE)


cdef ndarray slow_array(object x, str name):
    return _diagnose.as_array(x, name)


cdef double slow_double(object x, str name) except? -1:
    return _diagnose.as_float(x, name)


cdef int check(double x, str name, bint single, bint finite=True) except -1:
    """Not negative, and finite where asked; after rounding to float32 too, where a positive number may not vanish."""
    cdef double rounded = <double><float>x if single else x
    if not 0 <= rounded or (finite and not isfinite(rounded)) or (rounded == 0 and x != 0):
        raise _diagnose.bad_number(x, name, single, finite)
    return 0
