"""Many strengths in one pass: each has the bits of a model of its own; progressive validation."""

import pickle
from itertools import product

import numpy as np
import pytest
from scipy import sparse

from fastreg import reference
from fastreg.linear.samples import Samples
from fastreg.linear.stream import Stream, Task
from fastreg.linear.strengths import StrengthStream

STRENGTHS = [(1e-3, 1e-3), (0.1, 0.0), (0, 0), (0, 0.5), (0.02, 0.1), (0.3, 3), (1e-5, 0), (2e-4, 1e-2), (0.05, 0.01)]
OPTIMIZERS = ["sgd", "adagrad", "ftrl"]
LOSSES = {"log_loss": 1, "squared_error": 1, "poisson": 1, "quantile": 1, "hinge": 3, "multinomial": 3}


def data(loss, form="csr", dtype=float, count=90, features=23, seed=0):
    """Samples, the third without any feature, and targets."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, features)) * (rng.random((count, features)) < (0.4 if form == "csr" else 1))
    x[2] = 0
    x = x.astype(dtype)
    if loss in ("poisson", "hinge", "multinomial"):
        y = rng.integers(0, 3, count).astype(float)
    else:
        y = np.where(x[:, 0] > 0, 1.0, -1.0)
    return Samples(sparse.csr_matrix(x) if form == "csr" else x), y


def task_of(loss, optimizer="ftrl", base_rate=0.0, limit_rates=False):
    def rates(t, squares, _):
        lr = 0.1 / np.sqrt(t + 1) if optimizer != "ftrl" else np.full(np.shape(t), 0.1)
        return lr / squares, 2 * lr if limit_rates else None

    follows_sizes = bool(base_rate) or limit_rates
    return Task(rates, (0, 0, 0), loss, 0.3 if loss == "quantile" else 0.0, limit_rates, base_rate, follows_sizes)


def pair(samples, loss, optimizer, dtype, positive=False, intercept=True, strengths=STRENGTHS):
    """A stream of all strengths, and a stream for each."""
    columns = LOSSES[loss]
    own = [Stream(samples.features, columns, dtype, optimizer, intercept, positive) for _ in strengths]
    return StrengthStream(samples.features, columns, strengths, dtype, optimizer, intercept, positive), own


def learn_each(streams, samples, order, y, weights, task, strengths=STRENGTHS):
    """The sums of the losses of all streams."""
    tasks = [task._replace(strengths=(*own, 0.0)) for own in strengths]
    return [stream.learn(samples, order, y, weights, own) for stream, own in zip(streams, tasks)]


def assert_equal(many, streams):
    for s, stream in enumerate(streams):
        np.testing.assert_array_equal(many.weights(s), stream.coef())
        np.testing.assert_array_equal(many.intercepts(s), stream.intercept())
        assert many.nonzeros()[s] == np.count_nonzero(stream.coef())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_strengths_have_bits_of_single_models(loss, optimizer, dtype):
    for form, positive, base_rate in product(("csr", "dense"), (False, True), (0.0, 0.25)):
        samples, y = data(loss, form, dtype)
        weights = np.random.default_rng(1).random(len(y)) if positive else None
        task = task_of(loss, optimizer, base_rate, limit_rates=optimizer == "sgd")
        many, streams = pair(samples, loss, optimizer, dtype, positive, intercept=form == "csr")
        for start, stop in ((0, 1), (1, 40), (40, 90)):
            order, own = np.arange(start, stop), None if weights is None else weights[start:stop]
            sums = many.learn(samples, order, y, own, task)
            np.testing.assert_array_equal(sums, learn_each(streams, samples, order, y, own, task))
        assert_equal(many, streams)
        singles = [many.single(s) for s in range(len(STRENGTHS))]
        learn_each(singles, samples, np.arange(90), y, weights, task)
        learn_each(streams, samples, np.arange(90), y, weights, task)
        for one, stream in zip(singles, streams):
            np.testing.assert_array_equal(one.coef(), stream.coef())


@pytest.mark.parametrize("form", ["csr", "dense"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_more_strengths_than_are_worked_on_together(optimizer, form):
    samples, y = data("hinge", form, np.float32)
    strengths = [(l1, l1 / 2) for l1 in np.geomspace(0.3, 1e-5, 75)]
    many, streams = pair(samples, "hinge", optimizer, np.float32, strengths=strengths)
    task = task_of("hinge", optimizer, base_rate=0.25)
    for order in (np.arange(50), np.arange(50, 52), np.arange(52, 90)):
        sums = many.learn(samples, order, y, None, task)
        np.testing.assert_array_equal(sums, learn_each(streams, samples, order, y, None, task, strengths))
    assert_equal(many, streams)


@pytest.mark.parametrize("form", ["csr", "dense"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_penalty_factors(optimizer, form):
    samples, y = data("log_loss", form)
    many, streams = pair(samples, "log_loss", optimizer, float)
    for factors in (np.arange(23) % 2.0, None, (np.arange(23) % 3 > 0).astype(float)):
        task = task_of("log_loss", optimizer)
        task = task._replace(factors=many.factors_of(factors))
        many.learn(samples, np.arange(90), y, None, task)
        learn_each(streams, samples, np.arange(90), y, None, task)
    assert_equal(many, streams)


@pytest.mark.parametrize("form", ["csr", "dense"])
def test_clocks_start_again_each_for_itself(form):
    samples, y = data("squared_error", form, count=400)
    task = task_of("squared_error")._replace(rates=lambda t, *_: (np.full(np.shape(t), 0.01), None))
    strengths = [(1.0, 300.0), (1e-3, 0.0), (1e-3, 1000.0), (0.0, 2000.0)]
    many = StrengthStream(23, 1, strengths, float, "sgd", True)
    streams = [Stream(23, 1, float, "sgd", True) for _ in strengths]
    for stream, (l1, l2) in zip(streams, strengths):
        stream.learn(samples, np.arange(400), y, None, task._replace(strengths=(l1, l2, 0.0)))
    many.learn(samples, np.arange(400), y, None, task)
    for s, stream in enumerate(streams):
        np.testing.assert_array_equal(many.weights(s), stream.coef())


@pytest.mark.parametrize("weighted", [False, True])
def test_progressive_validation_is_that_of_all_losses(weighted):
    samples, y = data("log_loss")
    many, streams = pair(samples, "log_loss", "ftrl", float)
    weights = np.random.default_rng(2).random(90) + 0.1 if weighted else None
    task = task_of("log_loss")
    assert np.isnan(many.mean_losses).all()
    assert np.isnan(many.standard_errors()).all()
    many.learn(samples, np.arange(90), y, weights, task)
    losses = np.empty((90, len(STRENGTHS)))
    for k in range(90):
        own = None if weights is None else weights[k : k + 1]
        losses[k] = learn_each(streams, samples, np.arange(k, k + 1), y, own, task)
    v = np.ones(90) if weights is None else weights
    losses /= v[:, np.newaxis]
    means = v @ losses / v.sum()
    assert many.counts == (90, pytest.approx(v.sum()))
    np.testing.assert_allclose(many.mean_losses, means, rtol=1e-12)
    unbiased = 1 - (v**2).sum() / v.sum() ** 2
    expected = np.sqrt((v**2) @ (losses - means) ** 2 / unbiased) / v.sum()
    np.testing.assert_allclose(many.standard_errors(), expected, rtol=1e-9)
    split = pair(samples, "log_loss", "ftrl", float)[0]
    for start in range(0, 90, 7):
        own = None if weights is None else weights[start : start + 7]
        split.learn(samples, np.arange(start, min(90, start + 7)), y, own, task)
    np.testing.assert_array_equal(split.mean_losses, many.mean_losses)
    np.testing.assert_array_equal(split.standard_errors(), many.standard_errors())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_copies_go_on_alike(optimizer):
    samples, y = data("log_loss", dtype=np.float32)
    many, streams = pair(samples, "log_loss", optimizer, np.float32)
    task = task_of("log_loss", optimizer)
    many.learn(samples, np.arange(40), y, None, task)
    others = [many.copy(), pickle.loads(pickle.dumps(many))]
    for one in (many, *others):
        one.learn(samples, np.arange(40, 90), y, None, task)
    learn_each(streams, samples, np.arange(90), y, None, task)
    for one in (many, *others):
        assert_equal(one, streams)
        np.testing.assert_array_equal(one.standard_errors(), many.standard_errors())


def test_pickle_leaves_out_features_never_seen():
    samples = Samples(sparse.csr_matrix(([1.0], [7], [0, 1]), (1, 100_000)))
    for optimizer in OPTIMIZERS:
        many = StrengthStream(100_000, 1, STRENGTHS, float, optimizer, True)
        many.learn(samples, np.arange(1), np.ones(1), None, task_of("squared_error", optimizer))
        assert len(pickle.dumps(many)) < 20_000
        assert many.nonzeros().max() == 1


def test_required_memory_is_what_records_take():
    for optimizer, dtype in product(OPTIMIZERS, (np.float32, np.float64)):
        many = StrengthStream(1000, 2, STRENGTHS, dtype, optimizer, True)
        needed = StrengthStream.required_memory(1000, 2, len(STRENGTHS), dtype, optimizer)
        assert 0 < needed - many._shared.learner.records.nbytes < 20_000


def test_failed_call_changes_nothing():
    samples, y = data("log_loss")
    many, _ = pair(samples, "log_loss", "adagrad", float)
    task = task_of("log_loss", "adagrad")
    many.learn(samples, np.arange(40), y, None, task)
    before = pickle.dumps(many)
    narrow = Samples(np.ones((3, 5)))
    for arguments, message in (
        ((narrow, np.arange(3), y[:3], None, task), "X: expected 23 features"),
        (
            (samples, np.arange(90), y, None, task._replace(rates=lambda t, *_: (t * np.inf, None))),
            "eta0, learning_rate",
        ),
        ((samples, np.arange(90), y, None, task._replace(strengths=(0, 0, 1.0))), "strengths: expected no group lasso"),
        ((samples, np.arange(90), y, np.ones(3), task), "sample_weight"),
    ):
        with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=message):
            many.learn(*arguments)
        assert pickle.dumps(many) == before


@pytest.mark.parametrize("bad", [[], [1.0], [(1.0, -1.0)], [(np.nan, 0.0)], [(1e300, 0.0)]])
def test_bad_strengths(bad):
    with pytest.raises(ValueError, match="strengths: expected"):
        StrengthStream(3, 1, bad, np.float32, "sgd", True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_accumulate_at_zero_is_accumulate_at_a_weight_of_zero(dtype):
    g = np.array([0.0, -0.0, 1.5, -2.0, 1e30, np.finfo(dtype).max, np.nan], dtype)
    found = []
    with np.errstate(over="ignore", invalid="ignore"):
        for z in (0.0, -0.0, 0.7):
            states = [np.full_like(g, x) for x in (z, 0.25, z, 0.25)]
            reference.accumulate(reference.FTRL(0.1, 1.0), np.zeros_like(g), g, *states[:2])
            reference.accumulate_at_zero(g, *states[2:])
            found.append(states)
    for states in found:
        for expected, own in zip(states[:2], states[2:]):
            np.testing.assert_array_equal(own, expected)
            known = ~np.isnan(expected)
            np.testing.assert_array_equal(np.signbit(own[known]), np.signbit(expected[known]))
