"""Layer 5, FTRL-Proximal for torch."""

from math import inf

import torch

from fastreg import optimizers
from fastreg.optimizers.ftrl import init_ftrl_state
from fastreg.torch.base import Optimizer, rule_of
from fastreg.torch.settings import common, penalties
from fastreg.torch.tensors import BUILT_ON, as_contiguous_array, new_number, new_tensor


class FTRL(Optimizer):
    """FTRL-Proximal: the weights minimise all linearised losses so far plus the penalty, in closed form.

    Parameters
    ----------
    params, lr, weight_decay, maximize, foreach, capturable, differentiable, fused, l1, l2, l21, gamma, bounds, \
    group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`fastreg.torch.Optimizer`. There is no mode: zeros are always exact.
    beta : float, default 1.0
        McMahan's beta, added to the root of the sum of squares.
    initial_accumulator_value : float, default 0.0
        Initial value of the sum of squares. It or beta must be positive.
    warm_start : bool, default True
        Choose the initial z so that the closed form gives back the initial weights.

    Raises
    ------
    TypeError, ValueError
        As for every optimizer of fastreg.torch.

    Notes
    -----
    The penalties are totals over the stream: see :class:`fastreg.FTRL`.

    lr and beta may change between steps, for instance by a scheduler. z is built on them; when they change, the next
    step rebuilds it so that they alone move no weight (up to rounding, and except where an MCP of a larger lr becomes a
    hard threshold). ``"built_on_lr"`` and ``"built_on_beta"`` of the state are what z is built on: lr is infinite after
    a warm start at lr = 0, and 0 if z fits any. For state saved without them, they are taken to be lr and beta of the
    first step after loading. With lr = 0, a step moves nothing, and z and n stay, too.

    Examples
    --------
    >>> import torch
    >>> from fastreg.torch import FTRL
    >>> w = torch.nn.Parameter(torch.zeros(3))
    >>> optimizer = FTRL([w], lr=0.5, l1=1.0)
    >>> (w * torch.tensor([3.0, -3.0, 0.5])).sum().backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([-0.2500,  0.2500,  0.0000])
    """

    _rule = optimizers.FTRL
    _settings = ("lr", "beta", "weight_decay", "initial_accumulator_value", "warm_start", "l1", "l21", "gamma")
    _counts = False

    def __init__(
        self, params, lr=1e-3, beta=1.0, weight_decay=0, *,
        initial_accumulator_value=0.0, warm_start=True,
        foreach=None, maximize=False, capturable=False, differentiable=False, fused=None,
        l1=0.0, l2=None, l21=0.0, gamma=inf,
        bounds=None, group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        defaults = common(lr, weight_decay, foreach, maximize, capturable, differentiable, fused)
        defaults |= {"beta": beta, "initial_accumulator_value": initial_accumulator_value, "warm_start": warm_start}
        defaults |= penalties(l1, l21, gamma, "proximal", inf, bounds, group_axis, penalty_factor)
        del defaults["mode"], defaults["theta"]
        super().__init__(params, defaults, l2, on_nonfinite, threads)

    def _new_state(self, p, j, group, plan, own):
        state, settings = super()._new_state(p, j, group, plan, own), plan.settings
        if own is None or own.get("z") is None:
            built_on = rule_of(self._rule)._built_on(settings)
        elif own.get("built_on_lr") is None or own.get("built_on_beta") is None:
            built_on = settings["lr"], settings["beta"]
        else:
            return state
        return state | dict(zip(BUILT_ON, map(new_number, built_on)))

    def _new_tensors(self, p, j, group, plan, names):
        kind = plan.kinds[j] if plan.kinds else 0
        factor = plan.factors[j].numpy() if plan.factors and plan.factors[j] is not None else None
        axis = plan.axes[j] if isinstance(plan.axes, list) else plan.axes
        w = as_contiguous_array(p)
        states = init_ftrl_state(plan.settings, w, plan.penalties[kind], factor, (plan.l21[kind], axis))
        return {name: new_tensor(p, torch.from_numpy(x)) for name, x in zip(("z", "n"), states) if name in names}
