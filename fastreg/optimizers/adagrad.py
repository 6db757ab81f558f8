"""Layer 5, Adagrad."""

from math import inf

import numpy as np

from fastreg import reference
from fastreg.optimizers.base import Optimizer


class Adagrad(Optimizer):
    """Adagrad: a step size for each coordinate, which shrinks with the sum of its squared gradients.

    Parameters
    ----------
    params, lr, l1, l2, l21, gamma, mode, theta, bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`, but not ``mode="truncated"``.
    initial_accumulator_value : float, default 0.0
        Initial value of the sum of squares.
    eps : float, default 1e-10
        Added to the root of the sum of squares.

    Raises
    ------
    TypeError, ValueError
        As for every :class:`Optimizer`.

    Notes
    -----
    If the gradient of a coordinate has always been zero, its step size is lr/(√a + eps), where a is the initial
    accumulator value. With a = 0, the proximal mode usually sets such a weight to zero at the first step. That is the
    right minimiser, but it is no feature selection, and it can remove the units of a network that were inactive for the
    whole first batch. A callable l1 that is zero during the first epoch avoids this, such as
    ``l1=lambda t: 0.0 if t < 100 else 1e-3``; so does a positive initial accumulator value, or penalty_factor=0 for
    these weights. A :class:`fastreg.NoGradientWarning` tells how many weights the first step removed.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods", JMLR 12 (2011).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.array([1.0, 1.0])
    >>> optimizer = fastreg.Adagrad(w, lr=0.1, initial_accumulator_value=0.1)
    >>> optimizer.step(np.array([10.0, 1.0]))
    >>> w.round(3)
    array([0.9  , 0.905])
    """

    _directions = {"Adagrad": {}}
    _modes_reason = "coordinates differ in step size"
    _squares = "sum"

    def __init__(
        self, params, lr=1e-2, *, initial_accumulator_value=0.0, eps=1e-10,
        l1=0.0, l2=0.0, l21=0.0, gamma=inf, mode="proximal", theta=inf,
        bounds=(-inf, inf), group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        settings = {"lr": lr, "initial_accumulator_value": initial_accumulator_value, "eps": eps}
        settings |= {"l1": l1, "l2": l2, "l21": l21, "gamma": gamma, "mode": mode, "theta": theta}
        super().__init__(params, settings, bounds, group_axis, penalty_factor, on_nonfinite, threads)

    def _state_names(self, settings):
        return ("sum",)

    def _init_state(self, settings, w, penalty, groups, factor):
        return [np.full_like(w, settings["initial_accumulator_value"], subok=False)]

    def _direction(self, settings, first):
        return reference.Adagrad(settings["lr"], settings["eps"])
