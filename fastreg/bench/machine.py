"""The machine: one thread for all libraries, its caches and memory, and what tables and JSON say about it.

Standard library only. What cannot be found is None and shown as unknown; sizes then come from FALLBACK. The numbers of
virtual machines are what their host says: a third level of hundreds of megabytes is shared with neighbours.
"""

import ctypes
import os
import platform
import re
import subprocess
import sys
from math import sqrt
from pathlib import Path

THREADS = (
    "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS",
)  # fmt: skip
XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
LEVELS = ("L1", "L2", "L3", "DRAM")
FALLBACK = {1: 32 << 10, 2: 1 << 20, 3: 32 << 20}
SHARE = 0.6  # of the available memory is used at most


def single_thread(environment=os.environ):
    """Asks every library for one thread: most read these variables when they are loaded, so call it before."""
    environment.update(dict.fromkeys((*THREADS, "NPROC"), "1"))  # NPROC: XLA's pool
    flags = environment.get("XLA_FLAGS", "")
    if XLA not in flags:
        environment["XLA_FLAGS"] = f"{flags} {XLA}".strip()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def caches():
    """Bytes of the data caches by level, those that can be found."""
    found = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        size = re.fullmatch(r"(\d+)K\s*", read(index / "size"))
        if size and read(index / "type").strip() != "Instruction":
            found[int(read(index / "level"))] = int(size[1]) << 10
    for level, name in ((1, "hw.l1dcachesize"), (2, "hw.l2cachesize"), (3, "hw.l3cachesize")):
        found.setdefault(level, number_of_sysctl(name) or 0)
    return {level: size for level, size in sorted(found.items()) if size}


def available_memory():
    """Bytes that can be had without swapping, within the limit of the control group; None where that is unknown."""
    limits = []
    meminfo = read("/proc/meminfo")
    if match := re.search(r"MemAvailable:\s+(\d+) kB", meminfo):
        limits.append(int(match[1]) << 10)
    elif total := number_of_sysctl("hw.memsize"):
        limits.append(total // 2)
    elif sys.platform == "win32":
        limits.append(available_on_windows())
    maximum, used = (read(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if maximum.isdigit() and used.isdigit():
        limits.append(int(maximum) - int(used))
    return min(limits, default=None)


def fits(size):
    """Whether so many bytes are a safe share of the available memory."""
    available = available_memory()
    return available is None or size <= SHARE * available


def bytes_at(level, arrays):
    """Bytes of each of so many arrays that live at a level together, and a note where memory is too small for DRAM.

    L1, L2: half of it. L3: between the two, since others may share it. DRAM: each array four times the last cache.
    """
    known = FALLBACK | caches()
    if level in ("L1", "L2"):
        return known[int(level[1])] // 2 // arrays, None
    if level == "L3":
        return int(sqrt(known[2] * known[3])) // arrays, None
    wanted, available = 4 * max(known.values()), available_memory() or 4 << 30
    can = int(SHARE * available) // arrays
    if wanted <= can:
        return wanted, None
    last, multiple = max(known.values()), can / max(known.values())
    return (
        can,
        f"arrays of {can >> 20} MiB, {multiple:.1f} and not 4 times the last cache ({last >> 20} MiB): no memory",
    )


def describe():
    """Processor, caches and system as texts."""
    sizes = ", ".join(f"L{level} {human(size)}" for level, size in caches().items())
    return {
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "caches": sizes or "unknown",
        "memory available": human(available_memory()) if available_memory() else "unknown",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def processor():
    """The processor's own name."""
    if match := re.search(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo"), re.MULTILINE):
        return match[1]
    return sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine() or "unknown"


def human(size):
    """A number of bytes in the unit that suits it."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def read(path):
    """A system's file as text, empty where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def sysctl(name):
    """What macOS says of a name, else None."""
    if sys.platform != "darwin":
        return None
    done = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True)
    return done.stdout.strip() or None


def number_of_sysctl(name):
    """The same as a number."""
    text = sysctl(name)
    return int(text) if text and text.isdigit() else None


def available_on_windows():  # untested
    """Free memory, by GlobalMemoryStatusEx."""

    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong), ("sizes", ctypes.c_ulonglong * 7)]

    status = Status(ctypes.sizeof(Status))
    ctypes.WinDLL("kernel32").GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined, unused-ignore]
    return status.sizes[1]
