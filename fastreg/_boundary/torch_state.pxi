# Layer 4, what a step of fastreg.torch reads from torch's dicts and writes there. Included by torch_step.pyx; uses its
# cimports.

class StalePlanError(Exception):
    """A group has to be planned again."""


cdef inline object item(object d, object key):
    """d.get(key), with the GIL in less time. Without it, another thread may remove the value before it is counted."""
    cdef PyObject* x
    if FREE_THREADED:
        return d.get(key)
    x = PyDict_GetItemWithError(d, key)
    return <object>x if x != NULL else None


cdef bint point_to_steps(Entry* e, const DLTensor* steps) noexcept:
    """Points to the count of steps; False if it is none that torch would have written."""
    if size_of(steps) != 1 or torch_dtype(steps) == BFLOAT16:
        return False
    e.steps, e.steps_dtype = memory_of(steps), torch_dtype(steps)
    return 0 <= steps_of(e) < 2.0**53


cdef bint point_to_rate(Entry* e, const DLTensor* lr, const DLTensor* beta) noexcept:
    """Points to what z of FTRL is built on; False for numbers with which z would become infinite or a NaN."""
    cdef double inverse
    if size_of(lr) != 1 or torch_dtype(lr) != FLOAT64 or size_of(beta) != 1 or torch_dtype(beta) != FLOAT64:
        return False
    e.lr, e.beta = <double*>memory_of(lr), <double*>memory_of(beta)
    inverse = 1/e.lr[0] if e.lr[0] > 0 else e.lr[0]
    if torch_dtype(&e.w) != FLOAT64:
        return 0 <= inverse and isfinite(<float>inverse) and 0 <= e.beta[0] and isfinite(<float>e.beta[0])
    return 0 <= inverse and isfinite(inverse) and 0 <= e.beta[0] and isfinite(e.beta[0])


cdef int insert_states(object state, list fresh) except -1:
    """Puts new states into the optimizer's, all or none: the hash of a tensor is Python code, which may raise."""
    cdef list before = []
    try:
        for p, own in fresh:
            before.append((p, state.get(p)))
            state[p] = own
    except BaseException:
        restore_states(state, before)
        raise
    return 0


cdef int restore_states(object state, list before) except -1:
    for p, own in before:
        if own is None:
            state.pop(p, None)
        else:
            state[p] = own
    return 0
