# Layer 2 for a linear model at many strengths: dense samples; included by variant.pyx after linear_strengths.pxi. Each
# is a step of all rows: they are brought up to date before the first one, then nothing is pending, and they are stamped
# after the last one.
#
# As in linear_dense.pxi, a pass makes the step of one sample and adds up the margins of the next one, here for a panel
# of strengths. All that is the same for all rows lies in local arrays, which no store to a weight can change, and w and
# the state of FTRL lie in the tile at constant distances. Otherwise gcc compares addresses in each row, which has only
# a few strengths: a quarter of the time (Strengths in benchmarks/suite).

cdef struct Panel:  # strengths of a column
    Py_ssize_t first  # in a row
    Py_ssize_t n      # at most PANEL
    Py_ssize_t start  # for FTRL, in the tile: w, then its state and √n, PANEL numbers apart


cdef inline Panel panel_at(const Columns* v, const Learning* job, Py_ssize_t k, Py_ssize_t row) noexcept nogil:
    """The k-th panel of a row."""
    cdef Py_ssize_t panels = panels_of_column(v), c = k % panels*PANEL
    return Panel(k // panels*v.lanes + c, min(v.lanes - c, <Py_ssize_t>PANEL),
                 v.t.width*v.lanes + (k*job.longest + row)*FTRL_ARRAYS*PANEL)


cdef inline void load_panels(const Columns* v, const Learning* job, Py_ssize_t i, floating _) noexcept nogil:
    """Copies row i of FTRL to the tile, at the beginning of which its weights are."""
    cdef const floating* w
    cdef const floating* a
    cdef const floating* b
    cdef floating* own
    cdef Panel here
    cdef Py_ssize_t k, c
    for k in range(v.t.width*panels_of_column(v)):
        here = panel_at(v, job, k, i)
        own, w = <floating*>job.tile + here.start, <const floating*>job.tile + here.first
        a, b = <const floating*>v.t.a + i*v.t.pitch + here.first, <const floating*>v.t.b + i*v.t.pitch + here.first
        for c in range(here.n):
            own[c], own[PANEL + c], own[2*PANEL + c], own[3*PANEL + c] = w[c], a[c], b[c], root(b[c])


cdef inline void store_panels(const Columns* v, const Learning* job, Py_ssize_t i, floating _) noexcept nogil:
    """Copies the state of row i back."""
    cdef const floating* own
    cdef Panel here
    cdef Py_ssize_t k
    for k in range(v.t.width*panels_of_column(v)):
        here = panel_at(v, job, k, i)
        own = <const floating*>job.tile + here.start
        copy_all(own + PANEL, <floating*>v.t.a + i*v.t.pitch + here.first, here.n)
        copy_all(own + 2*PANEL, <floating*>v.t.b + i*v.t.pitch + here.first, here.n)


cdef void begin_dense(const Lazy* d, const Columns* v, const Learning* job, const floating* x) noexcept nogil:
    """Brings all rows up to date, and adds up the margins of the sample x."""
    cdef floating* w = <floating*>job.tile
    cdef Py_ssize_t i
    memset(v.sums, 0, MARGIN_LANES*v.t.width*v.lanes*sizeof(double))
    for i in range(v.t.rows):
        if Lazy is not FTRL:
            w = <floating*>v.t.w + i*v.t.pitch
        catch_up_strengths(d, v, i, w, NULL)
        add_margins(d, v, i % MARGIN_LANES, <double>x[i], w, NULL)
        if Lazy is FTRL:
            load_panels(v, job, i, <floating>0)
    close_sums(v)


cdef void step_panel(Lazy d, const Columns* v, const Learning* job, Py_ssize_t rows, Panel here, double factor,
                     const floating* x, const floating* after) noexcept nogil:
    """A step of all rows with the sample x for a panel; the inner products of its weights with the next sample.

    l1 and l2 are multiplied by the factor.
    """
    cdef Proximal m = Proximal(0)
    cdef floating[PANEL] slopes, l1, l2, threshold, shrinkage
    cdef double[MARGIN_LANES*PANEL] sums
    cdef Py_ssize_t size = v.t.width*v.lanes, n = here.n, i, j, c
    cdef floating* w = <floating*>job.tile + here.start if Lazy is FTRL else <floating*>v.t.w + here.first
    cdef const double* l1s = v.l1 + here.first % v.lanes
    cdef const double* l2s = v.l2 + here.first % v.lanes
    cdef floating state, squares, root_n, f, unit
    cdef floating low = <floating>v.t.low, high = <floating>v.t.high
    cdef double y
    cdef ElasticNet p
    for c in range(n):
        slopes[c] = (<const floating*>job.slopes)[here.first + c]
        l1[c], l2[c] = <floating>(l1s[c]*factor), <floating>(l2s[c]*factor)
        if Lazy is Plain:
            p = ElasticNet(l1[c], l2[c])
            threshold[c] = l1_threshold(&p, <floating>d.lr, <floating>1)
            shrinkage[c] = l2_shrinkage(&p, <floating>d.lr, <floating>1)
    memset(sums, 0, MARGIN_LANES*n*sizeof(double))
    for i in range(rows):
        f, j, y = factor_of(v, i, <floating>1), i % MARGIN_LANES*n, after[i]
        unit = unit_of(v, f)
        if Lazy is FTRL:
            for c in range(n):
                p = ElasticNet(l1[c], l2[c]*unit)
                state, squares, root_n = w[PANEL + c], w[2*PANEL + c], w[3*PANEL + c]
                accumulate_with_root(&d, w[c], slopes[c]*x[i], &state, &squares, &root_n)
                w[c] = within(solve(&d, &p, state, squares, f), low, high)
                w[PANEL + c], w[2*PANEL + c], w[3*PANEL + c] = state, squares, root_n
                sums[j + c] += y*<double>w[c]
        elif Lazy is Adagrad:
            for c in range(n):
                p, state = ElasticNet(l1[c], l2[c]*unit), w[size + c]
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
                p = ElasticNet(l1[c], l2[c]*unit)
                w[c] = within(step(&d, &m, &p, w[c], slopes[c]*x[i], <floating*>NULL, <floating*>NULL, <floating*>NULL,
                                   f), low, high)
                sums[j + c] += y*<double>w[c]
        w += FTRL_ARRAYS*PANEL if Lazy is FTRL else v.t.pitch
    for c in range(n):
        v.sums[here.first + c] = sum_of_lanes(sums + c, n)


cdef void learn_dense_strengths(Lazy d, Columns* v, const Batch* batch, const Schedule* schedule, Learning* job,
                                Py_ssize_t first, Py_ssize_t stop, floating zero) noexcept nogil:
    """The steps from the first one up to stop, at which z of FTRL is built on the same learning rate."""
    cdef const floating* data = <const floating*>batch.data
    cdef const floating* x
    cdef const floating* after
    cdef floating* slopes = <floating*>job.slopes
    cdef Py_ssize_t rows = v.t.rows, s, k
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
        for k in range(v.t.width*panels_of_column(v)):
            step_panel(d, v, job, rows, panel_at(v, job, k, 0), number_at(&schedule.l1, s), x, after)
        finish_strengths(&d, v, schedule, job, s, rebase, zero)
    v.t.rows = rows
    if Lazy is FTRL:
        for k in range(rows):
            store_panels(v, job, k, zero)
    stamp_rows(&d, v, <const floating*>v.t.w)
