"""A failure of any allocation in any call leaves the whole old state or the whole new one, and no process crashes.

The calls run in processes of their own, so that a crash can be detected. The tests let a sample of the allocations
fail; ``.ci/inject`` lets each of them fail.
"""

import platform
import shutil
import sysconfig

import pytest
from cases import python
from injection import OPERATIONS, FailingPython, environment, supervise

NAMES = [name for name in OPERATIONS if not name.endswith("large")]
LINEAR = [name for name in NAMES if "classifier" in name or "regressor" in name]
LAZY = [name for name in NAMES if name.startswith("Lazy")]
KINDS = {"optimizers": [name for name in NAMES if name not in LINEAR + LAZY], "lazy": LAZY, "linear": LINEAR}

compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or shutil.which(compiler) is None, reason="replaces the malloc of glibc"
)


# If a generator cannot be allocated in code that has run often, CPython 3.12.1 and 3.13.0 crash in a later call.
GENERATOR = """
import _testcapi

def run(numbers=(0, 0, 0)):
    return any(numbers[k] for k in (0, 1, 2))

for _ in range(200):
    run()
for k in range(1, 8):
    try:
        _testcapi.set_nomemory(k, k + 1)
        run()
    except MemoryError:
        pass
    finally:
        _testcapi.remove_mem_hooks()
    for _ in range(200):
        run()
"""


@pytest.fixture(scope="module")
def interpreter():
    """An interpreter that survives failing allocations without fastreg and NumPy; others are skipped."""
    pytest.importorskip("_testcapi", reason="CPython's own test module makes allocations fail")
    if python("-S", "-c", GENERATOR).returncode < 0:
        pytest.skip(f"Python {platform.python_version()} itself crashes where a generator cannot be allocated")


@glibc
@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("kind", KINDS)
def test_any_allocation_of_the_process_may_fail(kind, capfd):
    passed = supervise("malloc", KINDS[kind], most=12)
    table = capfd.readouterr().out
    assert table.count("points") == len(KINDS[kind]), table
    assert passed, table


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("kind", KINDS)
def test_any_allocation_of_python_may_fail(kind, capfd):
    passed = supervise("python-memory", KINDS[kind][::8], most=12)
    assert passed, capfd.readouterr().out


def test_the_injection_lets_allocations_of_python_fail():
    pytest.importorskip("_testcapi")
    made = []
    failed = [FailingPython()(lambda: made.append(bytearray(1 << 20)), k) for k in range(20)]
    assert failed[0] == 1
    assert failed[-1] == 0
    assert 0 < len(made) < 20


@glibc
def test_the_injection_lets_allocations_of_array_data_fail():
    code = """
import numpy as np
from injection import FailingMalloc
made, inject = [], FailingMalloc()
for k in range(20):
    inject(lambda: made.append(np.zeros(1000)), k)
assert 10 < len(made) < 18, len(made)  # an array is an object, its shape and its data: one allocation each
"""
    done = python("-c", code, **environment("malloc"))
    assert done.returncode == 0, done.stderr
