"""What every benchmark works on: weights that stay where they are however often a step is repeated."""

import numpy as np

LR = 1e-12  # the same arithmetic as any other, but w neither drifts nor decays into subnormals
STRENGTH = 0.1


def arrays(size, dtype):
    """Weights and a gradient, their pages faulted in by writing them."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(size).astype(dtype), rng.standard_normal(size).astype(dtype)


def strengths(rule):
    """The strengths that a rule of the registry takes, in order."""
    return [STRENGTH] * len(rule.strengths)
