# Layer 2 for gradients with few rows: the lazy updates. Included by _kernels/kernels.pxi, so compiled once per instruction set,
# like _kernels/linear.pxi and _kernels/lazy_types.pxi, which go on from here. A step touches the rows of its gradient alone: brings them
# up to date, moves and penalises them, and stamps them with the clock; all others owe. No formula, no Python object.
#
# The clock ticks once a step, before its rows are stamped. Where it is worn (rules.pxd), or where a closed form ends
# (Adagrad's, with its strengths), all rows are settled first: the only pass over all weights.
from fastreg._kernels.table cimport index, Rows, Sparse
from fastreg.rules cimport (
    Adagrad, catch_up, Clock, double_up, FTRL, idle, is_gone, is_worn, Lazy, Missed, missed, owing, Plain, repeated,
    Stamp, tick, toll,
)

ctypedef fused Strength:  # the penalties with l1: a lazy l2 alone costs the same
    ElasticNet
    Weighted

ctypedef fused Closed:  # the modes that have a closed form
    Truncated
    Proximal

cdef enum:
    COMING = 12  # rows for which memory is asked ahead of time
    DESK = 16    # rows of one weight that are worked on together


# -- Layer 2: what a row has missed -----------------------------------------------------------------------------------

cdef inline Missed elapsed(const Lazy* d, const Rows* t, Py_ssize_t i) noexcept nogil:
    """What row i has missed."""
    if Lazy is Plain:
        return missed(&t.clock, <const Stamp*>(t.stamps + i*t.stamp_pitch))
    elif Lazy is Adagrad:
        return Missed(1, 0, t.steps - (<const long long*>(t.stamps + i*t.stamp_pitch))[0])
    else:
        return Missed(1, 0, t.steps)


cdef inline void stamp(const Lazy* d, const Rows* t, const Clock* now, long long steps, Py_ssize_t i) noexcept nogil:
    """Row i is up to date."""
    if Lazy is Plain:
        (<Stamp*>(t.stamps + i*t.stamp_pitch))[0] = Stamp(now.inverse, now.total)
    elif Lazy is Adagrad:
        (<long long*>(t.stamps + i*t.stamp_pitch))[0] = steps


# -- Layer 2: weights that lie side by side ---------------------------------------------------------------------------

cdef inline Py_ssize_t blocks(Py_ssize_t n) noexcept nogil:
    """How many desks so many weights take."""
    return (n + DESK - 1) // DESK


cdef inline void catch_up_all(const Lazy* d, const Strength* p, Py_ssize_t n, const Missed* since, Py_ssize_t each,
                              floating* w, const floating* a, const floating* b, const floating* f) noexcept nogil:
    """Brings weights up to date; `each` is 1, or 0 where all have missed the same."""
    cdef Py_ssize_t block, k
    if Lazy is Adagrad:
        for block in range(blocks(n)):
            k = DESK*block
            catch_up_block(d, p, min(n - k, <Py_ssize_t>DESK), since + each*k, each, w + k, a + k, f + k)
    elif Lazy is FTRL:
        for k in range(n):
            w[k] = catch_up(d, p, since, w[k], a + k, b + k, f + k)
    else:
        for k in range(n):
            w[k] = catch_up(d, p, since + each*k, w[k], a + k, b + k, f + k)


cdef inline void catch_up_block(const Adagrad* d, const Strength* p, Py_ssize_t n, const Missed* since, Py_ssize_t each,
                                floating* w, const floating* a, const floating* f) noexcept nogil:
    """catch_up of at most DESK weights, their powers digit by digit together: a third of the time."""
    cdef double[DESK] kept, taken, power, sum, a_power, a_sum
    cdef long long[DESK] left
    cdef long long digits = 0
    cdef Missed own
    cdef Py_ssize_t k
    for k in range(DESK):
        kept[k], left[k] = 1, 0
    for k in range(n):
        idle(d, p, a[k], f + k, &kept[k], &taken[k])
        left[k] = since[each*k].steps
    for k in range(DESK):
        power[k], sum[k], a_power[k], a_sum[k] = 1, 0, kept[k], 1
    for k in range(n):
        if is_gone(w[k], taken[k], left[k]):
            power[k] = left[k] = 0
        digits |= left[k]
    while digits > 0:
        for k in range(DESK):
            double_up(left[k] & 1, kept[k], &power[k], &sum[k], &a_power[k], &a_sum[k])
            left[k] >>= 1
        digits >>= 1
    for k in range(n):
        own = repeated(power[k], sum[k], kept[k], taken[k], since[each*k].steps)
        w[k] = owing(&own, w[k])


cdef inline void step_all(const Lazy* d, const Closed* m, const Strength* p, Py_ssize_t n, const floating* g,
                          floating* w, floating* a, floating* b, const floating* f) noexcept nogil:
    """A step of weights that are up to date."""
    cdef Py_ssize_t k
    for k in range(n):
        w[k] = step(d, m, p, w[k], g[k], a + k, b + k, <floating*>NULL, f + k)


# -- Layer 2: one row -------------------------------------------------------------------------------------------------

cdef inline void arrive(const Lazy* d, const Strength* p, const Rows* t, floating* w, Py_ssize_t i) noexcept nogil:
    """Brings row i up to date."""
    cdef Missed since = elapsed(d, t, i)
    cdef Py_ssize_t q = i*t.pitch
    catch_up_all(d, p, t.width, &since, 0, w + q, <floating*>t.a + q, <floating*>t.b + q,
                 <const floating*>t.f + i*t.width)


cdef inline void leave(const Lazy* d, const Closed* m, const Strength* p, const Rows* t, const Clock* next, floating* w,
                       const floating* g, Py_ssize_t i) noexcept nogil:
    """A step of row i, which is up to date."""
    cdef Py_ssize_t q = i*t.pitch
    step_all(d, m, p, t.width, g, w + q, <floating*>t.a + q, <floating*>t.b + q, <const floating*>t.f + i*t.width)
    stamp(d, t, next, t.steps + 1, i)


cdef inline void ask(const Lazy* d, const Rows* t, const floating* w, Py_ssize_t i) noexcept nogil:
    """Asks for the memory of a row to come."""
    prefetch(w + i*t.pitch)
    if t.pitch == t.width:  # or else all of it lies together
        if Lazy is not FTRL:
            prefetch(t.stamps + i*t.stamp_pitch)
        if Lazy is not Plain:
            prefetch(<const floating*>t.a + i*t.pitch)
        if Lazy is FTRL:
            prefetch(<const floating*>t.b + i*t.pitch)


# -- Layer 2: rows of one weight, brought together on a desk, where they lie side by side -----------------------------

cdef inline void collect(const Lazy* d, const Strength* p, const Rows* t, const floating* w, const index* rows,
                         Py_ssize_t n, Missed* since, floating* w_, floating* a_, floating* b_,
                         floating* f_) noexcept nogil:
    """Brings the weights of these rows, and all that belongs to them, to the desk."""
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
        if Strength is Weighted:
            f_[k] = (<const floating*>t.f)[rows[k]]


cdef inline void put_back(const Lazy* d, const Rows* t, const Clock* now, long long steps, floating* w,
                          const index* rows, Py_ssize_t n, const floating* w_, const floating* a_,
                          const floating* b_) noexcept nogil:
    """The way back; the rows are up to date with the clock and the steps."""
    cdef Py_ssize_t k
    for k in range(n):
        w[rows[k]*t.pitch] = w_[k]
        if Lazy is not Plain:
            (<floating*>t.a)[rows[k]*t.pitch] = a_[k]
        if Lazy is FTRL:
            (<floating*>t.b)[rows[k]*t.pitch] = b_[k]
        stamp(d, t, now, steps, rows[k])


# -- Layer 2: all rows ------------------------------------------------------------------------------------------------

cdef void settle(Lazy d, Strength p, Rows* t, floating* w) noexcept nogil:
    """Brings all rows up to date, after which the clock starts anew."""
    cdef Clock start = Clock(1, 1, 0, 0)
    cdef Missed[DESK] since
    cdef floating[DESK] w_, a_, b_, f_
    cdef long long[DESK] rows
    cdef Rows here = t[0]
    cdef Py_ssize_t block, i, k, n
    if here.width == 1:
        for block in range(blocks(here.rows)):
            i = DESK*block
            n = min(here.rows - i, <Py_ssize_t>DESK)
            for k in range(n):
                rows[k] = i + k
            collect(&d, &p, &here, w, rows, n, since, w_, a_, b_, f_)
            catch_up_all(&d, &p, n, since, 1, w_, a_, b_, f_)
            put_back(&d, &here, &start, here.steps, w, rows, n, w_, a_, b_)
    else:
        for i in range(here.rows):
            arrive(&d, &p, &here, w, i)
            stamp(&d, &here, &start, here.steps, i)
    t.clock = start


cdef void peek(Lazy d, Strength p, const Rows* t, const Sparse* job, const floating* w,
               const index* indices) noexcept nogil:
    """What the rows would be if they were brought up to date."""
    cdef floating* out = <floating*>job.data
    cdef Missed[DESK] since
    cdef floating[DESK] w_, a_, b_, f_
    cdef long long[DESK] rows
    cdef Py_ssize_t block, i, j, k, n, q
    if t.width == 1:
        for block in range(blocks(job.count)):
            i = DESK*block
            n = min(job.count - i, <Py_ssize_t>DESK)
            for k in range(n):
                rows[k] = i + k if indices == NULL else indices[i + k]
            collect(&d, &p, t, w, rows, n, since, w_, a_, b_, f_)
            catch_up_all(&d, &p, n, since, 1, w_, a_, b_, f_)
            for k in range(n):
                out[i + k] = w_[k]
    else:
        for k in range(job.count):
            i = k if indices == NULL else indices[k]
            q = i*t.pitch
            since[0] = elapsed(&d, t, i)
            for j in range(t.width):
                out[k*t.width + j] = w[q + j]
            catch_up_all(&d, &p, t.width, since, 0, out + k*t.width, <const floating*>t.a + q,
                         <const floating*>t.b + q, <const floating*>t.f + i*t.width)


# -- Layer 2: the clock around a step ---------------------------------------------------------------------------------

cdef inline Clock prepare(Lazy* d, const Closed* m, Strength* p, Rows* t, const Sparse* job, Py_ssize_t s, double most,
                          floating* w) noexcept nogil:
    """Takes up the strengths of step s, lr at most `most`; returns the clock after it."""
    cdef Lazy last = d[0]
    cdef Strength last_p = p[0]
    cdef ElasticNet whole
    cdef Clock next = t.clock
    d.lr, p.l1, p.l2 = min(job.lr[s*job.stride], most), job.l1[s*job.stride], job.l2[s*job.stride]
    if Lazy is Plain:
        whole = ElasticNet(p.l1, p.l2)
        tick(m, &whole, <floating>d.lr, &next)
        if is_worn(&next, toll(&whole, <floating>d.lr, <const floating*>NULL)):
            settle(last, last_p, t, w)
            next = t.clock
            tick(m, &whole, <floating>d.lr, &next)
    elif Lazy is Adagrad:
        if t.steps > 0 and (d.lr != last.lr or p.l1 != last_p.l1 or p.l2 != last_p.l2):
            settle(last, last_p, t, w)
    return next


cdef inline void finish(const Lazy* d, const Strength* p, Rows* t, const Clock* next, floating* w) noexcept nogil:
    """The step has been made."""
    cdef ElasticNet whole = ElasticNet(p.l1, p.l2)
    t.steps += 1
    t.clock = next[0]
    t.d.plain.lr, t.l1, t.l2 = d.lr, p.l1, p.l2  # lr stands first in every direction
    if Lazy is Plain:
        if is_worn(next, toll(&whole, <floating>d.lr, <const floating*>NULL)):
            settle(d[0], p[0], t, w)


# -- Layer 2: steps for sparse gradients ------------------------------------------------------------------------------

cdef inline bint is_increasing(const index* indices, Py_ssize_t n) noexcept nogil:
    cdef int bad = 0
    cdef Py_ssize_t k
    for k in range(1, n):
        bad |= indices[k] <= indices[k - 1]
    return bad == 0


cdef Py_ssize_t merge(const index* indices, const floating* g, Py_ssize_t n, Py_ssize_t width, Py_ssize_t* places,
                      index* merged, floating* sums) noexcept nogil:
    """Each row once, and the sum of what stands beside it; how many there are."""
    cdef Py_ssize_t j, k, place, count = 0
    for k in range(n):
        place = places[indices[k]]
        if place < 0:
            places[indices[k]] = count
            merged[count] = indices[k]
            for j in range(width):
                sums[count*width + j] = g[k*width + j]
            count += 1
        else:
            for j in range(width):
                sums[place*width + j] += g[k*width + j]
    for k in range(count):
        places[merged[k]] = -1
    return count


cdef inline void step_vector(const Lazy* d, const Closed* m, const Strength* p, const Lazy* last,
                             const Strength* last_p, const Rows* t, const Clock* next, floating* w, const floating* g,
                             const index* rows, Py_ssize_t n) noexcept nogil:
    cdef Missed[DESK] since
    cdef floating[DESK] w_, a_, b_, f_
    cdef Py_ssize_t block, i, k, count
    for block in range(blocks(n)):
        i = DESK*block
        count = min(n - i, <Py_ssize_t>DESK)
        for k in range(i + DESK, min(n, i + 2*DESK)):
            ask(d, t, w, rows[k])
        collect(last, last_p, t, w, rows + i, count, since, w_, a_, b_, f_)
        catch_up_all(last, last_p, count, since, 1, w_, a_, b_, f_)
        step_all(d, m, p, count, g + i, w_, a_, b_, f_)
        put_back(d, t, next, t.steps + 1, w, rows + i, count, w_, a_, b_)


cdef inline void step_matrix(const Lazy* d, const Closed* m, const Strength* p, const Lazy* last,
                             const Strength* last_p, const Rows* t, const Clock* next, floating* w, const floating* g,
                             const index* rows, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n):
        if k + COMING < n:
            ask(d, t, w, rows[k + COMING])
        arrive(last, last_p, t, w, rows[k])
        leave(d, m, p, t, next, w, g + k*t.width, rows[k])


cdef void steps(Lazy d, Closed m, Strength p, Rows* t, const Sparse* job, floating* w,
                const index* indices) noexcept nogil:
    cdef const floating* g
    cdef const index* rows
    cdef Rows here  # a copy that no store to a weight can change
    cdef Clock next
    cdef Lazy last
    cdef Strength last_p
    cdef Py_ssize_t s, n
    for s in range(job.count):
        n = job.starts[s + 1] - job.starts[s]
        rows = indices + job.starts[s]
        g = <const floating*>job.data + job.starts[s]*t.width
        if job.places != NULL and not is_increasing(rows, n):
            n = merge(rows, g, n, t.width, job.places, <index*>job.merged, <floating*>job.sums)
            rows, g = <const index*>job.merged, <const floating*>job.sums
        last, last_p = d, p
        next = prepare(&d, &m, &p, t, job, s, INFINITY, w)
        here = t[0]
        if here.width == 1:
            step_vector(&d, &m, &p, &last, &last_p, &here, &next, w, g, rows, n)
        else:
            step_matrix(&d, &m, &p, &last, &last_p, &here, &next, w, g, rows, n)
        finish(&d, &p, t, &next, w)
