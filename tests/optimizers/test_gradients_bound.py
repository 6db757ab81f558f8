"""Bound gradients are read at every step; on_nonfinite decides what happens to nonfinite gradients."""

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, values
from optimizer_cases import DIRECTIONS, Twin, make, snapshot

import fastreg

names = pytest.mark.parametrize("name", DIRECTIONS)


@names
@pytest.mark.parametrize("dtype", DTYPES)
def test_bound_gradients_are_read_at_every_step(name, dtype):
    params = [values(dtype, n)[0] for n in (0, 1, 33, 9000)]
    twins = [Twin(name, w, DIRECTIONS[name].modes[-1], l1=0.1) for w in params]
    buffers = [np.zeros_like(w) for w in params]
    optimizer = make(name, params, l1=0.1)
    optimizer.bind(buffers)
    for i in range(4):
        for twin, g in zip(twins, buffers, strict=True):
            g[...] = values(dtype, g.size, i)[1]
            twin.step(g)
        optimizer.step()
    for w, twin in zip(params, twins, strict=True):
        assert_same_bits(w, twin.w)


def test_bind_and_release():
    w, bound, other = np.zeros(3), np.ones(3), np.full(3, 10.0)
    optimizer = fastreg.SGD(w, 1.0)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^grads: .*bind"):
            optimizer.step()
        optimizer.bind(bound)
        optimizer.step()
        optimizer.step(other)
        optimizer.step()
        assert w.tolist() == [-12.0] * 3
        optimizer.bind(None)
        w[...] = 0
    optimizer.bind(bound)
    optimizer.bind(other)
    optimizer.step()
    assert w.tolist() == [-10.0] * 3


def test_later_changes_of_the_bound_list_have_no_effect():
    w, g = [np.zeros(3), np.zeros(3)], [np.ones(3), None]
    optimizer = fastreg.SGD(w, 1.0)
    optimizer.bind(g)
    g[:] = [None, None]
    optimizer.step()
    assert [x.tolist() for x in w] == [[-1.0] * 3, [0.0] * 3]


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [1, 8, 33, 9000])
def test_nonfinite_gradients_are_propagated_raised_or_skipped(bad, size, bound):
    for at in (0, size // 2, size - 1):
        for policy in ("propagate", "raise", "skip"):
            params = {key: values(np.float32, size, i)[0] for i, key in enumerate("abc")}
            grads = {key: values(np.float32, size, i)[1] for i, key in enumerate("abc")}
            optimizer = fastreg.Adam(params, l1=0.1, on_nonfinite=policy)
            if bound:
                optimizer.bind(grads)
            optimizer.step(None if bound else grads)
            good, grads["b"][at] = grads["b"][at], bad
            before = snapshot(optimizer)
            if policy == "raise":
                with pytest.raises(FloatingPointError, match=r"^grads\[b\]: "):
                    optimizer.step(None if bound else grads)
                assert snapshot(optimizer) == before
            else:
                optimizer.step(None if bound else grads)
                assert np.isnan(params["b"][at]) == (policy == "propagate")
            assert (optimizer.completed, optimizer.skipped) == {"propagate": (2, 0), "raise": (1, 0), "skip": (1, 1)}[
                policy
            ]
            assert (snapshot(optimizer)[0] == before[0]) == (policy != "propagate")
            assert (snapshot(optimizer)[1] == before[1]) == (policy != "propagate")
            grads["b"][at] = good
            optimizer.step(None if bound else grads)


def test_the_largest_numbers_are_finite_and_weights_are_not_checked():
    for dtype in DTYPES:
        w, g = np.array([np.nan, np.inf, 0], dtype), np.full(3, np.finfo(dtype).max)
        optimizer = fastreg.SGD([w, np.ones(2, dtype)], 0.0, on_nonfinite="raise")
        optimizer.step([g, None])
        assert optimizer.completed == 1


@pytest.mark.parametrize("policy", ["ignore", "", None, True, ["raise"]])
def test_an_unknown_policy(policy):
    with pytest.raises((ValueError, TypeError), match=r"^on_nonfinite: "):
        fastreg.SGD(np.ones(3), on_nonfinite=policy)
