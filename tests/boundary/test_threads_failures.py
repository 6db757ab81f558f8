"""Steps in threads are complete when the pool fails, is busy or closed, after a fork, an interrupt and at the exit."""

import os
import sys
import threading
import time
from _thread import start_new_thread

import numpy as np
import pytest
from alarm import Alarm
from cases import assert_same_bits, python
from thread_cases import large_arrays, threads_started

import fastreg
from fastreg._boundary import threads

pytestmark = pytest.mark.usefixtures("seven_processors")
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


class Refusing:
    """A queue that raises an error after a number of jobs."""

    def __init__(self, queue, error, left):
        self.queue, self.error, self.left = queue, error, left

    def put(self, job):
        if not self.left:
            raise self.error
        self.left -= job is not None
        self.queue.put(job)


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_a_step_is_complete_when_the_queue_of_the_pool_fails(error, after, monkeypatch):
    w, g = large_arrays(np.float64)
    expected = w.copy()
    fastreg.l2_update(expected, g, 0.1, 0.2)
    fastreg.set_num_threads(5)
    threads.pool.grow(4)
    with monkeypatch.context() as patch:
        patch.setattr(threads.pool, "queue", Refusing(threads.pool.queue, error, after))
        with pytest.raises(type(error)):
            fastreg.l2_update(w, g, 0.1, 0.2)
    assert w.tobytes() == expected.tobytes()


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_all_passes_over_columns_are_done_when_the_queue_fails(error, after, monkeypatch):
    w, g = (x[:1_200_000].reshape(3000, 400) for x in large_arrays(np.float64, 1_200_000))
    weights = [w.copy(), w.copy()]
    for x, n in zip(weights, (1, 5), strict=True):
        optimizer = fastreg.Adam([x, x[:9].copy()], 0.1, l21=3.0, group_axis=1, threads=n)
        optimizer.step([g, g[:9].copy()])
        with monkeypatch.context() as patch:
            if n > 1:
                patch.setattr(threads.pool, "queue", Refusing(threads.pool.queue, error, after))
                with pytest.raises(type(error)):
                    optimizer.step([g, g[:9].copy()])
            else:
                optimizer.step([g, g[:9].copy()])
    assert_same_bits(weights[1], weights[0])


@pytest.mark.parametrize("started", [0, 1])
def test_a_step_uses_the_threads_that_can_be_started(started, monkeypatch):
    def start(*arguments, left=[started]):  # noqa: B006
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        return start_new_thread(*arguments)

    monkeypatch.setattr(threads, "start_new_thread", start)
    w, g = large_arrays(np.float64)
    expected = w.copy()
    fastreg.l2_update(expected, g, 0.1, 0.2)
    fastreg.set_num_threads(5)
    fastreg.l2_update(w, g, 0.1, 0.2)
    assert threads_started() == started
    assert_same_bits(w, expected)


def test_a_closed_pool_starts_no_thread():
    threads.pool.close()
    w, g = large_arrays(np.float32)
    expected = w.copy()
    fastreg.l2_update(expected, g, 0.1, 0.2)
    fastreg.set_num_threads(5)
    fastreg.l2_update(w, g, 0.1, 0.2)
    assert not threads_started()
    assert_same_bits(w, expected)


def test_a_step_does_not_wait_for_a_busy_pool():
    release = threading.Event()
    threads.pool.call(release.wait, 6)
    w, g = large_arrays(np.float32)
    expected = w.copy()
    fastreg.l2_update(expected, g, 0.1, 0.2)
    fastreg.set_num_threads(7)
    try:
        fastreg.l2_update(w, g, 0.1, 0.2)
    finally:
        release.set()
    assert_same_bits(w, expected)


def test_many_user_threads_at_once():
    w, g = large_arrays(np.float32)
    expected = w.copy()
    fastreg.set_num_threads(3)
    for _ in range(5):
        fastreg.l2_update(expected, g, 0.1, 0.2)
    copies = [w.copy() for _ in range(12)]

    def work(x):
        for _ in range(5):
            fastreg.l2_update(x, g, 0.1, 0.2)

    workers = [threading.Thread(target=work, args=[x]) for x in copies]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for x in copies:
        assert_same_bits(x, expected)
    assert threads_started() == 2, "one pool for all"


HEADER = """
import os, sys, threading
from functools import cache
import numpy as np
import fastreg
from fastreg._boundary import threads
threads.available = cache(lambda: 3)
w, g = np.ones(1 << 20), np.ones(1 << 20)
optimizer = fastreg.SGD(w, 0.5, threads=3)
optimizer.step(g)
assert threads.pool.threads == 2, "the pool is in use"
"""


@FORKS
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_makes_its_own_pool():
    code = HEADER + (
        "pid = os.fork()\n"
        "optimizer.step(g)\n"
        "assert (w == 0).all(), w\n"
        "assert threads.pool.threads == 2, 'of its own'\n"
        "if pid:\n"
        "    _, status = os.waitpid(pid, 0)\n"
        "    assert status == 0\n"
        "    print('both')\n"
    )
    done = python("-W", "ignore", "-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "both"), done.stderr


@FORKS
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forks_while_other_threads_step():
    code = HEADER + (
        "stop = threading.Event()\n"
        "def work():\n"
        "    x = np.ones(1 << 20)\n"
        "    while not stop.is_set():\n"
        "        fastreg.SGD(x, 0.0, threads=3).step(g)\n"
        "workers = [threading.Thread(target=work) for _ in range(2)]\n"
        "[t.start() for t in workers]\n"
        "for i in range(8):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        y = np.ones(1 << 20)\n"
        "        fastreg.SGD(y, 0.5, threads=3).step(g)\n"
        "        os._exit(0 if (y == 0.5).all() else 1)\n"
        "    assert os.waitpid(pid, 0)[1] == 0\n"
        "stop.set()\n"
        "[t.join() for t in workers]\n"
        "print('all')\n"
    )
    done = python("-W", "ignore", "-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "all"), done.stderr


def test_the_interpreter_ends_without_errors_and_steps_are_possible_until_then():
    code = HEADER + (
        "import atexit\n"
        "class Late:\n"
        "    def __del__(self):\n"
        "        optimizer.step(g)\n"
        "        print((w == -1).all())\n"
        "atexit.register(lambda: (optimizer.step(g), print((w == -0.5).all())))\n"
        "sys.late = Late()\n"
        "optimizer.step(g)\n"
    )
    done = python("-W", "error", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[0] == "True"


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself")
def test_an_interrupt_leaves_only_complete_steps():
    """Each step adds one to every weight, so an incomplete step, or one that continues, would be visible."""
    w, g = np.zeros(3_000_001), -np.ones(3_000_001)
    fastreg.set_num_threads(7)

    def work():
        while True:
            fastreg.l2_update(w, g, 1.0, 0.0)

    with Alarm() as alarm:
        for i in range(20):
            assert alarm.disturb(work, 0.001 + 0.0007 * i)
            seen = w.copy()
            assert seen.min() == seen.max()
    time.sleep(0.01)
    assert_same_bits(w, seen)
