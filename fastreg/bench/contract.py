"""What a peer is: a function that prepares a case over given arrays, and what it hands back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .cases import Case


class Skip(NotImplementedError):  # noqa: N818 (no error: a fact)
    """Why a peer does not take part in a case."""


class Prepared(NamedTuple):
    """One update as a statement for timeit and the names in it; `weights` gives w as it is now."""

    statement: str
    names: dict[str, Any]
    weights: Callable[[], np.ndarray]


class Peer(NamedTuple):
    """An implementation."""

    name: str
    module: str  # what it needs; its version is shown
    prepare: Callable[[Case, dict, float], Prepared]
    spare: int  # arrays that it allocates beside those of the case, at most
    floor: bool  # moves the memory that the update must move and does something else with it


class Peers(dict[str, Peer]):
    """Implementations by name, in the order of the tables."""

    def add(self, name, module="numpy", spare=0, floor=False):
        """Decorates the function that prepares cases for a new peer."""

        def register(prepare):
            self[name] = Peer(name, module, prepare, spare, floor)
            return prepare

        return register


def function(prepared):
    """A statement as a function without arguments, for those who cannot use timeit."""
    scope = dict(prepared.names)
    exec(f"def _function():\n    {prepared.statement}", scope)
    return scope["_function"]
