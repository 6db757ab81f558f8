"""Layer 4, the boundary of the optimizers."""

from collections.abc import Sequence
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
    def __new__(
        cls,
        names: list[str],
        weights: list[_Array],
        states: list[list[_Array]],
        factors: list[_Array | None],
        groups: int,
    ) -> Self: ...
    def bind(self, grads: list[Any] | None) -> None: ...
    def configure(self, k: int, group: Any) -> None: ...
    def step(
        self, grads: list[Any] | None, groups: Sequence[Any], on_nonfinite: str, threads: int | None = ...
    ) -> bool: ...
    def clock(self, i: int) -> tuple[int, float, float]: ...
    def set_clock(self, i: int, steps: int, power1: float, power2: float) -> None: ...

def clip_grad_norm(names: list[str], grads: list[Any], max_norm: float) -> float: ...
