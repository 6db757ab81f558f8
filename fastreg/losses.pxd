# cython: cdivision=True
# Layer 1, scalar: the losses of the linear models, and their derivatives by the margin. Floats only. They need exp,
# and its bits differ between machines: linear models are outside the promise of the same bits everywhere. expm1 and
# log1p, unlike exp and log, are the same symbols in every glibc, so that a wheel runs on old ones.
#
# One function with a branch for each loss, not a fused type: it runs once a sample, never in a loop over weights.
# For classification y is -1 or 1, for regression any number.
from libc.math cimport expm1, fabs, log1p

cdef enum LossCode:  # the order of LOSSES in reference/losses.py
    LOG_LOSS
    HINGE
    SQUARED_HINGE
    SQUARED_ERROR
    HUBER


cdef inline double loss(LossCode code, double epsilon, double margin, double y) noexcept nogil:
    """log(1 + e⁻ᶻ), max(0, 1 − z) or its square, with z = y·margin; r²/2, or that up to epsilon and linear beyond.

    A NaN in the margin stays one: it is how a model that has diverged is found out.
    """
    cdef double z = y*margin
    cdef double r = margin - y
    if code == LOG_LOSS:
        return log1p(1 + expm1(-z)) if z > 0 else log1p(1 + expm1(z)) - z
    elif code == HINGE:
        return 0 if z >= 1 else 1 - z
    elif code == SQUARED_HINGE:
        return 0 if z >= 1 else (1 - z)*(1 - z)
    elif code == SQUARED_ERROR or fabs(r) <= epsilon:
        return 0.5*r*r
    else:
        return epsilon*(fabs(r) - 0.5*epsilon)


cdef inline double slope(LossCode code, double epsilon, double margin, double y) noexcept nogil:
    """The derivative of the loss by the margin; a NaN in the margin stays one."""
    cdef double z = y*margin
    cdef double r = margin - y
    if code == LOG_LOSS:
        return -y/(2 + expm1(z))
    elif code == HINGE:
        return 0 if z >= 1 else (-y if z == z else z)
    elif code == SQUARED_HINGE:
        return 0 if z >= 1 else -2*y*(1 - z)
    elif code == SQUARED_ERROR or not fabs(r) > epsilon:
        return r
    else:
        return epsilon if r > 0 else -epsilon
