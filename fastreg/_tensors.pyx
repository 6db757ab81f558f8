"""Layer 4, the boundary of the optimizers: many tensors in one call, all of them checked before the first is written.

`Tensors` holds the buffers of an optimizer's weights, state and factors, and how many steps each tensor has taken. What
a step means is the affair of optimizers.py: for each group of tensors it hands over plain numbers, and a direction as
one of the reference's tuples, whose fields are those of the struct of the same name, in the same order.
"""
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.math cimport INFINITY, sqrt
from libc.string cimport memcpy
from numpy cimport (
    import_array, ndarray, PyArray_DATA, PyArray_ISBEHAVED, PyArray_ISWRITEABLE, PyArray_NBYTES, PyArray_SIZE,
)

from fastreg._checks cimport as_array, dtype_of, GIL_FREE, is_alike, is_pair, is_plain, kernels
from fastreg._kernels cimport AnyDirection, DirectionCode, ModeCode, Task

from fastreg import _diagnose, reference

cdef extern from "Python.h":
    PyObject* PyList_GetItem(object t, Py_ssize_t i) except NULL  # borrowed, which Cython's own declaration is not

import_array()

cdef dict DIRECTIONS = {direction: code for code, direction in enumerate(reference.DIRECTIONS.values())}
cdef dict MODES = {mode: code for code, mode in enumerate(reference.MODES)}

cdef struct Clock:  # of one tensor
    Py_ssize_t steps
    double power1  # beta1ᵗ and beta2ᵗ, as running products: the bits of pow differ between machines
    double power2

cdef struct Block:  # the bytes of one tensor's weights
    const char* start
    const char* end
    Py_ssize_t index


cdef class Tensors:
    """The tensors of one optimizer, in order.

    Parameters
    ----------
    names : list of str
        What errors call the tensors.
    weights : list of ndarray
        Float32 or float64, dense, writable, no two with memory in common.
    states : list of lists of up to three ndarray
        The state of each tensor, like its weights.
    factors : list of ndarray or None
        The penalty factors of each tensor, like its weights.
    """

    cdef readonly list names, weights, states, factors
    cdef list bound
    cdef bint is_bound  # whether the tasks point to the bound gradients
    cdef Py_ssize_t count, size
    cdef Task* tasks
    cdef Clock* clocks
    cdef Clock* next_clocks
    cdef bint* settled  # whether a task's direction holds until its group changes
    cdef Block* blocks  # sorted by address

    def __cinit__(self, list names, list weights, list states, list factors):
        cdef Py_ssize_t i
        cdef ndarray w
        self.names, self.weights, self.states, self.factors = names, weights, states, factors
        self.count = len(weights)
        self.tasks = <Task*>PyMem_Calloc(self.count + 1, sizeof(Task))
        self.clocks = <Clock*>PyMem_Calloc(self.count + 1, sizeof(Clock))
        self.next_clocks = <Clock*>PyMem_Calloc(self.count + 1, sizeof(Clock))
        self.settled = <bint*>PyMem_Calloc(self.count + 1, sizeof(bint))
        self.blocks = <Block*>PyMem_Calloc(self.count + 1, sizeof(Block))
        if self.tasks == NULL or self.clocks == NULL or self.next_clocks == NULL or self.settled == NULL or self.blocks == NULL:
            raise MemoryError
        for i, w in enumerate(weights):
            if not (is_plain(w) and PyArray_ISBEHAVED(w)):
                raise _diagnose.bad_array(w, f"params[{names[i]}]", writable=True)
            self.tasks[i] = task(w, states[i], factors[i])
            self.clocks[i] = Clock(0, 1, 1)
            self.size += PyArray_SIZE(w)
        self.sort_blocks()

    def __dealloc__(self):
        PyMem_Free(self.tasks)
        PyMem_Free(self.clocks)
        PyMem_Free(self.next_clocks)
        PyMem_Free(self.settled)
        PyMem_Free(self.blocks)

    cdef int sort_blocks(self) except -1:
        cdef Py_ssize_t i, k
        cdef ndarray w
        order = sorted(range(self.count), key=lambda i: _diagnose.address(self.weights[i]))
        for k, i in enumerate(order):
            w = self.weights[i]
            self.blocks[k] = Block(<const char*>PyArray_DATA(w), <const char*>PyArray_DATA(w) + PyArray_NBYTES(w), i)
            if k and self.blocks[k].start < self.blocks[k - 1].end:
                one, other = self.names[self.blocks[k - 1].index], self.names[i]
                raise _diagnose.bad_overlap(f"params[{one}]", f"params[{other}]")
        return 0

    cdef Py_ssize_t overlapped(self, ndarray g) noexcept:
        """The index of a tensor whose weights share memory with g, or -1."""
        cdef const char* start = <const char*>PyArray_DATA(g)
        cdef const char* end = start + PyArray_NBYTES(g)
        cdef Py_ssize_t low = 0, high = self.count, middle
        while low < high:  # the first block that ends after g starts
            middle = (low + high) // 2
            if self.blocks[middle].end <= start:
                low = middle + 1
            else:
                high = middle
        return self.blocks[low].index if low < self.count and self.blocks[low].start < end else -1

    # -- Gradients ----------------------------------------------------------------------------------------------------

    cdef list arrays(self, list grads):
        """The gradients as ndarrays or None; may run Python code of the buffers that are neither."""
        cdef Py_ssize_t i
        cdef PyObject* g
        if len(grads) != self.count:
            raise ValueError(f"grads: expected {self.count} gradients, one a tensor, got {len(grads)}")
        for i in range(self.count):
            g = PyList_GetItem(grads, i)
            if type(<object>g) is not ndarray and g != <PyObject*>None:
                return [None if x is None else as_array(x, f"grads[{name}]") for x, name in zip(grads, self.names)]
        return grads

    cdef int point(self, list grads) except -1:
        """Checks all gradients and points the tasks to them."""
        cdef Py_ssize_t i, other
        cdef PyObject* x
        cdef ndarray w, g
        self.is_bound = False
        for i in range(self.count):
            x = PyList_GetItem(grads, i)
            if x == <PyObject*>None:
                self.tasks[i].g = NULL
                continue
            w, g = <ndarray>PyList_GetItem(self.weights, i), <ndarray>x
            if not (is_pair(w, g) and PyArray_DATA(w) == self.tasks[i].w and PyArray_SIZE(w) == self.tasks[i].n):
                raise _diagnose.bad_pair(w, g, f"params[{self.names[i]}]", f"grads[{self.names[i]}]")
            if PyArray_DATA(g) != self.tasks[i].g or self.tasks[i].g == NULL:
                self.tasks[i].g = NULL
                other = self.overlapped(g)
                if other >= 0:
                    raise _diagnose.bad_overlap(f"grads[{self.names[i]}]", f"params[{self.names[other]}]")
                self.tasks[i].g = PyArray_DATA(g)
        return 0

    def bind(self, grads):
        """Check gradients once and hold them; None lets go of those that are held."""
        if grads is None:
            self.bound = None
            return
        cdef list arrays = self.arrays(grads)
        self.bound = None
        self.point(arrays)
        self.bound, self.is_bound = list(arrays), True

    cdef Py_ssize_t nonfinite(self) noexcept:
        """The index of a tensor whose gradient holds an infinity or a NaN, or -1."""
        cdef Py_ssize_t i
        cdef Task* t
        for i in range(self.count):
            t = &self.tasks[i]
            if t.g != NULL and not kernels.finite(t.dtype, t.g, t.n):
                return i
        return -1

    # -- Steps --------------------------------------------------------------------------------------------------------

    def configure(self, group):
        """Take over the numbers of a group of tensors, already checked."""
        cdef Py_ssize_t i, start = group.start, stop = group.stop
        cdef dict now = group.now
        cdef double l1 = now["l1"], l2 = now["l2"], theta = now.get("theta", INFINITY), factor
        cdef ModeCode mode = <ModeCode><int>MODES[now.get("mode", "proximal")]
        for i in range(start, stop):
            factor = group.factors[i - start]
            self.tasks[i].mode, self.tasks[i].theta = mode, theta
            self.tasks[i].l1, self.tasks[i].l2 = l1*factor, l2*factor
            self.settled[i] = False

    def step(self, grads, list groups, str on_nonfinite):
        """One step of all tensors that have a gradient; whether it was made, and not skipped.

        Each group has `start` and `stop`, its range of tensors, `betas`, the factors of the running products, and
        `direction(steps, power1, power2)`, which makes the direction at a stand of a tensor's clock.
        """
        cdef Py_ssize_t i
        if grads is not None:
            self.point(self.arrays(grads))
        elif not self.is_bound:
            if self.bound is None:
                raise ValueError("grads: expected gradients, or a call of bind(grads) before the first step()")
            self.point(self.bound)
            self.is_bound = True
        if on_nonfinite != "propagate":
            i = self.nonfinite()
            if i >= 0 and on_nonfinite == "raise":
                raise FloatingPointError(f"grads[{self.names[i]}]: expected finite numbers, got an infinity or a NaN")
            if i >= 0:
                return False
        for group in groups:
            self.advance(group)
        self.clocks, self.next_clocks = self.next_clocks, self.clocks
        if self.size < GIL_FREE:
            kernels.update(self.tasks, self.count)
        else:
            with nogil:
                kernels.update(self.tasks, self.count)
        return True

    cdef int advance(self, group) except -1:
        """Gives the group's tasks their direction at the clocks' next stand, which differs for tensors that sat out."""
        cdef Py_ssize_t i, start = group.start, stop = group.stop
        cdef double beta1, beta2
        cdef Clock now
        cdef Clock* last = NULL
        cdef AnyDirection direction
        cdef DirectionCode code = <DirectionCode>0
        beta1, beta2 = group.betas
        for i in range(start, stop):
            now = self.clocks[i]
            if self.tasks[i].g != NULL:
                now.steps += 1
                now.power1 *= beta1
                now.power2 *= beta2
                if not self.settled[i]:
                    if (last == NULL or now.power1 != last.power1 or now.power2 != last.power2
                            or (now.steps == 1) != (last.steps == 1)):
                        made = group.direction(now.steps, now.power1, now.power2)
                        code = <DirectionCode><int>DIRECTIONS[type(made)]
                        fill(&direction, made)
                    last = &self.next_clocks[i]
                    self.tasks[i].direction = code
                    self.tasks[i].d = direction
                    self.settled[i] = now.steps > 1 and beta1 == 1 and beta2 == 1
            self.next_clocks[i] = now
        return 0

    def clock(self, Py_ssize_t i):
        """The steps that tensor i has taken, and its running products."""
        return self.clocks[i].steps, self.clocks[i].power1, self.clocks[i].power2

    def set_clock(self, Py_ssize_t i, Py_ssize_t steps, double power1, double power2):
        self.clocks[i] = Clock(steps, power1, power2)
        self.settled[i] = False


cdef int fill(AnyDirection* direction, object fields) except -1:
    cdef Py_ssize_t i
    cdef double x
    for i, x in enumerate(fields):
        memcpy(<char*>direction + i*sizeof(double), &x, sizeof(double))
    return 0


cdef Task task(ndarray w, list states, object factors) except *:
    cdef Task t
    cdef (void*)[3] state
    cdef ndarray s
    cdef Py_ssize_t i
    state[0] = state[1] = state[2] = NULL
    for i, s in enumerate(states):
        if not (is_pair(s, w) and PyArray_ISWRITEABLE(s)):
            raise AssertionError("the state of a tensor must be like its weights")
        state[i] = PyArray_DATA(s)
    t.dtype, t.n, t.w, t.g, t.f = dtype_of(w), PyArray_SIZE(w), PyArray_DATA(w), NULL, NULL
    t.a, t.b, t.c = state[0], state[1], state[2]
    if factors is not None:
        s = factors
        if not is_alike(s, w):
            raise AssertionError("the factors of a tensor must be like its weights")
        t.f = PyArray_DATA(s)
    return t


def clip_grad_norm(list names, list grads, double max_norm):
    """The global norm of the gradients, which are then scaled in place; every one is checked before the first write."""
    cdef ndarray g
    cdef double total = 0, sum_abs = 0, sum_squares = 0, norm, coefficient
    cdef Py_ssize_t i
    cdef list arrays = [as_array(x, f"grads[{name}]") for x, name in zip(grads, names)]
    end = 0
    for address, i in sorted((_diagnose.address(g), i) for i, g in enumerate(arrays)):
        g = arrays[i]
        if not (is_plain(g) and PyArray_ISBEHAVED(g)):
            raise _diagnose.bad_array(g, f"grads[{names[i]}]", writable=True)
        if address < end:
            raise _diagnose.bad_overlap(f"grads[{names[i]}]", "another gradient")
        end = address + PyArray_NBYTES(g)
    for g in arrays:
        kernels.sums(dtype_of(g), PyArray_DATA(g), PyArray_SIZE(g), &sum_abs, &sum_squares)
        total += sum_squares
    norm = sqrt(total)
    coefficient = reference.clip_coefficient(norm, max_norm)
    for g in arrays:
        kernels.scale(dtype_of(g), PyArray_DATA(g), PyArray_SIZE(g), coefficient)
    return norm
