"""Sparse weights: coef_ as a CSR matrix, predictions from it, and files without what is zero or never seen."""

import copy
import pickle
import tracemalloc

import joblib
import numpy as np
import pytest
from linear_cases import LOSSES, OPTIMIZERS, PAIRS, bits, data, in_batches, is_classifier, make, stored
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectFromModel

from fastreg._boundary import linear as _learn
from fastreg.linear import StreamingClassifier

WIDE = 1 << 20


def trained(loss, optimizer, classes=2, dtype=float, form=np.int32, **options):
    x, y = data(loss, 60, classes=classes)
    x = stored(x, form, dtype)
    options = {"alpha": 0.1, "l1_ratio": 0.9} | options
    return in_batches(make(loss, optimizer, **options), x[:40], y[:40], 10), x, y


def sparse_form(model):
    """What coef_ is as a matrix, dense."""
    return np.atleast_2d(model.coef_)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, float])
@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_sparsify_and_densify(loss, optimizer, dtype, classes):
    if classes == 3 and not is_classifier(loss):
        pytest.skip("one column")
    model, x, _ = trained(loss, optimizer, classes, dtype)
    dense, zeros, before = sparse_form(model), model.zeros(), bits(model)
    predicted = model._margins(x), model._margins(x.toarray())
    assert model.sparsify() is model
    assert model.sparsify() is model
    coef = model.coef_
    assert sparse.isspmatrix_csr(coef)
    assert coef.has_canonical_format
    assert coef.shape == dense.shape
    assert coef.dtype == dtype
    assert coef.nnz == np.count_nonzero(dense) <= dense.size - (optimizer == "ftrl")
    np.testing.assert_array_equal(coef.toarray(), dense)
    assert model.zeros() == zeros
    np.testing.assert_array_equal(model._margins(x), predicted[0])
    np.testing.assert_array_equal(model._margins(x.toarray()), predicted[1])
    with pytest.raises(ValueError, match="read-only"):
        coef.data[:] = 1
    model.coef_.data = np.zeros(coef.nnz)
    np.testing.assert_array_equal(model.coef_.toarray(), dense)
    assert model.densify() is model
    assert bits(model) == before
    np.testing.assert_array_equal(sparse_form(model), dense)


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_training_goes_on_in_the_sparse_form(loss, optimizer):
    model, x, y = trained(loss, optimizer)
    other = copy.deepcopy(model).sparsify()
    for part in (slice(40, 50), slice(50, 60)):
        model.partial_fit(x[part], y[part])
        other.partial_fit(x[part], y[part])
        assert sparse.issparse(other.coef_)
        np.testing.assert_array_equal(other.coef_.toarray(), sparse_form(model))
        np.testing.assert_array_equal(other._margins(x), model._margins(x))
    assert bits(other.densify()) == bits(model)


def test_fit_begins_with_a_dense_form_unless_it_is_warm():
    x, y = data("log_loss", 60)
    model = StreamingClassifier(max_iter=2, tol=None).fit(x, y).sparsify()
    assert isinstance(model.fit(x, y).coef_, np.ndarray)
    model.set_params(warm_start=True).sparsify()
    assert sparse.issparse(model.fit(x, y).coef_)
    assert not clone(model)._is_sparse


def test_only_a_fitted_model_has_a_sparse_form():
    for name in ("sparsify", "densify"):
        with pytest.raises(NotFittedError):
            getattr(StreamingClassifier(), name)()


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_copies_keep_the_state(how):
    model, *_ = trained("log_loss", "ftrl")
    new = how(model.sparsify())
    assert sparse.issparse(new.coef_)
    assert bits(new.densify()) == bits(model.densify())


FILES = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "joblib": lambda model, path: joblib.load(joblib.dump(model, path / "model")[0]),
    "joblib, mapped": lambda model, path: joblib.load(joblib.dump(model, path / "model")[0], mmap_mode="r"),
}


@pytest.mark.parametrize("how", FILES)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_files_of_sparsified_models_predict_the_same_bits(optimizer, classes, how, tmp_path):
    """And training starts from their weights: with a sample of weight 0 nothing moves."""
    model, x, y = trained("log_loss", optimizer, classes)
    model.sparsify()
    new = FILES[how](model, tmp_path)
    assert "_learner" not in vars(new._stream)
    assert new.n_iter_ == model.n_iter_
    assert new._stream.completed == model._stream.completed
    assert new.zeros() == model.zeros()
    assert new.penalty() == model.penalty()
    assert new.report()["coef_"].zeros == model.zeros()
    assert new.classes_.tolist() == model.classes_.tolist()
    for samples in (x, x.toarray()):
        np.testing.assert_array_equal(new._margins(samples), model._margins(samples))
        np.testing.assert_array_equal(new.predict_proba(samples), model.predict_proba(samples))
    np.testing.assert_array_equal(new.coef_.toarray(), model.coef_.toarray())
    again = pickle.loads(pickle.dumps(new))
    assert "_learner" not in vars(again._stream), "reading created the state"
    again.densify()
    np.testing.assert_array_equal(again.coef_, model.coef_.toarray())
    np.testing.assert_array_equal(again.intercept_, model.intercept_)
    new.partial_fit(x[:5], y[:5], sample_weight=np.zeros(5))
    np.testing.assert_array_equal(new.coef_.toarray(), model.coef_.toarray())
    np.testing.assert_array_equal(new.intercept_, model.intercept_)
    in_batches(new, x[40:], y[40:], 7)
    in_batches(again, x[40:], y[40:], 20)
    assert new._stream.completed == 60
    np.testing.assert_array_equal(new.coef_.toarray(), again.coef_)
    assert np.abs(new.coef_.toarray() - model.coef_.toarray()).max() < 1


@pytest.mark.parametrize("options", [{"group": "features"}, {"penalty_factor": np.arange(12) % 2}, {"positive": True}])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_files_of_sparsified_models_keep_the_restrictions(optimizer, options):
    if optimizer == "adagrad" and "group" in options:
        pytest.skip("refused")
    model, x, y = trained("log_loss", optimizer, 3, l1_ratio=1.0, **options)
    new = pickle.loads(pickle.dumps(model.sparsify()))
    np.testing.assert_array_equal(new.coef_.toarray(), model.coef_.toarray())
    before = new.coef_.toarray()
    new.partial_fit(stored(np.zeros((1, 12)), np.int32, float), y[:1])
    change = np.abs(new.coef_.toarray() - before)
    assert (change <= 0.1 * np.maximum(np.abs(before), 1)).all()
    if "penalty_factor" in options:
        assert (change[:, ::2] <= 1e-14).all()
    in_batches(new, x[40:], y[40:], 20)
    if "positive" in options:
        assert (new.coef_.data >= 0).all()
    if "group" in options:
        coef = new.coef_.toarray()
        np.testing.assert_array_equal((coef != 0).any(axis=0), (coef != 0).all(axis=0))


# -- Files of models with state ---------------------------------------------------------------------------------------


def wide(optimizer, seen=6619, classes=2, dtype=np.float32, **options):
    """A model of 2²⁰ features of which few have been seen, and more samples of them."""
    rng = np.random.default_rng(0)
    features = np.sort(rng.choice(WIDE, seen, replace=False)).astype(np.int32)
    rows = 200
    places = np.sort(rng.integers(0, seen, (rows, 50)), axis=1)
    x = sparse.csr_matrix(
        (rng.standard_normal(rows * 50).astype(dtype), features[places].ravel(), np.arange(0, rows * 50 + 1, 50)),
        (rows, WIDE),
    )
    x.sum_duplicates()
    y = rng.integers(0, classes, rows)
    model = StreamingClassifier(optimizer=optimizer, **({"alpha": 1e-9} | options))
    model.partial_fit(x[:150], y[:150], np.arange(classes))
    return model, x, y


@pytest.mark.parametrize("dtype", [np.float32, float])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_files_contain_only_features_that_were_seen(optimizer, classes, dtype, tmp_path):
    model, x, y = wide(optimizer, classes=classes, dtype=dtype)
    seen = len(np.unique(x[:150].indices))
    path = joblib.dump(model, tmp_path / "model")[0]
    size, record = (tmp_path / "model").stat().st_size, model._stream.learner.records.itemsize
    assert size < seen * (record + 4) + 5000
    for mode in (None, "r"):
        new = joblib.load(path, mmap_mode=mode)
        assert bits(new) == bits(model)
        np.testing.assert_array_equal(new.decision_function(x), model.decision_function(x))
        other = copy.deepcopy(model)
        assert bits(new.partial_fit(x[150:], y[150:])) == bits(other.partial_fit(x[150:], y[150:]))
        assert bits(pickle.loads(pickle.dumps(new))) == bits(new)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_files_of_sparsified_models_are_small(optimizer, tmp_path):
    model, x, _ = wide(optimizer)
    joblib.dump(model.sparsify(), tmp_path / "model")
    assert 3000 < model.coef_.nnz <= 6619
    size = (tmp_path / "model").stat().st_size
    assert size < 20 * model.coef_.nnz + 3000
    new = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(new.decision_function(x), model.decision_function(x))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_file_of_6619_weights_among_a_million(optimizer, tmp_path):
    """8 bytes a weight for float32, 12 for float64; all records are 17 and 25 MB."""
    model, x, y = wide(optimizer, dtype=float)
    weights = np.zeros(WIDE)
    weights[np.random.default_rng(1).choice(WIDE, 6619, replace=False)] = 1.5
    model.coef_ = weights
    joblib.dump(model.sparsify(), tmp_path / "model")
    assert (tmp_path / "model").stat().st_size < 82_000
    new = joblib.load(tmp_path / "model").partial_fit(x, y)
    assert new.coef_.nnz > 3000


def old_form(model):
    """The model as files of earlier commits contain it: all records, and the attributes of that time."""
    learner = model._stream.learner

    class Pickler(pickle._Pickler):
        def reducer_override(self, obj):
            if isinstance(obj, _learn.Learner):
                rest = obj.__reduce__()[1][-6:]
                direction, intercept, record, numbers, factors, bounds = rest
                return _learn._rebuild, (obj.records, direction, intercept, record[:9], numbers, factors, bounds)
            return NotImplemented

    import io

    file = io.BytesIO()
    new = copy.copy(model)
    new._stream = object.__new__(type(model._stream))
    old = {"optimizer": model.optimizer, "positive": model.positive, "learner": learner, "_cache": None}
    vars(new._stream).update(old | {"_factors": model._stream._factors})
    Pickler(file).dump(new)
    return file.getvalue()


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_files_of_earlier_commits_are_read(loss, optimizer, monkeypatch):
    model, x, y = trained(loss, optimizer)
    monkeypatch.setattr(type(model._stream), "__getstate__", lambda self: vars(self))
    file = old_form(model)
    monkeypatch.undo()
    assert b"_stored" not in file
    new = pickle.loads(file)
    assert bits(new) == bits(model)
    assert bits(new.partial_fit(x[40:], y[40:])) == bits(model.partial_fit(x[40:], y[40:]))
    assert new.sparsify().coef_.nnz == np.count_nonzero(model.coef_)


DAMAGED = {
    "an index out of range": lambda a: {"indices": a["indices"] + 2**19},
    "a negative index": lambda a: {"indices": a["indices"] - 2**19},
    "one index less": lambda a: {"indices": a["indices"][1:]},
    "indices of floats": lambda a: {"indices": a["indices"].astype(float)},
    "no background": lambda a: {"background": b""},
    "another background": lambda a: {"background": list(a["background"])},
    "another dtype": lambda a: {"kept": a["kept"].view(np.int8)},
    "half a record": lambda a: {"kept": a["kept"][:-1]},
    "fewer rows": lambda a: {"rows": 10},
    "rows of a float": lambda a: {"rows": float(WIDE)},
    "objects": lambda a: {"dtype": np.dtype([("w", object), ("a", "f8")])},
    "other records": lambda a: {"dtype": np.dtype("f8,f8")},
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_are_refused(case):
    rebuild, arguments = wide("ftrl")[0]._stream.learner.__reduce__()
    assert rebuild is _learn._rebuild_parts
    names = ("dtype", "rows", "background", "indices", "kept")
    parts = dict(zip(names, arguments))
    parts |= DAMAGED[case](parts)
    with pytest.raises(ValueError, match=r"^records: expected"):
        rebuild(*parts.values(), *arguments[5:])


# -- Memory -----------------------------------------------------------------------------------------------------------


def peak(call):
    """The largest amount of memory that a call allocates on the way, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_sparse_form_allocates_nothing_of_the_size_of_the_weights(optimizer, tmp_path):
    model, x, _ = wide(optimizer, classes=3)
    row = x[:1].toarray()
    limit = 3 * WIDE * 4 / 10  # a tenth of the weights
    assert peak(lambda: model.sparsify().coef_) < limit
    assert peak(lambda: model.decision_function(x)) < limit
    assert peak(model.zeros) < limit
    file = tmp_path / "model"
    assert peak(lambda: joblib.dump(model, file)) < limit
    new = joblib.load(file)
    assert peak(lambda: joblib.load(file)) < limit
    for act in (new.decision_function, new.predict, new.predict_proba):
        assert peak(lambda act=act: act(x)) < limit
        assert peak(lambda act=act: act(row)) < limit + row.nbytes  # the check of X copies it
    assert peak(lambda: pickle.dumps(model.densify())) < limit


# -- SelectFromModel --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("options", [{"l1_ratio": 1.0}, {"l1_ratio": 0.5}, {"l1_ratio": 1.0, "group": "features"}])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_select_from_model_keeps_what_is_not_zero(optimizer, classes, options, is_sparse):
    if optimizer == "adagrad" and "group" in options:
        pytest.skip("refused")
    model, *_ = trained("log_loss", optimizer, classes, **options)
    coef = model.coef_
    if is_sparse:
        model.sparsify()
    kept = SelectFromModel(model, prefit=True).get_support()
    np.testing.assert_array_equal(kept, coef.any(axis=0))


def test_what_the_penalty_equals():
    model, *_ = trained("log_loss", "ftrl")
    cases = {1.0: ("l1", ["l1"]), 0.5: ("elasticnet", ["l1", "elasticnet"]), 0.0: ("l2", ["l2"])}
    for ratio, (name, equal) in cases.items():
        model.set_params(l1_ratio=ratio)
        assert repr(model.penalty) == name
        assert [x for x in ("l1", "l2", "elasticnet", "mean", 1, None) if model.penalty == x] == equal
    assert isinstance(model.penalty(), float)


# -- Given weights ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_coef_and_intercept_can_be_set(loss, optimizer):
    model, x, y = trained(loss, optimizer)
    weights = np.linspace(-1, 1, 12).round(1) * (np.arange(12) % 3 > 0)
    expected = x @ weights + 3
    model.coef_, model.intercept_ = weights, 3.0
    np.testing.assert_array_equal(np.ravel(model.coef_), weights)
    np.testing.assert_allclose(model._margins(x), expected, rtol=1e-14)
    model.sparsify()
    np.testing.assert_allclose(model._margins(x), expected, rtol=1e-14)
    model.coef_ = 2 * model.coef_
    np.testing.assert_array_equal(model.coef_.toarray()[0], 2 * weights)
    model.partial_fit(x, y)
    with pytest.raises(ValueError, match="coef_: expected shape"):
        model.coef_ = np.zeros(11)
    with pytest.raises(ValueError, match="intercept_: expected shape"):
        model.intercept_ = np.zeros(11)


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_of_an_unfitted_model_cannot_be_set(loss):
    model = make(loss)
    with pytest.raises(AttributeError, match=r"has no coef_ before it is fitted; to start from given weights, use fit"):
        model.coef_ = np.zeros(3)
    with pytest.raises(AttributeError, match=r"has no intercept_ before it is fitted; to start from a given intercept"):
        model.intercept_ = 0.0


@pytest.mark.filterwarnings("ignore:fit. the mean loss", "ignore:max_iter")
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_fit_starts_from_given_weights(loss, optimizer, warm):
    """Those of a converged model: one epoch with them is nearer to it than one epoch without."""
    x, y = data(loss, 200)
    options = {"alpha": 1e-3, "random_state": 0, "tol": None, "warm_start": warm}
    if (loss, optimizer) == ("hinge", "sgd"):
        options["eta0"] = 0.1  # by default, its first steps are large and have no limit
    if loss == "quantile":
        options["eta0"] = 0.1  # the steps of a loss with a corner stay as large as their rates, near a minimum, too
    done = make(loss, optimizer, max_iter=60, **options).fit(x, y)
    one, other = (make(loss, optimizer, max_iter=1, **options) for _ in range(2))
    if warm:
        one.fit(x, y)
    one.fit(x, y, coef_init=done.coef_, intercept_init=done.intercept_)
    other.fit(x, y)
    far, near = (np.abs(m._margins(x) - done._margins(x)).mean() for m in (other, one))
    assert near < far
    before = bits(one)
    for given in (np.zeros(11), "a", np.full(12, np.nan)):
        with pytest.raises(ValueError, match="coef_init: expected"):
            one.fit(x, y, coef_init=given)
    with pytest.raises(ValueError, match="intercept_init: expected"):
        one.fit(x, y, intercept_init=[1.0, 2.0])
    assert bits(one) == before
