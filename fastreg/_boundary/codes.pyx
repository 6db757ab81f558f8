"""Layer 4, the only place that turns names into codes, and tuples of the reference into the structs of rules.pxd.

A tuple and its struct have the same fields in the same order (tests/test_registry_complete.py checks it).
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
    """Compares identities first, since literals are interned: comparing strings costs as much as the rest of a call."""
    cdef Py_ssize_t code
    for code in range(len(MODES)):
        if PyTuple_GetItem(MODES, code) == <PyObject*>mode:
            return <ModeCode>code
    return <ModeCode><Py_ssize_t>errors.mode_index(mode, MODES)


cdef str mode_name(ModeCode code):
    return MODES[<int>code]


cdef DirectionCode fill_direction(AnyDirection* to, object direction, double* largest) except *:
    """Fills the struct, and sets `largest` to its largest field (none is negative), infinity for a NaN."""
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
