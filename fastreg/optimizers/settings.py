"""Layer 5, the settings of an optimizer's groups: what each may be, and `Group`, which checks whenever one changes.

Numbers that are callables are asked before every step. A group is a mapping, as torch's param_groups are dicts, but an
unknown key or a bad value is an error at once, and the group is left as it was.
"""

from collections.abc import MutableMapping
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from fastreg import reference
from fastreg._boundary import errors
from fastreg.reference import MODES


def number(name, x, low=0.0, high=inf, *, open_end=False):
    value = x if type(x) is float else errors.as_float(x, name)
    if not low <= value <= high or (open_end and value >= high):
        raise ValueError(f"{name}: expected a number from {low:g} to {'below ' * open_end}{high:g}, got {x!r}")
    return value


def finite(name, x):
    value = number(name, x)
    if not isfinite(value):
        raise ValueError(f"{name}: expected a finite number, not negative, got {x!r}")
    return value


def share(name, x):
    return number(name, x, 0, 1)


def decay(name, x):
    return number(name, x, 0, 1, open_end=True)


def decays(name, x):
    if not isinstance(x, (tuple, list, np.ndarray)) or len(x) != 2:
        raise TypeError(f"{name}: expected two numbers, got {x!r}")
    return decay(f"{name}[0]", x[0]), decay(f"{name}[1]", x[1])


def flag(name, x):
    if not isinstance(x, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {x!r}")
    return bool(x)


def mode_name(name, x):
    return tuple(MODES)[errors.mode_index(x, tuple(MODES))]


def schedule(name, x):
    return x if callable(x) else finite(name, x)


SCHEDULES = ("lr", "l1", "l2")  # these may be callables of the number of completed steps

CHECKS = dict.fromkeys(SCHEDULES, schedule) | {
    "mode": mode_name,
    "theta": number,
    "momentum": decay,
    "dampening": share,
    "nesterov": flag,
    "alpha": share,
    "betas": decays,
    "eps": finite,
    "amsgrad": flag,
    "beta": finite,
    "initial_accumulator_value": finite,
    "warm_start": flag,
}


ELSEWHERE = {
    "on_nonfinite": "of the whole optimizer, not of a group",
    "penalty_factor": "fixed at construction",
    "threads": "of the whole optimizer, not of a group",
    "weight_decay": "no setting here; torch's is l2 with mode='subgradient', for AdamW with 'decoupled'",
}


class Setting:
    """In place of an attribute of the optimizer, where setting it would change nothing: says where the setting is."""

    def __init__(self, name):
        self.name = name

    def __get__(self, optimizer, owner=None):
        if optimizer is None:
            return self
        raise AttributeError(f"{self.name}: a setting of the groups; see optimizer.param_groups[0][{self.name!r}]")

    def __set__(self, optimizer, value):
        self.__get__(optimizer)


class Plan(NamedTuple):
    """What the next step of a group does, as finished numbers for layer 4."""

    penalties: list[tuple]  # as the reference's tuples, one for each number that multiplies the strengths
    mode: str
    theta: float
    first: tuple  # the direction of a tensor's first step, as one of the reference's tuples
    later: tuple  # and that of later ones
    holds: bool  # until the settings change


class Group(MutableMapping):
    """The settings of a group of tensors, to be read, and to be set between steps: ``group["lr"] = 0.01``.

    ``group["params"]`` are the group's weights, in the form in which they were given. The settings themselves are kept
    by `Tensors`, so that they change together with the state.
    """

    def __init__(self, optimizer, known, layout, start, weights, factors):
        self._optimizer, self._known, self._layout, self.weights = optimizer, known, layout, weights
        self.start, self.stop, self.range = start, start + len(weights), range(start, start + len(weights))
        self.factors = factors  # of each tensor, as far as one number serves for all of its weights
        self.scales = sorted(set(factors))  # the different ones
        self._single = any(w.dtype != np.float64 for w in weights)

    def attach(self, tensors, k):
        """From now on the settings are those of group k there."""
        self._tensors, self._k = tensors, k

    @property
    def _settings(self):
        return self._tensors.settings[self._k]

    def checked(self, settings, changes):
        """The settings after these changes, each and together checked."""
        unknown = changes.keys() - self._known
        if unknown:
            name, known = min(unknown, key=str), ", ".join(self._known)
            raise TypeError(f"{name}: {ELSEWHERE.get(name, f'no setting of a group; those are {known}')}")
        checked = settings | {key: CHECKS[key](key, value) for key, value in changes.items()}
        for key, value in checked.items():
            for x in value if isinstance(value, tuple) else (value,):
                if isinstance(x, float):
                    self._representable(key, x)
                if CHECKS[key] in (decay, decays) and self._single and single(x) == 1:
                    raise ValueError(f"{key}: expected a number below 1 in float32 too, got {x!r}")
        self._optimizer._check(checked)
        return checked

    def _representable(self, name, x):
        """Not zero or infinite once it is rounded to float32, where the group has such tensors."""
        if self._single:
            representable(name, x)

    def numbers(self, settings, completed):
        """The settings after so many completed steps, with numbers for the callables."""
        now = dict(settings)
        for name in SCHEDULES:
            if callable(now[name]):
                now[name] = finite(name, now[name](completed))
                self._representable(name, now[name])
        for factor in set(self.scales) - {1.0}:
            for name in ("l1", "l2"):
                product = finite(f"{name} times penalty_factor", now[name] * factor)
                if product == 0 and now[name] != 0 and factor != 0:
                    raise errors.bad_number(product, name, False, True)
                self._representable(name, product)
        return now

    def plan(self, settings, completed, fresh):
        """The Plan of the step after so many completed ones; `fresh` is whether it is the first one of some tensor."""
        now = self.numbers(settings, completed)
        later = self._optimizer._direction(now, False)
        first = self._optimizer._direction(now, True) if fresh else later
        mode, theta = now.get("mode", "proximal"), now.get("theta", inf)
        holds = not any(callable(settings[key]) for key in SCHEDULES)
        return Plan(self.penalties(now), mode, theta, first, later, holds)

    def penalties(self, now):
        """The penalty for each of the numbers in `scales`, from settings without callables."""
        penalty = reference.ElasticNet(now["l1"], now["l2"])
        return [reference.scaled(penalty, scale) for scale in self.scales]

    def __getitem__(self, key):
        return self._layout.arrange(self.weights) if key == "params" else self._settings[key]

    def __setitem__(self, key, value):
        self.update({key: value})

    def update(self, other=(), /, **settings):
        """Change several settings at once, all or none: those that only go together need no order."""
        changes = dict(other, **settings)
        while True:
            before = self._settings
            after = self.checked(before, changes)
            self._refuse_other_state(before, after, changes)
            if self._tensors.set_settings(self._k, before, after):
                return  # or else another thread has changed them meanwhile

    def _refuse_other_state(self, before, after, changes):
        """Some settings decide on the state that there is."""
        reshaped = self._optimizer._keeps(after) != self._optimizer._keeps(before)
        for key in changes:
            if after[key] != before[key] and (reshaped or key in self._optimizer._at_start):
                raise ValueError(f"{key}: decides on the state that is kept, so it stays {before[key]!r}")

    def __delitem__(self, key):
        raise TypeError(f"{key}: a setting can be changed, not deleted")

    def __iter__(self):
        return iter(["params", *self._settings])

    def __len__(self):
        return 1 + len(self._settings)

    __eq__, __hash__ = object.__eq__, object.__hash__  # a mapping's would compare the weights, which have no one truth

    def __repr__(self):
        settings = ", ".join(f"{key}={value!r}" for key, value in self._settings.items())
        return f"Group({self.stop - self.start} tensors, {settings})"


def representable(name, x):
    """Raises where a finite number is zero or infinite once it is rounded to float32."""
    if isfinite(x) and (not np.isfinite(rounded := single(x)) or (rounded == 0 and x != 0)):
        raise errors.bad_number(x, name, True, True)


def single(x):
    """x rounded to float32, where too large a number is infinite without a warning."""
    with np.errstate(over="ignore"):
        return np.float32(x)
