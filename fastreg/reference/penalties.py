"""Layer 1': the penalties of rules.pxd in plain NumPy: `subgradient`, `prox` and `value`.

A factor f of the coordinates' own multiplies the strengths; None where there is none.
"""

from typing import NamedTuple

import numpy as np

from fastreg.reference.scalars import sign, soft, soft_scaled, times
from fastreg.reference.tables import LINEAR, PENALTIES, registered

LARGEST = float(np.finfo(float).max)
STRENGTHS = ("l1", "l2")  # the fields that a factor multiplies


@registered(PENALTIES, *LINEAR)
class ElasticNet(NamedTuple):
    """l1·‖w‖₁ + l2/2·‖w‖₂² (Zou & Hastie 2005)."""

    l1: float
    l2: float

    def subgradient(self, g, w, f=None):
        """g plus a subgradient of the penalty at w: the one closest to zero at a corner."""
        return g + times(self.l1, f, w.dtype) * sign(w) + times(self.l2, f, w.dtype) * w

    def prox(self, x, eta, f=None):
        """The minimiser over v of (v − x)²/(2·eta) + the penalty at v."""
        return soft_scaled(x, l1_threshold(self, eta, f), l2_shrinkage(self, eta, f))

    def value(self, w, f=None):
        """The penalty at each weight, in float64. A strength of zero adds nothing, even at an infinite weight."""
        l1 = times(self.l1, f, w.dtype)
        return np.where(l1 != 0, l1 * np.abs(w), 0.0) + Ridge(self.l2).value(w, f)


class Ridge(NamedTuple):
    """l2/2·‖w‖₂²: the elastic net without l1 and its arithmetic."""

    l2: float

    def subgradient(self, g, w, f=None):
        return g + times(self.l2, f, w.dtype) * w

    def prox(self, x, eta, f=None):
        return x * l2_shrinkage(self, eta, f)

    def value(self, w, f=None):
        l2 = times(0.5 * self.l2, f, w.dtype)
        return np.where(l2 != 0, l2 * (w * w), 0.0)


@registered(PENALTIES, "subgradient", "proximal")
class MCP(NamedTuple):
    """l1·|w| − w²/(2·gamma) up to gamma·l1, from there the constant gamma·l1²/2 (Zhang 2010); and l2/2·w²."""

    l1: float
    l2: float
    gamma: float

    def subgradient(self, g, w, f=None):
        slope = times(self.l1, f, w.dtype) - np.abs(w) / w.dtype.type(self.gamma)
        return g + np.where(slope <= 0, w.dtype.type(0), slope) * sign(w) + times(self.l2, f, w.dtype) * w

    def prox(self, x, eta, f=None):
        shrinkage, gamma, l1 = l2_shrinkage(self, eta, f), x.dtype.type(self.gamma), times(self.l1, f, x.dtype)
        x, eta = x * shrinkage, eta * shrinkage
        firm = soft(x, eta * l1) / (x.dtype.type(1) - eta / gamma)
        hard = np.where(np.abs(x) <= l1 * np.sqrt(eta * gamma), x.dtype.type(0), x)
        firm = np.where((np.abs(x) > gamma * l1) | (np.abs(firm) > np.abs(x)), x, firm)
        return np.where(eta >= gamma, hard, firm)

    def value(self, w, f=None):
        l1, size = times(self.l1, f, w.dtype), np.abs(w)
        concave = l1 * size - size * size / (2 * self.gamma)
        mcp = np.where(size > self.gamma * l1, 0.5 * self.gamma * (l1 * l1), concave)
        return mcp + Ridge(self.l2).value(w, f)


def penalty_with(l1, l2, gamma=np.inf):
    """The penalty that these settings mean."""
    return MCP(l1, l2, gamma) if gamma <= LARGEST else ElasticNet(l1, l2)


def scaled(p, factor):
    """A penalty with its strengths times a number."""
    return p._replace(**{name: getattr(p, name) * factor for name in STRENGTHS if name in p._fields})


def without_l1(p, f=None):
    """Ridge in place of an elastic net without l1 and without factors, as the kernels choose: zeros differ in sign."""
    return Ridge(p.l2) if isinstance(p, ElasticNet) and p.l1 == 0 and f is None else p


# -- The elastic net's parts, for its closed forms --------------------------------------------------------------------


def l1_threshold(p, eta, f=None):
    """What l1 takes off |w| in a step of size eta."""
    return eta.dtype.type(0) if isinstance(p, Ridge) else eta * times(p.l1, f, eta.dtype)


def l2_shrinkage(p, eta, f=None):
    """The factor by which l2 shrinks a weight in a proximal step of size eta."""
    one = eta.dtype.type(1)
    return one / (one + eta * times(p.l2, f, eta.dtype))
