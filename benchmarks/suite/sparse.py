"""Lazy sparse updates compared with dense steps: constant number of nonzeros, increasing number of features."""

import numpy as np

import fastreg

from .workload import LR, STRENGTH, arrays, ratio, statement

DENSE = {"LazySGD": "SGD", "LazyAdagrad": "Adagrad", "LazyFTRL": "FTRL"}
NONZEROS, SAMPLES = 88, 1000  # 88 nonzeros and 260 941 features as in Lipton & Elkan 2015


class Lazy:
    """Samples with 88 nonzeros."""

    params = [list(DENSE), [10_000, 260_941, 10_000_000]]
    param_names = ["optimizer", "features"]

    def setup(self, name, features):
        if not hasattr(fastreg, name):
            raise NotImplementedError(f"this fastreg has no {name}")
        rng = np.random.default_rng(0)
        strengths = {"l1": STRENGTH, "l2": STRENGTH}
        self.lazy = getattr(fastreg, name)(rng.standard_normal(features), LR, **strengths)
        self.dense = getattr(fastreg, DENSE[name])(rng.standard_normal(features), LR, **strengths)
        self.indices = [np.sort(rng.choice(features, NONZEROS, replace=False)) for _ in range(SAMPLES)]
        self.values = [rng.standard_normal(NONZEROS) for _ in range(SAMPLES)]
        gradient = np.zeros(features)
        gradient[self.indices[0]] = self.values[0]
        self.dense.bind(gradient)

    def time_samples(self, name, features):
        """A thousand samples, so that the weights are in cache or memory as they are in a stream."""
        step = self.lazy.step
        for indices, values in zip(self.indices, self.values):
            step(indices, values)

    def track_gain(self, name, features):
        names = {"step": self.lazy.step, "samples": list(zip(self.indices, self.values)), "dense": self.dense.step}
        lazy = statement("for i, v in samples: step(i, v)", **names)
        return SAMPLES * ratio(statement("dense()", **names), lazy, budget=1)

    def track_gain_over_numpy(self, name, features):
        """The textbook rule as a dense NumPy expression, with its temporaries."""
        w, g = arrays(features, "float64")
        names = {"step": self.lazy.step, "samples": list(zip(self.indices, self.values)), "np": np, "w": w, "g": g}
        names |= {"lr": LR, "l1": STRENGTH, "l2": STRENGTH}
        dense = statement("np.subtract(w, lr*(g + l1*np.sign(w) + l2*w), out=w)", **names)
        return SAMPLES * ratio(dense, statement("for i, v in samples: step(i, v)", **names), budget=1)


Lazy.track_gain.unit = "times as fast as dense"
Lazy.track_gain_over_numpy.unit = "times as fast as NumPy"
