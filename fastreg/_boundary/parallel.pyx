"""Layers 3 and 4 of threads: work in slices (no formula, no element loop), and the job whose parts are slices.

The parts of a job are taken one by one by whoever comes: threads of the pool, and the caller, who waits for nothing but
the parts that others are at. So a job is always done whole when its caller goes on, whatever became of the pool, and
whatever was raised meanwhile: that includes KeyboardInterrupt, since the last wait cannot be interrupted. Futures would
have to be waited for in Python code, which can. Slices are not compiled once per instruction set: they choose nothing.
"""
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock, PyThread_type_lock,
    WAIT_LOCK,
)
from cython cimport final

from fastreg._boundary.checks cimport GIL_FREE, kernels
from fastreg._kernels.table cimport BFLOAT16, DType, FLOAT64, Task

from fastreg._boundary import threads as _threads

cdef enum:
    GRAIN = 4096      # coordinates: slices start at its multiples, as do the blocks of a sum
    ASK = 1 << 21     # bytes from which threads.py is asked, and decides
    DEAREST = 72      # bytes: three numbers of float64 state, the weight and the gradient
    PER_THREAD = 4    # slices, so that a thread which comes late or runs slowly is not waited for
    PARTS = 256       # at most

ctypedef void (*Work)(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil


# -- Jobs -------------------------------------------------------------------------------------------------------------

@final
cdef class Job:
    """Parts to be done once each. Its locks are C's: they are held for a moment, and never while Python code runs."""

    cdef Work work
    cdef void* context
    cdef Py_ssize_t parts, taken
    cdef Py_ssize_t busy  # parts that others than the caller are at
    cdef bint awaited
    cdef PyThread_type_lock guard     # of all the numbers above
    cdef PyThread_type_lock finished  # held until nobody is at a part that is awaited

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
        """A part that nobody has taken, or -1."""
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
        """What is left, then the wait for what others are at."""
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
    """Calls work for all parts of something that moves so many bytes; they are done when this raises, too."""
    cdef Job job = None, made
    cdef Py_ssize_t hands
    try:
        hands = _threads.usable(threads, size) if size >= ASK else 1
        if hands > 1:
            made = Job()
            made.work, made.context = work, context
            made.parts = min(PER_THREAD*hands, <Py_ssize_t>PARTS)
            job = made
            _threads.pool.call(job, hands - 1)
    finally:
        with nogil:
            if job is None:
                work(context, 0, 1)
            else:
                job.finish()
    return 0


# -- Slices of tasks --------------------------------------------------------------------------------------------------

cdef struct Tasks:
    const Task* tasks
    Py_ssize_t count
    Py_ssize_t size
    Py_ssize_t* found  # by part: the first task whose gradient is not finite, or -1


cdef inline Py_ssize_t width(DType dtype) noexcept nogil:
    """Bytes of a stored number."""
    return 8 if dtype == FLOAT64 else 2 if dtype == BFLOAT16 else 4


cdef inline Py_ssize_t price(const Task* t) noexcept nogil:
    """The bytes that are read and written for one coordinate."""
    return 3*width(t.dtype) + 2*max(4, width(t.dtype))*((t.a != NULL) + (t.b != NULL) + (t.c != NULL))


cdef Py_ssize_t total(const Task* tasks, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i, size = 0
    for i in range(count):
        if tasks[i].g != NULL:
            size += tasks[i].n*price(&tasks[i])
    return size


cdef inline Py_ssize_t edge(Py_ssize_t n, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """Where a part of n begins, and the part before it ends; n is too large to be multiplied by part."""
    return n // parts*part + n % parts*part // parts


cdef inline Py_ssize_t cut(const Task* t, Py_ssize_t size) noexcept nogil:
    """The coordinate at which so many bytes of a task have passed: a multiple of GRAIN, or its end."""
    cdef Py_ssize_t i = max(size, <Py_ssize_t>0) // price(t)
    return t.n if i >= t.n else i - i % GRAIN


cdef inline void* after(const void* start, Py_ssize_t size) noexcept nogil:
    return <char*>start + size if start != NULL else NULL


cdef bint slice_of(const Tasks* all, Py_ssize_t i, Py_ssize_t before, Py_ssize_t part, Py_ssize_t parts,
                   Task* s) noexcept nogil:
    """The slice of task i, before which so many bytes pass, that belongs to a part; False where it is empty."""
    cdef const Task* t = &all.tasks[i]
    cdef Py_ssize_t start = cut(t, edge(all.size, part, parts) - before)
    cdef Py_ssize_t stored = start*width(t.dtype), wide = start*max(4, width(t.dtype))
    s[0] = t[0]
    s.n = cut(t, edge(all.size, part + 1, parts) - before) - start
    s.w, s.g = after(t.w, stored), after(t.g, stored)
    s.a, s.b, s.c, s.f = after(t.a, wide), after(t.b, wide), after(t.c, wide), after(t.f, wide)
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
            before += all.tasks[i].n*price(&all.tasks[i])


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
            before += all.tasks[i].n*price(&all.tasks[i])


cdef int update(const Task* tasks, Py_ssize_t count, Py_ssize_t n, object threads) except -1:
    """One step of all tasks, whose arrays have n coordinates together."""
    if n*DEAREST < ASK:  # adding up what they move takes a tenth of a step of many small ones
        with nogil:
            kernels.update(tasks, count)
        return 0
    cdef Tasks all = Tasks(tasks, count, total(tasks, count), NULL)
    return run(update_part, &all, all.size, threads)


cdef Py_ssize_t nonfinite(const Task* tasks, Py_ssize_t count, object threads) except -2:
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

cdef struct Array:
    DType dtype
    void* w
    Py_ssize_t n
    double factor
    double* blocks  # the two sums of each block


cdef inline Py_ssize_t grain_edge(const Array* x, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    return min(x.n, GRAIN*edge((x.n + GRAIN - 1) // GRAIN, part, parts))


cdef void sums_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """Block by block, to be added in order afterwards: the bits are those of one thread."""
    cdef const Array* x = <const Array*>context
    cdef Py_ssize_t i = grain_edge(x, part, parts)
    while i < grain_edge(x, part + 1, parts):
        kernels.sums(x.dtype, <char*>x.w + i*width(x.dtype), min(<Py_ssize_t>GRAIN, x.n - i),
                     &x.blocks[2*(i // GRAIN)], &x.blocks[2*(i // GRAIN) + 1])
        i += GRAIN


cdef int sums(DType dtype, const void* w, Py_ssize_t n, double* sum_abs, double* sum_squares) except -1:
    cdef Py_ssize_t block, blocks = (n + GRAIN - 1) // GRAIN
    cdef Array x = Array(dtype, <void*>w, n, 0, NULL)
    if n < GIL_FREE:
        kernels.sums(dtype, w, n, sum_abs, sum_squares)
        return 0
    if n*width(dtype) < ASK or _threads.usable(None, n*width(dtype)) == 1:
        with nogil:
            kernels.sums(dtype, w, n, sum_abs, sum_squares)
        return 0
    x.blocks = <double*>PyMem_Malloc(2*blocks*sizeof(double))
    if x.blocks == NULL:
        raise MemoryError
    try:
        run(sums_part, &x, n*width(dtype), None)
        sum_abs[0] = sum_squares[0] = 0
        for block in range(blocks):
            sum_abs[0] += x.blocks[2*block]
            sum_squares[0] += x.blocks[2*block + 1]
    finally:
        PyMem_Free(x.blocks)
    return 0


cdef void scale_part(void* context, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef const Array* x = <const Array*>context
    cdef Py_ssize_t start = grain_edge(x, part, parts)
    kernels.scale(x.dtype, <char*>x.w + start*width(x.dtype), grain_edge(x, part + 1, parts) - start, x.factor)


cdef int scale(DType dtype, void* w, Py_ssize_t n, double factor) except -1:
    cdef Array x = Array(dtype, w, n, factor, NULL)
    return run(scale_part, &x, n*width(dtype)*2, None)
