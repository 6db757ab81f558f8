"""Layer 5, Lion."""

from math import inf

from fastreg import reference
from fastreg.optimizers.base import Optimizer


class Lion(Optimizer):
    """Lion: each move has the length lr and the sign of a running mean; penalties are decoupled.

    Parameters
    ----------
    params, lr, l1, l2, l21, gamma, mode, theta, bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`, but the only mode is "decoupled": the others, and so a finite gamma and l21,
        have no meaning for moves of a fixed length.
    betas : pair of float, default (0.9, 0.99)
        Weight of the mean in the sign, and decay rate of the mean; at least 0, below 1.

    Raises
    ------
    TypeError, ValueError
        As for every :class:`Optimizer`.

    References
    ----------
    X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS (2023).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.array([1.0, 1.0, 1.0])
    >>> optimizer = fastreg.Lion(w, lr=0.1)
    >>> optimizer.step(np.array([5.0, -0.01, 0.0]))
    >>> w
    array([0.9, 1.1, 1. ])
    """

    _directions = {"Lion": {}}
    _modes_reason = "the penalty acts beside the move"

    def __init__(
        self, params, lr=1e-4, *, betas=(0.9, 0.99),
        l1=0.0, l2=0.0, l21=0.0, gamma=inf, mode="decoupled", theta=inf,
        bounds=(-inf, inf), group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        settings = {"lr": lr, "betas": betas}
        settings |= {"l1": l1, "l2": l2, "l21": l21, "gamma": gamma, "mode": mode, "theta": theta}
        super().__init__(params, settings, bounds, group_axis, penalty_factor, on_nonfinite, threads)

    def _state_names(self, settings):
        return ("exp_avg",)

    def _direction(self, settings, first):
        beta1, beta2 = settings["betas"]
        return reference.Lion(settings["lr"], beta1, 1 - beta1, beta2, 1 - beta2)
