# Layer 4, included by parallel.pyx: steps of groups that are not contiguous, in passes over panels of lines.
#
# Threads share the panels of a pass, and the next pass starts when all are done (_kernels/group_panels.pxi).

cdef struct Shared:
    const Task* task
    void* memory


cdef inline bint shares_lines(const Tasks* work, const Task* t) noexcept nogil:
    """Whether threads share the lines of a task, instead of its groups. It is then left out of slices."""
    return (work.sharing > 0 and t.g != NULL and t.l21 != 0 and panels_of(t) >= work.sharing
            and t.n*bytes_per_weight(t) >= MIN_BYTES and t.d.plain.lr != 0 and t.built_on.lr == 0)


cdef int prepare_passes(Tasks* work, object threads) except -1:
    """Allocates memory for tasks that can share their lines. If there is none, they share their groups."""
    cdef Py_ssize_t i, size = 0
    cdef Py_ssize_t n_threads = thread_pool.usable(threads, work.size) if work.size >= MIN_BYTES else 1
    work.sharing = n_threads if n_threads > 1 else 0
    for i in range(work.count):
        if shares_lines(work, &work.tasks[i]):
            size = max(size, kernels.passes_size(&work.tasks[i]))
    work.memory = PyMem_Calloc(1, size) if size > 0 else NULL
    if work.memory == NULL:
        work.sharing = 0
    work.size = total_bytes(work)
    return 0


cdef void panels_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef const Shared* x = <const Shared*>context
    cdef Py_ssize_t k, panels = panels_of(x.task)
    for k in range(part_start(panels, part, parts), part_start(panels, part + 1, parts)):
        kernels.pass_panel(x.task, x.memory, k)


cdef int update_in_passes(const Tasks* work, object threads) except -1:
    """A step of the tasks that share their lines."""
    cdef object error = None
    cdef Py_ssize_t i
    cdef Shared x
    cdef bint goes_on
    for i in range(work.count if work.sharing > 0 else 0):
        x = Shared(&work.tasks[i], work.memory)
        goes_on = shares_lines(work, x.task)
        while goes_on:
            try:
                run(panels_part, &x, x.task.n*bytes_per_weight(x.task), threads)
            except BaseException as e:
                error = e
            with nogil:
                goes_on = kernels.end_pass(x.task, x.memory)
    PyMem_Free(work.memory)
    if error is not None:
        raise error
    return 0
