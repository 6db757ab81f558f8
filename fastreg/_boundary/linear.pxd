# Layer 4: what strengths.pyx uses of the linear models.
from numpy cimport ndarray

from fastreg._boundary.section cimport Section
from fastreg._kernels.table cimport Batch, Learning, Rows, Schedule


cdef struct Counts:  # counters in addition to the steps
    double size       # the sum of the samples' sizes, for the default learning rate
    long long sized   # the number of samples in that sum
    double scale      # the mean size when the number of samples last reached a power of 2
    long long epochs  # of the last call
    double center     # where the intercept starts
    double distance   # the sum of the distances of targets from there, for the default learning rate
    double level      # their mean when the number of samples last reached a power of 2, but at least 1


cdef class BaseLearner:
    cdef Counts counts
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
