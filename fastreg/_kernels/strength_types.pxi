# Layer 3 for a linear model at many strengths: from codes to types; included by variant.pyx after linear_strengths.pxi.

cdef struct StrengthsJob:
    Operation operation
    const Batch* batch
    const Schedule* schedule
    Learning* learning
    Py_ssize_t first  # of rows to read
    Py_ssize_t count
    void* out


cdef void with_strengths(Lazy d, Columns* v, const StrengthsJob* job, floating zero) noexcept nogil:
    if job.operation == FLUSH:
        flush_strengths(d, v, zero)
    elif job.operation == READ:
        read_strengths(d, v, job.first, job.count, <floating*>job.out)
    else:
        learn_strengths(d, v, job.batch, job.schedule, job.learning, zero)


cdef void with_strengths_dtype(Lazy d, Columns* v, const StrengthsJob* job) noexcept nogil:
    if v.t.dtype == FLOAT32:
        with_strengths(d, v, job, <float>0)
    else:
        with_strengths(d, v, job, <double>0)


cdef void run_strengths(Columns* v, const StrengthsJob* job) noexcept nogil:
    if v.t.direction == PLAIN:
        with_strengths_dtype(v.t.d.plain, v, job)
    elif v.t.direction == ADAGRAD:
        with_strengths_dtype(v.t.d.adagrad, v, job)
    elif v.t.direction == FTRL_PROXIMAL:
        with_strengths_dtype(v.t.d.ftrl, v, job)


cdef void strengths_learn(Columns* v, const Batch* batch, const Schedule* schedule, Learning* learning) noexcept nogil:
    """A step for each sample, of a linear model at many strengths."""
    cdef StrengthsJob job = StrengthsJob(LEARN, batch, schedule, learning, 0, 0, NULL)
    run_strengths(v, &job)


cdef void strengths_flush(Columns* v) noexcept nogil:
    """Brings all rows up to date."""
    cdef StrengthsJob job = StrengthsJob(FLUSH, NULL, NULL, NULL, 0, 0, NULL)
    run_strengths(v, &job)


cdef void strengths_read(const Columns* v, Py_ssize_t first, Py_ssize_t count, void* out) noexcept nogil:
    """What `count` rows would be if they were up to date, by column and strength."""
    cdef StrengthsJob job = StrengthsJob(READ, NULL, NULL, NULL, first, count, out)
    cdef Columns own = v[0]
    run_strengths(&own, &job)
