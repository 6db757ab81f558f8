"""Helpers of the tests of threads: work for several threads, and the number of threads that the pool has started.

The fixture `seven_processors` in boundary/conftest.py lowers the limit of bytes for one thread to SLICE.
"""

import numpy as np
from cases import values

from fastreg._boundary import threads

SLICE = 1 << 20  # bytes for one thread, so that two megabytes are enough for two
GRAIN = 4096  # the borders of slices are multiples of this many elements


def large_arrays(dtype, size=None):
    """Weights and a gradient for seven threads, of a size that is no multiple of a slice."""
    size = size or 8 * SLICE // (3 * np.dtype(dtype).itemsize) + 37
    w, g = values(dtype, 5003)
    return np.resize(w, size), np.resize(g[::-1], size)


def threads_started():
    """The number of threads that the pool has started."""
    return threads.pool.threads
