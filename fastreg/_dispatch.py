"""Layer 4, choice of the instruction set: the best variant of the kernels that was built, can run and is not disabled.

A variant's module is imported only after the processor and the operating system were asked, since its first instruction
may already be one that an older processor lacks. The choice is made once, at import.
"""

import os
import re
import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from fastreg import _cpu

VARIABLE = "FASTREG_DISABLE_CPU_FEATURES"
BASELINE = "baseline"
VARIANTS = {"AVX2": "fastreg._kernels_avx2", BASELINE: "fastreg._kernels_baseline"}  # the best first


@cache
def disabled():
    """The features that the environment variable names, separated by commas or spaces."""
    names = set(re.split(r"[,\s]+", os.environ.get(VARIABLE, "").upper())) - {""}
    unknown = sorted(names - VARIANTS.keys())
    if unknown:
        known = ", ".join(name for name in VARIANTS if name != BASELINE)
        warnings.warn(f"{VARIABLE}: expected any of {known}, got {', '.join(unknown)}", RuntimeWarning, stacklevel=2)
    return names


def available():
    """The variants that were built and that this machine can run, the best first."""
    usable = _cpu.features() | {BASELINE}
    return [name for name, module in VARIANTS.items() if name in usable and find_spec(module)]


def choose():
    """The name and the module of the variant to use."""
    unwanted = disabled() - {BASELINE}
    name = next(name for name in available() if name not in unwanted)
    return name, import_module(VARIANTS[name])


name, module = choose()
