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


def lazy(kind, steps=2, seed=3, **options):
    """Lazy weights after some steps; most of them have a pending penalty."""
    w = arrays(seed, shapes=((ROWS,),))[0]
    made = kind(w, options.pop("lr", 0.1), **{"l1": 0.01, "l2": 0.1} | options)
    for i in range(steps):
        made.step(np.array([i, 5, 9]), np.array([1.0, -0.5, 2.0]))
    return SimpleNamespace(it=made, other=np.linspace(-1, 1, 50), more={})


def look_at_lazy(s):
    o = s.it
    seen = [o.w, o.weights(), o.weights(INDICES), o.state, o.state_dict(), o.lr, o.l1, o.l2, o.completed]
    return plain([*seen, o.penalty_factor, s.more])


def go_on_with_lazy(s):
    s.it.step(np.array([1, 3, 9]), np.array([0.4, -0.4, 0.2]))
    s.it.l2 = 0.3
    s.it.step_csr(VALUES, INDICES, INDPTR)
    s.more = s.more | {"weights": s.it.weights()}
    s.it.flush()


def saved_lazy(kind, **options):
    s, other = lazy(kind, **options), lazy(kind, 5, **options | {"lr": 0.2, "l1": 0.02})
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


LAZY = {
    "step": lambda s: s.it.step(INDICES, VALUES),
    "step_csr": lambda s: s.it.step_csr(VALUES, INDICES, INDPTR),
    "flush": lambda s: s.it.flush(),
    "weights": lambda s: s.it.weights(),
    "has_pending_penalty": lambda s: s.it.has_pending_penalty,
    "lr": set_lr,
    "l1, a schedule": set_l1,
    "__init__": construct_lazy_again,
    "deepcopy": copy_lazy,
    "pickle": pickle_lazy,
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
