"""Layer 4, the lazy updates. Everything is checked before the first write.

`Lazy` holds the buffers and the numbers. It is the base of the classes in lazy/, so that a step calls no Python
function of fastreg. These classes define the directions, their state and their settings.
"""
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.math cimport INFINITY
from libc.string cimport memcpy, memset
from numpy cimport (
    import_array, ndarray, NPY_ARRAY_C_CONTIGUOUS, NPY_INT, npy_intp, NPY_LONG, NPY_LONGLONG, PyArray_DATA,
    PyArray_DIM, PyArray_FLAGS, PyArray_ISBEHAVED, PyArray_ISBEHAVED_RO, PyArray_NBYTES, PyArray_NDIM,
    PyArray_SimpleNew, PyArray_SIZE, PyArray_TYPE,
)

from fastreg._boundary.checks cimport (
    as_array, as_double, check, dtype_of, GIL_FREE, guard, index_type, is_alike, is_disjoint, is_plain, is_target,
    kernels,
)
from fastreg._boundary.codes cimport fill_direction, mode_code
from fastreg._boundary.section cimport enter, FREE_THREADED, leave, Section
from fastreg._kernels.slices cimport rate_of_z
from fastreg._kernels.table cimport (
    ADAGRAD, Batch, FLOAT32, FTRL_PROXIMAL, Indices, Merging, Numbers, PLAIN, Rows, Schedule, TRUNCATED,
)
from fastreg.structs cimport Clock, Stamp

import cython
import numpy as np

from fastreg._boundary import errors

import_array()

cdef tuple STRENGTHS = ("lr", "l1", "l2", "l21")

include "lazy_data.pxi"


cdef inline Schedule schedule_of(const double* rows, Py_ssize_t count, Py_ssize_t stride) noexcept:
    """From a row of `count` numbers for each of STRENGTHS; the stride is 0 where all steps have the same."""
    return Schedule(Numbers(rows, stride), Numbers(rows + count, stride), Numbers(rows + 2*count, stride),
                    Numbers(rows + 3*count, stride))


cdef class Lazy(_LazyData):
    """Base of the lazy updates: see :class:`fastreg.LazySGD`."""

    cdef int point_to(self, Batch* batch, ndarray indices, Py_ssize_t size) except -1:
        """Sets the indices of the batch: a private copy if other threads run during the step and could change them."""
        cdef size_t bytes = PyArray_NBYTES(indices)
        cdef void* memory
        batch.indices = Indices(index_type(indices), PyArray_DATA(indices))
        if size >= GIL_FREE or FREE_THREADED:
            if bytes > self.capacity:
                memory = PyMem_Realloc(self.indices, bytes)
                if memory == NULL:
                    raise MemoryError
                self.indices, self.capacity = memory, bytes
            memcpy(self.indices, batch.indices.data, bytes)
            batch.indices.data = self.indices
        return 0

    cdef int commit(self, const Batch* batch, const Schedule* schedule, const Merging* merging,
                    Py_ssize_t size) except -1:
        """Makes the steps, which touch about `size` weights, in one commit."""
        cdef bint locked = enter(self.section, True, size < GIL_FREE)
        if size < GIL_FREE:
            kernels.lazy_step(&self.t, batch, schedule, merging)
        else:
            with nogil:
                kernels.lazy_step(&self.t, batch, schedule, merging)
        leave(self.section, locked)
        return 0

    def step(self, indices, values):
        """One step for a sparse gradient, in O(non-zeros).

        Parameters
        ----------
        indices : ndarray or buffer, int32 or int64, shape (n,)
            The indices of the gradient's non-zeros, or of its non-zero rows for 2-d weights, in any order. The values
            of an index that occurs more than once are summed.
        values : ndarray or buffer, the dtype of w, shape (n,), or (n, width) for 2-d weights
            The gradient at the indices. Only read.

        Raises
        ------
        TypeError, ValueError
            For a wrong dtype, shape or layout, or an index out of range. Nothing has been written then.
        """
        cdef Py_ssize_t[2] starts
        cdef double[4] now
        cdef Batch batch
        cdef Schedule schedule
        cdef Merging merging = Merging(NULL, NULL, NULL)
        cdef ndarray index_array = as_index(indices, "indices")
        cdef ndarray gradient = as_array(values, "values")
        self.begin("step")
        try:
            now = self.strengths.now
            if self.schedules:
                table = self.table(1)
                now = table[0, 0], table[1, 0], table[2, 0], table[3, 0]
            self.check_weights()
            self.check_indices(index_array, "indices")
            self.check_values(gradient, PyArray_DIM(index_array, 0), "values")
            starts = [0, PyArray_DIM(index_array, 0)]
            batch.count, batch.starts, batch.data, batch.shared = 1, &starts[0], PyArray_DATA(gradient), False
            self.point_to(&batch, index_array, PyArray_SIZE(gradient))
            self.check_range(&batch, index_array, &merging)
            schedule = schedule_of(&now[0], 1, 0)
            self.commit(&batch, &schedule, &merging, PyArray_SIZE(gradient))
        finally:
            self.section.end()

    def step_csr(self, data, indices, indptr):
        """One step for each of several sparse gradients, given as the rows of a matrix in SciPy's CSR format.

        Parameters
        ----------
        data : ndarray or buffer, the dtype of w, shape (m,), or (m, width) for 2-d weights
        indices : ndarray or buffer, int32 or int64, shape (m,)
        indptr : ndarray or buffer, int32 or int64, shape (steps + 1,)
            Step s uses ``indices[indptr[s]:indptr[s + 1]]`` and the same slice of data. A step with an empty slice
            counts, too.

        Raises
        ------
        TypeError, ValueError
            As :meth:`step`. Nothing has been written then.
        """
        cdef Batch batch
        cdef Schedule schedule
        cdef Merging merging = Merging(NULL, NULL, NULL)
        cdef double[4] now
        cdef ndarray index_array = as_index(indices, "indices")
        cdef ndarray gradient = as_array(data, "data")
        cdef ndarray starts = np.array(as_index(indptr, "indptr"), np.intp)
        cdef ndarray table
        cdef Py_ssize_t size
        self.begin("step_csr")
        try:
            now = self.strengths.now  # strengths that another thread sets meanwhile apply to later steps
            batch.count, batch.starts = PyArray_DIM(starts, 0) - 1, <Py_ssize_t*>PyArray_DATA(starts)
            batch.shared = False
            schedule = schedule_of(&now[0], 1, 0)
            if self.schedules:
                table = self.table(max(batch.count, <Py_ssize_t>0))  # an empty indptr is refused below
                schedule = schedule_of(<const double*>PyArray_DATA(table), batch.count, 1)
            self.check_weights()
            self.check_indices(index_array, "indices")
            errors.check_starts(starts, PyArray_DIM(index_array, 0))
            self.check_values(gradient, PyArray_DIM(index_array, 0), "data")
            batch.data = PyArray_DATA(gradient)
            size = PyArray_SIZE(gradient) + batch.count
            self.point_to(&batch, index_array, size)
            self.check_range(&batch, index_array, &merging)
            self.commit(&batch, &schedule, &merging, size)
        finally:
            self.section.end()

    # -- Weights ------------------------------------------------------------------------------------------------------

    def flush(self):
        """Bring all weights in w up to date, in O(size of w)."""
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
        """The up-to-date weights; w and the state do not change.

        Parameters
        ----------
        indices : ndarray or buffer, int32 or int64, shape (n,), optional
            The weights to return, rows for 2-d weights; None for all.

        Returns
        -------
        ndarray
            A new array, of the shape of w if indices is None, else (n,) or (n, width).
        """
        cdef ndarray index_array = None if indices is None else as_index(indices, "indices")
        self.check_initialized()
        cdef bint keeps_gil = index_array is not None and PyArray_SIZE(index_array)*self.t.width < GIL_FREE
        cdef bint locked = enter(self.section, False, keeps_gil)
        try:
            return self.read(index_array)
        finally:
            leave(self.section, locked)

    cdef ndarray read(self, ndarray index_array):
        """The up-to-date weights; the caller holds the lock."""
        cdef Py_ssize_t[2] starts
        cdef npy_intp[2] shape
        cdef Batch batch
        cdef Indices indices
        cdef const Indices* wanted = NULL
        cdef Py_ssize_t count = self.t.rows
        cdef ndarray out
        self.check_weights()
        if index_array is not None:
            if PyArray_SIZE(index_array)*self.t.width >= GIL_FREE or FREE_THREADED:
                index_array = index_array.copy()  # other threads run below and could change it
            count = PyArray_DIM(index_array, 0)
            indices = Indices(index_type(index_array), PyArray_DATA(index_array))
            wanted = &indices
            starts = [0, count]
            batch = Batch(1, indices, &starts[0], NULL, False)  # as one gradient
            self.check_range(&batch, index_array, NULL)
        shape = [count, self.t.width]
        out = PyArray_SimpleNew(self.ndim, &shape[0], PyArray_TYPE(self.w))  # in less time than np.empty
        if PyArray_SIZE(out) < GIL_FREE:
            kernels.lazy_read(&self.t, wanted, count, PyArray_DATA(out))
        else:
            with nogil:
                kernels.lazy_read(&self.t, wanted, count, PyArray_DATA(out))
        return out

    @property
    def has_pending_penalty(self):
        """Whether a weight in w is not up to date, because steps without a gradient have not been applied to it yet."""
        block = 1024
        self.check_initialized()
        self.section.lock(False)
        try:
            for start in range(0, self.t.rows, block):
                block_rows = np.arange(start, min(start + block, self.t.rows))
                if not np.array_equal(self.read(block_rows), self.w[start:start + block], equal_nan=True):
                    return True
            return False
        finally:
            self.section.unlock()

    def _nonzero(self):
        """The up-to-date weights that are not zero: positions in w, flattened, and values."""
        block = 1 << 14
        positions, values = [np.empty(0, np.intp)], [np.empty(0, self.w.dtype)]
        self.check_initialized()
        self.section.lock(False)
        try:
            for start in range(0, self.t.rows, block):
                weights = self.read(np.arange(start, min(start + block, self.t.rows))).ravel()
                found, = weights.nonzero()
                values.append(weights[found])
                positions.append(found + start*self.t.width)
        finally:
            self.section.unlock()
        return np.concatenate(positions), np.concatenate(values)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.flush()

    # -- State --------------------------------------------------------------------------------------------------------

    def _record(self):
        """Everything but w that the next steps depend on.

        Steps, clock, last strengths, the lr that z of FTRL is built on, copies of stamps and state, strengths.
        """
        cdef Clock c
        self.check_initialized()
        self.section.lock(False)
        try:
            c = self.t.clock
            now = np.array([c.product, c.inverse, c.total, c.compensation])
            last = np.array([self.t.d.plain.lr, self.t.p.l1, self.t.p.l2, self.t.l21])
            stamps = None if self.stamps is None else self.stamps.copy()
            strengths = {name: self.strength(i) for i, name in enumerate(STRENGTHS)}
            return self.t.steps, now, last, rate_of_z(&self.t), stamps, list(map(np.copy, self._arrays)), strengths
        finally:
            self.section.unlock()

    def _seal(self):
        """To be pickled after w: see section.pyx."""
        return self.section.seal()

    def _write(self, prepare):
        """Call `prepare`, and restore all that it returns, or nothing."""
        self.begin("load_state_dict")
        try:
            completed, clock, last, built_on, stamps, arrays, strengths = prepare()
            self.restore(completed, clock, last, built_on, stamps, arrays, strengths)
        finally:
            self.section.end()

    cdef int restore(self, long long steps, clock, last, double built_on, ndarray stamps, list arrays,
                     dict changes) except -1:
        """Restore what `_record` returned. The caller has checked it, except the strengths, and keeps no array."""
        cdef Rows t = self.t
        cdef Strengths given = self.strengths
        cdef ndarray current, saved
        cdef (void*)[3] to
        cdef (const void*)[3] source
        cdef size_t[3] size
        cdef Py_ssize_t i, count = 0
        _before = self.schedules  # kept until everything is replaced: releasing an object may run code
        schedules = with_changes(&t, &self.traits, _before, evaluate(changes, steps), &given)
        t.steps = steps
        t.clock.product, t.clock.inverse, t.clock.total, t.clock.compensation = clock
        t.d.plain.lr, t.p.l1, t.p.l2, t.l21 = last
        t.built_on = built_on
        if steps > 0:
            check_last(&t, self.traits)
        t.inside = not has_bounds(&t)  # the weights may be those of other bounds
        self.check_weights()
        pairs = [*zip(self._arrays, arrays), *([(self.stamps, stamps)] if self.stamps is not None else [])]
        for current, saved in pairs:
            if not (PyArray_ISBEHAVED(current) and PyArray_ISBEHAVED_RO(saved)
                    and PyArray_FLAGS(current) & PyArray_FLAGS(saved) & NPY_ARRAY_C_CONTIGUOUS
                    and current.dtype == saved.dtype and PyArray_NBYTES(current) == PyArray_NBYTES(saved)):
                raise ValueError("state: expected the arrays of the construction, writable, got changed ones")
            to[count], source[count], size[count] = PyArray_DATA(current), PyArray_DATA(saved), PyArray_NBYTES(current)
            count += 1
        self.section.lock(True)
        for i in range(count):
            memcpy(to[i], source[i], size[i])
        self.t, self.strengths, self.schedules = t, given, schedules
        self.section.unlock()
        return 0
