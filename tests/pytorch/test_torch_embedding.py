"""LazyEmbedding and LazyEmbeddingBag: the weights of dense training, and what users of torch's embeddings rely on."""

import copy
import io
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")

ROWS, WIDTH = 40, 3
ADAGRAD = {"initial_accumulator_value": 0.1}
CASES = {
    "sgd": ("sgd", {"l1": 0.05, "l2": 0.02}),
    "sgd groups": ("sgd", {"l21": 0.4, "l2": 0.02}),
    "sgd mcp": ("sgd", {"l1": 0.05, "gamma": 3.0}),
    "sgd bounds": ("sgd", {"l1": 0.02, "bounds": (0.0, 0.5)}),
    "adagrad": ("adagrad", {"l1": 0.05, "l2": 0.02, **ADAGRAD}),
    "ftrl": ("ftrl", {"l1": 8.0, "l2": 0.02}),
    "ftrl groups": ("ftrl", {"l1": 0.5, "l21": 40.0}),
}
DENSE = {"sgd": ours.SGD, "adagrad": ours.Adagrad, "ftrl": ours.FTRL}
every = pytest.mark.parametrize("case", CASES)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def start(case="sgd", dtype=torch.float64, **options):
    optimizer, settings = CASES[case]
    weight = torch.randn(ROWS, WIDTH, generator=generator(), dtype=dtype)
    return ours.LazyEmbedding.from_pretrained(weight, lr=0.1, optimizer=optimizer, **settings, **options)


def dense_of(case, lazy, kind=torch.nn.Embedding, **options):
    optimizer, settings = CASES[case]
    groups = {"group_axis": 0} if "l21" in settings else {}
    dense = kind(ROWS, WIDTH, dtype=torch.float64, **options)
    dense.load_state_dict(lazy.state_dict())
    return dense, DENSE[optimizer](dense.parameters(), lr=0.1, **settings, **groups)


def batches(n=30, shape=(4,), seed=1, rows=ROWS):
    g = generator(seed)
    for _ in range(n):
        ids = torch.randint(rows, shape, generator=g)
        yield ids, torch.randn(*shape, WIDTH, generator=g, dtype=torch.float64)


def train(lazy, n=20, seed=1):
    for ids, target in batches(n, seed=seed):
        (lazy(ids) - target.to(lazy.weight.dtype)).pow(2).sum().backward()
        lazy.step()


def saved(x):
    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_equal_training(a, b):
    assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)
    assert torch.equal(a == 0, b == 0)


# -- The numbers ------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_training_is_that_of_a_dense_embedding(case, index_dtype):
    lazy = start(case)
    dense, optimizer = dense_of(case, lazy)
    for ids, target in batches(60, (2, 3), rows=ROWS - 5):
        ids = ids.to(index_dtype)
        for model in (lazy, dense):
            (model(ids) - target).pow(2).sum().backward()
        assert_equal_training(lazy(ids).detach(), dense(ids).detach())
        lazy.step()
        optimizer.step()
        optimizer.zero_grad()
    assert (dense.weight == 0).any() or case == "sgd mcp"
    assert_equal_training(lazy.weight, dense.weight.detach())


@every
@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("form", ["matrix", "offsets", "last offset", "weights"])
def test_bags_are_those_of_a_dense_bag(case, mode, form):
    if form == "weights" and mode == "mean":
        pytest.skip("torch has weights of entries for sums only")
    optimizer, settings = CASES[case]
    options = {"mode": mode, "padding_idx": 2, "include_last_offset": form == "last offset"}
    torch.manual_seed(0)
    lazy = ours.LazyEmbeddingBag(
        ROWS, WIDTH, lr=0.1, optimizer=optimizer, dtype=torch.float64, **options, **settings
    )  # fmt: skip
    dense, dense_optimizer = dense_of(case, lazy, torch.nn.EmbeddingBag, **options)
    for ids, target in batches(30, (6, 4), rows=8):
        offsets, weights = None, None
        if form != "matrix":
            ids, offsets = ids.flatten(), torch.tensor([0, 3, 3, 4, 10, 24][: 6 if form == "last offset" else 5])
        if form == "weights":
            weights = torch.rand(24, generator=generator(), dtype=torch.float64)
        outputs = [model(ids, offsets, per_sample_weights=weights) for model in (lazy, dense)]
        assert_equal_training(*(y.detach() for y in outputs))
        for y in outputs:
            (y - target.flatten(0, 1)[: len(y)]).pow(2).sum().backward()
        lazy.step()
        dense_optimizer.step()
        dense_optimizer.zero_grad()
    assert_equal_training(lazy.weight, dense.weight.detach())


def test_gradients_of_weights_of_entries():
    bag = ours.LazyEmbeddingBag(ROWS, WIDTH, lr=0.1, mode="sum")
    plain = torch.nn.EmbeddingBag(ROWS, WIDTH, mode="sum")
    plain.load_state_dict(bag.state_dict())
    weights = [torch.ones(2, 3, requires_grad=True) for _ in range(2)]
    for model, w in zip((bag, plain), weights):
        model(torch.tensor([[1, 2, 2], [3, 4, 5]]), per_sample_weights=w).pow(2).sum().backward()
    assert torch.equal(weights[0].grad, weights[1].grad)


def test_the_row_of_padding_gets_no_gradient():
    lazy = start("sgd", padding_idx=-1)
    assert lazy.padding_idx == ROWS - 1
    dense, optimizer = dense_of("sgd", lazy, padding_idx=-1)
    for ids, target in batches(rows=3):
        ids = torch.where(ids == 0, ROWS - 1, ids)
        for model in (lazy, dense):
            (model(ids) - target).pow(2).sum().backward()
        lazy.step()
        optimizer.step()
        optimizer.zero_grad()
    assert_equal_training(lazy.weight, dense.weight.detach())
    assert (ours.LazyEmbedding(5, 2, 3, lr=0.1).weight == 0).all(1).nonzero().tolist() == [[3]]


# -- The loop ---------------------------------------------------------------------------------------------------------


def test_gradients_of_several_forward_and_backward_passes_add_up():
    lazy = start()
    dense, optimizer = dense_of("sgd", lazy)
    passes = list(batches(6))
    for k, (ids, target) in enumerate(passes):
        for model in (lazy, dense):
            loss = (model(ids) * model(ids.flip(0)) - target).pow(2).sum()
            loss.backward(retain_graph=True)
            loss.backward()
        if k % 3 == 2:
            lazy.step()
            optimizer.step()
            optimizer.zero_grad()
    assert lazy.lazy.completed == 2
    assert_equal_training(lazy.weight, dense.weight.detach())


def test_zero_grad_drops_gradients_but_not_a_forward_pass():
    lazy, other = start(), start()
    ids = torch.tensor([1, 2])
    lazy(ids).sum().backward()
    y = lazy(ids).pow(2).sum()
    lazy.zero_grad()
    y.backward()
    other(ids).pow(2).sum().backward()
    for x in (lazy, other):
        x.step()
    assert torch.equal(lazy.weight, other.weight)


def test_a_backward_pass_after_the_step_counts_for_the_next_one():
    lazy = start()
    y = lazy(torch.tensor([1]))
    lazy(torch.tensor([2])).sum().backward()
    lazy.step()
    before = lazy.weight[1].clone()
    y.sum().backward()
    lazy.step()
    assert lazy.lazy.completed == 2
    assert (lazy.weight[1] < before - 0.09).all()


def test_a_step_without_a_gradient_does_nothing():
    lazy = start()
    before = lazy.weight.clone()
    lazy.step()
    lazy(torch.tensor([1]))
    with torch.no_grad():
        assert not lazy(torch.tensor([1])).requires_grad
    lazy.step()
    assert lazy.lazy.completed == 0
    assert torch.equal(lazy.weight, before)


def test_forward_passes_without_a_backward_pass_fill_no_memory():
    lazy = start()
    for _ in range(100):
        lazy(torch.tensor([1]))
    assert len(lazy._pending._leaves) <= 4
    kept = [lazy(torch.tensor([1])) for _ in range(20)]
    sum(kept).sum().backward()
    del kept
    lazy.step()
    assert lazy._pending._leaves == []


def test_an_empty_batch_is_a_zero_gradient():
    lazy = start()
    y = lazy(torch.zeros(0, 5, dtype=torch.int64))
    assert y.shape == (0, 5, WIDTH)
    before = lazy.weight.clone()
    y.sum().backward()
    lazy.step()
    assert lazy.lazy.completed == 1
    assert (lazy.weight.abs() < before.abs()).all()


def test_the_step_of_another_optimizer_can_bring_that_of_the_embedding():
    lazy = start()
    head = torch.nn.Linear(WIDTH, 1, dtype=torch.float64)
    optimizer = torch.optim.Adam(head.parameters())
    optimizer.register_step_post_hook(lambda *_: lazy.step())

    def closure():
        optimizer.zero_grad()
        loss = head(lazy(torch.tensor([1, 2]))).pow(2).sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(20)]
    assert lazy.lazy.completed == 20
    assert losses[-1] < losses[0]


def test_a_reused_index_tensor_and_gradient_are_read_in_time():
    lazy, other = start(), start()
    ids, g = torch.tensor([1, 2]), torch.ones(2, WIDTH, dtype=torch.float64)
    lazy(ids).backward(g)
    ids.fill_(7)
    g.fill_(100)
    lazy.step()
    other(torch.tensor([1, 2])).sum().backward()
    other.step()
    assert torch.equal(lazy.weight, other.weight)


def test_the_output_can_be_changed_in_place_and_saved_weights_cannot():
    lazy = start()
    lazy(torch.tensor([1, 2])).relu_().sum().backward()
    lazy.step()
    x = torch.ones(WIDTH, dtype=torch.float64, requires_grad=True)
    y = (lazy.weight @ x).sum()
    assert lazy.weight is not None  # up to date already, nothing is written
    y.backward(retain_graph=True)
    lazy(torch.tensor([1])).sum().backward()
    lazy.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_strengths_may_change_between_steps():
    lazy = start()
    dense, optimizer = dense_of("sgd", lazy)
    for k, (ids, target) in enumerate(batches()):
        lazy.lazy.lr = optimizer.param_groups[0]["lr"] = 0.1 / (1 + k)
        for model in (lazy, dense):
            (model(ids) - target).pow(2).sum().backward()
        lazy.step()
        optimizer.step()
        optimizer.zero_grad()
    assert_equal_training(lazy.weight, dense.weight.detach())


def test_compiled_models_train():
    model = torch.nn.Sequential(start(), torch.nn.Linear(WIDTH, 1, dtype=torch.float64))
    other = copy.deepcopy(model)
    compiled = torch.compile(model, backend="eager")
    for ids, _ in batches(5):
        for f, m in ((compiled, model), (other, other)):
            f(ids).sum().backward()
            m[0].step()
    assert torch.equal(model[0].weight, other[0].weight)


# -- State ------------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("way", ["weights first", "optimizer first", "deepcopy", "pickle"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resumed_training_has_the_same_bits(case, way, dtype):
    lazy = start(case, dtype)
    train(lazy)
    if way in ("deepcopy", "pickle"):
        other = copy.deepcopy(lazy) if way == "deepcopy" else pickle.loads(pickle.dumps(lazy))
    else:
        other = start(case, dtype)
        train(other, 3, seed=5)
        state = {"optimizer": lazy.optimizer_state_dict(), "weights": lazy.state_dict()}
        state = saved(state)
        loads = [lambda: other.load_state_dict(state["weights"])]
        loads.insert(way == "weights first", lambda: other.load_optimizer_state_dict(state["optimizer"]))
        for load in loads:
            load()
    for x in (lazy, other):
        train(x, seed=2)
    assert torch.equal(lazy.weight, other.weight)
    mine, theirs = lazy.optimizer_state_dict(), other.optimizer_state_dict()
    assert all(np.array_equal(x, theirs[key]) for key, x in mine.items())


@every
def test_weights_go_into_a_plain_embedding_and_back(case):
    lazy = start(case)
    train(lazy)
    plain = torch.nn.Embedding(ROWS, WIDTH, dtype=torch.float64)
    plain.load_state_dict(lazy.state_dict())
    ids = torch.arange(ROWS)
    assert torch.equal(plain(ids), lazy.eval()(ids))
    torch.nn.init.uniform_(plain.weight, 0.1, 0.4)
    lazy.load_state_dict(plain.state_dict())
    assert torch.allclose(lazy(ids), plain(ids), rtol=1e-14)
    assert torch.equal(lazy.state_dict()["weight"], plain.weight)
    model = torch.nn.ModuleDict({"a": lazy})
    assert list(model.state_dict()) == ["a.weight"]
    model.load_state_dict(model.state_dict())
    train(lazy, 1)


@every
def test_writing_into_the_weights(case):
    lazy = start(case)
    train(lazy)
    torch.nn.init.constant_(lazy.weight, 0.25)
    assert torch.allclose(lazy(torch.arange(ROWS)), torch.tensor(0.25, dtype=torch.float64), rtol=1e-14)
    lazy(torch.tensor([0])).sum().mul(0).backward()
    lazy.step()
    assert (lazy.weight >= 0.2).all()


def test_a_copy_has_no_gradients():
    lazy = start()
    lazy(torch.tensor([1])).sum().backward()
    other = copy.deepcopy(lazy)
    other.step()
    assert other.lazy.completed == 0
    lazy.step()
    assert lazy.lazy.completed == 1
    assert not torch.equal(other.weight, lazy.weight)


@every
def test_another_dtype_keeps_the_state(case):
    lazy = start(case, torch.float32)
    train(lazy)
    before = lazy.weight.clone()
    model = torch.nn.Sequential(lazy).double()
    assert lazy.weight.dtype == torch.float64
    assert torch.allclose(lazy.weight.float(), before, rtol=1e-5, atol=1e-6)
    completed = lazy.lazy.completed
    model.double()
    train(lazy, 1)
    model.to(torch.float32)
    assert lazy.lazy.completed == completed + 1
    train(lazy, 1)


def test_factors_and_reports():
    factor = torch.ones(ROWS, WIDTH, dtype=torch.float64)
    factor[:10] = 0
    lazy = start("sgd", penalty_factor=factor)
    train(lazy)
    lazy = pickle.loads(pickle.dumps(lazy))
    assert lazy.zeros() == (lazy.weight == 0).sum() > 0
    assert (lazy.weight[:10] != 0).all()
    assert lazy.penalty() > 0
    assert "w" in str(lazy.report())
    assert lazy.float().weight.dtype == torch.float32


def test_flushes_and_repr():
    lazy = start()
    train(lazy, 3)
    lazy(torch.tensor([1])).sum().backward()
    lazy.step()
    assert lazy.lazy.has_pending_penalty
    torch.nn.Sequential(lazy).eval()
    assert not lazy.lazy.has_pending_penalty
    assert repr(lazy) == "LazyEmbedding(40, 3, optimizer='sgd')"
    assert list(lazy.parameters()) == list(lazy.buffers()) == []


# -- Errors -----------------------------------------------------------------------------------------------------------

WRONG_INPUT = {
    "too large": (torch.tensor([0, ROWS]), IndexError, "index out of range in self.*got 40 at position 1"),
    "negative": (torch.tensor([-1]), IndexError, "index out of range in self"),
    "list": ([1], TypeError, "input: expected a tensor of int32 or int64, got list"),
    "float": (torch.tensor([1.0]), TypeError, "input: expected a tensor of int32 or int64, got torch.float32"),
}


@pytest.mark.parametrize("name", WRONG_INPUT)
@pytest.mark.parametrize("kind", ["LazyEmbedding", "LazyEmbeddingBag"])
def test_wrong_input(name, kind):
    x, error, words = WRONG_INPUT[name]
    module = getattr(ours, kind)(ROWS, WIDTH, lr=0.1, l1=0.1)
    before = module.weight.clone()
    with pytest.raises(error, match=words):
        module(x)
    module.step()
    assert torch.equal(module.weight, before)


WRONG_SETTINGS = {
    "max_norm": ({"max_norm": 1.0}, ValueError, "max_norm: expected None"),
    "optimizer": ({"optimizer": "adam"}, ValueError, "optimizer: expected one of 'sgd', 'adagrad', 'ftrl', got 'adam'"),
    "padding_idx": ({"padding_idx": ROWS}, ValueError, "padding_idx: expected an integer from -40 to 39, got 40"),
    "dtype": ({"dtype": torch.bfloat16}, TypeError, "dtype: expected torch.float32 or torch.float64"),
    "lr": ({"lr": -1.0}, ValueError, "lr: expected a number from 0"),
    "l21 of Adagrad": ({"optimizer": "adagrad", "l21": 1.0}, ValueError, "l21"),
    "setting": ({"beta": 1.0}, TypeError, "unexpected keyword argument 'beta'"),
    "weight": ({"_weight": torch.zeros(3, 3)}, ValueError, "_weight: expected shape"),
    "no tensor": ({"_weight": [1]}, TypeError, "_weight: expected a tensor"),
}


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_wrong_settings(name):
    settings, error, words = WRONG_SETTINGS[name]
    with pytest.raises(error, match=words):
        ours.LazyEmbedding(ROWS, WIDTH, **{"lr": 0.1, **settings})


def test_bags_have_no_maximum():
    with pytest.raises(ValueError, match="mode: expected 'mean' or 'sum', got 'max'"):
        ours.LazyEmbeddingBag(ROWS, WIDTH, lr=0.1, mode="max")


@pytest.mark.parametrize(
    "move", [lambda x: x.half(), lambda x: x.bfloat16(), lambda x: x.to("meta"), lambda x: x.share_memory()]
)
def test_other_dtypes_and_devices_are_refused(move):
    lazy = start()
    train(lazy, 2)
    before = lazy.weight.clone()
    with pytest.raises(TypeError, match="expected float32 or float64 in the CPU memory of one process, got"):
        move(lazy)
    train(lazy, 1)
    assert lazy.weight.dtype == before.dtype


def test_gradients_with_a_graph_are_refused():
    lazy = start()
    before = lazy.weight.clone()
    with pytest.warns(UserWarning, match="create_graph"):
        lazy(torch.tensor([1])).pow(2).sum().backward(create_graph=True)
    with pytest.raises(RuntimeError, match="create_graph=True"):
        lazy.step()
    assert torch.equal(lazy.weight, before)
    lazy.zero_grad()
    lazy.step()


@pytest.mark.parametrize("state", [{"weight": torch.zeros(2, 2)}, {}, {"weight": torch.zeros(ROWS, WIDTH), "z": 0}])
def test_wrong_states(state):
    lazy = start()
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key|Unexpected key"):
        lazy.load_state_dict(state)
    train(lazy, 1)
    with pytest.raises(ValueError, match="expected the state of LazySGD, got that of LazyAdagrad"):
        lazy.load_optimizer_state_dict(start("adagrad").optimizer_state_dict())


def test_an_interrupted_step_is_not_made_twice(monkeypatch):
    lazy, other = start(), start()
    for x in (lazy, other):
        x(torch.tensor([1])).sum().backward()
    settle = type(lazy._pending)._settle

    def interrupted(self, lazy):
        if lazy.completed:
            raise KeyboardInterrupt
        settle(self, lazy)

    with monkeypatch.context() as patch:
        patch.setattr(type(lazy._pending), "_settle", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lazy.step()
    lazy.step()
    other.step()
    assert lazy.lazy.completed == 1
    assert torch.equal(lazy.weight, other.weight)
