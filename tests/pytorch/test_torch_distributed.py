"""Two processes over gloo: torch's own engines run the optimizers of fastreg.torch, with the same weights on both.

Each case is a function that both ranks run. It returns the weights, which must be the same on both, and agree with
those of one process that trains on all samples. The processes start once for all cases, since that takes seconds.
"""

import traceback
from datetime import timedelta

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")
distributed = pytest.importorskip("torch.distributed")
if not distributed.is_available() or not distributed.is_gloo_available():
    pytest.skip("this torch has no gloo", allow_module_level=True)

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
Y = X[:, :2] * 2
SETTINGS = {"lr": 0.05, "l1": 0.02}


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def train(model, optimizer, rank=0, ranks=1, steps=8):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(X[rank::ranks]) - Y[rank::ranks]).pow(2).mean()
        loss.backward()
        optimizer.step()


def weights(model):
    return [p.full_tensor() if hasattr(p, "full_tensor") else p.detach() for p in model.parameters()]


def alone(steps=8):
    model = network()
    optimizer = ours.AdamW(model.parameters(), **SETTINGS)
    train(model, optimizer, steps=steps)
    assert optimizer.zeros() > 0
    return weights(model)


# -- Cases ------------------------------------------------------------------------------------------------------------


def ddp(rank, folder, **options):
    from torch.nn.parallel import DistributedDataParallel

    model = network()
    wrapped = DistributedDataParallel(model, **options)
    train(wrapped, ours.AdamW(wrapped.parameters(), **SETTINGS), rank, 2)
    return weights(model)


def ddp_bucket_view(rank, folder):
    return ddp(rank, folder, gradient_as_bucket_view=True)


def ddp_static_graph(rank, folder):
    return ddp(rank, folder, static_graph=True)


def ddp_unused(rank, folder):
    from torch.nn.parallel import DistributedDataParallel

    model = network()
    model.register_parameter("unused", torch.nn.Parameter(torch.ones(3)))
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    train(wrapped, ours.AdamW(wrapped.parameters(), **SETTINGS), rank, 2)
    assert (model.unused == 1).all()
    return weights(model)[1:]


def zero(rank, folder, groups=False, **options):
    from torch.distributed.optim import ZeroRedundancyOptimizer
    from torch.nn.parallel import DistributedDataParallel

    model = network()
    wrapped = DistributedDataParallel(model)
    params = list(model.parameters())
    if groups:
        params = [{"params": params[:1]}, {"params": params[1:], "lr": SETTINGS["lr"]}]
    optimizer = ZeroRedundancyOptimizer(params, ours.AdamW, **SETTINGS, **options)
    train(wrapped, optimizer, rank, 2, steps=4)
    optimizer.consolidate_state_dict(to=0)
    if rank == 0:
        single = ours.AdamW(network().parameters())
        if not groups:
            single.load_state_dict(optimizer.state_dict())
            assert len(single.state) == 4
    train(wrapped, optimizer, rank, 2, steps=4)
    return weights(model)


def zero_bucket_view(rank, folder):
    return zero(rank, folder, parameters_as_bucket_view=True)


def zero_groups(rank, folder):
    return zero(rank, folder, groups=True)


def sharded(rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    model = network()
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def fsdp2(rank, folder):
    model = sharded(rank)
    optimizer = ours.AdamW(model.parameters(), **SETTINGS)
    train(model, optimizer, rank, 2)
    assert type(optimizer.state[model[0].weight]["exp_avg"]) is type(model[0].weight)
    optimizer.report()
    return weights(model)


def fsdp2_empty_shards(rank, folder):
    """A parameter with one row: the second rank has none."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = torch.nn.Sequential(network(), torch.nn.Linear(2, 1))
    twin = torch.nn.Sequential(network(), torch.nn.Linear(2, 1))
    twin.load_state_dict(model.state_dict())
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    for m, part, of in ((model, rank, 2), (twin, 0, 1)):
        optimizer = ours.AdamW(m.parameters(), **SETTINGS)
        for _ in range(4):
            optimizer.zero_grad()
            m(X[part::of]).pow(2).mean().backward()
            optimizer.step()
    for p, q in zip(weights(model), weights(twin), strict=True):
        torch.testing.assert_close(p, q)
    return alone()


def fsdp2_groups(rank, folder):
    """Whole rows are on one rank; other groups would be cut, which is refused."""
    model = sharded(rank)
    for axis, skip in ((1, "propagate"), (None, "propagate"), (0, "skip")):
        bad = ours.SGD(model.parameters(), lr=0.1, l21=0.1, group_axis=axis, on_nonfinite=skip)
        with pytest.raises(ValueError, match=r"sharded, so that|each rank would decide|group_axis"):
            train(model, bad, rank, 2, steps=1)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    optimizer = ours.SGD(matrices, lr=0.1, l21=0.1, group_axis=0)
    train(model, optimizer, rank, 2)
    twin = network()
    other = ours.SGD([p for p in twin.parameters() if p.ndim == 2], lr=0.1, l21=0.1, group_axis=0)
    train(twin, other)
    for p, q in zip(weights(model), weights(twin), strict=True):
        torch.testing.assert_close(p, q)
    return alone()


def checkpoint(rank, folder, make=ours.AdamW):
    """Saved by two ranks, loaded by two, and by one process."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    model = sharded(rank)
    optimizer = make(model.parameters(), **SETTINGS)
    train(model, optimizer, rank, 2, steps=4)
    states = get_state_dict(model, optimizer)
    dcp.save({"model": states[0], "optimizer": states[1]}, checkpoint_id=folder)
    train(model, optimizer, rank, 2, steps=4)

    copy = sharded(rank)
    loaded = make(copy.parameters(), **SETTINGS)
    before = weights(copy)
    states = get_state_dict(copy, loaded)
    for p, q in zip(weights(copy), before, strict=True):
        assert torch.equal(p, q)
    states = {"model": states[0], "optimizer": states[1]}
    dcp.load(states, checkpoint_id=folder)
    set_state_dict(copy, loaded, model_state_dict=states["model"], optim_state_dict=states["optimizer"])
    train(copy, loaded, rank, 2, steps=4)
    for p, q in zip(weights(model), weights(copy), strict=True):
        assert torch.equal(p, q)

    single = network()
    whole = make(single.parameters(), **SETTINGS)
    states = dict(zip(("model", "optimizer"), get_state_dict(single, whole)))
    dcp.load(states, checkpoint_id=folder, no_dist=True)
    set_state_dict(single, whole, model_state_dict=states["model"], optim_state_dict=states["optimizer"])
    train(single, whole, steps=4)
    for p, q in zip(weights(model), weights(single), strict=True):
        torch.testing.assert_close(p, q)
    return weights(model)


def checkpoint_of_ftrl(rank, folder):
    """The state in which torch loads it is made by a step with lr = 0."""
    checkpoint(rank, folder, ours.FTRL)
    return alone()


def tensor_parallel(rank, folder):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    model = network()
    mesh = init_device_mesh("cpu", (2,))
    parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    train(model, ours.AdamW(model.parameters(), **SETTINGS))
    return weights(model)


def sequence_parallel(rank, folder):
    """The gradients of the norm are partial sums on each rank."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import PrepareModuleInput, SequenceParallel, parallelize_module

    results = []
    for parallel in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.LayerNorm(4))
        x = X.view(2, 8, 4)
        if parallel:
            plan = {"0": SequenceParallel()}
            mesh = init_device_mesh("cpu", (2,))
            parallelize_module(model, mesh, plan)
            parallelize_module(
                model, mesh, PrepareModuleInput(input_layouts=Replicate(), desired_input_layouts=Shard(1))
            )
        optimizer = ours.AdamW(model.parameters(), **SETTINGS)
        for _ in range(4):
            optimizer.zero_grad()
            y = model(x)
            y = y.full_tensor() if hasattr(y, "full_tensor") else y
            (y - x).pow(2).sum().backward()
            optimizer.step()
        results.append(weights(model))
    for p, q in zip(*results, strict=True):
        torch.testing.assert_close(p, q)
    return alone()


def in_backward(rank, folder):
    """Each parameter has an optimizer of its own, which steps as soon as its gradient is there."""
    from torch.distributed.optim import _apply_optimizer_in_backward

    model = network()
    _apply_optimizer_in_backward(ours.AdamW, model.parameters(), SETTINGS)
    for _ in range(8):
        (model(X) - Y).pow(2).mean().backward()
    return weights(model)


CASES = [
    ddp, ddp_bucket_view, ddp_static_graph, ddp_unused, zero, zero_bucket_view, zero_groups, fsdp2, fsdp2_empty_shards,
    fsdp2_groups, checkpoint, checkpoint_of_ftrl, tensor_parallel, sequence_parallel, in_backward,
]  # fmt: skip


def run(rank, folder):
    torch.set_num_threads(1)
    for case in CASES:
        store, timeout = f"file://{folder}/{case.__name__}.store", timedelta(seconds=30)
        distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=timeout)
        try:
            result = case(rank, f"{folder}/{case.__name__}")
        except BaseException:  # the test of this case shows it
            result = traceback.format_exc()
        torch.save(result, f"{folder}/{case.__name__}.{rank}.pt")
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder with the results of all cases."""
    folder = str(tmp_path_factory.mktemp("ranks"))
    torch.multiprocessing.start_processes(run, (folder,), nprocs=2, start_method="spawn")
    return folder


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_two_ranks_train_like_one_process(case, folder):
    first, second = (torch.load(f"{folder}/{case}.{rank}.pt") for rank in range(2))
    assert not isinstance(first, str), first
    assert not isinstance(second, str), second
    for p, q, single in zip(first, second, alone(), strict=True):
        assert torch.equal(p, q)
        torch.testing.assert_close(p, single)
        assert torch.equal(p == 0, single == 0)
