# Layer 2 for a linear model at many strengths: dense samples; included by variant.pyx before linear_strengths.pxi. Each
# is a step of all rows: before the first one they are brought up to date, from then on nothing is pending, and they are
# stamped after the last one.
#
# As in linear_dense.pxi, a pass makes the step of one sample and adds up the margins of the next one, here for a block
# of strengths. All that is the same for all rows lies in local arrays, which no store to a weight can change: otherwise
# gcc compares addresses in each row, which has only a few strengths. FTRL has w and √n in the tile.

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


cdef inline void add_margins(const Columns* v, Py_ssize_t j, double x, const floating* w) noexcept nogil:
    """Adds x times the weights of a row to the j-th of MARGIN_LANES sums, as add_products does."""
    cdef double* sums = v.sums + j*v.t.width*v.lanes
    cdef Py_ssize_t first, last, k
    for k in range(v.t.width):
        active_range(w, v.lanes, &first, &last)
        add_multiples(sums + first, x, w + first, last - first)
        sums, w = sums + v.lanes, w + v.lanes


cdef void begin_dense(const Lazy* d, const Columns* v, const Learning* job, const floating* x) noexcept nogil:
    """Brings all rows up to date, and adds up the margins of the sample x."""
    cdef floating* w = <floating*>job.tile
    cdef Py_ssize_t size = v.t.width*v.lanes, c, i
    memset(v.sums, 0, MARGIN_LANES*size*sizeof(double))
    for i in range(v.t.rows):
        if Lazy is not FTRL:
            w = <floating*>v.t.w + i*v.t.pitch
        catch_up_strengths(d, v, i, w)
        add_margins(v, i % MARGIN_LANES, <double>x[i], w)
        if Lazy is FTRL:
            for c in range(size):
                w[size + c] = root((<const floating*>v.t.b)[i*v.t.pitch + c])
            w += 2*size
    close_sums(v)


cdef void step_lanes(Lazy d, const Columns* v, const Learning* job, Py_ssize_t rows, Py_ssize_t first, Py_ssize_t n,
                     double factor, const floating* x, const floating* after) noexcept nogil:
    """A step of all rows with the sample x for n strengths, at most MOST; their inner products with the next sample.

    l1 and l2 are multiplied by the factor.
    """
    cdef Proximal m = Proximal(0)
    cdef floating[MOST] slopes, l1, l2, threshold, shrinkage
    cdef double[MARGIN_LANES*MOST] sums
    cdef Py_ssize_t size = v.t.width*v.lanes, i, j, c
    cdef floating* w = (<floating*>job.tile if Lazy is FTRL else <floating*>v.t.w) + first
    cdef floating* a = <floating*>v.t.a + first
    cdef floating* b = <floating*>v.t.b + first
    cdef const double* l1s = v.l1 + first % v.lanes
    cdef const double* l2s = v.l2 + first % v.lanes
    cdef floating state, squares, root_n, f
    cdef floating low = <floating>v.t.low, high = <floating>v.t.high
    cdef ElasticNet p
    for c in range(n):
        slopes[c] = (<const floating*>job.slopes)[first + c]
        l1[c], l2[c] = <floating>(l1s[c]*factor), <floating>(l2s[c]*factor)
        if Lazy is Plain:
            p = ElasticNet(l1[c], l2[c])
            threshold[c] = l1_threshold(&p, <floating>d.lr, <floating>1)
            shrinkage[c] = l2_shrinkage(&p, <floating>d.lr, <floating>1)
    memset(sums, 0, MARGIN_LANES*n*sizeof(double))
    for i in range(rows):
        f, j = factor_of(v, i, <floating>1), i % MARGIN_LANES*n
        if Lazy is FTRL:
            for c in range(n):
                p, state, squares, root_n = ElasticNet(l1[c], l2[c]), a[c], b[c], w[size + c]
                accumulate_with_root(&d, w[c], slopes[c]*x[i], &state, &squares, &root_n)
                w[c] = solve(&d, &p, state, squares, f)
                a[c], b[c], w[size + c] = state, squares, root_n
        elif Lazy is Adagrad:
            for c in range(n):
                p, state = ElasticNet(l1[c], l2[c]), a[c]
                w[c] = step(&d, &m, &p, w[c], slopes[c]*x[i], &state, <floating*>NULL, <floating*>NULL, f)
                a[c] = state
        elif f == 1:
            for c in range(n):
                w[c] = soft_scaled(w[c] - move(&d, slopes[c]*x[i], a, b, a, &root_n), threshold[c], shrinkage[c])
        else:
            for c in range(n):
                p = ElasticNet(l1[c], l2[c])
                w[c] = step(&d, &m, &p, w[c], slopes[c]*x[i], <floating*>NULL, <floating*>NULL, <floating*>NULL, f)
        if low > -INFINITY:
            for c in range(n):
                w[c] = within(w[c], low, high)
        for c in range(n):
            sums[j + c] += <double>after[i]*<double>w[c]
        w, a, b = w + (2*size if Lazy is FTRL else v.t.pitch), a + v.t.pitch, b + v.t.pitch
    for c in range(n):
        v.sums[first + c] = sum_of_lanes(sums + c, n)


cdef void learn_dense_strengths(Lazy d, Columns* v, const Batch* batch, const Schedule* schedule, Learning* job,
                                Py_ssize_t first, Py_ssize_t stop, floating zero) noexcept nogil:
    """The steps from the first one up to stop, at which z of FTRL is built on the same learning rate."""
    cdef const floating* data = <const floating*>batch.data
    cdef const floating* x
    cdef const floating* after
    cdef floating* slopes = <floating*>job.slopes
    cdef Py_ssize_t rows = v.t.rows, s, k, c
    cdef Lazy last = d
    cdef bint rebase
    last.lr = v.t.d.plain.lr
    for s in range(first, stop):
        x, after = data + batch.starts[job.order[s]], data + batch.starts[job.order[min(s + 1, stop - 1)]]
        if s + 2 < stop:
            prefetch_sample(batch, job.order[s + 2], data)
        rebase = prepare_strengths(&d, v, batch, schedule, job, s, zero)
        if s == first:
            begin_dense(&last, v, job, x)
            v.t.rows = 0  # those that a flush must bring up to date
        fill_strength_slopes(v, job, d.lr, s, slopes)
        for k in range(v.t.width):
            c = 0
            while c < v.lanes:
                step_lanes(d, v, job, rows, k*v.lanes + c, min(v.lanes - c, <Py_ssize_t>MOST),
                           schedule.l1[s*schedule.stride], x, after)
                c += MOST
        finish_strengths(&d, v, schedule, job, s, rebase, zero)
    v.t.rows = rows
    stamp_rows(&d, v, <const floating*>v.t.w)
