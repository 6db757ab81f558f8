# Layer 2: the second stage of tensors with a group lasso, included by variant.pyx after dense_types.pxi.
#
# First the coordinates' own step, then the sums over a group, then its own proximal step (groups.pxd), while the group
# is still in a cache. Contiguous groups (rows) come one after the other; others (columns) in blocks, line by line.
# The order of a sum depends only on the position in the group, so that slices do not show.

cdef enum:
    HELD = 1024          # coordinates that are worked on at a time
    GROUPS_AT_ONCE = 64  # in a block: a line of it should be some cache lines long
    GROUP_LANES = 8      # partial sums of a group: two vectors of doubles

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

cdef struct Block:  # groups that are worked on at a time, which start where the task does
    Py_ssize_t count                    # of groups
    double[GROUPS_AT_ONCE] strength     # by group: l21 with the factor
    double[GROUPS_AT_ONCE] lowest       # see lowest_norm
    double[GROUPS_AT_ONCE] norm         # after the step; for even step sizes, what the group is multiplied by
    bint[GROUPS_AT_ONCE] is_iterated
    double[MOMENTS*GROUP_LANES*GROUPS_AT_ONCE] sums  # by kind of sum, lane and group


cdef inline Py_ssize_t parts_of(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size


# -- Sums: in lanes by the position in the group, which are added pairwise ---------------------------------------------

cdef inline void add_term(const Sums* _, floating x, floating h, floating t, floating l21, double* sums,
                          Py_ssize_t pitch) noexcept nogil:
    cdef double v
    if Sums is Squares:
        v = x
        sums[0] += v*v
    elif Sums is Moments:
        add_moments(x, h, sums, pitch)
    else:
        add_slopes(x, inverse_norm(h, t, l21), sums, pitch)


cdef void add_row(Sums kind, const floating* x, const floating* h, Py_ssize_t n, floating t, floating l21,
                  double* sums) noexcept nogil:
    """A part of a contiguous group, which starts at a multiple of GROUP_LANES in it."""
    cdef double[MOMENTS*GROUP_LANES] own  # no store to it can change x
    cdef Py_ssize_t i, j
    memcpy(own, sums, sizeof(own))
    for i in range(n // GROUP_LANES):
        for j in range(GROUP_LANES):
            add_term(&kind, x[GROUP_LANES*i + j], h[GROUP_LANES*i + j], t, l21, own + j, GROUP_LANES)
    i = n - n % GROUP_LANES
    for j in range(n % GROUP_LANES):
        add_term(&kind, x[i + j], h[i + j], t, l21, own + j, GROUP_LANES)
    memcpy(sums, own, sizeof(own))


cdef void add_line(Sums kind, const floating* x, const floating* h, const Block* b, Py_ssize_t inner,
                   double* sums) noexcept nogil:
    """A line of a block, in which each group has `inner` coordinates, or a part of the line of a single group."""
    cdef double[MOMENTS*GROUP_LANES] own
    cdef floating[GROUP_LANES] t, l21
    cdef Py_ssize_t part, first, i, j, k, lanes
    for part in range(parts_of(b.count, GROUP_LANES)):
        first = GROUP_LANES*part
        lanes = min(b.count - first, <Py_ssize_t>GROUP_LANES)
        for j in range(lanes):
            t[j], l21[j] = <floating>b.norm[first + j], <floating>b.strength[first + j]
            for k in range(MOMENTS):
                own[GROUP_LANES*k + j] = sums[GROUP_LANES*GROUPS_AT_ONCE*k + first + j]
        if inner == 1 and lanes == GROUP_LANES:
            for j in range(GROUP_LANES):
                add_term(&kind, x[first + j], h[first + j], t[j], l21[j], own + j, GROUP_LANES)
        else:
            for j in range(lanes):
                for i in range(inner*(first + j), inner*(first + j + 1)):
                    add_term(&kind, x[i], h[i], t[j], l21[j], own + j, GROUP_LANES)
        for j in range(lanes):
            for k in range(MOMENTS):
                sums[GROUP_LANES*GROUPS_AT_ONCE*k + first + j] = own[GROUP_LANES*k + j]


cdef inline double add_pairwise(double* lanes) noexcept nogil:
    """The sum of the lanes, which are overwritten."""
    cdef Py_ssize_t half = GROUP_LANES // 2, i
    while half > 0:
        for i in range(half):
            lanes[i] += lanes[i + half]
        half //= 2
    return lanes[0]


cdef void fold(const Task* t, Block* b, Py_ssize_t j, double* total) noexcept nogil:
    """The sums of group j."""
    cdef Py_ssize_t pitch = 1 if t.outer == 1 else GROUPS_AT_ONCE
    cdef double[GROUP_LANES] lanes
    cdef Py_ssize_t i, k
    for k in range(MOMENTS):
        for i in range(GROUP_LANES):
            lanes[i] = b.sums[pitch*(GROUP_LANES*k + i) + j]
        total[k] = add_pairwise(lanes)


# -- The metric -------------------------------------------------------------------------------------------------------

cdef void fill_with_metric(const Adaptive* d, const floating* squares, Py_ssize_t n, floating* h) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        h[i] = metric(d, squares[i])


cdef void add_l2(const Task* t, floating* h) noexcept nogil:
    cdef floating l2 = <floating>t.p.elastic_net.l2
    cdef const floating* f = <const floating*>t.f
    cdef Py_ssize_t i
    if l2 != 0 and f == NULL:
        for i in range(t.n):
            h[i] = h[i] + l2
    elif l2 != 0:
        for i in range(t.n):
            h[i] = h[i] + l2*f[i]


cdef void fill_metric(const Task* t, floating* h) noexcept nogil:
    if t.direction == ADAGRAD:
        fill_with_metric(&t.d.adagrad, <const floating*>t.a, t.n, h)
    elif t.direction == RMSPROP:
        fill_with_metric(&t.d.rmsprop, <const floating*>t.a, t.n, h)
    elif t.direction == ADAM:
        fill_with_metric(&t.d.adam, <const floating*>t.b, t.n, h)
    elif t.direction == AMSGRAD:
        fill_with_metric(&t.d.amsgrad, <const floating*>t.c, t.n, h)
    elif t.direction == FTRL_PROXIMAL:
        fill_with_metric(&t.d.ftrl, <const floating*>t.b, t.n, h)
    add_l2(t, h)


cdef double even_metric(const Task* t) noexcept nogil:
    """The inverse of the step size if it is the same for all coordinates, else 0."""
    if t.direction == PLAIN:
        return 1/t.d.plain.lr
    elif t.direction == MOMENTUM:
        return 1/t.d.momentum.eta
    elif t.direction == NESTEROV:
        return 1/t.d.nesterov.eta
    return 0


# -- One block --------------------------------------------------------------------------------------------------------

cdef floating* load(const Task* t, Py_ssize_t start, Py_ssize_t n, floating* x_, floating* h_) noexcept nogil:
    """The weights of the n coordinates from `start`, for bfloat16 in x_, and their metric in h_ unless it is even."""
    cdef Task s = shifted(t, start, n)
    if even_metric(t) == 0:
        fill_metric(&s, h_)
    if floating is float and t.dtype == BFLOAT16:
        bf16_to_f32(<const bfloat16*>s.w, x_, n)
        return x_
    return <floating*>s.w


cdef void add_block(Sums kind, const Task* t, Block* b, floating* x_, floating* h_) noexcept nogil:
    """The sums of all groups of a block. If x_ and h_ hold a whole block, later passes find it there."""
    cdef Py_ssize_t line, part, start, n, width = b.count*t.inner
    cdef bint is_held = Sums is Slopes and t.outer == 1 and width <= HELD
    cdef floating* x = x_ if floating is float and t.dtype == BFLOAT16 else <floating*>t.w
    memset(b.sums, 0, sizeof(double)*MOMENTS*GROUP_LANES*(1 if t.outer == 1 else GROUPS_AT_ONCE))
    for line in range(t.outer):
        for part in range(parts_of(width, HELD)):
            start = HELD*part
            n = min(width - start, <Py_ssize_t>HELD)
            if not is_held:
                x = load(t, line*t.pitch + start, n, x_, h_)
            if t.outer == 1:
                add_row(kind, x, h_, n, <floating>b.norm[0], <floating>b.strength[0], b.sums)
            else:
                add_line(kind, x, h_, b, min(t.inner, n), b.sums + GROUPS_AT_ONCE*(line % GROUP_LANES))


cdef void shrink_line(const Block* b, bint is_even, Py_ssize_t inner, Py_ssize_t n, floating* x,
                      const floating* h) noexcept nogil:
    """The step of n coordinates, in groups of `inner`."""
    cdef floating t, l21
    cdef Py_ssize_t i, j
    for j in range(n // inner):
        t, l21 = <floating>b.norm[j], <floating>b.strength[j]
        if is_even:
            for i in range(inner*j, inner*(j + 1)):
                x[i] = x[i]*t if t != 0 else <floating>0
        else:
            for i in range(inner*j, inner*(j + 1)):
                x[i] = shrunk(x[i], inverse_norm(h[i], t, l21), t)


cdef void shrink_columns(const Block* b, bint is_even, floating* x, const floating* h) noexcept nogil:
    """The same for a line of groups of one coordinate."""
    cdef floating[GROUPS_AT_ONCE] t, l21, z
    cdef Py_ssize_t j
    for j in range(b.count):
        t[j], l21[j] = <floating>b.norm[j], <floating>b.strength[j]
    if is_even:
        for j in range(b.count):
            z[j] = x[j]*t[j] if t[j] != 0 else <floating>0
    else:
        for j in range(b.count):
            z[j] = shrunk(x[j], inverse_norm(h[j], t[j], l21[j]), t[j])
    memcpy(x, z, b.count*sizeof(floating))


cdef void shrink_block(const Task* t, Block* b, floating* x_, floating* h_) noexcept nogil:
    cdef Py_ssize_t line, part, start, n, width = b.count*t.inner
    cdef bint is_even = even_metric(t) != 0
    cdef bint is_held = t.outer == 1 and width <= HELD
    cdef floating* x = x_ if floating is float and t.dtype == BFLOAT16 else <floating*>t.w
    for line in range(t.outer):
        for part in range(parts_of(width, HELD)):
            start = HELD*part
            n = min(width - start, <Py_ssize_t>HELD)
            if not is_held:
                x = load(t, line*t.pitch + start, n, x_, h_)
            if t.inner == 1:
                shrink_columns(b, is_even, x, h_)
            else:
                shrink_line(b, is_even, min(t.inner, n), n, x, h_)
            if floating is float and t.dtype == BFLOAT16:
                f32_to_bf16(x_, <bfloat16*>t.w + line*t.pitch + start, n)


cdef void set_strengths(const Task* t, Block* b, const floating* f) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(b.count):
        b.strength[j] = <floating>t.l21*(f[j*t.inner] if f != NULL else <floating>1)


cdef bint start_block(const Task* t, Block* b) noexcept nogil:
    """From the moments to a first guess of each norm; whether any must be improved."""
    cdef double[MOMENTS] moments
    cdef Py_ssize_t j
    cdef bint any_iterated = False
    for j in range(b.count):
        fold(t, b, j, moments)
        b.lowest[j] = lowest_norm(moments, b.strength[j]) if b.strength[j] != 0 else INFINITY
        b.is_iterated[j] = 0 < b.lowest[j] < INFINITY
        b.norm[j] = first_norm(moments, b.lowest[j], b.strength[j]) if b.is_iterated[j] else b.lowest[j]
        any_iterated |= b.is_iterated[j]
    return any_iterated


cdef bint improve_block(const Task* t, Block* b, double tolerance) noexcept nogil:
    """An iteration of each norm; whether any must be improved further."""
    cdef double[MOMENTS] slopes
    cdef Py_ssize_t j
    cdef bint any_iterated = False
    for j in range(b.count):
        if b.is_iterated[j]:
            fold(t, b, j, slopes)
            b.is_iterated[j] = is_improved(&b.norm[j], slopes, b.lowest[j], tolerance)
            any_iterated |= b.is_iterated[j]
    return any_iterated


cdef void step_block(const Task* t, Py_ssize_t count, const floating* f) noexcept nogil:
    """The groups' own step of the first groups of a task; `f` also says the type of the arithmetic."""
    cdef floating[HELD + PADDING] x_
    cdef floating[HELD + PADDING] h_
    cdef double[MOMENTS] total
    cdef double h = even_metric(t), l2
    cdef Block b
    cdef Py_ssize_t j, iteration
    b.count = count
    set_strengths(t, &b, f)
    if h != 0:
        add_block(Squares(0), t, &b, x_, h_)
        for j in range(count):
            fold(t, &b, j, total)
            b.norm[j] = 1
            if b.strength[j] != 0:
                l2 = <floating>t.p.elastic_net.l2*(f[j*t.inner] if f != NULL else <floating>1)
                b.norm[j] = even_factor(sqrt(total[0]), h + l2, b.strength[j])
    else:
        add_block(Moments(0), t, &b, x_, h_)
        if start_block(t, &b):
            for iteration in range(MOST_ITERATIONS):
                add_block(Slopes(0), t, &b, x_, h_)
                if not improve_block(t, &b, 1e-9 if floating is float else 1e-16):
                    break
    shrink_block(t, &b, x_, h_)


# -- All blocks -------------------------------------------------------------------------------------------------------

cdef void update_groups(Task* t) noexcept nogil:
    """A step of a task with l21."""
    cdef Py_ssize_t at_once = max(min(HELD // max(t.inner, 1), <Py_ssize_t>GROUPS_AT_ONCE), 1)
    cdef Py_ssize_t part, first, count, line
    cdef Task s
    for part in range(parts_of(t.groups, at_once)):
        first = at_once*part
        count = min(t.groups - first, at_once)
        for line in range(t.outer):
            s = shifted(t, line*t.pitch + first*t.inner, count*t.inner)
            update_coordinates(&s)
        if t.d.plain.lr != 0:  # else nothing moves
            s = shifted(t, first*t.inner, t.n)
            if t.outer > 1:
                step_blocks(&s, count)
            else:
                for line in range(count):
                    s = shifted(t, (first + line)*t.inner, t.inner)
                    step_blocks(&s, 1)


cdef void step_blocks(const Task* t, Py_ssize_t count) noexcept nogil:
    if t.dtype == FLOAT64:
        step_block(t, count, <const double*>t.f)
    else:
        step_block(t, count, <const float*>t.f)


cdef double group_values(const Task* t) noexcept nogil:
    """The value of l21·Σ‖group‖."""
    cdef double total = 0
    cdef Py_ssize_t first, count
    cdef Task s
    for first in range(t.groups):
        s = shifted(t, first*t.inner, t.inner)
        if t.dtype == FLOAT64:
            total += group_value(&s, <const double*>s.f)
        else:
            total += group_value(&s, <const float*>s.f)
    return total


cdef double group_value(const Task* t, const floating* f) noexcept nogil:
    cdef floating[HELD] x_
    cdef double[MOMENTS] total
    cdef Block b
    cdef Task s = t[0]
    s.direction, s.d.plain.lr = PLAIN, 1  # so that no metric is asked for
    b.count = 1
    add_block(Squares(0), &s, &b, x_, x_)
    fold(&s, &b, 0, total)
    return t.l21*(f[0] if f != NULL else <floating>1)*sqrt(total[0])
