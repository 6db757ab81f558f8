"""Layer 5, the end of a fit: the minimum of a quadratic plus the penalty, which newton.py asks for in each iteration.

Sweeps of compiled coordinate descent find the weights that are not zero. Between them, these are solved for together:
where features are correlated, coordinate descent alone takes thousands of sweeps.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from fastreg.reference import ElasticNet

SWEEPS = 5  # of coordinate descent on the weights that are not zero, before all are looked at again
ROUNDS = 50  # of that at most, in an iteration
ACCURACY = 0.05  # a round that takes off less than this share of what those before it did is the last
LARGEST_SYSTEM = 1000  # weights that are solved for together, at most
LARGEST_WORK = 4e9  # multiplications of one such system, at most
LARGEST_SHARE = 100  # the same, for each value of these features in sparse samples
SMALL = 1 << 22  # numbers of a dense copy of sparse features that may have more than the features
SINGULAR = 1e-5  # pivot of a Cholesky factor, below which the system counts as singular


def descend(model, columns, penalty, least, is_quadratic=False):
    """Minimises the quadratic plus the penalty, until a round takes off less than `least` or little of the whole.

    If the quadratic is the loss itself, only the former counts where all weights are solved for together. Returns
    whether the minimum is reached.
    """
    everything = np.arange(len(model.weights))
    total = model.sweep(everything)
    for _ in range(ROUNDS):
        active = np.flatnonzero(model.weights.any(axis=1))
        for _ in range(SWEEPS):
            decrease = model.sweep(active)
            total += decrease
            if decrease <= ACCURACY**2 * total or decrease <= least:
                break
        length = solve_together(model, columns, penalty)
        decrease = model.sweep(everything)
        total += decrease
        if decrease <= least:
            return length == 1
        if decrease <= ACCURACY * total and not (is_quadratic and length == 1):
            break
    return False


def solved(matrix, right):
    """The solution of a system with a unit diagonal, and whether it is the only one; the shortest one if not."""
    try:
        factor = cho_factor(matrix, check_finite=False)
    except np.linalg.LinAlgError:
        factor = None
    if factor is None or factor[0].diagonal().min() < SINGULAR:
        return np.linalg.lstsq(matrix, right, rcond=1e-13)[0], False
    return cho_solve(factor, right, check_finite=False), True


def solve_together(model, columns, penalty):
    """Moves all weights that are not zero to the minimum for their signs, as far as no sign changes.

    Coordinate descent is slow where features are correlated; this is not, where there are few. Returns the share of the
    way that was possible: 1 if the minimum is reached, 0 if some weights are too many or depend on others.
    """
    if penalty.l21:
        return 0.0
    elastic_net = ElasticNet(penalty.l1, penalty.l2)
    samples, shortest = len(model.slopes), 1.0
    for c in range(model.weights.shape[1]):
        w = model.weights[:, c]
        active = np.flatnonzero(w)
        n = len(active)
        is_large = n > LARGEST_SYSTEM or n * n * samples > LARGEST_WORK or n * samples > max(columns.data.size, SMALL)
        if columns.indices is not None:  # sweeps over few values are cheaper
            values = (columns.starts[active + 1] - columns.starts[active]).sum()
            is_large = is_large or n * n * samples > LARGEST_SHARE * values
        if n == 0:
            continue
        if is_large:
            shortest = 0.0
            continue
        x, h, total = columns.dense(active, samples), model.curvatures[:, c], model.total[c]
        first = model.first[active, c]
        mean = first / total if total > 0 else np.zeros(n)
        if total > 0:
            x -= mean
        f = np.ones(n) if penalty.factors is None else penalty.factors[active]
        own = w[active]
        slope = elastic_net.subgradient(x.T @ (model.slopes[:, c] + model.shift[c] * h), own, f)
        scaled = x * np.sqrt(h)[:, None]
        matrix = scaled.T @ scaled  # for BLAS half of the work of x.T @ (x * h)
        matrix.flat[:: n + 1] += f * penalty.l2
        if not (np.isfinite(matrix).all() and np.isfinite(slope).all()):
            shortest = 0.0
            continue
        size = np.sqrt(matrix.diagonal())
        size[size == 0] = 1
        solution, is_unique = solved(matrix / np.outer(size, size), slope / size)
        step = -solution / size
        crossing = np.where(own * step < 0, -own / np.where(step == 0, 1, step), np.inf)
        k = crossing.argmin()
        length = min(1.0, crossing[k])
        shortest = min(shortest, length) if is_unique else 0.0
        step *= length
        new = own + step
        if length == crossing[k]:
            new[k] = 0
        step = new - own
        w[active] = new
        model.slopes[:, c] += h * (x @ step + mean @ step)
        model.shift[c] -= mean @ step
    return shortest
