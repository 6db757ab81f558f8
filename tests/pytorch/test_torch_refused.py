"""What fastreg.torch refuses: an error that names the parameter, before anything is written."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")


def first_and(p, g, **settings):
    """An optimizer of a good parameter and of p with the gradient g."""
    good = torch.nn.Parameter(torch.ones(3))
    good.grad = torch.ones(3)
    if g is not None:
        p.grad = g
    return good, ours.Adam([("good", good), ("bad", p)], lr=0.1, **settings)


def assert_nothing_happens(good, optimizer, error, match):
    with pytest.raises(error, match=match):
        optimizer.step()
    assert good.tolist() == [1, 1, 1]
    assert not optimizer.state


@pytest.mark.parametrize("dtype", [torch.float16, torch.complex64, torch.complex128], ids=str)
def test_dtypes(dtype):
    p = torch.nn.Parameter(torch.ones(3, dtype=dtype))
    good, optimizer = first_and(p, torch.ones(3, dtype=dtype))
    assert_nothing_happens(good, optimizer, TypeError, r"expected dtype float32, float64 or bfloat16, got torch\.")


def test_meta():
    p = torch.nn.Parameter(torch.ones(3, device="meta"))
    good, optimizer = first_and(p, torch.ones(3, device="meta"))
    assert_nothing_happens(good, optimizer, TypeError, "on the CPU, got layout torch.strided on device meta")


def test_sparse_gradients():
    p = torch.nn.Parameter(torch.ones(3))
    good, optimizer = first_and(p, torch.eye(3)[0].to_sparse())
    assert_nothing_happens(good, optimizer, TypeError, r"bad.grad: expected a dense tensor on the CPU")


def test_sparse_parameters():
    p = torch.eye(3).to_sparse().requires_grad_()
    good, optimizer = first_and(p, torch.eye(3).to_sparse())
    assert_nothing_happens(good, optimizer, TypeError, "expected a dense tensor on the CPU")


def test_freed_memory():
    p = torch.nn.Parameter(torch.ones(3))
    good, optimizer = first_and(p, torch.ones(3))
    p.untyped_storage().resize_(0)
    assert_nothing_happens(good, optimizer, ValueError, "with memory, got one whose storage was freed")


def test_fake_tensors():
    fake = pytest.importorskip("torch._subclasses").FakeTensorMode
    with fake():
        p = torch.nn.Parameter(torch.ones(3))
        p.grad = torch.ones(3)
    good, optimizer = first_and(p, None)
    assert_nothing_happens(good, optimizer, TypeError, "memory of its own, got FakeTensor")


def test_parameters_that_overlap():
    base = torch.ones(5)
    a, b = torch.nn.Parameter(base[:3]), torch.nn.Parameter(base[2:])
    a.grad, b.grad = torch.ones(3), torch.ones(3)
    optimizer = ours.SGD([a, b], lr=0.1)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"\['params'\]\[0\] and .*\[1\]: expected arrays that share no memory"):
            optimizer.step()
    assert base.tolist() == [1] * 5


def test_a_gradient_that_overlaps_the_parameter():
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = p.data
    with pytest.raises(ValueError, match="share no memory"):
        ours.SGD([p], lr=0.1).step()


def test_an_expanded_parameter():
    p = torch.ones(1).expand(3).requires_grad_()
    good, optimizer = first_and(p, torch.ones(3))
    assert_nothing_happens(good, optimizer, ValueError, "elements with a memory of their own, got an expanded tensor")


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"lr": -1.0}, ValueError, "Invalid learning rate: -1.0"),
        ({"lr": torch.ones(2)}, ValueError, "Tensor lr must be 1-element"),
        ({"betas": (1.0, 0.5)}, ValueError, "Invalid beta parameter at index 0: 1.0"),
        ({"eps": -1.0}, ValueError, "Invalid epsilon value: -1.0"),
        ({"weight_decay": -1.0}, ValueError, "Invalid weight_decay value: -1.0"),
        ({"weight_decay": 1.0, "l2": 1.0}, ValueError, "l2: expected None with a weight_decay"),
        ({"l1": -1.0}, ValueError, "l1: expected a number from 0 to inf, got -1.0"),
        ({"l1": lambda step: 0.1}, TypeError, "l1: expected a number, which a scheduler can change, got a callable"),
        ({"lr": lambda step: 0.1}, TypeError, "lr: expected a number"),
        ({"mode": "truncated"}, ValueError, "mode: expected one of"),
        ({"l21": 1.0, "mode": "subgradient"}, ValueError, "l21: expected 0"),
        ({"differentiable": True}, ValueError, "differentiable: expected False"),
        ({"fused": True, "foreach": True}, RuntimeError, "`fused` and `foreach` cannot be `True` together"),
        ({"on_nonfinite": "stop"}, ValueError, "on_nonfinite: expected one of"),
        ({"threads": 0}, ValueError, "threads"),
    ],
)
def test_settings(settings, error, match):
    with pytest.raises(error, match=match):
        ours.Adam([torch.nn.Parameter(torch.ones(3))], **settings)


def test_variants_of_torch_that_have_no_kernel():
    for settings in ({"momentum": 0.9}, {"centered": True}):
        with pytest.raises(ValueError, match="momentum, centered: expected 0 and False"):
            ours.RMSprop([torch.nn.Parameter(torch.ones(3))], **settings)


def test_settings_that_need_the_parameters():
    vector, matrix = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3, 4))
    for p, settings, match in (
        (vector, {"l21": 1.0, "group_axis": 1}, r"group_axis: expected an axis of param_groups\[0\]"),
        (matrix, {"l21": 1.0, "bounds": (0.0, 1.0)}, "l21: expected 0 with bounds"),
        (matrix, {"l21": 1.0, "penalty_factor": [torch.eye(3, 4)]}, r"l21: expected 0 with penalty_factor"),
        (matrix, {"penalty_factor": [torch.ones(4, 3)]}, r"penalty_factor\[.*: expected shape \(3, 4\)"),
        (matrix, {"penalty_factor": [1.0, 2.0]}, "penalty_factor: expected one entry for each of 1 parameters"),
        (matrix, {"gamma": 2.0, "l1": 1.0, "bounds": (0.0, 1.0)}, "gamma: expected inf with bounds"),
        (matrix, {"gamma": 2.0, "l1": 1.0, "bounds": ([-torch.eye(3, 4)], 1.0)}, "gamma: expected inf with bounds"),
        (matrix, {"l21": 1.0, "bounds": ([-torch.eye(3, 4)], 1.0)}, "l21: expected 0 with bounds"),
        (matrix, {"bounds": ([torch.ones(4, 3)], 2.0)}, r"bounds\[0\]: expected shape \(3, 4\) like param_groups\[0\]"),
        (matrix, {"bounds": (0.0, [1.0, 2.0])}, r"bounds\[1\]: expected one entry for each of 1 parameters, got 2"),
        (matrix, {"bounds": ([0.0], [-torch.eye(3, 4)])}, "bounds: expected low <= high"),
    ):
        p.grad = torch.ones_like(p)
        optimizer = ours.SGD([p], lr=0.1, **settings)
        with pytest.raises(ValueError, match=match):
            optimizer.step()
        assert (p == 1).all()


@pytest.mark.parametrize("name", ["good", "bad"])
def test_a_damaged_state(name):
    good, optimizer = first_and(torch.nn.Parameter(torch.ones(2)), torch.ones(2))
    optimizer.step()
    before = good.tolist()
    p = optimizer.param_groups[0]["params"][name == "bad"]
    for key, x, match in (
        ("step", torch.tensor(-1.0), r"\['step'\]: expected a float tensor on the CPU with one element"),
        ("step", torch.tensor(torch.inf), "from 0 to 2"),
        ("step", torch.tensor(2.0**53), "from 0 to 2"),
        ("step", torch.ones(2), r"\['step'\]"),
        ("exp_avg", torch.ones(7), r"state\[.*\]\['exp_avg'\]: expected shape"),
        ("exp_avg", torch.ones(p.shape, dtype=torch.complex64), "expected dtype float32"),
    ):
        kept, optimizer.state[p][key] = optimizer.state[p][key], x
        with pytest.raises((TypeError, ValueError), match=match):
            optimizer.step()
        optimizer.state[p][key] = kept
    assert good.tolist() == before


def test_add_param_group_is_all_or_nothing():
    p, q = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    optimizer = ours.Adam([p], lr=0.1)
    for group, error in (
        ({"params": [q], "l1": -1.0}, ValueError),
        ({"params": [q], "mode": "truncated"}, ValueError),
        ({"params": [q, p]}, ValueError),
        ({"params": [q], "l2": 0.1, "weight_decay": 0.1}, ValueError),
        ([q], TypeError),
    ):
        with pytest.raises(error):
            optimizer.add_param_group(group)
        assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": q, "l2": 0.5, "name": "of the user"})
    assert optimizer.param_groups[1]["weight_decay"] == 0.5
    assert optimizer.param_groups[1]["lr"] == 0.1
    assert optimizer.param_groups[1]["name"] == "of the user"
    assert "l2" not in optimizer.param_groups[1]


def test_a_state_dict_that_does_not_fit_changes_nothing():
    p, q = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(4))
    p.grad, q.grad = torch.ones(3), torch.ones(4)
    optimizer, other = ours.Adam([p], lr=0.1), ours.Adam([q], lr=0.2)
    optimizer.step()
    other.step()
    state = optimizer.state[p]["exp_avg"].clone()
    with pytest.raises(ValueError, match=r"expected 'exp_avg' of shape \(3,\)"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert (optimizer.state[p]["exp_avg"] == state).all()


def test_state_whose_elements_share_memory():
    for make, name in ((ours.Adam, "exp_avg"), (lambda params: ours.SGD(params, momentum=0.5), "momentum_buffer")):
        p, q = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(4))
        p.grad, q.grad = torch.ones(3), torch.ones(4)
        optimizer = make([p, q])
        optimizer.step()
        before = p.tolist() + q.tolist()
        optimizer.state[q][name] = torch.full((1,), 0.1).expand(4)
        with pytest.raises(ValueError, match=f"'{name}'.*: expected elements with a memory of their own"):
            optimizer.step()
        assert p.tolist() + q.tolist() == before


def test_slices_that_overlap():
    base = torch.ones(3, 4)
    for first, second in (
        (base[:, 0:2], base[:, 1:3]),
        (base, base[:, 1:3]),
        (base[:, 1:3], base[1]),
        (base[:, ::3], base[1:, ::3]),
    ):
        a, b = torch.nn.Parameter(first), torch.nn.Parameter(second)
        a.grad, b.grad = torch.ones(a.shape), torch.ones(b.shape)
        with pytest.raises(ValueError, match="expected arrays that share no memory"):
            ours.SGD([a, b], lr=0.1).step()
        assert (base == 1).all()
    p = torch.nn.Parameter(torch.ones(5).as_strided((3, 3), (1, 1)))
    good, optimizer = first_and(p, torch.ones(3, 3))
    assert_nothing_happens(good, optimizer, ValueError, "elements with a memory of their own")


def test_what_torch_refuses_in_subclasses_groups_and_its_own_order():
    class Mine(ours.AdamW):
        pass

    p, q = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="lr as a Tensor is not supported"):
        Mine([p], lr=torch.tensor(0.1), foreach=True)
    with pytest.raises(ValueError, match="l2: expected None with a weight_decay"):
        ours.AdamW([p], weight_decay=float("0.01"), l2=0.5)
    assert ours.AdamW([p], l2=0.5).param_groups[0]["weight_decay"] == 0.5
    assert ours.AdamW([p]).param_groups[0]["weight_decay"] == 0.01
    with pytest.raises(ValueError, match="Invalid learning rate"):
        ours.SGD([p], lr=-1.0, nesterov=True)
    optimizer = ours.SGD([p])
    with pytest.raises(ValueError, match="differentiable: expected False"):
        optimizer.add_param_group({"params": [q], "differentiable": True})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_groups_have_torchs_settings_and_those_of_penalties(name):
    p = torch.nn.Parameter(torch.ones(3))
    mine, theirs = (getattr(module, name)([p]).param_groups[0] for module in (ours, torch.optim))
    penalties = {"l1", "l21", "gamma", "mode", "theta", "bounds", "group_axis", "penalty_factor"}
    assert set(mine) == set(theirs) | penalties
