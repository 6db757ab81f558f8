"""The extension modules; everything else about the build stands in pyproject.toml."""

import os
import platform
import re
import sys
import sysconfig

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

# The bits of every result rest on these: no contraction to fused multiply-add, no -ffast-math. Without
# -fno-trapping-math gcc refuses to vectorise loops with selections in them. Inlined into what chooses among them, loops
# come out better or worse by chance: float64 l2 took 1.5 times as long in cache (Ratio in benchmarks/suite/updates.py).
# What the sources declare inline stays so. They follow the environment's flags on the command line, so they win.
PRECISE = ["-fno-fast-math", "-fno-unsafe-math-optimizations"]  # these reset some of the flags below: they come first
FLAGS = {
    "unix": [
        *("-O3", "-g0", *PRECISE, "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
        "-fno-inline-small-functions",
    ],
    "msvc": ["/O2", "/fp:precise"],
}
# At -Ofast and the like gcc and clang link a file that switches the process that imports the module to flush-to-zero.
LINK = {"unix": ["-O3", *PRECISE], "msvc": []}
# A debug build, "address,undefined" or "thread": see .ci/sanitize. At -O1 nothing is vectorised: one variant is enough.
SANITIZE = os.environ.get("FASTREG_SANITIZE", "")
if SANITIZE:
    CHECKS = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all"]
    FLAGS["unix"] = ["-O1", "-g", "-fno-omit-frame-pointer", *CHECKS, *PRECISE, "-ffp-contract=off"]
    LINK["unix"] = [*CHECKS, *PRECISE]
# What CFLAGS, LDFLAGS, CC or Python's own configuration may not ask for. _kernels.pxd refuses what comes another way.
UNSAFE = re.compile(
    r"""-Ofast | -mdaz-ftz | -mpc\d+ | -mrecip.* | -mfpmath=.*(387|both) | -mlow-precision-.* | -ftz | -fp-model.* |
    -f( fast-math | unsafe-math-optimizations | associative-math | reciprocal-math | finite-math-only | approx-func |
        no-signed-zeros | no-honor-(nans|infinities) | cx-.* | single-precision-constant | denormal-fp-math.* |
        fp-contract=(on|fast.*) | fp-model=(fast|aggressive) | fp-eval-method=.* )""",
    re.VERBOSE,
)
AVX2 = {"unix": ["-mavx2"], "msvc": ["/arch:AVX2"]}
# The target, not the machine: macOS builds for either processor on the other, and for both at once (universal2).
X86 = sysconfig.get_platform().endswith(("x86_64", "amd64")) and "arm64" not in os.environ.get("ARCHFLAGS", "")
ABI3 = platform.python_implementation() == "CPython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def extension(name):
    macros = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
    if ABI3:
        macros.append(("Py_LIMITED_API", "0x030b0000"))
    return Extension(
        f"fastreg.{name}",
        [f"fastreg/{name}.pyx"],
        include_dirs=[numpy.get_include()],
        define_macros=macros,
        py_limited_api=ABI3,
    )


def split_unsafe(command):
    """The words of a command that may stay, and those that change results."""
    kept, dropped = [], []
    for word in command:
        unsafe = UNSAFE.fullmatch(word) or dropped[-1:] == ["-fp-model"]  # whose value is the next word
        (dropped if unsafe else kept).append(word)
    return kept, dropped


class BuildExt(build_ext):
    """Flags by compiler, known only once the command runs; the kernels carry them for `fastreg.show_config()`."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()  # the modules of the kernels take most of the time, two in turn

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
        flags = FLAGS[dialect] + (AVX2[dialect] if ext.name.endswith("_avx2") else [])
        inherited = [x for x in getattr(self.compiler, "compiler_so", []) if re.fullmatch(r"-[fm][\w=+,.-]+", x)]
        ext.extra_compile_args, ext.extra_link_args = flags, LINK[dialect]
        ext.define_macros = [*ext.define_macros, ("FASTREG_FLAGS", f'"{" ".join(inherited + flags)}"')]
        super().build_extension(ext)


class BdistWheel(bdist_wheel):
    """One wheel for CPython 3.11 and every later one, where the stable ABI exists."""

    def finalize_options(self):
        self.py_limited_api = "cp311" if ABI3 else False
        super().finalize_options()


modules = [
    "_boundary",
    "_checks",
    "_cpu",
    "_kernels_baseline",
    "_learn",
    "_parallel",
    "_section",
    "_sparse",
    "_tensors",
    *(["_kernels_avx2"] if X86 and not SANITIZE else []),
]

setup(
    ext_modules=cythonize(
        [extension(name) for name in modules],
        build_dir="build/cython",
        compiler_directives={
            "auto_pickle": False,
            "autotestdict": False,
            "cdivision": True,
            "freethreading_compatible": True,
            "language_level": 3,
        },
    ),
    cmdclass={"build_ext": BuildExt, "bdist_wheel": BdistWheel},
)
