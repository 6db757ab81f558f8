"""Strengths of libraries with the group lasso, where the norm of a group has a weight, mostly the root of its size.

In this package no group has a weight of its own, unless penalty_factor gives it one. penalty_factor multiplies l1 and
l2 of the group, too, which is what some of these libraries do, and others do not.
"""

from collections.abc import Iterable
from math import sqrt

from fastreg.convert.checks import POSITIVE, RATIO, checked, number, numbers
from fastreg.convert.strengths import GroupStrengths


def from_adelie(lmda: float, sizes: float | Iterable[float], alpha: float = 1.0) -> GroupStrengths:
    """adelie's group elastic net: mean loss + lmda·Σ_g √size_g·(alpha·‖w_g‖₂ + (1 − alpha)/2·‖w_g‖₂²).

    Parameters
    ----------
    lmda : float
        One value of adelie's `lmda_path`; the gaussian loss is ½(y − p)².
    sizes : float or sequence of float
        The number of weights of each group, or one number for all groups. With an adelie `penalty` of your own, pass
        the squares of its entries.
    alpha : float in [0, 1]
        adelie's `alpha`, 1 for the group lasso.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    adelie documentation, adelie.solver.grpnet and adelie.glm.gaussian. J. Yang, T. Hastie, arXiv:2405.08631 (2024).

    Examples
    --------
    >>> from fastreg.convert import from_adelie
    >>> from_adelie(lmda=0.5, sizes=[1, 4, 9], alpha=0.75)
    GroupStrengths(l1=0.0, l2=0.125, l21=0.375, penalty_factor=[1.0, 2.0, 3.0])
    >>> from_adelie(lmda=0.5, sizes=4)
    GroupStrengths(l1=0.0, l2=0.0, l21=1.0, penalty_factor=None)
    """
    lmda, alpha = number(lmda, "lmda"), number(alpha, "alpha", RATIO)
    return _weighted(0.0, lmda * (1 - alpha), lmda * alpha, _roots(sizes), all_weighted=True)


def from_grpreg(lambda_: float, sizes: float | Iterable[float], alpha: float = 1.0) -> GroupStrengths:
    """grpreg for R: ½·mean (y − p)² + lambda·Σ_g √size_g·(alpha·‖w_g‖₂ + (1 − alpha)/2·‖w_g‖₂²), on whitened groups.

    grpreg transforms the columns of each group so that X_gᵀX_g/n is the identity, and its penalty is on the weights of
    the transformed columns. Do the same, or expect another optimum: on other columns, it penalises ‖X_g w_g‖₂/√n.

    Parameters
    ----------
    lambda_ : float
        One value of grpreg's `lambda`, for ``penalty="grLasso"``. The others have no counterpart here.
    sizes : float or sequence of float
        The number of weights of each group, or one number for all groups. With a `group.multiplier` of your own, pass
        the squares of its entries.
    alpha : float in [0, 1]
        grpreg's `alpha`, 1 for the group lasso.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    P. Breheny, J. Huang, Stat. Comput. 25 (2015). grpreg, `R/grpreg.R`, `R/orthogonalize.R`, `src/gdfit_gaussian.c`.

    Examples
    --------
    >>> from fastreg.convert import from_grpreg
    >>> from_grpreg(lambda_=0.5, sizes=[1, 4])
    GroupStrengths(l1=0.0, l2=0.0, l21=0.5, penalty_factor=[1.0, 2.0])
    """
    lambda_, alpha = number(lambda_, "lambda_"), number(alpha, "alpha", RATIO)
    return _weighted(0.0, lambda_ * (1 - alpha), lambda_ * alpha, _roots(sizes), all_weighted=True)


def from_sgl(lambda_: float, alpha: float, sizes: float | Iterable[float]) -> GroupStrengths:
    """The sparse group lasso of SGL for R: mean loss + lambda·(alpha·‖w‖₁ + (1 − alpha)·Σ_g √size_g·‖w_g‖₂).

    Parameters
    ----------
    lambda_ : float
        One value of SGL's `lambdas`, or of the `lambda` of sparsegl or gglasso; the linear loss is ½(y − p)². By
        default it is for columns of mean 0 and norm 1 (not variance 1), except gglasso's, which does not scale.
    alpha : float in [0, 1]
        The share of L1: `alpha` of SGL, `asparse` of sparsegl, 0 for gglasso.
    sizes : float or sequence of float
        The number of weights of each group, or one number for all groups. With `pf_group` or `pf` of your own, pass the
        squares of its entries.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument. Also for groups of different sizes
        with l1, because penalty_factor would multiply l1, too: convert them one by one, as in the example.

    References
    ----------
    N. Simon, J. Friedman, T. Hastie, R. Tibshirani, J. Comput. Graph. Stat. 22 (2013). SGL, `R/SGLmain.R` and
    `src/Coxfit.cpp` (linNegLogLikelihoodCalc, linSolver). The manual pages of sparsegl (and `R/sgl_ls.R`) and gglasso.

    Examples
    --------
    >>> from fastreg.convert import from_sgl
    >>> from_sgl(lambda_=0.5, alpha=0.25, sizes=4)
    GroupStrengths(l1=0.125, l2=0.0, l21=0.75, penalty_factor=None)

    Groups of different sizes with l1, as groups of parameters:

    >>> import numpy as np
    >>> import fastreg
    >>> weights = [np.zeros(4), np.zeros(9)]
    >>> groups = [{"params": w, **from_sgl(0.5, 0.25, w.size)._asdict()} for w in weights]
    >>> optimizer = fastreg.SGD(groups, lr=0.01)
    """
    lambda_, alpha = number(lambda_, "lambda_"), number(alpha, "alpha", RATIO)
    return _weighted(lambda_ * alpha, 0.0, lambda_ * (1 - alpha), _roots(sizes))


def from_group_lasso(group_reg: float, l1_reg: float, sizes: float | Iterable[float]) -> GroupStrengths:
    """The Python package group-lasso: mean loss + 2·(l1_reg·‖w‖₁ + group_reg·Σ_g √size_g·‖w_g‖₂), so both are doubled.

    Its documentation and `loss` do not have the 2. It comes from the step of its solver, which halves the gradient.

    Parameters
    ----------
    group_reg, l1_reg : float
        As given to GroupLasso or LogisticGroupLasso, whose defaults are 0.05 for both; the squared loss is ½(y − p)².
        For a sequence as `group_reg`, which has no √size, use :func:`from_skglm_groups`.
    sizes : float or sequence of float
        The number of features of each group, or one number for all groups. With ``scale_reg="none"`` pass 1, with
        "inverse_group_size" the inverses of the sizes.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument. Also for groups of different sizes
        with l1, because penalty_factor would multiply l1, too: convert them one by one, as for :func:`from_sgl`.

    References
    ----------
    group-lasso 1.5, `_fista.py` (_update_step) and `_group_lasso.py` (_scaled_prox, _unregularised_loss).

    Examples
    --------
    >>> from fastreg.convert import from_group_lasso
    >>> from_group_lasso(group_reg=0.5, l1_reg=0.0, sizes=[1, 4])
    GroupStrengths(l1=0.0, l2=0.0, l21=1.0, penalty_factor=[1.0, 2.0])
    """
    group_reg, l1_reg = number(group_reg, "group_reg"), number(l1_reg, "l1_reg")
    return _weighted(2 * l1_reg, 0.0, 2 * group_reg, _roots(sizes))


def from_skglm_groups(
    alpha: float, weights: float | Iterable[float] = 1.0, weights_features: float = 0.0
) -> GroupStrengths:
    """skglm's group lasso: mean loss + alpha·(Σ_g weights_g·‖w_g‖₂ + weights_features·‖w‖₁), without √size.

    Parameters
    ----------
    alpha : float
        As given to skglm.GroupLasso, or to the penalties WeightedGroupL2 and WeightedL1GroupL2; the quadratic loss is
        ½(y − p)². For ``positive=True``, add ``bounds=(0, inf)``.
    weights : float or sequence of float
        The weight of each group (`weights_groups` of WeightedL1GroupL2), or one number for all groups. Without
        `weights`, skglm takes 1, and not the root of the size.
    weights_features : float
        As given to WeightedL1GroupL2, if it is the same for all features; 0 for the others.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument. Also for different weights of
        groups with l1, because penalty_factor would multiply l1, too: convert them one by one, as for :func:`from_sgl`.

    References
    ----------
    skglm documentation, GroupLasso; `skglm/penalties/block_separable.py`, `value`.

    Examples
    --------
    >>> from fastreg.convert import from_skglm_groups
    >>> from_skglm_groups(alpha=0.5, weights=[1.0, 2.0])
    GroupStrengths(l1=0.0, l2=0.0, l21=0.5, penalty_factor=[1.0, 2.0])
    """
    alpha, l1 = number(alpha, "alpha"), number(weights_features, "weights_features")
    return _weighted(alpha * l1, 0.0, alpha, numbers(weights, "weights"), "weights")


def _roots(sizes):
    """The root of each size."""
    sizes = numbers(sizes, "sizes", POSITIVE)
    return [sqrt(size) for size in sizes] if isinstance(sizes, list) else sqrt(sizes)


def _weighted(l1, l2, l21, weights, name="sizes", all_weighted=False):
    """The strengths of groups with these weights. They multiply l21, and l2, too, if all_weighted."""
    different = isinstance(weights, list) and len(set(weights)) > 1
    if not different:
        weight = weights[0] if isinstance(weights, list) else weights
        return checked(GroupStrengths(l1, l2 * weight if all_weighted else l2, l21 * weight))
    if l1 > 0:
        raise ValueError(
            f"{name}: expected one number for all groups with l1 > 0, got different ones "
            "(penalty_factor would multiply l1, too: convert each group by itself, and make it a group of parameters)"
        )
    return checked(GroupStrengths(l1, l2, l21, weights))
