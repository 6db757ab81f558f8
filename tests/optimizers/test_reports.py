"""report() of optimizers, lazy updates and linear models: the rows, their total, and the table that it prints."""

import pickle

import numpy as np
import pytest
from cases import STORED
from optimizer_cases import DIRECTIONS, gradients, make, train

import fastreg
from fastreg import reference
from fastreg.linear import StreamingClassifier, StreamingRegressor

COUNTED = {"Adagrad", "RMSprop", "Adam", "AMSGrad", "FTRL"}  # whose state tells which weights had a gradient


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)
def test_the_numbers_are_those_of_the_weights(name, dtype):
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((5, 7)).astype(dtype), "b": np.zeros(3, dtype), "none": np.zeros((0, 2), dtype)}
    optimizer = make(name, params, l1=0.4, l2=0.1, penalty_factor={"W": 2.0, "b": 0.0, "none": 1.0})
    train(optimizer, 0, 3)
    report = optimizer.report()
    assert list(report) == ["W", "b", "none"]
    penalties, zeros = optimizer.penalty(by="tensor"), optimizer.zeros(by="tensor")
    for key, row in report.items():
        w = np.asarray(params[key]).astype(float)
        assert (row.size, row.zeros, row.penalty) == (w.size, zeros[key], penalties[key])
        assert row.share == (row.zeros / row.size if row.size else 0)
        assert row.norm == pytest.approx(np.linalg.norm(w), rel=1e-14)
        assert row.untouched == (0 if name in COUNTED else None)
    total = report.total
    assert (total.size, total.zeros, total.penalty) == (38, optimizer.zeros(), pytest.approx(optimizer.penalty()))
    assert total.norm == pytest.approx(np.linalg.norm([row.norm for row in report.values()]))


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_weights_that_never_had_a_gradient_are_counted_apart(name):
    w = np.ones(6)
    optimizer = make(name, w)
    assert optimizer.report()["0"].untouched == 6
    optimizer.step(np.array([1.0, 0, 0, -1, 0, 0]))
    optimizer.step(np.array([0, 2.0, 0, -1, 0, 0]))
    assert optimizer.report()["0"].untouched == 3


def test_it_prints_as_a_table_with_a_total():
    optimizer = fastreg.SGD({"first": np.ones(1200), "second": np.zeros(2)}, 0.1, l1=0.5)
    assert repr(optimizer.report()).splitlines() == [
        "tensor   size  zeros   share  untouched   norm  penalty",
        "first   1,200      0    0.0%          -  34.64      600",
        "second      2      2  100.0%          -      0        0",
        "total   1,202      2    0.2%          -  34.64      600",
    ]


def test_callables_and_groups():
    groups = [{"params": [np.ones(2)], "l1": lambda t: 0.5 * t}, {"params": [np.ones(2)]}]
    optimizer = fastreg.Adam(groups, lambda t: 0.0)
    optimizer.step(gradients(optimizer, 0))
    report = optimizer.report()
    assert [row.penalty for row in report.values()] == list(optimizer.penalty(by="tensor").values()) == [1.0, 0.0]
    assert report.total.untouched == 0


@pytest.mark.parametrize("cls", [fastreg.LazySGD, fastreg.LazyAdagrad, fastreg.LazyFTRL])
@pytest.mark.parametrize("factor", [None, 0.5, "array"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lazy_updates_report_their_up_to_date_weights(cls, factor, dtype):
    rng = np.random.default_rng(0)
    factor = rng.integers(0, 2, (6, 3)).astype(dtype) if factor == "array" else factor
    lazy = cls(
        rng.standard_normal((6, 3)).astype(dtype), 0.1, l1=lambda t: 0.3 + 0.1 * t, l2=0.1, penalty_factor=factor
    )
    for i in range(4):
        lazy.step(np.array([1, i]), np.ones((2, 3), dtype))
    w, scale = lazy.weights(), factor if isinstance(factor, float) else 1.0
    expected = reference.penalty_sum(
        reference.ElasticNet((0.3 + 0.1 * 4) * scale, 0.1 * scale),
        w,
        factor if isinstance(factor, np.ndarray) else None,
    )
    assert lazy.penalty() == expected
    assert lazy.zeros() == np.count_nonzero(w == 0)
    row = lazy.report()["w"]
    assert (row.size, row.zeros, row.penalty) == (18, lazy.zeros(), expected)
    assert row.norm == pytest.approx(np.linalg.norm(w.astype(float)))
    assert row.untouched == (None if cls is fastreg.LazySGD else 6)


@pytest.mark.parametrize("labels", [2, 3, None], ids=["two classes", "three classes", "regression"])
def test_linear_models_report_their_coefficients(labels):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8))
    model = (
        StreamingRegressor(alpha=0.3, l1_ratio=0.7) if labels is None else StreamingClassifier(alpha=0.1, l1_ratio=0.7)
    )
    with pytest.raises(AttributeError, match="fitted"):
        model.report()
    model.fit(x, x[:, 0] if labels is None else np.digitize(x[:, 0], [0.0, 0.7][: labels - 1]))
    l1, l2 = fastreg.convert.from_sklearn(model.alpha, model.l1_ratio)
    assert model.penalty() == pytest.approx(l1 * np.abs(model.coef_).sum() + l2 / 2 * (model.coef_**2).sum(), rel=1e-14)
    assert model.zeros() == np.count_nonzero(model.coef_ == 0) > 0
    row = model.report()["coef_"]
    assert (row.size, row.zeros, row.penalty) == (model.coef_.size, model.zeros(), model.penalty())
    assert row.norm == pytest.approx(np.linalg.norm(model.coef_))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("optimizer", ["ftrl", "adagrad", "sgd"])
def test_linear_models_count_weights_without_a_gradient(optimizer, classes, dtype):
    """Two features have no value. Batches and pickles change nothing."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((60, 8)) * (rng.random((60, 8)) < 0.5)).astype(dtype)
    x[:, [2, 5]] = 0
    y = np.arange(60) % classes
    model = StreamingClassifier(optimizer=optimizer)
    for k in range(0, 60, 20):
        model.partial_fit(x[k : k + 20], y[k : k + 20], classes=range(classes))
        columns = len(model.coef_)
        assert model.report()["coef_"].untouched == (None if optimizer == "sgd" else 2 * columns)
    report = pickle.loads(pickle.dumps(model)).report()
    assert report == model.report()
    assert ("-" if optimizer == "sgd" else f"{2 * columns:,}") in repr(report).splitlines()[1].split()
