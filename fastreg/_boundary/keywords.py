"""Layer 4, keywords of other libraries, which an error answers with ours. Only errors read this table."""

from functools import wraps
from inspect import Parameter, signature

OF_OTHERS = {  # keyword elsewhere → our parameters that may be meant
    "weight_decay": ("l2",),
    "alpha": ("l1", "l2"),
    "lambda_": ("l1", "l2"),
    "lambd": ("l1", "l2"),
    "lam": ("l1", "l2"),
    "lmbda": ("l1", "l2"),
    "l": ("l1", "l2"),
    "reg_alpha": ("l1",),
    "lambda_l1": ("l1",),
    "lambda1": ("l1",),
    "l1_reg": ("l1",),
    "l1_regularization_strength": ("l1",),
    "reg_lambda": ("l2",),
    "lambda_l2": ("l2",),
    "lambda2": ("l2",),
    "l2_reg": ("l2",),
    "l2_regularization_strength": ("l2",),
    "learning_rate": ("lr",),
    "eta": ("lr",),
    "eta0": ("lr",),
    "step_size": ("lr",),
    "nesterov_momentum": ("momentum", "nesterov"),
    "beta1": ("betas",),
    "beta2": ("betas",),
    "beta_1": ("betas",),
    "beta_2": ("betas",),
    "b1": ("betas",),
    "b2": ("betas",),
    "epsilon": ("eps",),
    "rho": ("alpha",),
    "weights": ("w", "params"),
    "parameters": ("params",),
    "gradient": ("grad",),
    "gradients": ("grad",),
    "grads": ("grad",),
    "g": ("grad",),
}
TOGETHER = ("nesterov_momentum",)  # all of these parameters are meant, not one of them


def advice(keywords, accepted):
    """What the first of the keywords that only other libraries have is called here; empty if there is none."""
    for name in keywords:
        if name in accepted or name not in OF_OTHERS:
            continue
        ours = [parameter for parameter in OF_OTHERS[name] if parameter in accepted]
        names = (" and " if name in TOGETHER else " or ").join(ours or OF_OTHERS[name])
        return f"; {name} of other libraries is {names} here" + ("" if ours else ", which this call does not have")
    return ""


def answering(init):
    """The method `init`, which answers a keyword of another library with ours, unless it takes any keyword."""
    accepted = signature(init).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in accepted.values()):
        return init

    @wraps(init)
    def checked(self, *args, **kwargs):
        text = advice(kwargs, accepted) if kwargs.keys() - accepted.keys() else ""
        if text:
            name = next(name for name in kwargs if name in OF_OTHERS and name not in accepted)
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {name!r}{text}")
        init(self, *args, **kwargs)

    return checked
