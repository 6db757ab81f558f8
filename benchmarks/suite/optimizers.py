"""Optimizer steps: every direction of the registry, by implementation; many tensors in one call; small tensors."""

import numpy as np
from fastreg_bench import cases, libraries

import fastreg
from fastreg._registry import OPTIMIZERS

from .workload import (
    DTYPES,
    IMPLEMENTATIONS,
    IN_CACHE,
    LR,
    STRENGTH,
    arrays,
    at_level,
    peers,
    prepared,
    ratio,
    statement,
)

# A direction of the registry without a benchmark raises KeyError.
CASES = {d: cases.Case(d, "elastic_net", cases.modes_of(d)[-1]) for d in OPTIMIZERS}
OF_TORCH = {f"{d}:l2-{mode}": cases.Case(d, "l2", mode) for d, mode in libraries.TORCH}


def optimizer(direction, weights):
    name, settings = OPTIMIZERS[direction]
    return getattr(fastreg, name)(weights, LR, l1=STRENGTH, l2=STRENGTH, **settings)


class Step:
    """One tensor with the elastic net, in the default mode of the optimizer, in L1, L2 and L3."""

    params = [list(CASES), IMPLEMENTATIONS, DTYPES, IN_CACHE]
    param_names = ["direction", "implementation", "dtype", "level"]
    rounds, repeat, warmup_time, sample_time, timeout = 1, (3, 7, 0.3), 0.02, 0.005, 120
    cases = CASES

    def setup(self, rule, implementation, dtype, level):
        case = self.cases[rule]
        inputs = at_level(case, dtype, level, [implementation])
        self.step = peers.function(prepared(implementation, case, dtype, inputs))

    def time_step(self, rule, implementation, dtype, level):
        self.step()


class StepInDram(Step):
    """The same with arrays that are four times the last cache each, or as large as memory allows."""

    params = [list(CASES), IMPLEMENTATIONS, DTYPES, ["DRAM"]]
    number, repeat, warmup_time, timeout = 1, (2, 4, 3.0), 0, 600


class WeightDecay(Step):
    """The rules of torch: l2 in the gradient, or decoupled as in AdamW."""

    params = [list(OF_TORCH), ["fastreg", "torch", "torch.compile"], DTYPES, IN_CACHE]
    param_names = ["rule", "implementation", "dtype", "level"]
    cases = OF_TORCH


class InDram:
    """The time of fastreg divided by that of the memory floor and of the C loop of the same rule, in DRAM."""

    params = [list(CASES), ["C traffic", "C loop"], DTYPES]
    param_names = ["direction", "over", "dtype"]
    unit = "times"
    timeout = 600

    def track_ratio(self, direction, over, dtype):
        case = CASES[direction]
        inputs = at_level(case, dtype, "DRAM", ["fastreg", over])
        return ratio(prepared("fastreg", case, dtype, inputs), prepared(over, case, dtype, inputs), budget=10)


class ManyTensors:
    """200 tensors of 64 elements: the time per tensor divided by that of np.add on one of them."""

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
        step = statement("steps.step()" if gradients == "bound" else "steps.step(grads)", **names)
        return ratio(step, statement("np.add(w, g, out=w)", **names)) / 200


class ManyTensorsOfTorch:
    """200 tensors of 64: the time of torch's fused optimizers divided by that of fastreg, on the same arrays."""

    params = [list(OF_TORCH)]
    param_names = ["rule"]
    unit = "times fastreg"

    def track_ratio(self, rule):
        case = OF_TORCH[rule]
        peers.check("torch", case, "float64")
        import torch

        pairs = [arrays(64, "float64") for _ in range(200)]
        name, settings = OPTIMIZERS[case.direction]
        steps = getattr(fastreg, name)([w for w, _ in pairs], LR, l2=STRENGTH, mode=case.mode, **settings)
        steps.bind([g for _, g in pairs])
        name, settings = libraries.TORCH[case.direction, case.mode]
        weights = [torch.nn.Parameter(torch.from_numpy(w)) for w, _ in pairs]
        for w, (_, g) in zip(weights, pairs):
            w.grad = torch.from_numpy(g)
        fused = {} if name == "RMSprop" else {"fused": True}
        peer = getattr(torch.optim, name)(weights, lr=LR, weight_decay=STRENGTH, **settings, **fused)
        return ratio(statement("step()", step=peer.step), statement("step()", step=steps.step))


class CallOfStep:
    """Call overhead: a step on one tensor of 10 elements, gradients bound, divided by np.add on the same arrays."""

    params = [list(OPTIMIZERS)]
    param_names = ["direction"]
    unit = "times np.add"

    def track_ratio(self, direction):
        w, g = arrays(10, "float64")
        steps = optimizer(direction, w)
        steps.bind(g)
        g *= LR
        return ratio(statement("step()", step=steps.step), statement("np.add(w, g, out=w)", np=np, w=w, g=g))


class ClipGradNorm:
    """The global norm of 200 gradients and their scaling."""

    def setup(self):
        self.grads = [arrays(64, "float64")[1] for _ in range(200)]

    def time_clip(self):
        fastreg.clip_grad_norm(self.grads, 1e9)
