"""A schedule or a second thread calls the object during one of its calls: the whole old state or the whole new one.

The inner call may be refused ("expected one call at a time"); then the step fails with this error. Otherwise it happens
as a whole before the step. A reader sees the state before the step. Changes of arrays: test_step_interference.py.
"""

import copy
import pickle
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from injection import difference
from injection_cases import plain
from injection_lazy_cases import ROWS, look_at_lazy
from injection_optimizer_cases import look_at_optimizer

import fastreg

WRITERS = {
    "__init__": lambda s: s.it.__init__(s.others, 0.3, l1=0.01),
    "load_state_dict": lambda s: s.it.load_state_dict(s.saved),
    "bind": lambda s: s.it.bind(s.grads),
    "bind(None)": lambda s: s.it.bind(None),
    "step": lambda s: s.it.step(s.grads),
    "settings": lambda s: s.it.param_groups[0].update(l2=0.2, betas=(0.5, 0.5)),
    "policy": lambda s: setattr(s.it, "on_nonfinite", "skip"),
}
READERS = {
    "state_dict": lambda s: s.it.state_dict(),
    "deepcopy": lambda s: copies(copy.deepcopy(s.it)),
    "pickle": lambda s: copies(pickle.loads(pickle.dumps(s.it))),
    "zeros": lambda s: s.it.zeros("tensor"),
    "penalty": lambda s: s.it.penalty("tensor"),
    "params": lambda s: [w.copy() for w in s.it.params],
}


def copies(x):
    return [x.params, x.state_dict()]


class Schedule:
    """A learning rate that calls `act` the next time it is evaluated, once; copies do not."""

    def __init__(self):
        self.act = None

    def __call__(self, n):
        act, self.act = self.act, None
        if act:
            act()
        return 0.1

    def __eq__(self, other):
        return isinstance(other, Schedule)  # so that the observed states of two objects compare equal

    def __hash__(self):
        return 1

    def __reduce__(self):
        return Schedule, ()

    def __deepcopy__(self, memo):
        return Schedule()


def arrays(seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(7), rng.standard_normal((3, 2))]


def subject(bound=False):
    """An optimizer after some steps, its schedule, and the arguments of the calls."""
    schedule = Schedule()
    made = fastreg.Adam(arrays(0), schedule, l1=0.02)
    if bound:
        made.bind(arrays(9))
    made.step(arrays(1))
    other = fastreg.Adam(arrays(5), 0.4)
    for i in range(3):
        other.step(arrays(i))
    s = SimpleNamespace(it=made, schedule=schedule, others=arrays(3), saved=other.state_dict(), grads=arrays(4))
    s.saved = {key: x for key, x in s.saved.items() if key != "group.0.lr"}  # here it is a schedule
    s.more, s.arguments = {}, [] if bound else [s.grads]
    return s


def look(s):
    return [look_at_optimizer(s), plain(s.others)]


def results(acts, bound):
    """The observed state of a new subject after these calls, one after the other."""
    s = subject(bound)
    for act in acts:
        act(s)
    return look(s)


def call_in_schedule(s, act):
    """Lets the schedule call act on the subject; returns a list that is not empty after the call."""
    called = []

    def record():
        called.append(1)
        act(s)

    s.schedule.act = record
    return called


@pytest.mark.parametrize("bound", [False, True], ids=["step", "bound"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_schedule_that_writes(name, bound):
    """Of the step and the inner call, neither takes effect, or one of them, or one after the other."""

    def step(s):
        s.it.step(*s.arguments)

    act, s = WRITERS[name], subject(bound)
    whole = [results([], bound), results([act], bound), results([step], bound), results([step, act], bound)]
    if (name, bound) != ("bind(None)", True) and (name, bound) != ("__init__", True):  # afterwards nothing is bound
        whole.append(results([act, step], bound))

    called = call_in_schedule(s, act)
    try:
        step(s)
    except (RuntimeError, ValueError) as error:
        refused = str(error)
    else:
        refused = None
    assert called
    seen = look(s)
    assert seen in whole, f"{refused}; {difference(seen, [(whole[0],), (whole[2],)])}"
    if refused:
        assert seen in whole[:2], "an error, but the step took effect"
        assert "one call at a time" in refused or refused.startswith("grads: expected"), refused
    s.it.step([np.ones_like(w) for w in s.it.params])  # nothing is left locked


@pytest.mark.parametrize("name", READERS)
def test_a_schedule_that_reads(name):
    """It reads the state before the step, and does not change the step."""
    s, twin, read = subject(), subject(), []
    expected = READERS[name](twin)
    s.schedule.act = lambda: read.append(READERS[name](s))
    s.it.step(s.grads)
    twin.it.step(twin.grads)
    assert plain(read) == plain([expected])
    assert look(s) == look(twin)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
@pytest.mark.parametrize("name", ["step", "load_state_dict", "settings", "__init__"])
def test_an_error_after_a_call_that_was_refused(name, raised):
    """The schedule continues after the refusal, and then raises an error itself."""
    s, refused = subject(), []

    def act():
        try:
            WRITERS[name](s)
        except RuntimeError as error:
            refused.append(error)
        raise raised

    before = [results([], False), results([WRITERS[name]], False)]
    s.schedule.act = act
    with pytest.raises(raised):
        s.it.step(s.grads)
    assert look(s) in before
    assert not refused or look(s) == before[0]
    s.it.step(s.grads)
    assert s.it.completed


LAZY = {
    "__init__": lambda s: s.it.__init__(np.ones(ROWS), 0.3, l1=0.01),
    "load_state_dict": lambda s: s.it.load_state_dict(s.saved),
    "step": lambda s: s.it.step(*s.arguments),
    "step_csr": lambda s: s.it.step_csr(s.arguments[1], s.arguments[0], np.array([0, 1, 2])),
    "flush": lambda s: s.it.flush(),
    "l2": lambda s: setattr(s.it, "l2", 0.3),
}
LAZY_READERS = {
    "state_dict": lambda s: s.it.state_dict(),
    "weights": lambda s: s.it.weights(),
    "deepcopy": lambda s: copy.deepcopy(s.it).state_dict(),
    "pickle": lambda s: pickle.loads(pickle.dumps(s.it)).state_dict(),
}


def lazy_subject(kind):
    schedule = Schedule()
    made = kind(np.linspace(-1, 1, ROWS), schedule, l1=0.01, l2=0.1)
    saved = made.state_dict() | {"l1": 0.05}
    arguments = np.array([2, 7]), np.array([1.0, -1.0])
    for i in range(3):
        made.step(np.array([i]), np.ones(1))
    return SimpleNamespace(it=made, schedule=schedule, saved=saved, arguments=arguments, more={})


kinds = pytest.mark.parametrize("kind", [fastreg.LazySGD, fastreg.LazyAdagrad, fastreg.LazyFTRL])


@kinds
@pytest.mark.parametrize("name", LAZY)
@pytest.mark.parametrize("how", ["step", "step_csr"])
def test_a_schedule_that_writes_lazy_weights(kind, name, how):
    def after(*acts):
        s = lazy_subject(kind)
        for act in acts:
            act(s)
        return look_at_lazy(s)

    def one(place):
        part = slice(place, place + 1)
        return lambda s: s.it.step(s.arguments[0][part], s.arguments[1][part])

    step, act, s = LAZY[how], LAZY[name], lazy_subject(kind)
    whole = [after(), after(act), after(step), after(step, act), after(act, step)]
    if (how, name) == ("step_csr", "l2"):  # a setting holds from the next step on, also within the same call
        whole.append(after(one(0), act, one(1)))

    called = call_in_schedule(s, act)
    try:
        step(s)
    except RuntimeError as error:
        assert "one call at a time" in str(error)  # noqa: PT017
        assert look_at_lazy(s) in whole[:2]
    assert called
    seen = look_at_lazy(s)
    assert seen in whole, difference(seen, [(whole[0],), (whole[2],)])
    step(s)


@kinds
@pytest.mark.parametrize("name", LAZY_READERS)
def test_a_schedule_that_reads_lazy_weights(kind, name):
    s, twin, read = lazy_subject(kind), lazy_subject(kind), []
    expected = LAZY_READERS[name](twin)
    s.schedule.act = lambda: read.append(LAZY_READERS[name](s))
    LAZY["step"](s)
    LAZY["step"](twin)
    assert plain(read) == plain([expected])
    assert look_at_lazy(s) == look_at_lazy(twin)


def test_two_threads_that_construct_load_bind_and_step():
    """All weights of an object are equal at all times, in any order of the calls; afterwards it works."""
    size = 20_000
    first, second = ([np.zeros(size), np.zeros(size)] for _ in range(2))
    grads = [np.full(size, -1.0), np.full(size, -1.0)]
    optimizer = fastreg.Adagrad(first, 1.0)
    saved = optimizer.state_dict()
    acts = [
        lambda: optimizer.step(grads),
        lambda: optimizer.__init__(second, 1.0),
        lambda: optimizer.load_state_dict(saved),
        lambda: optimizer.bind(grads),
        lambda: optimizer.step(),
        lambda: optimizer.param_groups[0].update(lr=0.5),
        lambda: optimizer.__init__(first, 1.0),
        lambda: copy.deepcopy(optimizer),
    ]
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for i in rng.integers(0, len(acts), 300):
            try:
                acts[i]()
            except (RuntimeError, ValueError) as error:
                if not any(text in str(error) for text in ("one call at a time", "while", "bind(grads)")):
                    wrong.append(error)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    optimizer.step(grads)
    state = optimizer.state_dict()
    for x in (*first, *second, *optimizer.params, *(state[f"tensor.{i}.sum"] for i in range(2))):
        assert (x == x[0]).all()
    assert state["tensor.0.steps"] == state["tensor.1.steps"]
