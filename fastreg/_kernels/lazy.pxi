# Layer 2 for gradients with few rows: rows that are brought up to date and stepped; included by variant.pyx. A step
# touches only the rows of its gradient: it brings them up to date, moves and penalises them, and stamps them with the
# clock. All other rows have a pending penalty, which catch_up.pxd computes when they are needed. No formula.

cdef enum:
    PREFETCH_ROWS = 12  # rows that are prefetched ahead
    TILE = 16           # rows of one weight that are worked on together
    ADAGRAD_BLOCK = 4*TILE  # those among which Adagrad picks the ones that need powers


# -- Penalties of weights in units of their own -----------------------------------------------------------------------

cdef inline ElasticNet penalty_at(const Factor* f, const Rows* t, const ElasticNet* p, floating factor) noexcept nogil:
    """The penalty that is to be multiplied by this factor.

    A weight in units of its own (linear/units.py) is 1/factor times larger: l1 is multiplied by the factor, l2 twice.
    """
    if Factor is PerCoordinate:
        return ElasticNet(p.l1, p.l2*factor if t.in_units else p.l2)
    else:
        return p[0]


# -- Indices ----------------------------------------------------------------------------------------------------------
#
# Only the loops that copy rows are compiled for both types: all loops for both took a third of the compile time.

cdef inline Py_ssize_t row_at(const Indices* x, Py_ssize_t k) noexcept nogil:
    """The k-th index."""
    return (<const int*>x.data)[k] if x.type == INT32 else (<const long long*>x.data)[k]


cdef inline Indices indices_from(const Indices* x, Py_ssize_t start) noexcept nogil:
    """The indices from `start` on."""
    cdef Py_ssize_t size = sizeof(int) if x.type == INT32 else sizeof(long long)
    return Indices(x.type, <const char*>x.data + start*size)


# -- What a row has missed --------------------------------------------------------------------------------------------

cdef inline Missed elapsed(const Lazy* d, const Rows* t, Py_ssize_t i) noexcept nogil:
    """The steps that row i has missed."""
    if Lazy is Plain:
        return missed(&t.clock, <const Stamp*>(t.stamps + i*t.stamp_pitch))
    elif Lazy is Adagrad:
        return Missed(1, 0, t.steps - (<const long long*>(t.stamps + i*t.stamp_pitch))[0])
    else:  # in steps with lr = 0 nothing happens, and before any other the weights are those of the construction
        return Missed(1, 0, t.steps if t.d.plain.lr != 0 else 0)


cdef inline void stamp(const Lazy* d, const Rows* t, const Clock* now, long long steps, Py_ssize_t i) noexcept nogil:
    """Row i is up to date."""
    if Lazy is Plain:
        (<Stamp*>(t.stamps + i*t.stamp_pitch))[0] = Stamp(now.inverse, now.total)
    elif Lazy is Adagrad:
        (<long long*>(t.stamps + i*t.stamp_pitch))[0] = steps


# -- Weights that lie side by side ------------------------------------------------------------------------------------

cdef inline Py_ssize_t tiles(Py_ssize_t n) noexcept nogil:
    """How many tiles hold n weights."""
    return (n + TILE - 1) // TILE


cdef inline void clip_weights(const Rows* t, floating* w, Py_ssize_t n) noexcept nogil:
    """Moves weights into the bounds."""
    cdef floating low = <floating>t.low, high = <floating>t.high
    if t.low > -INFINITY or t.high < INFINITY:
        clip_all(w, &low, &high, 0, n)


cdef inline void catch_up_all(const Lazy* d, const Rows* t, const Factor* f, Py_ssize_t n, const Missed* since,
                              Py_ssize_t each, floating* w, const floating* a, const floating* b) noexcept nogil:
    """Brings weights up to date; `each` is 1, or 0 where all have missed the same steps.

    Steps without a gradient move a weight towards zero, which lies within the bounds; only FTRL solves for it anew.
    """
    cdef ElasticNet p
    cdef Py_ssize_t block, k
    if t.gamma < INFINITY:
        catch_up_mcp(d, t, f, n, since, each, w, a, b)
    elif Lazy is Adagrad:
        for block in range((n + ADAGRAD_BLOCK - 1)//ADAGRAD_BLOCK):
            k = ADAGRAD_BLOCK*block
            catch_up_block(d, t, f, k, min(n - k, <Py_ssize_t>ADAGRAD_BLOCK), since + each*k, each, w + k, a + k)
    elif Lazy is FTRL:
        for k in range(n):
            p = penalty_at(f, t, &t.p, factor_at(f, k, w))
            w[k] = catch_up(d, &p, since, w[k], a + k, b + k, factor_at(f, k, w))
        if since.steps > 0:
            clip_weights(t, w, n)
    else:
        for k in range(n):
            w[k] = catch_up(d, &t.p, since + each*k, w[k], a + k, b + k, factor_at(f, k, w))


cdef void catch_up_mcp(const Lazy* d, const Rows* t, const Factor* f, Py_ssize_t n, const Missed* since,
                       Py_ssize_t each, floating* w, const floating* a, const floating* b) noexcept nogil:
    """The same for MCP. Here as in step_mcp, only the loops over weights are compiled for it."""
    cdef MCP p = MCP(t.p.l1, t.p.l2, t.gamma)
    cdef Py_ssize_t k
    if Lazy is FTRL:
        for k in range(n):
            w[k] = catch_up(d, &p, since, w[k], a + k, b + k, factor_at(f, k, w))
    elif Lazy is Plain:
        for k in range(n):
            w[k] = catch_up(d, &p, since + each*k, w[k], a + k, b + k, factor_at(f, k, w))


cdef inline void catch_up_block(const Adagrad* d, const Rows* t, const Factor* f, Py_ssize_t start, Py_ssize_t n,
                                const Missed* since, Py_ssize_t each, floating* w, const floating* a) noexcept nogil:
    """catch_up of at most ADAGRAD_BLOCK weights. Those that surely end at zero need no power: the others are picked."""
    cdef double[ADAGRAD_BLOCK] shrinkage, threshold
    cdef int[ADAGRAD_BLOCK] picked, ends
    cdef ElasticNet p
    cdef Py_ssize_t count = 0, tile, k
    for k in range(n):
        p = penalty_at(f, t, &t.p, factor_at(f, start + k, w))
        step_without_gradient(d, &p, a[k], factor_at(f, start + k, w), &shrinkage[k], &threshold[k])
    for k in range(n):
        ends[k] = ends_at_zero(w[k], threshold[k], since[each*k].steps)
        picked[count] = <int>k  # without a branch, which would often go the other way
        count += 1 - ends[k]
    for k in range(n):
        w[k] = w[k]*0 + 0 if ends[k] else w[k]
    for tile in range(tiles(count)):
        k = TILE*tile
        catch_up_tile(min(count - k, <Py_ssize_t>TILE), picked + k, shrinkage, threshold, since, each, w)


cdef inline void catch_up_tile(Py_ssize_t n, const int* picked, const double* shrinkage, const double* threshold,
                               const Missed* since, Py_ssize_t each, floating* w) noexcept nogil:
    """At most TILE of them, their powers digit by digit together: a third of the time."""
    cdef double[TILE] own, power, sum, a_power, a_sum
    cdef long long[TILE] left
    cdef long long digits = 0
    cdef Missed after
    cdef Py_ssize_t k
    for k in range(TILE):
        own[k], left[k] = 1, 0
    for k in range(n):
        own[k], left[k] = shrinkage[picked[k]], since[each*picked[k]].steps
        digits |= left[k]
    for k in range(TILE):
        power[k], sum[k], a_power[k], a_sum[k] = 1, 0, own[k], 1
    while digits > 0:
        for k in range(TILE):
            next_digit(left[k] & 1, own[k], &power[k], &sum[k], &a_power[k], &a_sum[k])
            left[k] >>= 1
        digits >>= 1
    for k in range(n):
        after = repeated(power[k], sum[k], own[k], threshold[picked[k]], since[each*picked[k]].steps)
        w[picked[k]] = apply_missed(&after, w[picked[k]])


cdef void catch_up_each(const Lazy* d, const Rows* t, const Factor* f, Py_ssize_t n, const Missed* since,
                        floating* w, const floating* a, const floating* b) noexcept nogil:
    """Weights that have missed steps of their own. Not inline: see gather_rows."""
    catch_up_all(d, t, f, n, since, 1, w, a, b)


cdef inline void step_all(const Lazy* d, const LazyMode* m, const ElasticNet* p, const Factor* f, const Rows* t,
                          Py_ssize_t n, const floating* g, floating* w, floating* a, floating* b) noexcept nogil:
    """A step of weights that are up to date."""
    cdef ElasticNet own
    cdef Py_ssize_t k
    if t.gamma < INFINITY:
        step_mcp(d, m, p, f, t, n, g, w, a, b)
        return
    for k in range(n):
        own = penalty_at(f, t, p, factor_at(f, k, g))
        w[k] = step(d, m, &own, w[k], g[k], a + k, b + k, <floating*>NULL, factor_at(f, k, g))
    clip_weights(t, w, n)


cdef void step_mcp(const Lazy* d, const LazyMode* m, const ElasticNet* p, const Factor* f, const Rows* t,
                   Py_ssize_t n, const floating* g, floating* w, floating* a, floating* b) noexcept nogil:
    cdef MCP own = MCP(p.l1, p.l2, t.gamma)
    cdef Py_ssize_t k
    if Lazy is not Adagrad and LazyMode is Proximal:
        for k in range(n):
            w[k] = step(d, m, &own, w[k], g[k], a + k, b + k, <floating*>NULL, factor_at(f, k, g))


cdef inline void catch_up_whole(const Lazy* d, const Rows* t, const Factor* f, const Missed* since, floating* w,
                                const floating* a, const floating* b) noexcept nogil:
    """Brings the weights of a row up to date."""
    if t.l21 == 0:
        catch_up_all(d, t, f, t.width, since, 0, w, a, b)
    elif Lazy is Plain:
        catch_up_group(f, since, w, t.width)
    elif Lazy is FTRL:
        if since.steps > 0:
            catch_up_all(d, t, f, t.width, since, 0, w, a, b)
            shrink_row(d, &t.p, f, t, t.l21, w, a, b)


# -- One row ----------------------------------------------------------------------------------------------------------

cdef inline Factor factor_from(const Factor* f, Py_ssize_t i, const floating* _) noexcept nogil:
    """The factors from coordinate i on; the last argument only says the dtype."""
    cdef Factor moved = f[0]
    if Factor is PerCoordinate:
        moved.f = <const floating*>f.f + i
    return moved


cdef inline void catch_up_row(const Lazy* d, const Factor* f, const Rows* t, floating* w, Py_ssize_t i) noexcept nogil:
    """Brings row i up to date."""
    cdef Missed since = elapsed(d, t, i)
    cdef Factor own = factor_from(f, i*t.width, w)
    cdef Py_ssize_t q = i*t.pitch
    catch_up_whole(d, t, &own, &since, w + q, <const floating*>t.a + q, <const floating*>t.b + q)


cdef inline void step_row(const Lazy* d, const LazyMode* m, const ElasticNet* p, const Factor* f, const Rows* t,
                          const Clock* next, floating* w, const floating* g, Py_ssize_t i) noexcept nogil:
    """A step of row i, which is up to date."""
    cdef Factor own = factor_from(f, i*t.width, w)
    cdef Py_ssize_t q = i*t.pitch
    step_all(d, m, p, &own, t, t.width, g, w + q, <floating*>t.a + q, <floating*>t.b + q)
    stamp(d, t, next, t.steps + 1, i)


cdef inline void prefetch_row(const Lazy* d, const Rows* t, const floating* w, Py_ssize_t i) noexcept nogil:
    """Where its parts lie together, the first and the last one, since they may be in two lines."""
    cdef bint apart = t.pitch == t.width
    if Lazy is not FTRL:
        prefetch_volatile(t.stamps + i*t.stamp_pitch)
    if Lazy is not Adagrad or apart:
        prefetch_volatile(w + i*t.pitch)
    if Lazy is Adagrad or (Lazy is FTRL and apart):
        prefetch_volatile(<const floating*>t.a + i*t.pitch)
    if Lazy is FTRL:
        prefetch_volatile(<const floating*>t.b + i*t.pitch)


# -- Rows of one weight, gathered in a tile, where they lie side by side ----------------------------------------------

cdef void gather_rows(const Lazy* d, const Factor* f, const Rows* t, const index* rows, Py_ssize_t n, Missed* since,
                      floating* w_, floating* a_, floating* b_, floating* f_) noexcept nogil:
    """Not inline: registers are scarce where it is called."""
    cdef const floating* w = <const floating*>t.w
    cdef Py_ssize_t k
    if Lazy is FTRL:
        since[0] = elapsed(d, t, 0)
    for k in range(n):
        w_[k] = w[rows[k]*t.pitch]
        if Lazy is not FTRL:
            since[k] = elapsed(d, t, rows[k])
        if Lazy is not Plain:
            a_[k] = (<const floating*>t.a)[rows[k]*t.pitch]
        if Lazy is FTRL:
            b_[k] = (<const floating*>t.b)[rows[k]*t.pitch]
        if Factor is PerCoordinate:
            f_[k] = factor_at(f, rows[k], w_)


cdef inline void gather(const Lazy* d, const Factor* f, const Rows* t, const Indices* x, Py_ssize_t n, Missed* since,
                        floating* w_, floating* a_, floating* b_, floating* f_) noexcept nogil:
    """Copies the weights of these rows, and all that belongs to them, to the tile."""
    if x.type == INT32:
        gather_rows(d, f, t, <const int*>x.data, n, since, w_, a_, b_, f_)
    else:
        gather_rows(d, f, t, <const long long*>x.data, n, since, w_, a_, b_, f_)


cdef inline Factor factors_in(const Factor* f, const floating* f_) noexcept nogil:
    """The factors of the rows in a tile."""
    cdef Factor own = f[0]
    if Factor is PerCoordinate:
        own.f = f_
    return own


cdef void scatter_rows(const Lazy* d, const Rows* t, const Clock* now, long long steps, const index* rows,
                       Py_ssize_t n, const floating* w_, const floating* a_, const floating* b_) noexcept nogil:
    cdef floating* w = <floating*>t.w
    cdef Py_ssize_t k
    for k in range(n):
        w[rows[k]*t.pitch] = w_[k]
        if Lazy is not Plain:
            (<floating*>t.a)[rows[k]*t.pitch] = a_[k]
        if Lazy is FTRL:
            (<floating*>t.b)[rows[k]*t.pitch] = b_[k]
        stamp(d, t, now, steps, rows[k])


cdef inline void scatter(const Lazy* d, const Rows* t, const Clock* now, long long steps, const Indices* x,
                         Py_ssize_t n, const floating* w_, const floating* a_, const floating* b_) noexcept nogil:
    """Copies the tile back; its rows are up to date with the clock and the steps."""
    if x.type == INT32:
        scatter_rows(d, t, now, steps, <const int*>x.data, n, w_, a_, b_)
    else:
        scatter_rows(d, t, now, steps, <const long long*>x.data, n, w_, a_, b_)


# -- All rows ---------------------------------------------------------------------------------------------------------

cdef void flush(Lazy d, Factor f, Rows* t, floating* w) noexcept nogil:
    """Brings all rows up to date with the last step, after which the clock starts again."""
    cdef Clock start = Clock(1, 1, 0, 0)
    cdef Missed[TILE] since
    cdef floating[TILE] w_, a_, b_, f_
    cdef long long[TILE] rows
    cdef Rows here = t[0]
    cdef Indices indices = Indices(INT64, &rows[0])
    cdef Factor own = factors_in(&f, f_)
    cdef Py_ssize_t tile, i, k, n
    set_last(&d, &here)
    if here.width == 1:
        for tile in range(tiles(here.rows)):
            i = TILE*tile
            n = min(here.rows - i, <Py_ssize_t>TILE)
            for k in range(n):
                rows[k] = i + k
            gather(&d, &f, &here, &indices, n, since, w_, a_, b_, f_)
            catch_up_each(&d, &here, &own, n, since, w_, a_, b_)
            scatter(&d, &here, &start, here.steps, &indices, n, w_, a_, b_)
    else:
        for i in range(here.rows):
            catch_up_row(&d, &f, &here, w, i)
            stamp(&d, &here, &start, here.steps, i)
    t.clock = start


cdef inline void set_last(Lazy* d, const Rows* t) noexcept nogil:
    """The direction as of the last step; lr is the first field of every direction."""
    d.lr = t.d.plain.lr


cdef void read(Lazy d, Factor f, const Rows* t, const Indices* indices, Py_ssize_t count, floating* out) noexcept nogil:
    """Copies these rows, or the first ones if indices is NULL, as they would be if they were up to date."""
    cdef Missed[TILE] since
    cdef floating[TILE] w_, a_, b_, f_
    cdef long long[TILE] rows
    cdef Indices these = Indices(INT64, &rows[0])
    cdef Factor own = factors_in(&f, f_)
    cdef Py_ssize_t tile, i, j, k, n, q
    if t.width == 1:
        for tile in range(tiles(count)):
            i = TILE*tile
            n = min(count - i, <Py_ssize_t>TILE)
            for k in range(n):
                rows[k] = i + k if indices == NULL else row_at(indices, i + k)
            gather(&d, &f, t, &these, n, since, w_, a_, b_, f_)
            catch_up_each(&d, t, &own, n, since, w_, a_, b_)
            for k in range(n):
                out[i + k] = w_[k]
    else:
        for k in range(count):
            if indices != NULL and k + PREFETCH_ROWS < count:
                prefetch_row(&d, t, <const floating*>t.w, row_at(indices, k + PREFETCH_ROWS))
            i = k if indices == NULL else row_at(indices, k)
            q = i*t.pitch
            since[0] = elapsed(&d, t, i)
            own = factor_from(&f, i*t.width, out)
            for j in range(t.width):
                out[k*t.width + j] = (<const floating*>t.w)[q + j]
            catch_up_whole(&d, t, &own, since, out + k*t.width, <const floating*>t.a + q, <const floating*>t.b + q)
