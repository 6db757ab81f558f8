"""Layer 1', the reference of rules.pxd in plain NumPy: same names, same order of operations, over whole arrays.

This is the contract of the compiled kernels: tests compare with it bit for bit (a NaN's payload and sign apart). It
imports NumPy only, allocates freely and checks nothing.
"""

from typing import NamedTuple

import numpy as np

DIRECTIONS: dict[str, type] = {}
PENALTIES: dict[str, type] = {}
MODES_OF: dict[str, tuple[str, ...]] = {}  # of directions and penalties: the table that checks, tests and docs read
LINEAR = "subgradient", "decoupled", "truncated", "proximal"
ADAPTIVE = "subgradient", "decoupled", "proximal"  # coordinates differ in step size


def registered(table, *modes):
    """Lists a class in a table, and its modes."""

    def register(cls):
        table[cls.__name__], MODES_OF[cls.__name__] = cls, modes
        return cls

    return register


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
        eta = self.lr / (np.sqrt(b) * self.bias_correction2 + self.eps)
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


# -- Penalties: `subgradient`, `prox` and `value`; f is the coordinates' factor, or None -------------------------------

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
        return soft(x, l1_threshold(self, eta, f)) * l2_shrinkage(self, eta, f)

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


def scaled(p, factor):
    """A penalty with its strengths times a number."""
    return p._replace(**{name: getattr(p, name) * factor for name in STRENGTHS if name in p._fields})


def without_l1(p, f=None):
    """Ridge in place of an elastic net without l1 and without factors, as the kernels choose: zeros differ in sign."""
    return Ridge(p.l2) if isinstance(p, ElasticNet) and p.l1 == 0 and f is None else p


# -- Scalar functions, over arrays ------------------------------------------------------------------------------------


def as_float32(a):
    """The array as float32 if it holds bfloat16, which is computed in float32."""
    return a.astype(np.float32) if a.dtype.itemsize == 2 else a


def times(x, f, dtype):
    """A strength, rounded to dtype, as it applies to coordinates with the factors f, which are None for 1."""
    return dtype.type(x) if f is None else dtype.type(x) * f.astype(dtype)


def sign(w):
    """-1, 0 or 1; 0 at both zeros."""
    return np.where(w != 0, np.copysign(w.dtype.type(1), w), w.dtype.type(0))


def soft(x, t):
    """The soft threshold S(x, t) = x − clip(x, −t, t). In this form it keeps a NaN and its zeros are +0.0."""
    c = np.where(x < t, x, t)
    c = np.where(-t < c, c, -t)
    return x - c


# -- The elastic net's parts, for its closed forms --------------------------------------------------------------------


def l1_threshold(p, eta, f=None):
    """What l1 takes off |w| in a step of size eta."""
    return eta.dtype.type(0) if isinstance(p, Ridge) else eta * times(p.l1, f, eta.dtype)


def l2_shrinkage(p, eta, f=None):
    """The factor by which l2 shrinks a weight in a proximal step of size eta."""
    one = eta.dtype.type(1)
    return one / (one + eta * times(p.l2, f, eta.dtype))


def truncated(m, p, w, u, eta, f=None):
    """l2 by gradient, then l1 by a soft threshold of weights up to theta (Langford, Li & Zhang 2009)."""
    x = w - u - eta * times(p.l2, f, w.dtype) * w
    eta = np.where(np.abs(x) <= w.dtype.type(m.theta), eta, w.dtype.type(0))
    return x if isinstance(p, Ridge) else soft(x, l1_threshold(p, eta, f))


def curvature(d, p, n, f):
    """FTRL-Proximal: the second derivative of what `solve` minimises."""
    return (d.beta + np.sqrt(n)) / d.lr + times(p.l2, f, n.dtype)


def solve(d, p, z, n, f=None):
    """FTRL-Proximal: the weights that minimise z·w + (beta + √n)/(2·lr)·w² + the penalty, in closed form."""
    d = rounded(d, z.dtype)
    x = -z if isinstance(p, Ridge) else soft(-z, times(p.l1, f, z.dtype))
    return x / curvature(d, p, n, f)


def warm_start(d, p, w, n, f=None):
    """The z from which FTRL-Proximal's closed form gives back w."""
    d = rounded(d, w.dtype)
    return -w * curvature(d, p, n, f) - times(p.l1, f, w.dtype) * sign(w)


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
    """Adagrad and RMSprop: the step sizes of coordinates with these sums, or means, of squared gradients."""
    d = rounded(d, squares.dtype)
    return d.lr / (np.sqrt(squares) + d.eps)


def accumulate(d, w, g, z, n):
    """FTRL-Proximal: the state takes in the gradients g at w."""
    d = rounded(d, w.dtype)
    before = np.sqrt(n)
    n[...] = n + g * g
    z[...] = z + (g - (np.sqrt(n) - before) / d.lr * w)


# -- One step ---------------------------------------------------------------------------------------------------------


def step(d, m, p, w, g, a=None, b=None, c=None, f=None):
    """The new weights. `a`, `b`, `c` are the coordinates' state, f their factors; None where there is none.

    Those of bfloat16 are float32, and so are state and factors. Storing them rounds once, to the nearest.
    """
    w, g = as_float32(w), as_float32(g)
    if isinstance(d, FTRL):
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
