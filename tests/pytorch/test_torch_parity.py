"""With l2 alone, the optimizers agree with those of the installed torch to rounding; tensors are used in place."""

import copy

import numpy as np
import pytest
from cases import assert_same_bits

import fastreg

torch = pytest.importorskip("torch", reason="torch is not installed")

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
PAIRS = {  # name → class and options of fastreg, then of torch; lr and l2 = weight_decay are the same
    "SGD": (fastreg.SGD, {}, torch.optim.SGD, {}),
    "momentum": (fastreg.SGD, {"momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    "dampening": (
        fastreg.SGD,
        {"momentum": 0.9, "dampening": 0.4},
        torch.optim.SGD,
        {"momentum": 0.9, "dampening": 0.4},
    ),
    "dampening of one": (
        fastreg.SGD,
        {"momentum": 0.5, "dampening": 1.0},
        torch.optim.SGD,
        {"momentum": 0.5, "dampening": 1.0},
    ),
    "Nesterov": (
        fastreg.SGD,
        {"momentum": 0.9, "nesterov": True},
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True},
    ),
    "Adagrad": (fastreg.Adagrad, {}, torch.optim.Adagrad, {}),
    "Adagrad, filled": (
        fastreg.Adagrad,
        {"initial_accumulator_value": 0.1, "eps": 1e-6},
        torch.optim.Adagrad,
        {"initial_accumulator_value": 0.1, "eps": 1e-6},
    ),
    "RMSprop": (fastreg.RMSprop, {}, torch.optim.RMSprop, {}),
    "RMSprop, alpha": (fastreg.RMSprop, {"alpha": 0.9, "eps": 1e-4}, torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-4}),
    "Adam": (fastreg.Adam, {}, torch.optim.Adam, {}),
    "Adam, betas": (
        fastreg.Adam,
        {"betas": (0.8, 0.9), "eps": 1e-6},
        torch.optim.Adam,
        {"betas": (0.8, 0.9), "eps": 1e-6},
    ),
    "AMSGrad": (fastreg.Adam, {"amsgrad": True}, torch.optim.Adam, {"amsgrad": True}),
    "AMSGrad, betas": (
        fastreg.Adam,
        {"amsgrad": True, "betas": (0.5, 0.6)},
        torch.optim.Adam,
        {"amsgrad": True, "betas": (0.5, 0.6)},
    ),
    "AdamW": (fastreg.AdamW, {}, torch.optim.AdamW, {}),
    "AdamW, AMSGrad": (fastreg.AdamW, {"amsgrad": True}, torch.optim.AdamW, {"amsgrad": True}),
}


def start(dtype):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=dtype, generator=generator) for shape in ((7,), (3, 5), ())]


def gradients(i, params):
    """Steps with more and with less noise, so that the maximum of AMSGrad is older than the current value."""
    generator = torch.Generator().manual_seed(1000 + i)
    noise = 3.0 if i % 40 < 5 else 0.3
    return [noise * torch.randn(w.shape, dtype=w.dtype, generator=generator) + 0.1 * w.detach() for w in params]


@dtypes
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_a_hundred_steps_agree_with_torch(pair, l2, dtype):
    cls, options, theirs, their_options = PAIRS[pair]
    mode = {} if cls is fastreg.AdamW else {"mode": "subgradient"}
    ours, reference = start(dtype), [w.requires_grad_() for w in start(dtype)]
    optimizer = cls(ours, 0.01, **options, **mode, l2=l2)
    oracle = theirs(reference, lr=0.01, **their_options, weight_decay=l2)
    for i in range(100):
        for w, g in zip(reference, gradients(i, reference), strict=True):
            w.grad = g
        optimizer.step(gradients(i, ours))
        oracle.step()
        for w, x in zip(ours, reference, strict=True):
            difference = (w - x.detach()).abs() / (1 + x.detach().abs())
            assert difference.max() <= TOLERANCE[dtype], i


@dtypes
def test_a_tensor_without_a_gradient_is_skipped_as_in_torch(dtype):
    """Its bias correction uses the number of its own steps."""
    ours, reference = start(dtype), [w.requires_grad_() for w in start(dtype)]
    optimizer = fastreg.Adam(ours, 0.1, mode="subgradient", l2=0.1)
    oracle = torch.optim.Adam(reference, lr=0.1, weight_decay=0.1)
    for i in range(20):
        grads = [g if (i + k) % 3 else None for k, g in enumerate(gradients(i, ours))]
        for w, g in zip(reference, grads, strict=True):
            w.grad = g
        optimizer.step(grads)
        oracle.step()
    for w, x in zip(ours, reference, strict=True):
        torch.testing.assert_close(w, x.detach(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_schedules_agree_with_torch():
    ours, reference = start(torch.float64), [w.requires_grad_() for w in start(torch.float64)]
    optimizer = fastreg.SGD(ours, lambda n: 0.1 / (1 + n), momentum=0.9)
    oracle = torch.optim.SGD(reference, lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(oracle, lambda n: 1 / (1 + n))
    for i in range(20):
        for w, g in zip(reference, gradients(i, reference), strict=True):
            w.grad = g
        optimizer.step(gradients(i, ours))
        oracle.step()
        scheduler.step()
    for w, x in zip(ours, reference, strict=True):
        torch.testing.assert_close(w, x.detach(), rtol=1e-12, atol=1e-12)


@dtypes
def test_tensors_are_updated_in_place_and_arrays_give_the_same_bits(dtype):
    tensors = start(dtype)
    arrays = [w.numpy().copy() for w in tensors]
    addresses = [w.data_ptr() for w in tensors]
    grads = gradients(0, tensors)
    one = fastreg.Adam(tensors, 0.1, l1=0.3)
    two = fastreg.Adam(arrays, 0.1, l1=0.3)
    one.bind(grads)
    for _ in range(3):
        one.step()
        two.step(grads)
    assert [w.data_ptr() for w in tensors] == addresses
    for w, x in zip(tensors, arrays, strict=True):
        assert_same_bits(w.numpy(), x)
    twin = copy.deepcopy(one)
    twin.step(grads)
    two.step(grads)
    for w, x in zip(twin.params, two.params, strict=True):
        assert_same_bits(np.asarray(w), x)


def test_a_single_tensor_and_a_mapping_of_them():
    w = torch.ones(3)
    fastreg.SGD(w, 0.5).step(torch.ones(3))
    assert w.tolist() == [0.5] * 3
    layer = torch.nn.Linear(2, 2)
    fastreg.SGD({name: p.detach() for name, p in layer.named_parameters()}, 0.0, l2=1.0).step(
        {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    )
    frozen = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimizer = fastreg.SGD([p.detach() for p in layer.parameters()], 0.5)
    optimizer.step([torch.full_like(p, 2.0) for p in layer.parameters()])
    for name, p in layer.named_parameters():
        assert torch.equal(p.detach(), frozen[name] - 1)


def test_the_error_for_a_parameter_names_the_remedy():
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"^params\[0\]: .*requires grad.*detach"):
        fastreg.SGD(layer.parameters())
    optimizer = fastreg.SGD([torch.ones(2), torch.ones(2)], 0.5)
    bad = [torch.ones(2), torch.ones(2, requires_grad=True)]
    with pytest.raises(TypeError, match=r"^grads\[1\]: .*detach"):
        optimizer.step(bad)
    with pytest.raises(TypeError, match=r"^grads\[1\]: .*meta"):
        optimizer.step([torch.ones(2), torch.ones(2, device="meta")])
    assert optimizer.params[0].tolist() == [1.0, 1.0]


def test_numbers_may_be_tensors():
    w = np.ones(2)
    optimizer = fastreg.SGD(w, torch.tensor(0.5), l1=lambda n: torch.tensor(0.25))
    optimizer.step(np.zeros(2))
    assert w.tolist() == [0.875] * 2
    with pytest.raises(TypeError, match=r"^lr: "):
        fastreg.SGD(w, torch.ones(1))


@dtypes
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6, float("inf")])
@pytest.mark.parametrize("scale", [0.0, 1.0, float("nan"), float("inf")])
def test_clipping_agrees_with_torch(dtype, max_norm, scale):
    grads = [scale * g for g in start(dtype)]
    expected = [torch.zeros_like(g) for g in grads]
    for x, g in zip(expected, grads, strict=True):
        x.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(expected, max_norm)
    ours = fastreg.clip_grad_norm(grads, max_norm)
    tolerance = TOLERANCE[dtype]
    assert type(ours) is float
    np.testing.assert_allclose(ours, norm.item(), rtol=tolerance)
    for g, x in zip(grads, expected, strict=True):
        torch.testing.assert_close(g, x.grad, rtol=tolerance, atol=0, equal_nan=True)
