"""Layer 5, the end of a fit with the multinomial loss: the second derivatives of all classes together.

The second derivatives of the softmax mix the classes: with p the probabilities, Σ x_j·x_k·(p_c·[c = d] − p_c·p_d).
Their diagonal alone, which newton.py uses for the other losses, takes tens of iterations where this takes five. The
matrix is that of the weights that can move, without the intercepts, which are at their optimum for any weights. From
its Cholesky factor L, the quadratic is the sum of squares that the compiled coordinate descent minimises, with the
rows of L as features.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky
from scipy.special import softmax

RIDGES = (1e-11, 1e-7)  # relative, added to a singular matrix


def movable(w, gradient, penalty):
    """The weights that are not zero, or whose derivatives exceed the penalty; (features, classes)."""
    factors = np.ones((len(w), 1)) if penalty.factors is None else penalty.factors[:, np.newaxis]
    return (w != 0) | (penalty.pulls(gradient) > penalty.l1 * factors)


def system(objective, pairs, margins, gradient, total):
    """The Cholesky factor of the second derivatives, the first ones, and a function from moved weights to intercepts.

    The first two are those with the intercepts at their optimum; `total` are the first derivatives by these.
    """
    active = np.flatnonzero(pairs.any(axis=1))
    x, own = objective.columns.dense(active, len(margins)), pairs[active]
    shares, p = objective.weights[:, np.newaxis], softmax(margins, axis=1)
    blocks = [x[:, own[:, c]] * p[:, c : c + 1] for c in range(p.shape[1])]
    z = np.hstack(blocks)
    matrix = -(z.T @ (shares * z))
    by_intercept = -(z.T @ (shares * p))
    start = 0
    for c, block in enumerate(blocks):
        part = slice(start, start + block.shape[1])
        matrix[part, part] += block.T @ (shares * x[:, own[:, c]])
        by_intercept[part, c] += block.T @ shares[:, 0]
        start = part.stop
    shift, of_weights = np.zeros(p.shape[1]), np.zeros((p.shape[1], start))
    if objective.intercept:
        inner = np.diag(shares[:, 0] @ p) - p.T @ (shares * p)
        inner += np.trace(inner) / len(inner) ** 2  # the same for all classes changes nothing: it gets a curvature
        try:
            solved = cho_solve(cho_factor(inner), np.column_stack([total, by_intercept.T]))
        except np.linalg.LinAlgError:  # a class that is never predicted
            return None
        shift, of_weights = -solved[:, 0], solved[:, 1:]
        matrix -= by_intercept @ of_weights
        gradient = gradient + by_intercept @ shift
    if not (np.isfinite(matrix).all() and np.isfinite(gradient).all()):
        return None
    diagonal = matrix.diagonal().copy()
    for ridge in RIDGES:
        matrix.flat[:: start + 1] = diagonal * (1 + ridge) + ridge * diagonal.mean()
        try:
            return cholesky(matrix, lower=True), gradient, lambda moved: shift - of_weights @ moved
        except np.linalg.LinAlgError:
            continue
    return None
