"""The benchmark that users run: peers do the rule that they are timed for, and what is printed is what was measured.

No time is asserted.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cases import assert_same_bits
from optimizer_cases import DIRECTIONS

import fastreg
from fastreg.__main__ import main
from fastreg._registry import OPTIMIZERS, RULES
from fastreg.bench import cases, machine, measure, peers

TINY = ["--sizes", "1,100", "--seconds", "0.1", "--rule", "elastic_net-proximal"]
WITHOUT_COMPILERS = ["--peer", "NumPy", "--peer", "NumPy out=", "--peer", "axpy", "--peer", "C loop"]
QUICK = ("axpy", "C traffic", "NumPy", "NumPy out=", "numexpr")
SLOW = ("C loop", "numba", "jax", "torch", "torch.compile")  # they compile every rule: some will do
SOME = ("elastic_net-proximal", "l2-subgradient", "Adam:l2-decoupled", "FTRL:elastic_net-proximal")


@pytest.fixture(autouse=True)
def _threads_as_before(monkeypatch):
    """The benchmark asks the libraries of its process for one thread; that of the tests goes on."""
    for name in (*machine.THREADS, "NPROC", "XLA_FLAGS"):
        monkeypatch.setenv(name, os.environ.get(name, "1" if name != "XLA_FLAGS" else ""))


def python(folder, *arguments):
    """This package in a fresh interpreter, in another folder."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastreg.__file__).parents[1])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment, **pipes)


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
def test_a_peer_does_what_the_reference_does(name, dtype):
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
@pytest.mark.filterwarnings("ignore")  # of the libraries
def test_a_compiled_peer_does_what_the_reference_does(name, rule, dtype):
    try:
        peers.check(name, cases.Case.named(rule), dtype)
    except peers.Skip as reason:
        pytest.skip(str(reason))


def test_a_peer_that_does_another_rule_is_found_out(monkeypatch):
    wrong = peers.PEERS["NumPy"]._replace(
        prepare=lambda case, arrays, lr: peers.PEERS["axpy"].prepare(case, arrays, lr)
    )
    monkeypatch.setitem(peers.PEERS, "wrong", wrong)
    pytest.importorskip("scipy")
    with pytest.raises(AssertionError, match="wrong does not compute l1-proximal in float64"):
        peers.check("wrong", cases.Case.named("l1-proximal"), "float64")


def test_weights_stay_where_they_are_when_steps_repeat():
    case = cases.Case.named("Adam:elastic_net-proximal")
    arrays = cases.workload(case, 100, "float32")
    before = arrays["w"].copy()
    step = peers.function(peers.prepare("fastreg", case, arrays))
    for _ in range(1000):
        step()
    assert_same_bits(arrays["w"], before)


# -- The clock --------------------------------------------------------------------------------------------------------


def test_all_take_turns():
    order = []
    statements = {name: peers.Prepared(f"seen({name!r})", {"seen": order.append}, None) for name in "ab"}
    series = measure.time_interleaved(statements, 1.0, min_rounds=3, max_rounds=3, block=0.0)
    assert "".join(order)[-6:] == "ababab"
    assert {name: len(own.seconds) for name, own in series.items()} == {"a": 3, "b": 3}


def test_ratios_are_taken_within_rounds():
    ratio = measure.ratio(measure.Series([2.0, 20.0, float("nan")]), measure.Series([1.0, 10.0, 1.0]))
    assert ratio == measure.Ratio(2.0, 2.0, 2.0, 2)


@pytest.mark.parametrize(("low", "high", "expected"), [(1.2, 1.3, "faster"), (0.7, 0.8, "slower"), (0.9, 1.2, "tie")])
def test_verdicts(low, high, expected):
    assert measure.verdict(measure.Ratio((low + high) / 2, low, high, 5), 0.05) == expected


def test_noise_is_what_fastreg_differs_from_itself():
    assert measure.noise(measure.Ratio(1.0, 0.9, 1.05, 9)) == pytest.approx(0.1)
    assert measure.noise(measure.Ratio(1.0, 1.0, 1.0, 9)) == 0.01


# -- The machine ------------------------------------------------------------------------------------------------------


def test_sizes_grow_from_level_to_level():
    sizes = [machine.bytes_at(level, 2)[0] for level in machine.LEVELS]
    assert sizes == sorted(sizes)


def test_dram_is_capped_by_memory_and_says_so(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 100 << 20)
    monkeypatch.setattr(machine, "caches", lambda: {3: 32 << 20})
    size, note = machine.bytes_at("DRAM", 2)
    assert 2 * size <= 60 << 20
    assert "not 4 times the last cache (32 MiB)" in note


def test_one_thread_is_asked_for_once():
    environment = {"XLA_FLAGS": "--xla_else"}
    machine.single_thread(environment)
    first = dict(environment)
    machine.single_thread(environment)
    assert environment == first
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["XLA_FLAGS"].startswith("--xla_else ")


# -- The command line -------------------------------------------------------------------------------------------------


def test_a_short_run_prints_its_tables_and_writes_its_picture(tmp_path, capsys):
    for name in ("matplotlib", "rich"):
        pytest.importorskip(name)
    assert main(["bench", *TINY, *WITHOUT_COMPILERS, "--out", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out
    for text in ("elastic_net-proximal", "fastreg", "NumPy out=", "100", "processor", "noise"):
        assert text in printed
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["speed.png"]
    assert (tmp_path / "a" / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_all_that_is_printed(tmp_path, capsys, monkeypatch):
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


def test_peers_that_cannot_take_part_are_named(capsys):
    assert main(["bench", *TINY, "--peer", "NumPy", "--peer", "torch", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (skipped,) = result["skipped"]
    assert skipped["implementation"] == "torch"
    assert skipped["reason"] in ("torch is not installed", "torch.optim has no such rule")


def test_sizes_beyond_memory_are_left_out(capsys, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 20_000)
    assert main(["bench", *TINY, "--sizes", "1,1e3", "--peer", "NumPy", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {entry["size"] for entry in result["results"]} == {1}
    assert [(skip["size"], skip["implementation"]) for skip in result["skipped"]] == [(1000, None)]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--rule", "l3-proximal"),
        ("--rule", "Lion:l1-proximal"),
        ("--peer", "fortran"),
        ("--peer", "reference"),
        ("--sizes", "0"),
        ("--sizes", "1.5"),
        ("--sizes", "many"),
        ("--seconds", "nan"),
        ("--dtype", "float16"),
    ],
)
def test_bad_options(option, value, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main(["bench", "--out", str(tmp_path), option, value])
    assert error.value.code == 2
    printed = capsys.readouterr().err
    assert f"argument {option}" in printed
    assert repr(value) in printed


@pytest.mark.parametrize("missing", ["matplotlib", "rich"])
def test_a_missing_extra_names_the_command(missing, tmp_path):
    code = f"import sys; sys.modules[{missing!r}] = None; from fastreg.__main__ import main; sys.exit(main())"
    running = python(tmp_path, "-c", code, "bench")
    printed, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert f"python -m pip install {missing}\n" in errors
    assert "Traceback" not in errors
    assert printed == ""
    assert list(tmp_path.iterdir()) == []


def test_json_and_help_need_no_extra(tmp_path):
    missing = ("matplotlib", "rich", "scipy", "sklearn")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing})); from fastreg.__main__ import main; sys.exit(main())"
    )
    for arguments in (["--help"], [*TINY, "--peer", "NumPy", "--peer", "axpy", "--json"]):
        running = python(tmp_path, "-c", code, "bench", *arguments)
        printed, errors = running.communicate(timeout=60)
        assert running.returncode == 0, errors
        assert "--seconds" in printed or json.loads(printed)["skipped"][0]["reason"].endswith("is not installed")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child process")
def test_an_interrupt_leaves_nothing_half_written(tmp_path):
    for name in ("matplotlib", "rich"):
        pytest.importorskip(name)
    running = python(tmp_path, "-u", "-m", "fastreg", "bench", *WITHOUT_COMPILERS, "--sizes", "1000000", "--out", ".")
    while "peers" not in running.stdout.readline():
        assert running.poll() is None
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_workloads_differ_array_by_array():
    arrays = cases.workload(cases.Case.named("AMSGrad:l2-subgradient"), 1000, "float64")
    assert list(arrays) == list(cases.ARRAYS)
    values = list(arrays.values())
    assert not any(np.array_equal(a, b) for i, a in enumerate(values) for b in values[:i])
    assert all(np.all(state > 0) for state in values[2:])
