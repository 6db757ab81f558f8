"""Layer 5, RMSprop."""

from math import inf

from fastreg import reference
from fastreg.optimizers.base import Optimizer


class RMSprop(Optimizer):
    """RMSprop: gradients divided by the root of their running mean square.

    Parameters
    ----------
    params, lr, l1, l2, l21, gamma, mode, theta, bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`, but not ``mode="truncated"``.
    alpha : float, default 0.99
        Decay rate of the mean square, from 0 to 1.
    eps : float, default 1e-8
        Added to the root of the mean square.

    Raises
    ------
    TypeError, ValueError
        As for every :class:`Optimizer`.

    Notes
    -----
    If the gradient of a coordinate has always been zero, its step size is lr/eps, which is enormous. The proximal mode
    sets such a weight to zero at the first step, and a :class:`fastreg.NoGradientWarning` tells how many there were. To
    keep them, give a callable l1 that is zero during the first epoch, or penalty_factor=0 for them: see
    :class:`Adagrad`.

    References
    ----------
    T. Tieleman, G. Hinton, "Lecture 6.5: RMSProp", Coursera (2012).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.array([1.0, 1.0])
    >>> optimizer = fastreg.RMSprop(w, lr=0.1, alpha=0.75)
    >>> optimizer.step(np.array([10.0, 1.0]))
    >>> w.round(3)
    array([0.8, 0.8])
    """

    _directions = {"RMSprop": {}}
    _modes_reason = "coordinates differ in step size"
    _squares = "square_avg"

    def __init__(
        self, params, lr=1e-2, *, alpha=0.99, eps=1e-8,
        l1=0.0, l2=0.0, l21=0.0, gamma=inf, mode="proximal", theta=inf,
        bounds=(-inf, inf), group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        settings = {"lr": lr, "alpha": alpha, "eps": eps}
        settings |= {"l1": l1, "l2": l2, "l21": l21, "gamma": gamma, "mode": mode, "theta": theta}
        super().__init__(params, settings, bounds, group_axis, penalty_factor, on_nonfinite, threads)

    def _state_names(self, settings):
        return ("square_avg",)

    def _direction(self, settings, first):
        alpha = settings["alpha"]
        return reference.RMSprop(settings["lr"], alpha, 1 - alpha, settings["eps"])
