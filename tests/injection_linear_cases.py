"""The operations of linear models that injection.py disturbs."""

import copy
import pickle
from functools import partial
from types import SimpleNamespace

import numpy as np
from injection_cases import Operation, plain
from scipy import sparse

from fastreg.linear import StreamingClassifier, StreamingRegressor


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


def set_weights(s):
    s.it.coef_ = np.linspace(0, 1, s.it.coef_.size).reshape(s.it.coef_.shape)


def fit_from_weights(s):
    shape = s.it.coef_.shape
    s.it.fit(s.x, s.y, coef_init=np.linspace(0, 1, s.it.coef_.size).reshape(shape))


def use_sparse_form(s):
    """Reads it, predicts with it, and goes on after a file of it."""
    sparsified = copy.deepcopy(s.it).sparsify()
    seen = {"coef": sparsified.coef_.toarray(), "predicted": sparsified.predict(s.x)}
    made = pickle.loads(pickle.dumps(sparsified))
    learn(made, s.x, s.y)
    s.more = seen | {"trained": made.coef_.toarray()}


def with_other_factors(kind, form, **options):
    """An estimator whose next call changes its penalty factors."""
    s = estimator(kind, form, 2, l1_ratio=1.0, penalty_factor=[1.0] * 6, **options)
    s.it.set_params(penalty_factor=[0.0, 0.5, 1.0, 2.0, 3.0, 1.0])
    return s


def rate(t):
    return 0.1 / (1 + t)


def linear_operations():
    look, go_on = look_at_estimator, go_on_with_estimator
    models = {
        "classifier, ftrl": (StreamingClassifier, {}),
        "classifier, sgd": (StreamingClassifier, {"optimizer": "sgd"}),
        "classifier, groups": (StreamingClassifier, {"optimizer": "sgd", "l1_ratio": 0.5, "group": "features"}),
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
    for name in ("classifier, ftrl", "classifier, sgd"):
        kind, options = models[name]
        new = partial(with_other_factors, kind, "CSR", **options)
        yield f"partial_fit, other factors: {name}", Operation(new, partial_fit, look, go_on)
    for name in ("classifier, ftrl", "regressor, adagrad"):
        kind, options = models[name]
        old = partial(estimator, kind, "CSR", 2, **options)
        yield f"deepcopy: {name}", Operation(old, copy_estimator, look, go_on)
        yield f"pickle: {name}", Operation(old, pickle_estimator, look, go_on)
        yield f"set coef_: {name}", Operation(old, set_weights, look, go_on)
        yield f"fit from coef_init: {name}", Operation(old, fit_from_weights, look, go_on)
        yield f"sparse form: {name}", Operation(old, use_sparse_form, look, go_on)
        yield f"predict: {name}", Operation(old, lambda s: s.it.predict(s.x), look, go_on)
        warm = partial(estimator, kind, "dense", 2, warm_start=True, **options)
        yield f"fit, warm: {name}", Operation(warm, fit, look, go_on)
