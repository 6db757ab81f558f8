"""Layer 5, the settings that torch's optimizers have and fastreg.optimizers do not, and torch's checks at construction.

The words are those of torch, since programs look for them.
"""

import torch

WORDS = {
    "lr": "Invalid learning rate: {}",
    "momentum": "Invalid momentum value: {}",
    "lr_decay": "Invalid lr_decay value: {}",
    "weight_decay": "Invalid weight_decay value: {}",
    "initial_accumulator_value": "Invalid initial_accumulator_value value: {}",
    "eps": "Invalid epsilon value: {}",
    "alpha": "Invalid alpha value: {}",
}
ABSENT = object()  # in the place of a setting that torch's class does not have


def check_as_torch(settings, has_tensor_betas):
    """Raise torch's error for settings that it refuses at construction."""
    lr = settings["lr"]
    if isinstance(lr, torch.Tensor):
        if settings["foreach"] and not settings.get("capturable") and has_tensor_betas:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        if lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
    for key, words in WORDS.items():
        if key in settings and not callable(settings[key]) and not settings[key] >= 0:
            raise ValueError(words.format(settings[key]))
    if "betas" in settings:
        check_betas(settings, has_tensor_betas)
    if settings.get("nesterov") and (settings["momentum"] <= 0 or settings["dampening"] != 0):
        raise ValueError("Nesterov momentum requires a momentum and zero dampening")
    if settings.get("fused") and settings["foreach"]:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_differentiable(settings):
    if settings["differentiable"]:
        raise ValueError("differentiable: expected False, since the kernels are not recorded by autograd, got True")


def check_betas(settings, has_tensor_betas):
    betas = settings["betas"]
    for i, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
    if not has_tensor_betas:
        return
    if len({isinstance(beta, torch.Tensor) for beta in betas}) > 1:
        raise ValueError("betas must be either both floats or both Tensors")
    for i, beta in enumerate(betas):
        if isinstance(beta, torch.Tensor):
            if settings["foreach"] and not settings["capturable"]:
                raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
            if beta.numel() != 1:
                raise ValueError(f"Tensor betas[{i}] must be 1-element")


def common(lr, weight_decay, foreach, maximize, capturable, differentiable, fused):
    """The settings that torch's optimizers share, as defaults of the groups."""
    settings = {
        "lr": lr,
        "weight_decay": weight_decay,
        "foreach": foreach,
        "maximize": maximize,
        "capturable": capturable,
        "differentiable": differentiable,
        "fused": fused,
    }
    return {key: x for key, x in settings.items() if x is not ABSENT}


def penalties(l1, l21, gamma, mode, theta, bounds, group_axis, penalty_factor):
    """The settings of penalties, as defaults of the groups."""
    return {
        "l1": l1,
        "l21": l21,
        "gamma": gamma,
        "mode": mode,
        "theta": theta,
        "bounds": bounds,
        "group_axis": group_axis,
        "penalty_factor": penalty_factor,
    }
