"""Layer 4, a linear model at many strengths that learn together. Used by linear/strengths.py, which checks the input.

As in linear.pyx, a record holds all that belongs to a feature, and a call makes all of its changes in one commit. The
strengths lie side by side in a record; their number is rounded up, so that loops over them need no remainder.
"""
from libc.math cimport INFINITY
from libc.string cimport memcpy, memset
from numpy cimport (
    import_array, ndarray, NPY_DOUBLE, NPY_FLOAT, NPY_INTP, PyArray_DATA, PyArray_DIM,
    PyArray_ITEMSIZE, PyArray_SIZE,
)

from fastreg._boundary.checks cimport dtype_of, kernels, pointer_to
from fastreg._boundary.codes cimport fill_direction
from fastreg._boundary.linear cimport point_to
from fastreg._boundary.section cimport Section
from fastreg._kernels.slices cimport tile_size
from fastreg._kernels.table cimport (
    Batch, Columns, FLOAT32, FTRL_PROXIMAL, Learning, MARGIN_LANES, PROXIMAL, Schedule, VECTOR,
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

cdef struct Counts:  # as in linear.pyx
    double size
    long long sized
    double scale
    long long epochs
    double center
    double distance
    double level


@cython.final
cdef class StrengthLearner:
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
    cdef Counts counts
    cdef (void*)[3] intercept_data
    cdef readonly object direction
    cdef readonly ndarray records
    cdef readonly list intercept
    cdef readonly ndarray strengths
    cdef readonly ndarray factors
    cdef ndarray table     # l1 and l2 by lane
    cdef ndarray last      # and those of the last step, in the dtype of the weights, with two more numbers
    cdef ndarray clocks    # eight numbers for each lane
    cdef ndarray progress  # means, firsts and seconds, then two errors for each lane
    cdef Section section

    def __cinit__(self, ndarray records, object direction, list intercept, ndarray strengths, double low,
                  ndarray factors=None):
        cdef double largest
        cdef ndarray x
        cdef Py_ssize_t i, lanes
        dtype, columns = check_records(records, direction, intercept, strengths)
        self.records, self.direction, self.intercept = records, direction, list(intercept)
        self.strengths, self.section, self.counts = strengths, Section(), Counts(0, 0, 1, 0, 0, 0, 1)
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
        self.progress = np.zeros((lanes + 5, lanes + 1))
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
        self.v.progress.means, self.v.progress.firsts = start, start + (lanes + 1)
        self.v.progress.errors, self.v.progress.seconds = start + 2*(lanes + 1), start + 4*(lanes + 1)

    cdef void set_factors(self, ndarray factors) noexcept:
        self.factors = factors
        self.v.t.f = NULL if factors is None else PyArray_DATA(factors)

    @property
    def completed(self):
        """Number of samples seen."""
        return self.v.t.steps

    @property
    def epochs(self):
        """Number of epochs of the last call."""
        return self.counts.epochs

    @property
    def sizes(self):
        """The sum of the samples' sizes, and the number of samples in it."""
        return self.counts.size, self.counts.sized

    @property
    def scale(self):
        """The mean size of the samples when their number last reached a power of 2."""
        return self.counts.scale

    @property
    def center(self):
        """Where the intercept starts; added to all margins."""
        return self.counts.center

    @property
    def levels(self):
        """The sum of the targets' distances from `center`, and the size of targets that the learning rates use."""
        return self.counts.distance, self.counts.level

    @property
    def version(self):
        """A number that changes with every commit."""
        return self.section.version

    def learn(self, prepare):
        """Make a step for each sample, and return for each strength the sum of the losses.

        `prepare` returns what it returns for Learner.learn, but for the strengths: their rows are lr, what l1 and l2
        are multiplied by, and two that are not used.
        """
        cdef Batch batch
        cdef Schedule schedule
        cdef Learning learning
        cdef Counts counts
        cdef ndarray order, targets, weights, offsets, strengths, indices, factors
        cdef ndarray margins, slopes, tile, ranges, sums, totals
        cdef Py_ssize_t rows, columns, lanes = self.v.lanes, size = self.v.t.width*lanes
        cdef int type_num = NPY_FLOAT if self.v.t.dtype == FLOAT32 else NPY_DOUBLE
        cdef const double* numbers
        cdef bint changed
        memset(&learning, 0, sizeof(Learning))
        self.section.begin("learn")
        try:
            (samples, order, targets, weights, offsets, strengths, learning.loss.code, learning.loss.parameter,
             learning.curvature, learning.intercept_rate, counts.size, counts.sized, counts.scale, counts.epochs,
             counts.center, counts.distance, counts.level, factors) = prepare()
            if samples.features != self.v.t.rows:
                raise ValueError(f"X: expected {self.v.t.rows} features, as in the first call, got {samples.features}")
            if factors is not None and (factors.dtype != self.last.dtype or np.shape(factors) != (self.v.t.rows,)):
                raise ValueError(f"factors: expected {self.v.t.rows} of dtype {self.last.dtype}, got"
                                 f" {np.shape(factors)} of {factors.dtype}")
            point_to(&batch, samples, type_num)
            rows = batch.count
            if samples.shares_indices:  # other threads may change them
                indices, _ = take_indices(samples.indices, samples.starts, self.v.t.rows, True)
                batch.indices.data = PyArray_DATA(indices)
            learning.count, learning.longest = PyArray_SIZE(order), samples.longest
            learning.order = <Py_ssize_t*>pointer_to(order, NPY_INTP, learning.count, "order")
            learning.targets = <double*>pointer_to(targets, NPY_DOUBLE, rows, "y")
            if weights is not None:
                learning.weights = <double*>pointer_to(weights, NPY_DOUBLE, learning.count, "sample_weight")
            if offsets is not None:
                learning.offsets = <double*>pointer_to(offsets, NPY_DOUBLE, rows, "offset")
            learning.center = counts.center
            columns = PyArray_DIM(strengths, 1)
            if columns != 1 and columns != learning.count:
                raise ValueError(f"strengths: expected 1 or {learning.count} columns, got {columns}")
            numbers = <double*>pointer_to(strengths, NPY_DOUBLE, 5*columns, "strengths")
            schedule = Schedule(numbers, numbers + columns, numbers + 2*columns, columns > 1, NULL)
            learning.intercept_rates = numbers + 4*columns if learning.intercept_rate > 0 else NULL
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
            learning.intercept, learning.intercept_a = self.intercept_data[0], self.intercept_data[1]
            learning.intercept_b = self.intercept_data[2]
            self.v.sums, self.v.totals = <double*>PyArray_DATA(sums), <double*>PyArray_DATA(totals)
            self.v.losses, self.v.ranges = self.v.totals + lanes, <Py_ssize_t*>PyArray_DATA(ranges)
            with nogil:
                kernels.strengths_learn(&self.v, &batch, &schedule, &learning)
            self.counts = counts
            self.section.unlock()
        finally:
            self.section.end()
        return totals[:self.v.count]

    # -- Reading ------------------------------------------------------------------------------------------------------

    def judged(self):
        """A copy of what progressive validation has: number and weight of samples, sum of squared weights, then means
        by strength, and squares by pair of strengths; the last row of these has none to pair with.
        """
        cdef Py_ssize_t lanes = self.v.lanes
        self.section.lock(False)
        try:
            numbers = self.v.progress.count, self.v.progress.weight, self.v.progress.squares
            progress = self.progress.copy()
        finally:
            self.section.unlock()
        seconds = progress.reshape(-1)[4*(lanes + 1):][:(lanes + 1)*lanes].reshape(lanes + 1, lanes)
        return numbers, progress[0, :self.v.count], seconds[[*range(self.v.count), lanes], :self.v.count]

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

    cdef tuple numbers(self):
        return (self.counts.size, self.counts.sized, self.counts.scale, self.counts.epochs, self.counts.center,
                self.counts.distance, self.counts.level)

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
                self.numbers(), self.factors)

    cdef int take(self, list intercept, tuple small) except -1:
        """Set what `small` returned, and the intercept: numbers are copied."""
        cdef ndarray factors
        for own, x in zip(self.intercept, intercept):
            own[:] = x
        (self.v.t.steps, self.v.t.d.plain.lr, self.v.t.built_on, last, clocks, progress, numbers, counts,
         factors) = small
        self.last[:], self.clocks[:], self.progress[:] = last, clocks, progress
        (self.v.progress.weight, self.v.progress.squares, self.v.progress.first, self.v.progress.count) = numbers
        self.counts = Counts(counts[0], counts[1], counts[2], counts[3], counts[4], counts[5], counts[6])
        self.set_factors(factors)
        return 0

    def __reduce__(self):
        return reduced(self)


include "strength_records.pxi"
