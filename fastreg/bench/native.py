"""fastreg, its reference, C loops, and the floors that the memory sets."""

import numpy as np

from . import loops
from .cases import DIRECTIONS, PENALTIES, STRENGTH
from .contract import Peers, Prepared, Skip

PEERS = Peers()

# -- This package, and its reference ----------------------------------------------------------------------------------


def strengths(case):
    """The strengths that the case takes, by name."""
    return dict.fromkeys(PENALTIES[case.penalty], STRENGTH)


@PEERS.add("fastreg", "fastreg")
def prepare_fastreg(case, arrays, lr):
    """Stateless rules by the update function, the others by the optimizer with its gradient bound."""
    import fastreg

    w, g, *states = arrays.values()
    if case.direction == "Plain":
        update = getattr(fastreg, f"{case.penalty}_update")
        numbers = ", ".join(map(repr, (lr, *strengths(case).values())))
        return Prepared(f"f(w, g, {numbers}, mode={case.mode!r})", {"f": update, "w": w, "g": g}, lambda: w)
    try:
        from fastreg._registry import OPTIMIZERS
    except ImportError as error:
        raise Skip("this fastreg has no optimizers") from error
    kind, settings = OPTIMIZERS[case.direction]
    mode = {} if kind in ("Lion", "FTRL") else {"mode": case.mode}
    optimizer = getattr(fastreg, kind)(w, lr, **settings, **strengths(case), **mode)
    for own, start in zip(optimizer.state["0"].values(), states):
        own[...] = start
    optimizer.bind(g)
    return Prepared("step()", {"step": optimizer.step}, lambda: w)


@PEERS.add("reference", "fastreg", spare=8)
def prepare_reference(case, arrays, lr):
    """fastreg.reference: written for equal bits, not for speed."""
    from fastreg import reference

    w, g, *states = arrays.values()
    if case.direction == "Plain":
        update = getattr(reference, f"{case.penalty}_update")
        arguments = (w, g, lr, *strengths(case).values())
        return Prepared("f(*args, mode=mode)", {"f": update, "args": arguments, "mode": case.mode}, lambda: w)
    if not hasattr(reference, "DIRECTIONS"):
        raise Skip("this fastreg has no optimizers")
    given = {"lr": lr, **DIRECTIONS[case.direction].settings}
    if case.direction in ("Momentum", "Nesterov"):
        given |= {"take": 1.0, "eta": lr / (1 - given["momentum"])}
    kind = reference.DIRECTIONS[case.direction]
    direction = kind(**{name: given[name] for name in kind._fields})
    mode = reference.MODES[case.mode](*([float("inf")] if case.mode == "truncated" else []))
    own = strengths(case)
    penalty = reference.ElasticNet(own["l1"], own.get("l2", 0.0)) if "l1" in own else reference.Ridge(own["l2"])

    def update():
        w[...] = reference.step(direction, mode, penalty, w, g, *states)

    return Prepared("f()", {"f": update}, lambda: w)


# -- The floors: what the memory costs --------------------------------------------------------------------------------


@PEERS.add("axpy", "scipy", floor=True)
def prepare_axpy(case, arrays, lr):
    """BLAS axpy: reads w and g, writes w, for stateless rules; w + lr·g, whose result is checked as well."""
    from scipy.linalg.blas import daxpy, saxpy

    if case.direction != "Plain":
        raise Skip("axpy moves no state")
    axpy = daxpy if arrays["w"].dtype == np.float64 else saxpy
    return Prepared(f"f(g, w, a={lr!r})", {"f": axpy, **arrays}, lambda: arrays["w"])


@PEERS.add("C traffic", "compiler", floor=True)
def prepare_traffic(case, arrays, lr):
    """A C loop that reads and writes what the rule does and changes no bit."""
    return prepare_loop(loops.traffic(case, arrays["w"].dtype), arrays, {})


# -- The rule in C ----------------------------------------------------------------------------------------------------


@PEERS.add("C loop", "compiler")
def prepare_c(case, arrays, lr):
    """The rule as a C loop, compiled here for this very processor."""
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    return prepare_loop(loops.rule(case, arrays["w"].dtype), arrays, numbers)


def prepare_loop(loop, arrays, numbers):
    """A compiled loop over arrays: one pointer as its only argument, so that a call costs little."""
    if loop is None:
        raise Skip("no C compiler was found")
    arguments = loops.arguments(arrays, numbers)
    return Prepared("f(p)", {"f": loop, "p": arguments.pointer, "keep": arguments}, lambda: arrays["w"])
