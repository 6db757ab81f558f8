# Layer 4: names become codes, and tuples of the reference become structs, here and nowhere else.
from fastreg._kernels.table cimport AnyDirection, AnyPenalty, DirectionCode, ModeCode, PenaltyCode

cdef ModeCode mode_code(object mode) except *
cdef str mode_name(ModeCode code)
cdef DirectionCode fill_direction(AnyDirection* to, object direction, double* largest) except *
cdef PenaltyCode fill_penalty(AnyPenalty* to, object penalty) except *
