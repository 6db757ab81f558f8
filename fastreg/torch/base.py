"""Layer 5, what the optimizers of fastreg.torch share: settings, plans, new state, and the step.

A subclass says which class of fastreg.optimizers has its settings, directions and state (`_rule`), and translates what
torch names or defines differently.
"""

from math import inf
from typing import Any, ClassVar

import torch

from fastreg import reference
from fastreg._boundary.errors import parameter_name
from fastreg._boundary.torch_step import Stepper
from fastreg.optimizers.notices import tell_no_zeros
from fastreg.optimizers.settings import StepSettings
from fastreg.torch.first_step import after_first_step, before_first_step
from fastreg.torch.loading import Loading
from fastreg.torch.plans import (
    Checked,
    Plan,
    cheapest_mode,
    dtypes_of,
    has_float32,
    is_constant,
    penalty_parts,
    scaled_penalties,
)
from fastreg.torch.settings import check_as_torch, check_differentiable
from fastreg.torch.tensors import check_shards, check_usable, is_distributed, new_count, new_tensor, prepare
from fastreg.torch.values import Values


class Optimizer(StepSettings, Loading, Values, torch.optim.Optimizer):
    """What all optimizers of fastreg.torch have in common; use one of the subclasses.

    They are optimizers of torch: groups, schedulers, hooks, closures and checkpoints work as there, and `state` has
    torch's names. The arguments that torch has mean the same, except that the penalties are proximal by default.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups, as in torch: float32, float64 or bfloat16, on the CPU. A group
        can have its own value of each setting below, except `on_nonfinite` and `threads`.
    lr : float or tensor with one element
        Learning rate.
    weight_decay, l2 : float
        Strength of l2/2·‖w‖₂², two names for one setting. In the groups it is ``"weight_decay"``.
    maximize : bool, default False
        Step along the gradient instead of against it. The negative gradients take memory of their own.
    foreach, fused, capturable : optional
        Accepted and ignored: all parameters are updated in one call.
    differentiable : bool, default False
        Must be False.
    l1, l21, gamma, mode, theta
        As for :class:`fastreg.Optimizer`; numbers only, which a scheduler or a hook can change in the groups.
    bounds : pair, optional
        The interval in which each weight stays. A side is a number, or a list with a number or a tensor for each
        parameter of the group; each step reads the tensors anew, which takes longer than the step itself.
    group_axis : int, None or list, default None
        The axis of which each index is a group of l21, 0 for the units of ``Linear`` and the output channels of
        convolutions; None makes each parameter one group. A list has one entry for each parameter of the group.
    penalty_factor : float or list, optional
        Multiplies l1, l2 and l21: a number, or a list with a number or a tensor for each parameter of the group.
    on_nonfinite : {"propagate", "raise", "skip"}
        As for :class:`fastreg.Optimizer`.
    threads : int or None
        As for :class:`fastreg.Optimizer`; torch.set_num_threads has no influence on it.

    Attributes
    ----------
    skipped : int
        Steps left out by ``on_nonfinite="skip"``.

    Raises
    ------
    TypeError, ValueError
        At construction for settings that torch refuses there, in its words. At a step, before anything is written, for
        other settings without a meaning, and for parameters or gradients that are complex, half precision, sparse, not
        on the CPU, without memory or that overlap.

    Notes
    -----
    Autograd notices that a step changes the parameters; the version counters of the state stay as they are.
    The state of bfloat16 parameters is float32. `optimizer.load_state_dict` copies; it takes files of torch.optim's
    class of the same name, and torch.optim's class takes ours. Settings that such a file lacks keep their values. An
    infinite weight becomes NaN unless the mode is proximal and there is a penalty. A
    :class:`fastreg.NoExactZerosWarning` tells once that l1 in the mode of a group gives no exact zeros, at construction
    or at a step after the group has changed.

    Examples
    --------
    Only the first group is penalised, and its strength changes between steps:

    >>> import torch
    >>> from fastreg.torch import SGD
    >>> layer = torch.nn.Linear(2, 1)
    >>> _ = torch.nn.init.constant_(layer.weight, 1.0)
    >>> _ = torch.nn.init.zeros_(layer.bias)
    >>> optimizer = SGD([{"params": [layer.weight], "l1": 0.5}, {"params": [layer.bias]}], lr=0.1)
    >>> layer(torch.tensor([0.0, 1.0])).sum().backward()
    >>> optimizer.step()
    >>> layer.weight.detach(), layer.bias.detach()
    (tensor([[0.9500, 0.8500]]), tensor([-0.1000]))
    >>> optimizer.param_groups[0]["l1"] = 20.0
    >>> optimizer.step()
    >>> optimizer.zeros(), optimizer.penalty(by="group")
    (2, [0.0, 0.0])

    With the state, training goes on in a copy:

    >>> other = SGD([{"params": [layer.weight], "l1": 0.5}, {"params": [layer.bias]}], lr=0.1)
    >>> other.load_state_dict(optimizer.state_dict())
    >>> other.param_groups[0]["l1"]
    20.0
    >>> other.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.01})
    >>> [group["lr"] for group in other.param_groups]
    [0.1, 0.1, 0.01]
    """

    _rule: ClassVar[type]  # in fastreg.optimizers
    _counts = True  # whether the state has a count of steps
    _has_tensor_betas = False  # whether torch's class takes betas that are tensors
    _names: ClassVar[dict[str, str]] = {"weight_decay": "l2"}  # of settings that fastreg.optimizers names otherwise
    _settings: ClassVar[tuple[str, ...]]  # of the rule, under torch's names
    _extra: ClassVar[tuple[str, ...]] = ()  # others on which a plan depends
    _plan_keys: ClassVar[tuple[str, ...]]  # all of these
    _told_no_zeros = False
    _may_remove = False  # whether the next step may remove weights because they have no gradient

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if "_settings" in vars(cls):
            cls._plan_keys = (*cls._settings, "bounds", "group_axis", "penalty_factor", "maximize", *cls._extra)

    def __init__(self, params, defaults, l2, on_nonfinite, threads):
        check_as_torch(defaults, self._has_tensor_betas)
        self._renew()
        self._skipped, self.on_nonfinite, self.threads = 0, on_nonfinite, threads
        super().__init__(params, with_l2(defaults, l2))
        self._may_remove = self._rule._squares is not None
        for group in self.param_groups:
            self._tell_no_zeros(group, group)

    def _tell_no_zeros(self, settings, group):
        """Tell once whether a group has l1 in a mode without exact zeros; groups may change between steps."""
        if not self._told_no_zeros:
            groups = [(settings, group.get("bounds") is not None)]
            self._told_no_zeros = tell_no_zeros(type(self).__name__, self._rule._modes, groups)

    def _renew(self):
        self._stepper, self._checked = Stepper(torch), []

    @property
    def skipped(self):
        """Steps left out by ``on_nonfinite="skip"``."""
        return self._skipped

    def add_param_group(self, param_group):
        """Add a group, all or nothing: torch's own method, after a check of the settings."""
        if isinstance(param_group, dict):
            own = dict(param_group)
            own = with_l2(own, own.pop("l2", None))
            group = {key: own.get(key, default) for key, default in self.defaults.items()}
            check_differentiable(group)
            settings = Checked().update(self._given(group), False)
            self._check(settings)
            self._split(settings, group)
            param_group.pop("l2", None)
            param_group.update({key: x for key, x in own.items() if key != "params"})
        super().add_param_group(param_group)

    # -- What a subclass defines --------------------------------------------------------------------------------------

    def _given(self, group):
        """The settings of a group under the names of fastreg.optimizers, as they were given."""
        return {self._names.get(key, key): group[key] for key in self._settings}

    def _check(self, settings):
        """Raise ValueError for settings that exclude each other."""
        rule_of(self._rule)._check(settings)

    def _split(self, settings, group):
        """The rule of a step, its settings, and the strength of a decoupled weight decay before it."""
        return rule_of(self._rule), settings, 0.0

    def _at_step(self, settings, group):
        """The direction after a number of steps, a function, if it depends on it."""
        return

    def _new_tensors(self, p, j, group, plan, names):
        """New state of these names for a parameter, the j-th of the group."""
        return {name: new_tensor(p) for name in names}

    # -- Steps --------------------------------------------------------------------------------------------------------

    def step(self, closure=None):
        """Perform a single step of all parameters that have a gradient, in place, all or nothing.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model again and returns the loss.

        Returns
        -------
        The loss of `closure`, or None.

        Warns
        -----
        NoGradientWarning
            After the first step with a learning rate, if it removed weights because their gradient was 0: see
            :class:`fastreg.torch.Adam`. The step is complete even if the warning is an error.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            at_risk = before_first_step(self) if self._may_remove else None
            is_done = self._stepper.step(
                self.param_groups, self.state, self._plan_keys, self._plan, self._new_state, self._prepare,
                self._on_nonfinite, self._threads,
            )  # fmt: skip
            self._skipped += not is_done
            if at_risk is not None and is_done:
                after_first_step(self, at_risk)
        return loss

    def _checked_settings(self, k, group):
        """The settings of a group under the names of fastreg.optimizers, as checked numbers."""
        while len(self._checked) <= k:
            self._checked.append(Checked())
        settings = self._checked[k].update(self._given(group), has_float32(group))
        self._check(settings)
        return settings

    def _plan(self, k, group):
        """The Plan of a group."""
        settings = self._checked_settings(k, group)
        rule, settings, decay = self._split(settings, group)
        scales, kinds, factors, axes, *bounds = penalty_parts(group, settings, lambda j: parameter_name(group, k, j))
        self._tell_no_zeros(settings, group)
        later = rule._direction(settings, False)
        betas = settings["betas"] if "bias_correction1" in later._fields else (0.0, 0.0)
        return Plan(
            settings=settings,
            names=rule._state_names(settings),
            counts=self._counts,
            is_built_on_lr=self._rule._is_built_on_lr,
            first=rule._direction(settings, True),
            later=later,
            at_step=self._at_step(settings, group),
            betas=betas,
            mode=cheapest_mode(settings),
            theta=settings.get("theta", inf),
            penalties=scaled_penalties(settings, scales),
            l21=[settings["l21"] * scale for scale in scales],
            kinds=kinds,
            factors=factors,
            axes=axes,
            bounds=bounds[0] if settings["lr"] != 0 else None,  # without a rate, nothing moves
            arrays_of_bounds=bounds[1] if settings["lr"] != 0 else None,
            decay=reference.Plain(settings["lr"]) if decay else None,
            decay_penalties=scaled_penalties(settings | {"l1": 0.0, "l2": decay, "gamma": inf}, scales)
            if decay
            else [],
            maximize=bool(group["maximize"]),
            dtypes=dtypes_of(group["params"]),
            holds=all(is_constant(group[key]) for key in self._plan_keys),
        )

    def _new_state(self, p, j, group, plan, own):
        """The complete state of a parameter that has none, or only a part."""
        if plan.names or plan.counts:
            check_usable(p, f"a parameter of shape {tuple(p.shape)}")
        state = {"step": new_count()} if plan.counts else {}
        state |= {key: x for key, x in (own or {}).items() if x is not None}
        missing = [name for name in plan.names if name not in state]
        return state | self._new_tensors(p, j, group, plan, missing)

    def _prepare(self, name, j, p, g, state, plan):
        axis = plan.axes[j] if isinstance(plan.axes, list) else plan.axes
        if any(plan.l21):
            check_shards(name, p, axis)
        if self._on_nonfinite == "skip" and is_distributed(p):
            raise ValueError(
                f"on_nonfinite: expected 'propagate' or 'raise' for {name}, a DTensor, since each rank would decide for"
                " itself which steps to leave out, got 'skip'"
            )
        return prepare(name, p, g, state)

    # -- Copies -------------------------------------------------------------------------------------------------------

    def __getstate__(self):
        names = "_on_nonfinite", "_threads", "_skipped", "_told_no_zeros", "_may_remove"
        own = {key: getattr(self, key) for key in names}
        return super().__getstate__() | own


def with_l2(settings, l2):
    """Settings in which l2, another name for weight_decay, has got its own."""
    if l2 is None:
        return settings
    if settings.get("weight_decay"):
        raise ValueError(f"l2: expected None with a weight_decay, its other name, got {l2!r}")
    return settings | {"weight_decay": l2}


def rule_of(kind):
    """A class of fastreg.optimizers without tensors, for its methods that say what a step does."""
    if kind not in RULES:
        RULES[kind] = kind.__new__(kind)
    return RULES[kind]


RULES: dict[type, Any] = {}
