"""Layer 5, what is finished of a sweep; apart from the checkpoint, which `import fastreg` does not need."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Record:
    """What is finished of a sweep. Arrays have the shape (strengths, folds), the strongest strength first."""

    scores: NDArray[np.float64]
    done: NDArray[np.bool_]
    extras: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    states: list[Any] = field(default_factory=list)  # the state after the last finished strength of each fold

    @classmethod
    def empty(cls, strengths: int, folds: int) -> "Record":
        shape = strengths, folds
        return cls(np.full(shape, np.nan), np.zeros(shape, bool), {}, [None] * folds)

    def store(self, i: int, k: int, score: float, extras: dict[str, float], state: Any) -> None:
        """Note a finished training."""
        for name, value in extras.items():
            self.extras.setdefault(name, np.full(self.scores.shape, np.nan))[i, k] = value
        self.scores[i, k], self.states[k] = score, state
        self.done[i, k] = True  # last: what is done is complete
