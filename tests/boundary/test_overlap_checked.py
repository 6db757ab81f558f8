"""The check for overlap: memory shared with a written array is refused, a disjoint or empty slice is not."""

import numpy as np
import pytest
from array_cases import assert_refused
from cases import DTYPES, UPDATES, numbers, values
from optimizer_cases import DIRECTIONS, make, snapshot

import fastreg
from fastreg import reference

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
OVERLAPS = {  # name → (w, grad) from an array of shape (4, 6) and a base of 48 elements
    "the weights": lambda w, base: (w, w),
    "a view of the weights": lambda w, base: (w, w[:]),
    "a buffer of the weights": lambda w, base: (w, memoryview(w)),
    "one element on": lambda w, base: (base[:24], base[1:25]),
    "one element back": lambda w, base: (base[1:25], base[:24]),
    "sharing the last element": lambda w, base: (base[:24], base[23:47]),
    "sharing the first element": lambda w, base: (base[23:47], base[:24]),
    "the same single element": lambda w, base: (base[3:4], base[3:4]),
    "the same 0-d element": lambda w, base: (base[3:4].reshape(()), base[3:4].reshape(())),
    "overlap of n-d Fortran arrays": lambda w, base: (base[:24].reshape(6, 4).T, base[20:44].reshape(6, 4).T),
}


@dtypes
@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("case", OVERLAPS)
def test_a_gradient_that_overlaps_the_weights(dtype, name, case):
    w, g = OVERLAPS[case](values(dtype, 24)[0].reshape(4, 6), values(dtype, 48)[0])
    assert_refused(UPDATES[name], [w, g, *numbers(name, 0.1)], ValueError, "w and grad: ")


@dtypes
def test_disjoint_slices_of_one_base(dtype):
    base, _ = values(dtype, 100)
    for w, g in ((slice(0, 50), slice(50, 100)), (slice(50, 100), slice(0, 50)), (slice(1, 1), slice(0, 0))):
        expected = base.copy()
        reference.l1_update(expected[w], base[g].copy(), 0.1, 0.2)
        fastreg.l1_update(base[w], base[g], 0.1, 0.2)
        assert base.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_gradient_that_overlaps_any_weights_of_an_optimizer(name):
    base = values(float, 64)[0]
    params = {"a": base[:16], "b": base[16:32], "c": values(float, 7)[0]}
    good = {key: np.ones_like(w) for key, w in params.items()}
    optimizer = make(name, params, l1=0.1)
    optimizer.step(good)
    before = snapshot(optimizer)
    for key, g, other in (
        ("a", params["a"], "a"),
        ("a", params["b"], "b"),
        ("b", base[:16], "a"),
        ("b", base[31:47], "b"),
        ("c", base[10:17], "[ab]"),
        ("c", base[28:35], "b"),
        ("a", base.view()[1:17], "[ab]"),
    ):
        for _ in range(2):
            for call in (optimizer.step, optimizer.bind):
                with pytest.raises(ValueError, match=rf"(?=.*grads\[{key}\])(?=.*params\[{other}\]).*overlap"):
                    call(good | {key: g})
    assert snapshot(optimizer) == before
    optimizer.step({"a": base[32:48], "b": base[48:], "c": good["c"]})


@pytest.mark.parametrize("at", [0, 5, 19, 20])
def test_an_empty_slice_of_params_or_gradients_overlaps_nothing(at):
    w, g = np.ones(20), np.ones(20)
    empty = w[at:][:0]  # where w[at:] starts, which w[at:at] would not
    for params, grads in (
        ([empty, w], [empty, g]),
        ([w, empty], [g, w[:0]]),
        ([w[:10], empty, w[10:]], [g[:10], w[7:][:0], g[10:]]),
    ):
        fastreg.SGD(params, 0.25).step(grads)
    assert w.tolist() == [0.25] * 20
    fastreg.SGD([np.ones(0), np.ones(0)]).step([np.ones(0), empty])


def test_an_empty_slice_of_clipped_gradients_overlaps_nothing():
    g = np.full(10, 1.0)
    fastreg.clip_grad_norm([g[:5], g[3:][:0], g[5:], g[:0]], 1.0)
    np.testing.assert_allclose(g, 10**-0.5, rtol=1e-5)
