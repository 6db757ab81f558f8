"""The benchmark for users: each peer computes its rule, and the report shows what was measured. No time is asserted."""

import json
import os

import numpy as np
import pytest
from cases import assert_same_bits
from optimizer_cases import DIRECTIONS

import fastreg
from fastreg.__main__ import main
from fastreg._registry import OPTIMIZERS, RULES
from fastreg.bench import cases, compare, machine, measure, peers

TINY = ["--sizes", "1,100", "--seconds", "0.1", "--rule", "elastic_net-proximal"]
WITHOUT_COMPILERS = ["--peer", "NumPy", "--peer", "NumPy out=", "--peer", "axpy", "--peer", "C loop"]
QUICK = ("axpy", "C traffic", "NumPy", "NumPy out=", "numexpr")
SLOW = ("C loop", "numba", "jax", "torch", "torch.compile")  # they compile, so they are tested with SOME rules only
SOME = ("elastic_net-proximal", "l2-subgradient", "Adam:l2-decoupled", "FTRL:elastic_net-proximal")


@pytest.fixture(autouse=True)
def _restore_environment(monkeypatch):
    """The benchmark limits the libraries of its process to one thread; other tests must not be affected."""
    for name in (*machine.THREADS, "NPROC", "XLA_FLAGS"):
        monkeypatch.setenv(name, os.environ.get(name, "1" if name != "XLA_FLAGS" else ""))


# -- The cases --------------------------------------------------------------------------------------------------------


def test_every_rule_and_direction_of_the_registry_is_a_case():
    assert [case.name for case in cases.CASES if case.direction == "Plain"] == list(RULES)
    assert list(cases.DIRECTIONS) == list(OPTIMIZERS)
    for direction in OPTIMIZERS:
        if direction != "FTRL":
            assert set(cases.modes_of(direction)) == set(DIRECTIONS[direction].modes)
    for case in cases.CASES:
        assert cases.Case.named(case.name) == case


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["fastreg", *QUICK])
def test_peers_agree_with_the_reference(name, dtype):
    done = 0
    for case in cases.CASES:
        try:
            peers.check(name, case, dtype)
            done += 1
        except peers.Skip as reason:
            last = reason
    if not done:
        pytest.skip(str(last))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", SOME)
@pytest.mark.parametrize("name", SLOW)
@pytest.mark.filterwarnings("ignore")  # warnings of the libraries
def test_compiled_peers_agree_with_the_reference(name, rule, dtype):
    try:
        peers.check(name, cases.Case.named(rule), dtype)
    except peers.Skip as reason:
        pytest.skip(str(reason))


def test_check_fails_for_a_peer_that_computes_another_rule(monkeypatch):
    wrong = peers.PEERS["NumPy"]._replace(
        prepare=lambda case, arrays, lr: peers.PEERS["axpy"].prepare(case, arrays, lr)
    )
    monkeypatch.setitem(peers.PEERS, "wrong", wrong)
    pytest.importorskip("scipy")
    with pytest.raises(AssertionError, match="wrong does not compute l1-proximal in float64"):
        peers.check("wrong", cases.Case.named("l1-proximal"), "float64")


def test_repeated_steps_do_not_change_the_weights():
    case = cases.Case.named("Adam:elastic_net-proximal")
    arrays = cases.workload(case, 100, "float32")
    before = arrays["w"].copy()
    step = peers.function(peers.prepare("fastreg", case, arrays))
    for _ in range(1000):
        step()
    assert_same_bits(arrays["w"], before)


# -- Timing -----------------------------------------------------------------------------------------------------------


def test_statements_are_interleaved():
    order = []
    statements = {name: peers.Prepared(f"seen({name!r})", {"seen": order.append}, None) for name in "ab"}
    series = measure.time_interleaved(statements, 1.0, min_rounds=3, max_rounds=3, block=0.0)
    assert "".join(order)[-6:] == "ababab"
    assert {name: len(timed.seconds) for name, timed in series.items()} == {"a": 3, "b": 3}


def test_ratios_are_computed_within_rounds():
    ratio = measure.ratio(measure.Series([2.0, 20.0, float("nan")]), measure.Series([1.0, 10.0, 1.0]))
    assert ratio == measure.Ratio(2.0, 2.0, 2.0, 2)


@pytest.mark.parametrize(("low", "high", "expected"), [(1.2, 1.3, "faster"), (0.7, 0.8, "slower"), (0.9, 1.2, "tie")])
def test_verdict(low, high, expected):
    assert measure.verdict(measure.Ratio((low + high) / 2, low, high, 5), 0.05) == expected


def test_noise_is_the_difference_of_fastreg_to_itself():
    assert measure.noise(measure.Ratio(1.0, 0.9, 1.05, 9)) == pytest.approx(0.1)
    assert measure.noise(measure.Ratio(1.0, 1.0, 1.0, 9)) == 0.01


# -- The machine ------------------------------------------------------------------------------------------------------


def test_sizes_increase_with_the_memory_level():
    sizes = [machine.bytes_at(level, 2)[0] for level in machine.LEVELS]
    assert sizes == sorted(sizes)


def test_dram_size_is_limited_by_memory_with_a_note(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 100 << 20)
    monkeypatch.setattr(machine, "caches", lambda: {3: 32 << 20})
    size, note = machine.bytes_at("DRAM", 2)
    assert 2 * size <= 60 << 20
    assert "not 4 times the last cache (32 MiB)" in note


def test_single_thread_is_idempotent():
    environment = {"XLA_FLAGS": "--xla_else"}
    machine.single_thread(environment)
    first = dict(environment)
    machine.single_thread(environment)
    assert environment == first
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["XLA_FLAGS"].startswith("--xla_else ")


# -- Runs from the command line ---------------------------------------------------------------------------------------


def test_a_short_run_prints_tables_and_writes_a_picture(tmp_path, capsys):
    for name in ("matplotlib", "rich"):
        pytest.importorskip(name)
    assert main(["bench", *TINY, *WITHOUT_COMPILERS, "--out", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out
    for text in ("elastic_net-proximal", "fastreg", "NumPy out=", "100", "processor", "noise"):
        assert text in printed
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["speed.png"]
    assert (tmp_path / "a" / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_the_only_output(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *TINY, *WITHOUT_COMPILERS, "--dtype", "float32", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"schema", "machine", "versions", "dtype", "results", "skipped"}
    assert (result["schema"], result["dtype"]) == (1, "float32")
    assert result["versions"]["fastreg"] == fastreg.__version__
    assert {entry["size"] for entry in result["results"]} == {1, 100}
    assert {"fastreg", "NumPy", "NumPy out="} <= {entry["implementation"] for entry in result["results"]}
    for entry in result["results"]:
        assert entry["seconds"] > 0
        assert entry["low"] <= entry["ratio"] <= entry["high"]
        assert entry["rounds"] >= 2
        assert entry["verdict"] in ("faster", "slower", "tie", None)
        assert (entry["verdict"] is None) == (entry["implementation"] == "fastreg")
    assert list(tmp_path.iterdir()) == []


def test_skipped_peers_are_reported(capsys):
    assert main(["bench", *TINY, "--peer", "NumPy", "--peer", "torch", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (skipped,) = result["skipped"]
    assert skipped["implementation"] == "torch"
    assert skipped["reason"] in ("torch is not installed", "torch.optim has no such rule")


def test_an_unknown_rule_is_answered_with_all_rules(capsys):
    with pytest.raises(SystemExit):
        main(["bench", *TINY, "--rule", "l3-proximal", "--json"])
    printed = capsys.readouterr().err
    for name in ("l1-subgradient", "elastic_net-proximal", "Adam:", "AMSGrad:", "after Lion: with decoupled"):
        assert name in printed
    assert "got 'l3-proximal'" in printed


def test_a_named_peer_that_is_not_installed_is_told_before_the_measurement(capsys, monkeypatch):
    assert not compare.is_installed("a_module_that_nobody_has.part")
    assert compare.is_installed("json")
    monkeypatch.setattr(compare, "is_installed", lambda module: module != "numba")
    monkeypatch.setattr(compare, "run", lambda settings, progress: pytest.fail("measured"))
    with pytest.raises(SystemExit):
        main(["bench", *TINY, "--peer", "numba", "--json"])
    printed = capsys.readouterr().err
    assert "not installed: numba; python -m pip install numba" in printed
    assert "argument --peer: expected a peer that is installed, got numba" in printed
    monkeypatch.setattr(compare, "run", lambda settings, progress: {"results": []})
    assert main(["bench", *TINY, "--peer", "numba", "--peer", "NumPy", "--json"]) == 0
    assert "not installed: numba" in capsys.readouterr().err


def test_what_is_not_measured_is_one_line_for_each_reason():
    pytest.importorskip("matplotlib")
    from fastreg.bench import report

    def skip(rule, name, reason, size=None):
        return {"rule": rule, "implementation": name, "size": size, "reason": reason}

    rules = "a", "b"
    skipped = [skip(r, n, f"{m} is not installed") for r in rules for n, m in (("x", "m"), ("y", "m"), ("z", "n"))]
    skipped += [skip("a", "p", "no such rule"), skip("b", "p", "no such rule"), skip("a", "q", "no such rule")]
    skipped += [skip(r, None, "too large", 10**8) for r in rules]
    lines = [line.plain for line in report.skipped({"results": [], "skipped": skipped})]
    assert lines == [
        "Not installed: x, y, z (python -m pip install m n).",
        "Not measured: p, q for a (no such rule).",
        "Not measured with 1e8 weights: all implementations (too large).",
    ]


def test_sizes_beyond_memory_are_skipped(capsys, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 20_000)
    assert main(["bench", *TINY, "--sizes", "1,1e3", "--peer", "NumPy", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {entry["size"] for entry in result["results"]} == {1}
    assert [(skip["size"], skip["implementation"]) for skip in result["skipped"]] == [(1000, None)]


def test_arrays_of_a_workload_differ():
    arrays = cases.workload(cases.Case.named("AMSGrad:l2-subgradient"), 1000, "float64")
    assert list(arrays) == list(cases.ARRAYS)
    values = list(arrays.values())
    assert not any(np.array_equal(a, b) for i, a in enumerate(values) for b in values[:i])
    assert all(np.all(state > 0) for state in values[2:])
