"""Every public name has an example in its docstring, and an entry in the reference of the site."""

import importlib
import re
import sys

import pytest
from cases import SOURCE

DOCS = SOURCE / "docs"
if not DOCS.exists():  # the tests of the wheel are in another folder
    pytest.skip("the documentation is not in the folder above the tests", allow_module_level=True)
sys.path.insert(0, str(DOCS / "_ext"))

from names import MODULES, entries, without_examples

PAGES = "".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.md")))
SELECTIONS = [
    (module, names.split()) for module, names in re.findall(r"```\{public\} (\S+)\n(?::names: (.*)\n)?", PAGES)
]


def imported(name):
    if name == "fastreg.torch":
        pytest.importorskip("torch", reason="torch is not installed")
    return importlib.import_module(name)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_an_example(module):
    assert without_examples(imported(module)) == []


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_one_page(module):
    listed = [name for selected, names in SELECTIONS if selected == module for name in names or ["all"]]
    if listed != ["all"]:
        assert sorted(listed) == sorted(name for name, _ in entries(imported(module)))


def test_every_public_module_is_known():
    public = [path.parent.name for path in sorted((SOURCE / "fastreg").glob("*/__init__.py"))]
    private = {"bench", "demo", "lazy", "optimizers", "reference"}  # lazy and optimizers: their names are fastreg's
    known = {f"fastreg.{name}" for name in public if not name.startswith("_")} - {f"fastreg.{x}" for x in private}
    assert known == set(MODULES) - {"fastreg"}
