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
from fastreg._kernels.table cimport Batch, Columns, FLOAT32, FTRL_PROXIMAL, Learning, PROXIMAL, Schedule, VECTOR

import cython
import numpy as np

from fastreg import reference
from fastreg._boundary.linear import take_indices

import_array()

cdef enum:
    ALIGNMENT = 64     # bytes: a cache line
    BLOCK = 1 << 10    # records that are read at a time

cdef dict FIELDS = {  # of a record, by direction; FTRL's weights follow from its state
    reference.Plain: ("inverse", "total", "w", "stamp"),
    reference.Adagrad: ("w", "a", "stamp"),
    reference.FTRL: ("a", "b"),
}


def lanes_of(Py_ssize_t strengths):
    """The number of places for so many strengths in an array."""
    return (strengths + VECTOR - 1)//VECTOR*VECTOR


def record_type(object direction, dtype, Py_ssize_t columns, Py_ssize_t strengths):
    """The dtype of a feature's record: see the structure Columns."""
    lanes = lanes_of(strengths)
    formats = {"stamp": ("i8", ()), "inverse": ("f8", (lanes,)), "total": ("f8", (lanes,))}
    names = FIELDS[type(direction)]
    formats = [formats.get(name, (dtype, (columns, lanes))) for name in names]
    sizes = np.cumsum([0, *(np.dtype(x).itemsize for x in formats)]).tolist()
    return np.dtype({"names": names, "formats": formats, "offsets": sizes[:-1],
                     "itemsize": -(-sizes[-1]//ALIGNMENT)*ALIGNMENT})


def new_records(Py_ssize_t features, dtype):
    """Records of zeros that begin at a cache line."""
    raw = np.zeros(features*dtype.itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start:start + features*dtype.itemsize].view(dtype)


cdef struct Counts:  # as in linear.pyx
    double size
    long long sized
    double scale
    long long epochs
    double center


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
    cdef ndarray last      # and those of the last step, in the dtype of the weights
    cdef ndarray clocks    # eight numbers for each lane
    cdef ndarray progress  # means, firsts and seconds, then two errors for each lane
    cdef Section section

    def __cinit__(self, ndarray records, object direction, list intercept, ndarray strengths, double low,
                  ndarray factors=None):
        cdef double largest
        cdef ndarray x
        cdef Py_ssize_t i, lanes, pairs
        dtype, columns = check_records(records, direction, intercept, strengths)
        self.records, self.direction, self.intercept = records, direction, list(intercept)
        self.strengths, self.section = strengths, Section()
        memset(&self.v, 0, sizeof(Columns))
        self.counts = Counts(0, 0, 1, 0, 0)
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
        self.table, self.last = np.zeros((2, lanes)), np.zeros((2, lanes), dtype)
        self.table[:, :len(strengths)] = strengths.T
        with np.errstate(over="ignore"):
            self.last[:] = self.table
        self.v.l1, self.v.l2 = <double*>PyArray_DATA(self.table), <double*>PyArray_DATA(self.table) + lanes
        self.v.last_l1 = PyArray_DATA(self.last)
        self.v.last_l2 = <char*>PyArray_DATA(self.last) + lanes*PyArray_ITEMSIZE(self.last)
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
        self.v.progress.errors = start + 2*(lanes + 1)
        self.v.progress.seconds = start + 4*(lanes + 1)

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
    def version(self):
        """A number that changes with every commit."""
        return self.section.version

    def learn(self, prepare):
        """Make a step for each sample, and return for each strength the sum of the losses.

        `prepare` returns what it returns for Learner.learn, but for the strengths: their rows are lr, what l1 and l2 are
        multiplied by, and two that are not used.
        """
        cdef Batch batch
        cdef Schedule schedule
        cdef Learning learning
        cdef Counts counts
        cdef ndarray order, targets, weights, offsets, strengths, indices, factors
        cdef ndarray margins, slopes, tile, sums, totals
        cdef Py_ssize_t rows, columns, lanes = self.v.lanes, size = self.v.t.width*lanes
        cdef int type_num = NPY_FLOAT if self.v.t.dtype == FLOAT32 else NPY_DOUBLE
        cdef const double* numbers
        cdef bint changed
        memset(&learning, 0, sizeof(Learning))
        self.section.begin("learn")
        try:
            (samples, order, targets, weights, offsets, strengths, learning.loss.code, learning.loss.parameter,
             learning.curvature, learning.intercept_rate, counts.size, counts.sized, counts.scale, counts.epochs,
             counts.center, factors) = prepare()
            if samples.features != self.v.t.rows:
                raise ValueError(f"X: expected {self.v.t.rows} features, as in the first call, got {samples.features}")
            if factors is not None and (factors.dtype != self.last.dtype or np.shape(factors) != (self.v.t.rows,)):
                raise ValueError(f"factors: expected {self.v.t.rows} of dtype {self.last.dtype}, got {np.shape(factors)} of"
                                 f" {factors.dtype}")
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
            numbers = <double*>pointer_to(strengths, NPY_DOUBLE, 4*columns, "strengths")
            schedule = Schedule(numbers, numbers + columns, numbers + 2*columns, columns > 1, NULL)
            if learning.curvature > 0:
                learning.squares = <double*>pointer_to(samples.squares, NPY_DOUBLE, rows, "X")
            margins, slopes = np.empty(self.v.t.width), np.zeros(size, self.last.dtype)
            tile, sums, totals = np.empty(samples.longest*size, slopes.dtype), np.empty(4*size), np.zeros(2*lanes)
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
            self.v.losses = self.v.totals + lanes
            with nogil:
                kernels.strengths_learn(&self.v, &batch, &schedule, &learning)
            self.counts = counts
            self.section.unlock()
        finally:
            self.section.end()
        return totals[:self.v.count]

    # -- Reading ------------------------------------------------------------------------------------------------------

    def judged(self):
        """A copy of what progressive validation has: number and weight of samples, sum of squared weights, then means by
        strength, and squares by pair of strengths; the last row of these has none to pair with.
        """
        cdef Py_ssize_t lanes = self.v.lanes
        self.section.lock(False)
        try:
            numbers = self.v.progress.count, self.v.progress.weight, self.v.progress.squares
            progress = self.progress.copy()
        finally:
            self.section.unlock()
        seconds = progress.reshape(-1)[4*(lanes + 1):][:(lanes + 1)*lanes].reshape(lanes + 1, lanes)
        rows = [*range(self.v.count), lanes]
        return numbers, progress[0, :self.v.count], seconds[rows, :self.v.count]

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
        """What a model at strength s needs to go on: arrays by name of its records, intercept and its state, the
        arguments of Learner._restore and Learner._count, and the factors. FTRL's weights are up to date.
        """
        cdef Py_ssize_t lanes = self.v.lanes
        fields = {}
        self.section.lock(False)
        try:
            for name in self.records.dtype.names:
                x = self.records[name]
                fields[name] = (x if name == "stamp" else x[..., s]).copy()
            if "w" not in fields:
                fields["w"] = np.empty((self.v.t.rows, self.v.t.width), self.last.dtype)
                self.read_weights(s, fields["w"])
            intercept = [x[:, s].copy() for x in self.intercept]
            l1, l2 = (self.last if self.v.t.direction == FTRL_PROXIMAL else self.table)[:, s].tolist()
            record = (self.v.t.steps, *self.clocks[:4, s].tolist(), self.v.t.d.plain.lr, l1, l2, 0.0, self.v.t.built_on)
            numbers = self.numbers()
            factors = self.factors
        finally:
            self.section.unlock()
        return fields, intercept, record, numbers, factors

    cdef tuple numbers(self):
        return self.counts.size, self.counts.sized, self.counts.scale, self.counts.epochs, self.counts.center

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
        self.counts = Counts(counts[0], counts[1], counts[2], counts[3], counts[4])
        self.set_factors(factors)
        return 0

    def __reduce__(self):
        """Only records that differ from the most frequent one are stored."""
        cdef Py_ssize_t words = self.records.itemsize//8, first
        rows = len(self.records)
        self.section.lock(False)
        try:
            raw = self.records.view(np.uint64).reshape(rows, words)
            background = raw[find_background(raw)].copy() if rows else np.zeros(words, np.uint64)
            found = [np.flatnonzero((raw[first:first + BLOCK] != background).any(1)) + first
                     for first in range(0, rows, BLOCK)]
            indices = np.concatenate(found) if found else np.empty(0, np.intp)
            kept = raw[indices]
            small = tuple(x.copy() if isinstance(x, np.ndarray) and x is not self.factors else x for x in self.small())
            intercept = [x.copy() for x in self.intercept]
        finally:
            self.section.unlock()
        return _rebuild, (rows, self.records.dtype, self.direction, self.strengths, self.v.t.low, background, indices,
                          kept, intercept, small)


cdef Py_ssize_t find_background(ndarray raw) except -1:
    """The place of a record that is frequent in a sample."""
    every = max(1, len(raw)//256)
    _, first, counts = np.unique(raw[::every], axis=0, return_index=True, return_counts=True)
    return first[counts.argmax()]*every


def _rebuild(rows, dtype, direction, strengths, low, background, indices, kept, intercept, small):
    """Create a StrengthLearner from a pickle. A file may contain anything."""
    cdef StrengthLearner new
    is_valid = (isinstance(dtype, np.dtype) and not dtype.hasobject and dtype.itemsize > 0 and isinstance(rows, int)
                and all(isinstance(x, np.ndarray) for x in (background, indices, kept))
                and background.dtype == kept.dtype == np.uint64 and indices.dtype.kind == "i"
                and background.shape == (dtype.itemsize//8,) and kept.shape == (len(indices), *background.shape)
                and 0 <= indices.min(initial=0) <= indices.max(initial=0) < max(rows, 1))
    if not is_valid:
        raise ValueError("records: expected records with their indices, got others; the file is damaged")
    records = new_records(rows, dtype)
    raw = records.view(np.uint64).reshape(rows, len(background))
    if background.any():
        raw[:] = background
    raw[indices] = kept
    new = StrengthLearner(records, direction, [np.empty(x.shape, x.dtype) for x in intercept], strengths, low)
    new.take(intercept, small)
    return new


cdef object check_records(ndarray records, object direction, list intercept, ndarray strengths):
    """The dtype of the weights and the number of columns; ValueError unless everything fits. A file may contain
    anything.
    """
    try:
        field = records.dtype["a" if type(direction) is reference.FTRL else "w"]
        base, columns = field.base, field.shape[0]
        is_valid = (base in (np.float32, np.float64) and columns > 0 and records.ndim == 1 and len(strengths) > 0
                    and np.shape(strengths) == (len(strengths), 2) and strengths.dtype == np.float64
                    and records.dtype == record_type(direction, base, columns, len(strengths))
                    and records.flags.carray
                    and len(intercept) in (0, 1 + len(set(records.dtype.names) & {"a", "b"})))
        shape = columns, lanes_of(len(strengths))
        is_valid = is_valid and all(x.dtype == base and x.shape == shape and x.flags.carray for x in intercept)
    except (AttributeError, IndexError, KeyError, TypeError):
        is_valid = False
    if not is_valid:
        raise ValueError(
            f"records: expected those of {type(direction).__name__}, got others; the file is damaged or of another kind"
        )
    return base, columns
