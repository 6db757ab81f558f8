"""The optimizers of fastreg.torch agree with torch's where both have a rule, and bit for bit with those over arrays."""

import io

import pytest
from cases import assert_same_bits

import fastreg

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
SHAPES = ((7,), (3, 5), (), (0,), (2, 3, 4, 5))
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
CASES = {
    "SGD": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "dampening": ("SGD", {"momentum": 0.9, "dampening": 0.4}),
    "Nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "Adagrad": ("Adagrad", {}),
    "Adagrad, lr_decay": ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    "RMSprop": ("RMSprop", {"alpha": 0.9}),
    "Adam": ("Adam", {}),
    "Adam, betas": ("Adam", {"betas": (0.8, 0.9), "eps": 1e-6}),
    "Adam, decoupled": ("Adam", {"decoupled_weight_decay": True}),
    "AMSGrad": ("Adam", {"amsgrad": True}),
    "AdamW": ("AdamW", {}),
    "AdamW, maximize": ("AdamW", {"amsgrad": True, "maximize": True}),
}


def parameters(dtype):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype, generator=generator)) for shape in SHAPES]


def gradients(i, params):
    """Steps with large and with small noise, so that AMSGrad's maximum is that of an earlier step."""
    generator = torch.Generator().manual_seed(1000 + i)
    return [(3.0 if i % 10 < 2 else 0.3) * torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in params]


def set_gradients(i, *lists):
    for params in lists:
        for p, g in zip(params, gradients(i, params), strict=True):
            p.grad = g


def pair(case, dtype, **settings):
    """Parameters and an optimizer of ours, the same of torch."""
    name, options = CASES[case]
    mode = {} if options.get("decoupled_weight_decay") or name == "AdamW" else {"mode": "subgradient"}
    a, b = parameters(dtype), parameters(dtype)
    mine = getattr(ours, name)(a, lr=0.01, **options, **mode, **settings)
    return a, mine, b, getattr(torch.optim, name)(b, lr=0.01, **options, **settings)


def assert_close(a, b, dtype):
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@dtypes
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_agree_with_torch(case, weight_decay, dtype):
    a, mine, b, theirs = pair(case, dtype, weight_decay=weight_decay)
    for i in range(50):
        set_gradients(i, a, b)
        mine.step()
        theirs.step()
    assert_close(a, b, dtype)
    for p, q in zip(a, b, strict=True):
        assert mine.state[p].keys() == theirs.state[q].keys()
        for key, x in mine.state[p].items():
            torch.testing.assert_close(x, theirs.state[q][key], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@dtypes
@pytest.mark.parametrize("case", CASES)
def test_each_loads_the_state_of_the_other(case, dtype):
    a, mine, b, theirs = pair(case, dtype, weight_decay=0.1)
    for i in range(10):
        set_gradients(i, a, b)
        mine.step()
        theirs.step()
    theirs.load_state_dict(mine.state_dict())
    mine.load_state_dict(theirs.state_dict())
    for i in range(10, 20):
        set_gradients(i, a, b)
        mine.step()
        theirs.step()
    assert_close(a, b, dtype)


@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01), torch.tensor([0.01])], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_new_optimizer_goes_on_from_the_file_of_the_other(case, lr):
    """Two groups with settings of their own, an lr that is a tensor, and a scheduler that fills it."""
    (name, options), penalty = CASES[case], {"mode": "subgradient"}
    if options.get("decoupled_weight_decay") or name == "AdamW":
        penalty = {}
    sides = [(ours, penalty), (torch.optim, {})]
    for module, settings in sides:
        params = parameters(torch.float32)
        first = getattr(module, name)(groups_of(params), lr=copied(lr), **options, **settings)
        run(params, first, range(5))
        other, other_settings = sides[module is ours]
        file = io.BytesIO()
        torch.save(first.state_dict(), file)
        file.seek(0)
        others = [torch.nn.Parameter(p.detach().clone()) for p in params]
        second = getattr(other, name)(groups_of(others), lr=0.5, **options, **other_settings)
        second.load_state_dict(torch.load(file, weights_only=True))
        run(params, first, range(5, 10))
        run(others, second, range(5, 10))
        assert_close(params, others, torch.float32)


def copied(lr):
    return lr.clone() if isinstance(lr, torch.Tensor) else lr


def groups_of(params):
    return [{"params": params[:1], "lr": 0.02}, {"params": params[1:], "weight_decay": 0.1}]


def run(params, optimizer, steps):
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for i in steps:
        set_gradients(i, params)
        optimizer.step()
        scheduler.step()


@dtypes
@pytest.mark.parametrize("case", CASES)
def test_the_defaults_are_those_of_torch(case, dtype):
    name, _ = CASES[case]
    p = parameters(dtype)
    mine, theirs = getattr(ours, name)(p).defaults, getattr(torch.optim, name)(p).defaults
    assert {key: mine[key] for key in theirs if key in mine} == {key: x for key, x in theirs.items() if key in mine}
    assert theirs.keys() - mine.keys() == set()
    assert isinstance(getattr(ours, name)(p), torch.optim.Optimizer)


PENALTIES = {
    "none": {},
    "l1": {"l1": 0.3},
    "elastic net": {"l1": 0.3, "l2": 0.2},
    "MCP": {"l1": 0.3, "gamma": 3.0},
    "groups": {"l1": 0.1, "l21": 0.5},
    "bounds": {"l1": 0.1, "bounds": (0.0, 0.5)},
}
OWN = {
    "SGD": {"momentum": 0.9, "dampening": 0.4},
    "Adagrad": {},
    "RMSprop": {},
    "Adam": {"amsgrad": True},
    "Lion": {},
    "FTRL": {"initial_accumulator_value": 0.1},
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_bounds_of_each_weight_have_the_bits_of_the_optimizer_over_arrays(name, dtype):
    params = parameters(getattr(torch, dtype))
    low = [torch.full(p.shape, -0.3) for p in params]
    low[0] = -0.2  # a number in the place of a tensor
    for high in (0.25, [p.detach().abs().clone() for p in params], [0.25] * len(params)):
        params = parameters(getattr(torch, dtype))
        arrays = [p.detach().clone() for p in params]
        mine = getattr(ours, name)(params, lr=0.1, l1=0.1, bounds=(low, high), **OWN[name])
        other = getattr(fastreg, name)(arrays, lr=0.1, l1=0.1, bounds=(low, high), **OWN[name])
        for i in range(3):
            set_gradients(i, params)
            mine.step()
            other.step(gradients(i, params))
        for p, w in zip(params, arrays, strict=True):
            assert torch.equal(p, w)
    mine.param_groups[0]["bounds"] = low, 0.0
    mine.param_groups[0]["lr"] = 0.0
    mine.step()
    assert torch.equal(params[1], arrays[1])
    mine.param_groups[0]["lr"] = 0.1
    mine.step()
    assert max(p.max().item() for p in params if p.numel()) <= 0


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_three_steps_have_the_bits_of_the_optimizer_over_arrays(name, penalty, dtype):
    """Powers of the betas are computed otherwise from the fourth step on."""
    settings = OWN[name] | PENALTIES[penalty]
    if name == "Lion" and settings.keys() & {"gamma", "l21"}:
        pytest.skip("Lion has neither MCP nor a group lasso")
    params = parameters(getattr(torch, dtype))
    arrays = [p.detach().clone() for p in params]
    mine = getattr(ours, name)(params, lr=0.1, **settings)
    other = getattr(fastreg, name)(arrays, lr=0.1, **settings)
    for i in range(3):
        set_gradients(i, params)
        mine.step()
        other.step(gradients(i, params))
    for p, w in zip(params, arrays, strict=True):
        assert_same_bits(p.detach().float().numpy(), w.float().numpy())
    assert mine.zeros() == other.zeros()
    assert mine.penalty() == pytest.approx(other.penalty())
    assert mine.report()["0"].zeros == other.report()["0"].zeros


def test_adamw_has_a_proximal_l1_beside_its_decay():
    """w·(1 − lr·d), then Adam's step, then the threshold in Adam's metric."""
    params, plain = parameters(torch.float64), parameters(torch.float64)
    optimizer = ours.AdamW(params, lr=0.1, weight_decay=0.5, l1=0.2)
    adam = ours.Adam(plain, lr=0.1, l1=0.2)
    for i in range(5):
        set_gradients(i, params, plain)
        optimizer.step()
        with torch.no_grad():
            for p in plain:
                p.mul_(1 - 0.1 * 0.5)
        adam.step()
    assert_close(params, plain, torch.float64)
    assert optimizer.zeros() > 0


def test_a_factor_multiplies_the_strengths_of_a_parameter_or_of_each_weight():
    params = parameters(torch.float32)[:3]
    factor = torch.tensor([0.0, 1, 2, 3, 0, 1, 2])
    optimizer = ours.AdamW(params, lr=0.1, weight_decay=0.5, l1=0.2, penalty_factor=[factor, 0.0, 2.0])
    twins = parameters(torch.float32)[:3]
    other = fastreg.Adam([p.detach() for p in twins], lr=0.1, l1=0.2, penalty_factor=[factor.numpy(), 0.0, 2.0])
    for i in range(3):
        set_gradients(i, params, twins)
        optimizer.step()
        with torch.no_grad():
            for p, f in zip(twins, (factor, 0.0, 2.0), strict=True):
                p.mul_(1 - 0.1 * 0.5 * f)
        other.step([p.grad for p in twins])
    assert_close(params, twins, torch.float32)
    assert optimizer.penalty() > other.penalty()


def test_groups_of_the_group_lasso_in_any_layout():
    """The same groups in C order, in Fortran order and in channels_last."""
    results = []
    for kind in ("plain", "permuted", "channels_last"):
        w = torch.randn(6, 5, 4, 3, generator=torch.Generator().manual_seed(0))
        if kind == "channels_last":
            w = w.contiguous(memory_format=torch.channels_last)
        elif kind == "permuted":
            w = w.permute(1, 3, 0, 2).contiguous().permute(2, 0, 3, 1)
        p = torch.nn.Parameter(w)
        optimizer = ours.SGD([p], lr=0.1, l21=28.0, group_axis=1)
        for i in range(3):
            p.grad = torch.randn(6, 5, 4, 3, generator=torch.Generator().manual_seed(i))
            optimizer.step()
        results.append(p.detach())
    assert (results[0] == 0).all(dim=3).all(dim=2).all(dim=0).any()
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def noise(i, shape=(4, 6), dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(i), dtype=dtype)


def test_a_group_whose_list_of_parameters_changes():
    p, q = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    p.grad, q.grad = torch.ones(3), torch.ones(3)
    optimizer = ours.SGD([p], lr=0.25, l1=1.0, penalty_factor=2.0)
    optimizer.step()
    optimizer.param_groups[0]["params"].append(q)
    optimizer.step()
    assert p.tolist() == [0.0] * 3
    assert q.tolist() == [0.25] * 3


def test_parameters_whose_shape_and_dtype_change():
    p = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = ours.SGD([p], lr=0.25, l1=1.0, penalty_factor=[torch.full((3,), 2.0)])
    for w in (p.detach(), torch.ones(3), torch.ones(3).double()):
        p.grad, p.data = None, w
        p.grad = torch.ones_like(p)
        optimizer.step()
        assert p.tolist() == [0.25] * 3
    p, r = torch.nn.Parameter(torch.ones(3).double()), torch.nn.Parameter(torch.ones(3).double())
    optimizer = ours.SGD([{"params": p}, {"params": r}], lr=0.25, l1=1.0)
    for dtype in (torch.float64, torch.float32):
        for x in (p, r):
            x.grad, x.data = None, torch.ones(3, dtype=dtype)
            x.grad = torch.ones_like(x)
        optimizer.step()
        assert p.tolist() == r.tolist() == [0.5] * 3
    optimizer = ours.SGD([q := torch.nn.Parameter(torch.ones(3).double())], lr=0.25, l1=1e200)
    q.grad = torch.ones_like(q)
    optimizer.step()
    q.grad, q.data = None, torch.ones(3)
    q.grad = torch.ones(3)
    with pytest.raises(ValueError, match="l1: "):
        optimizer.step()
    assert (q == 1).all()


def test_a_new_sort_of_state_is_not_a_first_step():
    (p, q), steps = (torch.nn.Parameter(noise(9)) for _ in range(2)), []
    optimizers = [ours.Adam([p], lr=0.1), torch.optim.Adam([q], lr=0.1)]
    for i in range(4):
        p.grad, q.grad = noise(i), noise(i)
        for optimizer, x in zip(optimizers, (p, q), strict=True):
            if i == 2:
                optimizer.param_groups[0]["amsgrad"] = True
                if x is q:
                    optimizer.state[q]["max_exp_avg_sq"] = torch.zeros_like(q)
            optimizer.step()
        steps.append(float(optimizers[0].state[p]["step"]))
    torch.testing.assert_close(p, q)
    assert steps == [1, 2, 3, 4]


def test_counts_of_steps_whatever_the_defaults_are():
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizers = []
    with torch.device("meta"):
        for kind in (ours.Adam, ours.Adagrad):
            optimizers.append(kind([p]))
            optimizers[-1].step()
    state = optimizers[0].state_dict()
    state["state"][0]["step"] = 300
    torch.set_default_dtype(torch.bfloat16)
    try:
        optimizers[0].load_state_dict(state)
    finally:
        torch.set_default_dtype(torch.float32)
    optimizers[0].step()
    assert optimizers[0].state[p]["step"].item() == 301
    assert optimizers[0].state[p]["step"].dtype == torch.float32


@pytest.mark.parametrize("axis", [0, 1])
def test_factors_of_a_group_lasso_in_channels_last(axis):
    factor = torch.rand(4, generator=torch.Generator().manual_seed(1)).reshape((4, 1) if axis == 0 else (1, 4))
    factor = factor[..., None, None].expand(4, 4, 1, 2)
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        p = torch.nn.Parameter(noise(3, (4, 4, 1, 2)).contiguous(memory_format=memory_format))
        p.grad = noise(4, (4, 4, 1, 2))
        ours.SGD([p], lr=0.1, l21=0.5, group_axis=axis, penalty_factor=[factor]).step()
        results.append(p.detach())
        with pytest.raises(ValueError, match="which differs between the weights of a group"):
            ours.SGD([p], lr=0.1, l21=0.5, group_axis=1 - axis, penalty_factor=[factor]).step()
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("is_fortran", [False, True])
def test_a_group_axis_of_size_one_has_the_bits_of_the_arrays(is_fortran):
    for i in range(20):
        w, g = noise(i, (7, 1, 53), torch.float64), noise(i + 99, (7, 1, 53), torch.float64)
        if is_fortran:
            w, g = (x.permute(2, 1, 0).contiguous().permute(2, 1, 0) for x in (w, g))
        p, array = torch.nn.Parameter(w.clone()), w.clone().numpy()
        p.grad = g
        ours.SGD([p], lr=0.1, l21=3.0, group_axis=1).step()
        fastreg.group_update(array, g.numpy(), 0.1, 0.0, 0.0, 3.0, 1)
        assert (p.detach().numpy() == array).all()
