"""Layer 4, functions that the modules of the boundary share; most of them are for cimport only."""

from typing import Any

__pyx_capi__: dict[str, Any]

def guard(arrays: list[Any]) -> list[Any]: ...
