"""Layer 5, stochastic gradient descent: the directions Plain, Momentum and Nesterov."""

from math import inf

from fastreg import reference
from fastreg.optimizers.base import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum or Nesterov momentum.

    Parameters
    ----------
    params, lr, l1, l2, l21, gamma, mode, theta, bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`.
    momentum : float, default 0.0
        At least 0, below 1.
    dampening : float, default 0.0
        From 0 to 1. As in torch, the first momentum buffer is the undampened gradient.
    nesterov : bool, default False
        Needs a positive momentum and no dampening.

    Raises
    ------
    TypeError, ValueError
        As for every :class:`Optimizer`.

    Notes
    -----
    The proximal and the truncated penalty use the step size lr·(1 − dampening)/(1 − momentum): that of the move after
    the momentum has built up. With lr alone, the weights would converge to the minimum for a weaker penalty. The
    truncated mode applies l2 by gradient at this step size, and diverges where the step size times l2 exceeds 2.

    References
    ----------
    B. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML (2013).

    Examples
    --------
    A proximal step sets the second weight to exactly zero:

    >>> import numpy as np
    >>> import fastreg
    >>> w = np.array([1.0, -0.02])
    >>> optimizer = fastreg.SGD(w, lr=0.1, momentum=0.5, l1=0.5)
    >>> optimizer.step(np.array([2.0, 0.0]))
    >>> w
    array([0.7, 0. ])
    """

    _directions = {"Plain": {}, "Momentum": {"momentum": 0.9}, "Nesterov": {"momentum": 0.9, "nesterov": True}}

    def __init__(
        self, params, lr=1e-3, *, momentum=0.0, dampening=0.0, nesterov=False,
        l1=0.0, l2=0.0, l21=0.0, gamma=inf, mode="proximal", theta=inf,
        bounds=(-inf, inf), group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        settings |= {"l1": l1, "l2": l2, "l21": l21, "gamma": gamma, "mode": mode, "theta": theta}
        super().__init__(params, settings, bounds, group_axis, penalty_factor, on_nonfinite, threads)

    def _check(self, settings):
        super()._check(settings)
        if settings["nesterov"] and (settings["momentum"] == 0 or settings["dampening"] != 0):
            raise ValueError(
                "nesterov: expected a positive momentum and no dampening with it, got"
                f" momentum={settings['momentum']!r}, dampening={settings['dampening']!r}"
            )

    def _state_names(self, settings):
        return ("momentum_buffer",) if settings["momentum"] else ()

    def _direction(self, settings, first):
        lr, momentum, one_minus_dampening = settings["lr"], settings["momentum"], 1 - settings["dampening"]
        if momentum == 0:
            return reference.Plain(lr)
        eta = lr * one_minus_dampening / (1 - momentum)
        if settings["nesterov"]:
            return reference.Nesterov(lr, momentum, eta)
        return reference.Momentum(lr, momentum, 1.0 if first else one_minus_dampening, eta)
