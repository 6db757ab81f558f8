"""Layer 4, the boundary of the optimizers: many tensors in one call, all of them checked before the first is written.

`Tensors` holds all that a step or a loaded file changes: the buffers of weights and state, the steps that each tensor
has taken, the counts of the optimizer and the settings of its groups. So one commit, which no interrupt divides, makes
all of it new (section.pyx). What a step means is the affair of optimizers.py: for each group it hands over a `Plan` of
plain numbers (settings.py), and directions as the reference's tuples, whose fields are those of the struct of the same
name, in the same order.

No list comprehension here makes its entries: where memory runs out in one, Cython 3.3.1 releases an entry twice.
"""
from cython cimport final
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.math cimport INFINITY, isfinite, sqrt
from libc.string cimport memcpy
from numpy cimport (
    import_array, ndarray, npy_intp, NPY_ARRAY_ALIGNED, NPY_ARRAY_BEHAVED, NPY_ARRAY_C_CONTIGUOUS,
    NPY_ARRAY_F_CONTIGUOUS, PyArray_DATA, PyArray_DIMS, PyArray_FLAGS, PyArray_ISWRITEABLE, PyArray_NBYTES,
    PyArray_NDIM, PyArray_SIZE,
)

from fastreg._boundary.checks cimport as_array, dtype_of, GIL_FREE, guard, is_alike, is_plain, is_target, kernels
from fastreg._kernels.table cimport (
    ADAM, AMSGRAD, AnyDirection, BFLOAT16, DirectionCode, DType, FLOAT32, FLOAT64, ModeCode, Task,
)
from fastreg._boundary.parallel cimport nonfinite, scale, sums, update
from fastreg._boundary.section cimport enter, leave, Section

from operator import attrgetter, itemgetter

import cython
from numpy import asarray

from fastreg import reference
from fastreg._boundary import errors as _diagnose

cdef extern from "Python.h":
    PyObject* PyList_GetItem(object t, Py_ssize_t i) except NULL  # borrowed, which Cython's own declaration is not

cdef extern from "numpy/arrayobject.h":
    void* descr_of "PyArray_DESCR"(ndarray a) noexcept  # borrowed likewise

import_array()

cdef dict DIRECTIONS = {direction: code for code, direction in enumerate(reference.DIRECTIONS.values())}
cdef dict MODES = {mode: code for code, mode in enumerate(reference.MODES)}

cdef struct Slot:  # what the boundary knows of one tensor, beside its task
    PyObject* w      # the ndarray, held by Tensors.weights
    void* descr      # its dtype, held by Tensors.dtypes
    double scalar    # what multiplies its strengths
    long long steps
    double power1    # beta1ᵗ and beta2ᵗ, as running products: the bits of pow differ between machines
    double power2
    bint settled     # whether the task's direction holds until its group changes

cdef struct Clock:  # what a slot counts
    long long steps
    double power1
    double power2

cdef struct Copy:  # of one array of state
    void* to
    const void* source
    size_t size

cdef struct Block:  # the bytes of one array that steps write: a tensor's weights or its state
    const char* start
    const char* end
    Py_ssize_t index  # of the tensor

cdef struct Span:  # one group
    Py_ssize_t start
    Py_ssize_t stop
    double beta1
    double beta2
    DirectionCode direction
    AnyDirection first  # that of a tensor's first step
    AnyDirection later
    double largest      # of the numbers in both


@final
cdef class Tensors:
    """The tensors of one optimizer, in order.

    Parameters
    ----------
    names : list of str
        What errors call the tensors.
    weights : list of ndarray
        Float32, float64 or bfloat16, dense, writable, no two with memory in common.
    states : list of lists of up to three ndarray
        The state of each tensor, like its weights; of bfloat16, float32.
    factors : list of ndarray or None
        The penalty factors of each tensor, likewise.
    scalars : list of float
        What else multiplies the strengths of each tensor.
    spans : list of (int, int)
        The first tensor of each group, and the one after its last.
    settings : tuple of dict
        Those of each group. Nobody changes such a dict: new settings are another one.
    """

    cdef readonly list names, weights, states, factors
    cdef readonly long long completed, skipped
    cdef readonly tuple settings
    cdef Section section
    cdef list planned  # by group the settings that the tasks were given, or None
    cdef list dtypes, guards
    cdef list bound, bound_guards
    cdef bint is_bound  # whether the tasks point to the bound gradients
    cdef Py_ssize_t count, size, groups
    cdef Py_ssize_t filled  # how many blocks there are
    cdef Task* tasks
    cdef Slot* slots
    cdef Block* blocks  # sorted by address
    cdef Span* spans

    def __cinit__(self, list names, list weights, list states, list factors, list scalars, list spans, tuple settings):
        cdef Py_ssize_t i
        cdef ndarray w
        self.names, self.weights, self.states, self.factors = names, list(weights), states, factors
        self.settings, self.planned, self.section = settings, [None]*len(spans), Section()
        self.dtypes = list(map(attrgetter("dtype"), weights))
        self.guards = guard([*weights, *(s for state in states for s in state), *(f for f in factors if f is not None)])
        self.count, self.groups = len(weights), len(spans)
        self.tasks = <Task*>allocate(self.count, sizeof(Task))
        self.slots = <Slot*>allocate(self.count, sizeof(Slot))
        self.spans = <Span*>allocate(self.groups, sizeof(Span))
        for i in range(self.groups):
            self.spans[i].start, self.spans[i].stop = spans[i]
        for i, w in enumerate(weights):
            if not is_target(w):
                raise _diagnose.bad_array(w, f"params[{names[i]}]", writable=True)
            self.tasks[i] = task(names[i], w, states[i], factors[i])
            self.slots[i] = Slot(<PyObject*>w, descr_of(w), scalars[i], 0, 1, 1, False)
            self.size += PyArray_SIZE(w)
        self.sort_blocks()

    def __dealloc__(self):
        PyMem_Free(self.tasks)
        PyMem_Free(self.slots)
        PyMem_Free(self.blocks)
        PyMem_Free(self.spans)

    cdef int sort_blocks(self) except -1:
        """Where gradients may not lie. An empty array has no block, and overlaps nothing."""
        cdef Py_ssize_t i
        cdef ndarray x
        cdef const char* start
        written = []  # and no comprehension: see the head of this file
        for i in range(self.count):
            for x in (self.weights[i], *self.states[i]):
                if PyArray_SIZE(x) > 0:
                    written.append((address(x), i, x))
        self.blocks = <Block*>allocate(len(written), sizeof(Block))
        for _, i, x in sorted(written, key=itemgetter(0, 1)):
            start = <const char*>PyArray_DATA(x)
            if self.filled and start < self.blocks[self.filled - 1].end:
                one, other = self.names[self.blocks[self.filled - 1].index], self.names[i]
                raise _diagnose.bad_overlap(f"params[{one}]", f"params[{other}]")
            self.blocks[self.filled] = Block(start, start + PyArray_NBYTES(x), i)
            self.filled += 1
        return 0

    cdef Py_ssize_t overlapped(self, const char* start, Py_ssize_t size) noexcept:
        """The index of a tensor whose weights or state share memory with so many bytes, or -1."""
        cdef Py_ssize_t low = 0, high = self.filled, middle
        while low < high:  # the first block that ends after the start
            middle = (low + high) // 2
            if self.blocks[middle].end <= start:
                low = middle + 1
            else:
                high = middle
        if size == 0 or low == self.filled or self.blocks[low].start >= start + size:
            return -1
        return self.blocks[low].index

    # -- Gradients ----------------------------------------------------------------------------------------------------

    cdef list point(self, list grads):
        """Checks all gradients and points the tasks to them; returns what holds them."""
        cdef Py_ssize_t i, other
        cdef Task* t
        cdef Slot* slot
        cdef PyObject* g
        cdef void* data
        if len(grads) != self.count:
            raise ValueError(f"grads: expected {self.count} gradients, one a tensor, got {len(grads)}")
        self.is_bound = False
        for i in range(self.count):
            t, slot, g = &self.tasks[i], &self.slots[i], PyList_GetItem(grads, i)
            if g == <PyObject*>None:
                t.g = NULL
                continue
            if type(<object>g) is not ndarray:  # start again with arrays: making them may run Python code
                return self.point(as_arrays(grads, self.names))
            if not fits(t, slot, <ndarray>slot.w, <ndarray>g):
                name = self.names[i]
                if PyArray_SIZE(<ndarray>slot.w) != t.n or PyArray_DATA(<ndarray>slot.w) != t.w:
                    raise ValueError(f"params[{name}]: expected the memory of the construction, got a resized array")
                raise _diagnose.bad_pair(self.weights[i], grads[i], f"params[{name}]", f"grads[{name}]")
            data = PyArray_DATA(<ndarray>g)
            if data != t.g:  # or else it was found apart from all weights at an earlier step
                t.g = NULL
                other = self.overlapped(<const char*>data, PyArray_NBYTES(<ndarray>slot.w))
                if other >= 0:
                    raise _diagnose.bad_overlap(f"params[{self.names[other]}]", f"grads[{self.names[i]}]")
                t.g = data
        return grads

    def bind(self, grads):
        """Check gradients once and hold them; None lets go of those that are held."""
        cdef list arrays, guards
        self.section.begin("bind")
        try:
            arrays = None if grads is None else self.point(grads)
            guards = None if arrays is None else guard([g for g in arrays if g is not None])
            self.is_bound = False
            self.bound, self.bound_guards = arrays, guards
            self.is_bound = arrays is not None
        finally:
            self.section.end()

    cdef int check_weights(self) except -1:
        """What can change while gradients are bound: guards keep arrays from being resized, not from being frozen."""
        cdef Py_ssize_t i
        cdef PyObject* w
        for i in range(self.count):
            w = self.slots[i].w
            if not (PyArray_ISWRITEABLE(<ndarray>w) and descr_of(<ndarray>w) == self.slots[i].descr):
                raise _diagnose.bad_array(self.weights[i], f"params[{self.names[i]}]", writable=True)
        return 0

    # -- Steps --------------------------------------------------------------------------------------------------------

    def step(self, grads, plan, str on_nonfinite, threads=None):
        """One step of all tensors that have a gradient.

        `plan` is called with a group's number, its settings, the completed steps, and whether some tensor of it has
        made no step yet; it returns a Plan. `grads` is a list that nobody else can change on the way, or None.
        """
        cdef Py_ssize_t i
        cdef bint locked
        self.section.begin("step")
        try:
            self.make_plans(plan)
            _held = self.point_to_gradients(grads)  # until the end: a buffer that is let go of may be resized
            if on_nonfinite != "propagate":
                i = nonfinite(self.tasks, self.count, threads)
                if i >= 0 and on_nonfinite == "skip":
                    self.skipped += 1
                    return
                if i >= 0:
                    name = self.names[i]
                    raise FloatingPointError(f"grads[{name}]: expected finite numbers, got an infinity or a NaN")
            for i in range(self.groups):
                self.direct(&self.spans[i])
            locked = enter(self.section, True, self.size < GIL_FREE)
            try:
                self.completed += 1
                for i in range(self.groups):
                    self.tick(&self.spans[i])
                if self.size < GIL_FREE:
                    kernels.update(self.tasks, self.count)
                else:
                    update(self.tasks, self.count, self.size, threads)  # done whole, even where it raises
            finally:
                leave(self.section, locked)
        finally:
            self.section.end()

    cdef int make_plans(self, plan) except -1:
        """Takes over the numbers of each group whose settings have changed or hold callables."""
        cdef Py_ssize_t k, i
        cdef bint fresh
        cdef tuple settings = self.settings  # what a callable sets on the way is for the step after this one
        for k in range(self.groups):
            own = settings[k]
            if self.planned[k] is own:
                continue
            self.planned[k] = None  # while the tasks are between the old numbers and the new
            fresh = False
            for i in range(self.spans[k].start, self.spans[k].stop):
                fresh |= self.slots[i].steps == 0
            made = plan(k, own, self.completed, fresh)
            self.configure(&self.spans[k], made)
            if made.holds:
                self.planned[k] = own
        return 0

    cdef int configure(self, Span* span, made) except -1:
        cdef Py_ssize_t i
        cdef double l1 = made.l1, l2 = made.l2, theta = made.theta
        cdef ModeCode mode = <ModeCode><int>MODES[made.mode]
        span.beta1, span.beta2 = made.betas
        span.direction = <DirectionCode><int>DIRECTIONS[type(made.later)]
        span.largest = fill(&span.later, made.later)
        span.largest = max(fill(&span.first, made.first), span.largest)
        for i in range(span.start, span.stop):
            self.tasks[i].mode, self.tasks[i].theta = mode, theta
            self.tasks[i].l1, self.tasks[i].l2 = l1*self.slots[i].scalar, l2*self.slots[i].scalar
            self.slots[i].settled = False
        return 0

    cdef list point_to_gradients(self, grads):
        """Points the tasks to these gradients, or to the bound ones; returns what holds them."""
        if grads is not None:
            return self.point(grads)
        if self.bound is None:
            raise ValueError("grads: expected gradients, or a call of bind(grads) before the first step()")
        if self.is_bound:
            self.check_weights()
        else:
            self.point(self.bound)
            self.is_bound = True
        return self.bound

    cdef int direct(self, const Span* span) except -1:
        """Gives the group's tasks their direction for the step to come, which differs for tensors that sat out.

        It holds until the settings change, but for a tensor's first step. Adam's bias corrections, which change at
        every step, are worked out here.
        """
        cdef Py_ssize_t i
        cdef Task* t
        cdef Slot* slot
        cdef Slot* last = NULL
        cdef double scale1 = 0, scale2 = 0
        for i in range(span.start, span.stop):
            t, slot = &self.tasks[i], &self.slots[i]
            if t.g == NULL:
                continue
            if not slot.settled:
                if not (isfinite(span.largest) and (t.dtype == FLOAT64 or isfinite(<float>span.largest))):
                    raise ValueError(
                        "lr: expected settings whose direction the dtype of the weights can hold, got numbers up to"
                        f" {span.largest}"
                    )
                t.direction, t.d = span.direction, span.later if slot.steps else span.first
                slot.settled = slot.steps > 0
            if t.direction == ADAM or t.direction == AMSGRAD:  # whose structs have the same fields
                if last == NULL or slot.power1 != last.power1 or slot.power2 != last.power2:
                    scale1 = 1/(1 - slot.power1*span.beta1)
                    scale2 = 1/sqrt(1 - slot.power2*span.beta2)
                    last = slot
                t.d.adam.scale1, t.d.adam.scale2 = scale1, scale2
        return 0

    cdef void tick(self, const Span* span) noexcept:
        """Counts the step to come."""
        cdef Py_ssize_t i
        for i in range(span.start, span.stop):
            if self.tasks[i].g != NULL:
                self.slots[i].steps += 1
                self.slots[i].power1 *= span.beta1
                self.slots[i].power2 *= span.beta2

    # -- Settings and state -------------------------------------------------------------------------------------------

    def set_settings(self, Py_ssize_t k, dict old, dict new):
        """Put a group's settings in the place of the old ones; whether these were still the present ones."""
        cdef tuple before = self.settings
        cdef tuple after = (*before[:k], new, *before[k + 1:])
        with cython.critical_section(self):
            if self.settings is not before or before[k] is not old:
                return False
            self.settings = after
        return True

    def clock(self, Py_ssize_t i):
        """The steps that tensor i has taken, and its running products."""
        return self.slots[i].steps, self.slots[i].power1, self.slots[i].power2

    def sums(self, Py_ssize_t i):
        """Σ|w| and Σw² of tensor i."""
        cdef double sum_abs = 0, sum_squares = 0
        sums(self.tasks[i].dtype, self.tasks[i].w, self.tasks[i].n, &sum_abs, &sum_squares)
        return sum_abs, sum_squares

    def read(self, function):
        """What a function finds while nobody steps: it waits for those who do, and they for it."""
        self.section.lock(False)
        try:
            return function()
        finally:
            self.section.unlock()

    def write(self, str method, prepare):
        """Call `prepare`, and restore what it returns; RuntimeError where another call that writes is under way."""
        self.section.begin(method)
        try:
            settings, completed, skipped, clocks, states = prepare()
            self.restore(settings, completed, skipped, clocks, states)
        finally:
            self.section.end()

    cdef int restore(self, tuple settings, long long completed, long long skipped, list clocks, list states) except -1:
        """Take over settings of the groups, counts, and the clock and the state of each tensor.

        `states` are arrays that nobody else has, or None where the state is right as it is.

        All was checked but what can change at any time: whether our arrays may be written.
        """
        cdef Py_ssize_t i, count = 0
        cdef tuple _before = (self.settings, self.planned)  # kept until all is new: what is let go of may run code
        cdef list planned = [None]*self.groups
        cdef ndarray mine, theirs
        cdef Clock* times = NULL
        cdef Copy* copies = NULL
        try:
            times = <Clock*>allocate(self.count, sizeof(Clock))
            copies = <Copy*>allocate(3*self.count, sizeof(Copy))
            for i in range(self.count):
                times[i].steps, times[i].power1, times[i].power2 = clocks[i]
                for mine, theirs in zip(self.states[i], states[i] if states is not None else ()):
                    if not (is_target(mine) and is_plain(theirs) and is_alike(mine, theirs, dtype_of(mine))):
                        raise _diagnose.bad_pair(mine, theirs, f"state[{self.names[i]!r}]", "saved")
                    copies[count] = Copy(PyArray_DATA(mine), PyArray_DATA(theirs), PyArray_NBYTES(mine))
                    count += 1
            self.section.lock(True)
            for i in range(count):
                memcpy(copies[i].to, copies[i].source, copies[i].size)
            for i in range(self.count):
                self.slots[i].steps, self.slots[i].power1 = times[i].steps, times[i].power1
                self.slots[i].power2, self.slots[i].settled = times[i].power2, False
            self.completed, self.skipped, self.settings, self.planned = completed, skipped, settings, planned
            self.section.unlock()
        finally:
            PyMem_Free(times)
            PyMem_Free(copies)
        return 0

    def replace(self, optimizer, dict attributes):
        """Give an optimizer, whose tensors these are, all of its attributes anew, among them other tensors."""
        self.section.begin("__init__")
        try:
            optimizer.__dict__ = attributes
        finally:
            self.section.end()

    def seal(self):
        """What follows the arrays in a pickle: see section.pyx."""
        return self.section.seal()


cdef list as_arrays(list grads, list names):
    """Gradients as arrays over the same memory; None stays."""
    cdef list arrays = []
    for x, name in zip(grads, names):
        arrays.append(None if x is None else asarray(as_array(x, f"grads[{name}]")))
    return arrays


cdef object address(ndarray a):
    """Where an array's data starts."""
    return <size_t>PyArray_DATA(a)


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


cdef double fill(AnyDirection* direction, object fields) except -1:
    """Fills the struct; the largest of its fields, none of which is negative, or infinity for a NaN."""
    cdef Py_ssize_t i
    cdef double x, largest = 0
    for i, x in enumerate(fields):
        memcpy(<char*>direction + i*sizeof(double), &x, sizeof(double))
        if not x <= largest:
            largest = x if x == x else INFINITY
    return largest


cdef Task task(name, ndarray w, list states, object factors) except *:
    cdef Task t
    cdef (void*)[3] state
    cdef ndarray s
    cdef Py_ssize_t i
    cdef DType dtype = FLOAT32 if dtype_of(w) == BFLOAT16 else dtype_of(w)
    state[0] = state[1] = state[2] = NULL
    for i, s in enumerate(states):
        if not (is_target(s) and is_alike(w, s, dtype)):
            raise _diagnose.bad_state(w, s, f"params[{name}]")
        state[i] = PyArray_DATA(s)
    t.dtype, t.n, t.w, t.g, t.f = dtype_of(w), PyArray_SIZE(w), PyArray_DATA(w), NULL, NULL
    t.a, t.b, t.c = state[0], state[1], state[2]
    if factors is not None:
        s = factors
        if not (is_plain(s) and is_alike(w, s, dtype)):
            raise _diagnose.bad_state(w, s, f"params[{name}]")
        t.f = PyArray_DATA(s)
    return t


def clip_grad_norm(list names, list grads, double max_norm):
    """The global norm of the gradients, which are then scaled in place; every one is checked before the first write."""
    cdef ndarray g
    cdef double total = 0, sum_abs = 0, sum_squares = 0, norm, coefficient
    cdef Py_ssize_t i
    cdef list arrays = as_arrays(grads, names)
    cdef list places = []
    for i in range(len(arrays)):
        places.append((address(arrays[i]), i))
    end = 0
    for start, i in sorted(places):
        g = arrays[i]
        if not is_target(g):
            raise _diagnose.bad_array(g, f"grads[{names[i]}]", writable=True)
        if PyArray_SIZE(g) == 0:
            continue
        if start < end:
            raise _diagnose.bad_overlap(f"grads[{names[i]}]", "another gradient")
        end = start + PyArray_NBYTES(g)
    for g in arrays:
        sums(dtype_of(g), PyArray_DATA(g), PyArray_SIZE(g), &sum_abs, &sum_squares)
        total += sum_squares
    norm = sqrt(total)
    coefficient = reference.clip_coefficient(norm, max_norm)
    if coefficient == 1:
        return norm  # nothing to scale: save the pass over all gradients
    interrupt = None
    for g in arrays:
        try:
            scale(dtype_of(g), PyArray_DATA(g), PyArray_SIZE(g), coefficient)  # done whole, even where it raises
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
    return norm
