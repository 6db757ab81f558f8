# Layer 4: what strengths.pyx uses of the linear models.
from numpy cimport ndarray

from fastreg._boundary.section cimport Section
from fastreg._kernels.table cimport Batch, Learning, Rows, Schedule


cdef struct Counts:  # in addition to the steps
    long long epochs  # of the last call
    double center     # where the intercept starts


cdef class BaseLearner:
    cdef Counts counts
    cdef readonly tuple sizes       # what the default learning rates know of the data: see linear/scales.py
    cdef (void*)[3] intercept_data  # the intercept and its state
    cdef readonly object direction
    cdef readonly ndarray records
    cdef readonly list intercept
    cdef readonly ndarray factors   # by feature
    cdef Section section


cdef tuple counters_of(BaseLearner self)
cdef int set_counters(BaseLearner self, tuple counters) except -1
cdef tuple take_samples(BaseLearner self, object prepare, const Rows* t, Batch* batch, Schedule* schedule,
                        Learning* learning, Counts* counts)
