"""Layer 5, the targets of the regressor: which ones a loss allows, and which constants predict them best."""

from math import exp, inf

import numpy as np
from scipy.special import expit, logit, logsumexp

from fastreg.reference.losses import LARGEST_EXPONENT, LOG_LINK

LARGEST = 1e30  # of the targets of losses with log link, so that squares of slopes stay finite
LARGEST_MARGIN = 700.0  # predictions stay finite


def loss_of_margins(model):
    """The name of the model's loss in reference/losses.py, and its parameter."""
    if model.loss == "tweedie" and model.power in (1, 2):
        return ("poisson", 0.0) if model.power == 1 else ("gamma", 0.0)
    parameter = {"huber": "epsilon", "quantile": "quantile", "tweedie": "power"}.get(model.loss)
    return model.loss, float(getattr(model, parameter)) if parameter else 0.0


def interval(loss, power):
    """The smallest and the largest target that a loss allows."""
    if loss == "cross_entropy":
        return 0.0, 1.0
    if loss not in LOG_LINK:
        return -inf, inf
    if loss == "gamma":
        return 1 / LARGEST, LARGEST
    if loss == "tweedie" and power > 2:  # the larger the power, the earlier mu¹⁻ᵖ is too large
        return max(1 / LARGEST, exp(-0.75 * LARGEST_EXPONENT / (power - 1))), LARGEST
    return (-LARGEST if loss == "tweedie" and power == 0 else 0.0), LARGEST


def check_targets(y, model):
    """ValueError, before anything is trained, if the loss has no meaning for a target."""
    low, high = interval(*loss_of_margins(model))
    inside = (y >= low) & (y <= high)
    if not inside.all():
        which = f"loss={model.loss!r}" + (f", power={model.power!r}" if model.loss == "tweedie" else "")
        expected = f"numbers from {low:g} to {high:g}"
        if high == LARGEST:
            expected = f"positive {expected}" if low > 0 else f"non-negative {expected}" if low == 0 else expected
        raise ValueError(f"y: expected {expected} with {which}, got {float(y[~inside][0])!r}")


def predictions(margins, loss):
    """What a loss predicts at these margins; exponentials are capped, so that they are finite."""
    if loss == "cross_entropy":
        return expit(margins)
    if loss in LOG_LINK:
        return np.exp(np.minimum(margins, LARGEST_MARGIN, dtype=float))
    return margins


def log_mean(targets, weights, offsets, power):
    """The margin, without its offset, that minimises the deviance of this power; None if it is infinite.

    It solves Σ weight·(mu − y)·mu¹⁻ᵖ = 0 with mu = exp(margin + offset).
    """
    if not (targets * weights).sum() > 0:
        return None
    above = logsumexp((1 - power) * offsets, b=weights * targets)
    return float(above - logsumexp((2 - power) * offsets, b=weights))


def constant_margins(model, targets, weights, offsets):
    """Margins without their offsets that do not depend on the features, among them that of the smallest mean loss."""
    loss, parameter = loss_of_margins(model)
    mean = targets @ (weights / weights.sum())
    if loss in LOG_LINK:
        margin = log_mean(targets, weights, offsets, {"poisson": 1.0, "gamma": 2.0}.get(loss, parameter))
        return [] if margin is None else [np.array([margin])]
    if loss == "cross_entropy":
        shift = offsets @ (weights / weights.sum())
        return [np.array([logit(np.clip(mean, 1e-300, 1 - 1e-16)) - shift])]
    rest = targets - offsets
    order = np.argsort(rest)
    total = np.cumsum(weights[order])
    share = parameter if loss == "quantile" else 0.5
    middle = rest[order][np.searchsorted(total, share * total[-1])]
    return [np.array([rest @ (weights / weights.sum())]), np.array([middle])]
