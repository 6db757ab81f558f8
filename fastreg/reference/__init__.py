"""Layer 1', the reference: the rules of rules.pxd in plain NumPy, same names, same order of operations, in place.

This is the contract of the compiled kernels: tests compare with it bit for bit (a NaN's payload and sign apart). It
imports NumPy only, allocates freely and checks nothing but `mode` and `theta`. Its docstrings and signatures are those
of the public functions, which take them from here.
"""

from typing import NamedTuple

import numpy as np

inf = float("inf")
LARGEST = float(np.finfo(float).max)


# -- Directions -------------------------------------------------------------------------------------------------------


class Plain(NamedTuple):
    """Gradient descent."""

    lr: float


class Momentum(NamedTuple):
    """Heavy ball (Polyak 1964), with torch's dampening. State: buffer."""

    lr: float
    momentum: float
    take: float  # 1 − dampening; 1 at the first step, whose buffer is the undampened gradient
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
    take: float  # 1 − alpha
    eps: float


class Adam(NamedTuple):
    """Kingma & Ba (2015). State: mean, mean square."""

    lr: float
    beta1: float
    take1: float  # 1 − beta1
    beta2: float
    take2: float  # 1 − beta2
    eps: float
    scale1: float  # 1/(1 − beta1ᵗ)
    scale2: float  # 1/√(1 − beta2ᵗ)


class AMSGrad(Adam):
    """Reddi, Kale & Kumar (2018), of the uncorrected mean square. State: mean, mean square, its largest value."""


class Lion(NamedTuple):
    """Chen et al. (2023). State: mean."""

    lr: float
    beta1: float
    take1: float  # 1 − beta1
    beta2: float
    take2: float  # 1 − beta2


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
    """l2/2·‖w‖₂²."""

    l2: float


class Weighted(NamedTuple):
    """The elastic net, its strengths times a factor f of the coordinate's own (adaptive lasso: Zou 2006)."""

    l1: float
    l2: float


# -- Scalar functions, over arrays ------------------------------------------------------------------------------------


def wide(a):
    """The array as float32 if it holds bfloat16: that is a dtype to store, not to compute with."""
    return a.astype(np.float32) if a.dtype.itemsize == 2 else a


def signed(x, w):
    """x·sign(w), where x is not negative."""
    return np.where(w != 0, np.copysign(x, w), w.dtype.type(0))


def sign(x):
    """-1, 0 or 1; 0 at both zeros."""
    return signed(x.dtype.type(1), x)


def soft(x, t):
    """The soft threshold S(x, t) = x − clip(x, −t, t). In this form it keeps a NaN and its zeros are +0.0."""
    c = np.where(x < t, x, t)
    c = np.where(-t < c, c, -t)
    return x - c


def strength(p, x, f, dtype):
    """l1 or l2 as it applies to the coordinates with the factors f."""
    return dtype.type(x) * f if isinstance(p, Weighted) else dtype.type(x)


def penalised(p, g, w, f=None):
    """g plus a subgradient of the penalty at w."""
    if isinstance(p, Ridge):
        return g + strength(p, p.l2, f, w.dtype) * w
    return g + strength(p, p.l1, f, w.dtype) * sign(w) + strength(p, p.l2, f, w.dtype) * w


def toll(p, eta, f=None):
    """What l1 takes off |w| in one step of the truncated or the proximal mode."""
    return eta.dtype.type(0) if isinstance(p, Ridge) else eta * strength(p, p.l1, f, eta.dtype)


def shrinkage(p, eta, f=None):
    """The factor by which l2 shrinks a weight in one step of the proximal mode."""
    one = eta.dtype.type(1)
    return one / (one + eta * strength(p, p.l2, f, eta.dtype))


def threshold(p, x, eta, f=None):
    """The proximal operator of eta·l1·|x|: the identity where there is no l1."""
    return x if isinstance(p, Ridge) else soft(x, toll(p, eta, f))


def value(p, sum_abs, sum_squares):
    """l1·‖w‖₁ + l2/2·‖w‖₂² from the two sums. A strength of zero adds nothing, even to an infinite sum."""
    total = 0.5 * p.l2 * sum_squares if p.l2 != 0 else 0.0
    if not isinstance(p, Ridge):
        total = (p.l1 * sum_abs if p.l1 != 0 else 0.0) + total
    return total


def rate(d, squares):
    """The step sizes of coordinates with these sums, or means, of squares."""
    d = rounded(d, squares.dtype)
    return d.lr / (np.sqrt(squares) + d.eps)


def move(d, g, a, b, c):
    """The move u, after the state a, b, c has taken in the gradient g, and the coordinates' step size eta."""
    d = rounded(d, g.dtype)
    if isinstance(d, Plain):
        return d.lr * g, d.lr
    if isinstance(d, Momentum):
        a[...] = d.momentum * a + d.take * g
        return d.lr * a, d.eta
    if isinstance(d, Nesterov):
        a[...] = d.momentum * a + g
        return d.lr * (g + d.momentum * a), d.eta
    if isinstance(d, Adagrad):
        a[...] = a + g * g
        eta = rate(d, a)
        return eta * g, eta
    if isinstance(d, RMSprop):
        a[...] = d.alpha * a + d.take * (g * g)
        eta = rate(d, a)
        return eta * g, eta
    if isinstance(d, Adam):
        a[...] = d.beta1 * a + d.take1 * g
        b[...] = d.beta2 * b + d.take2 * (g * g)
        if isinstance(d, AMSGrad):
            c[...] = np.where(c > b, c, b)
        eta = d.lr / (np.sqrt(c if isinstance(d, AMSGrad) else b) * d.scale2 + d.eps)
        return eta * (a * d.scale1), eta
    m = d.beta1 * a + d.take1 * g
    a[...] = d.beta2 * a + d.take2 * g
    return d.lr * np.where(np.isnan(m), m, sign(m)), d.lr


def solve(d, p, z, n, f=None):
    """FTRL-Proximal: the weights that minimise z·w + n's quadratic terms + the penalty, in closed form."""
    d, one = rounded(d, z.dtype), z.dtype.type(1)
    return threshold(p, -z, one, f) / ((d.beta + np.sqrt(n)) / d.lr + strength(p, p.l2, f, z.dtype))


def absorb(d, w, g, z, n):
    """FTRL-Proximal: the state takes in the gradients g at w."""
    d = rounded(d, w.dtype)
    before = np.sqrt(n)
    n[...] = n + g * g
    z[...] = z + (g - (np.sqrt(n) - before) / d.lr * w)


def follow(d, p, w, g, z, n, f=None):
    """FTRL-Proximal: the weights that minimise the linearised losses so far plus the penalty."""
    absorb(d, w, g, z, n)
    return solve(d, p, z, n, f)


def warm_start(d, p, w, n, f=None):
    """The z from which FTRL-Proximal's closed form gives back w."""
    d = rounded(d, w.dtype)
    slope = (d.beta + np.sqrt(n)) / d.lr + strength(p, p.l2, f, w.dtype)
    return -w * slope - strength(p, p.l1, f, w.dtype) * sign(w)


def step(d, m, p, w, g, a=None, b=None, c=None, f=None):
    """The new weights. `a`, `b`, `c` are the coordinates' state, f their factors; None where there is none.

    Those of bfloat16 are float32, and so are state and factors; what stores them rounds once, to the nearest.
    """
    w, g = wide(w), wide(g)
    zero, lr = w.dtype.type(0), w.dtype.type(d.lr)
    if isinstance(d, FTRL):
        return follow(d, p, w, g, a, b, f)
    if isinstance(m, Subgradient):
        u, _ = move(d, penalised(p, g, w, f), a, b, c)
        return w - u
    u, eta = move(d, g, a, b, c)
    if isinstance(m, Decoupled):
        if isinstance(p, Ridge):
            return w - u - lr * penalised(p, zero, w, f)
        return w - u - lr * (signed(strength(p, p.l1, f, w.dtype), w) + strength(p, p.l2, f, w.dtype) * w)
    if isinstance(m, Truncated):
        x = w - u - eta * strength(p, p.l2, f, w.dtype) * w
        return threshold(p, x, np.where(np.abs(x) <= w.dtype.type(m.theta), eta, zero), f)
    return threshold(p, w - u, eta, f) * shrinkage(p, eta, f)


def rounded(d, dtype):
    """A direction whose numbers are rounded to dtype, once."""
    return type(d)(*map(dtype.type, d))


# -- Steps without a gradient, made up for later (rules.pxd tells how) ------------------------------------------------


class Clock(NamedTuple):
    """What all weights have missed alike since the start: of Plain."""

    product: float = 1.0  # P = Π a
    inverse: float = 1.0  # 1/P
    total: float = 0.0  # B = Σ lr·l1/P
    lost: float = 0.0  # to rounding, and owed to the next term of B


class Stamp(NamedTuple):
    """What a weight keeps of the clock when it is up to date."""

    inverse: float
    total: float


class Missed(NamedTuple):
    """What has passed since a weight was up to date; numbers or arrays."""

    scale: float
    debt: float
    steps: int


def tick(m, p, lr, now):
    """One more step of Plain in the proximal or the truncated mode; lr, of the weights' dtype, decides on rounding."""
    taken = float(toll(p, lr))
    proximal = isinstance(m, Proximal)
    kept = float(shrinkage(p, lr)) if proximal else 1 - float(lr * strength(p, p.l2, None, lr.dtype))
    product = now.product * np.float64(kept)  # 1/0 is infinite, as in C
    inverse = 1 / product
    taken = taken * (now.inverse if proximal else inverse) - now.lost
    total = now.total + taken if taken > 0 else now.total  # never less: what was lost waits for a larger term
    return Clock(product, inverse, total, (total - now.total) - taken)


def is_worn(now, taken):
    """Whether the clock is to be wound back, once all weights are up to date, after a step that took so much."""
    most = now.product * now.total  # that a weight can owe
    return not (now.product > 1e-150 and now.total < 1e150) or (most > 16 and most > 2**20 * taken)


def missed(now, then):
    """What weights that were up to date then have missed; exactly nothing where no step was made."""
    scale = np.where(then.inverse != now.inverse, now.product * then.inverse, 1.0)
    finite = (now.product > 0) & (then.total < now.total)
    return Missed(scale, np.where(finite, now.product * (now.total - then.total), 0.0), 0)


def owing(since, w):
    """The weights when their debt is paid."""
    return soft(since.scale * w.astype(float), since.debt).astype(w.dtype)


def idle(d, p, squares, f=None):
    """A step of Adagrad without a gradient is kept·(|w| − taken): these two, in float64."""
    eta = rate(d, squares)
    return shrinkage(p, eta, f).astype(float), toll(p, eta, f).astype(float)


def is_gone(w, taken, steps):
    """Whether so many of these steps surely end at zero: each takes that much, or more."""
    return np.abs(w) <= 0.999 * (taken * steps)


def double_up(odd, a, power, total, a_power, a_total):
    """One binary digit of k, the lowest first, on the way to aᵏ and 1 + … + aᵏ⁻¹."""
    rest = 1 - a
    more = a_power * total + a_total
    less = np.where(rest * more < 0.5, 1 - rest * more, power * a_power)
    total, power = np.where(odd, more, total), np.where(odd, less, power)
    a_total = a_total * (1 + a_power)
    return power, total, np.where(rest * a_total < 0.5, 1 - rest * a_total, a_power * a_power), a_total


def repeated(power, total, a, taken, steps):
    """So many steps a·(|w| − taken), from the power of a and the sum of those below it: debt taken·(a + … + aᵏ)."""
    return Missed(power, np.where(a * total > 0, taken * (a * total), 0.0), steps)


def catch_up(d, p, since, w, a=None, b=None, f=None):
    """The weights after the steps that they have missed; a, b and f as for step, which saw no gradient meanwhile."""
    if isinstance(d, FTRL):
        return np.where(since.steps > 0, solve(d, p, a, b, f), w)
    if isinstance(d, Adagrad):
        kept, taken = idle(d, p, a, f)
        steps = np.broadcast_to(since.steps, w.shape)
        gone = is_gone(w.astype(float), taken, steps)
        power, total, a_power, a_total = np.where(gone, 0.0, 1.0), np.zeros(w.shape), kept, np.ones(w.shape)
        left = np.where(gone, 0, steps)
        while np.any(left > 0):
            power, total, a_power, a_total = double_up(left % 2 == 1, kept, power, total, a_power, a_total)
            left = left // 2
        return owing(repeated(power, total, kept, taken, steps), w)
    if isinstance(p, Weighted):
        return np.where(f == 0, w, owing(since._replace(debt=since.debt * f.astype(float)), w))
    return owing(since, w)


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


def clip_coefficient(norm, max_norm):
    """What clip_grad_norm multiplies gradients by: at most 1, and torch's 1e-6 against a norm of zero."""
    return min(max_norm / (norm + 1e-6), 1.0) if norm == norm else norm


# -- The public functions ---------------------------------------------------------------------------------------------


def l1_update(w, grad, lr, l1, *, mode="subgradient", theta=inf):
    """One L1-regularised (lasso) gradient step on E(w) + l1·‖w‖₁, in place.

    With the default mode this is the textbook rule ``w := w − lr·(grad + l1·sign(w))``, which makes weights small but
    never exactly zero: they end in a limit cycle of width about ``lr·l1``. ``mode="proximal"`` and
    ``mode="truncated"`` give exact zeros.

    Parameters
    ----------
    w : ndarray or writable buffer, float32, float64 or bfloat16, any shape
        The weights, contiguous in C or Fortran order; overwritten. The bfloat16 of ml_dtypes (or of torch, on the CPU)
        is computed with in float32 and rounded once, to the nearest and of two to the even one.
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
        A dtype other than float32, float64 and bfloat16, two dtypes, something that would have to be copied, or not a
        number.
    ValueError
        Shapes or memory orders that differ, a strided, read-only, misaligned or byte-swapped array, arrays that
        overlap, a number out of range (also after rounding to the dtype of the arithmetic), an unknown mode, or theta
        without ``mode="truncated"``. Everything is checked before the first write.

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
    w : ndarray or writable buffer, float32, float64 or bfloat16, any shape
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
    w : ndarray or writable buffer, float32, float64 or bfloat16, any shape
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
    w : ndarray or buffer, float32, float64 or bfloat16, any shape, contiguous in C or Fortran order
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
    w : ndarray or buffer, float32, float64 or bfloat16, any shape, contiguous in C or Fortran order
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
    w : ndarray or buffer, float32, float64 or bfloat16, any shape, contiguous in C or Fortran order
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
    theta = theta if theta <= LARGEST else inf  # an int may be larger
    if theta != inf and mode != "truncated":
        raise ValueError(f"theta: has a meaning only with mode='truncated', got {theta!r} with mode={mode!r}")
    m = Truncated(theta) if mode == "truncated" else MODES[mode]()
    p = ElasticNet(l1, l2) if l1 != 0 else Ridge(l2)
    with np.errstate(all="ignore"):
        w[...] = step(Plain(lr), m, p, w, grad)
