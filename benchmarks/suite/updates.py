"""Dense updates: every rule of the registry, by implementation, dtype and memory level; call overhead; penalties."""

import numpy as np
from fastreg_bench import cases, measure

import fastreg
from fastreg._registry import PENALTIES, RULES

from .workload import (
    DTYPES,
    IMPLEMENTATIONS,
    IN_CACHE,
    LR,
    STRENGTH,
    arrays,
    at_level,
    peers,
    prepared,
    ratio,
    statement,
)

CASES = {name: cases.Case.named(name) for name in RULES}  # a rule without a benchmark raises ValueError


class Dense:
    """One update, on arrays that fit L1, L2 and L3."""

    params = [list(CASES), IMPLEMENTATIONS, DTYPES, IN_CACHE]
    param_names = ["rule", "implementation", "dtype", "level"]
    rounds, repeat, warmup_time, sample_time, timeout = 1, (3, 7, 0.3), 0.02, 0.005, 120

    def setup(self, rule, implementation, dtype, level):
        case = CASES[rule]
        self.step = peers.function(
            prepared(implementation, case, dtype, at_level(case, dtype, level, [implementation]))
        )

    def time_update(self, rule, implementation, dtype, level):
        self.step()


class DenseInDram(Dense):
    """The same with arrays that are four times the last cache each. Slow if that is hundreds of megabytes."""

    params = [list(CASES), IMPLEMENTATIONS, DTYPES, ["DRAM"]]
    number, repeat, warmup_time, timeout = 1, (2, 4, 3.0), 0, 600


class InDram:
    """The time of fastreg divided by that of the memory floors and of the C loop of the same rule, in DRAM."""

    params = [list(CASES), ["axpy", "C traffic", "C loop"], DTYPES]
    param_names = ["rule", "over", "dtype"]
    unit = "times"
    timeout = 600

    def track_ratio(self, rule, over, dtype):
        case = CASES[rule]
        inputs = at_level(case, dtype, "DRAM", ["fastreg", over])
        return ratio(prepared("fastreg", case, dtype, inputs), prepared(over, case, dtype, inputs), budget=10)


class RatioToAxpy:
    """The time of an update divided by that of BLAS axpy on the same arrays, which has the same memory traffic."""

    params = [list(CASES), DTYPES, [10, 1_000, 10_000, 100_000, 1_000_000, 10_000_000]]
    param_names = ["rule", "dtype", "size"]
    unit = "times axpy"

    def track_ratio(self, rule, dtype, size):
        case = CASES[rule]
        inputs = cases.workload(case, size, dtype)
        return ratio(prepared("fastreg", case, dtype, inputs), prepared("axpy", case, dtype, inputs))


class RatioOfExpression:
    """The time of the textbook rule as a NumPy expression, divided by that of fastreg on the same arrays."""

    params = [[10, 1_000, 10_000, 100_000, 1_000_000, 10_000_000]]
    param_names = ["size"]
    unit = "times fastreg"

    def track_ratio(self, size):
        case = CASES["elastic_net-subgradient"]
        inputs = cases.workload(case, size, "float64")
        return ratio(prepared("NumPy", case, "float64", inputs), prepared("fastreg", case, "float64", inputs))


class Bandwidth:
    """The memory traffic of an update (w and g read, w written) divided by its time."""

    params = [list(CASES), DTYPES, [*IN_CACHE, "DRAM"]]
    param_names = ["rule", "dtype", "level"]
    unit = "GB/s"
    timeout = 300

    def track_bandwidth(self, rule, dtype, level):
        case = CASES[rule]
        inputs = at_level(case, dtype, level, ["fastreg"])
        statements = {"fastreg": prepared("fastreg", case, dtype, inputs)}
        series = measure.time_interleaved(statements, 0.2, max_rounds=9)["fastreg"]
        return 3 * inputs["w"].nbytes / np.median(series.seconds) / 1e9


class BFloat16:
    """The time with bfloat16 divided by that with float32: half the memory traffic, but conversions."""

    params = [list(CASES), [*IN_CACHE, "DRAM"]]
    param_names = ["rule", "level"]
    unit = "times float32"
    timeout = 600

    def track_ratio(self, rule, level):
        case = CASES[rule]
        wide = at_level(case, "float32", level, ["fastreg"])
        try:
            from ml_dtypes import bfloat16

            narrow = {name: x.astype(bfloat16) for name, x in wide.items()}
            stored = prepared("fastreg", case, "float32", narrow)
            peers.function(stored)()
        except (ImportError, TypeError) as error:
            raise NotImplementedError(f"no bfloat16: {error}") from error
        return ratio(stored, prepared("fastreg", case, "float32", wide), budget=1)


class Call:
    """Call overhead: an update of 10 elements divided by np.add on the same arrays."""

    params = [["positional", "keyword"]]
    param_names = ["call"]
    unit = "times np.add"

    def track_ratio(self, call):
        w, g = arrays(10, "float64")
        g *= LR
        names = {"f": fastreg.elastic_net_update, "np": np, "w": w, "g": g}
        mode = ', mode="proximal"' if call == "keyword" else ""
        update = statement(f"f(w, g, {LR}, {STRENGTH}, {STRENGTH}{mode})", **names)
        return ratio(update, statement("np.add(w, g, out=w)", **names))


class Penalty:
    """The value of a penalty."""

    params = [list(PENALTIES), ["fastreg", "reference"], DTYPES, [1_000, 1_000_000]]
    param_names = ["penalty", "implementation", "dtype", "size"]

    def setup(self, penalty, implementation, dtype, size):
        module = fastreg if implementation == "fastreg" else fastreg.reference
        self.penalty = getattr(module, f"{penalty}_penalty")
        self.args = (arrays(size, dtype)[0], *([STRENGTH] * len(PENALTIES[penalty])))

    def time_penalty(self, penalty, implementation, dtype, size):
        self.penalty(*self.args)
