"""Layer 5, the samples of an epoch: their order, and the weight of each step."""

import numpy as np

MAX_REPEATS = 16  # steps per sample and epoch, on average
ROUNDING = 1e-9  # relative error up to which a weight counts as a multiple of another


def stream_order(count, weights):
    """The samples in their given order, and their weights; samples of weight zero are left out."""
    order = np.arange(count)
    if weights is None:
        return order, None
    return order[weights > 0], weights[weights > 0]


def set_order(samples, targets, weights):
    """One entry for each step of an epoch, in an order that depends on the samples only, and the weight of each step.

    A sample with k times the unit weight gets k steps, like k copies of it. For a fraction, k is rounded up and the
    weight is divided among the steps. The weights of the steps have mean 1. The result does not change if all weights
    are multiplied by the same number.
    """
    order = np.arange(len(samples))
    if weights is not None:
        weights = weights / weights.max()
        unit, exact = unit_weight(weights[weights > 0])
        repeats = np.rint(weights / unit) if exact else np.ceil(weights / unit * (1 - ROUNDING))
        order = np.repeat(order, repeats.astype(np.intp))
        weights = np.ones(len(order)) if exact else (weights / np.maximum(repeats, 1))[order]
        weights = weights / weights.mean()
    key = samples.fingerprints[order] + np.pi * targets[order] + (0 if weights is None else np.e * weights)
    if samples.offsets is not None:
        key += np.sqrt(2) * samples.offsets[order]
    by_content = np.argsort(key)  # the order of equal samples does not matter
    return order[by_content], None if weights is None else weights[by_content]


def unit_weight(weights):
    """The weight of one step, and whether all weights are multiples of it; the weights are positive.

    The unit is the largest number that divides all weights: 1 for integers without a common factor. If there is none,
    it is the mean. If the mean number of steps would exceed MAX_REPEATS, it is the mean divided by MAX_REPEATS.
    """
    different, mean = np.unique(weights), weights.mean()
    for parts in range(1, MAX_REPEATS + 1):
        unit = different[0] / parts
        multiples = different / unit
        if (np.abs(multiples - np.rint(multiples)) <= np.minimum(ROUNDING * multiples, 0.01)).all():
            return (unit, True) if mean <= MAX_REPEATS * unit else (mean / MAX_REPEATS, False)
    return mean, False
