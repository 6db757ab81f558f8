"""Layer 4, the linear models: weights that learn from samples. Used by linear/stream.py, which checks the input.

Everything that a step needs for a feature is in one record, so that a sample reads one cache line for each of its
features: memory limits the speed of an epoch. (The lazy updates cannot do that: their weights belong to the caller.)

A call makes all of its changes in one commit (section.pyx), including those of the counters. It reads memory that is
kept alive and cannot be resized, and indices that are private copies and have been checked (linear/csr.py).
"""
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from numpy cimport (
    import_array, ndarray, NPY_DOUBLE, NPY_FLOAT, NPY_INT32, NPY_INT64, NPY_INTP, NPY_UINT64, PyArray_DATA,
    PyArray_DIM, PyArray_ISCARRAY, PyArray_ITEMSIZE, PyArray_NBYTES, PyArray_SIZE,
)

from fastreg._boundary.checks cimport dtype_of, guard, kernels, pointer_to
from fastreg._boundary.codes cimport fill_direction
from fastreg._boundary.section cimport Section
from fastreg._kernels.prefetch cimport AHEAD, prefetch_chunk
from fastreg._kernels.slices cimport contiguous_size
from fastreg._kernels.table cimport (
    Batch, DType, FLOAT32, FTRL_PROXIMAL, index, Indices, INT32, INT64, Learning, MARGIN_LANES, Numbers, PLAIN,
    PROXIMAL, Rows, Schedule,
)
from fastreg.rules cimport reanchored, warm_start
from fastreg.structs cimport Clock, ElasticNet, floating, FTRL, Missed, Stamp
from fastreg.losses cimport log_sum_exp, loss as loss_of, Loss, LossCode, MULTINOMIAL

from collections import Counter

import cython
import numpy as np

from fastreg import reference

import_array()

cdef enum:
    LANES = 4
    MAGNITUDES = 16       # a chunk of prefetch.pxd
    LEAST_DENSE = 8       # dense samples, from which on their weights are copied to contiguous arrays
    MAX_COPIED = 1 << 12  # indices of the caller that are copied at a time: the copy stays in cache


cdef fused bits:
    uint32_t
    uint64_t


@cython.final
cdef class Learner(BaseLearner):
    """The weights of a linear model, a column for each class, with the state of its optimizer and its intercept.

    Parameters
    ----------
    records : structured ndarray
        A record for each feature, of the dtype that `record_type` returns.
    direction : tuple
        `Plain`, `Adagrad` or `FTRL` of the reference. Each call of `learn` gets its own learning rates.
    intercept : list of ndarray
        The intercept and its state, arrays with an entry for each column; empty for no intercept.
    factors : ndarray or None
        The penalty factor of each feature, in the dtype of the weights, read-only; None for no factors.
    low, high : float
        The bounds of the weights, which contain 0; the intercept has none.
    in_units : bool
        Whether the factors are also the units of the weights (linear/units.py), so that l2 is multiplied by their
        squares. For `Plain` with an l2 then only while no penalty is pending: each sample has all features.
    """

    cdef Rows t
    cdef char* start           # of the records
    cdef ndarray factor_table  # like the weights, as the kernels read them

    def __cinit__(self, ndarray records, object direction, list intercept, ndarray factors=None,
                  double low=-INFINITY, double high=INFINITY, bint in_units=False):
        cdef double largest
        cdef ndarray x
        cdef Py_ssize_t i
        base = check_records(records, direction, intercept)
        offsets = {name: offset for name, (_, offset, *_) in records.dtype.fields.items()}
        w = records["w"]
        memset(&self.t, 0, sizeof(Rows))
        self.records, self.intercept = records, list(intercept)
        self.start = <char*>PyArray_DATA(records)
        self.t.dtype, self.t.mode, self.direction = dtype_of(np.empty(0, base)), PROXIMAL, direction
        self.t.direction = fill_direction(&self.t.d, direction, &largest)
        self.t.rows, self.t.width = w.shape
        self.t.pitch = self.t.stamp_pitch = records.itemsize
        self.t.pitch //= base.itemsize
        self.t.clock = Clock(1, 1, 0, 0)
        self.t.low, self.t.high, self.t.gamma, self.t.in_units = low, high, INFINITY, in_units
        self.t.inside = not (low > -INFINITY or high < INFINITY)
        self.point_field("w", offsets, &self.t.w)
        self.point_field("a", offsets, &self.t.a)
        self.point_field("b", offsets, &self.t.b)
        self.point_field("stamp", offsets, <void**>&self.t.stamps)
        for i, x in enumerate(intercept):
            self.intercept_data[i] = PyArray_DATA(x)
        self.set_factors(factors, self.table_of(factors))

    cdef ndarray table_of(self, ndarray factors):
        """The factors of features, repeated for each column of the weights."""
        if factors is None:
            return None
        dtype = self.records.dtype["w"].base
        if factors.dtype != dtype or np.shape(factors) != (self.t.rows,):
            raise ValueError(f"factors: expected {self.t.rows} of dtype {dtype}, got shape {np.shape(factors)} of"
                             f" {factors.dtype}")
        return np.repeat(factors, self.t.width)

    cdef void set_factors(self, ndarray factors, ndarray table) noexcept:
        self.factors, self.factor_table = factors, table
        self.t.f = NULL if table is None else PyArray_DATA(table)

    cdef int point_field(self, str name, dict offsets, void** pointer) except -1:
        pointer[0] = self.start + <Py_ssize_t>offsets[name] if name in offsets else NULL
        return 0

    @property
    def completed(self):
        """Number of samples seen."""
        return self.t.steps

    def learn(self, prepare):
        """Make a step for each sample, and return the sum of their losses.

        `prepare` is called first. No other call can begin meanwhile, and it may be slow and may fail. It returns the
        samples, order, targets, weights, offsets, strengths, the code of the loss and its parameter, curvature and the
        intercept's last learning rate, then the new epochs, center and sizes. The last is the penalty factors: the
        array that the learner has, for no change, or another one or None. The strengths are an array for each of lr,
        l1, l2, l21, the intercept's learning rate and its square (see largest_rate), with a number for each step or one
        for all. `weights` is None or has an entry for each step, `offsets` is None or has one for each sample. A
        positive curvature reduces learning rates that overshoot, an infinite one slopes. An intercept's last learning
        rate of 0 means that it has those of the weights.
        """
        cdef Batch batch
        cdef Schedule schedule
        cdef Learning learning
        cdef Counts counts
        cdef tuple sizes
        cdef ndarray factors, table, index_buffer = None
        cdef bint changed
        cdef Py_ssize_t capacity = 0
        self.section.begin("partial_fit")
        try:
            samples, factors, sizes, _arrays = take_samples(
                self, prepare, &self.t, &batch, &schedule, &learning, &counts)
            _memory = work_memory(&self.t, &learning, batch.shared)
            if samples.shares_indices:
                capacity = min(batch.starts[batch.count], max(<Py_ssize_t>MAX_COPIED, learning.longest))
                index_buffer = np.empty(capacity*PyArray_ITEMSIZE(samples.indices), np.uint8)
            changed = factors is not self.factors and learning.count > 0
            table = self.table_of(factors) if changed else self.factor_table
            _before = self.factors, self.factor_table  # kept until everything is replaced: releasing may run code
            self.section.lock(True)
            if changed:
                self.change_factors(factors, table)
            with nogil:
                if learning.count > 0:
                    anchor_placed(&self.t, &learning, schedule.lr.data[0])
                if capacity > 0:
                    learn_in_parts(&self.t, &batch, &schedule, &learning, PyArray_DATA(index_buffer), capacity)
                else:
                    kernels.linear_learn(&self.t, &batch, &schedule, &learning)
            self.counts, self.sizes = counts, sizes
            self.section.unlock()
        finally:
            self.section.end()
        return learning.total

    cdef void change_factors(self, ndarray factors, ndarray table) noexcept:
        """Set penalty factors for the next steps; those before had the present ones."""
        if self.t.steps > 0:
            with nogil:
                kernels.lazy_flush(&self.t)
        self.set_factors(factors, table)

    def place(self, ndarray weights, ndarray intercept, long long epochs):
        """Continue from these weights (columns, features) and this intercept (columns,); None leaves what is there.

        They are finite, within the bounds, and of the dtype of the weights. The counters and the sums of squared
        gradients stay. FTRL, which solves for its weights, gets the state that gives them back: until the next step
        they have the same bits, and from then on those of the closed form. What it depends on, the learning rate, may
        be known only at that step (see anchor_placed).
        """
        place(self, weights, intercept, epochs)

    # For a private copy whose features get other units: flush, read, set_units, place, solve

    def flush(self):
        """Apply all pending penalties."""
        with nogil:
            kernels.lazy_flush(&self.t)

    def set_units(self, ndarray factors, bint in_units):
        """Set the factors, and whether they are units."""
        cdef ndarray table = self.table_of(factors)
        self.set_factors(factors, table)
        self.t.in_units = in_units

    def solve(self, double intercept_rate):
        """From now on, the weights of FTRL are those of the closed form of its last step, and not those placed.

        The z of its intercept is built on this learning rate.
        """
        if self.t.direction == FTRL_PROXIMAL and 0 < self.t.built_on < INFINITY:
            self.t.d.plain.lr = self.t.built_on
            solve_for_intercept(&self.t, self.intercept_data, intercept_rate)

    def exchange(self, work):
        """Call `work` with a copy, then take over the copy's data; nothing changes if `work` raises.

        For calls that take long and may be interrupted.
        """
        cdef Learner other
        self.section.begin("partial_fit")
        try:
            other = self.copy()
            result = work(other)
            self.section.lock(True)
            self.t, other.t = other.t, self.t
            self.counts, other.counts = other.counts, self.counts
            self.sizes, other.sizes = other.sizes, self.sizes
            self.start, other.start = other.start, self.start
            self.intercept_data, other.intercept_data = other.intercept_data, self.intercept_data
            self.records, other.records = other.records, self.records
            self.direction, other.direction = other.direction, self.direction
            self.intercept, other.intercept = other.intercept, self.intercept
            self.factors, other.factors = other.factors, self.factors
            self.factor_table, other.factor_table = other.factor_table, self.factor_table
            self.section.unlock()
        finally:
            self.section.end()
        return result

    def read(self, Py_ssize_t features, ndarray indices=None):
        """A consistent copy: the version, the weights (features, columns), the intercept (columns,), and the sizes.

        The weights are those of all features, or of the features at int64 `indices`. `features` is the number of
        features that the caller expects.
        """
        return read(self, features, indices)

    def read_intercept(self):
        """A copy of the intercept; zeros if there is none."""
        cdef ndarray intercept = np.zeros(self.t.width, self.records.dtype["w"].base)
        self.section.lock(False)
        self.copy_intercept(intercept)
        self.section.unlock()
        return intercept

    cdef void copy_intercept(self, ndarray out) noexcept:
        if self.intercept_data[0] != NULL:
            memcpy(PyArray_DATA(out), self.intercept_data[0], PyArray_NBYTES(out))
            add_number(self.t.dtype, PyArray_DATA(out), self.t.width, self.counts.center)

    def copy(self):
        """A consistent copy of everything."""
        cdef Py_ssize_t i, size = PyArray_NBYTES(self.records)
        cdef Py_ssize_t intercept_size = self.t.width*self.records.dtype["w"].base.itemsize
        cdef Rows now
        cdef Learner new = Learner(np.empty_like(self.records), self.direction,
                                   list(map(np.empty_like, self.intercept)), None, self.t.low, self.t.high)
        self.section.lock(False)
        with nogil:
            memcpy(new.start, self.start, size)
        for i in range(3):
            if self.intercept_data[i] != NULL:
                memcpy(new.intercept_data[i], self.intercept_data[i], intercept_size)
        now, new.counts, new.sizes = self.t, self.counts, self.sizes
        new.set_factors(self.factors, self.factor_table)
        self.section.unlock()
        new.restore(&now)
        return new

    cdef void restore(self, const Rows* t) noexcept:
        self.t.steps, self.t.clock, self.t.d, self.t.p = t.steps, t.clock, t.d, t.p
        self.t.inside, self.t.l21, self.t.built_on, self.t.in_units = t.inside, t.l21, t.built_on, t.in_units

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return reduced(self)

    def read_nonzero(self):
        """A consistent copy of what predicts: version, weights, intercept, and the two tuples for `_restore`.

        The weights that are not zero, as positions in the matrix (features, columns), and their values. No array is as
        large as the matrix.
        """
        return nonzero(self)

    def restore_numbers(self, record, numbers):
        """Set what `read_nonzero` returned."""
        self._restore(*record)
        self._count(*numbers)

    def _restore(self, steps, product, inverse, total, compensation, lr, l1, l2, l21, built_on=0.0):
        self.t.steps, self.t.clock = steps, Clock(product, inverse, total, compensation)
        self.t.d.plain.lr, self.t.p.l1, self.t.p.l2, self.t.l21 = lr, l1, l2, l21
        self.t.built_on = built_on  # since weights can be placed

    def _count(self, epochs, center, sizes):
        set_counters(self, (epochs, center, sizes))


include "learners.pxi"
include "placing.pxi"
include "records.pxi"
include "parts.pxi"
include "samples.pxi"
