"""Penalty factors multiply both strengths, of each coordinate or of a whole tensor, and are copied."""

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
def test_a_factor_of_zero_means_no_penalty(name, mode, dtype):
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


def test_a_positive_factor_may_not_round_to_zero_in_float32():
    with pytest.raises(ValueError, match=r"^penalty_factor\[0\]: .* float32 .* 1e-60"):
        fastreg.SGD(np.ones(3, np.float32), penalty_factor=np.full(3, 1e-60))
