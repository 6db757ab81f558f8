"""Layer 5, lazy FTRL-Proximal."""

from math import inf

from fastreg import reference
from fastreg.lazy.base import LazyOptimizer
from fastreg.optimizers.ftrl import init_ftrl_state, rate_of_start


class LazyFTRL(LazyOptimizer):
    """FTRL-Proximal on sparse gradients. Its closed form needs no steps for weights without a gradient.

    Parameters
    ----------
    w, lr, l1, l2, l21
        As of :class:`LazySGD`, but l1 and l21 go together. lr is McMahan's alpha; the strengths are totals over the
        whole stream, to which a finite gamma belongs, too: see :class:`fastreg.FTRL`. When they change, w is not up to
        date until :meth:`flush`. A step with another lr than the one before takes O(size of w), since z is built on lr:
        let it change rarely. With lr = 0, a step moves nothing.
    gamma : float, default inf
        Positive. Finite: MCP in the place of l1·‖w‖₁; l2 and any lr go with it. Fixed at construction.
    beta, initial_accumulator_value, warm_start
        As of :class:`fastreg.FTRL`. The weights depend on the state alone. With ``warm_start=False``, the first step
        therefore discards the initial weights, even a NaN.
    bounds
        As of :class:`LazySGD`. The closed form's weights are clipped.
    penalty_factor : float or array like w, optional
        Multiplies the strengths.

    Attributes
    ----------
    w, lr, l1, l2, l21, bounds, penalty_factor, completed, has_pending_penalty
        As of :class:`LazySGD`.
    state : dict
        The state by name, "z" and "n", as live arrays like w.

    Raises
    ------
    TypeError, ValueError
        As the update functions, before anything is written.

    References
    ----------
    H. B. McMahan et al., "Ad click prediction: a view from the trenches", KDD (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.zeros(4)
    >>> lazy = fastreg.LazyFTRL(w, lr=0.5, l1=1.0)
    >>> lazy.step(np.array([0, 2]), np.array([3.0, 0.5]))
    >>> w
    array([-0.25,  0.  ,  0.  ,  0.  ])
    """

    _direction = reference.FTRL
    _state_names = ("z", "n")
    _squares = "n"

    def __init__(
        self, w, lr, *, beta=1.0, initial_accumulator_value=0.0, warm_start=True,
        l1=0.0, l2=0.0, l21=0.0, gamma=inf, bounds=(-inf, inf), penalty_factor=None,
    ):  # fmt: skip
        settings = {"lr": lr, "l1": l1, "l2": l2, "l21": l21, "gamma": gamma}
        settings |= {"beta": beta, "initial_accumulator_value": initial_accumulator_value, "warm_start": warm_start}
        super().__init__(w, settings, bounds, penalty_factor)

    def _init_state(self, settings, w, penalty, groups, factor):
        return init_ftrl_state(settings, w, penalty, factor, groups)

    def _built_on(self, settings):
        return rate_of_start(settings)[0] if settings["warm_start"] else 0.0
