"""Layer 5, exact lazy updates: a step costs its non-zero gradients, although the penalty acts on all weights.

Elsewhere "lazy" means that weights without a gradient escape the penalty (TensorFlow's LazyAdam, PyTorch's SparseAdam).
Here `weights()` returns at any time what dense steps would have left. The classes define the settings and the initial
state. Their base in _boundary/lazy.pyx makes the steps, with the functions of catch_up.pxd. State is checked and loaded
as in optimizers/.
"""

from math import inf

import numpy as np

from fastreg import reference
from fastreg._boundary.checks import guard
from fastreg._boundary.errors import DTYPES
from fastreg._boundary.functions import penalty_value
from fastreg._boundary.lazy import Lazy
from fastreg.optimizers.bounds import lazy_bounds
from fastreg.optimizers.factors import check_products, split_factor
from fastreg.optimizers.ftrl import init_ftrl_state
from fastreg.optimizers.params import as_weights
from fastreg.optimizers.reports import Report, row, zero_count
from fastreg.optimizers.settings import checked_settings, evaluate_schedules, mode_name
from fastreg.optimizers.state import as_plain, checked_array, checked_count, own_entries

__all__ = ["LazyAdagrad", "LazyFTRL", "LazySGD"]

STATE_KEYS = {"stamps", "sum", "z", "n"}  # of all classes: an unexpected one means that the state is that of another

SCHEDULES = ("lr", "l1", "l2")  # these may be callables of the number of completed steps


class _Lazy(Lazy):
    """What the three classes share besides steps: construction, and state to and from files."""

    _direction: type  # a tuple of fastreg.reference
    _state_names: tuple[str, ...] = ()
    _squares: str | None = None  # the state that sums squared gradients
    _needs_positive_lr = False

    def __init__(self, w, lr, settings, l1, l2, bounds, penalty_factor):
        w = as_weights(w, "w")
        if w.dtype not in DTYPES:
            raise TypeError(f"w: expected dtype float32 or float64 for lazy updates, got {w.dtype}")
        _guards = guard([w])  # before callables run, which could resize the memory under w
        float32 = w.dtype == np.float32
        checked = checked_settings({"lr": lr, "l1": l1, "l2": l2} | settings, float32)
        numbers = evaluate_schedules(checked, 0, float32)
        interval = lazy_bounds(w, bounds)
        scale, factors = split_factor("penalty_factor", w, penalty_factor)
        check_products(numbers, scale, float32)
        penalty = reference.scaled(reference.ElasticNet(numbers["l1"], numbers["l2"]), scale)
        arrays = self._init_state(numbers, w, penalty, factors)
        strengths = {key: checked[key] for key in SCHEDULES}
        own = {key: checked[key] for key in settings}
        fields = own | {"lr": 0.0}  # no step was made yet
        direction = self._direction(**{name: fields[name] for name in self._direction._fields})
        self._set_up(w, direction, own.get("mode", "proximal"), arrays, (scale, factors), interval, strengths, own)

    def _init_state(self, settings, w, penalty, factor):
        """The initial state, as of :class:`fastreg.Optimizer`; LazySGD has none besides the stamps."""
        return []

    @property
    def state(self):
        """The state, by name: live arrays like w."""
        return dict(zip(self._state_names, self._arrays))

    @property
    def penalty_factor(self):
        """What multiplies l1 and l2: a number, or an array like w."""
        number, array = self._factor
        return number if array is None else array.copy()

    def zeros(self):
        """The number of up-to-date weights that are exactly zero."""
        return zero_count(self.weights())

    def penalty(self):
        """The value of the penalty with the factors, at the up-to-date weights and the strengths of the next step."""
        return self._penalty_of(self.weights())

    def report(self):
        """Zeros, norm and penalty of the up-to-date weights, as one row "w": see :meth:`fastreg.Optimizer.report`.

        Weights, strengths and state are read one after the other: not while another thread makes steps.
        """
        w, squares = self.weights(), self.state.get(self._squares)
        return Report(w=row(w, self._penalty_of(w), squares, self._own.get("initial_accumulator_value", 0)))

    def _penalty_of(self, w):
        settings = {key: getattr(self, key) for key in SCHEDULES}
        now = evaluate_schedules(settings, self.completed, w.dtype == np.float32)
        scale, factors = self._factor
        return penalty_value(w, reference.scaled(reference.ElasticNet(now["l1"], now["l2"]), scale), factors)

    def state_dict(self):
        """What further steps depend on, as arrays and numbers, except w, bounds, penalty_factor and callables.

        Save w, too, without a :meth:`flush`; resumed training then gives the same bits. ``np.savez(file, w=w,
        **lazy.state_dict())`` saves both.
        """
        completed, clock, last, stamps, arrays, strengths = self._record()
        saved = {"optimizer": type(self).__name__, "completed": completed, "clock": clock, "last": last}
        saved |= {"stamps": stamps} if stamps is not None else {}
        saved |= {key: x for key, x in strengths.items() if not callable(x)}
        return saved | self._own | dict(zip(self._state_names, arrays))

    def load_state_dict(self, saved):
        """Load what :meth:`state_dict` returned, all or nothing. w must have the values that it had then.

        Parameters
        ----------
        saved : mapping
            As :meth:`state_dict` returned it, or ``np.load`` of what ``np.savez`` stored. Other keys are ignored.

        Raises
        ------
        TypeError
            If it is no mapping.
        ValueError
            If it belongs to another class, other weights or other settings, or cannot be a state at all.
        """
        self._write(lambda: self._load(saved))

    def _load(self, saved):
        """A saved state, checked and copied, in the form of `_record`."""
        mine = self.state_dict()
        saved = own_entries(saved, mine, STATE_KEYS.__contains__)
        for key, x in self._own.items():
            if as_plain(saved[key]) != x:
                raise ValueError(f"saved[{key!r}]: expected {x!r}, as at construction, got {as_plain(saved[key])!r}")
        arrays = {key: checked_array(key, saved[key], x) for key, x in mine.items() if isinstance(x, np.ndarray)}
        completed = checked_count("completed", saved["completed"])
        product, inverse, total, compensation = clock = arrays["clock"]
        if not (0 < product <= 1 and inverse == 1 / product and 0 <= total < np.inf and np.isfinite(compensation)):
            raise ValueError(f"saved['clock']: expected a product from 0 to 1, its inverse and a total, got {clock}")
        last = arrays["last"]
        if not (np.isfinite(last) & (last >= 0)).all() or (self._needs_positive_lr and completed and last[0] == 0):
            raise ValueError(f"saved['last']: expected lr, l1 and l2 of the last step, got {last}")
        stamps = arrays.get("stamps")
        if stamps is not None:
            first, now = ((1, 0), (inverse, total)) if stamps.ndim == 2 else (0, completed)
            if not ((stamps >= first) & (stamps <= now)).all():
                raise ValueError("saved['stamps']: expected times from the start to that of the clock, got others")
        strengths = {key: as_plain(saved[key]) for key in SCHEDULES if key in mine}
        return completed, clock, last, stamps, [arrays[name] for name in self._state_names], strengths

    def __reduce__(self):
        seal = self._seal()
        settings = self._own | {key: getattr(self, key) for key in SCHEDULES} | {"bounds": self.bounds}
        return _rebuild, (type(self), self.w, settings, self.penalty_factor), (self.state_dict(), seal)

    def __setstate__(self, saved):
        self.load_state_dict(saved[0])

    def __repr__(self):
        return f"{type(self).__name__}({self.w.dtype} of shape {self.w.shape}, {self.completed} steps)"


def _rebuild(kind, w, settings, penalty_factor):
    """For pickle. With joblib, w may be a read-only memory map: then it is copied."""
    return kind(w if w.flags.writeable else w.copy(), **settings, penalty_factor=penalty_factor)


class LazySGD(_Lazy):
    """Gradient descent on sparse gradients with the penalty on all weights: the result of dense steps, in O(non-zeros).

    Parameters
    ----------
    w : ndarray or writable buffer, float32 or float64, shape (n,) or (rows, width)
        The weights, updated in place; 2-d in C order, for gradients of few rows (embeddings). Between steps, weights
        without a gradient are not up to date. Read :meth:`weights`, or call :meth:`flush`, which happens at the end of
        a ``with`` block, too.
    lr : float or callable
        Learning rate. A callable takes the number of completed steps and is called before each step. lr, l1 and l2 may
        be set between steps; the result remains exact.
    l1, l2 : float or callable, default 0.0
        Strengths of the penalty l1·‖w‖₁ + l2/2·‖w‖₂².
    mode : {"proximal", "truncated"}
        As of :func:`fastreg.elastic_net_update`, with theta infinite; "truncated" needs lr·l2 < 1.
    bounds : pair (low, high) of numbers, default (-inf, inf)
        Each step ends by moving the weights into this interval, which must contain 0: a weight without a gradient moves
        towards zero and so stays inside. The first step brings all weights up to date if some of them lie outside.
    penalty_factor : float or array like w, optional
        Multiplies l1 and l2. An array may contain only 0 and 1 if l2 is not zero: other factors have no closed form.

    Attributes
    ----------
    completed : int
        Completed steps.
    has_pending_penalty : bool
        Whether some weight in w is not up to date.

    Raises
    ------
    TypeError, ValueError
        As the update functions, before anything is written.

    Notes
    -----
    A weight with a gradient is first brought up to date, in one operation for all steps since its last one. What these
    steps have in common for all weights is kept in one clock, in float64 with a compensated sum. Each row stores the
    reading of the clock at its last update, in 16 bytes. The clock is rebased, with a pass over all weights, before it
    leaves the range of float64, about every 345/(lr·l2) steps, and before its total becomes so large that new terms are
    lost to rounding: about every 10⁶ steps, or after a step with a very large lr·l1.

    References
    ----------
    Z. Lipton, C. Elkan, "Efficient elastic net regularization for sparse linear models" (2015), arXiv 1505.06449.
    J. Duchi, Y. Singer, "Efficient online and batch learning using forward backward splitting", JMLR 10 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.ones(4)
    >>> lazy = fastreg.LazySGD(w, lr=0.1, l1=0.5)
    >>> lazy.step(np.array([2]), np.array([1.0]))
    >>> w
    array([1.  , 1.  , 0.85, 1.  ])
    >>> lazy.weights()
    array([0.95, 0.95, 0.85, 0.95])
    >>> lazy.has_pending_penalty
    True
    """

    _direction = reference.Plain

    def __init__(self, w, lr, *, l1=0.0, l2=0.0, mode="proximal", bounds=(-inf, inf), penalty_factor=None):
        known = reference.LAZY_MODES_OF["Plain"]
        if mode_name("mode", mode) not in known:
            names = " or ".join(map(repr, known))
            raise ValueError(f"mode: expected {names}, the others have no closed form, got {mode!r}")
        super().__init__(w, lr, {"mode": mode}, l1, l2, bounds, penalty_factor)

    @property
    def mode(self):
        """Where the penalty enters."""
        return self._own["mode"]


class LazyAdagrad(_Lazy):
    """Adagrad on sparse gradients with the proximal penalty on all weights: the result of dense steps, in O(non-zeros).

    Parameters
    ----------
    w, lr, l1, l2
        As of :class:`LazySGD`. But when lr, l1 or l2 changes, all weights are brought up to date first, since each has
        its own step size. This is a pass over all weights, at every step if a callable changes at every step.
    initial_accumulator_value : float, default 0.1
        Initial value of the sum of squares. It must be positive: with 0, the penalty of a weight without a gradient
        would be lr/eps·l1 at every step.
    eps : float, default 1e-10
        Added to the root of the sum of squares.
    bounds
        As of :class:`LazySGD`.
    penalty_factor : float or array like w, optional
        Multiplies l1 and l2.

    Raises
    ------
    TypeError, ValueError
        As the update functions, before anything is written.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods", JMLR 12 (2011).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.ones(4)
    >>> with fastreg.LazyAdagrad(w, lr=0.1, initial_accumulator_value=1.0, l1=0.5) as lazy:
    ...     lazy.step(np.array([2]), np.array([1.0]))
    >>> w.round(3)
    array([0.95 , 0.95 , 0.894, 0.95 ])
    """

    _direction = reference.Adagrad
    _state_names = ("sum",)
    _squares = "sum"

    def __init__(
        self, w, lr, *, initial_accumulator_value=0.1, eps=1e-10,
        l1=0.0, l2=0.0, bounds=(-inf, inf), penalty_factor=None,
    ):  # fmt: skip
        settings = {"initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(w, lr, settings, l1, l2, bounds, penalty_factor)

    def _init_state(self, settings, w, penalty, factor):
        if settings["initial_accumulator_value"] == 0:
            raise ValueError("initial_accumulator_value: expected a positive number, got 0.0")
        return [np.full_like(w, settings["initial_accumulator_value"], subok=False)]


class LazyFTRL(_Lazy):
    """FTRL-Proximal on sparse gradients. Its closed form needs no steps for weights without a gradient.

    Parameters
    ----------
    w, lr, l1, l2
        As of :class:`LazySGD`. lr is McMahan's alpha; l1 and l2 are totals over the whole stream: see
        :class:`fastreg.FTRL`. When they change, w is not up to date until :meth:`flush`.
    beta, initial_accumulator_value, warm_start
        As of :class:`fastreg.FTRL`. The weights depend on the state alone. With ``warm_start=False``, the first step
        therefore discards the initial weights, even a NaN.
    bounds
        As of :class:`LazySGD`. The closed form's weights are clipped.
    penalty_factor : float or array like w, optional
        Multiplies l1 and l2.

    Raises
    ------
    TypeError, ValueError
        As the update functions, before anything is written.

    References
    ----------
    H. B. McMahan et al., "Ad click prediction: a view from the trenches", KDD (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.zeros(4)
    >>> lazy = fastreg.LazyFTRL(w, lr=0.5, l1=1.0)
    >>> lazy.step(np.array([0, 2]), np.array([3.0, 0.5]))
    >>> w
    array([-0.25,  0.  ,  0.  ,  0.  ])
    """

    _direction = reference.FTRL
    _state_names = ("z", "n")
    _squares = "n"
    _needs_positive_lr = True

    def __init__(
        self, w, lr, *, beta=1.0, initial_accumulator_value=0.0, warm_start=True,
        l1=0.0, l2=0.0, bounds=(-inf, inf), penalty_factor=None,
    ):  # fmt: skip
        settings = {"beta": beta, "initial_accumulator_value": initial_accumulator_value, "warm_start": warm_start}
        super().__init__(w, lr, settings, l1, l2, bounds, penalty_factor)

    def _init_state(self, settings, w, penalty, factor):
        return init_ftrl_state(settings, w, penalty, factor)
