"""Layer 5, what the first step of an optimizer of fastreg.torch tells: how many weights it removed without a gradient.

Such a weight has a gradient of exactly 0, as those of units that are off, or of words that the batch does not have. A
parameter with ``p.grad`` None is another matter, and ordinary in torch: the step leaves it as it is, and nothing is
told. Steps with lr = 0 do not count, since schedulers with a warm-up and distributed checkpoints begin with one.
"""

from fastreg.optimizers.notices import may_remove, tell_removed
from fastreg.torch.tensors import as_contiguous_array, check_usable

DELAY = "l1=0 at first, and set it later: optimizer.param_groups[0]['l1'] = 1e-3"


def before_first_step(optimizer):
    """The parameters from which the next step may remove weights, and where they are not zero; None if lr is 0."""
    at_risk, moves = [], False
    for k, group in enumerate(optimizer.param_groups):
        params = [p for p in group["params"] if p.grad is not None]
        if not params or (settings := optimizer._checked_settings(k, group))["lr"] == 0:
            continue
        moves = True
        if may_remove(optimizer._rule._squares, [settings]):
            at_risk += [(p, as_contiguous_array(p) != 0) for p in params if is_usable(p)]
    return at_risk if moves else None


def after_first_step(optimizer, at_risk):
    """Tell how many weights the step has removed."""
    optimizer._may_remove = False
    weights = (as_contiguous_array(p) for p, _ in at_risk)
    squares = (as_contiguous_array(optimizer.state[p][optimizer._rule._squares]) for p, _ in at_risk)
    tell_removed(type(optimizer).__name__, [mask for _, mask in at_risk], weights, squares, DELAY)


def is_usable(p):
    """Whether the step does not refuse this parameter."""
    try:
        check_usable(p, "")
    except (TypeError, ValueError):
        return False
    return True
