"""Layer 5, the choice of a strength from a table of scores by fold.

The strengths say which row is the strongest; the order of the rows is never taken for it. Losses are better low, other
scores high; both rules are written for losses, and other scores are negated.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastreg.convert.checks import flag
from fastreg.path.checks import checked_strengths, numbers

RULES = ("min", "1se")
Rule = Literal["min", "1se"]
Floats = NDArray[np.float64]


def mean_and_standard_error(scores: ArrayLike, fold_weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """The mean of each strength's scores over the folds, and the standard error of that mean.

    Parameters
    ----------
    scores : array (strengths, folds), or (strengths,) for a single fold
    fold_weights : array (folds,), or None
        The weight of each fold in the mean, for example the sum of its samples' weights. None: all folds count alike.

    Returns
    -------
    mean, standard_error : arrays (strengths,), float64
        With K folds of equal weights, the standard error is std(ddof=1)/√K; with weights p that sum to 1 it is
        √(Σ p·(score − mean)²/(K − 1)), as in glmnet. It is NaN for a single fold. Both are NaN where a score is.

    Raises
    ------
    TypeError, ValueError
        If an argument has no real numbers, another shape, or a weight that is not finite and above 0.

    Examples
    --------
    >>> from fastreg.path import mean_and_standard_error
    >>> mean, standard_error = mean_and_standard_error([[1.0, 3.0], [2.0, 2.0]])
    >>> mean.tolist(), standard_error.tolist()
    ([2.0, 2.0], [1.0, 0.0])
    """
    table = _table(scores)
    folds = table.shape[1]
    weights = np.ones(folds) if fold_weights is None else numbers(fold_weights, "fold_weights")
    if weights.shape != (folds,):
        raise ValueError(f"fold_weights: expected shape ({folds},), one for each fold, got {weights.shape}")
    if not ((weights > 0) & (weights < np.inf)).all():
        raise ValueError(f"fold_weights: expected positive, finite numbers, got {weights.tolist()}")
    weights = weights / weights.sum()
    with np.errstate(invalid="ignore", over="ignore"):  # infinite scores: a NaN where there is no number
        # equal rows have equal means: a product of matrices would not promise that
        mean = table.mean(axis=1) if fold_weights is None else (table * weights).sum(axis=1)
        squares = (np.square(table - mean[:, None]) * weights).sum(axis=1)
    return mean, np.sqrt(squares / (folds - 1)) if folds > 1 else np.full(len(mean), np.nan)


def choose(
    scores: ArrayLike,
    rule: Rule = "min",
    strengths: ArrayLike | None = None,
    *,
    greater_is_better: bool = False,
    fold_weights: ArrayLike | None = None,
    standard_error: ArrayLike | None = None,
) -> int:
    """The row of the chosen strength, from a table of scores by strength and fold.

    Parameters
    ----------
    scores : array (strengths, folds), or (strengths,) for a single fold
        Losses, unless `greater_is_better`. A row with a NaN or an infinity is never chosen: the training diverged
        there, or was not made for all folds.
    rule : "min" or "1se"
        "min": the best mean. "1se": the strongest strength with a mean within one standard error of the best mean; the
        standard error is that of the best one. It is the simplest model that the data cannot tell from the best.
    strengths : array (strengths,), or None
        In any order; larger is stronger. "1se" needs them. With "min" they decide between equal means: the strongest
        one is chosen; without strengths the first row.
    greater_is_better : bool
        True for scores such as accuracies and R².
    fold_weights : array (folds,), or None
        See :func:`mean_and_standard_error`.
    standard_error : array (strengths,), or None
        In place of the one over the folds, for scores that are means of other things, such as losses along a stream.

    Returns
    -------
    int
        The index of a row of scores.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or has another shape, if no row is finite, or if "1se" has a single fold and no
        standard_error. The message names the argument.

    References
    ----------
    L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees" (1984), section 3.4.3.
    J. Friedman, T. Hastie, R. Tibshirani, J. Stat. Softw. 33 (2010), section 6.

    Examples
    --------
    >>> from fastreg.path import choose
    >>> losses = [[4.0, 6.0], [2.0, 2.5], [1.0, 3.0], [2.5, 3.5]]
    >>> strengths = [1.0, 0.1, 0.01, 0.001]
    >>> choose(losses, "min", strengths), choose(losses, "1se", strengths)
    (2, 1)
    """
    table = _table(scores)
    if not isinstance(rule, str) or rule not in RULES:
        raise ValueError(f"rule: expected 'min' or '1se', got {rule!r}")
    mean, error = mean_and_standard_error(table, fold_weights)
    if flag(greater_is_better, "greater_is_better"):
        mean = -mean
    order = np.arange(len(mean))
    if strengths is not None:
        strength = checked_strengths(strengths)
        if strength.shape != mean.shape:
            raise ValueError(f"strengths: expected shape {mean.shape}, one for each row, got {strength.shape}")
        order = np.argsort(-strength, kind="stable")
    finite = np.isfinite(mean)
    if not finite.any():
        raise ValueError("scores: expected a row of finite numbers, got none")
    lowest = mean[finite].min()
    best = next(i for i in order if mean[i] == lowest)
    if rule == "min":
        return int(best)
    if strengths is None:
        raise ValueError("strengths: expected the strength of each row of scores with rule='1se', got None")
    if standard_error is not None:
        error = numbers(standard_error, "standard_error")
        if error.shape != mean.shape:
            raise ValueError(f"standard_error: expected shape {mean.shape}, one for each row, got {error.shape}")
        if not error[best] >= 0:
            raise ValueError(f"standard_error: expected numbers, not negative, got {error[best]} for the best row")
    elif table.shape[1] == 1:
        raise ValueError("scores: expected at least 2 folds with rule='1se', or standard_error=, got 1 fold")
    return int(next(i for i in order if finite[i] and mean[i] <= lowest + error[best]))


def _table(scores: ArrayLike) -> Floats:
    """Scores as (strengths, folds)."""
    table = numbers(scores, "scores")
    if table.ndim not in (1, 2):
        raise ValueError(f"scores: expected shape (strengths, folds) or (strengths,), got {table.shape}")
    return table.reshape(len(table), -1)
