# Layer 4, samples of the linear models: checked memory, fingerprints and losses. Included by linear.pyx; uses its
# cimports.

def keep(arrays):
    """An object that prevents a resize of these arrays and their bases as long as it exists."""
    return guard(arrays)


cdef int point_to(Batch* batch, object samples, int type_num) except -1:
    """Fills the batch with checked samples, with values of NumPy's type `type_num`."""
    cdef ndarray indices = samples.indices, starts = samples.starts
    cdef Py_ssize_t entries
    batch.shared, batch.count = samples.shared, PyArray_SIZE(starts) - 1
    batch.starts = <Py_ssize_t*>pointer_to(starts, NPY_INTP, 1, "X")
    entries = batch.starts[batch.count]
    batch.data = pointer_to(samples.data, type_num, entries, "X")
    batch.indices.type = INT32 if PyArray_ITEMSIZE(indices) == 4 else INT64
    batch.indices.data = pointer_to(indices, NPY_INT32 if batch.indices.type == INT32 else NPY_INT64,
                                    samples.features if batch.shared else entries, "X")
    return 0


def take_indices(ndarray indices, ndarray starts, Py_ssize_t columns, bint copied):
    """The checked indices of a CSR matrix, and whether it is canonical: they strictly increase within each row.

    ValueError if an index is out of range. If `copied`, the result is a copy, and the copy is what is checked: nothing
    else can change it.
    """
    cdef bint narrow = PyArray_ITEMSIZE(indices) == 4
    cdef int type_num = NPY_INT32 if narrow else NPY_INT64
    cdef Py_ssize_t rows = PyArray_SIZE(starts) - 1
    cdef const Py_ssize_t* row_starts = <const Py_ssize_t*>pointer_to(starts, NPY_INTP, 1, "X")
    cdef Py_ssize_t entries = row_starts[rows]
    cdef const void* index_data = pointer_to(indices, type_num, entries, "X")
    cdef ndarray out = np.empty(entries, np.int32 if narrow else np.int64) if copied else indices
    cdef int found
    with nogil:
        if narrow:
            found = take_rows(<const int*>index_data, <int*>PyArray_DATA(out), row_starts, rows, columns)
        else:
            found = take_rows(<const long long*>index_data, <long long*>PyArray_DATA(out), row_starts, rows, columns)
    if found & 1:
        raise ValueError(f"X: expected a CSR matrix with indices from 0 to {columns - 1}, got an index out of range")
    return out, found == 0


cdef int take_rows(const index* indices, index* out, const Py_ssize_t* starts, Py_ssize_t rows,
                   Py_ssize_t columns) noexcept nogil:
    """1 if an index is out of range, plus 2 if the indices of a row are not strictly increasing."""
    cdef index last = last_index(columns, <index>0)
    cdef index outside = 0, unsorted = 0
    cdef Py_ssize_t s, k, n
    cdef const index* row
    for s in range(rows):
        row, n = out + starts[s], starts[s + 1] - starts[s]
        if out != indices:  # row by row, so that the loops below find it in cache
            memcpy(out + starts[s], indices + starts[s], n*sizeof(index))
        for k in range(n):
            outside |= (row[k] < 0) | (row[k] > last)
        for k in range(1, n):
            unsorted |= row[k] <= row[k - 1]
    return (outside != 0) + 2*(unsorted != 0)


cdef inline index last_index(Py_ssize_t columns, index zero) noexcept nogil:
    """The largest valid index, or the largest number of this type if that is smaller."""
    if index is int:
        return <int>min(columns - 1, <Py_ssize_t>0x7FFFFFFF)
    else:
        return columns - 1


cdef void copy_in_range(const index* indices, index* out, Py_ssize_t n, Py_ssize_t columns) noexcept nogil:
    """Copies indices that were in range when they were checked; one that was changed since then becomes 0."""
    cdef index last = last_index(columns, <index>0)
    cdef index outside = 0
    cdef Py_ssize_t k
    memcpy(out, indices, n*sizeof(index))
    for k in range(n):
        outside |= (out[k] < 0) | (out[k] > last)
    if outside != 0:
        for k in range(n):
            out[k] = out[k] if out[k] >= 0 and out[k] <= last else 0


def mean_loss(ndarray margins, ndarray targets, ndarray weights, LossCode code, double parameter):
    """The mean loss of samples with these margins (samples, columns) and targets, weighted if there are weights."""
    cdef Py_ssize_t rows = PyArray_DIM(margins, 0), columns = PyArray_DIM(margins, 1), i, c
    cdef const double* m = <const double*>pointer_to(margins, NPY_DOUBLE, rows*columns, "margins")
    cdef const double* y = <const double*>pointer_to(targets, NPY_DOUBLE, rows, "y")
    cdef const double* weight = NULL
    cdef double sum = 0, total = 0, sample_loss, shift = 0
    cdef Loss loss = Loss(code, parameter, 0)
    if weights is not None:
        weight = <const double*>pointer_to(weights, NPY_DOUBLE, rows, "sample_weight")
    with nogil:
        for i in range(rows):
            sample_loss = 0
            if code == MULTINOMIAL:
                shift = log_sum_exp(m + i*columns, columns)
            for c in range(columns):
                sample_loss += loss_of(&loss, m[i*columns + c] - shift,
                                       y[i] if columns == 1 else 1 if y[i] == c else -1)
            sum += sample_loss if weight == NULL else weight[i]*sample_loss
            total += 1 if weight == NULL else weight[i]
    return sum/total


def sizes_of(samples, ndarray rows):
    """The root mean square of the non-zero features of these samples; 0 if there are none or it is not finite."""
    cdef Batch batch
    cdef bint single = dtype_of(samples.data) == FLOAT32
    point_to(&batch, samples, NPY_FLOAT if single else NPY_DOUBLE)
    cdef Py_ssize_t count = PyArray_SIZE(rows), k
    cdef const Py_ssize_t* row = <const Py_ssize_t*>pointer_to(rows, NPY_INTP, count, "order")
    cdef ndarray out = np.empty(count)
    cdef double* sizes = <double*>PyArray_DATA(out)
    for k in range(count):
        if row[k] < 0 or row[k] >= batch.count:
            raise ValueError(f"order: expected samples from 0 to {batch.count - 1}, got {row[k]}")
    with nogil:
        for k in range(count):
            if single:
                sizes[k] = size_of(<const float*>batch.data + batch.starts[row[k]],
                                   batch.starts[row[k] + 1] - batch.starts[row[k]])
            else:
                sizes[k] = size_of(<const double*>batch.data + batch.starts[row[k]],
                                   batch.starts[row[k] + 1] - batch.starts[row[k]])
    return out


cdef double size_of(const floating* x, Py_ssize_t n) noexcept nogil:
    """In one sum, so that stored zeros do not change its bits."""
    cdef double square = 0
    cdef Py_ssize_t k, count = 0
    for k in range(n):
        square += <double>x[k]*<double>x[k]
        count += x[k] != 0
    return sqrt(square/count) if count > 0 and square < INFINITY else 0


def add_in_order(double total, ndarray numbers):
    """total + numbers[0] + numbers[1] + …, of float64, one after the other.

    NumPy's sum adds in pairs, and the cumsum of NumPy 2.0 crashes where it gets no memory.
    """
    cdef Py_ssize_t i, n = PyArray_SIZE(numbers)
    cdef const double* x = <const double*>pointer_to(numbers, NPY_DOUBLE, n, "numbers")
    for i in range(n):
        total += x[i]
    return total


def largest_magnitude(ndarray x):
    """The largest absolute value of a contiguous array, 0 if there is none; NaN if there is one."""
    cdef bint single = dtype_of(x) == FLOAT32
    cdef Py_ssize_t n = PyArray_SIZE(x)
    cdef const void* data = pointer_to(x, NPY_FLOAT if single else NPY_DOUBLE, n, "X")
    cdef uint32_t narrow = 0
    cdef uint64_t wide = 0
    cdef float largest_float
    cdef double largest
    with nogil:
        if single:
            narrow = largest_bits(<const uint32_t*>data, n, <uint32_t>0x7FFFFFFF)
        else:
            wide = largest_bits(<const uint64_t*>data, n, <uint64_t>0x7FFFFFFFFFFFFFFF)
    memcpy(&largest_float, &narrow, sizeof(float))
    memcpy(&largest, &wide, sizeof(double))
    return largest_float if single else largest


cdef bits largest_bits(const bits* x, Py_ssize_t n, bits magnitude) noexcept nogil:
    """As integers, magnitudes have the order of the numbers; infinity follows, then NaN."""
    cdef bits[MAGNITUDES] most
    cdef bits one
    cdef Py_ssize_t j, k = 0
    for j in range(MAGNITUDES):
        most[j] = 0
    while n - k >= MAGNITUDES:
        if bits is uint32_t:
            prefetch_chunk(<const float*>x + k, AHEAD)
        else:
            prefetch_chunk(<const double*>x + k, AHEAD)
        for j in range(MAGNITUDES):
            one = x[k + j] & magnitude
            most[j] = one if one > most[j] else most[j]
        k += MAGNITUDES
    for j in range(n - k):
        one = x[k + j] & magnitude
        most[j] = one if one > most[j] else most[j]
    for j in range(1, MAGNITUDES):
        most[0] = most[j] if most[j] > most[0] else most[0]
    return most[0]


def rows_in_units(ndarray values, Py_ssize_t features, ndarray order, ndarray origins, ndarray factors):
    """The rows of dense samples in this order, with (x − origin)·factor for each feature x; in their dtype."""
    cdef bint single = dtype_of(values) == FLOAT32
    cdef Py_ssize_t count = PyArray_SIZE(order), rows = PyArray_SIZE(values)//max(1, features), i
    cdef const void* data = pointer_to(values, NPY_FLOAT if single else NPY_DOUBLE, rows*features, "X")
    cdef const Py_ssize_t* places = <const Py_ssize_t*>pointer_to(order, NPY_INTP, count, "order")
    cdef const double* x0 = <const double*>pointer_to(origins, NPY_DOUBLE, features, "origins")
    cdef const double* f = <const double*>pointer_to(factors, NPY_DOUBLE, features, "factors")
    cdef ndarray out = np.empty((count, features), values.dtype)
    cdef void* to = PyArray_DATA(out)
    for i in range(count):
        if not 0 <= places[i] < rows:
            raise ValueError(f"order: expected numbers from 0 to {rows - 1}, got {places[i]}")
    with nogil:
        if single:
            copy_in_units(<const float*>data, places, count, features, x0, f, <float*>to)
        else:
            copy_in_units(<const double*>data, places, count, features, x0, f, <double*>to)
    return out


cdef void copy_in_units(const floating* x, const Py_ssize_t* places, Py_ssize_t count, Py_ssize_t features,
                        const double* origins, const double* factors, floating* out) noexcept nogil:
    cdef const floating* row
    cdef Py_ssize_t i, k
    for i in range(count):
        row = x + places[i]*features
        for k in range(features):
            out[k] = <floating>((<double>row[k] - origins[k])*factors[k])
        out += features


def fingerprints_of(samples):
    """For each sample a number that depends on its features only: the inner product with pseudo-random numbers."""
    cdef Batch batch
    cdef bint single = dtype_of(samples.data) == FLOAT32
    point_to(&batch, samples, NPY_FLOAT if single else NPY_DOUBLE)
    cdef ndarray out = np.zeros(batch.count)
    cdef double* fingerprints = <double*>PyArray_DATA(out)
    with nogil:
        if single:
            fingerprint_values(&batch, <const float*>batch.data, fingerprints)
        else:
            fingerprint_values(&batch, <const double*>batch.data, fingerprints)
    return out


cdef void fingerprint_values(const Batch* batch, const floating* x, double* fingerprints) noexcept nogil:
    if batch.indices.type == INT32:
        fingerprint_samples(batch, x, <const int*>batch.indices.data, fingerprints)
    else:
        fingerprint_samples(batch, x, <const long long*>batch.indices.data, fingerprints)


cdef void fingerprint_samples(const Batch* batch, const floating* x, const index* indices,
                              double* fingerprints) noexcept nogil:
    cdef double[LANES] sum
    cdef Py_ssize_t s, i, j, k, n
    for s in range(batch.count):
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
    """Knuth's multiplicative hash, with the factor 2³²/phi."""
    return <double><int32_t>(<uint32_t>(i + 1)*<uint32_t>2654435769)


cdef list work_memory(const Rows* t, Learning* learning, bint dense):
    """What the kernels work with: the arrays must live as long as the pointers to them."""
    cdef ndarray margins = np.empty((1 + MARGIN_LANES)*t.width), slopes, missed, tile, contiguous
    slopes = np.empty(2*t.width, np.float32 if t.dtype == FLOAT32 else np.float64)
    cdef list arrays = [margins, slopes]
    learning.margins, learning.slopes = <double*>PyArray_DATA(margins), PyArray_DATA(slopes)
    if t.width == 1:  # space for at least one feature, since a sample may have none
        missed = np.empty((learning.longest + 1)*sizeof(Missed), np.uint8)
        tile = np.empty(5*learning.longest + 1, slopes.dtype)
        learning.missed, learning.tile = PyArray_DATA(missed), PyArray_DATA(tile)
        arrays += [missed, tile]
    if dense and learning.count >= LEAST_DENSE:
        contiguous = np.empty(contiguous_size(t), np.uint8)
        learning.contiguous = PyArray_DATA(contiguous)
        arrays.append(contiguous)
    return arrays


cdef void learn_in_parts(Rows* t, Batch* batch, Schedule* schedule, Learning* learning, void* buffer,
                         Py_ssize_t capacity) noexcept nogil:
    """An epoch over samples in memory order, with indices that other threads can change meanwhile.

    The indices are copied in parts, into a buffer that is used again. To copy them all at once takes new memory, and
    5 % of an epoch (Epoch in benchmarks/suite/linear.py).
    """
    cdef Py_ssize_t count = learning.count, first = 0, last, start, n
    cdef Py_ssize_t bytes_per_index = sizeof(int) if batch.indices.type == INT32 else sizeof(long long)
    cdef const char* indices = <const char*>batch.indices.data
    while first < count:
        start, last = batch.starts[learning.order[0]], 1
        while first + last < count and batch.starts[learning.order[last] + 1] - start <= capacity:
            last += 1
        n = batch.starts[learning.order[last - 1] + 1] - start
        if batch.indices.type == INT32:
            copy_in_range(<const int*>(indices + start*bytes_per_index), <int*>buffer, n, t.rows)
        else:
            copy_in_range(<const long long*>(indices + start*bytes_per_index), <long long*>buffer, n, t.rows)
        batch.indices.data, learning.count = <const char*>buffer - start*bytes_per_index, last
        kernels.linear_learn(t, batch, schedule, learning)
        learning.order, first = learning.order + last, first + last
        if learning.weights != NULL:
            learning.weights = learning.weights + last
        skip(&schedule.lr, last)
        skip(&schedule.l1, last)
        skip(&schedule.l2, last)
        skip(&schedule.l21, last)
        skip(&learning.intercept_rates, last)
        skip(&learning.intercept_squares, last)


cdef inline void skip(Numbers* x, Py_ssize_t steps) noexcept nogil:
    """Goes on after these steps."""
    if x.data != NULL:
        x.data = x.data + steps*x.stride
