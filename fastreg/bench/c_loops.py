"""The rules as plain C loops, compiled at run time with the system's compiler and called through ctypes.

The loops use restrict, the compiler flags of this package and -march=native. They do not do what fastreg does in
addition: check arguments, choose an instruction set at run time, and give the same bits on every machine.
"""

import atexit
import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

FLAGS = ["-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]

HEAD = """
#include <stddef.h>
#include <stdint.h>
#include <tgmath.h>
typedef {number} T;
typedef {bits} Bits;
static inline T sign(T x) {{ return x != 0 ? copysign((T)1, x) : (T)0; }}
static inline T soft(T x, T t) {{ T c = x < t ? x : t; c = -t < c ? c : -t; return x - c; }}
static inline T maximum(T x, T y) {{ return x > y ? x : y; }}
struct arguments {{ ptrdiff_t n; void *w, *g, *a, *b, *c; double numbers[16]; }};
"""

LOOP = """
void loop(const struct arguments *p)
{
    const ptrdiff_t n = p->n;
    %(constants)s
    %(pointers)s
    for (ptrdiff_t i = 0; i < n; i++) {
        %(body)s
    }
}
"""


class Arguments(ctypes.Structure):
    """struct arguments."""

    _fields_ = [
        ("n", ctypes.c_ssize_t),
        *((name, ctypes.c_void_p) for name in "wgabc"),
        ("numbers", ctypes.c_double * 16),
    ]


def arguments(arrays, numbers):
    """The struct for arrays and numbers, with a pointer to it; it keeps the arrays alive."""
    struct = Arguments(arrays["w"].size, *(x.ctypes.data for x in arrays.values()))
    for i, x in enumerate(numbers.values()):
        struct.numbers[i] = float(x)
    struct.arrays, struct.pointer = arrays, ctypes.byref(struct)
    return struct


def rule(case, dtype):
    """The compiled loop of a rule; None if there is no compiler."""
    lines, numbers = case.resolved(dtype, 0.1)
    constants = [f"const T {name} = (T)p->numbers[{i}];" for i, name in enumerate(numbers)]
    pointers = [f"{'const ' * (x == 'g')}T *restrict {x.upper()} = p->{x};" for x in case.arrays]
    body = [f"T {x} = {x.upper()}[i];" for x in case.arrays]
    body += [f"{'' if x in case.arrays else 'const T '}{x} = {expression};" for x, expression in lines]
    body += [f"{x.upper()}[i] = {x};" for x in case.arrays if x != "g"]
    return build(HEAD.format(**types(dtype)) + fill(constants, pointers, body))


def traffic(case, dtype):
    """A loop that reads and writes the same memory as the rule, without arithmetic: it stores the bits that it loads.

    The mask is zero, but the compiler cannot know this.
    """
    pointers = [f"{'const ' * (x == 'g')}Bits *restrict {x.upper()} = p->{x};" for x in case.arrays]
    body = ["const Bits g = G[i] & mask;", *(f"{x.upper()}[i] ^= g;" for x in case.arrays if x != "g")]
    return build(HEAD.format(**types(dtype)) + fill(["const Bits mask = (Bits)p->numbers[0];"], pointers, body))


def fill(constants, pointers, body):
    """The source of a loop."""
    join = "\n    ".join
    return LOOP % {"constants": join(constants), "pointers": join(pointers), "body": "\n        ".join(body)}


def types(dtype):
    """The C types of a dtype."""
    return {"float32": {"number": "float", "bits": "uint32_t"}, "float64": {"number": "double", "bits": "uint64_t"}}[
        np.dtype(dtype).name
    ]


# -- The compiler -----------------------------------------------------------------------------------------------------


@cache
def compiler():
    """The command of the C compiler: CC, the one that built this Python, or cc; None if there is none."""
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]) and Path(words[0]).stem != "cl":
            return words
    return None


@cache
def compiler_version():
    """The name and version of the compiler; None if there is no compiler."""
    if compiler() is None:
        return None
    text = subprocess.run([*compiler()[:1], "--version"], capture_output=True, text=True).stdout
    version = re.search(r"\d+\.\d+(\.\d+)?", text)
    return f"{Path(compiler()[0]).name} {version[0] if version else 'of unknown version'}"


@cache
def build(source):
    """The compiled function `loop` of a C source; None if there is no compiler."""
    if compiler() is None:
        return None
    folder = scratch()
    path = folder / f"loop{len(list(folder.iterdir()))}.c"
    path.write_text(source)
    library = path.with_suffix(".so")
    done = subprocess.run(
        [*compiler(), str(path), *FLAGS, "-shared", "-fPIC", "-o", str(library), "-lm"], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(done.args)} failed:\n{done.stderr}")
    loop = ctypes.CDLL(str(library)).loop
    loop.restype, loop.argtypes = None, None  # byref arguments are passed without conversion
    return loop


@cache
def scratch():
    """A temporary folder that is deleted at exit."""
    folder = tempfile.mkdtemp(prefix="fastreg-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
