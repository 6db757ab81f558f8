"""Dense updates: every rule of the registry, NumPy reference against fastreg, by dtype and size; calls; penalties."""

import statistics
import time

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
        update, mode, w_g, values = rule.function(fastreg), rule.mode, arrays(size, dtype), strengths(rule)
        w, g = w_g
        axpy = {"float32": saxpy, "float64": daxpy}[dtype]
        return median_ratio(lambda: update(w, g, LR, *values, mode=mode), lambda: axpy(g, w, a=LR), size)


class Call:
    """The price of a call, on 10 elements, beside NumPy's cheapest call on the same arrays."""

    params = [["positional", "keyword", "np.add"]]
    param_names = ["call"]

    def setup(self, call):
        w, g = arrays(10, "float64")
        self.run = {
            "positional": lambda: fastreg.elastic_net_update(w, g, LR, STRENGTH, STRENGTH),
            "keyword": lambda: fastreg.elastic_net_update(w, g, LR, STRENGTH, STRENGTH, mode="proximal"),
            "np.add": lambda: np.add(w, g, out=w),
        }[call]
        if call == "np.add":
            g *= LR

    def time_call(self, call):
        self.run()


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
    """The median over rounds of first's time over second's, each repeated for about a millisecond."""
    repeats = max(1, 2_000_000 // (size + 1_000))
    return statistics.median(seconds(first, repeats) / seconds(second, repeats) for _ in range(rounds))


def seconds(call, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start
