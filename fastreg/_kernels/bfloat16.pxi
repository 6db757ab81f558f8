# Layer 2 for bfloat16, included by variant.pyx. Weights and gradients are converted (bfloat16.pxd) in stripes, in the
# first-level cache, and updated by the float32 loops: loops of their own would double the generated code. Rules without
# state, factors and bounds work on pairs where they lie, which takes about 0.55 of the time of float32 in memory.

cdef enum:
    STRIPE = 1024   # coordinates
    PADDING = 16    # floats: buffers that lie 4096 bytes apart took 1.3 times as long
    PAIRS = 16      # a cache line; with 32, gcc keeps them in memory, which took 1.5 times as long


cdef void bf16_to_f32(const bfloat16* there, float* here, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        here[i] = from_bfloat16(there[i])


cdef void f32_to_bf16(const float* here, bfloat16* there, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        there[i] = to_bfloat16(here[i])


cdef inline Py_ssize_t pairs(Plain d, Mode m, Penalty p, bfloat16* w, const bfloat16* g, Py_ssize_t n) noexcept nogil:
    """`dense` without state and factors, for all but the last few coordinates; returns the number of those updated.

    Two coordinates as they lie in 32 bits, one of them already in the upper half: no shuffles and no buffers. The
    copies are one by one since gcc copies a block in pieces of 16 bytes, for which wider loads must wait. No NaN has
    bits in its lower half: those that come from bfloat16 have none, and nor has the one that processors make.
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
            low = step(&d, &m, &p, float_from(w_[j] << 16), float_from(g_[j] << 16),
                       <float*>NULL, <float*>NULL, <float*>NULL, <float>1)
            high = step(&d, &m, &p, float_from(w_[j] & <uint32_t>0xFFFF0000),
                        float_from(g_[j] & <uint32_t>0xFFFF0000),
                        <float*>NULL, <float*>NULL, <float*>NULL, <float>1)
            w_[j] = nearest(low) >> 16 | nearest(high) & <uint32_t>0xFFFF0000
        for j in range(PAIRS):
            memcpy(w + i + 2*j, &w_[j], sizeof(uint32_t))
    return n - n % (2*PAIRS)


cdef inline Py_ssize_t pairs_with_penalty(Mode m, const Task* t) noexcept nogil:
    if t.p.elastic_net.l1 == 0:
        return pairs(t.d.plain, m, Ridge(t.p.elastic_net.l2), <bfloat16*>t.w, <const bfloat16*>t.g, t.n)
    return pairs(t.d.plain, m, t.p.elastic_net, <bfloat16*>t.w, <const bfloat16*>t.g, t.n)


cdef Py_ssize_t pairs_with_mode(const Task* t) noexcept nogil:
    """How many coordinates, from the first on, have been updated in pairs."""
    if t.direction != PLAIN or t.penalty != ELASTIC_NET or t.f != NULL or t.low != NULL:
        return 0
    if t.mode == SUBGRADIENT:
        return pairs_with_penalty(Subgradient(0), t)
    elif t.mode == DECOUPLED:
        return pairs_with_penalty(Decoupled(0), t)
    elif t.mode == PROXIMAL:
        return pairs_with_penalty(Proximal(0), t)
    elif t.theta == INFINITY:
        return pairs_with_penalty(Truncated(INFINITY), t)  # a constant: with a branch it would not be vectorised
    return 0


cdef void update_via_float32(Task* t) noexcept nogil:
    """A task of bfloat16, stripe by stripe as tasks of float32."""
    cdef float[STRIPE + PADDING] w_
    cdef float[STRIPE + PADDING] g_
    cdef bfloat16* w
    cdef Py_ssize_t i = pairs_with_mode(t)
    cdef Task s
    while i < t.n:
        s = shifted(t, i, min(t.n - i, <Py_ssize_t>STRIPE))
        w = <bfloat16*>s.w
        bf16_to_f32(w, w_, s.n)
        bf16_to_f32(<const bfloat16*>s.g, g_, s.n)
        s.dtype, s.w, s.g = FLOAT32, w_, g_
        with_direction(&s, NULL)
        if s.low != NULL:
            clip(&s)
        f32_to_bf16(w_, w, s.n)
        i += s.n


cdef double penalty_via_float32(const Task* t) noexcept nogil:
    """Block by block, so that the sum is that of one float32 array."""
    cdef float[BLOCK] w_
    cdef Py_ssize_t start = 0
    cdef double total = 0
    cdef Task s
    while start < t.n:
        s = shifted(t, start, min(t.n - start, <Py_ssize_t>BLOCK))
        bf16_to_f32(<const bfloat16*>s.w, w_, s.n)
        s.dtype, s.w = FLOAT32, w_
        total += penalty(&s)
        start += s.n
    return total


cdef void scale_via_float32(bfloat16* w, Py_ssize_t n, float factor) noexcept nogil:
    cdef float[STRIPE] w_
    cdef Py_ssize_t start = 0, size
    while start < n:
        size = min(n - start, <Py_ssize_t>STRIPE)
        bf16_to_f32(w + start, w_, size)
        scale_all(w_, size, factor)
        f32_to_bf16(w_, w + start, size)
        start += size


cdef bint finite_via_float32(const bfloat16* w, Py_ssize_t n) noexcept nogil:
    cdef float[STRIPE] w_
    cdef Py_ssize_t start = 0, size
    while start < n:
        size = min(n - start, <Py_ssize_t>STRIPE)
        bf16_to_f32(w + start, w_, size)
        if not all_finite(w_, size):
            return False
        start += size
    return True
