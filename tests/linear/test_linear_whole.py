"""Calls happen whole or not at all, one at a time, and readers see one moment, whatever fails and whoever is there."""

import copy
import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, PAIRS, bits, data, in_batches, is_classifier, make, stored
from scipy import sparse

from fastreg._boundary import linear as _learn
from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.linear import stream as _stream

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss", "ignore:max_iter")  # models with few epochs


def shown(model):
    """All that can be seen of a model."""
    if not hasattr(model, "_stream"):
        return sorted(vars(model))
    names = {name: x for name, x in vars(model).items() if name != "_stream"}
    return (
        bits(model),
        model._stream.learner.sizes,
        model.n_iter_,
        model.intercept_.tobytes(),
        repr(sorted(names.items())),
    )


REFUSED = {
    "weights": lambda model, x, y: model.fit(x, y, sample_weight=-np.ones(30)),
    "weights of zero": lambda model, x, y: model.fit(x, y, sample_weight=np.zeros(30)),
    "number of weights": lambda model, x, y: model.fit(x, y, sample_weight=np.ones(29)),
    "class weights": lambda model, x, y: model.set_params(class_weight={0: -1.0}).fit(x, y),
    "one class": lambda model, x, y: model.fit(x, np.zeros(30)),
    "divergence": lambda model, x, y: model.set_params(optimizer="sgd", learning_rate="constant", eta0=1e300).fit(
        1e100 * np.ones((30, 50)), y
    ),
    "memory": lambda model, x, y: model.fit(
        sparse.csr_array((np.ones(2), np.array([0, 2**47]), np.array([0, 1, 2])), shape=(2, 2**47 + 1)), [0, 1]
    ),
    "NaN": lambda model, x, y: model.fit(np.full((30, 50), np.nan), y),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("fitted", [True, False])
def test_a_fit_that_is_refused_changes_nothing(case, fitted):
    """Also not the number of features, nor their names: wider data would be read and written beyond the weights."""
    pandas = pytest.importorskip("pandas")
    x, y = data("log_loss")
    frame = pandas.DataFrame(x, columns=[f"feature {i}" for i in range(12)])
    model = StreamingClassifier()
    if fitted:
        model.fit(frame, y)
    parameters = model.get_params()
    before = shown(model)
    with pytest.raises((ValueError, MemoryError)):
        REFUSED[case](model, np.ones((30, 50)), y)
    model.set_params(**parameters)
    assert shown(model) == before
    if fitted:
        for call in (model.partial_fit, lambda x, y: model.predict(x)):
            with pytest.raises(ValueError, match=r"has 50 features.* is expecting 12"):
                call(np.ones((30, 50)), y)
        model.fit(x[:, :7], y)
        assert model.n_features_in_ == 7
        assert not hasattr(model, "feature_names_in_")


class StopError(BaseException):
    pass


def is_stopped(call, stop):
    """Whether an exception at the bytecode of this number, among those of the package, stops the call."""
    own = str(Path(_stream.__file__).parent)
    done = 0

    def trace(frame, event, arg):
        nonlocal done
        if not frame.f_code.co_filename.startswith(own):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            done += 1
            if done == stop:
                raise StopError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except StopError:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("method", ["fit", "first", "partial_fit", "warm_start", "long"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupt_at_any_bytecode(optimizer, method, monkeypatch):
    x, y = data("log_loss")
    x = stored(x, np.int32, float)
    if method == "long":
        monkeypatch.setattr(_stream, "LONG", 0)
        monkeypatch.setattr(_stream, "CHUNK", 16)
        x = x[:, :3]
    start = make("log_loss", optimizer, shuffle=False, max_iter=2, tol=None, warm_start=method == "warm_start")
    if method != "first":
        start.partial_fit(x[:20], y[:20], [0, 1])

    def call(model):
        if method == "first":
            return model.partial_fit(x, y, [0, 1])
        return (model.fit if method in ("fit", "warm_start") else model.partial_fit)(x, y)

    old, new = shown(start), shown(call(copy.deepcopy(start)))
    assert old != new
    seen, stop, step = set(), 1, 37 if method != "partial_fit" else 7
    while True:
        model = copy.deepcopy(start)
        stopped = is_stopped(lambda model=model: call(model), stop)
        state = shown(model)
        assert state in (old, new)
        seen.add(state == new)
        if not stopped:
            break
        if state == old:
            assert shown(call(model)) == new
        stop += step
    assert seen == {True, False}


def test_a_long_call_can_be_interrupted_and_an_ordinary_one_is_whole(monkeypatch):
    x, y = data("log_loss", 200, 4, density=1)
    expected = make("log_loss", eta0=0.1).partial_fit(x, y, [0, 1]).partial_fit(x, y)
    monkeypatch.setattr(_stream, "LONG", 100)
    monkeypatch.setattr(_stream, "CHUNK", 16)
    model, learner = make("log_loss", eta0=0.1).partial_fit(x, y, [0, 1]), None
    learner = model._stream.learner
    before, records = bits(model), learner.records
    prepared, calls = _stream.Stream._prepare, []

    def interrupted(self, *args):
        calls.append(self)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return prepared(self, *args)

    monkeypatch.setattr(_stream.Stream, "_prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(x, y)
    assert bits(model) == before
    model.partial_fit(x, y)
    assert bits(model) == bits(expected)
    assert model._stream.learner is learner
    assert learner.records is not records


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_a_learning_rate_that_calls_the_model(method):
    """Training it a second time is refused, reading it is not; what it sets holds from the next call on."""
    x, y = data("squared_error")
    model = StreamingRegressor(optimizer="sgd", max_iter=1, tol=None, shuffle=False).partial_fit(x, y)
    told = []

    def rate(t):
        model.predict(x)
        model.set_params(alpha=0.5)
        try:
            model.partial_fit(x, y)
        except RuntimeError as error:
            told.append(str(error))
        return 0.01

    expected = copy.deepcopy(model).set_params(learning_rate=lambda t: 0.01)
    model.set_params(learning_rate=rate)
    if method == "partial_fit":
        assert bits(model.partial_fit(x, y)) == bits(expected.partial_fit(x, y))
        assert told == ["partial_fit: expected one call at a time, got another while one is under way"] * 30
    else:  # private: the model that it calls is the old one
        model.set_params(learning_rate=lambda t: model.predict(x)[0] * 0 + 0.01).fit(x, y)
        assert bits(model) == bits(expected.fit(x, y))
    assert model.alpha == (0.5 if method == "partial_fit" else 1e-4)


def test_an_error_in_a_learning_rate_changes_nothing():
    x, y = data("squared_error")
    model = StreamingRegressor(optimizer="sgd").partial_fit(x, y)

    def rate(t):
        if t == 45:
            raise ZeroDivisionError
        return 0.01

    before = bits(model.set_params(learning_rate=rate))
    for call in (model.fit, model.partial_fit):
        model.set_params(shuffle=False)
        with pytest.raises(ZeroDivisionError):
            call(x, y)
        assert bits(model) == before


@pytest.fixture
def busy():
    """A model that another thread trains without a pause."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 20))
    y = (x[:, 0] > 0).astype(int)
    model, stop = StreamingClassifier().partial_fit(x[:10], y[:10], [0, 1]), threading.Event()

    def train():
        while not stop.is_set():
            try:
                model.partial_fit(x, y)
            except RuntimeError:  # the test trains, too
                time.sleep(0.001)

    thread = threading.Thread(target=train)
    thread.start()
    while model._stream.completed == 10:
        time.sleep(0.001)
    yield model, x, y
    stop.set()
    thread.join()


def states(x, y, count):
    """What can be seen of such a model after so many calls."""
    model = StreamingClassifier().partial_fit(x[:10], y[:10], [0, 1])
    seen = {}
    for _ in range(count):
        model.partial_fit(x, y)
        seen[model.coef_.tobytes()] = model.intercept_.tobytes(), model._stream.completed
    return seen


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_made_meanwhile_are_of_one_moment(busy, how):
    model, x, y = busy
    copies = [COPIES[how](model) for _ in range(20)]
    known = states(x, y, max(own._stream.completed for own in copies) // 4000)
    for own in copies:
        assert own._stream.completed == 10 or known[own.coef_.tobytes()] == (
            own.intercept_.tobytes(),
            own._stream.completed,
        )


def test_margins_are_of_one_moment(busy):
    model, x, y = busy
    one = sparse.csr_array(([1.0], ([0], [3])), shape=(1, 20))
    read = [(model.decision_function(x[:1])[0], model._margins(one)[0], model._stream._read()) for _ in range(200)]
    known = states(x, y, model._stream.completed // 4000 + 1)
    for _, _, (_, coef, intercept) in read:
        own = known.get(np.ascontiguousarray(coef).tobytes())
        assert own is None or own[0] == intercept.tobytes()
    assert any(np.ascontiguousarray(coef).tobytes() in known for _, _, (_, coef, _) in read)
    sums = {np.frombuffer(c)[3] + np.frombuffer(i)[0] for c, (i, _) in known.items()}
    assert sum(own in sums for _, own, _ in read) > 150


def test_what_is_read_is_never_stale(busy):
    """The number of samples that a model knows when weights are read is not less than when they were asked for."""
    model, x, _ = busy
    learner = model._stream.learner
    for _ in range(200):
        before = learner.version
        assert model._stream._read()[0] >= before
        assert model.predict(x[:3]).shape == (3,)


def test_two_threads_at_once_are_told(busy):
    """Either one after the other, or an error; never both in one set of weights."""
    model, x, y = busy
    errors = []
    for _ in range(50):
        try:
            model.partial_fit(x, y)
        except RuntimeError as error:
            errors.append(str(error))
    assert errors
    assert set(errors) == {"partial_fit: expected one call at a time, got another while one is under way"}
    assert np.isfinite(model.coef_).all()


def test_fits_in_threads_are_whole():
    """The last one wins, with all that belongs to it."""
    sets = [data("log_loss", 60, features) for features in (3, 7, 12)]
    model, errors = StreamingClassifier(max_iter=3, tol=None).fit(*sets[0]), []

    def fit(x, y):
        for _ in range(30):
            model.fit(x, y)

    def read():
        while any(thread.is_alive() for thread in threads):
            own = copy.copy(model)
            if own.n_features_in_ != own.coef_.shape[1]:
                errors.append(vars(own))

    threads = [threading.Thread(target=fit, args=own) for own in sets]
    reader = threading.Thread(target=read)
    for thread in (*threads, reader):
        thread.start()
    for thread in (*threads, reader):
        thread.join()
    assert not errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_fork_meanwhile(busy):
    """The child finds a whole model, which nobody trains."""
    model, x, y = busy
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                model.predict(x[:3])
                model.partial_fit(x[:3], y[:3])
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        time.sleep(0.003)


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_numbers_are_kept_by_copies(loss, optimizer):
    x, y = data(loss)
    model = make(loss, optimizer, max_iter=3, tol=None).fit(x, y)
    for own in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert shown(own) == shown(model)
        assert own.n_iter_ == 3
    known = {"classes": np.unique(y)} if is_classifier(loss) else {}
    assert make(loss, optimizer).partial_fit(x, y, sample_weight=np.zeros(30), **known).n_iter_ == 1


DAMAGED = {
    "a field less": lambda r: r[[name for name in r.dtype.names if name != "w"]],
    "another dtype": lambda r: np.zeros(len(r), [("w", "f8", (1,))]),
    "no records": lambda r: np.zeros(len(r)),
    "two dimensions": lambda r: r[:, None],
    "strided": lambda r: np.repeat(r, 2)[::2],
    "bytes": lambda r: r.view(np.uint8),
    "other order": lambda r: r.astype(r.dtype.newbyteorder()),
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pickles_that_are_damaged_are_refused(optimizer, case):
    model = in_batches(make("log_loss", optimizer), *data("log_loss", classes=3), 10)
    rebuild, (records, direction, second, intercept, *rest) = model._stream.learner.__reduce__()
    assert rebuild is _learn._rebuild
    with pytest.raises(ValueError, match=f"^records: expected those of {direction}"):
        rebuild(DAMAGED[case](records), direction, second, intercept, *rest)
    for other in ([intercept[0][:1], *intercept[1:]], [*intercept, *intercept], [x.astype("f4") for x in intercept]):
        with pytest.raises(ValueError, match=f"^records: expected those of {direction}"):
            rebuild(records, direction, second, other, *rest)


def test_predictions_and_epochs_are_not_attributes_that_can_be_torn():
    """Nothing that training changes is stored beside the stream."""
    x, y = data("log_loss")
    model = StreamingClassifier().fit(x, y)
    own = set(vars(model)) - set(model.get_params())
    assert own == {"_stream", "classes_", "n_features_in_"}
    before = {name: id(value) for name, value in vars(model).items()}
    model.partial_fit(x, y)
    model.predict(x)
    assert {name: id(value) for name, value in vars(model).items()} == before
