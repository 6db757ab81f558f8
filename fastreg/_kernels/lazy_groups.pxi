# Layer 2 for gradients with few rows: a row is a group of the group lasso; included by variant.pyx before lazy.pxi.
#
# A step without a gradient shrinks the norm of a row as it does a single weight, and its direction stands still: for
# Plain, a row is brought up to date by one number. FTRL solves for the row. The row's own step is that of groups.pxi.

cdef double row_squares(const floating* w, Py_ssize_t n) noexcept nogil:
    """The sum of the squares of a row."""
    cdef double[GROUP_LANES] lanes
    memset(lanes, 0, sizeof(lanes))
    add_row(Squares(0), w, w, n, <floating>0, <floating>0, lanes)
    return add_pairwise(lanes)


cdef void catch_up_group(const Factor* f, const Missed* since, floating* w, Py_ssize_t n) noexcept nogil:
    """The steps of Plain that a row has missed; its weights have the same factor."""
    cdef double factor
    cdef Py_ssize_t j
    if n == 0 or factor_at(f, 0, w) == 0:
        return
    factor = group_factor(since, sqrt(row_squares(w, n)), factor_at(f, 0, w))
    for j in range(n):
        w[j] = <floating>(factor*<double>w[j]) if factor != 0 else <floating>0


cdef void shrink_evenly(double h, floating l2, floating l21, floating* w, Py_ssize_t n) noexcept nogil:
    """The step of a row with equal step sizes, the inverse of which is h."""
    if l21 != 0:
        multiply_group(w, even_shrinkage(row_squares(w, n), h, l2, l21), n)


cdef void shrink_row(const Lazy* d, const ElasticNet* p, const Factor* f, const Rows* t, double l21, floating* w,
                     const floating* a, const floating* b) noexcept nogil:
    """The group's own part of a step, after that of its weights."""
    cdef Task row
    cdef ElasticNet own = penalty_at(f, t, p, factor_at(f, 0, w))
    if d.lr == 0 or t.width == 0:
        return  # nothing moves
    if Lazy is Plain:  # as step_block, which takes 130 ns more
        shrink_evenly(1/d.lr, <floating>own.l2*factor_at(f, 0, w), <floating>l21*factor_at(f, 0, w), w, t.width)
        return
    memset(&row, 0, sizeof(Task))
    row.dtype, row.direction, row.d = t.dtype, t.direction, t.d
    row.d.plain.lr = d.lr  # t has that of the last step
    row.penalty, row.p.elastic_net, row.l21 = ELASTIC_NET, own, l21
    row.outer, row.groups, row.inner, row.pitch, row.n = 1, 1, t.width, t.width, t.width
    row.w, row.a, row.b = w, <void*>a, <void*>b
    if Factor is PerCoordinate:
        row.f = f.f
    step_block(&row, 1, False, <const floating*>row.f)
