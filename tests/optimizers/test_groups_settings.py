"""The settings of parameter groups: each group has its own, and they can be changed between steps."""

import numpy as np
import pytest
from cases import assert_same_bits, values
from hypothesis import given
from hypothesis import strategies as st
from optimizer_cases import DIRECTIONS, Twin, make, snapshot

import fastreg

names = pytest.mark.parametrize("name", DIRECTIONS)


@names
def test_groups_are_separate_optimizers(name):
    mode = DIRECTIONS[name].modes[-1]
    (a, g), (b, h), (c, k) = (values(float, 33, seed) for seed in range(3))
    twins = [
        Twin(name, a, mode, 0.1, l1=0.5),
        Twin(name, b, mode, 0.02, l1=0.5, l2=0.25, factor=np.full(33, 2.0)),
        Twin(name, c, DIRECTIONS[name].modes[0], 0.1),
    ]
    groups = [
        {"params": a},
        {"params": [b], "lr": 0.02, "l2": 0.25, "penalty_factor": [np.full(33, 2.0)]},
        {"params": {"c": c}, "l1": 0.0} | ({} if name == "FTRL" else {"mode": DIRECTIONS[name].modes[0]}),
    ]
    optimizer = make(name, groups, mode=mode, l1=0.5)
    for _ in range(3):
        optimizer.step([g, [h], {"c": k}])
        for twin, gradient in zip(twins, (g, h, k), strict=True):
            twin.step(gradient)
    for w, twin in zip((a, b, c), twins, strict=True):
        assert_same_bits(w, twin.w)


def test_each_group_has_its_own_options_of_a_direction():
    a, b, g = np.ones(5), np.ones(5), np.full(5, 0.5)
    optimizer = fastreg.Adam([{"params": a, "amsgrad": True, "betas": [0.5, 0.75]}, {"params": b, "eps": 0.25}])
    assert [len(state) for state in optimizer.state.values()] == [3, 2]
    for _ in range(3):
        optimizer.step([g, g])
    for w, options in ((a, {"amsgrad": True, "betas": (0.5, 0.75)}), (b, {"eps": 0.25})):
        x = np.ones(5)
        alone = fastreg.Adam(x, **options)
        for _ in range(3):
            alone.step(g)
        assert_same_bits(w, x)


def test_a_group_is_a_mapping():
    w = np.ones(3)
    group = fastreg.SGD([w], 0.5, l1=0.25).param_groups[0]
    assert set(group) == {"params", "lr", "momentum", "dampening", "nesterov", "l1", "l2", "l21", "gamma", "mode", "theta"}
    assert (group["lr"], group["l1"], group["mode"], group["params"]) == (0.5, 0.25, "proximal", [w])
    assert len(group) == len(list(group)) == len(dict(group))
    assert "momentum" in group
    assert "weight_decay" not in group
    with pytest.raises(KeyError, match="weight_decay"):
        group["weight_decay"]
    for key in ("weight_decay", "params", "on_nonfinite", "penalty_factor", "betas", "LR", 3, None):
        with pytest.raises((KeyError, TypeError), match=str(key)):
            group[key] = 0.1
    for key in ("lr", "params"):
        with pytest.raises(TypeError, match=f"^{key}: "):
            del group[key]
    group.update(lr=0.125, l2=1)
    assert (group["lr"], group["l2"]) == (0.125, 1.0)


@names
def test_settings_can_be_changed_between_steps(name):
    """Each step uses the settings at that time for all of its tensors."""
    w, g = values(float, 33)
    x, mode = w.copy(), DIRECTIONS[name].modes[-1]
    optimizer, twin = make(name, [w, x], mode=mode), Twin(name, w, mode)
    group = optimizer.param_groups[0]
    for lr, l1, l2 in ((0.1, 0.0, 0.0), (0.1, 0.5, 0.0), (0.05, 0.5, 0.25), (0.05, 0.0, 0.25), (0.2, 0.0, 0.0)):
        group["lr"], group["l1"], group["l2"] = lr, l1, l2
        twin.lr = lr
        twin.penalty = fastreg.reference.without_l1(fastreg.reference.ElasticNet(l1, l2))
        optimizer.step([g, g])
        twin.step(g)
        assert_same_bits(w, twin.w)
        assert_same_bits(x, twin.w)


def test_options_of_a_direction_can_be_changed_too():
    w, g = values(float, 33)
    twin = Twin("Momentum", w, "proximal")
    optimizer = make("Momentum", w, mode="proximal")
    for momentum, dampening in ((0.9, 0.3), (0.5, 0.3), (0.5, 0.0), (0.25, 1.0)):
        optimizer.param_groups[0]["momentum"], optimizer.param_groups[0]["dampening"] = momentum, dampening
        twin.options = {"momentum": momentum, "dampening": dampening}
        optimizer.step(g)
        twin.step(g)
        assert_same_bits(w, twin.w)
    optimizer.param_groups[0]["mode"] = "subgradient"
    twin.mode = fastreg.reference.Subgradient()
    optimizer.step(g)
    twin.step(g)
    assert_same_bits(w, twin.w)


@pytest.mark.parametrize(
    ("cls", "options", "key", "value"),
    [
        (fastreg.SGD, {}, "momentum", 0.9),
        (fastreg.SGD, {"momentum": 0.9}, "momentum", 0.0),
        (fastreg.Adam, {}, "amsgrad", True),
        (fastreg.AdamW, {"amsgrad": True}, "amsgrad", False),
        (fastreg.Adagrad, {}, "initial_accumulator_value", 0.5),
        (fastreg.FTRL, {}, "initial_accumulator_value", 0.5),
        (fastreg.FTRL, {}, "warm_start", False),
    ],
)
def test_a_setting_that_determines_the_state_cannot_be_changed(cls, options, key, value):
    optimizer = cls(np.ones(3), **options)
    optimizer.step(np.ones(3))
    before = snapshot(optimizer)
    with pytest.raises(ValueError, match=f"^{key}: .*state"):
        optimizer.param_groups[0][key] = value
    optimizer.param_groups[0][key] = optimizer.param_groups[0][key]
    assert snapshot(optimizer) == before


@given(
    st.sampled_from(sorted(DIRECTIONS)), st.sampled_from([0.0, 0.5, 1]), st.sampled_from([0.125, np.float32(0.1), 1])
)
def test_a_constant_callable_gives_the_bits_of_the_number(name, strength, lr):
    w, g = values(float, 9)
    x = w.copy()
    one = make(name, w, lr, l1=strength, l2=strength)
    other = make(name, x, lambda n: lr, l1=lambda n: strength, l2=lambda n: strength)
    for _ in range(3):
        one.step(g)
        other.step(g)
    assert_same_bits(w, x)
