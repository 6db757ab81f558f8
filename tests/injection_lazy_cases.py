"""The operations of lazy updates that injection.py disturbs."""

import copy
import pickle
from functools import partial
from types import SimpleNamespace

import numpy as np
from injection_cases import Operation, arrays, falling, load, plain

import fastreg

ROWS = 40
INDICES, VALUES = np.array([3, 8, 3, 39, 0]), np.array([1.0, -2.0, 0.5, 3.0, -1.0])
INDPTR = np.array([0, 2, 2, 5])


def lazy(kind, steps=2, seed=3, shape=(ROWS,), later=None, **options):
    """Lazy weights after some steps; most of them have a pending penalty. `later` are strengths to be set."""
    w = arrays(seed, shapes=(shape,))[0]
    made = kind(w, options.pop("lr", 0.1), **{"l1": 0.01, "l2": 0.1} | options)
    for i in range(steps):
        made.step(np.array([i, 5, 9]), like(w, np.array([1.0, -0.5, 2.0])))
    values = like(w, VALUES)
    return SimpleNamespace(it=made, values=values, later=later or {"l2": 0.3}, other=np.linspace(-1, 1, 50), more={})


def like(w, values):
    """The values as they are for a vector of weights, as different rows for a matrix."""
    return values if w.ndim == 1 else np.multiply.outer(values, np.linspace(1, 2, w.shape[1]))


def look_at_lazy(s):
    o = s.it
    seen = [o.w, o.weights(), o.weights(INDICES), o.state, o.state_dict(), o.lr, o.l1, o.l2, o.l21, o.completed]
    return plain([*seen, o.penalty_factor, o.bounds, s.more])


def go_on_with_lazy(s):
    s.it.step(np.array([1, 3, 9]), like(s.it.w, np.array([0.4, -0.4, 0.2])))
    if s.it.w.shape == s.other.shape:  # __init__ was called again, with l1
        s.it.l2 = 0.3
    else:
        for name, x in s.later.items():
            setattr(s.it, name, x)
    s.it.step_csr(like(s.it.w, VALUES), INDICES, INDPTR)
    s.more = s.more | {"weights": s.it.weights()}
    s.it.flush()


def saved_lazy(kind, **options):
    more = {"l21": 0.2} if options.get("l21") else {"l1": 0.02}
    s, other = lazy(kind, **options), lazy(kind, 5, **options | {"lr": 0.2} | more)
    s.saved = other.it.state_dict()
    return s


def construct_lazy_again(s):
    s.it.__init__(s.other, falling, l1=0.03)


def set_l1(s):
    s.it.l1 = falling


def copy_lazy(s):
    made = copy.deepcopy(s.it)
    s.more = {"w": made.w, "state": made.state_dict()}


def pickle_lazy(s):
    made = pickle.loads(pickle.dumps(s.it))
    s.more = {"w": made.w, "state": made.state_dict()}


def set_lr(s):
    s.it.lr = 0.05


def set_l21(s):
    s.it.l21 = falling


def clear_l21(s):
    s.it.l21 = 0.0


LAZY = {
    "step": lambda s: s.it.step(INDICES, s.values),
    "step_csr": lambda s: s.it.step_csr(s.values, INDICES, INDPTR),
    "flush": lambda s: s.it.flush(),
    "weights": lambda s: s.it.weights(),
    "has_pending_penalty": lambda s: s.it.has_pending_penalty,
    "lr": set_lr,
    "l1, a schedule": set_l1,
    "__init__": construct_lazy_again,
    "deepcopy": copy_lazy,
    "pickle": pickle_lazy,
}


ROW_GROUPS = {"shape": (ROWS, 3), "l1": 0.0, "l21": 0.1}
OTHERS = {  # operations with more penalties
    "LazySGD of rows": (fastreg.LazySGD, {**ROW_GROUPS, "bounds": (0.0, np.inf)}),
    "LazyFTRL of rows": (fastreg.LazyFTRL, {**ROW_GROUPS, "l1": 0.01, "penalty_factor": 2.0}),
    "LazySGD with MCP": (fastreg.LazySGD, {"l2": 0.0, "gamma": 2.0, "later": {"l1": 0.05}}),
    "LazyFTRL with MCP": (fastreg.LazyFTRL, {"gamma": 2.0}),
}


def lazy_operations():
    look, go_on = look_at_lazy, go_on_with_lazy
    for kind in (fastreg.LazySGD, fastreg.LazyAdagrad, fastreg.LazyFTRL):
        name = kind.__name__
        for what, act in LAZY.items():
            yield f"{name}: {what}", Operation(partial(lazy, kind), act, look, go_on)
        for what in ("step", "step_csr"):
            scheduled = partial(lazy, kind, lr=falling, l2=falling)
            yield f"{name}: {what}, scheduled", Operation(scheduled, LAZY[what], look, go_on)
        yield f"{name}: load_state_dict", Operation(partial(saved_lazy, kind), load, look, go_on)
    factor = np.tile([0.0, 1.0], ROWS // 2)
    weighted = partial(lazy, fastreg.LazySGD, mode="truncated", penalty_factor=factor)
    yield "LazySGD: step, truncated with factors", Operation(weighted, LAZY["step"], look, go_on)
    for name, (kind, options) in OTHERS.items():
        made = partial(lazy, kind, **options)
        for what in sorted(LAZY.keys() - {"l1, a schedule"}):
            yield f"{name}: {what}", Operation(made, LAZY[what], look, go_on)
        yield f"{name}: load_state_dict", Operation(partial(saved_lazy, kind, **options), load, look, go_on)
        if "l21" in options:
            yield f"{name}: l21, a schedule", Operation(made, set_l21, look, go_on)
            yield f"{name}: l21 = 0", Operation(made, clear_l21, look, go_on)
            scheduled = partial(made, lr=falling, l21=falling)
            yield f"{name}: step_csr, scheduled", Operation(scheduled, LAZY["step_csr"], look, go_on)
