"""The extension modules; everything else about the build stands in pyproject.toml."""

import os
import platform
import sysconfig

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

# The bits of every result rest on these: no contraction to fused multiply-add, no -ffast-math. Without
# -fno-trapping-math gcc refuses to vectorise loops with selections in them. Inlined into what chooses among them, loops
# come out better or worse by chance: float64 l2 took 1.5 times as long in cache (Ratio in benchmarks/suite/updates.py).
# What the sources declare inline stays so.
FLAGS = {
    "unix": [
        *("-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
        "-fno-inline-small-functions",
    ],
    "msvc": ["/O2", "/fp:precise"],
}
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


class BuildExt(build_ext):
    """Flags by compiler, known only once the command runs; the kernels carry them for `fastreg.show_config()`."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()  # the modules of the kernels take most of the time, two in turn

    def build_extension(self, ext):
        dialect = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        flags = FLAGS[dialect] + (AVX2[dialect] if ext.name.endswith("_avx2") else [])
        ext.extra_compile_args = flags
        ext.define_macros = [*ext.define_macros, ("FASTREG_FLAGS", f'"{" ".join(flags)}"')]
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
    *(["_kernels_avx2"] if X86 else []),
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
