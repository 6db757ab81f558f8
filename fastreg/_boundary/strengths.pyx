"""Layer 4, a linear model at many strengths that learn together. Used by linear/strengths.py, which checks the input.

As in linear.pyx, a record holds all that belongs to a feature, and a call makes all of its changes in one commit. The
strengths lie side by side in a record; their number is rounded up, so that loops over them need no remainder.
"""
from libc.math cimport INFINITY
from libc.string cimport memcpy, memset
from numpy cimport import_array, ndarray, PyArray_DATA, PyArray_ITEMSIZE

from fastreg._boundary.checks cimport dtype_of, kernels
from fastreg._boundary.codes cimport fill_direction
from fastreg._boundary.linear cimport BaseLearner, counters_of, Counts, set_counters, take_samples
from fastreg._kernels.slices cimport tile_size
from fastreg._kernels.table cimport (
    Batch, Columns, FTRL_PROXIMAL, Learning, MARGIN_LANES, PROXIMAL, Schedule, VECTOR,
)

import mmap

import cython
import numpy as np

from fastreg import reference
from fastreg._boundary.linear import take_indices

import_array()

cdef enum:
    ALIGNMENT = 64     # bytes: a cache line
    BLOCK = 1 << 10    # records that are read at a time
    HUGE = 1 << 22     # bytes


@cython.final
cdef class StrengthLearner(BaseLearner):
    """The weights of a linear model at many strengths, with the state of its optimizer and its intercepts.

    Parameters
    ----------
    records : structured ndarray
        A record for each feature, of the dtype that `record_type` returns.
    direction : tuple
        `Plain`, `Adagrad` or `FTRL` of the reference.
    intercept : list of ndarray
        The intercept and its state, arrays (columns, lanes); empty for no intercept.
    strengths : ndarray, float64
        The l1 and the l2 of each strength, (S, 2).
    low : float
        The lower bound of the weights, at most 0.
    factors : ndarray or None
        The penalty factor of each feature, in the dtype of the weights, read-only; None for no factors.
    """

    cdef Columns v
    cdef readonly ndarray strengths
    cdef ndarray table     # l1 and l2 by lane
    cdef ndarray last      # and those of the last step, in the dtype of the weights, with two more numbers
    cdef ndarray clocks    # eight numbers for each lane
    cdef ndarray progress  # means, firsts and seconds by lane

    def __cinit__(self, ndarray records, object direction, list intercept, ndarray strengths, double low,
                  ndarray factors=None):
        cdef double largest
        cdef ndarray x
        cdef Py_ssize_t i, lanes
        dtype, columns = check_records(records, direction, intercept, strengths)
        self.records, self.direction, self.intercept = records, direction, list(intercept)
        self.strengths = strengths
        memset(&self.v, 0, sizeof(Columns))
        lanes = self.v.lanes = lanes_of(len(strengths))
        self.v.count, self.v.t.width, self.v.t.rows = len(strengths), columns, len(records)
        self.v.t.dtype, self.v.t.mode = dtype_of(np.empty(0, dtype)), PROXIMAL
        self.v.t.direction = fill_direction(&self.v.t.d, direction, &largest)
        self.v.t.stamp_pitch, self.v.t.pitch = records.itemsize, records.itemsize//dtype.itemsize
        self.v.t.low, self.v.t.high, self.v.t.gamma, self.v.t.inside = low, INFINITY, INFINITY, True
        self.v.records = <char*>PyArray_DATA(records)
        for name, pointer in (("w", 0), ("a", 1), ("b", 2), ("stamp", 3), ("inverse", 4)):
            if name in records.dtype.names:
                self.point_field(pointer, records.dtype.fields[name][1])
        for i, x in enumerate(intercept):
            self.intercept_data[i] = PyArray_DATA(x)
        self.table, self.last = np.zeros((2, lanes)), np.zeros((4, lanes), dtype)
        self.table[:, :len(strengths)] = strengths.T
        with np.errstate(over="ignore"):
            self.last[:2] = self.table
        self.v.l1, self.v.l2 = <double*>PyArray_DATA(self.table), <double*>PyArray_DATA(self.table) + lanes
        self.v.last_l1 = PyArray_DATA(self.last)
        self.v.last_l2 = <char*>self.v.last_l1 + lanes*PyArray_ITEMSIZE(self.last)
        self.v.threshold = <char*>self.v.last_l2 + lanes*PyArray_ITEMSIZE(self.last)
        self.v.shrinkage = <char*>self.v.threshold + lanes*PyArray_ITEMSIZE(self.last)
        self.clocks = np.zeros((8, lanes))
        self.clocks[:2] = 1
        self.v.clock, self.v.next = <double*>PyArray_DATA(self.clocks), <double*>PyArray_DATA(self.clocks) + 4*lanes
        self.progress = np.zeros((3, lanes))
        self.point_progress()
        self.set_factors(factors)

    cdef int point_field(self, int which, Py_ssize_t offset) except -1:
        cdef char* start = self.v.records + offset
        if which == 0:
            self.v.t.w = start
        elif which == 1:
            self.v.t.a = start
        elif which == 2:
            self.v.t.b = start
        elif which == 3:
            self.v.t.stamps = start
        else:
            self.v.inverses = start
        return 0

    cdef void point_progress(self) noexcept:
        cdef double* start = <double*>PyArray_DATA(self.progress)
        cdef Py_ssize_t lanes = self.v.lanes
        self.v.progress.means, self.v.progress.firsts, self.v.progress.seconds = start, start + lanes, start + 2*lanes

    cdef void set_factors(self, ndarray factors) noexcept:
        self.factors = factors
        self.v.t.f = NULL if factors is None else PyArray_DATA(factors)

    @property
    def completed(self):
        """Number of samples seen."""
        return self.v.t.steps

    def learn(self, prepare):
        """Make a step for each sample, and return for each strength the sum of the losses.

        `prepare` returns what it returns for Learner.learn, but for the strengths: the first are lr, what l1 and l2
        are multiplied by, and two that are not used.
        """
        cdef Batch batch
        cdef Schedule schedule
        cdef Learning learning
        cdef Counts counts
        cdef tuple sizes
        cdef ndarray indices, factors, margins, slopes, tile, ranges, sums, totals
        cdef Py_ssize_t lanes = self.v.lanes, size = self.v.t.width*lanes
        cdef bint changed
        self.section.begin("learn")
        try:
            samples, factors, sizes, _arrays = take_samples(
                self, prepare, &self.v.t, &batch, &schedule, &learning, &counts)
            schedule.l21.data = NULL
            if factors is not None and (factors.dtype != self.last.dtype or np.shape(factors) != (self.v.t.rows,)):
                raise ValueError(f"factors: expected {self.v.t.rows} of dtype {self.last.dtype}, got"
                                 f" {np.shape(factors)} of {factors.dtype}")
            if samples.shares_indices:  # other threads may change them
                indices, _ = take_indices(samples.indices, samples.starts, self.v.t.rows, True)
                batch.indices.data = PyArray_DATA(indices)
            margins, slopes = np.empty(self.v.t.width), np.zeros(size, self.last.dtype)
            tile = np.empty(tile_size(&self.v, samples.longest, batch.shared), slopes.dtype)
            ranges = np.empty((samples.longest, self.v.t.width, 2), np.intp)
            sums, totals = np.empty(MARGIN_LANES*size), np.zeros(2*lanes)
            learning.margins, learning.slopes = <double*>PyArray_DATA(margins), PyArray_DATA(slopes)
            learning.tile = PyArray_DATA(tile)
            changed = factors is not self.factors and learning.count > 0
            _before = self.factors  # kept until everything is replaced: releasing may run code
            self.section.lock(True)
            if changed:
                with nogil:
                    kernels.strengths_flush(&self.v)
                self.set_factors(factors)
            self.v.sums, self.v.totals = <double*>PyArray_DATA(sums), <double*>PyArray_DATA(totals)
            self.v.losses, self.v.ranges = self.v.totals + lanes, <Py_ssize_t*>PyArray_DATA(ranges)
            with nogil:
                kernels.strengths_learn(&self.v, &batch, &schedule, &learning)
            self.counts, self.sizes = counts, sizes
            self.section.unlock()
        finally:
            self.section.end()
        return totals[:self.v.count]

    def exchange(self, work):
        """Call `work` with a copy, then take over the copy's data; nothing changes if `work` raises."""
        cdef StrengthLearner other
        self.section.begin("learn")
        try:
            other = self.copy()
            result = work(other)
            self.section.lock(True)
            self.v, other.v = other.v, self.v
            self.counts, other.counts = other.counts, self.counts
            self.sizes, other.sizes = other.sizes, self.sizes
            self.intercept_data, other.intercept_data = other.intercept_data, self.intercept_data
            self.records, other.records = other.records, self.records
            self.intercept, other.intercept = other.intercept, self.intercept
            self.factors, other.factors = other.factors, self.factors
            self.table, other.table = other.table, self.table
            self.last, other.last = other.last, self.last
            self.clocks, other.clocks = other.clocks, self.clocks
            self.progress, other.progress = other.progress, self.progress
            self.section.unlock()
        finally:
            self.section.end()
        return result

    # For a private copy whose features get other units

    def flush(self):
        """Apply all pending penalties."""
        with nogil:
            kernels.strengths_flush(&self.v)

    def set_units(self, ndarray factors, bint in_units, tuple counters):
        """Set the factors, whether they are units, and the counters."""
        self.set_factors(factors)
        self.v.t.in_units = in_units
        set_counters(self, counters)

    def forget_losses(self):
        """Judge the strengths by the samples from now on."""
        self.progress[:] = 0
        memset(&self.v.progress, 0, sizeof(self.v.progress))
        self.point_progress()

    def set_state(self, Py_ssize_t s, ndarray records, list intercept):
        """Set what a Learner at strength s has, with which nothing is pending: fields of its records, and intercept."""
        for name in set(self.records.dtype.names) & set("wab"):
            self.records[name][..., s] = records[name]
        for own, x in zip(self.intercept, intercept):
            own[:, s] = x

    # -- Reading ------------------------------------------------------------------------------------------------------

    def judged(self):
        """A copy of what progressive validation has: number and weight of samples, sum of squared weights, then means
        and squares by strength.
        """
        self.section.lock(False)
        try:
            numbers = self.v.progress.count, self.v.progress.weight, self.v.progress.squares
            progress = self.progress.copy()
        finally:
            self.section.unlock()
        return numbers, progress[0, :self.v.count], progress[2, :self.v.count]

    def nonzeros(self):
        """The number of weights that are not zero, by strength."""
        cdef Py_ssize_t first, count, size = self.v.t.width*self.v.lanes
        cdef ndarray buffer = np.empty(BLOCK*size, self.last.dtype)
        found = np.zeros(self.v.lanes, np.intp)
        self.section.lock(False)
        try:
            for first in range(0, self.v.t.rows, BLOCK):
                count = min(<Py_ssize_t>BLOCK, self.v.t.rows - first)
                with nogil:
                    kernels.strengths_read(&self.v, first, count, PyArray_DATA(buffer))
                found += np.count_nonzero(buffer[:count*size].reshape(-1, self.v.lanes), axis=0)
        finally:
            self.section.unlock()
        return found[:self.v.count]

    def weights(self, Py_ssize_t s):
        """The weights at strength s, up to date, (features, columns)."""
        out = np.empty((self.v.t.rows, self.v.t.width), self.last.dtype)
        self.section.lock(False)
        try:
            self.read_weights(s, out)
        finally:
            self.section.unlock()
        return out

    cdef int read_weights(self, Py_ssize_t s, ndarray out) except -1:
        cdef Py_ssize_t first, count, width = self.v.t.width, size = width*self.v.lanes
        cdef ndarray buffer = np.empty(BLOCK*size, self.last.dtype)
        for first in range(0, self.v.t.rows, BLOCK):
            count = min(<Py_ssize_t>BLOCK, self.v.t.rows - first)
            with nogil:
                kernels.strengths_read(&self.v, first, count, PyArray_DATA(buffer))
            out[first:first + count] = buffer[:count*size].reshape(count, width, self.v.lanes)[..., s]
        return 0

    def intercepts(self, Py_ssize_t s):
        """The intercept at strength s, (columns,); zeros if there is none."""
        self.section.lock(False)
        try:
            own = self.intercept[0][:, s] if self.intercept else np.zeros(self.v.t.width, self.last.dtype)
            return own + own.dtype.type(self.counts.center if self.intercept else 0)
        finally:
            self.section.unlock()

    def state_of(self, Py_ssize_t s):
        """What a model at strength s needs to go on: see state_of in strength_records.pxi."""
        return state_of(self, s)

    # -- Copies -------------------------------------------------------------------------------------------------------

    def copy(self):
        """A consistent copy of everything."""
        cdef StrengthLearner new = StrengthLearner(
            new_records(self.v.t.rows, self.records.dtype), self.direction, list(map(np.empty_like, self.intercept)),
            self.strengths, self.v.t.low
        )
        cdef Py_ssize_t size = self.v.t.rows*self.v.t.stamp_pitch
        self.section.lock(False)
        try:
            with nogil:
                memcpy(new.v.records, self.v.records, size)
            new.take(self.intercept, self.small())
        finally:
            self.section.unlock()
        return new

    def __deepcopy__(self, memo):
        return self.copy()

    cdef tuple small(self):
        """Everything but records and intercept."""
        progress = self.v.progress.weight, self.v.progress.squares, self.v.progress.first, self.v.progress.count
        return (self.v.t.steps, self.v.t.d.plain.lr, self.v.t.built_on, self.last, self.clocks, self.progress, progress,
                counters_of(self), self.factors, self.v.t.in_units)

    cdef int take(self, list intercept, tuple small) except -1:
        """Set what `small` returned, and the intercept: numbers are copied."""
        cdef ndarray factors
        for own, x in zip(self.intercept, intercept):
            own[:] = x
        (self.v.t.steps, self.v.t.d.plain.lr, self.v.t.built_on, last, clocks, progress, numbers, counts, factors,
         self.v.t.in_units) = small
        self.last[:], self.clocks[:], self.progress[:] = last, clocks, progress
        (self.v.progress.weight, self.v.progress.squares, self.v.progress.first, self.v.progress.count) = numbers
        set_counters(self, counts)
        self.set_factors(factors)
        return 0

    def __reduce__(self):
        return reduced(self)


include "strength_records.pxi"
