"""The variants of the kernels: the same bits in each that this machine can run, the choice at import, show_config."""

import platform
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cases import TESTS, better_than, python, python_with
from digest import digest

import fastreg
from fastreg import reference
from fastreg._boundary import cpu, dispatch

VARIABLE = dispatch.VARIABLE
SHOW = "import fastreg; fastreg.show_config()"
CHOICE = """
import sys
from fastreg._boundary import dispatch
print(dispatch.name, *(name for name in sys.modules if name in dispatch.MODULES.values()))
"""
needs_avx2 = pytest.mark.skipif(
    "AVX2" not in dispatch.available(), reason="no AVX2: not built, or not in this processor"
)


@cache
def digest_of_reference():
    return digest(reference)


@pytest.mark.parametrize("variant", dispatch.MODULES)
def test_every_instruction_set_has_the_bits_of_the_reference(variant):
    result = python_with(variant, "-W", "error", str(TESTS / "digest.py"))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == [variant, digest_of_reference()]


def test_the_digest_depends_on_every_bit(monkeypatch):
    before = digest_of_reference()
    twin = reference.l2_update

    def changed(w, *args, **kwargs):
        twin(w, *args, **kwargs)
        if w.size == 10_007:
            w[-1] = np.nextafter(w[-1], w.dtype.type(np.inf))

    monkeypatch.setattr(reference, "l2_update", changed)
    assert digest(reference) != before


@pytest.mark.parametrize("variant", dispatch.MODULES)
def test_show_config_shows_the_chosen_instruction_set(variant):
    result = python_with(variant, "-W", "error", "-c", SHOW)
    assert (result.returncode, result.stderr) == (0, "")
    shown = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in result.stdout.splitlines())
    assert shown["instruction set chosen"] == variant
    assert shown["instruction sets available"] == ", ".join(dispatch.available())
    assert shown["NumPy"] == np.__version__
    assert shown["compiler"]
    assert "-ffp-contract=off" in shown["flags"] or "/fp:precise" in shown["flags"]
    assert "-ffast-math" not in shown["flags"]
    assert shown["disabled"] == (f"{better_than(variant)} (by {VARIABLE})" if better_than(variant) else "none")


def test_show_config_prints_and_returns_none(capsys):
    assert fastreg.show_config() is None
    out, err = capsys.readouterr()
    assert "fastreg" in out
    assert err == ""


def test_the_best_instruction_set_that_is_available_is_chosen():
    result = python("-W", "error", "-c", CHOICE)
    assert result.stdout.split()[0] == dispatch.available()[0], result.stderr


@needs_avx2
@pytest.mark.parametrize("value", ["AVX2", "avx2", " AVX2 ", "AVX2,AVX2", ",AVX2,", "AVX2 avx2"])
def test_a_disabled_instruction_set_is_not_imported(value):
    result = python("-W", "error", "-c", CHOICE, **{VARIABLE: value})
    assert result.stdout.split() == ["baseline", "fastreg._kernels.baseline"], result.stderr


@needs_avx2
@pytest.mark.parametrize("value", ["", " ", ","])
def test_an_empty_variable_disables_nothing(value):
    result = python("-W", "error", "-c", CHOICE, **{VARIABLE: value})
    assert result.stdout.split()[0] == "AVX2", result.stderr


@pytest.mark.parametrize("value", ["AVX9", "AVX2,AVX9", "avx-2", "SSE2;AVX9", "\udcff", "baseline", "9" * 5000, "ß"])
def test_an_unknown_feature_name_is_a_warning(value):
    result = python("-W", "always", "-c", SHOW, **{VARIABLE: value})
    assert result.returncode == 0
    assert re.search(rf"RuntimeWarning: {VARIABLE}: expected any of AVX2, got ", result.stderr)
    assert result.stderr.isascii()
    assert max(map(len, result.stderr.splitlines())) < 300
    assert re.search(
        rf"\bdisabled +{f'AVX2 .by {VARIABLE}.' if 'AVX2,' in value else 'none'}$", result.stdout, re.MULTILINE
    )
    assert python("-W", "error", "-c", SHOW, **{VARIABLE: value}).returncode == 1


def test_an_unknown_feature_name_gives_a_single_warning():
    result = python("-W", "always", "-c", SHOW, **{VARIABLE: "AVX9"})
    assert result.stderr.count("RuntimeWarning") == 1


def test_a_processor_without_features_gets_the_baseline(monkeypatch):
    monkeypatch.setattr(cpu, "features", frozenset)
    assert dispatch.available() == ["baseline"]
    assert dispatch.choose()[0] == "baseline"


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="no x86: an emulator shows its host's")
def test_the_features_of_the_processor_are_those_that_the_system_reports():
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except FileNotFoundError:
        pytest.skip("no /proc/cpuinfo on this system")
    assert ("AVX2" in cpu.features()) == ("avx2" in flags)
