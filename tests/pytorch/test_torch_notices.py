"""What optimizers of fastreg.torch tell their users once: no exact zeros, and weights that the first step removed."""

import copy
import pickle
import warnings

import pytest

import fastreg

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")

ADAPTIVE = [ours.Adam, ours.RMSprop, ours.Adagrad]


def told(category, run):
    """The warnings of a category during a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [w for w in caught if w.category is category]


def parameter(values=(1.0, 1.0, 0.0, 1.0), dtype=torch.float32):
    return torch.nn.Parameter(torch.tensor(values, dtype=dtype))


def step(optimizer, grad=(1.0, 0.0, 0.0, 0.0)):
    for p in optimizer.param_groups[0]["params"]:
        p.grad = None if grad is None else torch.tensor(grad, dtype=p.dtype)
    return optimizer.step()


# -- Exact zeros ------------------------------------------------------------------------------------------------------


def test_l1_in_a_mode_without_zeros_is_told_once_at_construction():
    def files(make):
        return [w.filename for w in told(fastreg.NoExactZerosWarning, lambda: step(make([parameter()])))]

    assert files(lambda p: ours.AdamW(p, l1=0.1, mode="decoupled")) == [__file__]
    assert files(lambda p: ours.SGD(p, lr=0.1, l1=0.1, mode="subgradient")) == [__file__]
    assert files(lambda p: ours.AdamW(p, l1=0.1)) == files(lambda p: ours.Adam(p, l1=0.1)) == []


@pytest.mark.parametrize("change", [{"l1": 0.1}, {"l1": torch.tensor(0.1)}, {"l1": 0.1, "bounds": (0.0, 1.0)}])
@pytest.mark.parametrize("steps", [0, 2])
def test_l1_that_a_group_gets_later_is_told_once_at_the_line_of_the_step(change, steps):
    optimizer = ours.SGD([parameter()], lr=0.1, mode="subgradient")
    assert told(fastreg.NoExactZerosWarning, lambda: [step(optimizer) for _ in range(steps)]) == []
    optimizer.param_groups[0].update(change)
    caught = told(fastreg.NoExactZerosWarning, lambda: [step(optimizer), step(optimizer)])
    assert [w.filename for w in caught] == ([] if "bounds" in change else [__file__])


def test_a_mode_that_a_group_gets_later_and_a_group_that_is_added_are_told():
    optimizer = ours.Adam([parameter()], l1=0.1)
    optimizer.param_groups[0]["mode"] = "subgradient"
    assert len(told(fastreg.NoExactZerosWarning, lambda: step(optimizer))) == 1
    assert told(fastreg.NoExactZerosWarning, lambda: step(copy.deepcopy(optimizer))) == []
    optimizer = ours.Adam([parameter()], l1=0.1)
    optimizer.add_param_group({"params": [parameter()], "mode": "subgradient"})
    optimizer.param_groups[1]["params"][0].grad = torch.ones(4)
    assert len(told(fastreg.NoExactZerosWarning, optimizer.step)) == 1


# -- Weights without a gradient in the first step ---------------------------------------------------------------------


def removals(optimizer, *grads):
    return told(fastreg.NoGradientWarning, lambda: [step(optimizer, g) for g in grads or [(1.0, 0.0, 0.0, 0.0)]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", ADAPTIVE)
def test_the_first_step_tells_how_many_weights_it_removed_without_a_gradient(kind, dtype):
    p = parameter((1.0, 1.0, 0.0, 1e-5, 1.0), dtype)  # the last but one has a gradient, and goes for its size
    (warning,) = removals(kind([p], lr=1e-3, l1=0.1), (1.0, 0.0, 0.0, 1e-9, 0.0), (1.0, 0.0, 0.0, 0.0, 0.0))
    assert p.detach()[[1, 3, 4]].tolist() == [0.0, 0.0, 0.0]
    assert f"{kind.__name__}: 2 weights had no gradient in the first step" in str(warning.message)
    assert "param_groups[0]['l1']" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize(
    "make",
    [
        lambda p: ours.Adam(p),
        lambda p: ours.Adam(p, l1=0.1, mode="subgradient"),
        lambda p: ours.Adam(p, l1=0.1, penalty_factor=[torch.tensor([1.0, 0.0, 0.0, 0.0])]),
        lambda p: ours.Adagrad(p, l1=0.1, initial_accumulator_value=1.0),
        lambda p: ours.SGD(p, lr=0.1, l1=100.0),
        lambda p: ours.AdamW(p, weight_decay=0.1),
        lambda p: ours.FTRL(p, l1=0.1),
    ],
)
def test_the_remedies_and_other_optimizers_tell_nothing(make):
    assert removals(make([parameter()])) == []


def test_l1_that_is_set_after_the_first_step_tells_nothing():
    optimizer = ours.Adam([parameter()])
    assert removals(optimizer, (1.0, 1.0, 1.0, 1.0)) == []
    optimizer.param_groups[0]["l1"] = 0.1
    assert removals(optimizer) == []


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_steps_in_which_nothing_moves_are_not_the_first(kind):
    p = parameter()
    optimizer = kind([p], lr=0.0, l1=0.1, on_nonfinite="skip")
    assert removals(optimizer, (0.0, 0.0, 0.0, 0.0), None) == []  # a warm-up from 0, and no gradient at all
    optimizer.param_groups[0]["lr"] = 1e-3
    assert removals(optimizer, (float("nan"), 0.0, 0.0, 0.0), None) == []
    assert p.tolist() == [1.0, 1.0, 0.0, 1.0]
    assert len(removals(optimizer)) == 1
    assert p.tolist()[1:] == [0.0, 0.0, 0.0]


def test_parameters_without_a_gradient_stay_and_nothing_is_told():
    p, q = parameter(), parameter()
    optimizer = ours.Adam([{"params": [p]}, {"params": [q]}], l1=0.1)
    assert removals(optimizer, (1.0, 1.0, 1.0, 1.0)) == []
    assert q.tolist() == [1.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("restored", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_after_the_first_step_tells_nothing(restored):
    optimizer = ours.Adam([parameter((1.0, 1.0))], l1=0.1)
    assert len(removals(restored(optimizer), (1.0, 0.0))) == 1
    assert removals(optimizer, (1.0, 1.0)) == removals(restored(optimizer), (1.0, 0.0)) == []


@pytest.mark.parametrize("fault", ["complex", "freed"])
def test_a_parameter_that_the_step_refuses_has_the_error_of_the_step(fault):
    p, errors = torch.nn.Parameter(torch.ones(3, dtype=torch.complex64 if fault == "complex" else None)), []
    for may_remove in (True, False):
        optimizer = ours.RMSprop([parameter((1.0, 1.0, 1.0)), p], l1=0.1)
        optimizer._may_remove = may_remove
        if fault == "freed":
            p.untyped_storage().resize_(0)
        with pytest.raises((TypeError, ValueError), match=r": expected .*, got ") as caught:
            step(optimizer, (1.0, 0.0, 0.0))
        errors.append(repr(caught.value))
        assert optimizer.param_groups[0]["params"][0].tolist() == [1.0, 1.0, 1.0]
    assert errors[0] == errors[1]


def test_the_first_step_has_the_same_bits_with_and_without_the_count():
    counted, plain = (ours.Adam([parameter()], l1=0.1) for _ in range(2))
    plain._may_remove = False
    assert len(removals(counted)) == 1
    assert removals(plain) == []
    for x, y in zip(counted.state.values(), plain.state.values()):
        assert all(torch.equal(x[key], y[key]) for key in x)
    assert torch.equal(*(optimizer.param_groups[0]["params"][0] for optimizer in (counted, plain)))
