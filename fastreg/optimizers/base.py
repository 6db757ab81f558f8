"""Layer 5, what all optimizers share: groups of parameters, steps through one call into layer 4, values and state."""

from math import inf

import numpy as np

from fastreg import reference
from fastreg._boundary import errors, threads as _threads
from fastreg._boundary.bfloat16 import as_float32
from fastreg._boundary.checks import guard
from fastreg.optimizers.params import Layout, split_factors, split_groups
from fastreg.optimizers.settings import CHECKS, Group, Setting
from fastreg.optimizers.state import checked, save
from fastreg._boundary.tensors import Tensors

NONFINITE = ("propagate", "raise", "skip")


class Optimizer:
    """What all optimizers have in common; use one of the subclasses.

    Parameters
    ----------
    params : array, sequence of arrays, mapping of arrays, or list of groups
        The weights, float32, float64 or bfloat16, updated in place: writable, C or Fortran contiguous, no two with
        memory in common; shapes, dtypes and layouts may differ. A group is a dict with the key ``"params"`` and any of
        the settings below but `on_nonfinite` and `threads`, for its tensors alone. Weights are memory, not objects: an
        optimizer over ``parameter.detach()`` does not follow a torch parameter that is given other memory later, by
        ``module.double()``, ``module.to(...)``, ``load_state_dict(assign=True)`` or ``parameter.data = ...``. It would
        train the old memory, without an error. Construct it anew after these, and after ``share_memory_()``, which
        frees the old memory.
    lr : float or callable
        Learning rate. A callable is given the number of completed steps and returns the number to use; it is asked
        before every step, and with 0 at construction.
    l1, l2 : float or callable, default 0.0
        Strengths of the penalty l1·‖w‖₁ + l2/2·‖w‖₂²; callables as for lr.
    mode : {"proximal", "subgradient", "decoupled", "truncated"}
        Where the penalty enters: see :func:`fastreg.elastic_net_update`. "proximal" gives exact zeros; "subgradient"
        adds the penalty to the gradient, as torch's weight_decay does in SGD and Adam.
    theta : float, default inf
        With ``mode="truncated"``: weights larger than this in magnitude are not truncated.
    penalty_factor : float or the form of params, optional
        Multiplies l1 and l2: an array like the weights, coordinate by coordinate, or a number for a tensor; 0 leaves
        weights unpenalised. Not rescaled; copied; fixed at construction.
    on_nonfinite : {"propagate", "raise", "skip"}
        What to do about an infinity or a NaN in a gradient: let it into the weights; raise FloatingPointError before
        anything is written; or leave out the whole step and count it in `skipped`.
    threads : int or None
        How many threads a step may use, of the processors that the process may run on; None is the default of the
        process, see :func:`fastreg.set_num_threads`. More than one start only where the tensors have some megabytes
        together. The bits of the results are the same.

    Attributes
    ----------
    param_groups : tuple of mappings
        The settings of each group, to be read and changed between steps: ``opt.param_groups[0]["lr"] = 0.01``.
    params : the form of params
        The weights as arrays.
    state : dict
        The state of each tensor by name, as live arrays; of bfloat16 weights it is float32.
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
    _why = ""  # the others have none
    _has_mode = True
    _at_start = ("initial_accumulator_value", "warm_start")  # settings that only the first state depends on

    def __init__(self, params, lr, own, l1, l2, mode, theta, penalty_factor, on_nonfinite, threads=None):
        if type(self)._direction is Optimizer._direction:
            raise TypeError(f"{type(self).__name__}: expected one of its subclasses, such as SGD or Adam")
        defaults = {"lr": lr, **own, "l1": l1, "l2": l2}
        if self._has_mode:
            defaults |= {"mode": mode, "theta": theta}
        groups, grouped = split_groups(params)
        layouts = [Layout(own, f"{i}." if grouped else "") for i, (own, _) in enumerate(groups)]
        shared = split_by_group(layouts, grouped, penalty_factor, "penalty_factor")
        parts = []
        for (own, overrides), factors in zip(groups, shared):
            factors = overrides.pop("penalty_factor", factors)
            parts.append((own, defaults | overrides, factors))
        attributes = {
            "_on_nonfinite": checked_policy(on_nonfinite),
            "_threads": checked_threads(threads),
            "_grouped": grouped,
            "_layouts": layouts,
            "_known": tuple(defaults),
        }
        self._assemble(attributes, parts)

    def _assemble(self, attributes, parts, restored=None):
        """Builds the groups and the tensors below them from weights, settings and factors by group, then all at once.

        `restored` is what Tensors.restore takes but for the settings, where they do not start anew.
        """
        names, weights, factors, groups, settings, guards = [], [], [], [], [], []
        for layout, (values, own_settings, own_factors) in zip(attributes["_layouts"], parts):
            own = []
            for name, x in zip(layout.names, layout.flatten(values, "params")):
                own.append(as_weights(x, f"params[{name}]"))
                guards += guard(own[-1:])  # at once: a caller's code could resize what the weights are views of
            scalars, arrays = split_factors(layout, own, own_factors)
            groups.append(Group(self, attributes["_known"], layout, len(weights), own, scalars))
            settings.append(groups[-1].checked({}, own_settings))
            names, weights, factors = names + layout.names, weights + own, factors + arrays
        if not weights:
            raise ValueError("params: expected at least one tensor, got none")
        if restored is None:
            states = [state for parts in zip(groups, settings) for state in self._first_states(*parts, factors)]
        else:
            states = restored[-1]
        kinds = [group.scales.index(scale) for group in groups for scale in group.factors]
        spans = [(group.start, group.stop) for group in groups]
        tensors = Tensors(names, weights, states, factors, kinds, spans, tuple(settings))
        if restored is not None:
            tensors.write("__setstate__", lambda: (tuple(settings), *restored[:-1], None))
        for k, group in enumerate(groups):
            group.attach(tensors, k)
        attributes = vars(self) | attributes | {"_tensors": tensors, "param_groups": tuple(groups)}
        if "_tensors" in vars(self):
            self._tensors.replace(self, attributes)
        else:
            self.__dict__ = attributes

    def _first_states(self, group, settings, factors):
        """The first state of each tensor of a group; asks the group's callables, so that bad ones fail early."""
        now = group.numbers(settings, 0)
        for i, w, scalar in zip(group.range, group.weights, group.factors):
            penalty = group.penalties(now)[group.scales.index(scalar)]
            yield self._start(now, as_float32(w), penalty, factors[i])

    @property
    def completed(self):
        """Completed steps."""
        return self._tensors.completed

    @property
    def skipped(self):
        """Steps left out by ``on_nonfinite="skip"``."""
        return self._tensors.skipped

    @property
    def on_nonfinite(self):
        """What to do about an infinity or a NaN in a gradient: "propagate", "raise" or "skip"."""
        return self._on_nonfinite

    @on_nonfinite.setter
    def on_nonfinite(self, policy):
        self._on_nonfinite = checked_policy(policy)

    @property
    def threads(self):
        """How many threads a step may use; None for the default of the process, `fastreg.get_num_threads()`."""
        return self._threads

    @threads.setter
    def threads(self, n):
        self._threads = checked_threads(n)

    # What a subclass says

    def _check(self, settings):
        """Raise ValueError for settings that do not go together."""
        mode = settings["mode"]
        if mode not in self._modes:
            known = ", ".join(map(repr, self._modes))
            raise ValueError(f"mode: expected one of {known} for {type(self).__name__} ({self._why}), got {mode!r}")
        if settings["theta"] != inf and mode != "truncated":
            raise errors.bad_theta(settings["theta"], mode)

    def _keeps(self, settings):
        """The names of the arrays of state that a tensor needs."""
        raise NotImplementedError

    def _start(self, settings, w, penalty, factor):
        """The first state of a tensor."""
        return [np.zeros_like(w, subok=False) for _ in self._keeps(settings)]

    def _direction(self, now, first):
        """The direction, as the reference's tuple, that the settings as they are now and the arguments decide."""
        raise NotImplementedError

    # Steps

    def step(self, grads=None):
        """One step of every tensor, in place.

        Parameters
        ----------
        grads : the form of params, optional
            The gradients at the weights, each like its weights; only read. None in place of one leaves out its tensor,
            its state and its count of steps. Without `grads`, those of :meth:`bind`; with, these stay bound.

        Raises
        ------
        TypeError, ValueError, FloatingPointError
            Before any weight or state is written.
        """
        flat = None if grads is None else self._flatten(grads)
        self._tensors.step(flat, self._plan, self._on_nonfinite, self._threads)

    def _plan(self, k, settings, completed, fresh):
        return self.param_groups[k].plan(settings, completed, fresh)

    def bind(self, grads):
        """Check gradients once and hold on to them, so that :meth:`step` without arguments costs next to nothing.

        Parameters
        ----------
        grads : the form of params
            Buffers to be filled, not replaced, with new gradients before every step (``g[...] = ...``). They cannot be
            resized until others are bound, and are not pickled. None lets go of them.
        """
        self._tensors.bind(None if grads is None else self._flatten(grads))

    def _flatten(self, grads):
        if not self._grouped:
            return self._layouts[0].flatten(grads, "grads")
        own = zip(self._layouts, split_by_group(self._layouts, True, grads, "grads"))
        return [x for layout, values in own for x in layout.flatten(values, "grads")]

    # Values

    @property
    def params(self):
        """The weights as arrays, in the form in which they came."""
        weights = [group["params"] for group in self.param_groups]
        return weights if self._grouped else weights[0]

    @property
    def state(self):
        """The state of each tensor by name: a dict of live arrays."""
        fields = [self._keeps(group._settings) for group in self.param_groups for _ in group.range]
        return {n: dict(zip(f, s)) for n, f, s in zip(self._tensors.names, fields, self._tensors.states)}

    def penalty(self, by=None):
        """The value of the penalty l1·‖w‖₁ + l2/2·‖w‖₂², with the factors, at the strengths of the next step.

        Parameters
        ----------
        by : {None, "group", "tensor"}
            The total as a float, a list of floats by group, or a dict by name of tensor.
        """
        return self._by(self._penalties(), by)

    def _penalties(self):
        """The value of each tensor's penalty, of weights and settings at one moment.

        A callable is not asked while steps wait. So where there is one, the weights are copied.
        """
        tensors = self._tensors
        while True:
            completed, settings, weights = tensors.read(self._snapshot)
            plans = [group.penalties(group.numbers(own, completed)) for group, own in zip(self.param_groups, settings)]
            penalties = [
                own[group.scales.index(scale)]
                for group, own in zip(self.param_groups, plans)
                for scale in group.factors
            ]
            if weights is not None:
                return [tensors.penalty(i, p, w) for i, (p, w) in enumerate(zip(penalties, weights))]
            values = tensors.read(
                lambda: [tensors.penalty(i, p) for i, p in enumerate(penalties)] if tensors.settings is settings else None
            )
            if values is not None:
                return values

    def _snapshot(self):
        tensors = self._tensors
        copied = any(callable(x) for settings in tensors.settings for x in settings.values())
        weights = [w.copy(order="K") for w in tensors.weights] if copied else None
        return tensors.completed, tensors.settings, weights

    def zeros(self, by=None):
        """The number of weights that are exactly zero.

        Parameters
        ----------
        by : {None, "group", "tensor"}
            The total as an int, a list of ints by group, or a dict by name of tensor.
        """
        tensors = self._tensors
        counts = tensors.read(lambda: [int(w.size - np.count_nonzero(as_float32(w))) for w in tensors.weights])
        return self._by(counts, by)

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
        """State, counts and settings as plain arrays and numbers under flat names.

        ``np.savez(file, **opt.state_dict())`` stores it and ``opt.load_state_dict(np.load(file))`` takes it back. Not
        in it, and to be given to the optimizer that takes it back: the weights, penalty_factor, on_nonfinite, and
        settings that are callables.
        """
        return save(self)

    def load_state_dict(self, saved):
        """Take over what :meth:`state_dict` gave, in place and all or nothing; settings that are callables here stay.

        Parameters
        ----------
        saved : mapping
            As :meth:`state_dict` returned it, or ``np.load`` of what ``np.savez`` stored.

        Raises
        ------
        TypeError
            No mapping.
        ValueError
            Where it belongs to another optimizer or other tensors, where its settings need other state, or where one of
            them was a callable and is a number here; then nothing is changed.

        Notes
        -----
        Keys that `state_dict` does not know (an epoch that is stored beside the state, say) are not read.
        """
        self._tensors.write("load_state_dict", lambda: checked(self, saved))

    def __getstate__(self):
        return self._tensors.read(self._parts)

    def _parts(self):
        """All that a copy needs, with the arrays as they are: the seal behind them refuses those that have changed."""
        tensors = self._tensors
        groups = [(group["params"], dict(group._settings), self._factors(group)) for group in self.param_groups]
        kept = {key: x for key, x in vars(self).items() if key not in ("_tensors", "param_groups")}
        restored = tensors.completed, tensors.skipped, self._clocks(), tensors.states
        return kept | {"_groups": groups, "_restored": restored, "_seal": tensors.seal()}

    def __setstate__(self, saved):
        attributes = {key: x for key, x in saved.items() if key not in ("_groups", "_restored", "_seal")}
        self._assemble(attributes, saved["_groups"], saved["_restored"])

    def _factors(self, group):
        """The penalty factors of a group, in the form of its params."""
        arrays = self._tensors.factors[group.start : group.stop]
        return group._layout.arrange([x if f is None else f for x, f in zip(group.factors, arrays)])

    def _clocks(self):
        return [self._tensors.clock(i) for i in range(len(self._tensors.names))]

    def __repr__(self):
        return f"{type(self).__name__}({len(self._tensors.names)} tensors, {self.completed} steps)"


for key in CHECKS:
    setattr(Optimizer, key, Setting(key))


def checked_policy(policy):
    if not isinstance(policy, str) or policy not in NONFINITE:
        raise ValueError(f"on_nonfinite: expected one of {', '.join(map(repr, NONFINITE))}, got {policy!r}")
    return policy


def checked_threads(n):
    return None if n is None else _threads.count("threads", n)


def split_by_group(layouts, grouped, values, what):
    """Values in the form of params, one part a group; a group may be a dict with the key "params" here too."""
    if not grouped:
        return [values]
    if values is None or np.isscalar(values):
        return [values] * len(layouts)
    if not isinstance(values, (list, tuple)) or len(values) != len(layouts):
        got = f"{len(values)} entries" if isinstance(values, (list, tuple)) else type(values).__name__
        raise TypeError(f"{what}: expected a list of {len(layouts)} groups, which nests as params do, got {got}")
    return [
        own["params"] if isinstance(own, dict) and "params" in own and "params" not in layout.keys else own
        for layout, own in zip(layouts, values)
    ]


def as_weights(x, name):
    """An array that can be updated in place, over the memory of x."""
    w = np.asarray(errors.as_array(x, name))
    if error := errors.bad_array(w, name, writable=True):
        raise error
    return w
