"""The registry is complete: what the core declares, the reference names and the benchmarks measure is one list."""

import importlib
import inspect
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from cases import NUMBERS, PENALTIES, UPDATES
from optimizer_cases import DIRECTIONS

import fastreg
from fastreg import _registry, reference
from fastreg._registry import RULES

TEXTS = {name: files("fastreg").joinpath(name).read_text(encoding="utf-8") for name in ("rules.pxd", "_kernels.pxd")}
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def members(kind, name, text):
    """The names in the block of a `ctypedef fused` or a `cdef enum`, in order."""
    block = re.search(rf"^{kind} {name}:.*\n((?:    .+\n|\n(?=    ))+)", text, re.MULTILINE)[1]
    return [line.split("#")[0].strip() for line in block.splitlines() if line.strip()]


def fields(struct):
    """The fields of a struct of rules.pxd; C has no empty struct, hence `tag`."""
    return [
        line.split()[-1] for line in members("cdef struct", struct, TEXTS["rules.pxd"]) if line.split()[-1] != "tag"
    ]


def test_the_modes_of_the_core_are_those_of_the_reference():
    assert members("ctypedef fused", "Mode", TEXTS["rules.pxd"]) == [mode.__name__ for mode in reference.MODES.values()]


def test_the_directions_of_the_core_are_those_of_the_reference():
    assert members("ctypedef fused", "Direction", TEXTS["rules.pxd"]) == list(reference.DIRECTIONS)
    assert [direction.__name__ for direction in reference.DIRECTIONS.values()] == list(reference.DIRECTIONS)


@pytest.mark.parametrize("kind", ["Linear", "Adaptive"])
def test_directions_of_one_kind_have_the_modes_of_that_kind(kind):
    """Truncation needs a step size that all coordinates have in common."""
    names = members("ctypedef fused", kind, TEXTS["rules.pxd"])
    assert names
    for name in names:
        assert ("truncated" in DIRECTIONS[name].modes) == (kind == "Linear")
        assert {"subgradient", "decoupled", "proximal"} <= set(DIRECTIONS[name].modes)


def test_the_codes_of_the_directions_have_the_order_of_the_reference():
    """FTRL's has another name than its struct, which C could not tell apart."""
    codes = members("cdef enum", "DirectionCode", TEXTS["_kernels.pxd"])
    assert [code.removesuffix("_PROXIMAL") for code in codes] == [name.upper() for name in reference.DIRECTIONS]


def test_every_direction_has_a_place_in_a_task():
    union = members("cdef union", "AnyDirection", TEXTS["_kernels.pxd"])
    assert union == [f"{name} {name.lower()}" for name in reference.DIRECTIONS]


@pytest.mark.parametrize("name", reference.DIRECTIONS)
def test_the_fields_of_a_direction_are_doubles_as_the_boundary_fills_them_in(name):
    lines = members("cdef struct", name, TEXTS["rules.pxd"])
    assert lines
    assert all(line.split()[:-1] == ["double"] for line in lines)


def test_the_codes_of_the_modes_have_the_order_of_the_reference():
    assert members("cdef enum", "ModeCode", TEXTS["_kernels.pxd"]) == [mode.upper() for mode in reference.MODES]


@pytest.mark.parametrize("kind", ["Direction", "Mode", "Penalty"])
def test_every_struct_of_the_core_has_a_twin_with_its_fields_in_the_reference(kind):
    names = members("ctypedef fused", kind, TEXTS["rules.pxd"])
    assert names
    for name in names:
        assert list(getattr(reference, name)._fields) == fields(name)


def test_the_kernels_keep_the_state_that_the_optimizers_do():
    """A direction that is missing from a list of rules.pxd would lose its state after every chunk."""
    counts = dict.fromkeys(reference.DIRECTIONS, 0)
    for kind in ("OneState", "TwoStates", "ThreeStates"):
        for name in members("ctypedef fused", kind, TEXTS["rules.pxd"]):
            counts[name] += 1
    for name, (optimizer, settings) in _registry.OPTIMIZERS.items():
        state = getattr(fastreg, optimizer)(np.ones(3), 0.1, **settings).state["0"]
        assert counts.pop(name) == len(state)
    assert not counts


def test_every_struct_of_the_reference_is_a_member_of_the_core():
    twins = {name for name, x in vars(reference).items() if inspect.isclass(x) and hasattr(x, "_fields")}
    fused = {
        name
        for kind in ("Direction", "Mode", "Penalty")
        for name in members("ctypedef fused", kind, TEXTS["rules.pxd"])
    }
    assert twins == fused


def test_every_scalar_function_of_the_core_has_a_twin_in_the_reference():
    """Save the three that NumPy has under another name."""
    names = re.findall(r"^cdef inline \w+ (\w+)\(", TEXTS["rules.pxd"], re.MULTILINE)
    assert {"move", "follow", "step", "soft", "sign"} <= set(names)
    assert [name for name in names if not hasattr(reference, name)] == ["magnitude", "root", "square"]


def test_every_public_update_is_in_the_registry_in_every_mode():
    """The registry drives the tests, so a rule that it lacks would lack tests."""
    listed = {(f"{rule.penalty}_update", rule.mode) for rule in RULES.values()}
    assert listed == {(name, mode) for name in UPDATES for mode in reference.MODES}


def test_every_rule_is_found_under_its_name():
    for name, rule in RULES.items():
        assert name == rule.name
        assert callable(rule.function(fastreg))
        assert callable(rule.function(reference))


@pytest.mark.parametrize("name", UPDATES | PENALTIES)
def test_every_function_takes_the_strengths_that_the_registry_lists(name):
    penalty, kind = name.rsplit("_", 1)
    strengths = list(_registry.PENALTIES[penalty])
    assert NUMBERS[name] == (["lr"] if kind == "update" else []) + strengths
    assert [p for p in inspect.signature(getattr(fastreg, name)).parameters if p in ("lr", "l1", "l2")] == NUMBERS[name]


def test_every_public_name_is_an_update_a_penalty_an_optimizer_or_known_here():
    optimizers = {name for name in fastreg.__all__ if inspect.isclass(getattr(fastreg, name))}
    assert all(issubclass(getattr(fastreg, name), fastreg.Optimizer) for name in optimizers)
    functions = set(fastreg.__all__) - optimizers - {"clip_grad_norm", "convert", "reference", "show_config"}
    assert functions == set(UPDATES) | set(PENALTIES) == set(NUMBERS)
    assert all(hasattr(reference, name) for name in functions)
    assert sorted(fastreg.__all__, key=lambda name: (not name.isupper(), name)) == fastreg.__all__


def test_every_rule_has_a_benchmark(monkeypatch):
    if not (BENCHMARKS / "suite").is_dir():
        pytest.skip("the benchmarks do not lie beside these tests")
    monkeypatch.syspath_prepend(BENCHMARKS)
    updates = importlib.import_module("suite.updates")
    lists = [x.params[0] for x in vars(updates).values() if inspect.isclass(x) and hasattr(x, "params")]
    assert RULES.keys() <= {name for names in lists for name in names}
