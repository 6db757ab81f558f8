"""Layer 5, the checkpoint of a sweep: one .npz file without pickles, replaced as a whole after each finished training.

A reader of the path finds the file of before or the file of after a training, never a part of one. The file says which
sweep it belongs to (hashes of strengths, folds and key), and a file of another sweep is refused rather than replaced.
"""

import contextlib
import io
import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastreg.path import states

FORMAT = "fastreg.path.sweep 1"


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


class Checkpoint:
    """The file of a sweep. `identity` is a dict of strings that tell this sweep from others."""

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, str]):
        self.path, self.identity = Path(path), identity
        self.saved = 0  # trainings in the file

    def load(self, strengths: int, folds: int, warm_start: bool) -> Record:
        """What the file has, or an empty record if there is no file; ValueError if it is not of this sweep."""
        record = Record.empty(strengths, folds)
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            self._write(record)  # so that a path that cannot be written is an error before the first training
            return record
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile("wrong check sum")
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                header = json.loads(file["header"].tobytes())
                if header["format"] != FORMAT:
                    raise ValueError(f"format {header['format']!r}")
                identity = dict(header["identity"])
                arrays = [file[f"state {i}"] for i in range(header["arrays"])]
                loaded = Record(
                    file["scores"], file["done"], {x: file[f"report {i}"] for i, x in enumerate(header["reports"])}, []
                )
        except Exception as error:  # whatever NumPy, zipfile and json say of bytes that are no such file
            raise self._refused(f"a file that sweep wrote, got one that cannot be read ({error})") from error
        for name, expected in self.identity.items():
            if identity.get(name) != expected:
                raise self._refused(f"the file of a sweep with the same {name}, got that of another one")
        loaded.states = states.decode(header["states"], arrays)
        gaps = warm_start and bool((loaded.done[1:] > loaded.done[:-1]).any())
        if any(x.shape != record.scores.shape for x in (loaded.scores, loaded.done, *loaded.extras.values())) or gaps:
            raise self._refused("a file that sweep wrote, got arrays that do not belong together")
        self.saved = int(loaded.done.sum())
        return loaded

    def save(self, record: Record) -> None:
        """Replace the file if the record has trainings that the file has not."""
        if record.done.sum() != self.saved:
            self._write(record)
            self.saved = int(record.done.sum())

    def _write(self, record: Record) -> None:
        arrays: states.Arrays = []
        encoded = states.encode(record.states, "state", arrays)
        header = {
            "format": FORMAT,
            "identity": self.identity,
            "states": encoded,
            "arrays": len(arrays),
            "reports": list(record.extras),
        }
        members: dict[str, Any] = {f"state {i}": a for i, a in enumerate(arrays)}
        members |= {f"report {i}": a for i, a in enumerate(record.extras.values())}
        members |= {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
        members |= {"scores": record.scores, "done": record.done}
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(file, **members)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()

    def _refused(self, expected: str) -> ValueError:
        return ValueError(f"checkpoint: expected {expected}: {str(self.path)!r}; remove it or name another file")
