"""Layer 5, what all optimizers share: groups, steps, the state and its way to a file and back."""

from itertools import accumulate
from math import inf

import numpy as np

from fastreg import _diagnose, reference
from fastreg._boundary import elastic_net_penalty, l1_penalty
from fastreg._layout import Layout, split_groups
from fastreg._settings import SCHEDULES, Group, finite
from fastreg._tensors import Tensors

NONFINITE = ("propagate", "raise", "skip")


class Optimizer:
    """What all optimizers have in common; use one of the subclasses.

    Parameters
    ----------
    params : array, sequence of arrays, mapping of arrays, or list of groups
        The weights, float32 or float64, updated in place: writable, C or Fortran contiguous, no two with memory in
        common; shapes, dtypes and layouts may differ. A group is a dict with the key ``"params"`` and any of the
        settings below, for its tensors alone.
    lr : float or callable
        Learning rate. A callable is asked before every step for the number to use, given the number of completed steps.
    l1, l2 : float or callable, default 0.0
        Strengths of the penalty l1·‖w‖₁ + l2/2·‖w‖₂².
    mode : {"proximal", "subgradient", "decoupled", "truncated"}
        Where the penalty enters: see :func:`fastreg.elastic_net_update`. "proximal" gives exact zeros; "subgradient"
        adds the penalty to the gradient, as torch's weight_decay does in SGD and Adam.
    theta : float, default inf
        With ``mode="truncated"``: weights larger than this in magnitude are not truncated.
    penalty_factor : float or the form of params, optional
        Multiplies l1 and l2: an array like the weights, coordinate by coordinate, or a number for a tensor; 0 leaves
        weights unpenalised. Not rescaled; copied.
    on_nonfinite : {"propagate", "raise", "skip"}
        What to do about an infinity or a NaN in a gradient: let it into the weights; raise FloatingPointError before
        anything is written; or leave out the whole step and count it in `skipped`.

    Attributes
    ----------
    param_groups : list of mappings
        The settings of each group, to be read and changed between steps: ``opt.param_groups[0]["lr"] = 0.01``.
    params : the form of params
        The weights as arrays.
    state : dict
        The state of each tensor by name, as live arrays.
    completed : int
        Completed steps.
    skipped : int
        Steps left out by ``on_nonfinite="skip"``.

    Raises
    ------
    TypeError, ValueError
        For arrays as the update functions, for settings as described; nothing is changed.
    """

    _modes: tuple[str, ...] = ()  # those with a meaning for the direction
    _at_start = ("initial_accumulator_value", "warm_start")  # settings that only the first state depends on

    def __init__(self, params, lr, own, l1, l2, mode, theta, penalty_factor, on_nonfinite):
        self._defaults = {"lr": lr, **own, "l1": l1, "l2": l2}
        if mode is not None:
            self._defaults |= {"mode": mode, "theta": theta}
        if on_nonfinite not in NONFINITE:
            raise ValueError(f"on_nonfinite: expected one of {', '.join(map(repr, NONFINITE))}, got {on_nonfinite!r}")
        self.on_nonfinite, self.completed, self.skipped = on_nonfinite, 0, 0
        groups, self._grouped = split_groups(params)
        factors = self._split(penalty_factor, len(groups), "penalty_factor")
        parts = []
        for i, (own_params, overrides) in enumerate(groups):
            own_factors = overrides.pop("penalty_factor", factors[i])
            prefix = f"{i}." if self._grouped else ""
            parts.append((Layout(own_params, prefix), own_params, self._defaults | overrides, own_factors))
        self._assemble(parts)

    def _assemble(self, parts, states=None):
        """Builds the groups and the tensors below them from layouts, weights, settings and factors."""
        names, weights, factors, self.param_groups = [], [], [], []
        for layout, values, settings, own_factors in parts:
            own = [
                _diagnose.as_array(x, f"params[{n}]") for n, x in zip(layout.names, layout.flatten(values, "params"))
            ]
            numbers, arrays = split_factors(layout, own, own_factors)
            group = Group(self, layout, len(weights), own, settings, numbers)
            self.param_groups.append(group)
            names, weights, factors = names + layout.names, weights + own, factors + arrays
        if not weights:
            raise ValueError("params: expected at least one tensor, got none")
        if states is None:
            Tensors(names, weights, [[] for _ in weights], factors, 0)  # checks the weights before they are looked at
            states = [
                self._start(*self._penalised(group, i, factors[i])) for group in self.param_groups for i in group.range
            ]
        self._tensors = Tensors(names, weights, states, factors, len(self.param_groups))

    def _penalised(self, group, i, factor):
        """What the first state of tensor i may depend on: the settings, its weights and penalty, its factors."""
        now, w, scalar = group.numbers(0), group.weights[i - group.start], group.factors[i - group.start]
        kind = reference.ElasticNet if factor is None else reference.Weighted
        return now, w, kind(now["l1"] * scalar, now["l2"] * scalar), factor

    # What a subclass says

    def _check(self, settings):
        """Raise ValueError for settings that do not go together."""
        mode = settings["mode"]
        if mode not in self._modes:
            why = "coordinates differ in step size" if mode == "truncated" else "the penalty acts beside the move"
            known = ", ".join(map(repr, self._modes))
            raise ValueError(f"mode: expected one of {known} for {type(self).__name__} ({why}), got {mode!r}")
        if settings["theta"] != inf and mode != "truncated":
            raise _diagnose.bad_theta(settings["theta"], mode)

    def _keeps(self, settings):
        """The names of the arrays of state that a tensor needs."""
        raise NotImplementedError

    def _start(self, settings, w, penalty, factor):
        """The first state of a tensor."""
        return [np.zeros_like(w) for _ in self._keeps(settings)]

    def _direction(self, now, steps, power1, power2):
        """The direction, as the reference's tuple, of the settings as they are now."""
        raise NotImplementedError

    # Steps

    def step(self, grads=None):
        """One step of every tensor, in place.

        Parameters
        ----------
        grads : the form of params, optional
            The gradients at the weights, each like its weights; only read. None in place of one leaves out its tensor,
            its state and its count of steps. Without `grads`, those of :meth:`bind`.

        Raises
        ------
        TypeError, ValueError, FloatingPointError
            Before any weight or state is written.
        """
        for k, group in enumerate(self.param_groups):
            if group.refresh(self.completed):
                self._tensors.configure(k, group)
        flat = None if grads is None else self._flatten(grads)
        if self._tensors.step(flat, self.param_groups, self.on_nonfinite):
            self.completed += 1
        else:
            self.skipped += 1

    def bind(self, grads):
        """Check gradients once and hold on to them, so that :meth:`step` without arguments costs next to nothing.

        Parameters
        ----------
        grads : the form of params
            Buffers that are filled with new gradients before every step. None lets go of those that are held.
        """
        self._tensors.bind(None if grads is None else self._flatten(grads))

    def _flatten(self, grads):
        groups = self.param_groups
        if not self._grouped:
            return groups[0]._layout.flatten(grads, "grads")
        return [
            x
            for group, own in zip(groups, self._split(grads, len(groups), "grads"))
            for x in group._layout.flatten(own, "grads")
        ]

    def _split(self, values, count, what):
        """Values in the form of params, one part a group."""
        if not self._grouped:
            return [values]
        if values is None or np.isscalar(values):
            return [values] * count
        if not isinstance(values, (list, tuple)) or len(values) != count:
            raise TypeError(f"{what}: expected a list of {count} groups like params, got {type(values).__name__}")
        return [own["params"] if isinstance(own, dict) and "params" in own else own for own in values]

    # Values

    @property
    def params(self):
        weights = [group["params"] for group in self.param_groups]
        return weights if self._grouped else weights[0]

    @property
    def state(self):
        fields = [self._keeps(group) for group in self.param_groups for _ in group.range]
        return {n: dict(zip(f, s)) for n, f, s in zip(self._tensors.names, fields, self._tensors.states)}

    def penalty(self, by=None):
        """The value of the penalty l1·‖w‖₁ + l2/2·‖w‖₂², with the factors, at the strengths of the next step.

        Parameters
        ----------
        by : {None, "group", "tensor"}
            The total as a float, a list of floats by group, or a dict by name of tensor.
        """
        values = []
        for group in self.param_groups:
            now = group.numbers(self.completed)
            l1, l2 = now["l1"], now["l2"]
            for i in group.range:
                w, f, scalar = self._tensors.weights[i], self._tensors.factors[i], group.factors[i - group.start]
                if f is None:
                    values.append(elastic_net_penalty(w, l1 * scalar, l2 * scalar))
                else:
                    wide, f = w.astype(float), f.astype(float)
                    values.append(l1_penalty(f * wide, l1) + l1_penalty(f * wide * wide, 0.5 * l2))
        return self._by(values, by)

    def zeros(self, by=None):
        """The number of weights that are exactly zero.

        Parameters
        ----------
        by : {None, "group", "tensor"}
            The total as an int, a list of ints by group, or a dict by name of tensor.
        """
        return self._by([int(w.size - np.count_nonzero(w)) for w in self._tensors.weights], by)

    def _by(self, values, by):
        if by is None:
            return sum(values)
        if by == "group":
            return [sum(values[group.start : group.stop]) for group in self.param_groups]
        if by == "tensor":
            return dict(zip(self._tensors.names, values))
        raise ValueError(f"by: expected None, 'group' or 'tensor', got {by!r}")

    # State

    def state_dict(self):
        """All that the next steps depend on but the weights, as plain arrays and numbers under flat names.

        ``np.savez(file, **opt.state_dict())`` stores it and ``opt.load_state_dict(np.load(file))`` takes it back.
        Settings that are callables are left out; they stay as they are constructed.
        """
        saved = {"optimizer": type(self).__name__, "completed": self.completed, "skipped": self.skipped}
        for i, group in enumerate(self.param_groups):
            saved |= {f"group.{i}.{key}": x for key, x in group.items() if key != "params" and not callable(x)}
        for i, (name, state) in enumerate(self.state.items()):
            steps, *powers = self._tensors.clock(i)
            saved |= {f"tensor.{name}.steps": steps, f"tensor.{name}.powers": np.array(powers)}
            saved |= {f"tensor.{name}.{field}": array.copy() for field, array in state.items()}
        return saved

    def load_state_dict(self, saved):
        """Take over what :meth:`state_dict` gave, in place and all or nothing.

        Parameters
        ----------
        saved : mapping
            As :meth:`state_dict` returned it, or ``np.load`` of what ``np.savez`` stored.

        Raises
        ------
        ValueError
            Where it belongs to another optimizer, other tensors or other settings; then nothing is changed.
        """
        saved = {key: saved[key] for key in saved}
        mine = self.state_dict()
        optional = {f"group.{i}.{key}" for i in range(len(self.param_groups)) for key in SCHEDULES}
        if lacking := (mine.keys() - saved.keys() - optional) or (saved.keys() - mine.keys() - optional):
            raise ValueError(f"saved: expected the keys of this optimizer's state_dict(), differs in {sorted(lacking)}")
        if str(saved["optimizer"]) != mine["optimizer"]:
            raise ValueError(f"saved: expected the state of {mine['optimizer']}, got that of {saved['optimizer']}")
        arrays = {key: checked_array(key, saved[key], x) for key, x in mine.items() if isinstance(x, np.ndarray)}
        counts = {
            key: checked_count(key, saved[key]) for key, x in mine.items() if isinstance(x, int) and "group." not in key
        }
        rehearsed = []
        for i, group in enumerate(self.param_groups):
            prefix = f"group.{i}."
            settings = {k[len(prefix) :]: plain(x) for k, x in saved.items() if k.startswith(prefix)}
            rehearsed.append(group.rehearse(settings))

        for group, settings in zip(self.param_groups, rehearsed):
            group.replace(settings)
        for i, (name, state) in enumerate(self.state.items()):
            self._tensors.set_clock(i, counts[f"tensor.{name}.steps"], *arrays[f"tensor.{name}.powers"].tolist())
            for field, array in state.items():
                array[...] = arrays[f"tensor.{name}.{field}"]
        self.completed, self.skipped = counts["completed"], counts["skipped"]

    def __getstate__(self):
        tensors = self._tensors
        kept = {key: x for key, x in self.__dict__.items() if key not in ("_tensors", "param_groups")}
        clocks = [tensors.clock(i) for i in range(len(tensors.names))]
        groups = [(g._layout, g["params"], dict(g._settings), g.factors) for g in self.param_groups]
        return kept | {"_saved": (groups, tensors.states, tensors.factors, clocks)}

    def __setstate__(self, saved):
        groups, states, factors, clocks = saved.pop("_saved")
        self.__dict__.update(saved)
        starts = accumulate((len(numbers) for *_, numbers in groups), initial=0)
        parts = [
            (
                layout,
                weights,
                settings,
                layout.arrange([n if f is None else f for n, f in zip(numbers, factors[start:])]),
            )
            for start, (layout, weights, settings, numbers) in zip(starts, groups)
        ]
        self._assemble(parts, states)
        for i, clock in enumerate(clocks):
            self._tensors.set_clock(i, *clock)

    def __repr__(self):
        return f"{type(self).__name__}({len(self._tensors.names)} tensors, {self.completed} steps)"


def split_factors(layout, weights, factors):
    """Penalty factors as a number for each tensor, and an array or None for each."""
    if factors is None or (np.isscalar(factors) and layout.kind != "array"):
        factors = [factors] * len(weights)
    else:
        factors = layout.flatten(factors, "penalty_factor")
    numbers, arrays = [], []
    for name, w, f in zip(layout.names, weights, factors):
        what = f"penalty_factor[{name}]"
        if f is None or np.ndim(f) == 0:
            numbers.append(1.0 if f is None else finite(what, f))
            arrays.append(None)
            continue
        f = np.asarray(f)
        if f.dtype.kind not in "fiu":
            raise TypeError(f"{what}: expected real numbers, got dtype {f.dtype}")
        if f.shape != w.shape:
            raise ValueError(f"{what}: expected shape {w.shape} like the weights, got {f.shape}")
        own = np.empty_like(w)
        with np.errstate(over="ignore"):
            own[...] = f
        if not (np.isfinite(own) & (own >= 0)).all():
            raise ValueError(
                f"{what}: expected finite numbers, not negative, got {f[~(np.isfinite(own) & (own >= 0))][0]}"
            )
        numbers.append(1.0)
        arrays.append(own)
    return numbers, arrays


def checked_array(key, x, mine):
    x = np.asarray(x)
    if x.shape != mine.shape or x.dtype != mine.dtype:
        raise ValueError(
            f"saved[{key!r}]: expected {mine.dtype} of shape {mine.shape}, got {x.dtype} of shape {x.shape}"
        )
    return x


def checked_count(key, x):
    x = np.asarray(x)
    if x.ndim or x.dtype.kind not in "iu" or x < 0:
        raise ValueError(f"saved[{key!r}]: expected a count, got {x!r}")
    return int(x)


def plain(x):
    """A setting as np.load gives it back, as the plain object that it was."""
    if not isinstance(x, (np.ndarray, np.generic)):
        return x
    return tuple(x.tolist()) if x.ndim else x.item()
