"""Layer 5, plans: what a step of fastreg.torch does, as finished numbers for layer 4.

The names of torch become those of fastreg.optimizers, whose classes know the settings, their checks, the directions and
the penalties. Settings are read at a step, where a parameter has a gradient: schedulers write anything in between.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import numpy as np
import torch

from fastreg import reference
from fastreg._boundary import errors
from fastreg._boundary.bfloat16 import BITS
from fastreg.optimizers.bounds import bounds_of, checked_pair, is_many
from fastreg.optimizers.factors import check_products, largest_factor, split_factor
from fastreg.optimizers.group_axis import obstacle_to_groups
from fastreg.optimizers.params import filled
from fastreg.optimizers.settings import checked_settings

DTYPES = (np.dtype(np.float32), np.dtype(np.float64), BITS)  # the order of DType in _kernels/table.pxd
TORCH_DTYPES = (torch.float32, torch.float64, torch.bfloat16)  # the same


class Plan(NamedTuple):
    """What the next step of a group does; torch_tasks.pxi reads it."""

    settings: dict  # of the class in fastreg.optimizers, checked
    names: tuple[str, ...]  # of the tensors of state
    counts: bool  # whether the state has a count of steps
    is_built_on_lr: bool  # whether the state has the lr and beta that z of FTRL is built on
    first: tuple  # the direction of a parameter's first step, as one of the reference's tuples
    later: tuple  # and that of later ones
    at_step: Callable | None  # the direction after a number of steps, if it depends on it
    betas: tuple[float, float]  # whose powers the bias corrections depend on
    mode: str
    theta: float
    penalties: list[tuple]  # one for each number that multiplies the strengths
    l21: list[float]  # likewise
    kinds: list[int] | None  # of each parameter, the index of its number; None where all have the first
    factors: list | None  # of each parameter, a tensor or None
    axes: int | list | None
    bounds: list[tuple] | None  # by dtype
    arrays_of_bounds: list | None  # of each parameter, a pair of tensors or None
    decay: tuple | None  # the direction of a step of weight decay before the step
    decay_penalties: list[tuple]
    maximize: bool
    dtypes: bytes  # of each parameter, its DType; 255 for others
    holds: bool  # as long as the settings are the same objects


def as_number(x):
    """A setting as a number; torch allows tensors with one element."""
    return x.item() if isinstance(x, torch.Tensor) and x.numel() == 1 else x


def as_numbers(x):
    return tuple(map(as_number, x)) if isinstance(x, (tuple, list)) else as_number(x)


class Checked:
    """The checked settings of one group; only what has changed is checked again, since schedulers change lr often."""

    def __init__(self):
        self.given, self.checked, self.is_float32 = {}, {}, None

    def update(self, given, is_float32):
        if is_float32 is not self.is_float32:
            self.given, self.is_float32 = {}, is_float32
        changes = {key: x for key, x in given.items() if self.given.get(key, self) is not x}
        for key, x in changes.items():
            if callable(x):
                raise TypeError(f"{key}: expected a number, which a scheduler can change, got a callable")
        self.checked = self.checked | checked_settings({key: as_numbers(x) for key, x in changes.items()}, is_float32)
        self.given = {key: x for key, x in given.items() if key not in changes or is_constant(x)}
        return self.checked


def is_constant(x):
    """Whether a setting cannot change in place."""
    if isinstance(x, tuple):
        return all(isinstance(y, (float, int)) for y in x)
    return x is None or isinstance(x, (float, int, str))


def penalty_parts(group, settings, name_of):
    """What the penalty of a group depends on, beside numbers: scales, kinds, factors, axes, bounds and their arrays."""
    params, is_float32 = group["params"], has_float32(group)
    scales, kinds, factors = [1.0], None, None
    given = group["penalty_factor"]
    if given is not None:
        given = as_list(given, params, "penalty_factor")
        parts = [split_factor(f"penalty_factor[{name_of(j)}]", as_template(p), as_array(f)) for j, (p, f) in
                 enumerate(zip(params, given))]  # fmt: skip
        scales = sorted({number for number, _ in parts})
        kinds = [scales.index(number) for number, _ in parts]
        factors = [None if x is None else torch.from_numpy(x) for _, x in parts]
        factors = None if all(x is None for x in factors) else factors
        for number, array in parts:
            check_products(settings, largest_factor(number, array), is_float32)
    axes = group["group_axis"]
    axes = as_list(axes, params, "group_axis") if isinstance(axes, (list, tuple)) else errors.as_axis(axes)
    bounds, pairs = bounds_parts(params, checked_pair(group["bounds"], "bounds"), name_of)
    if settings["gamma"] < inf and (bounds or pairs):
        raise errors.bad_gamma(settings["gamma"], "bounds", "to which MCP's minimiser cannot be clipped")
    if settings["l21"] != 0:
        every = pairs or [None if bounds is None else tuple(map(np.asarray, bounds[1]))] * len(params)
        check_groups(params, axes, factors, every, settings["l21"], name_of)
    arrays = None if pairs is None else [None if x is None else tuple(map(torch.from_numpy, x)) for x in pairs]
    return scales, kinds, factors, axes, bounds, arrays


def bounds_parts(params, pair, name_of):
    """Bounds as a pair of numbers for each dtype, or as a pair of arrays for each parameter; None for none."""
    if not any(map(is_many, pair)):
        sides = [bounds_of("the parameters", np.empty(0, dtype), pair, "bounds") for dtype in DTYPES]
        return (None if sides[0] is None else [tuple(map(float, side)) for side in sides]), None
    sides, pairs = [as_list(x, params, f"bounds[{k}]") for k, x in enumerate(pair)], []
    for j, p, *own in zip(range(len(params)), params, *sides):
        like = as_template(p, dtype=DTYPES[TORCH_DTYPES.index(p.dtype)] if p.dtype in TORCH_DTYPES else None)
        both = bounds_of(name_of(j), like, tuple(map(as_array, own)), "bounds")
        pairs.append(None if both is None else tuple(x if x.ndim == like.ndim else filled(like, x) for x in both))
    return None, pairs if any(x is not None for x in pairs) else None


def check_groups(params, axes, factors, pairs, l21, name_of):
    """Raise ValueError where a group lasso has no meaning for these parameters."""
    axes = as_list(axes, params, "group_axis")
    weights, names = [as_template(p, True) for p in params], list(map(name_of, range(len(params))))
    factors = [None if f is None else np.ascontiguousarray(f.numpy()) for f in factors or [None] * len(params)]
    for axis, w, name in zip(axes, weights, names):
        if axis is not None:
            errors.axis_index(errors.as_axis(axis), w.ndim, name)
    if obstacle := obstacle_to_groups(names, weights, factors, pairs, axes):
        raise errors.bad_l21(l21, *obstacle)


def has_float32(group):
    """Whether some parameters are computed in float32."""
    return any(p.dtype != torch.float64 for p in group["params"])


def as_list(x, params, what):
    """One value for each parameter of a group."""
    if not isinstance(x, (list, tuple)):
        return [x] * len(params)
    if len(x) != len(params):
        raise ValueError(f"{what}: expected one entry for each of {len(params)} parameters, got {len(x)}")
    return list(x)


def dtypes_of(params):
    """For Plan.dtypes."""
    return bytes(TORCH_DTYPES.index(p.dtype) if p.dtype in TORCH_DTYPES else 255 for p in params)


def as_template(p, in_c_order=False, dtype=None):
    """An array with the shape, strides and dtype of a parameter, or in which it is computed; numbers do not matter."""
    array = np.empty(0, dtype or (np.float64 if p.dtype == torch.float64 else np.float32))
    p = p.to_local() if hasattr(p, "to_local") else p
    steps = torch.empty(p.shape, device="meta").stride() if in_c_order else p.stride()
    strides = [array.itemsize * step for step in steps]
    return np.lib.stride_tricks.as_strided(np.empty(1, array.dtype), tuple(p.shape), strides)


def as_array(x):
    if not isinstance(x, torch.Tensor):
        return x
    x = x.to_local() if hasattr(x, "to_local") else x
    return x.detach().to(torch.float64).cpu().numpy()


def cheapest_mode(settings):
    """The mode of a step. Without a penalty all agree on finite weights, and the subgradient divides nothing."""
    mode = settings.get("mode", "proximal")
    is_free = not any(settings[key] for key in ("l1", "l2", "l21")) and settings["gamma"] == inf
    return "subgradient" if mode == "proximal" and is_free and "mode" in settings else mode


def scaled_penalties(settings, scales):
    penalty = reference.penalty_with(settings["l1"], settings["l2"], settings["gamma"])
    return [reference.scaled(penalty, scale) for scale in scales]
