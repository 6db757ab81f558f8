"""The registry is complete: core, reference, tests and benchmarks have the same rules and directions."""

import importlib
import inspect
import os
import re
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from cases import AXIS, NUMBERS, PENALTIES, SOURCE, UPDATES
from lazy_cases import CASES
from optimizer_cases import DIRECTIONS

import fastreg
from fastreg import _registry, reference
from fastreg._registry import RULES
from fastreg.bench.peers import PEERS

TEXTS = {
    name: files("fastreg").joinpath(name).read_text(encoding="utf-8")
    for name in ("structs.pxd", "rules.pxd", "groups.pxd", "catch_up.pxd", "losses.pxd", "_kernels/table.pxd")
}
BENCHMARKS = SOURCE / "benchmarks"


def members(kind, name, text):
    """The names in the block of a `ctypedef fused` or a `cdef enum`, in order."""
    block = re.search(rf"^{kind} {name}:.*\n((?:    .+\n|\n(?=    ))+)", text, re.MULTILINE)[1]
    return [line.split("#")[0].strip() for line in block.splitlines() if line.strip()]


def fused(name):
    """The members of a fused type of structs.pxd, those of fused types in it included."""
    found = []
    for member in members("ctypedef fused", name, TEXTS["structs.pxd"]):
        is_fused = f"ctypedef fused {member}:" in TEXTS["structs.pxd"]
        found += fused(member) if is_fused else [member]
    return found


def fields(struct, name="structs.pxd"):
    """The fields of a struct; C has no empty struct, hence `tag`."""
    return [line.split()[-1] for line in members("cdef struct", struct, TEXTS[name]) if line.split()[-1] != "tag"]


def test_the_modes_of_the_core_are_those_of_the_reference():
    assert members("ctypedef fused", "Mode", TEXTS["structs.pxd"]) == [
        mode.__name__ for mode in reference.MODES.values()
    ]


def test_the_directions_of_the_core_are_those_of_the_reference():
    assert sorted(fused("Direction")) == sorted(reference.DIRECTIONS)
    assert [direction.__name__ for direction in reference.DIRECTIONS.values()] == list(reference.DIRECTIONS)


def test_only_directions_with_one_step_size_for_all_coordinates_have_the_truncated_mode():
    assert {name for name in DIRECTIONS if "truncated" in reference.MODES_OF[name]} == set(fused("Linear"))
    assert {name: case.modes for name, case in DIRECTIONS.items()} == {n: reference.MODES_OF[n] for n in DIRECTIONS}


def test_the_codes_of_the_directions_have_the_order_of_the_reference():
    """FTRL's code and its struct have different names, since C could not distinguish them."""
    codes = members("cdef enum", "DirectionCode", TEXTS["_kernels/table.pxd"])
    assert [code.removesuffix("_PROXIMAL") for code in codes] == [name.upper() for name in reference.DIRECTIONS]


def test_every_direction_has_a_place_in_a_task():
    union = members("cdef union", "AnyDirection", TEXTS["_kernels/table.pxd"])
    assert union == [f"{name} {name.lower()}" for name in reference.DIRECTIONS]


@pytest.mark.parametrize("name", reference.DIRECTIONS)
def test_the_fields_of_a_direction_are_doubles_as_the_boundary_fills_them_in(name):
    lines = members("cdef struct", name, TEXTS["structs.pxd"])
    assert lines
    assert all(line.split()[:-1] == ["double"] for line in lines)


def test_the_codes_of_the_modes_have_the_order_of_the_reference():
    assert members("cdef enum", "ModeCode", TEXTS["_kernels/table.pxd"]) == [mode.upper() for mode in reference.MODES]


@pytest.mark.parametrize("kind", ["Direction", "Mode", "Penalty"])
def test_every_struct_of_the_core_has_a_twin_with_its_fields_in_the_reference(kind):
    names = fused(kind)
    assert names
    for name in names:
        assert list(getattr(reference, name)._fields) == fields(name)


def test_the_codes_of_the_penalties_have_the_order_of_the_reference():
    codes = members("cdef enum", "PenaltyCode", TEXTS["_kernels/table.pxd"])
    names = [code.removesuffix("_PENALTY").replace("_", "") for code in codes]
    assert names == [name.upper() for name in reference.PENALTIES]
    union = members("cdef union", "AnyPenalty", TEXTS["_kernels/table.pxd"])
    assert [line.split()[0] for line in union] == list(reference.PENALTIES)


def test_the_codes_of_the_losses_have_the_order_of_the_reference():
    codes = members("cdef enum", "LossCode", TEXTS["losses.pxd"])
    assert codes == [name.upper() for name in reference.losses.LOSSES]


LAZY = {"Clock", "Stamp", "Missed"}  # what steps without a gradient are computed from


@pytest.mark.parametrize("name", sorted(LAZY))
def test_the_structs_of_lazy_steps_have_a_twin_with_their_fields(name):
    assert list(getattr(reference, name)._fields) == fields(name)


def test_every_direction_with_a_closed_form_has_a_lazy_class():
    names = members("ctypedef fused", "Lazy", TEXTS["structs.pxd"])
    assert set(reference.LAZY_MODES_OF) == set(names)
    lazy = {name for name in fastreg.__all__ if name.startswith("Lazy")}
    assert {getattr(fastreg, name)._direction.__name__ for name in lazy} == set(names)
    assert {case.lazy.__name__ for case in CASES.values()} == lazy


def test_the_kernels_keep_the_state_that_the_optimizers_do():
    """A direction that is missing from a list in structs.pxd would lose its state after every chunk."""
    counts = dict.fromkeys(reference.DIRECTIONS, 0)
    for count, kind in enumerate(("Stateless", "OneState", "TwoStates", "ThreeStates")):
        counts |= dict.fromkeys(fused(kind), count)
    for name, (optimizer, settings) in _registry.OPTIMIZERS.items():
        state = getattr(fastreg, optimizer)(np.ones(3), 0.1, **settings).state["0"]
        assert counts.pop(name) == len(state)
    assert not counts


def test_every_struct_of_the_reference_is_a_member_of_the_core():
    twins = {name for name, x in vars(reference).items() if inspect.isclass(x) and hasattr(x, "_fields")}
    members = {name for kind in ("Direction", "Mode", "Penalty") for name in fused(kind)}
    assert twins == members | LAZY


@pytest.mark.parametrize("file", ["rules.pxd", "groups.pxd", "catch_up.pxd", "losses.pxd"])
def test_every_scalar_function_of_the_core_has_a_twin_in_the_reference(file):
    """A function, or a method of directions or penalties; NumPy has some under other names, and sums by itself."""
    names = re.findall(r"^cdef inline \w+ (\w+)\(", TEXTS[file], re.MULTILINE)
    places = reference, reference.groups, reference.losses, reference.Plain, reference.ElasticNet
    assert names
    parts = tuple(f"{penalty.lower()}_" for penalty in reference.PENALTIES)  # of a penalty's functions
    alone = {name for name in names if not name.startswith(parts) and not any(hasattr(x, name) for x in places)}
    elementary = {"log", "log_1_plus_exp", "log_sum_exp", "log1p_unit", "exp_negative", "power_of_2"}
    assert alone <= {"absolute", "root", "add_moments", "add_slopes", "is_improved"} | elementary


def test_every_public_update_is_in_the_registry_in_every_mode():
    """The registry drives the tests, so a rule that it lacks would not be tested."""
    listed = {(f"{rule.penalty}_update", rule.mode) for rule in RULES.values()}
    assert listed == {(name, mode) for name in UPDATES.keys() - AXIS.keys() for mode in reference.MODES}


def test_every_rule_is_found_under_its_name():
    for name, rule in RULES.items():
        assert name == rule.name
        assert callable(rule.function(fastreg))
        assert callable(rule.function(reference))


STRENGTHS = ("lr", "l1", "l2", "l21")


@pytest.mark.parametrize("name", UPDATES | PENALTIES)
def test_every_function_takes_the_strengths_that_the_registry_lists(name):
    penalty, kind = name.rsplit("_", 1)
    strengths = list((_registry.PENALTIES | _registry.GROUP_PENALTIES)[penalty])
    assert NUMBERS[name] == (["lr"] if kind == "update" else []) + strengths
    assert [p for p in inspect.signature(getattr(fastreg, name)).parameters if p in STRENGTHS] == NUMBERS[name]


def test_every_public_name_is_an_update_a_penalty_an_optimizer_or_listed_here():
    classes = {name for name in fastreg.__all__ if inspect.isclass(getattr(fastreg, name))}
    optimizers = {name for name in classes if not issubclass(getattr(fastreg, name), Warning)}
    lazy = {case.lazy.__name__ for case in CASES.values()}
    assert lazy < optimizers
    assert all(issubclass(getattr(fastreg, name), fastreg.Optimizer) for name in optimizers - lazy)
    functions = (
        set(fastreg.__all__)
        - classes
        - {"clip_grad_norm", "convert", "get_num_threads", "path", "reference", "set_num_threads", "show_config"}
    )
    assert functions == set(UPDATES) | set(PENALTIES) == set(NUMBERS)
    assert all(hasattr(reference, name) for name in functions)
    assert len(set(fastreg.__all__)) == len(fastreg.__all__)


@pytest.fixture
def suite(monkeypatch):
    """Imports a module of the asv suite, which sets the libraries of its process to one thread."""
    if not (BENCHMARKS / "suite").is_dir():
        pytest.skip("the benchmarks are not in the folder of the tests")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: importlib.import_module(f"suite.{name}")


@pytest.mark.parametrize(
    ("module", "names"), [("updates", RULES), ("optimizers", _registry.OPTIMIZERS)], ids=["rules", "directions"]
)
def test_every_rule_and_direction_has_benchmarks_beside_every_implementation(suite, module, names):
    classes = [x for x in vars(suite(module)).values() if inspect.isclass(x) and hasattr(x, "params")]
    assert any(set(x.params[0]) == set(names) for x in classes)
    timed = [x for x in classes if x.param_names[1:] == ["implementation", "dtype", "level"]]
    assert {level for x in timed for level in x.params[3]} == {"L1", "L2", "L3", "DRAM"}
    for x in timed:
        assert set(names) <= set(x.params[0]) or "torch" in x.params[1]
        assert {"fastreg", "torch"} <= set(x.params[1]) <= set(PEERS)


def test_the_suite_takes_its_peers_from_this_checkout_and_not_from_the_measured_commit(suite):
    peers = suite("workload").peers
    assert peers.__name__ == "fastreg_bench.peers"
    assert list(peers.PEERS) == list(PEERS)
    assert Path(peers.__file__).parents[2] == BENCHMARKS.parent


@pytest.mark.parametrize("module", ["threads", "sparse", "linear"])
def test_benchmarks_of_names_that_a_commit_lacks_are_skipped(suite, module, monkeypatch):
    """asv skips a benchmark if its setup raises NotImplementedError; older commits lack these names."""
    for name in ("LazySGD", "LazyAdagrad", "LazyFTRL"):
        monkeypatch.delattr(fastreg, name, raising=False)
    monkeypatch.setattr(fastreg, "SGD", lambda w, lr: None)
    monkeypatch.setitem(sys.modules, "fastreg.linear", None)
    monkeypatch.delattr(fastreg, "linear", raising=False)
    benchmarks = [x for x in vars(suite(module)).values() if inspect.isclass(x) and hasattr(x, "params")]
    assert benchmarks
    for benchmark in benchmarks:
        with pytest.raises(NotImplementedError):
            benchmark().setup(*(values[0] for values in benchmark.params))
