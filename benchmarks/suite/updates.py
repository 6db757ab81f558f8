"""Dense updates: every rule of the registry, NumPy reference against fastreg, by dtype and size; calls; penalties."""

import statistics
from timeit import Timer

import numpy as np
from scipy.linalg.blas import daxpy, saxpy

import fastreg
from fastreg._registry import PENALTIES, RULES

from .workload import LR, STRENGTH, arrays, strengths

IMPLEMENTATIONS = {"fastreg": fastreg, "numpy": fastreg.reference}
DTYPES = ["float32", "float64"]


class Dense:
    """One update, over the sizes that fit L1, L2, L3 and none of them."""

    params = [list(RULES), list(IMPLEMENTATIONS), DTYPES, [1_000, 100_000, 1_000_000, 10_000_000]]
    param_names = ["rule", "implementation", "dtype", "size"]

    def setup(self, rule, implementation, dtype, size):
        rule = RULES[rule]
        self.update = rule.function(IMPLEMENTATIONS[implementation])
        self.args = (*arrays(size, dtype), LR, *strengths(rule))
        self.mode = rule.mode

    def time_update(self, rule, implementation, dtype, size):
        self.update(*self.args, mode=self.mode)


class RatioToAxpy:
    """The update's time over BLAS axpy's on the same arrays, the two in turn: the floor is the traffic of w and g."""

    params = [list(RULES), DTYPES, [10, 1_000, 10_000, 100_000, 1_000_000, 10_000_000]]
    param_names = ["rule", "dtype", "size"]
    unit = "times axpy"

    def track_ratio(self, rule, dtype, size):
        rule = RULES[rule]
        w, g = arrays(size, dtype)
        arguments = ", ".join(map(repr, strengths(rule)))
        update = Timer(
            f"f(w, g, {LR}, {arguments}, mode={rule.mode!r})", globals={"f": rule.function(fastreg), "w": w, "g": g}
        )
        axpy = Timer(f"f(g, w, a={LR})", globals={"f": {"float32": saxpy, "float64": daxpy}[dtype], "w": w, "g": g})
        return median_ratio(update, axpy, size)


class RatioOfExpression:
    """The textbook's rule as a NumPy expression, with its temporaries, over fastreg's time on the same arrays."""

    params = [[10, 1_000, 10_000, 100_000, 1_000_000, 10_000_000]]
    param_names = ["size"]
    unit = "times fastreg"

    def track_ratio(self, size):
        w, g = arrays(size, "float64")
        names = {"f": fastreg.elastic_net_update, "np": np, "w": w, "g": g, "lr": LR, "l1": STRENGTH, "l2": STRENGTH}
        expression = Timer("np.subtract(w, lr*(g + l1*np.sign(w) + l2*w), out=w)", globals=names)
        return median_ratio(expression, Timer("f(w, g, lr, l1, l2)", globals=names), size)


class Call:
    """The price of a call on 10 elements, over that of NumPy's cheapest on the same arrays, the two in turn."""

    params = [["positional", "keyword"]]
    param_names = ["call"]
    unit = "times np.add"

    def setup(self, call):
        w, g = arrays(10, "float64")
        names = {"f": fastreg.elastic_net_update, "np": np, "w": w, "g": g}
        g *= LR
        self.add = Timer("np.add(w, g, out=w)", globals=names)
        mode = ', mode="proximal"' if call == "keyword" else ""
        self.call = Timer(f"f(w, g, {LR}, {STRENGTH}, {STRENGTH}{mode})", globals=names)

    def track_ratio(self, call):
        return median_ratio(self.call, self.add, 10)


class Penalty:
    """The value of a penalty."""

    params = [list(PENALTIES), list(IMPLEMENTATIONS), DTYPES, [1_000, 1_000_000]]
    param_names = ["penalty", "implementation", "dtype", "size"]

    def setup(self, penalty, implementation, dtype, size):
        self.penalty = getattr(IMPLEMENTATIONS[implementation], f"{penalty}_penalty")
        self.args = (arrays(size, dtype)[0], *([STRENGTH] * len(PENALTIES[penalty])))

    def time_penalty(self, penalty, implementation, dtype, size):
        self.penalty(*self.args)


def median_ratio(first, second, size, rounds=15):
    """The median over rounds of one timer's time over another's, each repeated for about a millisecond."""
    repeats = max(1, 2_000_000 // (size + 1_000))
    return statistics.median(first.timeit(repeats) / second.timeit(repeats) for _ in range(rounds))
