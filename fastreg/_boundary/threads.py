"""Layer 4, the number of threads, and the pool of the process. Its threads start when they are first needed.

No result depends on the pool: the caller of a job (parallel.pyx) does all parts that no thread of the pool takes. If
threads cannot start, are busy, or end with the interpreter, the job only takes longer. A forked child has none of the
threads of its parent, so it creates a new pool. OpenMP was rejected, because it hangs in a forked child, and so was
concurrent.futures: an interrupt during its submit() left a lock held, so that the process hung at exit (tried). The
queue used here needs one C call for each job, which cannot be interrupted, and wakes a thread sooner.
"""

import atexit
import math
import os
import re
from _thread import start_new_thread
from functools import cache
from operator import index
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from fastreg._boundary.environment import read, shown, warn

VARIABLE = "FASTREG_NUM_THREADS"
MAX_THREADS = 2**31 - 1
MIN_BYTES_PER_THREAD = 1 << 22  # 200 µs of work in cache; waking a thread takes up to 100 (benchmarks: Threads)
CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def count(name, n):
    """Check a number of threads, and return it as an int."""
    try:
        number = None if isinstance(n, (bool, np.bool_)) else index(n)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name}: expected a positive whole number, got {type(n).__name__} ({shown(n)})")
    if not 1 <= number <= MAX_THREADS:
        raise ValueError(
            f"{name}: expected a positive whole number, got {shown(number)}; at most {MAX_THREADS} is possible"
        )
    return number


def from_environment():
    """The number of threads from the environment variable, and its name; 1 and None if it is not set."""
    text = read(VARIABLE)
    if re.fullmatch("0*[1-9][0-9]{,9}", text) and int(text) <= MAX_THREADS:
        return int(text), VARIABLE
    if text:
        warn(VARIABLE, "a positive whole number", text)
    return 1, None


# -- Number of threads ------------------------------------------------------------------------------------------------


def set_num_threads(n):
    """Set the default number of threads. It is 1 at first, or the value of ``FASTREG_NUM_THREADS``.

    Parameters
    ----------
    n : int
        Positive. fastreg never uses more threads than processors that the process may run on (by its affinity, and the
        quota of its control groups); this call counts them again. With 1, no thread is started.

    Raises
    ------
    TypeError, ValueError
        If n is not a positive whole number.

    Notes
    -----
    The default applies to the update functions, the values of the penalties, :func:`clip_grad_norm`, and optimizers
    with `threads` None. Only arrays of several megabytes use more than one thread, since smaller ones gain nothing.
    Results have the same bits with any number of threads.

    Examples
    --------
    >>> import fastreg
    >>> before = fastreg.get_num_threads()
    >>> fastreg.set_num_threads(2)
    >>> fastreg.get_num_threads()
    2
    >>> fastreg.set_num_threads(before)
    """
    global _default
    setting = count("n", n), "set_num_threads"
    available.cache_clear()
    _default = setting


def get_num_threads():
    """Return the default number of threads.

    Returns
    -------
    int
        The number as it was set. Fewer threads are used if the process may run on fewer processors.

    Examples
    --------
    >>> import fastreg
    >>> fastreg.set_num_threads(1)
    >>> fastreg.get_num_threads()
    1
    """
    return _default[0]


def usable(threads, size):
    """The number of threads to use for `size` bytes of work, at most `threads`; None for the default."""
    limit = _default[0] if threads is None else threads
    return limit if limit == 1 else max(1, min(limit, available(), size // MIN_BYTES_PER_THREAD))


@cache
def available():
    """The number of processors that this process may run on."""
    if hasattr(os, "process_cpu_count"):
        processors = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count()
    return max(1, math.ceil(min(processors or 1, quota())))


def quota():
    """The number of processors that the control groups of this process and their parents allow, or infinity."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = [CGROUPS] if not controllers else [CGROUPS / controllers, CGROUPS / "cpu"]
        for root in roots:
            group = root / path.lstrip("/")
            quotas += [group_quota(folder) for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return min(quotas)


def group_quota(folder):
    """Quota divided by period of one control group, of version 2 or 1; infinity for no limit."""
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            limit, period = " ".join((folder / name).read_text(encoding="utf-8") for name in names).split()
            return int(limit) / int(period) if int(limit) > 0 else math.inf
        except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
            continue
    return math.inf


def origin():
    """What set the default: the name of the environment variable or of the function; None for neither."""
    return _default[1]


# -- The pool ---------------------------------------------------------------------------------------------------------


class Pool:
    """Threads that call the jobs in a queue.

    It has no lock, since an interrupt could leave that locked. If two callers let it grow at once, one thread too many
    may start, which does no harm.
    """

    def __init__(self):
        self.queue, self.threads, self.closed = SimpleQueue(), 0, False

    def call(self, job, helpers):
        """Let up to `helpers` threads call the job. A thread that comes late finds no part left."""
        if self.threads < helpers:
            self.grow(helpers)
        for _ in range(min(helpers, self.threads)):
            self.queue.put(job)

    def grow(self, helpers):
        while self.threads < helpers and not self.closed:
            try:
                start_new_thread(work, (self.queue,))
            except RuntimeError:  # no more threads available, or the interpreter is shutting down
                return
            self.threads += 1

    def close(self):
        """Tell the threads to end."""
        self.closed = True
        for _ in range(self.threads):
            self.queue.put(None)
        self.threads = 0


def work(queue):
    """The loop of a thread of the pool."""
    while (job := queue.get()) is not None:
        job()
        del job


def reset_after_fork():
    """Create a new pool in a forked child."""
    global pool
    pool = Pool()
    available.cache_clear()


_default = from_environment()  # the number, and what set it: None, the variable, or the function
pool = Pool()
atexit.register(lambda: pool.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reset_after_fork)
