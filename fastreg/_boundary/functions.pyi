"""Layer 4, the update functions, the values of the penalties, and clipping. Re-exported by the package."""

from typing import Any, Literal, Protocol, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

class _Tensor(Protocol):  # a torch tensor on the CPU, declared without importing torch
    def data_ptr(self) -> int: ...
    def detach(self) -> Any: ...

_Array: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64] | Buffer | _Tensor
_Number: TypeAlias = SupportsFloat | SupportsIndex
_Mode: TypeAlias = Literal["subgradient", "decoupled", "truncated", "proximal"]

def l1_update(
    w: _Array, grad: _Array, lr: _Number, l1: _Number, *, gamma: _Number = ..., mode: _Mode = ..., theta: _Number = ...
) -> None: ...
def l2_update(w: _Array, grad: _Array, lr: _Number, l2: _Number, *, mode: _Mode = ...) -> None: ...
def elastic_net_update(
    w: _Array,
    grad: _Array,
    lr: _Number,
    l1: _Number,
    l2: _Number,
    *,
    gamma: _Number = ...,
    mode: _Mode = ...,
    theta: _Number = ...,
) -> None: ...
def l1_penalty(w: _Array, l1: _Number, *, gamma: _Number = ...) -> float: ...
def l2_penalty(w: _Array, l2: _Number) -> float: ...
def elastic_net_penalty(w: _Array, l1: _Number, l2: _Number, *, gamma: _Number = ...) -> float: ...
def clip_grad_norm(names: list[str], grads: list[Any], max_norm: float) -> float: ...
