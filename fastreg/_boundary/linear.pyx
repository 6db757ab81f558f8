"""Layer 4, the boundary of the linear models: weights that learn from samples. For linear/stream.py, which checks what comes.

All that a step needs of a feature lies together, in one record, so that a sample costs one cache line for each of its
features: memory is what an epoch waits for. (The lazy updates, whose weights are the caller's, cannot do that.)

What a call changes, it changes in one commit (section.pyx), numbers that count samples included. What it reads lies in
memory that nobody else frees or shortens, and indices are private copies that have been checked (linear/csr.py).
"""
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memcpy, memset
from numpy cimport (
    import_array, ndarray, NPY_DOUBLE, NPY_FLOAT, NPY_INT32, NPY_INT64, NPY_INTP, PyArray_DATA, PyArray_DIM,
    PyArray_ISCARRAY, PyArray_ITEMSIZE, PyArray_NBYTES, PyArray_SIZE,
)

from fastreg._boundary.checks cimport dtype_of, guard, kernels, pointer_to
from fastreg._kernels.table cimport Clock, FLOAT32, index, INT32, INT64, LEARN, PEEK, PROXIMAL, Rows, Sparse
from fastreg._boundary.section cimport Section
from fastreg.losses cimport loss as loss_of, LossCode
from fastreg.rules cimport floating, Missed

import cython
import numpy as np

from fastreg import reference

import_array()

cdef dict DIRECTIONS = {name: code for code, name in enumerate(reference.DIRECTIONS)}
cdef dict FIELDS = {"Plain": ("w",), "Adagrad": ("w", "a"), "FTRL": ("w", "a", "b")}

cdef enum:
    LANES = 4
    BORROWED = 1 << 12  # indices of the caller's that are copied at a time: they stay in cache


def record_type(str direction, dtype, Py_ssize_t columns):
    """The dtype of a feature's record: the weights of all columns, their state, and when they were last up to date."""
    fields = []
    for name in FIELDS[direction]:
        fields.append((name, dtype, (columns,)))
    if direction != "FTRL":
        fields.insert(0, ("stamp", "i8", (1,)) if direction == "Adagrad" else ("stamp", "f8", (2,)))
    size = np.dtype(fields, align=True).itemsize
    if size <= 16:  # whole records in a cache line
        fields.append(("", f"V{(1 << (size - 1).bit_length()) - size}"))
    return np.dtype(fields, align=True)


cdef struct Numbers:  # what is counted beside the steps
    double size       # the sum of the samples' sizes, for the default learning rate
    long long sized   # of how many
    double scale      # their mean, when they were last 1, 2, 4, 8, ... samples
    long long epochs  # of the last call


@cython.final
cdef class Learner:
    """The weights of a linear model, a column for each class, with the state of its optimizer and its intercept.

    Parameters
    ----------
    records : structured ndarray
        One of `record_type` for each feature.
    direction : str
        "Plain", "Adagrad" or "FTRL".
    second : float
        Adagrad's eps, FTRL's beta.
    intercept : list of ndarray
        The intercept and its state, an entry a column; empty for none.
    """

    cdef Rows t
    cdef Numbers n
    cdef char* start       # of the records
    cdef (void*)[3] own    # the intercept and its state
    cdef readonly ndarray records
    cdef readonly list intercept
    cdef Section section

    def __cinit__(self, ndarray records, str direction, double second, list intercept):
        cdef ndarray x
        cdef Py_ssize_t i
        base = check_records(records, direction, intercept)
        places = {name: place for name, (_, place, *_) in records.dtype.fields.items()}
        w = records["w"]
        memset(&self.t, 0, sizeof(Rows))
        self.records, self.intercept, self.section = records, list(intercept), Section()
        self.n = Numbers(0, 0, 1, 0)
        self.start = <char*>PyArray_DATA(records)
        self.t.dtype, self.t.direction, self.t.mode = dtype_of(np.empty(0, base)), DIRECTIONS[direction], PROXIMAL
        self.t.rows, self.t.width = w.shape
        self.t.pitch = self.t.stamp_pitch = records.itemsize
        self.t.pitch //= base.itemsize
        self.t.clock = Clock(1, 1, 0, 0)
        (<double*>&self.t.d)[1] = second
        self.place("w", places, &self.t.w)
        self.place("a", places, &self.t.a)
        self.place("b", places, &self.t.b)
        self.place("stamp", places, <void**>&self.t.stamps)
        for i, x in enumerate(intercept):
            self.own[i] = PyArray_DATA(x)

    cdef int place(self, str name, dict places, void** pointer) except -1:
        pointer[0] = self.start + <Py_ssize_t>places[name] if name in places else NULL
        return 0

    @property
    def completed(self):
        """Samples seen."""
        return self.t.steps

    @property
    def epochs(self):
        """Of the last call."""
        return self.n.epochs

    @property
    def sizes(self):
        """The sum of the samples' sizes, and how many had one."""
        return self.n.size, self.n.sized

    @property
    def scale(self):
        """Their mean, when they were last 1, 2, 4, 8, ... samples."""
        return self.n.scale

    @property
    def version(self):
        """Changes with every commit."""
        return self.section.version

    def learn(self, prepare):
        """A step for each sample; the sum of their losses.

        `prepare` is called first, when no other call can begin, and may take its time and fail. It returns samples,
        order, targets, weights, strengths, loss, epsilon, curvature, intercept's rate and, as they will be then: sum
        and count of sizes, scale, epochs. The strengths have a row each for lr, l1 and l2, and a column for each step,
        or one for all; `weights` is None or has an entry for each step. The curvature, if positive, cuts learning rates
        that overshoot; the intercept has its own, if it is not 0.
        """
        cdef Sparse job
        cdef Numbers n
        cdef ndarray order, targets, weights, strengths, margins, slopes, since, desk, borrowed = None
        cdef int number = NPY_FLOAT if self.t.dtype == FLOAT32 else NPY_DOUBLE
        cdef Py_ssize_t rows, room = 0
        cdef double epsilon, curvature, intercept_rate
        cdef LossCode loss
        self.section.begin("partial_fit")
        try:
            (samples, order, targets, weights, strengths, loss, epsilon, curvature, intercept_rate,
             n.size, n.sized, n.scale, n.epochs) = prepare()
            self.check_width(samples.features)
            point_to(&job, samples, number)
            rows = job.count
            job.operation, job.count, job.longest = LEARN, PyArray_SIZE(order), samples.longest
            job.order = <Py_ssize_t*>pointer_to(order, NPY_INTP, job.count, "order")
            job.targets = <double*>pointer_to(targets, NPY_DOUBLE, rows, "y")
            if weights is not None:
                job.weights = <double*>pointer_to(weights, NPY_DOUBLE, job.count, "sample_weight")
            job.stride = PyArray_DIM(strengths, 1)
            if job.stride != 1 and job.stride != job.count:
                raise ValueError(f"strengths: expected 1 or {job.count} columns, got {job.stride}")
            job.lr = <double*>pointer_to(strengths, NPY_DOUBLE, 3*job.stride, "strengths")
            job.l1, job.l2 = job.lr + job.stride, job.lr + 2*job.stride
            job.stride = job.stride > 1
            job.loss, job.epsilon, job.curvature, job.intercept_rate = loss, epsilon, curvature, intercept_rate
            if curvature > 0:
                job.squares = <double*>pointer_to(samples.squares, NPY_DOUBLE, rows, "X")
            margins, slopes = np.empty(self.t.width), np.empty(2*self.t.width, samples.data.dtype)
            job.margins, job.slopes = <double*>PyArray_DATA(margins), PyArray_DATA(slopes)
            if self.t.width == 1:  # room for one feature at least: a sample without any takes the time, too
                since = np.empty((job.longest + 1)*sizeof(Missed), np.uint8)
                desk = np.empty(4*job.longest + 1, slopes.dtype)
                job.since, job.desk = PyArray_DATA(since), PyArray_DATA(desk)
            if samples.borrowed:
                room = min(job.starts[rows], max(<Py_ssize_t>BORROWED, job.longest))
                borrowed = np.empty(room*PyArray_ITEMSIZE(samples.indices), np.uint8)
            self.section.lock(True)
            job.intercept, job.intercept_a, job.intercept_b = self.own[0], self.own[1], self.own[2]
            with nogil:
                if room > 0:
                    in_parts(&self.t, &job, PyArray_DATA(borrowed), room)
                else:
                    kernels.rows(&self.t, &job)
            self.n = n
            self.section.unlock()
        finally:
            self.section.end()
        return job.total

    def exchange(self, work):
        """What work(copy) makes of a copy, all or nothing: for calls that take long, and may be interrupted."""
        cdef Learner other
        self.section.begin("partial_fit")
        try:
            other = self.copy()
            result = work(other)
            self.section.lock(True)
            self.t, other.t = other.t, self.t
            self.n, other.n = other.n, self.n
            self.start, other.start = other.start, self.start
            self.own, other.own = other.own, self.own
            self.records, other.records = other.records, self.records
            self.intercept, other.intercept = other.intercept, self.intercept
            self.section.unlock()
        finally:
            self.section.end()
        return result

    cdef int check_width(self, Py_ssize_t features) except -1:
        if features != self.t.rows:
            raise ValueError(f"X: expected {self.t.rows} features, as in the first call, got {features}")
        return 0

    def read(self, Py_ssize_t features, ndarray indices=None):
        """At one moment: the version, the weights, (features, columns), and the intercept, an entry a column.

        The weights are those of all features, or of those at int64 `indices`. `features` is how many the caller
        believes in.
        """
        cdef Sparse job
        cdef ndarray out, intercept
        cdef Py_ssize_t i
        cdef long long k
        self.check_width(features)
        memset(&job, 0, sizeof(Sparse))
        job.operation, job.count, job.index = PEEK, self.t.rows, INT64
        if indices is not None:
            job.count = PyArray_SIZE(indices)
            job.indices = pointer_to(indices, NPY_INT64, job.count, "X")
            for i in range(job.count):
                k = (<const long long*>job.indices)[i]
                if k < 0 or k >= self.t.rows:
                    raise ValueError(f"X: expected indices from 0 to {self.t.rows - 1}, got {k}")
        out = np.empty((job.count, self.t.width), self.records.dtype["w"].base)
        intercept = np.zeros(self.t.width, out.dtype)
        job.data = PyArray_DATA(out)
        self.section.lock(False)
        with nogil:
            kernels.rows(&self.t, &job)
        self.copy_intercept(intercept)
        version = self.section.version
        self.section.unlock()
        return version, out, intercept

    def read_intercept(self):
        """A copy; zero for none."""
        cdef ndarray intercept = np.zeros(self.t.width, self.records.dtype["w"].base)
        self.section.lock(False)
        self.copy_intercept(intercept)
        self.section.unlock()
        return intercept

    cdef void copy_intercept(self, ndarray out) noexcept:
        if self.own[0] != NULL:
            memcpy(PyArray_DATA(out), self.own[0], PyArray_NBYTES(out))

    def copy(self):
        """All of it, at one moment."""
        cdef Py_ssize_t i, size = PyArray_NBYTES(self.records), own = self.t.width*self.records.dtype["w"].base.itemsize
        cdef Rows now
        direction = list(DIRECTIONS)[<int>self.t.direction]
        cdef Learner new = Learner(np.empty_like(self.records), direction, (<double*>&self.t.d)[1],
                                   list(map(np.empty_like, self.intercept)))
        self.section.lock(False)
        with nogil:
            memcpy(new.start, self.start, size)
        for i in range(3):
            if self.own[i] != NULL:
                memcpy(new.own[i], self.own[i], own)
        now, new.n = self.t, self.n
        self.section.unlock()
        new.restore(&now)
        return new

    cdef void restore(self, const Rows* t) noexcept:
        self.t.steps, self.t.clock, self.t.d, self.t.l1, self.t.l2 = t.steps, t.clock, t.d, t.l1, t.l2

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        cdef Learner x = self.copy()  # while it is pickled, another thread may train
        cdef Clock c = x.t.clock
        direction = list(DIRECTIONS)[<int>x.t.direction]
        record = (x.t.steps, c.product, c.inverse, c.total, c.lost, x.t.d.plain.lr, x.t.l1, x.t.l2)
        numbers = x.n.size, x.n.sized, x.n.scale, x.n.epochs
        return _rebuild, (x.records, direction, (<double*>&x.t.d)[1], x.intercept, record, numbers)

    def _restore(self, steps, product, inverse, total, lost, lr, l1, l2):
        self.t.steps, self.t.clock = steps, Clock(product, inverse, total, lost)
        self.t.d.plain.lr, self.t.l1, self.t.l2 = lr, l1, l2

    def _count(self, size, sized, scale, epochs):
        self.n = Numbers(size, sized, scale, epochs)


cdef object check_records(ndarray records, str direction, list intercept):
    """The dtype of the weights. What comes from a file may be anything."""
    try:
        w = records.dtype["w"]
        base, columns = w.base, w.shape[0]
        fits = (base in (np.float32, np.float64) and columns > 0 and records.ndim == 1
                and records.dtype == record_type(direction, base, columns) and PyArray_ISCARRAY(records)
                and len(intercept) in (0, len(FIELDS[direction])))
        fits = fits and all(x.dtype == base and x.shape == (columns,) and x.flags.carray for x in intercept)
    except (AttributeError, IndexError, KeyError, TypeError):
        fits = False
    if not fits:
        raise ValueError(f"records: expected those of {direction}, got others; the file is damaged or of another kind")
    return base


def _rebuild(records, direction, second, intercept, record, numbers):
    """For pickle, which may have mapped arrays into memory, read-only (joblib)."""
    records, *intercept = (x if x.flags.writeable else x.copy() for x in (records, *intercept))
    learner = Learner(records, direction, second, intercept)
    learner._restore(*record)
    learner._count(*numbers)
    return learner


cdef void in_parts(Rows* t, Sparse* job, void* room, Py_ssize_t size) noexcept nogil:
    """An epoch over samples in the order in which they lie, with indices that others can change meanwhile.

    They are copied part by part. A private copy of all of them takes new memory, 5 % of an epoch (Epoch in
    benchmarks/suite/linear.py).
    """
    cdef Py_ssize_t count = job.count, first = 0, last, start, n
    cdef Py_ssize_t wide = sizeof(int) if job.index == INT32 else sizeof(long long)
    cdef const char* indices = <const char*>job.indices
    while first < count:
        start, last = job.starts[job.order[0]], 1
        while first + last < count and job.starts[job.order[last] + 1] - start <= size:
            last += 1
        n = job.starts[job.order[last - 1] + 1] - start
        if job.index == INT32:
            borrow(<const int*>(indices + start*wide), <int*>room, n, t.rows)
        else:
            borrow(<const long long*>(indices + start*wide), <long long*>room, n, t.rows)
        job.indices, job.count = <const char*>room - start*wide, last
        kernels.rows(t, job)
        job.order, first = job.order + last, first + last
        if job.weights != NULL:
            job.weights = job.weights + last
        if job.stride:
            job.lr, job.l1, job.l2 = job.lr + last, job.l1 + last, job.l2 + last


# -- Samples ----------------------------------------------------------------------------------------------------------

def keep(arrays):
    """As long as the result is kept, nobody can resize these arrays, or those that they are views of."""
    return guard(arrays)


cdef int point_to(Sparse* job, samples, int number) except -1:
    """The samples as the kernels read them, with values of NumPy's type `number`."""
    cdef ndarray indices = samples.indices, starts = samples.starts
    cdef Py_ssize_t entries
    memset(job, 0, sizeof(Sparse))
    job.shared, job.count = samples.shared, PyArray_SIZE(starts) - 1
    job.starts = <Py_ssize_t*>pointer_to(starts, NPY_INTP, 1, "X")
    entries = job.starts[job.count]
    job.data = pointer_to(samples.data, number, entries, "X")
    job.index = INT32 if PyArray_ITEMSIZE(indices) == 4 else INT64
    job.indices = pointer_to(indices, NPY_INT32 if job.index == INT32 else NPY_INT64,
                             samples.features if job.shared else entries, "X")
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


cdef void borrow(const index* indices, index* out, Py_ssize_t n, Py_ssize_t columns) noexcept nogil:
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


def survey(samples, bint fingerprints):
    """Of each sample the squared length, how many features are not zero, and a number that depends on them alone.

    That number, None if it is not asked for, is the inner product with a vector of pseudo-random numbers.
    """
    cdef Sparse job
    cdef bint single = dtype_of(samples.data) == FLOAT32
    point_to(&job, samples, NPY_FLOAT if single else NPY_DOUBLE)
    cdef ndarray squares = np.zeros(job.count), counts = np.zeros(job.count)
    cdef ndarray prints = np.zeros(job.count) if fingerprints else None
    cdef double* s = <double*>PyArray_DATA(squares)
    cdef double* c = <double*>PyArray_DATA(counts)
    cdef double* p = <double*>PyArray_DATA(prints) if fingerprints else NULL
    with nogil:
        if single:
            survey_values(&job, <const float*>job.data, s, c, p)
        else:
            survey_values(&job, <const double*>job.data, s, c, p)
    return squares, counts, prints


cdef void survey_values(const Sparse* job, const floating* x, double* squares, double* counts,
                        double* prints) noexcept nogil:
    if job.index == INT32:
        survey_samples(job, x, <const int*>job.indices, squares, counts, prints)
    else:
        survey_samples(job, x, <const long long*>job.indices, squares, counts, prints)


cdef void survey_samples(const Sparse* job, const floating* x, const index* indices, double* squares, double* counts,
                         double* prints) noexcept nogil:
    cdef double[LANES] square, count, sum  # lanes, so that no addition waits for the last
    cdef Py_ssize_t s, i, j, k, n
    for s in range(job.count):
        k, n = job.starts[s], job.starts[s + 1] - job.starts[s]
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
        if prints == NULL:
            continue
        k, n = job.starts[s], job.starts[s + 1] - job.starts[s]
        i = 0 if job.shared else k
        for j in range(LANES):
            sum[j] = 0
        while n >= LANES:
            for j in range(LANES):
                sum[j] += x[k + j]*random(indices[i + j])
            k, i, n = k + LANES, i + LANES, n - LANES
        for j in range(n):
            sum[j] += x[k + j]*random(indices[i + j])
        prints[s] = (sum[0] + sum[1]) + (sum[2] + sum[3])


cdef inline double random(index i) noexcept nogil:
    """Knuth's multiplicative hash, by 2³²/phi."""
    return <double><int32_t>(<uint32_t>(i + 1)*<uint32_t>2654435769)
