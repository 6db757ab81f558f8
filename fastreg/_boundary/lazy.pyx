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
from fastreg._kernels.table cimport (
    ADAGRAD, Clock, FLOAT32, FTRL_PROXIMAL, PEEK, PLAIN, Rows, SETTLE, Sparse, STEP, TRUNCATED,
)
from fastreg._boundary.section cimport enter, FREE_THREADED, leave, Section
from fastreg.rules cimport Stamp

import cython
import numpy as np

from fastreg import reference
from fastreg._boundary import errors

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
    cdef ndarray a = <ndarray>x if type(x) is ndarray else errors.as_buffer(x, name)
    if not is_index(a):
        raise errors.bad_index(a, name)
    return a


cdef struct Strengths:  # lr, l1 and l2
    double[3] given  # as the attributes say, but for schedules
    double[3] now    # at the step to come, times the factor


cdef int admit(const Rows* t, double factor, bint fractional, double* strengths) except -1:
    """Checks strengths, and multiplies them by the factor."""
    cdef bint single = t.dtype == FLOAT32
    cdef double product
    for i in range(3):
        check(strengths[i], STRENGTHS[i], single)
        if i and factor != 1:
            product = strengths[i]*factor
            check(product, f"{STRENGTHS[i]} times penalty_factor", single)
            if product == 0 and strengths[i] != 0 and factor != 0:
                raise errors.bad_number(strengths[i], STRENGTHS[i], single, True)
            strengths[i] = product
    if t.direction == FTRL_PROXIMAL and strengths[0] == 0:
        raise ValueError("lr: expected a positive number, got 0.0")
    if fractional and strengths[2] != 0:
        raise ValueError(
            "penalty_factor: expected 0 and 1 only where l2 is not zero: there is no closed form for other factors"
        )
    product = <double>(<float>strengths[0]*<float>strengths[2]) if single else strengths[0]*strengths[2]
    if t.mode == TRUNCATED and not product < 1:
        raise ValueError(
            f"lr: expected lr times l2 below 1 with mode='truncated', got {strengths[0]} * {strengths[2]}"
        )
    return 0


cdef class Lazy:
    """What the lazy updates share: see :class:`fastreg.LazySGD`."""

    cdef Rows t
    cdef Section section
    cdef readonly ndarray w
    cdef ndarray stamps, factor_array, places, merged, sums
    cdef readonly list _arrays  # the state
    cdef readonly dict _own     # settings that stay
    cdef readonly object _factor
    cdef object guards
    cdef dict schedules         # those of the strengths that are callables
    cdef Strengths strengths
    cdef double factor
    cdef bint fractional        # whether some coordinate's factor is neither 0 nor 1
    cdef int ndim
    cdef void* indices          # private copies, for steps during which other threads run
    cdef size_t room

    def __cinit__(self, *_, **__):
        self.section = Section()

    def __dealloc__(self):
        PyMem_Free(self.indices)

    def _set_up(self, ndarray w, str direction, str mode, double second, list arrays, tuple factor, dict strengths,
                dict own):
        """`second` is the direction's second number, `arrays` its state, `factor` a number and an array or None."""
        cdef Rows t
        cdef Strengths given
        cdef ndarray a, stamps = None, factor_array = factor[1]
        cdef double number = factor[0]
        cdef Py_ssize_t i
        cdef bint fractional = False
        self.section.begin("__init__")
        try:
            memset(&t, 0, sizeof(Rows))
            memset(&given, 0, sizeof(Strengths))
            if not (is_target(w) and PyArray_FLAGS(w) & NPY_ARRAY_C_CONTIGUOUS and 1 <= PyArray_NDIM(w) <= 2):
                raise errors.bad_rows(w, "w")
            t.dtype, t.direction, t.mode = dtype_of(w), DIRECTIONS[direction], MODES[mode]
            t.rows, t.width = PyArray_DIM(w, 0), 1 if PyArray_NDIM(w) == 1 else PyArray_DIM(w, 1)
            t.pitch, t.w = t.width, PyArray_DATA(w)
            t.clock = Clock(1, 1, 0, 0)
            (<double*>&t.d)[1] = second
            for i, a in enumerate(arrays):
                if not (is_target(a) and is_alike(w, a, t.dtype)):
                    raise errors.bad_state(w, a, "w")
                if i == 0:
                    t.a = PyArray_DATA(a)
                else:
                    t.b = PyArray_DATA(a)
            if t.direction == PLAIN:
                stamps = np.tile([1.0, 0.0], (t.rows, 1))
            elif t.direction == ADAGRAD:
                stamps = np.zeros(t.rows, np.int64)
            if stamps is not None:
                t.stamps = <char*>PyArray_DATA(stamps)
                t.stamp_pitch = sizeof(Stamp) if t.direction == PLAIN else sizeof(long long)
            if factor_array is not None:
                if not (is_plain(factor_array) and is_alike(w, factor_array, t.dtype)):
                    raise errors.bad_state(w, factor_array, "w")
                t.f = PyArray_DATA(factor_array)
                fractional = t.direction == PLAIN and not np.isin(factor_array, (0, 1)).all()
            guards = guard([w, *arrays])
            schedules = merge(&t, number, fractional, {}, evaluate(strengths, 0), &given)
            # kept until all is new: what is let go of may run code
            _before = self.w, self.stamps, self._arrays, self.factor_array, self.schedules, self.guards, self.places
            self.section.lock(True)
            self.t, self.strengths, self.factor, self.fractional = t, given, number, fractional
            self.w, self.stamps, self._arrays, self.factor_array = w, stamps, arrays, factor_array
            self.schedules, self.guards, self._own, self._factor = schedules, guards, own, factor
            self.places = self.merged = self.sums = None
            self.ndim = PyArray_NDIM(w)
            self.section.unlock()
        finally:
            self.section.end()

    # -- Strengths ----------------------------------------------------------------------------------------------------

    def _change(self, **changes):
        """Set some of the strengths, all or none."""
        cdef Strengths given
        self.check_made()
        evaluated = evaluate(changes, self.t.steps)
        with cython.critical_section(self):
            given, before = self.strengths, self.schedules
            schedules = merge(&self.t, self.factor, self.fractional, before, evaluated, &given)
            self.strengths, self.schedules = given, schedules

    cdef object strength(self, Py_ssize_t i):
        return self.schedules.get(STRENGTHS[i], self.strengths.given[i])

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

    cdef ndarray table(self, Py_ssize_t count):
        """The strengths of so many steps to come, one row for each of lr, l1 and l2; asks the schedules."""
        cdef double[3] strengths
        cdef ndarray table = np.empty((3, count))
        cdef double* rows = <double*>PyArray_DATA(table)
        cdef Py_ssize_t s, i
        for s in range(count):
            strengths = self.strengths.given
            for name, schedule in self.schedules.items():
                strengths[STRENGTHS.index(name)] = as_double(schedule(self.t.steps + s), name)
            admit(&self.t, self.factor, self.fractional, strengths)
            for i in range(3):
                rows[i*count + s] = strengths[i]
        return table

    # -- Steps --------------------------------------------------------------------------------------------------------

    cdef int check_made(self) except -1:
        """A subclass may have left out our __init__."""
        if self.w is None:
            raise TypeError(f"{type(self).__name__}: expected a call of __init__ first")
        return 0

    cdef int begin(self, str method) except -1:
        """Not two threads at once, nor a schedule that steps what it is asked for."""
        self.check_made()
        return self.section.begin(method)

    cdef int check_weights(self) except -1:
        """w is still what it was; to be asked after the schedules, which may run any code."""
        if not (is_target(self.w) and PyArray_DATA(self.w) == self.t.w and dtype_of(self.w) == self.t.dtype
                and PyArray_FLAGS(self.w) & NPY_ARRAY_C_CONTIGUOUS and PyArray_NDIM(self.w) == self.ndim
                and PyArray_DIM(self.w, 0) == self.t.rows
                and (self.ndim == 1 or PyArray_DIM(self.w, 1) == self.t.width)):
            raise errors.bad_rows(self.w, "w")
        return 0

    cdef int check_indices(self, ndarray indices, str name) except -1:
        """Still indices, after the schedules, and apart from what is written."""
        if not is_index(indices):
            raise errors.bad_index(indices, name)
        return self.check_apart(indices, name)

    cdef int check_values(self, ndarray values, Py_ssize_t n, str name) except -1:
        """Like w, one entry for each index, apart from what is written."""
        if not (is_plain(values) and PyArray_FLAGS(values) & NPY_ARRAY_C_CONTIGUOUS and dtype_of(values) == self.t.dtype
                and PyArray_NDIM(values) == PyArray_NDIM(self.w) and PyArray_DIM(values, 0) == n
                and (PyArray_NDIM(values) == 1 or PyArray_DIM(values, 1) == self.t.width)):
            raise errors.bad_values(values, self.w, n, name)
        self.check_apart(values, name)
        return 0

    cdef int check_apart(self, ndarray x, str name) except -1:
        cdef ndarray a
        if not is_apart(self.w, x):
            raise errors.bad_overlap("w", name)
        for a in self._arrays:
            if not is_apart(a, x):
                raise errors.bad_overlap("the state", name)
        return 0

    cdef int check_places(self, Sparse* job, ndarray indices) except -1:
        """All indices in range; makes room for the gradients in which one comes twice, if anything is to be stepped."""
        cdef Py_ssize_t longest = 0
        cdef int found = kernels.survey(job, self.t.rows, &longest)
        if found & 1:
            raise errors.bad_place(indices, self.t.rows)
        if found & 2 and job.operation == STEP:
            if self.places is None:
                self.places = np.full(self.t.rows, -1, np.intp)
            if self.merged is None or PyArray_DIM(self.merged, 0) < longest:
                self.sums = np.empty(longest*self.t.width, self.w.dtype)
                self.merged = np.empty(longest, np.int64)  # last, since its length tells that there is room
            job.places = <Py_ssize_t*>PyArray_DATA(self.places)
            job.merged, job.sums = PyArray_DATA(self.merged), PyArray_DATA(self.sums)
        return 0

    cdef int point_to(self, Sparse* job, ndarray indices, Py_ssize_t size) except -1:
        """The job's indices: a copy of our own where other threads, which could change them, run meanwhile."""
        cdef size_t bytes = PyArray_NBYTES(indices)
        cdef void* memory
        job.indices, job.index = PyArray_DATA(indices), index_type(indices)
        if size >= GIL_FREE or FREE_THREADED:
            if bytes > self.room:
                memory = PyMem_Realloc(self.indices, bytes)
                if memory == NULL:
                    raise MemoryError
                self.indices, self.room = memory, bytes
            memcpy(self.indices, job.indices, bytes)
            job.indices = self.indices
        return 0

    cdef int commit(self, Sparse* job, Py_ssize_t size) except -1:
        """Does a job that writes, and touches about so many weights."""
        cdef bint locked = enter(self.section, True, size < GIL_FREE)
        if size < GIL_FREE:
            kernels.rows(&self.t, job)
        else:
            with nogil:
                kernels.rows(&self.t, job)
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
        cdef Sparse job
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
            memset(&job, 0, sizeof(Sparse))
            starts = [0, PyArray_DIM(places, 0)]
            job.operation, job.count, job.starts, job.data = STEP, 1, starts, PyArray_DATA(gradient)
            self.point_to(&job, places, PyArray_SIZE(gradient))
            self.check_places(&job, places)
            job.lr, job.l1, job.l2 = &now[0], &now[1], &now[2]
            self.commit(&job, PyArray_SIZE(gradient))
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
        cdef Sparse job
        cdef double[3] now
        cdef ndarray places = as_index(indices, "indices")
        cdef ndarray gradient = as_array(data, "data")
        cdef ndarray starts = np.array(as_index(indptr, "indptr"), np.intp)
        cdef ndarray table
        cdef Py_ssize_t size
        self.begin("step_csr")
        try:
            now = self.strengths.now  # what another thread sets meanwhile is for later steps
            memset(&job, 0, sizeof(Sparse))
            job.operation, job.count, job.starts = STEP, PyArray_DIM(starts, 0) - 1, <Py_ssize_t*>PyArray_DATA(starts)
            if self.schedules:
                table = self.table(max(job.count, <Py_ssize_t>0))  # an empty indptr is refused below
                job.lr = <const double*>PyArray_DATA(table)
                job.l1, job.l2, job.stride = job.lr + job.count, job.lr + 2*job.count, 1
            else:
                job.lr, job.l1, job.l2 = &now[0], &now[1], &now[2]
            self.check_weights()
            self.check_indices(places, "indices")
            errors.check_starts(starts, PyArray_DIM(places, 0))
            self.check_values(gradient, PyArray_DIM(places, 0), "data")
            job.data = PyArray_DATA(gradient)
            size = PyArray_SIZE(gradient) + job.count
            self.point_to(&job, places, size)
            self.check_places(&job, places)
            self.commit(&job, size)
        finally:
            self.section.end()

    # -- Weights ------------------------------------------------------------------------------------------------------

    def flush(self):
        """Bring all of w up to date, in O(size of w)."""
        cdef Sparse job
        self.begin("flush")
        try:
            self.check_weights()
            memset(&job, 0, sizeof(Sparse))
            job.operation = SETTLE
            self.commit(&job, PyArray_SIZE(self.w))
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
            return self.peek(places)
        finally:
            leave(self.section, locked)

    cdef ndarray peek(self, ndarray places):
        """The weights as they are now, of data that are locked."""
        cdef Py_ssize_t[2] starts
        cdef Sparse job
        cdef ndarray out
        self.check_weights()
        memset(&job, 0, sizeof(Sparse))
        job.operation, job.count = PEEK, self.t.rows
        if places is not None:
            if PyArray_SIZE(places)*self.t.width >= GIL_FREE or FREE_THREADED:
                places = places.copy()  # other threads run below
            starts = [0, PyArray_DIM(places, 0)]
            job.count, job.starts = 1, starts  # all of them as one row
            job.indices, job.index = PyArray_DATA(places), index_type(places)
            self.check_places(&job, places)
            job.count = starts[1]
        out = np.empty((job.count, *np.shape(self.w)[1:]), self.w.dtype)
        job.data = PyArray_DATA(out)
        if PyArray_SIZE(out) < GIL_FREE:
            kernels.rows(&self.t, &job)
        else:
            with nogil:
                kernels.rows(&self.t, &job)
        return out

    @property
    def owed(self):
        """Whether any weight in w is not what it should be by now."""
        block = 1024
        self.check_made()
        self.section.lock(False)
        try:
            for start in range(0, self.t.rows, block):
                there = np.arange(start, min(start + block, self.t.rows))
                if not np.array_equal(self.peek(there), self.w[start:start + block], equal_nan=True):
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
            now = np.array([c.product, c.inverse, c.total, c.lost])
            last = np.array([self.t.d.plain.lr, self.t.l1, self.t.l2])
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
        t.clock.product, t.clock.inverse, t.clock.total, t.clock.lost = clock
        t.d.plain.lr, t.l1, t.l2 = last
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


cdef dict evaluate(dict changes, long long steps):
    """For each strength that changes its schedule, or None, and its number. May run a caller's code."""
    evaluated = {}
    for i in range(3):
        if STRENGTHS[i] in changes:
            name, x = STRENGTHS[i], changes[STRENGTHS[i]]
            evaluated[name] = (x, as_double(x(steps), name)) if callable(x) else (None, as_double(x, name))
    return evaluated


cdef dict merge(const Rows* t, double factor, bint fractional, dict schedules, dict evaluated, Strengths* given):
    """Puts the numbers into `given`, checked; returns the schedules then."""
    schedules = dict(schedules)
    for i in range(3):
        if STRENGTHS[i] in evaluated:
            schedule, given.given[i] = evaluated[STRENGTHS[i]]
            schedules.pop(STRENGTHS[i], None)
            if schedule is not None:
                schedules[STRENGTHS[i]] = schedule
    given.now = given.given
    admit(t, factor, fractional, given.now)
    return schedules
