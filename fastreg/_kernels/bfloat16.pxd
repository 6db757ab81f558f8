# cython: cdivision=True
# Between layers 2 and 4, scalar: a bfloat16 is the upper half of a float32. In NumPy: _boundary/bfloat16.py.
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy

ctypedef uint16_t bfloat16


cdef inline float float_from(uint32_t pattern) noexcept nogil:
    """The number with these bits: those of a bfloat16, above 16 zeros."""
    cdef float x
    memcpy(&x, &pattern, sizeof(x))
    return x


cdef inline uint32_t pattern_of(float x) noexcept nogil:
    cdef uint32_t pattern
    memcpy(&pattern, &x, sizeof(pattern))
    return pattern


cdef inline uint32_t nearest(float x) noexcept nogil:
    """The nearest bfloat16 in the upper half, ties to even; for a NaN only where its lower half is zero."""
    return pattern_of(x) + <uint32_t>0x7FFF + (pattern_of(x) >> 16 & <uint32_t>1)


cdef inline uint32_t nearest_or_nan(float x) noexcept nogil:
    """The same for every x: a NaN stays one, and is quiet."""
    return nearest(x) if x == x else pattern_of(x) | <uint32_t>0x400000


cdef inline float from_bfloat16(bfloat16 x) noexcept nogil:
    return float_from(<uint32_t>x << 16)


cdef inline bfloat16 to_bfloat16(float x) noexcept nogil:
    return <bfloat16>(nearest_or_nan(x) >> 16)
