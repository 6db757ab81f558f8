# Layer 2: the second stage of tensors with a group lasso, included by variant.pyx after dense_types.pxi.
#
# First the coordinates' own step, then the sums over a group, then its own proximal step (groups.pxd), while the group
# is still in a cache. Contiguous groups (rows) come one after the other. Others (columns) come in blocks, some lines of
# which are copied and worked on at a time, since the lines themselves may lie a power of two apart.
# The order of a sum depends only on the position in the group, so that slices do not show.

cdef enum:
    HELD = 2048            # coordinates that are worked on at a time
    GROUPS_AT_ONCE = 1024  # in a block: its lines should be long, since memory comes faster in a row
    GROUP_LANES = 16       # partial sums of a contiguous group; with 8, gcc keeps them in memory
    TILES = 64             # of GROUP_LANES groups in a block

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

cdef struct Tile:  # sums of 16 groups, or of one contiguous group in lanes
    double[GROUP_LANES] first
    double[GROUP_LANES] second
    double[GROUP_LANES] third

cdef struct Block:  # groups that are worked on at a time
    Py_ssize_t count                # of groups
    double[GROUPS_AT_ONCE] strength  # by group: l21 with the factor
    double[GROUPS_AT_ONCE] norm      # after the step; for even step sizes, what the group is multiplied by
    bint[GROUPS_AT_ONCE] iterated    # whether the norm is still searched
    Tile[TILES] sums


cdef inline Py_ssize_t parts_of(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size


# -- Sums -------------------------------------------------------------------------------------------------------------

cdef inline void add_term(const Sums* _, floating x, floating h, floating t, floating l21, double* first,
                          double* second, double* third) noexcept nogil:
    cdef double v
    if Sums is Squares:
        v = x
        first[0] += v*v
    elif Sums is Moments:
        add_moments(x, h, first, second, third)
    else:
        add_slopes(x, inverse_norm(h, t, l21), first, second, third)


cdef void add_tile(Sums kind, const floating* x, const floating* h, Py_ssize_t lines, Py_ssize_t pitch,
                   const floating* t, const floating* l21, Tile* sums) noexcept nogil:
    """Lines of GROUP_LANES coordinates, `pitch` apart, each added to the sum of its lane."""
    cdef double[GROUP_LANES] first, second, third  # no store to them can change x
    cdef Py_ssize_t i, j
    first = sums.first
    if Sums is not Squares:
        second, third = sums.second, sums.third
    for i in range(lines):
        for j in range(GROUP_LANES):
            add_term(&kind, x[pitch*i + j], h[pitch*i + j], t[j], l21[j], first + j, second + j, third + j)
    sums.first = first
    if Sums is not Squares:
        sums.second, sums.third = second, third


cdef void add_row(Sums kind, const floating* x, const floating* h, Py_ssize_t n, floating t, floating l21,
                  Tile* sums) noexcept nogil:
    """A part of a contiguous group, which starts at a multiple of GROUP_LANES in it."""
    cdef floating[GROUP_LANES] t_, l21_
    cdef Py_ssize_t j, rest = n % GROUP_LANES, start = n - n % GROUP_LANES
    for j in range(GROUP_LANES):
        t_[j], l21_[j] = t, l21
    add_tile(kind, x, h, n // GROUP_LANES, GROUP_LANES, t_, l21_, sums)
    for j in range(rest):
        add_term(&kind, x[start + j], h[start + j], t, l21, sums.first + j, sums.second + j, sums.third + j)


cdef void add_lines(Sums kind, const floating* x, const floating* h, Py_ssize_t lines, Py_ssize_t inner,
                    Block* b) noexcept nogil:
    """Lines of a block, in which each group has `inner` coordinates."""
    cdef floating[GROUPS_AT_ONCE] t, l21
    cdef Py_ssize_t line, tile, i, j, width = b.count*inner, tiles = b.count // GROUP_LANES if inner == 1 else 0
    cdef Tile* s
    for j in range(b.count):
        t[j], l21[j] = <floating>b.norm[j], <floating>b.strength[j]
    for tile in range(tiles):
        j = GROUP_LANES*tile
        add_tile(kind, x + j, h + j, lines, width, t + j, l21 + j, &b.sums[tile])
    for j in range(GROUP_LANES*tiles, b.count):
        s, i = &b.sums[j // GROUP_LANES], j % GROUP_LANES
        add_column(kind, x + j*inner, h + j*inner, lines, width, inner, t[j], l21[j], s.first + i, s.second + i,
                   s.third + i)


cdef void add_column(Sums kind, const floating* x, const floating* h, Py_ssize_t lines, Py_ssize_t pitch,
                     Py_ssize_t inner, floating t, floating l21, double* first, double* second,
                     double* third) noexcept nogil:
    cdef Py_ssize_t line, i
    for line in range(lines):
        for i in range(pitch*line, pitch*line + inner):
            add_term(&kind, x[i], h[i], t, l21, first, second, third)


cdef inline double add_pairwise(double* lanes) noexcept nogil:
    """The sum of the lanes, which are overwritten."""
    cdef Py_ssize_t half = GROUP_LANES // 2, i
    while half > 0:
        for i in range(half):
            lanes[i] += lanes[i + half]
        half //= 2
    return lanes[0]


cdef void fold(const Task* t, const Block* b, Py_ssize_t j, double* total) noexcept nogil:
    """The sums of group j."""
    cdef Tile s = b.sums[j // GROUP_LANES]
    j %= GROUP_LANES
    total[0], total[1], total[2] = s.first[j], s.second[j], s.third[j]
    if t.outer == 1:
        total[0], total[1], total[2] = add_pairwise(s.first), add_pairwise(s.second), add_pairwise(s.third)


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

cdef floating* load(const Task* t, Py_ssize_t start, Py_ssize_t lines, Py_ssize_t n, floating* x_,
                    floating* h_) noexcept nogil:
    """Lines of n weights, where they lie or copied to x_, and in h_ their metric unless it is even."""
    cdef Py_ssize_t line
    cdef Task s
    for line in range(lines):
        s = shifted(t, start + line*t.pitch, n)
        if even_metric(t) == 0:
            fill_metric(&s, h_ + line*n)
        if floating is float and t.dtype == BFLOAT16:
            bf16_to_f32(<const bfloat16*>s.w, x_ + line*n, n)
        elif t.outer > 1:
            memcpy(x_ + line*n, s.w, n*sizeof(floating))
        else:
            return <floating*>s.w
    return x_


cdef void store(const Task* t, Py_ssize_t start, Py_ssize_t lines, Py_ssize_t n, const floating* x) noexcept nogil:
    """Puts lines of n weights back, if they are a copy."""
    cdef Py_ssize_t line
    cdef Task s
    for line in range(lines):
        s = shifted(t, start + line*t.pitch, n)
        if floating is float and t.dtype == BFLOAT16:
            f32_to_bf16(x + line*n, <bfloat16*>s.w, n)
        elif t.outer > 1:
            memcpy(s.w, x + line*n, n*sizeof(floating))


cdef struct Piece:  # of a block: lines of n coordinates, at most HELD in all
    Py_ssize_t start
    Py_ssize_t lines
    Py_ssize_t n


cdef bint next_piece(const Task* t, Py_ssize_t width, Py_ssize_t* line, Py_ssize_t* at, Piece* piece) noexcept nogil:
    """The piece at this line and position, and then those of the next one; False after the last one."""
    if line[0] >= t.outer or width == 0:
        return False
    piece.start = line[0]*t.pitch + at[0]
    piece.n = min(width - at[0], <Py_ssize_t>HELD)
    piece.lines = min(t.outer - line[0], max(HELD // width, <Py_ssize_t>1))
    at[0] += piece.n
    if at[0] == width:
        at[0], line[0] = 0, line[0] + piece.lines
    return True


cdef void step_piece(const Task* t, const Piece* piece) noexcept nogil:
    """The coordinates' own step."""
    cdef Py_ssize_t line, lines = piece.lines, n = piece.n
    cdef Task s
    if n == t.pitch:
        lines, n = 1, lines*n
    for line in range(lines):
        s = shifted(t, piece.start + line*t.pitch, n)
        update_coordinates(&s)


cdef void add_block(Sums kind, const Task* t, Block* b, bint steps, floating* x_, floating* h_) noexcept nogil:
    """The sums of all groups of a block, if `steps` after the coordinates' own step.

    What an earlier pass has loaded stays if it is the whole block.
    """
    cdef Py_ssize_t line = 0, at = 0
    cdef bint is_loaded = Sums is Slopes and t.outer*b.count*t.inner <= HELD
    cdef floating* x = x_ if t.outer > 1 or (floating is float and t.dtype == BFLOAT16) else <floating*>t.w
    cdef Piece piece
    memset(b.sums, 0, sizeof(Tile)*parts_of(b.count, GROUP_LANES))
    while next_piece(t, b.count*t.inner, &line, &at, &piece):
        if steps:
            step_piece(t, &piece)
        if not is_loaded:
            x = load(t, piece.start, piece.lines, piece.n, x_, h_)
        if t.outer == 1:
            add_row(kind, x, h_, piece.n, <floating>b.norm[0], <floating>b.strength[0], b.sums)
        else:
            add_lines(kind, x, h_, piece.lines, piece.n // b.count, b)


cdef void shrink_block(const Task* t, Block* b, floating* x_, floating* h_) noexcept nogil:
    cdef Py_ssize_t line = 0, at = 0
    cdef bint is_even = even_metric(t) != 0
    cdef bint is_loaded = t.outer*b.count*t.inner <= HELD
    cdef floating* x = x_ if t.outer > 1 or (floating is float and t.dtype == BFLOAT16) else <floating*>t.w
    cdef Piece piece
    while next_piece(t, b.count*t.inner, &line, &at, &piece):
        if not is_loaded:
            x = load(t, piece.start, piece.lines, piece.n, x_, h_)
        if is_even:
            multiply(b, x, piece.lines, piece.n // b.count)
        else:
            shrink(b, x, h_, piece.lines, piece.n // b.count)
        store(t, piece.start, piece.lines, piece.n, x)


cdef void multiply(const Block* b, floating* x, Py_ssize_t lines, Py_ssize_t inner) noexcept nogil:
    """Each group by its factor."""
    cdef floating[GROUPS_AT_ONCE] t
    cdef Py_ssize_t line, i, j
    cdef floating* row
    for j in range(b.count):
        t[j] = <floating>b.norm[j]
    for line in range(lines):
        row = x + line*b.count*inner
        if inner == 1:
            for j in range(b.count):
                row[j] = row[j]*t[j] if t[j] != 0 else <floating>0
        else:
            for j in range(b.count):
                for i in range(inner*j, inner*(j + 1)):
                    row[i] = row[i]*t[j] if t[j] != 0 else <floating>0


cdef void shrink(const Block* b, floating* x, const floating* h, Py_ssize_t lines, Py_ssize_t inner) noexcept nogil:
    """Each group to its norm."""
    cdef floating[GROUPS_AT_ONCE] t, l21
    cdef Py_ssize_t line, start, i, j
    for j in range(b.count):
        t[j], l21[j] = <floating>b.norm[j], <floating>b.strength[j]
    for line in range(lines):
        start = line*b.count*inner
        if inner == 1:
            for j in range(b.count):
                i = start + j
                x[i] = shrunk(x[i], inverse_norm(h[i], t[j], l21[j]), t[j])
        else:
            for j in range(b.count):
                for i in range(start + inner*j, start + inner*(j + 1)):
                    x[i] = shrunk(x[i], inverse_norm(h[i], t[j], l21[j]), t[j])


cdef void set_strengths(const Task* t, Block* b, const floating* f) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(b.count):
        b.norm[j] = 0
        b.strength[j] = <floating>t.l21*(f[j*t.inner] if f != NULL else <floating>1)


cdef bint start_block(const Task* t, Block* b) noexcept nogil:
    """From the moments to a first guess of each norm; whether any must be improved."""
    cdef double[GROUP_SUMS] moments
    cdef Py_ssize_t j
    cdef bint any_iterated = False
    for j in range(b.count):
        fold(t, b, j, moments)
        b.iterated[j] = b.strength[j] != 0 and is_iterated(moments, b.strength[j])
        b.norm[j] = first_norm(moments, b.strength[j]) if b.strength[j] != 0 else INFINITY
        any_iterated |= b.iterated[j]
    return any_iterated


cdef bint improve_block(const Task* t, Block* b, double tolerance) noexcept nogil:
    """An iteration of each norm; whether any must be improved further."""
    cdef double[GROUP_SUMS] slopes
    cdef Py_ssize_t j
    cdef bint any_iterated = False
    for j in range(b.count):
        if b.iterated[j]:
            fold(t, b, j, slopes)
            b.iterated[j] = is_improved(&b.norm[j], slopes, tolerance)
            any_iterated |= b.iterated[j]
    return any_iterated


cdef void step_block(const Task* t, Py_ssize_t count, bint steps, const floating* f) noexcept nogil:
    """The groups' own step of the first groups of a task, and if `steps` that of their coordinates before it.

    `f` also says the type of the arithmetic.
    """
    cdef floating[HELD + PADDING] x_
    cdef floating[HELD + PADDING] h_
    cdef double[GROUP_SUMS] total
    cdef double h = even_metric(t), l2
    cdef Block b
    cdef Py_ssize_t j, iteration
    b.count = count
    set_strengths(t, &b, f)
    if h != 0:
        add_block(Squares(0), t, &b, steps, x_, h_)
        for j in range(count):
            fold(t, &b, j, total)
            b.norm[j] = 1
            if b.strength[j] != 0:
                l2 = <floating>t.p.elastic_net.l2*(f[j*t.inner] if f != NULL else <floating>1)
                b.norm[j] = even_factor(sqrt(total[0]), h + l2, b.strength[j])
    else:
        add_block(Moments(0), t, &b, steps, x_, h_)
        if start_block(t, &b):
            for iteration in range(MOST_ITERATIONS):
                add_block(Slopes(0), t, &b, False, x_, h_)
                if not improve_block(t, &b, 1e-9 if floating is float else 1e-16):
                    break
    shrink_block(t, &b, x_, h_)


# -- All blocks -------------------------------------------------------------------------------------------------------

cdef void update_groups(Task* t) noexcept nogil:
    """A step of a task with l21."""
    cdef Py_ssize_t at_once = max(min(HELD // max(t.inner, 1), <Py_ssize_t>GROUPS_AT_ONCE), 1)
    cdef Py_ssize_t part, first, count, group, line
    cdef Task s
    if t.n == 0:
        return
    if t.d.plain.lr == 0:  # no weight moves
        for line in range(t.outer):
            s = shifted(t, line*t.pitch, t.groups*t.inner)
            update_coordinates(&s)
        return
    for part in range(parts_of(t.groups, at_once)):
        first = at_once*part
        count = min(t.groups - first, at_once)
        if t.outer > 1 or t.inner > HELD:
            step_groups(t, first, count, True)
        else:
            s = shifted(t, first*t.inner, count*t.inner)
            update_coordinates(&s)
            for group in range(first, first + count):
                step_groups(t, group, 1, False)


cdef void step_groups(const Task* t, Py_ssize_t first, Py_ssize_t count, bint steps) noexcept nogil:
    cdef Task s = shifted(t, first*t.inner, t.n)
    if s.dtype == FLOAT64:
        step_block(&s, count, steps, <const double*>s.f)
    else:
        step_block(&s, count, steps, <const float*>s.f)


cdef double group_values(const Task* t) noexcept nogil:
    """The value of l21·Σ‖group‖."""
    cdef double total = 0
    cdef Py_ssize_t first
    cdef Task s
    for first in range(t.groups if t.n > 0 else 0):
        s = shifted(t, first*t.inner, t.n)
        if t.dtype == FLOAT64:
            total += group_value(&s, <const double*>s.f)
        else:
            total += group_value(&s, <const float*>s.f)
    return total


cdef double group_value(const Task* t, const floating* f) noexcept nogil:
    cdef floating[HELD] x_
    cdef double[GROUP_SUMS] total
    cdef Block b
    cdef Task s = t[0]
    s.direction, s.d.plain.lr = PLAIN, 1  # so that no metric is asked for
    b.count = 1
    add_block(Squares(0), &s, &b, False, x_, x_)
    fold(&s, &b, 0, total)
    return t.l21*(f[0] if f != NULL else <floating>1)*sqrt(total[0])
