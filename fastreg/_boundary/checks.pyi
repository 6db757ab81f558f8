"""What the boundary's modules share, below Python."""

from typing import Any

__pyx_capi__: dict[str, Any]

def guard(arrays: list[Any]) -> list[Any]: ...
