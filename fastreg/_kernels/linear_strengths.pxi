# Layer 2 for a linear model at many strengths: one pass over the samples trains all of them; included by variant.pyx
# after strength_rows.pxi. FTRL's weights are in a tile from the margins to the step. Dense samples: strength_dense.pxi.

# -- All rows ---------------------------------------------------------------------------------------------------------

cdef void flush_strengths(Lazy d, Columns* v, floating zero) noexcept nogil:
    """Brings all rows up to date with the last step, after which the clocks start again."""
    cdef Py_ssize_t i, s
    if Lazy is FTRL:
        return  # its weights follow from its state
    d.lr = v.t.d.plain.lr
    for i in range(v.t.rows):
        catch_up_strengths(&d, v, i, <floating*>v.t.w + i*v.t.pitch, NULL)
    if Lazy is Plain:
        for s in range(v.lanes):
            start_clock(v, s)
    stamp_rows(&d, v, <const floating*>v.t.w)


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
        if Lazy is not FTRL:
            copy_all(<const floating*>v.t.w + (first + i)*v.t.pitch, out, v.t.width*v.lanes)
        catch_up_strengths(&d, v, first + i, out, NULL)
        out += v.t.width*v.lanes


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


cdef inline bint prepare_strengths(Lazy* d, Columns* v, const Batch* batch, const Schedule* schedule, Learning* job,
                                   Py_ssize_t s, floating zero) noexcept nogil:
    """Sets the learning rate of step s; whether clocks may have to start again after it."""
    cdef const floating* data = <const floating*>batch.data
    cdef Py_ssize_t start = batch.starts[job.order[s]], n = batch.starts[job.order[s] + 1] - start
    d.lr = min(number_at(&schedule.lr, s), largest_rate(job, square_of(job, data + start, n), s))
    if Lazy is Adagrad:
        if v.t.steps > 0 and d.lr != v.t.d.plain.lr:
            flush_strengths(d[0], v, zero)
    elif Lazy is Plain:
        set_shrinkages(v, <floating>d.lr)
        if tick_strengths(v, 0, v.lanes, <floating>d.lr):
            rebase_strengths(d[0], v, <floating>d.lr)
            return True
    return False


cdef void set_shrinkages(Columns* v, floating lr) noexcept nogil:
    """Not inline: gcc left out the vzeroupper before the call that follows, and the libm took four times as long."""
    cdef const floating* l1 = <const floating*>v.last_l1
    cdef const floating* l2 = <const floating*>v.last_l2
    cdef floating* threshold = <floating*>v.threshold
    cdef floating* shrinkage = <floating*>v.shrinkage
    cdef ElasticNet p
    cdef Py_ssize_t c
    for c in range(v.lanes):
        p = ElasticNet(l1[c], l2[c])
        threshold[c], shrinkage[c] = l1_threshold(&p, lr, <floating>1), l2_shrinkage(&p, lr, <floating>1)


cdef inline void finish_strengths(const Lazy* d, Columns* v, const Schedule* schedule, Learning* job, Py_ssize_t s,
                                  bint rebase, floating zero) noexcept nogil:
    """Step s of the weights has been made: what else belongs to it."""
    cdef floating* l1 = <floating*>v.last_l1
    cdef floating* l2 = <floating*>v.last_l2
    cdef double factor = number_at(&schedule.l1, s)
    cdef Py_ssize_t c
    if job.intercept != NULL:
        learn_intercept(d[0], schedule, job, s, v.t.width*v.lanes, <const floating*>job.slopes)
    v.t.steps += 1
    v.t.d.plain.lr = d.lr
    if Lazy is FTRL:
        for c in range(v.lanes):
            l1[c], l2[c] = <floating>(v.l1[c]*factor), <floating>(v.l2[c]*factor)
    elif Lazy is Plain:
        copy_all(v.next, v.clock, 4*v.lanes)
        if rebase:
            rebase_after(d[0], v, <floating>d.lr)
    judge(&v.progress, v.losses, sample_weight(job, s), v.lanes)


# -- Samples ----------------------------------------------------------------------------------------------------------

cdef inline void close_sums(const Columns* v) noexcept nogil:
    """The sums of products of all columns and strengths, from their MARGIN_LANES parts."""
    cdef double* sums = v.sums
    cdef Py_ssize_t size = v.t.width*v.lanes, c
    for c in range(size):
        sums[c] = sum_of_lanes(sums + c, size)


cdef inline void add_multiples(double* sums, double x, const floating* w, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(n):
        sums[c] += x*<double>w[c]


cdef inline void add_margins(const Lazy* d, const Columns* v, Py_ssize_t j, double x, const floating* w,
                             const Py_ssize_t* ranges) noexcept nogil:
    """Adds x times the weights of a row to the j-th of MARGIN_LANES sums, as add_products does."""
    cdef double* sums = v.sums + j*v.t.width*v.lanes
    cdef Py_ssize_t first, last, k
    for k in range(v.t.width):
        if Lazy is FTRL and ranges != NULL:
            first, last = ranges[2*k], ranges[2*k + 1]
        else:
            active_range(w, v.lanes, &first, &last)
        add_multiples(sums + first, x, w + first, last - first)
        sums, w = sums + v.lanes, w + v.lanes


cdef void add_to_margins(const Columns* v, const Learning* job, Py_ssize_t r, floating zero) noexcept nogil:
    """Adds what comes from no weight of sample r, as first_margin; the last argument only says the dtype."""
    cdef const floating* intercept = <const floating*>job.intercept
    cdef double margin = job.center if job.offsets == NULL else job.center + job.offsets[r]
    cdef double* margins = v.sums
    cdef Py_ssize_t c
    if intercept == NULL:
        for c in range(v.t.width*v.lanes):
            margins[c] = margin + margins[c]
    else:
        for c in range(v.t.width*v.lanes):
            margins[c] = (margin + <double>intercept[c]) + margins[c]


cdef void log_loss_slopes(double* margins, Py_ssize_t n, double y, double weight, double* losses,
                          floating* slopes) noexcept nogil:
    """The losses and slopes of loss_slope in a vectorised loop."""
    cdef Py_ssize_t c
    for c in range(n):
        losses[c] = weight*log_loss(y*margins[c])
        slopes[c] = <floating>weighted_log_slope(margins[c], y, weight)


cdef inline void slopes_of_vector(const Columns* v, Learning* job, double lr, Py_ssize_t s,
                                  floating* slopes) noexcept nogil:
    """Losses and slopes where there is one column."""
    cdef double y = job.targets[job.order[s]], weight = sample_weight(job, s), total = job.total
    cdef Py_ssize_t c
    if job.loss.code == LOG_LOSS:
        log_loss_slopes(v.sums, v.count, y, weight, v.losses, slopes)
    else:
        for c in range(v.count):
            job.total = 0
            slopes[c] = rounded_slope(job, limited_slope(job, &v.t, v.sums[c], y, weight, lr), slopes[c])
            v.losses[c] = job.total
        job.total = total
    for c in range(v.count):
        v.totals[c] += v.losses[c]


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


cdef inline void fill_strength_slopes(const Columns* v, Learning* job, double lr, Py_ssize_t s,
                                      floating* slopes) noexcept nogil:
    add_to_margins(v, job, job.order[s], slopes[0])
    if v.t.width == 1:
        slopes_of_vector(v, job, lr, s, slopes)
    else:
        slopes_of_matrix(v, job, s, slopes)


cdef inline void learn_sample(const Lazy* d, Columns* v, Learning* job, const Indices* indices, const floating* x,
                              Py_ssize_t n, Py_ssize_t s) noexcept nogil:
    """Step s of all strengths; FTRL's weights are in the tile from the margins to the step.

    Records of the next sample are prefetched during the step: half of the time, nothing else comes from memory.
    """
    cdef floating* slopes = <floating*>job.slopes
    cdef floating* w = <floating*>job.tile
    cdef Py_ssize_t* ranges
    cdef Py_ssize_t size = v.t.width*v.lanes, k, i
    cdef Lazy last = d[0]
    last.lr = v.t.d.plain.lr
    memset(v.sums, 0, MARGIN_LANES*size*sizeof(double))
    for k in range(n):
        if k + ROWS_AHEAD < n:
            prefetch_record(v, row_at(indices, k + ROWS_AHEAD))
        i = row_at(indices, k)
        w = <floating*>job.tile + k*size if Lazy is FTRL else <floating*>v.t.w + i*v.t.pitch
        ranges = v.ranges + 2*k*v.t.width
        catch_up_strengths(&last, v, i, w, ranges)
        add_margins(&last, v, k % MARGIN_LANES, <double>x[k], w, ranges)
    close_sums(v)
    fill_strength_slopes(v, job, d.lr, s, slopes)
    for k in range(n):
        if k < job.ahead.stop:
            prefetch_record(v, row_at(&job.ahead.rows, k))
        i = row_at(indices, k)
        step_strengths(d, v, i, x[k], slopes, <floating*>job.tile + k*size if Lazy is FTRL else slopes,
                       v.ranges + 2*k*v.t.width)
        if Lazy is not FTRL:
            stamp_row(d, v, v.next, v.t.steps + 1, i, <const floating*>v.t.w + i*v.t.pitch)


cdef void reanchor_strengths(FTRL d, Columns* v, double lr, floating* w) noexcept nogil:
    """As reanchor_rows; w is memory for the weights of a row."""
    cdef FTRL before = d, after = d
    cdef Py_ssize_t i, q
    before.lr, after.lr = rate_of_z(&v.t), lr
    for i in range(v.t.rows):
        q = i*v.t.pitch
        catch_up_strengths(&before, v, i, w, NULL)
        reanchor_all(before, after, w, <floating*>v.t.a + q, <const floating*>v.t.b + q, v.t.width*v.lanes)
    v.t.d.plain.lr = lr


cdef inline Py_ssize_t dense_stop(const Rows* t, const Batch* batch, const Schedule* schedule, const Learning* job,
                                  Py_ssize_t first) noexcept nogil:
    """Where the dense samples that are learned together end: z of FTRL is not built anew between them."""
    cdef Py_ssize_t s = first
    while batch.shared and s < job.count and not (
            t.direction == FTRL_PROXIMAL and job.intercept_rates.data != NULL
            and number_at(&schedule.lr, s) != number_at(&schedule.lr, first)):
        s += 1
    return s


cdef void learn_strengths(Lazy d, Columns* v, const Batch* batch, const Schedule* schedule, Learning* job,
                          floating zero) noexcept nogil:
    """`learn` for all strengths; the schedule has no strengths, but what they are multiplied by."""
    cdef const floating* data = <const floating*>batch.data
    cdef Indices indices
    cdef bint rebase
    cdef Py_ssize_t s = 0, stop, start
    while s < job.count:
        if Lazy is FTRL:
            if must_reanchor(&v.t, job, number_at(&schedule.lr, s)):
                reanchor_strengths(d, v, number_at(&schedule.lr, s), <floating*>job.tile)
        stop = dense_stop(&v.t, batch, schedule, job, s)
        if stop > s:
            learn_dense_strengths(d, v, batch, schedule, job, s, stop, zero)
            s = stop
            continue
        if s + 2 < job.count:
            prefetch_sample(batch, job.order[s + 2], data)
        start, indices = batch.starts[job.order[s]], indices_from(&batch.indices, batch.starts[job.order[s]])
        rebase = prepare_strengths(&d, v, batch, schedule, job, s, zero)
        look_ahead(batch, job, s)
        learn_sample(&d, v, job, &indices, data + start, batch.starts[job.order[s] + 1] - start, s)
        finish_strengths(&d, v, schedule, job, s, rebase, zero)
        s += 1
