"""Layer 4, a linear model at many strengths that learn together."""

from collections.abc import Callable
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from fastreg._boundary.linear import BaseLearner

@final
class StrengthLearner(BaseLearner):
    strengths: Any
    def __new__(
        cls,
        records: Any,
        direction: tuple[float, ...],
        intercept: list[Any],
        strengths: Any,
        low: float,
        factors: Any = ...,
    ) -> Self: ...
    @property
    def completed(self) -> int: ...
    def learn(self, prepare: Callable[[], tuple[Any, ...]]) -> npt.NDArray[np.float64]: ...
    def judged(self) -> tuple[tuple[int, float, float], npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...
    def nonzeros(self) -> npt.NDArray[np.intp]: ...
    def weights(self, s: int) -> npt.NDArray[Any]: ...
    def intercepts(self, s: int) -> npt.NDArray[Any]: ...
    def state_of(self, s: int) -> tuple[dict[str, Any], list[Any], tuple[Any, ...], tuple[Any, ...], Any]: ...
    def copy(self) -> StrengthLearner: ...
    def __deepcopy__(self, memo: Any) -> StrengthLearner: ...

def lanes_of(strengths: int) -> int: ...
def record_type(direction: tuple[float, ...], dtype: Any, columns: int, strengths: int) -> np.dtype[Any]: ...
def new_records(features: int, dtype: Any) -> Any: ...
def _rebuild(
    rows: int,
    dtype: Any,
    direction: tuple[float, ...],
    strengths: Any,
    low: float,
    background: Any,
    indices: Any,
    kept: Any,
    intercept: list[Any],
    small: tuple[Any, ...],
) -> StrengthLearner: ...
