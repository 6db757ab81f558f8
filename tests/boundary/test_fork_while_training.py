"""A process forks while one of its threads trains: the child predicts, steps and reads, and sees only complete steps.

In the child that thread does not exist: nobody would release its locks or complete its step. Servers of models fork in
this way (multiprocessing before Python 3.14, gunicorn with --preload).
"""

import copy
import os
import signal
import sys
import threading
import traceback
from time import sleep

import numpy as np
import pytest

import fastreg
from fastreg.linear import StreamingClassifier, StreamingRegressor

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
SIZE = 300_000
CHILDREN = 6
TIMEOUT = 10  # seconds until a child counts as hung


def in_children(train, check):
    """Forks repeatedly while a thread trains, and calls check in the children; returns the first failure, if any."""
    stop, errors, trained, failures = threading.Event(), [], [], []

    def work():
        try:
            while not stop.is_set():
                train()
                trained.append(1)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for i in range(CHILDREN):
            sleep(0.003 + 0.0007 * i)
            failures += in_child(check)
            if failures:  # each child that hangs would wait for the timeout
                break
    finally:
        stop.set()
        thread.join()
    assert trained
    assert not errors, f"the training in the parent ended: {errors[0]!r}"
    return failures


def in_child(check):
    """Calls check in a forked child; returns its failure as a list of at most one text."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(TIMEOUT)
        status = 0
        try:
            check()
        except BaseException:
            os.write(writing, traceback.format_exc()[-3000:].encode())
            status = 1
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    return [] if status == 0 else [text or f"the child ended with status {os.waitstatus_to_exitcode(status)}"]


def assert_complete_steps(*arrays):
    for x in arrays:
        assert (x == x.flat[0]).all(), f"expected one value everywhere, got {np.unique(x)}"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bound", [False, True])
def test_an_optimizer(bound, threads):
    """Every step adds 1 to all weights, and to all sums of squares."""
    w = [np.zeros(SIZE), np.zeros(SIZE)]
    grads = [np.full_like(x, -1) for x in w]
    optimizer = fastreg.Adagrad(w, lambda n: 1.0, threads=threads)
    if bound:
        optimizer.bind(grads)
    arguments = [] if bound else [grads]

    def check():
        saved = optimizer.state_dict()
        assert [saved[f"tensor.{i}.steps"] for i in range(2)] == [saved["completed"]] * 2
        assert_complete_steps(
            *optimizer.params, *[np.append(saved[f"tensor.{i}.sum"], saved["completed"]) for i in range(2)]
        )
        optimizer.step(*arguments)
        assert optimizer.completed == saved["completed"] + 1
        assert_complete_steps(*optimizer.params)
        assert copy.deepcopy(optimizer).completed == optimizer.completed
        assert optimizer.zeros() in (0, 2 * SIZE)

    assert not in_children(lambda: optimizer.step(*arguments), check)


@pytest.mark.parametrize("kind", [fastreg.LazySGD, fastreg.LazyAdagrad, fastreg.LazyFTRL])
@pytest.mark.parametrize("scheduled", [False, True])
def test_lazy_updates(kind, scheduled):
    lazy = kind(np.zeros(SIZE), (lambda n: 1.0) if scheduled else 1.0)
    indices, values = np.arange(SIZE), np.full(SIZE, -1.0)

    def check():
        before = lazy.completed
        assert_complete_steps(lazy.weights(), lazy.w, *lazy.state_dict().get("sum", np.zeros((1, 1))).reshape(1, -1))
        lazy.step(indices, values)
        lazy.flush()
        lazy.l1 = 0.5
        assert lazy.completed == before + 1
        assert lazy.state_dict()["completed"] == before + 1
        assert_complete_steps(lazy.weights(), lazy.w)

    assert not in_children(lambda: lazy.step(indices, values), check)


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("ftrl", "auto"), ("sgd", "auto"), ("sgd", lambda t: 0.01), ("adagrad", "auto")]
)
def test_a_model(optimizer, rate):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3000, 100)), rng.integers(0, 2, 3000)
    model = StreamingClassifier(optimizer=optimizer, learning_rate=rate).partial_fit(x[:10], y[:10], classes=[0, 1])

    def check():
        assert model.predict(x[:5]).shape == (5,)
        assert np.isfinite(model.coef_).all()
        model.partial_fit(x[:5], y[:5])
        assert copy.deepcopy(model).coef_.tolist() == model.coef_.tolist()
        model.fit(x[:50], y[:50])

    assert not in_children(lambda: model.partial_fit(x, y), check)


def test_the_weights_of_a_model_in_the_child():
    """Every sample adds 1 to all weights and to the intercept; the child sees only complete calls."""
    batch = 400
    model = StreamingRegressor("huber", epsilon=1.0, optimizer="sgd", learning_rate="constant", eta0=1.0, alpha=0)
    x, y = np.ones((batch, 200)), np.full(batch, 1e12)
    model.partial_fit(x, y)

    def check():
        coef, intercept = model.coef_, model.intercept_
        assert_complete_steps(np.append(coef, intercept))
        assert coef[0] % batch == 0
        model.partial_fit(x, y)
        assert_complete_steps(np.append(model.coef_, coef[0] + batch))

    assert not in_children(lambda: model.partial_fit(x, y), check)


def test_a_failure_in_a_child_is_reported():
    def fail():
        raise ValueError("of the child")

    assert "of the child" in in_child(fail)[0]
    assert "status 3" in in_child(lambda: os._exit(3))[0]
    assert in_child(lambda: sys.getsizeof(0)) == []
