"""Penalty factors multiply both strengths, for each coordinate or for a whole tensor, and are copied."""

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, values
from optimizer_cases import COMBINATIONS, Twin, make

import fastreg

combinations = pytest.mark.parametrize(("name", "mode"), COMBINATIONS)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
STRONG = {"l1": 0.7, "l2": 0.3}


@combinations
@dtypes
def test_factors_of_one_change_nothing_and_a_number_multiplies_both_strengths(name, mode, dtype):
    w, g = values(dtype, 67)
    results = []
    for factor, l1, l2 in ((None, 0.5, 0.25), (1.0, 0.5, 0.25), (np.ones_like(w), 0.5, 0.25), (0.5, 1.0, 0.5)):
        x = w.copy()
        optimizer = make(name, x, mode=mode, l1=l1, l2=l2, penalty_factor=factor)
        for _ in range(3):
            optimizer.step(g)
        results.append(x)
    for result in results[1:]:
        assert_same_bits(result, results[0])


@combinations
@dtypes
def test_a_factor_of_zero_leaves_a_weight_unpenalised(name, mode, dtype):
    w, g = values(dtype, 67)
    f = np.arange(67) % 2
    for factor, free in ((f, f == 0), (0.0, slice(None)), (0, slice(None))):
        x, unpenalised, penalised = w.copy(), w.copy(), w.copy()
        optimizers = [
            make(name, x, mode=mode, penalty_factor=factor, **STRONG),
            make(name, unpenalised, mode=mode),
            make(name, penalised, mode=mode, **STRONG),
        ]
        for _ in range(3):
            for optimizer in optimizers:
                optimizer.step(g)
        np.testing.assert_array_equal(x[free], unpenalised[free])
        if factor is f:
            assert_same_bits(x[f == 1], penalised[f == 1])
        assert (penalised != unpenalised).any()


@combinations
def test_factors_are_copied(name, mode):
    w, g = values(float, 33)
    f = np.full(33, 2.0)
    twin = Twin(name, w, mode, factor=f.copy(), **STRONG)
    optimizer = make(name, w, mode=mode, penalty_factor=f, **STRONG)
    f[...] = np.nan
    optimizer.step(g)
    twin.step(g)
    assert_same_bits(w, twin.w)


def test_a_mask_is_a_factor_of_zeros_and_ones():
    mask = np.array([True, False, True])
    masked, weighted = np.ones(3), np.ones(3)
    fastreg.SGD(masked, 0.1, l1=0.5, penalty_factor=mask).step(np.zeros(3))
    fastreg.SGD(weighted, 0.1, l1=0.5, penalty_factor=mask.astype(float)).step(np.zeros(3))
    assert masked.tolist() == weighted.tolist() == [0.95, 1.0, 0.95]


def test_a_positive_factor_that_is_zero_in_float32_is_refused():
    with pytest.raises(ValueError, match=r"^penalty_factor\[0\]: .* float32 .* 1e-60"):
        fastreg.SGD(np.ones(3, np.float32), penalty_factor=np.full(3, 1e-60))


LARGE = {np.float32: 1e38, np.float64: 1e308}  # times 10 is infinite


@pytest.mark.parametrize("strength", ["l1", "l2", "l21"])
@pytest.mark.parametrize("form", [float, lambda x: np.array([x, x, x])], ids=["number", "array"])
@dtypes
def test_a_product_that_is_infinite_is_refused_before_anything_is_written(strength, form, dtype):
    """Each of the two is finite, but the product is not: with a rate or a weight of 0 it would give a NaN."""
    w, factor, large = np.ones(3, dtype), form(10), LARGE[dtype]
    with pytest.raises(ValueError, match=f"^{strength} times penalty_factor: expected a .* got (inf|1e\\+39)"):
        fastreg.SGD(w, 0.0, penalty_factor=factor, **{strength: large})
    with pytest.raises(ValueError, match=f"^{strength} times penalty_factor: "):
        fastreg.SGD(w, 0.0, penalty_factor=factor, **{strength: lambda n: large})
    optimizer = fastreg.SGD(w, 0.0, penalty_factor=factor)
    with pytest.raises(ValueError, match=f"^{strength} times penalty_factor: "):
        optimizer.param_groups[0][strength] = large
    assert optimizer.param_groups[0][strength] == 0
    saved = optimizer.state_dict()
    with pytest.raises(ValueError, match=f"^{strength} times penalty_factor: "):
        optimizer.load_state_dict(saved | {f"group.0.{strength}": large})
    optimizer.param_groups[0][strength] = lambda n: large * min(n, 1)
    optimizer.step(np.ones(3, dtype))
    with pytest.raises(ValueError, match=f"^{strength} times penalty_factor: "):
        optimizer.step(np.ones(3, dtype))
    assert optimizer.completed == 1
    assert w.tolist() == [1, 1, 1]


def test_products_are_checked_in_the_dtype_of_their_own_tensor():
    """A large factor of a float64 tensor does not meet the range of float32, though another tensor is float32."""
    wide, narrow = np.ones(2), np.ones(2, np.float32)
    optimizer = fastreg.SGD([wide, narrow], 0.1, l1=2.0, penalty_factor=[np.array([1e90, 0.0]), 1.0])
    optimizer.step([np.zeros(2), np.zeros(2, np.float32)])
    assert wide.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"^l1 times penalty_factor: .* float32"):
        fastreg.SGD([wide, narrow], l1=2.0, penalty_factor=[1.0, np.array([3e38, 0], np.float32)])


def test_a_product_may_be_the_largest_number():
    for dtype in DTYPES:
        most = float(np.finfo(dtype).max)
        optimizer = fastreg.SGD(np.ones(2, dtype), 0.0, l1=2.0, penalty_factor=np.array([most / 2, 1]))
        optimizer.step(np.zeros(2, dtype))
        assert optimizer.params.tolist() == [1, 1]
