"""Layer 5, values that an optimizer of fastreg.torch reports: of its penalty, and of zeros.

Of a DTensor, they are those of the rank's own part.
"""

import numpy as np

from fastreg._boundary.functions import penalty_value
from fastreg.optimizers.group_axis import group_penalty_with_factors, zero_group_counts
from fastreg.optimizers.reports import Report, row, zero_count
from fastreg.optimizers.values import summed
from fastreg.torch.plans import as_list
from fastreg.torch.tensors import as_contiguous_array


class Values:
    """The methods of fastreg.torch's optimizers that report values."""

    def penalty(self, by=None):
        """The value of the penalty with the factors, at the present strengths.

        Parameters
        ----------
        by : {None, "group", "tensor"}
            The total as a float, a list of floats by group, or a dict by name of tensor.
        """
        return summed([value_of(*x) for x in measured(self)], by, *self._parts())

    def zeros(self, by=None):
        """The number of weights that are exactly zero.

        Parameters
        ----------
        by : {None, "group", "tensor"}
            The total as an int, a list of ints by group, or a dict by name of tensor.
        """
        return summed([zero_count(as_contiguous_array(p)) for _, p in named(self)], by, *self._parts())

    def report(self):
        """A small table of zeros, norms and penalties by tensor: see :meth:`fastreg.Optimizer.report`.

        Returns
        -------
        Report

        Examples
        --------
        >>> import torch
        >>> from fastreg.torch import SGD
        >>> layer = torch.nn.Linear(2, 1)
        >>> optimizer = SGD(layer.named_parameters(), lr=0.1, l1=100.0)
        >>> layer(torch.ones(2)).sum().backward()
        >>> optimizer.step()
        >>> optimizer.report()
        tensor  size  zeros   share  untouched  norm  penalty
        weight     2      2  100.0%          -     0        0
        bias       1      1  100.0%          -     0        0
        total      3      3  100.0%          -     0        0
        """
        rows = []
        for (name, p), (w, factor, plan, kind, axis) in zip(named(self), measured(self)):
            state = self.state.get(p, {})
            initial = plan.settings.get("initial_accumulator_value", 0)
            squares = state.get(self._rule._squares) if self._rule._squares else None
            if squares is not None:
                squares = as_contiguous_array(squares)
            elif self._rule._squares:  # there was no step yet
                squares = np.full_like(w, initial)
            counts = zero_group_counts(w, axis) if axis is not None or plan.l21[kind] != 0 else (None, None)
            rows.append((name, row(w, value_of(w, factor, plan, kind, axis), squares, initial, counts)))
        return Report(rows)

    def _parts(self):
        """The names of the parameters, and the number of those in each group."""
        return [name for name, _ in named(self)], [len(group["params"]) for group in self.param_groups]


def named(optimizer):
    """All parameters with their names, or numbers in the place of names."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    names = [name for group in optimizer.param_groups for name in group.get("param_names", ())]
    return list(zip(names or map(str, range(len(params))), params))


def measured(optimizer):
    """For each parameter: its weights, its factors, the plan of its group, and its index and axis there."""
    for k, group in enumerate(optimizer.param_groups):
        plan = optimizer._plan(k, group)
        axes = as_list(plan.axes, group["params"], "group_axis")
        for j, p in enumerate(group["params"]):
            factor = plan.factors[j] if plan.factors else None
            factor = None if factor is None else np.ascontiguousarray(factor.numpy())
            yield as_contiguous_array(p), factor, plan, plan.kinds[j] if plan.kinds else 0, axes[j]


def value_of(w, factor, plan, kind, axis):
    """The value of a parameter's penalty."""
    value = penalty_value(w, plan.penalties[kind], factor)
    if plan.decay is not None:
        value += penalty_value(w, plan.decay_penalties[kind], factor)
    return value + group_penalty_with_factors(w, factor, plan.l21[kind], axis)
