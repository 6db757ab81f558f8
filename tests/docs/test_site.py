"""The built pages: links hold, nothing is loaded from elsewhere, the reference has all names, no page is too wide.

FASTREG_SITE is the folder of the pages: .ci/docs builds them.
"""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from cases import SOURCE

if "FASTREG_SITE" not in os.environ:
    pytest.skip("FASTREG_SITE is not set", allow_module_level=True)
sys.path.insert(0, str(SOURCE / "docs" / "_ext"))

from names import MODULES, entries

SITE = Path(os.environ["FASTREG_SITE"]).resolve()
WIDTHS = (390, 768, 1280)  # a phone, a tablet, a desktop
ELSEWHERE = re.compile(r"""(@import|url\()\s*["']?(https?:)?//""")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """The ids of a page, its links, and what it loads."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded = {""}, [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and "stylesheet" in given.get("rel", ""):
            self.loaded.append(given["href"])
        elif given.get("src"):
            self.loaded.append(given["src"])


PAGES = {path: Page(path) for path in sorted(SITE.rglob("*.html")) if "_static" not in path.parts}


def name_of(path):
    return str(path.relative_to(SITE))


def broken(path, link):
    """Whether a link to a file of the site, or to a place in it, leads nowhere."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    fragment = unquote(parts.fragment)
    return not target.is_file() or (target in PAGES and fragment not in PAGES[target].ids)


def test_there_are_pages():
    assert {SITE / "index.html", SITE / "reference" / "optimizers.html"} <= PAGES.keys()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_within_the_site_hold(path):
    page = PAGES[path]
    assert page.links
    assert [link for link in page.links + page.loaded if broken(path, link)] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_loads_only_files_of_the_site(path):
    assert [source for source in PAGES[path].loaded if urlsplit(source).netloc] == []
    assert not ELSEWHERE.search(path.read_text(encoding="utf-8"))


def test_style_sheets_load_only_files_of_the_site():
    sheets = {path: path.read_text(encoding="utf-8") for path in SITE.rglob("*.css")}
    assert sheets
    assert [name_of(path) for path, text in sheets.items() if ELSEWHERE.search(text)] == []


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name(module):
    if module == "fastreg.torch":
        pytest.importorskip("torch", reason="torch is not installed")
    names = []
    for name, members in entries(importlib.import_module(module)):
        names += [f"{module}.{name}", *(f"{module}.{name}.{member}" for member in members or ())]
    ids = set().union(*(page.ids for page in PAGES.values()))
    assert [name for name in names if name not in ids] == []


MEASURE = """<!doctype html><pre id="result"></pre><script>
const pages = PAGES, widths = WIDTHS, result = {};
const frame = document.createElement("iframe");
document.body.append(frame);
frame.style.height = "800px";
(async () => {
  for (const page of pages) for (const width of widths) {
    frame.style.width = width + "px";
    await new Promise(done => { frame.onload = done; frame.src = page; });
    await frame.contentWindow.MathJax?.startup?.promise;
    const root = frame.contentDocument.documentElement;
    const edge = root.clientWidth + 1;  // what scrolls by itself may go beyond it
    const wide = [...root.querySelectorAll("article *")].find(x => x.getBoundingClientRect().right > edge &&
      !x.closest("pre, .table-wrapper, div.math, dt"));
    result[page + " at " + width] = [root.scrollWidth - root.clientWidth, wide ? wide.outerHTML.slice(0, 80) : null];
  }
  document.getElementById("result").textContent = JSON.stringify(result);
})();
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_no_page_is_wider_than_its_window(tmp_path):
    pages = json.dumps([path.as_uri() for path in PAGES])
    (tmp_path / "measure.html").write_text(MEASURE.replace("PAGES", pages, 1).replace("WIDTHS", str(list(WIDTHS)), 1))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --allow-file-access-from-files --virtual-time-budget=300000"
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, (tmp_path / "measure.html").as_uri()], capture_output=True, text=True, timeout=300, check=True
    )
    (found,) = re.findall(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    result = json.loads(unescape(found))
    assert len(result) == len(PAGES) * len(WIDTHS)
    assert {key: x for key, x in result.items() if x[0] > 0 or x[1]} == {}
