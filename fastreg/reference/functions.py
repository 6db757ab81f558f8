"""The public updates in plain NumPy, with the docstrings and signatures of the compiled ones, which take them here.

They check only that `mode`, `theta` and `gamma` fit together.
"""

import numpy as np

from fastreg.reference.groups import group_step
from fastreg.reference.penalties import LARGEST, ElasticNet, penalty_with, without_l1
from fastreg.reference.rules import MODES, Plain, Truncated, step
from fastreg.reference.tables import MODES_OF

inf = float("inf")


def l1_update(w, grad, lr, l1, *, gamma=inf, mode="subgradient", theta=inf):
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
    gamma : float, default inf
        Finite: MCP in place of L1; see :func:`elastic_net_update`.
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
        overlap, a number out of range (also after rounding to the dtype of the arithmetic), an unknown mode, theta
        without ``mode="truncated"``, or a finite gamma in a mode without MCP. Everything is checked before the first
        write.

    References
    ----------
    R. Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 58 (1996).
    J. Langford, L. Li, T. Zhang, "Sparse online learning via truncated gradient", JMLR 10 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w, grad = np.array([1.0, 0.03, -1.0]), np.array([0.0, 0.0, 2.0])
    >>> fastreg.l1_update(w, grad, lr=0.1, l1=0.5, mode="proximal")
    >>> w
    array([ 0.95,  0.  , -1.15])
    """
    _update(w, grad, lr, l1, 0.0, gamma, mode, theta)


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

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.array([1.0, -2.0, 0.0])
    >>> fastreg.l2_update(w, np.array([0.0, 0.0, 1.0]), lr=0.1, l2=0.5)
    >>> w
    array([ 0.95, -1.9 , -0.1 ])
    """
    _update(w, grad, lr, 0.0, l2, inf, mode, inf)


def elastic_net_update(w, grad, lr, l1, l2, *, gamma=inf, mode="subgradient", theta=inf):
    """One elastic-net regularised gradient step on E(w) + l1·‖w‖₁ + l2/2·‖w‖₂², in place.

    With S(x, t) = x − clip(x, −t, t) and sign(0) = 0, the new weight is

    - ``"subgradient"``: w − lr·(grad + l1·sign(w) + l2·w), the textbook rule; small weights, no exact zeros;
    - ``"decoupled"``: w − lr·grad − lr·(l1·sign(w) + l2·w), the penalty beside the move; no exact zeros;
    - ``"truncated"``: S(x, lr·l1) where abs(x) ≤ theta, else x, with x = w − lr·grad − lr·l2·w; exact zeros;
    - ``"proximal"``: S(w − lr·grad, lr·l1)/(1 + lr·l2), the proximal gradient step; exact zeros.

    With a finite gamma, "proximal" is the minimiser of (v − x)²/(2·η) + MCP(v), with η = lr/(1 + lr·l2) and x =
    (w − lr·grad)/(1 + lr·l2). Where η < gamma: 0 up to η·l1, S(x, η·l1)/(1 − η/gamma) up to gamma·l1, from there x.
    Where not: 0 up to l1·√(η·gamma), from there x.

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
    gamma : float, default inf
        Positive. Where it is finite, the minimax concave penalty (MCP) takes the place of l1·abs(w): l1·abs(w) −
        w²/(2·gamma) up to gamma·l1, from there the constant gamma·l1²/2. Weights above gamma·l1 are not shrunk by it.
        Modes "subgradient" and "proximal" only.
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
    C.-H. Zhang, "Nearly unbiased variable selection under minimax concave penalty", Annals of Statistics 38 (2010).

    Examples
    --------
    The same step with the penalty in the gradient, and with its proximal operator:

    >>> import numpy as np
    >>> import fastreg
    >>> for mode in ("subgradient", "proximal"):
    ...     w, zero = np.array([0.05, 0.2, 5.0]), np.zeros(3)
    ...     fastreg.elastic_net_update(w, zero, lr=0.1, l1=1.0, l2=0.0, mode=mode)
    ...     print(mode, w.round(3))
    subgradient [-0.05  0.1   4.9 ]
    proximal [0.  0.1 4.9]

    MCP sets small weights to zero as L1 does, and leaves large ones unshrunk:

    >>> w, zero = np.array([0.05, 0.2, 5.0]), np.zeros(3)
    >>> fastreg.elastic_net_update(w, zero, 0.1, 1.0, 0.0, gamma=3.0, mode="proximal")
    >>> w.round(3)
    array([0.   , 0.103, 5.   ])
    """
    _update(w, grad, lr, l1, l2, gamma, mode, theta)


def group_update(w, grad, lr, l1, l2, l21, group_axis):
    """One proximal gradient step on E(w) + l1·‖w‖₁ + l2/2·‖w‖₂² + l21·Σ‖group‖₂, in place.

    The penalty l21 is the group lasso: it sets whole groups exactly to zero, and shortens the others without turning
    them. With l1, which also sets single weights of the other groups to zero, it is the sparse group lasso. From x =
    S(w − lr·grad, lr·l1)/(1 + lr·l2), with S as in :func:`elastic_net_update`, and t = lr·l21/(1 + lr·l2), a group
    becomes 0 where ‖x‖ ≤ t, else x·(1 − t/‖x‖). A group with an infinity or a NaN has no norm: it stays x.
    So does a float64 group with a magnitude above 1e154, since its square overflows; in float32, all norms are finite.

    Parameters
    ----------
    w : ndarray or writable buffer, float32, float64 or bfloat16, any shape
        The weights, contiguous in C or Fortran order; overwritten. bfloat16 is also rounded before the groups' step.
    grad : ndarray or buffer
        The gradient ∇E(w): shape, dtype and memory order of `w`, no memory in common with it; only read.
    lr : float
        Learning rate: finite, not negative.
    l1, l2, l21 : float
        Strengths of the three penalties: finite, not negative. Elsewhere, l21 is often multiplied by the root of the
        group's size: see :mod:`fastreg.convert`.
    group_axis : int or None
        The axis of which each index is a group: 0 for the rows of a matrix, 1 or -1 for its columns. None: all
        weights are one group.

    Returns
    -------
    None
        The update is in place.

    Raises
    ------
    TypeError, ValueError
        As :func:`l1_update`, and for a group_axis that is no axis of `w`, before the first write.

    References
    ----------
    M. Yuan, Y. Lin, "Model selection and estimation in regression with grouped variables", JRSS B 68 (2006).
    N. Simon, J. Friedman, T. Hastie, R. Tibshirani, "A sparse-group lasso", JCGS 22 (2013).

    Examples
    --------
    The first row is short and vanishes, the second one is shortened by lr·l21:

    >>> import numpy as np
    >>> import fastreg
    >>> w = np.array([[0.1, -0.1], [3.0, 4.0]])
    >>> fastreg.group_update(w, np.zeros_like(w), 0.1, 0.0, 0.0, 5.0, group_axis=0)
    >>> w
    array([[0. , 0. ],
           [2.7, 3.6]])
    """
    with np.errstate(all="ignore"):
        w[...] = group_step(Plain(lr), without_l1(ElasticNet(l1, l2)), l21, group_axis, w, grad)


def _update(w, grad, lr, l1, l2, gamma, mode, theta):
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(map(repr, MODES))}, got {mode!r}")
    theta = theta if theta <= LARGEST else inf  # an int may be larger
    if theta != inf and mode != "truncated":
        raise ValueError(f"theta: expected inf unless mode='truncated', got {theta!r} with mode={mode!r}")
    penalty = penalty_with(l1, l2, gamma)
    if mode not in MODES_OF[type(penalty).__name__]:
        raise ValueError(f"gamma: expected inf with mode={mode!r}, got {gamma!r}")
    m = Truncated(theta) if mode == "truncated" else MODES[mode]()
    with np.errstate(all="ignore"):
        w[...] = step(Plain(lr), m, without_l1(penalty), w, grad)
