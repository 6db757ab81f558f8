"""Layer 1', the reference of rules.pxd in plain NumPy: same names, same order of operations, over whole arrays.

This is the contract of the compiled kernels: tests compare with it bit for bit (a NaN's payload and sign apart). It
imports NumPy only, allocates freely and checks nothing. Penalties and scalar functions have files of their own.
"""

from typing import NamedTuple

import numpy as np

from fastreg.reference.penalties import MCP, Ridge, l1_threshold
from fastreg.reference.scalars import as_float32, sign, soft, times
from fastreg.reference.tables import ADAPTIVE, DIRECTIONS, LINEAR, registered

# -- Directions: `move` gives the move u, after the state has taken in the gradient g, and the step size eta -----------


@registered(DIRECTIONS, *LINEAR)
class Plain(NamedTuple):
    """Gradient descent."""

    lr: float

    def move(self, g, a, b, c):
        return self.lr * g, self.lr


@registered(DIRECTIONS, *LINEAR)
class Momentum(NamedTuple):
    """Heavy ball (Polyak 1964), with torch's dampening. State: buffer."""

    lr: float
    momentum: float
    one_minus_dampening: float  # 1 at the first step, whose buffer is the undampened gradient
    eta: float  # lr·(1 − dampening)/(1 − momentum)

    def move(self, g, a, b, c):
        a[...] = self.momentum * a + self.one_minus_dampening * g
        return self.lr * a, self.eta


@registered(DIRECTIONS, *LINEAR)
class Nesterov(NamedTuple):
    """Nesterov momentum in the form of Sutskever et al. (2013). State: buffer."""

    lr: float
    momentum: float
    eta: float  # lr/(1 − momentum)

    def move(self, g, a, b, c):
        a[...] = self.momentum * a + g
        return self.lr * (g + self.momentum * a), self.eta


@registered(DIRECTIONS, *ADAPTIVE)
class Adagrad(NamedTuple):
    """Duchi, Hazan & Singer (2011). State: sum of squares."""

    lr: float
    eps: float

    def move(self, g, a, b, c):
        a[...] = a + g * g
        eta = adaptive_rate(self, a)
        return eta * g, eta


@registered(DIRECTIONS, *ADAPTIVE)
class RMSprop(NamedTuple):
    """Tieleman & Hinton (2012). State: mean square."""

    lr: float
    alpha: float
    one_minus_alpha: float
    eps: float

    def move(self, g, a, b, c):
        a[...] = self.alpha * a + self.one_minus_alpha * (g * g)
        eta = adaptive_rate(self, a)
        return eta * g, eta


@registered(DIRECTIONS, *ADAPTIVE)
class Adam(NamedTuple):
    """Kingma & Ba (2015). State: mean, mean square."""

    lr: float
    beta1: float
    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float
    eps: float
    bias_correction1: float  # 1/(1 − beta1ᵗ)
    bias_correction2: float  # 1/√(1 − beta2ᵗ)

    def move(self, g, a, b, c):
        self.average(g, a, b)
        return self.corrected(a, b)

    def average(self, g, a, b):
        a[...] = self.beta1 * a + self.one_minus_beta1 * g
        b[...] = self.beta2 * b + self.one_minus_beta2 * (g * g)

    def corrected(self, a, b):
        eta = adaptive_rate(self, b)
        return eta * (a * self.bias_correction1), eta


@registered(DIRECTIONS, *ADAPTIVE)
class AMSGrad(Adam):
    """Reddi, Kale & Kumar (2018), of the uncorrected mean square. State: mean, mean square, its largest value."""

    def move(self, g, a, b, c):
        self.average(g, a, b)
        c[...] = np.where(c > b, c, b)
        return self.corrected(a, c)


@registered(DIRECTIONS, "decoupled")
class Lion(NamedTuple):
    """Chen et al. (2023): all moves have the same length. State: mean."""

    lr: float
    beta1: float
    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float

    def move(self, g, a, b, c):
        m = self.beta1 * a + self.one_minus_beta1 * g
        a[...] = self.beta2 * a + self.one_minus_beta2 * g
        return self.lr * np.where(np.isnan(m), m, sign(m)), self.lr


@registered(DIRECTIONS, "proximal")
class FTRL(NamedTuple):
    """FTRL-Proximal (McMahan et al. 2013), which has no move: see `accumulate` and `solve`. State: z, n."""

    lr: float
    beta: float


# -- Modes ------------------------------------------------------------------------------------------------------------


class Subgradient(NamedTuple):
    """The penalty's subgradient joins the gradient: the textbook rule."""


class Decoupled(NamedTuple):
    """The penalty acts beside the move, scaled by lr (Loshchilov & Hutter 2019)."""


class Truncated(NamedTuple):
    """L2 by gradient, L1 by truncation towards zero (Langford, Li & Zhang 2009)."""

    theta: float


class Proximal(NamedTuple):
    """The penalty's proximal operator after the move (Duchi & Singer 2009)."""


MODES = {"subgradient": Subgradient, "decoupled": Decoupled, "truncated": Truncated, "proximal": Proximal}


# -- Closed forms -----------------------------------------------------------------------------------------------------


def truncated(m, p, w, u, eta, f=None):
    """l2 by gradient, then l1 by a soft threshold of weights up to theta (Langford, Li & Zhang 2009)."""
    x = w - u - eta * times(p.l2, f, w.dtype) * w
    eta = np.where(np.abs(x) <= w.dtype.type(m.theta), eta, w.dtype.type(0))
    return x if isinstance(p, Ridge) else soft(x, l1_threshold(p, eta, f))


def denominator(d, squares):
    """What lr is divided by in the step sizes of coordinates with these sums, or means, of squared gradients."""
    if isinstance(d, FTRL):
        return d.beta + np.sqrt(squares)
    if isinstance(d, Adam):
        return np.sqrt(squares) * d.bias_correction2 + d.eps
    return np.sqrt(squares) + d.eps


def curvature(d, n):
    """FTRL-Proximal: the second derivative of what `solve` minimises, without the penalty."""
    return denominator(rounded(d, n.dtype), n) * n.dtype.type(np.float64(1) / d.lr)


def solve(d, p, z, n, f=None):
    """FTRL-Proximal: the weights that minimise z·w + (beta + √n)/(2·lr)·w² + the penalty, in closed form."""
    c = curvature(d, n)
    if isinstance(p, MCP):
        return p.prox(-z / c, z.dtype.type(1) / c, f)
    x = -z if isinstance(p, Ridge) else soft(-z, times(p.l1, f, z.dtype))
    return x / (c + times(p.l2, f, z.dtype))


def reanchored(before, d, w, z, n):
    """FTRL-Proximal: z, which was built on the lr and beta of `before`, for those of d: `solve` still gives w.

    Not where d.lr is 0. For bfloat16, w is what `solve` gives before it is rounded, unless there are groups.
    """
    return np.where(w == 0, z, z + (curvature(before, n) - curvature(d, n)) * w)


def warm_start(d, p, w, n, f=None):
    """The z from which FTRL-Proximal's closed form gives back w."""
    c = curvature(d, n)
    total = c + times(p.l2, f, w.dtype)
    if isinstance(p, MCP):  # where the total is at most 1/gamma, the closed form is a hard threshold
        return np.where(1 / total >= p.gamma, -total * w, -p.subgradient(c * w, w, f))
    return -w * total - times(p.l1, f, w.dtype) * sign(w)


# -- Directions: one step ---------------------------------------------------------------------------------------------


def correct(d, power1, power2):
    """The direction with the bias corrections for beta1ᵗ and beta2ᵗ, t this step included."""
    if isinstance(d, Adam):
        return d._replace(bias_correction1=1 / (1 - power1), bias_correction2=1 / np.sqrt(1 - power2))
    return d


def advance(d, power1, power2):
    """beta1ᵗ and beta2ᵗ after one more step. Running products, since the bits of pow differ between machines."""
    return (power1 * d.beta1, power2 * d.beta2) if isinstance(d, Adam) else (power1, power2)


def adaptive_rate(d, squares):
    """The step sizes of coordinates with these sums, or means, of squared gradients."""
    d = rounded(d, squares.dtype)
    return d.lr / denominator(d, squares)


def accumulate(d, w, g, z, n):
    """FTRL-Proximal: the state takes in the gradients g at w."""
    accumulate_with_root(d, w, g, z, n, np.asarray(np.sqrt(n)))


def accumulate_with_root(d, w, g, z, n, root_n):
    """The same with √n as a part of the state."""
    before = root_n.copy()
    n[...] = n + g * g
    root_n[...] = np.sqrt(n)
    z[...] = z + (g - (root_n - before) * w.dtype.type(np.float64(1) / d.lr) * w)


def accumulate_at_zero(g, z, n):
    """`accumulate` at weights of zero, which needs no root; as there, z becomes NaN where n overflows."""
    n[...] = n + g * g
    z[...] = z + (g - n * n.dtype.type(0))


# -- One step ---------------------------------------------------------------------------------------------------------


def step(d, m, p, w, g, a=None, b=None, c=None, f=None):
    """The new weights. `a`, `b`, `c` are the coordinates' state, f their factors; None where there is none.

    Those of bfloat16 are float32, and so are state and factors. Storing them rounds once, to the nearest. FTRL needs
    `reanchored` before it where lr or beta differ from those of the step before.
    """
    w, g = as_float32(w), as_float32(g)
    if isinstance(d, FTRL):
        if d.lr == 0:
            return w
        accumulate(d, w, g, a, b)
        return solve(d, p, a, b, f)
    if isinstance(m, Subgradient):
        u, _ = rounded(d, w.dtype).move(p.subgradient(g, w, f), a, b, c)
        return w - u
    u, eta = rounded(d, w.dtype).move(g, a, b, c)
    if isinstance(m, Decoupled):
        return w - u - w.dtype.type(d.lr) * p.subgradient(w.dtype.type(0), w, f)
    if isinstance(m, Truncated):
        return truncated(m, p, w, u, eta, f)
    return p.prox(w - u, eta, f)


def rounded(d, dtype):
    """A direction with its numbers rounded to dtype, once."""
    return type(d)(*map(dtype.type, d))
