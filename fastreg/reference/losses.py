"""Layer 1', the reference of losses.pxd in plain NumPy: losses of the linear models, and their derivatives.

For classification y is -1 or 1 and z = y·margin; for regression y is a number, r = margin − y and mu = exp(margin). The
exponentials may differ from the compiled ones in the last bits: linear models are outside the promise of the same bits
everywhere.
"""

from math import inf

import numpy as np

# In the order of LossCode, with the largest second derivative by the margins, the corner of hinge apart. For infinity,
# `largest_curvature` takes its place.
LOSSES = {
    "log_loss": 0.25,
    "hinge": 0.0,
    "squared_hinge": 2.0,
    "modified_huber": 2.0,
    "multinomial": 0.5,
    "squared_error": 1.0,
    "huber": inf,
    "quantile": inf,
    "cross_entropy": 0.25,
    "poisson": inf,
    "gamma": inf,
    "tweedie": inf,
}
LOG_LINK = ("poisson", "gamma", "tweedie")  # the prediction is mu
LARGEST_EXPONENT = 200.0  # beyond it an exponential continues as its tangent: squares of slopes stay finite


def exp(x):
    """Constant from LARGEST_EXPONENT on."""
    return np.exp(np.minimum(x, LARGEST_EXPONENT))


def extended_exp(x):
    """Exp, and its tangent from LARGEST_EXPONENT on."""
    return exp(x) * (1 + np.maximum(x - LARGEST_EXPONENT, 0))


def log_loss(z):
    """log(1 + e⁻ᶻ)."""
    return np.logaddexp(0, -z)


def log_loss_slope(z):
    """Its derivative."""
    return -1 / (1 + np.exp(z))


def positive_part(x, width):
    """Max(0, x), or a parabola where abs(x) is less than half the width."""
    outside = np.maximum(0, x)
    return np.where(2 * np.abs(x) < width, (x + 0.5 * width) ** 2 / (2 * width), outside) if width else outside


def positive_part_slope(x, width):
    """Its derivative; at a corner that of the left."""
    outside = np.where(x > 0, 1.0, 0.0)
    return np.where(2 * np.abs(x) < width, (x + 0.5 * width) / width, outside) if width else outside


@np.errstate(over="ignore", invalid="ignore")
def loss(name, parameter, margin, y, smoothing=0.0):
    """The loss without the terms that depend on y only; the formulas are those of losses.pxd, in its docstring.

    The parameter is the epsilon of "huber", the quantile, or the power of "tweedie". For "multinomial", the margin is
    the logarithm of the probability of a class, and y is 1 for the sample's own class.
    """
    z, r, p = y * margin, margin - y, parameter
    if name == "log_loss":
        return log_loss(z)
    if name == "hinge":
        return positive_part(1 - z, smoothing)
    if name == "squared_hinge":
        return np.maximum(0, 1 - z) ** 2
    if name == "modified_huber":
        return np.where(z < -1, -4 * z, np.maximum(0, 1 - z) ** 2)
    if name == "multinomial":
        return np.where(y > 0, -margin, 0.0)
    if name == "quantile":
        return positive_part(r, smoothing) - p * r
    if name == "cross_entropy":
        return np.logaddexp(0, margin) - z
    if name == "poisson":
        return extended_exp(margin) - z
    if name == "gamma":
        return margin + y * extended_exp(-margin)
    if name == "tweedie":
        return extended_exp((2 - p) * margin) / (2 - p) - y * extended_exp((1 - p) * margin) / (1 - p)
    if name == "squared_error":
        return 0.5 * r * r
    return np.where(np.abs(r) <= p, 0.5 * r * r, p * (np.abs(r) - 0.5 * p))


@np.errstate(over="ignore")
def slope(name, parameter, margin, y, smoothing=0.0):
    """The derivative of the loss by the margin."""
    z, r, p = y * margin, margin - y, parameter
    if name == "log_loss":
        return y * log_loss_slope(z)
    if name == "hinge":
        return -y * positive_part_slope(1 - z, smoothing)
    if name == "squared_hinge":
        return np.where(z >= 1, 0.0, -2 * y * (1 - z))
    if name == "modified_huber":
        return np.where(z >= 1, 0.0, np.where(z < -1, -4 * y, -2 * y * (1 - z)))
    if name == "multinomial":
        return exp(margin) - np.where(y > 0, 1.0, 0.0)
    if name == "quantile":
        return positive_part_slope(r, smoothing) - p
    if name == "cross_entropy":
        return 1 / (1 + np.exp(-margin)) - y
    if name == "poisson":
        return exp(margin) - y
    if name == "gamma":
        return 1 - y * exp(-margin)
    if name == "tweedie":
        return exp((2 - p) * margin) - y * exp((1 - p) * margin)
    if name == "squared_error":
        return r
    return np.clip(r, -p, p)


@np.errstate(over="ignore")
def curvature(name, parameter, margin, y, smoothing=0.0):
    """The second derivative by the margin, where it jumps that of the steeper side; never negative.

    A "tweedie" that is not convex, with a power below 1 or above 2, has the expected one, as in Fisher scoring.
    """
    z, r, p = y * margin, margin - y, parameter
    if name in ("log_loss", "cross_entropy"):
        q = 1 / (1 + np.exp(np.abs(margin)))
        return q * (1 - q)
    if name in ("hinge", "quantile"):
        distance = np.abs(1 - z if name == "hinge" else r)
        return np.where(2 * distance < smoothing, 1 / smoothing, 0.0) if smoothing else 0.0 * distance
    if name == "squared_hinge":
        return np.where(z > 1, 0.0, 2.0)
    if name == "modified_huber":
        return np.where(np.abs(z) > 1, 0.0, 2.0)
    if name == "multinomial":
        return exp(margin) * (1 - exp(margin))
    if name == "poisson":
        return exp(margin)
    if name == "gamma":
        return y * exp(-margin)
    if name == "tweedie":
        return tweedie_curvature(p, margin, y) if 1 <= p <= 2 else exp((2 - p) * margin)
    return np.where(np.abs(r) <= (inf if name == "squared_error" else p), 1.0, 0.0)


def majorant(name, parameter, margin, y, smoothing=0.0):
    """Where a loss is linear but not flat, the second derivative of a parabola that touches it and is nowhere below it.

    Elsewhere the second derivative of the loss. "hinge" and "quantile" must be smooth.
    """
    z, r = y * margin, np.abs(margin - y)
    if name in ("hinge", "quantile"):
        return 1 / np.maximum(2 * (np.abs(1 - z) if name == "hinge" else r), smoothing)
    own = curvature(name, parameter, margin, y)
    if name == "modified_huber":
        return np.where(z < -1, 4 / np.maximum(1 - z, 1), own)
    if name == "huber":
        return np.where(r > parameter, parameter / np.maximum(r, parameter), own)
    return own


def tweedie_curvature(power, margin, y):
    """The second derivative, negative where a loss with a power below 1 or above 2 is not convex."""
    return (2 - power) * exp((2 - power) * margin) + (power - 1) * y * exp((1 - power) * margin)


def raised(name, parameter, margin, y, ratio):
    """The margin where "gamma" and "tweedie" predict y/ratio, if it is above the given one, and y positive."""
    if name == "gamma" or (name == "tweedie" and parameter > 1):
        return np.where(y > 0, np.maximum(margin, np.log(np.where(y > 0, y, 1.0)) - np.log(ratio)), margin)
    return margin


def largest_curvature(name, parameter, margin, y):
    """What a slope is divided by for a step that ends at the minimum at most, for losses of infinity in LOSSES.

    The largest second derivative between the margin and the minimum; for "quantile" and "huber", the slope over the
    distance.
    """
    if name == "quantile":
        return np.abs(slope(name, parameter, margin, y)) / np.abs(margin - y)
    if name == "huber":
        return parameter / np.maximum(np.abs(margin - y), max(parameter, 1e-300))
    if name == "poisson":
        return np.maximum(exp(margin), y)
    if name == "gamma":
        return np.maximum(y * exp(-margin), 1)
    own = tweedie_curvature(parameter, margin, y)
    return np.maximum(own, np.where(y > 0, np.maximum(y, 1e-300) ** (2 - parameter), 0.0))
