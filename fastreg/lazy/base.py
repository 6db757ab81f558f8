"""Layer 5, what the lazy optimizers share besides steps: construction, values, and state to and from files.

State is checked and loaded as in optimizers/.
"""

from collections.abc import Mapping
from math import inf

import numpy as np

from fastreg import reference
from fastreg._boundary.checks import guard
from fastreg._boundary.errors import DTYPES, bad_gamma
from fastreg._boundary.functions import penalty_value
from fastreg._boundary.keywords import answering
from fastreg._boundary.lazy import Lazy
from fastreg.optimizers.bounds import lazy_bounds
from fastreg.optimizers.factors import check_products, largest_factor, split_factor
from fastreg.optimizers.group_axis import group_penalty_with_factors, zero_group_counts
from fastreg.optimizers.params import as_weights
from fastreg.optimizers.reports import Report, row, zero_count
from fastreg.optimizers.settings import SCHEDULES, checked_settings, evaluate_schedules, number
from fastreg.optimizers.state import LATER_SETTINGS, as_plain, checked_array, checked_count, is_rate, own_entries

STATE_KEYS = {"stamps", "sum", "z", "n", "built_on"}  # of all classes: an unexpected one means the state is of another


class LazyOptimizer(Lazy):
    """The base of the lazy optimizers; a subclass says what its settings and its state are."""

    _direction: type  # a tuple of fastreg.reference
    _state_names: tuple[str, ...] = ()
    _squares: str | None = None  # the state that sums squared gradients

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = answering(cls.__init__)

    def __init__(self, w, settings, bounds, penalty_factor):
        w = as_weights(w, "w")
        if w.dtype not in DTYPES:
            raise TypeError(f"w: expected dtype float32 or float64 for lazy updates, got {w.dtype}")
        _guards = guard([w])  # before callables run, which could resize the memory under w
        float32 = w.dtype == np.float32
        checked = checked_settings(settings, float32)
        numbers = evaluate_schedules(checked, 0, float32)
        interval = lazy_bounds(w, bounds)
        if checked["gamma"] < inf:
            self._check_gamma(checked["gamma"], checked.get("mode"), interval)
        scale, factors = split_factor("penalty_factor", w, penalty_factor)
        check_products(numbers, largest_factor(scale, factors), float32)
        numbers = without_groups_of_one(numbers, w)
        groups = None if numbers["l21"] == 0 else (numbers["l21"] * scale, 0)
        arrays = self._init_state(numbers, w, self._penalty(numbers, scale), groups, factors)
        strengths = {key: checked[key] for key in SCHEDULES}
        own = {key: x for key, x in checked.items() if key not in SCHEDULES}
        fields = own | {"lr": self._built_on(numbers)}
        direction = self._direction(**{name: fields[name] for name in self._direction._fields})
        self._set_up(w, direction, own.get("mode", "proximal"), arrays, (scale, factors), interval, strengths, own)

    def _check_gamma(self, gamma, mode, bounds):
        """Raise ValueError where MCP has no meaning, or no closed form for missed steps."""
        if mode == "truncated":
            raise bad_gamma(gamma, "mode='truncated'")
        if bounds != (-inf, inf):
            raise bad_gamma(gamma, "bounds", "to which MCP's minimiser cannot be clipped")

    def _penalty(self, settings, scale):
        """The penalty of each weight, as a tuple of the reference."""
        return reference.scaled(reference.penalty_with(settings["l1"], settings["l2"], settings["gamma"]), scale)

    def _init_state(self, settings, w, penalty, groups, factor):
        """The initial state, as of :class:`fastreg.Optimizer`; LazySGD has none besides the stamps."""
        return []

    def _built_on(self, settings):
        """The lr that the initial state is built on; 0 for none."""
        return 0.0

    @property
    def state(self):
        """The state, by name: live arrays like w."""
        return dict(zip(self._state_names, self._arrays))

    @property
    def penalty_factor(self):
        """What multiplies the strengths: a number, or an array like w."""
        number, array = self._factor
        return number if array is None else array.copy()

    def to_csr(self):
        """The up-to-date weights as a SciPy CSR matrix, without a dense copy; w and the state do not change.

        Returns
        -------
        scipy.sparse.csr_matrix
            Of the shape of w; of shape (1, n) for w of shape (n,).

        Raises
        ------
        ImportError
            If SciPy is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> lazy = fastreg.LazySGD(np.array([0.0, 1.0, 0.0]), lr=0.1)
        >>> lazy.to_csr().toarray(), lazy.to_csr().nnz
        (array([[0., 1., 0.]]), 1)
        """
        try:
            from scipy.sparse import csr_matrix
        except ImportError as error:
            raise ImportError(f"to_csr: expected SciPy, pip install scipy; {error}") from error
        positions, values = self._nonzero()
        shape = self.w.shape if self.w.ndim == 2 else (1, len(self.w))
        rows, columns = np.divmod(positions, max(shape[1], 1))
        starts = np.searchsorted(rows, np.arange(shape[0] + 1))
        result = csr_matrix((values, columns, starts), shape)
        result.has_canonical_format = True
        return result

    def zeros(self):
        """The number of up-to-date weights that are exactly zero.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> lazy = fastreg.LazySGD(np.array([0.02, 1.0, 0.0]), lr=0.1, l1=0.5)
        >>> lazy.step(np.array([1]), np.array([1.0]))  # all weights of 0.05 or less are zero now
        >>> lazy.zeros()
        2
        """
        return zero_count(self.weights())

    def penalty(self):
        """The value of the penalty with the factors, at the up-to-date weights and the strengths of the next step.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> fastreg.LazySGD(np.array([1.0, -2.0]), lr=0.1, l1=0.5).penalty()
        1.5
        """
        return self._penalty_of(self.weights())

    def report(self):
        """Zeros, norm and penalty of the up-to-date weights, as one row "w": see :meth:`fastreg.Optimizer.report`.

        Weights, strengths and state are read one after the other: not while another thread makes steps.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> lazy = fastreg.LazySGD(np.array([3.0, -4.0, 0.0]), lr=0.1, l1=0.5)
        >>> lazy.report()
        tensor  size  zeros  share  untouched  norm  penalty
        w          3      1  33.3%          -     5      3.5
        total      3      1  33.3%          -     5      3.5
        """
        w, squares = self.weights(), self.state.get(self._squares)
        initial = self._own.get("initial_accumulator_value", 0)
        counts = (None, None) if self.l21 == 0 else zero_group_counts(w, 0)
        return Report(w=row(w, self._penalty_of(w), squares, initial, counts))

    def _penalty_of(self, w):
        settings = {key: getattr(self, key) for key in SCHEDULES}
        now = without_groups_of_one(evaluate_schedules(settings, self.completed, w.dtype == np.float32), w)
        scale, factors = self._factor
        value = penalty_value(w, self._penalty(self._own | now, scale), factors)
        return value + group_penalty_with_factors(w, factors, now["l21"] * scale, 0)

    def state_dict(self):
        """What further steps depend on, as arrays and numbers, except w, bounds, penalty_factor and callables.

        Save w, too, without a :meth:`flush`; resumed training then gives the same bits. ``np.savez(file, w=w,
        **lazy.state_dict())`` saves both.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> lazy = fastreg.LazyAdagrad(np.ones(2), lr=0.1, l1=0.5)
        >>> lazy.step(np.array([0]), np.array([1.0]))
        >>> saved = lazy.state_dict()
        >>> saved["completed"], saved["sum"]
        (1, array([1.1, 0.1]))
        """
        completed, clock, last, built_on, stamps, arrays, strengths = self._record()
        saved = {"optimizer": type(self).__name__, "completed": completed, "clock": clock, "last": last}
        saved |= {"stamps": stamps} if stamps is not None else {"built_on": built_on}
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

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> first = fastreg.LazySGD(np.ones(3), lr=0.1, l1=0.5)
        >>> first.step(np.array([0]), np.array([1.0]))
        >>> second = fastreg.LazySGD(first.w.copy(), lr=0.1, l1=0.5)
        >>> second.load_state_dict(first.state_dict())
        >>> second.weights()
        array([0.85, 0.95, 0.95])
        """
        self._write(lambda: self._load(saved))

    def _load(self, saved):
        """A saved state, checked and copied, in the form of `_record`."""
        mine = self.state_dict()
        if isinstance(saved, Mapping) and np.shape(saved.get("last", 0)) == (3,):  # 0.1.0 had fewer settings
            absent = {key: x for key, x in LATER_SETTINGS.items() if key in mine and key not in saved}
            saved = {**saved, "last": np.append(saved["last"], 0.0)} | absent
        if "built_on" in mine and isinstance(saved, Mapping) and "built_on" not in saved:  # earlier commits
            lr = as_plain(saved.get("lr", mine["built_on"])) if self._own["warm_start"] else 0.0
            saved = {**saved, "built_on": lr}
        saved = own_entries(saved, mine, STATE_KEYS.__contains__)
        for key, x in self._own.items():
            if as_plain(saved[key]) != x:
                raise ValueError(f"saved[{key!r}]: expected {x!r}, as at construction, got {as_plain(saved[key])!r}")
        arrays = {key: checked_array(key, saved[key], x) for key, x in mine.items() if isinstance(x, np.ndarray)}
        completed = checked_count("completed", saved["completed"])
        product, inverse, total, compensation = clock = arrays["clock"]
        least, most = (0.0, 1.0) if self._own["gamma"] == inf else (1.0, np.finfo(float).max)  # of the product
        is_valid = least <= product <= most and product > 0 and inverse == 1 / product and 0 <= total < inf
        if not (is_valid and np.isfinite(compensation)):
            raise ValueError(f"saved['clock']: expected a product from {least:g}, its inverse and a total, got {clock}")
        last = arrays["last"]
        if not (np.isfinite(last) & (last >= 0)).all():
            raise ValueError(f"saved['last']: expected lr and the strengths of the last step, got {last}")
        built_on = number("saved['built_on']", as_plain(saved.get("built_on", 0.0)))
        if not is_rate(built_on, self.w.dtype):
            raise ValueError(f"saved['built_on']: expected an lr in the range of {self.w.dtype}, got {built_on!r}")
        stamps = arrays.get("stamps")
        if stamps is not None:
            first, now = ((min(1, inverse), 0), (max(1, inverse), total)) if stamps.ndim == 2 else (0, completed)
            if not ((stamps >= first) & (stamps <= now)).all():
                raise ValueError("saved['stamps']: expected times from the start to that of the clock, got others")
        strengths = {key: as_plain(saved[key]) for key in SCHEDULES if key in mine}
        return completed, clock, last, built_on, stamps, [arrays[name] for name in self._state_names], strengths

    def __reduce__(self):
        seal = self._seal()
        settings = self._own | {key: getattr(self, key) for key in SCHEDULES} | {"bounds": self.bounds}
        return _rebuild, (type(self), self.w, settings, self.penalty_factor), (self.state_dict(), seal)

    def __setstate__(self, saved):
        self.load_state_dict(saved[0])

    def __repr__(self):
        return f"{type(self).__name__}({self.w.dtype} of shape {self.w.shape}, {self.completed} steps)"


def without_groups_of_one(settings, w):
    """In a row of one weight, l21 is l1."""
    if w.shape[1:] not in ((), (1,)):
        return settings
    return settings | {"l1": settings["l1"] + settings["l21"], "l21": 0.0}


def _rebuild(kind, w, settings, penalty_factor):
    """For pickle. With joblib, w may be a read-only memory map: then it is copied."""
    return kind(w if w.flags.writeable else w.copy(), **settings, penalty_factor=penalty_factor)
