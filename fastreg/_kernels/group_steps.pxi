# Layer 2: a step that also adds up what groups need, included by variant.pyx between dense.pxi and dense_types.pxi.

cdef inline floating even_shrinkage(double squares, double h, floating l2, floating l21) noexcept nogil:
    """What a group with this sum of squares and this step size is multiplied by."""
    return <floating>even_factor(sqrt(squares), h + l2, l21) if l21 != 0 else <floating>1


cdef void multiply_group(floating* x, floating factor, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        x[j] = multiplied(x[j], factor)


cdef inline void clip_strip(const WithSums* m, floating* w, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    if m.low != NULL:
        clip_all(w + start, <const floating*>m.low + start*m.bound_step, <const floating*>m.high + start*m.bound_step,
                 m.bound_step, n)


cdef inline void add_strip(Sums kind, const WithSums* m, const floating* x, const floating* h, Py_ssize_t at,
                           Py_ssize_t n) noexcept nogil:
    if m.are_groups:
        add_row(kind, x, h, n, <floating>0, <floating>0, m.sums)
    else:
        add_line(kind, x, h, n, x, x, m.sums + at)


cdef void step_with_sums(Direction d, WithSums m, Penalty p, Factor f, floating* w, const floating* g, floating* a,
                         floating* b, floating* c, Py_ssize_t n) noexcept nogil:
    """In strips: they are in the first-level cache when they are added up, while the next ones come from memory.

    Lines that are groups of one step size are shrunk while the next one is stepped: if they fit into the cache, the
    step hardly takes longer for it in memory (GroupStep in benchmarks/suite).
    """
    cdef Py_ssize_t line, at, start, size
    cdef Factor own = f
    cdef WithMetric with_metric
    cdef floating* h
    cdef floating* behind = NULL
    cdef floating factor = 1
    cdef double squares
    if Penalty is MCP or Direction is Lion:
        return  # without a meaning
    for line in range(m.lines):
        at = 0
        while at < n:
            size, start = min(n - at, <Py_ssize_t>STRIP), line*m.pitch + at
            if Factor is PerCoordinate:
                own.f = <const floating*>f.f + start
            if m.ahead > 0:
                prefetch_range_level2(<const char*>(g + start + m.ahead), <const char*>(g + start + m.ahead + size))
            if Direction in Adaptive:
                h = <floating*>m.h + line*n + at
                with_metric.h = h
                dense(d, with_metric, p, own, w + start, g + start, a + start, b + start if Direction in HasB else b,
                      c + start if Direction in ThreeStates else c, size)
                clip_strip(&m, w, start, size)
                add_strip(Moments(0), &m, w + start, h, at, size)
            else:
                dense(d, Proximal(0), p, own, w + start, g + start, a + start if Direction in HasA else a, b, c, size)
                clip_strip(&m, w, start, size)
                add_strip(Squares(0), &m, w + start, w, at, size)
                if behind != NULL:
                    multiply_group(behind + at, factor, size)
            at += size
        if m.totals != NULL:
            if Direction in Adaptive:
                fold(Moments(0), m.sums, m.totals + line)
                clear(Moments(0), m.sums, GROUP_LANES, m.sums_pitch)
            else:
                fold(Squares(0), m.sums, m.totals + line)
                clear(Squares(0), m.sums, GROUP_LANES, m.sums_pitch)
        if Direction not in Adaptive and m.shrinks:
            fold(Squares(0), m.sums, &squares)
            clear(Squares(0), m.sums, GROUP_LANES, m.sums_pitch)
            if Factor is PerCoordinate:
                own.f = <const floating*>f.f + line*m.pitch
            factor = even_shrinkage(squares, m.even, <floating>p.l2*factor_at(&own, 0, w),
                                    <floating>m.l21*factor_at(&own, 0, w))
            behind = w + line*m.pitch
    if behind != NULL:
        multiply_group(behind, factor, n)


# -- Of a block -------------------------------------------------------------------------------------------------------

cdef inline bint adds_in_step(const Task* t, Py_ssize_t count) noexcept nogil:
    """Whether a step can add up what it makes: it is what the groups start from, and its lines are not short."""
    return (t.dtype != BFLOAT16 and t.penalty == ELASTIC_NET
            and (t.inner >= 4*CHUNK if t.outer == 1 else t.inner == 1 and count >= CHUNK))


cdef inline WithSums with_sums(const Task* t, const Task* line, Py_ssize_t lines, double* sums) noexcept nogil:
    """For lines of a task, of which `line` is the first. Of rows, sums by lane; of columns, by column."""
    cdef WithSums m
    memset(&m, 0, sizeof(m))
    m.are_groups, m.lines, m.sums = t.outer == 1, lines, sums
    m.pitch, m.sums_pitch = line.n if m.are_groups else t.pitch, GROUP_LANES if m.are_groups else GROUPS_AT_ONCE
    m.low, m.high, m.bound_step = line.low, line.high, line.bound_step
    if max(t.n, t.outer*t.pitch)*bytes_of(t.dtype) > BEYOND_L2:
        m.ahead = <Py_ssize_t>(2*STRIP) if m.are_groups else t.pitch
    return m


cdef void step_and_add(const Task* t, const Piece* p, Block* b, double* lanes, void* h) noexcept nogil:
    """A piece of a block."""
    cdef bint are_rows = t.outer == 1
    cdef Task s = shifted(t, p.start, min(t.inner, p.n) if are_rows else p.n)
    cdef WithSums m = with_sums(t, &s, p.n // s.n if are_rows else p.lines, lanes if are_rows else b.sums)
    if are_rows and t.inner <= p.n:
        m.totals = b.sums
    m.h = h
    s.sums = &m
    with_direction(&s, NULL)


cdef void step_even_rows(const Task* t) noexcept nogil:
    """All rows of a task whose step size is the same for all coordinates, in one pass."""
    cdef Task s = shifted(t, 0, t.inner)
    cdef double[GROUP_LANES] lanes
    cdef WithSums m = with_sums(t, &s, t.groups, lanes)
    memset(lanes, 0, sizeof(lanes))
    m.shrinks, m.even, m.l21 = True, even_metric(t), t.l21
    s.sums = &m
    with_direction(&s, NULL)
