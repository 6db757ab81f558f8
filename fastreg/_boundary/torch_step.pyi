"""Layer 4, the step of an optimizer of fastreg.torch."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, Self, final

class StalePlanError(Exception): ...

@final
class Stepper:
    def __new__(cls, torch: ModuleType) -> Self: ...
    def step(
        self,
        param_groups: list[dict[str, Any]],
        state: dict[Any, Any],
        keys: tuple[str, ...],
        make_plan: Callable[..., Any],
        new_state: Callable[..., Any],
        prepare: Callable[..., Any],
        on_nonfinite: str,
        threads: int | None = ...,
    ) -> bool: ...
