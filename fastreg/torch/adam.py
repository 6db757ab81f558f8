"""Layer 5, Adam, AMSGrad and AdamW for torch."""

from math import inf

from fastreg import optimizers
from fastreg.torch.base import Optimizer, rule_of
from fastreg.torch.settings import common, penalties

DEFAULT_DECAY = 1e-2  # of AdamW; this object means that no weight_decay was given


class Adam(Optimizer):
    """Adam or AMSGrad with exact zeros, in the place of :class:`torch.optim.Adam`.

    The proximal mode, the default, steps in Adam's metric (ProxGen). It minimises loss plus penalty.

    Parameters
    ----------
    params, lr, weight_decay, maximize, foreach, capturable, differentiable, fused, l1, l2, l21, gamma, mode, theta, \
    bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`fastreg.torch.Optimizer`, but not ``mode="truncated"``. ``mode="subgradient"`` adds
        the penalty to the gradient, as torch does with weight_decay.
    betas : pair of float, or of tensors with one element, default (0.9, 0.999)
        Decay rates of the mean and of the mean square, at least 0, below 1.
    eps : float, default 1e-8
        Added to the root of the mean square.
    amsgrad : bool, default False
        Divide by the root of the largest mean square so far.
    decoupled_weight_decay : bool, default False
        True makes it :class:`AdamW`.

    Raises
    ------
    TypeError, ValueError
        As for every optimizer of fastreg.torch.

    Notes
    -----
    A weight whose gradient has always been zero has a step size of lr/eps, so that even a weak l1 sets it to zero at
    the first step: the right minimiser, but no selection. A :class:`fastreg.NoGradientWarning` tells how many weights
    the first step removed, and `report()` counts them apart. A weight without a gradient, because ``p.grad`` is None,
    does not move at all. To let all weights gather gradients first, delay l1:
    start with ``l1=0`` and set it later, ``optimizer.param_groups[0]["l1"] = 1e-4``.

    Examples
    --------
    >>> import torch
    >>> from fastreg.torch import Adam
    >>> w = torch.nn.Parameter(torch.tensor([1.0, 0.1]))
    >>> optimizer = Adam([w], lr=0.1, l1=0.5)
    >>> (w * torch.tensor([1.0, 0.25])).sum().backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([0.8500, 0.0000])
    """

    _rule = optimizers.Adam
    _settings = ("lr", "betas", "eps", "weight_decay", "amsgrad", "l1", "l21", "gamma", "mode", "theta")
    _extra = ("decoupled_weight_decay",)
    _has_tensor_betas = True

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *,
        foreach=None, maximize=False, capturable=False, differentiable=False, fused=None, decoupled_weight_decay=False,
        l1=0.0, l2=None, l21=0.0, gamma=inf, mode="proximal", theta=inf,
        bounds=None, group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        defaults = common(lr, weight_decay, foreach, maximize, capturable, differentiable, fused)
        defaults |= {"betas": betas, "eps": eps, "amsgrad": amsgrad, "decoupled_weight_decay": decoupled_weight_decay}
        defaults |= penalties(l1, l21, gamma, mode, theta, bounds, group_axis, penalty_factor)
        super().__init__(params, defaults, l2, on_nonfinite, threads)

    def _split(self, settings, group):
        """A decoupled weight decay is a step of its own where the penalty is proximal: a step has only one mode."""
        if not group["decoupled_weight_decay"] or settings["mode"] == "decoupled":
            return rule_of(self._rule), settings, 0.0
        if settings["mode"] == "subgradient":
            raise ValueError("mode: expected 'proximal' or 'decoupled' for a decoupled weight decay, got 'subgradient'")
        if settings["l1"] == 0 and settings["l21"] == 0:
            return rule_of(self._rule), settings | {"mode": "decoupled", "gamma": inf}, 0.0
        return rule_of(self._rule), settings | {"l2": 0.0}, settings["l2"]


class AdamW(Adam):
    """Adam with decoupled weight decay and exact zeros, in the place of :class:`torch.optim.AdamW`.

    Without l1 and l21, it is torch's AdamW. l1 and l21 are proximal, in Adam's metric: first the decay w·(1 −
    lr·weight_decay), then Adam's step and the proximal operator. Unlike weight_decay, they are part of what is
    minimised.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize, foreach, capturable, differentiable, fused, l1, l2, l21, gamma, theta, \
    bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for :class:`Adam`.
    weight_decay : float, default 0.01
        As in torch, lr·weight_decay·w is subtracted beside Adam's step.
    mode : {"proximal", "decoupled"}
        "decoupled" subtracts lr·l1·sign(w) beside the step, too, which gives no exact zeros.

    Raises
    ------
    TypeError, ValueError
        As for every optimizer of fastreg.torch.

    Examples
    --------
    >>> import torch
    >>> from fastreg.torch import AdamW
    >>> layer = torch.nn.Linear(3, 1)
    >>> optimizer = AdamW(layer.parameters(), lr=0.1, l1=0.01)
    >>> x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> for _ in range(200):
    ...     optimizer.zero_grad()
    ...     (layer(x) - 2 * x[:, :1]).pow(2).mean().backward()
    ...     optimizer.step()
    >>> layer.weight.detach().ne(0)
    tensor([[ True, False, False]])
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=DEFAULT_DECAY, amsgrad=False, *,
        maximize=False, foreach=None, capturable=False, differentiable=False, fused=None,
        l1=0.0, l2=None, l21=0.0, gamma=inf, mode="proximal", theta=inf,
        bounds=None, group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        super().__init__(
            params, lr, betas, eps, 0 if l2 is not None and weight_decay is DEFAULT_DECAY else weight_decay, amsgrad,
            foreach=foreach, maximize=maximize, capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True, l1=l1, l2=l2, l21=l21, gamma=gamma, mode=mode, theta=theta, bounds=bounds,
            group_axis=group_axis, penalty_factor=penalty_factor, on_nonfinite=on_nonfinite, threads=threads,
        )  # fmt: skip

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
