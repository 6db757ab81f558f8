"""Layer 5, the choice of a strength: what cross-validation or progressive validation says of each, and the chosen one.

The rules are those of fastreg.path. With several shares of L1, the rule chooses among the strengths of the share that
has the smallest mean loss: strengths with different shares have no common order.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from fastreg.path import choose, mean_and_standard_error


class Choice(NamedTuple):
    """Losses by share of L1 and strength (R, S), and a choice among them."""

    l1_ratios: np.ndarray  # (R,)
    alphas: np.ndarray  # (R, S), strongest first
    scores: np.ndarray | None  # (R, S, folds), of cross-validation
    means: np.ndarray
    errors: np.ndarray
    ratio: int
    chosen: int  # the strength
    least: int  # the one with the smallest mean loss
    spared: int | None  # the strongest one within a standard error of it

    @property
    def lowest(self):
        """The smallest mean loss."""
        return self.means[self.ratio, self.least]

    @property
    def strength(self):
        """Alpha and l1_ratio."""
        return float(self.alphas[self.ratio, self.chosen]), float(self.l1_ratios[self.ratio])


def choice_of(l1_ratios, alphas, scores, rule, fold_weights=None, errors=None):
    """The Choice by this rule; `scores` are (R, S, folds), or means (R, S) that have standard errors (R, S).

    With given errors that are not finite yet, "1se" chooses as "min" does.
    """
    if errors is None:
        tables = [mean_and_standard_error(table, fold_weights) for table in scores]
        means, errors = (np.array(x) for x in zip(*tables))
    else:
        means = scores
    if not np.isfinite(means).any():
        if scores is not means:
            bad = np.flatnonzero(~np.isfinite(scores).any(axis=(0, 1))).tolist()
            raise ValueError(
                f"cv: expected a strength with a finite mean loss on all folds, got none; fold{'s' * (len(bad) > 1)}"
                f" {', '.join(map(str, bad)) or 'none'} without any; their predictions overflow: scale X or y"
            )
        # a stream before its first sample
        return Choice(l1_ratios, alphas, None, means, errors, 0, 0, 0, 0)
    lowest = np.where(np.isfinite(means), means, np.inf).min(axis=1)
    ratio = int(lowest.argmin())
    own = {"strengths": alphas[ratio], "standard_error": errors[ratio]}
    least = choose(means[ratio], "min", **own)
    spared = choose(means[ratio], "1se", **own) if np.isfinite(errors[ratio, least]) else None
    if rule == "1se" and spared is None and scores is not means:
        raise ValueError("rule: expected 'min' with a single fold, which has no standard error, got '1se'")
    folds = scores if scores is not means else None
    chosen = spared if rule == "1se" and spared is not None else least
    return Choice(l1_ratios, alphas, folds, means, errors, ratio, chosen, least, spared)


class Weights(NamedTuple):
    """The weights at all strengths of one share of L1."""

    coef: sparse.csr_matrix  # (S·columns, features)
    intercepts: np.ndarray  # (S, columns)

    def nonzeros(self):
        """How many weights are not zero, (S,)."""
        return np.diff(self.coef.indptr).reshape(self.intercepts.shape).sum(axis=1)


def weights_of(solutions, dtype):
    """The Weights of pairs of weights (columns, features) and intercepts (columns,)."""
    # each as it comes: the dense weights at all strengths would take as much memory as a stream of them
    coefs, intercepts = zip(*((sparse.csr_matrix(w.astype(dtype, copy=False)), b) for w, b in solutions))
    return Weights(sparse.vstack(coefs, "csr"), np.array(intercepts, dtype))
