"""What every benchmark works on: cases at a level of the memory, and ratios of statements that take turns.

Weights stay where they are however often a step is repeated, pages are faulted in, and a peer is compared with the
reference before it is timed (fastreg_bench, which is fastreg/bench of this checkout).
"""

import sys

import numpy as np
from fastreg_bench import cases, machine, measure, peers

DTYPES = ["float32", "float64"]
IN_CACHE = ["L1", "L2", "L3"]
IMPLEMENTATIONS = list(peers.PEERS)
UNCHECKED = ("fastreg", "reference")  # what the tests check
LR, STRENGTH = cases.LR, cases.STRENGTH


def arrays(size, dtype):
    """Weights and a gradient."""
    return tuple(cases.workload(cases.Case.named("l1-subgradient"), size, dtype).values())


def at_level(case, dtype, level, implementations):
    """The case's arrays, of the size that lives at a level, where memory has room for the implementations as well."""
    held = peers.footprint(case, implementations) if level == "DRAM" else len(case.arrays)
    size, why = machine.bytes_at(level, held)
    if why:
        print(f"{case.name} in {dtype}: {why}", file=sys.stderr)
    return cases.workload(case, max(1, size // np.dtype(dtype).itemsize), dtype)


def prepared(name, case, dtype, arrays):
    """The statement of an implementation that has passed its check; asv skips what raises NotImplementedError."""
    if name not in UNCHECKED:
        peers.check(name, case, dtype)
    return peers.prepare(name, case, arrays)


def ratio(first, second, budget=0.3):
    """The median over rounds of one statement's time over another's, the two in turn."""
    series = measure.in_turn({"first": first, "second": second}, budget, fewest=5, most=15)
    return measure.ratio(series["first"], series["second"]).median


def statement(text, **names):
    """A statement of one's own."""
    return peers.Prepared(text, names, lambda: None)
