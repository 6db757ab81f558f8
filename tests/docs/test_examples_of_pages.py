"""Every block of Python in the README and on the pages of the site runs as it stands, pasted alone into a new session.

A block that needs a library that is not installed is skipped: .ci/tests runs those of torch. Blocks of Cython are
translated. Pages with {code-cell}s are notebooks: each build of the site runs them, and .ci/docs tests its links.
"""

import doctest
import re
import subprocess
import sys

import pytest
from cases import SOURCE

OPTIONAL = ("torch", "sklearn", "scipy", "matplotlib", "ml_dtypes", "joblib", "pandas")
TEXTS = [path for path in (SOURCE / "README.md", SOURCE / "fastreg" / "README.md") if path.exists()]
TEXTS += sorted((SOURCE / "docs").rglob("*.md"))
FENCE = re.compile(r"^( *)```(python|pycon|cython)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks():
    """Every block with its page, its language and its line."""
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text[: match.start()].count("\n") + 2
            code = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
            needed = [name for name in OPTIONAL if imports(name, code)]
            yield pytest.param(path, match[2], line, code, needed, id="-".join([f"{path.name}:{line}", *needed]))


def imports(name, code):
    return re.search(rf"^\s*(>>> )?(import|from) (fastreg\.)?{name}\b", code, re.MULTILINE)


BLOCKS = list(blocks())
if not (SOURCE / "docs").exists():  # the tests of the wheel are in another folder
    pytest.skip("the documentation is not in the folder above the tests", allow_module_level=True)


def test_the_pages_have_examples():
    assert BLOCKS


@pytest.mark.parametrize(("path", "language", "line", "code", "needed"), BLOCKS)
def test_a_block_runs_as_it_stands(path, language, line, code, needed, tmp_path, monkeypatch):
    for name in needed:
        library = pytest.importorskip(name, reason=f"{name} is not installed")
        if name == "torch":
            library.set_num_threads(1)  # its threads wait for each other, which is slow beside other processes
    monkeypatch.chdir(tmp_path)  # some write files
    monkeypatch.setenv("MPLBACKEND", "agg")
    if language == "pycon":
        example = doctest.DocTestParser().get_doctest(code, {}, path.name, str(path), line - 1)
        assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example).failed == 0
    elif language == "cython":
        run_file(tmp_path / "block.pyx", code, "-m", "cython", "-I", str(SOURCE))
    elif "__main__" in code:  # it starts processes, which read the file again
        run_file(tmp_path / "block.py", code)
    else:
        padded = "\n" * (line - 1) + code  # so that a traceback shows the line of the page
        exec(compile(padded, str(path), "exec"), {"__name__": "__main__"})


def run_file(path, code, *arguments):
    path.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, *arguments, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(SOURCE)))
def test_links_to_files_hold(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if not (path.parent / link.partition("#")[0]).exists()] == []
