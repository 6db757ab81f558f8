"""Layer 5, groups of tensors: their settings, which are checked whenever one of them changes.

A group is a mapping, as torch's param_groups are dicts. Here an unknown key or a bad value is an error at once, which
leaves the group unchanged.
"""

from collections.abc import MutableMapping
from math import inf
from typing import NamedTuple

import numpy as np

from fastreg import reference
from fastreg._boundary import errors
from fastreg._boundary.keywords import advice
from fastreg.optimizers.factors import check_products, largest_factor
from fastreg.optimizers.settings import CHECKS, SCHEDULES, checked_settings, evaluate_schedules

NOT_IN_GROUPS = {  # words for settings that are known, but not here
    "on_nonfinite": "of the whole optimizer, not of a group",
    "bounds": "fixed at construction",
    "group_axis": "fixed at construction",
    "penalty_factor": "fixed at construction",
    "threads": "of the whole optimizer, not of a group",
    "weight_decay": "no setting here; torch's is l2 with mode='subgradient', for AdamW with mode='decoupled'",
}


class Plan(NamedTuple):
    """What the next step of a group does, as finished numbers for layer 4."""

    penalties: list[tuple]  # as the reference's tuples, one for each number that multiplies the strengths
    l21: list[float]  # likewise
    mode: str
    theta: float
    first: tuple  # the direction of a tensor's first step, as one of the reference's tuples
    later: tuple  # and that of later ones
    holds: bool  # until the settings change


class Group(MutableMapping):
    """The settings of a group of tensors, to be read, and to be set between steps: ``group["lr"] = 0.01``.

    ``group["params"]`` are the weights of the group, in the form in which they were given. `Tensors` stores the
    settings, so that they change together with the state.
    """

    def __init__(self, optimizer, known, layout, start, weights, factors, arrays, has_bounds, obstacle):
        self._optimizer, self._known, self._layout, self.weights = optimizer, known, layout, weights
        self.start, self.stop, self.range = start, start + len(weights), range(start, start + len(weights))
        self._has_bounds = has_bounds
        self._obstacle = obstacle  # what keeps l21 from having a meaning, as two words for its error; or None
        self.factors = factors  # one number for each tensor, 1.0 where each weight has a factor of its own
        self.scales = sorted(set(factors))  # the different ones
        self.kinds = [self.scales.index(factor) for factor in factors]  # of each tensor, the index of its scale
        self._float32 = any(w.dtype != np.float64 for w in weights)  # some of its tensors are computed in float32
        self._largest = {  # the different factors that products with strengths are checked with, and their dtypes
            (largest_factor(*parts), w.dtype != np.float64) for *parts, w in zip(factors, arrays, weights)
        }

    def attach(self, tensors, k):
        """Use the settings of group k of `tensors` from now on."""
        self._tensors, self._k = tensors, k

    @property
    def _settings(self):
        return self._tensors.settings[self._k]

    def checked(self, settings, changes):
        """The settings after these changes, each checked on its own and all together."""
        unknown = changes.keys() - self._known
        if unknown:
            name, known = min(unknown, key=str), ", ".join(self._known)
            text = NOT_IN_GROUPS.get(name, f"no setting of a group; those are {known}{advice([name], self._known)}")
            raise TypeError(f"{name}: {text}")
        checked = settings | checked_settings(changes, self._float32)
        self._optimizer._check(checked)
        if self._has_bounds and checked["gamma"] < inf:
            raise errors.bad_gamma(checked["gamma"], "bounds", "to which MCP's minimiser cannot be clipped")
        if self._obstacle is not None and checked["l21"] != 0:
            raise errors.bad_l21(checked["l21"], *self._obstacle)
        self._check_products(checked)
        return checked

    def _check_products(self, settings):
        for factor, float32 in self._largest:
            check_products(settings, factor, float32)

    def numbers(self, settings, completed):
        """The settings after this number of completed steps, with numbers in place of callables."""
        now = evaluate_schedules(settings, completed, self._float32)
        self._check_products(now)
        return now

    def plan(self, settings, completed, fresh):
        """The Plan of the next step; `fresh` tells whether it is the first step of some tensor."""
        now = self.numbers(settings, completed)
        later = self._optimizer._direction(now, False)
        first = self._optimizer._direction(now, True) if fresh else later
        mode, theta = now.get("mode", "proximal"), now.get("theta", inf)
        holds = not any(callable(settings[key]) for key in SCHEDULES)
        return Plan(self.penalties(now), self.l21(now), mode, theta, first, later, holds)

    def penalties(self, now):
        """The penalty for each of the numbers in `scales`, from settings without callables."""
        penalty = self._optimizer._penalty(now)
        return [reference.scaled(penalty, scale) for scale in self.scales]

    def l21(self, now):
        """The strength of the group lasso for each of them."""
        return [now["l21"] * scale for scale in self.scales]

    def __getitem__(self, key):
        return self._layout.unflatten(self.weights) if key == "params" else self._settings[key]

    def __setitem__(self, key, value):
        self.update({key: value})

    def update(self, other=(), /, **settings):
        """Change several settings at once, all or none. They are checked together, so their order does not matter."""
        changes = dict(other, **settings)
        while True:  # until no other thread changes them meanwhile
            before = self._settings
            after = self.checked(before, changes)
            self._check_state_fits(before, after, changes)
            if self._tensors.set_settings(self._k, before, after):
                return

    def _check_state_fits(self, before, after, changes):
        """Raise ValueError where these changes need another state than the present one."""
        new_names = self._optimizer._state_names(after) != self._optimizer._state_names(before)
        for key in changes:
            if after[key] != before[key] and (new_names or key in self._optimizer._initial_settings):
                raise ValueError(f"{key}: the state depends on it, so it must stay {before[key]!r}, got {after[key]!r}")

    def __delitem__(self, key):
        raise TypeError(f"{key}: a setting can be changed, not deleted")

    def __iter__(self):
        return iter(["params", *self._settings])

    def __len__(self):
        return 1 + len(self._settings)

    __eq__, __hash__ = object.__eq__, object.__hash__  # Mapping.__eq__ would compare arrays, which have no truth value

    def __repr__(self):
        settings = ", ".join(f"{key}={value!r}" for key, value in self._settings.items())
        return f"Group({self.stop - self.start} tensors, {settings})"


FIXED = ("bounds", "group_axis", "penalty_factor")


def bad_attribute(name):
    """The error for an attribute of the optimizer with the name of a setting, which says where the setting is, or None.

    Without it, ``optimizer.lr = 0.01`` would make an attribute that nothing reads. A descriptor for each setting would
    do the same, but would show the settings of all optimizers in the help of each.
    """
    if name in FIXED:
        return AttributeError(f"{name}: fixed at construction")
    if name in CHECKS:
        return AttributeError(f"{name}: a setting of the groups; see optimizer.param_groups[0][{name!r}]")
    return None
