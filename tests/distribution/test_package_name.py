"""Names: no command installs another project by accident, and the configuration warns where two share a folder."""

import re
import shutil
from pathlib import Path

import pytest
from cases import SOURCE, python

import fastreg

SUFFIXES = {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".md", ".toml", ".json", ".cfg", ".txt", ""}
# On the package index `fastreg` is another project: neither it nor `fastreg[extra]` follows `install` on a line.
WRONG = re.compile(r"""\binstall\b[^\n&;|]*[\s"'`]fastreg(?![\w./-])""")


def sources():
    """The text files of the sources, or of the installed package where there are no others."""
    here = SOURCE if (SOURCE / "setup.py").exists() else Path(fastreg.__file__).parent
    folders = [here / name for name in (".ci", "benchmarks", "docs", "fastreg", "tests") if here == SOURCE]
    paths = [*here.glob("*"), *(path for folder in folders or [here] for path in folder.rglob("*"))]
    paths = {path for path in paths if path.suffix in SUFFIXES and path.is_file() and path != Path(__file__)}
    return [path for path in paths if not {".asv", ".git", "__pycache__"} & set(path.parts)]


@pytest.mark.parametrize(
    "text",
    [
        'pip install "fastreg[demo]"',
        "python -m pip install -U fastreg",
        "pip install 'fastreg==1.2'",
        "install fastreg",
    ],
)
def test_the_pattern_finds_the_wrong_commands(text):
    assert WRONG.search(text)


@pytest.mark.parametrize(
    "text",
    [
        'pip install -e ".[demo]"',
        "pip install path/to/fastreg_kernels-1.whl",
        "pip uninstall fastreg",
        "install fastreg-kernels",
    ],
)
def test_the_pattern_leaves_the_right_commands(text):
    assert not WRONG.search(text)


def test_nothing_installs_another_project():
    paths = sources()
    assert len(paths) > 20
    lines = [f"{path}: {line}" for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    assert not [line for line in lines if WRONG.search(line)]


@pytest.mark.parametrize("same", [True, False], ids=["same folder", "elsewhere"])
def test_the_configuration_warns_of_the_namesake(same, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / ("ours" if same else "theirs")
    shutil.copytree(Path(fastreg.__file__).parent, ours / "fastreg", ignore=shutil.ignore_patterns("__pycache__"))
    metadata = theirs / "fastreg-1.2.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fastreg\nVersion: 1.2\n")
    (metadata / "RECORD").write_text("fastreg/__init__.py,,\nfastreg-1.2.dist-info/RECORD,,\n")
    code = f"import sys; sys.path[:0] = {[str(ours), str(theirs)]}; import fastreg; fastreg.show_config()"
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("distribution fastreg 1.2" in done.stdout) == same
