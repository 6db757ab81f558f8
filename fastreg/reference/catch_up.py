"""Layer 1', the reference of catch_up.pxd in plain NumPy: steps without a gradient, applied later and all at once."""

from typing import NamedTuple

import numpy as np

from fastreg.reference.groups import even_factor, group_sums
from fastreg.reference.penalties import MCP, l1_threshold, l2_shrinkage
from fastreg.reference.rules import FTRL, Adagrad, Proximal, adaptive_rate, solve
from fastreg.reference.scalars import soft, times

LAZY_MODES_OF = {"Plain": ("proximal", "truncated"), "Adagrad": ("proximal",), "FTRL": ("proximal",)}  # closed forms


class Clock(NamedTuple):
    """The steps of Plain since the start."""

    product: float = 1.0  # P = Π a
    inverse: float = 1.0  # 1/P
    total: float = 0.0  # B = Σ lr·l1/P
    compensation: float = 0.0  # Kahan's, for the next term of B


class Stamp(NamedTuple):
    """The clock at the time when a weight was last up to date."""

    inverse: float
    total: float


class Missed(NamedTuple):
    """The steps since weights were up to date; numbers or arrays."""

    scale: float
    threshold: float
    steps: int


def tick(m, p, lr, now):
    """One more step of Plain in the proximal or the truncated mode; lr has the weights' dtype, which rounds.

    Of MCP only without l2, and for lr < gamma.
    """
    threshold = float(l1_threshold(p, lr))
    proximal = isinstance(m, Proximal)
    kept = float(l2_shrinkage(p, lr)) if proximal else 1 - float(lr * lr.dtype.type(p.l2))
    product = now.product * np.float64(kept)  # 1/0 is infinite, as in C
    if isinstance(p, MCP):
        product = now.product / np.float64(lr.dtype.type(1) - lr / lr.dtype.type(p.gamma))
    inverse = 1 / product
    threshold = threshold * (now.inverse if proximal else inverse) - now.compensation
    total = now.total + threshold if threshold > 0 else now.total  # never less: the next, larger term compensates
    return Clock(product, inverse, total, (total - now.total) - threshold)


def needs_rebase(now, threshold):
    """Whether the clock must start again, once all weights are up to date, after a step with this l1 threshold."""
    largest = now.product * now.total  # the largest pending penalty of a weight
    return not (1e-150 < now.product < 1e150 and now.total < 1e150) or (largest > 16 and largest > 2**20 * threshold)


def missed(now, then):
    """The steps since the time of the stamps; exactly nothing where no step was made."""
    scale = np.where(then.inverse != now.inverse, now.product * then.inverse, 1.0)
    finite = (now.product > 0) & (then.total < now.total)
    return Missed(scale, np.where(finite, now.product * (now.total - then.total), 0.0), 0)


def apply_missed(since, w):
    """The weights after the steps that they have missed."""
    return soft(since.scale * w.astype(float), since.threshold).astype(w.dtype)


def mcp_missed(p, since, w, f=None):
    """The same for MCP without l2: weights above gamma·l1 stand still. Rounding must not make a weight grow."""
    moved = apply_missed(since, w)
    stands = np.abs(w) > w.dtype.type(p.gamma) * times(p.l1, f, w.dtype)
    return np.where(stands | (np.abs(moved) > np.abs(w)), w, moved)


def group_factor(since, norm, f):
    """What the steps that groups with equal step sizes have missed multiply them by, from their norms and factors."""
    return since.scale * even_factor(since.scale * norm, 1, since.threshold * f)


def catch_up_groups(since, w, f=None):
    """The rows of a matrix, each a group, after the steps that they have missed; factors are equal within a row."""
    own = np.ones(len(w)) if f is None else f[:, 0].astype(float)
    factor = group_factor(since, np.sqrt(group_sums(w[np.newaxis].astype(float) ** 2)), own)[:, np.newaxis]
    z = np.where(factor == 0, 0.0, factor * w.astype(float)).astype(w.dtype)
    return np.where(own[:, np.newaxis] == 0, w, z)


def step_without_gradient(d, p, squares, f=None):
    """A step of Adagrad without a gradient is shrinkage·(|w| − threshold): these two, in float64."""
    eta = adaptive_rate(d, squares)
    return l2_shrinkage(p, eta, f).astype(float), l1_threshold(p, eta, f).astype(float)


def ends_at_zero(w, threshold, steps):
    """Whether this number of steps surely leads to zero: each subtracts the threshold, or more."""
    return np.abs(w) <= 0.999 * (threshold * steps)


def next_digit(odd, a, power, total, a_power, a_total):
    """One binary digit of k, the lowest first, on the way to aᵏ and 1 + … + aᵏ⁻¹."""
    rest = 1 - a
    more = a_power * total + a_total
    less = np.where(rest * more < 0.5, 1 - rest * more, power * a_power)
    total, power = np.where(odd, more, total), np.where(odd, less, power)
    a_total = a_total * (1 + a_power)
    return power, total, np.where(rest * a_total < 0.5, 1 - rest * a_total, a_power * a_power), a_total


def repeated(power, total, a, threshold, steps):
    """This number of steps a·(|w| − threshold), from aᵏ and 1 + … + aᵏ⁻¹: in all threshold·(a + … + aᵏ)."""
    return Missed(power, np.where(a * total > 0, threshold * (a * total), 0.0), steps)


def catch_up(d, p, since, w, a=None, b=None, f=None):
    """The weights after the steps that they have missed; a, b and f as for step, and no gradient meanwhile."""
    if isinstance(d, FTRL):
        return np.where(since.steps > 0, solve(d, p, a, b, f), w)
    if isinstance(d, Adagrad):
        shrinkage, threshold = step_without_gradient(d, p, a, f)
        steps = np.broadcast_to(since.steps, w.shape)
        gone = ends_at_zero(w.astype(float), threshold, steps)
        power, total, a_power, a_total = np.where(gone, 0.0, 1.0), np.zeros(w.shape), shrinkage, np.ones(w.shape)
        left = np.where(gone, 0, steps)
        while np.any(left > 0):
            power, total, a_power, a_total = next_digit(left % 2 == 1, shrinkage, power, total, a_power, a_total)
            left = left // 2
        return apply_missed(repeated(power, total, shrinkage, threshold, steps), w)
    if f is not None:
        since = since._replace(threshold=since.threshold * f.astype(float))
    moved = mcp_missed(p, since, w, f) if isinstance(p, MCP) else apply_missed(since, w)
    return moved if f is None else np.where(f == 0, w, moved)
