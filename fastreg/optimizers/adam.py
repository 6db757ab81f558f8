"""Layer 5, Adam, AMSGrad and AdamW."""

from math import inf

from fastreg import reference
from fastreg.optimizers.base import Optimizer


class Adam(Optimizer):
    """Adam, or AMSGrad. The proximal mode steps in Adam's metric (ProxGen) and gives exact zeros.

    Parameters
    ----------
    params, lr, l1, l2, l21, gamma, mode, theta, bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`, but not ``mode="truncated"``. ``mode="subgradient"`` with l2 is torch's Adam.
    betas : pair of float, default (0.9, 0.999)
        Decay rates of the mean and of the mean square, at least 0, below 1.
    eps : float, default 1e-8
        Added to the root of the mean square.
    amsgrad : bool, default False
        Divide by the root of the largest mean square so far. As in torch, this is the largest value before the bias
        correction.

    Raises
    ------
    TypeError, ValueError
        As for every :class:`Optimizer`.

    Notes
    -----
    If the gradient of a coordinate has always been zero, its step size is lr/eps, which is enormous. The proximal mode
    sets such a weight to zero at the first step, and a :class:`fastreg.NoGradientWarning` tells how many there were. To
    keep them, give a callable l1 that is zero during the first epoch, or penalty_factor=0 for them: see
    :class:`Adagrad`.

    References
    ----------
    D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR (2015).
    S. Reddi, S. Kale, S. Kumar, "On the convergence of Adam and beyond", ICLR (2018).
    J. Yun, A. Lozano, E. Yang, "Adaptive proximal gradient methods for structured neural networks", NeurIPS (2021).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.array([1.0, 0.1])
    >>> optimizer = fastreg.Adam(w, lr=0.1, l1=0.5)
    >>> optimizer.step(np.array([1.0, 0.25]))
    >>> w.round(3)
    array([0.85, 0.  ])
    """

    _directions = {"Adam": {}, "AMSGrad": {"amsgrad": True}}
    _modes_reason = "coordinates differ in step size"
    _squares = "exp_avg_sq"

    def __init__(
        self, params, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, amsgrad=False,
        l1=0.0, l2=0.0, l21=0.0, gamma=inf, mode="proximal", theta=inf,
        bounds=(-inf, inf), group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        settings = {"lr": lr, "betas": betas, "eps": eps, "amsgrad": amsgrad}
        settings |= {"l1": l1, "l2": l2, "l21": l21, "gamma": gamma, "mode": mode, "theta": theta}
        super().__init__(params, settings, bounds, group_axis, penalty_factor, on_nonfinite, threads)

    def _state_names(self, settings):
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if settings["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def _direction(self, settings, first):
        kind = reference.AMSGrad if settings["amsgrad"] else reference.Adam
        beta1, beta2 = settings["betas"]
        # The kernels replace the last two numbers, the bias corrections, at every step.
        return kind(settings["lr"], beta1, 1 - beta1, beta2, 1 - beta2, settings["eps"], 1.0, 1.0)


class AdamW(Adam):
    """Adam with decoupled penalties: l2 is torch's weight_decay (there 0.01 by default, here 0).

    The penalty does not pass through Adam's metric. The weights therefore do not converge to the minimum of loss plus
    penalty, and l1 gives no exact zeros. :class:`Adam` in its proximal mode does both.

    Parameters
    ----------
    params, lr, l1, l2, l21, gamma, mode, theta, bounds, group_axis, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`, but the only mode is "decoupled", which has neither a finite gamma nor l21.
    betas, eps, amsgrad
        As for :class:`Adam`.

    Raises
    ------
    TypeError, ValueError
        As for every :class:`Optimizer`.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.array([1.0, -1.0])
    >>> optimizer = fastreg.AdamW(w, lr=0.1, l2=0.5)
    >>> optimizer.step(np.array([4.0, 0.0]))
    >>> w.round(3)
    array([ 0.85, -0.95])
    """

    _modes = ("decoupled",)
    _modes_reason = "the penalty acts beside the move"

    def __init__(
        self, params, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, amsgrad=False,
        l1=0.0, l2=0.0, l21=0.0, gamma=inf, mode="decoupled", theta=inf,
        bounds=(-inf, inf), group_axis=None, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        super().__init__(
            params, lr, betas=betas, eps=eps, amsgrad=amsgrad, l1=l1, l2=l2, l21=l21, gamma=gamma, mode=mode,
            theta=theta, bounds=bounds, group_axis=group_axis, penalty_factor=penalty_factor,
            on_nonfinite=on_nonfinite, threads=threads,
        )  # fmt: skip
