"""The operations of optimizers that injection.py disturbs."""

import copy
import io
import pickle
from functools import partial
from types import SimpleNamespace

import numpy as np
from injection_cases import Operation, arrays, falling, load, plain
from ml_dtypes import bfloat16

import fastreg


def optimizer(kind, steps=2, dtype=np.float64, seed=1, shapes=((7,), (3, 2)), **options):
    """An optimizer after some steps, with the gradients of the next step."""
    made = kind(arrays(seed, dtype, shapes), options.pop("lr", 0.1), **options)
    for i in range(steps):
        made.step(arrays([seed, i], dtype, shapes))
    return SimpleNamespace(it=made, grads=arrays([seed, 99], dtype, shapes), others=arrays(8), more={})


def look_at_optimizer(s):
    o = s.it
    groups = [{key: x for key, x in group.items() if key != "params"} for group in o.param_groups]
    seen = [o.params, o.state, o.state_dict(), groups, o.completed, o.skipped, o.on_nonfinite, o.threads]
    return plain([*seen, o.penalty("tensor"), o.zeros("tensor"), s.grads, s.more])


def go_on_with_optimizer(s):
    grads = [np.full_like(w, 0.3) for w in s.it.params]
    s.it.step(grads)
    s.it.param_groups[0]["lr"] = 0.2
    s.it.step(grads)


def go_on_bound(s):
    s.it.step()
    go_on_with_optimizer(s)


def bound(**options):
    s = optimizer(**options)
    s.it.bind(s.grads)
    return s


def bind_others(s):
    s.it.bind(s.others)


def with_infinity(policy):
    s = optimizer(fastreg.SGD, momentum=0.9, on_nonfinite=policy)
    s.grads[1][1, 1] = np.inf
    return s


def groups():
    """Two groups, one of them with a schedule, and a tensor without a gradient."""
    w = arrays(2, shapes=((5,), (4,), (2, 3)))
    made = fastreg.Adam([{"params": w[:2], "lr": falling, "l1": 0.01}, {"params": w[2:], "betas": (0.5, 0.9)}], l2=0.1)
    made.step([[w[0] + 1, None], [w[2] - 1]])
    return SimpleNamespace(it=made, grads=[[w[0] - 1, w[1] + 1], [None]], more={})


def look_at_groups(s):
    o = s.it
    seen = [o.params, o.state, o.state_dict(), [dict(group.items()) for group in o.param_groups]]
    return plain([*seen, o.completed, o.skipped])


def go_on_with_groups(s):
    s.it.step(s.grads)
    s.it.param_groups[0]["lr"] = 0.2
    s.it.step(s.grads)


def saved_beside(kind, stored=False, **options):
    """An optimizer, and the state of another one that made more steps with other settings."""
    s, other = optimizer(kind, **options), optimizer(kind, 5, seed=1, **options | {"lr": 0.7, "l1": 0.02})
    s.saved = other.it.state_dict()
    if stored:
        file = io.BytesIO()
        np.savez(file, **s.saved)
        s.stored = file.getvalue()
    return s


def load_file(s):
    s.it.load_state_dict(np.load(io.BytesIO(s.stored)))


def update_group(s):
    s.it.param_groups[0].update(lr=0.3, l1=0.05, mode="decoupled", betas=(0.8, 0.95))


def set_l21(s):
    s.it.param_groups[0].update(l21=falling, l1=0.0)


def schedule_group(s):
    s.it.param_groups[0].update({"lr": falling, "l2": 0.2})


def construct_again(s):
    s.it.__init__(s.others[:1], falling, l1=0.03)


def step(s):
    s.it.step(s.grads)


def step_bound(s):
    s.it.step()


def deepcopy(s):
    s.more = copies(copy.deepcopy(s.it))


def through_pickle(s):
    s.more = copies(pickle.loads(pickle.dumps(s.it)))


def clip(s):
    fastreg.clip_grad_norm(s.grads, 0.1)


def copies(x):
    return {"params": x.params, "state": x.state_dict()}


def large(bind=False, **options):
    """Tensors that are large enough for two threads."""
    w = [np.zeros((1 << 10, 1 << 10), np.float32), np.zeros((1 << 19, 1), np.float32)]
    grads = [np.linspace(-1, 1, x.size, dtype=np.float32).reshape(x.shape) for x in w]
    made = fastreg.SGD(w, falling, momentum=0.9, threads=2, **options)
    if bind:
        made.bind(grads)
    return SimpleNamespace(it=made, grads=grads, more={})


def look_at_large(s):
    return plain([s.it.params, s.it.state, s.it.completed, s.grads, s.it.state_dict()["tensor.0.steps"]])


GROUPS = {"l21": 0.3, "group_axis": [None, -1], "penalty_factor": [np.full(7, 0.5), np.array([[2.0, 0.5]] * 3)]}


def dense_operations():
    look, go_on = look_at_optimizer, go_on_with_optimizer
    kinds = {
        "SGD": {"kind": fastreg.SGD},
        "momentum": {"kind": fastreg.SGD, "momentum": 0.9, "l1": 0.01},
        "Adam": {"kind": fastreg.Adam, "l1": 0.01, "l2": 0.1},
        "scheduled AMSGrad": {"kind": fastreg.Adam, "amsgrad": True, "lr": falling, "l1": falling},
        "FTRL of bfloat16": {"kind": fastreg.FTRL, "dtype": bfloat16, "l1": 0.01},
        "groups of SGD": {"kind": fastreg.SGD, "momentum": 0.9, **GROUPS},
        "groups of Adam": {"kind": fastreg.Adam, "l1": 0.01, "l2": falling, **GROUPS},
        "groups of FTRL": {"kind": fastreg.FTRL, "l1": 0.01, "bounds": (0, np.inf), **GROUPS},
        "scheduled FTRL": {"kind": fastreg.FTRL, "lr": falling, "l1": 0.01},
        "groups of scheduled FTRL": {"kind": fastreg.FTRL, "lr": falling, **GROUPS},
        "groups of bfloat16": {"kind": fastreg.Adagrad, "dtype": bfloat16, "mode": "proximal", **GROUPS},
        "MCP": {"kind": fastreg.Adam, "l1": 0.1, "gamma": 2.0},
    }
    for name, options in kinds.items():
        yield f"step: {name}", Operation(partial(optimizer, **options), step, look, go_on)
        yield f"step, bound: {name}", Operation(partial(bound, **options), step_bound, look, go_on_bound)
    for policy in ("raise", "skip"):
        finite = partial(optimizer, fastreg.Adam, on_nonfinite=policy)
        yield f"step: on_nonfinite={policy}", Operation(finite, step, look, go_on)
    yield "step: skipped", Operation(partial(with_infinity, "skip"), step, look, go_on)
    yield "step: groups", Operation(groups, step, look_at_groups, go_on_with_groups)
    adam = partial(optimizer, fastreg.Adam)
    yield "bind", Operation(adam, lambda s: s.it.bind(s.grads), look, go_on)
    rebind = Operation(partial(bound, kind=fastreg.Adam), bind_others, look, go_on_bound)
    yield "bind: others", rebind
    yield "load_state_dict: momentum", Operation(partial(saved_beside, fastreg.SGD, momentum=0.9), load, look, go_on)
    yield "load_state_dict: Adam", Operation(partial(saved_beside, fastreg.Adam), load, look, go_on)
    yield "load_state_dict: FTRL", Operation(partial(saved_beside, fastreg.FTRL), load, look, go_on)
    yield "load_state_dict: file", Operation(partial(saved_beside, fastreg.Adam, stored=True), load_file, look, go_on)
    grouped = partial(optimizer, fastreg.Adam, **GROUPS)
    saved = partial(saved_beside, fastreg.Adam, **GROUPS)
    yield "load_state_dict: groups", Operation(saved, load, look, go_on)
    yield "load_state_dict: MCP", Operation(partial(saved_beside, fastreg.SGD, gamma=2.0), load, look, go_on)
    yield "settings: l21", Operation(grouped, set_l21, look, go_on)
    yield "deepcopy: groups", Operation(grouped, deepcopy, look, go_on)
    yield "pickle: groups", Operation(grouped, through_pickle, look, go_on)
    yield "report: groups", Operation(grouped, lambda s: s.it.report(), look, go_on)
    yield "settings", Operation(adam, update_group, look, go_on)
    yield "settings: a schedule", Operation(adam, schedule_group, look, go_on)
    yield "__init__", Operation(adam, construct_again, look, go_on)
    yield "__init__: bound", Operation(partial(bound, kind=fastreg.Adam), construct_again, look, go_on)
    yield "deepcopy: Adam", Operation(adam, deepcopy, look, go_on)
    yield "pickle: Adam", Operation(adam, through_pickle, look, go_on)
    yield "clip_grad_norm", Operation(adam, clip, look, go_on)
    yield "step: large", Operation(large, step, look_at_large, go_on)
    for axis in (0, 1):
        grouped = partial(large, l21=0.5, group_axis=axis)
        yield f"step: groups along {axis}, large", Operation(grouped, step, look_at_large, go_on)
    yield "step, bound: large", Operation(partial(large, True), step_bound, look_at_large, go_on_bound)
    yield (
        "clip_grad_norm: large",
        Operation(large, clip, look_at_large, go_on),
    )
