"""Layer 4, codes: names become codes, and tuples of the reference become the structs of rules.pxd, here alone.

The fields of a tuple are those of the struct of the same name, in the same order (tests/test_registry.py).
"""
from cpython.object cimport PyObject
from libc.math cimport INFINITY
from libc.string cimport memcpy

from sys import intern

from fastreg import reference
from fastreg._boundary import errors

cdef extern from "Python.h":
    PyObject* PyTuple_GetItem(object t, Py_ssize_t i)  # borrowed, which Cython's own declaration is not

cdef dict DIRECTIONS = {direction: code for code, direction in enumerate(reference.DIRECTIONS.values())}
cdef dict PENALTIES = {penalty: code for code, penalty in enumerate(reference.PENALTIES.values())}
cdef tuple MODES = tuple(map(intern, reference.MODES))


cdef ModeCode mode_code(object mode) except *:
    """Identity first: a mode in the source is interned, and comparing strings costs as much as the rest of a call."""
    cdef Py_ssize_t code
    for code in range(len(MODES)):
        if PyTuple_GetItem(MODES, code) == <PyObject*>mode:
            return <ModeCode>code
    return <ModeCode><Py_ssize_t>errors.mode_index(mode, MODES)


cdef str mode_name(ModeCode code):
    return MODES[<int>code]


cdef DirectionCode fill_direction(AnyDirection* to, object direction, double* largest) except *:
    """Fills the struct; `largest` becomes the largest of its numbers, none of which is negative, infinity for a NaN."""
    cdef double x
    largest[0] = 0
    copy_fields(to, direction)
    for x in direction:
        if not x <= largest[0]:
            largest[0] = x if x == x else INFINITY
    return <DirectionCode><int>DIRECTIONS[type(direction)]


cdef PenaltyCode fill_penalty(AnyPenalty* to, object penalty) except *:
    copy_fields(to, penalty)
    return <PenaltyCode><int>PENALTIES[type(penalty)]


cdef int copy_fields(void* to, object fields) except -1:
    cdef Py_ssize_t i
    cdef double x
    for i in range(len(fields)):
        x = fields[i]
        memcpy(<char*>to + i*sizeof(double), &x, sizeof(double))
    return 0
