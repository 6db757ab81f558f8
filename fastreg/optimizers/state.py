"""Layer 5, state to and from files and pickles; in files it is plain arrays and numbers under flat names.

Loading is all or nothing: everything is checked and copied before anything is replaced. The functions that check a
saved mapping serve dense and lazy optimizers.
"""

from math import inf

import numpy as np

from fastreg.optimizers.bounds import joined
from fastreg.optimizers.settings import SCHEDULES

BUILT_ON = "built_on"  # lr and beta; files of earlier commits do not have them
LATER_SETTINGS = {"gamma": inf, "l21": 0.0}  # files of earlier commits do not have them


class StateDict:
    """The methods of :class:`fastreg.Optimizer` that save and load its state."""

    def state_dict(self):
        """State, counts and settings as plain arrays and numbers under flat names.

        ``np.savez(file, **opt.state_dict())`` stores it and ``opt.load_state_dict(np.load(file))`` loads it. It does
        not contain the weights, bounds, group_axis, penalty_factor, on_nonfinite and settings that are callables. An
        optimizer that is to load it must be constructed with them.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> optimizer = fastreg.SGD(np.ones(2), lr=0.1, momentum=0.9)
        >>> optimizer.step(np.array([1.0, 2.0]))
        >>> saved = optimizer.state_dict()
        >>> int(saved["completed"]), saved["tensor.0.momentum_buffer"]
        (1, array([1., 2.]))
        """
        return save(self)

    def load_state_dict(self, saved):
        """Load what :meth:`state_dict` returned, in place, all or nothing. Settings that are callables here stay.

        Parameters
        ----------
        saved : mapping
            As :meth:`state_dict` returned it, or ``np.load`` of what ``np.savez`` stored. Other keys, such as an epoch
            that was stored with the state, are ignored.

        Raises
        ------
        TypeError
            If it is no mapping.
        ValueError
            If it belongs to another optimizer or to other tensors, if its settings need another state, or if a setting
            was a callable and is a number here. Nothing is changed.

        Examples
        --------
        >>> import numpy as np
        >>> import fastreg
        >>> first = fastreg.SGD(np.ones(2), lr=0.1, momentum=0.9)
        >>> first.step(np.array([1.0, 2.0]))
        >>> second = fastreg.SGD(first.params.copy(), lr=0.1, momentum=0.9)
        >>> second.load_state_dict(first.state_dict())
        >>> for optimizer in (first, second):
        ...     optimizer.step(np.array([1.0, 0.0]))
        >>> (first.params == second.params).all(), second.completed
        (np.True_, 2)
        """
        self._tensors.write("load_state_dict", lambda: load(self, saved))

    def __getstate__(self):
        return self._tensors.read(lambda: pickled(self))

    def __setstate__(self, saved):
        attributes = {key: x for key, x in saved.items() if key not in ("_groups", "_restored", "_seal")}
        self._assemble(attributes, saved["_groups"], saved["_restored"])


def save(optimizer):
    """What the next steps depend on, except the weights and settings that are callables."""
    return optimizer._tensors.read(lambda: {key: copied(x) for key, x in entries(optimizer).items()})


def entries(optimizer):
    """The same, where the state is not copied."""
    saved = {"optimizer": type(optimizer).__name__, "completed": optimizer.completed, "skipped": optimizer.skipped}
    for i, group in enumerate(optimizer.param_groups):
        saved |= {f"group.{i}.{key}": x for key, x in group._settings.items() if not callable(x)}
    for (name, state), (steps, *powers, lr, beta) in zip(optimizer.state.items(), clocks(optimizer)):
        saved |= {f"tensor.{name}.steps": steps, f"tensor.{name}.powers": np.array(powers)}
        saved |= {f"tensor.{name}.{BUILT_ON}": np.array([lr, beta])} if optimizer._is_built_on_lr else {}
        saved |= {f"tensor.{name}.{field}": array for field, array in state.items()}
    return saved


def copied(x):
    return x.copy() if isinstance(x, np.ndarray) else x


def clocks(optimizer):
    """Of each tensor: its steps, the powers of the betas after them, and the lr and beta that z of FTRL is built on."""
    return [optimizer._tensors.clock(i) for i in range(len(optimizer._tensors.names))]


def pickled(optimizer):
    """What a copy needs, with live arrays. The seal after them makes pickle fail if they change meanwhile."""
    tensors, groups = optimizer._tensors, []
    for group in optimizer.param_groups:
        arrays = tensors.factors[group.start : group.stop]
        factors = group._layout.unflatten([x if f is None else f for x, f in zip(group.factors, arrays)])
        bounds = tuple(map(group._layout.unflatten, joined(tensors.bounds[group.start : group.stop])))
        axes = group._layout.unflatten(tensors.axes[group.start : group.stop])
        groups.append((group["params"], dict(group._settings), factors, bounds, axes))
    attributes = {key: x for key, x in vars(optimizer).items() if key not in ("_tensors", "param_groups")}
    restored = tensors.completed, tensors.skipped, clocks(optimizer), tensors.states
    return attributes | {"_groups": groups, "_restored": restored, "_seal": tensors.seal()}


def load(optimizer, saved):
    """What `save` gave, checked and copied, as the arguments of Tensors.restore."""
    groups = optimizer.param_groups
    optional = {f"group.{i}.{key}" for i, group in enumerate(groups) for key in SCHEDULES if callable(group[key])}
    expected = entries(optimizer)
    absent = {}  # from files of earlier versions
    if hasattr(saved, "keys"):
        if not any(f"group.{i}.gamma" in saved for i in range(len(groups))):  # gamma is a number in all others
            absent = {f"group.{i}.{key}": x for i in range(len(groups)) for key, x in LATER_SETTINGS.items()}
            absent = {key: x for key, x in absent.items() if key in expected and key not in saved}
        rates = {key for key in expected if key.endswith(f".{BUILT_ON}")}
        unknown = absent.keys() | (rates if rates.isdisjoint(saved.keys()) else set())
        expected = {key: x for key, x in expected.items() if key not in unknown}
    saved = own_entries(saved, expected, lambda key: key.startswith(("group.", "tensor.")), optional)
    saved |= absent
    settings = []
    for i, group in enumerate(groups):
        prefix, before = f"group.{i}.", group._settings
        changes = {key[len(prefix) :]: as_plain(x) for key, x in saved.items() if key.startswith(prefix)}
        settings.append(group.checked(before, {key: x for key, x in changes.items() if not callable(before.get(key))}))
        names, others = optimizer._state_names(before), optimizer._state_names(settings[-1])
        if others != names:
            raise ValueError(f"saved: expected settings with the state {names}, got some with {others}")
    counts = [checked_count(key, saved[key]) for key in ("completed", "skipped")]
    restored_clocks, states = [], []
    own_groups = [(group, own) for group, own in zip(groups, settings) for _ in group.range]
    for (name, state), (group, own) in zip(optimizer.state.items(), own_groups):
        prefix = f"tensor.{name}."
        powers = checked_array(f"{prefix}powers", saved[f"{prefix}powers"], np.empty(2))
        if not ((powers >= 0) & (powers <= 1)).all():
            raise ValueError(f"saved['{prefix}powers']: expected powers of the betas, from 0 to 1, got {powers!r}")
        steps, built_on = checked_count(f"{prefix}steps", saved[f"{prefix}steps"]), (0.0, 0.0)
        if prefix + BUILT_ON in saved:
            built_on = checked_rate(prefix + BUILT_ON, saved[prefix + BUILT_ON], state["z"].dtype)
        elif optimizer._is_built_on_lr:
            built_on = optimizer._built_on(group.numbers(own, max(counts[0] - 1, 0)), steps)
        restored_clocks.append((steps, *powers.tolist(), *built_on))
        states.append([checked_array(prefix + field, saved[prefix + field], x) for field, x in state.items()])
    return tuple(settings), *counts, restored_clocks, states


def own_entries(saved, expected, is_own, optional=frozenset()):
    """The entries of a saved mapping that belong to an optimizer, after a check of its kind and of its keys.

    Parameters
    ----------
    saved : mapping
        What the user passed. Keys that are neither expected nor our own are ignored.
    expected : dict
        The present entries of the optimizer. The saved mapping must have the same keys.
    is_own : callable
        Whether a key, a str, is one that only an optimizer has. Such a key is an error where it is not expected.
    optional : set of str
        Keys that may be there, too.
    """
    if not hasattr(saved, "keys"):
        raise TypeError(f"saved: expected a mapping, such as numpy.load of a file, got {type(saved).__name__}")
    keys = set(saved.keys())
    kind = str(saved["optimizer"]) if "optimizer" in keys else None
    if kind != expected["optimizer"]:
        raise ValueError(f"saved: expected the state of {expected['optimizer']}, got that of {kind}")
    missing = sorted(expected.keys() - keys)
    unknown = sorted(k for k in keys - expected.keys() - optional if isinstance(k, str) and is_own(k))
    if missing or unknown:
        raise ValueError(
            f"saved: expected the keys of state_dict(), got a mapping that lacks {missing}, adds {unknown}"
        )
    return {key: saved[key] for key in expected.keys() | (keys & optional)}


def checked_array(key, x, like):
    """A new array with the numbers of x, of the shape, dtype and layout of `like`."""
    x = np.asarray(x)
    if x.shape != like.shape or x.dtype != like.dtype:
        raise ValueError(
            f"saved[{key!r}]: expected {like.dtype} of shape {like.shape}, got {x.dtype} of shape {x.shape}"
        )
    array = np.empty_like(like, subok=False)
    array[...] = x
    return array


def checked_rate(key, x, dtype):
    """The lr, from 0 for none to infinity, and the beta that a state is built on."""
    lr, beta = checked_array(key, x, np.empty(2)).tolist()
    with np.errstate(over="ignore"):
        in_range = beta >= 0 and dtype.type(beta) < inf
    if not (in_range and is_rate(lr, dtype)):
        raise ValueError(f"saved[{key!r}]: expected an lr and a beta in the range of {dtype}, got {x!r}")
    return lr, beta


def is_rate(lr, dtype):
    """Whether it is 0, or its inverse is finite in this dtype."""
    with np.errstate(over="ignore", divide="ignore"):
        return lr >= 0 and (lr == 0 or bool(np.isfinite(1 / dtype.type(lr))))


def checked_count(key, x):
    x = np.asarray(x)
    if x.ndim or x.dtype.kind not in "iu" or not 0 <= int(x) < 2**63:
        raise ValueError(f"saved[{key!r}]: expected a count, got {x!r}")
    return int(x)


def as_plain(x):
    """A setting as numpy.load returns it, as the plain object that was saved."""
    if not isinstance(x, (np.ndarray, np.generic)):
        return x
    return tuple(x.tolist()) if x.ndim else x.item()
