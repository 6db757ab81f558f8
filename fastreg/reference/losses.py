"""Layer 1', the reference of losses.pxd in plain NumPy: losses of the linear models, and their slopes.

For classification y is -1 or 1 and z = y·margin; for regression y is any number and r = margin − y. The exponentials
may differ from the compiled ones in the last bits: linear models are outside the promise of the same bits everywhere.
"""

import numpy as np

LOSSES = {  # in the order of LossCode, with the largest second derivative by the margin, the corner of hinge apart
    "log_loss": 0.25,
    "hinge": 0.0,
    "squared_hinge": 2.0,
    "squared_error": 1.0,
    "huber": 1.0,
}


@np.errstate(over="ignore")
def loss(name, epsilon, margin, y):
    """log(1 + e⁻ᶻ), max(0, 1 − z) or its square; r²/2, or that up to abs(r) = epsilon and linear beyond."""
    z, r = y * margin, margin - y
    if name == "log_loss":
        return np.logaddexp(0, -z)
    if name == "hinge":
        return np.maximum(0, 1 - z)
    if name == "squared_hinge":
        return np.maximum(0, 1 - z) ** 2
    if name == "squared_error":
        return 0.5 * r * r
    return np.where(np.abs(r) <= epsilon, 0.5 * r * r, epsilon * (np.abs(r) - 0.5 * epsilon))


@np.errstate(over="ignore")
def slope(name, epsilon, margin, y):
    """The derivative of the loss by the margin."""
    z, r = y * margin, margin - y
    if name == "log_loss":
        return -y / (1 + np.exp(z))
    if name == "hinge":
        return np.where(z >= 1, 0.0, -y)
    if name == "squared_hinge":
        return np.where(z >= 1, 0.0, -2 * y * (1 - z))
    if name == "squared_error":
        return r
    return np.clip(r, -epsilon, epsilon)
