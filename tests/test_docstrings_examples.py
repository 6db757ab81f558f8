"""The examples in docstrings run as they stand, pasted into a new session: with imports of their own."""

import doctest
import importlib
import pkgutil

import pytest

import fastreg

LAYERS = ("fastreg.bench", "fastreg.demo", "fastreg._show", "fastreg.__main__")  # without public functions
MODULES = [
    module.name
    for module in pkgutil.walk_packages(fastreg.__path__, "fastreg.")
    if not module.name.startswith((*LAYERS, "fastreg._"))
]
MODULES += ["fastreg._boundary.config", "fastreg._boundary.lazy", "fastreg._boundary.threads"]  # with public names


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    if name.startswith("fastreg.torch"):
        pytest.importorskip("torch", reason="torch is not installed")
    if name in ("fastreg.linear.cv", "fastreg.path.table"):
        pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, globs={}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
