"""Prints the name of the chosen instruction set and a hash of the bits of all rules and directions.

test_dispatch_variants.py runs it once for each instruction set, since the choice is made at import.
"""

import hashlib
import warnings

import numpy as np
from cases import (
    PENALTIES,
    RULES,
    SIZES,
    STORED,
    STRENGTHS,
    arithmetic,
    bits,
    numbers,
    special_values,
    update,
    values,
)
from optimizer_cases import COMBINATIONS, Twin, make

import fastreg
from fastreg._boundary import dispatch

warnings.simplefilter("ignore", fastreg.NoExactZerosWarning)  # for subprocesses in which warnings are errors
warnings.simplefilter("ignore", fastreg.NoGradientWarning)


def trained(implementation, name, mode, w, g, factor):
    """The weights and the state after three steps of an optimizer, or of its twin."""
    options = {"l1": 0.7 * (factor is None), "l2": 0.3}
    if implementation is fastreg:
        w = w.copy()
        trainer = make(name, w, mode=mode, penalty_factor=factor, **options)
    else:
        trainer = Twin(name, w, mode, factor=factor, **options)
        w = trainer.w
    for _ in range(3):
        trainer.step(g)
    return [w, *(trainer.state["0"].values() if implementation is fastreg else trainer.state)]


def digest(implementation):
    """The hash of all results of `implementation`, the package or its reference."""
    result = hashlib.sha256()
    for dtype in STORED:
        for w, g in [special_values(dtype), *(values(dtype, size) for size in SIZES)]:
            for rule in RULES:
                for strengths in STRENGTHS.values():
                    x = w.copy()
                    update(implementation, rule, x, g, strengths)
                    result.update(bits(x))
            for name, mode in COMBINATIONS:
                for factor in (None, np.full_like(w, 0.7, arithmetic(dtype))):
                    for array in trained(implementation, name, mode, w, g, factor):
                        result.update(bits(array))
        for size in (*SIZES, 15, 16, 17, 4095, 4096, 4097):
            w, _ = values(dtype, size)
            for name in PENALTIES:
                result.update(getattr(implementation, name)(w, *numbers(name, 0.3)).hex().encode())
    return result.hexdigest()


if __name__ == "__main__":
    print(dispatch.name, digest(fastreg))
