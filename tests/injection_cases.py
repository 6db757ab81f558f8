"""The operations that injection.py disturbs: how to make an object, what to do with it, and how to observe its state.

Any error at any point must leave the whole old state or the whole new one, and from there the object must go on with
the bits of an undisturbed object. A new operation needs only a row in OPERATIONS.
"""

import copy
import io
import pickle
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from ml_dtypes import bfloat16
from scipy import sparse

import fastreg
from fastreg.linear import StreamingClassifier, StreamingRegressor


class Operation(NamedTuple):
    """One operation. The last three functions take the subject, a namespace that `make` returns."""

    make: Callable  # () → a subject in its old state
    act: Callable  # the call that is disturbed
    look: Callable  # the whole visible state, in a form that can be compared
    go_on: Callable  # later calls, which show the state that is not visible


def plain(x):
    """An object as bytes, numbers and texts that can be compared; a callable stays as it is."""
    if isinstance(x, (np.ndarray, np.generic)):
        return (x.dtype.str, x.shape, x.tolist() if x.dtype == object else x.tobytes())
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(value) for value in x]
    return repr(x) if isinstance(x, float) else x


# -- Optimizers -------------------------------------------------------------------------------------------------------


def falling(n):
    """A schedule in Python code."""
    return 0.1 / (1 + n)


def arrays(seed, dtype=np.float64, shapes=((7,), (3, 2))):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def optimizer(kind, steps=2, dtype=np.float64, seed=1, shapes=((7,), (3, 2)), **options):
    """An optimizer after some steps, with the gradients of the next step."""
    made = kind(arrays(seed, dtype, shapes), options.pop("lr", 0.1), **options)
    for i in range(steps):
        made.step(arrays([seed, i], dtype, shapes))
    return SimpleNamespace(it=made, grads=arrays([seed, 99], dtype, shapes), others=arrays(8), more={})


def look_at_optimizer(s):
    o = s.it
    groups = [{key: x for key, x in group.items() if key != "params"} for group in o.param_groups]
    seen = [o.params, o.state, o.state_dict(), groups, o.completed, o.skipped, o.on_nonfinite, o.threads]
    return plain([*seen, o.penalty("tensor"), o.zeros("tensor"), s.grads, s.more])


def go_on_with_optimizer(s):
    grads = [np.full_like(w, 0.3) for w in s.it.params]
    s.it.step(grads)
    s.it.param_groups[0]["lr"] = 0.2
    s.it.step(grads)


def go_on_bound(s):
    s.it.step()
    go_on_with_optimizer(s)


def bound(**options):
    s = optimizer(**options)
    s.it.bind(s.grads)
    return s


def bind_others(s):
    s.it.bind(s.others)


def with_infinity(policy):
    s = optimizer(fastreg.SGD, momentum=0.9, on_nonfinite=policy)
    s.grads[1][1, 1] = np.inf
    return s


def groups():
    """Two groups, one of them with a schedule, and a tensor without a gradient."""
    w = arrays(2, shapes=((5,), (4,), (2, 3)))
    made = fastreg.Adam([{"params": w[:2], "lr": falling, "l1": 0.01}, {"params": w[2:], "betas": (0.5, 0.9)}], l2=0.1)
    made.step([[w[0] + 1, None], [w[2] - 1]])
    return SimpleNamespace(it=made, grads=[[w[0] - 1, w[1] + 1], [None]], more={})


def look_at_groups(s):
    o = s.it
    seen = [o.params, o.state, o.state_dict(), [dict(group.items()) for group in o.param_groups]]
    return plain([*seen, o.completed, o.skipped])


def go_on_with_groups(s):
    s.it.step(s.grads)
    s.it.param_groups[0]["lr"] = 0.2
    s.it.step(s.grads)


def saved_beside(kind, stored=False, **options):
    """An optimizer, and the state of another one that made more steps with other settings."""
    s, other = optimizer(kind, **options), optimizer(kind, 5, seed=1, **options | {"lr": 0.7, "l1": 0.02})
    s.saved = other.it.state_dict()
    if stored:
        file = io.BytesIO()
        np.savez(file, **s.saved)
        s.stored = file.getvalue()
    return s


def load(s):
    s.it.load_state_dict(s.saved)


def load_file(s):
    s.it.load_state_dict(np.load(io.BytesIO(s.stored)))


def update_group(s):
    s.it.param_groups[0].update(lr=0.3, l1=0.05, mode="decoupled", betas=(0.8, 0.95))


def schedule_group(s):
    s.it.param_groups[0].update({"lr": falling, "l2": 0.2})


def construct_again(s):
    s.it.__init__(s.others[:1], falling, l1=0.03)


def step(s):
    s.it.step(s.grads)


def step_bound(s):
    s.it.step()


def deepcopy(s):
    s.more = copies(copy.deepcopy(s.it))


def through_pickle(s):
    s.more = copies(pickle.loads(pickle.dumps(s.it)))


def clip(s):
    fastreg.clip_grad_norm(s.grads, 0.1)


def copies(x):
    return {"params": x.params, "state": x.state_dict()}


def large(bind=False):
    """Tensors that are large enough for two threads."""
    w = [np.zeros(1 << 20, np.float32), np.zeros(1 << 19, np.float32)]
    grads = [np.linspace(-1, 1, x.size, dtype=np.float32) for x in w]
    made = fastreg.SGD(w, falling, momentum=0.9, threads=2)
    if bind:
        made.bind(grads)
    return SimpleNamespace(it=made, grads=grads, more={})


def look_at_large(s):
    return plain([s.it.params, s.it.state, s.it.completed, s.grads, s.it.state_dict()["tensor.0.steps"]])


def dense_operations():
    look, go_on = look_at_optimizer, go_on_with_optimizer
    kinds = {
        "SGD": {"kind": fastreg.SGD},
        "momentum": {"kind": fastreg.SGD, "momentum": 0.9, "l1": 0.01},
        "Adam": {"kind": fastreg.Adam, "l1": 0.01, "l2": 0.1},
        "scheduled AMSGrad": {"kind": fastreg.Adam, "amsgrad": True, "lr": falling, "l1": falling},
        "FTRL of bfloat16": {"kind": fastreg.FTRL, "dtype": bfloat16, "l1": 0.01},
    }
    for name, options in kinds.items():
        yield f"step: {name}", Operation(partial(optimizer, **options), step, look, go_on)
        yield f"step, bound: {name}", Operation(partial(bound, **options), step_bound, look, go_on_bound)
    for policy in ("raise", "skip"):
        finite = partial(optimizer, fastreg.Adam, on_nonfinite=policy)
        yield f"step: on_nonfinite={policy}", Operation(finite, step, look, go_on)
    yield "step: skipped", Operation(partial(with_infinity, "skip"), step, look, go_on)
    yield "step: groups", Operation(groups, step, look_at_groups, go_on_with_groups)
    adam = partial(optimizer, fastreg.Adam)
    yield "bind", Operation(adam, lambda s: s.it.bind(s.grads), look, go_on)
    rebind = Operation(partial(bound, kind=fastreg.Adam), bind_others, look, go_on_bound)
    yield "bind: others", rebind
    yield "load_state_dict: momentum", Operation(partial(saved_beside, fastreg.SGD, momentum=0.9), load, look, go_on)
    yield "load_state_dict: Adam", Operation(partial(saved_beside, fastreg.Adam), load, look, go_on)
    yield "load_state_dict: file", Operation(partial(saved_beside, fastreg.Adam, stored=True), load_file, look, go_on)
    yield "settings", Operation(adam, update_group, look, go_on)
    yield "settings: a schedule", Operation(adam, schedule_group, look, go_on)
    yield "__init__", Operation(adam, construct_again, look, go_on)
    yield "__init__: bound", Operation(partial(bound, kind=fastreg.Adam), construct_again, look, go_on)
    yield "deepcopy: Adam", Operation(adam, deepcopy, look, go_on)
    yield "pickle: Adam", Operation(adam, through_pickle, look, go_on)
    yield "clip_grad_norm", Operation(adam, clip, look, go_on)
    yield "step: large", Operation(large, step, look_at_large, go_on)
    yield "step, bound: large", Operation(partial(large, True), step_bound, look_at_large, go_on_bound)
    yield (
        "clip_grad_norm: large",
        Operation(large, clip, look_at_large, go_on),
    )


# -- Lazy updates -----------------------------------------------------------------------------------------------------

ROWS = 40
INDICES, VALUES = np.array([3, 8, 3, 39, 0]), np.array([1.0, -2.0, 0.5, 3.0, -1.0])
INDPTR = np.array([0, 2, 2, 5])


def lazy(kind, steps=2, seed=3, **options):
    """Lazy weights after some steps; most of them have a pending penalty."""
    w = arrays(seed, shapes=((ROWS,),))[0]
    made = kind(w, options.pop("lr", 0.1), **{"l1": 0.01, "l2": 0.1} | options)
    for i in range(steps):
        made.step(np.array([i, 5, 9]), np.array([1.0, -0.5, 2.0]))
    return SimpleNamespace(it=made, other=np.linspace(-1, 1, 50), more={})


def look_at_lazy(s):
    o = s.it
    seen = [o.w, o.weights(), o.weights(INDICES), o.state, o.state_dict(), o.lr, o.l1, o.l2, o.completed]
    return plain([*seen, o.penalty_factor, s.more])


def go_on_with_lazy(s):
    s.it.step(np.array([1, 3, 9]), np.array([0.4, -0.4, 0.2]))
    s.it.l2 = 0.3
    s.it.step_csr(VALUES, INDICES, INDPTR)
    s.more = s.more | {"weights": s.it.weights()}
    s.it.flush()


def saved_lazy(kind, **options):
    s, other = lazy(kind, **options), lazy(kind, 5, **options | {"lr": 0.2, "l1": 0.02})
    s.saved = other.it.state_dict()
    return s


def construct_lazy_again(s):
    s.it.__init__(s.other, falling, l1=0.03)


def set_l1(s):
    s.it.l1 = falling


def copy_lazy(s):
    made = copy.deepcopy(s.it)
    s.more = {"w": made.w, "state": made.state_dict()}


def pickle_lazy(s):
    made = pickle.loads(pickle.dumps(s.it))
    s.more = {"w": made.w, "state": made.state_dict()}


def set_lr(s):
    s.it.lr = 0.05


LAZY = {
    "step": lambda s: s.it.step(INDICES, VALUES),
    "step_csr": lambda s: s.it.step_csr(VALUES, INDICES, INDPTR),
    "flush": lambda s: s.it.flush(),
    "weights": lambda s: s.it.weights(),
    "has_pending_penalty": lambda s: s.it.has_pending_penalty,
    "lr": set_lr,
    "l1, a schedule": set_l1,
    "__init__": construct_lazy_again,
    "deepcopy": copy_lazy,
    "pickle": pickle_lazy,
}


def lazy_operations():
    look, go_on = look_at_lazy, go_on_with_lazy
    for kind in (fastreg.LazySGD, fastreg.LazyAdagrad, fastreg.LazyFTRL):
        name = kind.__name__
        for what, act in LAZY.items():
            yield f"{name}: {what}", Operation(partial(lazy, kind), act, look, go_on)
        for what in ("step", "step_csr"):
            scheduled = partial(lazy, kind, lr=falling, l2=falling)
            yield f"{name}: {what}, scheduled", Operation(scheduled, LAZY[what], look, go_on)
        yield f"{name}: load_state_dict", Operation(partial(saved_lazy, kind), load, look, go_on)
    factor = np.tile([0.0, 1.0], ROWS // 2)
    weighted = partial(lazy, fastreg.LazySGD, mode="truncated", penalty_factor=factor)
    yield "LazySGD: step, truncated with factors", Operation(weighted, LAZY["step"], look, go_on)


# -- Linear models ----------------------------------------------------------------------------------------------------


def samples(form, features=6, count=12, seed=5):
    rng = np.random.default_rng([seed, features])
    x = rng.standard_normal((count, features)) * (rng.random((count, features)) < 0.6)
    y = x @ rng.standard_normal(features)
    return (sparse.csr_matrix(x) if form == "CSR" else x), y


def targets(model, y, classes=3):
    return np.argsort(np.argsort(y)) * classes // len(y) if isinstance(model, StreamingClassifier) else y


def learn(model, x, y, classes=3):
    first = {"classes": np.arange(classes)} if isinstance(model, StreamingClassifier) else {}
    model.partial_fit(x, y, **first)


def estimator(kind, form, calls=0, features=6, classes=3, **options):
    """An estimator after some calls, with the data of the next one."""
    model = kind(**{"max_iter": 2, "tol": None, "random_state": 0, "alpha": 0.01} | options)
    for i in range(calls):
        x, y = samples(form, seed=i)
        learn(model, x, targets(model, y))
    x, y = samples(form, features, seed=20)
    return SimpleNamespace(it=model, form=form, x=x, y=targets(model, y, classes), more={})


LEARNED = ("n_features_in_", "classes_", "n_iter_", "coef_", "intercept_")


def look_at_estimator(s):
    model, (x, _) = s.it, samples("dense", getattr(s.it, "n_features_in_", 6))
    seen = {name: getattr(model, name, None) for name in LEARNED}
    if seen["coef_"] is not None:
        seen["predicted"] = model.predict(x)
    return plain([model.get_params(), seen, s.more])


def go_on_with_estimator(s):
    """More samples, with the numbers of features and classes that the model has."""
    x, y = samples(s.form, getattr(s.it, "n_features_in_", 6), seed=50)
    classes = len(getattr(s.it, "classes_", range(3)))
    learn(s.it, x, targets(s.it, y, classes), classes)


def partial_fit(s):
    learn(s.it, s.x, s.y)


def fit(s):
    s.it.fit(s.x, s.y)


def copy_estimator(s):
    made = copy.deepcopy(s.it)
    s.more = {"coef": made.coef_, "intercept": made.intercept_}


def pickle_estimator(s):
    made = pickle.loads(pickle.dumps(s.it))
    s.more = {"coef": made.coef_, "intercept": made.intercept_}


def rate(t):
    return 0.1 / (1 + t)


def linear_operations():
    look, go_on = look_at_estimator, go_on_with_estimator
    models = {
        "classifier, ftrl": (StreamingClassifier, {}),
        "classifier, sgd": (StreamingClassifier, {"optimizer": "sgd"}),
        "regressor, adagrad": (StreamingRegressor, {"optimizer": "adagrad"}),
        "regressor, callable": (StreamingRegressor, {"optimizer": "sgd", "learning_rate": rate}),
    }
    for name, (kind, options) in models.items():
        for form in ("dense", "CSR"):
            new, old = (partial(estimator, kind, form, calls, **options) for calls in (0, 2))
            yield f"partial_fit, first, {form}: {name}", Operation(new, partial_fit, look, go_on)
            yield f"partial_fit, later, {form}: {name}", Operation(old, partial_fit, look, go_on)
            other = {"features": 9, "classes": 4}  # other numbers than before
            yield f"fit, first, {form}: {name}", Operation(partial(new, **other), fit, look, go_on)
            yield f"fit, later, {form}: {name}", Operation(partial(old, **other), fit, look, go_on)
    for name in ("classifier, ftrl", "regressor, adagrad"):
        kind, options = models[name]
        old = partial(estimator, kind, "CSR", 2, **options)
        yield f"deepcopy: {name}", Operation(old, copy_estimator, look, go_on)
        yield f"pickle: {name}", Operation(old, pickle_estimator, look, go_on)
        yield f"predict: {name}", Operation(old, lambda s: s.it.predict(s.x), look, go_on)
        warm = partial(estimator, kind, "dense", 2, warm_start=True, **options)
        yield f"fit, warm: {name}", Operation(warm, fit, look, go_on)


OPERATIONS = dict([*dense_operations(), *lazy_operations(), *linear_operations()])
