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
