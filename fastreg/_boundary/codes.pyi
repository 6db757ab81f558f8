"""Names as codes, and tuples of the reference as structs, for the other modules of the boundary: nothing for Python."""

from typing import Any

__pyx_capi__: dict[str, Any]
