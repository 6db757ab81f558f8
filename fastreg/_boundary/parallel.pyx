"""Layers 3 and 4 of threads: work in slices (no formula, no element loop), and the job whose parts are slices.

The parts of a job are taken one by one, by the threads of the pool and by the caller, who waits only for parts that
other threads work on. So a job is always complete when its caller continues, even if the pool is gone or something was
raised meanwhile. That includes KeyboardInterrupt, since the last wait cannot be interrupted; a wait for futures is
Python code and can. Slices are not compiled once per instruction set: they contain no loop over weights.
"""
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock, PyThread_type_lock,
    WAIT_LOCK,
)
from cython cimport final

from fastreg._boundary.checks cimport GIL_FREE, kernels
from fastreg._kernels.table cimport BFLOAT16, DType, FLOAT64, Task

from fastreg._boundary import threads as thread_pool

cdef enum:
    GRAIN = 4096               # coordinates: slices start at its multiples, as do the blocks of a sum
    MIN_BYTES = 1 << 21        # below it, one thread; above it, threads.py decides
    MAX_BYTES_PER_WEIGHT = 72  # three numbers of float64 state, the weight and the gradient
    PARTS_PER_THREAD = 4       # so that nobody waits for a thread that starts late or runs slowly
    PARTS = 256                # at most

ctypedef void (*Work)(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil


# -- Jobs -------------------------------------------------------------------------------------------------------------

@final
cdef class Job:
    """Parts that are done once each. Its locks are C locks, held briefly and never while Python code runs."""

    cdef Work work
    cdef void* context
    cdef Py_ssize_t parts, taken
    cdef Py_ssize_t busy  # parts that other threads than the caller work on
    cdef bint awaited
    cdef PyThread_type_lock guard     # of all the numbers above
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
        """Help, in a thread of the pool."""
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
        """Does what is left, then waits for the parts that other threads work on."""
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
    """Calls work for all parts of a job that moves `size` bytes; they are done even where this raises."""
    cdef Job job = None, made
    cdef Py_ssize_t n_threads
    try:
        n_threads = thread_pool.usable(threads, size) if size >= MIN_BYTES else 1
        if n_threads > 1:
            made = Job()
            made.work, made.context = work, context
            made.parts = min(PARTS_PER_THREAD*n_threads, <Py_ssize_t>PARTS)
            job = made
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
    Py_ssize_t* found  # by part: the first task whose gradient is not finite, or -1


cdef inline Py_ssize_t bytes_of(DType dtype) noexcept nogil:
    """Bytes of a stored number."""
    return 8 if dtype == FLOAT64 else 2 if dtype == BFLOAT16 else 4


cdef inline Py_ssize_t bytes_per_weight(const Task* t) noexcept nogil:
    """The bytes that are read and written for one coordinate."""
    return 3*bytes_of(t.dtype) + 2*max(4, bytes_of(t.dtype))*((t.a != NULL) + (t.b != NULL) + (t.c != NULL))


cdef Py_ssize_t total(Task* tasks, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i, size = 0
    for i in range(count):
        if tasks[i].g != NULL:
            size += tasks[i].n*bytes_per_weight(&tasks[i])
    return size


cdef inline Py_ssize_t edge(Py_ssize_t n, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """Where a part of n begins, and the part before it ends; n is too large to be multiplied by part."""
    return n // parts*part + n % parts*part // parts


cdef inline Py_ssize_t coordinate_at(const Task* t, Py_ssize_t size) noexcept nogil:
    """The coordinate before which `size` bytes of a task lie: a multiple of GRAIN, or its end."""
    cdef Py_ssize_t i = max(size, <Py_ssize_t>0) // bytes_per_weight(t)
    return t.n if i >= t.n else i - i % GRAIN


cdef inline void* after(const void* start, Py_ssize_t size) noexcept nogil:
    return <char*>start + size if start != NULL else NULL


cdef inline Task shifted(const Task* t, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """The task for n coordinates from `start` on."""
    cdef Py_ssize_t stored = start*bytes_of(t.dtype), computed = start*max(4, bytes_of(t.dtype))
    cdef Task s = t[0]
    s.n = n
    s.w, s.g = after(t.w, stored), after(t.g, stored)
    s.a, s.b, s.c, s.f = after(t.a, computed), after(t.b, computed), after(t.c, computed), after(t.f, computed)
    return s


cdef bint slice_of(const Tasks* all, Py_ssize_t i, Py_ssize_t before, Py_ssize_t part, Py_ssize_t parts,
                   Task* s) noexcept nogil:
    """The slice of task i that belongs to a part, `before` bytes of other tasks before it; False where it is empty."""
    cdef const Task* t = &all.tasks[i]
    cdef Py_ssize_t start = coordinate_at(t, edge(all.size, part, parts) - before)
    s[0] = shifted(t, start, coordinate_at(t, edge(all.size, part + 1, parts) - before) - start)
    return s.n > 0


cdef void update_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef const Tasks* all = <const Tasks*>context
    cdef Py_ssize_t i, before = 0
    cdef Task s
    if parts == 1:
        kernels.update(all.tasks, all.count)
        return
    for i in range(all.count):
        if all.tasks[i].g != NULL:
            if slice_of(all, i, before, part, parts, &s):
                kernels.update(&s, 1)
            before += all.tasks[i].n*bytes_per_weight(&all.tasks[i])


cdef void finite_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef const Tasks* all = <const Tasks*>context
    cdef Py_ssize_t i, before = 0
    cdef Task s
    all.found[part] = -1
    for i in range(all.count):
        if all.tasks[i].g != NULL:
            if slice_of(all, i, before, part, parts, &s) and not kernels.finite(s.dtype, s.g, s.n):
                all.found[part] = i
                return
            before += all.tasks[i].n*bytes_per_weight(&all.tasks[i])


cdef int update(Task* tasks, Py_ssize_t count, Py_ssize_t n, object threads) except -1:
    """One step of all tasks, n coordinates together."""
    if n*MAX_BYTES_PER_WEIGHT < MIN_BYTES:  # computing the size takes a tenth of a step of many small tensors
        with nogil:
            kernels.update(tasks, count)
        return 0
    cdef Tasks all = Tasks(tasks, count, total(tasks, count), NULL)
    return run(update_part, &all, all.size, threads)


cdef Py_ssize_t nonfinite(Task* tasks, Py_ssize_t count, object threads) except -2:
    """The index of the first task whose gradient holds an infinity or a NaN, or -1."""
    cdef Py_ssize_t[PARTS] found
    cdef Py_ssize_t part
    cdef Tasks all = Tasks(tasks, count, total(tasks, count), &found[0])
    for part in range(PARTS):
        found[part] = -1
    run(finite_part, &all, all.size, threads)
    for part in range(PARTS):
        if found[part] >= 0:
            return found[part]
    return -1


# -- Slices of one array ----------------------------------------------------------------------------------------------

cdef inline Py_ssize_t block_edge(Py_ssize_t n, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """Where a part of n coordinates begins: a multiple of GRAIN, or n."""
    return min(n, GRAIN*edge((n + GRAIN - 1) // GRAIN, part, parts))


cdef struct Values:
    const Task* task
    double* blocks  # the value of each block


cdef void penalty_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """Block by block, to be added in order afterwards: the bits are those of one thread."""
    cdef const Values* x = <const Values*>context
    cdef Py_ssize_t i = block_edge(x.task.n, part, parts)
    cdef Task s
    while i < block_edge(x.task.n, part + 1, parts):
        s = shifted(x.task, i, min(<Py_ssize_t>GRAIN, x.task.n - i))
        x.blocks[i // GRAIN] = kernels.penalty(&s)
        i += GRAIN


cdef double penalty(const Task* t) except? -1:
    """The value of a task's penalty at its weights."""
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
    cdef Py_ssize_t start = block_edge(x.n, part, parts)
    kernels.scale(x.dtype, <char*>x.w + start*bytes_of(x.dtype), block_edge(x.n, part + 1, parts) - start, x.factor)


cdef int scale(DType dtype, void* w, Py_ssize_t n, double factor) except -1:
    cdef Array x = Array(dtype, w, n, factor)
    return run(scale_part, &x, n*bytes_of(dtype)*2, None)
