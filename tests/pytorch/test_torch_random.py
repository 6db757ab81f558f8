"""Random training runs agree with torch's: layouts, missing gradients, groups, copies and loaded state in any order."""

import copy
import random

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")

VARIANTS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("RMSprop", {}),
    ("Adam", {"betas": (0.5, 0.6)}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {"betas": (0.0, 0.0)}),
    ("AdamW", {}),
]


def laid_out(x, chance):
    """x with its elements in another order, with gaps, or at an offset."""
    kind = chance.randrange(6)
    if kind == 0 and x.ndim > 1:
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if kind == 1:
        return torch.stack([x, x], -1)[..., 0]
    if kind == 2 and x.ndim == 4:
        return x.contiguous(memory_format=torch.channels_last)
    if kind == 3 and x.numel() > 0:
        return torch.cat([x.flatten()[:1], x.flatten()])[1:].view(x.shape)
    return x.clone()


def in_groups(params, first):
    groups = [{"params": params[:first]}, {"params": params[first:], "lr": 0.02}]
    return [group for group in groups if group["params"]]


def set_gradients(params, others, chance):
    for p, q in zip(params, others, strict=True):
        p.grad = q.grad = None
        if chance.random() < 0.8:
            q.grad = torch.randn(p.shape, dtype=p.dtype)
            g = laid_out(q.grad, chance)
            p.grad = torch._neg_view(-g) if chance.random() < 0.1 else g


def disturb(params, mine, theirs, chance):
    """One of the things that happen to optimizers between steps; the parameters and ours afterwards."""
    kind = chance.randrange(8)
    if kind == 0:
        mine.load_state_dict(mine.state_dict())
    elif kind == 1:
        mine.load_state_dict(theirs.state_dict())
    elif kind == 2:
        theirs.load_state_dict(copy.deepcopy(mine.state_dict()))
    elif kind == 3:
        lr = 0.01 * chance.random()
        mine.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = lr
    elif kind == 4:
        for p in params:
            p.data = laid_out(p.data, chance)
    elif kind == 5:
        return copy.deepcopy((params, mine))
    return params, mine


@pytest.mark.parametrize("seed", range(200))
def test_a_random_run(seed):
    chance = random.Random(seed)
    torch.manual_seed(seed)
    dtype = chance.choice([torch.float32, torch.float64])
    name, settings = chance.choice(VARIANTS)
    settings = settings | {"weight_decay": chance.choice([0, 0.1]), "maximize": chance.random() < 0.2}
    shapes = [[chance.randrange(chance.random() > 0.1, 5) for _ in range(chance.randrange(5))] for _ in range(4)]
    params = [torch.nn.Parameter(laid_out(torch.randn(shape, dtype=dtype), chance)) for shape in shapes]
    others = [torch.nn.Parameter(p.detach().clone()) for p in params]
    first, mode = chance.randrange(1, 5), {} if name == "AdamW" else {"mode": "subgradient"}
    mine = getattr(ours, name)(in_groups(params, first), lr=0.01, **settings, **mode)
    theirs = getattr(torch.optim, name)(in_groups(others, first), lr=0.01, **settings)
    for _ in range(chance.randrange(1, 12)):
        params, mine = disturb(params, mine, theirs, chance)
        set_gradients(params, others, chance)
        mine.step()
        theirs.step()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)
