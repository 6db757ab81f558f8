# Layer 4, samples of the linear models: checked memory, fingerprints and losses; included by linear.pyx and
# with its cimports.

def keep(arrays):
    """As long as the result is kept, nobody can resize these arrays, or those that they are views of."""
    return guard(arrays)


cdef int point_to(Batch* batch, samples, int number) except -1:
    """The samples as the kernels read them, with values of NumPy's type `number`."""
    cdef ndarray indices = samples.indices, starts = samples.starts
    cdef Py_ssize_t entries
    batch.shared, batch.count = samples.shared, PyArray_SIZE(starts) - 1
    batch.starts = <Py_ssize_t*>pointer_to(starts, NPY_INTP, 1, "X")
    entries = batch.starts[batch.count]
    batch.data = pointer_to(samples.data, number, entries, "X")
    batch.index = INT32 if PyArray_ITEMSIZE(indices) == 4 else INT64
    batch.indices = pointer_to(indices, NPY_INT32 if batch.index == INT32 else NPY_INT64,
                               samples.features if batch.shared else entries, "X")
    return 0


def take_indices(ndarray indices, ndarray starts, Py_ssize_t columns, bint copied):
    """The indices of a matrix in compressed rows, checked, and whether it is canonical.

    It is where all rows' are strictly increasing. ValueError where one lies outside. If `copied`, they are a copy,
    which is what is checked: nobody else can change it.
    """
    cdef bint narrow = PyArray_ITEMSIZE(indices) == 4
    cdef int number = NPY_INT32 if narrow else NPY_INT64
    cdef Py_ssize_t rows = PyArray_SIZE(starts) - 1
    cdef const Py_ssize_t* places = <const Py_ssize_t*>pointer_to(starts, NPY_INTP, 1, "X")
    cdef Py_ssize_t entries = places[rows]
    cdef const void* given = pointer_to(indices, number, entries, "X")
    cdef ndarray out = np.empty(entries, np.int32 if narrow else np.int64) if copied else indices
    cdef int found
    with nogil:
        if narrow:
            found = take_rows(<const int*>given, <int*>PyArray_DATA(out), places, rows, columns)
        else:
            found = take_rows(<const long long*>given, <long long*>PyArray_DATA(out), places, rows, columns)
    if found & 1:
        raise ValueError(f"X: expected a CSR matrix with indices from 0 to {columns - 1}, got others")
    return out, found == 0


cdef int take_rows(const index* indices, index* out, const Py_ssize_t* starts, Py_ssize_t rows,
                   Py_ssize_t columns) noexcept nogil:
    """1 where an index lies outside, plus 2 where those of a row are not strictly increasing."""
    cdef index last = last_index(columns, <index>0)
    cdef index outside = 0, unsorted = 0
    cdef Py_ssize_t s, k, n
    cdef const index* own
    for s in range(rows):
        own, n = out + starts[s], starts[s + 1] - starts[s]
        if out != indices:  # what comes after finds the row in cache
            memcpy(out + starts[s], indices + starts[s], n*sizeof(index))
        for k in range(n):
            outside |= (own[k] < 0) | (own[k] > last)
        for k in range(1, n):
            unsorted |= own[k] <= own[k - 1]
    return (outside != 0) + 2*(unsorted != 0)


cdef inline index last_index(Py_ssize_t columns, index zero) noexcept nogil:
    """The largest one that this type can tell from those beyond."""
    if index is int:
        return <int>min(columns - 1, <Py_ssize_t>0x7FFFFFFF)
    else:
        return columns - 1


cdef void copy_in_range(const index* indices, index* out, Py_ssize_t n, Py_ssize_t columns) noexcept nogil:
    """A copy of indices that have been checked; one that somebody has changed since is the first feature's, inside."""
    cdef index last = last_index(columns, <index>0)
    cdef index outside = 0
    cdef Py_ssize_t k
    memcpy(out, indices, n*sizeof(index))
    for k in range(n):
        outside |= (out[k] < 0) | (out[k] > last)
    if outside != 0:
        for k in range(n):
            out[k] = out[k] if out[k] >= 0 and out[k] <= last else 0


def mean_loss(ndarray margins, ndarray targets, ndarray weights, LossCode loss, double epsilon):
    """The mean loss of samples with these margins, (samples, columns), and targets, by weight if there are any."""
    cdef Py_ssize_t rows = PyArray_DIM(margins, 0), columns = PyArray_DIM(margins, 1), i, c
    cdef const double* m = <const double*>pointer_to(margins, NPY_DOUBLE, rows*columns, "margins")
    cdef const double* y = <const double*>pointer_to(targets, NPY_DOUBLE, rows, "y")
    cdef const double* weight = NULL
    cdef double sum = 0, total = 0, own
    if weights is not None:
        weight = <const double*>pointer_to(weights, NPY_DOUBLE, rows, "sample_weight")
    with nogil:
        for i in range(rows):
            own = 0
            for c in range(columns):
                own += loss_of(loss, epsilon, m[i*columns + c], y[i] if columns == 1 else 1 if y[i] == c else -1)
            sum += own if weight == NULL else weight[i]*own
            total += 1 if weight == NULL else weight[i]
    return sum/total


def survey(samples, bint fingerprinted):
    """Of each sample the squared length, how many features are not zero, and a number that depends on them alone.

    That number, None if it is not asked for, is the inner product with a vector of pseudo-random numbers.
    """
    cdef Batch batch
    cdef bint single = dtype_of(samples.data) == FLOAT32
    point_to(&batch, samples, NPY_FLOAT if single else NPY_DOUBLE)
    cdef ndarray squares = np.zeros(batch.count), counts = np.zeros(batch.count)
    cdef ndarray fingerprints = np.zeros(batch.count) if fingerprinted else None
    cdef double* s = <double*>PyArray_DATA(squares)
    cdef double* c = <double*>PyArray_DATA(counts)
    cdef double* p = <double*>PyArray_DATA(fingerprints) if fingerprinted else NULL
    with nogil:
        if single:
            survey_values(&batch, <const float*>batch.data, s, c, p)
        else:
            survey_values(&batch, <const double*>batch.data, s, c, p)
    return squares, counts, fingerprints


cdef void survey_values(const Batch* batch, const floating* x, double* squares, double* counts,
                        double* fingerprints) noexcept nogil:
    if batch.index == INT32:
        survey_samples(batch, x, <const int*>batch.indices, squares, counts, fingerprints)
    else:
        survey_samples(batch, x, <const long long*>batch.indices, squares, counts, fingerprints)


cdef void survey_samples(const Batch* batch, const floating* x, const index* indices, double* squares, double* counts,
                         double* fingerprints) noexcept nogil:
    cdef double[LANES] square, count, sum  # lanes, so that no addition waits for the last
    cdef Py_ssize_t s, i, j, k, n
    for s in range(batch.count):
        k, n = batch.starts[s], batch.starts[s + 1] - batch.starts[s]
        for j in range(LANES):
            square[j] = count[j] = 0
        while n >= LANES:
            for j in range(LANES):
                square[j] += <double>x[k + j]*<double>x[k + j]
                count[j] += x[k + j] != 0
            k, n = k + LANES, n - LANES
        for j in range(n):
            square[j] += <double>x[k + j]*<double>x[k + j]
            count[j] += x[k + j] != 0
        squares[s] = (square[0] + square[1]) + (square[2] + square[3])
        counts[s] = count[0] + count[1] + count[2] + count[3]
        if fingerprints == NULL:
            continue
        k, n = batch.starts[s], batch.starts[s + 1] - batch.starts[s]
        i = 0 if batch.shared else k
        for j in range(LANES):
            sum[j] = 0
        while n >= LANES:
            for j in range(LANES):
                sum[j] += x[k + j]*random(indices[i + j])
            k, i, n = k + LANES, i + LANES, n - LANES
        for j in range(n):
            sum[j] += x[k + j]*random(indices[i + j])
        fingerprints[s] = (sum[0] + sum[1]) + (sum[2] + sum[3])


cdef inline double random(index i) noexcept nogil:
    """Knuth's multiplicative hash, by 2³²/phi."""
    return <double><int32_t>(<uint32_t>(i + 1)*<uint32_t>2654435769)


cdef void learn_in_parts(Rows* t, Batch* batch, Schedule* schedule, Learning* job, void* room,
                         Py_ssize_t size) noexcept nogil:
    """An epoch over samples in the order in which they lie, with indices that others can change meanwhile.

    They are copied part by part. A private copy of all of them takes new memory, 5 % of an epoch (Epoch in
    benchmarks/suite/linear.py).
    """
    cdef Py_ssize_t count = job.count, first = 0, last, start, n
    cdef Py_ssize_t bytes_per_index = sizeof(int) if batch.index == INT32 else sizeof(long long)
    cdef const char* indices = <const char*>batch.indices
    while first < count:
        start, last = batch.starts[job.order[0]], 1
        while first + last < count and batch.starts[job.order[last] + 1] - start <= size:
            last += 1
        n = batch.starts[job.order[last - 1] + 1] - start
        if batch.index == INT32:
            copy_in_range(<const int*>(indices + start*bytes_per_index), <int*>room, n, t.rows)
        else:
            copy_in_range(<const long long*>(indices + start*bytes_per_index), <long long*>room, n, t.rows)
        batch.indices, job.count = <const char*>room - start*bytes_per_index, last
        kernels.linear_learn(t, batch, schedule, job)
        job.order, first = job.order + last, first + last
        if job.weights != NULL:
            job.weights = job.weights + last
        if schedule.stride:
            schedule.lr, schedule.l1, schedule.l2 = schedule.lr + last, schedule.l1 + last, schedule.l2 + last
