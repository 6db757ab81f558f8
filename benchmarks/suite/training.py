"""Training of torch networks: the time of fastreg.torch divided by that of torch's own optimizers, in one process."""

from .workload import ratio, statement

CASES = {"SGD": {"momentum": 0.9}, "Adagrad": {}, "Adam": {}, "AdamW": {}}
PEERS = {"fused": {"fused": True}, "foreach": {"foreach": True}, "for-loop": {"foreach": False}}
LR = 1e-9


def require_torch():
    """For setup: asv skips a benchmark without torch. In the benchmark itself, the same error would be a failure."""
    try:
        import fastreg.torch  # noqa: F401
    except ImportError as error:
        raise NotImplementedError(str(error)) from error


def pair(name, peer, make_parameters):
    """Two pairs of parameters and their optimizer, of fastreg and of torch."""
    import torch

    import fastreg.torch

    torch.set_num_threads(1)
    params, others = make_parameters(torch), make_parameters(torch)
    mine = getattr(fastreg.torch, name)(params, lr=LR, **CASES[name])
    return (params, mine), (others, getattr(torch.optim, name)(others, lr=LR, **CASES[name], **PEERS[peer]))


def tensors(count, size):
    return lambda torch: [torch.nn.Parameter(torch.randn(size)) for _ in range(count)]


class Ratio:
    params = [list(CASES), list(PEERS)]
    param_names = ["optimizer", "peer"]
    unit = "times torch"
    timeout = 300

    def setup(self, name, peer):
        require_torch()


class TorchManySmall(Ratio):
    """200 tensors of 64, with new gradients at every step, as after zero_grad."""

    def track_ratio(self, name, peer):
        statements = []
        for params, optimizer in pair(name, peer, tensors(200, 64)):
            grads = [p.detach().clone() for p in params]

            def step(params=params, grads=grads, optimizer=optimizer):
                for p, g in zip(params, grads):
                    p.grad = g.detach()
                optimizer.step()

            step()
            statements.append(statement("step()", step=step))
        return ratio(*statements)


class TorchLarge(Ratio):
    """Ten tensors of 10⁶."""

    def track_ratio(self, name, peer):
        statements = []
        for params, optimizer in pair(name, peer, tensors(10, 10**6)):
            for p in params:
                p.grad = p.detach().clone()
            optimizer.step()
            statements.append(statement("step()", step=optimizer.step))
        return ratio(*statements)


class TorchLoop(Ratio):
    """A whole step of training with 100 layers: forward, backward, clip_grad_norm_, step and zero_grad."""

    def track_ratio(self, name, peer):
        import torch

        networks = []

        def network(torch):
            networks.append(torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(100))))
            return list(networks[-1].parameters())

        pairs = pair(name, peer, network)
        x, statements = torch.randn(8, 16), []
        for model, (params, optimizer) in zip(networks, pairs):

            def step(model=model, params=params, optimizer=optimizer):
                model(x).sum().backward()
                torch.nn.utils.clip_grad_norm_(params, 1.0)
                optimizer.step()
                optimizer.zero_grad()

            step()
            statements.append(statement("step()", step=step))
        return ratio(*statements)


class TorchLazyEmbedding:
    """A whole step with an embedding: forward, backward and step, divided by torch's sparse one without a penalty."""

    params = [[(50_000, 32, 256), (1_000_000, 16, 4096)], [0.0, 1e-4]]
    param_names = ["rows, width, indices", "l1"]
    unit = "times torch"
    timeout = 300

    def setup(self, sizes, l1):
        require_torch()

    def track_ratio(self, sizes, l1):
        import torch

        from fastreg.torch import LazyEmbedding

        torch.set_num_threads(1)
        rows, width, count = sizes
        batches = [torch.randint(rows, (count,)) for _ in range(16)]
        mine = LazyEmbedding(rows, width, lr=LR, l1=l1)
        theirs = torch.nn.Embedding(rows, width, sparse=True)
        optimizer = torch.optim.SGD(theirs.parameters(), lr=LR)

        def step():
            for indices in batches:
                mine(indices).sum().backward()
                mine.step()

        def step_of_torch():
            for indices in batches:
                theirs(indices).sum().backward()
                optimizer.step()
                optimizer.zero_grad()

        step(), step_of_torch()
        return ratio(statement("step()", step=step), statement("step()", step=step_of_torch))
