# Layer 2: the second stage of tensors with a group lasso, included by variant.pyx after group_steps.pxi.
#
# First the coordinates' own step, then the sums over a group, then its own proximal step (groups.pxd), while the group
# is still in a cache. Rows of one step size need a single pass, step_even_rows. Others come in blocks: contiguous
# groups (rows) until HELD coordinates are together, others (columns) side by side, and their lines in pieces.

# -- One block --------------------------------------------------------------------------------------------------------

cdef Py_ssize_t pieces_of(const Task* t, Py_ssize_t width) noexcept nogil:
    """The number of pieces of a block whose lines have this width."""
    return parts_of(t.outer, max(HELD // width, <Py_ssize_t>1))*parts_of(width, HELD) if width > 0 else 0


cdef Piece piece_of(const Task* t, Py_ssize_t width, Py_ssize_t k) noexcept nogil:
    """Several lines, or a part of a long one."""
    cdef Py_ssize_t lines = max(HELD // width, <Py_ssize_t>1), parts = parts_of(width, HELD)
    cdef Py_ssize_t line = k // parts*lines, at = k % parts*HELD
    cdef Piece piece
    piece.start = line*t.pitch + at
    piece.n = min(width - at, <Py_ssize_t>HELD)
    piece.lines = min(t.outer - line, lines)
    piece.pitch = piece.n if t.dtype == BFLOAT16 else t.pitch
    return piece


cdef Piece joined(const Task* t, const Piece* piece) noexcept nogil:
    """The same coordinates as a single line, if they are contiguous."""
    cdef Piece p = piece[0]
    if p.n == t.pitch:
        p.lines, p.n = 1, p.lines*p.n
    return p


cdef void step_piece(const Task* t, const Piece* piece) noexcept nogil:
    """The coordinates' own step."""
    cdef Piece p = joined(t, piece)
    cdef Py_ssize_t line
    cdef Task s
    for line in range(p.lines):
        s = shifted(t, p.start + line*t.pitch, p.n)
        update_coordinates(&s)


cdef floating* load(const Task* t, const Piece* piece, floating* x_, floating* h_) noexcept nogil:
    """The weights, where they lie or as float32 in x_, and in h_ their metric unless it is even."""
    cdef Piece p = joined(t, piece)
    cdef Py_ssize_t line
    cdef Task s
    for line in range(p.lines):
        s = shifted(t, p.start + line*t.pitch, p.n)
        if even_metric(t) == 0:
            fill_metric(&s, h_ + line*p.n)
        if floating is float and t.dtype == BFLOAT16:
            bf16_to_f32(<const bfloat16*>s.w, x_ + line*p.n, p.n)
    return x_ if t.dtype == BFLOAT16 else <floating*>t.w + p.start


cdef void store(const Task* t, const Piece* piece, const floating* x) noexcept nogil:
    """Puts the weights back, if they are a copy."""
    cdef Piece p = joined(t, piece)
    cdef Py_ssize_t line
    cdef Task s
    if floating is float and t.dtype == BFLOAT16:
        for line in range(p.lines):
            s = shifted(t, p.start + line*t.pitch, p.n)
            f32_to_bf16(x + line*p.n, <bfloat16*>s.w, p.n)


cdef void add_block(Sums kind, const Task* t, Block* b, bint steps, const floating* norm, const floating* l21,
                    floating* x_, floating* h_) noexcept nogil:
    """The sums of all groups of a block, if `steps` after the coordinates' own step."""
    cdef Py_ssize_t width = b.count*t.inner, count = pieces_of(t, width), j, k, start
    cdef bint is_loaded = Sums is Slopes and b.is_held
    cdef bint adds = steps and adds_in_step(t, b.count)
    cdef floating* x = x_ if t.dtype == BFLOAT16 else <floating*>t.w
    cdef Piece piece
    cdef double[GROUP_SUMS*GROUP_LANES] lanes
    clear(kind, b.sums, b.count, GROUPS_AT_ONCE)
    clear(kind, lanes, GROUP_LANES, GROUP_LANES)
    for k in range(count):
        piece = piece_of(t, width, k)
        if adds:
            step_and_add(t, &piece, b, lanes, h_)
        else:
            if steps:
                step_piece(t, &piece)
            if not is_loaded:
                x = load(t, &piece, x_, h_)
            if t.outer > 1:
                add_lines(kind, t, x, h_, &piece, norm, l21, b)
            else:
                for j in range(b.count):
                    start = j*t.inner
                    add_row(kind, x + start, h_ + start, min(t.inner, piece.n), norm[j], l21[j], lanes)
                    if t.inner <= piece.n:
                        fold(kind, lanes, b.sums + j)
                        clear(kind, lanes, GROUP_LANES, GROUP_LANES)
    if t.outer == 1 and t.inner > HELD:
        fold(kind, lanes, b.sums)


cdef void add_lines(Sums kind, const Task* t, const floating* x, const floating* h, const Piece* p,
                    const floating* norm, const floating* l21, Block* b) noexcept nogil:
    cdef Py_ssize_t i, j, n, start, ahead = p.lines*t.pitch
    if t.inner > 1 or b.count < GROUP_LANES:
        for j in range(b.count):
            add_column(kind, x + j*t.inner, h + j*t.inner, p, p.n // b.count, norm[j], l21[j], b.sums + j)
    else:
        for i in range(p.lines):
            j = 0
            while j < p.n:
                n, start = min(p.n - j, <Py_ssize_t>STRIP), i*p.pitch + j
                if t.dtype != BFLOAT16:  # nothing lies ahead of a copy
                    prefetch_range(<const char*>(x + start + ahead), <const char*>(x + start + ahead + n))
                add_line(kind, x + start, h + i*p.n + j, n, norm + j, l21 + j, b.sums + j)
                j += n


cdef void shrink_block(const Task* t, Block* b, const floating* norm, const floating* l21, floating* x_,
                       floating* h_) noexcept nogil:
    """From the end, which is still in a cache where the block as a whole is not."""
    cdef Py_ssize_t width = b.count*t.inner, count = pieces_of(t, width), ahead, i, k
    cdef bint is_copy = t.dtype == BFLOAT16
    cdef floating* x = x_ if is_copy else <floating*>t.w
    cdef Piece p
    for k in range(count):
        p = piece_of(t, width, count - 1 - k)
        if not b.is_held:
            x = load(t, &p, x_, h_)
        ahead = 0 if is_copy or b.is_held else -p.lines*t.pitch*<Py_ssize_t>sizeof(floating)
        for i in range(p.lines):
            if even_metric(t) != 0:
                multiply(x + i*p.pitch, b.count, p.n // b.count, norm, ahead)
            else:
                shrink(x + i*p.pitch, h_ + i*p.n, b.count, p.n // b.count, norm, l21, ahead)
        store(t, &p, x)


cdef void multiply(floating* x, Py_ssize_t count, Py_ssize_t inner, const floating* factor,
                   Py_ssize_t ahead) noexcept nogil:
    """A line of groups, each by its factor."""
    cdef Py_ssize_t i, j
    if inner > 1:
        for j in range(count):
            multiply_group(x + j*inner, factor[j], inner)
        return
    for i in range(count // CHUNK):
        prefetch_chunk(x + CHUNK*i, ahead)
        for j in range(CHUNK*i, CHUNK*i + CHUNK):
            x[j] = multiplied(x[j], factor[j])
    for j in range(count - count % CHUNK, count):
        x[j] = multiplied(x[j], factor[j])


cdef void shrink(floating* x, const floating* h, Py_ssize_t count, Py_ssize_t inner, const floating* norm,
                 const floating* l21, Py_ssize_t ahead) noexcept nogil:
    """A line of groups, each to its norm."""
    cdef Py_ssize_t i, j
    if inner > 1:
        for j in range(count):
            shrink_group(x + j*inner, h + j*inner, norm[j], l21[j], inner)
        return
    for i in range(count // CHUNK):
        prefetch_chunk(x + CHUNK*i, ahead)
        for j in range(CHUNK*i, CHUNK*i + CHUNK):
            x[j] = shrunk(x[j], inverse_norm(h[j], norm[j], l21[j]), norm[j])
    for j in range(count - count % CHUNK, count):
        x[j] = shrunk(x[j], inverse_norm(h[j], norm[j], l21[j]), norm[j])


cdef void shrink_group(floating* x, const floating* h, floating norm, floating l21, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        x[j] = shrunk(x[j], inverse_norm(h[j], norm, l21), norm)


cdef inline double tolerance_of(const floating* _) noexcept nogil:
    """Up to which a weight may be off, of its value."""
    return 1e-8 if floating is float else 1e-16


cdef bint start_block(Block* b, const floating* l21) noexcept nogil:
    """From the moments to a first guess of each norm; whether any must be improved."""
    cdef double xx, xxhh
    cdef Py_ssize_t j
    cdef bint any_iterated = False
    for j in range(b.count):
        xx, xxhh, b.least[j] = b.sums[j], b.sums[GROUPS_AT_ONCE + j], b.sums[2*GROUPS_AT_ONCE + j]
        b.norm[j] = first_norm(xx, xxhh, l21[j]) if l21[j] != 0 else INFINITY
        b.iterated[j] = (l21[j] != 0 and is_iterated(xx, xxhh, l21[j])
                         and not is_close(xx, xxhh, b.least[j], l21[j], tolerance_of(l21)))
        any_iterated |= b.iterated[j]
    return any_iterated


cdef bint improve_block(Block* b, const floating* l21, const floating* norm) noexcept nogil:
    """An iteration of each norm, from the rounded one; whether any must be improved further, and can be."""
    cdef double[GROUP_SUMS] slopes
    cdef Py_ssize_t i, j
    cdef bint any_iterated = False
    for j in range(b.count):
        if b.iterated[j]:
            for i in range(GROUP_SUMS):
                slopes[i] = b.sums[GROUPS_AT_ONCE*i + j]
            b.iterated[j] = (is_improved(&b.norm[j], slopes, b.least[j], l21[j], tolerance_of(norm))
                             and <floating>b.norm[j] != norm[j])
            any_iterated |= b.iterated[j]
    return any_iterated


cdef void copy_norms(const Block* b, floating* norm) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(b.count):
        norm[j] = <floating>b.norm[j]


cdef void set_strengths(const Task* t, Py_ssize_t count, const floating* f, floating* l21) noexcept nogil:
    """The l21 of each group."""
    cdef Py_ssize_t j
    for j in range(count):
        l21[j] = <floating>t.l21*(f[j*t.inner] if f != NULL else <floating>1)


cdef bint first_norms(const Task* t, Block* b, const floating* f, const floating* l21) noexcept nogil:
    """From the first sums to norms, or to factors if the metric is even; whether any must be improved."""
    cdef double h = even_metric(t)
    cdef floating l2
    cdef Py_ssize_t j
    if h == 0:
        return start_block(b, l21)
    for j in range(b.count):
        l2 = <floating>t.p.elastic_net.l2*(f[j*t.inner] if f != NULL else <floating>1)
        b.norm[j] = even_shrinkage(b.sums[j], h, l2, l21[j])
    return False


# -- All panels of a block --------------------------------------------------------------------------------------------

cdef void add_panels(Sums kind, const Task* t, Block* b, bint steps, const floating* norm, const floating* l21,
                     floating* x_, floating* h_) noexcept nogil:
    """As add_block: the sums of the panels, one after the other."""
    cdef double[GROUP_SUMS*GROUPS_AT_ONCE] sums
    cdef Py_ssize_t count = panels_of(t), held = lines_of_panel(t)*b.count*t.inner if b.is_held else 0, k
    cdef Task s
    if count == 1:
        add_block(kind, t, b, steps, norm, l21, x_, h_)
        return
    clear(kind, sums, b.count, GROUPS_AT_ONCE)
    for k in range(count):
        s = panel_of(t, k)
        add_block(kind, &s, b, steps, norm, l21, x_ + k*held, h_ + k*held)
        add_sums(kind, b.sums, GROUPS_AT_ONCE, b.count, sums)
    clear(kind, b.sums, b.count, GROUPS_AT_ONCE)
    add_sums(kind, sums, GROUPS_AT_ONCE, b.count, b.sums)


cdef void step_block(const Task* t, Py_ssize_t count, bint steps, const floating* f) noexcept nogil:
    """The groups' own step of the first groups of a task, and if `steps` that of their coordinates before it.

    `f` also says the type of the arithmetic.
    """
    cdef floating[HELD + PADDING] x_
    cdef floating[HELD + PADDING] h_
    cdef floating[GROUPS_AT_ONCE] norm, l21
    cdef Block b
    cdef bint is_searched
    cdef Py_ssize_t iteration = 0
    b.count, b.is_held = count, t.outer*count*t.inner <= HELD
    set_strengths(t, count, f, l21)
    if even_metric(t) != 0:
        add_panels(Squares(0), t, &b, steps, l21, l21, x_, h_)
    else:
        add_panels(Moments(0), t, &b, steps, l21, l21, x_, h_)
    is_searched = first_norms(t, &b, f, l21)
    copy_norms(&b, norm)
    while is_searched and iteration < MOST_ITERATIONS:
        add_panels(Slopes(0), t, &b, False, norm, l21, x_, h_)
        is_searched = improve_block(&b, l21, norm)
        copy_norms(&b, norm)
        iteration += 1
    shrink_block(t, &b, norm, l21, x_, h_)


# -- All blocks -------------------------------------------------------------------------------------------------------

cdef inline Py_ssize_t groups_at_once(const Task* t) noexcept nogil:
    """How many groups make a block."""
    return max(min(HELD // max(t.inner, 1), <Py_ssize_t>GROUPS_AT_ONCE), 1)


cdef void update_groups(Task* t) noexcept nogil:
    """A step of a task with l21."""
    cdef Py_ssize_t at_once = groups_at_once(t)
    cdef Py_ssize_t part, first, line
    cdef Task s
    if t.n == 0:
        return
    if t.d.plain.lr == 0:  # no weight moves
        for line in range(t.outer):
            s = shifted(t, line*t.pitch, t.groups*t.inner)
            update_coordinates(&s)
        return
    if t.outer == 1 and even_metric(t) != 0 and adds_in_step(t, t.groups):
        step_even_rows(t)
        return
    for part in range(parts_of(t.groups, at_once)):
        first = at_once*part
        step_groups(t, first, min(t.groups - first, at_once), True)


cdef void step_groups(const Task* t, Py_ssize_t first, Py_ssize_t count, bint steps) noexcept nogil:
    cdef Task s = shifted(t, first*t.inner, t.n)
    if s.dtype == FLOAT64:
        step_block(&s, count, steps, <const double*>s.f)
    else:
        step_block(&s, count, steps, <const float*>s.f)


cdef double group_values(const Task* t) noexcept nogil:
    """The value of l21·Σ‖group‖."""
    cdef Py_ssize_t at_once = groups_at_once(t), part, first, count
    cdef double total = 0
    cdef Task s
    for part in range(parts_of(t.groups, at_once) if t.n > 0 else 0):
        first = at_once*part
        count = min(t.groups - first, at_once)
        s = shifted(t, first*t.inner, t.n)
        if t.dtype == FLOAT64:
            add_values(&s, count, <const double*>s.f, &total)
        else:
            add_values(&s, count, <const float*>s.f, &total)
    return total


cdef void add_values(const Task* t, Py_ssize_t count, const floating* f, double* total) noexcept nogil:
    """Adds l21·‖group‖ of the first groups of a task, one after the other."""
    cdef floating[HELD] x_
    cdef floating[GROUPS_AT_ONCE] unused
    cdef double strength
    cdef Block b
    cdef Task s = t[0]
    cdef Py_ssize_t j
    memset(unused, 0, sizeof(unused))
    s.direction, s.d.plain.lr = PLAIN, 1  # so that no metric is asked for
    b.count, b.is_held = count, False
    add_panels(Squares(0), &s, &b, False, unused, unused, x_, x_)
    for j in range(count):
        strength = t.l21*(f[j*t.inner] if f != NULL else <floating>1)
        if strength != 0:
            total[0] += strength*sqrt(b.sums[j])
