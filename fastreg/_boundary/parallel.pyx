"""Layer 4, threads: the kernels' work in slices (no formula, no element loop), and jobs, which consist of slices.

The threads of the pool and the caller take the parts of a job one by one. The caller then waits only for parts that
other threads work on. So a job is always complete when its caller continues, even if the pool has been shut down or an
exception was raised meanwhile, including KeyboardInterrupt: the last wait cannot be interrupted. A wait for futures was
rejected, since it is Python code, which can be. This module contains no loop over weights, so one version of it serves
all instruction sets.
"""
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock, PyThread_type_lock,
    WAIT_LOCK,
)
from cython cimport final

from fastreg._boundary.checks cimport GIL_FREE, kernels
from fastreg._kernels.slices cimport bytes_of, group_slice, panels_of, shifted
from fastreg._kernels.table cimport DType, Task

from fastreg._boundary import threads as thread_pool

cdef enum:
    GRAIN = 4096               # coordinates: slices and the blocks of a sum start at its multiples
    COLUMNS = 64               # groups: slices of groups that are not contiguous start at its multiples
    MIN_BYTES = 1 << 21        # smaller work uses one thread; for larger work threads.py decides
    MAX_BYTES_PER_WEIGHT = 72  # three numbers of float64 state, read and written, the weight and the gradient
    PARTS_PER_THREAD = 4       # several, so that a slow or late thread delays the others little
    PARTS = 256                # at most

ctypedef void (*Work)(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil


# -- Jobs -------------------------------------------------------------------------------------------------------------

@final
cdef class Job:
    """Parts of work, each done once. Its locks are C locks, held briefly and never while Python code runs."""

    cdef Work work
    cdef void* context
    cdef Py_ssize_t parts, taken
    cdef Py_ssize_t busy  # number of parts that threads other than the caller work on
    cdef bint awaited     # whether the caller waits for them
    cdef PyThread_type_lock guard     # protects the numbers above
    cdef PyThread_type_lock finished  # held until no other thread works on a part

    def __cinit__(self):
        self.guard, self.finished = PyThread_allocate_lock(), PyThread_allocate_lock()
        if self.guard == NULL or self.finished == NULL:
            raise MemoryError
        PyThread_acquire_lock(self.finished, WAIT_LOCK)

    def __dealloc__(self):
        if self.guard != NULL:
            PyThread_free_lock(self.guard)
        if self.finished != NULL:
            PyThread_release_lock(self.finished)
            PyThread_free_lock(self.finished)

    def __call__(self):
        """Work on parts until all are taken; called by a thread of the pool."""
        with nogil:
            while self.help():
                pass

    cdef Py_ssize_t take(self, Py_ssize_t helpers) noexcept nogil:
        """The next part that no thread has taken, or -1."""
        cdef Py_ssize_t part = -1
        PyThread_acquire_lock(self.guard, WAIT_LOCK)
        if self.taken < self.parts:
            part = self.taken
            self.taken += 1
            self.busy += helpers
        PyThread_release_lock(self.guard)
        return part

    cdef bint help(self) noexcept nogil:
        cdef Py_ssize_t part = self.take(1)
        if part < 0:
            return False
        self.work(self.context, part, self.parts)
        PyThread_acquire_lock(self.guard, WAIT_LOCK)
        self.busy -= 1
        if self.busy == 0 and self.awaited:
            self.awaited = False
            PyThread_release_lock(self.finished)
        PyThread_release_lock(self.guard)
        return True

    cdef void finish(self) noexcept nogil:
        """Works on the parts that are left, then waits for those that other threads work on."""
        cdef Py_ssize_t part = self.take(0)
        cdef bint awaited
        while part >= 0:
            self.work(self.context, part, self.parts)
            part = self.take(0)
        PyThread_acquire_lock(self.guard, WAIT_LOCK)
        awaited = self.awaited = self.busy > 0
        PyThread_release_lock(self.guard)
        if awaited:
            PyThread_acquire_lock(self.finished, WAIT_LOCK)


cdef int run(Work work, void* context, Py_ssize_t size, object threads) except -1:
    """Calls `work` for all parts of a job that moves `size` bytes; all are done even if this raises."""
    cdef Job job = None, new_job
    cdef Py_ssize_t n_threads
    try:
        n_threads = thread_pool.usable(threads, size) if size >= MIN_BYTES else 1
        if n_threads > 1:
            new_job = Job()
            new_job.work, new_job.context = work, context
            new_job.parts = min(PARTS_PER_THREAD*n_threads, <Py_ssize_t>PARTS)
            job = new_job
            thread_pool.pool.call(job, n_threads - 1)
    finally:
        with nogil:
            if job is None:
                work(context, 0, 1)
            else:
                job.finish()
    return 0


# -- Slices of tasks --------------------------------------------------------------------------------------------------

cdef struct Tasks:
    Task* tasks
    Py_ssize_t count
    Py_ssize_t size
    Py_ssize_t* found   # by part: the first task whose gradient is not finite, or -1
    Py_ssize_t sharing  # number of threads that can share the lines of a task: see passes.pxi; 0 for none
    void* memory        # for that


cdef inline Py_ssize_t bytes_per_weight(const Task* t) noexcept nogil:
    """The number of bytes that are read and written for one coordinate."""
    return 3*bytes_of(t.dtype) + 2*max(4, bytes_of(t.dtype))*((t.a != NULL) + (t.b != NULL) + (t.c != NULL))


cdef Py_ssize_t total_bytes(const Tasks* work) noexcept nogil:
    cdef Py_ssize_t i, size = 0
    for i in range(work.count):
        if work.tasks[i].g != NULL and not shares_lines(work, &work.tasks[i]):
            size += work.tasks[i].n*bytes_per_weight(&work.tasks[i])
    return size


cdef inline Py_ssize_t part_start(Py_ssize_t n, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """The start of a part of n, which is the end of the part before it. Written so that n*part cannot overflow."""
    return n // parts*part + n % parts*part // parts


cdef inline Py_ssize_t coordinate_at(const Task* t, Py_ssize_t size) noexcept nogil:
    """The coordinate after the first `size` bytes of a task's work, rounded down to a multiple of GRAIN, or the end."""
    cdef Py_ssize_t i = max(size, <Py_ssize_t>0) // bytes_per_weight(t)
    return t.n if i >= t.n else i - i % GRAIN


cdef bint slice_of(const Tasks* work, Py_ssize_t i, Py_ssize_t before, Py_ssize_t part, Py_ssize_t parts,
                   Task* s) noexcept nogil:
    """The slice of task i in a part, with `before` bytes in the tasks before it; False if the slice is empty."""
    cdef const Task* t = &work.tasks[i]
    cdef Py_ssize_t start = coordinate_at(t, part_start(work.size, part, parts) - before)
    s[0] = shifted(t, start, coordinate_at(t, part_start(work.size, part + 1, parts) - before) - start)
    return s.n > 0


cdef inline Py_ssize_t group_at(const Task* t, Py_ssize_t size) noexcept nogil:
    """The same for groups, which are never cut: the first one that starts after `size` bytes, or fewer."""
    cdef Py_ssize_t grain = COLUMNS if t.outer > 1 else 1
    cdef Py_ssize_t i = max(size, <Py_ssize_t>0) // max(bytes_per_weight(t)*t.outer*t.inner, 1)
    return t.groups if i >= t.groups else i - i % grain


cdef bint group_slice_of(const Tasks* work, Py_ssize_t i, Py_ssize_t before, Py_ssize_t part, Py_ssize_t parts,
                         Task* s) noexcept nogil:
    """The groups of task i in a part, as in slice_of."""
    cdef const Task* t = &work.tasks[i]
    cdef Py_ssize_t first = group_at(t, part_start(work.size, part, parts) - before)
    s[0] = group_slice(t, first, group_at(t, part_start(work.size, part + 1, parts) - before) - first)
    return s.n > 0


cdef void update_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef const Tasks* work = <const Tasks*>context
    cdef Py_ssize_t i, before = 0
    cdef Task s
    if parts == 1 and work.sharing == 0:
        kernels.update(work.tasks, work.count)
        return
    for i in range(work.count):
        if work.tasks[i].g != NULL and not shares_lines(work, &work.tasks[i]):
            if work.tasks[i].l21 == 0 and slice_of(work, i, before, part, parts, &s):
                kernels.update(&s, 1)
            elif work.tasks[i].l21 != 0 and group_slice_of(work, i, before, part, parts, &s):
                kernels.update(&s, 1)
            before += work.tasks[i].n*bytes_per_weight(&work.tasks[i])


cdef void finite_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef const Tasks* work = <const Tasks*>context
    cdef Py_ssize_t i, before = 0
    cdef Task s
    work.found[part] = -1
    for i in range(work.count):
        if work.tasks[i].g != NULL:
            if slice_of(work, i, before, part, parts, &s) and not kernels.finite(s.dtype, s.g, s.n):
                work.found[part] = i
                return
            before += work.tasks[i].n*bytes_per_weight(&work.tasks[i])


include "passes.pxi"


cdef int update(Task* tasks, Py_ssize_t count, Py_ssize_t n, object threads) except -1:
    """One step of all tasks, which have n coordinates in total. It is complete even if this raises."""
    if n*MAX_BYTES_PER_WEIGHT < MIN_BYTES:  # computing the size takes a tenth of a step of many small tensors
        with nogil:
            kernels.update(tasks, count)
        return 0
    cdef Tasks work = Tasks(tasks, count, 0, NULL, 0, NULL)
    work.size = total_bytes(&work)
    try:
        prepare_passes(&work, threads)
    finally:
        try:
            run(update_part, &work, work.size, threads)
        finally:
            update_in_passes(&work, threads)
    return 0


cdef Py_ssize_t nonfinite(Task* tasks, Py_ssize_t count, object threads) except -2:
    """The index of the first task with an infinity or a NaN in its gradient, or -1."""
    cdef Py_ssize_t[PARTS] found
    cdef Py_ssize_t part
    cdef Tasks work = Tasks(tasks, count, 0, &found[0], 0, NULL)
    work.size = total_bytes(&work)
    for part in range(PARTS):
        found[part] = -1
    run(finite_part, &work, work.size, threads)
    for part in range(PARTS):
        if found[part] >= 0:
            return found[part]
    return -1


# -- Slices of one array ----------------------------------------------------------------------------------------------

cdef inline Py_ssize_t block_start(Py_ssize_t n, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """The start of a part of n coordinates: a multiple of GRAIN, or n."""
    return min(n, GRAIN*part_start((n + GRAIN - 1) // GRAIN, part, parts))


cdef struct Values:
    const Task* task
    double* blocks  # the value of each block


cdef void penalty_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """Block by block; the caller adds the blocks in order, so that the bits are those of one thread."""
    cdef const Values* x = <const Values*>context
    cdef Py_ssize_t i = block_start(x.task.n, part, parts)
    cdef Task s
    while i < block_start(x.task.n, part + 1, parts):
        s = shifted(x.task, i, min(<Py_ssize_t>GRAIN, x.task.n - i))
        x.blocks[i // GRAIN] = kernels.penalty(&s)
        i += GRAIN


cdef double penalty(const Task* t) except? -1:
    """The value of a task's penalty at its weights, with that of its groups."""
    cdef double total = coordinates_penalty(t)
    if t.l21 != 0 and t.n < GIL_FREE:
        total += kernels.group_penalty(t)
    elif t.l21 != 0:
        with nogil:
            total += kernels.group_penalty(t)
    return total


cdef double coordinates_penalty(const Task* t) except? -1:
    cdef Py_ssize_t block, blocks = (t.n + GRAIN - 1) // GRAIN, size = t.n*bytes_of(t.dtype)
    cdef Values x = Values(t, NULL)
    cdef double total = 0
    if t.n < GIL_FREE:
        return kernels.penalty(t)
    if size < MIN_BYTES or thread_pool.usable(None, size) == 1:
        with nogil:
            total = kernels.penalty(t)
        return total
    x.blocks = <double*>PyMem_Malloc(blocks*sizeof(double))
    if x.blocks == NULL:
        raise MemoryError
    try:
        run(penalty_part, &x, size, None)
        for block in range(blocks):
            total += x.blocks[block]
    finally:
        PyMem_Free(x.blocks)
    return total


cdef struct Array:
    DType dtype
    void* w
    Py_ssize_t n
    double factor


cdef void scale_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef const Array* x = <const Array*>context
    cdef Py_ssize_t start = block_start(x.n, part, parts)
    kernels.scale(x.dtype, <char*>x.w + start*bytes_of(x.dtype), block_start(x.n, part + 1, parts) - start, x.factor)


cdef int scale(DType dtype, void* w, Py_ssize_t n, double factor) except -1:
    cdef Array x = Array(dtype, w, n, factor)
    return run(scale_part, &x, n*bytes_of(dtype)*2, None)
