"""Disturbs operations (see injection_*_cases.py) at one point after the other, and checks the state that is left.

There are three disturbances: a KeyboardInterrupt before a bytecode of any Python code that runs (a real Ctrl-C comes
only before some of them), the failure of one of Python's own allocations (_testcapi.set_nomemory), and the failure of
any malloc in the process, such as NumPy's for array data (failing_malloc.c, which has to be preloaded). As a script,
which .ci/inject runs, it prints a table: operation, disturbances, states that were neither old nor new.
"""

import argparse
import ctypes
import gc
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
from injection_lazy_cases import lazy_operations
from injection_linear_cases import linear_operations
from injection_optimizer_cases import dense_operations

HERE = Path(__file__).parent
MANY = 1 << 30

# Any error at any point of an operation must leave the whole old state or the whole new one, and from there the object
# must go on with the bits of an undisturbed object. A new operation needs only a row in one of these functions.
OPERATIONS = dict([*dense_operations(), *lazy_operations(), *linear_operations()])


# -- Disturbances: functions (act, k) that call act, disturb it at point k, and return how many points it passed -------


def interrupt(act, k):
    """A KeyboardInterrupt at the k-th bytecode."""
    passed = 0

    def trace(frame, event, arg):
        nonlocal passed
        if event == "call":
            if is_in_finalizer(frame):
                return None
            frame.f_trace = trace  # Python 3.13 uses f_trace_opcodes only where this is set
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            passed += 1
            if passed == k + 1:
                raise KeyboardInterrupt
        return trace

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()  # an error in a callback of the collector (hypothesis has one) becomes a warning and is lost
    sys._getframe().f_trace_opcodes = True  # Python 3.12 uses it only where some frame had it before
    try:
        sys.settrace(trace)
        act()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return passed


def is_in_finalizer(frame):
    """Whether it runs for a `__del__` (NumPy's of a file is one), where Python drops every exception."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


class FailingPython:
    """The k-th allocation of Python fails. Their number is unknown; 0 is returned if k is beyond the last one."""

    def __call__(self, act, k):
        import _testcapi

        failed = False
        try:
            _testcapi.set_nomemory(k, k + 1)
            act()
        except Exception:  # mostly MemoryError, but a lock that cannot be allocated is a RuntimeError, for example
            failed = True
        finally:
            _testcapi.remove_mem_hooks()
        return k + 1 if failed else 0


class FailingMalloc:
    """The k-th allocation in the process fails, and the following ones up to a number of failures."""

    def __init__(self, failures=1):
        library, self.failures = ctypes.CDLL(None), failures
        self.armed, self.first, self.last, self.seen = (
            ctypes.c_long.in_dll(library, f"failing_malloc_{name}") for name in ("armed", "first", "last", "seen")
        )

    def __call__(self, act, k):
        self.first.value, self.last.value, self.seen.value = k, k + self.failures, 0
        try:
            self.armed.value = 1
            act()
        except Exception:  # mostly MemoryError, but a lock that cannot be allocated is a RuntimeError, for example
            pass
        finally:
            self.armed.value = 0
        return self.seen.value


# -- The check --------------------------------------------------------------------------------------------------------


def outcomes(operation):
    """The states of an undisturbed subject, observed now and after going on: for the old state and for the new."""
    result = []
    for acts in (False, True):
        subject = operation.make()
        if acts:
            operation.act(subject)
        seen = operation.look(subject)
        operation.go_on(subject)
        result.append((seen, operation.look(subject)))
    return result


def find_fault(operation, subject, expected):
    """The fault of a subject after it was disturbed, or None."""
    try:
        seen = operation.look(subject)
    except Exception as error:
        return f"cannot be observed: {error!r}"
    afterwards = [later for before, later in expected if before == seen]
    if not afterwards:
        return f"torn: {difference(seen, expected)}"
    try:
        operation.go_on(subject)
        seen = operation.look(subject)
    except Exception as error:
        return f"cannot go on: {error!r}"
    if seen not in afterwards:
        return "goes on differently than from the old state or the new"
    return None


def difference(seen, expected):
    """Which parts are neither all old nor all new, as their places in what `look` returns."""
    parts = [
        f"{place}: {'old' if x == old else 'new' if x == new else 'neither'}"
        for place, x, old, new in walk(seen, expected[0][0], expected[1][0])
    ]
    return "; ".join(parts)[:600]


def walk(x, old, new, place=""):
    """The places where old and new, or x and both, differ."""
    if isinstance(x, dict) and isinstance(old, dict) and isinstance(new, dict) and x.keys() == old.keys() == new.keys():
        for key in x:
            yield from walk(x[key], old[key], new[key], f"{place}[{key!r}]")
    elif isinstance(x, list) and isinstance(old, list) and isinstance(new, list) and len(x) == len(old) == len(new):
        for i in range(len(x)):
            yield from walk(x[i], old[i], new[i], f"{place}[{i}]")
    elif not x == old == new:
        yield place, x, old, new


def disturb(operation, inject, k, expected):
    """The fault after a disturbance at point k, or None."""
    subject = operation.make()
    inject(lambda: operation.act(subject), k)
    return find_fault(operation, subject, expected)


def count(operation, inject):
    """The number of points to disturb, once all caches are warm; an upper limit for Python's allocations."""

    def passed(k):
        subject = operation.make()
        return inject(lambda: operation.act(subject), k)

    if isinstance(inject, FailingPython):
        end = 64
        while any(passed(k) for k in range(end, end + 16)):
            end *= 2
        return end
    return max(passed(MANY) for _ in range(3))


def sweep(operation, inject, most=None, least=0, seed=0, note=lambda k: None):
    """Disturbs at every point, or at `most` random ones; then several times in a row, up to `least` attempts.

    Returns the number of points, the number of disturbances, and the faults, each with its point.
    """
    expected, findings, rng = outcomes(operation), [], random.Random(seed)
    points = count(operation, inject)
    chosen = range(points) if most is None or most >= points else sorted(rng.sample(range(points), most))
    for k in chosen:
        note(k)
        if finding := disturb(operation, inject, k, expected):
            findings.append((k, finding))
    tried = len(chosen)
    while tried < least and points:
        ks = [rng.randrange(points) for _ in range(rng.randint(2, 6))]
        note(ks[0])
        tried += len(ks)
        if finding := disturb_again(operation, inject, ks, expected):
            findings.append((ks, finding))
    return points, tried, findings


def disturb_again(operation, inject, ks, expected):
    """The fault of one subject after several disturbances, compared with a twin that is never disturbed, or None."""
    if expected[0][0] == expected[1][0]:  # without a visible effect, it is unknown whether the twin must act, too
        ks = ks[:1]
        return disturb(operation, inject, ks[0], expected)
    subject, twin = operation.make(), operation.make()
    for k in ks:
        inject(lambda: operation.act(subject), k)
        old = operation.look(twin)
        if (seen := operation.look(subject)) != old:
            operation.act(twin)
            if (new := operation.look(twin)) != seen:
                return f"torn: {difference(seen, ((old,), (new,)))}"
    operation.go_on(subject)
    operation.go_on(twin)
    return None if operation.look(subject) == operation.look(twin) else "goes on differently than its twin"


# -- The table --------------------------------------------------------------------------------------------------------

INJECTORS = {"interrupts": lambda: interrupt, "python-memory": FailingPython, "malloc": FailingMalloc}
FOUND = 3  # exit status


def environment(what):
    """The variables of a process in which this disturbance is possible; builds the library for malloc."""
    shared = {"PYTHONFAULTHANDLER": "1"}
    if what != "malloc":
        return shared
    folder = Path(tempfile.mkdtemp())
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    target = folder / "failing_malloc.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", target, HERE / "failing_malloc.c"], check=True)
    return shared | {"LD_PRELOAD": str(target), "PYTHONMALLOC": "malloc"}


def table(what, names, most, least, seed, log):
    """Prints a line for each operation and its first faults; returns the exit status. `log` holds the current point."""
    inject, bad = INJECTORS[what](), False
    for i, name in enumerate(names):
        limits = (min(most or 40, 40), 0) if name.endswith("large") else (most, least)

        def note(k, i=i):
            os.pwrite(log, f"{i:9} {k:9}".encode(), 0)

        note(-1)
        points, tried, findings = sweep(OPERATIONS[name], inject, *limits, seed, note)
        print(f"{name:60} {points:7} points {tried:7} tried {len(findings):5} torn", flush=True)
        for k, finding in findings[:3]:
            print(f"    at {k}: {finding}", flush=True)
        bad |= bool(findings)
    return FOUND if bad else 0


def in_other_library(trace):
    """Whether a process crashed in SciPy or scikit-learn: their frame is the innermost one (SciPy's products do so).

    Or in cumsum of NumPy 2.0, which crashes where it gets no memory.
    """
    frame = re.search(r'File "([^"]+)"', trace)
    in_cumsum = re.match(r".*_wrapfunc\n.*numpy.*in cumsum\n", trace.partition("File ")[2])
    if in_cumsum and np.__version__.startswith("2.0."):
        return True
    return frame is not None and re.search(r"site-packages.(scipy|sklearn|joblib|narwhals)\b", frame[1]) is not None


def supervise(what, names, most=None, least=0, seed=0):
    """Prints the table in a child process, and in another one for the rest if it crashes; whether all is well."""
    bad, settings = False, os.environ | environment(what)
    while names:
        with tempfile.TemporaryFile() as log:
            options = {"log": log.fileno(), "most": most, "least": least, "seed": seed}
            words = [f"--{key}={x}" for key, x in options.items() if x is not None]
            command = [sys.executable, __file__, what, *names, *words]
            child = subprocess.run(command, env=settings, pass_fds=[log.fileno()], stderr=subprocess.PIPE, text=True)
            status = child.returncode
            if status in (0, FOUND):
                return not (bad or status)
            if status > 0:
                raise RuntimeError(child.stderr)
            log.seek(0)
            i, k = (int(x) for x in (log.read() or b"0 -1").split())
        where = child.stderr[child.stderr.rfind("Fatal") :].partition("Extension modules:")[0].strip()
        print(f"{names[i]:60} {k} points, then crashed with status {status}", flush=True)
        print(where, flush=True)
        bad, names = bad or not in_other_library(where), names[i + 1 :]
    return not bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=INJECTORS)
    parser.add_argument("names", nargs="*", help="operations to disturb, or parts of their names; all by default")
    parser.add_argument("--most", type=int, help="points of an operation to try, at random; all by default")
    parser.add_argument("--least", type=int, default=0, help="the least number of disturbances of an operation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_intermixed_args()  # names may follow options
    if arguments.log is not None:
        limits = arguments.most, arguments.least, arguments.seed
        return table(arguments.what, arguments.names, *limits, arguments.log)
    parts = arguments.names or [""]
    names = [name for name in OPERATIONS if any(part in name for part in parts)]
    if arguments.what != "interrupts":
        names = [name for name in names if not name.endswith("large")]
    return not supervise(arguments.what, names, arguments.most, arguments.least, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
