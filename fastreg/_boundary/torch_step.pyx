"""Layer 4, the step of an optimizer of fastreg.torch: from param_groups and state to tasks, and to the kernels.

Nothing is kept from one step to the next but the settings and the order of the memory: share_memory_, set_, ZeRO and
FSDP move tensors, so that each step asks torch where they lie. That takes a few nanoseconds a tensor, by DLPack's C
exchange API (torch_memory.pxi). `numpy()` and `numpy.from_dlpack` were rejected: they take microseconds. The state is
walked with PyDict_Next, since the hash of a tensor is Python code.

A tensor that the kernels cannot use as it lies (a DTensor, a slice, a gradient in another order) comes back from
`prepare` (fastreg/torch/tensors.py) as a plain one, and is written back after the step.
"""
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport final
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from numpy cimport import_array, ndarray, PyArray_DATA

from fastreg._boundary.checks cimport GIL_FREE, kernels
from fastreg._boundary.codes cimport fill_direction, fill_penalty, mode_code
from fastreg._boundary.dlpack cimport (
    DL_BFLOAT, DL_CPU, DL_FLOAT, DLDataType, DLDevice, DLPACK_MAJOR_VERSION, DLPackExchangeAPI, DLTensor,
    DLTensorFromObject,
)
from fastreg._boundary.parallel cimport nonfinite, update
from fastreg._boundary.reanchor cimport reanchored_from
from fastreg._boundary.section cimport enter, FREE_THREADED, leave, Section
from fastreg._kernels.bfloat16 cimport bfloat16, from_bfloat16, to_bfloat16
from fastreg._kernels.slices cimport bytes_of
from fastreg._kernels.table cimport (
    AnyDirection, AnyPenalty, BFLOAT16, DECOUPLED, DirectionCode, DType, FLOAT32, FLOAT64, FTRL, FTRL_PROXIMAL,
    ModeCode, PenaltyCode, Powers, Task,
)

import numpy as np

from fastreg._boundary import errors, strided

cdef extern from "Python.h":
    int PyDict_Next(object d, Py_ssize_t* position, PyObject** key, PyObject** value)  # borrowed
    PyObject* PyDict_GetItemWithError(object d, object key) except? NULL  # borrowed
    void PyErr_Clear()

import_array()

include "overlap.pxi"
include "torch_memory.pxi"
include "torch_copies.pxi"
include "torch_tasks.pxi"
include "torch_state.pxi"


@final
cdef class Stepper:
    """The steps of one optimizer of fastreg.torch.

    Parameters
    ----------
    torch : module
        Passed, so that importing fastreg does not import it.
    """

    cdef Section section
    cdef object torch, tensor_type, parameter_type, is_neg
    cdef DLTensorFromObject from_object
    cdef Work work
    cdef list plans, values   # by group: its Plan, and the settings that it was made from, or None
    cdef object plan          # of the group that is being collected; and what each parameter needs of it:
    cdef tuple names          # of the tensors of state
    cdef bytes dtypes         # one DType for each
    cdef object factors, kinds, bounds
    cdef bint counts, is_built_on_lr, has_axes, was_kept  # whether the plan is that of an earlier step
    cdef list bumped, fresh, kept
    cdef list pieces          # of memory that shares no bytes: what the last step has written back
    cdef object next_key, next_value  # where the walk through the state is
    cdef Py_ssize_t position

    def __cinit__(self, torch):
        self.torch, self.tensor_type, self.parameter_type = torch, torch.Tensor, torch.nn.Parameter
        self.is_neg, self.from_object = torch.Tensor.is_neg, exchange_function(torch.Tensor)
        self.section, self.plans, self.values, self.pieces = Section(), [], [], []
        self.release()

    def __dealloc__(self):
        free_work(&self.work)

    cdef int release(self) except -1:
        self.work.count = self.work.size = self.work.decaying = self.work.copies.count = 0
        self.bumped, self.fresh, self.kept = [], [], []
        self.plan = self.next_key = self.next_value = None
        return 0

    def step(self, list param_groups, object state, tuple keys, make_plan, new_state, prepare, str on_nonfinite,
             threads=None):
        """One step of all parameters that have a gradient. False if it was left out, by on_nonfinite="skip".

        Parameters
        ----------
        keys : tuple of str
            The keys of a group on which its plan depends.
        make_plan : callable
            Takes the index of a group and the group, and returns a Plan (fastreg/torch/plans.py).
        new_state : callable
            Takes a parameter, its index in the group, the group, the plan and its present state or None, and returns
            the complete state.
        prepare : callable
            Takes the name of a parameter, its index in the group, the parameter, its gradient, its state and the plan,
            where the kernels cannot use them as they lie. Returns stand-ins: see fastreg/torch/tensors.py.
        """
        cdef Py_ssize_t i
        cdef bint locked, keeps_gil
        self.section.begin("step")
        try:
            try:
                self.collect(param_groups, state, keys, make_plan, new_state, prepare)
            except StalePlanError:
                self.release()
                self.collect(param_groups, state, keys, make_plan, new_state, prepare)
            if self.work.count == 0:
                return True
            self.check_overlap(param_groups)
            set_directions(&self.work, self.plans)
            point_decays(&self.work)
            keeps_gil = self.work.size < GIL_FREE
            negate_gradients(&self.work, keeps_gil)
            if on_nonfinite != "propagate":
                i = nonfinite(self.work.tasks, self.work.count, threads)
                if i >= 0 and on_nonfinite == "skip":
                    return False
                if i >= 0:
                    name = self.name_at(param_groups, i)
                    raise FloatingPointError(f"{name}.grad: expected finite numbers, got an infinity or a NaN")
            self.torch._C._increment_version(self.bumped)
            insert_states(state, self.fresh)
            locked = enter(self.section, True, keeps_gil)
            try:
                count_steps(&self.work)
                if self.work.decaying > 0:
                    update(self.work.decays, self.work.decaying, self.work.size, threads)
                if keeps_gil:
                    kernels.update(self.work.tasks, self.work.count)
                    write_all_back(&self.work.copies)
                else:
                    update(self.work.tasks, self.work.count, self.work.size, threads)
                    with nogil:
                        write_all_back(&self.work.copies)
            finally:
                leave(self.section, locked)
            return True
        finally:
            try:
                self.release()
            finally:
                self.section.end()

    # -- Collecting ---------------------------------------------------------------------------------------------------

    cdef int collect(self, list groups, object state, tuple keys, make_plan, new_state, prepare) except -1:
        cdef Py_ssize_t k, j, count = len(groups)  # groups that are added meanwhile wait for the next step
        cdef bint is_planned
        self.position = 0
        self.advance(state)
        reserve_groups(&self.work, count)
        self.plans += [None]*(count - len(self.plans))
        self.values += [None]*(count - len(self.values))
        for k in range(count):
            group = groups[k]
            is_planned = False
            for j, p in enumerate(group["params"]):
                g = p.grad
                if g is None:
                    if p is self.next_key:
                        self.advance(state)
                    continue
                if not is_planned:
                    self.make_plan(k, group, keys, make_plan)
                    is_planned = True
                self.add(groups, k, j, p, g, self.state_of(state, p), new_state, prepare)
        return 0

    cdef int advance(self, object state) except -1:
        """Goes to the next entry of the state."""
        cdef PyObject* key = NULL
        cdef PyObject* value = NULL
        if not FREE_THREADED and PyDict_Next(state, &self.position, &key, &value):
            self.next_key, self.next_value = <object>key, <object>value
        else:
            self.next_key = self.next_value = None
        return 0

    cdef object state_of(self, object state, object p):
        """The state of a parameter, or None. The state usually has the order of the parameters."""
        if p is not self.next_key:
            return item(state, p)
        own = self.next_value
        self.advance(state)
        return own

    cdef int make_plan(self, Py_ssize_t k, object group, tuple keys, make_plan) except -1:
        """Makes the plan of a group, unless it holds and the settings are the same objects as before."""
        cdef tuple before = self.values[k]
        cdef Py_ssize_t i, last = len(keys)
        cdef object params = group["params"]
        self.was_kept = before is not None and before[last] is params and before[last + 1] == len(params)
        if self.was_kept:
            for i in range(last):
                if item(group, keys[i]) is not before[i]:
                    self.was_kept = False
                    break
        self.plan = self.plans[k]
        if not self.was_kept:
            self.values[k] = None  # while the group is only partly configured
            values = (*[group.get(key) for key in keys], params, len(params))
            self.plan = make_plan(k, group)
            fill_span(&self.work.spans[k], self.plan)
            self.plans[k] = self.plan
            self.values[k] = values if self.plan.holds else None
        self.names, self.counts, self.is_built_on_lr = self.plan.names, self.plan.counts, self.plan.is_built_on_lr
        self.dtypes, self.factors, self.kinds = self.plan.dtypes, self.plan.factors, self.plan.kinds
        self.bounds, self.has_axes = self.plan.arrays_of_bounds, self.plan.axes is not None
        return 0

    cdef int add(self, list groups, Py_ssize_t k, Py_ssize_t j, p, g, own, new_state, prepare) except -1:
        """Adds the task of a parameter with a gradient."""
        cdef Entry* e = new_entry(&self.work)
        cdef bint is_complete = own is not None or not (self.names or self.counts)
        cdef list arrays = []
        cdef object steps = None, lr = None, beta = None
        cdef DLTensor first, second
        e.group, e.index, e.is_first = k, j, False
        e.steps = e.lr = e.beta = NULL
        if own is not None:
            for name in self.names:
                arrays.append(item(own, name))
                is_complete &= arrays[-1] is not None
            if self.counts:
                steps = item(own, "step")
                is_complete &= steps is not None
            if self.is_built_on_lr:
                lr, beta = item(own, "built_on_lr"), item(own, "built_on_beta")
                is_complete &= lr is not None and beta is not None
        if not is_complete:
            e.is_first = all([x is None for x in arrays])
            own = new_state(p, j, groups[k], self.plan, own)
            self.fresh.append((p, own))
            arrays, steps = [own[name] for name in self.names], own.get("step")
            lr, beta = own.get("built_on_lr"), own.get("built_on_beta")
        factor = self.factors[j] if self.factors is not None else None
        if not self.fill(e, p, g, arrays, factor):
            parameter = self.name(groups, k, j)
            w, g, arrays, copies = prepare(parameter, j, p, g, dict(zip(self.names, arrays)), self.plan)
            if not self.fill(e, w, g, arrays, factor):
                self.check_plan()
                raise errors.bad_torch_memory(parameter, w, g, arrays, factor)
            for target, source in copies:
                self.add_copy(parameter, target, source)
            self.bumped += [w, *[target for target, source in copies if source is w]]
        self.bumped.append(p)
        if self.counts and not (self.read(steps, &first) and point_to_steps(e, &first)):
            raise errors.bad_step_count(steps, f"state[{self.name(groups, k, j)}]['step']")
        if self.dtypes[j] != <int>self.work.tasks[self.work.count - 1].dtype:
            self.check_plan()
        set_penalty(&self.work, e, &self.work.spans[k], self.plan, self.kinds,
                    self.name(groups, k, j) if self.has_axes else "")
        if self.bounds is not None and self.bounds[j] is not None:
            self.point_to_bounds(e, self.bounds[j])
        if self.is_built_on_lr and not (
                self.read(lr, &first) and self.read(beta, &second) and point_to_rate(e, &first, &second)):
            raise errors.bad_rate(lr, beta, f"state[{self.name(groups, k, j)}]")
        return 0

    cdef int check_plan(self) except -1:
        """StalePlanError if the plan was made for other parameters: `p.data = ...` changes shape and dtype."""
        if self.was_kept:
            self.values = [None]*len(self.values)  # other groups may have changed, too
            raise StalePlanError
        return 0

    cdef str name(self, list groups, Py_ssize_t k, Py_ssize_t j):
        return errors.parameter_name(groups[k], k, j)

    cdef str name_at(self, list groups, Py_ssize_t i):
        return self.name(groups, self.work.entries[i].group, self.work.entries[i].index)

    cdef bint read(self, object x, DLTensor* out) except -1:
        """Whether torch says where a tensor lies, and whether the kernels can read it there."""
        if not (type(x) is self.parameter_type or type(x) is self.tensor_type):
            return False
        self.kept.append(x)
        if self.from_object == NULL:
            self.kept.append(describe(x, out))
        elif self.from_object(<PyObject*>x, out) != 0:
            PyErr_Clear()  # such as torch's for sparse layouts: `prepare` finds out what is wrong
            return False
        return is_usable(out)

    cdef bint fill(self, Entry* e, object w, object g, list arrays, object factor) except -1:
        """Points the task to a parameter, its gradient and its state; False if they are not plain and alike."""
        cdef DLTensor other
        cdef DType computed
        cdef Task* t = &self.work.tasks[self.work.count - 1]
        cdef Py_ssize_t i
        cdef (void*)[4] memory
        memory[0] = memory[1] = memory[2] = memory[3] = NULL
        if not (self.read(w, &e.w) and is_dense(&e.w) and self.read(g, &other) and is_same_layout(&e.w, &other)
                and torch_dtype(&other) == torch_dtype(&e.w)) or self.is_neg(g) or self.is_neg(w):
            return False
        t.dtype, t.n, t.w, t.g = torch_dtype(&e.w), size_of(&e.w), memory_of(&e.w), memory_of(&other)
        computed = FLOAT32 if t.dtype == BFLOAT16 else t.dtype
        for i in range(len(arrays) + (factor is not None)):
            x = arrays[i] if i < len(arrays) else factor
            if not (self.read(x, &other) and torch_dtype(&other) == computed and is_same_layout(&e.w, &other)
                    and not self.is_neg(x)):
                return False
            memory[i if i < len(arrays) else 3] = memory_of(&other)
        t.a, t.b, t.c, t.f = memory[0], memory[1], memory[2], memory[3]
        if t.n == 0:  # NULL would leave out the tensor
            t.g = <void*>&self.work
        return True

    cdef int point_to_bounds(self, Entry* e, tuple pair) except -1:
        cdef DLTensor x, y
        cdef Task* t = &self.work.tasks[self.work.count - 1]
        self.read(pair[0], &x)
        self.read(pair[1], &y)
        if not (is_same_layout(&e.w, &x) and is_same_layout(&e.w, &y)):
            raise errors.bad_torch_memory("bounds", *pair)
        t.low, t.high, t.bound_step = memory_of(&x), memory_of(&y), 1
        return 0

    cdef int add_copy(self, str name, object target, object source) except -1:
        """Adds a tensor that is written back after the step."""
        cdef Copy* c = new_copy(&self.work.copies)
        c.index, c.is_negated = self.work.count - 1, self.is_neg(target)
        if not (self.read(target, &c.target) and self.read(source, &c.source) and c.target.ndim <= MAX_DIMS):
            raise errors.bad_torch_memory(name, target, source)
        return 0

    cdef int check_overlap(self, list groups) except -1:
        cdef Py_ssize_t other = -1, i = find_overlap(&self.work, &other)
        if i >= 0:
            raise errors.bad_overlap(self.name_at(groups, min(i, other)), self.name_at(groups, max(i, other)))
        if self.work.copies.count > 0:
            pieces = pieces_of(&self.work.copies, &self.work.sorted)
            shared = strided.find_shared(pieces) if pieces != self.pieces else None
            if shared is not None:
                raise errors.bad_overlap(*[self.name_at(groups, i) for i in sorted(shared)])
            self.pieces = pieces
        return 0
