"""Layer 5, FTRL-Proximal; the functions at the end serve LazyFTRL, too."""

from math import inf

import numpy as np

from fastreg import reference
from fastreg.optimizers.base import Optimizer


class FTRL(Optimizer):
    """FTRL-Proximal: the weights minimise all linearised losses so far plus the penalty, in closed form.

    Parameters
    ----------
    params, lr, l1, l2, l21, gamma, bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`; lr is McMahan's alpha. There is no mode: zeros are always exact.
    beta : float, default 1.0
        McMahan's beta, added to the root of the sum of squares.
    initial_accumulator_value : float, default 0.0
        Initial value of the sum of squares. It or beta must be positive.
    warm_start : bool, default True
        Choose the initial z so that the closed form gives back the initial weights. False starts from z = 0, as in
        McMahan's paper and in TensorFlow: the first step replaces the weights, even where the gradient is zero.

    Raises
    ------
    TypeError, ValueError
        As for every :class:`Optimizer`.

    Notes
    -----
    l1, l2 and l21 are totals over the whole stream, which are added once. Their effect therefore fades as 1/t, and they
    are not on the scale of the other optimizers. For the minimum of mean loss plus penalty, pass
    ``l1=lambda t: l1 * (t + 1)``, and the others likewise; a constant l1 times the number of all steps agrees with it
    only at the last step. gamma belongs to the totals, too: t times MCP with (l1, gamma) is MCP with (t·l1, gamma/t),
    so divide it by t, between steps, where l1 grows with t. Initial weights that no z gives back, because a step as
    large as gamma is a hard threshold, become 0 at the first step.

    lr and beta may change between steps. z is built on them; when they change, the next step rebuilds it so that they
    alone move no weight (up to rounding, and except where an MCP of a larger lr becomes a hard threshold). With lr = 0,
    a step moves nothing, and z and n stay, too.

    References
    ----------
    H. B. McMahan et al., "Ad click prediction: a view from the trenches", KDD (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.zeros(3)
    >>> optimizer = fastreg.FTRL(w, lr=0.5, l1=1.0)
    >>> optimizer.step(np.array([3.0, -3.0, 0.5]))
    >>> w
    array([-0.25,  0.25,  0.  ])
    """

    _directions = {"FTRL": {}}
    _squares = "n"
    _is_built_on_lr = True

    def __init__(
        self, params, lr=1e-3, *, beta=1.0, initial_accumulator_value=0.0, warm_start=True,
        l1=0.0, l2=0.0, l21=0.0, gamma=inf,
        bounds=(-inf, inf), group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        settings = {
            "lr": lr,
            "beta": beta,
            "initial_accumulator_value": initial_accumulator_value,
            "warm_start": warm_start,
        }
        settings |= {"l1": l1, "l2": l2, "l21": l21, "gamma": gamma}
        super().__init__(params, settings, bounds, group_axis, penalty_factor, on_nonfinite, threads)

    def _check(self, settings):
        super()._check(settings)
        check_ftrl(settings)

    def _state_names(self, settings):
        return ("z", "n")

    def _init_state(self, settings, w, penalty, groups, factor):
        return init_ftrl_state(settings, w, penalty, factor, groups)

    def _built_on(self, settings, steps=0):
        return rate_of_start(settings) if settings["warm_start"] or steps > 0 else (0.0, 0.0)

    def _direction(self, settings, first):
        return reference.FTRL(settings["lr"], settings["beta"])


def check_ftrl(settings):
    """Raise ValueError for settings with which the closed form would divide by zero."""
    if settings["beta"] == 0 and settings["initial_accumulator_value"] == 0:
        raise ValueError("beta: expected a positive number where initial_accumulator_value is 0, got 0.0")


def rate_of_start(settings):
    """The lr and beta that a warm start builds z on. Infinite for lr = 0: then no part of z depends on them yet."""
    return settings["lr"] or inf, settings["beta"]


def init_ftrl_state(settings, w, penalty, factor, groups=None):
    """The initial z and n, for settings without callables; `groups` as in Optimizer._init_state."""
    check_ftrl(settings)
    n = np.full_like(w, settings["initial_accumulator_value"], subok=False)
    z = np.zeros_like(w, subok=False)
    if settings["warm_start"]:
        direction = reference.FTRL(*rate_of_start(settings))
        with np.errstate(all="ignore"):
            z[...] = reference.warm_start(direction, penalty, w, n, factor)
            if groups is not None and groups[0] != 0:
                z[...] -= reference.group_subgradient(*groups, w, factor)
    return [z, n]
