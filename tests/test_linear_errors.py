"""What is wrong is told by name, with what was expected and what came, and before anything has changed."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from linear_cases import LOSSES, OPTIMIZERS, bits, data, in_pieces, is_classifier, make, stored
from scipy import sparse

from fastreg import _stream
from fastreg.linear import StreamingClassifier, StreamingRegressor

NUMBER = ["a", None, np.nan, np.inf, -1e-3, True, [1.0], 1j]
WHOLE = ["a", None, 1.5, 0, -1, True, np.nan]
BAD = {
    "loss": ["squared_error", "log", None, 3, np.array([1, 2])],
    "optimizer": ["adam", None, 3, ["sgd"]],
    "alpha": NUMBER,
    "l1_ratio": [*NUMBER, 1.0001],
    "learning_rate": ["fast", None, 0.1, np.array([1, 2])],
    "eta0": [x for x in NUMBER if x is not None] + [0, 0.0],
    "power_t": NUMBER,
    "fit_intercept": [None, "no", 1],
    "max_iter": WHOLE,
    "tol": [x for x in NUMBER if x is not None],
    "n_iter_no_change": WHOLE,
    "shuffle": [None, "no", 1],
    "random_state": ["a", -1, 1.5],
    "class_weight": ["even", 3, {0: -1.0}, {0: np.nan}, {0: np.inf}],
    "warm_start": [None, "no", 1],
    "verbose": [None, "loud", -1, 1.5],
}
PARAMETERS = [(name, x) for name, values in BAD.items() for x in values]


@pytest.fixture
def model():
    return in_pieces(StreamingClassifier(), *data("log_loss"), 10)


def refuses(model, match, call, *args, **kwargs):
    """A ValueError, and nothing has changed."""
    before, known = bits(model), model.classes_.copy()
    with pytest.raises(ValueError, match=match):
        call(*args, **kwargs)
    assert bits(model) == before
    np.testing.assert_array_equal(model.classes_, known)


@pytest.mark.parametrize(("name", "x"), PARAMETERS, ids=[f"{name}={x!r}" for name, x in PARAMETERS])
def test_parameters(model, name, x):
    model.set_params(**{name: x})
    for call in (model.fit, model.partial_fit):
        refuses(model, rf"^{name}: expected .*(, got|, got others)", call, *data("log_loss"))


def test_every_parameter_is_tested():
    assert BAD.keys() == StreamingClassifier().get_params().keys()
    extra = {"epsilon", *BAD} - {"class_weight"}
    assert StreamingRegressor().get_params().keys() == extra
    for x in NUMBER:
        with pytest.raises(ValueError, match=r"^epsilon: expected a finite number from 0, got"):
            StreamingRegressor("huber", epsilon=x).fit(*data("huber"))


def test_parameters_that_do_not_go_together(model):
    x, y = data("log_loss")
    for optimizer in ("ftrl", "adagrad"):
        for rate in ("optimal", "invscaling", float):
            with pytest.raises(ValueError, match=r"^learning_rate: expected 'auto' or 'constant' with optimizer="):
                make("log_loss", optimizer, learning_rate=rate).fit(x, y)
    with pytest.raises(ValueError, match=r"^alpha: expected a positive number with learning_rate='optimal', got 0"):
        make("log_loss", "sgd", alpha=0).fit(x, y)
    model.set_params(class_weight="balanced")
    refuses(model, r"^class_weight: expected a dict or None with partial_fit", model.partial_fit, x, y)


@pytest.mark.parametrize("rate", [lambda t: -0.1, lambda t: np.nan, lambda t: np.inf])
def test_learning_rates_that_are_none(rate):
    x, y = data("log_loss")
    model = in_pieces(make("log_loss", "sgd"), x, y, 10).set_params(learning_rate=rate)
    refuses(model, r"^learning_rate: expected a callable that returns finite", model.partial_fit, x, y)


def test_a_stream_keeps_what_its_state_depends_on(model):
    x, y = data("log_loss")
    model.set_params(optimizer="sgd")
    refuses(model, r"^optimizer: expected 'ftrl', as the stream began, got 'sgd'", model.partial_fit, x, y)
    model.set_params(optimizer="ftrl", fit_intercept=False)
    refuses(model, r"^fit_intercept: expected True, as the stream began, got False", model.partial_fit, x, y)
    single = in_pieces(StreamingClassifier(), x.astype(np.float32), y, 10)
    for form in ("dense", np.int32):
        refuses(single, r"^X: expected numbers that float32", single.partial_fit, stored(x * 1e300, form, float), y)
    single.partial_fit(x, y)
    assert single.coef_.dtype == np.float32


def spoilt(x, value):
    x = x.copy()
    x[3, 2] = value
    return x


def test_samples(model):
    x, y = data("log_loss")
    for call in (model.fit, model.partial_fit):
        for form in ("dense", np.int32):
            for value in (np.nan, np.inf):
                refuses(model, r"(?i)nan|infinity", call, stored(spoilt(x, value), form, float), y)
        refuses(model, "inconsistent numbers of samples", call, x, y[1:])
        refuses(model, "0 sample", call, x[:0], y[:0])
        for weights in (np.ones(3), np.ones((30, 1))):
            refuses(model, r"^sample_weight: expected one for each of 30 samples", call, x, y, sample_weight=weights)
        for weights in (np.full(30, -1.0), np.r_[-1e-300, np.ones(29)], np.full(30, 1e308)):
            refuses(model, r"^sample_weight: expected finite numbers, not neg", call, x, y, sample_weight=weights)
        refuses(model, r"(?i)nan", call, x, y, sample_weight=np.full(30, np.nan))
    refuses(model, r"^sample_weight.*got all zero", model.fit, x, y, sample_weight=np.zeros(30))
    for call in (model.partial_fit, lambda x, y: model.predict(x), lambda x, y: model.decision_function(x)):
        refuses(model, r"X has 11 features.* is expecting 12", call, x[:, :11], y)
    regressor = in_pieces(StreamingRegressor(), *data("squared_error"), 10)
    with pytest.raises(ValueError, match=r"(?i)nan"):
        regressor.partial_fit(x, np.full(30, np.nan))


def test_classes(model):
    x, y = data("log_loss")
    refuses(
        model,
        r"^y: expected labels among the classes .*got array\(\[7\]\) too",
        model.partial_fit,
        x,
        y + 7 * (y > 0) - y,
    )
    refuses(model, r"^classes: expected .*as in the first call", model.partial_fit, x, y, classes=[0, 1, 2])
    refuses(model, r"^y: expected at least two classes, got one class", model.fit, x, np.zeros(30))
    refuses(model, r"^y: expected labels", model.partial_fit, x, np.array(["a", "b"])[y])
    refuses(model, r"(?i)unknown label type", model.fit, x, y + 0.5 * np.arange(30))
    new = StreamingClassifier()
    for classes, match in ((None, "all classes in the first call"), ([1], "at least two classes")):
        with pytest.raises(ValueError, match=rf"^classes: expected {match}"):
            new.partial_fit(x, y, classes)
        assert not hasattr(new, "coef_")


SMASHED = {
    "index too large": lambda x: x.indices.__setitem__(5, 12),
    "index negative": lambda x: x.indices.__setitem__(5, -1),
    "far outside": lambda x: x.indices.__setitem__(5, 2**31 - 1),
    "rows that overlap": lambda x: x.indptr.__setitem__(4, 0),
    "last row too long": lambda x: x.indptr.__setitem__(-1, 2**31 - 1),
    "first row late": lambda x: x.indptr.__setitem__(0, 1),
    "negative start": lambda x: x.indptr.__setitem__(0, -9),
}


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("case", SMASHED)
def test_csr_matrices_that_lie(model, case, index):
    """SciPy does not look; the kernels would write wherever the indices point."""
    x, y = data("log_loss")
    x[0] = 1
    x = stored(x, index, float)
    model.partial_fit(x, y)
    SMASHED[case](x)
    for call in (model.fit, model.partial_fit, lambda x, y: model.predict(x)):
        refuses(model, r"^X: expected a CSR matrix", call, x, y)


@pytest.mark.parametrize("loss", LOSSES)
def test_divergence_is_an_error_and_stays_one(loss):
    """The step that diverged has been made: its weights are lost, and every further call says so."""
    x, y = data(loss, density=1)
    x[:] = 1e100
    model = make(loss, "sgd", learning_rate="constant", eta0=1e200, alpha=0.0)
    with pytest.raises(ValueError, match=r"^eta0: expected a learning rate small enough for these features"):
        in_pieces(model, x, y, 10)
    with pytest.raises(ValueError, match=r"^eta0: expected"):
        model.partial_fit(x, y)
    with pytest.raises(ValueError, match=r"^eta0: expected"):
        model.fit(x, y)
    model.set_params(learning_rate="auto", eta0=None, alpha=1e-4, max_iter=2, tol=None).fit(x / 1e100, y)
    assert np.isfinite(model.coef_).all()


def test_the_last_step_of_fit_may_diverge_too():
    """No loss has seen it, and it moved the intercept alone."""
    options = {"learning_rate": "constant", "eta0": 1e308, "shuffle": False, "max_iter": 1, "tol": None}
    with pytest.raises(ValueError, match=r"^eta0: expected"):
        make("hinge", "sgd", **options).fit(np.zeros((2, 1)), [0, 1], [1e-3, 10])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupt_leaves_a_model_that_goes_on(optimizer, monkeypatch):
    """The samples before it count, those after it do not."""
    x, y = data("log_loss")
    monkeypatch.setattr(_stream, "CHUNK", 5)
    model, rates, calls = make("log_loss", optimizer, eta0=0.1), StreamingClassifier._rates, []

    def interrupted(self, steps):
        calls.append(steps[0])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return rates(self, steps)

    monkeypatch.setattr(StreamingClassifier, "_rates", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(x, y, [0, 1])
    done = model._stream.completed
    assert 0 < done < 30
    model.partial_fit(x[done:], y[done:])
    assert bits(model) == bits(in_pieces(make("log_loss", optimizer, eta0=0.1), x, y, 30))


def test_two_threads_at_once_are_told():
    """Either one after the other, or an error; never both in one set of weights."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100_000, 20))
    y = (x[:, 0] > 0).astype(int)
    model, errors = StreamingClassifier().partial_fit(x[:1], y[:1], [0, 1]), []

    def train():
        for _ in range(4):
            try:
                model.partial_fit(x, y)
            except RuntimeError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(e.startswith("partial_fit: expected one call at a time, got another") for e in errors)
    assert np.isfinite(model.partial_fit(x, y).coef_).all()
    assert model.score(x, y) > 0.95


def test_reading_while_another_thread_trains_waits():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 20))
    y = (x[:, 0] > 0).astype(int)
    model, errors, done = StreamingClassifier().partial_fit(x[:1], y[:1], [0, 1]), [], threading.Event()

    def read():
        while not done.is_set():
            try:
                model.predict(x[:3])
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for start in range(0, len(y), 100):
            model.partial_fit(x[start : start + 100], y[start : start + 100])
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not errors


@pytest.mark.parametrize("absent", ["sklearn", "scipy"])
def test_import_without_scikit_learn(absent):
    """The core needs neither; the models say what to install."""
    code = f"""
import sys
sys.modules[{absent!r}] = None
import fastreg
assert not {{"sklearn", "scipy"}} & {{name for name, x in sys.modules.items() if x is not None}}
try:
    import fastreg.linear
except ImportError as error:
    assert 'pip install "scikit-learn>=1.6"' in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_too_many_features_are_an_error_not_a_killed_process():
    x = sparse.csr_array((np.ones(2), np.array([0, 2**47]), np.array([0, 1, 2])), shape=(2, 2**47 + 1))
    with pytest.raises(MemoryError, match="Unable to allocate"):
        StreamingClassifier().partial_fit(x, [0, 1], [0, 1])


def test_classification_and_regression_know_their_losses():
    for loss in LOSSES:
        other = StreamingRegressor if is_classifier(loss) else StreamingClassifier
        with pytest.raises(ValueError, match=r"^loss: expected one of"):
            other(loss).fit(*data(loss))
