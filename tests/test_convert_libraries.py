"""Converters: the strengths of other libraries, compared with l1·‖w‖₁ + l2/2·‖w‖₂² where the library is installed.

There are three kinds of evidence: at the optimum of another solver, the gradient of the mean loss balances our penalty
(Karush-Kuhn-Tucker); one step of another optimizer is a step of our rule; another penalty has the value of ours. glmnet
needs R, so only its documented formula is tested.
"""

import importlib.util
from fractions import Fraction

import numpy as np
import pytest
from convert_cases import SCORE, G, N, W, X, library, squared

from fastreg import convert
from fastreg.convert import Strengths

CLASS = np.where(SCORE > 0, 1.0, -1.0)


@pytest.fixture
def keras():
    tensorflow = importlib.util.find_spec("tensorflow")
    return library("keras", KERAS_BACKEND="tensorflow" if tensorflow else "torch")


def soft(x, t):
    return np.sign(x) * np.maximum(np.abs(x) - t, 0)


def penalty(w, s):
    return s.l1 * np.abs(w).sum() + s.l2 / 2 * (w * w).sum()


def ftrl(w, grads, lr, beta, s, n):
    """FTRL-Proximal (McMahan et al. 2013) from z = 0."""
    z = np.zeros_like(w)
    for g in grads:
        z = z + g - (np.sqrt(n + g * g) - np.sqrt(n)) / lr * w
        n = n + g * g
        w = -soft(z, s.l1) / ((beta + np.sqrt(n)) / lr + s.l2)
    return w


def poisson(w):
    return X.T @ (np.exp(X @ w) - np.exp(SCORE)) / N


def logistic(w):
    return -X.T @ (CLASS / (1 + np.exp(CLASS * (X @ w)))) / N


def squared_hinge(w):
    return -2 * X.T @ (CLASS * np.maximum(0, 1 - CLASS * (X @ w))) / N


def assert_optimal(w, gradient, s, tol=1e-6):
    """w minimises E + penalty: l1·sign(w) + l2·w balances the gradient of E, and |gradient| ≤ l1 where w is zero."""
    zero = w == 0
    assert np.all(np.abs(gradient[zero]) <= s.l1 + tol)
    np.testing.assert_allclose((gradient + s.l1 * np.sign(w) + s.l2 * w)[~zero], 0, atol=tol)


TARGET = {squared: SCORE, poisson: np.exp(SCORE), logistic: CLASS, squared_hinge: CLASS}
SAGA = {"C": 0.1, "l1_ratio": 0.6, "solver": "saga", "random_state": 0}
ESTIMATORS = [
    ("linear_model.Lasso", {"alpha": 0.1}, squared, convert.from_sklearn(0.1, 1)),
    ("linear_model.ElasticNet", {"alpha": 0.2, "l1_ratio": 0.3}, squared, convert.from_sklearn(0.2, 0.3)),
    ("linear_model.PoissonRegressor", {"alpha": 0.3}, poisson, convert.from_sklearn(0.3, 0)),
    ("linear_model.Ridge", {"alpha": 7.0}, squared, convert.from_sklearn_ridge(7, N)),
    ("linear_model.LogisticRegression", {"C": 0.4}, logistic, convert.from_sklearn_c(0.4, N)),
    ("linear_model.LogisticRegression", SAGA, logistic, convert.from_sklearn_c(0.1, N, 0.6)),
    ("svm.LinearSVC", {"C": 0.05, "dual": False}, squared_hinge, convert.from_sklearn_c(0.05, N)),
    ("svm.LinearSVC", {"C": 0.05, "dual": False, "penalty": "l1"}, squared_hinge, convert.from_sklearn_c(0.05, N, 1)),
]


@pytest.mark.parametrize(("path", "options", "gradient", "strengths"), ESTIMATORS)
def test_sklearn_optimum_is_that_of_our_objective(path, options, gradient, strengths):
    sklearn = library("sklearn")
    if options is SAGA and tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8):
        options = {**options, "penalty": "elasticnet"}  # l1_ratio alone did not choose it before 1.8
    module, name = path.split(".")
    model = getattr(library(f"sklearn.{module}"), name)
    fitted = model(fit_intercept=False, tol=1e-11, max_iter=200_000, **options).fit(X, TARGET[gradient])
    w = fitted.coef_.ravel()
    assert_optimal(w, gradient(w), strengths)
    assert np.any(w == 0) == (strengths.l1 > 0)  # otherwise L1 would not be tested


@pytest.mark.parametrize(("kind", "l1_ratio"), [("l2", 0), ("l1", 1), ("elasticnet", 0.3)])
def test_sklearn_sgd_step_is_the_truncated_step(kind, l1_ratio):
    linear_model = library("sklearn.linear_model")
    once = {"learning_rate": "constant", "eta0": 0.05, "max_iter": 1, "tol": None, "fit_intercept": False}
    sgd = linear_model.SGDRegressor(penalty=kind, alpha=0.8, l1_ratio=0.3, **once)
    w = sgd.fit(X[:1], SCORE[:1], coef_init=W.copy()).coef_
    s = convert.from_sklearn(0.8, l1_ratio)
    g = X[0] * (X[0] @ W - SCORE[0])
    np.testing.assert_allclose(w, soft(W - 0.05 * g - 0.05 * s.l2 * W, 0.05 * s.l1), rtol=1e-12)


def test_sklearn_perceptron_divides_alpha_by_its_batch():
    once = {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1, "batch_size": N, "random_state": 0}
    mlp = library("sklearn.neural_network").MLPRegressor(hidden_layer_sizes=(2,), alpha=3.0, **once)
    no_input = np.zeros_like(X)  # so that the gradient of the first layer is that of the penalty alone
    before = mlp.partial_fit(no_input, SCORE).coefs_[0].copy()
    after = mlp.partial_fit(no_input, SCORE).coefs_[0]
    np.testing.assert_allclose(after, before - 0.1 * convert.from_sklearn_ridge(3, N).l2 * before, rtol=1e-12)


@pytest.mark.parametrize(("name", "decoupled"), [("SGD", False), ("AdamW", True)])
def test_torch_weight_decay(name, decoupled):
    torch = library("torch")
    w = torch.tensor(W, requires_grad=True)
    w.grad = torch.zeros_like(w) if decoupled else torch.tensor(G)
    getattr(torch.optim, name)([w], lr=0.1, weight_decay=0.3).step()
    s = convert.from_torch(0.3)
    np.testing.assert_allclose(w.detach().numpy(), W - 0.1 * ((0 if decoupled else G) + s.l2 * W), rtol=1e-12)


def test_keras_regularizer_has_the_value_of_our_penalty(keras):
    value = float(keras.regularizers.L1L2(l1=0.2, l2=0.7)(W.astype(np.float32)))
    assert value == pytest.approx(penalty(W, convert.from_keras(l1=0.2, l2=0.7)), rel=1e-6)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras on PyTorch, at NumPy 2
def test_keras_weight_decay_is_decoupled_and_not_doubled(keras):
    w = keras.Variable(W.astype(np.float32))
    keras.optimizers.SGD(0.1, weight_decay=0.3).apply([keras.ops.zeros_like(w)], [w])
    expected = W - 0.1 * convert.from_torch(0.3).l2 * W
    np.testing.assert_allclose(keras.ops.convert_to_numpy(w.value), expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_keras_ftrl(keras):
    w = keras.Variable(W.astype(np.float32))
    options = {"l1_regularization_strength": 0.2, "l2_regularization_strength": 0.7}
    optimizer = keras.optimizers.Ftrl(0.5, initial_accumulator_value=0.1, beta=1.0, **options)
    for g in X[:5]:
        optimizer.apply([keras.ops.convert_to_tensor(g.astype(np.float32))], [w])
    expected = ftrl(W, X[:5], 0.5, 1.0, convert.from_keras_ftrl(**options), 0.1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(w.value), expected, rtol=1e-4, atol=1e-6)


def test_tensorflow_ftrl_kernel():
    tf = library("tensorflow")
    w, n, z = (tf.Variable(x.astype(np.float32)) for x in (W, np.full(5, 0.1), np.zeros(5)))
    strengths = convert.from_keras_ftrl(0.2, 0.7)
    state = {"var": w.handle, "accum": n.handle, "linear": z.handle}
    for g in X[:5].astype(np.float32):
        tf.raw_ops.ResourceApplyFtrl(**state, grad=g, lr=0.5, l1=0.2, l2=0.7, lr_power=-0.5)
    np.testing.assert_allclose(w.numpy(), ftrl(W, X[:5], 0.5, 0.0, strengths, 0.1), rtol=1e-4, atol=1e-6)


# The weights are read from predictions, which Vowpal Wabbit clips to the range of the labels by default.
VW = "--noconstant --quiet --min_prediction -99 --max_prediction 99"


def example(x, y):
    return f"{float(y)!r} | " + " ".join(f"{name}:{float(value)!r}" for name, value in zip("abcde", x))


def vw_weights(model):
    return np.array([model.predict(f"| {name}:1") for name in "abcde"])


@pytest.mark.parametrize("s", [Strengths(0.2, 0.0), Strengths(0.0, 0.7), Strengths(0.2, 0.7)])
def test_vowpal_wabbit_sgd(s):
    model = library("vowpalwabbit").Workspace(f"--sgd --power_t 0 -l 1e-4 --l1 {s.l1} --l2 {s.l2} {VW}")
    examples = [model.parse(example(x, y)) for x, y in zip(X, SCORE)]
    for _ in range(2000):
        for e in examples:
            model.learn(e)
    w = vw_weights(model)
    s = convert.from_vowpal_wabbit(s.l1 if s.l2 == 0 else 0, s.l2)  # with an l2 their l1 has no effect in the long run
    assert_optimal(w, 2 * squared(w), s, tol=5e-3)  # online learning is optimal up to its noise
    assert_optimal(w, squared(w), s.scaled(0.5), tol=5e-3)


def test_vowpal_wabbit_ftrl():
    model = library("vowpalwabbit").Workspace(f"--ftrl --ftrl_alpha 0.5 --ftrl_beta 1 --l1 0.2 --l2 0.7 {VW}")
    w, grads = np.zeros(5), []
    for x, y in zip(X[:5], SCORE):
        grads.append(2 * (x @ w - y) * x)
        w = ftrl(np.zeros(5), grads, 0.5, 1.0, convert.from_vowpal_wabbit(0.2, 0.7), 0.0)
        model.learn(example(x, y))
        np.testing.assert_allclose(vw_weights(model), w, rtol=1e-4, atol=1e-6)


def test_vowpal_wabbit_bfgs_sums_the_losses_and_ignores_l1(tmp_path):
    vw = library("vowpalwabbit")
    (tmp_path / "data").write_text("".join(example(x, y) + "\n" for x, y in zip(X, SCORE)))
    files = f"-d {tmp_path}/data --cache_file {tmp_path}/cache -f {tmp_path}/model --holdout_off"
    options = f"--bfgs --l1 9 --l2 30 --passes 60 --termination 1e-9 --predict_only_model {VW}"
    vw.Workspace(f"{options} {files}").finish()
    w = vw_weights(vw.Workspace(f"-i {tmp_path}/model -t --predict_only_model {VW}"))
    assert_optimal(w, 2 * squared(w), convert.from_vowpal_wabbit(l2=30).scaled(1 / N), tol=1e-4)


def test_glmnet_documented_penalty():
    documented = 0.4 * ((1 - 0.3) / 2 * (W @ W) + 0.3 * np.abs(W).sum())
    assert penalty(W, convert.from_glmnet(lambda_=0.4, alpha=0.3)) == pytest.approx(documented)
    assert convert.from_glmnet(0.4) == (0.4, 0.0)


def test_strengths_unpack_by_place_and_by_name():
    l1, l2 = strengths = convert.from_sklearn(np.float32(0.5), l1_ratio=Fraction(1, 4))
    assert (l1, l2) == (0.125, 0.375)
    assert strengths._asdict() == {"l1": 0.125, "l2": 0.375}
    assert strengths.scaled(np.array(8)) == Strengths(1.0, 3.0)
    assert all(type(x) is float for x in (*strengths, *convert.from_torch(1)))
    assert convert.from_sklearn_c(np.inf, 10, 0.5) == (0.0, 0.0)


POSITIVE, RATIO = "a positive, finite number", r"a number in \[0, 1\]"
ARGUMENTS = [
    (convert.from_sklearn, {"alpha": 0.1, "l1_ratio": 0.5}, {"l1_ratio": RATIO}),
    (convert.from_sklearn_ridge, {"alpha": 0.1, "n_samples": 9}, {"n_samples": POSITIVE}),
    (convert.from_sklearn_c, {"C": 0.1, "n_samples": 9}, {"C": "a positive number", "n_samples": POSITIVE}),
    (lambda l1_ratio: convert.from_sklearn_c(1, 1, l1_ratio), {"l1_ratio": 0.5}, {"l1_ratio": RATIO}),
    (convert.from_torch, {"weight_decay": 0.1}, {}),
    (convert.from_keras, {"l1": 0.1, "l2": 0.1}, {}),
    (convert.from_keras_ftrl, {"l1_regularization_strength": 0.1, "l2_regularization_strength": 0.1}, {}),
    (convert.from_glmnet, {"lambda_": 0.1, "alpha": 0.5}, {"alpha": RATIO}),
    (convert.from_vowpal_wabbit, {"l1": 0.1, "l2": 0.1}, {}),
    (Strengths(1.0, 1.0).scaled, {"factor": 0.1}, {}),
]


@pytest.mark.parametrize(("function", "good", "expected"), ARGUMENTS)
def test_errors_name_the_argument(function, good, expected):
    for name in good:
        for bad in (-0.5, float("nan"), float("-inf"), *([] if name == "C" else [float("inf"), 10**400])):
            with pytest.raises(
                ValueError, match=f"^{name}: expected {expected.get(name, 'a finite number, not negative')}, got {bad}"
            ):
                function(**{**good, name: bad})
        for bad in ("1", None, [0.5], np.array([0.5]), 0.5j, np.complex128(0.5), np.str_("1")):
            with pytest.raises(TypeError, match=f"^{name}: expected a real number, got {type(bad).__name__}"):
                function(**{**good, name: bad})
    assert all(np.isfinite(function(**good)))


@pytest.mark.parametrize("call", [lambda: convert.from_keras(l2=1e308), lambda: convert.from_sklearn_c(5e-324, 1)])
def test_overflow_is_an_error(call):
    with pytest.raises(ValueError, match=r"^l1 and l2: expected strengths that a float can hold"):
        call()
