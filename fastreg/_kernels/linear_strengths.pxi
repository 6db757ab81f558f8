# Layer 2 for a linear model at many strengths: one pass over the samples trains all of them; included by variant.pyx
# after linear.pxi. Each strength has the bits of a single model: the same scalar functions, and the same order of sums.
#
# All that belongs to a feature lies in one record, where the strengths lie side by side, and loops over VECTOR of them
# are vectorised. Their results go through local arrays: the compiler cannot know that memory does not overlap. FTRL
# keeps no weights: they follow from its state.

cdef enum:
    ROWS_AHEAD = 3  # records that are prefetched: each is several cache lines


# -- Rows -------------------------------------------------------------------------------------------------------------

cdef inline void prefetch_record(const Columns* v, Py_ssize_t i) noexcept nogil:
    cdef const char* start = v.records + i*v.t.stamp_pitch
    prefetch_range(start, start + v.t.stamp_pitch)


cdef inline long long* steps_at(const Columns* v, Py_ssize_t i) noexcept nogil:
    """The steps with which row i is up to date."""
    return <long long*>(v.t.stamps + i*v.t.stamp_pitch)


cdef inline double* stamps_at(const Columns* v, Py_ssize_t i) noexcept nogil:
    """For PLAIN, the stamps of row i by strength: first the inverses, then the totals."""
    return <double*>(v.inverses + i*v.t.stamp_pitch)


cdef inline floating factor_of(const Columns* v, Py_ssize_t i, floating one) noexcept nogil:
    """The penalty factor of row i."""
    return one if v.t.f == NULL else (<const floating*>v.t.f)[i]


cdef inline void stamp_row(const Lazy* d, const Columns* v, const double* clock, long long steps,
                           Py_ssize_t i) noexcept nogil:
    """Row i is up to date with these steps, and for PLAIN with this clock."""
    cdef double* stamps
    cdef Py_ssize_t s
    if Lazy is not FTRL:
        steps_at(v, i)[0] = steps
    if Lazy is Plain:
        memcpy(stamps_at(v, i), clock + v.lanes, 2*v.lanes*sizeof(double))


cdef inline void catch_up_tile_of_strengths(const Adagrad* d, const floating* l1, const floating* l2, floating f,
                                            long long steps, const floating* a, floating* w) noexcept nogil:
    """catch_up of VECTOR weights that have missed the same steps: as catch_up_tile, with digits that are the same."""
    cdef double[VECTOR] shrinkage, threshold, power, sum, a_power, a_sum
    cdef int[VECTOR] ends
    cdef Missed since
    cdef ElasticNet p
    cdef int open = 0
    cdef long long left = steps
    cdef Py_ssize_t c
    for c in range(VECTOR):
        p = ElasticNet(l1[c], l2[c])
        step_without_gradient(d, &p, a[c], f, &shrinkage[c], &threshold[c])
        ends[c] = ends_at_zero(w[c], threshold[c], steps)
        power[c], sum[c], a_power[c], a_sum[c] = 1, 0, shrinkage[c], 1
        open |= 1 - ends[c]
    while left > 0 and open:
        if left & 1:
            for c in range(VECTOR):
                next_digit(1, shrinkage[c], &power[c], &sum[c], &a_power[c], &a_sum[c])
        else:
            for c in range(VECTOR):
                next_digit(0, shrinkage[c], &power[c], &sum[c], &a_power[c], &a_sum[c])
        left >>= 1
    for c in range(VECTOR):
        since = repeated(0 if ends[c] else power[c], 0 if ends[c] else sum[c], shrinkage[c], threshold[c], steps)
        w[c] = apply_missed(&since, w[c])


cdef inline void catch_up_strengths(const Lazy* d, const Columns* v, Py_ssize_t i, floating* out) noexcept nogil:
    """Row i, up to date, by column and strength; its record does not change."""
    cdef const floating* l1 = <const floating*>v.last_l1
    cdef const floating* l2 = <const floating*>v.last_l2
    cdef Py_ssize_t lanes = v.lanes, q = i*v.t.pitch, k, j, s, c
    cdef const floating* w = <const floating*>v.t.w + q
    cdef const floating* a = <const floating*>v.t.a + q
    cdef const floating* b = <const floating*>v.t.b + q
    cdef const double* stamps
    cdef floating low = <floating>v.t.low, high = <floating>v.t.high, f = factor_of(v, i, <floating>1)
    cdef floating[VECTOR] w_
    cdef Missed since = Missed(1, 0, v.t.steps)
    cdef Clock now
    cdef Stamp then
    cdef ElasticNet p
    if Lazy is FTRL:
        if d.lr == 0:  # no step was made yet
            memset(out, 0, v.t.width*lanes*sizeof(floating))
            return
    else:
        since.steps -= steps_at(v, i)[0]
        if since.steps == 0:
            memcpy(out, w, v.t.width*lanes*sizeof(floating))
            return
    for k in range(v.t.width):
        for j in range(lanes // VECTOR):
            s = VECTOR*j
            if Lazy is FTRL:
                for c in range(VECTOR):
                    p = ElasticNet(l1[s + c], l2[s + c])
                    w_[c] = within(catch_up(d, &p, &since, <floating>0, a + s + c, b + s + c, f), low, high)
            elif Lazy is Adagrad:
                memcpy(w_, w + s, VECTOR*sizeof(floating))
                catch_up_tile_of_strengths(d, l1 + s, l2 + s, f, since.steps, a + s, w_)
            else:
                stamps = stamps_at(v, i)
                p = ElasticNet(0, 0)
                for c in range(VECTOR):
                    now = Clock(v.clock[s + c], v.clock[lanes + s + c], v.clock[2*lanes + s + c], 0)
                    then = Stamp(stamps[s + c], stamps[lanes + s + c])
                    since = missed(&now, &then)
                    w_[c] = catch_up(d, &p, &since, w[s + c], a, b, f)
            memcpy(out + s, w_, VECTOR*sizeof(floating))
        out, w, a, b = out + lanes, w + lanes, a + lanes, b + lanes


cdef inline void step_strengths(const Lazy* d, const Columns* v, Py_ssize_t i, floating x, const floating* slopes,
                                const floating* w) noexcept nogil:
    """A step of row i, with value x of its feature, from the weights w."""
    cdef Proximal m = Proximal(0)
    cdef const floating* l1 = <const floating*>v.last_l1
    cdef const floating* l2 = <const floating*>v.last_l2
    cdef Py_ssize_t lanes = v.lanes, q = i*v.t.pitch, k, j, s, c
    cdef floating* out = <floating*>v.t.w + q
    cdef floating* a = <floating*>v.t.a + q
    cdef floating* b = <floating*>v.t.b + q
    cdef floating low = <floating>v.t.low, high = <floating>v.t.high, f = factor_of(v, i, <floating>1)
    cdef floating[VECTOR] w_, a_, b_
    cdef ElasticNet p
    for k in range(v.t.width):
        for j in range(lanes // VECTOR):
            s = VECTOR*j
            for c in range(VECTOR):
                if Lazy is not Plain:
                    a_[c] = a[s + c]
                if Lazy is FTRL:
                    b_[c] = b[s + c]
                    accumulate(d, w[s + c], slopes[s + c]*x, &a_[c], &b_[c])
                else:
                    p = ElasticNet(l1[s + c], l2[s + c])
                    w_[c] = within(step(d, &m, &p, w[s + c], slopes[s + c]*x, &a_[c], &b_[c], <floating*>NULL, f), low,
                                   high)
            if Lazy is not FTRL:
                memcpy(out + s, w_, VECTOR*sizeof(floating))
            if Lazy is not Plain:
                memcpy(a + s, a_, VECTOR*sizeof(floating))
            if Lazy is FTRL:
                memcpy(b + s, b_, VECTOR*sizeof(floating))
        out, a, b, w, slopes = out + lanes, a + lanes, b + lanes, w + lanes, slopes + lanes


# -- All rows ---------------------------------------------------------------------------------------------------------

cdef void flush_strengths(Lazy d, Columns* v, floating zero) noexcept nogil:
    """Brings all rows up to date with the last step, after which the clocks start again."""
    cdef Py_ssize_t i, s
    if Lazy is FTRL:
        return  # its weights follow from its state
    d.lr = v.t.d.plain.lr
    for i in range(v.t.rows):
        catch_up_strengths(&d, v, i, <floating*>v.t.w + i*v.t.pitch)
    if Lazy is Plain:
        for s in range(v.lanes):
            start_clock(v, s)
    for i in range(v.t.rows):
        stamp_row(&d, v, v.clock, v.t.steps, i)


cdef inline void start_clock(Columns* v, Py_ssize_t s) noexcept nogil:
    v.clock[s] = v.clock[v.lanes + s] = 1
    v.clock[2*v.lanes + s] = v.clock[3*v.lanes + s] = 0


cdef void flush_strength(Plain d, Columns* v, Py_ssize_t s, floating zero) noexcept nogil:
    """The same for one strength, while the stamps of the others stay."""
    cdef Py_ssize_t lanes = v.lanes, i, k
    cdef Clock now = Clock(v.clock[s], v.clock[lanes + s], v.clock[2*lanes + s], 0)
    cdef ElasticNet none = ElasticNet(0, 0)
    cdef Stamp then
    cdef Missed since
    cdef double* stamps
    cdef floating* w
    for i in range(v.t.rows):
        stamps, w = stamps_at(v, i) + s, <floating*>v.t.w + i*v.t.pitch + s
        then = Stamp(stamps[0], stamps[lanes])
        since = missed(&now, &then)
        for k in range(v.t.width):
            w[k*lanes] = catch_up(&d, &none, &since, w[k*lanes], w, w, factor_of(v, i, <floating>1))
        stamps[0], stamps[lanes] = 1, 0
    start_clock(v, s)


cdef void read_strengths(Lazy d, const Columns* v, Py_ssize_t first, Py_ssize_t count, floating* out) noexcept nogil:
    """Copies these rows as they would be if they were up to date, by column and strength."""
    cdef Py_ssize_t i
    d.lr = v.t.d.plain.lr
    for i in range(count):
        if i + ROWS_AHEAD < count:
            prefetch_record(v, first + i + ROWS_AHEAD)
        catch_up_strengths(&d, v, first + i, out + i*v.t.width*v.lanes)


# -- Clocks -----------------------------------------------------------------------------------------------------------

cdef inline bint tick_strengths(const Columns* v, Py_ssize_t first, Py_ssize_t stop, floating lr) noexcept nogil:
    """The clocks after the step; whether one of them must start again before it."""
    cdef Proximal m = Proximal(0)
    cdef const floating* l1 = <const floating*>v.last_l1
    cdef const floating* l2 = <const floating*>v.last_l2
    cdef Py_ssize_t lanes = v.lanes, s
    cdef Clock next
    cdef ElasticNet p
    cdef int rebase = 0
    for s in range(first, stop):
        next = Clock(v.clock[s], v.clock[lanes + s], v.clock[2*lanes + s], v.clock[3*lanes + s])
        p = ElasticNet(l1[s], l2[s])
        tick(&m, &p, lr, &next)
        rebase |= needs_rebase(&next, l1_threshold(&p, lr, <floating>1))
        v.next[s], v.next[lanes + s] = next.product, next.inverse
        v.next[2*lanes + s], v.next[3*lanes + s] = next.total, next.compensation
    return rebase != 0


cdef void rebase_strengths(Plain d, Columns* v, floating lr) noexcept nogil:
    """Where a clock must start again before the step, all rows of its strength are brought up to date first."""
    cdef Py_ssize_t s
    for s in range(v.count):
        if tick_strengths(v, s, s + 1, lr):
            flush_strength(d, v, s, lr)
            tick_strengths(v, s, s + 1, lr)


cdef void rebase_after(Plain d, Columns* v, floating lr) noexcept nogil:
    """The same after the step, for a clock that must start again after its first one."""
    cdef const floating* l1 = <const floating*>v.last_l1
    cdef Py_ssize_t lanes = v.lanes, s
    cdef Clock now
    cdef ElasticNet p
    for s in range(v.count):
        now = Clock(v.clock[s], v.clock[lanes + s], v.clock[2*lanes + s], 0)
        p = ElasticNet(l1[s], 0)
        if needs_rebase(&now, l1_threshold(&p, lr, <floating>1)):
            flush_strength(d, v, s, lr)


cdef inline bint prepare_strengths(Lazy* d, Columns* v, double lr, floating zero) noexcept nogil:
    """Sets the learning rate of a step; whether clocks may have to start again after it."""
    d.lr = lr
    if Lazy is Adagrad:
        if v.t.steps > 0 and d.lr != v.t.d.plain.lr:
            flush_strengths(d[0], v, zero)
    elif Lazy is Plain:
        if tick_strengths(v, 0, v.lanes, <floating>lr):
            rebase_strengths(d[0], v, <floating>lr)
            return True
    return False


cdef inline void finish_strengths(const Lazy* d, Columns* v, double factor, bint rebase, floating zero) noexcept nogil:
    """The step has been made."""
    cdef floating* l1 = <floating*>v.last_l1
    cdef floating* l2 = <floating*>v.last_l2
    cdef Py_ssize_t s
    v.t.steps += 1
    v.t.d.plain.lr = d.lr
    if Lazy is FTRL:
        for s in range(v.lanes):
            l1[s], l2[s] = <floating>(v.l1[s]*factor), <floating>(v.l2[s]*factor)
    elif Lazy is Plain:
        memcpy(v.clock, v.next, 4*v.lanes*sizeof(double))
        if rebase:
            rebase_after(d[0], v, <floating>d.lr)


# -- Samples ----------------------------------------------------------------------------------------------------------

cdef inline void add_products(double* sums, double x, const floating* w, Py_ssize_t n) noexcept nogil:
    """n is a multiple of VECTOR."""
    cdef double[VECTOR] own
    cdef Py_ssize_t i, j, c
    for j in range(n // VECTOR):
        i = VECTOR*j
        for c in range(VECTOR):
            own[c] = sums[i + c] + x*<double>w[i + c]
        memcpy(sums + i, own, VECTOR*sizeof(double))


cdef inline void slopes_of_vector(const Columns* v, Learning* job, double lr, Py_ssize_t s,
                                  floating* slopes) noexcept nogil:
    """Losses and slopes where there is one column; the sum of products is that of inner_product."""
    cdef Py_ssize_t r = job.order[s], n = v.lanes, c
    cdef double weight = sample_weight(job, s), margin, total = job.total
    cdef const double* sums = v.sums
    for c in range(v.count):
        margin = first_margin(job, r)
        margin += 0 if job.intercept == NULL else (<floating*>job.intercept)[c]
        margin += (sums[c] + sums[n + c]) + (sums[2*n + c] + sums[3*n + c])
        job.total = 0
        slopes[c] = rounded_slope(job, limited_slope(job, &v.t, margin, job.targets[r], weight, lr, r), slopes[c])
        v.losses[c] = job.total
        v.totals[c] += job.total
    job.total = total


cdef inline void slopes_of_matrix(const Columns* v, Learning* job, Py_ssize_t s, floating* slopes) noexcept nogil:
    """The same for a column for each class."""
    cdef double y = job.targets[job.order[s]], weight = sample_weight(job, s), shift = 0, total = job.total
    cdef Py_ssize_t c, k
    for c in range(v.count):
        v.losses[c] = 0
        for k in range(v.t.width):
            job.margins[k] = v.sums[k*v.lanes + c]
        if job.loss.code == MULTINOMIAL:
            shift = log_sum_exp(job.margins, v.t.width)
        for k in range(v.t.width):
            job.total = 0
            slopes[k*v.lanes + c] = <floating>loss_slope(job, job.margins[k] - shift, 1 if y == k else -1, weight)
            v.losses[c] += job.total
            v.totals[c] += job.total
    job.total = total


cdef inline void start_sums(const Columns* v, Learning* job, Py_ssize_t s, const floating* _) noexcept nogil:
    """Four sums of products for one column, or for more columns the margins before the products are added.

    The last argument only says the dtype.
    """
    cdef Py_ssize_t n = v.t.width*v.lanes, c
    cdef double first = first_margin(job, job.order[s])
    if v.t.width == 1:
        memset(v.sums, 0, 4*n*sizeof(double))
        return
    for c in range(n):
        v.sums[c] = first
        v.sums[c] += 0 if job.intercept == NULL else (<floating*>job.intercept)[c]


cdef inline void learn_sample(const Lazy* d, Columns* v, Learning* job, const Indices* indices, const floating* x,
                              Py_ssize_t n, Py_ssize_t s) noexcept nogil:
    """Step s of all strengths; the weights of the sample's features are in the tile from the margins to the step."""
    cdef floating* tile = <floating*>job.tile
    cdef floating* slopes = <floating*>job.slopes
    cdef Py_ssize_t size = v.t.width*v.lanes, k, j
    cdef Lazy last = d[0]
    last.lr = v.t.d.plain.lr
    start_sums(v, job, s, slopes)
    for k in range(n):
        if k + ROWS_AHEAD < n:
            prefetch_record(v, row_at(indices, k + ROWS_AHEAD))
        catch_up_strengths(&last, v, row_at(indices, k), tile + k*size)
        j = k % 4 if v.t.width == 1 and k < n - n % 4 else 0
        add_products(v.sums + j*size, <double>x[k], tile + k*size, size)
    if v.t.width == 1:
        slopes_of_vector(v, job, d.lr, s, slopes)
    else:
        slopes_of_matrix(v, job, s, slopes)
    for k in range(n):
        step_strengths(d, v, row_at(indices, k), x[k], slopes, tile + k*size)
        stamp_row(d, v, v.next, v.t.steps + 1, row_at(indices, k))


cdef void learn_strengths(Lazy d, Columns* v, const Batch* batch, const Schedule* schedule, Learning* job,
                          floating zero) noexcept nogil:
    """`learn` for all strengths; the schedule has no strengths, but what they are multiplied by."""
    cdef const floating* data = <const floating*>batch.data
    cdef Indices indices
    cdef double lr
    cdef bint rebase
    cdef Py_ssize_t s, r, n
    for s in range(job.count):
        r = job.order[s]
        if s + 2 < job.count:
            prefetch_sample(batch, job.order[s + 2], data)
        n = batch.starts[r + 1] - batch.starts[r]
        indices = batch.indices if batch.shared else indices_from(&batch.indices, batch.starts[r])
        lr = min(schedule.lr[s*schedule.stride], largest_rate(job, r, sample_weight(job, s)))
        rebase = prepare_strengths(&d, v, lr, zero)
        learn_sample(&d, v, job, &indices, data + batch.starts[r], n, s)
        if job.intercept != NULL:
            learn_intercept(d, job, v.t.width*v.lanes, <const floating*>job.slopes)
        finish_strengths(&d, v, schedule.l1[s*schedule.stride], rebase, zero)
        judge(&v.progress, v.losses, sample_weight(job, s), v.count, v.lanes)
