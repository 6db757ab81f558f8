"""Layer 4, work in several threads; for cimport only, except the job that the pool calls."""

from typing import Any, final

__pyx_capi__: dict[str, Any]

@final
class Job:
    def __call__(self, *args: Any, **kwargs: Any) -> None: ...
