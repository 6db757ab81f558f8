# Layer 2 for the end of a fit: coordinate descent on a quadratic, which stands for the loss near the present weights;
# included by variant.pyx after groups.pxi. The samples lie by features (CSC, or a dense matrix in Fortran order).
#
# A step of one weight reads the samples that have its feature, twice if it moves. The intercept is always at its
# optimum for the present weights: its part of the derivatives, h times `shift`, is kept apart, so that a sparse feature
# stays sparse (Friedman, Hastie & Tibshirani, "Regularization paths for generalized linear models via coordinate
# descent", 2010).

cdef inline double dot_rows(const floating* x, const index* rows, Py_ssize_t n, const double* r) noexcept nogil:
    """Σ x·r over the samples of a feature, in four sums that do not wait for each other."""
    cdef double[4] sums
    cdef Py_ssize_t j, k
    for j in range(4):
        sums[j] = 0
    for k in range(n // 4):
        for j in range(4):
            sums[j] += <double>x[4*k + j]*r[rows[4*k + j]]
    for k in range(n - n % 4, n):
        sums[0] += <double>x[k]*r[rows[k]]
    return (sums[0] + sums[1]) + (sums[2] + sums[3])


cdef inline double dot_all(const floating* x, Py_ssize_t n, const double* r) noexcept nogil:
    """The same for a feature that all samples have."""
    cdef double[4] sums
    cdef Py_ssize_t j, k
    for j in range(4):
        sums[j] = 0
    for k in range(n // 4):
        for j in range(4):
            sums[j] += <double>x[4*k + j]*r[4*k + j]
    for k in range(n - n % 4, n):
        sums[0] += <double>x[k]*r[k]
    return (sums[0] + sums[1]) + (sums[2] + sums[3])


cdef void add_dots(const Quadratic* q, const floating* x, const index* rows, Py_ssize_t n, double* out) noexcept nogil:
    """Adds Σ x·r to each class."""
    cdef Py_ssize_t c, k, i
    if q.width == 1:
        out[0] += dot_all(x, n, q.r) if rows == NULL else dot_rows(x, rows, n, q.r)
        return
    for k in range(n):
        i = k if rows == NULL else rows[k]
        for c in range(q.width):
            out[c] += <double>x[k]*q.r[i*q.width + c]


cdef void move_derivatives(const Quadratic* q, const floating* x, const index* rows, Py_ssize_t n,
                           const double* moved) noexcept nogil:
    """What a step of the weights of a feature does to the derivatives."""
    cdef Py_ssize_t c, k, i
    if q.width > 1:
        for k in range(n):
            i = q.width*(k if rows == NULL else rows[k])
            for c in range(q.width):
                q.r[i + c] += q.h[i + c]*(<double>x[k]*moved[c])
    elif rows == NULL:
        for k in range(n):
            q.r[k] += q.h[k]*(<double>x[k]*moved[0])
    else:
        for k in range(n):
            q.r[rows[k]] += q.h[rows[k]]*(<double>x[k]*moved[0])


cdef void add_curvature(const Quadratic* q, const floating* x, const index* rows, Py_ssize_t n, double* first,
                        double* second) noexcept nogil:
    """Adds Σ h·x and Σ h·x²."""
    cdef Py_ssize_t c, k, i
    cdef double v
    for k in range(n):
        i, v = q.width*(k if rows == NULL else rows[k]), x[k]
        for c in range(q.width):
            first[c] += q.h[i + c]*v
            second[c] += q.h[i + c]*(v*v)


cdef inline bint is_flat(double curvature) noexcept nogil:
    """Whether a second derivative says nothing: the feature is constant, or nearly zero."""
    return curvature < 1e-150


cdef inline double minimiser(const Quadratic* q, double w, double slope, double curvature, double f) noexcept nogil:
    """The weight that minimises the quadratic plus the penalty; 0 if only the penalty speaks."""
    cdef ElasticNet p = q.p
    cdef double eta
    if is_flat(curvature):
        return 0 if (p.l1 > 0 or p.l2 > 0) and f > 0 else w
    eta = 1/curvature
    return within(prox(&p, w - eta*slope, eta, f), q.low, <double>INFINITY)


cdef inline void step_group(const Quadratic* q, const double* slopes, const double* curvatures, double f,
                            double* w) noexcept nogil:
    """The weights of a feature under the group lasso, in one step whose size suits the steepest class."""
    cdef double curvature = 0, norm = 0, factor
    cdef Py_ssize_t c
    for c in range(q.width):
        curvature = max(curvature, curvatures[c])
    if is_flat(curvature):
        for c in range(q.width):
            w[c] = 0 if f > 0 else w[c]
        return
    for c in range(q.width):
        w[c] = within(w[c]*curvature - slopes[c], q.low, <double>INFINITY)
        norm += w[c]*w[c]
    factor = even_factor(sqrt(norm), 1, q.l21*f)
    for c in range(q.width):
        w[c] = multiplied(w[c], factor/(curvature + q.p.l2*f))


cdef void sweep_features(Quadratic* q, const floating* data, const index* rows) noexcept nogil:
    cdef Py_ssize_t c, j, k, n, start
    cdef double* w
    cdef double* slopes = q.work
    cdef double* moved = q.work + q.width
    cdef const double* curvatures
    cdef const double* first
    cdef const index* own
    cdef double f
    cdef bint any_moved
    q.decrease = 0
    for k in range(q.count):
        j = q.features[k]
        start, f = q.starts[j], 1 if q.f == NULL else q.f[j]
        n = q.starts[j + 1] - start
        w, first, curvatures = q.w + j*q.width, q.first + j*q.width, q.second + j*q.width
        for c in range(q.width):
            slopes[c], moved[c] = q.shift[c]*first[c], w[c]
        own = rows if rows == NULL else rows + start
        add_dots(q, data + start, own, n, slopes)
        if q.l21 > 0:
            step_group(q, slopes, curvatures, f, w)
        else:
            for c in range(q.width):
                w[c] = minimiser(q, w[c], slopes[c], curvatures[c], f)
        any_moved = False
        for c in range(q.width):
            moved[c] = w[c] - moved[c]
            any_moved |= moved[c] != 0
            q.decrease += 0.5*curvatures[c]*(moved[c]*moved[c])
            if q.total[c] > 0:
                q.shift[c] -= moved[c]*first[c]/q.total[c]
        if any_moved:
            move_derivatives(q, data + start, own, n, moved)


cdef void fill_curvature(Quadratic* q, const floating* data, const index* rows) noexcept nogil:
    """The second derivatives by all weights, with the intercept at its optimum."""
    cdef Py_ssize_t c, j, start
    cdef double* first
    cdef double* second
    cdef const index* own
    cdef double centred
    for j in range(q.count):
        start, first, second = q.starts[j], q.first + j*q.width, q.second + j*q.width
        for c in range(q.width):
            first[c] = second[c] = 0
        own = rows if rows == NULL else rows + start
        add_curvature(q, data + start, own, q.starts[j + 1] - start, first, second)
        for c in range(q.width):
            if q.total[c] > 0:
                centred = second[c] - first[c]*first[c]/q.total[c]
                second[c] = centred if centred > 1e-14*second[c] else 0  # a constant feature leaves only rounding


cdef void descend(Quadratic* q, const floating* data, const index* rows) noexcept nogil:
    if q.features == NULL:
        fill_curvature(q, data, rows)
    else:
        sweep_features(q, data, rows)


cdef void descend_in(Quadratic* q, const floating* data) noexcept nogil:
    if q.indices.type == INT64:
        descend(q, data, <const long long*>q.indices.data)
    else:
        descend(q, data, <const int*>q.indices.data)


cdef void descent(Quadratic* q) noexcept nogil:
    """A sweep over `features`, or the second derivatives by all weights if that is NULL."""
    if q.dtype == FLOAT32:
        descend_in(q, <const float*>q.data)
    else:
        descend_in(q, <const double*>q.data)
