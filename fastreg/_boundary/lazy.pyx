"""Layer 4, the boundary of the lazy updates: all is checked before the first write, as everywhere.

`Lazy` holds the buffers and the numbers, and is the base of the classes in lazy.py, so that a step goes through no
Python function of ours. Which directions there are, their state and their settings are the affair of those.
"""
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcpy, memset
from numpy cimport (
    import_array, ndarray, NPY_ARRAY_C_CONTIGUOUS, NPY_INT, NPY_LONG, NPY_LONGLONG, PyArray_DATA, PyArray_DIM,
    PyArray_FLAGS, PyArray_ISBEHAVED, PyArray_ISBEHAVED_RO, PyArray_NBYTES, PyArray_NDIM, PyArray_SIZE, PyArray_TYPE,
)

from fastreg._boundary.checks cimport (
    as_array, as_double, check, dtype_of, GIL_FREE, guard, index_type, is_alike, is_apart, is_plain, is_target, kernels,
)
from fastreg._boundary.codes cimport fill_direction, mode_code
from fastreg._boundary.section cimport enter, FREE_THREADED, leave, Section
from fastreg._kernels.table cimport (
    ADAGRAD, Batch, FLOAT32, FTRL_PROXIMAL, INT64, IndexType, Merging, PLAIN, Rows, Schedule, TRUNCATED,
)
from fastreg.structs cimport Clock, Stamp

import cython
import numpy as np

from fastreg._boundary import errors

import_array()

cdef tuple STRENGTHS = ("lr", "l1", "l2")

include "lazy_data.pxi"


cdef class Lazy(_LazyData):
    """What the lazy updates share: see :class:`fastreg.LazySGD`."""

    cdef int point_to(self, Batch* batch, ndarray indices, Py_ssize_t size) except -1:
        """The indices of the batch: a private copy where other threads, which could change them, run meanwhile."""
        cdef size_t bytes = PyArray_NBYTES(indices)
        cdef void* memory
        batch.indices, batch.index = PyArray_DATA(indices), index_type(indices)
        if size >= GIL_FREE or FREE_THREADED:
            if bytes > self.room:
                memory = PyMem_Realloc(self.indices, bytes)
                if memory == NULL:
                    raise MemoryError
                self.indices, self.room = memory, bytes
            memcpy(self.indices, batch.indices, bytes)
            batch.indices = self.indices
        return 0

    cdef int commit(self, const Batch* batch, const Schedule* schedule, const Merging* merging,
                    Py_ssize_t size) except -1:
        """Makes the steps, which touch about `size` weights."""
        cdef bint locked = enter(self.section, True, size < GIL_FREE)
        if size < GIL_FREE:
            kernels.lazy_step(&self.t, batch, schedule, merging)
        else:
            with nogil:
                kernels.lazy_step(&self.t, batch, schedule, merging)
        leave(self.section, locked)
        return 0

    def step(self, indices, values):
        """One step for a gradient that is zero but in some rows, in O(non-zeros).

        Parameters
        ----------
        indices : ndarray or buffer, int32 or int64, shape (n,)
            The places of the gradient's non-zeros, in any order; where one comes twice, its values are summed. For 2-d
            weights, rows.
        values : ndarray or buffer, the dtype of w, shape (n,), or (n, width) for 2-d weights
            The gradient there. Only read.

        Raises
        ------
        TypeError, ValueError
            Before anything is written: a wrong dtype, shape or layout, a negative index or one beyond the end.
        """
        cdef Py_ssize_t[2] starts
        cdef double[3] now
        cdef Batch batch
        cdef Schedule schedule
        cdef Merging merging = Merging(NULL, NULL, NULL)
        cdef ndarray places = as_index(indices, "indices")
        cdef ndarray gradient = as_array(values, "values")
        self.begin("step")
        try:
            now = self.strengths.now
            if self.schedules:
                table = self.table(1)
                now = table[0, 0], table[1, 0], table[2, 0]
            self.check_weights()
            self.check_indices(places, "indices")
            self.check_values(gradient, PyArray_DIM(places, 0), "values")
            starts = [0, PyArray_DIM(places, 0)]
            batch.count, batch.starts, batch.data, batch.shared = 1, &starts[0], PyArray_DATA(gradient), False
            self.point_to(&batch, places, PyArray_SIZE(gradient))
            self.check_places(&batch, places, &merging)
            schedule = Schedule(&now[0], &now[1], &now[2], 0)
            self.commit(&batch, &schedule, &merging, PyArray_SIZE(gradient))
        finally:
            self.section.end()

    def step_csr(self, data, indices, indptr):
        """A step for each of a run of sparse gradients: the rows of a matrix in SciPy's CSR form, one after the other.

        Parameters
        ----------
        data : ndarray or buffer, the dtype of w, shape (m,), or (m, width) for 2-d weights
        indices : ndarray or buffer, int32 or int64, shape (m,)
        indptr : ndarray or buffer, int32 or int64, shape (steps + 1,)
            The gradient of step s has ``indices[indptr[s]:indptr[s + 1]]`` and the data beside them. An empty one is a
            step too.

        Raises
        ------
        TypeError, ValueError
            As :meth:`step`, before anything is written.
        """
        cdef Batch batch
        cdef Schedule schedule
        cdef Merging merging = Merging(NULL, NULL, NULL)
        cdef double[3] now
        cdef const double* rows
        cdef ndarray places = as_index(indices, "indices")
        cdef ndarray gradient = as_array(data, "data")
        cdef ndarray starts = np.array(as_index(indptr, "indptr"), np.intp)
        cdef ndarray table
        cdef Py_ssize_t size
        self.begin("step_csr")
        try:
            now = self.strengths.now  # what another thread sets meanwhile is for later steps
            batch.count, batch.starts = PyArray_DIM(starts, 0) - 1, <Py_ssize_t*>PyArray_DATA(starts)
            batch.shared = False
            schedule = Schedule(&now[0], &now[1], &now[2], 0)
            if self.schedules:
                table = self.table(max(batch.count, <Py_ssize_t>0))  # an empty indptr is refused below
                rows = <const double*>PyArray_DATA(table)
                schedule = Schedule(rows, rows + batch.count, rows + 2*batch.count, 1)
            self.check_weights()
            self.check_indices(places, "indices")
            errors.check_starts(starts, PyArray_DIM(places, 0))
            self.check_values(gradient, PyArray_DIM(places, 0), "data")
            batch.data = PyArray_DATA(gradient)
            size = PyArray_SIZE(gradient) + batch.count
            self.point_to(&batch, places, size)
            self.check_places(&batch, places, &merging)
            self.commit(&batch, &schedule, &merging, size)
        finally:
            self.section.end()

    # -- Weights ------------------------------------------------------------------------------------------------------

    def flush(self):
        """Bring all of w up to date, in O(size of w)."""
        cdef Py_ssize_t size
        cdef bint locked
        self.begin("flush")
        try:
            self.check_weights()
            size = PyArray_SIZE(self.w)
            locked = enter(self.section, True, size < GIL_FREE)
            if size < GIL_FREE:
                kernels.lazy_flush(&self.t)
            else:
                with nogil:
                    kernels.lazy_flush(&self.t)
            leave(self.section, locked)
        finally:
            self.section.end()

    def weights(self, indices=None):
        """The weights as they are now; w and the state stay as they are.

        Parameters
        ----------
        indices : ndarray or buffer, int32 or int64, shape (n,), optional
            The places to tell, rows for 2-d weights; None for all.

        Returns
        -------
        ndarray
            A new array, of the shape of w for None, else (n,) or (n, width).
        """
        cdef ndarray places = None if indices is None else as_index(indices, "indices")
        self.check_made()
        cdef bint brief = places is not None and PyArray_SIZE(places)*self.t.width < GIL_FREE
        cdef bint locked = enter(self.section, False, brief)
        try:
            return self.read(places)
        finally:
            leave(self.section, locked)

    cdef ndarray read(self, ndarray places):
        """The weights as they are now, of data that are locked."""
        cdef Py_ssize_t[2] starts
        cdef Batch batch
        cdef IndexType index = INT64
        cdef const void* indices = NULL
        cdef Py_ssize_t count = self.t.rows
        cdef ndarray out
        self.check_weights()
        if places is not None:
            if PyArray_SIZE(places)*self.t.width >= GIL_FREE or FREE_THREADED:
                places = places.copy()  # other threads run below
            count = PyArray_DIM(places, 0)
            index, indices = index_type(places), PyArray_DATA(places)
            starts = [0, count]
            batch = Batch(1, index, indices, &starts[0], NULL, False)  # as one row
            self.check_places(&batch, places, NULL)
        out = np.empty((count, *np.shape(self.w)[1:]), self.w.dtype)
        if PyArray_SIZE(out) < GIL_FREE:
            kernels.lazy_read(&self.t, index, indices, count, PyArray_DATA(out))
        else:
            with nogil:
                kernels.lazy_read(&self.t, index, indices, count, PyArray_DATA(out))
        return out

    @property
    def has_pending_penalty(self):
        """Whether any weight in w is not up to date: steps without a gradient have still to be applied."""
        block = 1024
        self.check_made()
        self.section.lock(False)
        try:
            for start in range(0, self.t.rows, block):
                there = np.arange(start, min(start + block, self.t.rows))
                if not np.array_equal(self.read(there), self.w[start:start + block], equal_nan=True):
                    return True
            return False
        finally:
            self.section.unlock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.flush()

    # -- State --------------------------------------------------------------------------------------------------------

    def _record(self):
        """What the next steps depend on beside w: clock, last strengths, copies of the arrays; and strengths."""
        cdef Clock c
        self.check_made()
        self.section.lock(False)
        try:
            c = self.t.clock
            now = np.array([c.product, c.inverse, c.total, c.compensation])
            last = np.array([self.t.d.plain.lr, self.t.p.l1, self.t.p.l2])
            stamps = None if self.stamps is None else self.stamps.copy()
            strengths = {name: self.strength(i) for i, name in enumerate(STRENGTHS)}
            return self.t.steps, now, last, stamps, list(map(np.copy, self._arrays)), strengths
        finally:
            self.section.unlock()

    def _seal(self):
        """What follows w in a pickle: see section.pyx."""
        return self.section.seal()

    def _write(self, prepare):
        """Call `prepare`, and take over what it returns, all or nothing."""
        self.begin("load_state_dict")
        try:
            completed, clock, last, stamps, arrays, strengths = prepare()
            self.restore(completed, clock, last, stamps, arrays, strengths)
        finally:
            self.section.end()

    cdef int restore(self, long long steps, clock, last, ndarray stamps, list arrays, dict changes) except -1:
        """Take over what `_record` gave, as arrays that nobody else has; all was checked, but for the strengths."""
        cdef Rows t = self.t
        cdef Strengths given = self.strengths
        cdef ndarray mine, theirs
        cdef (void*)[3] to
        cdef (const void*)[3] source
        cdef size_t[3] size
        cdef Py_ssize_t i, count = 0
        _before = self.schedules  # kept until all is new: what is let go of may run code
        schedules = merge(&t, self.factor, self.fractional, _before, evaluate(changes, steps), &given)
        t.steps = steps
        t.clock.product, t.clock.inverse, t.clock.total, t.clock.compensation = clock
        t.d.plain.lr, t.p.l1, t.p.l2 = last
        self.check_weights()
        pairs = [*zip(self._arrays, arrays), *([(self.stamps, stamps)] if self.stamps is not None else [])]
        for mine, theirs in pairs:
            if not (PyArray_ISBEHAVED(mine) and PyArray_ISBEHAVED_RO(theirs)
                    and PyArray_FLAGS(mine) & PyArray_FLAGS(theirs) & NPY_ARRAY_C_CONTIGUOUS
                    and mine.dtype == theirs.dtype and PyArray_NBYTES(mine) == PyArray_NBYTES(theirs)):
                raise ValueError("state: expected the arrays of the construction, writable, got changed ones")
            to[count], source[count], size[count] = PyArray_DATA(mine), PyArray_DATA(theirs), PyArray_NBYTES(mine)
            count += 1
        self.section.lock(True)
        for i in range(count):
            memcpy(to[i], source[i], size[i])
        self.t, self.strengths, self.schedules = t, given, schedules
        self.section.unlock()
        return 0
