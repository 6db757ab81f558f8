"""The number of threads: its settings, the environment variable, and the limits of the system."""

import os
import re

import numpy as np
import pytest
from cases import python

import fastreg
from fastreg._boundary import threads

pytestmark = pytest.mark.usefixtures("seven_processors")
VARIABLE = threads.VARIABLE


@pytest.mark.parametrize(
    "n", [0, -1, -(10**30), 2**31, 10**5000, -(10**5000)], ids=lambda n: f"{n:.1e}" if abs(n) < 10**99 else "huge"
)
def test_a_number_of_threads_is_positive_and_has_a_limit(n):
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
        assert threads.usable(None, 1 << 40) == min(n, 7)
    assert threads.usable(10**6, 1 << 40) == 7


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


NOT_A_COUNT = [
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


@pytest.mark.parametrize("value", NOT_A_COUNT, ids=lambda value: ascii(value[:9]))
def test_a_bad_environment_variable_is_a_warning(value):
    done = python("-W", "always", "-c", CHECK + "; fastreg.show_config()", **{VARIABLE: value})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1\n")
    assert re.search(r"\bthreads +up to 1 \(the default", done.stdout)
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


def test_an_import_that_fails_by_a_warning_can_be_repeated():
    done = python("-W", "error", "-c", AGAIN, FASTREG_DISABLE_CPU_FEATURES="\udcff", FASTREG_NUM_THREADS="many")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\bthreads +up to [12] \((2 )?set by set_num_threads", done.stdout)


def test_show_config_names_the_origin_of_the_number():
    assert re.search(
        r"\bthreads +up to [123] \((3 )?set by FASTREG_NUM_THREADS", python("-c", SHOW, **{VARIABLE: "3"}).stdout
    )
    unset = python("-c", f"import os; os.environ.pop({VARIABLE!r}, None); {SHOW}").stdout
    assert re.search(r"\bthreads +up to 1 \(the default", unset)
    assert "set by" not in unset


def test_the_affinity_limits_the_threads():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from fastreg._boundary import threads; print(threads.usable(64, 1 << 40))"
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity on this system")
    assert python("-c", code).stdout.strip() == "1"


QUOTAS = {  # name → the files of the control groups, the membership of the process, and its quota
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
    monkeypatch.setattr(threads, "CGROUPS", tmp_path)
    monkeypatch.setattr(threads, "MEMBERSHIP", tmp_path / "membership")
    assert threads.quota() == expected


def test_no_control_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "MEMBERSHIP", tmp_path / "nothing")
    assert threads.quota() == np.inf
