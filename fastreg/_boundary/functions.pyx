"""Layer 4, the functions: updates, values of the penalties, and clipping. Everything is checked before the first write.

The update functions take their arguments by METH_FASTCALL, not by `def`: under the stable ABI of Python 3.11, a `def`
of Cython packs them into a tuple and a dict, which doubles the time of a call (Call in benchmarks/suite/updates.py).
Docstrings and signatures come from reference/: functions.py, value_functions.py.
"""
from cpython.object cimport PyCFunction, PyObject
from cpython.tuple cimport PyTuple_Size
from libc.math cimport INFINITY, sqrt
from libc.string cimport memset
from numpy cimport import_array, ndarray, PyArray_DATA, PyArray_NBYTES, PyArray_SIZE

from fastreg._boundary.checks cimport (
    address, as_array, as_arrays, as_double, check, dtype_of, GIL_FREE, is_alike, is_plain, is_pair, is_target, kernels,
    set_groups,
)
from fastreg._boundary.codes cimport fill_penalty, mode_code, mode_name
from fastreg._boundary.parallel cimport penalty as penalty_in_threads, scale, update as update_in_threads
from fastreg._kernels.table cimport (
    BFLOAT16, ELASTIC_NET, FLOAT32, FLOAT64, MCP_PENALTY, PLAIN, PROXIMAL, Task, TRUNCATED,
)
from fastreg.structs cimport ElasticNet, MCP

from inspect import signature
from sys import intern

from fastreg import reference
from fastreg._boundary import errors

cdef extern from "Python.h":
    PyObject* PyTuple_GetItem(object t, Py_ssize_t i)  # borrowed; Cython's own declaration takes a new reference

import_array()


# -- Arguments --------------------------------------------------------------------------------------------------------

cdef Py_ssize_t position(PyObject* x, tuple names) noexcept:
    """The index of the object x in `names`, by identity, or -1."""
    cdef Py_ssize_t i
    for i in range(PyTuple_Size(names)):
        if PyTuple_GetItem(names, i) == x:
            return i
    return -1


cdef enum:  # the parameters of all update functions, in the order of NAMES
    W, GRAD, LR, L1, L2, GAMMA, MODE, THETA, L21, GROUP_AXIS, PARAMETERS

cdef tuple NAMES = tuple(map(intern, ("w", "grad", "lr", "l1", "l2", "gamma", "mode", "theta", "l21", "group_axis")))

cdef struct Signature:
    int required  # how many parameters, from the first, have no default; only these may be positional
    int accepted
    int[PARAMETERS] order


cdef bint bind(const Signature* s, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames,
               PyObject** given) except -1:
    """Sorts the arguments of a call into `given`, by parameter; False if they do not match the signature."""
    cdef Py_ssize_t i, k, parameter
    for i in range(PARAMETERS):
        given[i] = NULL
    if nargs > s.required:
        return False
    for i in range(nargs):
        given[s.order[i]] = args[i]
    for i in range(PyTuple_Size(<object>kwnames) if kwnames != NULL else 0):
        keyword = PyTuple_GetItem(<object>kwnames, i)
        parameter = position(keyword, NAMES)
        if parameter < 0:
            parameter = NAMES.index(<object>keyword) if <object>keyword in NAMES else -1
        if parameter < 0 or given[parameter] != NULL:
            return False
        given[parameter] = args[nargs + i]
        for k in range(s.accepted):
            if s.order[k] == parameter:
                break
        else:
            return False
    for k in range(s.required):
        if given[s.order[k]] == NULL:
            return False
    return True


# -- Updates ----------------------------------------------------------------------------------------------------------

cdef object update(const Signature* s, str name, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames):
    cdef (PyObject*)[PARAMETERS] given
    if not bind(s, args, nargs, kwnames, given):
        values = [<object>args[i] for i in range(nargs + (len(<tuple>kwnames) if kwnames != NULL else 0))]
        keywords = dict(zip(<tuple>kwnames, values[nargs:])) if kwnames != NULL else {}
        raise errors.bad_call(getattr(reference, name), values[:nargs], keywords)

    # First everything that may run Python code of the caller, which could change the arrays; then all checks of them.
    cdef ndarray w = as_array(<object>given[W], "w")
    cdef ndarray g = as_array(<object>given[GRAD], "grad")
    cdef Task t
    cdef double l1 = 0, l2 = 0, gamma = INFINITY
    cdef object axis = None
    memset(&t, 0, sizeof(t))
    t.direction = PLAIN
    t.d.plain.lr = as_double(<object>given[LR], "lr")
    t.theta = INFINITY
    if given[L1] != NULL:
        l1 = as_double(<object>given[L1], "l1")
    if given[L2] != NULL:
        l2 = as_double(<object>given[L2], "l2")
    if given[GAMMA] != NULL:
        gamma = as_double(<object>given[GAMMA], "gamma")
    if given[MODE] != NULL:
        t.mode = mode_code(<object>given[MODE])
    if given[THETA] != NULL:
        t.theta = as_double(<object>given[THETA], "theta")
    if given[L21] != NULL:
        t.mode, t.l21 = PROXIMAL, as_double(<object>given[L21], "l21")
        axis = errors.as_axis(<object>given[GROUP_AXIS])

    if not is_pair(w, g):
        raise errors.bad_pair(w, g)
    t.dtype, t.n, t.w, t.g = dtype_of(w), PyArray_SIZE(w), PyArray_DATA(w), PyArray_DATA(g)
    cdef bint single = t.dtype != FLOAT64
    check(t.d.plain.lr, "lr", single)
    check(l1, "l1", single)
    check(l2, "l2", single)
    check(t.theta, "theta", single, False)
    if t.theta != INFINITY and t.mode != TRUNCATED:
        raise errors.bad_theta(t.theta, mode_name(t.mode))
    if gamma != INFINITY:
        check_gamma(gamma, single)
        if mode_name(t.mode) not in reference.MODES_OF["MCP"]:
            raise errors.bad_gamma(gamma, f"mode={mode_name(t.mode)!r}")
    if given[L21] != NULL:
        check(t.l21, "l21", single)
        set_groups(&t, w, axis, "w")
    set_penalty(&t, l1, l2, gamma)
    if t.n < GIL_FREE:
        kernels.update(&t, 1)
    else:
        update_in_threads(&t, 1, t.n, None)


cdef int check_gamma(double gamma, bint single) except -1:
    check(gamma, "gamma", single, False)
    if gamma == 0:
        raise errors.bad_gamma(gamma)
    return 0


cdef inline void set_penalty(Task* t, double l1, double l2, double gamma) noexcept:
    if gamma == INFINITY:
        t.penalty, t.p.elastic_net = ELASTIC_NET, ElasticNet(l1, l2)
    else:
        t.penalty, t.p.mcp = MCP_PENALTY, MCP(l1, l2, gamma)


cdef Signature L1_UPDATE = Signature(4, 7, [W, GRAD, LR, L1, GAMMA, MODE, THETA, 0, 0, 0])
cdef Signature L2_UPDATE = Signature(4, 5, [W, GRAD, LR, L2, MODE, 0, 0, 0, 0, 0])
cdef Signature ELASTIC_NET_UPDATE = Signature(5, 8, [W, GRAD, LR, L1, L2, GAMMA, MODE, THETA, 0, 0])
cdef Signature GROUP_UPDATE = Signature(7, 7, [W, GRAD, LR, L1, L2, L21, GROUP_AXIS, 0, 0, 0])


cdef object call_l1_update(PyObject* _, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames):
    return update(&L1_UPDATE, "l1_update", args, nargs, kwnames)


cdef object call_l2_update(PyObject* _, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames):
    return update(&L2_UPDATE, "l2_update", args, nargs, kwnames)


cdef object call_elastic_net_update(PyObject* _, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames):
    return update(&ELASTIC_NET_UPDATE, "elastic_net_update", args, nargs, kwnames)


cdef object call_group_update(PyObject* _, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames):
    return update(&GROUP_UPDATE, "group_update", args, nargs, kwnames)


cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        const char* ml_name
        PyCFunction ml_meth
        int ml_flags
        const char* ml_doc
    int METH_FASTCALL
    int METH_KEYWORDS
    object PyCFunction_NewEx(PyMethodDef* definition, PyObject* self, object module)


cdef PyMethodDef[4] definitions
cdef list texts = []  # keeps alive the bytes that the definitions point to


cdef object builtin(int i, str name, void* call):
    """A built-in function with the signature and the docstring of the function of the same name in the reference."""
    function = getattr(reference, name)
    text_signature = str(signature(function)).replace("=inf", "=1e999")  # inspect.signature cannot parse inf
    text = f"{name}{text_signature}\n--\n\n{function.__doc__}".encode()
    texts.extend([name.encode(), text])
    definitions[i] = PyMethodDef(texts[-2], <PyCFunction>call, METH_FASTCALL | METH_KEYWORDS, text)
    return PyCFunction_NewEx(&definitions[i], NULL, "fastreg")


l1_update = builtin(0, "l1_update", <void*>call_l1_update)
l2_update = builtin(1, "l2_update", <void*>call_l2_update)
elastic_net_update = builtin(2, "elastic_net_update", <void*>call_elastic_net_update)
group_update = builtin(3, "group_update", <void*>call_group_update)


# -- Values of the penalties ------------------------------------------------------------------------------------------

cdef double penalty(object weights, double l1, double l2, double gamma) except? -1:
    cdef ndarray w = as_array(weights, "w")
    cdef Task t
    memset(&t, 0, sizeof(t))
    check(l1, "l1", False)
    check(l2, "l2", False)
    check_gamma(gamma, False)
    set_penalty(&t, l1, l2, gamma)
    return value_at(&t, w, None)


def penalty_value(ndarray w, penalty, ndarray factors=None):
    """The value of a penalty, as a tuple of the reference, with factors like w."""
    cdef Task t
    memset(&t, 0, sizeof(t))
    t.penalty = fill_penalty(&t.p, penalty)
    return value_at(&t, w, factors)


cdef double value_at(Task* t, ndarray w, ndarray factors) except? -1:
    """The value of a task's penalty at these weights, after a check of both arrays."""
    if not is_plain(w):
        raise errors.bad_array(w, "w")
    t.dtype, t.n, t.w = dtype_of(w), PyArray_SIZE(w), PyArray_DATA(w)
    if factors is not None:
        if not (is_plain(factors) and is_alike(w, factors, FLOAT32 if t.dtype == BFLOAT16 else t.dtype)):
            raise errors.bad_pair(w, factors, "w", "factors")
        t.f = PyArray_DATA(factors)
    return penalty_in_threads(t)


def l1_penalty(w, l1, *, gamma=float("inf")):
    return penalty(w, as_double(l1, "l1"), 0, as_double(gamma, "gamma"))


def l2_penalty(w, l2):
    return penalty(w, 0, as_double(l2, "l2"), INFINITY)


def elastic_net_penalty(w, l1, l2, *, gamma=float("inf")):
    return penalty(w, as_double(l1, "l1"), as_double(l2, "l2"), as_double(gamma, "gamma"))


def group_penalty(w, l1, l2, l21, group_axis):
    cdef double s1 = as_double(l1, "l1"), s2 = as_double(l2, "l2"), s21 = as_double(l21, "l21")
    cdef object axis = errors.as_axis(group_axis)
    cdef ndarray a = as_array(w, "w")
    cdef Task t
    check(s1, "l1", False)
    check(s2, "l2", False)
    check(s21, "l21", False)
    if not is_plain(a):
        raise errors.bad_array(a, "w")
    memset(&t, 0, sizeof(t))
    set_penalty(&t, s1, s2, INFINITY)
    set_groups(&t, a, axis, "w")
    t.dtype, t.n, t.w, t.l21 = dtype_of(a), PyArray_SIZE(a), PyArray_DATA(a), s21
    return penalty_in_threads(&t)


for function in (l1_penalty, l2_penalty, elastic_net_penalty, group_penalty):
    function.__doc__ = getattr(reference, function.__name__).__doc__
    function.__module__ = "fastreg"


# -- Clipping ---------------------------------------------------------------------------------------------------------

cdef double squared_norm(ndarray g) except? -1:
    """The sum of squares, computed as the penalty l2/2·‖g‖² with l2 = 2."""
    cdef Task t
    memset(&t, 0, sizeof(t))
    t.penalty, t.p.elastic_net = ELASTIC_NET, ElasticNet(0, 2)
    t.dtype, t.n, t.w = dtype_of(g), PyArray_SIZE(g), PyArray_DATA(g)
    return penalty_in_threads(&t)


def clip_grad_norm(list names, list grads, double max_norm):
    """Scales the gradients in place and returns their global norm; all are checked before the first write."""
    cdef ndarray g
    cdef double total = 0, norm, coefficient
    cdef Py_ssize_t i
    cdef list arrays = as_arrays(grads, names)
    cdef list addresses = []
    for i in range(len(arrays)):
        addresses.append((address(arrays[i]), i))
    end = 0
    for start, i in sorted(addresses):
        g = arrays[i]
        if not is_target(g):
            raise errors.bad_array(g, f"grads[{names[i]}]", writable=True)
        if PyArray_SIZE(g) == 0:
            continue
        if start < end:
            raise errors.bad_overlap(f"grads[{names[i]}]", "another gradient")
        end = start + PyArray_NBYTES(g)
    for g in arrays:
        total += squared_norm(g)
    norm = sqrt(total)
    coefficient = reference.clip_coefficient(norm, max_norm)
    if coefficient == 1:
        return norm  # nothing to scale, so skip the pass over the gradients
    interrupt = None
    for g in arrays:
        try:
            scale(dtype_of(g), PyArray_DATA(g), PyArray_SIZE(g), coefficient)  # completed even if it raises
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
    return norm
