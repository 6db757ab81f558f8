"""The interface of a peer: a function that prepares a case for given arrays, and its return value."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .cases import Case


class Skip(NotImplementedError):  # noqa: N818 (not an error)
    """Why a peer is not measured for a case."""


class Prepared(NamedTuple):
    """One update as a statement for timeit and the names in it; `weights()` returns the current w."""

    statement: str
    names: dict[str, Any]
    weights: Callable[[], np.ndarray]


class Peer(NamedTuple):
    """An implementation."""

    name: str
    module: str  # the module that it requires; the report shows its version
    prepare: Callable[[Case, dict, float], Prepared]
    temporaries: int  # the largest number of arrays that it allocates in addition to those of the case
    floor: bool  # not the rule, but a lower bound: it reads and writes the same memory


class Peers(dict[str, Peer]):
    """Implementations by name, in the order of the tables."""

    def add(self, name, module="numpy", temporaries=0, floor=False):
        """Decorator: adds a peer with the decorated `prepare` function."""

        def register(prepare):
            self[name] = Peer(name, module, prepare, temporaries, floor)
            return prepare

        return register


def function(prepared):
    """The statement as a function without arguments, for callers that do not use timeit."""
    scope = dict(prepared.names)
    exec(f"def _function():\n    {prepared.statement}", scope)
    return scope["_function"]
