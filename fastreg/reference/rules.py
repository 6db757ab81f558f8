"""Layer 1', the reference of rules.pxd in plain NumPy: same names, same order of operations, over whole arrays.

This is the contract of the compiled kernels: tests compare with it bit for bit (a NaN's payload and sign apart). It
imports NumPy only, allocates freely and checks nothing.
"""

from typing import NamedTuple

import numpy as np

# -- Directions -------------------------------------------------------------------------------------------------------


class Plain(NamedTuple):
    """Gradient descent."""

    lr: float


class Momentum(NamedTuple):
    """Heavy ball (Polyak 1964), with torch's dampening. State: buffer."""

    lr: float
    momentum: float
    one_minus_dampening: float  # 1 at the first step, whose buffer is the undampened gradient
    eta: float  # lr·(1 − dampening)/(1 − momentum)


class Nesterov(NamedTuple):
    """Nesterov momentum in the form of Sutskever et al. (2013). State: buffer."""

    lr: float
    momentum: float
    eta: float  # lr/(1 − momentum)


class Adagrad(NamedTuple):
    """Duchi, Hazan & Singer (2011). State: sum of squares."""

    lr: float
    eps: float


class RMSprop(NamedTuple):
    """Tieleman & Hinton (2012). State: mean square."""

    lr: float
    alpha: float
    one_minus_alpha: float
    eps: float


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


class AMSGrad(Adam):
    """Reddi, Kale & Kumar (2018), of the uncorrected mean square. State: mean, mean square, its largest value."""


class Lion(NamedTuple):
    """Chen et al. (2023). State: mean."""

    lr: float
    beta1: float
    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float


class FTRL(NamedTuple):
    """FTRL-Proximal (McMahan et al. 2013). State: z, n."""

    lr: float
    beta: float


DIRECTIONS = {d.__name__: d for d in (Plain, Momentum, Nesterov, Adagrad, RMSprop, Adam, AMSGrad, Lion, FTRL)}


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


# -- Penalties --------------------------------------------------------------------------------------------------------


class ElasticNet(NamedTuple):
    """l1·‖w‖₁ + l2/2·‖w‖₂² (Zou & Hastie 2005)."""

    l1: float
    l2: float


class Ridge(NamedTuple):
    """l2/2·‖w‖₂²: the elastic net without l1, spared its arithmetic."""

    l2: float


PENALTIES = {p.__name__: p for p in (ElasticNet,)}
STRENGTHS = ("l1", "l2")  # the fields of penalties that a factor multiplies


def scaled(p, factor):
    """A penalty with its strengths times a number."""
    return p._replace(**{name: getattr(p, name) * factor for name in STRENGTHS if name in p._fields})


def without_l1(p, f=None):
    """Ridge in place of an elastic net without l1 and without factors, as the kernels choose: zeros differ in sign."""
    return Ridge(p.l2) if isinstance(p, ElasticNet) and p.l1 == 0 and f is None else p


# -- Which combinations have a meaning: the table that checks, registry, tests and documentation read -----------------

LINEAR = {name: tuple(MODES) for name in ("Plain", "Momentum", "Nesterov")}
ADAPTIVE = dict.fromkeys(("Adagrad", "RMSprop", "Adam", "AMSGrad"), ("subgradient", "decoupled", "proximal"))
MODES_OF = LINEAR | ADAPTIVE | {"Lion": ("decoupled",), "FTRL": ("proximal",)}  # by direction
LAZY_MODES_OF = {"Plain": ("proximal", "truncated"), "Adagrad": ("proximal",), "FTRL": ("proximal",)}
WHY = {  # a direction has no other mode
    **dict.fromkeys(ADAPTIVE, "coordinates differ in step size"),
    "Lion": "all moves have the same length, so that the penalty acts beside the move",
    "FTRL": "its closed form has the penalty in it",
}


# -- Scalar functions, over arrays ------------------------------------------------------------------------------------


def as_float32(a):
    """The array as float32 if it holds bfloat16: that is a dtype to store, not to compute with."""
    return a.astype(np.float32) if a.dtype.itemsize == 2 else a


def factors(f, dtype):
    """The factors, or 1 of the dtype where there are none."""
    return dtype.type(1) if f is None else f


def signed(x, w):
    """x·sign(w), where x is not negative; 0 at both zeros of w."""
    return np.where(w != 0, np.copysign(x, w), w.dtype.type(0))


def soft(x, t):
    """The soft threshold S(x, t) = x − clip(x, −t, t). In this form it keeps a NaN and its zeros are +0.0."""
    c = np.where(x < t, x, t)
    c = np.where(-t < c, c, -t)
    return x - c


# -- The interface of a penalty ---------------------------------------------------------------------------------------


def subgradient(p, g, w, f=None):
    """g plus a subgradient of the penalty at w: the one closest to zero at a corner."""
    l2 = w.dtype.type(p.l2) * factors(f, w.dtype)
    if isinstance(p, Ridge):
        return g + l2 * w
    return g + signed(w.dtype.type(p.l1) * factors(f, w.dtype), w) + l2 * w


def prox(p, x, eta, f=None):
    """The minimiser over v of (v − x)²/(2·eta) + the penalty at v."""
    if isinstance(p, Ridge):
        return x * l2_shrinkage(p, eta, f)
    return soft(x, l1_threshold(p, eta, f)) * l2_shrinkage(p, eta, f)


def value(p, w, f=None):
    """The penalty at each weight, in float64. A strength of zero adds nothing, even at an infinite weight."""
    w, f = w.astype(float), factors(f, np.dtype(float)) if f is None else f.astype(float)
    l2 = 0.5 * p.l2 * f
    ridge = np.where(l2 != 0, l2 * (w * w), 0.0)
    if isinstance(p, Ridge):
        return ridge
    l1 = p.l1 * f
    return np.where(l1 != 0, l1 * np.abs(w), 0.0) + ridge


# -- The elastic net's parts, for its closed forms --------------------------------------------------------------------


def l1_threshold(p, eta, f=None):
    """What l1 takes off |w| in a step of size eta."""
    return eta.dtype.type(0) if isinstance(p, Ridge) else eta * (eta.dtype.type(p.l1) * factors(f, eta.dtype))


def l2_shrinkage(p, eta, f=None):
    """The factor by which l2 shrinks a weight in a proximal step of size eta."""
    one = eta.dtype.type(1)
    return one / (one + eta * (eta.dtype.type(p.l2) * factors(f, eta.dtype)))


def truncated(m, p, w, u, eta, f=None):
    """l2 by gradient, then l1 by a soft threshold of weights up to theta (Langford, Li & Zhang 2009)."""
    x = w - u - eta * (w.dtype.type(p.l2) * factors(f, w.dtype)) * w
    if isinstance(p, Ridge):
        return x
    return soft(x, l1_threshold(p, np.where(np.abs(x) <= w.dtype.type(m.theta), eta, w.dtype.type(0)), f))


def curvature(d, p, n, f):
    """FTRL-Proximal: the second derivative of what `solve` minimises."""
    return (d.beta + np.sqrt(n)) / d.lr + n.dtype.type(p.l2) * factors(f, n.dtype)


def solve(d, p, z, n, f=None):
    """FTRL-Proximal: the weights that minimise z·w + (beta + √n)/(2·lr)·w² + the penalty, in closed form."""
    d = rounded(d, z.dtype)
    if isinstance(p, Ridge):
        return -z / curvature(d, p, n, f)
    return soft(-z, z.dtype.type(p.l1) * factors(f, z.dtype)) / curvature(d, p, n, f)


def warm_start(d, p, w, n, f=None):
    """The z from which FTRL-Proximal's closed form gives back w."""
    d = rounded(d, w.dtype)
    return -w * curvature(d, p, n, f) - signed(w.dtype.type(p.l1) * factors(f, w.dtype), w)


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


def move(d, g, a, b, c):
    """The move u, after the state a, b, c has taken in the gradient g, and the coordinates' step size eta."""
    d = rounded(d, g.dtype)
    if isinstance(d, Plain):
        return d.lr * g, d.lr
    if isinstance(d, Momentum):
        a[...] = d.momentum * a + d.one_minus_dampening * g
        return d.lr * a, d.eta
    if isinstance(d, Nesterov):
        a[...] = d.momentum * a + g
        return d.lr * (g + d.momentum * a), d.eta
    if isinstance(d, Adagrad):
        a[...] = a + g * g
        eta = adaptive_rate(d, a)
        return eta * g, eta
    if isinstance(d, RMSprop):
        a[...] = d.alpha * a + d.one_minus_alpha * (g * g)
        eta = adaptive_rate(d, a)
        return eta * g, eta
    if isinstance(d, Adam):
        a[...] = d.beta1 * a + d.one_minus_beta1 * g
        b[...] = d.beta2 * b + d.one_minus_beta2 * (g * g)
        if isinstance(d, AMSGrad):
            c[...] = np.where(c > b, c, b)
        eta = d.lr / (np.sqrt(c if isinstance(d, AMSGrad) else b) * d.bias_correction2 + d.eps)
        return eta * (a * d.bias_correction1), eta
    m = d.beta1 * a + d.one_minus_beta1 * g
    a[...] = d.beta2 * a + d.one_minus_beta2 * g
    return d.lr * np.where(np.isnan(m), m, signed(m.dtype.type(1), m)), d.lr


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
        u, _ = move(d, subgradient(p, g, w, f), a, b, c)
        return w - u
    u, eta = move(d, g, a, b, c)
    if isinstance(m, Decoupled):
        return w - u - w.dtype.type(d.lr) * subgradient(p, w.dtype.type(0), w, f)
    if isinstance(m, Truncated):
        return truncated(m, p, w, u, eta, f)
    return prox(p, w - u, eta, f)


def rounded(d, dtype):
    """A direction whose numbers are rounded to dtype, once."""
    return type(d)(*map(dtype.type, d))


# -- Values: float64, in blocks of 4096 elements, 16 lanes each, lanes added pairwise and blocks in order --------------

BLOCK, LANES = 4096, 16


@np.errstate(all="ignore")
def penalty(p, w, f=None):
    """The penalty of all weights, in the fixed order that makes its bits independent of the instruction set."""
    flat = [None if x is None else np.ravel(x, order="K") for x in (as_float32(w), f)]
    terms = value(p, *flat)
    padded = np.zeros(-(-terms.size // BLOCK) * BLOCK)
    padded[: terms.size] = terms
    lanes = np.zeros((padded.size // BLOCK, LANES))
    for row in padded.reshape(-1, BLOCK // LANES, LANES).transpose(1, 0, 2):
        lanes = lanes + row
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    total = 0.0
    for block in lanes[:, 0].tolist():
        total += block
    return total


def clip_coefficient(norm, max_norm):
    """What clip_grad_norm multiplies gradients by: at most 1, and torch's 1e-6 against a norm of zero."""
    return min(max_norm / (norm + 1e-6), 1.0) if norm == norm else norm
