# Layer 4, copies of a linear model: its weights, those of them that are not zero, and pickles without the records of
# features that were never seen. Included by linear.pyx; uses its cimports.

cdef enum:
    BLOCK = 1 << 14   # features that are read at a time
    SAMPLED = 1 << 10  # records among which the most frequent one is found
    OVERHEAD = 1 << 10  # bytes: below that, it is not worth while to leave out records


cdef tuple numbers_of(Learner x):
    """The arguments of `_restore` and `_count`."""
    cdef Clock c = x.t.clock
    record = (x.t.steps, c.product, c.inverse, c.total, c.compensation, x.t.d.plain.lr, x.t.p.l1, x.t.p.l2, x.t.l21,
              x.t.built_on)
    return record, counters_of(x)


# -- Weights ----------------------------------------------------------------------------------------------------------

cdef tuple read(Learner self, Py_ssize_t features, ndarray indices):
    """See Learner.read."""
    cdef ndarray out, intercept
    cdef Indices wanted = Indices(INT64, NULL)
    cdef Py_ssize_t i, count = self.t.rows
    cdef long long k
    check_width(&self.t, features)
    if indices is not None:
        count = PyArray_SIZE(indices)
        wanted.data = pointer_to(indices, NPY_INT64, count, "X")
        for i in range(count):
            k = (<const long long*>wanted.data)[i]
            if k < 0 or k >= self.t.rows:
                raise ValueError(f"X: expected indices from 0 to {self.t.rows - 1}, got {k}")
    out = np.empty((count, self.t.width), self.records.dtype["w"].base)
    intercept = np.zeros(self.t.width, out.dtype)
    self.section.lock(False)
    with nogil:
        kernels.lazy_read(&self.t, NULL if indices is None else &wanted, count, PyArray_DATA(out))
    self.copy_intercept(intercept)
    version, sizes = self.section.version, self.sizes
    self.section.unlock()
    return version, out, intercept, sizes


cdef Rows rows_from(const Rows* t, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """`count` rows of a matrix."""
    cdef Py_ssize_t size = sizeof(float) if t.dtype == FLOAT32 else sizeof(double)
    cdef Rows part = t[0]
    part.rows, part.w = count, <char*>t.w + first*t.pitch*size
    part.a = <char*>t.a + first*t.pitch*size if t.a != NULL else NULL
    part.b = <char*>t.b + first*t.pitch*size if t.b != NULL else NULL
    part.f = <char*>t.f + first*t.width*size if t.f != NULL else NULL
    part.stamps = t.stamps + first*t.stamp_pitch if t.stamps != NULL else NULL
    return part


cdef tuple nonzero(Learner self):
    """See Learner.read_nonzero."""
    cdef ndarray buffer = np.empty(min(self.t.rows, <Py_ssize_t>BLOCK)*self.t.width, self.records.dtype["w"].base)
    cdef ndarray intercept = np.zeros(self.t.width, buffer.dtype)
    cdef Py_ssize_t first, count
    cdef Rows part
    positions, values = [], []
    self.section.lock(False)
    try:
        for first in range(0, self.t.rows, BLOCK):
            count = min(self.t.rows - first, <Py_ssize_t>BLOCK)
            part = rows_from(&self.t, first, count)
            with nogil:
                kernels.lazy_read(&part, NULL, count, PyArray_DATA(buffer))
            block = buffer[:count*self.t.width]
            found, = block.nonzero()
            values.append(block[found])
            found += first*self.t.width
            positions.append(found)
        self.copy_intercept(intercept)
        version, numbers, factors = self.section.version, numbers_of(self), self.factors
    finally:
        self.section.unlock()
    return version, np.concatenate(positions), np.concatenate(values), intercept, *numbers, factors


def find(ndarray indices, ndarray bits, ndarray before):
    """The positions of those indices whose bit is set, and for each the number of bits before its own.

    `bits` are 64 in each number, and `before` counts those before each number.
    """
    cdef bint narrow = PyArray_ITEMSIZE(indices) == 4
    cdef Py_ssize_t n = PyArray_SIZE(indices), words = PyArray_SIZE(bits), count
    cdef const void* data = pointer_to(indices, NPY_INT32 if narrow else NPY_INT64, n, "X")
    cdef const uint64_t* numbers = <const uint64_t*>pointer_to(bits, NPY_UINT64, words, "bits")
    cdef const Py_ssize_t* counts = <const Py_ssize_t*>pointer_to(before, NPY_INTP, words, "before")
    cdef ndarray positions = np.empty(n, np.intp), places = np.empty(n, np.intp)
    cdef Py_ssize_t* position = <Py_ssize_t*>PyArray_DATA(positions)
    cdef Py_ssize_t* place = <Py_ssize_t*>PyArray_DATA(places)
    with nogil:
        if narrow:
            count = find_each(<const int*>data, n, numbers, counts, words, position, place)
        else:
            count = find_each(<const long long*>data, n, numbers, counts, words, position, place)
    return positions[:count], places[:count]


cdef Py_ssize_t find_each(const index* indices, Py_ssize_t n, const uint64_t* bits, const Py_ssize_t* before,
                          Py_ssize_t words, Py_ssize_t* positions, Py_ssize_t* places) noexcept nogil:
    cdef uint64_t word
    cdef Py_ssize_t i, k, count = 0
    for k in range(n):
        i = indices[k] >> 6
        if i < 0 or i >= words:
            continue
        word = bits[i] << (63 - (indices[k] & 63))  # the own bit is the highest now
        if word >> 63:
            positions[count], places[count] = k, before[i] + number_of_bits(word) - 1
            count += 1
    return count


cdef inline Py_ssize_t number_of_bits(uint64_t x) noexcept nogil:
    """In pairs, then in fours, then in bytes, which a product adds up."""
    x = x - ((x >> 1) & <uint64_t>0x5555555555555555)
    x = (x & <uint64_t>0x3333333333333333) + ((x >> 2) & <uint64_t>0x3333333333333333)
    return <Py_ssize_t>((((x + (x >> 4)) & <uint64_t>0x0F0F0F0F0F0F0F0F)*<uint64_t>0x0101010101010101) >> 56)


# -- Pickles ----------------------------------------------------------------------------------------------------------
#
# Features that were never seen have equal records: all but those are stored, with their numbers.

cdef tuple reduced(Learner self):
    """For pickle, a consistent copy, since another thread may train while it is pickled."""
    cdef Py_ssize_t size = self.records.itemsize, rows = self.t.rows, differing, i
    cdef bint narrow = rows <= 0x7FFFFFFF
    cdef ndarray background = np.frombuffer(most_frequent(self.records), np.uint8)
    cdef ndarray kept, indices = None
    self.section.lock(False)
    try:
        with nogil:
            differing = count_differing(self.start, <char*>PyArray_DATA(background), rows, size)
        if differing*(size + (4 if narrow else 8)) + OVERHEAD < rows*size:
            indices = np.empty(differing, np.int32 if narrow else np.int64)
            kept = np.empty(differing*size, np.uint8)
            with nogil:
                if narrow:
                    copy_differing(self.start, <char*>PyArray_DATA(background), rows, size,
                                   <int*>PyArray_DATA(indices), <char*>PyArray_DATA(kept))
                else:
                    copy_differing(self.start, <char*>PyArray_DATA(background), rows, size,
                                   <long long*>PyArray_DATA(indices), <char*>PyArray_DATA(kept))
        else:
            kept = np.empty(rows, self.records.dtype)
            with nogil:
                memcpy(PyArray_DATA(kept), self.start, rows*size)
        intercept = list(map(np.empty_like, self.intercept))
        for i in range(len(intercept)):
            memcpy(PyArray_DATA(intercept[i]), self.intercept_data[i], PyArray_NBYTES(intercept[i]))
        rest = self.direction, intercept, *numbers_of(self), self.factors, (self.t.low, self.t.high, self.t.in_units)
    finally:
        self.section.unlock()
    if indices is None:
        return _rebuild, (kept, *rest)
    return _rebuild_parts, (self.records.dtype, rows, background.tobytes(), indices, kept, *rest)


cdef bytes most_frequent(ndarray records):
    """The bytes of the record that is most frequent in a sample. It may be any: see `reduced`."""
    cdef Py_ssize_t size = records.itemsize
    every = max(1, len(records)//SAMPLED)
    sample = records.view(np.uint8).reshape(len(records), size)[::every].tobytes()
    found = Counter(sample[i:i + size] for i in range(0, len(sample), size)).most_common(1)
    return found[0][0] if found else bytes(size)


cdef Py_ssize_t count_differing(const char* records, const char* background, Py_ssize_t rows,
                                Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i, n = 0
    for i in range(rows):
        n += memcmp(records + i*size, background, size) != 0
    return n


cdef void copy_differing(const char* records, const char* background, Py_ssize_t rows, Py_ssize_t size, index* indices,
                         char* kept) noexcept nogil:
    cdef Py_ssize_t i, n = 0
    for i in range(rows):
        if memcmp(records + i*size, background, size) != 0:
            indices[n] = <index>i
            memcpy(kept + n*size, records + i*size, size)
            n += 1


def _rebuild_parts(dtype, rows, background, indices, kept, *rest):
    """Create a Learner from a pickle: `kept` are the bytes of the records at `indices`. A file may contain anything.

    Bytes, since joblib does not keep those between the fields of a record.
    """
    is_valid = (isinstance(dtype, np.dtype) and not dtype.hasobject and isinstance(rows, int)
                and isinstance(background, bytes) and len(background) == dtype.itemsize > 0
                and all(isinstance(x, np.ndarray) and x.ndim == 1 and x.flags.c_contiguous for x in (indices, kept))
                and kept.dtype == np.uint8 and len(kept) == len(indices)*dtype.itemsize and indices.dtype.kind == "i"
                and 0 <= indices.min(initial=0) <= indices.max(initial=0) < max(rows, 1))
    if not is_valid:
        raise ValueError("records: expected records with their indices, got others; the file is damaged")
    raw = f"V{dtype.itemsize}"
    records = (np.empty if any(background) else np.zeros)(rows, dtype)
    if any(background):
        records.view(raw)[:] = np.frombuffer(background, raw)
    records.view(raw)[indices] = kept.view(raw)
    return _rebuild(records, *rest)
