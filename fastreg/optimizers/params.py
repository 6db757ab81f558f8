"""Layer 5, parameters in all their forms: an array, a sequence, a mapping, or a list of groups with their own settings.

`Layout` remembers the form of one group, so that gradients and penalty factors can come in the same one.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from fastreg.optimizers.settings import finite


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
    """The form of the parameters of one group: the names of the tensors, and how to take them out of such a form."""

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
                remedy = "for parameters in parts pass groups, a list of dicts with the key 'params'"
                raise TypeError(f"params[{name}]: expected an array, got {type(value).__name__}; {remedy}")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"params: expected keys that differ as strings, got {self.keys!r}")

    def flatten(self, values, what):
        """The values in order, one a tensor."""
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

    def arrange(self, values):
        """The inverse of flatten."""
        if self.kind == "array":
            return values[0]
        return list(values) if self.kind == "sequence" else dict(zip(self.keys, values))


def split_groups(params):
    """A list of (params, overrides), and whether the parameters came as groups."""
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


def leaves(values, name=""):
    """The tensors in such a form as pairs (name, tensor), those that are None left out."""
    if values is None:
        return []
    if is_array(values) or isinstance(values, str):
        return [(name or "0", values)]
    entries = values.items() if isinstance(values, Mapping) else enumerate(values)
    return [leaf for key, entry in entries for leaf in leaves(entry, f"{name}.{key}" if name else str(key))]


def split_factors(layout, weights, factors):
    """Penalty factors as a number for each tensor, and an array or None for each."""
    if factors is None or np.isscalar(factors) or layout.kind == "array":
        factors = [factors] * len(weights)
    else:
        factors = layout.flatten(factors, "penalty_factor")
    parts = [split_factor(f"penalty_factor[{name}]", w, f) for name, w, f in zip(layout.names, weights, factors)]
    return [number for number, _ in parts], [array for _, array in parts]


def split_factor(what, w, f):
    """The penalty factors of one tensor, as a number for all of it and an array like it, or None."""
    if f is None or np.ndim(f) == 0:
        return 1.0 if f is None else finite(what, f), None
    f = np.asarray(f)
    if f.dtype.kind not in "fiub":
        raise TypeError(f"{what}: expected real numbers, got dtype {f.dtype}")
    if f.shape != w.shape:
        raise ValueError(f"{what}: expected shape {w.shape} like the weights, got {f.shape}")
    own = np.empty_like(w, dtype=np.float64 if w.dtype == np.float64 else np.float32, subok=False)
    with np.errstate(over="ignore"):
        own[...] = f
    bad = ~(np.isfinite(own) & (own >= 0)) | ((own == 0) & (f != 0))
    if bad.any():
        raise ValueError(f"{what}: expected finite {own.dtype} numbers, not negative, got {f[bad][0]}")
    return 1.0, own
