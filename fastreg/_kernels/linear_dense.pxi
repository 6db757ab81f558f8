# Layer 2 for linear models: dense samples, from the second to the last but one of a call; included by variant.pyx
# before linear.pxi. The first sample is a lazy step: it brings all rows up to date. From then on nothing is pending,
# and no row needs a stamp: the weights are copied from the records to contiguous arrays, a block for each column, where
# loops are vectorised. They are copied back for the last sample, another lazy step, which leaves the records as they
# are after any other: the weights have the same bits however a stream is split, and whether samples are dense or not.
# A sample at which z of FTRL is built on another learning rate is a lazy step, too.
#
# A pass over a column makes the step of one sample and adds up the margin of the next one: all that it reads and writes
# is in the cache once. Rows that are groups stay lazy steps, since their weights lie in different columns.

cdef enum:
    DENSE_BLOCK = 64  # weights that are worked on together, a multiple of MARGIN_LANES
    DENSE_LEAST = 4   # samples between two copies


cdef inline floating* aligned(const Learning* job, floating _) noexcept nogil:
    """The contiguous arrays: w, its state, and for FTRL the roots of n, for each column, then the factors."""
    cdef size_t start = <size_t>job.contiguous
    return <floating*>(start + (CACHE_LINE - start % CACHE_LINE) % CACHE_LINE)


cdef void load_columns(Lazy d, Factor f, const Rows* t, const Learning* job, const floating* w) noexcept nogil:
    """Copies the weights from the records. FTRL's are solved for, as after its last step."""
    cdef Py_ssize_t pitch = contiguous_pitch(t), block = contiguous_arrays(t.direction)*pitch
    cdef floating* w_ = aligned(job, <floating>0)
    cdef floating* f_ = w_ + t.width*block
    cdef Factor own = factors_in(&f, f_)
    cdef Missed since
    cdef Py_ssize_t c, k
    set_last(&d, t)
    if Factor is PerCoordinate:
        for k in range(t.rows):
            f_[k] = factor_at(&f, k*t.width, w)
    for c in range(t.width):
        for k in range(t.rows):
            w_[k] = w[k*t.pitch + c]
            if Lazy is not Plain:
                w_[pitch + k] = (<const floating*>t.a)[k*t.pitch + c]
            if Lazy is FTRL:
                w_[2*pitch + k] = (<const floating*>t.b)[k*t.pitch + c]
                w_[3*pitch + k] = root(w_[2*pitch + k])
        if Lazy is FTRL:
            since = elapsed(&d, t, 0)
            catch_up_all(&d, t, &own, t.rows, &since, 0, w_, w_ + pitch, w_ + 2*pitch)
        w_ += block


cdef void store_columns(Lazy d, const Rows* t, const Learning* job, floating* w) noexcept nogil:
    """Copies the weights back to the records, which are up to date."""
    cdef Py_ssize_t pitch = contiguous_pitch(t), block = contiguous_arrays(t.direction)*pitch
    cdef const floating* w_ = aligned(job, <floating>0)
    cdef Py_ssize_t c, k
    for c in range(t.width):
        for k in range(t.rows):
            w[k*t.pitch + c] = w_[k]
            if Lazy is not Plain:
                (<floating*>t.a)[k*t.pitch + c] = w_[pitch + k]
            if Lazy is FTRL:
                (<floating*>t.b)[k*t.pitch + c] = w_[2*pitch + k]
        w_ += block
    for k in range(t.rows):
        stamp(&d, t, &t.clock, t.steps, k)


cdef double step_column(Lazy d, Factor f, ElasticNet p, const Rows* t, floating slope, const floating* x,
                        const floating* after, const floating* later, floating* w, double* square) noexcept nogil:
    """A step of a column with the sample x; returns the inner product of its weights with the next sample.

    For Plain, whose learning rates it may limit, `square` gets that sample's squared length, unless it is NULL.
    Prefetches the one after that, unless it is NULL. In blocks, so that weights are in cache when they are multiplied.
    The loops are in place: of copies to local arrays as in `dense`, gcc makes string instructions, a quarter of the
    time, and with chunks of a fixed length as short as 8 nothing is vectorised (DenseEpoch in benchmarks/suite).
    """
    cdef Proximal m = Proximal(0)
    cdef double[MARGIN_LANES] sums, x_squares
    cdef floating[DENSE_BLOCK] f_
    cdef Py_ssize_t pitch = contiguous_pitch(t), rows = t.rows, i, j, k, n
    cdef floating* a = w + pitch
    cdef floating* b = a + pitch
    cdef floating* roots = b + pitch
    cdef Factor own = factors_in(&f, f_)  # a copy, so that there are not too many arrays that might overlap
    cdef ElasticNet penalty
    cdef floating state, squares, root_n
    cdef bint clips = t.low > -INFINITY or t.high < INFINITY
    cdef floating low = <floating>t.low, high = <floating>t.high
    for j in range(MARGIN_LANES):
        sums[j] = x_squares[j] = 0
    for k in range((rows + DENSE_BLOCK - 1) // DENSE_BLOCK):
        i = DENSE_BLOCK*k
        n = min(rows - i, <Py_ssize_t>DENSE_BLOCK)
        if later != NULL:
            prefetch_range(<const char*>(later + i), <const char*>(later + i + n))
        if Factor is PerCoordinate:
            for j in range(n):
                f_[j] = factor_at(&f, i + j, x)
        for j in range(n):
            if Lazy is FTRL:
                state, squares, root_n = a[i + j], b[i + j], roots[i + j]
                accumulate_with_root(&d, w[i + j], slope*x[i + j], &state, &squares, &root_n)
                penalty = penalty_at(&own, t, &p, factor_at(&own, j, x))
                w[i + j] = solve(&d, &penalty, state, squares, factor_at(&own, j, x))
                a[i + j], b[i + j], roots[i + j] = state, squares, root_n
            elif Lazy is Adagrad:
                state = a[i + j]
                penalty = penalty_at(&own, t, &p, factor_at(&own, j, x))
                w[i + j] = step(&d, &m, &penalty, w[i + j], slope*x[i + j], &state, <floating*>NULL, <floating*>NULL,
                                factor_at(&own, j, x))
                a[i + j] = state
            else:
                penalty = penalty_at(&own, t, &p, factor_at(&own, j, x))
                w[i + j] = step(&d, &m, &penalty, w[i + j], slope*x[i + j], <floating*>NULL, <floating*>NULL,
                                <floating*>NULL, factor_at(&own, j, x))
        if clips:
            for j in range(n):
                w[i + j] = within(w[i + j], low, high)
        add_products(after + i, w + i, n, sums)
        if Lazy is Plain:
            if square != NULL:
                add_products(after + i, after + i, n, x_squares)
    if Lazy is Plain:
        if square != NULL:
            square[0] = sum_of_lanes(x_squares, 1)
    return sum_of_lanes(sums, 1)


cdef inline Py_ssize_t dense_steps(const Rows* t, const Schedule* schedule, const Learning* job,
                                   Py_ssize_t first) noexcept nogil:
    """How many samples from this one on are learned from here: none of groups, and none at which z is built anew.

    None, too, where they are too few to be worth the copies.
    """
    cdef Py_ssize_t s = first
    if first == 0 or job.contiguous == NULL:
        return 0
    if t.direction != FTRL_PROXIMAL and schedule.l21.stride == 0 and l21_at(schedule, s) == 0:
        s = max(s, job.count - 1)
    while s < job.count - 1 and l21_at(schedule, s) == 0 and not (
            must_reanchor(t, job, number_at(&schedule.lr, s))):
        s += 1
    return s - first if s - first >= DENSE_LEAST else 0


cdef void learn_dense(Lazy d, Factor f, Rows* t, const Batch* batch, const Schedule* schedule, Learning* job,
                      Py_ssize_t first, Py_ssize_t count, floating* w) noexcept nogil:
    """`count` samples from this one on, which are not the first or the last of a call."""
    cdef const floating* data = <const floating*>batch.data
    cdef const floating* x
    cdef const floating* after
    cdef const floating* later
    cdef floating* slopes = <floating*>job.slopes
    cdef floating* w_ = aligned(job, <floating>0)
    cdef Rows now = t[0]
    cdef Py_ssize_t block = contiguous_arrays(t.direction)*contiguous_pitch(t), s, c
    cdef Factor own = factors_in(&f, w_ + t.width*block)
    cdef ElasticNet p = t.p
    cdef Clock next
    cdef double square
    now.rows = 0  # those that a flush must bring up to date
    load_columns(d, f, t, job, w)
    x = data + batch.starts[job.order[first]]
    square = square_of(job, x, t.rows)
    for c in range(t.width):
        job.margins[c] = inner_product(x, w_ + c*block, t.rows)
    for s in range(first, first + count):
        x, after = data + batch.starts[job.order[s]], data + batch.starts[job.order[s + 1]]
        later = data + batch.starts[job.order[s + 2]] if s + 2 < job.count else NULL
        next = prepare_sample(&d, &p, &f, &now, schedule, job, square, s, w)
        for c in range(t.width):
            job.margins[c] += first_margin(job, job.order[s], c, slopes[0])
        fill_slopes(job, &now, d.lr, s, slopes)
        for c in range(t.width):
            job.margins[c] = step_column(d, own, p, t, slopes[c], x, after, later if c == 0 else NULL, w_ + c*block,
                                         &square if c == 0 and job.curvature > 0 else NULL)
        if Lazy is not Plain:
            square = square_of(job, after, t.rows)
        if job.intercept != NULL:
            learn_intercept(d, schedule, job, s, t.width, slopes)
        finish(&d, &p, &f, &now, &next, 0, w)
    now.rows = t.rows
    t[0] = now
    store_columns(d, t, job, w)
