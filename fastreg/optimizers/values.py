"""Layer 5, values that an optimizer reports: of its penalty, and of zeros; by tensor, by group, or in total.

The kernels add the values up, factors included, so that nothing here knows what a penalty is.
"""

import numpy as np

from fastreg._boundary.bfloat16 import as_float32


def penalties(optimizer):
    """The value of each tensor's penalty. Weights and settings are those of the same moment.

    Callables must not run while other threads wait for the lock. Where there is one, the weights are copied instead.
    """
    tensors = optimizer._tensors
    while True:
        completed, settings, weights = tensors.read(lambda: _snapshot(tensors))
        tuples = []
        for group, own in zip(optimizer.param_groups, settings):
            scaled = group.penalties(group.numbers(own, completed))
            tuples += [scaled[kind] for kind in group.kinds]
        if weights is not None:
            return [tensors.penalty(i, p, w) for i, (p, w) in enumerate(zip(tuples, weights))]
        values = _read_values(tensors, settings, tuples)
        if values is not None:
            return values


def _snapshot(tensors):
    has_callables = any(callable(x) for settings in tensors.settings for x in settings.values())
    weights = [w.copy(order="K") for w in tensors.weights] if has_callables else None
    return tensors.completed, tensors.settings, weights


def _read_values(tensors, settings, tuples):
    """The values, or None if another thread has changed the settings."""

    def read():
        return [tensors.penalty(i, p) for i, p in enumerate(tuples)] if tensors.settings is settings else None

    return tensors.read(read)


def zero_counts(optimizer):
    """The number of zeros of each tensor."""
    tensors = optimizer._tensors
    return tensors.read(lambda: [int(w.size - np.count_nonzero(as_float32(w))) for w in tensors.weights])


def summed(optimizer, values, by):
    """Values, one for each tensor, in the form that the argument `by` of a public method asks for."""
    if by is None:
        return sum(values)
    if by == "group":
        return [sum(values[group.start : group.stop]) for group in optimizer.param_groups]
    if by == "tensor":
        return dict(zip(optimizer._tensors.names, values))
    raise ValueError(f"by: expected None, 'group' or 'tensor', got {by!r}")
