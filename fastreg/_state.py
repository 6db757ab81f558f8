"""Layer 5, the state of an optimizer as plain arrays and numbers under flat names, to be stored and taken back.

Everything is checked before anything is replaced, so that loading happens whole or not at all.
"""

import numpy as np

from fastreg._settings import SCHEDULES


def save(optimizer):
    """What the next steps depend on, but for the weights and for settings that are callables."""
    saved = {"optimizer": type(optimizer).__name__, "completed": optimizer.completed, "skipped": optimizer.skipped}
    for i, group in enumerate(optimizer.param_groups):
        saved |= {f"group.{i}.{key}": x for key, x in group.items() if key != "params" and not callable(x)}
    for (name, state), (steps, *powers) in zip(optimizer.state.items(), optimizer._clocks()):
        saved |= {f"tensor.{name}.steps": steps, f"tensor.{name}.powers": np.array(powers)}
        saved |= {f"tensor.{name}.{field}": array.copy() for field, array in state.items()}
    return saved


def load(optimizer, saved):
    """Take over what `save` gave, in place."""
    if not hasattr(saved, "keys"):
        raise TypeError(f"saved: expected a mapping, such as numpy.load of a file, got {type(saved).__name__}")
    saved = {key: saved[key] for key in saved}
    mine = save(optimizer)
    if str(saved.get("optimizer")) != mine["optimizer"]:
        raise ValueError(f"saved: expected the state of {mine['optimizer']}, got that of {saved.get('optimizer')}")
    optional = {
        f"group.{i}.{k}" for i, group in enumerate(optimizer.param_groups) for k in SCHEDULES if callable(group[k])
    }
    missing, unknown = sorted(mine.keys() - saved.keys()), sorted(saved.keys() - mine.keys() - optional)
    if missing or unknown:
        raise ValueError(f"saved: expected the keys of this optimizer's state_dict(), lacks {missing}, adds {unknown}")
    arrays = {key: checked_array(key, saved[key], x) for key, x in mine.items() if isinstance(x, np.ndarray)}
    counts = {
        key: checked_count(key, saved[key])
        for key, x in mine.items()
        if isinstance(x, int) and not key.startswith("group.")
    }
    rehearsed = []
    for i, group in enumerate(optimizer.param_groups):
        prefix = f"group.{i}."
        settings = {k[len(prefix) :]: plain(x) for k, x in saved.items() if k.startswith(prefix)}
        settings = {k: x for k, x in settings.items() if not callable(group.get(k))}
        rehearsed.append(group.rehearse(settings))
        if optimizer._keeps(rehearsed[-1]) != optimizer._keeps(group):
            raise ValueError(f"saved: expected settings that keep the state {optimizer._keeps(group)}, got others")
    for key, x in arrays.items():
        if key.endswith(".powers") and not ((x >= 0) & (x <= 1)).all():
            raise ValueError(f"saved[{key!r}]: expected powers of the betas, from 0 to 1, got {x!r}")

    for group, settings in zip(optimizer.param_groups, rehearsed):
        group.replace(settings)
    for i, (name, state) in enumerate(optimizer.state.items()):
        optimizer._tensors.set_clock(i, counts[f"tensor.{name}.steps"], *arrays[f"tensor.{name}.powers"].tolist())
        for field, array in state.items():
            array[...] = arrays[f"tensor.{name}.{field}"]
    optimizer.completed, optimizer.skipped = counts["completed"], counts["skipped"]


def checked_array(key, x, mine):
    x = np.asarray(x)
    if x.shape != mine.shape or x.dtype != mine.dtype:
        raise ValueError(
            f"saved[{key!r}]: expected {mine.dtype} of shape {mine.shape}, got {x.dtype} of shape {x.shape}"
        )
    return x


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
