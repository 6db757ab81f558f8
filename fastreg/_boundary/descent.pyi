"""Layer 4, the end of a fit."""

from typing import Any, final

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

def derivatives(
    margins: _Floats,
    targets: _Floats,
    weights: _Floats,
    code: int,
    parameter: float,
    smoothing: float,
    exact: bool,
) -> tuple[float, _Floats, _Floats]: ...

@final
class Descent:
    weights: _Floats
    shift: _Floats
    slopes: _Floats
    curvatures: _Floats
    first: _Floats
    second: _Floats
    total: _Floats
    def __new__(
        cls,
        data: npt.NDArray[Any],
        indices: npt.NDArray[Any] | None,
        starts: npt.NDArray[np.intp],
        slopes: _Floats,
        curvatures: _Floats,
        weights: _Floats,
        penalty: tuple[float, float, float],
        factors: _Floats | None,
        low: float,
        intercept: bool,
    ) -> Descent: ...
    def sweep(self, features: npt.NDArray[np.intp]) -> float: ...
