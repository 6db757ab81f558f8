"""Sweeps of a loop of torch: states of modules and optimizers go into the checkpoint and come back."""

import numpy as np
import pytest
from path_cases import Interrupted, same_table

from fastreg.path import states, sweep

torch = pytest.importorskip("torch", reason="torch is not installed")


def train(strength, fold, state):
    from fastreg.torch import Adam

    x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    y, test = x[:, :1] - x[:, 1:2], torch.arange(60) % 2 == fold
    model = torch.nn.Linear(8, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    optimizer = Adam(model.parameters(), lr=0.05, l1=strength)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        optimizer.param_groups[0]["l1"] = strength
    for _ in range(20):
        optimizer.zero_grad()
        (model(x[~test]) - y[~test]).square().mean().backward()
        optimizer.step()
    loss = (model(x[test]) - y[test]).square().mean().item()
    zeros = (model.weight == 0).sum()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, loss, {"zeros": zeros}


def test_a_torch_loop_interrupted_at_each_call_gives_the_same_table(tmp_path):
    strengths = [0.3, 0.1, 0.01]
    whole = sweep(train, strengths, folds=2)
    assert whole.mean[0] > whole.mean[-1]
    assert whole.extras["zeros"][0].min() > 0
    for at in range(6):
        path = tmp_path / f"{at}.npz"
        with pytest.raises(KeyboardInterrupt):
            sweep(Interrupted(train, at), strengths, folds=2, checkpoint=path)
        rest = Interrupted(train, np.inf)
        assert same_table(sweep(rest, strengths, folds=2, checkpoint=path), whole)
        assert rest.calls == 6 - at


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64", "bool", "uint8", "complex64"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 4)], ids=str)
def test_a_tensor_comes_back(dtype, shape):
    tensor, arrays = torch.ones(shape).mul(3).to(getattr(torch, dtype)), []
    for x in (tensor, tensor.T if tensor.ndim == 2 else tensor):
        back = states.decode(states.json.loads(states.json.dumps(states.encode(x, "state", arrays))), arrays)
        assert back.dtype == x.dtype
        assert back.shape == x.shape
        assert torch.equal(back, x)


def test_tensors_that_cannot_be_stored_are_refused():
    with pytest.raises(TypeError, match=r"state: expected with checkpoint= only .*, got Tensor"):
        states.encode(torch.ones(3).to_sparse(), "state", [])
