"""Shared by all benchmarks: cases with the array size of a memory level, and ratios from interleaved rounds.

Repeated steps do not change the weights much, pages are faulted in, and each peer is compared with the reference before
it is timed. fastreg_bench is fastreg/bench of this checkout.
"""

import sys

import numpy as np
from fastreg_bench import cases, machine, measure, peers

DTYPES = ["float32", "float64"]
IN_CACHE = ["L1", "L2", "L3"]
IMPLEMENTATIONS = list(peers.PEERS)
UNCHECKED = ("fastreg", "reference")  # the tests check these
LR, STRENGTH = cases.LR, cases.STRENGTH


def arrays(size, dtype):
    """Weights and a gradient."""
    return tuple(cases.workload(cases.Case.named("l1-subgradient"), size, dtype).values())


def at_level(case, dtype, level, implementations):
    """The arrays of a case with the size of a memory level; in DRAM, memory also has room for the implementations."""
    held = peers.footprint(case, implementations) if level == "DRAM" else len(case.arrays)
    size, why = machine.bytes_at(level, held)
    if why:
        print(f"{case.name} in {dtype}: {why}", file=sys.stderr)
    return cases.workload(case, max(1, size // np.dtype(dtype).itemsize), dtype)


def prepared(name, case, dtype, arrays):
    """The statement of an implementation, after its check. asv skips a benchmark that raises NotImplementedError."""
    if name not in UNCHECKED:
        peers.check(name, case, dtype)
    return peers.prepare(name, case, arrays)


def ratio(first, second, budget=0.3):
    """The time of the first statement divided by that of the second: the median over interleaved rounds."""
    series = measure.time_interleaved({"first": first, "second": second}, budget, min_rounds=5, max_rounds=15)
    return measure.ratio(series["first"], series["second"]).median


def statement(text, **names):
    """Any other statement."""
    return peers.Prepared(text, names, lambda: None)
