# Layer 4, from arrays and Plans to tasks; included by tensors.pyx, with its cimports.

cdef struct Slot:  # what the boundary knows of one tensor, beside its task
    PyObject* w       # the ndarray, held by Tensors.weights
    void* descr       # its dtype, held by Tensors.dtypes
    Py_ssize_t kind   # the index of its penalty among those of its group
    long long steps
    Powers powers
    Powers next       # after the next step
    bint settled      # whether the task's direction holds until its group changes

cdef struct Span:  # one group
    Py_ssize_t start
    Py_ssize_t stop
    DirectionCode direction
    AnyDirection first  # that of a tensor's first step
    AnyDirection later
    bint is_corrected   # whether it changes with the steps that a tensor has taken
    double largest      # of the numbers in both


cdef void* allocate(Py_ssize_t count, size_t size) except NULL:
    cdef void* memory = PyMem_Calloc(count + 1, size)
    if memory == NULL:
        raise MemoryError
    return memory


cdef bint fits(const Task* t, const Slot* slot, ndarray w, ndarray g) noexcept:
    """Whether w is still what it was when it was taken in, and can be updated with g; is_pair, less what is known."""
    cdef int order = PyArray_FLAGS(w) & PyArray_FLAGS(g) & (NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS)
    cdef const npy_intp* mine = PyArray_DIMS(w)
    cdef const npy_intp* theirs = PyArray_DIMS(g)
    cdef Py_ssize_t n = 1
    cdef int i
    if (descr_of(w) != slot.descr or PyArray_DATA(w) != t.w
            or PyArray_FLAGS(w) & NPY_ARRAY_BEHAVED != NPY_ARRAY_BEHAVED
            or not (descr_of(g) == slot.descr or (is_plain(g) and dtype_of(g) == t.dtype))
            or PyArray_FLAGS(g) & NPY_ARRAY_ALIGNED == 0 or order == 0 or PyArray_NDIM(w) != PyArray_NDIM(g)):
        return False
    for i in range(PyArray_NDIM(w)):
        if mine[i] != theirs[i]:
            return False
        n *= mine[i]
    return n == t.n


cdef Task task(name, ndarray w, list states, object factors) except *:
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
    t.a, t.b, t.c = state[0], state[1], state[2]
    if factors is not None:
        s = factors
        if not (is_plain(s) and is_alike(w, s, dtype)):
            raise errors.bad_state(w, s, f"params[{name}]")
        t.f = PyArray_DATA(s)
    return t


cdef int configure(Task* tasks, Slot* slots, Span* span, AnyPenalty* penalties, made) except -1:
    """Gives the tasks of a group the penalties and the mode of a Plan; `penalties` has room for one a tensor."""
    cdef Py_ssize_t i, n = len(made.penalties)
    cdef double theta = made.theta, largest
    cdef Powers powers = Powers(1, 1, False)
    cdef ModeCode mode = mode_code(made.mode)
    cdef PenaltyCode code = <PenaltyCode>0
    cdef Task trial
    span.direction = fill_direction(&span.later, made.later, &span.largest)
    fill_direction(&span.first, made.first, &largest)
    span.largest = max(span.largest, largest)
    trial.direction, trial.d = span.direction, span.later
    kernels.correct(&trial, &powers)
    span.is_corrected = powers.corrects
    if n > span.stop - span.start:
        raise ValueError(f"penalties: expected at most {span.stop - span.start}, got {n}")
    for i in range(n):
        code = fill_penalty(&penalties[i], made.penalties[i])
    for i in range(span.start, span.stop):
        if slots[i].kind >= n:
            raise ValueError(f"penalties: expected more than {slots[i].kind}, got {n}")
        tasks[i].mode, tasks[i].theta = mode, theta
        tasks[i].penalty, tasks[i].p = code, penalties[slots[i].kind]
        slots[i].settled = False
    return 0


cdef int direct(Task* tasks, Slot* slots, const Span* span) except -1:
    """Gives the group's tasks their direction for the next step, which differs for a tensor's first step.

    It holds until the settings change, but for bias corrections: those depend on the steps that a tensor has taken.
    """
    cdef Py_ssize_t i
    cdef Task* t
    cdef Slot* slot
    cdef Slot* last = NULL
    for i in range(span.start, span.stop):
        t, slot = &tasks[i], &slots[i]
        if t.g == NULL:
            continue
        if not slot.settled:
            if not (isfinite(span.largest) and (t.dtype == FLOAT64 or isfinite(<float>span.largest))):
                raise ValueError(
                    "lr: expected settings that give numbers within the range of the weights' dtype, got numbers up"
                    f" to {span.largest}"
                )
            t.direction, t.d = span.direction, span.later if slot.steps else span.first
            slot.settled = slot.steps > 0
        if span.is_corrected:
            if last != NULL and slot.powers.power1 == last.powers.power1 and slot.powers.power2 == last.powers.power2:
                t.d, slot.next = tasks[last - slots].d, last.next
            else:
                slot.next = slot.powers
                kernels.correct(t, &slot.next)
                last = slot
    return 0


cdef void tick(const Task* tasks, Slot* slots, const Span* span) noexcept:
    """Counts the next step."""
    cdef Py_ssize_t i
    cdef Slot* slot
    for i in range(span.start, span.stop):
        if tasks[i].g != NULL:
            slot = &slots[i]
            slot.steps += 1
            if span.is_corrected:
                slot.powers = slot.next
