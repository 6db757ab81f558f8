"""Layer 5, RMSprop for torch."""

from math import inf

from fastreg import optimizers
from fastreg.torch.base import Optimizer
from fastreg.torch.settings import ABSENT, common, penalties


class RMSprop(Optimizer):
    """RMSprop with exact zeros, in the place of :class:`torch.optim.RMSprop` without momentum.

    Parameters
    ----------
    params, lr, weight_decay, maximize, foreach, capturable, differentiable, l1, l2, l21, gamma, mode, theta, bounds, \
    group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`fastreg.torch.Optimizer`, but not ``mode="truncated"``. ``mode="subgradient"`` adds
        the penalty to the gradient, as torch does with weight_decay.
    alpha : float, default 0.99
        Decay rate of the mean square, from 0 to 1.
    eps : float, default 1e-8
        Added to the root of the mean square.
    momentum, centered
        torch's variants; they must be 0 and False. With them, a move is a sum of steps of different step sizes, for
        which no proximal operator is exact. :class:`fastreg.torch.Adam` with ``betas=(momentum, alpha)`` is near.

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
    >>> from fastreg.torch import RMSprop
    >>> w = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> optimizer = RMSprop([w], lr=0.1, alpha=0.75)
    >>> (w * torch.tensor([10.0, 1.0])).sum().backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([0.8000, 0.8000])
    """

    _rule = optimizers.RMSprop
    _settings = ("lr", "alpha", "eps", "weight_decay", "l1", "l21", "gamma", "mode", "theta")
    _extra = ("momentum", "centered")

    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, capturable=False,
        foreach=None, maximize=False, differentiable=False, *,
        l1=0.0, l2=None, l21=0.0, gamma=inf, mode="proximal", theta=inf,
        bounds=None, group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        defaults = common(lr, weight_decay, foreach, maximize, capturable, differentiable, ABSENT)
        defaults |= {"alpha": alpha, "eps": eps, "momentum": momentum, "centered": centered}
        defaults |= penalties(l1, l21, gamma, mode, theta, bounds, group_axis, penalty_factor)
        super().__init__(params, defaults, l2, on_nonfinite, threads)

    def _given(self, group):
        if group["momentum"] or group["centered"]:
            raise ValueError(
                "momentum, centered: expected 0 and False for RMSprop (near is Adam with betas=(momentum, alpha)),"
                f" got momentum={group['momentum']!r}, centered={group['centered']!r}"
            )
        return super()._given(group)
