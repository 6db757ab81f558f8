"""Layer 4, the lazy updates."""

from collections.abc import Callable
from typing import Any, Self

import numpy.typing as npt
from typing_extensions import disjoint_base

from fastreg._boundary.functions import _Array

@disjoint_base
class _LazyData:
    w: Any
    lr: Any
    l1: Any
    l2: Any
    l21: Any
    _arrays: list[Any]
    _own: dict[str, Any]
    _factor: Any
    bounds: tuple[float, float]
    @property
    def completed(self) -> int: ...
    def _set_up(
        self,
        w: Any,
        direction: tuple[float, ...],
        mode: str,
        arrays: list[Any],
        factor: tuple[float, Any],
        bounds: tuple[float, float],
        strengths: dict[str, Any],
        own: dict[str, Any],
    ) -> None: ...
    def _change(self, **changes: Any) -> None: ...

class Lazy(_LazyData):
    @property
    def has_pending_penalty(self) -> bool: ...
    def step(self, indices: Any, values: _Array) -> None: ...
    def step_csr(self, data: _Array, indices: Any, indptr: Any) -> None: ...
    def flush(self) -> None: ...
    def weights(self, indices: Any = ...) -> npt.NDArray[Any]: ...
    def _nonzero(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: Any) -> None: ...
    def _record(self) -> tuple[int, Any, Any, float, Any, list[Any], dict[str, Any]]: ...
    def _seal(self) -> Any: ...
    def _write(self, prepare: Callable[[], tuple[int, Any, Any, Any, list[Any], dict[str, Any]]]) -> None: ...
