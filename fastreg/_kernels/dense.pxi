# Layer 2: loops over all coordinates of a tensor, included by variant.pyx. No formula and no Python object.

cdef struct NoFactor:
    char tag

cdef struct PerCoordinate:
    const void* f

ctypedef fused Factor:  # what multiplies the penalty's strengths
    NoFactor
    PerCoordinate


cdef inline floating factor_at(const Factor* factor, Py_ssize_t i, const floating* _) noexcept nogil:
    """The factor of coordinate i; the last argument only says the dtype."""
    if Factor is PerCoordinate:
        return (<const floating*>factor.f)[i]
    else:
        return <floating>1


cdef struct WithMetric:  # a proximal step that also stores the inverse of its size, plus l2
    void* h

ctypedef fused DenseMode:  # how `dense` makes a step
    Mode
    WithMetric


cdef inline void copy_chunk(const floating* there, floating* here) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(CHUNK):
        here[j] = there[j]


cdef inline const floating* squares_of(const Direction* _, const floating* a, const floating* b,
                                       const floating* c) noexcept nogil:
    """The state that the step size depends on."""
    if Direction in ThreeStates:
        return c
    elif Direction in HasB:
        return b
    else:
        return a


cdef inline floating stepped(const Direction* d, const DenseMode* m, const Penalty* p, floating w, floating g,
                             floating* a, floating* b, floating* c, floating f, floating* h) noexcept nogil:
    cdef Proximal proximal
    cdef floating new
    if DenseMode is WithMetric:
        new = step(d, &proximal, p, w, g, a, b, c, f)
        if Direction in Adaptive:
            h[0] = metric(d, squares_of(d, a, b, c)[0], <floating>p.l2*f)
        return new
    else:
        return step(d, m, p, w, g, a, b, c, f)


cdef void dense(Direction d, DenseMode m, Penalty p, Factor f, floating* w, const floating* g, floating* a, floating* b,
                floating* c, Py_ssize_t n) noexcept nogil:
    """All coordinates, in chunks: the results of a chunk are written when all of them have been computed.

    A loop that stores each weight before it loads the next took up to 1.6 times as long (Dense and Step in
    benchmarks/suite): it has fewer loads in flight, and the compiler tests at run time whether the arrays overlap.
    Structs come by value, so that no store to w can change them.
    """
    cdef floating[CHUNK] w_, a_, b_, c_, h_
    cdef bint far = n > <Py_ssize_t>(BEYOND_L2//sizeof(floating))
    cdef Py_ssize_t i, j, k
    if ((Direction is FTRL and DenseMode is not Proximal and DenseMode is not WithMetric)
            or (Direction is Lion and DenseMode is not Decoupled)
            or (Direction not in Linear and DenseMode is Truncated)
            or (Penalty is Ridge and Factor is not NoFactor)
            or (Penalty is MCP and (DenseMode is Decoupled or DenseMode is Truncated or DenseMode is WithMetric))
            or (Direction not in Adaptive and DenseMode is WithMetric)):
        pass  # without a meaning, or without a use: see with_mode and with_penalty; nothing is compiled
    else:
        for k in range(n // CHUNK):
            i = CHUNK*k
            prefetch_chunk(w + i, AHEAD)
            if far:
                prefetch_chunk_level2(g + i)
            if Direction in HasA:
                prefetch_chunk(a + i, AHEAD)
                copy_chunk(a + i, a_)
            if Direction in HasB:
                prefetch_chunk(b + i, AHEAD)
                copy_chunk(b + i, b_)
            if Direction in ThreeStates:
                prefetch_chunk(c + i, AHEAD)
                copy_chunk(c + i, c_)
            for j in range(CHUNK):
                w_[j] = stepped(&d, &m, &p, w[i + j], g[i + j], a_ + j, b_ + j, c_ + j, factor_at(&f, i + j, g),
                                h_ + j)
            copy_chunk(w_, w + i)
            if Direction in HasA:
                copy_chunk(a_, a + i)
            if Direction in HasB:
                copy_chunk(b_, b + i)
            if Direction in ThreeStates:
                copy_chunk(c_, c + i)
            if DenseMode is WithMetric:
                copy_chunk(h_, <floating*>m.h + i)
        for i in range(n - n % CHUNK, n):
            w[i] = stepped(&d, &m, &p, w[i], g[i], a + i, b + i, c + i, factor_at(&f, i, g), h_)
            if DenseMode is WithMetric:
                (<floating*>m.h)[i] = h_[0]


cdef void reanchor_all(FTRL before, FTRL d, const floating* w, floating* z, const floating* n,
                       Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        z[i] = reanchored(&before, &d, w[i], z[i], n[i])


cdef void scale_all(floating* w, Py_ssize_t n, floating factor) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        w[i] = w[i]*factor


cdef void clip_all(floating* w, const floating* low, const floating* high, Py_ssize_t step,
                   Py_ssize_t n) noexcept nogil:
    cdef floating lowest = low[0], highest = high[0]
    cdef Py_ssize_t i
    if step == 0:
        for i in range(n):
            w[i] = within(w[i], lowest, highest)
    else:
        for i in range(n):
            w[i] = within(w[i], low[i], high[i])


cdef bint all_finite(const floating* w, Py_ssize_t n) noexcept nogil:
    """Without an early exit, which would keep the loop from being vectorised."""
    cdef int bad = 0
    cdef Py_ssize_t i
    for i in range(n):
        bad |= w[i] - w[i] != 0
    return bad == 0


# -- Values of penalties: sums in double, in an order that no instruction set and no number of threads changes --------

cdef enum:
    BLOCK = 4096  # coordinates
    LANES = 16


cdef double block_value(Penalty p, Factor f, const floating* w, Py_ssize_t n) noexcept nogil:
    """The sum over at most one block: each lane for itself, and the lanes pairwise at the end."""
    cdef double[LANES] lanes
    cdef Py_ssize_t row, j, half
    for j in range(LANES):
        lanes[j] = 0
    for row in range(n // LANES):
        for j in range(LANES):
            lanes[j] += value(&p, <double>w[LANES*row + j], <double>factor_at(&f, LANES*row + j, w))
    for j in range(n % LANES):
        lanes[j] += value(&p, <double>w[n - n % LANES + j], <double>factor_at(&f, n - n % LANES + j, w))
    half = LANES // 2
    while half > 0:
        for j in range(half):
            lanes[j] += lanes[j + half]
        half //= 2
    return lanes[0]


cdef double all_values(Penalty p, Factor f, const floating* w, Py_ssize_t n) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t start = 0
    while start < n:
        total += block_value(p, f, w + start, min(n - start, <Py_ssize_t>BLOCK))
        if Factor is PerCoordinate:
            f.f = <const floating*>f.f + BLOCK
        start += BLOCK
    return total
