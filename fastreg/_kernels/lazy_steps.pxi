# Layer 2 for gradients with few rows: steps; included by variant.pyx after lazy.pxi.
#
# The clock ticks once a step, before the step's rows are stamped. Where it must start again (catch_up.pxd), or where a
# closed form ends (Adagrad's, where lr, l1 or l2 change; Plain's, where a group lasso begins or ends or the l1 of MCP
# changes), all rows are flushed first, and where FTRL's lr changes, too. There is no other pass over all weights.

cdef inline Clock prepare(Lazy* d, const LazyMode* m, ElasticNet* p, const Factor* f, Rows* t,
                          const Schedule* schedule, Py_ssize_t s, double largest, floating* w) noexcept nogil:
    """Sets the strengths of step s, lr at most `largest`; returns the clock after it."""
    cdef Clock next
    cdef double l21 = l21_at(schedule, s)
    cdef ElasticNet own
    cdef bint ends
    d.lr = min(number_at(&schedule.lr, s), largest)
    p.l1, p.l2 = number_at(&schedule.l1, s), number_at(&schedule.l2, s)
    if Lazy is Plain:
        own = clock_penalty(p, l21)
        # Thresholds of weights and of rows do not add up, and rows that are to be clipped may have missed one step. For
        # MCP, l1 also says which weights stand still.
        ends = (l21 != 0) != (t.l21 != 0) or (t.gamma < INFINITY and p.l1 != t.p.l1)
        if t.steps > 0 and (ends or (l21 != 0 and not t.inside and not all_inside(t, w))):
            flush(d[0], f[0], t, w)
    elif Lazy is Adagrad:
        if t.steps > 0 and (d.lr != t.d.plain.lr or p.l1 != t.p.l1 or p.l2 != t.p.l2):
            flush(d[0], f[0], t, w)
    next = t.clock
    if Lazy is Plain:
        advance_clock(m, &own, t, <floating>d.lr, &next)
        if needs_rebase(&next, l1_threshold(&own, <floating>d.lr, <floating>1)):
            flush(d[0], f[0], t, w)
            next = t.clock
            advance_clock(m, &own, t, <floating>d.lr, &next)
    return next


cdef inline void advance_clock(const LazyMode* m, const ElasticNet* p, const Rows* t, floating lr,
                               Clock* now) noexcept nogil:
    cdef MCP mcp = MCP(p.l1, p.l2, t.gamma)
    if t.gamma < INFINITY:
        tick(m, &mcp, lr, now)
    else:
        tick(m, p, lr, now)


cdef inline double number_at(const Numbers* x, Py_ssize_t s) noexcept nogil:
    return x.data[s*x.stride]


cdef inline double l21_at(const Schedule* schedule, Py_ssize_t s) noexcept nogil:
    return number_at(&schedule.l21, s) if schedule.l21.data != NULL else 0


cdef inline ElasticNet clock_penalty(const ElasticNet* p, double l21) noexcept nogil:
    """What the clock adds up: the norm of a row obeys l21 as a weight obeys l1. Only one of them is not zero."""
    return ElasticNet(l21 if l21 != 0 else p.l1, p.l2)


cdef inline void finish(const Lazy* d, const ElasticNet* p, const Factor* f, Rows* t, const Clock* next,
                        double l21, floating* w) noexcept nogil:
    """The step has been made."""
    cdef ElasticNet own = clock_penalty(p, l21)
    t.steps += 1
    t.clock = next[0]
    t.d.plain.lr, t.p, t.l21 = d.lr, p[0], l21
    if not t.inside:
        move_inside(d[0], f[0], t, w)
    if Lazy is Plain:
        if needs_rebase(next, l1_threshold(&own, <floating>d.lr, <floating>1)):
            flush(d[0], f[0], t, w)


cdef inline bint strictly_increases(const index* indices, Py_ssize_t n) noexcept nogil:
    cdef int bad = 0
    cdef Py_ssize_t k
    for k in range(1, n):
        bad |= indices[k] <= indices[k - 1]
    return bad == 0


cdef bint is_increasing(const Indices* x, Py_ssize_t n) noexcept nogil:
    if x.type == INT32:
        return strictly_increases(<const int*>x.data, n)
    return strictly_increases(<const long long*>x.data, n)


cdef Py_ssize_t merge(const Merging* merging, const Indices* indices, const floating* g, Py_ssize_t n,
                      Py_ssize_t width) noexcept nogil:
    """Each row once, and the sum of its values; returns their number."""
    cdef Py_ssize_t* places = merging.places
    cdef long long* rows = merging.rows
    cdef floating* sums = <floating*>merging.sums
    cdef Py_ssize_t i, j, k, place, count = 0
    for k in range(n):
        i = row_at(indices, k)
        place = places[i]
        if place < 0:
            places[i] = count
            rows[count] = i
            for j in range(width):
                sums[count*width + j] = g[k*width + j]
            count += 1
        else:
            for j in range(width):
                sums[place*width + j] += g[k*width + j]
    for k in range(count):
        places[rows[k]] = -1
    return count


cdef inline void step_vector(const Lazy* d, const LazyMode* m, const ElasticNet* p, const Factor* f, const Rows* t,
                             const Clock* next, const floating* g, const Indices* indices, Py_ssize_t n) noexcept nogil:
    """The rows of one gradient, of one weight each; t holds the strengths of the step before."""
    cdef Missed[TILE] since
    cdef floating[TILE] w_, a_, b_, f_
    cdef Indices rows
    cdef const floating* w = <const floating*>t.w
    cdef Factor own = factors_in(f, f_)
    cdef Lazy last = d[0]
    cdef Py_ssize_t tile, i, k, count
    set_last(&last, t)
    for tile in range(tiles(n)):
        i = TILE*tile
        count, rows = min(n - i, <Py_ssize_t>TILE), indices_from(indices, i)
        for k in range(i + TILE, min(n, i + 2*TILE)):
            prefetch_row(d, t, w, row_at(indices, k))
        gather(d, f, t, &rows, count, since, w_, a_, b_, f_)
        catch_up_each(&last, t, &own, count, since, w_, a_, b_)
        step_all(d, m, p, &own, t, count, g + i, w_, a_, b_)
        scatter(d, t, next, t.steps + 1, &rows, count, w_, a_, b_)


cdef inline void step_matrix(const Lazy* d, const LazyMode* m, const ElasticNet* p, const Factor* f, const Rows* t,
                             const Clock* next, const floating* g, const Indices* indices, Py_ssize_t n,
                             double l21) noexcept nogil:
    """The rows of one gradient; t holds the strengths of the step before."""
    cdef floating* w = <floating*>t.w
    cdef Lazy last = d[0]
    cdef Factor own
    cdef Py_ssize_t i, k, q
    set_last(&last, t)
    for k in range(n):
        if k + PREFETCH_ROWS < n:
            prefetch_row(d, t, w, row_at(indices, k + PREFETCH_ROWS))
        i = row_at(indices, k)
        catch_up_row(&last, f, t, w, i)
        step_row(d, m, p, f, t, next, w, g + k*t.width, i)
        if l21 != 0:
            own, q = factor_from(f, i*t.width, w), i*t.pitch
            shrink_row(d, p, &own, t, l21, w + q, <const floating*>t.a + q, <const floating*>t.b + q)


# -- FTRL's lr --------------------------------------------------------------------------------------------------------

cdef void stand_still(Rows* t, floating* w) noexcept nogil:
    """A step of FTRL with lr = 0. As in a dense one, the weights of the construction are moved into the bounds."""
    cdef Py_ssize_t i
    if t.d.plain.lr == 0 and not t.inside:
        for i in range(t.rows):
            clip_weights(t, w + i*t.pitch, t.width)
        t.inside = True
    t.steps += 1


cdef void reanchor_rows(FTRL d, Factor f, Rows* t, double lr, floating* w) noexcept nogil:
    """Rebuilds the z of all rows for another lr. Their weights are flushed first, since the new z depends on them."""
    cdef FTRL before = d
    cdef Py_ssize_t i, q
    flush(d, f, t, w)
    before.lr, d.lr = rate_of_z(t), lr
    for i in range(t.rows):
        q = i*t.pitch
        reanchor_all(before, d, w + q, <floating*>t.a + q, <const floating*>t.b + q, t.width)
    t.built_on = lr
    if t.d.plain.lr != 0:
        t.d.plain.lr = lr  # what the rows are solved with from now on


cdef inline bint is_built_on(const Rows* t, double lr) noexcept nogil:
    """Whether the z of FTRL is built on this lr, or on none."""
    return rate_of_z(t) == lr or rate_of_z(t) == 0


# -- All steps --------------------------------------------------------------------------------------------------------

cdef void steps(Lazy d, LazyMode m, Factor f, Rows* t, const Batch* batch, const Schedule* schedule,
                const Merging* merging, floating* w) noexcept nogil:
    cdef const floating* g
    cdef Indices indices
    cdef ElasticNet p = t.p
    cdef Rows here  # a copy that no store to a weight can change
    cdef Clock next
    cdef Py_ssize_t s, n
    for s in range(batch.count):
        n = batch.starts[s + 1] - batch.starts[s]
        indices = indices_from(&batch.indices, batch.starts[s])
        g = <const floating*>batch.data + batch.starts[s]*t.width
        if merging.places != NULL and not is_increasing(&indices, n):
            n = merge(merging, &indices, g, n, t.width)
            indices, g = Indices(INT64, merging.rows), <const floating*>merging.sums
        if Lazy is FTRL:
            if number_at(&schedule.lr, s) == 0:
                stand_still(t, w)
                continue
            if not is_built_on(t, number_at(&schedule.lr, s)):
                reanchor_rows(d, f, t, number_at(&schedule.lr, s), w)
                t.d.plain.lr = 0  # for this step, all weights are up to date, and not rounded again
        next = prepare(&d, &m, &p, &f, t, schedule, s, INFINITY, w)
        here = t[0]
        if here.width == 1:
            step_vector(&d, &m, &p, &f, &here, &next, g, &indices, n)
        else:
            step_matrix(&d, &m, &p, &f, &here, &next, g, &indices, n, l21_at(schedule, s))
        finish(&d, &p, &f, t, &next, l21_at(schedule, s), w)
