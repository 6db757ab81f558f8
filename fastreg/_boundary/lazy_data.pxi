# Layer 4, the data of the lazy updates and their checks. Included by lazy.pyx; uses its cimports.

cdef inline bint is_index(ndarray a) noexcept:
    """Whether a is a vector of int32 or int64, aligned, contiguous and in native byte order."""
    cdef int type_num = PyArray_TYPE(a)
    return ((type_num == NPY_INT or type_num == NPY_LONG or type_num == NPY_LONGLONG) and PyArray_NDIM(a) == 1
            and PyArray_ISBEHAVED_RO(a) and PyArray_FLAGS(a) & NPY_ARRAY_C_CONTIGUOUS != 0)


cdef inline ndarray as_index(object x, str name):
    """x as a vector of indices over the same memory; may run Python code of x."""
    cdef ndarray a = <ndarray>x if type(x) is ndarray else errors.as_buffer(x, name)
    if not is_index(a):
        raise errors.bad_index(a, name)
    return a


cdef inline bint has_bounds(const Rows* t) noexcept:
    return t.low > -INFINITY or t.high < INFINITY


cdef struct Strengths:  # lr, l1, l2 and l21
    double[4] given  # as set by the caller; those with a schedule are not used
    double[4] now    # for the next step, times the factor


cdef struct Traits:  # of the weights and factors, to check strengths with
    double factor     # one number for all weights; 1 with an array
    double largest    # of an array; 1 without one
    bint fractional   # whether LazySGD has a weight with a factor that is neither 0 nor 1
    bint uneven       # whether factors differ within a row


cdef int check_strengths(const Rows* t, const Traits* traits, double* strengths) except -1:
    """Checks strengths, and multiplies all but lr by the factor."""
    cdef bint single = t.dtype == FLOAT32
    cdef double product, factor = traits.factor*traits.largest
    for i in range(4):
        check(strengths[i], STRENGTHS[i], single)
        if i and factor != 1:
            product = max(strengths[i], <double><float>strengths[i] if single else 0)*factor
            check(product, f"{STRENGTHS[i]} times penalty_factor", single)
            if product == 0 and strengths[i] != 0 and factor != 0:
                raise errors.bad_number(strengths[i], STRENGTHS[i], single, True)
            strengths[i] *= traits.factor
    if t.direction == FTRL_PROXIMAL and strengths[0] != 0:
        check(1/strengths[0], "1/lr", single)
    if strengths[3] != 0:
        check_groups(t, traits, strengths)
    if t.gamma < INFINITY and t.direction == PLAIN:
        check_mcp(t, strengths)
    if traits.fractional and strengths[2] != 0:
        raise ValueError(
            "penalty_factor: expected 0 and 1 only if l2 is not zero (other factors have no closed form), got others"
        )
    product = <double>(<float>strengths[0]*<float>strengths[2]) if single else strengths[0]*strengths[2]
    if t.mode == TRUNCATED and not product < 1:
        raise ValueError(
            f"lr: expected lr times l2 below 1 with mode='truncated', got {strengths[0]} * {strengths[2]}"
        )
    return 0


cdef int check_groups(const Rows* t, const Traits* traits, double* strengths) except -1:
    """Checks l21. Rows of one weight turn it into l1, which is the same."""
    cdef double l1 = strengths[1], l21 = strengths[3]
    if t.gamma < INFINITY:
        raise errors.bad_l21(l21, "a finite gamma", "which has no proximal operator together with it")
    if t.mode == TRUNCATED:
        raise errors.bad_l21(l21, "mode='truncated'", "which does not set groups to zero")
    if t.width == 1:
        check((l1 + l21)*max(1, traits.largest), "l1 plus l21, times penalty_factor", t.dtype == FLOAT32)
        strengths[1], strengths[3] = l1 + l21, 0
        return 0
    if t.direction == ADAGRAD:
        raise errors.bad_l21(l21, "LazyAdagrad and rows of more than one weight", "which differ in step size, so that"
                             " the steps a row has missed have no closed form")
    if t.direction == PLAIN and l1 != 0:
        raise errors.bad_l21(l21, "l1 in LazySGD", "since the steps a row has missed have no closed form with both")
    if traits.uneven:
        raise errors.bad_l21(l21, "this penalty_factor", "which differs between the weights of a row")
    if (t.low != 0 and t.low != -INFINITY) or (t.high != 0 and t.high != INFINITY):
        raise errors.bad_l21(l21, "bounds that are neither 0 nor infinite", "to which a row cannot be clipped")
    return 0


cdef int check_mcp(const Rows* t, const double* strengths) except -1:
    """Checks what MCP needs for a closed form of the steps of LazySGD that a weight has missed."""
    cdef double left = 1 - strengths[0]/t.gamma
    if t.dtype == FLOAT32:
        left = <float>1 - <float>strengths[0]/<float>t.gamma
    if strengths[2] != 0:
        raise ValueError("l2: expected 0 with a finite gamma in LazySGD, since the steps a weight has missed have no"
                         f" closed form with both, got {strengths[2]!r}")
    if not left > 0:
        raise ValueError(f"lr: expected a number below gamma={t.gamma!r} (from there a step of MCP is a hard threshold,"
                         f" and missed steps have no closed form), got {strengths[0]!r}")
    return 0


cdef int check_last(const Rows* t, Traits traits) except -1:
    """Checks the strengths of the last step, in a saved state."""
    cdef double[4] last
    last[0], last[1], last[2], last[3] = t.d.plain.lr, t.p.l1, t.p.l2, t.l21
    traits.factor = 1  # they are multiplied by it already
    try:
        check_strengths(t, &traits, last)
    except ValueError as error:
        raise ValueError(f"saved['last']: expected strengths of a step, got others; {error}") from None
    return 0


cdef dict evaluate(dict changes, long long steps):
    """For each strength that changes: its schedule or None, and its number. May run code of the caller."""
    evaluated = {}
    for i in range(4):
        if STRENGTHS[i] in changes:
            name, x = STRENGTHS[i], changes[STRENGTHS[i]]
            evaluated[name] = (x, as_double(x(steps), name)) if callable(x) else (None, as_double(x, name))
    return evaluated


cdef dict with_changes(const Rows* t, const Traits* traits, dict schedules, dict evaluated, Strengths* given):
    """Checks the numbers of `evaluate` and puts them into `given`; returns the new schedules."""
    schedules = dict(schedules)
    for i in range(4):
        if STRENGTHS[i] in evaluated:
            schedule, given.given[i] = evaluated[STRENGTHS[i]]
            schedules.pop(STRENGTHS[i], None)
            if schedule is not None:
                schedules[STRENGTHS[i]] = schedule
    given.now = given.given
    check_strengths(t, traits, given.now)
    return schedules


cdef class _LazyData:
    """The data of `Lazy`: buffers, strengths, and the checks before a step."""

    cdef Rows t
    cdef Section section
    cdef readonly ndarray w
    cdef ndarray stamps, factor_array, places, merged, sums
    cdef readonly list _arrays  # the state
    cdef readonly dict _own     # settings that never change
    cdef readonly object _factor, bounds
    cdef object guards
    cdef dict schedules         # of the strengths that are callables
    cdef Strengths strengths
    cdef Traits traits
    cdef int ndim
    cdef void* indices          # a private copy, for steps that run while other threads do
    cdef size_t capacity        # of `indices`, in bytes

    def __cinit__(self, *_, **__):
        self.section = Section()

    def __dealloc__(self):
        PyMem_Free(self.indices)

    def _set_up(self, ndarray w, object direction, str mode, list arrays, tuple factor, tuple bounds, dict strengths,
                dict own):
        """`arrays` are the direction's state, `factor` a number and an array or None, `bounds` two numbers."""
        cdef Rows t
        cdef Strengths given
        cdef ndarray a, stamps = None, factor_array = factor[1]
        cdef Traits traits = Traits(factor[0], 1, False, False)
        cdef double largest
        cdef Py_ssize_t i
        self.section.begin("__init__")
        try:
            memset(&t, 0, sizeof(Rows))
            memset(&given, 0, sizeof(Strengths))
            if not (is_target(w) and PyArray_FLAGS(w) & NPY_ARRAY_C_CONTIGUOUS and 1 <= PyArray_NDIM(w) <= 2):
                raise errors.bad_rows(w, "w")
            t.dtype, t.direction, t.mode = dtype_of(w), fill_direction(&t.d, direction, &largest), mode_code(mode)
            t.rows, t.width = PyArray_DIM(w, 0), 1 if PyArray_NDIM(w) == 1 else PyArray_DIM(w, 1)
            t.pitch, t.w = t.width, PyArray_DATA(w)
            t.clock, t.built_on, t.d.plain.lr = Clock(1, 1, 0, 0), t.d.plain.lr, 0  # no step was made yet
            t.low, t.high = bounds
            t.gamma = own["gamma"]
            t.inside = not has_bounds(&t)
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
                traits.largest = factor_array.max(initial=0)
                traits.fractional = t.direction == PLAIN and not np.isin(factor_array, (0, 1)).all()
                traits.uneven = t.width > 1 and bool((factor_array != factor_array[:, :1]).any())
            guards = guard([w, *arrays])
            schedules = with_changes(&t, &traits, {}, evaluate(strengths, 0), &given)
            # kept until everything is replaced: releasing an object may run code
            _before = self.w, self.stamps, self._arrays, self.factor_array, self.schedules, self.guards, self.places
            self.section.lock(True)
            self.t, self.strengths, self.traits = t, given, traits
            self.w, self.stamps, self._arrays, self.factor_array = w, stamps, arrays, factor_array
            self.schedules, self.guards, self._own, self._factor = schedules, guards, own, factor
            self.bounds = bounds
            self.places = self.merged = self.sums = None
            self.ndim = PyArray_NDIM(w)
            self.section.unlock()
        finally:
            self.section.end()

    # -- Strengths ----------------------------------------------------------------------------------------------------

    def _change(self, **changes):
        """Set some of the strengths: all of these, or none if one is invalid."""
        cdef Strengths given
        self.check_initialized()
        evaluated = evaluate(changes, self.t.steps)
        with cython.critical_section(self):
            given, before = self.strengths, self.schedules
            schedules = with_changes(&self.t, &self.traits, before, evaluated, &given)
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
        """Strength of the L1 penalty; see `lr`."""
        return self.strength(1)

    @l1.setter
    def l1(self, x):
        self._change(l1=x)

    @property
    def l2(self):
        """Strength of the L2 penalty; see `lr`."""
        return self.strength(2)

    @l2.setter
    def l2(self, x):
        self._change(l2=x)

    @property
    def l21(self):
        """Strength of the group lasso on rows; see `lr`."""
        return self.strength(3)

    @l21.setter
    def l21(self, x):
        self._change(l21=x)

    @property
    def completed(self):
        """Number of completed steps."""
        return self.t.steps

    cdef ndarray table(self, Py_ssize_t count):
        """The strengths of the next `count` steps, with a row for each of STRENGTHS; calls the schedules."""
        cdef double[4] strengths
        cdef ndarray table = np.empty((4, count))
        cdef double* rows = <double*>PyArray_DATA(table)
        cdef Py_ssize_t s, i
        for s in range(count):
            strengths = self.strengths.given
            for name, schedule in self.schedules.items():
                strengths[STRENGTHS.index(name)] = as_double(schedule(self.t.steps + s), name)
            check_strengths(&self.t, &self.traits, strengths)
            for i in range(4):
                rows[i*count + s] = strengths[i]
        return table

    # -- Steps --------------------------------------------------------------------------------------------------------

    cdef int check_initialized(self) except -1:
        """TypeError if a subclass did not call __init__."""
        if self.w is None:
            raise TypeError(f"{type(self).__name__}: expected a call of __init__ first")
        return 0

    cdef int begin(self, str method) except -1:
        """Begin a call that writes; an error if another thread, or a schedule, calls it during another such call."""
        self.check_initialized()
        return self.section.begin(method)

    cdef int check_weights(self) except -1:
        """Check that w was not changed since the construction. Call it after the schedules, which may run any code."""
        if not (is_target(self.w) and PyArray_DATA(self.w) == self.t.w and dtype_of(self.w) == self.t.dtype
                and PyArray_FLAGS(self.w) & NPY_ARRAY_C_CONTIGUOUS and PyArray_NDIM(self.w) == self.ndim
                and PyArray_DIM(self.w, 0) == self.t.rows
                and (self.ndim == 1 or PyArray_DIM(self.w, 1) == self.t.width)):
            raise errors.bad_rows(self.w, "w")
        return 0

    cdef int check_indices(self, ndarray indices, str name) except -1:
        """Check indices again, since schedules may have changed them, and that they do not overlap what is written."""
        if not is_index(indices):
            raise errors.bad_index(indices, name)
        return self.check_apart(indices, name)

    cdef int check_values(self, ndarray values, Py_ssize_t n, str name) except -1:
        """Check that values are like w, with an entry for each index, and do not overlap what is written."""
        if not (is_plain(values) and PyArray_FLAGS(values) & NPY_ARRAY_C_CONTIGUOUS and dtype_of(values) == self.t.dtype
                and PyArray_NDIM(values) == PyArray_NDIM(self.w) and PyArray_DIM(values, 0) == n
                and (PyArray_NDIM(values) == 1 or PyArray_DIM(values, 1) == self.t.width)):
            raise errors.bad_values(values, self.w, n, name)
        self.check_apart(values, name)
        return 0

    cdef int check_apart(self, ndarray x, str name) except -1:
        cdef ndarray a
        if not is_disjoint(self.w, x):
            raise errors.bad_overlap("w", name)
        for a in self._arrays:
            if not is_disjoint(a, x):
                raise errors.bad_overlap("the state", name)
        return 0

    cdef int check_range(self, const Batch* batch, ndarray indices, Merging* merging) except -1:
        """Check that all indices are in range; allocate memory for merging if an index occurs more than once."""
        cdef Py_ssize_t longest = 0
        cdef int found = kernels.survey(batch, self.t.rows, &longest)
        if found & 1:
            raise errors.bad_place(indices, self.t.rows)
        if found & 2 and merging != NULL:
            if self.places is None:
                self.places = np.full(self.t.rows, -1, np.intp)
            if self.merged is None or PyArray_DIM(self.merged, 0) < longest:
                self.sums = np.empty(longest*self.t.width, self.w.dtype)
                self.merged = np.empty(longest, np.int64)  # last: its length tells whether both are large enough
            merging.places = <Py_ssize_t*>PyArray_DATA(self.places)
            merging.rows, merging.sums = <long long*>PyArray_DATA(self.merged), PyArray_DATA(self.sums)
        return 0
