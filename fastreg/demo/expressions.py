"""The updates as NumPy expressions, and a timer: the demo compares fastreg's times with these.

These lines repeat formulas of rules.pxd on purpose. fastreg.reference would be an unfair comparison, because it is
written for equal bits and not for speed. Each case is the shortest expression that computes the update; terms with a
strength of zero are omitted. The results differ from fastreg's by rounding only, so both trainings must agree.
"""

from time import perf_counter

import numpy as np


def numpy_update(w, g, lr, l1, l2, *, mode):
    """The signature of fastreg.elastic_net_update, modes "subgradient" and "proximal", in NumPy expressions."""
    if l1 == 0 and l2 == 0:
        w -= lr * g
    elif mode == "subgradient":
        if l1 == 0:
            w -= lr * (g + l2 * w)
        elif l2 == 0:
            w -= lr * (g + l1 * np.sign(w))
        else:
            w -= lr * (g + l1 * np.sign(w) + l2 * w)
    else:
        w -= lr * g
        if l1 != 0:
            w -= np.clip(w, -lr * l1, lr * l1)
        if l2 != 0:
            w /= 1 + lr * l2


class TimedUpdate:
    """An update function that sums up the time spent in it."""

    def __init__(self, update):
        self.update = update
        self.seconds = 0.0

    def __call__(self, w, g, lr, l1, l2, *, mode):
        start = perf_counter()
        self.update(w, g, lr, l1, l2, mode=mode)
        self.seconds += perf_counter() - start
