"""Every direction has the bits of the reference in each of its modes; other modes are an error that gives the reason.

The kernels are called through the optimizers, for several steps, so that the state is compared as well as the weights.
"""

import inspect

import numpy as np
import pytest
from cases import DTYPES, LAYOUTS, SIZES, STORED, STRENGTHS, arithmetic, assert_same_bits, bits, special_values, values
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optimizer_cases import COMBINATIONS, DIRECTIONS, MODES, STATEFUL, Twin, make

import fastreg
from fastreg import reference

combinations = pytest.mark.parametrize(("name", "mode"), COMBINATIONS)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
stored = pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)
STRONG = {"l1": 0.7, "l2": 0.3}


def factors_like(w, seed=5):
    """Factors for all weights: 0, 1 and others."""
    rng = np.random.default_rng(seed)
    f = rng.choice([0, 0.25, 1, 3.7], w.shape).astype(arithmetic(w.dtype.type))
    return np.asfortranarray(f) if w.flags.f_contiguous else f


def assert_steps_like_reference(name, mode, w, g, steps=3, factor=None, lr=0.1, **options):
    """Steps w in place with g, −g/2, g, ...; compares w and the state with the twin's after each; g must not change."""
    twin = Twin(name, w, mode, lr, factor=factor, **options)
    optimizer = make(name, w, lr, mode, penalty_factor=factor, **options)
    assert optimizer.state.keys() == {"0"}
    for i in range(steps):
        gradient = g if i % 2 == 0 else -g * g.dtype.type(0.5)
        before = gradient.tobytes()
        optimizer.step(gradient)
        twin.step(gradient)
        assert_same_bits(w, twin.w)
        state = optimizer.state["0"]
        assert tuple(state) == DIRECTIONS[name].fields
        for actual, expected in zip(state.values(), twin.state, strict=True):
            np.testing.assert_array_equal(bits(actual), bits(expected))
        assert gradient.tobytes() == before


def test_every_direction_of_the_reference_has_a_row():
    assert DIRECTIONS.keys() == reference.DIRECTIONS.keys()


@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_optimizer_makes_the_direction_that_its_row_names(name):
    case = DIRECTIONS[name]
    assert type(Twin(name, np.ones(1), case.modes[0]).direction(1, 0.9, 0.99)) is reference.DIRECTIONS[name]
    group = make(name, np.ones(1)).param_groups[0]
    plan = group.plan(group._settings, 0, True)
    assert type(plan.first) is type(plan.later) is reference.DIRECTIONS[name]


def test_every_optimizer_has_a_direction():
    """AdamW has Adam's."""
    classes = {x for x in vars(fastreg).values() if inspect.isclass(x) and issubclass(x, fastreg.Optimizer)}
    assert classes - {fastreg.Optimizer, fastreg.AdamW} == {case.optimizer for case in DIRECTIONS.values()}


@combinations
@stored
@pytest.mark.parametrize("weighted", [False, True], ids=["", "factors"])
def test_sizes_around_vector_widths_and_the_release_of_the_gil(name, mode, dtype, weighted):
    for size in SIZES:
        w, g = values(dtype, size)
        assert_steps_like_reference(name, mode, w, g, factor=factors_like(w) if weighted else None, **STRONG)


@combinations
@stored
@pytest.mark.parametrize("strengths", STRENGTHS)
def test_special_values_and_strengths(name, mode, dtype, strengths):
    s = STRENGTHS[strengths]
    options = {"theta": s.theta} if mode == "truncated" else {}
    options |= {"gamma": s.gamma} if mode in reference.MODES_OF["MCP"] else {}
    l1, l2 = np.abs([s.l1, s.l2]).tolist()
    for weighted in (False, True):
        w, g = special_values(dtype)
        factor = factors_like(w) if weighted else None
        assert_steps_like_reference(name, mode, w, g, factor=factor, lr=abs(s.lr), l1=l1, l2=l2, **options)


@combinations
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(name, mode, layout):
    for dtype in DTYPES:
        base_w, base_g = values(dtype, 120)
        w, g = LAYOUTS[layout](base_w), LAYOUTS[layout](base_g)
        untouched = base_w.copy()
        LAYOUTS[layout](untouched)[...] = 0
        plain, gradient = np.array(w, order="K", subok=False), np.array(g, order="K", subok=False)
        if plain.flags.c_contiguous != w.flags.c_contiguous or plain.flags.f_contiguous != w.flags.f_contiguous:
            plain, gradient = w.view(np.ndarray).copy(), g.view(np.ndarray).copy()
        twin = Twin(name, plain, mode, **STRONG)
        optimizer = make(name, w, mode=mode, **STRONG)
        for _ in range(3):
            optimizer.step(g)
            twin.step(gradient)
        assert_same_bits(w, twin.w)
        for state in optimizer.state["0"].values():
            assert type(state) is np.ndarray
            assert state.shape == w.shape
        w[...] = 0
        assert base_w.tobytes() == untouched.tobytes(), "a step must not touch what surrounds its array"


@combinations
@dtypes
def test_a_long_run(name, mode, dtype):
    """Bias corrections are computed from running products, which drift away from powers."""
    w, g = values(dtype, 67)
    assert_steps_like_reference(name, mode, w, g, steps=300, l1=0.01, l2=0.02)


MEANINGLESS = [(name, mode) for name, case in DIRECTIONS.items() for mode in MODES if mode not in case.modes]


@pytest.mark.parametrize(("name", "mode"), MEANINGLESS)
def test_a_mode_without_a_meaning_is_an_error_that_gives_the_reason(name, mode):
    case = DIRECTIONS[name]
    if case.optimizer is fastreg.FTRL:
        with pytest.raises(TypeError, match="mode"):
            fastreg.FTRL(np.ones(3), 0.1, mode=mode)
        return
    with pytest.raises(ValueError, match=rf"^mode: .*{case.modes[0]}.*{case.optimizer.__name__} \(.*\), got '{mode}'$"):
        case.optimizer(np.ones(3), 0.1, **case.options, mode=mode)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "decoupled"])
def test_adamw_has_only_the_decoupled_mode(mode):
    with pytest.raises(ValueError, match=r"^mode: .*'decoupled' for AdamW \(.+\), got"):
        fastreg.AdamW(np.ones(3), mode=mode)


@dtypes
@pytest.mark.parametrize("amsgrad", [False, True])
def test_adamw_is_decoupled_adam(dtype, amsgrad):
    w, g = values(dtype, 67)
    x = w.copy()
    one, other = fastreg.AdamW(w, 0.1, l1=0.2, l2=0.3), fastreg.Adam(x, 0.1, l1=0.2, l2=0.3, mode="decoupled")
    for _ in range(3):
        one.step(g)
        other.step(g)
    assert_same_bits(w, x)


@dtypes
@pytest.mark.parametrize("mode", MODES)
def test_sgd_without_momentum_is_the_update_function(dtype, mode):
    w, g = values(dtype, 67)
    x = w.copy()
    fastreg.SGD(w, 0.1, l1=0.7, l2=0.3, mode=mode).step(g)
    fastreg.elastic_net_update(x, g, 0.1, 0.7, 0.3, mode=mode)
    assert_same_bits(w, x)


@pytest.mark.parametrize("name", STATEFUL)
@pytest.mark.parametrize("mode", ["proximal", "truncated"])
def test_zeros_are_exact_where_the_penalty_is_stronger_than_the_gradient(name, mode):
    if mode not in DIRECTIONS[name].modes:
        pytest.skip("no such mode")
    rng = np.random.default_rng(0)
    w = rng.standard_normal(50)
    options = {"l1": 2000.0, "warm_start": False} if name == "FTRL" else {"l1": 2.0}
    optimizer = make(name, w, 0.05, mode, **options)
    for _ in range(1000):
        optimizer.step(rng.standard_normal(50) * 0.5)
    assert optimizer.zeros() == 50
    assert w.tobytes() == bytes(400), "zeros are +0.0"


@st.composite
def steps(draw):
    dtype = draw(st.sampled_from(DTYPES))
    width = 8 * np.dtype(dtype).itemsize
    size = draw(st.integers(1, 20))
    anything = st.floats(width=width)
    strength = st.floats(0, 1e6, width=width)
    w, g = (draw(arrays(dtype, size, elements=anything)) for _ in range(2))
    f = draw(st.none() | arrays(dtype, size, elements=st.floats(0, 8, width=width)))
    options = {"lr": draw(st.floats(2**-20, 8, width=width)), "l1": draw(strength), "l2": draw(strength)}
    largest = 1.0 if f is None else float(f.max())
    for x in (options["l1"], options["l2"]):  # products that underflow are refused
        assume(x == 0 or largest == 0 or x * largest > 1e-30)
    return w, g, f, options


@given(st.sampled_from(COMBINATIONS), steps())
@settings(max_examples=200)
def test_any_floats_give_the_bits_of_the_reference(combination, problem):
    w, g, f, options = problem
    assert_steps_like_reference(*combination, w, g, factor=f, **options)
