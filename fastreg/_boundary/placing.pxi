# Layer 4, given weights: training continues from them. Included by linear.pyx; uses its cimports.
#
# Stamps say that the weights are up to date. FTRL solves for its weights, so that its z must fit them. Until its next
# step they count as up to date, too: its last learning rate is set to 0, and built_on says what z is built on.

cdef int place(Learner self, ndarray weights, ndarray intercept, long long epochs) except -1:
    """See Learner.place."""
    cdef int type_num = NPY_FLOAT if self.t.dtype == FLOAT32 else NPY_DOUBLE
    cdef const void* w = NULL
    cdef const void* b = NULL
    self.section.begin("intercept_" if weights is None else "coef_")
    try:
        if weights is not None:
            check_width(&self.t, weights.shape[1])
            weights = np.ascontiguousarray(weights.T)
            w = pointer_to(weights, type_num, self.t.rows*self.t.width, "coef_")
        if intercept is not None and self.intercept_data[0] != NULL:
            b = pointer_to(intercept, type_num, self.t.width, "intercept_")
        self.section.lock(True)
        with nogil:
            if w == NULL and self.t.direction == FTRL_PROXIMAL:
                kernels.lazy_flush(&self.t)
            place_rows(&self.t, w)
        if b != NULL:
            memcpy(self.intercept_data[0], b, PyArray_NBYTES(intercept))
            self.counts.center = 0
        self.counts.epochs = epochs
        self.section.unlock()
    finally:
        self.section.end()
    return 0


cdef void place_rows(Rows* t, const void* w) noexcept nogil:
    """Writes weights (rows, width), after which nothing is pending; NULL for those that are there, up to date."""
    if t.direction == FTRL_PROXIMAL:
        if t.d.plain.lr != 0:
            t.built_on = t.d.plain.lr
        elif t.built_on == 0:
            t.built_on = INFINITY  # no learning rate is known yet, and no part of z depends on one
        t.d.plain.lr = 0
    if w != NULL:
        if t.dtype == FLOAT32:
            place_weights(t, <float*>t.w, <const float*>w)
        else:
            place_weights(t, <double*>t.w, <const double*>w)


cdef void place_weights(const Rows* t, floating* w, const floating* given) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(t.rows):
        memcpy(w + i*t.pitch, given + i*t.width, t.width*sizeof(floating))
        if t.direction == FTRL_PROXIMAL:
            solve_for_z(t, w + i*t.pitch, i)
        elif t.direction == PLAIN:
            (<Stamp*>(t.stamps + i*t.stamp_pitch))[0] = Stamp(t.clock.inverse, t.clock.total)
        else:
            (<long long*>(t.stamps + i*t.stamp_pitch))[0] = t.steps


cdef void solve_for_z(const Rows* t, const floating* w, Py_ssize_t i) noexcept nogil:
    """The z of a row from which the closed form of the last step gives these weights.

    A zero weight gets the z in the middle of the interval that gives zero.
    """
    cdef FTRL d = t.d.ftrl
    cdef floating* z = <floating*>t.a + i*t.pitch
    cdef const floating* n = <const floating*>t.b + i*t.pitch
    cdef const floating* f = <const floating*>t.f + i*t.width if t.f != NULL else NULL
    cdef ElasticNet p = t.p
    cdef floating factor
    cdef double squares = 0
    cdef Py_ssize_t j
    d.lr = t.built_on
    for j in range(t.width):
        squares += <double>w[j]*<double>w[j]
    for j in range(t.width):
        factor = f[j] if f != NULL else <floating>1
        if t.in_units:
            p.l2 = t.p.l2*factor  # see penalty_at
        z[j] = warm_start(&d, &p, w[j], n[j], factor)
        if t.l21 != 0 and squares > 0:
            z[j] -= <floating>(t.l21*<double>factor*<double>w[j]/sqrt(squares))


cdef void anchor_placed(Rows* t, Learning* job, double lr) noexcept nogil:
    """Before the first step after weights were placed: FTRL's z is built on the learning rates of this step."""
    if t.direction != FTRL_PROXIMAL or t.built_on == 0 or t.d.plain.lr != 0:
        return
    if t.dtype == FLOAT32:
        anchor_all(t, job, lr, <const float*>t.w)
    else:
        anchor_all(t, job, lr, <const double*>t.w)
    t.built_on = lr


cdef void anchor_all(const Rows* t, Learning* job, double lr, const floating* w) noexcept nogil:
    cdef FTRL before = t.d.ftrl, now = t.d.ftrl
    cdef floating* z = <floating*>t.a
    cdef const floating* n = <const floating*>t.b
    cdef Py_ssize_t i, j, k
    before.lr, now.lr = t.built_on, lr
    if before.lr != now.lr:
        for i in range(t.rows):
            for j in range(t.width):
                k = i*t.pitch + j
                z[k] = reanchored(&before, &now, w[k], z[k], n[k])
    if job.intercept != NULL:
        if job.intercept_rates.data != NULL:
            now.lr = job.intercept_rate = job.intercept_rates.data[0]
        solve_for_each(&now, t.width, <const floating*>job.intercept, <floating*>job.intercept_a,
                       <const floating*>job.intercept_b)


cdef void solve_for_each(const FTRL* d, Py_ssize_t count, const floating* intercept, floating* z,
                         const floating* n) noexcept nogil:
    """The z from which FTRL gives back each intercept."""
    cdef ElasticNet none = ElasticNet(0, 0)
    cdef Py_ssize_t j
    for j in range(count):
        z[j] = warm_start(d, &none, intercept[j], n[j], <floating>1)


cdef void solve_for_intercept(const Rows* t, void** data, double lr) noexcept:
    """The same for an intercept and its state, if there is one."""
    cdef FTRL d = t.d.ftrl
    d.lr = lr
    if data[0] != NULL:
        if t.dtype == FLOAT32:
            solve_for_each(&d, t.width, <float*>data[0], <float*>data[1], <float*>data[2])
        else:
            solve_for_each(&d, t.width, <double*>data[0], <double*>data[1], <double*>data[2])
