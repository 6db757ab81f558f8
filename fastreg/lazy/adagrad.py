"""Layer 5, lazy Adagrad."""

from math import inf

import numpy as np

from fastreg import reference
from fastreg._boundary.errors import bad_gamma
from fastreg.lazy.base import LazyOptimizer


class LazyAdagrad(LazyOptimizer):
    """Adagrad on sparse gradients with the proximal penalty on all weights: the result of dense steps, in O(non-zeros).

    Parameters
    ----------
    w, lr, l1, l2
        As of :class:`LazySGD`. But when lr, l1 or l2 changes, all weights are brought up to date first, since each has
        its own step size. This is a pass over all weights, at every step if a callable changes at every step.
    initial_accumulator_value : float, default 0.1
        Initial value of the sum of squares. It must be positive: with 0, the penalty of a weight without a gradient
        would be lr/eps·l1 at every step.
    eps : float, default 1e-10
        Added to the root of the sum of squares.
    l21
        Only for vectors, where it is the same as l1: the weights of a row differ in step size, so that the steps that a
        row has missed have no closed form.
    gamma
        Only inf: the step sizes of some weights may reach a finite gamma, from where MCP has another rule.
    bounds
        As of :class:`LazySGD`.
    penalty_factor : float or array like w, optional
        Multiplies the strengths.

    Attributes
    ----------
    w, lr, l1, l2, l21, bounds, penalty_factor, completed, has_pending_penalty
        As of :class:`LazySGD`.
    state : dict
        The state by name, "sum": a live array like w.

    Raises
    ------
    TypeError, ValueError
        As the update functions, before anything is written.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods", JMLR 12 (2011).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.ones(4)
    >>> with fastreg.LazyAdagrad(w, lr=0.1, initial_accumulator_value=1.0, l1=0.5) as lazy:
    ...     lazy.step(np.array([2]), np.array([1.0]))
    >>> w.round(3)
    array([0.95 , 0.95 , 0.894, 0.95 ])
    """

    _direction = reference.Adagrad
    _state_names = ("sum",)
    _squares = "sum"

    def __init__(
        self, w, lr, *, initial_accumulator_value=0.1, eps=1e-10,
        l1=0.0, l2=0.0, l21=0.0, gamma=inf, bounds=(-inf, inf), penalty_factor=None,
    ):  # fmt: skip
        settings = {"lr": lr, "l1": l1, "l2": l2, "l21": l21, "gamma": gamma}
        settings |= {"initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(w, settings, bounds, penalty_factor)

    def _check_gamma(self, gamma, mode, bounds):
        raise bad_gamma(gamma, "LazyAdagrad", "whose step sizes may reach it, from where MCP has another rule")

    def _init_state(self, settings, w, penalty, groups, factor):
        if settings["initial_accumulator_value"] == 0:
            raise ValueError("initial_accumulator_value: expected a positive number, got 0.0")
        return [np.full_like(w, settings["initial_accumulator_value"], subok=False)]
