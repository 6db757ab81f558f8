# Layer 4, the tasks of a step of fastreg.torch. Included by torch_step.pyx; uses its cimports.

cdef struct Span:  # what the parameters of one group have in common, from its Plan
    DirectionCode direction
    AnyDirection first     # for the first step of a parameter
    AnyDirection later
    double largest         # the largest number in both directions
    double decay1, decay2  # the betas on whose powers bias corrections depend
    bint is_corrected
    bint has_schedule      # the direction depends on the number of steps
    ModeCode mode
    double theta
    PenaltyCode penalty
    AnyPenalty p
    double l21
    bint has_bounds
    float[2] low, high     # for weights that are float32, and for those that are bfloat16
    double low64, high64
    bint maximizes
    bint has_decay         # a decoupled step of weight decay comes before the step
    AnyDirection decay
    PenaltyCode decay_penalty
    AnyPenalty decay_p

cdef struct Entry:  # one parameter with a gradient; its task has the same index
    Py_ssize_t group
    Py_ssize_t index    # in the group
    bint is_first
    DLTensor w
    DType steps_dtype
    void* steps         # the count of steps, a number of this dtype; NULL for none
    double* lr          # what z of FTRL is built on: see reanchor.pxd; NULL for other directions
    double* beta

cdef struct Work:
    Entry* entries
    Task* tasks
    Task* decays
    Py_ssize_t count, capacity, decaying
    Py_ssize_t size          # elements in all
    Span* spans
    Py_ssize_t groups
    Blocks written           # in the order of the tasks; and those of the last step that was checked
    Blocks last
    Blocks sorted
    Copies copies
    void* zeros              # a gradient for steps of weight decay
    size_t zeros_size
    void* negated            # gradients of groups that maximize
    size_t negated_size


cdef void free_work(Work* work) noexcept:
    PyMem_Free(work.entries)
    PyMem_Free(work.tasks)
    PyMem_Free(work.decays)
    PyMem_Free(work.spans)
    PyMem_Free(work.written.blocks)
    PyMem_Free(work.last.blocks)
    PyMem_Free(work.sorted.blocks)
    PyMem_Free(work.copies.copies)
    PyMem_Free(work.zeros)
    PyMem_Free(work.negated)


cdef int reserve_groups(Work* work, Py_ssize_t groups) except -1:
    if groups > work.groups:
        work.spans = <Span*>grown(work.spans, groups, sizeof(Span))
        work.groups = groups
    return 0


cdef Entry* new_entry(Work* work) except NULL:
    """The entry and the task of one more parameter; pointers to earlier ones may move."""
    cdef Py_ssize_t n = 2*work.capacity + 16
    if work.count == work.capacity:
        work.entries = <Entry*>grown(work.entries, n, sizeof(Entry))
        work.tasks = <Task*>grown(work.tasks, n, sizeof(Task))
        work.decays = <Task*>grown(work.decays, n, sizeof(Task))
        work.written.blocks = <Block*>grown(work.written.blocks, 4*n, sizeof(Block))
        work.last.blocks = <Block*>grown(work.last.blocks, 4*n, sizeof(Block))
        work.sorted.blocks = <Block*>grown(work.sorted.blocks, 4*n, sizeof(Block))
        work.capacity = n
    memset(&work.tasks[work.count], 0, sizeof(Task))
    work.count += 1
    return &work.entries[work.count - 1]


# -- From a Plan ------------------------------------------------------------------------------------------------------

cdef int fill_span(Span* span, plan) except -1:
    cdef double largest
    cdef Powers powers = Powers(1, 1, False)
    cdef Task trial
    span.direction = fill_direction(&span.later, plan.later, &span.largest)
    fill_direction(&span.first, plan.first, &largest)
    span.largest = max(span.largest, largest)
    if span.direction == FTRL_PROXIMAL and span.later.ftrl.lr != 0:
        span.largest = max(span.largest, 1/span.later.ftrl.lr)  # else z would become infinite
    trial.direction, trial.d = span.direction, span.later
    kernels.correct(&trial, &powers)
    span.is_corrected = powers.corrects
    span.decay1, span.decay2 = plan.betas
    span.has_schedule = plan.at_step is not None
    span.mode, span.theta = mode_code(plan.mode), plan.theta
    span.penalty = fill_penalty(&span.p, plan.penalties[0])
    span.l21 = plan.l21[0]
    span.has_bounds = plan.bounds is not None
    if span.has_bounds:
        (span.low[0], span.high[0]), (span.low64, span.high64), (span.low[1], span.high[1]) = plan.bounds
    span.maximizes = plan.maximize
    span.has_decay = plan.decay is not None
    if span.has_decay:
        fill_direction(&span.decay, plan.decay, &largest)
        span.decay_penalty = fill_penalty(&span.decay_p, plan.decay_penalties[0])
    return 0


cdef int set_penalty(Work* work, Entry* e, Span* span, plan, kinds, str name) except -1:
    """Checks and gives the last task what does not depend on the number of steps."""
    cdef Task* t = &work.tasks[work.count - 1]
    cdef bint is_bfloat16 = t.dtype == BFLOAT16
    cdef Py_ssize_t kind = 0
    if not (isfinite(span.largest) and (t.dtype == FLOAT64 or isfinite(<float>span.largest))):
        raise ValueError(
            "lr: expected settings that lead to numbers within the range of the weights' dtype, got numbers"
            f" up to {span.largest}"
        )
    t.mode, t.theta, t.penalty, t.p, t.l21 = span.mode, span.theta, span.penalty, span.p, span.l21
    t.bound_step = 0
    t.low = t.high = NULL
    if span.has_bounds:
        t.low = <void*>&span.low64 if t.dtype == FLOAT64 else <void*>&span.low[is_bfloat16]
        t.high = <void*>&span.high64 if t.dtype == FLOAT64 else <void*>&span.high[is_bfloat16]
    if kinds is not None:
        kind = kinds[e.index]
        fill_penalty(&t.p, plan.penalties[kind])
        t.l21 = plan.l21[kind]
    if t.l21 != 0:
        set_groups_of(t, &e.w, plan.axes[e.index] if isinstance(plan.axes, list) else plan.axes, name)
    if span.has_decay:
        add_decay(work, t, span)
        if kinds is not None:
            fill_penalty(&work.decays[work.decaying - 1].p, plan.decay_penalties[kind])
    work.size += t.n
    return 0


cdef int reserve_zeros(void** memory, size_t* size, size_t needed) except -1:
    """Memory that is kept from step to step; where it is new, it is filled with zeros."""
    if needed > size[0]:
        PyMem_Free(memory[0])
        size[0] = 0
        memory[0] = PyMem_Calloc(needed, 1)
        if memory[0] == NULL:
            raise MemoryError
        size[0] = needed
    return 0


cdef int add_decay(Work* work, const Task* t, const Span* span) except -1:
    """Adds a decoupled step of weight decay, whose gradient is zero. It gets its gradient when all have been added."""
    cdef Task* s = &work.decays[work.decaying]
    reserve_zeros(&work.zeros, &work.zeros_size, t.n*bytes_of(t.dtype))
    s[0] = t[0]
    s.direction, s.d, s.mode = DirectionCode.PLAIN, span.decay, DECOUPLED
    s.penalty, s.p = span.decay_penalty, span.decay_p
    s.l21, s.a, s.b, s.c, s.low, s.high = 0, NULL, NULL, NULL, NULL, NULL
    work.decaying += 1
    return 0


cdef void point_decays(Work* work) noexcept:
    """Gives the steps of weight decay their gradient."""
    cdef Py_ssize_t i
    for i in range(work.decaying):
        work.decays[i].g = work.zeros


# -- maximize ---------------------------------------------------------------------------------------------------------

cdef int negate_gradients(Work* work, bint keeps_gil) except -1:
    """Gives the tasks of groups that maximize a negative copy of their gradient."""
    cdef Py_ssize_t i
    cdef size_t needed = 0
    for i in range(work.count):
        if work.spans[work.entries[i].group].maximizes:
            needed += padded_size(&work.tasks[i])
    if needed == 0:
        return 0
    reserve_zeros(&work.negated, &work.negated_size, needed)
    if keeps_gil:
        negate_all(work)
    else:
        with nogil:
            negate_all(work)
    return 0


cdef inline size_t padded_size(const Task* t) noexcept nogil:
    """The bytes of a gradient, up to the next cache line."""
    return (<size_t>(t.n*bytes_of(t.dtype)) + 63) & ~<size_t>63


cdef void negate_all(Work* work) noexcept nogil:
    cdef Py_ssize_t i
    cdef Task* t
    cdef char* to = <char*>work.negated
    for i in range(work.count):
        t = &work.tasks[i]
        if work.spans[work.entries[i].group].maximizes:
            negate(to, t.g, t.dtype, t.n)
            t.g = to
            to += padded_size(t)


cdef void negate(void* to, const void* g, DType dtype, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if dtype == FLOAT64:
        for i in range(n):
            (<double*>to)[i] = -(<const double*>g)[i]
    elif dtype == FLOAT32:
        for i in range(n):
            (<float*>to)[i] = -(<const float*>g)[i]
    else:
        for i in range(n):
            (<bfloat16*>to)[i] = (<const bfloat16*>g)[i] ^ <bfloat16>0x8000  # the sign


# -- The number of steps ----------------------------------------------------------------------------------------------

cdef inline double steps_of(const Entry* e) noexcept:
    """The number of steps that the parameter has made."""
    if e.steps == NULL:
        return 0
    return (<double*>e.steps)[0] if e.steps_dtype == FLOAT64 else (<float*>e.steps)[0]


cdef void count_steps(Work* work) noexcept:
    """Writes the numbers of state: counts, and what z of FTRL is built on."""
    cdef Py_ssize_t i
    cdef Entry* e
    cdef const FTRL* d
    for i in range(work.count):
        e = &work.entries[i]
        if e.steps != NULL:
            if e.steps_dtype == FLOAT64:
                (<double*>e.steps)[0] += 1
            else:
                (<float*>e.steps)[0] += 1
        elif e.lr != NULL:
            d = &work.spans[e.group].later.ftrl
            if d.lr != 0:
                e.lr[0], e.beta[0] = d.lr, d.beta


cdef double power(double x, long long n) noexcept:
    """xⁿ by squaring: the bits of pow differ between machines."""
    cdef double result = 1
    while n > 0:
        if n & 1:
            result *= x
        x *= x
        n >>= 1
    return result


cdef int set_directions(Work* work, list plans) except -1:
    """Gives all tasks their directions for this step. Neighbours with the same number of steps share them."""
    cdef Py_ssize_t i, last = -1
    cdef double largest, steps, last_steps = -1
    cdef Entry* e
    cdef Task* t
    cdef Span* span
    cdef Powers powers
    cdef FTRL built_on
    for i in range(work.count):
        e, t = &work.entries[i], &work.tasks[i]
        span, steps = &work.spans[e.group], steps_of(e)
        t.direction = span.direction
        if e.lr != NULL:
            built_on = FTRL(e.lr[0], e.beta[0])
            t.built_on = reanchored_from(&built_on, &span.later.ftrl)
        if (last >= 0 and work.entries[last].group == e.group and work.entries[last].is_first == e.is_first
                and steps == last_steps):
            t.d = work.tasks[last].d
            continue
        last, last_steps = i, steps
        t.d = span.first if e.is_first else span.later
        if span.has_schedule:
            fill_direction(&t.d, plans[e.group].at_step(steps), &largest)
        if span.is_corrected:
            powers = Powers(power(span.decay1, <long long>steps), power(span.decay2, <long long>steps), False)
            kernels.correct(t, &powers)
    return 0


# -- Memory -----------------------------------------------------------------------------------------------------------

cdef Py_ssize_t find_overlap(Work* work, Py_ssize_t* other) noexcept:
    """The index of a task that shares memory with the weights or state of another, or with its own; -1 for none.

    Sets `other` to the index of that one. The blocks are only sorted if they differ from those of the last step.
    """
    cdef Py_ssize_t i, j, found
    cdef Task* t
    cdef (void*)[3] state
    cdef Blocks* x = &work.written
    x.count = 0
    for i in range(work.count):
        t = &work.tasks[i]
        add_block(x, t.w, t.n*bytes_of(t.dtype), i)
        state[0], state[1], state[2] = t.a, t.b, t.c
        for j in range(3):
            if state[j] != NULL:
                add_block(x, state[j], t.n*max(<Py_ssize_t>4, bytes_of(t.dtype)), i)
    if x.count != work.last.count or memcmp(x.blocks, work.last.blocks, x.count*sizeof(Block)) != 0:
        work.last.count, work.sorted.count = 0, x.count
        memcpy(work.sorted.blocks, x.blocks, x.count*sizeof(Block))
        found = sort_blocks(&work.sorted)
        if found > 0:
            other[0] = work.sorted.blocks[found - 1].index
            return work.sorted.blocks[found].index
        memcpy(work.last.blocks, x.blocks, x.count*sizeof(Block))
        work.last.count = x.count
    for i in range(work.count):
        t = &work.tasks[i]
        other[0] = overlapped(&work.sorted, <const char*>t.g, t.n*bytes_of(t.dtype))
        if other[0] >= 0:
            return i
    return -1
