"""Layer 1': sums over all weights, in float64 and in a fixed order, in plain NumPy.

Blocks have 4096 elements in 16 lanes; lanes are added pairwise, and blocks in order.
"""

import numpy as np

from fastreg.reference.scalars import as_float32

BLOCK, LANES = 4096, 16


@np.errstate(all="ignore")
def penalty_sum(p, w, f=None):
    """The penalty of all weights, in the fixed order that makes its bits independent of the instruction set."""
    terms = p.value(*(None if x is None else np.ravel(x, order="K").astype(float) for x in (as_float32(w), f)))
    padded = np.zeros(-(-terms.size // BLOCK) * BLOCK)
    padded[: terms.size] = terms
    lanes = np.zeros((padded.size // BLOCK, LANES))
    for row in padded.reshape(-1, BLOCK // LANES, LANES).transpose(1, 0, 2):
        lanes = lanes + row
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    total = 0.0
    for block in lanes[:, 0].tolist():
        total += block
    return total


def clip_coefficient(norm, max_norm):
    """What clip_grad_norm multiplies gradients by: at most 1, and torch's 1e-6 against a norm of zero."""
    return min(max_norm / (norm + 1e-6), 1.0) if norm == norm else norm
