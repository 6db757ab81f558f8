"""Training that continues from given weights."""

import copy
import pickle

import numpy as np
import pytest
from linear_cases import LOSSES, OPTIMIZERS, bits, data, in_batches, is_classifier, make, stored

from fastreg import reference

CASES = [  # loss, classes, options
    pytest.param("log_loss", 2, {}, id="two classes"),
    pytest.param("log_loss", 3, {}, id="three classes"),
    pytest.param("log_loss", 3, {"group": "features"}, id="groups"),
    pytest.param("log_loss", 2, {"penalty_factor": np.arange(12) % 2}, id="factors"),
    pytest.param("log_loss", 3, {"penalty_factor": np.arange(12) % 2, "group": "features"}, id="factors of groups"),
    pytest.param("log_loss", 2, {"positive": True}, id="positive"),
    pytest.param("squared_error", 2, {"fit_intercept": False}, id="regression"),
]


def trained(loss, optimizer, classes=2, dtype=float, **options):
    """A model in the middle of a stream, and all samples."""
    x, y = data(loss, 60, classes=classes)
    x = stored(x, np.int32, dtype)
    model = make(loss, optimizer, alpha=0.01, l1_ratio=0.5, **options)
    return in_batches(model, x[:30], y[:30], 10), x, y


def given_weights(model, seed=0):
    """Weights (columns, features), a third of them zero, and an intercept."""
    rng = np.random.default_rng(seed)
    features, columns = model._stream.shape
    weights = rng.standard_normal((columns, features)) * (rng.random((columns, features)) < 0.67)
    weights = np.abs(weights) if model.positive else weights
    dtype = model._stream.dtype
    return weights.astype(dtype), (rng.standard_normal(columns) * model.fit_intercept).astype(dtype)


def skip_groups_of_adagrad(optimizer, options):
    if optimizer == "adagrad" and "group" in options:
        pytest.skip("refused")


def rate_of(model):
    return model._stream.learner.__reduce__()[1][3][9]  # built_on


@pytest.mark.parametrize("dtype", [np.float32, float])
@pytest.mark.parametrize(("loss", "classes", "options"), CASES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_placed_weights_are_kept_to_the_bit(optimizer, loss, classes, options, dtype):
    skip_groups_of_adagrad(optimizer, options)
    model, x, y = trained(loss, optimizer, classes, dtype, **options)
    weights, intercept = given_weights(model)
    completed, squares, reference = model._stream.completed, model._stream.squares()[0], copy.deepcopy(model)
    model._stream.place(weights, intercept)
    for own in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(own._stream.coef(), weights)
        np.testing.assert_array_equal(own.intercept_, intercept)
        np.testing.assert_array_equal(own.report()["coef_"].norm, pytest.approx(np.linalg.norm(weights), rel=1e-6))
        assert own._stream.completed == completed
    if squares is not None:
        np.testing.assert_array_equal(model._stream.squares()[0], squares)
    other = pickle.loads(pickle.dumps(model))
    in_batches(model, x[30:], y[30:], 30)
    assert bits(in_batches(other, x[30:], y[30:], 7)) == bits(model)
    assert bits(in_batches(reference, x[30:], y[30:], 30)) != bits(model)


@pytest.mark.parametrize("dtype", [np.float32, float])
@pytest.mark.parametrize(("loss", "classes", "options"), CASES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_moves_only_by_gradient_and_penalty(optimizer, loss, classes, options, dtype):
    """A sample of zeros: without an intercept nothing has a gradient, and weights that are not penalised stand still.

    FTRL's closed form gives the weights back up to a few roundings of z, whose size is that of the total penalty.
    """
    skip_groups_of_adagrad(optimizer, options)
    model, x, _ = trained(loss, optimizer, classes, dtype, **options)
    weights, intercept = given_weights(model)
    model._stream.place(weights, intercept)
    empty = stored(np.zeros((1, x.shape[1])), np.int32, dtype)
    model.partial_fit(empty, model.classes_[:1] if is_classifier(loss) else [0.0])
    change = np.abs(model._stream.coef() - weights)
    shrinkage = 0.05 * np.maximum(np.abs(weights), 1)  # of one step, alpha·lr·max(1, |w|); lr is at most 5 here
    assert (change <= shrinkage + 1e-5).all()
    assert not model._stream.coef()[weights == 0].any()
    if "penalty_factor" in options:
        free = options["penalty_factor"] == 0
        rounding = 20 * np.finfo(dtype).eps if optimizer == "ftrl" else 0
        assert (change[:, free] <= rounding * np.abs(weights[:, free])).all()


@pytest.mark.parametrize("dtype", [np.float32, float])
@pytest.mark.parametrize(("loss", "classes", "options"), CASES)
def test_how_near_the_closed_form_of_ftrl_is(loss, classes, options, dtype):
    """Solved with the strengths of the last step, z gives back the weights up to roundings of z in units of a weight.

    One unit of rounding of z moves a weight by eps·|z|/(curvature + l2), at least eps·|w|. Seen: 2.6 such units without
    groups, 4.7 with them.
    """
    model, *_ = trained(loss, "ftrl", classes, dtype, **options)
    weights, intercept = given_weights(model)
    learner = model._stream.learner
    lr, _, l2 = learner.__reduce__()[1][3][5:8]
    model._stream.place(weights, intercept)
    assert rate_of(model) == lr
    *arguments, record, _, factors, bounds = learner.__reduce__()[1]
    arguments[0] = arguments[0].copy()
    solving = type(learner)(*arguments, factors, *bounds)
    solving._restore(*record[:5], lr, *record[6:])
    solved = solving.read(len(learner.records))[1].T
    z, n = learner.records["a"].T, learner.records["b"].T
    c = (1 + np.sqrt(n.astype(float))) / lr
    f = np.ones(z.shape[1]) if factors is None else factors.astype(float)
    unit = np.finfo(dtype).eps * np.abs(z.astype(float)) / (c + l2 * f)
    assert (np.abs(solved - weights.astype(float)) <= 8 * unit).all()
    np.testing.assert_array_equal(solved == 0, weights == 0)


@pytest.mark.parametrize("dtype", [np.float32, float])
@pytest.mark.parametrize("options", [{}, {"penalty_factor": np.arange(12) % 3}], ids=["", "factors"])
def test_z_has_the_bits_of_the_reference(options, dtype):
    model, *_ = trained("log_loss", "ftrl", 3, dtype, **options)
    weights, intercept = given_weights(model)
    learner = model._stream.learner
    lr, l1, l2 = learner.__reduce__()[1][3][5:8]
    model._stream.place(weights, intercept)
    n, factors = learner.records["b"].T, learner.factors
    f = None if factors is None else np.broadcast_to(factors, n.shape)
    z = reference.warm_start(reference.FTRL(lr, 1.0), reference.ElasticNet(l1, l2), weights, n, f)
    np.testing.assert_array_equal(learner.records["a"].T, z)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_placed_before_the_first_sample(optimizer, loss):
    """The learning rate is not known yet. A step without a gradient shrinks the weights by about lr·alpha."""
    model, x, y = trained(loss, optimizer)
    weights, intercept = given_weights(model)
    stream = model._new_stream(x, 1)
    stream.place(weights, intercept)
    np.testing.assert_array_equal(stream.coef(), weights)
    model._stream = stream
    one = np.zeros((1, x.shape[1]))
    one[0, 3] = 2.0
    model.partial_fit(one, y[:1])
    others = np.arange(12) != 3
    np.testing.assert_allclose(model._stream.coef()[:, others], weights[:, others], rtol=0.05, atol=0.05)
    in_batches(model, x, y, 10)
    assert np.isfinite(model.coef_).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_intercept_alone(optimizer):
    model, *_ = trained("log_loss", optimizer)
    before = model.coef_.copy()
    model._stream.place(intercept=[3.0])
    np.testing.assert_array_equal(model.coef_, before)
    assert model.intercept_.tolist() == [3.0]
    model._stream.place(weights=2 * before)
    np.testing.assert_array_equal(model.coef_, 2 * before)
    assert model.intercept_.tolist() == [3.0]


BAD = {
    "shape": (np.zeros((2, 12)), "coef_: expected shape"),
    "length": (np.zeros(11), "coef_: expected shape"),
    "NaN": (np.full(12, np.nan), "coef_: expected finite numbers that float32 can hold, got nan"),
    "too large": (np.full(12, 1e39), "coef_: expected finite numbers that float32 can hold"),
    "strings": (["a"] * 12, "coef_: expected an array of numbers"),
    "complex": (np.zeros(12, complex), "coef_: expected an array of numbers"),
    "masked": (np.ma.zeros(12), "coef_: expected an array of numbers, got a masked array"),
    "ragged": ([[1], [1, 2]], "coef_: expected an array of numbers"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_bad_weights_change_nothing(optimizer, case):
    model, *_ = trained("log_loss", optimizer, dtype=np.float32)
    before = bits(model)
    given, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        model._stream.place(given, 1.0)
    for bad in (np.zeros(2), [np.inf], "a"):
        with pytest.raises(ValueError, match=r"intercept_: expected"):
            model._stream.place(np.ones(12), bad)
    assert bits(model) == before


def test_restrictions_of_the_model_hold():
    model, *_ = trained("log_loss", "ftrl", positive=True)
    with pytest.raises(ValueError, match=r"coef_: expected no negative weight with positive=True, got -1.0"):
        model._stream.place(-np.ones(12))
    model, *_ = trained("log_loss", "ftrl", fit_intercept=False)
    model._stream.place(np.ones(12), 0.0)
    with pytest.raises(ValueError, match=r"intercept_: expected 0 with fit_intercept=False"):
        model._stream.place(np.ones(12), 1.0)
