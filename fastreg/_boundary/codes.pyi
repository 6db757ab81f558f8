"""Codes for names, and structs for tuples of the reference; used by the other modules of the boundary only."""

from typing import Any

__pyx_capi__: dict[str, Any]
