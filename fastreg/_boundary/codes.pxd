# Layer 4, the only place that turns names into codes, and tuples of the reference into structs.
from fastreg._kernels.table cimport AnyDirection, AnyPenalty, DirectionCode, ModeCode, PenaltyCode

cdef ModeCode mode_code(object mode) except *
cdef str mode_name(ModeCode code)
cdef DirectionCode fill_direction(AnyDirection* to, object direction, double* largest) except *
cdef PenaltyCode fill_penalty(AnyPenalty* to, object penalty) except *
