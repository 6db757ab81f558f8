"""What the tests of the lesson share."""

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def lesson():
    """The experiments by the name of their module, and `sentences`, `fits` and `designs`."""
    for name in ("sklearn", "matplotlib", "rich"):
        pytest.importorskip(name)
    from importlib import import_module

    from fastreg.demo import SECTIONS

    experiments = (module.removeprefix("lesson.") for module in SECTIONS.values() if module.startswith("lesson."))
    names = (*experiments, "sentences", "fits", "designs")
    return SimpleNamespace(**{name: import_module(f"fastreg.demo.lesson.{name}") for name in names})
