"""Strengths of scikit-learn."""

from math import inf
from typing import Literal, overload

from fastreg.convert.checks import POSITIVE, RATIO, UNBOUNDED, checked, flag, number
from fastreg.convert.strengths import BoundedStrengths, GroupStrengths, Strengths


@overload
def from_sklearn(alpha: float, l1_ratio: float, positive: Literal[False] = ...) -> Strengths: ...
@overload
def from_sklearn(alpha: float, l1_ratio: float, positive: bool) -> Strengths | BoundedStrengths: ...
def from_sklearn(alpha: float, l1_ratio: float, positive: bool = False) -> Strengths | BoundedStrengths:
    """scikit-learn's `alpha`: mean loss + alpha·(l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂²).

    Parameters
    ----------
    alpha : float
        As given to ElasticNet, Lasso, SGDClassifier, SGDRegressor, PoissonRegressor, GammaRegressor, TweedieRegressor;
        their squared loss is ½(y − p)². For Ridge and the perceptrons use :func:`from_sklearn_ridge`.
    l1_ratio : float in [0, 1]
        1 for Lasso and ``penalty="l1"``. 0 for ``penalty="l2"``, the default of SGD*, which then ignore their l1_ratio,
        and for the three generalised linear models. There is no default here, because theirs differ.
    positive : bool, default False
        As given to ElasticNet and Lasso. True: the result has ``bounds=(0, inf)``, too.

    Returns
    -------
    Strengths, or BoundedStrengths if positive

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    scikit-learn user guide, "Elastic-Net" and "Stochastic Gradient Descent: Mathematical formulation".

    Examples
    --------
    >>> from fastreg.convert import from_sklearn
    >>> from_sklearn(alpha=0.5, l1_ratio=0.75)
    Strengths(l1=0.375, l2=0.125)
    >>> from_sklearn(alpha=0.5, l1_ratio=1, positive=True)
    BoundedStrengths(l1=0.5, l2=0.0, bounds=(0.0, inf))
    """
    alpha, l1_ratio = number(alpha, "alpha"), number(l1_ratio, "l1_ratio", RATIO)
    return _bounded(Strengths(alpha * l1_ratio, alpha * (1 - l1_ratio)), positive)


def from_sklearn_multitask(alpha: float, l1_ratio: float = 1.0) -> GroupStrengths:
    """scikit-learn's multi-task lasso: mean ½‖y − p‖₂² + alpha·(l1_ratio·Σ_j ‖w_j‖₂ + (1 − l1_ratio)/2·‖w‖₂²).

    A group w_j has the weights of one feature, for all tasks. The weights are ``coef_.T``, of shape (features, tasks),
    with ``group_axis=0``, or ``coef_``, with ``group_axis=1``.

    Parameters
    ----------
    alpha : float
        As given to MultiTaskLasso or MultiTaskElasticNet (also skglm.MultiTaskLasso). Their mean is over the samples,
        not over samples and tasks.
    l1_ratio : float in [0, 1]
        1 for MultiTaskLasso. The default of MultiTaskElasticNet is 0.5.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    scikit-learn user guide, "Multi-task Elastic-Net". G. Obozinski, B. Taskar, M. Jordan, Stat. Comput. 20 (2010).

    Examples
    --------
    >>> from fastreg.convert import from_sklearn_multitask
    >>> from_sklearn_multitask(alpha=0.5, l1_ratio=0.75)
    GroupStrengths(l1=0.0, l2=0.125, l21=0.375, penalty_factor=None)
    """
    alpha, l1_ratio = number(alpha, "alpha"), number(l1_ratio, "l1_ratio", RATIO)
    return checked(GroupStrengths(0.0, alpha * (1 - l1_ratio), alpha * l1_ratio))


@overload
def from_sklearn_ridge(alpha: float, n_samples: float, positive: Literal[False] = ...) -> Strengths: ...
@overload
def from_sklearn_ridge(alpha: float, n_samples: float, positive: bool) -> Strengths | BoundedStrengths: ...
def from_sklearn_ridge(alpha: float, n_samples: float, positive: bool = False) -> Strengths | BoundedStrengths:
    """scikit-learn's Ridge: ‖y − Xw‖₂² + alpha·‖w‖₂², which is 2n times mean ½(y − p)² + (alpha/n)/2·‖w‖₂².

    Parameters
    ----------
    alpha : float
        As given to Ridge or RidgeClassifier, or, with the batch size as `n_samples`, to MLPRegressor or MLPClassifier.
    n_samples : float
        The number of samples, or the sum of their weights; 1 if your gradient is that of the sum ½‖y − Xw‖₂².
    positive : bool, default False
        As given to Ridge. True: the result has ``bounds=(0, inf)``, too.

    Returns
    -------
    Strengths, or BoundedStrengths if positive

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    scikit-learn user guide, "Ridge regression and classification"; `_multilayer_perceptron.py`, _compute_loss_grad.

    Examples
    --------
    >>> from fastreg.convert import from_sklearn_ridge
    >>> from_sklearn_ridge(alpha=1.0, n_samples=50)
    Strengths(l1=0.0, l2=0.02)
    """
    return _bounded(Strengths(0.0, number(alpha, "alpha") / number(n_samples, "n_samples", POSITIVE)), positive)


def from_sklearn_c(C: float, n_samples: float, l1_ratio: float = 0.0) -> Strengths:  # noqa: N803, scikit-learn's name
    """scikit-learn's `C`: C·Σ loss + l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂², which is C·n times mean loss + penalty.

    Parameters
    ----------
    C : float
        As given to LogisticRegression, LinearSVC or LinearSVR; infinity means no penalty.
    n_samples : float
        The number of samples, or the sum of their weights; 1 if your gradient is that of the summed loss.
    l1_ratio : float in [0, 1]
        As given to LogisticRegression from scikit-learn 1.8 on. For older versions, LinearSVC and LinearSVR: 1 for
        ``penalty="l1"``, 0 for "l2". The latter two penalise their intercept, too.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    scikit-learn user guide, "Logistic regression" and "Support Vector Machines: Mathematical formulation".

    Examples
    --------
    >>> from fastreg.convert import from_sklearn_c
    >>> from_sklearn_c(C=0.5, n_samples=100)
    Strengths(l1=0.0, l2=0.02)
    """
    c, n = number(C, "C", UNBOUNDED), number(n_samples, "n_samples", POSITIVE)
    l1_ratio = number(l1_ratio, "l1_ratio", RATIO)
    return checked(Strengths(l1_ratio / c / n, (1 - l1_ratio) / c / n))


def _bounded(strengths, positive):
    """Strengths, with the bounds of weights that are not negative if positive."""
    return checked(BoundedStrengths(*strengths, (0.0, inf)) if flag(positive, "positive") else strengths)
