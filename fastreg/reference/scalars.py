"""Layer 1': the scalar functions of rules.pxd in plain NumPy, over whole arrays."""

import numpy as np


def as_float32(a):
    """The array as float32 if it holds bfloat16, which is computed in float32."""
    return a.astype(np.float32) if a.dtype.itemsize == 2 else a


def times(x, f, dtype):
    """A strength, rounded to dtype, as it applies to coordinates with the factors f, which are None for 1."""
    return dtype.type(x) if f is None else dtype.type(x) * f.astype(dtype)


def sign(w):
    """-1, 0 or 1; 0 at both zeros."""
    return np.where(w != 0, np.copysign(w.dtype.type(1), w), w.dtype.type(0))


def within(x, low, high):
    """x, moved into the interval. After the proximal operator of a convex penalty: the minimiser over the interval."""
    c = np.where(x < low, low, x)
    return np.where(c > high, high, c)


def soft(x, t):
    """The soft threshold S(x, t) = x − clip(x, −t, t). In this form it keeps a NaN and its zeros are +0.0."""
    c = np.where(x < t, x, t)
    c = np.where(-t < c, c, -t)
    return x - c


def soft_scaled(x, t, scale):
    """The proximal operator of the elastic net, from the threshold of l1 and the shrinkage of l2."""
    return soft(x, t) * scale
