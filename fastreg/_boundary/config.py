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
    threads, usable = _threads.get_num_threads(), _threads.available()
    origin = f"set by {_threads.origin()}" if _threads.origin() else f"the default; {_threads.VARIABLE} is not used"
    disabled = sorted(dispatch.disabled())
    return {
        "fastreg": fastreg.__version__ + warning_of_namesake(),
        "Python": sys.version.split()[0],
        "NumPy": np.__version__,
        "compiler": dispatch.module.compiler,
        "flags": dispatch.module.flags,
        "instruction sets available": ", ".join(dispatch.available()),
        "instruction set chosen": dispatch.name,
        "threads": f"{threads} ({origin}) of {usable} usable",
        "disabled": f"{', '.join(disabled)} (by {dispatch.VARIABLE})" if disabled else "none",
    }


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
