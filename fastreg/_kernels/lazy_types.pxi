# Layer 3 for sparse gradients and samples: from codes to types, one choice a function, and the survey of indices;
# included by variant.pyx. The four operations share the choices: a Job holds what each of them needs.

cdef enum Operation:
    STEP
    FLUSH
    READ
    LEARN

cdef struct Job:
    Operation operation
    const Batch* batch
    const Schedule* schedule
    const Merging* merging
    Learning* learning
    const Indices* indices  # of rows to read
    Py_ssize_t count
    void* out


cdef void with_operation(Lazy d, LazyMode m, Factor f, Rows* t, const Job* job, floating* w) noexcept nogil:
    if job.operation == STEP:
        steps(d, m, f, t, job.batch, job.schedule, job.merging, w)
    elif LazyMode is Proximal:
        if job.operation == FLUSH:
            flush(d, f, t, w)
        elif job.operation == READ:
            read(d, f, t, job.indices, job.count, <floating*>job.out)
        else:
            learn(d, f, t, job.batch, job.schedule, job.learning, w)


cdef void with_lazy_factor(Lazy d, LazyMode m, Factor f, Rows* t, const Job* job) noexcept nogil:
    if t.dtype == FLOAT32:
        with_operation(d, m, f, t, job, <float*>t.w)
    elif t.dtype == FLOAT64:
        with_operation(d, m, f, t, job, <double*>t.w)


cdef void with_lazy_mode(Lazy d, LazyMode m, Rows* t, const Job* job) noexcept nogil:
    if t.f != NULL:
        with_lazy_factor(d, m, PerCoordinate(t.f), t, job)
    else:
        with_lazy_factor(d, m, NoFactor(0), t, job)


cdef void run(Rows* t, const Job* job) noexcept nogil:
    """To flush and to read is the same in both modes."""
    if t.direction == PLAIN:
        if t.mode == PROXIMAL or job.operation != STEP:
            with_lazy_mode(t.d.plain, Proximal(0), t, job)
        else:
            with_lazy_mode(t.d.plain, Truncated(INFINITY), t, job)
    elif t.direction == ADAGRAD:
        with_lazy_mode(t.d.adagrad, Proximal(0), t, job)
    elif t.direction == FTRL_PROXIMAL:
        with_lazy_mode(t.d.ftrl, Proximal(0), t, job)


cdef void lazy_step(Rows* t, const Batch* batch, const Schedule* schedule, const Merging* merging) noexcept nogil:
    """A step for each sparse gradient."""
    cdef Job job = Job(STEP, batch, schedule, merging, NULL, NULL, 0, NULL)
    run(t, &job)


cdef void lazy_flush(Rows* t) noexcept nogil:
    """Brings all rows up to date."""
    cdef Job job = Job(FLUSH, NULL, NULL, NULL, NULL, NULL, 0, NULL)
    run(t, &job)


cdef void lazy_read(Rows* t, const Indices* indices, Py_ssize_t count, void* out) noexcept nogil:
    """What `count` rows would be if they were up to date; indices is NULL for the first ones."""
    cdef Job job = Job(READ, NULL, NULL, NULL, NULL, indices, count, out)
    run(t, &job)


cdef void linear_learn(Rows* t, const Batch* batch, const Schedule* schedule, Learning* learning) noexcept nogil:
    """A step for each sample of a linear model."""
    cdef Job job = Job(LEARN, batch, schedule, NULL, learning, NULL, 0, NULL)
    run(t, &job)


# -- Checks of indices ------------------------------------------------------------------------------------------------

cdef int survey_indices(const index* indices, const Batch* batch, Py_ssize_t rows, Py_ssize_t* longest) noexcept nogil:
    """1 where an index is out of range, plus 2 where a gradient's are not strictly increasing; the longest gradient."""
    cdef int outside = 0, unsorted = 0
    cdef Py_ssize_t s, k, start, stop
    longest[0] = 0
    for s in range(batch.count):
        start, stop = batch.starts[s], batch.starts[s + 1]
        longest[0] = max(longest[0], stop - start)
        for k in range(start, stop):
            outside |= (indices[k] < 0) | (indices[k] >= rows)
        unsorted |= not strictly_increases(indices + start, stop - start)
    return outside + 2*unsorted


cdef int survey(const Batch* batch, Py_ssize_t rows, Py_ssize_t* longest) noexcept nogil:
    if batch.indices.type == INT32:
        return survey_indices(<const int*>batch.indices.data, batch, rows, longest)
    return survey_indices(<const long long*>batch.indices.data, batch, rows, longest)
