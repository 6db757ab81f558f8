"""The peers from Python libraries: NumPy, numexpr, numba, jax and torch.

They work on the same arrays as fastreg, with one exception: jax has copies, because only its own arrays can be donated,
that is, updated in place. torch uses tensors that share NumPy's memory. No conversion is timed. Strengths and learning
rates are arguments and not constants, as in a training loop with a schedule. Adam's bias corrections are constant, so
the times of peers do not include them.
"""

from functools import cache

import numpy as np

from . import codegen
from .cases import ARRAYS, STRENGTH
from .contract import Peers, Prepared, Skip

PEERS = Peers()


@PEERS.add("NumPy", temporaries=5)
def prepare_expression(case, arrays, lr):
    """Expressions, as most users write them: NumPy allocates the temporaries."""
    return prepare_source(codegen.expressions, {"np": np}, case, arrays, lr)


@PEERS.add("NumPy out=", temporaries=5)
def prepare_out(case, arrays, lr):
    """Optimised NumPy code: ufuncs that write into preallocated temporaries."""
    w = arrays["w"]
    source, count = codegen.ufuncs(case)
    buffers = {f"t{i}": np.zeros_like(w) for i in range(count)}
    return prepare_source(lambda case: source, {"np": np, **buffers}, case, arrays, lr)


def prepare_source(translate, scope, case, arrays, lr):
    """A Python function that computes the rule; arrays and numbers are its globals."""
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    scope = {**scope, **arrays, **numbers}
    exec(translate(case), scope)
    return Prepared("f()", {"f": scope["update"]}, lambda: arrays["w"])


@PEERS.add("numexpr", "numexpr")
def prepare_numexpr(case, arrays, lr):
    """One compiled expression for each array that changes."""
    import numexpr

    if tuple(map(int, numexpr.__version__.split(".")[:2])) < (2, 13):
        raise Skip("numexpr 2.13 or later is required")
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    numbers["one"] = arrays["w"].dtype.type(1)
    values = {**arrays, **{name: np.asarray(x) for name, x in numbers.items()}}
    number = float if arrays["w"].dtype == np.float32 else np.float64  # in numexpr, float means float32
    names, lines = {}, []
    for i, (target, expression, used) in enumerate(codegen.numexprs(case, arrays["w"].dtype)):
        names[f"f{i}"] = numexpr.NumExpr(expression, [(name, number) for name in used])
        names |= {name: values[name] for name in (*used, target)}
        lines.append(f"f{i}({', '.join(used)}, out={target}, ex_uses_vml=False)")
    return Prepared("; ".join(lines), names, lambda: arrays["w"])


@PEERS.add("numba", "numba")
def prepare_numba(case, arrays, lr):
    """A loop over scalars, compiled without fastmath, so that results equal those of the reference."""
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    names = [*arrays, *numbers]
    return Prepared(f"f({', '.join(names)})", {"f": numba_function(case), **arrays, **numbers}, lambda: arrays["w"])


@cache
def numba_function(case):
    """The compiled function of a case, for both dtypes."""
    import numba

    scope = {"np": np}
    for name in ("sign", "soft", "maximum"):
        exec(codegen.SCALARS[name], scope)
        scope[name] = numba.njit(scope[name])
    scope["sqrt"] = np.sqrt
    exec(codegen.scalar_loop(case), scope)
    return numba.njit(error_model="numpy")(scope["update"])


@PEERS.add("jax", "jax", temporaries=5)
def prepare_jax(case, arrays, lr):
    """A jitted function; all arrays except the gradient are donated, and each step waits for its result."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # each step waits, so a queue is useless
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    g, *donated = (jax.numpy.array(arrays[name]) for name in ("g", *(n for n in arrays if n != "g")))
    numbers = {name: jax.numpy.asarray(x) for name, x in numbers.items()}
    names = {"f": jax_function(case), "donated": donated, "g": g, **numbers}
    statement = f"donated[:] = f(donated, g, {', '.join(numbers)}); donated[0].block_until_ready()"
    return Prepared(statement, names, lambda: np.asarray(donated[0]))


@cache
def jax_function(case):
    """The jitted function of a case: takes a list of arrays and returns a list of new arrays."""
    import jax

    scope = {"np": jax.numpy}
    exec(codegen.functional(case), scope)
    return jax.jit(scope["update"], donate_argnums=0)


@PEERS.add("torch.compile", "torch")
def prepare_compiled(case, arrays, lr):
    """An in-place function, compiled by Inductor for dynamic sizes."""
    import torch

    _, numbers = case.resolved(arrays["w"].dtype, lr)
    tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
    tensors |= {name: torch.tensor(x) for name, x in numbers.items()}
    return Prepared(f"f({', '.join(tensors)})", {"f": torch_function(case), **tensors}, lambda: arrays["w"])


@cache
def torch_function(case):
    """The compiled function of a case."""
    import torch

    scope = {"np": torch}
    exec(codegen.in_place(case), scope)
    return torch.compile(scope["update"], dynamic=True)


@PEERS.add("torch", "torch")
def prepare_torch(case, arrays, lr):
    """torch.optim, fused if possible. It has L2 only: weight decay in the gradient, or decoupled in AdamW."""
    import torch

    kind, settings = TORCH.get((case.direction, case.mode), (None, None))
    if case.penalty != "l2" or kind is None:
        raise Skip("torch.optim has no such rule")
    tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
    w = torch.nn.Parameter(tensors["w"])
    w.grad = tensors["g"]
    fused = {} if kind == "RMSprop" else {"fused": True}
    optimizer = getattr(torch.optim, kind)([w], lr=lr, weight_decay=STRENGTH, **settings, **fused)
    state = {name: tensors[array] for name, array in zip(TORCH_STATE[case.direction], ARRAYS[2:])}
    if case.direction not in ("Plain", "Momentum", "Nesterov"):
        state["step"] = torch.tensor(0.0)
    optimizer.state[w] = state
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
