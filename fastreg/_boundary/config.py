"""The configuration: how fastreg was built, what this machine can run, and what was chosen."""

import re
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

import fastreg
from fastreg._boundary import dispatch
from fastreg._boundary import threads as _threads


def config():
    """The configuration as a dict from heading to text."""
    _threads.available.cache_clear()  # the affinity of the process may have changed
    disabled = sorted(dispatch.disabled())
    return {
        "fastreg": fastreg.__version__ + warning_of_namesake(),
        "Python": sys.version.split()[0],
        "NumPy": np.__version__,
        "compiler": dispatch.module.compiler,
        "flags": dispatch.module.flags,
        "instruction sets available": ", ".join(dispatch.available()),
        "instruction set chosen": dispatch.name,
        "threads": describe_threads(_threads.get_num_threads(), _threads.origin(), _threads.available()),
        "disabled": f"{', '.join(disabled)} (by {dispatch.VARIABLE})" if disabled else "none",
    }


def describe_threads(number, origin, processors):
    """How many threads a large array uses: the number as it was set, but no more than there are processors."""
    source = f"set by {origin}" if origin else f"the default; {_threads.VARIABLE} or set_num_threads changes it"
    used, of = min(number, processors), f"this process may run on {processors} processor{'s' * (processors > 1)}"
    if used < number:
        return f"up to {used} ({number} {source}, but {of})"
    return f"up to {used} ({source}; {of})"


def warning_of_namesake():
    """A warning if the distribution `fastreg`, another project, has installed files into our folder; else empty."""
    home = Path(fastreg.__file__).parent
    for other in metadata.distributions(name="fastreg"):
        files = other.read_text("RECORD") or ""  # an editable installation has no such file
        if (
            re.search("^fastreg/", files, re.MULTILINE)
            and Path(other.locate_file("fastreg")).resolve() == home.resolve()
        ):
            return (
                f"; WARNING: the files of another project, the distribution fastreg {other.version}, are in the same"
                " folder: uninstall fastreg and fastreg-kernels, then install fastreg-kernels again"
            )
    return ""


def show_config():
    """Print version, compiler, flags, and the instruction sets that are available and chosen.

    The environment variable ``FASTREG_DISABLE_CPU_FEATURES`` lists instruction sets that fastreg must not use, for
    example ``AVX2``, separated by commas or spaces. It is read at import. Results have the same bits on all of them.

    Examples
    --------
    >>> import fastreg
    >>> fastreg.show_config()  # doctest: +ELLIPSIS
    fastreg ...
    instruction set chosen ...
    disabled ...
    """
    entries = config()
    width = max(map(len, entries))
    for heading, text in entries.items():
        print(f"{heading:<{width}}  {text}")
