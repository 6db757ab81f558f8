"""A call of fit or partial_fit completes or does not change the model, even if it is interrupted or raises an error."""

import copy
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from linear_cases import OPTIMIZERS, PAIRS, bits, data, in_batches, is_classifier, make, stored
from scipy import sparse

from fastreg._boundary import linear as _learn
from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.linear import stream as _stream

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss", "ignore:max_iter")  # models with few epochs


def observable(model):
    """All observable attributes of a model, in a form that can be compared."""
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
def test_a_refused_fit_does_not_change_the_model(case, fitted):
    """The number of features must not change either: wider data would be read and written beyond the weights."""
    pandas = pytest.importorskip("pandas")
    x, y = data("log_loss")
    frame = pandas.DataFrame(x, columns=[f"feature {i}" for i in range(12)])
    model = StreamingClassifier()
    if fitted:
        model.fit(frame, y)
    parameters = model.get_params()
    before = observable(model)
    with pytest.raises((ValueError, MemoryError)):
        REFUSED[case](model, np.ones((30, 50)), y)
    model.set_params(**parameters)
    assert observable(model) == before
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
    """Raise StopError at bytecode number `stop` of fastreg.linear; returns whether the call reached it."""
    own = str(Path(_stream.__file__).parent)
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        if not frame.f_code.co_filename.startswith(own):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            if count == stop:
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


@pytest.mark.parametrize("method", ["fit", "first", "partial_fit", "warm_start", "long", "units"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupt_at_any_bytecode(optimizer, method, monkeypatch):
    x, y = data("log_loss")
    x = stored(x, np.int32, float)
    if method == "long":
        monkeypatch.setattr(_stream, "LONG", 0)
        monkeypatch.setattr(_stream, "CHUNK", 16)
        x = x[:, :3]
    if method == "units":  # features get them in the second call
        x = np.random.default_rng(0).standard_normal((30, 4)) * [1e-3, 1, 1, 1e3] + [0, 0, 1e4, 0]
    start = make("log_loss", optimizer, shuffle=False, max_iter=2, tol=None, warm_start=method == "warm_start")
    if method != "first":
        part = slice(5 if method == "units" else 20)
        start.partial_fit(x[part], y[part], [0, 1])

    def call(model):
        if method == "first":
            return model.partial_fit(x, y, [0, 1])
        return (model.fit if method in ("fit", "warm_start") else model.partial_fit)(x, y)

    old, new = observable(start), observable(call(copy.deepcopy(start)))
    assert old != new
    updated, stop, step = set(), 1, 37 if method != "partial_fit" else 7
    while True:
        model = copy.deepcopy(start)
        stopped = is_stopped(lambda model=model: call(model), stop)
        state = observable(model)
        assert state in (old, new)
        updated.add(state == new)
        if not stopped:
            break
        if state == old:
            assert observable(call(model)) == new
        stop += step
    assert updated == {True, False}
    assert bool(model._stream.sizes.units) == (method == "units")


def test_an_interrupted_long_call_does_not_change_the_model(monkeypatch):
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
    """It can read the model but not train it; parameters that it sets are used from the next call."""
    x, y = data("squared_error")
    model = StreamingRegressor(optimizer="sgd", max_iter=1, tol=None, shuffle=False).partial_fit(x, y)
    messages = []

    def rate(t):
        model.predict(x)
        model.set_params(alpha=0.5)
        try:
            model.partial_fit(x, y)
        except RuntimeError as error:
            messages.append(str(error))
        return 0.01

    expected = copy.deepcopy(model).set_params(learning_rate=lambda t: 0.01)
    model.set_params(learning_rate=rate)
    if method == "partial_fit":
        assert bits(model.partial_fit(x, y)) == bits(expected.partial_fit(x, y))
        assert messages == ["partial_fit: expected one call at a time, got another while one is under way"] * 30
    else:  # fit trains a snapshot: the callable sees the old model
        model.set_params(learning_rate=lambda t: model.predict(x)[0] * 0 + 0.01).fit(x, y)
        assert bits(model) == bits(expected.fit(x, y))
    assert model.alpha == (0.5 if method == "partial_fit" else 1e-4)


def test_an_error_in_a_learning_rate_does_not_change_the_model():
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


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_copies_have_the_same_counters(loss, optimizer):
    x, y = data(loss)
    model = make(loss, optimizer, max_iter=3, tol=None).fit(x, y)
    for own in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert observable(own) == observable(model)
        assert own.n_iter_ == 3
    known = {"classes": np.unique(y)} if is_classifier(loss) else {}
    assert make(loss, optimizer).partial_fit(x, y, sample_weight=np.zeros(30), **known).n_iter_ == 1


DAMAGED = {
    "a missing field": lambda r: r[[name for name in r.dtype.names if name != "w"]],
    "another dtype": lambda r: np.zeros(len(r), [("w", "f8", (1,))]),
    "no records": lambda r: np.zeros(len(r)),
    "two dimensions": lambda r: r[:, None],
    "strided": lambda r: np.repeat(r, 2)[::2],
    "bytes": lambda r: r.view(np.uint8),
    "other byte order": lambda r: r.astype(r.dtype.newbyteorder()),
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_damaged_pickles_are_refused(optimizer, case):
    model = in_batches(make("log_loss", optimizer), *data("log_loss", classes=3), 10)
    rebuild, (records, direction, intercept, *rest) = model._stream.learner.__reduce__()
    assert rebuild is _learn._rebuild
    match = rf"^records: expected those of {type(direction).__name__}, got others"
    with pytest.raises(ValueError, match=match):
        rebuild(DAMAGED[case](records), direction, intercept, *rest)
    for other in ([intercept[0][:1], *intercept[1:]], [*intercept, *intercept], [x.astype("f4") for x in intercept]):
        with pytest.raises(ValueError, match=match):
            rebuild(records, direction, other, *rest)


def test_training_changes_only_the_stream_attribute():
    """Separate attributes could not be updated atomically."""
    x, y = data("log_loss")
    model = StreamingClassifier().fit(x, y)
    own = set(vars(model)) - set(model.get_params())
    assert own == {"_stream", "classes_", "n_features_in_"}
    before = {name: id(value) for name, value in vars(model).items()}
    model.partial_fit(x, y)
    model.predict(x)
    assert {name: id(value) for name, value in vars(model).items()} == before
