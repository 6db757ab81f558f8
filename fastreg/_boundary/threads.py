"""Layer 5, how many threads, and the one pool of the process, whose threads start when they are first needed.

Nobody waits for the pool: parallel.pyx hands it jobs whose parts are taken by whoever is free, the caller first. A
pool that cannot be had, is busy, or is shut down with the interpreter therefore costs speed and nothing else. After a
fork the child has the parent's pool but none of its threads, so it makes another. No OpenMP: it hangs in such a child.
No concurrent.futures: an interrupt in the middle of its submit() left a lock held, and hung the process at its end
(tried). What stands here in its place is one call of C each, which no interrupt divides, and wakes a thread sooner.
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
MOST = 2**31 - 1
WORTH = 1 << 22  # bytes a thread: some 200 µs in cache, where to wake one takes up to 100 (Threads in benchmarks/suite)
CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def count(name, n):
    """A number of threads, checked."""
    try:
        number = None if isinstance(n, (bool, np.bool_)) else index(n)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name}: expected a positive whole number, got {type(n).__name__} ({shown(n)})")
    if not 1 <= number <= MOST:
        raise ValueError(f"{name}: expected a positive whole number, got {shown(number)}, at most {MOST} is possible")
    return number


def from_environment():
    """The number that the environment variable gives, and who says so."""
    text = read(VARIABLE)
    if re.fullmatch("0*[1-9][0-9]{,9}", text) and int(text) <= MOST:
        return int(text), VARIABLE
    if text:
        warn(VARIABLE, "a positive whole number", text)
    return 1, None


# -- How many ---------------------------------------------------------------------------------------------------------


def set_num_threads(n):
    """Set how many threads fastreg may use where nothing else is said; one, unless ``FASTREG_NUM_THREADS`` says more.

    Parameters
    ----------
    n : int
        Positive. No more are used than there are processors that the process may run on (its affinity, and the quota of
        its control groups), which are counted anew by this call. One means that no thread is started.

    Raises
    ------
    TypeError, ValueError
        Where n is no positive whole number.

    Notes
    -----
    It holds for the update functions, the values of the penalties, :func:`clip_grad_norm`, and the optimizers whose
    `threads` is None; for arrays large enough to repay it, some megabytes. Results have the same bits with any number.
    """
    global _default
    setting = count("n", n), "set_num_threads"
    available.cache_clear()
    _default = setting


def get_num_threads():
    """How many threads fastreg may use where nothing else is said.

    Returns
    -------
    int
        The number as it was set: fewer are used where the process may run on fewer processors.
    """
    return _default[0]


def usable(threads, size):
    """How many threads to use for so many bytes, of those asked for; None asks for the default."""
    asked = _default[0] if threads is None else threads
    return asked if asked == 1 else max(1, min(asked, available(), size // WORTH))


@cache
def available():
    """How many processors this process may run on."""
    if hasattr(os, "process_cpu_count"):
        processors = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count()
    return max(1, math.ceil(min(processors or 1, quota())))


def quota():
    """How many processors' time the control groups allow, of this process and of all above it; infinity without any."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    shares = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = [CGROUPS] if not controllers else [CGROUPS / controllers, CGROUPS / "cpu"]
        for root in roots:
            group = root / path.lstrip("/")
            shares += [share(folder) for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return min(shares)


def share(folder):
    """The quota over the period of one control group, of version 2 or else of version 1."""
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            limit, period = " ".join((folder / name).read_text(encoding="utf-8") for name in names).split()
            return int(limit) / int(period) if int(limit) > 0 else math.inf
        except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
            continue
    return math.inf


def origin():
    """What set the number: the name of the environment variable or of the function; None for the default."""
    return _default[1]


# -- The pool ---------------------------------------------------------------------------------------------------------


class Pool:
    """Threads that call what comes out of a queue.

    Without a lock, which an interrupt could leave locked: where two callers make it grow at once, a thread too many
    starts, and waits like the others.
    """

    def __init__(self):
        self.queue, self.threads, self.closed = SimpleQueue(), 0, False

    def call(self, job, helpers):
        """Have so many threads call the job, at most; those that come late find nothing left to do."""
        if self.threads < helpers:
            self.grow(helpers)
        for _ in range(min(helpers, self.threads)):
            self.queue.put(job)

    def grow(self, helpers):
        while self.threads < helpers and not self.closed:
            try:
                start_new_thread(work, (self.queue,))
            except RuntimeError:  # the system has none left, or the interpreter is at its end
                return
            self.threads += 1

    def close(self):
        """Let the threads end."""
        self.closed = True
        for _ in range(self.threads):
            self.queue.put(None)
        self.threads = 0


def work(queue):
    """What a thread of a pool does."""
    while (job := queue.get()) is not None:
        job()
        del job


def renew():
    """Another pool, in a forked child."""
    global pool
    pool = Pool()
    available.cache_clear()


_default = from_environment()  # a number, and who set it: None, the variable, or the function
pool = Pool()
atexit.register(lambda: pool.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew)
