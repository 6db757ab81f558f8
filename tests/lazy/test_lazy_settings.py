"""The settings of lazy updates: which are taken and refused; their attributes; the with block."""

from contextlib import suppress

import numpy as np
import pytest
from cases import assert_same_bits
from lazy_cases import CASES, make, snapshot

import fastreg

names = pytest.mark.parametrize("name", CASES)
STRONG = {"l1": 0.1, "l2": 0.3}


@names
def test_leaving_the_with_block_flushes_also_after_an_error(name):
    w = np.linspace(-1, 1, 9)
    with make(name, w, **STRONG) as lazy:
        lazy.l2 = 0.5
        lazy.step_csr(np.ones(2), np.array([0, 3]), np.array([0, 1, 2]))
        assert lazy.has_pending_penalty
        expected = lazy.weights()
    assert_same_bits(w, expected)
    lazy = make(name, w, **STRONG)
    with suppress(KeyError), lazy:
        lazy.step_csr(np.ones(2), np.array([0, 3]), np.array([0, 1, 2]))
        raise KeyError
    assert lazy.completed == 2
    assert not lazy.has_pending_penalty


@names
def test_a_pending_penalty_is_found_in_every_row(name):
    for place in (0, 1023, 1024, 2999):
        w = np.zeros(3000)
        w[place] = 1.0
        lazy = make(name, w, l1=0.0, l2=0.1)
        assert not lazy.has_pending_penalty
        lazy.step(np.array([5]), np.zeros(1))
        if name == "FTRL":  # its weights change only when its strengths do
            lazy.l2 = 0.3
            lazy.step(np.array([5]), np.zeros(1))
        assert lazy.has_pending_penalty


@names
def test_strengths_can_be_set_between_steps_and_bad_values_change_nothing(name):
    lazy = make(name, np.ones(3), 0.1, **STRONG)
    lazy.step(np.array([0]), np.ones(1))
    before = snapshot(lazy)
    for key in ("lr", "l1", "l2"):
        bad = [-1.0, np.nan, np.inf, "0.1", None, [0.1], 1j, lambda n: -1.0, lambda n: None]
        for x in bad + [10.0] * (key == "l2" and name == "truncated"):
            with pytest.raises((TypeError, ValueError), match=r"^(lr|l1|l2): "):
                setattr(lazy, key, x)
            with pytest.raises((TypeError, ValueError), match=r"^(lr|l1|l2): "):
                make(name, np.ones(3), **{"lr": 0.1, "l1": 0.1, "l2": 0.3} | {key: x})
        assert snapshot(lazy) == before
        setattr(lazy, key, 0.25)
        assert getattr(lazy, key) == 0.25
        before = snapshot(lazy)
    for dtype, tiny in ((np.float32, 1e-50), (np.float32, 1e39)):
        with pytest.raises(ValueError, match=r"^l1: .* float32"):
            make(name, np.ones(3, dtype), l1=tiny)


def test_penalty_factors_without_a_closed_form_are_refused():
    w, f = np.ones(3), np.array([0, 0.5, 1])
    for mode in ("proximal", "truncated"):
        with pytest.raises(ValueError, match=r"^penalty_factor: expected 0 and 1 only"):
            fastreg.LazySGD(w, 0.1, l2=0.1, mode=mode, penalty_factor=f)
        lazy = fastreg.LazySGD(w, 0.1, l1=0.1, mode=mode, penalty_factor=f)
        before = snapshot(lazy)
        with pytest.raises(ValueError, match=r"^penalty_factor: expected 0 and 1 only"):
            lazy.l2 = 0.1
        lazy.l1 = 0.2
        with pytest.raises(ValueError, match=r"^penalty_factor: expected 0 and 1 only"):
            lazy.l2 = lambda n: 0.1
        lazy.l2 = lambda n: 0.1 * (n > 2)
        with pytest.raises(ValueError, match=r"^penalty_factor: expected 0 and 1 only"):
            lazy.step_csr(np.ones(0), np.empty(0, int), np.zeros(6, int))
        assert snapshot(lazy)[0] == before[0]
        assert lazy.completed == 0
    for bad in ([1, 2], [1, -1, 1], [1, np.nan, 1], np.ones((3, 1)), "2", -1.0):
        for name in CASES:
            with pytest.raises((TypeError, ValueError), match=r"^penalty_factor: "):
                make(name, w, penalty_factor=bad)


def test_bad_options_are_refused_at_construction():
    w = np.ones(3, np.float32)
    for mode in ("subgradient", "decoupled", "Proximal", None):
        with pytest.raises((TypeError, ValueError), match=r"^mode: "):
            fastreg.LazySGD(w, 0.1, mode=mode)
    for kind, options in (
        (fastreg.LazyAdagrad, {"initial_accumulator_value": 0.0}),
        (fastreg.LazyAdagrad, {"initial_accumulator_value": -1.0}),
        (fastreg.LazyAdagrad, {"initial_accumulator_value": 1e-50}),
        (fastreg.LazyAdagrad, {"initial_accumulator_value": 1e39}),
        (fastreg.LazyAdagrad, {"eps": 1e-50}),
        (fastreg.LazyAdagrad, {"eps": np.nan}),
        (fastreg.LazyFTRL, {"beta": 1e39}),
        (fastreg.LazyFTRL, {"beta": 0.0}),
        (fastreg.LazyFTRL, {"warm_start": 1}),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{next(iter(options))}: "):
            kind(w, 0.1, **options)
    assert w.tolist() == [1, 1, 1]


@names
def test_attributes(name):
    w = np.ones((4, 2), np.float32)
    factor = np.array([[0, 1]] * 4)
    lazy = make(name, w, 0.25, l1=0.5, penalty_factor=factor)
    assert (lazy.lr, lazy.l1, lazy.l2, lazy.completed, lazy.w is w) == (0.25, 0.5, 0.0, 0, True)
    np.testing.assert_array_equal(lazy.penalty_factor, factor)
    lazy.penalty_factor[...] = 7
    np.testing.assert_array_equal(lazy.penalty_factor, factor)
    assert make(name, w, penalty_factor=0.5).penalty_factor == 0.5
    assert all(a.shape == w.shape and a.dtype == w.dtype for a in lazy.state.values())
    assert repr(lazy) == f"{CASES[name].lazy.__name__}(float32 of shape (4, 2), 0 steps)"
    assert lazy.step(np.array([1]), np.ones((1, 2), np.float32)) is None
    assert lazy.completed == 1
    for attribute in ("w", "completed", "penalty_factor", "state", "has_pending_penalty"):
        with pytest.raises(AttributeError):
            setattr(lazy, attribute, 1)
    if name in ("proximal", "truncated"):
        assert lazy.mode == name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", [float, lambda x: np.array([x, 1.0, x])], ids=["number", "array"])
@pytest.mark.parametrize("strength", ["l1", "l2", "l21"])
@pytest.mark.parametrize("kind", [fastreg.LazySGD, fastreg.LazyAdagrad, fastreg.LazyFTRL])
def test_products_with_factors_that_are_infinite_are_refused(kind, strength, form, dtype):
    w, most, factor = np.ones(3, dtype), float(np.finfo(dtype).max), form(10.0)
    if kind is fastreg.LazySGD and strength == "l2" and np.ndim(factor):
        return  # such factors have no closed form
    pattern = f"^{strength} times penalty_factor: expected"
    for given in (most / 2, lambda n: most / 2):
        with pytest.raises(ValueError, match=pattern):
            kind(w, 0.5, penalty_factor=factor, **{strength: given})
    lazy = kind(w, 0.5, penalty_factor=factor)
    before = snapshot(lazy)
    with pytest.raises(ValueError, match=pattern):
        setattr(lazy, strength, most / 2)
    with pytest.raises(ValueError, match=pattern):
        lazy.load_state_dict(lazy.state_dict() | {strength: most / 2})
    assert snapshot(lazy) == before
    setattr(lazy, strength, lambda n: most / 2 if n else 1.0)
    lazy.step(np.array([0]), np.ones(1, dtype))
    before = snapshot(lazy)
    with pytest.raises(ValueError, match=pattern):
        lazy.step(np.array([0]), np.ones(1, dtype))
    assert snapshot(lazy) == before


def test_the_sum_of_l1_and_l21_of_a_vector_is_checked_with_the_factors():
    with pytest.raises(ValueError, match=r"^l1 plus l21, times penalty_factor: expected .* float32"):
        fastreg.LazySGD(np.ones(2, np.float32), 0.5, l1=2e37, l21=2e37, penalty_factor=np.array([10.0, 1.0]))
