"""Layer 4, the tensors of an optimizer."""

from collections.abc import Callable
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[np.float32] | npt.NDArray[np.float64]

@final
class Tensors:
    names: list[str]
    weights: list[_Array]
    states: list[list[_Array]]
    factors: list[_Array | None]
    bounds: list[tuple[_Array, _Array] | None]
    axes: list[int | None]
    settings: tuple[dict[str, Any], ...]
    completed: int
    skipped: int
    def __new__(
        cls,
        names: list[str],
        weights: list[_Array],
        states: list[list[_Array]],
        factors: list[_Array | None],
        bounds: list[tuple[_Array, _Array] | None],
        axes: list[int | None],
        kinds: list[int],
        spans: list[tuple[int, int]],
        settings: tuple[dict[str, Any], ...],
    ) -> Self: ...
    def bind(self, grads: list[Any] | None) -> None: ...
    def step(
        self, grads: list[Any] | None, plan: Callable[..., Any], on_nonfinite: str, threads: int | None = ...
    ) -> None: ...
    def set_settings(self, k: int, old: dict[str, Any], new: dict[str, Any]) -> bool: ...
    def clock(self, i: int) -> tuple[int, float, float, float, float]: ...
    def penalty(self, i: int, p: tuple[float, ...], l21: float, copy: _Array | None = ...) -> float: ...
    def read(self, function: Callable[[], Any]) -> Any: ...
    def write(self, method: str, prepare: Callable[[], tuple[Any, ...]]) -> None: ...
    def replace(self, optimizer: Any, attributes: dict[str, Any]) -> None: ...
    def seal(self) -> Any: ...
