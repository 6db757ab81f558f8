"""Errors name the argument, the expected and the given value, and leave the model unchanged."""

import subprocess
import sys

import numpy as np
import pytest
from linear_cases import LOSSES, bits, data, in_batches, is_classifier, make, stored
from scipy import sparse

from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.reference.losses import LOG_LINK

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs

NUMBER = ["a", None, np.nan, np.inf, -1e-3, True, [1.0], 1j, 10**400, np.array([1.0, 2.0]), np.ones(1)]
INTEGER = ["a", None, 1.5, 0, -1, True, np.nan, np.array([1, 2])]
BAD = {
    "loss": ["squared_error", "log", None, 3, np.array([1, 2]), np.array(["hinge"])],
    "optimizer": ["adam", None, 3, ["sgd"], np.array(["sgd", "ftrl"])],
    "alpha": NUMBER,
    "l1_ratio": [*NUMBER, 1.0001],
    "penalty_factor": [
        *("a", 1.0, [1.0], np.ones(11), np.ones(13), np.ones((12, 1)), np.ones(12, complex), ["a"] * 12, {0: 1.0}),
        *(np.r_[np.ones(11), x] for x in (np.nan, np.inf, -1e-3)),
        *([[1.0], *[1.0] * 11], [None] * 12, sparse.csr_array(np.ones((1, 12))), float),
    ],
    "group": ["classes", "", True, 0, ["features"], np.array(["features"])],
    "learning_rate": ["fast", None, 0.1, np.array([1, 2])],
    "eta0": [x for x in NUMBER if x is not None] + [0, 0.0, 1e-320],
    "power_t": NUMBER,
    "fit_intercept": [None, "no", 1, np.array([True, False])],
    "positive": [None, "no", 1, np.array([True, False])],
    "max_iter": INTEGER,
    "tol": [x for x in NUMBER if x is not None],
    "n_iter_no_change": INTEGER,
    "shuffle": [None, "no", 1, np.array([True, False])],
    "random_state": ["a", -1, 1.5, np.ones(2), [1, 2], np.random.default_rng()],
    "class_weight": [
        *("even", 3, [1, 2], (1, 2), np.array([1, 2]), np.array("balanced"), np.ones((2, 2)), float),
        *(
            {0: -1.0},
            {0: np.nan},
            {0: np.inf},
            {0: "1"},
            {0: None},
            {0: 10**400},
            {0: np.ones(2)},
            {"0": 1.0},
            {7: 2.0},
        ),
    ],
    "warm_start": [None, "no", 1, np.array([True, False])],
    "polish": [None, "yes", 0],
    "verbose": [None, "loud", -1, 1.5, np.array([1, 2])],
}
PARAMETERS = [(name, x) for name, values in BAD.items() for x in values]


@pytest.fixture
def model():
    return in_batches(StreamingClassifier(), *data("log_loss"), 10)


def refuses(model, match, call, *args, **kwargs):
    """Check that the call raises ValueError and does not change the model."""
    before, known = bits(model), model.classes_.copy()
    with pytest.raises(ValueError, match=match):
        call(*args, **kwargs)
    assert bits(model) == before
    np.testing.assert_array_equal(model.classes_, known)


@pytest.mark.parametrize(("name", "x"), PARAMETERS, ids=[f"{name}={x!r}" for name, x in PARAMETERS])
def test_parameters(model, name, x):
    model.set_params(**{name: x})
    for call in (model.fit, model.partial_fit):
        refuses(model, rf"^{name}: expected .*, (also )?got ", call, *data("log_loss"))


def test_every_parameter_is_tested():
    assert BAD.keys() == StreamingClassifier().get_params().keys()
    extra = {"epsilon", "quantile", "power", *BAD} - {"class_weight", "group"}
    assert StreamingRegressor().get_params().keys() == extra
    for x in NUMBER:
        with pytest.raises(ValueError, match=r"^epsilon: expected a finite number from 0, got"):
            StreamingRegressor("huber", epsilon=x).fit(*data("huber"))


def test_combinations_of_parameters_without_a_meaning(model):
    x, y = data("log_loss")
    for optimizer in ("ftrl", "adagrad"):
        for rate in ("optimal", "invscaling", float):
            with pytest.raises(ValueError, match=r"^learning_rate: expected 'auto' or 'constant' with optimizer="):
                make("log_loss", optimizer, learning_rate=rate).fit(x, y)
    with pytest.raises(ValueError, match=r"^alpha: expected a positive number with learning_rate='optimal', got 0"):
        make("log_loss", "sgd", alpha=0).fit(x, y)
    model.set_params(class_weight="balanced")
    refuses(model, r"^class_weight: expected a dict or None with partial_fit", model.partial_fit, x, y)


@pytest.mark.parametrize("rate", [-0.1, np.nan, np.inf, None, "a", 1j, np.ones(1), [0.1], 10**400])
def test_invalid_learning_rates_from_a_callable(rate):
    x, y = data("log_loss")
    model = in_batches(make("log_loss", "sgd"), x, y, 10).set_params(learning_rate=lambda t: rate)
    refuses(model, r"^learning_rate: expected a callable that returns finite", model.partial_fit, x, y)


TINY = {"ftrl": [1e-39, 1e-50], "adagrad": [1e-50], "sgd": [1e-50]}


@pytest.mark.parametrize("optimizer", TINY)
def test_learning_rates_that_float32_cannot_hold(optimizer):
    """FTRL also needs their inverses."""
    x, y = data("log_loss")
    for rate in (*TINY[optimizer], 1e39):
        options = {"eta0": rate, "learning_rate": "constant"}
        model = make("log_loss", optimizer, **options)
        for call, more in ((model.fit, ()), (model.partial_fit, ([0, 1],))):
            with pytest.raises(ValueError, match=r"^eta0, learning_rate: expected learning rates that float32"):
                call(x.astype(np.float32), y, *more)
        if rate < 1:
            assert np.isfinite(in_batches(make("log_loss", optimizer, **options), x, y, 10).coef_).all()


def test_optimizer_intercept_and_dtype_of_a_stream_are_fixed(model):
    x, y = data("log_loss")
    model.set_params(optimizer="sgd")
    refuses(model, r"^optimizer: expected 'ftrl', as in the first call, got 'sgd'", model.partial_fit, x, y)
    model.set_params(optimizer="ftrl", fit_intercept=False)
    refuses(model, r"^fit_intercept: expected True, as in the first call, got False", model.partial_fit, x, y)
    single = in_batches(StreamingClassifier(), x.astype(np.float32), y, 10)
    for form in ("dense", np.int32):
        refuses(single, r"^X: expected numbers that float32", single.partial_fit, stored(x * 1e300, form, float), y)
    single.partial_fit(x, y)
    assert single.coef_.dtype == np.float32


SAMPLE_WEIGHTS = {
    "strings": ["a"] * 30,
    "numbers and None": [*np.ones(29), None],
    "complex": np.full(30, 1j),
    "an object": object(),
    "a string": "balanced",
    "a dict": {0: 1.0},
    "ragged": [[1.0], [1.0, 2.0]] * 15,
    "an array without dimensions": np.array(2.0),
}


@pytest.mark.parametrize("case", SAMPLE_WEIGHTS)
def test_sample_weights_of_invalid_types(model, case):
    x, y = data("log_loss")
    for call in (model.fit, model.partial_fit):
        refuses(model, r"sample_weight", call, x, y, sample_weight=SAMPLE_WEIGHTS[case])


def with_value(x, value):
    x = x.copy()
    x[3, 2] = value
    return x


def test_samples(model):
    x, y = data("log_loss")
    for call in (model.fit, model.partial_fit):
        for form in ("dense", np.int32):
            for value in (np.nan, np.inf):
                refuses(model, r"(?i)nan|infinity", call, stored(with_value(x, value), form, float), y)
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
    regressor = in_batches(StreamingRegressor(), *data("squared_error"), 10)
    with pytest.raises(ValueError, match=r"(?i)nan"):
        regressor.partial_fit(x, np.full(30, np.nan))


def test_classes(model):
    x, y = data("log_loss")
    refuses(
        model,
        r"^y: expected labels among the classes .*also got array\(\[7\]\)",
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


DAMAGED = {
    "index too large": lambda x: x.indices.__setitem__(5, 12),
    "index negative": lambda x: x.indices.__setitem__(5, -1),
    "index far outside": lambda x: x.indices.__setitem__(5, 2**31 - 1),
    "rows that overlap": lambda x: x.indptr.__setitem__(4, 0),
    "last row too long": lambda x: x.indptr.__setitem__(-1, 2**31 - 1),
    "first row does not start at 0": lambda x: x.indptr.__setitem__(0, 1),
    "negative start": lambda x: x.indptr.__setitem__(0, -9),
}


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_csr_matrices(model, case, index):
    """SciPy does not check them, and the kernels would write to any index."""
    x, y = data("log_loss")
    x[0] = 1
    x = stored(x, index, float)
    model.partial_fit(x, y)
    DAMAGED[case](x)
    for call in (model.fit, model.partial_fit, lambda x, y: model.predict(x)):
        refuses(model, r"^X: expected a CSR matrix", call, x, y)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in LOG_LINK])
def test_divergence_is_an_error_in_this_and_in_later_calls(loss):
    """If partial_fit diverges, the weights are lost; later calls raise the same error, but fit starts anew."""
    x, y = data(loss, density=1)
    model = in_batches(make(loss, "sgd", learning_rate="constant", eta0=0.1, alpha=0.0), x, y, 10)
    x[:] = 1e100
    model.set_params(eta0=1e200)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^eta0: expected a learning rate small enough for these features"):
            model.partial_fit(x, y)
    with pytest.raises(ValueError, match=r"^eta0: expected"):
        model.fit(x, y)
    model.set_params(learning_rate="auto", eta0=None, alpha=1e-4, max_iter=2, tol=None).fit(x / 1e100, y)
    assert np.isfinite(model.coef_).all()


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in LOG_LINK])
def test_a_fit_that_diverges_leaves_the_model_unchanged(loss):
    x, y = data(loss, density=1)
    model = make(loss, "sgd", learning_rate="constant", eta0=1e200, alpha=0.0)
    known = {"classes": np.unique(y)} if is_classifier(loss) else {}
    for call, more in ((model.fit, {}), (model.partial_fit, known)):
        with pytest.raises(ValueError, match=r"^eta0: expected a learning rate small enough for these features"):
            call(1e100 * np.ones_like(x), y, **more)
        assert not hasattr(model, "coef_")
        assert not hasattr(model, "n_features_in_")
    in_batches(model.set_params(eta0=0.1), x, y, 10)
    before = bits(model)
    with pytest.raises(ValueError, match=r"^eta0: expected"):
        model.set_params(eta0=1e200).fit(1e100 * np.ones((30, 3)), y)
    assert bits(model) == before
    assert model.n_features_in_ == 12


def test_divergence_in_the_last_step_of_fit():
    """No loss is computed after it, and it changes the intercept only."""
    options = {"learning_rate": "constant", "eta0": 1e308, "shuffle": False, "max_iter": 1, "tol": None}
    with pytest.raises(ValueError, match=r"^eta0: expected"):
        make("hinge", "sgd", **options).fit(np.zeros((2, 1)), [0, 1], [1e-3, 10])


@pytest.mark.parametrize("absent", ["sklearn", "scipy"])
def test_import_without_scikit_learn(absent):
    """Only fastreg.linear needs them; its error says what to install."""
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


def test_too_many_features_raise_memory_error():
    x = sparse.csr_array((np.ones(2), np.array([0, 2**47]), np.array([0, 1, 2])), shape=(2, 2**47 + 1))
    with pytest.raises(MemoryError, match="Unable to allocate"):
        StreamingClassifier().partial_fit(x, [0, 1], [0, 1])


def test_losses_of_the_other_estimator_are_refused():
    for loss in LOSSES:
        other = StreamingRegressor if is_classifier(loss) else StreamingClassifier
        with pytest.raises(ValueError, match=r"^loss: expected one of"):
            other(loss).fit(*data(loss))
