"""MCP: unshrunk survivors, its stationary points, its value, and where it has no meaning."""

import numpy as np
import pytest
from cases import DTYPES, STORED, values

import fastreg
from fastreg import reference

FUNCTIONS = {"l1_update": (0.1, 1.0), "elastic_net_update": (0.1, 1.0, 0.5)}
VALUES = {"l1_penalty": (0.7,), "elastic_net_penalty": (0.7, 0.3)}


@pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("size", [0, 1, 17, 4097, 10_007])
def test_the_value_has_the_bits_of_the_reference(dtype, name, size):
    w, _ = values(dtype, size)
    for gamma in (1e-3, 0.5, 3.0, 1e30):
        expected = getattr(reference, name)(w, *VALUES[name], gamma=gamma)
        assert getattr(fastreg, name)(w, *VALUES[name], gamma=gamma) == expected


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_the_value_is_the_integral_of_the_slope(dtype):
    for w in (0.3, -1.2, 2.0, 5.0):
        grid = np.linspace(0, abs(w), 100_001)
        slopes = np.maximum(0, 0.7 - (grid[1:] + grid[:-1]) / 2 / 2.0)
        expected = slopes.sum() * (grid[1] - grid[0])
        assert fastreg.l1_penalty(np.array([w], dtype), 0.7, gamma=2.0) == pytest.approx(expected, rel=1e-6)


def test_special_values():
    assert fastreg.l1_penalty(np.array([np.inf]), 0.5, gamma=2.0) == 0.25
    assert fastreg.l1_penalty(np.array([np.inf]), 0.0, gamma=2.0) == 0
    assert np.isnan(fastreg.l1_penalty(np.array([np.nan]), 0.5, gamma=2.0))
    for mode in reference.MODES_OF["MCP"]:
        w = np.array([np.nan, 1.0, 0.0])
        fastreg.l1_update(w, np.array([0.0, np.nan, 0.0]), 0.1, 0.5, gamma=2.0, mode=mode)
        assert np.isnan(w[:2]).all()
        assert w[2] == 0


def test_a_large_gamma_is_l1():
    for mode in reference.MODES_OF["MCP"]:
        w, g = values(np.float64, 1000)
        expected = w.copy()
        fastreg.elastic_net_update(expected, g, 0.1, 0.7, 0.3, mode=mode)
        fastreg.elastic_net_update(w, g, 0.1, 0.7, 0.3, gamma=1e300, mode=mode)
        np.testing.assert_allclose(w, expected, rtol=1e-13)


def coordinate_descent(x, y, l1, gamma):
    """Minimises ‖y − x·w‖²/(2n) + MCP(w), for columns with ‖x_j‖² = n, as Breheny & Huang (2011) do."""
    n, w = len(y), np.zeros(x.shape[1])
    residual = y.copy()
    for _ in range(5000):
        for j in range(len(w)):
            z = x[:, j] @ residual / n + w[j]
            firm = np.sign(z) * max(abs(z) - l1, 0) / (1 - 1 / gamma)
            new = z if abs(z) > gamma * l1 else firm
            residual -= x[:, j] * (new - w[j])
            w[j] = new
    return w


def test_gradient_descent_ends_where_coordinate_descent_does_and_large_weights_are_unshrunk():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 10))
    x *= np.sqrt(200) / np.linalg.norm(x, axis=0)
    true = np.array([3.0, -2.0, 1.5] + [0.0] * 7)
    y = x @ true + 0.3 * rng.standard_normal(200)
    w = np.zeros(10)
    for _ in range(3000):
        fastreg.l1_update(w, x.T @ (x @ w - y) / 200, 0.2, 0.3, gamma=3.0, mode="proximal")
    np.testing.assert_allclose(w, coordinate_descent(x, y, 0.3, 3.0), atol=1e-10)
    assert (w[3:] == 0).all()
    np.testing.assert_allclose(w[:3], np.linalg.lstsq(x[:, :3], y, rcond=None)[0], atol=1e-10)  # without shrinkage


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("gamma", [0, -1.0, np.nan, -np.inf])
def test_gamma_must_be_positive(name, gamma):
    w = np.ones(3)
    with pytest.raises(ValueError, match=r"^gamma: expected"):
        getattr(fastreg, name)(w, np.ones(3), *FUNCTIONS[name], gamma=gamma, mode="proximal")
    assert (w == 1).all()
    with pytest.raises(ValueError, match=r"^gamma: expected"):
        fastreg.SGD(w, 0.1, gamma=gamma)
    with pytest.raises(ValueError, match=r"^gamma: expected"):
        fastreg.l1_penalty(w, 0.1, gamma=gamma)


@pytest.mark.parametrize("implementation", [fastreg, reference], ids=["fastreg", "reference"])
@pytest.mark.parametrize("mode", ["decoupled", "truncated"])
def test_modes_without_a_meaning_are_refused(implementation, mode):
    w = np.ones(3)
    for name, strengths in FUNCTIONS.items():
        with pytest.raises(ValueError, match=rf"^gamma: expected inf with mode='{mode}'"):
            getattr(implementation, name)(w, np.ones(3), *strengths, gamma=3.0, mode=mode)
    assert (w == 1).all()


def test_optimizers_refuse_modes_without_a_meaning_also_when_settings_change():
    for make in (
        lambda **o: fastreg.SGD(np.ones(3), 0.1, mode="truncated", **o),
        lambda **o: fastreg.Lion(np.ones(3), **o),
    ):
        make()
        with pytest.raises(ValueError, match=r"^gamma: expected inf with mode="):
            make(gamma=3.0)
    group = fastreg.SGD(np.ones(3), 0.1, l1=0.5, gamma=3.0).param_groups[0]
    with pytest.raises(ValueError, match=r"^gamma: expected inf with mode='decoupled'"):
        group["mode"] = "decoupled"
    group.update(mode="decoupled", gamma=np.inf)
    with pytest.raises(ValueError, match=r"^gamma: expected inf"):
        group["gamma"] = 3.0


def test_gamma_is_a_setting_of_groups_and_is_saved():
    def make():
        return fastreg.Adam([{"params": [np.ones(4)], "gamma": 2.0}, {"params": [np.ones(4)]}], 0.1, l1=0.5)

    optimizer = make()
    optimizer.param_groups[1]["gamma"] = 4.0
    other = make()
    other.load_state_dict(optimizer.state_dict())
    assert [group["gamma"] for group in other.param_groups] == [2.0, 4.0]
    assert optimizer.penalty(by="group") == [fastreg.l1_penalty(np.ones(4), 0.5, gamma=g) for g in (2.0, 4.0)]


def test_a_state_file_from_before_mcp_can_be_loaded():
    optimizer = fastreg.Adam(np.ones(4), 0.1, l1=0.5)
    optimizer.step(np.ones(4))
    saved = optimizer.state_dict()
    del saved["group.0.gamma"]
    other = fastreg.Adam(np.ones(4), 0.2)
    other.load_state_dict(saved)
    assert (other.completed, other.param_groups[0]["l1"], other.param_groups[0]["gamma"]) == (1, 0.5, np.inf)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_a_step_just_below_gamma_makes_no_weight_grow(dtype):
    w, _ = values(dtype, 10_000)
    lr = np.nextafter(dtype(1), dtype(0))
    for _ in range(5):
        x = w.copy()
        fastreg.l1_update(x, np.zeros_like(x), float(lr), 0.7, gamma=1.0, mode="proximal")
        assert (np.abs(x) <= np.abs(w)).all()
        lr = np.nextafter(lr, dtype(0))


@pytest.mark.parametrize("cls", [fastreg.AdamW, fastreg.Lion])
def test_decoupled_optimizers_refuse_it(cls):
    with pytest.raises(ValueError, match=r"^gamma: expected inf with mode='decoupled'"):
        cls(np.ones(3), gamma=3.0)


def test_a_state_file_that_lacks_one_gamma_is_refused():
    def make():
        return fastreg.SGD([{"params": np.ones(2)}, {"params": np.ones(2)}], gamma=2.0)

    saved = make().state_dict()
    del saved["group.1.gamma"]
    with pytest.raises(ValueError, match=r"lacks \['group.1.gamma'\]"):
        make().load_state_dict(saved)
    del saved["group.0.gamma"]
    other = make()
    other.load_state_dict(saved)
    assert [group["gamma"] for group in other.param_groups] == [np.inf, np.inf]
