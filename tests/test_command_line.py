"""The command line: options, missing libraries, interrupts and the configuration."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastreg
from fastreg.__main__ import main
from fastreg._boundary.config import describe_threads

EXTRAS = {"demo": ("sklearn", "matplotlib", "rich"), "bench": ("matplotlib", "rich")}
LIBRARIES = ("matplotlib", "rich", "scipy", "sklearn")


def start(folder, *arguments):
    """A new interpreter with this package, in another folder: the checkout must not replace an installed package."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastreg.__file__).parents[1])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment, **pipes)


def run_without(modules, folder, *arguments):
    """Run the command line in a new interpreter that cannot import the modules; returns status, output and errors."""
    code = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"
    code += "; from fastreg.__main__ import main; sys.exit(main())"
    process = start(folder, "-c", code, *arguments)
    printed, errors = process.communicate(timeout=60)
    return process.returncode, printed, errors


# -- Options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("demo", "--l1", "-1"),
        ("demo", "--l1", "nan"),
        ("demo", "--l2", "inf"),
        ("demo", "--l2", "much"),
        ("demo", "--epochs", "0"),
        ("demo", "--epochs", "1.5"),
        ("demo", "--seed", "-1"),
        ("demo", "--seed", str(2**32)),
        ("demo", "--label-noise", "1"),
        ("demo", "--label-noise", "-0.1"),
        ("demo", "--penalty", "l3"),
        ("bench", "--rule", "l3-proximal"),
        ("bench", "--rule", "Lion:l1-proximal"),
        ("bench", "--peer", "fortran"),
        ("bench", "--peer", "reference"),
        ("bench", "--sizes", "0"),
        ("bench", "--sizes", "1.5"),
        ("bench", "--sizes", "many"),
        ("bench", "--seconds", "nan"),
        ("bench", "--dtype", "float16"),
    ],
)
def test_invalid_values_are_errors_that_name_the_option(command, option, value, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))  # the benchmark limits the threads of its process
    with pytest.raises(SystemExit) as error:
        main([command, "--out", str(tmp_path), option, value])
    assert error.value.code == 2
    printed = capsys.readouterr().err
    assert f"argument {option}" in printed
    assert repr(value) in printed


@pytest.mark.parametrize("command", EXTRAS)
def test_a_folder_that_cannot_be_created_is_an_error_before_the_work(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in EXTRAS[command]:
        pytest.importorskip(name)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit) as error:
        main([command, "--out", str(file)])
    assert error.value.code == 2
    captured = capsys.readouterr()
    assert "argument --out" in captured.err
    assert captured.out == ""


# -- Libraries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "missing"), [(command, name) for command in EXTRAS for name in EXTRAS[command]])
def test_the_error_for_a_missing_library_names_the_command_that_installs_it(command, missing, tmp_path):
    status, printed, errors = run_without([missing], tmp_path, command)
    assert status == 1
    assert f"python -m pip install {missing.replace('sklearn', 'scikit-learn')}\n" in errors
    assert f'python -m pip install -e ".[{command}]"' in errors
    assert "Traceback" not in errors
    assert printed == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "demo"),
        (["--version"], fastreg.__version__),
        (["demo", "--help"], "--label-noise"),
        (["bench", "--help"], "--seconds"),
    ],
)
def test_help_and_version_need_no_extra_library(arguments, expected, tmp_path):
    status, printed, errors = run_without(LIBRARIES, tmp_path, *arguments)
    assert status == 0, errors
    assert expected in printed


def test_json_needs_no_extra_library(tmp_path):
    options = ["--sizes", "1,100", "--seconds", "0.1", "--rule", "elastic_net-proximal", "--peer", "NumPy"]
    status, printed, errors = run_without(LIBRARIES, tmp_path, "bench", *options, "--peer", "axpy", "--json")
    assert status == 0, errors
    assert json.loads(printed)["skipped"][0]["reason"].endswith("is not installed")


def test_output_in_an_ascii_encoding_is_no_error(tmp_path, monkeypatch):
    for name in EXTRAS["bench"]:
        pytest.importorskip(name)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    options = ["--sizes", "1", "--seconds", "0.1", "--rule", "l2-subgradient", "--peer", "NumPy"]
    process = start(tmp_path, "-m", "fastreg", "bench", *options)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert printed.isascii()


# -- Interrupts and configuration -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child process")
@pytest.mark.parametrize(
    ("command", "title", "options"),
    [
        ("demo", "Handwritten", []),
        ("bench", "peers", ["--peer", "NumPy", "--peer", "C loop", "--sizes", "1000000"]),
    ],
)
def test_an_interrupt_leaves_no_incomplete_file(command, title, options, tmp_path):
    for name in EXTRAS[command]:
        pytest.importorskip(name)
    process = start(tmp_path, "-u", "-m", "fastreg", command, *options, "--out", ".")
    while title not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_config_prints_the_output_of_show_config(capsys):
    assert main(["config"]) == 0
    printed = capsys.readouterr().out
    fastreg.show_config()
    assert printed == capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "origin", "processors", "expected"),
    [
        (
            1,
            None,
            2,
            "up to 1 (the default; FASTREG_NUM_THREADS or set_num_threads changes it; this process may run on 2 ",
        ),
        (2, "set_num_threads", 4, "up to 2 (set by set_num_threads; this process may run on 4 processors)"),
        (
            8,
            "FASTREG_NUM_THREADS",
            1,
            "up to 1 (8 set by FASTREG_NUM_THREADS, but this process may run on 1 processor)",
        ),
    ],
)
def test_the_configuration_tells_how_many_threads_are_used(number, origin, processors, expected):
    assert describe_threads(number, origin, processors).startswith(expected)


def test_importing_sources_that_are_not_built_tells_how_to_build_them(tmp_path):
    source = Path(fastreg.__file__).parent
    compiled = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "*.pyx", "*.pxi")
    shutil.copytree(source, tmp_path / "fastreg", ignore=compiled)
    code = "import fastreg"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: fastreg: expected its compiled modules in" in done.stderr
    assert "python -m pip install -e ." in done.stderr
