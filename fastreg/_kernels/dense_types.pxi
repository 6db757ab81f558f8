# Layer 3: from the codes of a task to the types of the loops, one choice a function; included by variant.pyx.

cdef void with_dtype(Direction d, Mode m, Penalty p, Factor f, const Task* t) noexcept nogil:
    if t.dtype == FLOAT32:
        dense(d, m, p, f, <float*>t.w, <const float*>t.g, <float*>t.a, <float*>t.b, <float*>t.c, t.n)
    elif t.dtype == FLOAT64:
        dense(d, m, p, f, <double*>t.w, <const double*>t.g, <double*>t.a, <double*>t.b, <double*>t.c, t.n)


cdef void with_factor(Direction d, Mode m, Penalty p, const Task* t) noexcept nogil:
    if t.f != NULL:
        with_dtype(d, m, p, PerCoordinate(t.f), t)
    else:
        with_dtype(d, m, p, NoFactor(0), t)


cdef void with_penalty(Direction d, Mode m, const Task* t) noexcept nogil:
    """The elastic net without l1 has loops of its own, since l2 alone needs little arithmetic."""
    if t.penalty == ELASTIC_NET:
        if t.p.elastic_net.l1 == 0 and t.f == NULL:
            with_dtype(d, m, Ridge(t.p.elastic_net.l2), NoFactor(0), t)
        else:
            with_factor(d, m, t.p.elastic_net, t)


cdef void with_mode(Direction d, const Task* t) noexcept nogil:
    """Only the modes that reference.MODES_OF names for the direction; the boundary asks for no other."""
    if Direction is FTRL:
        with_penalty(d, Proximal(0), t)
    elif Direction is Lion:
        with_penalty(d, Decoupled(0), t)
    else:
        if t.mode == SUBGRADIENT:
            with_penalty(d, Subgradient(0), t)
        elif t.mode == DECOUPLED:
            with_penalty(d, Decoupled(0), t)
        elif t.mode == PROXIMAL:
            with_penalty(d, Proximal(0), t)
        elif Direction in Linear:
            with_penalty(d, Truncated(t.theta), t)


cdef void with_direction(const Task* t) noexcept nogil:
    if t.direction == PLAIN:
        with_mode(t.d.plain, t)
    elif t.direction == MOMENTUM:
        with_mode(t.d.momentum, t)
    elif t.direction == NESTEROV:
        with_mode(t.d.nesterov, t)
    elif t.direction == ADAGRAD:
        with_mode(t.d.adagrad, t)
    elif t.direction == RMSPROP:
        with_mode(t.d.rmsprop, t)
    elif t.direction == ADAM:
        with_mode(t.d.adam, t)
    elif t.direction == AMSGRAD:
        with_mode(t.d.amsgrad, t)
    elif t.direction == LION:
        with_mode(t.d.lion, t)
    elif t.direction == FTRL_PROXIMAL:
        with_mode(t.d.ftrl, t)


cdef void update(const Task* tasks, Py_ssize_t count) noexcept nogil:
    """Many tensors in one call."""
    cdef Py_ssize_t i
    for i in range(count):
        if tasks[i].g == NULL:
            continue
        if tasks[i].dtype == BFLOAT16:
            update_via_float32(&tasks[i])
        else:
            with_direction(&tasks[i])


cdef bint correct_direction(DirectionCode code, AnyDirection* d, double* power1, double* power2) noexcept nogil:
    """Advances the powers of the betas by one step and corrects the direction for it; whether that changes anything."""
    if code == ADAM:
        advance(&d.adam, power1, power2)
        return correct(&d.adam, power1[0], power2[0])
    elif code == AMSGRAD:
        advance(&d.amsgrad, power1, power2)
        return correct(&d.amsgrad, power1[0], power2[0])
    return False


cdef double value_with_dtype(Penalty p, Factor f, const Task* t) noexcept nogil:
    if t.dtype == FLOAT32:
        return all_values(p, f, <const float*>t.w, t.n)
    return all_values(p, f, <const double*>t.w, t.n)


cdef double value_with_factor(Penalty p, const Task* t) noexcept nogil:
    if t.f != NULL:
        return value_with_dtype(p, PerCoordinate(t.f), t)
    return value_with_dtype(p, NoFactor(0), t)


cdef double penalty(const Task* t) noexcept nogil:
    """The value of a task's penalty at its weights."""
    if t.dtype == BFLOAT16:
        return penalty_via_float32(t)
    elif t.penalty == ELASTIC_NET:
        return value_with_factor(t.p.elastic_net, t)
    return 0


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
