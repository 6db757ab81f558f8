"""Layer 5, SGD for torch: plain, with momentum, or with Nesterov momentum."""

from math import inf

from fastreg import optimizers
from fastreg.torch.base import Optimizer
from fastreg.torch.settings import ABSENT, common, penalties


class SGD(Optimizer):
    """Stochastic gradient descent with exact zeros, in the place of :class:`torch.optim.SGD`.

    Parameters
    ----------
    params, lr, weight_decay, maximize, foreach, differentiable, fused, l1, l2, l21, gamma, mode, theta, bounds, \
    group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`fastreg.torch.Optimizer`. ``mode="subgradient"`` adds the penalty to the gradient, as
        torch does with weight_decay.
    momentum : float, default 0
        At least 0, below 1; torch takes larger ones, too.
    dampening : float, default 0
        From 0 to 1; torch takes any number.
    nesterov : bool, default False
        Needs a positive momentum and no dampening.

    Raises
    ------
    TypeError, ValueError
        As for every optimizer of fastreg.torch.

    Examples
    --------
    A proximal step sets the second weight to exactly zero:

    >>> import torch
    >>> from fastreg.torch import SGD
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -0.02]))
    >>> optimizer = SGD([w], lr=0.1, l1=0.5)
    >>> (2 * w[0]).backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([0.7500, 0.0000])
    """

    _rule = optimizers.SGD
    _settings = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "l1", "l21", "gamma", "mode", "theta")
    _counts = False

    def __init__(
        self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *,
        maximize=False, foreach=None, differentiable=False, fused=None,
        l1=0.0, l2=None, l21=0.0, gamma=inf, mode="proximal", theta=inf,
        bounds=None, group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        defaults = common(lr, weight_decay, foreach, maximize, ABSENT, differentiable, fused)
        defaults |= {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        defaults |= penalties(l1, l21, gamma, mode, theta, bounds, group_axis, penalty_factor)
        super().__init__(params, defaults, l2, on_nonfinite, threads)
