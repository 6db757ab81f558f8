"""The instruction sets that the kernels are compiled for: the table that the build, the choice at import and CI read.

setup.py and CI run this file by its path, before anything is built: it imports the standard library alone.
"""

from typing import NamedTuple


class Variant(NamedTuple):
    """The kernels, compiled for one instruction set."""

    name: str  # in FASTREG_DISABLE_CPU_FEATURES, show_config() and _boundary/cpu.pyx, which detects it
    module: str  # of this package
    platforms: tuple[str, ...]  # how names of sysconfig.get_platform() end where it is compiled
    flags: dict[str, tuple[str, ...]]  # by kind of compiler


BASELINE = Variant("baseline", "baseline", ("",), {"unix": (), "msvc": ()})
VARIANTS = (  # the best first
    Variant("AVX2", "avx2", ("x86_64", "amd64"), {"unix": ("-mavx2",), "msvc": ("/arch:AVX2",)}),
    BASELINE,
)
SOURCE = "variant"  # the module that is translated once: each variant is a copy under another name


def compiled(platform):
    """The variants that are compiled for a platform."""
    return [variant for variant in VARIANTS if platform.endswith(variant.platforms)]
