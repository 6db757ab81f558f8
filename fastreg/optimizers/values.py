"""Layer 5, values that an optimizer reports: of its penalty, and of zeros; by tensor, by group, or in total.

The kernels add the values up, factors included, so that nothing here knows what a penalty is.
"""

from itertools import islice

from fastreg.optimizers.group_axis import zero_group_counts
from fastreg.optimizers.reports import Report, row, zero_count


class Values:
    """The methods of :class:`fastreg.Optimizer` that report values."""

    def penalty(self, by=None):
        """The value of the penalty with the factors, at the strengths of the next step.

        Parameters
        ----------
        by : {None, "group", "tensor"}
            The total as a float, a list of floats by group, or a dict by name of tensor.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> optimizer = fastreg.SGD({"W": np.array([1.0, -2.0]), "b": np.ones(1)}, lr=0.1, l1=0.5)
        >>> optimizer.penalty(), optimizer.penalty(by="tensor")
        (2.0, {'W': 1.5, 'b': 0.5})
        """
        return summed(penalties(self), by, *self._parts())

    def zeros(self, by=None):
        """The number of weights that are exactly zero.

        Parameters
        ----------
        by : {None, "group", "tensor"}
            The total as an int, a list of ints by group, or a dict by name of tensor.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> optimizer = fastreg.SGD({"W": np.array([0.0, -2.0]), "b": np.zeros(1)}, lr=0.1, l1=0.5)
        >>> optimizer.zeros(), optimizer.zeros(by="tensor")
        (2, {'W': 1, 'b': 1})
        """
        return summed(zero_counts(self), by, *self._parts())

    def report(self):
        """What became of each tensor: a small table of zeros, norms and penalties.

        Returns
        -------
        Report
            A dict from the name of each tensor to a named tuple, which prints as a table, and has a `total`:

            - `size`, `zeros`, `share`: the number of weights, of exact zeros among them, and their ratio;
            - `untouched`: how many weights never had a gradient, or only ones too small to change the sum or mean of
              their squares, which has its initial value. None without such a state, as in SGD. In an adaptive metric
              these weights go to zero at the first step, without having been selected;
            - `norm`: ‖w‖₂;
            - `penalty`: the value of the penalty, as :meth:`penalty` gives it;
            - `groups`, `zero_groups`: the number of groups, and of those that are zero. None where there is neither a
              group_axis nor l21.

            All numbers are of the same moment.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> optimizer = fastreg.Adagrad({"W": np.ones((2, 3)), "b": np.ones(2)}, lr=0.1, l1=0.5)
        >>> optimizer.step({"W": np.array([[0.0, 0.0, 1.0]] * 2), "b": np.ones(2)})
        >>> optimizer.report()
        tensor  size  zeros  share  untouched   norm  penalty
        W          6      4  66.7%          4  1.202     0.85
        b          2      0   0.0%          0  1.202     0.85
        total      8      4  50.0%          4    1.7      1.7
        """
        return report(self)

    def _parts(self):
        """The names of the tensors, and the number of those in each group."""
        return self._tensors.names, [len(group.range) for group in self.param_groups]


def penalties(optimizer):
    """The value of each tensor's penalty."""
    return _by_tensor(optimizer, lambda i, penalty, w, state: optimizer._tensors.penalty(i, *penalty, w))


def _by_tensor(optimizer, measure):
    """What `measure` returns for each tensor, called with its index, penalty, weights and state of the same moment.

    The penalty is a tuple of the reference and the strength of the group lasso.

    Callables must not run while other threads wait for the lock. Where there is one, the arrays are copied instead.
    """
    tensors = optimizer._tensors
    while True:
        completed, settings, copies = tensors.read(lambda: _snapshot(tensors))
        tuples = []
        for group, own in zip(optimizer.param_groups, settings):
            now = group.numbers(own, completed)
            scaled = list(zip(group.penalties(now), group.l21(now)))
            tuples += [scaled[kind] for kind in group.kinds]
        numbers = range(len(tuples))
        if copies is not None:
            return list(map(measure, numbers, tuples, *copies))

        def read(settings=settings, tuples=tuples, numbers=numbers):
            if tensors.settings is not settings:  # another thread has changed them
                return None
            return list(map(measure, numbers, tuples, tensors.weights, tensors.states))

        values = tensors.read(read)
        if values is not None:
            return values


def _snapshot(tensors):
    has_callables = any(callable(x) for settings in tensors.settings for x in settings.values())
    copies = None
    if has_callables:
        weights = [w.copy(order="K") for w in tensors.weights]
        copies = weights, [[array.copy(order="K") for array in state] for state in tensors.states]
    return tensors.completed, tensors.settings, copies


def zero_counts(optimizer):
    """The number of zeros of each tensor."""
    tensors = optimizer._tensors
    return tensors.read(lambda: list(map(zero_count, tensors.weights)))


def summed(values, by, names, sizes):
    """Values, one for each tensor, in the form that the argument `by` of a public method asks for.

    `names` are those of the tensors, and `sizes` the numbers of tensors in the groups.
    """
    if by is None:
        return sum(values)
    if by == "group":
        values = iter(values)
        return [sum(islice(values, size)) for size in sizes]
    if by == "tensor":
        return dict(zip(names, values))
    raise ValueError(f"by: expected None, 'group' or 'tensor', got {by!r}")


def report(optimizer):
    """The report of an optimizer, all of it of the same moment."""
    tensors, owners = optimizer._tensors, [group for group in optimizer.param_groups for _ in group.range]

    def measure(i, penalty, w, state):
        settings = owners[i]._settings
        names = optimizer._state_names(settings)
        squares = state[names.index(optimizer._squares)] if optimizer._squares in names else None
        has_groups = tensors.axes[i] is not None or penalty[1] != 0
        counts = zero_group_counts(w, tensors.axes[i]) if has_groups else (None, None)
        initial = settings.get("initial_accumulator_value", 0)
        return row(w, tensors.penalty(i, *penalty, w), squares, initial, counts)

    return Report(zip(tensors.names, _by_tensor(optimizer, measure)))
