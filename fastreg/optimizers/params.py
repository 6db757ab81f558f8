"""Layer 5, the forms of parameters: an array, a sequence, a mapping, or a list of groups with settings of their own.

`Layout` stores the form of one group, so that gradients and penalty factors can be given in the same form.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from fastreg._boundary import errors


def is_array(x):
    """Whether x is one tensor rather than several."""
    if isinstance(x, np.ndarray) or not isinstance(x, Iterable):
        return True
    if isinstance(x, (list, tuple, Mapping)):
        return False
    try:
        memoryview(x)
    except TypeError:
        return hasattr(x, "data_ptr")  # a torch tensor
    return True


class Layout:
    """The form of the parameters of one group: the names of its tensors, and how values in this form are listed."""

    def __init__(self, params, prefix=""):
        if isinstance(params, Mapping):
            self.kind, self.keys = "mapping", list(params)
        elif is_array(params):
            self.kind, self.keys = "array", [0]
        else:
            self.kind, self.keys = "sequence", list(range(len(params)))
        self.names = [f"{prefix}{key}" for key in self.keys]
        for name, value in zip(self.names, self.flatten(params, "params")):
            if isinstance(value, (list, tuple, Mapping)):
                remedy = "pass nested parameters as groups, a list of dicts with the key 'params'"
                raise TypeError(f"params[{name}]: expected an array, got {type(value).__name__}; {remedy}")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"params: expected keys that differ as strings, got {self.keys!r}")

    def flatten(self, values, what):
        """The values as a list, one for each tensor."""
        if self.kind == "array":
            if isinstance(values, (list, tuple, Mapping)):
                raise TypeError(f"{what}: expected one array like params, got {type(values).__name__}")
            return [values]
        if self.kind == "sequence":
            if isinstance(values, (list, tuple)) and len(values) == len(self.keys):
                return list(values)
            if is_array(values) or isinstance(values, Mapping):
                raise TypeError(f"{what}: expected a sequence like params, got {type(values).__name__}")
            values = list(values)
            if len(values) != len(self.keys):
                raise ValueError(f"{what}: expected {len(self.keys)} entries like params, got {len(values)}")
            return values
        if not isinstance(values, Mapping):
            raise TypeError(f"{what}: expected a mapping like params, got {type(values).__name__}")
        if values.keys() != set(self.keys):
            missing, unknown = set(self.keys) - values.keys(), values.keys() - set(self.keys)
            lacks, adds = (", ".join(map(repr, keys)) or "none" for keys in (missing, unknown))
            raise ValueError(f"{what}: expected the keys of params, got a mapping that lacks {lacks} and adds {adds}")
        return [values[key] for key in self.keys]

    def unflatten(self, values):
        """The inverse of flatten."""
        if self.kind == "array":
            return values[0]
        return list(values) if self.kind == "sequence" else dict(zip(self.keys, values))


def split_groups(params):
    """A list of pairs (params, settings), one for each group, and whether the parameters were given as groups."""
    if not is_array(params) and not isinstance(params, Mapping):
        params = list(params)
        if not params:
            raise ValueError("params: expected at least one tensor, got none")
        if any(isinstance(entry, Mapping) for entry in params):
            for i, entry in enumerate(params):
                if not isinstance(entry, Mapping) or "params" not in entry:
                    raise TypeError(
                        f"params[{i}]: expected a dict with the key 'params' in a list of groups, got {entry!r}"
                    )
            groups = []
            for entry in params:
                own = entry["params"]
                own = own if is_array(own) or isinstance(own, Mapping) else list(own)
                groups.append((own, {key: value for key, value in entry.items() if key != "params"}))
            return groups, True
    if isinstance(params, Mapping) and not params:
        raise ValueError("params: expected at least one tensor, got none")
    return [(params, {})], False


def split_by_group(layouts, grouped, values, what):
    """Values in the form of params, one part for each group. As in params, it may be a dict with the key "params"."""
    if not grouped:
        return [values]
    if values is None or np.isscalar(values):
        return [values] * len(layouts)
    if not isinstance(values, (list, tuple)) or len(values) != len(layouts):
        got = f"{len(values)} entries" if isinstance(values, (list, tuple)) else type(values).__name__
        raise TypeError(f"{what}: expected a list of {len(layouts)} groups, nested like params, got {got}")
    return [
        group["params"] if isinstance(group, dict) and "params" in group and "params" not in layout.keys else group
        for layout, group in zip(layouts, values)
    ]


def leaves(values, name=""):
    """The tensors in nested sequences and mappings as pairs (name, tensor), without those that are None."""
    if values is None:
        return []
    if is_array(values) or isinstance(values, str):
        return [(name or "0", values)]
    entries = values.items() if isinstance(values, Mapping) else enumerate(values)
    return [leaf for key, entry in entries for leaf in leaves(entry, f"{name}.{key}" if name else str(key))]


def as_weights(x, name):
    """An array over the memory of x that can be updated in place."""
    w = np.asarray(errors.as_array(x, name))
    if error := errors.bad_array(w, name, writable=True):
        raise error
    return w


def filled(w, values):
    """A new array like w, in the dtype in which it is computed."""
    array = np.empty_like(w, dtype=computed(w), subok=False)
    array[...] = values
    return array


def computed(w):
    """The dtype in which weights are computed."""
    return np.float64 if w.dtype == np.float64 else np.float32
