"""Layer 4, the boundary of the linear models."""

from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

@final
class Learner:
    records: Any
    intercept: list[Any]
    def __new__(cls, records: Any, direction: str, second: float, intercept: list[Any]) -> Self: ...
    @property
    def completed(self) -> int: ...
    def learn(
        self,
        samples: Any,
        order: Any,
        targets: Any,
        weights: Any,
        strengths: Any,
        loss: int,
        epsilon: float,
        curvature: float,
        intercept_rate: float,
    ) -> float: ...
    def weights(self, indices: Any = ...) -> npt.NDArray[Any]: ...
    def _restore(
        self,
        steps: int,
        product: float,
        inverse: float,
        total: float,
        lost: float,
        lr: float,
        l1: float,
        l2: float,
    ) -> None: ...

def survey(samples: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...
def _rebuild(records: Any, direction: str, second: float, intercept: list[Any], record: tuple[Any, ...]) -> Learner: ...
