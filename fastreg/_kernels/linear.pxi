# Layer 2 for linear models: an epoch over samples; included by variant.pyx after lazy_steps.pxi. A sample is a lazy
# step. Its gradient follows from the weights that the sample itself has brought up to date.
#
# An epoch is limited by memory: all that belongs to a feature lies in one record (_boundary/linear.pyx), and samples
# are prefetched. Where the weights are a vector, features are gathered in a tile, where loops are vectorised. Calls
# with more than a few dense samples: linear_dense.pxi.

cdef enum:
    MOST_AHEAD = 1 << 10  # features of the next sample that are prefetched: they stay in the second-level cache


cdef inline void prefetch_sample(const Batch* batch, Py_ssize_t r, const floating* x) noexcept nogil:
    """Samples in random order may lie anywhere."""
    cdef Py_ssize_t start = batch.starts[r], stop = batch.starts[r + 1]
    prefetch_range(<const char*>(x + start), <const char*>(x + stop))
    if not batch.shared:
        prefetch_range(<const char*>indices_from(&batch.indices, start).data,
                       <const char*>indices_from(&batch.indices, stop).data)


cdef inline void look_ahead(const Batch* batch, Learning* job, Py_ssize_t s) noexcept nogil:
    """Finds the features of the sample after step s."""
    cdef Py_ssize_t start
    job.ahead = Ahead(job.ahead.rows, 0, 0)
    if s + 1 < job.count and not batch.shared:
        start = batch.starts[job.order[s + 1]]
        job.ahead.rows = indices_from(&batch.indices, start)
        job.ahead.stop = min(batch.starts[job.order[s + 1] + 1] - start, <Py_ssize_t>MOST_AHEAD)


cdef inline double sum_of_lanes(const double* sums, Py_ssize_t pitch) noexcept nogil:
    return (((sums[0] + sums[pitch]) + (sums[2*pitch] + sums[3*pitch]))
            + ((sums[4*pitch] + sums[5*pitch]) + (sums[6*pitch] + sums[7*pitch])))


cdef inline void add_products(const floating* x, const floating* w, Py_ssize_t n, double* sums) noexcept nogil:
    """Adds products to sums that do not wait for each other. All margins are added up in this order."""
    cdef Py_ssize_t j, k
    for k in range(n // MARGIN_LANES):
        for j in range(MARGIN_LANES):
            sums[j] += <double>x[MARGIN_LANES*k + j]*<double>w[MARGIN_LANES*k + j]
    k = n - n % MARGIN_LANES
    for j in range(n % MARGIN_LANES):
        sums[j] += <double>x[k + j]*<double>w[k + j]


cdef inline double inner_product(const floating* x, const floating* w, Py_ssize_t n) noexcept nogil:
    cdef double[MARGIN_LANES] sums
    cdef Py_ssize_t j
    for j in range(MARGIN_LANES):
        sums[j] = 0
    add_products(x, w, n, sums)
    return sum_of_lanes(sums, 1)


cdef inline double sample_weight(const Learning* job, Py_ssize_t s) noexcept nogil:
    return 1 if job.weights == NULL else job.weights[s]


cdef inline double square_of(const Learning* job, const floating* x, Py_ssize_t n) noexcept nogil:
    """The square of a sample's length, where it is needed."""
    return inner_product(x, x, n) if job.curvature > 0 else 0


cdef inline double largest_rate(Learning* job, double square, Py_ssize_t s) noexcept nogil:
    """The learning rate that takes the loss of sample s to its minimum at most; infinite where there is no limit.

    A step moves its margin by the square of its length, with the intercept as the weight of one more feature.
    """
    cdef double curvature = 0
    if job.curvature > 0:
        job.square = square
        if job.intercept != NULL:
            job.square += number_at(&job.intercept_squares, s)
        if job.curvature < INFINITY:
            curvature = job.curvature*sample_weight(job, s)*job.square
    job.largest_rate = 1/curvature if curvature > 0 else INFINITY
    return job.largest_rate


cdef inline double weighted_log_slope(double margin, double y, double weight) noexcept nogil:
    """Of the log loss, for a y of ±1: it can be multiplied by the weight before the slope is known."""
    return (weight*y)*log_loss_slope(y*margin)


cdef inline double loss_slope(Learning* job, double margin, double y, double weight) noexcept nogil:
    """The derivative of a sample's loss by the margin; the loss is added to the total."""
    cdef Loss f = job.loss
    if f.code == LOG_LOSS:  # inline, so that the exponential is computed once
        job.total += weight*log_loss(y*margin)
        return weighted_log_slope(margin, y, weight)
    job.total += weight*loss(&f, margin, y)
    return weight*slope(&f, margin, y)


cdef inline double limited_slope(Learning* job, const Rows* t, double margin, double y, double weight,
                                 double lr) noexcept nogil:
    """The same with limits for the losses without a largest curvature: a step ends at the minimum at most, and adaptive
    steps remember no slope that is exponential in the distance from it.
    """
    cdef double own = loss_slope(job, margin, y, weight)
    if job.curvature == INFINITY:
        weight *= lr*job.square
        own /= max(1, weight*largest_curvature(&job.loss, margin, y))
    elif job.loss.code >= GAMMA:
        own = weight*slope(&job.loss, raised(&job.loss, margin, y, 4*sqrt(1 + <double>t.steps)), y)
    return own


cdef inline floating rounded_slope(const Learning* job, double slope, floating zero) noexcept nogil:
    """In the dtype of the weights; float32 cannot hold the squares of the largest slopes of losses with log link."""
    cdef double largest = 1e15
    if floating is float:
        if job.loss.code >= POISSON:
            slope = largest if slope > largest else -largest if slope < -largest else slope
    return <floating>slope


cdef inline double log_slope(Learning* job, double margin, double y, double weight) noexcept nogil:
    """loss_slope for the log loss, of which several are added together: no step waits for them."""
    job.pending_margins[job.pending], job.pending_weights[job.pending] = y*margin, weight
    job.pending += 1
    if job.pending == PENDING_LOSSES:
        add_pending(job)
    return weighted_log_slope(margin, y, weight)


cdef void add_pending(Learning* job) noexcept nogil:
    """Adds the log losses that are not in the total yet, in their order. The first loop is vectorised."""
    cdef double[PENDING_LOSSES] losses
    cdef Py_ssize_t k
    for k in range(job.pending):
        losses[k] = job.pending_weights[k]*log_loss(job.pending_margins[k])
    for k in range(job.pending):
        job.total += losses[k]
    job.pending = 0


cdef inline double first_margin(const Learning* job, Py_ssize_t r, Py_ssize_t c, floating _) noexcept nogil:
    """The part of a sample's margins that comes from no weight; the last argument only says the dtype."""
    cdef double margin = job.center if job.offsets == NULL else job.center + job.offsets[r]
    return margin + (0 if job.intercept == NULL else (<const floating*>job.intercept)[c])


cdef inline void fill_slopes(Learning* job, const Rows* t, double lr, Py_ssize_t s, floating* slopes) noexcept nogil:
    """The derivatives of the loss of a sample by its margins; the loss is added to the total, or will be."""
    cdef double y = job.targets[job.order[s]], weight = sample_weight(job, s), shift = 0
    cdef Py_ssize_t c
    if t.width == 1:
        if job.loss.code == LOG_LOSS:  # it needs no limit
            slopes[0] = <floating>log_slope(job, job.margins[0], y, weight)
            return
        slopes[0] = rounded_slope(job, limited_slope(job, t, job.margins[0], y, weight, lr), slopes[0])
        return
    if job.loss.code == MULTINOMIAL:
        shift = log_sum_exp(job.margins, t.width)
    for c in range(t.width):
        slopes[c] = <floating>loss_slope(job, job.margins[c] - shift, 1 if y == c else -1, weight)


cdef inline void prefetch_some(const Lazy* d, const Rows* t, Learning* job, Py_ssize_t most,
                               const floating* w) noexcept nogil:
    """Some of the next sample's features: only few cache misses can be outstanding, and a core stalls on more."""
    cdef Py_ssize_t k, stop = min(job.ahead.next + most, job.ahead.stop)
    for k in range(job.ahead.next, stop):
        prefetch_row(d, t, w, row_at(&job.ahead.rows, k))
    job.ahead.next = stop


cdef inline void learn_vector(Lazy d, Factor f, ElasticNet p, const Rows* t, const Clock* next, Learning* job,
                              const Indices* indices, const floating* x, Py_ssize_t n, Py_ssize_t s) noexcept nogil:
    """Step s; the features are in the tile from the margin to the step."""
    cdef Proximal m = Proximal(0)
    cdef Missed* since = <Missed*>job.missed
    cdef const floating* w = <const floating*>t.w
    cdef floating* slopes = <floating*>job.slopes
    cdef floating* w_ = <floating*>job.tile
    cdef floating* a_ = w_ + job.longest
    cdef floating* b_ = a_ + job.longest
    cdef floating* g = b_ + job.longest
    cdef floating* f_ = g + job.longest
    cdef Factor own = factors_in(&f, f_), these
    cdef Lazy last = d
    cdef Py_ssize_t size = ADAGRAD_BLOCK if Lazy is Adagrad else TILE, part, k
    set_last(&last, t)
    gather(&last, &f, t, indices, n, since, w_, a_, b_, f_)
    for part in range((n + size - 1)//size):
        prefetch_some(&d, t, job, TILE, w)
        k = size*part
        these = factor_from(&own, k, w_)
        catch_up_each(&last, t, &these, min(n - k, size), since if Lazy is FTRL else since + k, w_ + k, a_ + k, b_ + k)
    job.margins[0] = first_margin(job, job.order[s], 0, slopes[0]) + inner_product(x, w_, n)
    fill_slopes(job, t, d.lr, s, slopes)
    for k in range(n):
        g[k] = slopes[0]*x[k]
    if Lazy is FTRL:  # the weights are solved for when they are needed again
        for k in range(n):
            accumulate(&d, w_[k], g[k], a_ + k, b_ + k)
    else:
        for part in range(tiles(n)):
            prefetch_some(&d, t, job, TILE, w)
            k = TILE*part
            these = factor_from(&own, k, w_)
            step_all(&d, &m, &p, &these, t, min(n - k, <Py_ssize_t>TILE), g + k, w_ + k, a_ + k, b_ + k)
    prefetch_some(&d, t, job, job.ahead.stop, w)
    scatter(&d, t, next, t.steps + 1, indices, n, w_, a_, b_)


cdef inline void learn_matrix(Lazy d, Factor f, ElasticNet p, const Rows* t, const Clock* next, Learning* job,
                              const Indices* indices, const floating* x, Py_ssize_t n, Py_ssize_t s) noexcept nogil:
    """Step s, a column for each class; the target is the number of the sample's class."""
    cdef Proximal m = Proximal(0)
    cdef floating* w = <floating*>t.w
    cdef floating* slopes = <floating*>job.slopes
    cdef floating* g = slopes + t.width
    cdef double* sums
    cdef Lazy last = d
    cdef Factor own
    cdef Py_ssize_t c, i, k, q
    set_last(&last, t)
    for c in range(MARGIN_LANES*t.width):
        job.margins[t.width + c] = 0
    for k in range(n):
        if k + PREFETCH_ROWS < n:
            prefetch_row(&d, t, w, row_at(indices, k + PREFETCH_ROWS))
        i = row_at(indices, k)
        catch_up_row(&last, &f, t, w, i)
        sums = job.margins + (1 + k % MARGIN_LANES)*t.width  # as in add_products
        for c in range(t.width):
            sums[c] += <double>x[k]*<double>w[i*t.pitch + c]
    for c in range(t.width):
        job.margins[c] = (first_margin(job, job.order[s], c, slopes[0])
                          + sum_of_lanes(job.margins + t.width + c, t.width))
    fill_slopes(job, t, d.lr, s, slopes)
    for k in range(n):
        for c in range(t.width):
            g[c] = slopes[c]*x[k]
        i = row_at(indices, k)
        step_row(&d, &m, &p, &f, t, next, w, g, i)
        if Lazy is not FTRL:  # FTRL's rows are solved for when they are needed again
            if job.l21 != 0:
                own, q = factor_from(&f, i*t.width, w), i*t.pitch
                shrink_row(&d, &p, &own, t, job.l21, w + q, <const floating*>t.a + q, <const floating*>t.b + q)


cdef inline void learn_intercept(Lazy d, const Schedule* schedule, Learning* job, Py_ssize_t s, Py_ssize_t width,
                                 const floating* slopes) noexcept nogil:
    """A step of the intercept, which is not penalised and may have learning rates of its own."""
    cdef floating* w = <floating*>job.intercept
    cdef floating* a = <floating*>job.intercept_a
    cdef floating* b = <floating*>job.intercept_b
    cdef Proximal m = Proximal(0)
    cdef ElasticNet none = ElasticNet(0, 0)
    cdef Py_ssize_t c
    if job.intercept_rates.data != NULL:
        d.lr = job.intercept_rate
        job.intercept_rate = number_at(&job.intercept_rates, s)
        if Lazy is FTRL:
            if d.lr != job.intercept_rate:
                reanchor_all(d, FTRL(job.intercept_rate, d.beta), w, a, b, width)
        elif Lazy is Plain:
            job.intercept_rate = min(job.intercept_rate, job.largest_rate*number_at(&job.intercept_squares, s))
        d.lr = job.intercept_rate
    for c in range(width):
        w[c] = step(&d, &m, &none, w[c], slopes[c], a + c, b + c, <floating*>NULL, <floating>1)


cdef inline bint must_reanchor(const Rows* t, const Learning* job, double lr) noexcept nogil:
    """Whether z of FTRL is to be rebuilt before a step with this lr, so that no weight changes by it.

    Only for the default rates, which change at powers of two: under a schedule it would be a pass over all weights a
    step.
    """
    return t.direction == FTRL_PROXIMAL and job.intercept_rates.data != NULL and not is_built_on(t, lr)


cdef inline Clock prepare_sample(Lazy* d, ElasticNet* p, const Factor* f, Rows* t, const Schedule* schedule,
                                 Learning* job, double square, Py_ssize_t s, floating* w) noexcept nogil:
    """Sets the strengths of step s, with a sample of this squared length; returns the clock after it."""
    cdef Proximal m = Proximal(0)
    return prepare(d, &m, p, f, t, schedule, s, largest_rate(job, square, s), w)


cdef void learn(Lazy d, Factor f, Rows* t, const Batch* batch, const Schedule* schedule, Learning* job,
                floating* w) noexcept nogil:
    """For each sample: margins, derivatives of the loss, one lazy step of its features, and one of the intercept."""
    cdef const floating* data = <const floating*>batch.data
    cdef ElasticNet p = t.p
    cdef Rows here
    cdef Indices indices
    cdef Clock next
    cdef Py_ssize_t s = 0, count, start, n
    while s < job.count:
        count = dense_steps(t, schedule, job, s)
        if count > 0:
            learn_dense(d, f, t, batch, schedule, job, s, count, w)
            s += count
        if s + 2 < job.count:
            prefetch_sample(batch, job.order[s + 2], data)
        if Lazy is FTRL:
            if must_reanchor(t, job, number_at(&schedule.lr, s)):
                reanchor_rows(d, f, t, number_at(&schedule.lr, s), w)
        start, n = batch.starts[job.order[s]], batch.starts[job.order[s] + 1] - batch.starts[job.order[s]]
        indices = batch.indices if batch.shared else indices_from(&batch.indices, start)
        next = prepare_sample(&d, &p, &f, t, schedule, job, square_of(job, data + start, n), s, w)
        here, job.l21 = t[0], l21_at(schedule, s)
        if here.width == 1:
            look_ahead(batch, job, s)
            learn_vector(d, f, p, &here, &next, job, &indices, data + start, n, s)
        else:
            learn_matrix(d, f, p, &here, &next, job, &indices, data + start, n, s)
        if job.intercept != NULL:
            learn_intercept(d, schedule, job, s, here.width, <const floating*>job.slopes)
        finish(&d, &p, &f, t, &next, job.l21, w)
        s += 1
    add_pending(job)
