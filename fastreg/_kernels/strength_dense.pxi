# Layer 2 for a linear model at many strengths: dense samples; included by variant.pyx after linear_strengths.pxi. Each
# is a step of all rows: they are brought up to date before the first one, then nothing is pending, and they are stamped
# after the last one.
#
# As in linear_dense.pxi, a pass makes the step of one sample and adds up the margins of the next one, here for a panel
# of strengths. All that is the same for all rows lies in local arrays, which no store to a weight can change, and w and
# the state of FTRL lie in the tile at constant distances. Otherwise gcc compares addresses in each row, which has only
# a few strengths: a quarter of the time (Strengths in benchmarks/suite).

cdef inline floating* panel_of_row(const Columns* v, const Learning* job, Py_ssize_t i, Py_ssize_t q,
                                   floating _) noexcept nogil:
    """Where the tile has w of row i at column and strength q; its state and √n follow, PANEL numbers apart."""
    cdef Py_ssize_t c = q % v.lanes, panel = q // v.lanes*panels_of_column(v) + c // PANEL
    return <floating*>job.tile + v.t.width*v.lanes + ((panel*job.longest + i)*FTRL_ARRAYS*PANEL + c % PANEL)


cdef void begin_dense(const Lazy* d, const Columns* v, const Learning* job, const floating* x) noexcept nogil:
    """Brings all rows up to date, and adds up the margins of the sample x."""
    cdef floating* w = <floating*>job.tile
    cdef floating* own
    cdef Py_ssize_t size = v.t.width*v.lanes, i, q
    memset(v.sums, 0, MARGIN_LANES*size*sizeof(double))
    for i in range(v.t.rows):
        if Lazy is not FTRL:
            w = <floating*>v.t.w + i*v.t.pitch
        catch_up_strengths(d, v, i, w, NULL)
        add_margins(d, v, i % MARGIN_LANES, <double>x[i], w, NULL)
        if Lazy is FTRL:
            for q in range(size):
                own = panel_of_row(v, job, i, q, <floating>0)
                own[0], own[PANEL] = w[q], (<const floating*>v.t.a)[i*v.t.pitch + q]
                own[2*PANEL] = (<const floating*>v.t.b)[i*v.t.pitch + q]
                own[3*PANEL] = root(own[2*PANEL])
    close_sums(v)


cdef void end_dense(const Lazy* d, const Columns* v, const Learning* job, floating zero) noexcept nogil:
    """Puts back what begin_dense has taken, and stamps all rows."""
    cdef const floating* own
    cdef Py_ssize_t i, q
    if Lazy is FTRL:
        for i in range(v.t.rows):
            for q in range(v.t.width*v.lanes):
                own = panel_of_row(v, job, i, q, zero)
                (<floating*>v.t.a)[i*v.t.pitch + q] = own[PANEL]
                (<floating*>v.t.b)[i*v.t.pitch + q] = own[2*PANEL]
    stamp_rows(d, v, <const floating*>v.t.w)


cdef void step_panel(Lazy d, const Columns* v, const Learning* job, Py_ssize_t rows, Py_ssize_t first, Py_ssize_t n,
                     double factor, const floating* x, const floating* after) noexcept nogil:
    """A step of all rows with the sample x for n strengths, at most PANEL; their inner products with the next sample.

    l1 and l2 are multiplied by the factor.
    """
    cdef Proximal m = Proximal(0)
    cdef floating[PANEL] slopes, l1, l2, threshold, shrinkage
    cdef double[MARGIN_LANES*PANEL] sums
    cdef Py_ssize_t size = v.t.width*v.lanes, i, j, c
    cdef floating* w = (panel_of_row(v, job, 0, first, <floating>0) if Lazy is FTRL else <floating*>v.t.w + first)
    cdef const double* l1s = v.l1 + first % v.lanes
    cdef const double* l2s = v.l2 + first % v.lanes
    cdef floating state, squares, root_n, f
    cdef floating low = <floating>v.t.low, high = <floating>v.t.high
    cdef double y
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
        f, j, y = factor_of(v, i, <floating>1), i % MARGIN_LANES*n, after[i]
        if Lazy is FTRL:
            for c in range(n):
                p = ElasticNet(l1[c], l2[c])
                state, squares, root_n = w[PANEL + c], w[2*PANEL + c], w[3*PANEL + c]
                accumulate_with_root(&d, w[c], slopes[c]*x[i], &state, &squares, &root_n)
                w[c] = within(solve(&d, &p, state, squares, f), low, high)
                w[PANEL + c], w[2*PANEL + c], w[3*PANEL + c] = state, squares, root_n
                sums[j + c] += y*<double>w[c]
        elif Lazy is Adagrad:
            for c in range(n):
                p, state = ElasticNet(l1[c], l2[c]), w[size + c]
                w[c] = within(step(&d, &m, &p, w[c], slopes[c]*x[i], &state, <floating*>NULL, <floating*>NULL, f), low,
                              high)
                w[size + c] = state
                sums[j + c] += y*<double>w[c]
        elif f == 1 and low == -INFINITY:
            for c in range(n):
                w[c] = soft_scaled(w[c] - move(&d, slopes[c]*x[i], w, w, w, &root_n), threshold[c], shrinkage[c])
                sums[j + c] += y*<double>w[c]
        else:
            for c in range(n):
                p = ElasticNet(l1[c], l2[c])
                w[c] = within(step(&d, &m, &p, w[c], slopes[c]*x[i], <floating*>NULL, <floating*>NULL, <floating*>NULL,
                                   f), low, high)
                sums[j + c] += y*<double>w[c]
        w += FTRL_ARRAYS*PANEL if Lazy is FTRL else v.t.pitch
    for c in range(n):
        v.sums[first + c] = sum_of_lanes(sums + c, n)


cdef void learn_dense_strengths(Lazy d, Columns* v, const Batch* batch, const Schedule* schedule, Learning* job,
                                Py_ssize_t first, Py_ssize_t stop, floating zero) noexcept nogil:
    """The steps from the first one up to stop, at which z of FTRL is built on the same learning rate."""
    cdef const floating* data = <const floating*>batch.data
    cdef const floating* x
    cdef const floating* after
    cdef floating* slopes = <floating*>job.slopes
    cdef Py_ssize_t rows = v.t.rows, s, k, j, c
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
            for j in range(panels_of_column(v)):
                c = PANEL*j
                step_panel(d, v, job, rows, k*v.lanes + c, min(v.lanes - c, <Py_ssize_t>PANEL),
                           schedule.l1[s*schedule.stride], x, after)
        finish_strengths(&d, v, schedule, job, s, rebase, zero)
    v.t.rows = rows
    end_dense(&d, v, job, zero)
