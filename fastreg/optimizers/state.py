"""Layer 5, the state of an optimizer as plain arrays and numbers under flat names, to be stored and taken back.

Everything is checked, and copied, before anything is replaced: loading happens whole or not at all.
"""

import numpy as np

from fastreg.optimizers.settings import SCHEDULES


def save(optimizer):
    """What the next steps depend on, but for the weights and for settings that are callables."""
    return optimizer._tensors.read(lambda: {key: plain_copy(x) for key, x in entries(optimizer).items()})


def entries(optimizer):
    """The same, with the state as live arrays."""
    saved = {"optimizer": type(optimizer).__name__, "completed": optimizer.completed, "skipped": optimizer.skipped}
    for i, group in enumerate(optimizer.param_groups):
        saved |= {f"group.{i}.{key}": x for key, x in group._settings.items() if not callable(x)}
    for (name, state), (steps, *powers) in zip(optimizer.state.items(), optimizer._clocks()):
        saved |= {f"tensor.{name}.steps": steps, f"tensor.{name}.powers": np.array(powers)}
        saved |= {f"tensor.{name}.{field}": array for field, array in state.items()}
    return saved


def plain_copy(x):
    return x.copy() if isinstance(x, np.ndarray) else x


def checked(optimizer, saved):
    """What `save` gave, checked and copied: the arguments of Tensors.restore."""
    if not hasattr(saved, "keys"):
        raise TypeError(f"saved: expected a mapping, such as numpy.load of a file, got {type(saved).__name__}")
    mine, keys = entries(optimizer), set(saved.keys())
    kind = str(saved["optimizer"]) if "optimizer" in keys else None
    if kind != mine["optimizer"]:
        raise ValueError(f"saved: expected the state of {mine['optimizer']}, got that of {kind}")
    optional = {
        f"group.{i}.{k}" for i, group in enumerate(optimizer.param_groups) for k in SCHEDULES if callable(group[k])
    }
    missing = sorted(mine.keys() - keys)
    others = (key for key in keys - mine.keys() - optional if isinstance(key, str))
    unknown = sorted(key for key in others if key.startswith(("group.", "tensor.")))
    if missing or unknown:
        raise ValueError(f"saved: expected the keys of this optimizer's state_dict(), lacks {missing}, adds {unknown}")
    saved = {key: saved[key] for key in mine.keys() | (keys & optional)}  # what else there is belongs to somebody else
    settings = []
    for i, group in enumerate(optimizer.param_groups):
        prefix, own = f"group.{i}.", group._settings
        changes = {k[len(prefix) :]: plain(x) for k, x in saved.items() if k.startswith(prefix)}
        changes = {k: x for k, x in changes.items() if not callable(own.get(k))}
        settings.append(group.checked(own, changes))
        if optimizer._keeps(settings[-1]) != optimizer._keeps(own):
            raise ValueError(f"saved: expected settings that keep the state {optimizer._keeps(own)}, got others")
    clocks, states = [], []
    for name, state in optimizer.state.items():
        prefix = f"tensor.{name}."
        powers = checked_array(f"{prefix}powers", saved[f"{prefix}powers"], np.empty(2))
        if not ((powers >= 0) & (powers <= 1)).all():
            raise ValueError(f"saved['{prefix}powers']: expected powers of the betas, from 0 to 1, got {powers!r}")
        clocks.append((checked_count(f"{prefix}steps", saved[f"{prefix}steps"]), *powers.tolist()))
        states.append([checked_array(prefix + field, saved[prefix + field], x) for field, x in state.items()])
    counts = [checked_count(key, saved[key]) for key in ("completed", "skipped")]
    return tuple(settings), *counts, clocks, states


def checked_array(key, x, mine):
    """An array of our own that is like `mine`, with the numbers of x."""
    x = np.asarray(x)
    if x.shape != mine.shape or x.dtype != mine.dtype:
        raise ValueError(
            f"saved[{key!r}]: expected {mine.dtype} of shape {mine.shape}, got {x.dtype} of shape {x.shape}"
        )
    own = np.empty_like(mine, subok=False)
    own[...] = x
    return own


def checked_count(key, x):
    x = np.asarray(x)
    if x.ndim or x.dtype.kind not in "iu" or not 0 <= int(x) < 2**63:
        raise ValueError(f"saved[{key!r}]: expected a count, got {x!r}")
    return int(x)


def plain(x):
    """A setting as np.load gives it back, as the plain object that it was."""
    if not isinstance(x, (np.ndarray, np.generic)):
        return x
    return tuple(x.tolist()) if x.ndim else x.item()
