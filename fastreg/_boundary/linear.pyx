"""Layer 4, the boundary of the linear models: weights that learn from samples, which linear/stream.py has checked.

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
from fastreg._boundary.codes cimport fill_direction
from fastreg._boundary.section cimport Section
from fastreg._kernels.table cimport (
    Batch, FLOAT32, index, INT32, INT64, Learning, PROXIMAL, Rows, Schedule,
)
from fastreg.structs cimport Clock, floating, Missed
from fastreg.losses cimport loss as loss_of, LossCode

import cython
import numpy as np

from fastreg import reference

import_array()

cdef dict FIELDS = {  # of a record, by direction
    reference.Plain: ("w",),
    reference.Adagrad: ("w", "a"),
    reference.FTRL: ("w", "a", "b"),
}

cdef enum:
    LANES = 4
    BORROWED = 1 << 12  # indices of the caller's that are copied at a time: they stay in cache


def record_type(object direction, dtype, Py_ssize_t columns):
    """The dtype of a feature's record: the weights of all columns, their state, and when they were last up to date."""
    fields = []
    kind = type(direction)
    for name in FIELDS[kind]:
        fields.append((name, dtype, (columns,)))
    if kind is not reference.FTRL:
        fields.insert(0, ("stamp", "i8", (1,)) if kind is reference.Adagrad else ("stamp", "f8", (2,)))
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
    direction : tuple
        `Plain`, `Adagrad` or `FTRL` of the reference; every call of `learn` has its own learning rates.
    intercept : list of ndarray
        The intercept and its state, an entry a column; empty for none.
    """

    cdef Rows t
    cdef Numbers n
    cdef char* start       # of the records
    cdef (void*)[3] own    # the intercept and its state
    cdef readonly object direction
    cdef readonly ndarray records
    cdef readonly list intercept
    cdef Section section

    def __cinit__(self, ndarray records, object direction, list intercept):
        cdef double largest
        cdef ndarray x
        cdef Py_ssize_t i
        base = check_records(records, direction, intercept)
        places = {name: place for name, (_, place, *_) in records.dtype.fields.items()}
        w = records["w"]
        memset(&self.t, 0, sizeof(Rows))
        self.records, self.intercept, self.section = records, list(intercept), Section()
        self.n = Numbers(0, 0, 1, 0)
        self.start = <char*>PyArray_DATA(records)
        self.t.dtype, self.t.mode, self.direction = dtype_of(np.empty(0, base)), PROXIMAL, direction
        self.t.direction = fill_direction(&self.t.d, direction, &largest)
        self.t.rows, self.t.width = w.shape
        self.t.pitch = self.t.stamp_pitch = records.itemsize
        self.t.pitch //= base.itemsize
        self.t.clock = Clock(1, 1, 0, 0)
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
        cdef Batch batch
        cdef Schedule schedule
        cdef Learning job
        cdef Numbers n
        cdef ndarray order, targets, weights, strengths, margins, slopes, missed, tile, borrowed = None
        cdef int number = NPY_FLOAT if self.t.dtype == FLOAT32 else NPY_DOUBLE
        cdef const double* numbers
        cdef Py_ssize_t rows, columns, room = 0
        memset(&job, 0, sizeof(Learning))
        self.section.begin("partial_fit")
        try:
            (samples, order, targets, weights, strengths, job.loss, job.epsilon, job.curvature, job.intercept_rate,
             n.size, n.sized, n.scale, n.epochs) = prepare()
            self.check_width(samples.features)
            point_to(&batch, samples, number)
            rows = batch.count
            job.count, job.longest = PyArray_SIZE(order), samples.longest
            job.order = <Py_ssize_t*>pointer_to(order, NPY_INTP, job.count, "order")
            job.targets = <double*>pointer_to(targets, NPY_DOUBLE, rows, "y")
            if weights is not None:
                job.weights = <double*>pointer_to(weights, NPY_DOUBLE, job.count, "sample_weight")
            columns = PyArray_DIM(strengths, 1)
            if columns != 1 and columns != job.count:
                raise ValueError(f"strengths: expected 1 or {job.count} columns, got {columns}")
            numbers = <double*>pointer_to(strengths, NPY_DOUBLE, 3*columns, "strengths")
            schedule = Schedule(numbers, numbers + columns, numbers + 2*columns, columns > 1)
            if job.curvature > 0:
                job.squares = <double*>pointer_to(samples.squares, NPY_DOUBLE, rows, "X")
            margins, slopes = np.empty(self.t.width), np.empty(2*self.t.width, samples.data.dtype)
            job.margins, job.slopes = <double*>PyArray_DATA(margins), PyArray_DATA(slopes)
            if self.t.width == 1:  # room for at least one feature, since a sample may have none
                missed = np.empty((job.longest + 1)*sizeof(Missed), np.uint8)
                tile = np.empty(4*job.longest + 1, slopes.dtype)
                job.missed, job.tile = PyArray_DATA(missed), PyArray_DATA(tile)
            if samples.borrowed:
                room = min(batch.starts[rows], max(<Py_ssize_t>BORROWED, job.longest))
                borrowed = np.empty(room*PyArray_ITEMSIZE(samples.indices), np.uint8)
            self.section.lock(True)
            job.intercept, job.intercept_a, job.intercept_b = self.own[0], self.own[1], self.own[2]
            with nogil:
                if room > 0:
                    learn_in_parts(&self.t, &batch, &schedule, &job, PyArray_DATA(borrowed), room)
                else:
                    kernels.linear_learn(&self.t, &batch, &schedule, &job)
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
            self.direction, other.direction = other.direction, self.direction
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
        cdef ndarray out, intercept
        cdef const void* given = NULL
        cdef Py_ssize_t i, count = self.t.rows
        cdef long long k
        self.check_width(features)
        if indices is not None:
            count = PyArray_SIZE(indices)
            given = pointer_to(indices, NPY_INT64, count, "X")
            for i in range(count):
                k = (<const long long*>given)[i]
                if k < 0 or k >= self.t.rows:
                    raise ValueError(f"X: expected indices from 0 to {self.t.rows - 1}, got {k}")
        out = np.empty((count, self.t.width), self.records.dtype["w"].base)
        intercept = np.zeros(self.t.width, out.dtype)
        self.section.lock(False)
        with nogil:
            kernels.lazy_read(&self.t, INT64, given, count, PyArray_DATA(out))
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
        cdef Learner new = Learner(np.empty_like(self.records), self.direction,
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
        self.t.steps, self.t.clock, self.t.d, self.t.p = t.steps, t.clock, t.d, t.p

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        cdef Learner x = self.copy()  # while it is pickled, another thread may train
        cdef Clock c = x.t.clock
        record = (x.t.steps, c.product, c.inverse, c.total, c.compensation, x.t.d.plain.lr, x.t.p.l1, x.t.p.l2)
        numbers = x.n.size, x.n.sized, x.n.scale, x.n.epochs
        return _rebuild, (x.records, x.direction, x.intercept, record, numbers)

    def _restore(self, steps, product, inverse, total, compensation, lr, l1, l2):
        self.t.steps, self.t.clock = steps, Clock(product, inverse, total, compensation)
        self.t.d.plain.lr, self.t.p.l1, self.t.p.l2 = lr, l1, l2

    def _count(self, size, sized, scale, epochs):
        self.n = Numbers(size, sized, scale, epochs)


cdef object check_records(ndarray records, object direction, list intercept):
    """The dtype of the weights. What comes from a file may be anything."""
    try:
        w = records.dtype["w"]
        base, columns = w.base, w.shape[0]
        fits = (base in (np.float32, np.float64) and columns > 0 and records.ndim == 1
                and records.dtype == record_type(direction, base, columns) and PyArray_ISCARRAY(records)
                and len(intercept) in (0, len(FIELDS[type(direction)])))
        fits = fits and all(x.dtype == base and x.shape == (columns,) and x.flags.carray for x in intercept)
    except (AttributeError, IndexError, KeyError, TypeError):
        fits = False
    if not fits:
        kind = type(direction).__name__
        raise ValueError(f"records: expected those of {kind}, got others; the file is damaged or of another kind")
    return base


def _rebuild(records, direction, intercept, record, numbers):
    """For pickle, which may have mapped arrays into memory, read-only (joblib)."""
    records, *intercept = (x if x.flags.writeable else x.copy() for x in (records, *intercept))
    learner = Learner(records, direction, intercept)
    learner._restore(*record)
    learner._count(*numbers)
    return learner


include "samples.pxi"
