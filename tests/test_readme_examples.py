"""The examples of the README that are complete, that is, that import fastreg themselves, run as they stand."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""  # the tests of the wheel are in another folder
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMPLETE = [block for block in BLOCKS if "import fastreg\n" in block]


@pytest.mark.skipif(not README.exists(), reason="the README is not in the folder above the tests")
def test_the_readme_has_complete_examples():
    assert len(COMPLETE) >= 2


@pytest.mark.parametrize("block", COMPLETE, ids=range(len(COMPLETE)))
def test_an_example_of_the_readme_runs(block, capsys):
    if "import torch\n" in block:
        pytest.importorskip("torch", reason="torch is not installed")
    exec(compile(block, str(README), "exec"), {})
    assert capsys.readouterr().out
