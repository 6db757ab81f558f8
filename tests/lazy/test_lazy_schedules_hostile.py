"""Lazy updates with schedules that raise or interfere, and with arrays that change between or during steps."""

import warnings
from functools import partial

import numpy as np
import pytest
from lazy_cases import CASES, make, snapshot

names = pytest.mark.parametrize("name", CASES)
calls = pytest.mark.parametrize("call", ["step", "step_csr"])


class Schedule:
    """A callable that, when armed, runs a function at the given number of completed steps."""

    def __init__(self, act=None, at=2):
        self.act, self.at, self.armed, self.calls = act, at, False, []

    def __call__(self, completed):
        self.calls.append(completed)
        if self.armed and completed >= self.at:
            return self.act()
        return 0.1


def of(name, schedule, which="lr", **options):
    w = np.linspace(-1, 1, 9)
    return w, make(name, w, **{"l1": 0.1} | {which: schedule} | options)


def arguments(call):
    indices, values = np.array([1, 4, 4, 2]), np.ones(4)
    return (indices, values) if call == "step" else (values, indices, np.array([0, 2, 2, 3, 4]))


@names
@calls
def test_schedules_are_given_the_number_of_completed_steps(name, call):
    schedule, again = Schedule(), Schedule()
    _, lazy = of(name, schedule)
    getattr(lazy, call)(*arguments(call))
    done = lazy.completed
    lazy.l1 = again
    assert again.calls == [done]
    getattr(lazy, call)(*arguments(call))
    assert set(schedule.calls[:2]) == {0}
    assert schedule.calls[-lazy.completed :] == [*range(lazy.completed)]
    assert again.calls == [done, *range(done, lazy.completed)]
    assert (lazy.lr, lazy.l1) == (schedule, again)


def fail():
    raise KeyError("of the schedule")


BAD = {
    "raises": (fail, KeyError, "of the schedule"),
    "none": (lambda: None, TypeError, "^lr: "),
    "text": (lambda: "0.1", TypeError, "^lr: "),
    "nan": (lambda: np.nan, ValueError, "^lr: .*nan"),
    "negative": (lambda: -0.1, ValueError, "^lr: .*-0.1"),
    "infinite": (lambda: np.inf, ValueError, "^lr: .*inf"),
}


@names
@calls
@pytest.mark.parametrize("case", BAD)
def test_schedules_that_raise_change_nothing(name, call, case):
    act, error, text = BAD[case]
    schedule = Schedule(act)
    _, lazy = of(name, schedule)
    lazy.step_csr(*arguments("step_csr"))
    before, schedule.armed = snapshot(lazy), True
    schedule.at = 4 if call == "step" else 6  # in the middle of the run
    for _ in range(2):
        with pytest.raises(error, match=text):
            getattr(lazy, call)(*arguments(call))
        assert snapshot(lazy) == before
    schedule.armed = False
    getattr(lazy, call)(*arguments(call))


def test_a_schedule_that_leaves_the_range_of_the_truncated_mode():
    schedule = Schedule(lambda: 5.0, 2)
    _, lazy = of("truncated", schedule, l2=0.2)
    schedule.armed, before = True, snapshot(lazy)
    with pytest.raises(ValueError, match=r"^lr: expected lr times l2 below 1 .* got 5.0 \* 0.2"):
        lazy.step_csr(*arguments("step_csr"))
    assert snapshot(lazy) == before


@names
@calls
def test_a_schedule_that_steps_its_own_object(name, call):
    saved = of(name, 0.1)[1].state_dict()
    for method, given in {
        "step": arguments("step"),
        "step_csr": arguments("step_csr"),
        "flush": (),
        "load_state_dict": (saved,),
        "__init__": (np.ones(100), 0.1),
    }.items():
        schedule = Schedule(None, 0)
        _, lazy = of(name, schedule)
        schedule.act = partial(getattr(lazy, method), *given)
        before, schedule.armed = snapshot(lazy), True
        with pytest.raises(RuntimeError, match="one call at a time"):
            getattr(lazy, call)(*arguments(call))
        assert snapshot(lazy) == before


@names
@calls
@pytest.mark.parametrize("read", ["weights", "state_dict", "__reduce__"])
def test_a_schedule_that_reads_sees_the_state_before_the_step(name, call, read):
    seen, schedule = [], Schedule(None, 0)
    _, lazy = of(name, schedule)
    schedule.act = lambda: seen.append((lazy.weights().tobytes(), repr(getattr(lazy, read)()))) or 0.1
    before, schedule.armed = lazy.weights().tobytes(), True
    getattr(lazy, call)(*arguments(call))
    assert seen[0][0] == before
    assert lazy.weights().tobytes() != before


@names
@calls
def test_a_strength_that_a_schedule_sets_counts_from_the_next_step_on(name, call):
    def act():
        lazy.lr = 0.25
        return 0.1

    schedule = Schedule(act, 0)
    _, lazy = of(name, schedule)
    _, expected = of(name, 0.1)
    schedule.armed = True
    getattr(lazy, call)(*arguments(call))
    if call == "step":
        expected.step(*arguments("step"))
    else:
        data, indices, indptr = arguments("step_csr")
        expected.step(indices[:2], data[:2])
        expected.lr = 0.25
        expected.step_csr(data[2:], indices[2:], indptr[1:] - 2)
    assert lazy.lr == expected.lr or call == "step"
    lazy.step(*arguments("step"))
    expected.lr = 0.25
    expected.step(*arguments("step"))
    assert snapshot(lazy) == snapshot(expected)


def freeze(w):
    w.flags.writeable = False


def reshape(w):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        w.shape = (w.size, 1) if w.ndim == 1 else (w.size,)


def transpose(w):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        w.shape = w.shape[::-1]


def as_integers(w):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        w.dtype = np.int64


def as_float32(w):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        w.dtype = np.float32


CHANGES = {
    freeze: ValueError,
    reshape: ValueError,
    transpose: ValueError,
    as_integers: TypeError,
    as_float32: ValueError,
}


@names
@calls
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("inside", [False, True], ids=["between steps", "in a schedule"])
@pytest.mark.parametrize("shape", [(9,), (9, 2)])
def test_weights_that_change(name, call, change, inside, shape):
    if change is transpose and shape == (9,):
        return
    w = np.ones(shape)
    schedule = Schedule(lambda: change(w) or 0.1, 0)
    lazy = make(name, w, schedule, l1=0.1)
    indices, values, before = np.arange(4), np.ones((4, *shape[1:])), w.tobytes()
    schedule.armed = inside
    if not inside:
        change(w)
    with pytest.raises(CHANGES[change], match=r"^w: .*, got "):
        getattr(lazy, call)(*((indices, values) if call == "step" else (values, indices, np.array([0, 4]))))
    for method in (lazy.flush, lazy.weights):
        with pytest.raises(CHANGES[change], match=r"^w: .*, got "):
            method()
    assert w.tobytes() == before
    assert lazy.completed == 0


def shrink(a):
    a.resize(1, refcheck=False)


def bytes_of(a):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a.dtype = np.int8


ARGUMENT_CHANGES = {  # a change of indices and values, and the argument that is then refused
    "both are shorter": (lambda i, v: (shrink(i), shrink(v)), {"step": None, "step_csr": "indptr"}),
    "an index is too large": (lambda i, v: i.fill(1 << 40), {"step": "indices", "step_csr": "indices"}),
    "indices are shorter": (lambda i, v: shrink(i), {"step": "values", "step_csr": "indptr"}),
    "indices are floats": (lambda i, v: as_float32(i), {"step": "indices", "step_csr": "indices"}),
    "indices are bytes": (lambda i, v: bytes_of(i), {"step": "indices", "step_csr": "indices"}),
    "both are bytes": (lambda i, v: (bytes_of(i), bytes_of(v)), {"step": "indices", "step_csr": "indices"}),
    "values are shorter": (lambda i, v: shrink(v), {"step": "values", "step_csr": "data"}),
    "values are float32": (lambda i, v: as_float32(v), {"step": "values", "step_csr": "data"}),
}


@names
@calls
@pytest.mark.parametrize("case", ARGUMENT_CHANGES)
def test_arguments_that_a_schedule_changes(name, call, case):
    change, refused = ARGUMENT_CHANGES[case]
    indices, values, indptr = np.arange(4), np.ones(4), np.array([0, 2, 4])
    schedule = Schedule(lambda: [change(indices, values), 0.1][1], 0)
    _, lazy = of(name, schedule)
    schedule.armed, before = True, snapshot(lazy)
    act = getattr(lazy, call)
    if refused[call] is None:
        act(indices, values)
        assert lazy.completed == 1
        return
    with pytest.raises((TypeError, ValueError), match=f"^{refused[call]}: .*, got "):
        act(*((indices, values) if call == "step" else (values, indices, indptr)))
    assert snapshot(lazy) == before
