"""Layer 5, strengths to try: the smallest one at which all weights are zero, and a grid from there down."""

from math import inf
from operator import index

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastreg.convert.checks import POSITIVE, number
from fastreg.path.checks import numbers

SHARE = ("a number in (0, 1]", lambda x: 0 < x <= 1)
BELOW_ONE = ("a number in (0, 1)", lambda x: 0 < x < 1)


def alpha_max(gradient: ArrayLike, l1_ratio: float = 1.0, penalty_factor: ArrayLike | None = None) -> float:
    """The smallest strength at which all penalised weights are zero: max abs(gradient) / (l1_ratio·penalty_factor).

    The objective is mean loss + alpha·(l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂²), that is, l1 = alpha·l1_ratio. If the
    loss is convex, zero is its minimiser from this strength on. For a network, use it at a point where the penalised
    weights are zero; it says where zero becomes a stationary point.

    Parameters
    ----------
    gradient : array of real numbers, of any shape and dtype
        Of the mean loss, with respect to the penalised weights, where these are zero and everything else (intercepts,
        weights without a penalty) is at its optimum. For several arrays, take the largest of their results.
    l1_ratio : float in (0, 1]
        The share of L1. There is no such strength for 0: L2 alone sets no weight to zero.
    penalty_factor : array that broadcasts to the shape of gradient, or None
        Multiplies the penalty of each weight. A weight with factor 0 has no penalty and does not count.

    Returns
    -------
    float
        Rounded up, so that its product with l1_ratio and a factor is never below the gradient in float64. It is 0.0 if
        the gradient is zero, for example with a constant target: there is nothing to choose then.

    Raises
    ------
    TypeError, ValueError
        If an argument has no real numbers, numbers out of range, another shape, or no factor above 0. The message names
        the argument.

    References
    ----------
    J. Friedman, T. Hastie, R. Tibshirani, "Regularization Paths for Generalized Linear Models via Coordinate Descent",
    J. Stat. Softw. 33 (2010), section 2.5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastreg.path import alpha_max
    >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([1.0, 2.0, 3.0])
    >>> alpha_max(x.T @ (y.mean() - y) / 3)  # of the mean squared loss ½(y − p)², with an intercept
    0.3333333333333333
    """
    g = np.abs(numbers(gradient, "gradient"))
    ratio = number(l1_ratio, "l1_ratio", SHARE)
    if not np.isfinite(g).all():
        raise ValueError(f"gradient: expected finite numbers, got {g[~np.isfinite(g)][0]}")
    factor = np.ones(())
    if penalty_factor is not None:
        factor = numbers(penalty_factor, "penalty_factor")
        bad = ~((factor >= 0) & (factor < inf))
        if bad.any():
            raise ValueError(f"penalty_factor: expected finite numbers, not negative, got {factor[bad][0]}")
    try:
        factor = np.broadcast_to(factor, g.shape)
    except ValueError:
        message = f"penalty_factor: expected a shape that broadcasts to {g.shape}, that of gradient, got {factor.shape}"
        raise ValueError(message) from None
    penalised = factor > 0
    if not penalised.any():
        raise ValueError("penalty_factor: expected a weight with a penalty, got none")
    g, factor = g[penalised], factor[penalised]
    with np.errstate(over="ignore"):
        largest = float(np.max(g / (ratio * factor)))
    while largest < inf and (largest * ratio * factor < g).any():
        largest = float(np.nextafter(largest, inf))
    if largest == inf:
        raise ValueError("penalty_factor, l1_ratio: expected a quotient that a float can hold, got infinity")
    return largest


def grid(alpha_max: float, n_alphas: int = 30, eps: float = 1e-3) -> NDArray[np.float64]:
    """Strengths from alpha_max down to eps·alpha_max, at equal ratios, the strongest first.

    Parameters
    ----------
    alpha_max : float
        The first strength, see :func:`alpha_max`.
    n_alphas : int
        How many strengths, at least 1.
    eps : float in (0, 1)
        The last strength divided by the first one.

    Returns
    -------
    array of shape (n_alphas,), float64
        In decreasing order. The first element is exactly alpha_max.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    Friedman, Hastie & Tibshirani (2010), as for :func:`alpha_max`; `n_alphas` and `eps` are scikit-learn's names.

    Examples
    --------
    >>> from fastreg.path import grid
    >>> grid(8.0, 4, eps=1 / 8).round(12).tolist()
    [8.0, 4.0, 2.0, 1.0]
    """
    largest, ratio = number(alpha_max, "alpha_max", POSITIVE), number(eps, "eps", BELOW_ONE)
    try:
        n = index(n_alphas)
    except TypeError:
        raise TypeError(f"n_alphas: expected an integer, got {type(n_alphas).__name__} ({n_alphas!r})") from None
    if isinstance(n_alphas, bool) or n < 1:
        raise ValueError(f"n_alphas: expected an integer from 1, got {n_alphas!r}")
    strengths = np.full(1, largest)
    if n > 1:
        strengths = np.geomspace(largest, largest * ratio, n) if largest * ratio else strengths * 0
    if not (np.diff(strengths) < 0).all() or not strengths[-1]:
        raise ValueError(f"alpha_max, n_alphas, eps: expected {n} strengths that float64 can tell apart, got fewer")
    return strengths
