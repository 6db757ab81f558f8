"""Strengths of other libraries with L1, L2 or both: glmnet and Vowpal Wabbit."""

from fastreg.convert.checks import RATIO, checked, number
from fastreg.convert.strengths import Strengths


def from_glmnet(lambda_: float, alpha: float = 1.0) -> Strengths:
    """glmnet for R: mean loss + lambda·((1 − alpha)/2·‖w‖₂² + alpha·‖w‖₁), where the gaussian loss is ½(y − p)².

    Parameters
    ----------
    lambda_ : float
        One value of glmnet's `lambda`. By default (``standardize=TRUE``) it is for standardised columns. Family
        "gaussian" also standardises y: compare with a y of unit variance (with 1/n).
    alpha : float in [0, 1]
        glmnet's mixing parameter, 1 for the lasso. This is scikit-learn's l1_ratio, not its alpha.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    The manual page of glmnet::glmnet. J. Friedman, T. Hastie, R. Tibshirani, J. Stat. Softw. 33 (2010).

    Examples
    --------
    >>> from fastreg.convert import from_glmnet
    >>> from_glmnet(lambda_=0.5, alpha=0.75)
    Strengths(l1=0.375, l2=0.125)
    """
    lambda_, alpha = number(lambda_, "lambda_"), number(alpha, "alpha", RATIO)
    return checked(Strengths(lambda_ * alpha, lambda_ * (1 - alpha)))


def from_vowpal_wabbit(l1: float = 0.0, l2: float = 0.0) -> Strengths:
    """Vowpal Wabbit's --l1 and --l2: loss of each example + l1·‖w‖₁ + l2/2·‖w‖₂², so both remain unchanged.

    Its squared loss is (y − p)², without the factor ½. With ½(y − p)², halve them: ``.scaled(0.5)``. This holds

    - with --sgd, for one of the two. If both are given, the effect of --l1 fades (gd.cc: `gravity`, `contraction`);
    - with --ftrl, for :class:`fastreg.FTRL`, where they are totals over the stream, too;
    - with --bfgs, for the sum of the losses: divide by their number, ``.scaled(1/n)``. --l1 is ignored.

    By default each coordinate has its own learning rate, which the penalty ignores. Strengths that were tuned in this
    way belong to no objective. The constant is penalised, too, unless --noconstant leaves it out.

    Parameters
    ----------
    l1, l2 : float
        As given to --l1 and --l2.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    Vowpal Wabbit, `gd.cc` (compute_update), `ftrl.cc` (inner_update_proximal), `bfgs.cc` (add_regularization).

    Examples
    --------
    >>> from fastreg.convert import from_vowpal_wabbit
    >>> from_vowpal_wabbit(l1=0.5, l2=0.25).scaled(0.5)
    Strengths(l1=0.25, l2=0.125)
    """
    return checked(Strengths(number(l1, "l1"), number(l2, "l2")))
