"""Layer 5, state into and out of files, pickles and copies.

torch's load_state_dict casts the state to the dtype of the parameters, which would lose the float32 state of bfloat16
parameters. It lets pass what is no tensor, so that a wrapper carries each tensor through it.
"""

import torch

from fastreg._boundary.errors import parameter_name
from fastreg.torch.tensors import BUILT_ON, computed, is_distributed, new_count, new_number


class Carried:
    """A tensor on its way through torch's load_state_dict."""

    def __init__(self, tensor):
        self.tensor = tensor


class Loading:
    """The methods of fastreg.torch's optimizers that load state."""

    def load_state_dict(self, state_dict):
        """Load the state, as in torch, all or nothing; the tensors are copied.

        Parameters
        ----------
        state_dict : dict
            What state_dict() of this class, or of torch.optim's class of the same name, returned. Settings that it
            lacks keep their values.
        """
        hooks = self._optimizer_load_state_dict_pre_hooks
        hooks["fastreg"] = carry  # the last hook, so that those of the user see tensors
        try:
            super().load_state_dict(state_dict)
        finally:
            hooks.pop("fastreg", None)

    def __setstate__(self, state):
        """Called by torch's load_state_dict, and by pickle and copy with more attributes."""
        groups = state.get("param_groups", [])
        present = getattr(self, "param_groups", [])
        defaults = state.get("defaults", getattr(self, "defaults", {}))
        for k, group in enumerate(groups):
            known = present[k] if k < len(present) else {}
            for key, default in defaults.items():
                group.setdefault(key, known.get(key, default))
        if "state" in state:
            owners = {p: parameter_name({}, k, j) for k, group in enumerate(groups)
                      for j, p in enumerate(group["params"])}  # fmt: skip
            for p, own in state["state"].items():
                if isinstance(own, dict):
                    own.update({key: delivered(p, key, x, owners.get(p)) for key, x in own.items()})
        super().__setstate__(state)
        if "_stepper" not in vars(self):  # a copy
            self._renew()


def carry(optimizer, state_dict):
    """A load hook: wraps the tensors of state in a copy of the dict."""
    state = {
        key: {name: Carried(x) if isinstance(x, torch.Tensor) else x for name, x in own.items()}
        if isinstance(own, dict)
        else own
        for key, own in state_dict["state"].items()
    }
    return state_dict | {"state": state}


def delivered(p, key, x, name):
    """An entry of loaded state as it is kept: tensors like the parameter, counts as torch counts."""
    if key == "step" and not isinstance(x, (Carried, torch.Tensor)) and x is not None:
        return new_count(x)
    if key in BUILT_ON and isinstance(x, (float, int)):
        return new_number(x)
    if not isinstance(x, Carried):
        return x
    x = x.tensor.detach()
    if key == "step":
        return x.to("cpu", x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32, copy=True)
    if key in BUILT_ON:
        return x.to("cpu", torch.float64, copy=True)
    if not isinstance(p, torch.Tensor) or name is None:
        return x.clone()
    if x.shape != p.shape:
        raise ValueError(
            f"state_dict['state']: expected {key!r} of shape {tuple(p.shape)} for {name}, got {tuple(x.shape)}"
        )
    if is_distributed(p) or is_distributed(x):
        return x.to(computed(p), copy=True)
    return torch.empty_like(p, dtype=computed(p), requires_grad=False).copy_(x)
