# Layer 3: from the codes of a task to the types of the loops, one choice a function; included by variant.pyx.

cdef struct Value:  # in the place of a direction: not a step, but the value of the penalty
    double* total

ctypedef fused Work:
    Direction
    Value

ctypedef fused TaskMode:  # how a task is stepped: by `dense`, or line by line by step_with_sums
    Mode
    WithSums


cdef void with_dtype(Work d, TaskMode m, Penalty p, Factor f, const Task* t) noexcept nogil:
    if Work is Value:
        if t.dtype == FLOAT32:
            d.total[0] += all_values(p, f, <const float*>t.w, t.n)
        elif t.dtype == FLOAT64:
            d.total[0] += all_values(p, f, <const double*>t.w, t.n)
    elif TaskMode is WithSums:
        if t.dtype == FLOAT32:
            step_with_sums(d, m, p, f, <float*>t.w, <const float*>t.g, <float*>t.a, <float*>t.b, <float*>t.c, t.n)
        elif t.dtype == FLOAT64:
            step_with_sums(d, m, p, f, <double*>t.w, <const double*>t.g, <double*>t.a, <double*>t.b, <double*>t.c, t.n)
    else:
        if t.dtype == FLOAT32:
            dense(d, m, p, f, <float*>t.w, <const float*>t.g, <float*>t.a, <float*>t.b, <float*>t.c, t.n)
        elif t.dtype == FLOAT64:
            dense(d, m, p, f, <double*>t.w, <const double*>t.g, <double*>t.a, <double*>t.b, <double*>t.c, t.n)


cdef void with_factor(Work d, TaskMode m, Penalty p, const Task* t) noexcept nogil:
    if t.f != NULL:
        with_dtype(d, m, p, PerCoordinate(t.f), t)
    else:
        with_dtype(d, m, p, NoFactor(0), t)


cdef void with_penalty(Work d, TaskMode m, const Task* t) noexcept nogil:
    """The elastic net without l1 has loops of its own, since l2 alone needs little arithmetic."""
    if t.penalty == ELASTIC_NET:
        if t.p.elastic_net.l1 == 0 and t.f == NULL:
            with_dtype(d, m, Ridge(t.p.elastic_net.l2), NoFactor(0), t)
        else:
            with_factor(d, m, t.p.elastic_net, t)
    elif t.penalty == MCP_PENALTY:
        with_factor(d, m, t.p.mcp, t)


cdef void with_mode(Direction* d, const Task* t, Powers* powers) noexcept nogil:
    """Only the modes that reference.MODES_OF names for the direction; the boundary requests no other."""
    if powers != NULL:
        advance(d, &powers.power1, &powers.power2)
        powers.corrects = correct(d, powers.power1, powers.power2)
    elif Direction is Lion:
        with_penalty(d[0], Decoupled(0), t)
    elif t.sums != NULL:
        with_penalty(d[0], t.sums[0], t)
    elif Direction is FTRL:
        if d.lr != 0:  # else nothing moves, and the state stays what the last lr built
            with_penalty(d[0], Proximal(0), t)
    else:
        if t.mode == SUBGRADIENT:
            with_penalty(d[0], Subgradient(0), t)
        elif t.mode == DECOUPLED:
            with_penalty(d[0], Decoupled(0), t)
        elif t.mode == PROXIMAL:
            with_penalty(d[0], Proximal(0), t)
        elif Direction in Linear:
            with_penalty(d[0], Truncated(t.theta), t)


cdef void with_direction(Task* t, Powers* powers) noexcept nogil:
    """Steps, or, where there are powers, corrects the direction."""
    if t.direction == PLAIN:
        with_mode(&t.d.plain, t, powers)
    elif t.direction == MOMENTUM:
        with_mode(&t.d.momentum, t, powers)
    elif t.direction == NESTEROV:
        with_mode(&t.d.nesterov, t, powers)
    elif t.direction == ADAGRAD:
        with_mode(&t.d.adagrad, t, powers)
    elif t.direction == RMSPROP:
        with_mode(&t.d.rmsprop, t, powers)
    elif t.direction == ADAM:
        with_mode(&t.d.adam, t, powers)
    elif t.direction == AMSGRAD:
        with_mode(&t.d.amsgrad, t, powers)
    elif t.direction == LION:
        with_mode(&t.d.lion, t, powers)
    elif t.direction == FTRL_PROXIMAL:
        with_mode(&t.d.ftrl, t, powers)


cdef void update(Task* tasks, Py_ssize_t count) noexcept nogil:
    """Many tensors in one call."""
    cdef Py_ssize_t i
    for i in range(count):
        if tasks[i].g == NULL:
            continue
        if tasks[i].built_on.lr != 0:
            update_reanchored(&tasks[i])
        elif tasks[i].l21 == 0:
            update_coordinates(&tasks[i])
        else:
            update_groups(&tasks[i])


cdef void update_coordinates(Task* t) noexcept nogil:
    if t.dtype == BFLOAT16:
        update_via_float32(t)
    elif t.low != NULL:
        update_within_bounds(t)
    else:
        with_direction(t, NULL)


cdef void update_within_bounds(Task* t) noexcept nogil:
    """In stripes, so that the weights are still in the first-level cache when they are clipped."""
    cdef Py_ssize_t start = 0
    cdef Task s
    while start < t.n:
        s = shifted(t, start, min(t.n - start, <Py_ssize_t>STRIPE))
        with_direction(&s, NULL)
        clip(&s)
        start += STRIPE


cdef void clip(const Task* t) noexcept nogil:
    """Moves the weights into their bounds."""
    if t.dtype == FLOAT32:
        clip_all(<float*>t.w, <const float*>t.low, <const float*>t.high, t.bound_step, t.n)
    elif t.dtype == FLOAT64:
        clip_all(<double*>t.w, <const double*>t.low, <const double*>t.high, t.bound_step, t.n)


# -- FTRL after a change of lr or beta --------------------------------------------------------------------------------

cdef void update_reanchored(Task* t) noexcept nogil:
    """A step of FTRL with another lr or beta than z was built on."""
    cdef Py_ssize_t line
    cdef Task s
    if t.l21 == 0:
        reanchor(t, True)
    else:
        for line in range(t.outer):
            s = shifted(t, line*t.pitch, t.groups*t.inner)
            reanchor(&s, False)
        update_groups(t)


cdef void reanchor(const Task* t, bint steps) noexcept nogil:
    """Before a step, or with it: in stripes, so that z is still in the first-level cache when the step reads it."""
    cdef Py_ssize_t start = 0
    cdef Task s
    while start < t.n:
        s = shifted(t, start, min(t.n - start, <Py_ssize_t>STRIPE))
        if s.dtype == FLOAT32:
            reanchor_all(s.built_on, s.d.ftrl, <const float*>s.w, <float*>s.a, <const float*>s.b, s.n)
        elif s.dtype == FLOAT64:
            reanchor_all(s.built_on, s.d.ftrl, <const double*>s.w, <double*>s.a, <const double*>s.b, s.n)
        else:
            reanchor_via_float32(&s)
        if steps:
            update_coordinates(&s)
        start += STRIPE


cdef void reanchor_via_float32(const Task* t) noexcept nogil:
    """A stripe of bfloat16. A step with a zero gradient gives the weights as they were before they were rounded.

    With the rounded ones, a larger lr would enlarge the rounding errors, so that they move weights. Groups round twice.
    """
    cdef float[STRIPE + PADDING] w_
    cdef float[STRIPE + PADDING] g_
    cdef Task s = t[0]
    if t.l21 == 0 and t.built_on.lr < INFINITY:
        memset(w_, 0, sizeof(w_))
        memset(g_, 0, sizeof(g_))
        s.dtype, s.w, s.g, s.d.ftrl = FLOAT32, w_, g_, t.built_on
        with_direction(&s, NULL)
    else:
        bf16_to_f32(<const bfloat16*>t.w, w_, t.n)
    reanchor_all(t.built_on, t.d.ftrl, <const float*>w_, <float*>t.a, <const float*>t.b, t.n)


# -- Other operations -------------------------------------------------------------------------------------------------

cdef double penalty(const Task* t) noexcept nogil:
    """The value of a task's penalty at its weights."""
    cdef double total = 0
    if t.dtype == BFLOAT16:
        return penalty_via_float32(t)
    with_penalty(Value(&total), Proximal(0), t)
    return total


cdef void scale(DType dtype, void* w, Py_ssize_t n, double factor) noexcept nogil:
    if dtype == FLOAT32:
        scale_all(<float*>w, n, <float>factor)
    elif dtype == FLOAT64:
        scale_all(<double*>w, n, factor)
    elif dtype == BFLOAT16:
        scale_via_float32(<bfloat16*>w, n, <float>factor)


cdef bint finite(DType dtype, const void* w, Py_ssize_t n) noexcept nogil:
    if dtype == FLOAT32:
        return all_finite(<const float*>w, n)
    elif dtype == FLOAT64:
        return all_finite(<const double*>w, n)
    return finite_via_float32(<const bfloat16*>w, n)
