"""Compiler flags of the environment, such as -ffast-math in CFLAGS, change no result: the build drops or refuses them.

A copy of the sources is built by its own setup.py. A small module with single operations stands in for the kernels.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig

import pytest
from cases import SOURCE, python

from fastreg._kernels import variants

COMPILER = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
HOSTILE = (
    "-Ofast -ffast-math -funsafe-math-optimizations -fassociative-math -freciprocal-math -ffinite-math-only "
    "-fno-signed-zeros -fcx-limited-range -fno-trapping-math -ffp-contract=fast -fsingle-precision-constant -O0"
)
needs_compiler = pytest.mark.skipif(
    sys.platform == "win32" or not (SOURCE / "setup.py").exists() or not shutil.which(COMPILER.split()[0]),
    reason="no source tree, or no compiler that takes the flags of gcc",
)

PROBE = """
from fastreg._kernels.table cimport CAPSULE

cdef extern from *:
    const char* FASTREG_FLAGS

capsule, flags = CAPSULE, FASTREG_FLAGS.decode()

def add(double x, double y):
    return x + y - y

def multiply_add(double x, double y, double z):
    return x*y + z

def divide(double x):
    return x/49.0

def add_zero(double x):
    return x + 0.0

def is_nan(double x):
    return x != x

def round_tenth():
    return 0.1
"""

USE = """
import math, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import baseline as probe
assert probe.add(1.0, 1e16) == 0.0
assert probe.multiply_add(1 + 2**-30, 1 - 2**-30, -1.0) == 0.0
assert probe.divide(49.0) == 1.0
assert math.copysign(1, probe.add_zero(-0.0)) == 1
assert probe.is_nan(math.nan)
assert probe.round_tenth() == 0.1
assert (np.array([1e-310]) * 0.5)[0] > 0
print(probe.flags)
"""

# Imports everything compiled, then looks at what other code of the process sees, in this thread and in a new one.
REGISTERS = """
import ctypes, importlib, pkgutil, platform, sys, threading
import numpy as np
import fastreg
from fastreg._boundary import dispatch
cannot_run = {module for name, module in dispatch.MODULES.items() if name not in dispatch.available()}
for package in ("fastreg", "fastreg._boundary", "fastreg._kernels"):
    for module in pkgutil.iter_modules(sys.modules[package].__path__, package + "."):
        if module.name not in cannot_run | {"fastreg.__main__", "fastreg.torch"}:
            importlib.import_module(module.name)
assert {"fastreg._boundary.linear", "fastreg._kernels.baseline"} <= sys.modules.keys()

def check():
    for tiny in (np.array([1e-310]), np.array([1e-40], "f4")):
        seen.append((tiny * tiny.dtype.type(0.5))[0] > 0 and (tiny + tiny)[0] > tiny[0])
    if sys.platform == "linux" and platform.machine() == "x86_64":
        environment = (ctypes.c_uint32 * 8)()  # glibc's and musl's fenv_t: the x87 control word first, MXCSR last
        ctypes.CDLL(None).fegetenv(environment)
        seen.append((environment[7] & 0x8040, environment[7] & 0x6000, environment[0] & 0xF00) == (0, 0, 0x300))

seen = []
check()
thread = threading.Thread(target=check)
thread.start()
thread.join()
print(len(seen), all(seen))
"""


def build(folder, **environment):
    """The finished build of the probe in a copy of the sources: once for each variant of the kernels, and no more."""
    source = folder / "source"
    left_out = shutil.ignore_patterns("*.so", "*.pyx", "__pycache__")
    shutil.copytree(SOURCE / "fastreg", source / "fastreg", ignore=left_out)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(SOURCE / name, source)
    (source / f"fastreg/_kernels/{variants.SOURCE}.pyx").write_text(PROBE)
    return build_again(folder, **environment)


def build_again(folder, **environment):
    """The finished build of sources that are there."""
    source = folder / "source"
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-lib", str(folder / "lib")],
        cwd=source,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@needs_compiler
def test_the_build_drops_unsafe_flags_of_the_environment(tmp_path):
    done = build(tmp_path, CC=f"{COMPILER} -Ofast", CFLAGS=HOSTILE, CPPFLAGS="-ffast-math", LDFLAGS="-ffast-math")
    assert done.returncode == 0, done.stderr
    assert "warning: fastreg is built without -Ofast " in done.stderr
    commands = [shlex.split(line) for line in done.stdout.splitlines() if " -shared " in line or " -c " in line]
    assert len(commands) == 2 * len(variants.compiled(sysconfig.get_platform()))
    for command in commands:
        assert not set(command) & (set(HOSTILE.split()) - {"-O0", "-fno-trapping-math"})
        assert [word for word in command if word.startswith("-O")][-1] == "-O3"
    used = python("-W", "error", "-c", USE, str(tmp_path / "lib/fastreg/_kernels"))
    assert (used.returncode, used.stderr) == (0, "")
    assert "-ffp-contract=off" in used.stdout
    assert "-fast-math" not in used.stdout.replace("-fno-fast-math", "")


@needs_compiler
def test_the_shown_flags_include_those_of_the_environment(tmp_path):
    done = build(tmp_path, CFLAGS='-O1 -fwrapv -frounding-math -DNAME="a b" -ffile-prefix-map=/a=/b')
    assert done.returncode == 0, done.stderr
    assert "built without" not in done.stderr
    flags = python("-c", USE, str(tmp_path / "lib/fastreg/_kernels")).stdout.split()
    assert {"-fwrapv", "-frounding-math", "-O3"} <= set(flags)
    assert not [flag for flag in flags if flag == "-O1" or "map" in flag or "NAME" in flag]


def commands_of(done):
    return [line for line in done.stdout.splitlines() if " -shared " in line or " -c " in line]


@needs_compiler
def test_what_has_not_changed_is_neither_translated_nor_compiled(tmp_path):
    """Files that are only newer have not changed: an isolated build has NumPy's and Cython's anew each time."""
    first = build(tmp_path)
    assert first.returncode == 0, first.stderr
    assert commands_of(first)
    module, kernels = tmp_path / "lib/fastreg/_kernels", tmp_path / f"source/fastreg/_kernels/{variants.SOURCE}.pyx"
    shutil.rmtree(module)
    for touched in (tmp_path / "source/fastreg").rglob("*.pxd"):
        touched.touch()
    again = build_again(tmp_path)
    assert again.returncode == 0, again.stderr
    assert not commands_of(again)
    assert "ythonizing" not in again.stdout
    assert python("-c", "import sys; sys.path.insert(0, sys.argv[1]); import baseline", str(module)).returncode == 0
    kernels.write_text(PROBE + "\nmore = 1\n")
    assert commands_of(build_again(tmp_path))
    assert commands_of(build_again(tmp_path, CFLAGS="-fwrapv -DNAME=1"))


@needs_compiler
def test_a_compiler_that_adds_unsafe_flags_is_refused(tmp_path):
    wrapper = tmp_path / "compiler"
    wrapper.write_text(f'#!/bin/sh\nexec {COMPILER} "$@" -ffast-math\n')
    wrapper.chmod(0o755)
    done = build(tmp_path, CC=str(wrapper))
    assert done.returncode != 0
    assert "fastreg: -ffast-math, /fp:fast or a part of it is on" in done.stderr


def test_the_import_does_not_change_the_floating_point_registers():
    done = python("-W", "error", "-c", REGISTERS)
    assert (done.returncode, done.stderr) == (0, "")
    count, fine = done.stdout.split()
    assert int(count) >= 4
    assert fine == "True"
