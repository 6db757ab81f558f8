"""FTRL whose lr or beta change: the change alone moves no weight, and lr = 0 stands still."""

import copy
import pickle

import numpy as np
import pytest
from cases import DTYPES, STORED, arithmetic, assert_same_bits, through_a_file, values
from optimizer_cases import FTRL_OPTIONS, FTRL_RATES, Twin, snapshot

import fastreg
from fastreg import reference

GROUPS = {"rows": (0, {"l21": 0.5}), "columns": (1, {"l21": 0.5, "l1": 0.1, "l2": 0.3}), "whole": (None, {"l21": 2.0})}
options = pytest.mark.parametrize("case", FTRL_OPTIONS)
groups = pytest.mark.parametrize("case", GROUPS)
stored = pytest.mark.parametrize("dtype", STORED)


def scheduled(w, rates, **options):
    return fastreg.FTRL(w, lambda n: rates[n % len(rates)], **options)


def with_axis(case):
    axis, own = GROUPS[case]
    return own | {"group_axis": axis}


def tolerance(dtype):
    """A weight near zero is a difference between z and l1: its error is one of l1."""
    eps = np.finfo(arithmetic(dtype)).eps
    return {"rtol": 64 * eps, "atol": 8 * eps}


# -- A zero gradient --------------------------------------------------------------------------------------------------


@options
@stored
def test_a_change_of_lr_moves_no_weight(case, dtype):
    """bfloat16 weights keep their bits: the state takes what they were before they were rounded."""
    w, g = values(dtype, 67)
    optimizer = fastreg.FTRL(
        w, 0.5, penalty_factor=np.linspace(0, 2, 67).astype(arithmetic(dtype)), **FTRL_OPTIONS[case]
    )
    for _ in range(3):
        optimizer.step(g)
    before = w.copy()
    for lr in [0.25, 2.0, 0.05, 0.0, 1.0, 0.5]:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step(np.zeros_like(w))
        if dtype in DTYPES:
            np.testing.assert_allclose(w, before, **tolerance(dtype))
            np.testing.assert_array_equal(w == 0, before == 0)
        else:
            assert_same_bits(w, before)


@groups
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_change_of_lr_moves_no_group(case, dtype):
    w, g = (x.reshape(8, 16) for x in values(dtype, 128))
    optimizer = fastreg.FTRL(w, 0.5, **with_axis(case))
    for _ in range(3):
        optimizer.step(g)
    before = w.copy()
    for lr in [0.25, 2.0, 0.05, 0.0, 1.0, 0.5]:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step(np.zeros_like(w))
        np.testing.assert_allclose(w, before, **tolerance(dtype) | {"atol": 1e-6 if dtype is np.float32 else 1e-13})
        np.testing.assert_array_equal(w == 0, before == 0)


def test_a_schedule_of_many_rates_moves_no_weight():
    w = np.array([0.95, -3.0, 1e-5, 0.0, 40.0])
    before = w.copy()
    rates = np.exp(np.random.default_rng(0).normal(0, 2, 200)).tolist()
    optimizer = scheduled(w, rates, l1=0.1, l2=0.1)
    for _ in rates:
        optimizer.step(np.zeros(5))
    np.testing.assert_allclose(w, before, rtol=1e-12, atol=1e-15)


def test_a_change_of_beta_moves_no_weight():
    w, g = values(float, 33)
    optimizer = fastreg.FTRL(w, 0.5, l1=0.2)
    optimizer.step(g)
    before = w.copy()
    optimizer.param_groups[0].update(beta=3.0, lr=0.2)
    optimizer.step(np.zeros(33))
    np.testing.assert_allclose(w, before, rtol=1e-13, atol=1e-30)


def test_a_gradient_after_a_change_has_the_step_size_of_the_new_lr():
    """From the stationary point, the weight moves by about g·lr/(beta + √n)."""
    for lr in (0.5, 0.01, 4.0):
        w = np.array([2.0])
        optimizer = fastreg.FTRL(w, 0.5, initial_accumulator_value=100.0)
        optimizer.step(np.zeros(1))
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step(np.array([0.1]))
        assert 2 - w[0] == pytest.approx(0.1 * lr / 11, rel=1e-3)


# -- lr = 0 -----------------------------------------------------------------------------------------------------------


@options
@stored
def test_lr_0_stands_still(case, dtype):
    w, g = values(dtype, 67)
    other = w.copy()
    rates = [0.5, 0.0, 0.0, 0.2]
    rested, straight = (scheduled(x, r, **FTRL_OPTIONS[case]) for x, r in ((w, rates), (other, [0.5, 0.2])))
    rested.step(g)
    before, state = w.copy(), {k: x.copy() for k, x in rested.state["0"].items()}
    for _ in range(2):
        rested.step(g)
        assert_same_bits(w, before)
        for k, x in rested.state["0"].items():
            assert_same_bits(x, state[k])
    rested.step(g)
    straight.step(g)
    straight.step(g)
    assert_same_bits(w, other)
    assert rested.completed == 4
    for k, x in rested.state["0"].items():
        assert_same_bits(x, straight.state["0"][k])


@pytest.mark.parametrize("warm", [True, False])
@stored
def test_a_warmup_may_start_at_0(warm, dtype):
    w, g = values(dtype, 33)
    optimizer = scheduled(w, [0.0, 0.0, 0.5, 0.1], l1=0.2, l2=0.1, warm_start=warm)
    before = w.copy()
    for _ in range(2):
        optimizer.step(g)
        assert_same_bits(w, before)
    optimizer.step(np.zeros_like(w))
    if not warm:
        assert (w == 0).all()
    elif dtype in DTYPES:
        np.testing.assert_allclose(w, before, **tolerance(dtype))
    else:
        np.testing.assert_allclose(w.astype(float), before.astype(float), rtol=2**-8)


def test_a_cold_start_forgets_the_weights_after_a_change_of_lr_too():
    w = np.array([3.0, -2.0])
    optimizer = fastreg.FTRL(w, 0.5, warm_start=False)
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step(np.zeros(2))
    assert (w == 0).all()


# -- Bits -------------------------------------------------------------------------------------------------------------


def assert_like_twin(w, options, factor=None, threads=1, steps=12, betas=(1.0,)):
    own = {"beta": 1.0, "initial_accumulator_value": 0.0, "warm_start": True} | options
    twin = Twin("FTRL", w, "proximal", lr=FTRL_RATES[0], factor=factor, **own)
    optimizer = scheduled(w, FTRL_RATES, penalty_factor=factor, threads=threads, **own)
    for i in range(steps):
        g = np.random.default_rng(i).standard_normal(w.shape).astype(w.dtype)
        if len(betas) > 1:
            twin.options["beta"] = optimizer.param_groups[0]["beta"] = betas[i % len(betas)]
        twin.lr = FTRL_RATES[i % len(FTRL_RATES)]
        twin.step(g)
        optimizer.step(g)
        assert_same_bits(w, twin.w)
        for state, expected in zip(optimizer.state["0"].values(), twin.state, strict=True):
            assert_same_bits(state, expected)
    return optimizer


@options
@stored
@pytest.mark.parametrize("weighted", [False, True])
def test_bits_of_the_reference(case, dtype, weighted):
    for size in (0, 1, 15, 16, 33, 1023, 1024, 1025, 3000):
        w, _ = values(dtype, size)
        factor = np.linspace(0, 2, size).astype(arithmetic(dtype)) if weighted else None
        assert_like_twin(w, FTRL_OPTIONS[case], factor)


@stored
def test_bits_of_the_reference_with_changes_of_beta(dtype):
    assert_like_twin(values(dtype, 67)[0], {"l1": 0.2}, betas=(1.0, 1.0, 0.3))


@groups
@stored
@pytest.mark.parametrize("shape", [(1, 5), (8, 16), (70, 33), (3, 1500)])
def test_bits_of_the_reference_with_groups(case, dtype, shape):
    for bounds in ({}, {"bounds": (0.0, np.inf)}):
        w = values(dtype, shape[0] * shape[1])[0].reshape(shape)
        assert_like_twin(w, with_axis(case) | bounds, steps=6)


@pytest.mark.parametrize("own", [{"l1": 0.1}, {"l21": 0.5, "group_axis": 1}, {"bounds": (-1.0, 1.0)}])
@stored
def test_threads_have_the_bits_of_one(own, dtype):
    w = values(dtype, 300_000)[0].reshape(1000, 300)
    other = w.copy()
    one, two = assert_like_twin(w, own, steps=4), assert_like_twin(other, own, threads=2, steps=4)
    assert_same_bits(w, other)
    assert snapshot(one) == snapshot(two)


def test_a_constant_lr_has_the_bits_of_algorithm_1():
    """The step takes no part in it: it is accumulate and solve, as before."""
    w, _ = values(np.float32, 1025)
    optimizer, z = fastreg.FTRL(w, 0.3, l1=0.1), None
    direction, penalty = reference.FTRL(0.3, 1.0), reference.ElasticNet(0.1, 0.0)
    z, n = (x.copy() for x in optimizer.state["0"].values())
    v = w.copy()
    for i in range(5):
        g = values(np.float32, 1025, i)[1]
        reference.accumulate(direction, v, g, z, n)
        v = reference.solve(direction, penalty, z, n)
        optimizer.step(g)
        assert_same_bits(w, v)


# -- Whose lr ---------------------------------------------------------------------------------------------------------


def test_each_tensor_keeps_the_lr_of_its_own_last_step():
    """A tensor without a gradient stands still, its state too, and is rebuilt when it makes a step."""
    (a, g), (b, h) = values(float, 9, 1), values(float, 9, 2)
    alone = b.copy()
    both, single = scheduled([a, b], [0.5, 0.1, 0.2]), scheduled(alone, [0.5, 0.2])
    both.step([g, h])
    both.step([g, None])
    both.step([g, h])
    single.step(h)
    single.step(h)
    assert_same_bits(b, alone)


def test_groups_have_their_own_lr():
    (a, g), (b, h) = values(float, 9, 1), values(float, 9, 2)
    alone = a.copy(), b.copy()
    both = fastreg.FTRL([{"params": [a], "lr": 0.5}, {"params": [b], "lr": lambda n: 1 / (n + 1)}], l1=0.1)
    single = fastreg.FTRL(alone[0], 0.5, l1=0.1), fastreg.FTRL(alone[1], lambda n: 1 / (n + 1), l1=0.1)
    for step in range(4):
        if step == 2:
            both.param_groups[0]["lr"] = single[0].param_groups[0]["lr"] = 0.1
        both.step([[g], [h]])
        single[0].step(g)
        single[1].step(h)
    assert_same_bits(a, alone[0])
    assert_same_bits(b, alone[1])


def test_a_skipped_step_does_not_count():
    (w, g), other = values(float, 9), values(float, 9)[0]
    bad = np.full(9, np.nan)
    skipping, straight = fastreg.FTRL(w, 0.5, l1=0.1, on_nonfinite="skip"), fastreg.FTRL(other, 0.5, l1=0.1)
    skipping.step(g)
    straight.step(g)
    skipping.param_groups[0]["lr"] = 0.1
    skipping.step(bad)
    assert skipping.skipped == 1
    skipping.param_groups[0]["lr"] = straight.param_groups[0]["lr"] = 0.2
    skipping.step(g)
    straight.step(g)
    assert_same_bits(w, other)


def test_bound_gradients():
    w, g = values(float, 9)
    other = w.copy()
    bound, straight = scheduled(w, [0.5, 0.1, 0.1, 0.3]), scheduled(other, [0.5, 0.1, 0.1, 0.3])
    bound.bind(g)
    for _ in range(4):
        bound.step()
        straight.step(g)
    assert_same_bits(w, other)


# -- Files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["dict", "file", "pickle", "deepcopy"])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_resumed_training_has_the_same_bits(way, steps, tmp_path):
    """It is resumed where lr changes, or where it is 0."""
    w, g = values(np.float32, 33)
    straight = fastreg.FTRL(w, 0.5, l1=0.1)
    for lr in [0.5, 0.5, 0.3, 0.0][:steps]:
        straight.param_groups[0]["lr"] = lr
        straight.step(g)
    if way in ("pickle", "deepcopy"):
        resumed = copy.deepcopy(straight) if way == "deepcopy" else pickle.loads(pickle.dumps(straight))
    else:
        resumed = fastreg.FTRL(w.copy(), 0.7, l1=0.1)
        saved = straight.state_dict()
        resumed.load_state_dict(saved if way == "dict" else through_a_file(saved, tmp_path))
    assert snapshot(resumed) == snapshot(straight)
    for lr in [0.05, 2.0]:
        for optimizer in (straight, resumed):
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step(g)
    assert snapshot(resumed) == snapshot(straight)


@pytest.mark.parametrize("lr", [0.5, lambda n: 0.5 if n < 3 else 0.1])
def test_files_without_the_lr_of_the_state_are_taken_to_have_that_of_the_last_step(lr):
    w, g = values(float, 33)
    optimizer = fastreg.FTRL(w, lr, l1=0.1)
    for _ in range(3):
        optimizer.step(g)
    saved = {k: x for k, x in optimizer.state_dict().items() if not k.endswith(".built_on")}
    old = fastreg.FTRL(w.copy(), lr, l1=0.1)
    old.load_state_dict(saved)
    assert snapshot(old) == snapshot(optimizer)
    cold = fastreg.FTRL(w.copy(), lr, warm_start=False)
    saved = {k: x for k, x in cold.state_dict().items() if not k.endswith(".built_on")}
    cold.load_state_dict(saved)
    assert cold.state_dict()["tensor.0.built_on"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "bad", [np.array([np.nan, 1.0]), np.array([-1.0, 1.0]), np.array([0.1, np.inf]), np.array([1e-50, 1]), np.ones(3)]
)
def test_a_bad_rate_in_a_file_is_refused(bad):
    optimizer = fastreg.FTRL(np.ones(3, np.float32), 0.1)
    before = snapshot(optimizer)
    with pytest.raises(ValueError, match=r"^saved\['tensor\.0\.built_on'\]: expected"):
        optimizer.load_state_dict(optimizer.state_dict() | {"tensor.0.built_on": bad})
    assert snapshot(optimizer) == before


def test_a_file_that_has_it_for_some_tensors_only_is_refused():
    optimizer = fastreg.FTRL([np.ones(3), np.ones(2)], 0.1)
    saved = optimizer.state_dict()
    del saved["tensor.1.built_on"]
    with pytest.raises(ValueError, match=r"lacks \['tensor\.1\.built_on'\]"):
        optimizer.load_state_dict(saved)
