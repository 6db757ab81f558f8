"""Layer 1', the reference: the rules of rules.pxd in plain NumPy, same names, same order of operations, in place.

This is the contract of the compiled kernels: tests compare with it bit for bit (a NaN's payload and sign apart). It
imports NumPy only, allocates freely and checks nothing but `mode` and `theta`. Its docstrings and signatures are those
of the public functions, which take them from here.
"""

from typing import NamedTuple

import numpy as np

inf = float("inf")


# -- Directions -------------------------------------------------------------------------------------------------------


class Plain(NamedTuple):
    """Gradient descent: u = lr·g, eta = lr."""

    lr: float


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
    """l2/2·‖w‖₂²."""

    l2: float


# -- Scalar functions, over arrays ------------------------------------------------------------------------------------


def sign(x):
    """-1, 0 or 1; 0 at both zeros."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    return np.where(x != 0, np.copysign(one, x), zero)


def soft(x, t):
    """The soft threshold S(x, t) = x − clip(x, −t, t). In this form it keeps a NaN and its zeros are +0.0."""
    c = np.where(x < t, x, t)
    c = np.where(-t < c, c, -t)
    return x - c


def penalised(p, g, w):
    """g plus a subgradient of the penalty at w."""
    if isinstance(p, ElasticNet):
        return g + w.dtype.type(p.l1) * sign(w) + w.dtype.type(p.l2) * w
    return g + w.dtype.type(p.l2) * w


def threshold(p, x, eta):
    """The proximal operator of eta·l1·|x|: the identity where there is no l1."""
    if isinstance(p, ElasticNet):
        return soft(x, eta * x.dtype.type(p.l1))
    return x


def value(p, sum_abs, sum_squares):
    """l1·‖w‖₁ + l2/2·‖w‖₂² from the two sums. A strength of zero adds nothing, even to an infinite sum."""
    total = 0.5 * p.l2 * sum_squares if p.l2 != 0 else 0.0
    if isinstance(p, ElasticNet):
        total = (p.l1 * sum_abs if p.l1 != 0 else 0.0) + total
    return total


def move(d, g, a, b, c):
    """The move u along the gradient g, given the coordinates' state a, b, c, and their step size eta."""
    eta = g.dtype.type(d.lr)
    return eta * g, eta


def step(d, m, p, w, g, a=None, b=None, c=None):
    """The new weights. `a`, `b` and `c` are the coordinates' state, None where a direction has none."""
    one, lr, l2 = w.dtype.type(1), w.dtype.type(d.lr), w.dtype.type(p.l2)
    if isinstance(m, Subgradient):
        u, _ = move(d, penalised(p, g, w), a, b, c)
        return w - u
    u, eta = move(d, g, a, b, c)
    if isinstance(m, Decoupled):
        return w - u - lr * penalised(p, w.dtype.type(0), w)
    if isinstance(m, Truncated):
        x = w - u - eta * l2 * w
        return threshold(p, x, np.where(np.abs(x) <= w.dtype.type(m.theta), eta, w.dtype.type(0)))
    return threshold(p, w - u, eta) * (one / (one + eta * l2))


# -- Sums: float64, in blocks of 4096 elements, 16 lanes each, lanes joined pairwise and blocks in order --------------

BLOCK, LANES = 4096, 16


@np.errstate(over="ignore")
def sums(w):
    """Σ|w| and Σw² in float64, in the fixed order that makes their bits independent of the instruction set."""
    flat = np.ravel(w, order="K").astype(np.float64)
    padded = np.zeros(-(-flat.size // BLOCK) * BLOCK)
    padded[: flat.size] = flat
    rows = padded.reshape(-1, BLOCK // LANES, LANES).transpose(1, 0, 2)
    totals = []
    for terms in (np.abs(rows), rows * rows):
        lanes = np.zeros(terms.shape[1:])
        for row in terms:
            lanes = lanes + row
        while lanes.shape[1] > 1:
            half = lanes.shape[1] // 2
            lanes = lanes[:, :half] + lanes[:, half:]
        total = 0.0
        for block in lanes[:, 0].tolist():
            total += block
        totals.append(total)
    return tuple(totals)


# -- The public functions ---------------------------------------------------------------------------------------------


def l1_update(w, grad, lr, l1, *, mode="subgradient", theta=inf):
    """One L1-regularised (lasso) gradient step on E(w) + l1·‖w‖₁, in place.

    With the default mode this is the textbook rule ``w := w − lr·(grad + l1·sign(w))``, which makes weights small but
    never exactly zero: they end in a limit cycle of width about ``lr·l1``. ``mode="proximal"`` and
    ``mode="truncated"`` give exact zeros.

    Parameters
    ----------
    w : ndarray or writable buffer, float32 or float64, any shape
        The weights, contiguous in C or Fortran order; overwritten.
    grad : ndarray or buffer
        The gradient ∇E(w): shape, dtype and memory order of `w`, no memory in common with it; only read.
    lr : float
        Learning rate: finite, not negative.
    l1 : float
        Strength of the L1 penalty: finite, not negative.
    mode : {"subgradient", "decoupled", "truncated", "proximal"}
        Where the penalty enters the update; see :func:`elastic_net_update`.
    theta : float, default inf
        With ``mode="truncated"`` only: weights larger than this in magnitude are not truncated. Not negative.

    Returns
    -------
    None
        The update is in place.

    Raises
    ------
    TypeError
        A dtype other than float32 or float64, two dtypes, something that would have to be copied, or not a number.
    ValueError
        Shapes or memory orders that differ, a strided, read-only, misaligned or byte-swapped array, arrays that
        overlap, a number out of range (also after rounding to the dtype of `w`), an unknown mode, or theta without
        ``mode="truncated"``. Everything is checked before the first write.

    References
    ----------
    R. Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 58 (1996).
    J. Langford, L. Li, T. Zhang, "Sparse online learning via truncated gradient", JMLR 10 (2009).
    """
    _update(w, grad, lr, l1, 0.0, mode, theta)


def l2_update(w, grad, lr, l2, *, mode="subgradient"):
    """One L2-regularised (ridge, weight decay) gradient step on E(w) + l2/2·‖w‖₂², in place.

    With the default mode this is the textbook rule ``w := w − lr·(grad + l2·w)``. It shrinks all weights smoothly and
    keeps them.

    Parameters
    ----------
    w : ndarray or writable buffer, float32 or float64, any shape
        The weights, contiguous in C or Fortran order; overwritten.
    grad : ndarray or buffer
        The gradient ∇E(w): shape, dtype and memory order of `w`, no memory in common with it; only read.
    lr : float
        Learning rate: finite, not negative.
    l2 : float
        Strength of the L2 penalty: finite, not negative. Its gradient is ``l2·w`` (the penalty carries the ½).
    mode : {"subgradient", "decoupled", "truncated", "proximal"}
        Where the penalty enters the update; see :func:`elastic_net_update`.

    Returns
    -------
    None
        The update is in place.

    Raises
    ------
    TypeError, ValueError
        As :func:`l1_update`, before the first write.

    References
    ----------
    A. Hoerl, R. Kennard, "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 12 (1970).
    """
    _update(w, grad, lr, 0.0, l2, mode, inf)


def elastic_net_update(w, grad, lr, l1, l2, *, mode="subgradient", theta=inf):
    """One elastic-net regularised gradient step on E(w) + l1·‖w‖₁ + l2/2·‖w‖₂², in place.

    With S(x, t) = x − clip(x, −t, t) and sign(0) = 0, the new weight is

    - ``"subgradient"``: w − lr·(grad + l1·sign(w) + l2·w), the textbook rule; small weights, no exact zeros;
    - ``"decoupled"``: w − lr·grad − lr·(l1·sign(w) + l2·w), the penalty beside the move; no exact zeros;
    - ``"truncated"``: S(x, lr·l1) where abs(x) ≤ theta, else x, with x = w − lr·grad − lr·l2·w; exact zeros;
    - ``"proximal"``: S(w − lr·grad, lr·l1)/(1 + lr·l2), the proximal gradient step; exact zeros.

    A NaN in a weight or its gradient gives a NaN in the weight. An infinite weight becomes NaN in every mode but
    "proximal", where l2·w is not multiplied out: 0·inf is NaN, so that holds for l2 = 0 too.

    Parameters
    ----------
    w : ndarray or writable buffer, float32 or float64, any shape
        The weights, contiguous in C or Fortran order; overwritten.
    grad : ndarray or buffer
        The gradient ∇E(w): shape, dtype and memory order of `w`, no memory in common with it; only read.
    lr : float
        Learning rate: finite, not negative.
    l1, l2 : float
        Strengths of the two penalties: finite, not negative.
    mode : {"subgradient", "decoupled", "truncated", "proximal"}
        Where the penalty enters the update.
    theta : float, default inf
        With ``mode="truncated"`` only: weights larger than this in magnitude are not truncated. Not negative.

    Returns
    -------
    None
        The update is in place.

    Raises
    ------
    TypeError, ValueError
        As :func:`l1_update`, before the first write.

    References
    ----------
    H. Zou, T. Hastie, "Regularization and variable selection via the elastic net", JRSS B 67 (2005).
    J. Duchi, Y. Singer, "Efficient online and batch learning using forward backward splitting", JMLR 10 (2009).
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR (2019).
    """
    _update(w, grad, lr, l1, l2, mode, theta)


def l1_penalty(w, l1):
    """The L1 penalty l1·‖w‖₁ of the weights, a float accumulated in float64.

    Parameters
    ----------
    w : ndarray or buffer, float32 or float64, any shape, contiguous in C or Fortran order
    l1 : float
        Strength: finite, not negative. Zero gives 0.0 whatever the weights.

    Returns
    -------
    float
        The same bits on every machine: the order of the additions is fixed.

    Raises
    ------
    TypeError, ValueError
        As :func:`l1_update`.
    """
    return value(ElasticNet(l1, 0.0), *sums(w))


def l2_penalty(w, l2):
    """The L2 penalty l2/2·‖w‖₂² of the weights, a float accumulated in float64.

    Parameters
    ----------
    w : ndarray or buffer, float32 or float64, any shape, contiguous in C or Fortran order
    l2 : float
        Strength: finite, not negative. Zero gives 0.0 whatever the weights.

    Returns
    -------
    float
        The same bits on every machine: the order of the additions is fixed.

    Raises
    ------
    TypeError, ValueError
        As :func:`l1_update`.
    """
    return value(Ridge(l2), *sums(w))


def elastic_net_penalty(w, l1, l2):
    """The elastic-net penalty l1·‖w‖₁ + l2/2·‖w‖₂² of the weights, a float accumulated in float64.

    Parameters
    ----------
    w : ndarray or buffer, float32 or float64, any shape, contiguous in C or Fortran order
    l1, l2 : float
        Strengths: finite, not negative. A strength of zero adds nothing, whatever the weights.

    Returns
    -------
    float
        The same bits on every machine: the order of the additions is fixed.

    Raises
    ------
    TypeError, ValueError
        As :func:`l1_update`.
    """
    return value(ElasticNet(l1, l2), *sums(w))


def _update(w, grad, lr, l1, l2, mode, theta):
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if theta != inf and mode != "truncated":
        raise ValueError(f"theta: has a meaning only with mode='truncated', got {theta!r} with mode={mode!r}")
    m = Truncated(theta) if mode == "truncated" else MODES[mode]()
    p = ElasticNet(l1, l2) if l1 != 0 else Ridge(l2)
    with np.errstate(all="ignore"):
        w[...] = step(Plain(lr), m, p, w, grad)
