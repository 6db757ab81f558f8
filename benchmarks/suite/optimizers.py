"""Optimizer steps: every direction of the registry, over one large tensor and over many small ones in one call."""

from timeit import Timer

import numpy as np

import fastreg
from fastreg._registry import OPTIMIZERS

from .updates import median_ratio
from .workload import LR, STRENGTH, arrays


def optimizer(direction, weights):
    kind, settings = OPTIMIZERS[direction]
    return getattr(fastreg, kind)(weights, LR, l1=STRENGTH, l2=STRENGTH, **settings)


class Step:
    """One tensor, in cache and out of it."""

    params = [list(OPTIMIZERS), ["float32", "float64"], [1_000, 100_000, 10_000_000]]
    param_names = ["direction", "dtype", "size"]

    def setup(self, direction, dtype, size):
        w, g = arrays(size, dtype)
        self.optimizer = optimizer(direction, w)
        self.optimizer.bind(g)

    def time_step(self, direction, dtype, size):
        self.optimizer.step()


class ManyTensors:
    """200 tensors of 64: the time a tensor over that of np.add on one of them, the two in turn."""

    params = [list(OPTIMIZERS), ["step(grads)", "bound"]]
    param_names = ["direction", "gradients"]
    unit = "times np.add"

    def track_ratio(self, direction, gradients):
        pairs = [arrays(64, "float64") for _ in range(200)]
        steps = optimizer(direction, [w for w, _ in pairs])
        grads = [g for _, g in pairs]
        steps.bind(grads)
        w, g = arrays(64, "float64")
        g *= LR
        names = {"steps": steps, "grads": grads, "np": np, "w": w, "g": g}
        step = Timer("steps.step()" if gradients == "bound" else "steps.step(grads)", globals=names)
        return median_ratio(step, Timer("np.add(w, g, out=w)", globals=names), 200 * 64) / 200


class ClipGradNorm:
    """The global norm of 200 gradients and their scaling."""

    def setup(self):
        self.grads = [arrays(64, "float64")[1] for _ in range(200)]

    def time_clip(self):
        fastreg.clip_grad_norm(self.grads, 1e9)
