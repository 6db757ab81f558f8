"""Layer 4, the choice of the instruction set: the best variant that was built, is supported here and is not disabled.

A variant is imported only if the processor and the operating system support it, since an older processor may lack even
its first instruction. The choice is made once, at import.
"""

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from fastreg._boundary import cpu
from fastreg._boundary.environment import read, warn
from fastreg._kernels.variants import BASELINE, VARIANTS

VARIABLE = "FASTREG_DISABLE_CPU_FEATURES"
MODULES = {variant.name: f"fastreg._kernels.{variant.module}" for variant in VARIANTS}  # the best variant first


@cache
def disabled():
    """The instruction sets that the environment variable disables, separated by commas or spaces."""
    names = set(re.split(r"[,\s]+", read(VARIABLE).upper())) - {""}
    known = MODULES.keys() - {BASELINE.name}
    if names - known:
        warn(VARIABLE, f"any of {', '.join(sorted(known))}", ", ".join(sorted(names - known)))
    return names & known


def available():
    """The variants that were built and that this machine supports, the best first."""
    usable = cpu.features() | {BASELINE.name}
    return [name for name, module in MODULES.items() if name in usable and find_spec(module)]


def choose():
    """The name and the module of the variant to use."""
    name = next(name for name in available() if name not in disabled())
    return name, import_module(MODULES[name])


name, module = choose()
