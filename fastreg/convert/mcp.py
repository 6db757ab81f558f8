"""Strengths of libraries with the minimax concave penalty (MCP), l1·|w| − w²/(2·gamma) up to gamma·l1."""

from fastreg.convert.checks import RATIO, UNBOUNDED, checked, number
from fastreg.convert.strengths import MCPStrengths


def from_ncvreg(lambda_: float, gamma: float = 3.0, alpha: float = 1.0) -> MCPStrengths:
    """ncvreg for R: mean loss + MCP with lambda·alpha and gamma + lambda·(1 − alpha)/2·‖w‖₂², so gamma remains.

    Parameters
    ----------
    lambda_ : float
        One value of ncvreg's `lambda`; the gaussian loss is ½(y − p)². It is for columns of mean 0 and variance 1 (with
        1/n), because ncvreg always standardises X. `penalty.factor` is `penalty_factor` here: gamma is not multiplied.
    gamma : float
        ncvreg's `gamma`, for ``penalty="MCP"``. Infinite: ``penalty="lasso"``. There is no counterpart of "SCAD".
    alpha : float in [0, 1]
        ncvreg's share of MCP, 1 for no L2.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    Notes
    -----
    Where the losses are summed over n samples: ``.scaled(n)``, which multiplies l1 and l2 and divides gamma.

    References
    ----------
    P. Breheny, J. Huang, Ann. Appl. Stat. 5 (2011). ncvreg, `R/ncvreg.R` and `src/ncvreg_init.c` (function MCP). Its
    article "Models" writes the loss as the deviance, without the ½ that the code has.

    Examples
    --------
    >>> from fastreg.convert import from_ncvreg
    >>> from_ncvreg(lambda_=0.5, gamma=4.0)
    MCPStrengths(l1=0.5, l2=0.0, gamma=4.0)
    """
    lambda_, alpha = number(lambda_, "lambda_"), number(alpha, "alpha", RATIO)
    return checked(MCPStrengths(lambda_ * alpha, lambda_ * (1 - alpha), number(gamma, "gamma", UNBOUNDED)))


def from_skglm_mcp(alpha: float, gamma: float = 3.0) -> MCPStrengths:
    """skglm's MCP: mean loss + MCP with alpha and gamma, so both remain.

    Parameters
    ----------
    alpha, gamma : float
        As given to skglm.MCPRegression, with the loss ½(y − p)², or to skglm.penalties.MCPenalty. A weight v of a
        feature multiplies the whole penalty: that is ``.scaled(v)``, and not `penalty_factor`, which multiplies alpha
        alone. ``positive=True`` has no counterpart, because bounds do not go with MCP.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    Notes
    -----
    skglm's coordinate descent needs a gamma above n/‖x_j‖² for each column x_j, such as columns of variance 1 and a
    gamma above 1. For a smaller gamma its steps are not minimisers, and it can end elsewhere.

    References
    ----------
    skglm documentation, MCPRegression; `skglm/utils/prox_funcs.py`, value_MCP.

    Examples
    --------
    >>> from fastreg.convert import from_skglm_mcp
    >>> from_skglm_mcp(alpha=0.5, gamma=4.0)
    MCPStrengths(l1=0.5, l2=0.0, gamma=4.0)
    """
    return checked(MCPStrengths(number(alpha, "alpha"), 0.0, number(gamma, "gamma", UNBOUNDED)))
