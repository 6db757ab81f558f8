"""Lazy steps equal dense ones: long random streams compared with the dense kernels, and both with steps in long double.

Dense steps have rounding errors too, so the tests also check that lazy steps are about as close to the exact result.
"""

import numpy as np
import pytest
from cases import DTYPES
from lazy_cases import CASES, Twin, each, gradients, make, make_dense, scatter, weights

from fastreg import reference

names = pytest.mark.parametrize("name", CASES)
WIDER = {np.float32: np.float64, np.float64: np.longdouble}


class Dense:
    """Dense steps of the reference in the wider type."""

    def __init__(self, name, w, first):
        self.dtype = w.dtype.type
        twin = Twin(name, w.astype(WIDER[self.dtype]), first=self.rounded(first))
        self.twin, self.w, self.state = twin, twin.w, [*twin.state, None, None][:2]
        self.built_on = twin.rules(self.rounded(first))[0]
        for a in twin.state[-1:]:
            a[...] = self.dtype(0.1)

    def rounded(self, strengths):
        return [WIDER[self.dtype](self.dtype(x)) for x in strengths]

    def step(self, g, strengths):
        d, p = self.twin.rules(self.rounded(strengths))
        if isinstance(d, reference.FTRL):
            z, n = self.state
            z[...] = reference.reanchored(self.built_on, d, self.w, z, n)
            self.built_on = d
        self.w[...] = reference.step(d, self.twin.m, p, self.w, g.astype(self.w.dtype), *self.state)


def compare(name, w, grads, strengths, every, tolerance, same_zeros=True):
    """Makes the steps of all three; compares the lazy weights with the dense and the exact ones at checkpoints."""
    dense, true, (lr, l1, l2) = w.copy(), Dense(name, w, strengths[0]), strengths[0]
    lazy, optimizer = (f(name, x, lr, l1=l1, l2=l2) for f, x in ((make, w), (make_dense, dense)))
    scale = zeros = rebased = 0
    product = 1.0
    last = None
    for s, (indices, values) in enumerate(grads):
        if strengths[s] != last:
            last = strengths[s]
            changes = dict(zip(("lr", "l1", "l2"), last))
            lazy._change(**changes)
            optimizer.param_groups[0].update(changes)
        g = scatter(indices, values, w.shape)
        lazy.step(indices, values)
        optimizer.step(g)
        true.step(g, last)
        scale = max(scale, np.abs(dense).max())
        if name in ("proximal", "truncated"):
            before, product = product, lazy._record()[1][0]
            rebased += product > before or product == 1
        if s % every == every - 1:
            now = lazy.weights()
            assert np.abs(now - dense).max() <= tolerance * scale
            of_lazy, of_dense = (np.abs(x - true.w).max() for x in (now, dense))
            assert of_lazy <= 2 * of_dense + 8 * np.finfo(w.dtype).eps * scale
            if same_zeros:
                np.testing.assert_array_equal(now == 0, dense == 0)
            zeros += (dense == 0).sum()
            scale = 0
    lazy.flush()
    assert not lazy.has_pending_penalty
    assert 0 < zeros < w.size * len(grads) // every, "the test needs zero and nonzero weights"
    return lazy, rebased


def changing(count, period, seed, lr=0.05, l1=0.02, l2=0.1):
    """Strengths that change after each period."""
    rng = np.random.default_rng(seed)
    table = np.array([lr, l1, l2]) * rng.uniform(0, 2, (count // period + 1, 3)) + [1e-3, 0, 0]
    return [tuple(row) for row in np.repeat(table, period, axis=0)[:count].tolist()]


@names
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_ten_thousand_steps_with_changing_strengths(name, dtype):
    count, shape = 10_000 if dtype == np.float64 else 1_000, (40,)
    w = weights(shape, dtype)
    grads = each(*gradients(count, shape, dtype, 4, 5))
    strengths = changing(count, 50 if name == "Adagrad" else 1, 5, l1=10 if name == "FTRL" else 0.02)
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    lazy, _ = compare(name, w, grads, strengths, count // 20, tolerance, same_zeros=dtype == np.float64)
    assert lazy.completed == count


def with_extremes(strengths, extremes, seed=0):
    """The strengths with some steps replaced by extreme ones."""
    rng = np.random.default_rng(seed)
    for s in rng.choice(len(strengths), len(strengths) // 40, replace=False):
        strengths[s] = extremes[rng.integers(len(extremes))]
    return strengths


HUGE = [(1.0, 0.01, 1e200), (1e-3, 1e203, 0.1), (1e100, 1e100, 1e-99), (1.0, 1e200, 1e200), (1e200, 1e200, 1e200)]
JUST_BELOW = [(1.0, 0.01, 1 - 2**-53), (0.5, 1e-3, 2 - 2**-30), (0.25, 1e-30, 3.999)]
REBASING = {  # name → the mode, the strengths, and the least number of times that the clock is rebased
    "strong": ("proximal", changing(2000, 1, 7, lr=0.5, l2=5), 4),
    "strong and truncated": ("truncated", changing(2000, 1, 7, lr=0.4, l2=0.6), 1),
    "huge": ("proximal", with_extremes(changing(2000, 1, 8), HUGE), 40),
    "just below 1": ("truncated", with_extremes(changing(2000, 1, 8), JUST_BELOW), 3),
    "huge l1": ("truncated", with_extremes(changing(2000, 1, 8), [(1e-3, 1e203, 0.1), (0.9, 1e308, 1.0)]), 40),
}


@pytest.mark.parametrize("case", REBASING)
def test_through_rebasing(case):
    name, strengths, least = REBASING[case]
    w = weights((40,), np.float64)
    grads = each(*gradients(2000, (40,), np.float64, 4, 5))
    with np.errstate(all="ignore"):
        _, rebased = compare(name, w, grads, strengths, 20, 1e-12)
    assert rebased >= least


def test_adagrad_with_l2_of_all_sizes():
    """The direct form of the power has cancellation: its error at l2 = 1e-12 is 2e-3."""
    for l2 in np.logspace(-12, 0, 7).tolist():
        w = weights((40,), np.float64)
        grads = each(*gradients(500, (40,), np.float64, 4, 5))
        compare("Adagrad", w, grads, [(0.05, 0.02, l2)] * 500, 50, 1e-12)


def test_plain_with_l2_of_all_sizes():
    for l2 in np.logspace(-18, 1, 7).tolist():
        w = weights((40,), np.float64)
        grads = each(*gradients(500, (40,), np.float64, 4, 5))
        compare("proximal", w, grads, [(0.05, 0.02, l2)] * 500, 50, 1e-12)


@names
@pytest.mark.parametrize("factor", [0.5, "zeros and ones", "fractions"])
def test_penalty_factors_and_rows_of_a_matrix(name, factor):
    shape, rng = (20, 3), np.random.default_rng(1)
    strengths = {"l1": 5.0 if name == "FTRL" else 0.05, "l2": 0.2}
    if factor == "zeros and ones":
        factor = rng.integers(0, 2, shape).astype(float)
    elif factor == "fractions":
        factor = rng.choice([0, 0.3, 1, 4.0], shape)
        if name in ("proximal", "truncated"):
            strengths["l2"] = 0.0
    w = weights(shape, np.float64)
    dense = w.copy()
    lazy, optimizer = (f(name, x, penalty_factor=factor, **strengths) for f, x in ((make, w), (make_dense, dense)))
    for indices, values in each(*gradients(500, shape, np.float64, 2, 4, np.int32, duplicates=True)):
        lazy.step(indices, values)
        optimizer.step(scatter(indices, values, shape))
    np.testing.assert_allclose(lazy.weights(), dense, rtol=0, atol=1e-12 * np.abs(dense).max())
    np.testing.assert_array_equal(lazy.weights() == 0, dense == 0)
    assert (dense == 0).any()
