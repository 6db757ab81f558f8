"""Layer 1': the group lasso of groups.pxd in plain NumPy, over all groups of a tensor.

A group is what one index of an axis selects: a row or a column of a matrix, a channel; with the axis None, the whole
tensor. Its sums are doubles. A tensor lies in memory as outer × groups × inner.
"""

import numpy as np

from fastreg.reference.rules import (
    FTRL,
    Adam,
    AMSGrad,
    Momentum,
    Nesterov,
    Plain,
    Proximal,
    denominator,
    rounded,
    step,
)
from fastreg.reference.scalars import as_float32, within

GROUP_LANES = 16
MOST_PANELS = 64
LEAST_LINES = 64
DIRECTIONS_WITH_GROUPS = ("Plain", "Momentum", "Nesterov", "Adagrad", "RMSprop", "Adam", "AMSGrad", "FTRL")
MOST_ITERATIONS = 60


def group_shape(w, axis):
    """The shape (outer, groups, inner) of w in memory."""
    if axis is None:
        return 1, 1, w.size
    shape, axis = w.shape, axis % w.ndim
    if not w.flags.c_contiguous:
        shape, axis = shape[::-1], w.ndim - 1 - axis
    return int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :]))


def group_view(a, shape):
    """An array in the order of its memory, with this shape."""
    return a.ravel(order="K").reshape(shape)


def group_sums(terms):
    """The sums over the groups of terms of shape (outer, groups, inner).

    Contiguous groups in 16 lanes, which are added pairwise at the end; others in panels of lines, each in the order of
    its memory, which are added one after the other.
    """
    terms = terms.astype(float)
    outer, groups, inner = terms.shape
    if outer == 1:
        # in C order: NumPy 2.4 crashes if memory runs out in the sum of arrays of different orders
        padded = np.zeros((-(-inner // GROUP_LANES) * GROUP_LANES, groups))
        padded[:inner] = terms[0].T
        lanes = added(padded[i : i + GROUP_LANES] for i in range(0, len(padded), GROUP_LANES))
        lanes = np.zeros((GROUP_LANES, groups)) + lanes
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = lanes[:half] + lanes[half:]
        return lanes[0]
    lines = max(-(-outer // MOST_PANELS), LEAST_LINES)  # the last panel has more if some are left
    panels = np.split(terms, range(lines, outer - lines + 1, lines))
    panels = (panel.transpose(0, 2, 1).reshape(len(panel) * inner, groups) for panel in panels)
    return np.zeros(groups) + added(added(panel) for panel in panels)


def added(terms):
    """The sum of arrays, added one after the other; 0 if there are none."""
    total = 0.0
    for term in terms:
        total = total + term
    return total


def metric(d, a=None, b=None, c=None):
    """The inverse of the coordinates' step sizes, at most a number whose square does not overflow in double."""
    squares = c if isinstance(d, AMSGrad) else b if isinstance(d, (Adam, FTRL)) else a
    dtype = squares.dtype
    h = denominator(rounded(d, dtype), squares) * dtype.type(1 / d.lr)
    most = dtype.type(1e30 if dtype == np.float32 else 1e150)
    return np.where(h < most, h, most)


def even_factor(norm, h, l21):
    """What groups of these norms are multiplied by where all h are equal."""
    threshold = l21 / h
    return np.where(norm <= threshold, 0, np.where(norm < np.inf, (norm - threshold) / norm, 1))


def multiplied(x, factor):
    """The weights of groups with these factors: 0 is 0 for an infinite weight, too."""
    return np.where(factor == 0, x.dtype.type(0), x * factor)


def group_prox(x, h, l21):
    """The groups that minimise Σ h·(z − x)²/2 + l21·‖z‖, for x and h of shape (outer, groups, inner), l21 by group."""
    strength, v = l21.astype(float), x.astype(float)
    p = v * h.astype(float)
    xx, xxhh = group_sums(v * v), group_sums(p * p)
    least, tolerance = h.min(axis=(0, 2), initial=np.inf).astype(float), 1e-8 if x.dtype == np.float32 else 1e-16
    t = np.where(l21 == 0, np.inf, first_norm(xx, xxhh, strength))
    iterated = is_iterated(xx, xxhh, strength) & (l21 != 0) & ~is_close(xx, xxhh, least, strength, tolerance)
    for _ in range(MOST_ITERATIONS):
        if not iterated.any():
            break
        k = inverse_norm(h, t, l21)
        p, k = (x * k).astype(float), k.astype(float)
        q = p * p * k
        slopes = [group_sums(terms) for terms in (p * p, q, q * k)]
        better, unfinished = improved(t, slopes, strength, least, tolerance)
        before, t = t, np.where(iterated, better, t)
        iterated = iterated & unfinished & (t.astype(h.dtype) != before.astype(h.dtype))
    return shrunk(x, inverse_norm(h, t, l21), t)


def is_iterated(xx, xxhh, l21):
    """Whether the norms must be searched. If not, a group is 0, or stands still, as its norm is not finite."""
    return (xx + xxhh < np.inf) & ~(np.sqrt(xxhh) <= l21)


def first_norm(xx, xxhh, l21):
    """Where the search starts; 0 and infinity if there is none."""
    without = np.where(np.sqrt(xxhh) <= l21, 0, np.inf)
    return np.where(is_iterated(xx, xxhh, l21), np.sqrt(xx) * (1 - l21 / np.sqrt(xxhh)), without)


def is_close(xx, xxhh, least, l21, tolerance):
    """Whether the search can end where it starts: no weight is off by more than the relative tolerance.

    `least` is the smallest h of a group.
    """
    most = l21 / least
    lower = np.sqrt(xx) - most
    return (most < lower) & (most * (most - l21 * np.sqrt(xx / xxhh)) <= tolerance * (lower * lower))


def improved(t, slopes, l21, least, tolerance):
    """An iteration of Newton's method, and whether the next one could still change a weight."""
    s, d, c = slopes
    most = l21 / least
    change = s * (np.sqrt(s) - 1) / d
    left = 1.5 * (s * c - d * d) / (s * d) * (change * change)
    t = np.where(t + change > 0, t + change, 0)
    unfinished = left * np.where(most < t, most, t) > tolerance * (t * t)
    return t, unfinished | (np.abs(change) > 0.5 * t)


def inverse_norm(h, t, l21):
    """k, near 1/t."""
    return h / (by_group(t, h.dtype) * h + by_group(l21, h.dtype))


def shrunk(x, k, t):
    """The coordinates of groups with the norms t; x where a group stands still, because t is not finite."""
    z = by_group(t, x.dtype) * (x * k)
    z = np.where(np.abs(z) <= np.abs(x), z, x)
    return np.where(by_group(t, x.dtype) == 0, x.dtype.type(0), z)


def by_group(values, dtype):
    """One value for each group, to be combined with arrays of shape (outer, groups, inner)."""
    return values.astype(dtype)[:, np.newaxis]


def group_step(d, p, l21, axis, w, g, a=None, b=None, c=None, f=None, bounds=None):
    """The new weights: a proximal step, then its groups' own. Factors are equal within a group.

    Weights of bfloat16 are rounded in between, too.
    """
    x = step(d, Proximal(), p, w, g, a, b, c, f)
    if bounds is not None:
        x = within(x, *(np.asarray(side, x.dtype) for side in bounds))
    if w.dtype.itemsize == 2:
        x = as_float32(x.astype(w.dtype))
    if d.lr == 0 or l21 == 0 or x.size == 0:
        return x
    shape = group_shape(w, axis)
    factors = np.ones(shape[1], x.dtype) if f is None else group_view(f, shape)[0, :, 0].astype(x.dtype)
    strength, l2 = x.dtype.type(l21) * factors, x.dtype.type(p.l2) * factors
    x = group_view(x, shape)
    if isinstance(d, (Plain, Momentum, Nesterov)):
        h = np.float64(1) / getattr(d, "eta", d.lr) + l2.astype(float)
        factor = even_factor(np.sqrt(group_sums(x.astype(float) ** 2)), h, strength.astype(float))
        factor = by_group(np.where(strength == 0, 1, factor), x.dtype)
        z = multiplied(x, factor)
    else:
        states = [None if s is None else group_view(s, shape) for s in (a, b, c)]
        h = metric(d, *states)
        z = group_prox(x, h + by_group(l2, h.dtype) if p.l2 != 0 else h, strength)
    return np.asarray(z.ravel()).reshape(w.shape, order="C" if w.flags.c_contiguous else "F")


def group_sum(l21, axis, w, f=None):
    """The penalty l21·Σ‖group‖ of all groups, added in their order."""
    shape = group_shape(w, axis)
    norms = np.sqrt(group_sums(group_view(as_float32(w), shape).astype(float) ** 2))
    factors = 1.0 if f is None else group_view(f, shape)[0, :, 0].astype(float)
    return float(sum(np.where(l21 * factors != 0, l21 * factors * norms, 0.0).tolist()))


def group_subgradient(l21, axis, w, f=None):
    """The gradient of l21·Σ‖group‖ by w, 0 in groups that are zero."""
    shape = group_shape(w, axis)
    view = group_view(w, shape)
    norms = np.sqrt(group_sums(view.astype(float) ** 2))[:, np.newaxis]
    scaled = l21 * view / np.where(norms == 0, 1, norms)
    scaled = scaled if f is None else scaled * group_view(f, shape)
    return scaled.astype(w.dtype).ravel().reshape(w.shape, order="C" if w.flags.c_contiguous else "F")


__all__ = [
    "DIRECTIONS_WITH_GROUPS",
    "group_prox",
    "group_shape",
    "group_step",
    "group_subgradient",
    "group_sum",
    "group_view",
    "metric",
]
