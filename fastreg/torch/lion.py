"""Layer 5, Lion for torch."""

from math import inf

from fastreg import optimizers
from fastreg.torch.base import Optimizer
from fastreg.torch.settings import common, penalties


class Lion(Optimizer):
    """Lion: each move has the length lr and the sign of a running mean; penalties are decoupled.

    Parameters
    ----------
    params, lr, weight_decay, maximize, foreach, capturable, differentiable, fused, l1, l2, l21, gamma, mode, theta, \
    bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`fastreg.torch.Optimizer`, but the only mode is "decoupled": the others, and so a
        finite gamma and l21, have no meaning for moves of a fixed length.
    betas : pair of float, default (0.9, 0.99)
        Weight of the mean in the sign, and decay rate of the mean; at least 0, below 1.

    Raises
    ------
    TypeError, ValueError
        As for every optimizer of fastreg.torch.

    Examples
    --------
    >>> import torch
    >>> from fastreg.torch import Lion
    >>> w = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = Lion([w], lr=0.1)
    >>> (w * torch.tensor([5.0, -0.01, 0.0])).sum().backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([0.9000, 1.1000, 1.0000])
    """

    _rule = optimizers.Lion
    _settings = ("lr", "betas", "weight_decay", "l1", "l21", "gamma", "mode", "theta")
    _counts = False

    def __init__(
        self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0, *,
        foreach=None, maximize=False, capturable=False, differentiable=False, fused=None,
        l1=0.0, l2=None, l21=0.0, gamma=inf, mode="decoupled", theta=inf,
        bounds=None, group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        defaults = common(lr, weight_decay, foreach, maximize, capturable, differentiable, fused) | {"betas": betas}
        defaults |= penalties(l1, l21, gamma, mode, theta, bounds, group_axis, penalty_factor)
        super().__init__(params, defaults, l2, on_nonfinite, threads)
