# Layer 2: what a pass over groups adds up, and the metric, included by variant.pyx before groups.pxi.
#
# The order of a sum depends only on the position in the group and the number of its lines, so that slices do not show.

cdef enum:
    HELD = 2048            # coordinates that are worked on at a time
    STRIP = 256            # coordinates between two prefetches, or between two loops of a pass
    GROUPS_AT_ONCE = 2048  # in a block: its lines should be long, since memory comes faster in a row
    GROUP_LANES = 16       # partial sums of a contiguous group; with 8, gcc keeps them in memory

cdef struct Squares:  # what a pass adds up: for norms,
    char tag

cdef struct Moments:  # for the first guess of a norm,
    char tag

cdef struct Slopes:  # and for an iteration; see groups.pxd
    char tag

ctypedef fused Sums:
    Squares
    Moments
    Slopes

cdef struct Block:  # groups that are worked on at a time
    Py_ssize_t count               # of groups
    bint is_held                   # whether what a pass has loaded is there for the next one
    double[GROUPS_AT_ONCE] norm    # after the step
    double[GROUPS_AT_ONCE] least   # of h
    bint[GROUPS_AT_ONCE] iterated  # whether the norm is still searched
    double[GROUP_SUMS*GROUPS_AT_ONCE] sums  # the first one of all groups, then the second


cdef inline Py_ssize_t parts_of(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size


cdef struct Piece:  # of a block: lines of n coordinates, at most HELD in all
    Py_ssize_t start
    Py_ssize_t lines
    Py_ssize_t n
    Py_ssize_t pitch  # from line to line of the weights, where they lie or as a copy


# -- Sums -------------------------------------------------------------------------------------------------------------

cdef inline void clear(Sums _, double* sums, Py_ssize_t count, Py_ssize_t pitch) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(1 if Sums is Squares else GROUP_SUMS):
        memset(sums + j*pitch, 0, count*sizeof(double))
    if Sums is Moments:
        for j in range(count):
            sums[2*pitch + j] = INFINITY


cdef inline void add_tile(Sums _, const floating* x, const floating* h, Py_ssize_t lines, floating t, floating l21,
                          double* sums) noexcept nogil:
    """Lines of GROUP_LANES coordinates, each added to the sum of its lane."""
    cdef double[GROUP_LANES] first, second, third  # no store to them can change x
    cdef floating[GROUP_LANES] least
    cdef double v
    cdef Py_ssize_t i, j
    for j in range(GROUP_LANES):
        first[j] = sums[j]
        if Sums is not Squares:
            second[j] = sums[GROUP_LANES + j]
        if Sums is Moments:
            least[j] = <floating>sums[2*GROUP_LANES + j]
        elif Sums is Slopes:
            third[j] = sums[2*GROUP_LANES + j]
    for i in range(lines):
        for j in range(GROUP_LANES):
            if Sums is Squares:
                v = x[GROUP_LANES*i + j]
                first[j] += v*v
            elif Sums is Moments:
                add_moments(x[GROUP_LANES*i + j], h[GROUP_LANES*i + j], first + j, second + j)
                least[j] = h[GROUP_LANES*i + j] if h[GROUP_LANES*i + j] < least[j] else least[j]
            else:
                add_slopes(x[GROUP_LANES*i + j], inverse_norm(h[GROUP_LANES*i + j], t, l21), first + j, second + j,
                           third + j)
    for j in range(GROUP_LANES):
        sums[j] = first[j]
        if Sums is not Squares:
            sums[GROUP_LANES + j] = second[j]
        if Sums is Moments:
            sums[2*GROUP_LANES + j] = least[j]
        elif Sums is Slopes:
            sums[2*GROUP_LANES + j] = third[j]


cdef inline void add_one(Sums _, floating x, floating h, floating t, floating l21, double* sums,
                         Py_ssize_t pitch) noexcept nogil:
    cdef double v
    if Sums is Squares:
        v = x
        sums[0] += v*v
    elif Sums is Moments:
        add_moments(x, h, sums, sums + pitch)
        sums[2*pitch] = h if h < sums[2*pitch] else sums[2*pitch]
    else:
        add_slopes(x, inverse_norm(h, t, l21), sums, sums + pitch, sums + 2*pitch)


cdef void add_row(Sums kind, const floating* x, const floating* h, Py_ssize_t n, floating t, floating l21,
                  double* lanes) noexcept nogil:
    """A part of a contiguous group, which starts at a multiple of GROUP_LANES in it."""
    cdef Py_ssize_t j, start = n - n % GROUP_LANES
    add_tile(kind, x, h, n // GROUP_LANES, t, l21, lanes)
    for j in range(n % GROUP_LANES):
        add_one(kind, x[start + j], h[start + j], t, l21, lanes + j, GROUP_LANES)


cdef void add_line(Sums kind, const floating* x, const floating* h, Py_ssize_t n, const floating* t,
                   const floating* l21, double* sums) noexcept nogil:
    """A coordinate of each of n groups."""
    cdef Py_ssize_t j
    for j in range(n):
        add_one(kind, x[j], h[j], t[j], l21[j], sums + j, GROUPS_AT_ONCE)


cdef void add_column(Sums kind, const floating* x, const floating* h, const Piece* p, Py_ssize_t inner, floating t,
                     floating l21, double* sums) noexcept nogil:
    """The lines of a piece, in which the group has `inner` coordinates each."""
    cdef Py_ssize_t line, i
    for line in range(p.lines):
        for i in range(inner):
            add_one(kind, x[p.pitch*line + i], h[p.n*line + i], t, l21, sums, GROUPS_AT_ONCE)


cdef inline double add_pairwise(double* lanes) noexcept nogil:
    """The sum of the lanes, which are overwritten."""
    cdef Py_ssize_t half = GROUP_LANES // 2, i
    while half > 0:
        for i in range(half):
            lanes[i] += lanes[i + half]
        half //= 2
    return lanes[0]


cdef inline void fold(Sums _, double* lanes, double* sums) noexcept nogil:
    """The sums of a contiguous group from its lanes."""
    cdef Py_ssize_t i
    sums[0] = add_pairwise(lanes)
    if Sums is not Squares:
        sums[GROUPS_AT_ONCE] = add_pairwise(lanes + GROUP_LANES)
    if Sums is Slopes:
        sums[2*GROUPS_AT_ONCE] = add_pairwise(lanes + 2*GROUP_LANES)
    elif Sums is Moments:
        lanes += 2*GROUP_LANES
        for i in range(1, GROUP_LANES):
            lanes[0] = min(lanes[0], lanes[i])
        sums[2*GROUPS_AT_ONCE] = lanes[0]


cdef void add_sums(Sums _, const double* part, Py_ssize_t pitch, Py_ssize_t n, double* sums) noexcept nogil:
    """Adds those of a part of each of n groups."""
    cdef Py_ssize_t j
    for j in range(n):
        sums[j] += part[j]
    if Sums is not Squares:
        for j in range(n):
            sums[GROUPS_AT_ONCE + j] += part[pitch + j]
    if Sums is Slopes:
        for j in range(n):
            sums[2*GROUPS_AT_ONCE + j] += part[2*pitch + j]
    elif Sums is Moments:
        for j in range(n):
            sums[2*GROUPS_AT_ONCE + j] = min(part[2*pitch + j], sums[2*GROUPS_AT_ONCE + j])


# -- The metric -------------------------------------------------------------------------------------------------------

cdef void fill_with_metric(const Adaptive* d, const Task* t, floating* h) noexcept nogil:
    cdef const floating* squares = squares_of(d, <const floating*>t.a, <const floating*>t.b, <const floating*>t.c)
    cdef const floating* f = <const floating*>t.f
    cdef floating l2 = <floating>t.p.elastic_net.l2
    cdef Py_ssize_t i
    if f == NULL:
        for i in range(t.n):
            h[i] = metric(d, squares[i], l2)
    else:
        for i in range(t.n):
            h[i] = metric(d, squares[i], l2*f[i])


cdef void fill_metric(const Task* t, floating* h) noexcept nogil:
    if t.direction == ADAGRAD:
        fill_with_metric(&t.d.adagrad, t, h)
    elif t.direction == RMSPROP:
        fill_with_metric(&t.d.rmsprop, t, h)
    elif t.direction == ADAM:
        fill_with_metric(&t.d.adam, t, h)
    elif t.direction == AMSGRAD:
        fill_with_metric(&t.d.amsgrad, t, h)
    elif t.direction == FTRL_PROXIMAL:
        fill_with_metric(&t.d.ftrl, t, h)


cdef double even_metric(const Task* t) noexcept nogil:
    """The inverse of the step size if it is the same for all coordinates, else 0."""
    if t.direction == PLAIN:
        return 1/t.d.plain.lr
    elif t.direction == MOMENTUM:
        return 1/t.d.momentum.eta
    elif t.direction == NESTEROV:
        return 1/t.d.nesterov.eta
    return 0
