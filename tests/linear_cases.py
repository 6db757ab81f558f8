"""Tables for the tests of linear models: estimators, data in several forms, and an equivalent loop of dense steps."""

from functools import partial
from itertools import product

import numpy as np
from scipy import sparse
from scipy.special import expit, log_softmax

import fastreg
from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.linear.targets import loss_of_margins
from fastreg.reference.losses import LOG_LINK, largest_curvature, raised, slope

OPTIMIZERS = ("ftrl", "sgd", "adagrad")
LOSSES = {loss: kind for kind in (StreamingClassifier, StreamingRegressor) for loss in kind._losses}
PAIRS = list(product(LOSSES, OPTIMIZERS))
DENSE = {
    "sgd": (fastreg.SGD, {"mode": "proximal"}),
    "adagrad": (fastreg.Adagrad, {"mode": "proximal", "initial_accumulator_value": 0.1, "eps": 1e-10}),
    "ftrl": (fastreg.FTRL, {"beta": 1.0, "initial_accumulator_value": 0.0}),
}
PARAMETERS = {
    loss: loss_of_margins(kind(loss))[1] if kind is StreamingRegressor else 0.0 for loss, kind in LOSSES.items()
}
SLOPES = {loss: partial(slope, loss, PARAMETERS[loss]) for loss in LOSSES}
INVERSE_LINKS = {"cross_entropy": expit} | dict.fromkeys(LOG_LINK, lambda margins: np.exp(0.5 * margins))
OPTIONAL = {  # checks that scikit-learn skips if a package or a setting is missing
    "check_array_api_input",
    "check_classifier_data_not_an_array",
    "check_regressor_data_not_an_array",
    "check_sample_weights_pandas_series",
}


def slopes(loss, margins, targets):
    """The slopes at the margins of all columns; targets of classes are -1 and 1."""
    if loss == "multinomial" and len(margins) > 1:
        margins = log_softmax(margins)
    return SLOPES["log_loss" if loss == "multinomial" and len(margins) == 1 else loss](margins, targets)


def make(loss, optimizer="ftrl", **options):
    return LOSSES[loss](loss, optimizer=optimizer, **options)


def is_classifier(loss):
    return LOSSES[loss] is StreamingClassifier


def data(loss, count=30, features=12, classes=2, seed=0, density=0.4):
    """Samples with some zero features, the first with zeros only; the targets depend on the first three features."""
    rng = np.random.default_rng([seed, count, features])
    x = rng.standard_normal((count, features)) * (rng.random((count, features)) < density)
    x[0] = 0
    margins = x[:, :3] @ [2.0, -1.0, 1.0] + 0.3 * rng.standard_normal(count) + 0.2
    if not is_classifier(loss):
        return x, INVERSE_LINKS.get(loss, np.asarray)(margins)
    codes = np.argsort(np.argsort(margins)) * classes // count
    return x, np.array(["one", "three", "two"])[codes] if classes == 3 else codes


def stored(x, form, dtype):
    """`x` as a dense array, or as a CSR matrix with int32 or int64 indices."""
    x = x.astype(dtype)
    if form == "dense":
        return x
    x = sparse.csr_array(x)
    x.indices, x.indptr = x.indices.astype(form), x.indptr.astype(form)
    return x


def misaligned(a):
    """A copy with misaligned elements."""
    buffer = np.empty(a.nbytes + 1, np.uint8)
    buffer[1:] = np.frombuffer(a.tobytes(), np.uint8)
    return buffer[1:].view(a.dtype).reshape(a.shape)


def field(a):
    """A copy as a field of a structured array: strided and misaligned."""
    table = np.zeros(a.shape, [("other", "u1"), ("own", a.dtype)])
    table["own"] = a
    return table["own"]


def swapped(a):
    """A copy with the other byte order."""
    return a.astype(a.dtype.newbyteorder())


def in_batches(model, x, y, size, weights=None):
    """The model after calls of partial_fit with `size` samples each."""
    first = {"classes": np.unique(y)} if isinstance(model, StreamingClassifier) else {}
    for k in range(0, len(y), size):
        batch = slice(k, k + size)
        model.partial_fit(x[batch], y[batch], sample_weight=None if weights is None else weights[batch], **first)
        first = {}
    return model


def bits(model):
    """Weights, intercept and optimizer state of a model as bytes, with its counters."""
    stream = model._stream
    own = b"".join(x.tobytes() for x in stream.learner.intercept)
    return stream.learner.records.tobytes(), own, model.coef_.tobytes(), stream.completed, stream.sizes


def dense_loop(loss, optimizer, x, y, weights, eta0, alpha, l1_ratio, intercept=True, rates=None, limited=False):
    """Weights and intercepts after one pass of dense steps, (columns, features + 1); y is (samples, columns).

    Steps that are limited, as those with log link, do not go beyond the minimum of the loss of the sample.
    """
    kind, options = DENSE[optimizer]
    x = np.column_stack([x, np.full(len(x), float(intercept))])
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
    w, factor = np.zeros((x.shape[1], y.shape[1])), np.ones((x.shape[1], y.shape[1]))
    factor[-1] = 0
    steps = kind(w, eta0, l1=l1, l2=l2, penalty_factor=factor, **options)
    center = np.log(y[0]) if loss in LOG_LINK and intercept else np.zeros(y.shape[1])
    for t, (sample, target, weight) in enumerate(zip(x, y, weights)):
        if rates is not None:
            steps.param_groups[0]["lr"] = rates[t]
        if optimizer == "ftrl":
            steps.param_groups[0].update(l1=(t + 1) * l1, l2=(t + 1) * l2)
        margins = sample @ w + center
        ratio = np.inf if optimizer == "sgd" else 4 * np.sqrt(t + 1)
        own = weight * slopes(loss, raised(loss, PARAMETERS[loss], margins, target, ratio), target)
        if optimizer == "sgd" and (limited or loss in LOG_LINK):
            limit = largest_curvature(loss, PARAMETERS[loss], margins, target)
            own /= np.maximum(1, weight * steps.param_groups[0]["lr"] * (sample @ sample) * limit)
        steps.step(np.outer(sample, own))
    w[-1] += center
    return w.T
