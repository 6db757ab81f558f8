# Layer 4, from arrays and Plans to tasks. Included by tensors.pyx after overlap.pxi; uses its cimports.

cdef struct Slot:  # what the boundary stores for one tensor, in addition to its task
    PyObject* w            # the ndarray, kept alive by Tensors.weights
    void* descr            # its dtype, kept alive by Tensors.dtypes
    Py_ssize_t kind        # the index of its penalty among those of its group
    long long steps
    Powers powers
    Powers next            # after the next step
    FTRL built_on          # the lr and beta that z of FTRL is built on; lr is 0 if z fits any
    bint is_direction_set  # whether the task's direction is valid until the settings of its group change

cdef struct Counters:  # what a saved state has for one tensor, besides arrays
    long long steps
    Powers powers
    FTRL built_on

cdef struct Copy:  # of one array of state
    void* to
    const void* source
    size_t size

cdef struct Span:  # one group
    Py_ssize_t start
    Py_ssize_t stop
    DirectionCode direction
    AnyDirection first  # for the first step of a tensor
    AnyDirection later  # for its other steps
    bint is_corrected   # whether the direction depends on the number of steps that a tensor has taken
    double largest      # the largest number in both directions


cdef void* allocate(Py_ssize_t count, size_t size) except NULL:
    cdef void* memory = PyMem_Calloc(count + 1, size)
    if memory == NULL:
        raise MemoryError
    return memory


cdef bint can_update(const Task* t, const Slot* slot, ndarray w, ndarray g) noexcept:
    """Whether w was not changed since the construction, and can be updated with g: is_pair, without its known parts."""
    cdef int order = PyArray_FLAGS(w) & PyArray_FLAGS(g) & (NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS)
    cdef const npy_intp* w_shape = PyArray_DIMS(w)
    cdef const npy_intp* g_shape = PyArray_DIMS(g)
    cdef Py_ssize_t n = 1
    cdef int i
    if (descr_of(w) != slot.descr or PyArray_DATA(w) != t.w
            or PyArray_FLAGS(w) & NPY_ARRAY_BEHAVED != NPY_ARRAY_BEHAVED
            or not (descr_of(g) == slot.descr or (is_plain(g) and dtype_of(g) == t.dtype))
            or PyArray_FLAGS(g) & NPY_ARRAY_ALIGNED == 0 or order == 0 or PyArray_NDIM(w) != PyArray_NDIM(g)):
        return False
    for i in range(PyArray_NDIM(w)):
        if w_shape[i] != g_shape[i]:
            return False
        n *= w_shape[i]
    return n == t.n


cdef int check_groups(const Task* t, ndarray w, object axis, name) except -1:
    """Checks that the groups are those of the construction: weights can be reshaped in place, which moves no weight."""
    cdef Task now
    set_groups(&now, w, axis, f"params[{name}]")
    if now.outer != t.outer or now.groups != t.groups or now.inner != t.inner:
        raise ValueError(f"params[{name}]: expected the shape of the construction, with {t.groups} groups along axis"
                         f" {axis}, got shape {(<object>w).shape}")
    return 0


cdef Task make_task(name, ndarray w, list states, object factors, object bounds, object axis) except *:
    cdef Task t
    cdef (void*)[3] state
    cdef ndarray s
    cdef Py_ssize_t i
    cdef DType dtype = FLOAT32 if dtype_of(w) == BFLOAT16 else dtype_of(w)
    state[0] = state[1] = state[2] = NULL
    for i, s in enumerate(states):
        if not (is_target(s) and is_alike(w, s, dtype)):
            raise errors.bad_state(w, s, f"params[{name}]")
        state[i] = PyArray_DATA(s)
    t.dtype, t.n, t.w, t.g, t.f = dtype_of(w), PyArray_SIZE(w), PyArray_DATA(w), NULL, NULL
    t.l21 = 0
    t.sums, t.built_on = NULL, FTRL(0, 0)
    set_groups(&t, w, axis, f"params[{name}]")
    t.a, t.b, t.c = state[0], state[1], state[2]
    if factors is not None:
        s = factors
        if not (is_plain(s) and is_alike(w, s, dtype)):
            raise errors.bad_state(w, s, f"params[{name}]")
        t.f = PyArray_DATA(s)
    t.low, t.high, t.bound_step = NULL, NULL, 0
    if bounds is not None:
        t.low, t.bound_step = pointer_to_bounds(name, w, bounds[0], dtype), PyArray_NDIM(bounds[0]) > 0
        t.high = pointer_to_bounds(name, w, bounds[1], dtype)
        if (PyArray_NDIM(bounds[1]) > 0) != t.bound_step:
            raise errors.bad_state(bounds[0], bounds[1], f"params[{name}]")
    return t


cdef const void* pointer_to_bounds(name, ndarray w, ndarray bounds, DType dtype) except? NULL:
    """The data of bounds that are one number, without dimensions, or an array like w."""
    if not (is_plain(bounds) and dtype_of(bounds) == dtype
            and (PyArray_NDIM(bounds) == 0 or is_alike(w, bounds, dtype))):
        raise errors.bad_state(w, bounds, f"params[{name}]")
    return PyArray_DATA(bounds)


cdef int configure(Task* tasks, Slot* slots, Span* span, AnyPenalty* penalties, plan) except -1:
    """Gives the tasks of a group the penalties and the mode of a Plan; `penalties` has space for one per tensor."""
    cdef Py_ssize_t i, n = len(plan.penalties)
    cdef double theta = plan.theta, largest
    cdef Powers powers = Powers(1, 1, False)
    cdef ModeCode mode = mode_code(plan.mode)
    cdef PenaltyCode code = <PenaltyCode>0
    cdef Task trial
    span.direction = fill_direction(&span.later, plan.later, &span.largest)
    fill_direction(&span.first, plan.first, &largest)
    span.largest = max(span.largest, largest)
    if span.direction == FTRL_PROXIMAL and span.later.ftrl.lr != 0:
        span.largest = max(span.largest, 1/span.later.ftrl.lr)  # else z would become infinite
    trial.direction, trial.d = span.direction, span.later
    kernels.correct(&trial, &powers)
    span.is_corrected = powers.corrects
    if n > span.stop - span.start:
        raise ValueError(f"penalties: expected at most {span.stop - span.start}, got {n}")
    for i in range(n):
        code = fill_penalty(&penalties[i], plan.penalties[i])
    for i in range(span.start, span.stop):
        if slots[i].kind >= n:
            raise ValueError(f"penalties: expected more than {slots[i].kind}, got {n}")
        tasks[i].mode, tasks[i].theta = mode, theta
        tasks[i].penalty, tasks[i].p = code, penalties[slots[i].kind]
        tasks[i].l21 = plan.l21[slots[i].kind]
        slots[i].is_direction_set = False
    return 0


cdef int set_directions(Task* tasks, Slot* slots, const Span* span) except -1:
    """Gives the tasks of a group their directions for the next step; a tensor's first step has its own direction.

    A direction is valid until the settings change, unless it has a bias correction, which changes at every step.
    """
    cdef Py_ssize_t i
    cdef Task* t
    cdef Slot* slot
    cdef Slot* last = NULL
    for i in range(span.start, span.stop):
        t, slot = &tasks[i], &slots[i]
        if t.g == NULL:
            continue
        if not slot.is_direction_set:
            if not (isfinite(span.largest) and (t.dtype == FLOAT64 or isfinite(<float>span.largest))):
                raise ValueError(
                    "lr: expected settings that lead to numbers within the range of the weights' dtype, got numbers"
                    f" up to {span.largest}"
                )
            t.direction, t.d = span.direction, span.later if slot.steps else span.first
            slot.is_direction_set = slot.steps > 0
        if span.direction == FTRL_PROXIMAL:
            t.built_on = reanchored_from(&slot.built_on, &span.later.ftrl)
        if span.is_corrected:
            if last != NULL and slot.powers.power1 == last.powers.power1 and slot.powers.power2 == last.powers.power2:
                t.d, slot.next = tasks[last - slots].d, last.next
            else:
                slot.next = slot.powers
                kernels.correct(t, &slot.next)
                last = slot
    return 0


cdef void count_steps(const Task* tasks, Slot* slots, const Span* span) noexcept:
    """Counts a step of each tensor that has a gradient."""
    cdef Py_ssize_t i
    cdef Slot* slot
    for i in range(span.start, span.stop):
        if tasks[i].g != NULL:
            slot = &slots[i]
            slot.steps += 1
            if span.is_corrected:
                slot.powers = slot.next
            elif span.direction == FTRL_PROXIMAL and span.later.ftrl.lr != 0:
                slot.built_on = span.later.ftrl


cdef int find_blocks(Blocks* written, list names, list weights, list states) except -1:
    """Finds the memory that steps write; ValueError if two arrays overlap."""
    cdef Py_ssize_t i, found
    cdef ndarray x
    written.blocks = <Block*>allocate(4*len(weights), sizeof(Block))
    for i in range(len(weights)):
        for x in (weights[i], *states[i]):
            add_block(written, PyArray_DATA(x), PyArray_NBYTES(x), i)
    found = sort_blocks(written)
    if found > 0:
        first, second = written.blocks[found - 1].index, written.blocks[found].index
        raise errors.bad_overlap(f"params[{names[first]}]", f"params[{names[second]}]")
    return 0
