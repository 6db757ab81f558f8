"""Optimizers of bfloat16 weights: the state is float32, and files and copies restore it."""

import copy
import io
import pickle

import numpy as np
import pytest
from cases import assert_same_bits
from ml_dtypes import bfloat16
from optimizer_cases import COMBINATIONS, Twin, make

import fastreg
from fastreg import reference
from fastreg._boundary.bfloat16 import BITS


@pytest.mark.parametrize(("name", "mode"), COMBINATIONS)
def test_mixed_dtypes_in_one_optimizer(name, mode):
    rng = np.random.default_rng(7)
    dtypes = [bfloat16, np.float32, np.float64, bfloat16]
    params = [rng.standard_normal((3, 300)).astype(dtype) for dtype in dtypes]
    params[3] = np.asfortranarray(params[3])
    grads = [w * w for w in params]
    grads[3] = np.asfortranarray(grads[3])
    twins = [Twin(name, w, mode, l1=0.3, l2=0.2) for w in params]
    optimizer = make(name, params, mode=mode, l1=0.3, l2=0.2)
    for _ in range(3):
        optimizer.step(grads)
        for twin, g in zip(twins, grads, strict=True):
            twin.step(g)
    for w, twin, state, dtype in zip(params, twins, optimizer.state.values(), dtypes, strict=True):
        assert_same_bits(w, twin.w)
        for actual, expected in zip(state.values(), twin.state, strict=True):
            assert actual.dtype == (np.float32 if dtype is bfloat16 else dtype)
            assert actual.flags.f_contiguous == w.flags.f_contiguous
            assert_same_bits(actual, expected)


@pytest.mark.parametrize("name", ["Momentum", "AMSGrad", "FTRL"])
@pytest.mark.parametrize("how", ["file", "pickle", "deepcopy"])
def test_the_state_is_saved_and_loaded(name, how):
    rng = np.random.default_rng(8)
    w, g = rng.standard_normal((2, 40)).astype(bfloat16)
    straight = w.copy()
    whole = make(name, straight, l1=0.1, penalty_factor=np.linspace(0, 2, 40))
    first = make(name, w, l1=0.1, penalty_factor=np.linspace(0, 2, 40))
    for _ in range(4):
        whole.step(g)
    for _ in range(2):
        first.step(g)
    if how == "file":
        file = io.BytesIO()
        np.savez(file, **first.state_dict())
        file.seek(0)
        second = make(name, w, l1=0.1, penalty_factor=np.linspace(0, 2, 40))
        second.load_state_dict(np.load(file))
    else:
        second = copy.deepcopy(first) if how == "deepcopy" else pickle.loads(pickle.dumps(first))
    for _ in range(2):
        second.step(g)
    assert_same_bits(second.params, straight)


def test_values_of_an_optimizer():
    w = np.array([1, -2, 0, -0.0], bfloat16)
    optimizer = fastreg.SGD(w, l1=0.5, l2=2.0)
    assert optimizer.zeros() == 2
    assert optimizer.penalty() == 1.5 + 5.0
    assert fastreg.SGD(w, l1=0.5, penalty_factor=[1, 0, 1, 1]).penalty() == 0.5
    assert fastreg.SGD(w.view(BITS), l1=0.5, penalty_factor=[1, 0, 1, 1]).penalty() == 0.5
    assert fastreg.SGD(w.view(BITS)).zeros() == 2
    assert optimizer.params is w


@pytest.mark.parametrize("policy", ["raise", "skip"])
@pytest.mark.parametrize("at", [0, 100, 600, -1])
def test_nonfinite_gradients_are_found(policy, at):
    w, g = np.ones(1030, bfloat16), np.ones(1030, bfloat16)
    optimizer = fastreg.SGD(w, 0.5, on_nonfinite=policy)
    optimizer.step(g)
    for bad in (np.inf, -np.inf, np.nan):
        g[at] = bad
        if policy == "raise":
            with pytest.raises(FloatingPointError):
                optimizer.step(g)
        else:
            optimizer.step(g)
    assert (w == 0.5).all()


def test_clipping():
    grads = [np.full(1030, 3, bfloat16), np.full((2, 3), 4, np.float32)]
    expected = np.sqrt(1030 * 9 + 6 * 16)
    assert fastreg.clip_grad_norm(grads, 1.0) == pytest.approx(expected, rel=1e-15)
    factor = np.float32(reference.clip_coefficient(expected, 1.0))
    assert_same_bits(grads[0], (np.full(1030, 3, np.float32) * factor).astype(bfloat16))
