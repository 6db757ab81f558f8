# Layer 2 for bfloat16, part of _kernels.pxi: it is widened into buffers in the first-level cache, where the loops over
# float32 work, and narrowed again. As one more type of `dense` it would double the generated code, and it could not be
# converted in pairs, which brings rules without state to about 0.55 of the time of float32 in memory.

cdef enum:
    STRIPE = 512  # coordinates; with 1024 the two buffers lie 4096 bytes apart, which took 1.3 times as long
    PAIRS = 16


cdef void widen(const bfloat16* there, float* here, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        here[i] = widened(<uint32_t>there[i] << 16)


cdef void narrow(const float* here, bfloat16* there, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        there[i] = <bfloat16>(narrowed(here[i]) >> 16)


cdef void widen_stripe(const bfloat16* there, float* here) noexcept nogil:
    """Pairs as they lie in 32 bits, 16 lower halves before the 16 upper ones: no shuffles, hence half the time.

    The copies are one by one since gcc makes those of a block in pieces of 16 bytes, for which wider loads must wait.
    """
    cdef uint32_t[PAIRS] pairs
    cdef Py_ssize_t i, j, k
    for k in range(STRIPE // (2*PAIRS)):
        i = 2*PAIRS*k
        prefetch(<const char*>(there + i) + AHEAD)
        for j in range(PAIRS):
            memcpy(&pairs[j], there + i + 2*j, sizeof(uint32_t))
        for j in range(PAIRS):
            here[i + j] = widened(pairs[j] << 16)
        for j in range(PAIRS):
            here[i + PAIRS + j] = widened(pairs[j] & <uint32_t>0xFFFF0000)


cdef void narrow_stripe(const float* here, bfloat16* there) noexcept nogil:
    """The way back."""
    cdef uint32_t[2*PAIRS] halves
    cdef uint32_t[PAIRS] pairs
    cdef Py_ssize_t i, j, k
    for k in range(STRIPE // (2*PAIRS)):
        i = 2*PAIRS*k
        for j in range(2*PAIRS):
            halves[j] = nearest(here[i + j])
        for j in range(PAIRS):
            pairs[j] = halves[j] >> 16 | halves[PAIRS + j] & <uint32_t>0xFFFF0000
        for j in range(PAIRS):
            memcpy(there + i + 2*j, &pairs[j], sizeof(uint32_t))


cdef void striped_sums(const bfloat16* w, Py_ssize_t n, double* sum_abs, double* sum_squares) noexcept nogil:
    cdef float[BLOCK] w_
    cdef Py_ssize_t block, size
    for block in range((n + BLOCK - 1) // BLOCK):
        size = min(n - BLOCK*block, <Py_ssize_t>BLOCK)
        widen(w + BLOCK*block, w_, size)
        block_sums(w_, size, sum_abs, sum_squares)


cdef void striped_scale(bfloat16* w, Py_ssize_t n, float factor) noexcept nogil:
    cdef float[STRIPE] w_
    cdef Py_ssize_t k, size
    for k in range((n + STRIPE - 1) // STRIPE):
        size = min(n - STRIPE*k, <Py_ssize_t>STRIPE)
        widen(w + STRIPE*k, w_, size)
        scale_all(w_, size, factor)
        narrow(w_, w + STRIPE*k, size)


cdef bint striped_finite(const bfloat16* w, Py_ssize_t n) noexcept nogil:
    cdef float[STRIPE] w_
    cdef Py_ssize_t k, size
    for k in range((n + STRIPE - 1) // STRIPE):
        size = min(n - STRIPE*k, <Py_ssize_t>STRIPE)
        widen(w + STRIPE*k, w_, size)
        if not all_finite(w_, size):
            return False
    return True


cdef void striped(Direction d, Mode m, Penalty p, bfloat16* w, const bfloat16* g, float* a, float* b, float* c,
                  const float* f, Py_ssize_t n) noexcept nogil:
    """`dense` for bfloat16. Without state and factors the order within a stripe is of no account, nor has any NaN bits
    in its lower half: those that are widened have none, and nor has the one that processors make."""
    cdef float[STRIPE] w_
    cdef float[STRIPE] g_
    cdef Py_ssize_t i, k, size
    for k in range((n + STRIPE - 1) // STRIPE):
        i = STRIPE*k
        size = min(n - i, <Py_ssize_t>STRIPE)
        if Direction is Plain and Penalty is not Weighted:
            if size == STRIPE:
                widen_stripe(w + i, w_)
                widen_stripe(g + i, g_)
                dense(d, m, p, w_, g_, a, b, c, f, STRIPE)
                narrow_stripe(w_, w + i)
                continue
        widen(w + i, w_, size)
        widen(g + i, g_, size)
        dense(d, m, p, w_, g_, a + i, b + i, c + i, f + i, size)
        narrow(w_, w + i, size)
