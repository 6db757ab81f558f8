"""Prints, for the instruction set that was chosen, its name and a hash of the bits of every rule and penalty.

Run by test_dispatch.py, once per instruction set, since the choice is made at import.
"""

import hashlib

from cases import DTYPES, PENALTIES, RULES, SIZES, STRENGTHS, bits, special_values, update, values

import fastreg
from fastreg import _dispatch


def digest(implementation):
    """The hash of all results of `implementation`, the package or its reference."""
    result = hashlib.sha256()
    for dtype in DTYPES:
        for w, g in [special_values(dtype), *(values(dtype, size) for size in SIZES)]:
            for rule in RULES:
                for strengths in STRENGTHS.values():
                    x = w.copy()
                    update(implementation, rule, x, g, strengths)
                    result.update(bits(x))
        for size in (*SIZES, 15, 16, 17, 4095, 4096, 4097):
            w, _ = values(dtype, size)
            for name in PENALTIES:
                strengths = (0.1, 0.3)[: 1 + name.startswith("elastic")]
                result.update(getattr(implementation, name)(w, *strengths).hex().encode())
    return result.hexdigest()


if __name__ == "__main__":
    print(_dispatch.name, digest(fastreg))
