"""Layer 5, what all optimizers share: construction from groups of parameters, steps, bound gradients, pickling.

The weights, the state and the settings belong to one `Tensors` of layer 4, so that a step or a change is all or
nothing. A subclass sets `_directions`, and defines `_state_names`, `_direction` and, if needed, `_check` and
`_init_state`.
"""

from inspect import signature
from math import inf
from typing import ClassVar

import numpy as np

from fastreg import reference
from fastreg._boundary import errors
from fastreg._boundary.bfloat16 import as_float32
from fastreg._boundary.checks import guard
from fastreg._boundary.keywords import answering
from fastreg._boundary.tensors import Tensors
from fastreg.optimizers.bounds import checked_pair, split_bounds
from fastreg.optimizers.factors import split_factors
from fastreg.optimizers.group_axis import obstacle_to_groups, split_axes
from fastreg.optimizers.groups import Group, GroupSetting, bad_attribute
from fastreg.optimizers.notices import may_remove, nonzero_masks, tell_no_zeros, tell_removed
from fastreg.optimizers.params import Layout, as_weights, split_by_group, split_groups
from fastreg.optimizers.settings import StepSettings, nonfinite_policy, thread_count
from fastreg.optimizers.state import StateDict
from fastreg.optimizers.values import Values


class Optimizer(StepSettings, Values, StateDict):
    """What all optimizers have in common; use one of the subclasses.

    Parameters
    ----------
    params : array, sequence of arrays, mapping of arrays, or list of groups
        The weights, float32, float64 or bfloat16, which are updated in place. Each array must be writable and C or
        Fortran contiguous, and no two may share memory; shapes, dtypes and layouts may differ. A group is a dict with
        the key ``"params"`` and any of the settings below except `on_nonfinite` and `threads`, for its tensors only.
    lr : float or callable
        Learning rate. A callable takes the number of completed steps and returns the learning rate. It is called before
        every step, and with 0 at construction.
    l1, l2, l21 : float or callable, default 0.0
        Strengths of the penalty l1·‖w‖₁ + l2/2·‖w‖₂² + l21·Σ‖group‖₂; callables as for lr. l21, the group lasso, sets
        whole groups to zero, in the metric of the optimizer: see :func:`fastreg.group_update`. Mode "proximal" only.
    gamma : float, default inf
        Positive. Finite: the minimax concave penalty (MCP) takes the place of l1·‖w‖₁. It does not shrink weights above
        gamma·l1: see :func:`fastreg.elastic_net_update`. Modes "proximal" and "subgradient" only.
    mode : {"proximal", "subgradient", "decoupled", "truncated"}
        Where the penalty enters: see :func:`fastreg.elastic_net_update`. "proximal" gives exact zeros. "subgradient"
        adds the penalty to the gradient, as torch's weight_decay does in SGD and Adam.
    theta : float, default inf
        With ``mode="truncated"``: weights with a larger magnitude are not truncated.
    bounds : pair (low, high), default (-inf, inf)
        The interval in which each weight stays: (0, inf) for weights that are not negative. Each side is a number, or
        in the form of params, with a number or an array like the weights for each tensor. Each step ends by moving the
        weights into it, which is exact for l1 and l2 in the proximal mode. Weights that start outside are moved in by
        the first step. Copied, rounded to the dtype of the weights, and fixed at construction. Not with a finite gamma;
        with l21 only bounds that are 0 or infinite.
    group_axis : int, None, or the form of params, default None
        The groups of l21: the axis of which each index is a group, such as 0 for the rows of a matrix, and for the
        output channels of a convolution in torch's layout. None: each tensor is one group. Fixed at construction.
    penalty_factor : float or the form of params, optional
        Multiplies the strengths: an array like the weights gives each weight a factor, a number is for a whole tensor.
        0 means no penalty. With l21, all weights of a group need the same factor. Factors are copied, not rescaled, and
        fixed at construction.
    on_nonfinite : {"propagate", "raise", "skip"}
        What to do about an infinity or a NaN in a gradient: let it into the weights; raise FloatingPointError before
        anything is written; or leave out the whole step and count it in `skipped`.
    threads : int or None
        How many threads a step may use, at most one for each processor that the process may run on; None means
        :func:`fastreg.get_num_threads`. A step uses more than one only if the tensors together have some megabytes. The
        results have the same bits.

    Attributes
    ----------
    param_groups : tuple of mappings
        The settings of each group, to be read, and to be set between steps: ``opt.param_groups[0]["lr"] = 0.01``.
    params : the form of params
        The weights as arrays.
    state : dict
        The state of each tensor by name, as live arrays. The state of bfloat16 weights is float32.
    completed : int
        Completed steps.
    skipped : int
        Steps left out by ``on_nonfinite="skip"``.

    Raises
    ------
    TypeError, ValueError
        For arrays as in the update functions, for settings outside the ranges above. Nothing is changed.

    Notes
    -----
    An optimizer holds on to memory, not to Python objects. If it was constructed over ``parameter.detach()`` and the
    torch parameter later moves to other memory, the optimizer trains the old memory, without an error. Construct a new
    one after ``module.double()``, ``module.to(...)``, ``load_state_dict(assign=True)`` or ``parameter.data = ...``, and
    after ``share_memory_()``, which frees the old memory.

    Examples
    --------
    Two groups. Only the first is penalised:

    >>> import numpy as np
    >>> import fastreg
    >>> weights, bias = np.ones((2, 2)), np.zeros(2)
    >>> optimizer = fastreg.SGD([{"params": [weights], "l1": 0.5}, {"params": [bias]}], lr=0.1)
    >>> optimizer.step([[np.zeros((2, 2))], [np.ones(2)]])
    >>> weights[0], bias
    (array([0.95, 0.95]), array([-0.1, -0.1]))
    >>> optimizer.penalty(by="group")
    [1.9, 0.0]
    >>> grads = [[np.zeros((2, 2))], [np.ones(2)]]
    >>> optimizer.bind(grads)  # from now on, step() uses what these arrays contain
    >>> optimizer.step()
    >>> bias
    array([-0.2, -0.2])
    """

    _directions: ClassVar[dict[str, dict]] = {}  # by name in fastreg.reference: settings that select each
    _modes: tuple[str, ...] = ()  # the modes that have a meaning, by default those of the directions
    _modes_reason = ""  # why the others have none
    _squares: str | None = None  # the state that sums squared gradients, or averages them
    _is_built_on_lr = False  # whether the state must be changed together with lr
    _may_remove = False  # whether the next step may remove weights because they have no gradient
    _initial_settings = ("initial_accumulator_value", "warm_start")  # only the initial state depends on them

    def __init__(self, params, settings, bounds, group_axis, penalty_factor, on_nonfinite, threads):
        if type(self)._direction is Optimizer._direction:
            raise TypeError(f"{type(self).__name__}: expected one of its subclasses, such as SGD or Adam")
        groups, grouped = split_groups(params)
        layouts = [Layout(own, f"{i}." if grouped else "") for i, (own, _) in enumerate(groups)]
        shared = split_by_group(layouts, grouped, penalty_factor, "penalty_factor")
        lows, highs = (
            split_by_group(layouts, grouped, x, f"bounds[{k}]") for k, x in enumerate(checked_pair(bounds, "bounds"))
        )
        axes = split_by_group(layouts, grouped, group_axis, "group_axis")
        parts = []
        for (own, overrides), factors, axis, *pair in zip(groups, shared, axes, lows, highs):
            factors, pair = overrides.pop("penalty_factor", factors), overrides.pop("bounds", pair)
            axis = overrides.pop("group_axis", axis)
            parts.append((own, settings | overrides, factors, pair, axis))
        attributes = {
            "_on_nonfinite": nonfinite_policy("on_nonfinite", on_nonfinite),
            "_threads": thread_count("threads", threads),
            "_grouped": grouped,
            "_layouts": layouts,
            "_known": tuple(settings),
        }
        self._assemble(attributes, parts)
        settings = [group._settings for group in self.param_groups]
        self._may_remove = may_remove(self._squares, settings)
        tell_no_zeros(type(self).__name__, self._modes, [(g._settings, g._has_bounds) for g in self.param_groups])

    def _assemble(self, attributes, parts, restored=None):
        """Build the groups and their tensors from weights, settings and factors by group, then replace all at once.

        `restored` has the arguments of Tensors.restore except the settings. With None, the state is initialised.
        """
        names, weights, factors, bounds, axes, groups, settings, guards = [], [], [], [], [], [], [], []
        for layout, (own_values, own_settings, own_factors, own_bounds, own_axes) in zip(attributes["_layouts"], parts):
            own = []
            for name, x in zip(layout.names, layout.flatten(own_values, "params")):
                own.append(as_weights(x, f"params[{name}]"))
                guards += guard(own[-1:])  # at once: code of the caller that runs below could resize the memory
            scales, arrays = split_factors(layout, own, own_factors)
            pairs, own_axes = split_bounds(layout, own, own_bounds), split_axes(layout, own, own_axes)
            obstacle = obstacle_to_groups(layout.names, own, arrays, pairs, own_axes)
            has_bounds = any(pair is not None for pair in pairs)
            own_parts = own, scales, arrays, has_bounds, obstacle
            groups.append(Group(self, attributes["_known"], layout, len(weights), *own_parts))
            settings.append(groups[-1].checked({}, own_settings))
            names, weights, factors = names + layout.names, weights + own, factors + arrays
            bounds, axes = bounds + pairs, axes + own_axes
        if not weights:
            raise ValueError("params: expected at least one tensor, got none")
        if restored is None:
            starts = [start for parts in zip(groups, settings) for start in self._starts(*parts, axes, factors)]
            restored = 0, 0, [clock for clock, _ in starts], [state for _, state in starts]
        kinds = [kind for group in groups for kind in group.kinds]
        spans = [(group.start, group.stop) for group in groups]
        tensors = Tensors(names, weights, restored[-1], factors, bounds, axes, kinds, spans, tuple(settings))
        tensors.write("__setstate__", lambda: (tuple(settings), *restored[:-1], None))
        for k, group in enumerate(groups):
            group.attach(tensors, k)
        attributes = vars(self) | attributes | {"_tensors": tensors, "param_groups": tuple(groups)}
        if "_tensors" in vars(self):
            self._tensors.replace(self, attributes)
        else:
            self.__dict__ = attributes

    def _starts(self, group, settings, axes, factors):
        """The initial clock and state of each tensor of a group.

        Callables are called here, so that bad ones fail early.
        """
        now = group.numbers(settings, 0)
        penalties, l21, clock = group.penalties(now), group.l21(now), (0, 1.0, 1.0, *self._built_on(now))
        for i, w, kind in zip(group.range, group.weights, group.kinds):
            yield clock, self._init_state(now, as_float32(w), penalties[kind], (l21[kind], axes[i]), factors[i])

    @property
    def completed(self):
        """Completed steps."""
        return self._tensors.completed

    @property
    def skipped(self):
        """Steps left out by ``on_nonfinite="skip"``."""
        return self._tensors.skipped

    # What a subclass defines

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            for name in signature(cls.__init__).parameters:
                if bad_attribute(name) is not None:
                    setattr(cls, name, GroupSetting(name))
            cls.__init__ = answering(cls.__init__)
        if "_directions" in vars(cls):
            (cls._modes,) = {reference.MODES_OF[name] for name in cls._directions}

    def _check(self, settings):
        """Raise ValueError for settings that exclude each other; lr and the strengths may be callables."""
        if settings["l21"] != 0 and settings["gamma"] < inf:
            raise errors.bad_l21(settings["l21"], "a finite gamma", "which has no proximal operator together with it")
        if settings["l21"] != 0 and not self._directions.keys() <= set(reference.DIRECTIONS_WITH_GROUPS):
            raise errors.bad_l21(settings["l21"], type(self).__name__, "which has no metric")
        if "mode" not in settings:
            return
        mode = settings["mode"]
        if mode not in self._modes:
            known, name = ", ".join(map(repr, self._modes)), type(self).__name__
            raise ValueError(f"mode: expected one of {known} for {name} ({self._modes_reason}), got {mode!r}")
        if settings["theta"] != inf and mode != "truncated":
            raise errors.bad_theta(settings["theta"], mode)
        if settings["gamma"] < inf and mode not in reference.MODES_OF["MCP"]:
            raise errors.bad_gamma(settings["gamma"], f"mode={mode!r}")
        if settings["l21"] != 0 and mode != "proximal":
            raise errors.bad_l21(settings["l21"], f"mode={mode!r}", "which does not set groups to zero")

    def _state_names(self, settings):
        """The names of the arrays that are the state of a tensor."""
        raise NotImplementedError

    def _init_state(self, settings, w, penalty, groups, factor):
        """The initial state of a tensor: a list of arrays like w, which is float32 or float64.

        `settings` has no callables, `penalty` is a tuple of fastreg.reference, `groups` are the strength and the axis
        of its group lasso, `factor` is an array like w or None.
        """
        return [np.zeros_like(w, subok=False) for _ in self._state_names(settings)]

    def _penalty(self, settings):
        """The penalty, as a tuple of fastreg.reference, for settings without callables."""
        return reference.penalty_with(settings["l1"], settings["l2"], settings["gamma"])

    def _direction(self, settings, first):
        """The direction, as a tuple of fastreg.reference, for settings without callables.

        `first` is whether it is for the first step of a tensor.
        """
        raise NotImplementedError

    def _built_on(self, settings, steps=0):
        """The lr and beta that a state after so many steps is built on, for settings without callables; 0 for none."""
        return 0.0, 0.0

    # Steps

    def step(self, grads=None):
        """One step of every tensor, in place.

        Parameters
        ----------
        grads : the form of params, optional
            The gradients at the weights, each with the shape, dtype and layout of its weights; only read. None in place
            of a gradient leaves out its tensor: weights, state and count of steps stay as they are. Without `grads`,
            the gradients of :meth:`bind` are used. With `grads`, they remain bound.

        Raises
        ------
        TypeError, ValueError, FloatingPointError
            Before any weight or state is written.

        Warns
        -----
        NoGradientWarning
            After the first step, which is complete even if the warning is an error.
        """
        flat = None if grads is None else self._flatten(grads)
        if self._may_remove:
            return self._first_step(flat)
        return self._tensors.step(flat, self._plan, self._on_nonfinite, self._threads)

    def _first_step(self, flat):
        """A step, and a warning if it removed weights because they had no gradient."""
        weights = [w for group in self.param_groups for w in group.weights]
        before = nonzero_masks(weights) if self.completed == 0 else None
        self._tensors.step(flat, self._plan, self._on_nonfinite, self._threads)
        if self.completed:
            self._may_remove = False
            if before is not None:
                squares = [state[self._squares] for state in self.state.values()]
                tell_removed(type(self).__name__, before, weights, squares)

    def _plan(self, k, settings, completed, fresh):
        return self.param_groups[k].plan(settings, completed, fresh)

    def bind(self, grads):
        """Check gradients once and hold on to them, so that calls of :meth:`step` without arguments are fast.

        Parameters
        ----------
        grads : the form of params
            Buffers. Before every step, write new gradients into them (``g[...] = ...``). They cannot be resized while
            they are bound, and they are not pickled. None unbinds them.
        """
        self._tensors.bind(None if grads is None else self._flatten(grads))

    def _flatten(self, grads):
        if not self._grouped:
            return self._layouts[0].flatten(grads, "grads")
        own = zip(self._layouts, split_by_group(self._layouts, True, grads, "grads"))
        return [x for layout, part in own for x in layout.flatten(part, "grads")]

    # Values

    @property
    def params(self):
        """The weights as arrays, in the form in which they were given."""
        weights = [group["params"] for group in self.param_groups]
        return weights if self._grouped else weights[0]

    @property
    def state(self):
        """The state of each tensor by name: a dict of live arrays."""
        fields = [self._state_names(group._settings) for group in self.param_groups for _ in group.range]
        return {n: dict(zip(f, s)) for n, f, s in zip(self._tensors.names, fields, self._tensors.states)}

    def __setattr__(self, name, value):
        error = bad_attribute(name)
        if error is not None:
            raise error
        super().__setattr__(name, value)

    def __repr__(self):
        return f"{type(self).__name__}({len(self._tensors.names)} tensors, {self.completed} steps)"
