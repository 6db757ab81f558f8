"""Layer 5, the optimizers: every direction with every penalty that has a meaning for it, over any number of tensors.

A class here says what its settings are, what state they need and which direction they make; the base class does the
rest through one call into layer 4 a step. No formula: those of the directions stand in rules.pxd and reference.py, and
what is computed here are the numbers that a direction derives from its settings once a step, in double.
"""

from math import inf

import numpy as np

from fastreg import reference
from fastreg.optimizers.base import Optimizer

__all__ = ["FTRL", "SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop"]

LINEAR = tuple(reference.MODES)
ADAPTIVE = tuple(mode for mode in LINEAR if mode != "truncated")


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum or Nesterov momentum.

    Parameters
    ----------
    params, lr, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`.
    momentum : float, default 0.0
        From 0 to below 1.
    dampening : float, default 0.0
        From 0 to 1; as in torch, the first momentum buffer is the undampened gradient.
    nesterov : bool, default False
        Needs momentum and no dampening.

    Notes
    -----
    The step size of the proximal and the truncated penalty is lr·(1 − dampening)/(1 − momentum), that of the move once
    the momentum has built up: with lr alone the weights would settle at the minimum for a weaker penalty. The truncated
    mode takes l2 by gradient at that step size, and diverges where it times l2 exceeds 2.

    References
    ----------
    B. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML (2013).
    """

    _modes = LINEAR

    def __init__(
        self, params, lr=1e-3, *, momentum=0.0, dampening=0.0, nesterov=False,
        l1=0.0, l2=0.0, mode="proximal", theta=inf, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        own = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(params, lr, own, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads)

    def _check(self, settings):
        super()._check(settings)
        if settings["nesterov"] and (settings["momentum"] == 0 or settings["dampening"] != 0):
            raise ValueError(
                "nesterov: expected a positive momentum and no dampening with it, got"
                f" momentum={settings['momentum']!r}, dampening={settings['dampening']!r}"
            )

    def _keeps(self, settings):
        return ("momentum_buffer",) if settings["momentum"] else ()

    def _direction(self, now, first):
        lr, momentum, take = now["lr"], now["momentum"], 1 - now["dampening"]
        if momentum == 0:
            return reference.Plain(lr)
        eta = lr * take / (1 - momentum)
        if now["nesterov"]:
            return reference.Nesterov(lr, momentum, eta)
        return reference.Momentum(lr, momentum, 1.0 if first else take, eta)


class Adagrad(Optimizer):
    """Adagrad: step sizes that shrink with the sum of the squared gradients, coordinate by coordinate.

    Parameters
    ----------
    params, lr, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`; not ``mode="truncated"``.
    initial_accumulator_value : float, default 0.0
        Where the sum starts.
    eps : float, default 1e-10
        Added to the root.

    Notes
    -----
    In an adaptive metric a coordinate whose gradient has always been zero has the step size lr/eps (here with the root
    of `initial_accumulator_value` added to eps), as a rule enough for the proximal mode to remove it at the first step.
    That is the right minimiser, but it is not feature selection, and it can cost a network the units that were off for
    the whole first batch. An l1 that is a callable, and zero for the first epoch, spares them.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods", JMLR 12 (2011).
    """

    _modes = ADAPTIVE
    _why = "coordinates differ in step size"

    def __init__(
        self, params, lr=1e-2, *, initial_accumulator_value=0.0, eps=1e-10,
        l1=0.0, l2=0.0, mode="proximal", theta=inf, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        own = {"initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(params, lr, own, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads)

    def _keeps(self, settings):
        return ("sum",)

    def _start(self, settings, w, p, f):
        return [np.full_like(w, settings["initial_accumulator_value"], subok=False)]

    def _direction(self, now, first):
        return reference.Adagrad(now["lr"], now["eps"])


class RMSprop(Optimizer):
    """RMSprop: gradients over the root of their running mean square.

    Parameters
    ----------
    params, lr, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`; not ``mode="truncated"``.
    alpha : float, default 0.99
        Decay of the mean square, from 0 to 1.
    eps : float, default 1e-8
        Added to the root.

    References
    ----------
    T. Tieleman, G. Hinton, "Lecture 6.5: RMSProp", Coursera (2012).
    """

    _modes = ADAPTIVE
    _why = "coordinates differ in step size"

    def __init__(
        self, params, lr=1e-2, *, alpha=0.99, eps=1e-8,
        l1=0.0, l2=0.0, mode="proximal", theta=inf, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        super().__init__(
            params, lr, {"alpha": alpha, "eps": eps}, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads
        )

    def _keeps(self, settings):
        return ("square_avg",)

    def _direction(self, now, first):
        return reference.RMSprop(now["lr"], now["alpha"], 1 - now["alpha"], now["eps"])


class Adam(Optimizer):
    """Adam, or AMSGrad. Proximal steps are taken in Adam's metric (ProxGen), so that zeros are exact.

    Parameters
    ----------
    params, lr, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`; not ``mode="truncated"``. ``mode="subgradient"`` with l2 is torch's Adam.
    betas : pair of float, default (0.9, 0.999)
        Decays of the mean and of the mean square, from 0 to below 1.
    eps : float, default 1e-8
        Added to the root of the mean square.
    amsgrad : bool, default False
        Divide by the largest mean square so far (as in torch, that of the uncorrected one).

    Notes
    -----
    A coordinate whose gradient has always been zero has the step size lr/eps: see :class:`Adagrad`.

    References
    ----------
    D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR (2015).
    S. Reddi, S. Kale, S. Kumar, "On the convergence of Adam and beyond", ICLR (2018).
    J. Yun, A. Lozano, E. Yang, "Adaptive proximal gradient methods for structured neural networks", NeurIPS (2021).
    """

    _modes = ADAPTIVE
    _why = "coordinates differ in step size"

    def __init__(
        self, params, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, amsgrad=False,
        l1=0.0, l2=0.0, mode="proximal", theta=inf, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        own = {"betas": betas, "eps": eps, "amsgrad": amsgrad}
        super().__init__(params, lr, own, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads)

    def _keeps(self, settings):
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if settings["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def _direction(self, now, first):
        kind = reference.AMSGrad if now["amsgrad"] else reference.Adam
        (beta1, beta2), lr, eps = now["betas"], now["lr"], now["eps"]
        return kind(lr, beta1, 1 - beta1, beta2, 1 - beta2, eps, 1.0, 1.0)  # corrected at every step: tensors.pyx


class AdamW(Adam):
    """Adam with decoupled penalties: l2 is torch's weight_decay (whose default there is 0.01, here 0).

    The penalty does not pass through Adam's metric, and the weights do not settle at the minimum of loss plus penalty;
    l1 gives no exact zeros. Use :class:`Adam` in its proximal mode for both.

    Parameters
    ----------
    params, lr, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`; the mode is "decoupled".
    betas, eps, amsgrad
        As for :class:`Adam`.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR (2019).
    """

    _modes = ("decoupled",)
    _why = "the penalty acts beside the move"

    def __init__(
        self, params, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, amsgrad=False,
        l1=0.0, l2=0.0, mode="decoupled", theta=inf, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        own = {"betas": betas, "eps": eps, "amsgrad": amsgrad}
        Optimizer.__init__(self, params, lr, own, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads)


class Lion(Optimizer):
    """Lion: moves by the sign of a running mean, with decoupled penalties.

    Parameters
    ----------
    params, lr, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`; the mode is "decoupled", the only one with a meaning for moves of fixed length.
    betas : pair of float, default (0.9, 0.99)
        Weight of the mean in the sign, and decay of the mean; from 0 to below 1.

    References
    ----------
    X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS (2023).
    """

    _modes = ("decoupled",)
    _why = "the penalty acts beside the move"

    def __init__(
        self, params, lr=1e-4, *, betas=(0.9, 0.99),
        l1=0.0, l2=0.0, mode="decoupled", theta=inf, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        super().__init__(params, lr, {"betas": betas}, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads)

    def _keeps(self, settings):
        return ("exp_avg",)

    def _direction(self, now, first):
        beta1, beta2 = now["betas"]
        return reference.Lion(now["lr"], beta1, 1 - beta1, beta2, 1 - beta2)


class FTRL(Optimizer):
    """FTRL-Proximal: weights that minimise all linearised losses so far plus the penalty, in closed form.

    Parameters
    ----------
    params, lr, l1, l2, penalty_factor, on_nonfinite, threads
        As for every :class:`Optimizer`; lr, McMahan's alpha, is positive. There is no mode: zeros are always exact.
    beta : float, default 1.0
        McMahan's beta, added to the root of the sum of squares.
    initial_accumulator_value : float, default 0.0
        Where the sum of squares starts. It or beta must be positive.
    warm_start : bool, default True
        Start so that the closed form gives back the weights as they are. False is the literal start of McMahan and of
        TensorFlow, z = 0: the first gradient replaces the weights, a zero one by zero.

    Notes
    -----
    l1 and l2 are totals over the whole stream, added once: their effect fades as 1/t, and they are not on the scale of
    the other optimizers. For the minimum of mean loss plus penalty pass ``l1=lambda t: l1 * (t + 1)``, and l2 likewise:
    a constant l1 times the number of all steps to come agrees with it only at the end. The state is built on lr and
    beta: where they change, weights move at the next step even under a zero gradient.

    References
    ----------
    H. B. McMahan et al., "Ad click prediction: a view from the trenches", KDD (2013).
    """

    _modes = ("proximal",)
    _has_mode = False

    def __init__(
        self, params, lr=1e-3, *, beta=1.0, initial_accumulator_value=0.0, warm_start=True,
        l1=0.0, l2=0.0, penalty_factor=None, on_nonfinite="propagate", threads=None,
    ):  # fmt: skip
        own = {"beta": beta, "initial_accumulator_value": initial_accumulator_value, "warm_start": warm_start}
        super().__init__(params, lr, own, l1, l2, None, None, penalty_factor, on_nonfinite, threads)

    def _check(self, settings):
        if settings["beta"] == 0 and settings["initial_accumulator_value"] == 0:
            raise ValueError("beta: expected a positive number where initial_accumulator_value is 0, got 0.0")
        if settings["lr"] == 0:
            raise ValueError("lr: expected a positive number, got 0.0")

    def _keeps(self, settings):
        return ("z", "n")

    def _start(self, settings, w, p, f):
        return ftrl_start(self._direction(settings, True), settings, w, p, f)

    def _direction(self, now, first):
        if now["lr"] == 0:
            raise ValueError("lr: expected a positive number, got 0.0")
        return reference.FTRL(now["lr"], now["beta"])


def ftrl_start(direction, settings, w, p, f):
    """The first z and n of FTRL."""
    n = np.full_like(w, settings["initial_accumulator_value"], subok=False)
    z = np.zeros_like(w, subok=False)
    if settings["warm_start"]:
        with np.errstate(all="ignore"):
            z[...] = reference.warm_start(direction, p, w, n, f)
    return [z, n]
