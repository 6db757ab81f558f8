"""What users of torch's optimizers rely on, beside the numbers."""

import copy
import io
import multiprocessing
import pickle
import subprocess
import sys

import pytest

import fastreg

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")

NAMES = ("SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Lion", "FTRL")
SETTINGS = {"SGD": {"momentum": 0.9, "dampening": 0.5}, "Adam": {"amsgrad": True}}
X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
Y = X[:, :2] * 2
every = pytest.mark.parametrize("name", NAMES)


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def start(name, **settings):
    model = network()
    return model, getattr(ours, name)(model.parameters(), lr=0.01, l1=0.01, **SETTINGS.get(name, {}), **settings)


def train(model, optimizer, steps=5):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(X) - Y).pow(2).mean()
        loss.backward()
        optimizer.step()
    return loss.item()


def assert_same(a, b):
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q)


def saved(x, **options):
    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    return torch.load(file, **options)


@every
@pytest.mark.parametrize("way", ["weights_only", "state_dict", "deepcopy", "pickle"])
def test_resumed_training_has_the_same_bits(name, way):
    model, optimizer = start(name, threads=1, on_nonfinite="raise")
    train(model, optimizer)
    if way in ("weights_only", "state_dict"):
        other, copied = start(name)
        other.load_state_dict(model.state_dict())
        state = optimizer.state_dict()
        copied.load_state_dict(saved(state, weights_only=True) if way == "weights_only" else state)
    else:
        pair = model, optimizer
        other, copied = copy.deepcopy(pair) if way == "deepcopy" else pickle.loads(pickle.dumps(pair))
        assert (copied.threads, copied.on_nonfinite) == (1, "raise")
        assert type(copied) is type(optimizer)
    train(model, optimizer)
    train(other, copied)
    assert_same(model, other)


@every
def test_state_is_live(name):
    model, optimizer = start(name)
    train(model, optimizer)
    p = next(model.parameters())
    before = {key: x.clone() for key, x in optimizer.state[p].items()}
    tensors = dict(optimizer.state[p])
    train(model, optimizer)
    for key, x in tensors.items():
        assert optimizer.state[p][key] is x
        assert torch.equal(x, before[key]) == key.startswith("built_on")


@every
def test_a_closure(name):
    model, optimizer = start(name)
    other, plain = start(name)

    def closure():
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        loss = (model(X) - Y).pow(2).mean()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(3)]
    assert losses[-1] == train(other, plain, 3)
    assert_same(model, other)
    assert plain.step() is None


def test_named_parameters_name_errors_and_reports():
    model = network()
    optimizer = ours.Adam(model.named_parameters(), lr=0.01, l21=0.1, group_axis=0)
    train(model, optimizer)
    assert list(optimizer.report()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert optimizer.report()["0.weight"].groups == 8
    assert sum(optimizer.penalty(by="tensor").values()) == pytest.approx(optimizer.penalty())
    assert optimizer.zeros(by="group") == [optimizer.zeros()]


SCHEDULERS = {
    "LambdaLR": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda n: 0.9**n),
    "StepLR": lambda o: torch.optim.lr_scheduler.StepLR(o, 2),
    "OneCycleLR": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "CyclicLR": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.001, 0.1, step_size_up=3, cycle_momentum=False),
    "CosineAnnealingLR": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_schedulers(kind):
    model, other = network(), network()
    mine, theirs = ours.AdamW(model.parameters(), lr=0.01), torch.optim.AdamW(other.parameters(), lr=0.01)
    schedulers = [SCHEDULERS[kind](o) for o in (mine, theirs)]
    for _ in range(10):
        train(model, mine, 1)
        train(other, theirs, 1)
        for scheduler in schedulers:
            scheduler.step()
    assert mine.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
    assert mine.param_groups[0]["betas"] == theirs.param_groups[0]["betas"]
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_settings_as_tensors_may_change_in_place():
    model, other = network(), network()
    lr = torch.tensor(0.01)
    mine = ours.Adam(model.parameters(), lr=lr, betas=(torch.tensor(0.9), torch.tensor(0.99)))
    plain = ours.Adam(other.parameters(), lr=0.01, betas=(0.9, 0.99))
    for i in range(4):
        lr.fill_(0.01 * (i + 1))
        plain.param_groups[0]["lr"] = lr.item()
        plain.param_groups[0]["betas"] = mine.param_groups[0]["betas"][0].item(), 0.99
        mine.param_groups[0]["betas"] = (torch.tensor(0.9), 0.99)
        train(model, mine, 1)
        train(other, plain, 1)
    assert_same(model, other)


def test_frozen_and_tied_parameters():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    model[1].weight = model[0].weight
    model[2].weight.requires_grad_(False)
    frozen, before = model[2].weight.clone(), model[0].weight.clone()
    optimizer = ours.SGD(model.parameters(), lr=0.1, l1=0.1)
    assert len(optimizer.param_groups[0]["params"]) == 5
    train(model, optimizer)
    assert torch.equal(model[2].weight, frozen)
    assert not torch.equal(model[0].weight, before)
    assert model[1].weight is model[0].weight


def test_hooks_and_profiler():
    model, optimizer = start("Adam")
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
    optimizer.register_step_post_hook(lambda *_: seen.append("post"))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        train(model, optimizer, 1)
    assert seen == ["pre", "post"]
    assert "Optimizer.step#Adam.step" in {event.key for event in profile.key_averages()}


def test_a_hook_sees_tensors_before_they_are_loaded():
    model, optimizer = start("Adam")
    train(model, optimizer)

    def double(optimizer, state_dict):
        state = {k: own | {"exp_avg": 2 * own["exp_avg"]} for k, own in state_dict["state"].items()}
        return state_dict | {"state": state}

    state = optimizer.state[model[0].bias]["exp_avg"].clone()
    optimizer.register_load_state_dict_pre_hook(double)
    optimizer.load_state_dict(optimizer.state_dict())
    assert torch.equal(optimizer.state[model[0].bias]["exp_avg"], 2 * state)
    assert len(optimizer._optimizer_load_state_dict_pre_hooks) == 1


def test_settings_that_a_file_of_torch_lacks_stay():
    model = network()
    optimizer = ours.Adam([{"params": model[0].parameters(), "l1": 0.5}, {"params": model[2].parameters()}], lr=0.1)
    theirs = torch.optim.Adam([{"params": model[0].parameters()}, {"params": model[2].parameters()}], lr=0.3)
    optimizer.load_state_dict(theirs.state_dict())
    assert [group["l1"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3]
    assert optimizer.param_groups[0]["mode"] == "proximal"


def test_clipping_scaling_and_averages():
    model, optimizer = start("SGD")
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    for _ in range(3):
        optimizer.zero_grad()
        scaler.scale((model(X) - Y).pow(2).mean()).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
        averaged.update_parameters(model)
    before = model[0].weight.clone()
    model[0].weight.grad.fill_(torch.inf)
    scaler.scale(model(X).sum()).backward()
    scaler.step(optimizer)  # left out by the scaler
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(averaged.module[0].weight, before)


def test_l1_that_is_delayed_selects():
    """At the first step, a weak l1 removes all weights without a gradient."""
    model, optimizer = start("Adam")
    optimizer.param_groups[0]["l1"] = 0.0
    train(model, optimizer, 10)
    assert optimizer.zeros() == 0
    optimizer.param_groups[0]["l1"] = 0.3
    train(model, optimizer, 100)
    assert 0 < optimizer.zeros() < sum(p.numel() for p in model.parameters())


def test_a_compiled_model_and_step():
    model, optimizer = start("Adam")
    other, plain = start("Adam")
    compiled = torch.compile(model, backend="eager")
    train(compiled, optimizer, 3)
    train(other, plain, 3)
    assert_same(model, other)
    train(other, plain, 1)

    @torch.compile(backend="eager")
    def whole():
        optimizer.zero_grad()
        (model(X) - Y).pow(2).mean().backward()
        optimizer.step()

    whole()
    assert_same(model, other)


def work(model, optimizer):
    torch.set_num_threads(1)
    train(model, optimizer, 3)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_share_the_parameters(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method {method}")
    model = network().share_memory()
    optimizer = ours.Adagrad(model.parameters(), lr=0.1, l1=0.01)
    optimizer.share_memory()
    train(model, optimizer, 1)
    before = model[0].weight.clone()
    context = torch.multiprocessing.get_context(method)
    workers = [context.Process(target=work, args=(model, optimizer)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert not torch.equal(model[0].weight, before)
    train(model, optimizer, 1)


def test_a_step_within_a_step_is_refused():
    model, optimizer = start("Adam")
    train(model, optimizer, 1)
    before = model[0].weight.clone()
    optimizer.param_groups[0]["lr"] = type("Number", (), {"__float__": lambda self: optimizer.step() or 0.1})()
    with pytest.raises(RuntimeError, match="step: expected one call at a time"):
        optimizer.step()
    assert torch.equal(model[0].weight, before)
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()


def test_many_threads_give_the_same_bits():
    results = []
    for threads in (1, 4):
        p = torch.nn.Parameter(torch.randn(3, 100_000, generator=torch.Generator().manual_seed(0)))
        optimizer = ours.AdamW([p], lr=0.1, l1=0.1, weight_decay=0.1, threads=threads)
        for i in range(3):
            p.grad = torch.randn(3, 100_000, generator=torch.Generator().manual_seed(i))
            optimizer.step()
        results.append(p.detach())
    assert torch.equal(*results)


def test_the_classes_are_those_over_arrays():
    classes = {name for name in ours.__all__ if issubclass(getattr(ours, name), torch.optim.Optimizer)}
    assert classes <= set(fastreg.optimizers.__all__)
    assert classes - {"Optimizer"} == set(NAMES)
    for name in NAMES:
        assert getattr(ours, name)._rule in (getattr(fastreg, name), fastreg.Adam)


def test_torch_is_not_imported_unless_it_is_asked_for():
    code = "import sys, fastreg; assert 'torch' not in sys.modules; import fastreg.torch; assert 'torch' in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@every
def test_plans_are_kept_while_the_settings_stay(name, monkeypatch):
    model, optimizer = start(name)
    plans = []
    kind = type(optimizer)
    make = kind._plan
    monkeypatch.setattr(kind, "_plan", lambda self, k, group: plans.append(k) or make(self, k, group))
    train(model, optimizer, 3)
    assert plans == [0]
    optimizer.param_groups[0]["lr"] = 0.02
    train(model, optimizer, 3)
    assert plans == [0, 0]
