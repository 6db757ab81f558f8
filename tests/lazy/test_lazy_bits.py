"""Lazy steps have the same bits as a twin that uses the reference, with every instruction set of this machine."""

from functools import cache

import numpy as np
import pytest
from cases import DTYPES, TESTS, assert_same_bits, python_with, special_values, values
from lazy_cases import CASES, STREAMS, Twin, digest, make, run

from fastreg import reference
from fastreg._boundary import dispatch

names = pytest.mark.parametrize("name", CASES)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


@names
@dtypes
@pytest.mark.parametrize("stream", range(len(STREAMS)))
@pytest.mark.parametrize("seed", [2, 3])
def test_random_streams(name, dtype, stream, seed):
    pairs = zip(*(run(name, dtype, STREAMS[stream], seed, twin) for twin in (False, True)), strict=True)
    for actual, expected in pairs:
        assert_same_bits(actual, expected)


@names
@dtypes
@pytest.mark.parametrize("factors", [False, True], ids=["", "factors"])
def test_gradients_of_any_length(name, dtype, factors):
    """Lengths around vector widths and blocks of rows, with gaps, sorted and unsorted."""
    rng, strengths = np.random.default_rng(0), (0.1, 0.05, 0.3)
    for n in (0, 1, 3, 4, 7, 8, 9, 31, 33, 63, 64, 65, 127, 128, 129, 1000, 9000):
        rows = 2 * n + 1
        f = rng.integers(0, 2, rows).astype(dtype) if factors else None
        w, _ = values(dtype, rows, n)
        twin = Twin(name, w, f, strengths)
        lazy = make(name, w, 0.1, l1=0.05, l2=0.3, penalty_factor=f)
        for k in (n, n // 2, n):
            indices = rng.choice(rows, k, replace=False)
            indices = np.sort(indices) if k == n else indices
            g, _ = values(dtype, k, 7)
            twin.step(indices, g, *strengths)
            lazy.step(indices, g)
            assert_same_bits(w, twin.w)
        assert_same_bits(lazy.weights(), twin.weights())


@cache
def digest_of_the_twin():
    return digest(twin=True)


@pytest.mark.parametrize("variant", dispatch.MODULES)
def test_every_instruction_set(variant):
    result = python_with(variant, "-W", "error", str(TESTS / "lazy_cases.py"))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == [variant, digest_of_the_twin()]


@names
@dtypes
@pytest.mark.parametrize("strengths", [(0.1, 0.7, 0.3), (0.1, 0.0, 0.0), (0.1, 0.0, 0.3), (0.1, 0.7, 0.0)])
def test_special_values_with_and_without_gradients(name, dtype, strengths):
    w, g = special_values(dtype)
    lr, l1, l2 = strengths
    twin, lazy = Twin(name, w, None, strengths), make(name, w, lr, l1=l1, l2=l2)
    rng = np.random.default_rng(0)
    for _ in range(6):
        rows = np.flatnonzero(rng.random(w.size) < 0.4)
        twin.step(rows, g[rows], *strengths)
        lazy.step(rows, g[rows])
        assert_same_bits(w, twin.w)
        assert_same_bits(lazy.weights(), twin.weights())


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 64, 1000, 12_345, 2**40 + 7])
def test_repeated_steps_of_adagrad_equal_single_steps(steps):
    """Doubling computes the sum and the power with few rounding errors; with 1 − aᵏ, digits would cancel."""
    a = np.array([1.0, 1 - 2**-53, 1 - 1e-15, 1 - 1e-9, 1 - 1e-4, 0.9, 0.5, 1e-3, 0.0])
    power, total, a_power, a_total = np.ones_like(a), np.zeros_like(a), a, np.ones_like(a)
    with np.errstate(all="ignore"):
        for digit in range(steps.bit_length()):
            odd = steps >> digit & 1
            power, total, a_power, a_total = reference.next_digit(odd, a, power, total, a_power, a_total)
        scale, debt, _ = reference.repeated(power, total, a, 0.25, steps)
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("long double is no wider than double here")
    exact = a[:-1].astype(np.longdouble)
    missing, logarithm = 1 - exact, steps * np.log1p(exact - 1)
    total = np.where(missing == 0, steps, -np.expm1(logarithm) / np.where(missing == 0, 1, missing))
    np.testing.assert_allclose(scale[:-1], np.exp(logarithm).astype(float), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(debt[:-1], (exact * total / 4).astype(float), rtol=1e-13)
    assert (scale[-1], debt[-1]) == (0, 0)
