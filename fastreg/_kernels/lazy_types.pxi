# Layer 3 for sparse gradients and samples: from codes to types, one choice a function, and the survey of indices.
from fastreg._kernels.table cimport INT32, PEEK, SETTLE, STEP


# -- Layer 3: from codes to types -------------------------------------------------------------------------------------

cdef void with_job(Lazy d, Closed m, Strength p, Rows* t, Sparse* job, floating* w,
                   const index* indices) noexcept nogil:
    if job.operation == STEP:
        steps(d, m, p, t, job, w, indices)
    elif job.operation == SETTLE:
        settle(d, p, t, w)
    elif job.operation == PEEK:
        peek(d, p, t, job, w, indices)
    elif Strength is ElasticNet and Closed is Proximal:  # as are all linear models
        learn(d, m, p, t, job, w, indices)


cdef void with_index(Lazy d, Closed m, Strength p, Rows* t, Sparse* job, floating* w) noexcept nogil:
    if job.index == INT32:
        with_job(d, m, p, t, job, w, <const int*>job.indices)
    else:
        with_job(d, m, p, t, job, w, <const long long*>job.indices)


cdef void with_strength(Lazy d, Closed m, Strength p, Rows* t, Sparse* job) noexcept nogil:
    if t.dtype == FLOAT32:
        with_index(d, m, p, t, job, <float*>t.w)
    else:
        with_index(d, m, p, t, job, <double*>t.w)


cdef void with_closed(Lazy d, Closed m, Rows* t, Sparse* job) noexcept nogil:
    if t.f != NULL:
        with_strength(d, m, Weighted(t.l1, t.l2), t, job)
    else:
        with_strength(d, m, ElasticNet(t.l1, t.l2), t, job)


cdef void with_operation(Rows* t, Sparse* job) noexcept nogil:
    if t.direction == PLAIN:
        if t.mode == PROXIMAL:
            with_closed(t.d.plain, Proximal(0), t, job)
        else:
            with_closed(t.d.plain, Truncated(INFINITY), t, job)
    elif t.direction == ADAGRAD:
        with_closed(t.d.adagrad, Proximal(0), t, job)
    else:
        with_closed(t.d.ftrl, Proximal(0), t, job)


# -- Checks of indices ------------------------------------------------------------------------------------------------

cdef int survey_indices(const index* indices, const Sparse* job, Py_ssize_t rows, Py_ssize_t* longest) noexcept nogil:
    """1 where an index lies outside, plus 2 where a gradient's are not strictly increasing; the longest gradient."""
    cdef int outside = 0, unsorted = 0
    cdef Py_ssize_t s, k, start, stop
    longest[0] = 0
    for s in range(job.count):
        start, stop = job.starts[s], job.starts[s + 1]
        longest[0] = max(longest[0], stop - start)
        for k in range(start, stop):
            outside |= (indices[k] < 0) | (indices[k] >= rows)
        unsorted |= not is_increasing(indices + start, stop - start)
    return outside + 2*unsorted


cdef int survey(const Sparse* job, Py_ssize_t rows, Py_ssize_t* longest) noexcept nogil:
    if job.index == INT32:
        return survey_indices(<const int*>job.indices, job, rows, longest)
    return survey_indices(<const long long*>job.indices, job, rows, longest)
