"""Layer 5, which samples an epoch visits, in which order, and with what weights."""

import numpy as np

MOST = 16  # visits of a sample in an epoch, on average
ROUNDING = 1e-9  # of weights that are multiples of another


def stream(count, weights):
    """The samples to visit, as they come, and their weights; one of weight zero is none."""
    order = np.arange(count)
    if weights is None:
        return order, None
    return order[weights > 0], weights[weights > 0]


def visits(samples, targets, weights):
    """The samples to visit in an epoch, in an order that depends on them alone, and the weights of the visits.

    A sample of weight k times the unit is visited k times, which is the same as k copies of it; a fraction is spread
    over the next whole number of visits. The weights of the visits average to 1. All of this is the same when all
    weights are multiplied by a number.
    """
    order = np.arange(len(samples))
    if weights is not None:
        weights = weights / weights.max()
        unit, whole = unit_of(weights[weights > 0])
        times = np.rint(weights / unit) if whole else np.ceil(weights / unit * (1 - ROUNDING))
        order = np.repeat(order, times.astype(np.intp))
        weights = np.ones(len(order)) if whole else (weights / np.maximum(times, 1))[order]
        weights = weights / weights.mean()
    key = samples.fingerprints[order] + np.pi * targets[order] + (0 if weights is None else np.e * weights)
    by_content = np.argsort(key)  # equal samples may change places
    return order[by_content], None if weights is None else weights[by_content]


def unit_of(weights):
    """The weight of one visit, and whether all weights are whole multiples of it; the weights are positive.

    It is the largest number that all are multiples of: 1 for whole weights without a common factor. Where there is
    none, it is the mean, and where visits would get too many, the mean over MOST.
    """
    different, mean = np.unique(weights), weights.mean()
    for parts in range(1, MOST + 1):
        unit = different[0] / parts
        times = different / unit
        if (np.abs(times - np.rint(times)) <= np.minimum(ROUNDING * times, 0.01)).all():
            return (unit, True) if mean <= MOST * unit else (mean / MOST, False)
    return mean, False
