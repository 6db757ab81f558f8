"""The kernels of one instruction set: a capsule for the boundary, and how they were compiled."""

from typing import Any

kernels: Any  # a capsule that holds a Kernels table, see _kernels.pxd
compiler: str
flags: str
