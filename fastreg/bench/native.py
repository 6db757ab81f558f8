"""fastreg, its reference, C loops, and the memory floors."""

import numpy as np

from . import c_loops
from .cases import DIRECTIONS, PENALTIES, STRENGTH
from .contract import Peers, Prepared, Skip

PEERS = Peers()

# -- This package, and its reference ----------------------------------------------------------------------------------


def strengths(case):
    """The strengths of the case, by name."""
    return dict.fromkeys(PENALTIES[case.penalty], STRENGTH)


@PEERS.add("fastreg", "fastreg")
def prepare_fastreg(case, arrays, lr):
    """The update function for rules without state, else the optimizer with a bound gradient."""
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
    name, settings = OPTIMIZERS[case.direction]
    mode = {} if name in ("Lion", "FTRL") else {"mode": case.mode}
    optimizer = getattr(fastreg, name)(w, lr, **settings, **strengths(case), **mode)
    for array, start in zip(optimizer.state["0"].values(), states):
        array[...] = start
    optimizer.bind(g)
    return Prepared("step()", {"step": optimizer.step}, lambda: w)


@PEERS.add("reference", "fastreg", temporaries=8)
def prepare_reference(case, arrays, lr):
    """fastreg.reference, which is written for equal bits and not for speed."""
    from fastreg import reference

    w, g, *states = arrays.values()
    if case.direction == "Plain":
        update = getattr(reference, f"{case.penalty}_update")
        arguments = (w, g, lr, *strengths(case).values())
        return Prepared("f(*args, mode=mode)", {"f": update, "args": arguments, "mode": case.mode}, lambda: w)
    if not hasattr(reference, "DIRECTIONS"):
        raise Skip("this fastreg has no optimizers")
    # Numbers are passed by position, because older commits have other names for the fields.
    numbers = [lr, *DIRECTIONS[case.direction].settings.values()]
    if case.direction in ("Momentum", "Nesterov"):
        first_step = [1.0] if case.direction == "Momentum" else []  # 1 - dampening
        numbers += [*first_step, lr / (1 - numbers[-1])]
    direction = reference.DIRECTIONS[case.direction](*numbers)
    mode = reference.MODES[case.mode](*([float("inf")] if case.mode == "truncated" else []))
    given = strengths(case)
    l1, l2 = given.get("l1"), given.get("l2", 0.0)
    penalty = reference.Ridge(l2) if l1 is None else reference.ElasticNet(l1, l2)

    def update():
        w[...] = reference.step(direction, mode, penalty, w, g, *states)

    return Prepared("f()", {"f": update}, lambda: w)


# -- Memory floors ----------------------------------------------------------------------------------------------------


@PEERS.add("axpy", "scipy", floor=True)
def prepare_axpy(case, arrays, lr):
    """BLAS axpy, w + lr·g, for rules without state: it reads w and g and writes w. Its result is checked, too."""
    from scipy.linalg.blas import daxpy, saxpy

    if case.direction != "Plain":
        raise Skip("axpy has no state arrays")
    axpy = daxpy if arrays["w"].dtype == np.float64 else saxpy
    return Prepared(f"f(g, w, a={lr!r})", {"f": axpy, **arrays}, lambda: arrays["w"])


@PEERS.add("C traffic", "compiler", floor=True)
def prepare_traffic(case, arrays, lr):
    """A C loop that reads and writes the same memory as the rule and changes no bit."""
    return prepare_loop(c_loops.traffic(case, arrays["w"].dtype), arrays, {})


# -- The rule in C ----------------------------------------------------------------------------------------------------


@PEERS.add("C loop", "compiler")
def prepare_c(case, arrays, lr):
    """The rule as a C loop, compiled for this processor."""
    _, numbers = case.resolved(arrays["w"].dtype, lr)
    return prepare_loop(c_loops.rule(case, arrays["w"].dtype), arrays, numbers)


def prepare_loop(loop, arrays, numbers):
    """A compiled loop over arrays. Its only argument is a pointer, which keeps the call overhead small."""
    if loop is None:
        raise Skip("no C compiler found")
    arguments = c_loops.arguments(arrays, numbers)
    return Prepared("f(p)", {"f": loop, "p": arguments.pointer, "keep": arguments}, lambda: arrays["w"])
