"""The group lasso: the bits of the reference, minimisers of each group's objective, groups that stand still."""

import numpy as np
import pytest
from cases import STORED, arithmetic, assert_same_bits, values
from ml_dtypes import bfloat16, finfo
from optimizer_cases import DIRECTIONS, Twin, make

import fastreg
from fastreg import reference

PROXIMAL = [name for name, case in DIRECTIONS.items() if "proximal" in case.modes]
ADAPTIVE = ["Adagrad", "RMSprop", "Adam", "AMSGrad", "FTRL"]
# Around the lanes of a sum (16), a strip (256), the coordinates that are held and the groups of a block (2048), and the
# lines of a panel (64, and more from 64 panels on).
SHAPES = [
    (), (0, 3), (3, 0), (17,), (1, 9), (9, 1), (7, 5), (33, 70), (3, 600), (3, 2049), (2, 1030), (20, 2060), (5, 4, 3),
    (6, 65, 9), (2, 3, 2100), (127, 2), (128, 17), (200, 3), (2, 70, 3), (129, 2, 9), (130, 5, 2), (4161, 18),
]  # fmt: skip
STRENGTHS = [(0.0, 0.0, 0.5), (0.3, 0.2, 1.0), (0.0, 0.5, 3.0), (0.1, 0.0, 0.2)]
stored = pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)


def axes(shape):
    return [None, *range(len(shape))]


def arrays(shape, dtype, order, seed=0):
    """Weights, gradients that differ in size by factors of thousands, and a factor for each group."""
    rng = np.random.default_rng([seed, *shape])
    w, g = rng.standard_normal((2, *shape)) * np.exp(2 * rng.standard_normal((2, *shape)))
    return [np.array(x, order=order).astype(dtype, order="K") for x in (w, g)]


def factors(shape, axis, order, seed):
    """0, 1 or 2 for each group."""
    kept = [n if i == axis else 1 for i, n in enumerate(shape)]
    draws = np.random.default_rng(seed).integers(0, 3, kept).astype(float)
    return np.array(np.broadcast_to(draws, shape), order=order)


@stored
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_functions_have_the_bits_of_the_reference(shape, order, dtype):
    for axis in axes(shape):
        for l1, l2, l21 in [*STRENGTHS, (0.1, 0.1, 0.0), (0.0, 0.0, 1e-30), (0.0, 0.0, 1e30)]:
            w, g = arrays(shape, dtype, order)
            expected = w.copy(order="K")
            reference.group_update(expected, g, 0.1, l1, l2, l21, axis)
            fastreg.group_update(w, g, 0.1, l1, l2, l21, axis)
            assert_same_bits(w, expected)
            assert fastreg.group_penalty(w, l1, l2, l21, axis) == reference.group_penalty(w, l1, l2, l21, axis)


@stored
@pytest.mark.parametrize("name", PROXIMAL)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_optimizers_have_the_bits_of_the_reference(name, shape, dtype):
    for case, axis in enumerate(axes(shape)):
        for turn, order in enumerate("CFCF"):
            (w, g), (l1, l2, l21) = arrays(shape, dtype, order), STRENGTHS[(case + turn) % 4]
            f = factors(shape, axis, order, case) if turn >= 2 else None
            bounds = (0.0, np.inf) if (case + turn) % 3 == 2 else None
            options = {"l1": l1, "l2": l2, "l21": l21, "group_axis": axis}
            wide = arithmetic(dtype)
            sides = bounds and tuple(map(wide, bounds))
            twin = Twin(name, w, "proximal", factor=f, bounds=sides, **options)
            given = options | ({"bounds": bounds} if bounds else {})
            optimizer = make(name, w, mode="proximal", penalty_factor=f, **given)
            for gradient in (g, np.array(g * dtype(-0.5), dtype, order=order), g):
                optimizer.step(gradient)
                twin.step(gradient)
                assert_same_bits(w, twin.w)
            for actual, expected in zip(optimizer.state["0"].values(), twin.state, strict=True):
                assert_same_bits(actual, expected)


@pytest.mark.parametrize("spread", [0.0, 1.0, 9.0])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_groups_satisfy_the_conditions_of_optimality_in_the_metric_of_the_optimizer(name, spread):
    """From the state, the step of each coordinate is known without the group lasso; z must be the minimiser."""
    rng = np.random.default_rng(0)
    found = set()
    for l1, l2 in ((0.0, 0.0), (0.02, 0.0), (0.0, 0.3), (0.02, 0.3)):
        for l21 in (0.003, 0.3, 3.0, 30.0, 1e3, 1e5):
            w = rng.standard_normal((40, 23))
            plain, options = w.copy(), {"l1": l1, "l2": l2}
            if name == "FTRL":
                options["warm_start"] = False
            grouped = make(name, w, mode="proximal", l21=l21, group_axis=0, **options)
            alone = make(name, plain, mode="proximal", **options)
            g = rng.standard_normal(w.shape) * np.exp(spread * rng.uniform(-1, 1, w.shape))
            grouped.step(g)
            alone.step(g)
            x, z = plain, w
            group = alone.param_groups[0]
            direction = reference.correct(group.plan(dict(group), 0, False).later, *alone._tensors.clock(0)[1:3])
            h = reference.metric(direction, *alone.state["0"].values()) + l2
            norms = np.linalg.norm(z, axis=1, keepdims=True)
            force = h * x
            zero = norms[:, 0] == 0
            found |= set(zero.tolist())
            assert (np.linalg.norm(force[zero], axis=1) <= l21 * (1 + 1e-13)).all()
            residual = h[~zero] * (z - x)[~zero] + l21 * (z / np.where(norms == 0, 1, norms))[~zero]
            scale = np.abs(force[~zero]) + l21
            assert (np.abs(residual) <= 1e-13 * scale).all()
    assert found == {True, False}


@stored
def test_equal_step_sizes_shorten_a_group_without_turning_it(dtype):
    w = np.array([[3.0, 4.0], [0.3, 0.4]]).astype(dtype)
    fastreg.group_update(w, np.zeros_like(w), 0.5, 0.0, 0.0, 2.0, 0)
    np.testing.assert_allclose(w.astype(float), [[2.4, 3.2], [0.0, 0.0]], rtol=2 * float(finfo(dtype).eps))
    assert not np.signbit(w.astype(float)).any()


@pytest.mark.parametrize("name", PROXIMAL)
def test_a_group_of_one_is_a_weight_with_l1(name):
    (w, g), other = arrays((50, 1), np.float64, "C"), None
    other = w.copy()
    grouped, single = make(name, w, l21=0.4, l2=0.1, group_axis=0), make(name, other, l1=0.4, l2=0.1)
    for _ in range(4):
        grouped.step(g)
        single.step(g)
    np.testing.assert_allclose(w, other, rtol=1e-12)
    np.testing.assert_array_equal(w == 0, other == 0)
    assert 0 < (w == 0).sum() < 50


@pytest.mark.parametrize("name", PROXIMAL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_group_whose_norm_is_not_finite_makes_only_the_step_of_its_weights(name, bad):
    w, g = arrays((4, 37), np.float64, "C")
    w[1, 3], w[2, 5] = bad, np.nan
    plain, options = w.copy(), {"l1": 0.1, "l2": 0.2}
    make(name, w, l21=0.5, group_axis=0, mode="proximal", **options).step(g)
    make(name, plain, mode="proximal", **options).step(g)
    assert_same_bits(w[2], plain[2]) if name != "FTRL" else None
    assert np.isnan(w[2, 5])
    assert np.isfinite(w[[0, 3]]).all()


@pytest.mark.parametrize("name", [name for name in PROXIMAL if name != "FTRL"])
def test_a_learning_rate_of_zero_moves_nothing(name):
    for axis in (0, 1):
        w, g = arrays((5, 7), np.float64, "C")
        before = w.copy()
        optimizer = make(name, w, lr=0.0, l21=5.0, group_axis=axis, mode="proximal")
        optimizer.step(g)
        assert_same_bits(w, before)
        assert all(a.any() for a in optimizer.state["0"].values())


def test_a_factor_of_zero_leaves_a_group_without_penalty():
    w = np.ones((2, 3))
    f = np.array([[0.0], [1.0]]).repeat(3, axis=1)
    fastreg.Adam(w, 0.1, l21=20.0, l1=1.0, group_axis=0, penalty_factor=f).step(np.ones((2, 3)))
    np.testing.assert_allclose(w, [[0.9] * 3, [0.0] * 3])


@pytest.mark.parametrize("size", [3, 5000])
def test_bfloat16_is_rounded_before_the_groups(size):
    w, g = (x.reshape(1, -1) for x in values(bfloat16, size))
    plain, whole = w.copy(), w.copy()
    fastreg.group_update(w, g, 0.1, 0.1, 0.2, 0.3, 0)
    fastreg.elastic_net_update(plain, g, 0.1, 0.1, 0.2, mode="proximal")
    wide = plain.astype(np.float32)
    eta = 0.1 / (1 + 0.1 * 0.2)
    norm = np.linalg.norm(wide.astype(float))
    expected = (wide * np.float32(max(0, norm - eta * 0.3) / norm)).astype(bfloat16)
    fastreg.group_update(whole, g, 0.1, 0.1, 0.2, 0.3, None)
    assert_same_bits(w, whole)
    assert (np.abs(w.astype(float) - expected.astype(float)) <= np.abs(expected.astype(float)) * 2**-8).all()
