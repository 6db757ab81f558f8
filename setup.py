"""The extension modules. pyproject.toml has the rest of the build configuration."""

import functools
import hashlib
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import Cython
import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

# The bits of all results depend on these flags: no contraction to fused multiply-add, no -ffast-math. Without
# -fno-trapping-math, gcc does not vectorise loops that contain selections. If gcc inlines loops into the functions that
# select them, their speed depends on chance: float64 l2 took 1.5 times as long in cache (Ratio in
# benchmarks/suite/updates.py). Nesterov with l2, inlined because it is called once, took 2.2 times as long. Functions
# that the sources declare inline are still inlined. These flags come after those of the environment on the command
# line, so they take precedence.
PRECISE = ["-fno-fast-math", "-fno-unsafe-math-optimizations"]  # first, because they reset some of the flags below
FLAGS = {
    "unix": [
        *("-O3", "-g0", *PRECISE, "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
        *("-fno-inline-small-functions", "-fno-inline-functions-called-once"),
    ],
    "msvc": ["/O2", "/fp:precise"],
}
# With -Ofast and similar flags, gcc and clang link a file that switches the importing process to flush-to-zero.
LINK = {"unix": ["-O3", *PRECISE], "msvc": []}
# A debug build with the sanitizers "address,undefined" or "thread", see .ci/sanitize. Nothing is vectorised at -O1, so
# one variant is enough.
SANITIZE = os.environ.get("FASTREG_SANITIZE", "")
if SANITIZE:
    CHECKS = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all"]
    FLAGS["unix"] = ["-O1", "-g", "-fno-omit-frame-pointer", *CHECKS, *PRECISE, "-ffp-contract=off"]
    LINK["unix"] = [*CHECKS, *PRECISE]
# Flags that are removed from CFLAGS, LDFLAGS, CC and Python's configuration. If they come in another way,
# _kernels/table.pxd stops the compilation.
UNSAFE = re.compile(
    r"""-Ofast | -mdaz-ftz | -mpc\d+ | -mrecip.* | -mfpmath=.*(387|both) | -mlow-precision-.* | -ftz | -fp-model.* |
    -f( fast-math | unsafe-math-optimizations | associative-math | reciprocal-math | finite-math-only | approx-func |
        no-signed-zeros | no-honor-(nans|infinities) | cx-.* | single-precision-constant | denormal-fp-math.* |
        fp-contract=(on|fast.*) | fp-model=(fast|aggressive) | fp-eval-method=.* )""",
    re.VERBOSE,
)
ABI3 = platform.python_implementation() == "CPython" and not sysconfig.get_config_var("Py_GIL_DISABLED")

KERNELS = runpy.run_path("fastreg/_kernels/variants.py")
# The target and not the machine: on macOS, a build can be for the other processor, or for both (universal2).
TARGET = "arm64" if "arm64" in os.environ.get("ARCHFLAGS", "") else sysconfig.get_platform()
VARIANTS = {f"fastreg._kernels.{v.module}": v for v in KERNELS["compiled"](TARGET)}
if SANITIZE:
    VARIANTS = {name: variant for name, variant in VARIANTS.items() if variant is KERNELS["BASELINE"]}

TRANSLATED, COMPILED = Path("build/cython"), Path("build/extensions")
ISOLATED = re.compile(r"[^\s\"]*pip-build-env-\w+")  # in comments and in names of files


def extension(name, source=None):
    macros = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
    if ABI3:
        macros.append(("Py_LIMITED_API", "0x030b0000"))
    return Extension(
        name,
        [source or name.replace(".", "/") + ".pyx"],
        include_dirs=[np.get_include()],
        define_macros=macros,
        py_limited_api=ABI3,
    )


def translated(names):
    """An extension for each module, from its C. Cython is not called where the sources are those of the last call.

    It would go by times, and in an isolated build its own files and NumPy's are new each time.
    """
    sources = {name: TRANSLATED / f"{name.replace('.', '/')}.c" for name in names}
    state = {"versions": f"Cython {Cython.__version__} NumPy {np.__version__}"}
    sources_of_cython = (path for path in Path("fastreg").rglob("*") if path.suffix in (".pyx", ".pxd", ".pxi"))
    for path in [Path("setup.py"), *sorted(sources_of_cython)]:
        state[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    stamp = TRANSLATED / "state.json"
    last = json.loads(stamp.read_text()) if stamp.exists() else {}
    if last != state or not all(source.exists() for source in sources.values()):
        for path in state.keys() - {"versions"}:
            if last and last.get(path) != state[path]:
                os.utime(path)  # Cython goes by times, and a file that was restored or copied may have an old one
        directives = {
            "auto_pickle": False,
            "autotestdict": False,
            "cdivision": True,
            "freethreading_compatible": True,
            "language_level": 3,
        }
        force = any(last.get(key) != state[key] for key in ("versions", "setup.py"))
        stamp.unlink(missing_ok=True)  # an error below may leave some modules translated and others not
        cythonize(list(map(extension, names)), build_dir=str(TRANSLATED), compiler_directives=directives, force=force)
        stamp.write_text(json.dumps(state))
    return [extension(name, str(source)) for name, source in sources.items()]


def variants_of(kernels):
    """An extension for each instruction set: a copy of the translated kernels, because Cython needs half a minute."""
    source = Path(kernels.sources[0])
    text = source.read_text(encoding="utf-8")
    for name, variant in VARIANTS.items():
        own = source.with_name(f"{variant.module}.c")
        replaced = text
        # Only these names: Cython stores all strings in one constant, with their lengths beside it.
        for start, end in (("PyInit_", ""), ('"fastreg._kernels.', '"'), ('"', '"')):
            replaced = replaced.replace(f"{start}{KERNELS['SOURCE']}{end}", f"{start}{variant.module}{end}")
        if not own.exists() or own.read_text(encoding="utf-8") != replaced:
            own.write_text(replaced, encoding="utf-8")
        yield extension(name, str(own))


def split_unsafe(command):
    """Split the words of a command into those that are safe and those that change results."""
    kept, dropped = [], []
    for word in command:
        unsafe = UNSAFE.fullmatch(word) or dropped[-1:] == ["-fp-model"]  # its value is the next word
        (dropped if unsafe else kept).append(word)
    return kept, dropped


@functools.cache
def compiler_version(command):
    """What a compiler for Unix says of itself, after wrappers such as ccache; empty where it says nothing."""
    try:
        return subprocess.run([*command, "--version"], capture_output=True, text=True).stdout
    except OSError:  # a name that cannot be run: the build itself will say so
        return ""


class BuildExt(build_ext):
    """Sets the flags, which depend on the compiler; the kernels store them for `fastreg.show_config()`."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()  # the kernels, which take longest, side by side
        self.force = True  # setuptools would go by times, and not see other flags: see `kept`

    def build_extensions(self):
        ignored = set()
        for name in self.compiler.executables:
            command, dropped = split_unsafe(getattr(self.compiler, name) or [])
            if dropped:
                setattr(self.compiler, name, command)
                ignored.update(dropped)
        if ignored:
            words = " ".join(sorted(ignored))
            print(f"warning: fastreg is built without {words}: results would change", file=sys.stderr)
        super().build_extensions()

    def build_extension(self, ext):
        dialect = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        flags = FLAGS[dialect] + (list(VARIANTS[ext.name].flags[dialect]) if ext.name in VARIANTS else [])
        inherited = [x for x in getattr(self.compiler, "compiler_so", []) if re.fullmatch(r"-[fm][\w=+,.-]+", x)]
        ext.extra_compile_args, ext.extra_link_args = flags, LINK[dialect]
        ext.define_macros = [*ext.define_macros, ("FASTREG_FLAGS", f'"{" ".join(inherited + flags)}"')]
        built, kept = Path(self.get_ext_fullpath(ext.name)), self.kept(ext)
        start = time.monotonic()
        if kept.exists():
            built.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kept, built)
        else:
            super().build_extension(ext)
            shutil.rmtree(kept.parent.parent, ignore_errors=True)
            kept.parent.mkdir(parents=True)
            partial = kept.with_suffix(".partial")  # an interrupted copy must not be taken for a result
            shutil.copyfile(built, partial)
            partial.replace(kept)
        print(f"{ext.name}: ready after {time.monotonic() - start:.0f} s", flush=True)

    def kept(self, ext):
        """The path of the result of an earlier build with the same source, commands, flags and versions."""
        commands = [getattr(self.compiler, name, None) for name in ("compiler_so", "linker_so", "compiler_type")]
        versions = sys.version, np.__version__, compiler_version(tuple(commands[0] or ()))
        digest = hashlib.sha256(repr((commands, ext.extra_compile_args, ext.define_macros, versions)).encode())
        text = Path(ext.sources[0]).read_text(encoding="utf-8")
        digest.update(ISOLATED.sub("", text.partition("END: Cython Metadata")[2] or text).encode())
        return COMPILED / ext.name / digest.hexdigest() / Path(self.get_ext_fullpath(ext.name)).name


class BdistWheel(bdist_wheel):
    """One wheel for CPython 3.11 and later, if the stable ABI exists."""

    def finalize_options(self):
        self.py_limited_api = "cp311" if ABI3 else False
        super().finalize_options()


modules = [f"fastreg._boundary.{path.stem}" for path in sorted(Path("fastreg/_boundary").glob("*.pyx"))]

kernels, *others = translated([f"fastreg._kernels.{KERNELS['SOURCE']}", *modules])

setup(
    ext_modules=[*variants_of(kernels), *others],  # the variants take longest, so they start first
    cmdclass={"build_ext": BuildExt, "bdist_wheel": BdistWheel},
)
