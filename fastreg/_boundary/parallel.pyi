"""Layers 3 and 4 of threads, below Python but for what the pool calls."""

from typing import Any, final

__pyx_capi__: dict[str, Any]

@final
class Job:
    def __call__(self, *args: Any, **kwargs: Any) -> None: ...
