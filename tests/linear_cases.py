"""Tables for the tests of linear models: estimators, data in several forms, and an equivalent loop of dense steps."""

from functools import partial
from itertools import product

import numpy as np
from scipy import sparse

import fastreg
from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.reference.losses import slope

OPTIMIZERS = ("ftrl", "sgd", "adagrad")
LOSSES = {loss: kind for kind in (StreamingClassifier, StreamingRegressor) for loss in kind._losses}
PAIRS = list(product(LOSSES, OPTIMIZERS))
DENSE = {
    "sgd": (fastreg.SGD, {"mode": "proximal"}),
    "adagrad": (fastreg.Adagrad, {"mode": "proximal", "initial_accumulator_value": 0.1, "eps": 1e-10}),
    "ftrl": (fastreg.FTRL, {"beta": 1.0, "initial_accumulator_value": 0.0}),
}
EPSILON = 0.1  # the default of the estimators
SLOPES = {loss: partial(slope, loss, EPSILON) for loss in LOSSES}


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
        return x, margins
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
    return stream.learner.records.tobytes(), own, model.coef_.tobytes(), stream.completed, stream.scale


def dense_loop(loss, optimizer, x, y, weights, eta0, alpha, l1_ratio, intercept=True, rates=None):
    """Weights and intercepts after one pass of dense steps, (columns, features + 1); y is (samples, columns)."""
    kind, options = DENSE[optimizer]
    x = np.column_stack([x, np.full(len(x), float(intercept))])
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
    w, factor = np.zeros((x.shape[1], y.shape[1])), np.ones((x.shape[1], y.shape[1]))
    factor[-1] = 0
    steps = kind(w, eta0, l1=l1, l2=l2, penalty_factor=factor, **options)
    for t, (sample, target, weight) in enumerate(zip(x, y, weights)):
        if rates is not None:
            steps.param_groups[0]["lr"] = rates[t]
        if optimizer == "ftrl":
            steps.param_groups[0].update(l1=(t + 1) * l1, l2=(t + 1) * l2)
        steps.step(np.outer(sample, weight * SLOPES[loss](sample @ w, target)))
    return w.T
