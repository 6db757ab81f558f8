"""Layer 5, Adagrad for torch."""

from math import inf

from fastreg import optimizers
from fastreg.torch.base import Optimizer, rule_of
from fastreg.torch.plans import as_number
from fastreg.torch.settings import ABSENT, common, penalties
from fastreg.torch.tensors import new_count, new_tensor


class Adagrad(Optimizer):
    """Adagrad with exact zeros, in the place of :class:`torch.optim.Adagrad`.

    Parameters
    ----------
    params, lr, weight_decay, maximize, foreach, differentiable, fused, l1, l2, l21, gamma, mode, theta, bounds, \
    group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`fastreg.torch.Optimizer`, but not ``mode="truncated"``. ``mode="subgradient"`` adds
        the penalty to the gradient, as torch does with weight_decay.
    lr_decay : float, default 0
        After t steps, the learning rate is lr/(1 + t·lr_decay).
    initial_accumulator_value : float, default 0
        Initial value of the sum of squares.
    eps : float, default 1e-10
        Added to the root of the sum of squares.

    Raises
    ------
    TypeError, ValueError
        As for every optimizer of fastreg.torch.

    Notes
    -----
    If the gradient of a weight has always been zero, its step size is lr/eps: see :class:`fastreg.torch.Adam`.

    Examples
    --------
    >>> import torch
    >>> from fastreg.torch import Adagrad
    >>> w = torch.nn.Parameter(torch.tensor([1.0, 0.05]))
    >>> optimizer = Adagrad([w], lr=0.1, l1=0.5)
    >>> (w * torch.tensor([1.0, -0.5])).sum().backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([0.8500, 0.0500])
    """

    _rule = optimizers.Adagrad
    _settings = (
        "lr", "weight_decay", "initial_accumulator_value", "eps", "l1", "l21", "gamma", "mode", "theta",
    )  # fmt: skip
    _extra = ("lr_decay",)

    def __init__(
        self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, foreach=None, *,
        maximize=False, differentiable=False, fused=None,
        l1=0.0, l2=None, l21=0.0, gamma=inf, mode="proximal", theta=inf,
        bounds=None, group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        defaults = common(lr, weight_decay, foreach, maximize, ABSENT, differentiable, fused)
        defaults |= {"lr_decay": lr_decay, "initial_accumulator_value": initial_accumulator_value, "eps": eps}
        defaults |= penalties(l1, l21, gamma, mode, theta, bounds, group_axis, penalty_factor)
        super().__init__(params, defaults, l2, on_nonfinite, threads)
        for group in self.param_groups:  # at once, as torch does
            for p in group["params"]:
                self.state[p]["step"] = new_count()
                self.state[p]["sum"] = new_tensor(p, as_number(group["initial_accumulator_value"]))

    def share_memory(self):
        """Move the sums of squares into shared memory, for several processes.

        Examples
        --------
        >>> import torch
        >>> from fastreg.torch import Adagrad
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = Adagrad([w], lr=0.1)
        >>> optimizer.share_memory()
        >>> optimizer.state[w]["sum"].is_shared()
        True
        """
        for state in self.state.values():
            state["sum"].share_memory_()

    def _new_tensors(self, p, j, group, plan, names):
        return {name: new_tensor(p, plan.settings["initial_accumulator_value"]) for name in names}

    def _at_step(self, settings, group):
        decay = as_number(group["lr_decay"])
        if decay == 0:
            return None
        rule = rule_of(self._rule)
        return lambda steps: rule._direction(settings | {"lr": settings["lr"] / (1 + steps * decay)}, False)
