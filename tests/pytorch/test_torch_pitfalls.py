"""Ways in which tensors of torch differ from plain memory: each was met in practice."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")


def twins(w, **settings):
    """Two parameters with the same weights, and their optimizers, ours and torch's."""
    p, q = torch.nn.Parameter(w), torch.nn.Parameter(w.detach().clone())
    return p, ours.AdamW([p], lr=0.1, **settings), q, torch.optim.AdamW([q], lr=0.1, **settings)


def assert_same_steps(p, mine, q, theirs, gradient):
    for i in range(3):
        p.grad, q.grad = gradient(i), gradient(i)
        mine.step()
        theirs.step()
    torch.testing.assert_close(p, q)


def noise(i, shape=(4, 6), dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(i), dtype=dtype)


def test_a_gradient_that_is_a_lazily_negated_view():
    pair = twins(noise(9))
    assert torch._neg_view(noise(0)).is_neg()
    assert_same_steps(*pair, lambda i: torch._neg_view(noise(i)))


LAYOUTS = {
    "transposed": lambda x: x.t().contiguous().t(),
    "sliced": lambda x: torch.stack([x, x], -1)[..., 0],
    "expanded": lambda x: x[:1].expand(x.shape),
    "one element": lambda x: x[0, 0].expand(x.shape),
    "offset": lambda x: torch.cat([x.flatten()[:1], x.flatten()])[1:].view(x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_in_any_layout(layout):
    assert_same_steps(*twins(noise(9)), lambda i: LAYOUTS[layout](noise(i)))


@pytest.mark.parametrize("layout", ["transposed", "sliced", "offset"])
def test_parameters_in_any_layout(layout):
    p, *others = twins(LAYOUTS[layout](noise(9)))
    before, strides = p.data_ptr(), p.stride()
    assert_same_steps(p, *others, noise)
    assert (p.data_ptr(), p.stride()) == (before, strides)


def test_channels_last():
    w = noise(9, (4, 3, 5, 5)).contiguous(memory_format=torch.channels_last)
    p, mine, q, theirs = twins(w)
    assert_same_steps(p, mine, q, theirs, lambda i: noise(i, (4, 3, 5, 5)))
    assert mine.state[p]["exp_avg"].stride() == p.stride()
    mine.load_state_dict(torch.optim.AdamW([torch.nn.Parameter(q.detach().contiguous())]).state_dict())
    state = theirs.state_dict()
    state["state"][0]["exp_avg"] = state["state"][0]["exp_avg"].contiguous()
    mine.load_state_dict(state)
    assert mine.state[p]["exp_avg"].stride() == p.stride()
    assert_same_steps(p, mine, q, theirs, lambda i: noise(i, (4, 3, 5, 5)))


def test_state_that_lies_otherwise_is_used_and_written_back():
    p, mine, q, theirs = twins(noise(9))
    assert_same_steps(p, mine, q, theirs, noise)
    mine.state[p]["exp_avg"] = mine.state[p]["exp_avg"].t().contiguous().t()
    assert_same_steps(p, mine, q, theirs, noise)
    torch.testing.assert_close(mine.state[p]["exp_avg"], theirs.state[q]["exp_avg"])


def test_a_slice_leaves_its_neighbours_alone():
    base = torch.zeros(10)
    p = torch.nn.Parameter(base[::2])
    p.grad = torch.ones(5)
    ours.SGD([p], lr=1.0).step()
    assert base.tolist() == [-1, 0] * 5


def test_memory_that_moves_between_steps():
    """share_memory_, .data, set_ and ZeRO move parameters."""
    pair = p, *_ = twins(noise(9))
    assert_same_steps(*pair, noise)
    p.data = p.data.clone()
    assert_same_steps(*pair, noise)
    p.share_memory_()
    assert_same_steps(*pair, noise)
    with torch.no_grad():
        p.set_(p.detach().clone())
    assert_same_steps(*pair, noise)


def test_the_dtype_of_a_module_that_changes_between_steps():
    p, mine, *_ = twins(noise(9))
    p.grad = noise(0)
    mine.step()
    p.data = p.data.double()
    p.grad = noise(1, dtype=torch.float64)
    before = p.detach().clone()
    mine.step()
    assert (p != before).all()


def test_autograd_notices_a_step():
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    loss, version = (p * p).sum(), p._version
    ours.SGD([p], lr=0.1).step()
    assert p._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_bfloat16_parameters_have_float32_state_that_loading_keeps():
    p = torch.nn.Parameter(noise(9).bfloat16())
    optimizer = ours.Adam([p], lr=0.01)
    for i in range(3):
        p.grad = noise(i).bfloat16()
        optimizer.step()
    state = optimizer.state[p]["exp_avg_sq"]
    assert state.dtype == torch.float32
    assert (state != state.bfloat16()).any()
    q = torch.nn.Parameter(p.detach().clone())
    copy = ours.Adam([q], lr=0.5)
    copy.load_state_dict(optimizer.state_dict())
    assert (copy.state[q]["exp_avg_sq"] == state).all()
    p.grad, q.grad = noise(3).bfloat16(), noise(3).bfloat16()
    optimizer.step()
    copy.step()
    assert (p == q).all()
    assert copy.state[q]["exp_avg_sq"] is not state
    theirs = torch.optim.Adam([q])
    theirs.load_state_dict(optimizer.state_dict())
    assert theirs.state[q]["exp_avg_sq"].dtype == torch.bfloat16
    copy.load_state_dict(theirs.state_dict())
    assert copy.state[q]["exp_avg_sq"].dtype == torch.float32
    copy.step()


def test_a_step_leaves_no_empty_state():
    """`state[p]` of a defaultdict would create one, which breaks checkpoints."""
    p, q, r = (torch.nn.Parameter(torch.ones(3)) for _ in range(3))
    p.grad = torch.ones(3)
    optimizer = ours.Adam([p, q], lr=0.1)
    optimizer.add_param_group({"params": r, "l1": 0.1})
    optimizer.step()
    optimizer.report()
    optimizer.zeros()
    assert set(optimizer.state) == {p}
    plain = ours.SGD([p, q], lr=0.1)
    plain.step()
    assert not plain.state


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Lion", "FTRL"])
def test_without_a_rate_nothing_moves(name):
    """Distributed checkpoints make the state by a step with lr = 0 and gradients of zero, before they load it."""
    p = torch.nn.Parameter(noise(9))
    settings = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(ours, name)([p], lr=0.1, l1=0.5, l2=0.5, bounds=(-0.1, 0.1), **settings)
    for lr in (0.0, torch.tensor(0.0)):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = torch.zeros_like(p)
        optimizer.step()
        assert (p == noise(9)).all()
    assert optimizer.state
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert p.abs().max() <= 0.1 + 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("l21", [0.0, 0.1])
def test_maximize_negates_the_gradients_of_its_groups(dtype, l21):
    shapes = [(5, 3), (0,), (), (40,), (300_000,)]
    twins = []
    for sign in (-1, 1):
        params, maximize = [torch.nn.Parameter(torch.ones(x, dtype=getattr(torch, dtype))) for x in shapes], sign < 0
        twins.append(params)
        groups = [{"params": params[:2], "maximize": maximize}, {"params": params[2:3]},
                  {"params": params[3:], "maximize": maximize}]  # fmt: skip
        optimizer = ours.Adam(groups, lr=0.1, l1=0.01, l21=l21)
        for i in range(2):
            for j, p in enumerate(params):
                g = torch.randn(p.shape, generator=torch.Generator().manual_seed(10 * i + j)).to(p.dtype)
                p.grad = g if j == 2 else sign * g
            before = [p.grad.clone() for p in params]
            optimizer.step()
            assert all(torch.equal(p.grad, g) for p, g in zip(params, before, strict=True))
    for p, q in zip(*twins, strict=True):
        assert torch.equal(p, q)


def test_settings_are_checked_where_a_gradient_exists():
    """Schedulers pass through odd values."""
    p, q = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    optimizer = ours.SGD([{"params": p}, {"params": q}], lr=0.1)
    optimizer.param_groups[1]["lr"] = -1.0
    p.grad = torch.ones(3)
    optimizer.step()
    q.grad = torch.ones(3)
    with pytest.raises(ValueError, match="lr: expected a number from 0 to inf"):
        optimizer.step()
    assert p[0].item() == pytest.approx(0.9)
    optimizer.param_groups[1]["lr"] = 0.1
    optimizer.step()


def test_the_first_step_with_dampening_is_that_of_each_parameter():
    """A step that fails or is left out does not count."""
    p = torch.nn.Parameter(torch.ones(3))
    q = torch.nn.Parameter(torch.ones(3))
    mine = ours.SGD([p], lr=0.1, momentum=0.9, dampening=0.5, on_nonfinite="skip")
    theirs = torch.optim.SGD([q], lr=0.1, momentum=0.9, dampening=0.5)
    p.grad = torch.full((3,), torch.nan)
    mine.step()
    assert mine.skipped == 1
    assert not mine.state
    mine.on_nonfinite = "raise"
    with pytest.raises(FloatingPointError, match=r"params'\]\[0\].grad: expected finite numbers"):
        mine.step()
    for i in range(3):
        p.grad, q.grad = torch.full((3,), 1.0 + i), torch.full((3,), 1.0 + i)
        mine.step()
        theirs.step()
    torch.testing.assert_close(p, q)


def test_a_state_in_another_order():
    """The walk through the state expects the order of the parameters, but does not need it."""
    params = [torch.nn.Parameter(noise(i)) for i in range(4)]
    others = [torch.nn.Parameter(noise(i)) for i in range(4)]
    mine, theirs = ours.AdamW(params, lr=0.1), torch.optim.AdamW(others, lr=0.1)
    for i, chosen in enumerate(([3, 1], [0, 1, 2, 3], [2], [0, 3], [0, 1, 2, 3])):
        for k in range(4):
            params[k].grad = noise(10 * i + k) if k in chosen else None
            others[k].grad = noise(10 * i + k) if k in chosen else None
        mine.step()
        theirs.step()
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q)


def test_a_torch_without_the_exchange_api(monkeypatch):
    p, mine, q, _ = twins(noise(9).bfloat16(), weight_decay=0.0)
    monkeypatch.delattr(torch.Tensor, "__dlpack_c_exchange_api__")
    slow = ours.AdamW([q], lr=0.1, weight_decay=0.0)
    for i in range(3):
        p.grad, q.grad = noise(i).bfloat16().t().contiguous().t(), noise(i).bfloat16()
        mine.step()
        slow.step()
    assert (p == q).all()
    q.grad = None
    q.data = torch.ones(4, 6, dtype=torch.half)
    q.grad = torch.ones_like(q)
    with pytest.raises(TypeError, match=r"got torch\.float16"):
        slow.step()


@pytest.mark.parametrize("call", range(8))
def test_an_interrupt_while_state_is_made(call, monkeypatch):
    """The hash of a tensor is Python code, which Ctrl-C can interrupt."""
    params = [torch.nn.Parameter(noise(i)) for i in range(3)]
    others = [torch.nn.Parameter(noise(i)) for i in range(3)]
    mine = ours.SGD(params, lr=0.1, momentum=0.9, dampening=0.5)
    theirs = torch.optim.SGD(others, lr=0.1, momentum=0.9, dampening=0.5)
    for p, q in zip(params, others, strict=True):
        p.grad, q.grad = torch.ones(4, 6), torch.ones(4, 6)
    calls = iter(range(100))

    def interrupted(tensor):
        if next(calls) == call:
            raise KeyboardInterrupt
        return id(tensor)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "__hash__", interrupted)
        try:
            mine.step()
            is_done = True
        except KeyboardInterrupt:
            is_done = False
    assert bool(mine.state) == is_done
    assert all(torch.equal(p, noise(i)) != is_done for i, p in enumerate(params))
    for _ in range(3 - is_done):
        mine.step()
    for _ in range(3):
        theirs.step()
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q)


def test_slices_without_common_elements():
    base = torch.ones(3, 4)
    params = [torch.nn.Parameter(x) for x in (base[:, 0:2], base[0, 2:], base[1:, 2:3], base[1:, 3])]
    for p in params:
        p.grad = torch.ones(p.shape)
    optimizer = ours.SGD(params, lr=0.25)
    for _ in range(2):
        optimizer.step()
    assert (base == 0.5).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_parameters_and_state_that_are_lazily_negated_views(dtype):
    base = torch.ones(3, 4, dtype=dtype)
    p = torch.nn.Parameter(torch._neg_view(base))
    p.grad = torch.ones_like(p)
    optimizer = ours.SGD([p], lr=0.25, momentum=0.5)
    optimizer.step()
    assert (p == -1.25).all()
    optimizer.state[p]["momentum_buffer"] = torch._neg_view(-optimizer.state[p]["momentum_buffer"])
    optimizer.step()
    assert (p == -1.625).all()
    assert (base == 1.625).all()
    assert (optimizer.state[p]["momentum_buffer"] == 1.5).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kept", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_state_of_another_dtype_is_rounded_as_torch_rounds(dtype, kept):
    p, twin = (torch.nn.Parameter(noise(9, (4, 3, 2), dtype).transpose(0, 2)) for _ in range(2))
    mine, theirs = (ours.SGD([x], lr=0.25, momentum=0.5) for x in (p, twin))
    for i in range(2):
        p.grad = twin.grad = noise(i, (2, 3, 4), dtype)
        mine.step()
        theirs.step()
        expected = theirs.state[twin]["momentum_buffer"].to(kept)
        if i:
            assert torch.equal(mine.state[p]["momentum_buffer"], expected)
        for optimizer, x in ((mine, p), (theirs, twin)):
            optimizer.state[x]["momentum_buffer"] = expected.to(kept if x is p else torch.float64 if
                                                                dtype == torch.float64 else torch.float32)  # fmt: skip


def test_modes_of_torch_do_not_run_in_the_commit():
    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if getattr(function, "__name__", "") == "copy_" and args[0].data_ptr() == base.data_ptr():
                raise KeyboardInterrupt
            return function(*args, **(kwargs or {}))

    base = torch.ones(6)
    p, q = torch.nn.Parameter(base[::2]), torch.nn.Parameter(torch.ones(3))
    p.grad, q.grad = torch.ones(3), torch.ones(3)
    version = base._version
    with Mode():
        ours.SGD([q, p], lr=0.25).step()
    assert base.tolist() == [0.75, 1] * 3
    assert q.tolist() == [0.75] * 3
    assert base._version > version
