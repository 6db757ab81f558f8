"""Layer 4, the linear models."""

from collections.abc import Callable
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

__pyx_capi__: dict[str, Any]

@disjoint_base
class BaseLearner:
    direction: tuple[float, ...]
    records: Any
    intercept: list[Any]
    factors: Any
    @property
    def epochs(self) -> int: ...
    @property
    def sizes(self) -> tuple[float, int]: ...
    @property
    def scale(self) -> float: ...
    @property
    def center(self) -> float: ...
    @property
    def levels(self) -> tuple[float, float]: ...
    @property
    def version(self) -> int: ...

@final
class Learner(BaseLearner):
    def __new__(
        cls,
        records: Any,
        direction: tuple[float, ...],
        intercept: list[Any],
        factors: Any = ...,
        low: float = ...,
        high: float = ...,
    ) -> Self: ...
    @property
    def completed(self) -> int: ...
    def learn(self, prepare: Callable[[], tuple[Any, ...]]) -> float: ...
    def place(self, weights: Any, intercept: Any, epochs: int) -> None: ...
    def exchange(self, work: Callable[[Learner], float]) -> float: ...
    def read(self, features: int, indices: Any = ...) -> tuple[int, npt.NDArray[Any], npt.NDArray[Any]]: ...
    def read_nonzero(
        self,
    ) -> tuple[
        int, npt.NDArray[np.intp], npt.NDArray[Any], npt.NDArray[Any], tuple[Any, ...], tuple[Any, ...], Any
    ]: ...
    def restore_numbers(self, record: tuple[Any, ...], numbers: tuple[Any, ...]) -> None: ...
    def read_intercept(self) -> npt.NDArray[Any]: ...
    def copy(self) -> Learner: ...
    def __deepcopy__(self, memo: Any) -> Learner: ...
    def _restore(
        self,
        steps: int,
        product: float,
        inverse: float,
        total: float,
        compensation: float,
        lr: float,
        l1: float,
        l2: float,
        l21: float,
        built_on: float = ...,
    ) -> None: ...
    def _count(
        self,
        size: float,
        sized: int,
        scale: float,
        epochs: int,
        center: float,
        distance: float = ...,
        level: float = ...,
    ) -> None: ...

def record_type(direction: str, dtype: Any, columns: int) -> np.dtype[Any]: ...
def keep(arrays: list[Any]) -> list[Any]: ...
def take_indices(indices: Any, starts: Any, columns: int, copied: bool) -> tuple[Any, bool]: ...
def find(indices: Any, bits: Any, before: Any) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]: ...
def mean_loss(margins: Any, targets: Any, weights: Any, code: int, parameter: float) -> float: ...
def survey(
    samples: Any, fingerprinted: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64] | None]: ...
def _rebuild(
    records: Any,
    direction: tuple[float, ...],
    intercept: list[Any],
    record: tuple[Any, ...],
    numbers: tuple[Any, ...],
    factors: Any,
    bounds: tuple[float, float],
) -> Learner: ...
def _rebuild_parts(dtype: Any, rows: int, background: bytes, indices: Any, kept: Any, *rest: Any) -> Learner: ...
