# Layer 2 for bfloat16, part of _kernels/kernels.pxi. As one more type of `dense` it would double the generated code. Rules
# without state work on pairs where they lie, which brings them to about 0.55 of the time of float32 in memory; the
# others on stripes that are widened into buffers in the first-level cache and narrowed again.

cdef enum:
    STRIPE = 512  # coordinates; with 1024 the two buffers lie 4096 bytes apart, which took 1.3 times as long
    PAIRS = 16    # a cache line; with 32, gcc keeps them in memory, which took 1.5 times as long


cdef void widen(const bfloat16* there, float* here, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        here[i] = widened(<uint32_t>there[i] << 16)


cdef void narrow(const float* here, bfloat16* there, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        there[i] = <bfloat16>(narrowed(here[i]) >> 16)


cdef Py_ssize_t paired(Direction d, Mode m, Penalty p, bfloat16* w, const bfloat16* g, Py_ssize_t n) noexcept nogil:
    """`dense` without state and factors, for all but the last few coordinates; how many those before them are.

    Two coordinates as they lie in 32 bits, the upper half in its place already: no shuffles and no buffers. The copies
    are one by one since gcc makes those of a block in pieces of 16 bytes, for which wider loads must wait. No NaN has
    bits in its lower half: those that are widened have none, and nor has the one that processors make.
    """
    cdef uint32_t[PAIRS] w_
    cdef uint32_t[PAIRS] g_
    cdef float low, high
    cdef Py_ssize_t i, j, k
    for k in range(n // (2*PAIRS)):
        i = 2*PAIRS*k
        prefetch(<const char*>(w + i) + AHEAD)
        prefetch_level2(<const char*>(g + i) + 2*AHEAD)
        for j in range(PAIRS):
            memcpy(&w_[j], w + i + 2*j, sizeof(uint32_t))
            memcpy(&g_[j], g + i + 2*j, sizeof(uint32_t))
        for j in range(PAIRS):
            low = step(&d, &m, &p, widened(w_[j] << 16), widened(g_[j] << 16),
                       <float*>NULL, <float*>NULL, <float*>NULL, <const float*>NULL)
            high = step(&d, &m, &p, widened(w_[j] & <uint32_t>0xFFFF0000), widened(g_[j] & <uint32_t>0xFFFF0000),
                        <float*>NULL, <float*>NULL, <float*>NULL, <const float*>NULL)
            w_[j] = nearest(low) >> 16 | nearest(high) & <uint32_t>0xFFFF0000
        for j in range(PAIRS):
            memcpy(w + i + 2*j, &w_[j], sizeof(uint32_t))
    return n - n % (2*PAIRS)


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
    """`dense` for bfloat16."""
    cdef float[STRIPE] w_
    cdef float[STRIPE] g_
    cdef Py_ssize_t i = 0, size
    if Direction is Plain and Penalty is not Weighted:
        if Mode is not Truncated:
            i = paired(d, m, p, w, g, n)
        elif m.theta == INFINITY:
            i = paired(d, Truncated(INFINITY), p, w, g, n)  # a constant: with a branch it would not be vectorised
    while i < n:
        size = min(n - i, <Py_ssize_t>STRIPE)
        widen(w + i, w_, size)
        widen(g + i, g_, size)
        dense(d, m, p, w_, g_, a + i, b + i, c + i, f + i, size)
        narrow(w_, w + i, size)
        i += size
