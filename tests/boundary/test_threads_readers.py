"""One thread trains, another reads: it gets the state after some step or a clear error, and the training continues.

The training keeps an invariant that a state in the middle of a step violates: every weight is the number of steps so
far, or either all weights are zero or none is. `params` and `state` are not read here: they are the live arrays.
"""

import copy
import pickle
import sys
import threading
from time import monotonic, sleep

import numpy as np
import pytest

import fastreg
from fastreg.linear import StreamingRegressor

SIZE = 200_000  # a step takes longer than a switch of threads
SECONDS = 0.4
BATCH = 500


@pytest.fixture(autouse=True)
def frequent_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def read_during(write, read, check, seconds=SECONDS):
    """Calls write in a thread and read in this one; check raises for a value that read must not return."""
    stop, errors, written = threading.Event(), [], []

    def work():
        try:
            while not stop.is_set():
                write()
                written.append(1)
                if len(written) % 8 == 0:
                    sleep(0)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until = monotonic() + seconds
        while monotonic() < until and not errors:
            try:
                value = read()
            except RuntimeError as error:
                if "while" not in str(error):
                    raise
                continue
            check(value)
    finally:
        stop.set()
        thread.join()
    assert not errors, f"a reader disturbed the training: {errors[0]!r}"
    check(read())
    assert written, "nothing was written during the reads"


def all_equal(x, value):
    assert (x == value).all(), f"expected {value} everywhere, got {np.unique(x)}"


# -- Optimizers -------------------------------------------------------------------------------------------------------


def counting(kind=fastreg.SGD, **options):
    """An optimizer that adds 1 to all weights, or to all sums of squares, at every step."""
    w = [np.zeros(SIZE), np.zeros((SIZE // 2, 2), np.float32), np.zeros(3)]
    optimizer = kind(w, 1.0, **options)
    grads = [np.full_like(x, -1) for x in w]
    return optimizer, lambda: optimizer.step(grads)


def check_adagrad(saved):
    for i in range(3):
        assert saved[f"tensor.{i}.steps"] == saved["completed"]
        all_equal(saved[f"tensor.{i}.sum"], saved["completed"])


def test_state_dict_of_an_optimizer():
    optimizer, step = counting(fastreg.Adagrad)
    read_during(step, optimizer.state_dict, check_adagrad)


def check_copy(optimizer):
    for w in optimizer.params:
        all_equal(w, optimizer.completed)
    assert all(optimizer.state_dict()[f"tensor.{i}.steps"] == optimizer.completed for i in range(3))


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_an_optimizer(how):
    optimizer, step = counting(momentum=0.5, dampening=0.5)
    read_during(step, lambda: COPIES[how](optimizer), check_copy)


def alternating():
    """An optimizer with weights that are all 0 after an even number of steps, and all 1 after an odd one."""
    w = [np.zeros(SIZE), np.zeros((SIZE // 2, 2), np.float32), np.zeros(3)]
    optimizer = fastreg.SGD(w, 1.0, l1=1.0, mode="subgradient")  # at 1, the penalty alone moves them to 0
    grads = [[np.full_like(x, g) for x in w] for g in (0, -1)]

    def step():
        grads.reverse()
        optimizer.step(grads[0])

    return optimizer, step


@pytest.mark.parametrize("by", [None, "tensor"])
@pytest.mark.parametrize("what", ["zeros", "penalty"])
def test_values_of_an_optimizer(what, by):
    optimizer, step = alternating()
    sizes = {"0": SIZE, "1": SIZE, "2": 3}

    def check(value):
        values = [value] if by is None else list(value.values())
        whole = [sum(sizes.values())] if by is None else list(sizes.values())
        assert values in ([0] * len(whole), whole)

    read_during(step, lambda: getattr(optimizer, what)(by), check)


# -- Lazy updates -----------------------------------------------------------------------------------------------------


def counting_lazy(kind=fastreg.LazySGD, **options):
    lazy = kind(np.zeros(SIZE), 1.0, **options)
    indices, values = np.arange(SIZE), np.full(SIZE, -1.0)
    return lazy, lambda: lazy.step(indices, values)


def test_state_dict_of_lazy_updates():
    lazy, step = counting_lazy(fastreg.LazyAdagrad, initial_accumulator_value=1.0)

    def check(saved):
        all_equal(saved["sum"], 1 + saved["completed"])
        all_equal(saved["stamps"], saved["completed"])

    read_during(step, lazy.state_dict, check)


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_lazy_updates(how):
    lazy, step = counting_lazy()
    read_during(step, lambda: COPIES[how](lazy), lambda copied: all_equal(copied.w, copied.completed))


@pytest.mark.parametrize("places", [None, np.arange(0, SIZE, 3)], ids=["all", "some"])
def test_weights_of_lazy_updates(places):
    lazy, step = counting_lazy()
    read_during(step, lambda: lazy.weights(places), lambda w: all_equal(w, w[0]))


def test_settings_of_lazy_updates_while_they_step():
    """A setting that changes meanwhile holds from some step on: no step uses parts of two settings."""
    lazy, step = counting_lazy(fastreg.LazySGD)
    rates = [2.0, 1.0]

    def change():
        rates.reverse()
        lazy.lr = rates[0]
        return lazy.weights()

    read_during(step, change, lambda w: all_equal(w, w[0]))


# -- Linear models ----------------------------------------------------------------------------------------------------


def counting_model(form):
    """A regression in which every sample adds 1 to all weights and to the intercept."""
    model = StreamingRegressor(
        "huber", epsilon=1.0, optimizer="sgd", learning_rate="constant", eta0=1.0, alpha=0, fit_intercept=True
    )
    x, y = np.ones((BATCH, 40)), np.full(BATCH, 1e12)
    if form == "CSR":
        x = pytest.importorskip("scipy.sparse").csr_matrix(x)
    model.partial_fit(x, y)
    assert model.intercept_ == BATCH
    return model, lambda: model.partial_fit(x, y)


def check_weights(w):
    all_equal(w, w[0])
    assert w[0] % BATCH == 0, "all samples of a call or none of them"


forms = pytest.mark.parametrize("form", ["dense", "CSR"])


@forms
@pytest.mark.parametrize("name", ["coef_", "intercept_"])
def test_weights_of_a_model(name, form):
    model, train = counting_model(form)
    read_during(train, lambda: getattr(model, name), check_weights)


@forms
def test_predictions_of_a_model(form):
    """The weights and the intercept are those after the same call."""
    model, train = counting_model(form)
    one = np.eye(40)[:1]
    if form == "CSR":
        one = pytest.importorskip("scipy.sparse").csr_matrix(one)

    def check(predicted):
        assert predicted[0] % (2 * BATCH) == 0, predicted

    read_during(train, lambda: model.predict(one), check)


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_a_model(how):
    model, train = counting_model("dense")

    def check(copied):
        check_weights(copied.coef_)
        all_equal(copied.coef_, copied.intercept_[0])

    read_during(train, lambda: COPIES[how](model), check)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # a single epoch, since it is quick
def test_a_model_that_is_fitted_again():
    """Weights, number of features and predictions are those of the same fit."""
    model, sizes = StreamingRegressor(max_iter=1, tol=None), [30, 60]
    data = {n: (np.random.default_rng(n).standard_normal((300, n)), np.arange(300.0)) for n in sizes}

    def fit():
        sizes.reverse()
        model.fit(*data[sizes[0]])

    fit()

    def read():
        state = copy.deepcopy(model)
        return state.n_features_in_, state.coef_, state.predict(data[state.n_features_in_][0])

    def check(seen):
        n, coef, _ = seen
        assert len(coef) == n
        assert np.isfinite(coef).all()

    read_during(fit, read, check)
