"""Layer 4, the boundary of the linear models: weights that learn from samples. For _stream.py, which checks what comes.

All that a step needs of a feature lies together, in one record, so that a sample costs one cache line for each of its
features: memory is what an epoch waits for. (The lazy updates, whose weights are the caller's, cannot do that.)
"""
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memset
from numpy cimport import_array, ndarray, PyArray_DATA, PyArray_DIM

from fastreg._checks cimport dtype_of, index_type, kernels
from fastreg._kernels cimport Clock, FLOAT32, index, INT32, INT64, LEARN, PEEK, PROXIMAL, Rows, Sparse
from fastreg.losses cimport LossCode
from fastreg.rules cimport floating, Missed

from threading import Lock

import cython
import numpy as np

from fastreg import reference

import_array()

cdef dict DIRECTIONS = {name: code for code, name in enumerate(reference.DIRECTIONS)}

cdef enum:
    LANES = 4


@cython.final
cdef class Learner:
    """The weights of a linear model, a column for each class, with the state of its optimizer and its intercept.

    Parameters
    ----------
    records : structured ndarray
        By feature: ``w``, for Plain and Adagrad ``stamp``, for Adagrad and FTRL ``a``, for FTRL ``b``.
    direction : str
        "Plain", "Adagrad" or "FTRL".
    second : float
        Adagrad's eps, FTRL's beta.
    intercept : list of ndarray
        The intercept and its state, an entry a column; empty for none.
    """

    cdef Rows t
    cdef readonly ndarray records
    cdef readonly list intercept
    cdef object lock  # of the weights: who reads waits, and so does who learns for those who read
    cdef bint learning

    def __cinit__(self, ndarray records, str direction, double second, list intercept):
        cdef char* start = <char*>PyArray_DATA(records)
        places = {name: place for name, (_, place, *_) in records.dtype.fields.items()}
        w = records["w"]
        memset(&self.t, 0, sizeof(Rows))
        self.records, self.intercept, self.lock = records, intercept, Lock()
        self.t.dtype, self.t.direction, self.t.mode = dtype_of(w), DIRECTIONS[direction], PROXIMAL
        self.t.rows, self.t.width = w.shape
        self.t.pitch = self.t.stamp_pitch = records.itemsize
        self.t.pitch //= w.itemsize
        self.t.w = start + <Py_ssize_t>places["w"]
        self.t.a = start + <Py_ssize_t>places["a"] if "a" in places else NULL
        self.t.b = start + <Py_ssize_t>places["b"] if "b" in places else NULL
        self.t.stamps = start + <Py_ssize_t>places["stamp"] if "stamp" in places else NULL
        self.t.clock = Clock(1, 1, 0, 0)
        (<double*>&self.t.d)[1] = second

    @property
    def completed(self):
        """Samples seen."""
        return self.t.steps

    cdef int operate(self, Sparse* job) except -1:
        with self.lock:
            with nogil:
                kernels.rows(&self.t, job)
        return 0

    def learn(self, samples, ndarray order, ndarray targets, ndarray weights, ndarray strengths, LossCode loss,
              double epsilon, double curvature, double intercept_rate):
        """A step for each sample of `order`; the sum of their losses.

        `strengths` has a row each for lr, l1 and l2, and a column for each step, or one for all; `weights` is None or
        has an entry for each step. `curvature`, if positive, cuts learning rates that overshoot; the intercept has its
        own, if it is not 0.
        """
        cdef Sparse job
        cdef ndarray margins = np.empty(self.t.width), slopes = np.empty(2*self.t.width, self.records["w"].dtype)
        cdef ndarray since, desk
        cdef list intercept = [*self.intercept, None, None, None]
        point_to(&job, samples)
        job.operation, job.count, job.longest = LEARN, PyArray_DIM(order, 0), samples.longest
        if self.t.width == 1:
            since, desk = np.empty(job.longest*sizeof(Missed), np.uint8), np.empty(4*job.longest, slopes.dtype)
            job.since, job.desk = PyArray_DATA(since), PyArray_DATA(desk)
        job.order, job.targets = <Py_ssize_t*>PyArray_DATA(order), <double*>PyArray_DATA(targets)
        job.weights = NULL if weights is None else <double*>PyArray_DATA(weights)
        job.stride = PyArray_DIM(strengths, 1)
        job.lr = <double*>PyArray_DATA(strengths)
        job.l1, job.l2 = job.lr + job.stride, job.lr + 2*job.stride
        job.stride = job.stride > 1
        job.loss, job.epsilon, job.curvature, job.intercept_rate = loss, epsilon, curvature, intercept_rate
        if curvature > 0:
            job.squares = <double*>data(samples.squares)
        job.margins, job.slopes = <double*>PyArray_DATA(margins), PyArray_DATA(slopes)
        job.intercept, job.intercept_a, job.intercept_b = data(intercept[0]), data(intercept[1]), data(intercept[2])
        with cython.critical_section(self):
            if self.learning:
                raise RuntimeError("partial_fit: expected one call at a time, got another while one is under way")
            self.learning = True
        try:
            self.operate(&job)
        finally:
            self.learning = False
        return job.total

    def weights(self, ndarray indices=None):
        """The weights as they are now, (features, columns): all, or those of the features at int64 `indices`."""
        cdef Sparse job
        cdef ndarray out
        memset(&job, 0, sizeof(Sparse))
        job.operation, job.count, job.index = PEEK, self.t.rows, INT64
        if indices is not None:
            job.count, job.indices = PyArray_DIM(indices, 0), PyArray_DATA(indices)
        out = np.empty((job.count, self.t.width), self.records["w"].dtype)
        job.data = PyArray_DATA(out)
        self.operate(&job)
        return out

    def __reduce__(self):
        cdef Clock c = self.t.clock
        direction = list(DIRECTIONS)[<int>self.t.direction]
        record = (self.t.steps, c.product, c.inverse, c.total, c.lost, self.t.d.plain.lr, self.t.l1, self.t.l2)
        return _rebuild, (self.records, direction, (<double*>&self.t.d)[1], self.intercept, record)

    def _restore(self, steps, product, inverse, total, lost, lr, l1, l2):
        self.t.steps, self.t.clock = steps, Clock(product, inverse, total, lost)
        self.t.d.plain.lr, self.t.l1, self.t.l2 = lr, l1, l2


def _rebuild(records, direction, second, intercept, record):
    """For pickle, which may have mapped arrays into memory, read-only (joblib)."""
    records, *intercept = (x if x.flags.writeable else x.copy() for x in (records, *intercept))
    learner = Learner(records, direction, second, intercept)
    learner._restore(*record)
    return learner


cdef inline void* data(ndarray a) noexcept:
    return NULL if a is None else PyArray_DATA(a)


cdef int point_to(Sparse* job, samples) except -1:
    """The samples as the kernels read them."""
    cdef ndarray indices = samples.indices, starts = samples.starts
    memset(job, 0, sizeof(Sparse))
    job.shared, job.count = samples.shared, PyArray_DIM(starts, 0) - 1
    job.data, job.starts = PyArray_DATA(<ndarray>samples.data), <Py_ssize_t*>PyArray_DATA(starts)
    job.indices, job.index = PyArray_DATA(indices), index_type(indices)
    return 0


def survey(samples):
    """Of each sample the squared length, how many features are not zero, and a number that depends on them alone.

    That number is the inner product with a vector of pseudo-random numbers.
    """
    cdef Sparse job
    cdef bint single = dtype_of(samples.data) == FLOAT32
    point_to(&job, samples)
    cdef ndarray squares = np.zeros(job.count), counts = np.zeros(job.count), prints = np.zeros(job.count)
    cdef double* s = <double*>PyArray_DATA(squares)
    cdef double* c = <double*>PyArray_DATA(counts)
    cdef double* p = <double*>PyArray_DATA(prints)
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
        i = 0 if job.shared else k
        for j in range(LANES):
            square[j] = count[j] = sum[j] = 0
        while n >= LANES:
            for j in range(LANES):
                square[j] += <double>x[k + j]*<double>x[k + j]
                count[j] += x[k + j] != 0
                sum[j] += x[k + j]*random(indices[i + j])
            k, i, n = k + LANES, i + LANES, n - LANES
        for j in range(n):
            square[j] += <double>x[k + j]*<double>x[k + j]
            count[j] += x[k + j] != 0
            sum[j] += x[k + j]*random(indices[i + j])
        squares[s] = (square[0] + square[1]) + (square[2] + square[3])
        counts[s] = count[0] + count[1] + count[2] + count[3]
        prints[s] = (sum[0] + sum[1]) + (sum[2] + sum[3])


cdef inline double random(index i) noexcept nogil:
    """Knuth's multiplicative hash, by 2³²/phi."""
    return <double><int32_t>(<uint32_t>(i + 1)*<uint32_t>2654435769)
