"""Layer 5, exact lazy updates: a sparse gradient costs its non-zeros, and the penalty on all other weights is owed.

Elsewhere "lazy" means that weights without a gradient escape the penalty (TensorFlow's LazyAdam, PyTorch's SparseAdam).
Here nothing is skipped: `weights()` are at any time those that dense steps would have left. The classes say what state
there is and which settings; steps are made by their base, in _boundary/lazy.pyx, by the rule `catch_up` of rules.pxd.
"""

import numpy as np

from fastreg import reference
from fastreg.optimizers.base import as_weights
from fastreg._boundary.checks import guard
from fastreg._boundary.errors import DTYPES
from fastreg.optimizers.params import split_factor
from fastreg.optimizers.settings import CHECKS, SCHEDULES, finite, representable
from fastreg._boundary.lazy import Lazy
from fastreg.optimizers.state import checked_array, checked_count, plain
from fastreg.optimizers import ftrl_start

__all__ = ["LazyAdagrad", "LazyFTRL", "LazySGD"]

ARRAYS = {"stamps", "sum", "z", "n"}  # of the state of some class


class _Lazy(Lazy):
    """What the three have in common beside steps: construction, and state to and from files."""

    _direction: type  # the reference's tuple
    _fields: tuple[str, ...] = ()  # of the state
    _needs_lr = False  # above 0

    def __init__(self, w, lr, own, l1, l2, penalty_factor):
        w = as_weights(w, "w")
        if w.dtype not in DTYPES:
            raise TypeError(f"w: expected dtype float32 or float64 for lazy updates, got {w.dtype}")
        _guards = guard([w])  # before callables are asked: they could resize what w is a view of
        strengths = {"lr": lr, "l1": l1, "l2": l2}
        checked = {key: CHECKS[key](key, x) for key, x in (strengths | own).items()}
        numbers = [finite(key, x(0)) if callable(x) else x for key, x in checked.items() if key in strengths]
        own = {key: checked[key] for key in own}
        for key, x in own.items():
            if isinstance(x, float) and w.dtype == np.float32:
                representable(key, x)
        number, array = split_factor("penalty_factor", w, penalty_factor)
        penalty = reference.scaled(reference.ElasticNet(*numbers[1:]), number)
        arrays = self._start(own, numbers[0], w, penalty, array)
        direction = self._direction(0.0, *(own[key] for key in ("eps", "beta") if key in own))
        mode = own.get("mode", "proximal")
        self._set_up(w, direction, mode, arrays, (number, array), strengths, own)

    def _start(self, own, lr, w, p, f):
        """The first state."""
        return []

    @property
    def state(self):
        """The state, by name: live arrays like w."""
        return dict(zip(self._fields, self._arrays))

    @property
    def penalty_factor(self):
        """What multiplies l1 and l2: a number, or an array like w."""
        number, array = self._factor
        return number if array is None else array.copy()

    def state_dict(self):
        """All that further steps depend on but w, penalty_factor and callables, as arrays and numbers.

        Store w beside it as it is, stale: resumed training then gives the same bits. ``np.savez(file, w=w,
        **lazy.state_dict())`` does both.
        """
        completed, clock, last, stamps, arrays, strengths = self._record()
        saved = {"optimizer": type(self).__name__, "completed": completed, "clock": clock, "last": last}
        saved |= {"stamps": stamps} if stamps is not None else {}
        saved |= {key: x for key, x in strengths.items() if not callable(x)}
        return saved | self._own | dict(zip(self._fields, arrays))

    def load_state_dict(self, saved):
        """Take over what :meth:`state_dict` gave, whole or not at all; w must be what it was then.

        Parameters
        ----------
        saved : mapping
            As :meth:`state_dict` returned it, or ``np.load`` of what ``np.savez`` stored. Further keys are ignored.

        Raises
        ------
        TypeError
            No mapping.
        ValueError
            Where it belongs to another class, other weights or other settings, or can be no state at all.
        """
        self._write(lambda: self._checked(saved))

    def _checked(self, saved):
        """A state that was saved, checked and copied: what `_record` would return."""
        if not hasattr(saved, "keys"):
            raise TypeError(f"saved: expected a mapping, such as numpy.load of a file, got {type(saved).__name__}")
        mine, keys = self.state_dict(), set(saved.keys())
        kind = str(saved["optimizer"]) if "optimizer" in keys else None
        if kind != mine["optimizer"]:
            raise ValueError(f"saved: expected the state of {mine['optimizer']}, got that of {kind}")
        missing, unknown = sorted(mine.keys() - keys), sorted((keys & ARRAYS) - mine.keys())
        if missing or unknown:
            raise ValueError(f"saved: expected the keys of state_dict(), lacks {missing}, adds {unknown}")
        saved = {key: saved[key] for key in mine}  # what else there is belongs to somebody else
        for key, x in self._own.items():
            if plain(saved[key]) != x:
                raise ValueError(f"saved[{key!r}]: expected {x!r}, as at construction, got {plain(saved[key])!r}")
        arrays = {key: checked_array(key, saved[key], x) for key, x in mine.items() if isinstance(x, np.ndarray)}
        completed = checked_count("completed", saved["completed"])
        product, inverse, total, lost = clock = arrays["clock"]
        if not (0 < product <= 1 and inverse == 1 / product and 0 <= total < np.inf and np.isfinite(lost)):
            raise ValueError(f"saved['clock']: expected a product from 0 to 1, its inverse and a total, got {clock}")
        last = arrays["last"]
        if not (np.isfinite(last) & (last >= 0)).all() or (self._needs_lr and completed and last[0] == 0):
            raise ValueError(f"saved['last']: expected the strengths of the last step, got {last}")
        stamps = arrays.get("stamps")
        if stamps is not None:
            first, now = ((1, 0), (inverse, total)) if stamps.ndim == 2 else (0, completed)
            if not ((stamps >= first) & (stamps <= now)).all():
                raise ValueError("saved['stamps']: expected times from the start to the clock's, got others")
        strengths = {key: plain(saved[key]) for key in SCHEDULES if key in mine}
        return completed, clock, last, stamps, [arrays[name] for name in self._fields], strengths

    def __reduce__(self):
        seal = self._seal()
        settings = self._own | {key: getattr(self, key) for key in SCHEDULES}
        return _rebuild, (type(self), self.w, settings, self.penalty_factor), (self.state_dict(), seal)

    def __setstate__(self, saved):
        self.load_state_dict(saved[0])

    def __repr__(self):
        return f"{type(self).__name__}({self.w.dtype} of shape {self.w.shape}, {self.completed} steps)"


def _rebuild(kind, w, settings, penalty_factor):
    """For pickle, which may have mapped w into memory, read-only (joblib)."""
    return kind(w if w.flags.writeable else w.copy(), **settings, penalty_factor=penalty_factor)


class LazySGD(_Lazy):
    """Gradient descent on sparse gradients, with the penalty on all weights: the same as dense steps, in O(non-zeros).

    Parameters
    ----------
    w : ndarray or writable buffer, float32 or float64, shape (n,) or (rows, width)
        The weights, updated in place; 2-d in C order, for gradients of few rows (embeddings). Stale between steps
        where no gradient has been: read :meth:`weights`, or call :meth:`flush`, which leaving a ``with`` block does.
    lr : float or callable
        Learning rate. A callable is given the number of completed steps and asked before each. May be set between
        steps, as may l1 and l2; the result stays exact.
    l1, l2 : float or callable, default 0.0
        Strengths of the penalty l1·‖w‖₁ + l2/2·‖w‖₂².
    mode : {"proximal", "truncated"}
        As of :func:`fastreg.elastic_net_update`, with theta infinite; "truncated" needs lr·l2 < 1.
    penalty_factor : float or array like w, optional
        Multiplies l1 and l2. An array must hold 0 and 1 only where l2 is not zero: there is no closed form for others.

    Attributes
    ----------
    completed : int
        Completed steps.
    owed : bool
        Whether some weight of w is not what it should be by now.

    Raises
    ------
    TypeError, ValueError
        As the update functions, before anything is written.

    Notes
    -----
    A weight that is touched pays at once for the steps in between. What all weights owe alike is kept in one clock, in
    float64 and compensated; each row remembers where the clock stood, in 16 bytes. The clock is wound back, a pass
    over all weights, before it runs out of range, once in some 345/(lr·l2) steps, and before debts of the present steps
    drown in its total: once in some 10⁶ steps, or after a step with a very large lr·l1.

    References
    ----------
    Z. Lipton, C. Elkan, "Efficient elastic net regularization for sparse linear models" (2015), arXiv 1505.06449.
    J. Duchi, Y. Singer, "Efficient online and batch learning using forward backward splitting", JMLR 10 (2009).
    """

    _direction = reference.Plain

    def __init__(self, w, lr, *, l1=0.0, l2=0.0, mode="proximal", penalty_factor=None):
        if CHECKS["mode"]("mode", mode) not in ("proximal", "truncated"):
            raise ValueError(f"mode: expected 'proximal' or 'truncated', the others have no closed form, got {mode!r}")
        super().__init__(w, lr, {"mode": mode}, l1, l2, penalty_factor)

    @property
    def mode(self):
        """Where the penalty enters."""
        return self._own["mode"]


class LazyAdagrad(_Lazy):
    """Adagrad on sparse gradients, with the proximal penalty on all weights: as dense steps, in O(non-zeros).

    Parameters
    ----------
    w, lr, l1, l2
        As of :class:`LazySGD`; but when one of lr, l1 and l2 changes, all weights are brought up to date first, since
        each has its own step size: a pass over all of them, at every step if a callable changes at every step.
    initial_accumulator_value : float, default 0.1
        Where the sum of squares starts. Positive: from 0, a weight without a gradient would owe lr/eps·l1 a step.
    eps : float, default 1e-10
        Added to the root.
    penalty_factor : float or array like w, optional
        Multiplies l1 and l2.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods", JMLR 12 (2011).
    """

    _direction = reference.Adagrad
    _fields = ("sum",)

    def __init__(self, w, lr, *, initial_accumulator_value=0.1, eps=1e-10, l1=0.0, l2=0.0, penalty_factor=None):
        own = {"initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(w, lr, own, l1, l2, penalty_factor)

    def _start(self, own, lr, w, p, f):
        first = np.full_like(w, own["initial_accumulator_value"], subok=False)
        if not (first > 0).all():
            raise ValueError("initial_accumulator_value: expected a positive number, got 0.0")
        return [first]


class LazyFTRL(_Lazy):
    """FTRL-Proximal on sparse gradients: its closed form owes nothing.

    Parameters
    ----------
    w, lr, l1, l2
        As of :class:`LazySGD`; lr is McMahan's alpha, l1 and l2 are totals over the whole stream: see
        :class:`fastreg.FTRL`. Where they change, w is stale until :meth:`flush`.
    beta, initial_accumulator_value, warm_start
        As of :class:`fastreg.FTRL`. The weights follow from the state alone, so that with ``warm_start=False`` those of
        `w` are forgotten at the first step, a NaN too.
    penalty_factor : float or array like w, optional
        Multiplies l1 and l2.

    References
    ----------
    H. B. McMahan et al., "Ad click prediction: a view from the trenches", KDD (2013).
    """

    _direction = reference.FTRL
    _fields = ("z", "n")
    _needs_lr = True

    def __init__(
        self, w, lr, *, beta=1.0, initial_accumulator_value=0.0, warm_start=True, l1=0.0, l2=0.0, penalty_factor=None
    ):
        own = {"beta": beta, "initial_accumulator_value": initial_accumulator_value, "warm_start": warm_start}
        super().__init__(w, lr, own, l1, l2, penalty_factor)

    def _start(self, own, lr, w, p, f):
        if own["beta"] == 0 and own["initial_accumulator_value"] == 0:
            raise ValueError("beta: expected a positive number where initial_accumulator_value is 0, got 0.0")
        if lr == 0:
            raise ValueError("lr: expected a positive number, got 0.0")
        return ftrl_start(reference.FTRL(lr, own["beta"]), own, w, p, f)
