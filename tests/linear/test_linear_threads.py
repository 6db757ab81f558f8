"""Other threads and forked processes see a consistent model while it trains, and only one call at a time trains it."""

import copy
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest
from linear_cases import data
from scipy import sparse

from fastreg.linear import StreamingClassifier

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss", "ignore:max_iter")  # models with few epochs


@pytest.fixture
def busy():
    """A model that another thread trains continuously."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 20))
    y = (x[:, 0] > 0).astype(int)
    model, stop = StreamingClassifier().partial_fit(x[:10], y[:10], [0, 1]), threading.Event()

    def train():
        while not stop.is_set():
            try:
                model.partial_fit(x, y)
            except RuntimeError:  # the test also trains
                time.sleep(0.001)

    thread = threading.Thread(target=train)
    thread.start()
    while model._stream.completed == 10:
        time.sleep(0.001)
    yield model, x, y
    stop.set()
    thread.join()


def states(x, y, count):
    """Intercept and number of samples by weights, after each of `count` calls of partial_fit."""
    model = StreamingClassifier().partial_fit(x[:10], y[:10], [0, 1])
    known = {}
    for _ in range(count):
        model.partial_fit(x, y)
        known[model.coef_.tobytes()] = model.intercept_.tobytes(), model._stream.completed
    return known


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_during_training_are_consistent(busy, how):
    model, x, y = busy
    copies = [COPIES[how](model) for _ in range(20)]
    known = states(x, y, max(own._stream.completed for own in copies) // 4000)
    for own in copies:
        assert own._stream.completed == 10 or known[own.coef_.tobytes()] == (
            own.intercept_.tobytes(),
            own._stream.completed,
        )


def test_margins_during_training_are_consistent(busy):
    model, x, y = busy
    one = sparse.csr_array(([1.0], ([0], [3])), shape=(1, 20))
    read = [(model.decision_function(x[:1])[0], model._margins(one)[0], model._stream._read()) for _ in range(200)]
    known = states(x, y, model._stream.completed // 4000 + 1)
    for _, _, (_, coef, intercept, _) in read:
        own = known.get(np.ascontiguousarray(coef).tobytes())
        assert own is None or own[0] == intercept.tobytes()
    assert any(np.ascontiguousarray(coef).tobytes() in known for _, _, (_, coef, *_) in read)
    sums = {np.frombuffer(c)[3] + np.frombuffer(i)[0] for c, (i, _) in known.items()}
    assert sum(own in sums for _, own, _ in read) > 150


def test_weights_are_never_older_than_the_call_that_reads_them(busy):
    """The version of the weights is not lower than at the beginning of the call."""
    model, x, _ = busy
    learner = model._stream.learner
    for _ in range(200):
        before = learner.version
        assert model._stream._read()[0] >= before
        assert model.predict(x[:3]).shape == (3,)


def test_two_threads_do_not_train_at_once(busy):
    """The calls run one after the other, or one raises an error."""
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


def test_fits_in_several_threads():
    """The last result remains, with all its attributes."""
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_fork_during_training(busy):
    """The child has a consistent model, and can train it."""
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
