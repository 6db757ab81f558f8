"""FTRL of torch whose lr or beta change: the bits of fastreg.FTRL; the change alone moves no weight, lr = 0 none."""

import copy
import pickle
from math import inf

import numpy as np
import pytest
from cases import assert_same_bits
from optimizer_cases import FTRL_OPTIONS, FTRL_RATES

import fastreg

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")

OPTIONS = FTRL_OPTIONS | {"groups": {"l1": 0.1, "l21": 0.5, "group_axis": 0}}
options = pytest.mark.parametrize("case", OPTIONS)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])


def noise(seed, *shape, dtype=torch.float32):
    return torch.randn(shape or (7, 9), generator=torch.Generator().manual_seed(seed)).to(dtype)


def start(case="elastic net", dtype=torch.float32, lr=0.5):
    """Two parameters, and their optimizer."""
    params = [torch.nn.Parameter(noise(i, dtype=dtype)) for i in range(2)]
    return params, ours.FTRL(params, lr=lr, **OPTIONS[case])


def train(params, optimizer, seeds, lr=None):
    if lr is not None:
        optimizer.param_groups[0]["lr"] = lr
    for seed in seeds:
        for i, p in enumerate(params):
            p.grad = noise(100 + seed + i, *p.shape, dtype=p.dtype)
        optimizer.step()


def rest(params, optimizer, lr):
    """A step with gradients of zero."""
    optimizer.param_groups[0]["lr"] = lr
    for p in params:
        p.grad = torch.zeros_like(p)
    optimizer.step()


def built_on(optimizer):
    return [(own["built_on_lr"].item(), own["built_on_beta"].item()) for own in optimizer.state.values()]


@options
@dtypes
@pytest.mark.parametrize("first", [0.5, 0.0])
def test_a_schedule_has_the_bits_of_the_optimizer_over_arrays(case, dtype, first):
    if case == "bounds" and first == 0:
        pytest.skip("a step with lr = 0 of the optimizer over arrays moves weights into the bounds")
    params, optimizer = start(case, getattr(torch, dtype))
    arrays, rates = [p.detach().clone() for p in params], [first, *FTRL_RATES]
    other = fastreg.FTRL(arrays, lambda n: rates[min(n, len(FTRL_RATES))], **OPTIONS[case])
    for step, lr in enumerate(rates):
        train(params, optimizer, [step], lr)
        other.step([p.grad for p in params])
        for p, w, state in zip(params, arrays, other.state.values(), strict=True):
            assert_same_bits(p.detach().double().numpy(), w.double().numpy())
            assert_same_bits(optimizer.state[p]["z"].numpy(), state["z"])
            assert_same_bits(optimizer.state[p]["n"].numpy(), state["n"])


@options
@dtypes
def test_a_scheduler_moves_no_weight_under_a_zero_gradient(case, dtype):
    if case == "groups" and dtype == "bfloat16":
        pytest.skip("groups round twice")
    params, optimizer = start(case, getattr(torch, dtype))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: [1, 0.5, 4.0, 0.1, 0.0, 2.0][n])
    train(params, optimizer, range(3))
    before = [p.detach().clone() for p in params]
    for _ in range(5):
        scheduler.step()
        rest(params, optimizer, optimizer.param_groups[0]["lr"])
    for p, w in zip(params, before, strict=True):
        if dtype == "bfloat16":
            assert torch.equal(p, w)
        torch.testing.assert_close(p.detach(), w, rtol=1e-4, atol=2e-6)
        assert torch.equal(p == 0, w == 0)


def test_a_change_of_beta_moves_no_weight():
    params, optimizer = start(dtype=torch.float64)
    train(params, optimizer, range(3))
    before = [p.detach().clone() for p in params]
    optimizer.param_groups[0]["beta"] = 3.0
    rest(params, optimizer, 0.2)
    for p, w in zip(params, before, strict=True):
        torch.testing.assert_close(p.detach(), w, rtol=1e-12, atol=1e-15)
    assert built_on(optimizer) == [(0.2, 3.0)] * 2


@options
@dtypes
def test_lr_0_stands_still(case, dtype):
    params, optimizer = start(case, getattr(torch, dtype), lr=torch.tensor(0.0))
    before = [p.detach().clone() for p in params]
    train(params, optimizer, range(2))
    assert all(torch.equal(p, w) for p, w in zip(params, before, strict=True))
    assert built_on(optimizer) == [(0.0, 0.0) if case == "cold start" else (inf, optimizer.defaults["beta"])] * 2
    train(params, optimizer, range(2), lr=0.5)
    before = copy.deepcopy((params, list(optimizer.state.values())))
    train(params, optimizer, range(2), lr=0.0)
    assert built_on(optimizer) == [(0.5, optimizer.defaults["beta"])] * 2
    for p, w, state in zip(params, *before, strict=True):
        assert torch.equal(p, w)
        assert all(torch.equal(x, state[key]) for key, x in optimizer.state[p].items())


@pytest.mark.parametrize("way", ["weights_only", "state_dict", "deepcopy", "pickle", "numbers"])
def test_a_change_of_lr_right_after_loading_has_the_same_bits(way):
    params, optimizer = start()
    train(params, optimizer, range(3))
    if way in ("deepcopy", "pickle"):
        pair = params, optimizer
        others, loaded = copy.deepcopy(pair) if way == "deepcopy" else pickle.loads(pickle.dumps(pair))
    else:
        others, loaded = start()
        for p, q in zip(params, others, strict=True):
            q.data.copy_(p)
        saved = optimizer.state_dict()
        if way == "weights_only":
            saved = through_a_file_of_torch(saved)
        if way == "numbers":  # as some tools store tensors without axes
            saved["state"] = {i: own | {key: own[key].item() for key in ("built_on_lr", "built_on_beta")}
                              for i, own in saved["state"].items()}  # fmt: skip
        loaded.load_state_dict(saved)
    for own in loaded.state.values():
        assert own["built_on_lr"].dtype == own["built_on_beta"].dtype == torch.float64
    for lr in (0.05, 0.0, 1.0):
        train(params, optimizer, range(2), lr)
        train(others, loaded, range(2), lr)
        for p, q in zip(params, others, strict=True):
            assert torch.equal(p, q)


def through_a_file_of_torch(x):
    import io

    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_state_without_the_rate_is_built_on_that_of_the_first_step():
    """As saved before it was stored."""
    params, optimizer = start()
    train(params, optimizer, range(3))
    saved = optimizer.state_dict()
    saved["state"] = {i: {key: own[key] for key in ("z", "n")} for i, own in saved["state"].items()}
    others, loaded = start()
    for p, q in zip(params, others, strict=True):
        q.data.copy_(p)
    loaded.load_state_dict(saved)
    for lr in (0.5, 0.05, 0.0, 2.0):
        train(params, optimizer, range(2), lr)
        train(others, loaded, range(2), lr)
        assert built_on(loaded) == built_on(optimizer)
        for p, q in zip(params, others, strict=True):
            assert torch.equal(p, q)


def test_state_without_the_rate_may_start_at_lr_0():
    params, optimizer = start()
    train(params, optimizer, range(3))
    for own in optimizer.state.values():
        del own["built_on_lr"]
    train(params, optimizer, [0], lr=0.0)
    assert built_on(optimizer) == [(0.0, 1.0)] * 2
    before = [p.detach().clone() for p in params]
    rest(params, optimizer, 0.5)
    for p, w in zip(params, before, strict=True):
        torch.testing.assert_close(p.detach(), w)


BAD = {
    "negative": torch.tensor(-1.0, dtype=torch.float64),
    "NaN": torch.tensor(np.nan, dtype=torch.float64),
    "too small": torch.tensor(1e-40, dtype=torch.float64),
    "float32": torch.tensor(1.0),
    "an axis of two": torch.ones(2, dtype=torch.float64),
    "a number": 0.5,
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_rate_is_refused_before_the_first_write(case):
    params, optimizer = start()
    train(params, optimizer, [0])
    before = [p.detach().clone() for p in params]
    optimizer.state[params[1]]["built_on_lr"] = BAD[case]
    with pytest.raises(ValueError, match=r"^state\[.*\]: expected 'built_on_lr' and 'built_on_beta'"):
        train(params, optimizer, [1])
    assert all(torch.equal(p, w) for p, w in zip(params, before, strict=True))


def test_an_lr_without_a_finite_inverse_is_refused():
    params, optimizer = start(lr=1e-40)
    with pytest.raises(ValueError, match=r"^lr: expected settings that lead to numbers within the range"):
        train(params, optimizer, [0])


def test_a_step_that_is_left_out_stores_no_rate():
    params, optimizer = start()
    optimizer.on_nonfinite = "skip"
    train(params, optimizer, [0])
    params[1].grad[0, 0] = inf
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert optimizer.skipped == 1
    assert built_on(optimizer) == [(0.5, 1.0)] * 2


def test_a_list_of_axes_has_one_for_each_parameter():
    params = [torch.nn.Parameter(noise(i)) for i in range(3)]
    optimizer = ours.FTRL(params, lr=0.1, group_axis=[0, None])
    with pytest.raises(ValueError, match=r"^group_axis: expected one entry for each of 3 parameters, got 2"):
        train(params, optimizer, [0])
