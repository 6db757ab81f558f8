"""The tables of the optimizer tests: the options that give each direction, and a twin that steps with the reference.

The keys are the names of the reference's directions and modes: test_directions_bits.py fails where a row is missing.
The numbers that a direction derives from its settings are computed here independently, on purpose.
"""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import numpy as np

import fastreg
from fastreg import reference

MODES = list(reference.MODES)
LINEAR = tuple(MODES)
ADAPTIVE = tuple(mode for mode in MODES if mode != "truncated")


class Case(NamedTuple):
    """One direction: the optimizer and the options that give it, and its expected properties."""

    optimizer: type
    options: dict
    modes: tuple  # the modes that it can have
    fields: tuple  # the state, in the order of the struct
    direction: Callable  # (lr, options, step from 1, beta1ᵗ, beta2ᵗ) → the reference's direction


def adam(kind):
    def direction(lr, o, t, power1, power2):
        b1, b2 = o["betas"]
        return kind(lr, b1, 1 - b1, b2, 1 - b2, o["eps"], 1 / (1 - power1), 1 / sqrt(1 - power2))

    return direction


def momentum(lr, o, t, power1, power2):
    take = 1 - o["dampening"]
    return reference.Momentum(lr, o["momentum"], 1.0 if t == 1 else take, lr * take / (1 - o["momentum"]))


def lion(lr, o, t, power1, power2):
    b1, b2 = o["betas"]
    return reference.Lion(lr, b1, 1 - b1, b2, 1 - b2)


ADAM = {"betas": (0.9, 0.99), "eps": 1e-8}
DIRECTIONS = {
    "Plain": Case(fastreg.SGD, {}, LINEAR, (), lambda lr, o, *_: reference.Plain(lr)),
    "Momentum": Case(fastreg.SGD, {"momentum": 0.9, "dampening": 0.3}, LINEAR, ("momentum_buffer",), momentum),
    "Nesterov": Case(
        fastreg.SGD,
        {"momentum": 0.8, "nesterov": True},
        LINEAR,
        ("momentum_buffer",),
        lambda lr, o, *_: reference.Nesterov(lr, o["momentum"], lr / (1 - o["momentum"])),
    ),
    "Adagrad": Case(
        fastreg.Adagrad,
        {"initial_accumulator_value": 0.1, "eps": 1e-10},
        ADAPTIVE,
        ("sum",),
        lambda lr, o, *_: reference.Adagrad(lr, o["eps"]),
    ),
    "RMSprop": Case(
        fastreg.RMSprop,
        {"alpha": 0.9, "eps": 1e-8},
        ADAPTIVE,
        ("square_avg",),
        lambda lr, o, *_: reference.RMSprop(lr, o["alpha"], 1 - o["alpha"], o["eps"]),
    ),
    "Adam": Case(fastreg.Adam, ADAM, ADAPTIVE, ("exp_avg", "exp_avg_sq"), adam(reference.Adam)),
    "AMSGrad": Case(
        fastreg.Adam,
        ADAM | {"amsgrad": True},
        ADAPTIVE,
        ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
        adam(reference.AMSGrad),
    ),
    "Lion": Case(fastreg.Lion, {"betas": (0.9, 0.99)}, ("decoupled",), ("exp_avg",), lion),
    "FTRL": Case(
        fastreg.FTRL,
        {"beta": 1.0, "initial_accumulator_value": 0.1, "warm_start": True},
        ("proximal",),
        ("z", "n"),
        lambda lr, o, *_: reference.FTRL(lr, o["beta"]),
    ),
}
# FTRL under a changing lr
FTRL_RATES = [0.5, 0.5, 0.05, 2.0, 0.0, 0.0, 0.3, 0.3, 1e-3, 1.0]
FTRL_OPTIONS = {  # without the penalty factor; the bounds are between some of the weights
    "plain": {},
    "elastic net": {"l1": 0.4, "l2": 0.3},
    "MCP": {"l1": 0.1, "gamma": 20.0},
    "bounds": {"l1": 0.1, "bounds": (-0.3, 0.7)},
    "no beta": {"l1": 0.1, "beta": 0.0, "initial_accumulator_value": 0.5},
    "cold start": {"l1": 0.1, "warm_start": False},
}
COMBINATIONS = [(name, mode) for name, case in DIRECTIONS.items() for mode in case.modes]
STATEFUL = [name for name, case in DIRECTIONS.items() if case.fields]


def make(name, params, lr=0.1, mode=None, **options):
    """The optimizer of a direction, by default in the last of its modes."""
    case = DIRECTIONS[name]
    if case.optimizer is not fastreg.FTRL:
        options["mode"] = mode or case.modes[-1]
    return case.optimizer(params, lr, **case.options | options)


class Twin:
    """A copy of one tensor and its state, with steps of the reference."""

    def __init__(
        self, name, w, mode, lr=0.1, l1=0.0, l2=0.0, theta=np.inf, factor=None, gamma=np.inf, bounds=None,
        l21=0.0, group_axis=None, **options,
    ):  # fmt: skip
        self.case = DIRECTIONS[name]
        self.w, self.lr, self.f, self.bounds = w.copy(order="K"), lr, factor, bounds
        self.l21, self.group_axis = l21, group_axis
        self.options = self.case.options | options
        self.mode = reference.Truncated(theta) if mode == "truncated" else reference.MODES[mode]()
        penalty = reference.penalty_with(l1, l2, gamma)
        self.penalty = reference.without_l1(penalty, factor)
        wide = reference.as_float32(self.w)
        first = wide.dtype.type(self.options.get("initial_accumulator_value", 0))
        self.state = [np.full_like(wide, first if field in ("sum", "n") else 0) for field in self.case.fields]
        if self.options.get("warm_start"):
            with np.errstate(all="ignore"):
                start = self.direction()
                start = start._replace(lr=start.lr or np.inf)
                self.state[0][...] = reference.warm_start(start, penalty, wide, self.state[1], factor)
                self.state[0][...] -= reference.group_subgradient(l21, group_axis, wide, factor) if l21 else 0
        self.t, self.power1, self.power2 = 0, 1.0, 1.0
        self.built_on = self.direction()._replace(lr=lr or np.inf) if self.options.get("warm_start") else None

    def direction(self, t=0, power1=0.0, power2=0.0):
        return self.case.direction(self.lr, self.options, t, power1, power2)

    def step(self, g):
        beta1, beta2 = self.options.get("betas", (1.0, 1.0))
        self.t, self.power1, self.power2 = self.t + 1, self.power1 * beta1, self.power2 * beta2
        direction = self.direction(self.t, self.power1, self.power2)
        state = [*self.state, None, None, None][:3]
        with np.errstate(all="ignore"):
            if isinstance(direction, reference.FTRL) and self.lr != 0:
                self.reanchor(direction)
            if self.l21:
                groups = self.l21, self.group_axis
                self.w[...] = reference.group_step(
                    direction, self.penalty, *groups, self.w, g, *state, self.f, self.bounds
                )
                return
            w = reference.step(direction, self.mode, self.penalty, self.w, g, *state, self.f)
            self.w[...] = w if self.bounds is None else reference.within(w, *self.bounds)

    def reanchor(self, direction):
        """Rebuild z if lr or beta have changed."""
        (z, n), before = self.state, self.built_on
        self.built_on = direction
        if before is None or before == direction:
            return
        w = reference.as_float32(self.w)
        if self.w.dtype.itemsize == 2 and not self.l21 and before.lr < np.inf:
            w = reference.solve(before, self.penalty, z, n, self.f)
        z[...] = reference.reanchored(before, direction, w, z, n)


def snapshot(optimizer):
    """Everything that a step can change, as bytes and numbers."""
    tensors = {name: {k: a.tobytes() for k, a in state.items()} for name, state in optimizer.state.items()}
    counts = {k: x for k, x in optimizer.state_dict().items() if not isinstance(x, np.ndarray)}
    powers = {k: x.tobytes() for k, x in optimizer.state_dict().items() if isinstance(x, np.ndarray)}
    return [w.tobytes() for w in weights(optimizer)], tensors, counts, powers


def weights(optimizer):
    """The weights of all groups as a flat list of arrays."""
    found = []
    for group in optimizer.param_groups:
        own = group["params"]
        found += own.values() if isinstance(own, dict) else own if isinstance(own, list) else [own]
    return [np.asarray(w) for w in found]


def gradients(optimizer, i):
    """The random gradients of step i, in the form and the memory orders of the optimizer's params."""
    rng = np.random.default_rng(i)
    flat = iter(
        [
            np.asarray(rng.standard_normal(w.shape)).astype(
                w.dtype, order="F" if w.ndim == 2 and w.flags.f_contiguous else "C"
            )
            for w in weights(optimizer)
        ]
    )

    def like(params):
        return {k: next(flat) for k in params} if isinstance(params, dict) else [next(flat) for _ in params]

    params = optimizer.params
    return [like(own) for own in params] if len(optimizer.param_groups) > 1 else like(params)


def train(optimizer, start, stop):
    """Makes the steps from `start` to `stop` with the gradients of `gradients`."""
    for i in range(start, stop):
        optimizer.step(gradients(optimizer, i))
