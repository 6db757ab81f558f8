"""Layer 4, the boundary of the lazy updates: all is checked before the first write, as everywhere.

`Lazy` holds the buffers and the numbers, and is the base of the classes in lazy.py, so that a step goes through no
Python function of ours. Which directions there are, their state and their settings are the affair of those.
"""
from libc.string cimport memset
from numpy cimport (
    import_array, ndarray, NPY_ARRAY_C_CONTIGUOUS, NPY_INT, NPY_LONG, NPY_LONGLONG, PyArray_DATA, PyArray_DIM,
    PyArray_FLAGS, PyArray_ISBEHAVED_RO, PyArray_NDIM, PyArray_SIZE, PyArray_TYPE,
)

from fastreg._checks cimport (
    as_array, as_double, check, dtype_of, GIL_FREE, guard, index_type, is_apart, is_plain, is_target, kernels,
)
from fastreg._kernels cimport (
    ADAGRAD, Clock, FLOAT32, FTRL_PROXIMAL, PEEK, PLAIN, Rows, SETTLE, Sparse, STEP, TRUNCATED,
)
from fastreg.rules cimport Stamp

import cython
import numpy as np

from fastreg import _diagnose, reference

import_array()

cdef dict DIRECTIONS = {name: code for code, name in enumerate(reference.DIRECTIONS)}
cdef dict MODES = {mode: code for code, mode in enumerate(reference.MODES)}
cdef tuple STRENGTHS = ("lr", "l1", "l2")


cdef inline bint is_index(ndarray a) noexcept:
    """A vector of int32 or int64, aligned, dense and in native byte order."""
    cdef int kind = PyArray_TYPE(a)
    return ((kind == NPY_INT or kind == NPY_LONG or kind == NPY_LONGLONG) and PyArray_NDIM(a) == 1
            and PyArray_ISBEHAVED_RO(a) and PyArray_FLAGS(a) & NPY_ARRAY_C_CONTIGUOUS != 0)


cdef inline ndarray as_index(object x, str name):
    """x as a vector of indices over the same memory; may run x's own Python code."""
    cdef ndarray a = <ndarray>x if type(x) is ndarray else _diagnose.as_buffer(x, name)
    if not is_index(a):
        raise _diagnose.bad_index(a, name)
    return a


cdef inline void point_to(Sparse* job, ndarray indices) noexcept:
    job.indices, job.index = PyArray_DATA(indices), index_type(indices)


cdef class Lazy:
    """What the lazy updates share: see :class:`fastreg.LazySGD`."""

    cdef Rows t
    cdef readonly ndarray w
    cdef ndarray stamps, factor_array, places, merged, sums
    cdef readonly list _arrays  # the state
    cdef object guards
    cdef dict schedules  # those of the strengths that are callables
    cdef double[3] strengths  # as the attributes say, but for those
    cdef double[3] now  # at the step to come, times the factor
    cdef double factor
    cdef bint fractional  # whether some coordinate's factor is neither 0 nor 1
    cdef bint busy
    cdef int ndim

    def _set_up(self, ndarray w, str direction, str mode, double second, list arrays, factor, dict strengths):
        """`second` is the direction's second number; `arrays` its state, like w; `factor` a number or like w."""
        cdef Py_ssize_t i
        cdef ndarray a
        if self.busy:
            raise RuntimeError("__init__: expected one call at a time, got another while one is under way")
        self.w = self.places = self.merged = self.sums = self.stamps = self.factor_array = None  # a second __init__
        memset(&self.t, 0, sizeof(Rows))
        if not (is_target(w) and PyArray_FLAGS(w) & NPY_ARRAY_C_CONTIGUOUS and 1 <= PyArray_NDIM(w) <= 2):
            raise _diagnose.bad_rows(w, "w")
        self._arrays, self.schedules, self.factor, self.fractional = arrays, {}, 1, False
        self.ndim = PyArray_NDIM(w)
        self.t.dtype, self.t.direction, self.t.mode = dtype_of(w), DIRECTIONS[direction], MODES[mode]
        self.t.rows, self.t.width = PyArray_DIM(w, 0), 1 if PyArray_NDIM(w) == 1 else PyArray_DIM(w, 1)
        self.t.pitch, self.t.w = self.t.width, PyArray_DATA(w)
        self.t.clock = Clock(1, 1, 0, 0)
        (<double*>&self.t.d)[1] = second
        for i, a in enumerate(arrays):
            if i == 0:
                self.t.a = PyArray_DATA(a)
            else:
                self.t.b = PyArray_DATA(a)
        if self.t.direction == PLAIN:
            self.stamps = np.tile([1.0, 0.0], (self.t.rows, 1))
        elif self.t.direction == ADAGRAD:
            self.stamps = np.zeros(self.t.rows, np.int64)
        if self.stamps is not None:
            self.t.stamps = <char*>PyArray_DATA(self.stamps)
            self.t.stamp_pitch = sizeof(Stamp) if self.t.direction == PLAIN else sizeof(long long)
        if isinstance(factor, np.ndarray):
            self.factor_array = factor
            self.t.f = PyArray_DATA(factor)
            self.fractional = self.t.direction == PLAIN and not np.isin(factor, (0, 1)).all()
        else:
            self.factor = factor
        self.guards = guard([w, *arrays])
        self._change(**strengths)
        self.w = w  # last: without it nothing runs

    # -- Strengths ----------------------------------------------------------------------------------------------------

    cdef int admit(self, double* strengths) except -1:
        """Checks strengths, and multiplies them by the factor."""
        cdef bint single = self.t.dtype == FLOAT32
        cdef double product
        for i in range(3):
            check(strengths[i], STRENGTHS[i], single)
            if i and self.factor != 1:
                product = strengths[i]*self.factor
                check(product, f"{STRENGTHS[i]} times penalty_factor", single)
                if product == 0 and strengths[i] != 0 and self.factor != 0:
                    raise _diagnose.bad_number(strengths[i], STRENGTHS[i], single, True)
                strengths[i] = product
        if self.t.direction == FTRL_PROXIMAL and strengths[0] == 0:
            raise ValueError("lr: expected a positive number, got 0.0")
        if self.fractional and strengths[2] != 0:
            raise ValueError(
                "penalty_factor: expected 0 and 1 only where l2 is not zero: there is no closed form for other factors"
            )
        product = <double>(<float>strengths[0]*<float>strengths[2]) if single else strengths[0]*strengths[2]
        if self.t.mode == TRUNCATED and not product < 1:
            raise ValueError(
                f"lr: expected lr times l2 below 1 with mode='truncated', got {strengths[0]} * {strengths[2]}"
            )
        return 0

    def _change(self, **changes):
        """Set some of the strengths, all or none."""
        cdef double[3] strengths = self.strengths
        cdef double[3] product
        schedules = dict(self.schedules)
        for i in range(3):
            name = STRENGTHS[i]
            if name not in changes:
                continue
            x = changes[name]
            schedules.pop(name, None)
            if callable(x):
                schedules[name] = x
                x = x(self.t.steps)
            strengths[i] = as_double(x, name)
        product = strengths
        self.admit(product)
        self.strengths, self.now, self.schedules = strengths, product, schedules

    cdef object strength(self, Py_ssize_t i):
        return self.schedules.get(STRENGTHS[i], self.strengths[i])

    @property
    def lr(self):
        """Learning rate: a number, or a callable of the completed steps; may be set between steps."""
        return self.strength(0)

    @lr.setter
    def lr(self, x):
        self._change(lr=x)

    @property
    def l1(self):
        """Strength of the L1 penalty: as lr."""
        return self.strength(1)

    @l1.setter
    def l1(self, x):
        self._change(l1=x)

    @property
    def l2(self):
        """Strength of the L2 penalty: as lr."""
        return self.strength(2)

    @l2.setter
    def l2(self, x):
        self._change(l2=x)

    @property
    def completed(self):
        """Completed steps."""
        return self.t.steps

    cdef ndarray ask(self, Py_ssize_t count):
        """The strengths of so many steps to come, one row for each of lr, l1 and l2; asks the schedules."""
        cdef double[3] strengths
        cdef double[:, ::1] table = np.empty((3, count))
        cdef Py_ssize_t s, i
        for s in range(count):
            strengths = self.strengths
            for name, schedule in self.schedules.items():
                strengths[STRENGTHS.index(name)] = as_double(schedule(self.t.steps + s), name)
            self.admit(strengths)
            for i in range(3):
                table[i, s] = strengths[i]
        return np.asarray(table)

    # -- Steps --------------------------------------------------------------------------------------------------------

    cdef int enter(self) except -1:
        """Not two threads at once, nor a schedule that steps what it is asked for."""
        with cython.critical_section(self):
            if self.w is None:
                raise TypeError(f"{type(self).__name__}: expected a call of __init__ first")
            if self.busy:
                raise RuntimeError("step: expected one call at a time, got another while one is under way")
            self.busy = True
        return 0

    cdef int check_weights(self) except -1:
        """w is still what it was; to be asked after the schedules, which may run any code."""
        if not (is_target(self.w) and PyArray_DATA(self.w) == self.t.w and dtype_of(self.w) == self.t.dtype
                and PyArray_FLAGS(self.w) & NPY_ARRAY_C_CONTIGUOUS and PyArray_NDIM(self.w) == self.ndim
                and PyArray_DIM(self.w, 0) == self.t.rows
                and (self.ndim == 1 or PyArray_DIM(self.w, 1) == self.t.width)):
            raise _diagnose.bad_rows(self.w, "w")
        return 0

    cdef int check_indices(self, ndarray indices, str name) except -1:
        """Still indices, after the schedules, and apart from what is written."""
        if not is_index(indices):
            raise _diagnose.bad_index(indices, name)
        return self.check_apart(indices, name)

    cdef int check_values(self, ndarray values, Py_ssize_t n, str name) except -1:
        """Like w, one entry for each index, apart from what is written."""
        if not (is_plain(values) and PyArray_FLAGS(values) & NPY_ARRAY_C_CONTIGUOUS and dtype_of(values) == self.t.dtype
                and PyArray_NDIM(values) == PyArray_NDIM(self.w) and PyArray_DIM(values, 0) == n
                and (PyArray_NDIM(values) == 1 or PyArray_DIM(values, 1) == self.t.width)):
            raise _diagnose.bad_values(values, self.w, n, name)
        self.check_apart(values, name)
        return 0

    cdef int check_apart(self, ndarray x, str name) except -1:
        cdef ndarray a
        if not is_apart(self.w, x):
            raise _diagnose.bad_overlap("w", name)
        for a in self._arrays:
            if not is_apart(a, x):
                raise _diagnose.bad_overlap("the state", name)
        return 0

    cdef int check_places(self, Sparse* job, ndarray indices) except -1:
        """All indices in range; makes room for the gradients in which one comes twice, if anything is to be stepped."""
        cdef Py_ssize_t longest = 0
        cdef int found = kernels.survey(job, self.t.rows, &longest)
        if found & 1:
            raise _diagnose.bad_place(indices, self.t.rows)
        if found & 2 and job.operation == STEP:
            if self.places is None:
                self.places = np.full(self.t.rows, -1, np.intp)
            if self.merged is None or PyArray_DIM(self.merged, 0) < longest:
                self.sums = np.empty(longest*self.t.width, self.w.dtype)
                self.merged = np.empty(longest, np.int64)  # last, since its length tells that there is room
            job.places = <Py_ssize_t*>PyArray_DATA(self.places)
            job.merged, job.sums = PyArray_DATA(self.merged), PyArray_DATA(self.sums)
        return 0

    cdef int operate(self, Sparse* job, Py_ssize_t size) except -1:
        """Does the job, which touches about so many weights."""
        if size < GIL_FREE:
            kernels.rows(&self.t, job)
        else:
            with nogil:
                kernels.rows(&self.t, job)
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
        cdef Sparse job
        cdef ndarray places = as_index(indices, "indices")
        cdef ndarray gradient = as_array(values, "values")
        self.enter()
        try:
            now = self.now
            if self.schedules:
                table = self.ask(1)
                now = table[0, 0], table[1, 0], table[2, 0]
            self.check_weights()
            self.check_indices(places, "indices")
            self.check_values(gradient, PyArray_DIM(places, 0), "values")
            memset(&job, 0, sizeof(Sparse))
            starts = [0, PyArray_DIM(places, 0)]
            job.operation, job.count, job.starts, job.data = STEP, 1, starts, PyArray_DATA(gradient)
            point_to(&job, places)
            self.check_places(&job, places)
            job.lr, job.l1, job.l2 = &now[0], &now[1], &now[2]
            self.operate(&job, starts[1]*self.t.width)
        finally:
            self.busy = False

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
        cdef Sparse job
        cdef double[3] now
        cdef ndarray places = as_index(indices, "indices")
        cdef ndarray gradient = as_array(data, "data")
        cdef ndarray starts = np.array(as_index(indptr, "indptr"), np.intp)
        cdef ndarray table
        self.enter()
        try:
            now = self.now  # what another thread sets meanwhile is for later steps
            memset(&job, 0, sizeof(Sparse))
            job.operation, job.count, job.starts = STEP, PyArray_DIM(starts, 0) - 1, <Py_ssize_t*>PyArray_DATA(starts)
            if self.schedules:
                table = self.ask(max(job.count, <Py_ssize_t>0))  # an empty indptr is refused below
                job.lr = <const double*>PyArray_DATA(table)
                job.l1, job.l2, job.stride = job.lr + job.count, job.lr + 2*job.count, 1
            else:
                job.lr, job.l1, job.l2 = &now[0], &now[1], &now[2]
            self.check_weights()
            self.check_indices(places, "indices")
            _diagnose.check_starts(starts, PyArray_DIM(places, 0))
            self.check_values(gradient, PyArray_DIM(places, 0), "data")
            job.data = PyArray_DATA(gradient)
            point_to(&job, places)
            self.check_places(&job, places)
            self.operate(&job, PyArray_SIZE(gradient) + job.count)
        finally:
            self.busy = False

    # -- Weights ------------------------------------------------------------------------------------------------------

    def flush(self):
        """Bring all of w up to date, in O(size of w)."""
        cdef Sparse job
        self.enter()
        try:
            self.check_weights()
            memset(&job, 0, sizeof(Sparse))
            job.operation = SETTLE
            self.operate(&job, PyArray_SIZE(self.w))
        finally:
            self.busy = False

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
        cdef Py_ssize_t[2] starts
        cdef Sparse job
        cdef ndarray places = None if indices is None else as_index(indices, "indices")
        cdef ndarray out
        self.enter()
        try:
            self.check_weights()
            memset(&job, 0, sizeof(Sparse))
            job.operation, job.count = PEEK, self.t.rows if places is None else PyArray_DIM(places, 0)
            if places is not None:
                point_to(&job, places)
                starts = [0, job.count]
                job.count, job.starts = 1, starts  # all of them as one row
                self.check_places(&job, places)
                job.count = starts[1]
            out = np.empty((job.count, *np.shape(self.w)[1:]), self.w.dtype)
            job.data = PyArray_DATA(out)
            self.operate(&job, PyArray_SIZE(out))
        finally:
            self.busy = False
        return out

    @property
    def owed(self):
        """Whether any weight in w is not what it should be by now."""
        block = 1024
        for start in range(0, self.t.rows, block):
            there = np.arange(start, min(start + block, self.t.rows))
            if not np.array_equal(self.weights(there), self.w[start:start + block], equal_nan=True):
                return True
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.flush()

    # -- State --------------------------------------------------------------------------------------------------------

    def _record(self):
        """What the next steps depend on beside w and the settings: clock, last strengths, and copies of the arrays."""
        cdef Clock c
        self.enter()
        try:
            c = self.t.clock
            now = np.array([c.product, c.inverse, c.total, c.lost])
            last = np.array([self.t.d.plain.lr, self.t.l1, self.t.l2])
            stamps = None if self.stamps is None else self.stamps.copy()
            return self.t.steps, now, last, stamps, [array.copy() for array in self._arrays]
        finally:
            self.busy = False

    def _restore(self, long long steps, clock, last, stamps, list arrays, dict strengths):
        """Take over what `_record` gave, and set the strengths; all was checked, but for these."""
        self.enter()
        try:
            self._change(**strengths)
            self.t.steps = steps
            product, inverse, total, lost = clock
            self.t.clock = Clock(product, inverse, total, lost)
            self.t.d.plain.lr, self.t.l1, self.t.l2 = last
            if self.stamps is not None:
                self.stamps[...] = stamps
            for mine, array in zip(self._arrays, arrays):
                mine[...] = array
        finally:
            self.busy = False
