"""Layer 4, the tensors of an optimizer: many in one call, and all are checked before the first one is written.

`Tensors` holds everything that a step or a loaded file changes: the buffers of weights and state, the steps of each
tensor, the counters of the optimizer and the settings of its groups. So one commit changes all of it, and no interrupt
can stop it halfway (section.pyx). The optimizers define what a step does: for each group they pass a `Plan`
(optimizers/groups.py) with directions and penalties as tuples of the reference.

List comprehensions here do not create their entries: if memory runs out in one, Cython 3.3.1 releases an entry twice.
"""
from cython cimport final
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.math cimport isfinite
from libc.string cimport memcpy
from numpy cimport (
    import_array, ndarray, npy_intp, NPY_ARRAY_ALIGNED, NPY_ARRAY_BEHAVED, NPY_ARRAY_C_CONTIGUOUS,
    NPY_ARRAY_F_CONTIGUOUS, PyArray_DATA, PyArray_DIMS, PyArray_FLAGS, PyArray_ISWRITEABLE, PyArray_NBYTES,
    PyArray_NDIM, PyArray_SIZE,
)

from fastreg._boundary.checks cimport (
    as_arrays, dtype_of, GIL_FREE, guard, is_alike, is_plain, is_target, kernels, set_groups,
)
from fastreg._boundary.codes cimport fill_direction, fill_penalty, mode_code
from fastreg._boundary.parallel cimport nonfinite, penalty, update
from fastreg._boundary.reanchor cimport reanchored_from
from fastreg._boundary.section cimport enter, leave, Section
from fastreg._kernels.table cimport (
    AnyDirection, AnyPenalty, BFLOAT16, DirectionCode, DType, FLOAT32, FLOAT64, FTRL_PROXIMAL, ModeCode, PenaltyCode,
    Powers, Task,
)
from fastreg.structs cimport FTRL

from operator import attrgetter

import cython

from fastreg._boundary import errors

cdef extern from "Python.h":
    PyObject* PyList_GetItem(object t, Py_ssize_t i) except NULL  # borrowed, unlike in Cython's own declaration

cdef extern from "numpy/arrayobject.h":
    void* descr_of "PyArray_DESCR"(ndarray a) noexcept  # borrowed, too

import_array()

include "overlap.pxi"
include "tasks.pxi"


@final
cdef class Tensors:
    """The tensors of one optimizer, in order.

    Parameters
    ----------
    names : list of str
        The names of the tensors in error messages.
    weights : list of ndarray
        Float32, float64 or bfloat16, contiguous and writable. No two may share memory.
    states : list of lists of up to three ndarray
        The state of each tensor, like its weights; float32 for bfloat16 weights.
    factors : list of ndarray or None
        The penalty factors of each tensor, like its state; None for none.
    bounds : list of (ndarray, ndarray) or None
        The bounds of each tensor, both without dimensions or both like its state; None for none.
    axes : list of int or None
        The axis of each tensor along which the groups of its group lasso are; None for the whole tensor.
    kinds : list of int
        For each tensor the index of its penalty in the Plan of its group.
    spans : list of (int, int)
        The first tensor of each group, and the one after its last.
    settings : tuple of dict
        The settings of each group. The dicts are never changed: new settings are a new dict.
    """

    cdef readonly list names, weights, states, factors, bounds, axes
    cdef readonly long long completed, skipped
    cdef readonly tuple settings
    cdef Section section
    cdef list planned  # by group, the settings that its tasks are configured with, or None
    cdef list dtypes, guards
    cdef list bound, bound_guards
    cdef bint is_bound  # whether the tasks point to the bound gradients
    cdef Py_ssize_t count, size, groups
    cdef Task* tasks
    cdef Slot* slots
    cdef Blocks written  # the memory that gradients must not overlap
    cdef Span* spans
    cdef AnyPenalty* penalties  # space for those of the group that is being configured

    def __cinit__(self, list names, list weights, list states, list factors, list bounds, list axes, list kinds,
                  list spans, tuple settings):
        cdef Py_ssize_t i
        cdef ndarray w
        cdef Powers start = Powers(1, 1, False)
        self.names, self.weights, self.states, self.factors, self.bounds = names, list(weights), states, factors, bounds
        self.axes = axes
        self.settings, self.planned, self.section = settings, [None]*len(spans), Section()
        self.dtypes = list(map(attrgetter("dtype"), weights))
        read = [*(f for f in factors if f is not None), *(x for pair in bounds if pair is not None for x in pair)]
        self.guards = guard([*weights, *(s for state in states for s in state), *read])
        self.count, self.groups = len(weights), len(spans)
        self.tasks = <Task*>allocate(self.count, sizeof(Task))
        self.slots = <Slot*>allocate(self.count, sizeof(Slot))
        self.spans = <Span*>allocate(self.groups, sizeof(Span))
        self.penalties = <AnyPenalty*>allocate(self.count, sizeof(AnyPenalty))
        for i in range(self.groups):
            self.spans[i].start, self.spans[i].stop = spans[i]
        for i, w in enumerate(weights):
            if not is_target(w):
                raise errors.bad_array(w, f"params[{names[i]}]", writable=True)
            self.tasks[i] = make_task(names[i], w, states[i], factors[i], bounds[i], axes[i])
            self.slots[i] = Slot(<PyObject*>w, descr_of(w), kinds[i], 0, start, start, FTRL(0, 0), False)
            self.size += PyArray_SIZE(w)
        find_blocks(&self.written, names, weights, states)

    def __dealloc__(self):
        PyMem_Free(self.tasks)
        PyMem_Free(self.slots)
        PyMem_Free(self.written.blocks)
        PyMem_Free(self.spans)
        PyMem_Free(self.penalties)

    # -- Gradients ----------------------------------------------------------------------------------------------------

    cdef list point(self, list grads):
        """Checks all gradients and points the tasks to them; returns the list that keeps them alive."""
        cdef Py_ssize_t i, other
        cdef Task* t
        cdef Slot* slot
        cdef PyObject* g
        cdef void* data
        if len(grads) != self.count:
            raise ValueError(f"grads: expected {self.count} gradients, one per tensor, got {len(grads)}")
        self.is_bound = False
        for i in range(self.count):
            t, slot, g = &self.tasks[i], &self.slots[i], PyList_GetItem(grads, i)
            if g == <PyObject*>None:
                t.g = NULL
                continue
            if type(<object>g) is not ndarray:  # start again with arrays: creating them may run Python code
                return self.point(as_arrays(grads, self.names))
            if not can_update(t, slot, <ndarray>slot.w, <ndarray>g):
                name = self.names[i]
                if PyArray_SIZE(<ndarray>slot.w) != t.n or PyArray_DATA(<ndarray>slot.w) != t.w:
                    raise ValueError(f"params[{name}]: expected memory as at construction, got a resized array")
                raise errors.bad_pair(self.weights[i], grads[i], f"params[{name}]", f"grads[{name}]")
            if t.l21 != 0:
                check_groups(t, <ndarray>slot.w, self.axes[i], self.names[i])
            data = PyArray_DATA(<ndarray>g)
            if data != t.g:  # else an earlier step found that it overlaps nothing
                t.g = NULL
                other = overlapped(&self.written, <const char*>data, PyArray_NBYTES(<ndarray>slot.w))
                if other >= 0:
                    raise errors.bad_overlap(f"params[{self.names[other]}]", f"grads[{self.names[i]}]")
                t.g = data
        return grads

    def bind(self, grads):
        """Check gradients once and keep them for later steps; None releases them."""
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
        """Check what can change while gradients are bound: guards only prevent that an array is resized."""
        cdef Py_ssize_t i
        cdef PyObject* w
        for i in range(self.count):
            w = self.slots[i].w
            if not (PyArray_ISWRITEABLE(<ndarray>w) and descr_of(<ndarray>w) == self.slots[i].descr):
                raise errors.bad_array(self.weights[i], f"params[{self.names[i]}]", writable=True)
        return 0

    # -- Steps --------------------------------------------------------------------------------------------------------

    def step(self, grads, plan, str on_nonfinite, threads=None):
        """One step of all tensors that have a gradient.

        `plan` is called with a group's index, its settings, the completed steps, and whether a tensor of the group has
        not made a step yet. It returns a Plan. `grads` is a list that nothing else refers to, or None for those bound.
        """
        cdef Py_ssize_t i
        cdef bint locked
        self.section.begin("step")
        try:
            self.make_plans(plan)
            _held = self.point_to_gradients(grads)  # until the end: a buffer that is released may be resized
            if on_nonfinite != "propagate":
                i = nonfinite(self.tasks, self.count, threads)
                if i >= 0 and on_nonfinite == "skip":
                    self.skipped += 1
                    return
                if i >= 0:
                    name = self.names[i]
                    raise FloatingPointError(f"grads[{name}]: expected finite numbers, got an infinity or a NaN")
            for i in range(self.groups):
                set_directions(self.tasks, self.slots, &self.spans[i])
            locked = enter(self.section, True, self.size < GIL_FREE)
            try:
                self.completed += 1
                for i in range(self.groups):
                    count_steps(self.tasks, self.slots, &self.spans[i])
                if self.size < GIL_FREE:
                    kernels.update(self.tasks, self.count)
                else:
                    update(self.tasks, self.count, self.size, threads)  # completed even if it raises
            finally:
                leave(self.section, locked)
        finally:
            self.section.end()

    cdef int make_plans(self, plan) except -1:
        """Configures each group if its settings have changed or contain callables."""
        cdef Py_ssize_t k, i
        cdef bint has_first_step
        cdef tuple settings = self.settings  # settings that a callable changes apply to the next step
        for k in range(self.groups):
            group_settings = settings[k]
            if self.planned[k] is group_settings:
                continue
            self.planned[k] = None  # while the tasks are only partly configured
            has_first_step = False
            for i in range(self.spans[k].start, self.spans[k].stop):
                has_first_step |= self.slots[i].steps == 0
            new_plan = plan(k, group_settings, self.completed, has_first_step)
            configure(self.tasks, self.slots, &self.spans[k], self.penalties, new_plan)
            if new_plan.holds:
                self.planned[k] = group_settings
        return 0

    cdef list point_to_gradients(self, grads):
        """Points the tasks to these gradients, or to the bound ones; returns the list that keeps them alive."""
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

    # -- Settings and state -------------------------------------------------------------------------------------------

    def set_settings(self, Py_ssize_t k, dict old, dict new):
        """Replace the settings of group k; False, with nothing changed, if `old` is not the present dict any more."""
        cdef tuple before = self.settings
        cdef tuple after = (*before[:k], new, *before[k + 1:])
        with cython.critical_section(self):
            if self.settings is not before or before[k] is not old:
                return False
            self.settings = after
        return True

    def clock(self, Py_ssize_t i):
        """The steps that tensor i has taken, its running products, and the lr and beta that z of FTRL is built on."""
        cdef const Slot* slot = &self.slots[i]
        return slot.steps, slot.powers.power1, slot.powers.power2, slot.built_on.lr, slot.built_on.beta

    def penalty(self, Py_ssize_t i, object p, double l21, ndarray copy=None):
        """The value of a penalty and a group lasso, with the factors of tensor i, at its weights or a copy of them."""
        cdef Task t = self.tasks[i]
        t.penalty = fill_penalty(&t.p, p)
        if copy is not None:
            if not (is_plain(copy) and is_alike(self.weights[i], copy, t.dtype)):
                raise errors.bad_pair(self.weights[i], copy, f"params[{self.names[i]}]", "copy")
            t.w = PyArray_DATA(copy)
        t.l21 = l21
        return penalty(&t)

    def read(self, function):
        """Call a function while no step commits, and return its result."""
        self.section.lock(False)
        try:
            return function()
        finally:
            self.section.unlock()

    def write(self, str method, prepare):
        """Call `prepare`, and restore what it returns; RuntimeError if another call that writes is under way."""
        self.section.begin(method)
        try:
            settings, completed, skipped, clocks, states = prepare()
            self.restore(settings, completed, skipped, clocks, states)
        finally:
            self.section.end()

    cdef int restore(self, tuple settings, long long completed, long long skipped, list clocks, list states) except -1:
        """Restore the settings of the groups, the counters, and the clock and the state of each tensor.

        `states` are arrays that nothing else refers to, or None if the state is not to change. The caller has checked
        everything, except what can change at any time: whether the present arrays are still valid and writable.
        """
        cdef Py_ssize_t i, count = 0
        # kept until everything is replaced: releasing an object may run code
        cdef tuple _before = (self.settings, self.planned)
        cdef list planned = [None]*self.groups
        cdef ndarray current, saved
        cdef Counters* counters = NULL
        cdef Copy* copies = NULL
        try:
            counters = <Counters*>allocate(self.count, sizeof(Counters))
            copies = <Copy*>allocate(3*self.count, sizeof(Copy))
            for i in range(self.count):
                steps, power1, power2, lr, beta = clocks[i]
                counters[i] = Counters(steps, Powers(power1, power2, False), FTRL(lr, beta))
                for current, saved in zip(self.states[i], states[i] if states is not None else ()):
                    if not (is_target(current) and is_plain(saved) and is_alike(current, saved, dtype_of(current))):
                        raise errors.bad_pair(current, saved, f"state[{self.names[i]!r}]", "saved")
                    copies[count] = Copy(PyArray_DATA(current), PyArray_DATA(saved), PyArray_NBYTES(current))
                    count += 1
            self.section.lock(True)
            for i in range(count):
                memcpy(copies[i].to, copies[i].source, copies[i].size)
            for i in range(self.count):
                self.slots[i].steps, self.slots[i].powers = counters[i].steps, counters[i].powers
                self.slots[i].built_on, self.slots[i].is_direction_set = counters[i].built_on, False
            self.completed, self.skipped, self.settings, self.planned = completed, skipped, settings, planned
            self.section.unlock()
        finally:
            PyMem_Free(counters)
            PyMem_Free(copies)
        return 0

    def replace(self, optimizer, dict attributes):
        """Replace all attributes of the optimizer that has these tensors; among them are its new tensors."""
        self.section.begin("__init__")
        try:
            optimizer.__dict__ = attributes
        finally:
            self.section.end()

    def seal(self):
        """To be pickled after the arrays: see section.pyx."""
        return self.section.seal()
