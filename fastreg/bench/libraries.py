"""The peers that a user of Python can pick: NumPy, numexpr, numba, jax and torch.

What they work on: the same arrays as fastreg, but jax keeps its own (only those can be donated, that is, updated in
place), and torch sees NumPy's memory through tensors. No conversion is timed. Strengths and rates are arguments and no
constants, as in a training loop whose rate changes. Adam's bias corrections stand still, which spares peers their cost.
"""

from functools import cache

import numpy as np

from . import texts
from .cases import ARRAYS, STRENGTH
from .contract import Peers, Prepared, Skip

PEERS = Peers()


@PEERS.add("NumPy", spare=5)
def prepare_expression(case, arrays, lr):
    """What a user writes first: expressions, with their temporaries."""
    return prepare_text(texts.expressions, {"np": np}, case, arrays, lr)


@PEERS.add("NumPy out=", spare=5)
def prepare_out(case, arrays, lr):
    """What a careful user writes: ufuncs into temporaries that were allocated before."""
    w = arrays["w"]
    source, count = texts.ufuncs(case)
    buffers = {f"t{i}": np.zeros_like(w) for i in range(count)}
    return prepare_text(lambda case: source, {"np": np, **buffers}, case, arrays, lr)


def prepare_text(translate, scope, case, arrays, lr):
    """A Python function with the rule, over arrays and numbers that are its globals."""
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    scope = {**scope, **arrays, **numbers}
    exec(translate(case), scope)
    return Prepared("f()", {"f": scope["update"]}, lambda: arrays["w"])


@PEERS.add("numexpr", "numexpr")
def prepare_numexpr(case, arrays, lr):
    """One compiled expression for each array that changes."""
    import numexpr

    if tuple(map(int, numexpr.__version__.split(".")[:2])) < (2, 13):
        raise Skip("numexpr is older than 2.13, which has the functions")
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    numbers["one"] = arrays["w"].dtype.type(1)
    values = {**arrays, **{name: np.asarray(x) for name, x in numbers.items()}}
    kind = float if arrays["w"].dtype == np.float32 else np.float64  # numexpr's float is C's
    names, lines = {}, []
    for i, (target, expression, used) in enumerate(texts.numexprs(case, arrays["w"].dtype)):
        names[f"f{i}"] = numexpr.NumExpr(expression, [(name, kind) for name in used])
        names |= {name: values[name] for name in (*used, target)}
        lines.append(f"f{i}({', '.join(used)}, out={target}, ex_uses_vml=False)")
    return Prepared("; ".join(lines), names, lambda: arrays["w"])


@PEERS.add("numba", "numba")
def prepare_numba(case, arrays, lr):
    """A loop over scalars, compiled without fastmath: its results are those of the reference."""
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    names = [*arrays, *numbers]
    return Prepared(f"f({', '.join(names)})", {"f": jit(case), **arrays, **numbers}, lambda: arrays["w"])


@cache
def jit(case):
    """The compiled function of a case, for both dtypes."""
    import numba

    scope = {"np": np}
    for name in ("sign", "soft", "maximum"):
        exec(texts.SCALARS[name], scope)
        scope[name] = numba.njit(scope[name])
    scope["sqrt"] = np.sqrt
    exec(texts.scalar_loop(case), scope)
    return numba.njit(error_model="numpy")(scope["update"])


@PEERS.add("jax", "jax", spare=5)
def prepare_jax(case, arrays, lr):
    """A jitted function whose arrays but the gradient are donated; each step waits for its result."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # nothing is won by a queue of steps that wait
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    g, *donated = (jax.numpy.array(arrays[name]) for name in ("g", *(n for n in arrays if n != "g")))
    numbers = {name: jax.numpy.asarray(x) for name, x in numbers.items()}
    names = {"f": xla(case), "own": donated, "g": g, **numbers}
    statement = f"own[:] = f(own, g, {', '.join(numbers)}); own[0].block_until_ready()"
    return Prepared(statement, names, lambda: np.asarray(donated[0]))


@cache
def xla(case):
    """The jitted function of a case: from a list of arrays to a list of new ones in their place."""
    import jax

    scope = {"np": jax.numpy}
    exec(texts.functional(case), scope)
    return jax.jit(scope["update"], donate_argnums=0)


@PEERS.add("torch.compile", "torch")
def prepare_compiled(case, arrays, lr):
    """A function in place, compiled by Inductor for any size."""
    import torch

    _, numbers = case.resolved(arrays["w"].dtype, lr)
    tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
    tensors |= {name: torch.tensor(x) for name, x in numbers.items()}
    return Prepared(f"f({', '.join(tensors)})", {"f": inductor(case), **tensors}, lambda: arrays["w"])


@cache
def inductor(case):
    """The compiled function of a case."""
    import torch

    scope = {"np": torch}
    exec(texts.in_place(case), scope)
    return torch.compile(scope["update"], dynamic=True)


@PEERS.add("torch", "torch")
def prepare_torch(case, arrays, lr):
    """torch.optim, fused where it can be: weight decay is all that it has, in the gradient or, as AdamW, beside it."""
    import torch

    kind, settings = TORCH.get((case.direction, case.mode), (None, None))
    if case.penalty != "l2" or kind is None:
        raise Skip("torch.optim has no such rule")
    tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
    w = torch.nn.Parameter(tensors["w"])
    w.grad = tensors["g"]
    fused = {} if kind == "RMSprop" else {"fused": True}
    optimizer = getattr(torch.optim, kind)([w], lr=lr, weight_decay=STRENGTH, **settings, **fused)
    own = {name: tensors[array] for name, array in zip(TORCH_STATE[case.direction], ARRAYS[2:])}
    if case.direction not in ("Plain", "Momentum", "Nesterov"):
        own["step"] = torch.tensor(0.0)
    optimizer.state[w] = own
    return Prepared("step()", {"step": optimizer.step}, lambda: arrays["w"])


TORCH: dict[tuple[str, str], tuple[str, dict]] = {
    ("Plain", "subgradient"): ("SGD", {}),
    ("Momentum", "subgradient"): ("SGD", {"momentum": 0.9}),
    ("Nesterov", "subgradient"): ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", "subgradient"): ("Adagrad", {}),
    ("RMSprop", "subgradient"): ("RMSprop", {}),
    ("Adam", "subgradient"): ("Adam", {}),
    ("Adam", "decoupled"): ("AdamW", {}),
    ("AMSGrad", "subgradient"): ("Adam", {"amsgrad": True}),
    ("AMSGrad", "decoupled"): ("AdamW", {"amsgrad": True}),
}
TORCH_STATE = {
    "Plain": (),
    "Momentum": ("momentum_buffer",),
    "Nesterov": ("momentum_buffer",),
    "Adagrad": ("sum",),
    "RMSprop": ("square_avg",),
    "Adam": ("exp_avg", "exp_avg_sq"),
    "AMSGrad": ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
}
