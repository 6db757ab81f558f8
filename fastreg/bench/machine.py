"""The machine: one thread for all libraries, cache sizes, memory, and the description in the report.

Standard library only. A value that cannot be determined is None and shown as unknown; cache sizes then come from
FALLBACK. Virtual machines report the values of their host: a level-3 cache of hundreds of megabytes is shared with
other virtual machines.
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
SHARE = 0.6  # the largest share of the available memory to use


def single_thread(environment=os.environ):
    """Limit every library to one thread. Call it before importing them, because most read these variables at import."""
    environment.update(dict.fromkeys((*THREADS, "NPROC"), "1"))  # NPROC: XLA's thread pool
    flags = environment.get("XLA_FLAGS", "")
    if XLA not in flags:
        environment["XLA_FLAGS"] = f"{flags} {XLA}".strip()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def caches():
    """Bytes of the data caches by level, as far as they are known."""
    found = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        size = re.fullmatch(r"(\d+)K\s*", read(index / "size"))
        if size and read(index / "type").strip() != "Instruction":
            found[int(read(index / "level"))] = int(size[1]) << 10
    for level, name in ((1, "hw.l1dcachesize"), (2, "hw.l2cachesize"), (3, "hw.l3cachesize")):
        found.setdefault(level, sysctl_number(name) or 0)
    return {level: size for level, size in sorted(found.items()) if size}


def available_memory():
    """Bytes available without swapping, within the limit of the control group; None if unknown."""
    limits = []
    meminfo = read("/proc/meminfo")
    if match := re.search(r"MemAvailable:\s+(\d+) kB", meminfo):
        limits.append(int(match[1]) << 10)
    elif total := sysctl_number("hw.memsize"):
        limits.append(total // 2)
    elif sys.platform == "win32":
        limits.append(available_on_windows())
    maximum, used = (read(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if maximum.isdigit() and used.isdigit():
        limits.append(int(maximum) - int(used))
    return min(limits, default=None)


def fits(size):
    """Whether this number of bytes is a safe share of the available memory."""
    available = available_memory()
    return available is None or size <= SHARE * available


def bytes_at(level, arrays):
    """The bytes of each of `arrays` arrays that fit a level together, and a note if memory is too small for DRAM.

    L1, L2: half of the cache in total. L3: the geometric mean of L2 and L3, because other processes may share L3. DRAM:
    each array is four times the last cache.
    """
    known = FALLBACK | caches()
    if level in ("L1", "L2"):
        return known[int(level[1])] // 2 // arrays, None
    if level == "L3":
        return int(sqrt(known[2] * known[3])) // arrays, None
    wanted, available = 4 * max(known.values()), available_memory() or 4 << 30
    possible = int(SHARE * available) // arrays
    if wanted <= possible:
        return wanted, None
    last = max(known.values())
    note = f"{possible / last:.1f} and not 4 times the last cache ({last >> 20} MiB)"
    return possible, f"too little memory: arrays have {possible >> 20} MiB, {note}"


def describe():
    """Processor, caches and system as strings."""
    sizes = ", ".join(f"L{level} {format_bytes(size)}" for level, size in caches().items())
    return {
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "caches": sizes or "unknown",
        "memory available": format_bytes(available_memory()) if available_memory() else "unknown",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def processor():
    """The name of the processor."""
    if match := re.search(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo"), re.MULTILINE):
        return match[1]
    return sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine() or "unknown"


def format_bytes(size):
    """A number of bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def read(path):
    """The text of a system file; empty if it cannot be read."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def sysctl(name):
    """The value of a sysctl name on macOS, else None."""
    if sys.platform != "darwin":
        return None
    done = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True)
    return done.stdout.strip() or None


def sysctl_number(name):
    """The value of a sysctl name as a number, or None."""
    text = sysctl(name)
    return int(text) if text and text.isdigit() else None


def available_on_windows():  # untested
    """Available memory, from GlobalMemoryStatusEx."""

    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong), ("sizes", ctypes.c_ulonglong * 7)]

    status = Status(ctypes.sizeof(Status))
    ctypes.WinDLL("kernel32").GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined, unused-ignore]
    return status.sizes[1]
