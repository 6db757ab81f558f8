"""Layer 5, the groups of the group lasso: which axis of each tensor they are along, and what they exclude.

A group in this file is what one index of an axis selects, not a group of parameters.
"""

from collections.abc import Mapping

import numpy as np

from fastreg import reference
from fastreg._boundary import errors
from fastreg._boundary.bfloat16 import as_float32
from fastreg._boundary.functions import group_penalty


def split_axes(layout, weights, axis):
    """The group axis of each tensor, None or from 0."""
    axes = layout.flatten(axis, "group_axis") if isinstance(axis, (Mapping, list, tuple)) else [axis] * len(weights)
    return [checked_axis(x, w, name) for x, w, name in zip(axes, weights, layout.names)]


def checked_axis(axis, w, name):
    axis = errors.as_axis(axis)
    return None if axis is None else errors.axis_index(axis, w.ndim, f"params[{name}]")


def obstacle_to_groups(names, weights, factors, bounds, axes):
    """Why these tensors cannot have a group lasso, as the two last arguments of errors.bad_l21; None if they can."""
    for name, w, factor, pair, axis in zip(names, weights, factors, bounds, axes):
        if pair is not None and not all(((side == 0) | np.isinf(side)).all() for side in pair):
            return f"bounds of params[{name}] that are neither 0 nor infinite", "to which a group cannot be clipped"
        if factor is not None:
            view = reference.group_view(factor, reference.group_shape(w, axis))
            if (view != view[:1, :, :1]).any():
                return f"penalty_factor[{name}]", "which differs between the weights of a group"
    return None


def group_penalty_with_factors(w, factors, l21, axis):
    """l21·Σ factor·‖group‖, for factors like w, or to be broadcast, that are equal within a group; None for 1."""
    if l21 == 0:
        return 0.0
    return group_penalty(w if factors is None else np.where(factors == 0, 0, w) * factors, 0.0, 0.0, l21, axis)


def zero_group_counts(w, axis):
    """The number of groups along an axis, and how many of them are zero."""
    view = reference.group_view(as_float32(w), reference.group_shape(w, axis))
    return view.shape[1], int(view.shape[1] - np.count_nonzero((view != 0).any(axis=(0, 2))))
