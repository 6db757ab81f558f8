"""Layer 5, states of a training as JSON and arrays, for checkpoints: nothing in them is code, and nothing is guessed.

pickle was rejected: to load a pickle runs whatever its author wrote. So a state is made of the types below, and any
other type is refused before training goes on, rather than restored as something else after an interrupt.
"""

import hashlib
import json
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

STORABLE = (
    "None, bools, numbers, strings, NumPy arrays and scalars, tensors of torch, and dicts, lists and tuples of these"
)
Arrays = list[NDArray[Any]]


def encode(x: Any, name: str, arrays: Arrays) -> Any:
    """x for JSON; its arrays are appended to `arrays`. `name` is for errors."""
    if x is None or type(x) in (bool, int, float, str):
        return x
    if type(x) in (list, tuple):
        return {"type": type(x).__name__, "items": [encode(y, f"{name}[{i}]", arrays) for i, y in enumerate(x)]}
    if type(x) in (dict, OrderedDict):
        items = [[_key(k, name), encode(y, f"{name}[{k!r}]", arrays)] for k, y in x.items()]
        return {"type": "dict", "items": items}
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor) and x.layout == torch.strided:
        dtype, tensor = str(x.dtype).removeprefix("torch."), x.detach().cpu().resolve_conj().resolve_neg()
        array = (tensor.view(torch.uint16) if dtype == "bfloat16" else tensor).numpy()
        return _placed(array, arrays, "tensor", dtype)
    if isinstance(x, np.ndarray | np.generic) and not isinstance(x, np.ma.MaskedArray):
        kind, array = "array" if isinstance(x, np.ndarray) else "scalar", np.asarray(x)
        if array.dtype.name == "bfloat16":
            return _placed(array.view(np.uint16), arrays, kind, "bfloat16")
        if array.dtype.kind in "biufcSUmM":
            return _placed(array, arrays, kind, array.dtype.name)
    raise TypeError(f"{name}: expected with checkpoint= only {STORABLE}, got {type(x).__name__}")


def decode(x: Any, arrays: Arrays) -> Any:
    """The inverse of encode."""
    if not isinstance(x, dict):
        return x
    kind, items = x["type"], x.get("items", ())
    if kind in ("list", "tuple"):
        values = [decode(y, arrays) for y in items]
        return values if kind == "list" else tuple(values)
    if kind == "dict":
        return {k: decode(y, arrays) for k, y in items}
    array = arrays[x["place"]]
    if kind == "tensor":
        import torch

        tensor = torch.from_numpy(array)
        return tensor.view(torch.bfloat16) if x["dtype"] == "bfloat16" else tensor
    if x["dtype"] == "bfloat16":
        import ml_dtypes

        array = array.view(ml_dtypes.bfloat16)
    return array if kind == "array" else array[()]


def fingerprint(x: Any, name: str) -> str:
    """A hash of x, made of the same types as a state."""
    arrays: Arrays = []
    digest = hashlib.sha256(json.dumps(encode(x, name, arrays)).encode())
    for a in arrays:
        digest.update(f"{a.dtype.str} {a.shape}".encode() + a.tobytes())
    return digest.hexdigest()


def _key(k: Any, name: str) -> Any:
    if type(k) not in (str, int):
        raise TypeError(f"{name}: expected with checkpoint= only strings and integers as keys, got {type(k).__name__}")
    return k


def _placed(array: NDArray[Any], arrays: Arrays, kind: str, dtype: str) -> dict[str, Any]:
    arrays.append(array)
    return {"type": kind, "dtype": dtype, "place": len(arrays) - 1}
