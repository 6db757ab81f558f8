"""Random sequences of calls, hostile ones among them, over the whole public API: `python tests/fuzz.py SECONDS [SEED]`.

A seed is a scenario. Without SEED, half of the time goes to the seeds from 0 on, the same in every run, and half to
fresh ones. What must hold: results have the bits of the NumPy reference, or of a twin that has made the accepted calls;
errors are of the documented types; a call that raises has changed nothing; nothing crashes, also under the sanitizers
(.ci/sanitize builds for them). The seed under way stands in the temporary folder, should the process die.
"""

import copy
import io
import os
import pickle
import sys
import tempfile
import threading
import time
import traceback
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
from cases import RULES, bits
from lazy_cases import CASES as LAZY
from lazy_cases import make as make_lazy
from lazy_cases import make_dense, scatter
from lazy_cases import snapshot as lazy_snapshot
from linear_cases import LOSSES, is_classifier
from linear_cases import bits as model_bits
from linear_cases import make as make_model
from optimizer_cases import COMBINATIONS, Twin, make, snapshot
from scipy import sparse
from test_linear_memory import VIEWS

import fastreg
from fastreg import reference

DOCUMENTED = (TypeError, ValueError, RuntimeError, FloatingPointError, MemoryError)
DTYPES = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(ml_dtypes.bfloat16)]
SIZES = [0, 1, 2, 15, 16, 17, 31, 33, 511, 513, 4095, 4097, 8191, 8193, 20_000]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e-310, 1e-45, 1e308, 3e38]
NUMBERS = [0.0, 0.1, 0.5, 1e-3, 1.0, 1e-30, 1e30, 1e39, 1e-46, -1.0, np.nan, np.inf, True, 2, 10**400, "0.1", None, 1j]
OFFERED = [
    *VIEWS.values(),
    np.asfortranarray,
    lambda a: a.astype(complex),
    lambda a: a.astype(object),
    lambda a: a[None],
]


class HostileError(Exception):
    """Raised by a hostile callable."""


class Source:
    """Random choices of one seed."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def one(self, choices):
        return choices[self.rng.integers(len(choices))]

    def chance(self, p):
        return self.rng.random() < p

    def array(self, size, dtype, special=0.2):
        a = self.rng.standard_normal(size).astype(dtype)
        if a.size and self.chance(special):
            with np.errstate(all="ignore"):
                a.reshape(-1)[self.rng.integers(a.size)] = dtype.type(self.one(SPECIAL))
        return a

    def offered(self, a):
        """The array as another library might hand it over: most are refused."""
        if a.dtype.itemsize == 2:  # bfloat16 has neither views of other bytes nor complex numbers
            return self.one([a[::-1], a[:, None], odd_bfloat16(a), a.astype(np.float64)])
        return self.one(OFFERED)(a)

    def number(self):
        return self.one(NUMBERS) if self.chance(0.3) else self.one(NUMBERS[:4])


def odd_bfloat16(a):
    """At an odd address, which NumPy does not count as misaligned for a structure of two bytes."""
    buffer = np.zeros(a.nbytes + 2, np.uint8)
    start = 1 - buffer.__array_interface__["data"][0] % 2
    odd = buffer[start : start + a.nbytes]
    odd[...] = np.frombuffer(a.tobytes(), np.uint8)
    return odd.view(np.dtype([("bfloat16", np.uint16)]))


def pickled(x):
    return pickle.loads(pickle.dumps(x))


def refused(call, *args, **kwargs):
    """Whether a call raised, which it may do with documented errors alone."""
    try:
        call(*args, **kwargs)
    except (*DOCUMENTED, HostileError):
        return True
    return False


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


# -- Scenarios --------------------------------------------------------------------------------------------------------


def updates(source):
    """One call; the reference makes the same on a copy, or nothing has changed."""
    dtype, rule = source.one(DTYPES), source.one(list(RULES))
    w, g = (source.array(source.one(SIZES), dtype) for _ in range(2))
    g = source.array(w.size, dtype) if source.chance(0.9) else g
    given = [source.offered(x) if source.chance(0.15) else x for x in (w, g)]
    strengths = [source.number() for _ in range(1 + len(rule.strengths))]
    before, plain = w.copy(), given[0] is w and given[1] is g and g.size == w.size
    good = plain and all(type(x) is float and 0 <= x < 1e30 and (x == 0 or x > 1e-37) for x in strengths)
    failed = refused(rule.function(fastreg), *given, *strengths, mode=rule.mode)
    if good:
        expect(not failed, f"{rule.name} refused good arguments {strengths}")
        rule.function(reference)(before, g, *strengths, mode=rule.mode)
    if good or failed:
        expect(bits(w).tobytes() == bits(before).tobytes(), f"{rule.name}: other bits, or a change on an error")


def optimizers(source):
    """Steps, refused steps, resumed and copied optimizers beside a twin that steps with the reference."""
    name, mode = source.one(COMBINATIONS)
    dtype, size = source.one(DTYPES), source.one(SIZES)
    w = source.array(size, dtype, 0)
    l1, l2, lr = source.one([0.0, 0.3]), source.one([0.0, 0.2]), source.one([0.1, 0.01])
    twin = Twin(name, w, mode, lr, l1=l1, l2=l2)
    armed = []

    def schedule(n):
        return armed.pop()() if armed else lr

    optimizer = make(name, [w], schedule if source.chance(0.5) else lr, mode, l1=l1, l2=l2)
    for _ in range(source.rng.integers(1, 12)):
        g, before = source.array(size, dtype, 0.05), snapshot(optimizer)
        action = source.one(["step", "step", "refused", "hostile", "state", "copy", "tampered", "settings", "read"])
        if action == "step":
            optimizer.step([g])
            twin.step(g)
        elif action == "refused":
            if not refused(optimizer.step, [source.offered(g)]):  # it can be good, as Fortran order of a vector is
                twin.step(g)
                continue
        elif action == "hostile":
            armed.append(source.one(hostile(optimizer, g)))
            if not refused(optimizer.step, [g]):
                twin.step(g)
            armed.clear()
        elif action == "state":
            optimizer.load_state_dict(through_a_file(optimizer.state_dict() | {"epoch": 3}))
        elif action == "copy":
            local = callable(optimizer.param_groups[0]["lr"])  # which pickle cannot find
            optimizer = copy.deepcopy(optimizer) if local or source.chance(0.5) else pickled(optimizer)
        elif action == "tampered":
            if refused(optimizer.load_state_dict, tampered(source, optimizer.state_dict())):
                expect(snapshot(optimizer) == before, "a refused state has left something")
            else:
                return  # another state, as good as any
        elif action == "settings":
            changes = {source.one(["lr", "l1", "mode", "nope"]): source.one(NUMBERS[4:])}
            if refused(optimizer.param_groups[0].update, changes):
                expect(snapshot(optimizer) == before, "a refused setting has left something")
            else:
                return
        else:
            optimizer.penalty(), optimizer.zeros("tensor"), repr(optimizer)
        weights = optimizer.params[0]
        expect(bits(weights).tobytes() == bits(twin.w).tobytes(), f"{name} {mode} {dtype}: other bits after {action}")
        expect(optimizer.completed == twin.t, f"{name}: {optimizer.completed} steps counted, {twin.t} made")


def hostile(optimizer, g):
    """What a schedule does that means harm; each returns a learning rate or raises."""

    def boom():
        raise HostileError

    return [
        lambda: optimizer.step([g]),
        lambda: optimizer.bind([g]),
        lambda: optimizer.load_state_dict(optimizer.state_dict()),
        lambda: optimizer.__init__([g.copy()]),
        lambda: np.nan,
        lambda: "0.1",
        boom,
    ]


def tampered(source, saved):
    key = source.one(sorted(saved))
    x = saved[key]
    changes = [None, object(), "x", -1, 2**63, np.nan, np.inf, [], np.zeros((2, 2)), np.asarray(x, object)]
    if isinstance(x, np.ndarray) and x.size:
        changes += [x[:-1], x.astype(np.float16), -x.astype(float) if x.dtype.itemsize > 2 else x[1:]]
    return {**saved, key: source.one(changes)} if source.chance(0.8) else {k: v for k, v in saved.items() if k != key}


def through_a_file(saved):
    file = io.BytesIO()
    np.savez(file, **saved)
    file.seek(0)
    return dict(np.load(file))


def lazy(source):
    """Lazy steps beside dense ones, with refused calls between them."""
    name, dtype, rows = source.one(sorted(LAZY)), source.one(DTYPES[:2]), source.one([1, 2, 17, 100, 3000])
    shape = (rows,) if source.chance(0.6) else (rows, source.one([1, 3]))
    w = source.array(shape, dtype, 0)
    options = {"l1": source.one([0.0, 0.05]), "l2": source.one([0.0, 0.1])}
    one, dense = make_lazy(name, w, 0.1, **options), make_dense(name, w.copy(), 0.1, **options)
    for _ in range(source.rng.integers(1, 15)):
        n = source.one([0, 1, 2, 17, 40, 9000])
        indices = source.rng.integers(0, rows, n).astype(source.one([np.int32, np.int64]))
        values = source.array((n, *shape[1:]), dtype, 0)
        action, before = source.one(["step", "step", "csr", "refused", "flush", "state", "copy"]), lazy_snapshot(one)
        if action in ("step", "csr"):
            one.step(indices, values) if action == "step" else one.step_csr(values, indices, np.array([0, n]))
            dense.step(scatter(indices, values, shape))
        elif action == "refused" and n:
            bad = source.one(
                [indices + rows, -1 - indices, indices.astype(float), indices[::-1][:-1], indices[:, None]]
            )
            expect(refused(one.step, bad, values), "bad indices were taken")
            expect(lazy_snapshot(one) == before, "a refused step has left something")
        elif action == "flush":
            one.flush()
        elif action == "state":
            one.load_state_dict(through_a_file(one.state_dict() | {"epoch": 1}))
            if refused(one.load_state_dict, tampered(source, one.state_dict())):
                expect(lazy_snapshot(one)[0] == one.w.tobytes(), "a refused state has left something")
            else:
                return
        else:
            one = source.one([copy.deepcopy, pickled])(one)
    seen, right = one.weights(), dense.params
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    off = np.abs(seen.astype(float) - right).max(initial=0)
    expect(off <= tolerance * max(1.0, np.abs(right).max(initial=0)), f"{name} {dtype} {options}: off by {off}")


def linear(source):
    """Models on hostile matrices beside models on their canonical copies."""
    loss, optimizer = source.one(sorted(LOSSES)), source.one(["ftrl", "sgd", "adagrad"])
    options = {
        "alpha": source.one([1e-6, 1e-4, 0.1]),
        "l1_ratio": source.one([0.0, 0.5, 1.0]),
        "max_iter": 2,
        "tol": None,
    }
    models = [make_model(loss, optimizer, random_state=0, **options) for _ in range(2)]
    features, classes = source.one([1, 5, 60]), np.arange(source.one([2, 3]))
    for _ in range(source.rng.integers(1, 6)):
        count = source.one([1, 2, 30])
        x = source.rng.standard_normal((count, features)) * (source.rng.random((count, features)) < 0.3)
        x = x.astype(source.one(DTYPES[:2]))
        y = source.rng.integers(0, len(classes), count) if is_classifier(loss) else source.rng.standard_normal(count)
        first = {"classes": classes} if is_classifier(loss) else {}
        good = sparse.csr_matrix(x)
        bad, spoilt = disguised(source, good)
        call = source.one(["partial_fit", "partial_fit", "partial_fit", "predict", "copy"])
        if call == "copy":
            models[1] = source.one([copy.deepcopy, pickled])(models[1])
        elif call == "predict":
            if not spoilt and hasattr(models[0], "_stream"):
                right, seen = models[0].predict(good), models[1].predict(bad)  # the order of sums may differ
                expect(is_classifier(loss) or np.allclose(seen, right, 1e-4, 1e-4), f"predicted {seen}, not {right}")
            elif spoilt:
                refused(models[1].predict, bad)
        elif spoilt:
            before = model_bits(models[1]) if hasattr(models[1], "_stream") else None
            if not refused(models[1].partial_fit, bad, y, **first):
                return
            after = model_bits(models[1]) if hasattr(models[1], "_stream") else None
            expect(before == after, "a refused matrix has left something")
        else:
            models[0].partial_fit(good, y, **first)
            models[1].partial_fit(bad, y, **first)
        if all(hasattr(m, "_stream") for m in models):
            expect(model_bits(models[0]) == model_bits(models[1]), f"{loss} {optimizer}: other weights after {call}")


def disguised(source, x):
    """The same matrix in other memory, or one that is spoilt; and whether it is."""
    x, part = x.copy(), source.one(["data", "indices", "indptr"])
    a = getattr(x, part)
    kind = source.rng.integers(6)
    if kind < 3:
        setattr(x, part, source.one(list(VIEWS.values()))(a))
        return x, False
    if kind == 3 and part != "data":
        setattr(x, part, a.astype(source.one([np.uint16, np.int16, np.uint32, np.int64, ">i4"])))
        return x, False
    if kind == 4 and x.nnz:  # entries in two halves, while a flag says that there is none twice
        x.has_canonical_format = True
        halves = np.repeat(x.data / 2, 2), np.repeat(x.indices, 2), x.indptr * 2
        x.data, x.indices, x.indptr = halves
        return x, False
    spoilt = a.copy()
    if len(spoilt) and part != "data":
        spoilt[source.rng.integers(len(spoilt))] = source.one([-1, 2**30, -(2**30)])
    setattr(x, part, spoilt if part != "data" else spoilt[:-1])
    return x, True


def threads(source):
    """One thread steps, another reads or steps too: whole states or RuntimeErrors, and the object works afterwards."""
    w = np.zeros(source.one([10, 100_000]))
    optimizer, stop = fastreg.SGD(w, 1.0, momentum=0.0), threading.Event()

    def work():
        while not stop.is_set():
            refused(optimizer.step, -np.ones_like(w))

    others = [threading.Thread(target=work) for _ in range(source.one([1, 2]))]
    for thread in others:
        thread.start()
    try:
        for _ in range(10):
            saved = optimizer.state_dict()
            expect(saved["completed"] == saved["tensor.0.steps"], "counts that differ")
            refused(copy.deepcopy, optimizer)
            refused(optimizer.load_state_dict, saved | {"completed": -1})
    finally:
        stop.set()
        for thread in others:
            thread.join()
    expect(len(np.unique(w)) == 1 and w[0] == optimizer.completed, "steps that are not whole")


SCENARIOS = [updates, updates, optimizers, optimizers, lazy, lazy, linear, linear, threads]


# -- The loop ---------------------------------------------------------------------------------------------------------


def run(seed):
    """The error of one seed, as text, or None."""
    source = Source(seed)
    scenario = source.one(SCENARIOS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scenario(source)
    except Exception:
        return f"{scenario.__name__}: {traceback.format_exc()}"
    return None


def main(seconds, first=None):
    under_way = Path(tempfile.gettempdir()) / f"fastreg-fuzz-{os.getpid()}"
    fresh = time.time_ns() % 10**12
    print(f"seeds: {f'from {first}' if first is not None else f'from 0, and from {fresh}'}", flush=True)
    blocks = [(first, seconds)] if first is not None else [(0, seconds / 2), (fresh, seconds / 2)]
    count = 0
    for start, share in blocks:
        seed, end = start, time.monotonic() + share
        while time.monotonic() < end:
            under_way.write_text(f"{seed}\n")
            if (error := run(seed)) is not None:
                print(f"seed {seed}: {error}\nagain: python tests/fuzz.py 0 {seed}", flush=True)
                return 1
            seed, count = seed + 1, count + 1
    under_way.unlink(missing_ok=True)
    print(f"{count} seeds, nothing found")
    return 0


if __name__ == "__main__":
    seconds, *first = map(float, sys.argv[1:] or ["120"])
    if first and seconds == 0:
        error = run(int(first[0]))
        print(error or "nothing found")
        sys.exit(error is not None)
    sys.exit(main(seconds, int(first[0]) if first else None))
