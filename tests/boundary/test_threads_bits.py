"""Threads: the same bits with any number, whole steps whatever happens, and how many are used.

The machine may have one processor, so tests of more say that there are seven.
"""

import os
import re
import signal
import sys
import threading
import time
from _thread import start_new_thread
from functools import cache

import numpy as np
import pytest
from cases import RULES, STORED, Strengths, arithmetic, assert_same_bits, python, update, values
from optimizer_cases import COMBINATIONS, DIRECTIONS, make

import fastreg
from fastreg._boundary import threads as _threads

SLICE = 1 << 20  # bytes that are worth a thread here, so that two megabytes are enough for two
GRAIN = 4096
VARIABLE = _threads.VARIABLE
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture(autouse=True)
def seven(monkeypatch):
    """Seven processors, and afterwards the default and the pool as they were."""
    default = _threads._default
    monkeypatch.setattr(_threads, "WORTH", SLICE)
    monkeypatch.setattr(_threads, "available", cache(lambda: 7))
    monkeypatch.setattr(_threads, "pool", _threads.Pool())
    yield
    _threads.pool.close()
    _threads._default = default


def big(dtype, size=None):
    """Weights and a gradient that are worth seven threads, of a size that no slice divides."""
    size = size or 8 * SLICE // (3 * np.dtype(dtype).itemsize) + 37
    w, g = values(dtype, 5003)
    return np.resize(w, size), np.resize(g[::-1], size)


def used():
    """How many threads the pool has started."""
    return _threads.pool.threads


# -- Bits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(("name", "mode"), COMBINATIONS)
def test_every_direction_has_the_same_bits_with_any_number_of_threads(name, mode, dtype):
    price = 3 * np.dtype(dtype).itemsize + 2 * np.dtype(arithmetic(dtype)).itemsize * len(DIRECTIONS[name].fields)
    w, g = big(dtype, 3 * SLICE // price + 4099)
    f = np.resize(np.array([0, 0.5, 2], arithmetic(dtype)), w.shape)
    results = []
    for threads in (1, 2, 3, 7):
        x = [w.copy(), w[:GRAIN].copy()]
        optimizer = make(name, x, mode=mode, l1=0.3, l2=0.2, penalty_factor=[f, None], threads=threads)
        for _ in range(2):
            optimizer.step([g, g[:GRAIN]])
        results.append([*x, *(a for state in optimizer.state.values() for a in state.values())])
    assert used()
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("size", [2 * SLICE // 6 + d for d in (-1, 0, 1)] + [170 * GRAIN + d for d in (-1, 0, 1, 17)])
def test_sizes_around_the_borders_of_slices(dtype, size):
    w, g = big(dtype, size)
    results = []
    for threads in (1, 2, 3, 7):
        fastreg.set_num_threads(threads)
        x = w.copy()
        fastreg.elastic_net_update(x, g, 0.1, 0.3, 0.2, mode="proximal")
        norm = fastreg.clip_grad_norm([x, g[:9].copy()], 1.0)
        results.append((x.tobytes(), norm.hex(), fastreg.elastic_net_penalty(w, 0.1, 0.3).hex()))
    assert results == results[:1] * 4


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_functions_use_the_default_of_the_process(rule):
    w, g = big(np.float32)
    one, three = w.copy(), w.copy()
    update(fastreg, rule, one, g, Strengths(0.1, 0.3, 0.2))
    assert not used()
    fastreg.set_num_threads(3)
    update(fastreg, rule, three, g, Strengths(0.1, 0.3, 0.2))
    assert used() == 2
    assert_same_bits(three, one)


def test_many_tensors_of_all_sizes_and_dtypes():
    rng = np.random.default_rng(3)
    sizes = [0, 1, 9, *rng.integers(1, 30_000, 60).tolist(), 500_001, 0, 3 * GRAIN, 900_000, 5]
    shapes = [(n,) if i % 2 else (1, n) for i, n in enumerate(sizes)]
    params = [np.resize(values(STORED[i % 3], 1009)[0], shape) for i, shape in enumerate(shapes)]
    grads = [None if i % 7 == 3 else w[::-1].copy() if w.ndim == 1 else w * w for i, w in enumerate(params)]
    results = []
    for threads in (None, 2, 3, 7):
        own = [w.copy() for w in params]
        optimizer = fastreg.Adam(own, 0.1, l1=0.1, l2=0.2, threads=threads)
        optimizer.step(grads)
        optimizer.bind(grads)
        optimizer.step()
        results.append(([w.tobytes() for w in own], [s["exp_avg"].tobytes() for s in optimizer.state.values()]))
    assert all(result == results[0] for result in results)
    assert used()


def test_small_work_wakes_nobody():
    fastreg.set_num_threads(7)
    w, g = big(np.float32, SLICE // 12)
    fastreg.l1_update(w, g, 0.1, 0.2)
    fastreg.SGD([w, g.copy()], threads=7).step([g, w.copy()])
    fastreg.clip_grad_norm(w, 1.0)
    fastreg.l1_penalty(w, 1.0)
    assert not used()


@pytest.mark.parametrize("policy", ["raise", "skip"])
@pytest.mark.parametrize("at", [(0, 0), (0, -1), (1, 500_000), (2, 0)])
def test_what_is_not_finite_is_found_in_every_slice(policy, at):
    params = [big(np.float32, n)[0] for n in (600_000, 700_001, 3)]
    grads = [np.ones_like(w) for w in params]
    grads[at[0]][at[1]] = np.nan
    grads[2][2] = np.inf
    before = [w.tobytes() for w in params]
    optimizer = fastreg.SGD(params, on_nonfinite=policy, threads=3)
    if policy == "raise":
        with pytest.raises(FloatingPointError, match=rf"^grads\[{at[0]}\]"):
            optimizer.step(grads)
    else:
        optimizer.step(grads)
        assert optimizer.skipped == 1
    assert used()
    assert [w.tobytes() for w in params] == before


# -- How many ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n", [0, -1, -(10**30), 2**31, 10**5000, -(10**5000)], ids=lambda n: f"{n:.1e}" if abs(n) < 10**99 else "huge"
)
def test_a_number_of_threads_is_positive_and_not_absurd(n):
    for call, name in ((fastreg.set_num_threads, "n"), (lambda n: fastreg.SGD(np.ones(2), threads=n), "threads")):
        with pytest.raises(
            ValueError, match=f"^{name}: expected a positive whole number, got (-?[0-9]|a number of 16610)"
        ):
            call(n)


@pytest.mark.parametrize("n", [1.0, "2", True, [2], np.array([1, 2]), np.bool_(True)])
def test_a_number_of_threads_is_whole(n):
    for call, name in ((fastreg.set_num_threads, "n"), (lambda n: fastreg.SGD(np.ones(2), threads=n), "threads")):
        with pytest.raises(TypeError, match=f"^{name}: expected a positive whole number, got "):
            call(n)
    with pytest.raises(TypeError, match=r"^n: .*NoneType"):
        fastreg.set_num_threads(None)


def test_set_and_get():
    for n in (3, np.int8(2), 10**6, 1):
        assert fastreg.set_num_threads(n) is None
        assert fastreg.get_num_threads() == n
        assert type(fastreg.get_num_threads()) is int
        assert _threads.usable(None, 1 << 40) == min(n, 7)
    assert _threads.usable(10**6, 1 << 40) == 7


def test_threads_of_an_optimizer_can_be_changed_and_are_no_setting_of_a_group():
    optimizer = fastreg.SGD(np.ones(2), threads=2)
    assert optimizer.threads == 2
    optimizer.threads = None
    assert optimizer.threads is None
    for bad, error in ((0, ValueError), ("2", TypeError)):
        with pytest.raises(error, match=r"^threads: "):
            optimizer.threads = bad
    with pytest.raises(TypeError, match=r"^threads: of the whole optimizer"):
        fastreg.SGD([{"params": np.ones(2), "threads": 2}])


CHECK = "import fastreg; print(fastreg.get_num_threads())"
SHOW = "import fastreg; fastreg.show_config()"


@pytest.mark.parametrize(
    ("value", "n"), [("", "1"), (" \t\u2003", "1"), (" 3 ", "3"), ("0012", "12"), ("2147483647",) * 2]
)
def test_the_environment_variable_is_the_first_default(value, n):
    done = python("-W", "error", "-c", CHECK, **{VARIABLE: value})
    assert (done.stdout.strip(), done.stderr) == (n, "")


ABSURD = [
    "0",
    "-1",
    "two",
    "1.5",
    "2,2",
    "²",
    "３",
    "1e3",
    "+1",
    "1_0",
    str(10**30),
    "2147483648",
    "9" * 5000,
    "\udcff\udc80",
    "1\n2",
]


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: ascii(value[:9]))
def test_a_bad_environment_variable_is_a_warning(value):
    done = python("-W", "always", "-c", CHECK + "; fastreg.show_config()", **{VARIABLE: value})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1\n")
    assert re.search(r"\bthreads +1 \(the default", done.stdout)
    shown = ascii(value)[:60]
    assert f"RuntimeWarning: {VARIABLE}: expected a positive whole number, got {shown}" in done.stderr
    assert done.stderr.isascii()
    assert max(map(len, done.stderr.splitlines())) < 300


AGAIN = """
import os, sys
for variable in ("FASTREG_DISABLE_CPU_FEATURES", "FASTREG_NUM_THREADS"):
    try:
        import fastreg
    except RuntimeWarning as warning:
        assert variable in str(warning)
    else:
        raise AssertionError
    assert not {"fastreg", "fastreg._boundary.functions", "fastreg.optimizers"} & set(sys.modules)
    del os.environ[variable]
import fastreg
fastreg.set_num_threads(2)
fastreg.show_config()
"""


def test_where_warnings_are_errors_the_import_is_all_or_nothing():
    done = python("-W", "error", "-c", AGAIN, FASTREG_DISABLE_CPU_FEATURES="\udcff", FASTREG_NUM_THREADS="many")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\bthreads +2 \(set by set_num_threads\)", done.stdout)


def test_config_tells_what_set_the_number():
    assert re.search(r"\bthreads +3 \(set by FASTREG_NUM_THREADS\)", python("-c", SHOW, **{VARIABLE: "3"}).stdout)
    unset = python("-c", f"import os; os.environ.pop({VARIABLE!r}, None); {SHOW}").stdout
    assert re.search(r"\bthreads +1 \(the default", unset)
    assert "set by" not in unset


def test_the_affinity_limits_the_threads():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from fastreg import _threads; print(_threads.usable(64, 1 << 40))"
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity on this system")
    assert python("-c", code).stdout.strip() == "1"


QUOTAS = {  # name → the files, what the process says it belongs to, and its quota
    "none": ({}, "0::/\n", np.inf),
    "version 2": ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
    "version 2 without": ({"cpu.max": "max 100000\n"}, "0::/\n", np.inf),
    "the least of all above": ({"cpu.max": "400000 100000", "a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"},
                               "0::/a/b\n", 2.0),
    "a path of the host": ({"cpu.max": "300000 100000"}, "0::/docker/abc\n", 3.0),
    "version 1": ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n", 0.5),
    "version 1, joined": ({"cpu,cpuacct/x/cpu.cfs_quota_us": "250000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
                          "5:memory:/x\n4:cpu,cpuacct:/x\n1:name=systemd:/x\n", 2.5),
    "version 1 without": ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu:/\n", np.inf),
    "nonsense": ({"cpu.max": "many\n"}, "0::/\n", np.inf),
}  # fmt: skip


@pytest.mark.parametrize("case", QUOTAS)
def test_the_quota_of_the_control_groups(case, tmp_path, monkeypatch):
    contents, membership, expected = QUOTAS[case]
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "membership").write_text(membership, encoding="utf-8")
    monkeypatch.setattr(_threads, "CGROUPS", tmp_path)
    monkeypatch.setattr(_threads, "MEMBERSHIP", tmp_path / "membership")
    assert _threads.quota() == expected


def test_no_control_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(_threads, "MEMBERSHIP", tmp_path / "nothing")
    assert _threads.quota() == np.inf


# -- Whatever happens -------------------------------------------------------------------------------------------------


class Refusing:
    """A queue that takes so many jobs and no more."""

    def __init__(self, queue, error, left):
        self.queue, self.error, self.left = queue, error, left

    def put(self, job):
        if not self.left:
            raise self.error
        self.left -= job is not None
        self.queue.put(job)


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_a_step_is_whole_whatever_the_pool_does(error, after, monkeypatch):
    w, g = big(np.float64)
    expected = w.copy()
    fastreg.l2_update(expected, g, 0.1, 0.2)
    fastreg.set_num_threads(5)
    _threads.pool.grow(4)
    with monkeypatch.context() as patch:
        patch.setattr(_threads.pool, "queue", Refusing(_threads.pool.queue, error, after))
        with pytest.raises(type(error)):
            fastreg.l2_update(w, g, 0.1, 0.2)
    assert w.tobytes() == expected.tobytes()


@pytest.mark.parametrize("started", [0, 1])
def test_a_step_is_made_with_the_threads_that_can_be_had(started, monkeypatch):
    def start(*arguments, left=[started]):  # noqa: B006
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        return start_new_thread(*arguments)

    monkeypatch.setattr(_threads, "start_new_thread", start)
    w, g = big(np.float64)
    expected = w.copy()
    fastreg.l2_update(expected, g, 0.1, 0.2)
    fastreg.set_num_threads(5)
    fastreg.l2_update(w, g, 0.1, 0.2)
    assert used() == started
    assert_same_bits(w, expected)


def test_a_pool_that_is_closed_starts_no_thread():
    _threads.pool.close()
    w, g = big(np.float32)
    expected = w.copy()
    fastreg.l2_update(expected, g, 0.1, 0.2)
    fastreg.set_num_threads(5)
    fastreg.l2_update(w, g, 0.1, 0.2)
    assert not used()
    assert_same_bits(w, expected)


def test_a_busy_pool_is_not_waited_for():
    release = threading.Event()
    _threads.pool.call(release.wait, 6)
    w, g = big(np.float32)
    expected = w.copy()
    fastreg.l2_update(expected, g, 0.1, 0.2)
    fastreg.set_num_threads(7)
    try:
        fastreg.l2_update(w, g, 0.1, 0.2)
    finally:
        release.set()
    assert_same_bits(w, expected)


def test_many_user_threads_at_once():
    w, g = big(np.float32)
    expected = w.copy()
    fastreg.set_num_threads(3)
    for _ in range(5):
        fastreg.l2_update(expected, g, 0.1, 0.2)
    copies = [w.copy() for _ in range(12)]

    def work(x):
        for _ in range(5):
            fastreg.l2_update(x, g, 0.1, 0.2)

    threads = [threading.Thread(target=work, args=[x]) for x in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x in copies:
        assert_same_bits(x, expected)
    assert used() == 2, "one pool for all"


HEADER = """
import os, sys, threading
from functools import cache
import numpy as np
import fastreg
from fastreg._boundary import threads as _threads
_threads.available = cache(lambda: 3)
w, g = np.ones(1 << 20), np.ones(1 << 20)
optimizer = fastreg.SGD(w, 0.5, threads=3)
optimizer.step(g)
assert _threads.pool.threads == 2, "the pool is in use"
"""


@FORKS
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_makes_its_own_pool():
    code = HEADER + (
        "pid = os.fork()\n"
        "optimizer.step(g)\n"
        "assert (w == 0).all(), w\n"
        "assert _threads.pool.threads == 2, 'of its own'\n"
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
        "threads = [threading.Thread(target=work) for _ in range(2)]\n"
        "[t.start() for t in threads]\n"
        "for i in range(8):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        y = np.ones(1 << 20)\n"
        "        fastreg.SGD(y, 0.5, threads=3).step(g)\n"
        "        os._exit(0 if (y == 0.5).all() else 1)\n"
        "    assert os.waitpid(pid, 0)[1] == 0\n"
        "stop.set()\n"
        "[t.join() for t in threads]\n"
        "print('all')\n"
    )
    done = python("-W", "ignore", "-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "all"), done.stderr


def test_the_interpreter_ends_cleanly_and_steps_until_the_end():
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
def test_an_interrupt_leaves_only_whole_steps():
    """Each step adds one to every weight, so that a torn one, or one that goes on, would show."""
    w, g = np.zeros(3_000_001), -np.ones(3_000_001)
    fastreg.set_num_threads(7)
    previous = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        for i in range(20):
            signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.0007 * i)
            try:
                while True:
                    fastreg.l2_update(w, g, 1.0, 0.0)
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
                seen = w.copy()
                assert seen.min() == seen.max()
        time.sleep(0.01)
        assert_same_bits(w, seen)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_every_direction_is_tested_here():
    assert {name for name, _ in COMBINATIONS} == set(DIRECTIONS)
