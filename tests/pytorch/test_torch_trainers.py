"""Trainers run the optimizers of fastreg.torch, and resume with the same bits. Each test needs its library."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
ours = pytest.importorskip("fastreg.torch")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries
X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :1] * 2
DATA = torch.utils.data.TensorDataset(X, Y)
SETTINGS = {"lr": 0.02, "l1": 0.01}


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def assert_same(a, b):
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q)


def assert_sparse(model):
    assert any((p == 0).any() for p in model.parameters())


def test_accelerate(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)

    def start():
        model = network()
        optimizer = ours.AdamW(model.parameters(), **SETTINGS)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
        loader = torch.utils.data.DataLoader(DATA, batch_size=16)
        return accelerator.prepare(model, optimizer, loader, scheduler)

    def epoch(model, optimizer, loader, scheduler):
        for x, y in loader:
            with accelerator.accumulate(model):
                accelerator.backward((model(x) - y).pow(2).mean())
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()

    first = start()
    for _ in range(3):
        epoch(*first)
    accelerator.save_state(str(tmp_path))
    epoch(*first)
    accelerator.free_memory()
    second = start()
    accelerator.load_state(str(tmp_path))
    epoch(*second)
    assert_same(first[0], second[0])


def test_lightning(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network()

        def training_step(self, batch):
            x, y = batch
            return (self.model(x) - y).pow(2).mean()

        def configure_optimizers(self):
            optimizer = ours.AdamW(self.parameters(), **SETTINGS)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]

    def fit(epochs, checkpoint=None):
        module = Module()
        trainer = lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, gradient_clip_val=1.0,
        )  # fmt: skip
        trainer.fit(module, torch.utils.data.DataLoader(DATA, batch_size=16), ckpt_path=checkpoint)
        return module, trainer

    whole, _ = fit(6)
    _, trainer = fit(3)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = fit(6, tmp_path / "half.ckpt")
    assert_same(whole, resumed)
    assert_sparse(whole)


def test_skorch(tmp_path):
    skorch = pytest.importorskip("skorch")
    search = pytest.importorskip("sklearn.model_selection").GridSearchCV
    x, y = X.numpy(), Y.numpy()
    settings = {"optimizer": ours.Adam, "lr": 0.02, "max_epochs": 30, "verbose": 0, "train_split": None}
    net = skorch.NeuralNetRegressor(network, optimizer__l1=0.01, **settings)
    found = search(net, {"optimizer__l1": [1e-4, 1e2]}, cv=2).fit(x, y)
    assert found.best_params_ == {"optimizer__l1": 1e-4}
    torch.manual_seed(0)
    net.initialize()
    net.partial_fit(x, y)
    net.save_params(f_params=tmp_path / "w.pt", f_optimizer=tmp_path / "o.pt")
    other = skorch.NeuralNetRegressor(network, optimizer__l1=0.5, **settings).initialize()
    other.load_params(f_params=tmp_path / "w.pt", f_optimizer=tmp_path / "o.pt")
    for each in (net, other):
        torch.manual_seed(1)
        each.partial_fit(x, y)
    assert np.array_equal(net.predict(x), other.predict(x))
    assert_sparse(net.module_)


def test_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = network()

        def forward(self, x, labels):
            return {"loss": (self.model(x) - labels).pow(2).mean()}

    samples = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]

    def train(folder, steps, resume=None, optimizer=None):
        model = Model()
        arguments = transformers.TrainingArguments(
            output_dir=str(folder), use_cpu=True, max_steps=steps, save_steps=5, report_to=[], disable_tqdm=True,
            per_device_train_batch_size=16, seed=0, logging_strategy="no",
        )  # fmt: skip
        made = ours.AdamW(model.parameters(), **SETTINGS)
        schedule = torch.optim.lr_scheduler.LambdaLR(made, lambda step: 0.95**step)
        trainer = transformers.Trainer(model, arguments, train_dataset=samples, optimizers=(made, schedule))
        trainer.train(resume_from_checkpoint=resume)
        return model

    whole = train(tmp_path / "whole", 15)
    train(tmp_path / "parts", 10)
    resumed = train(tmp_path / "parts", 15, str(tmp_path / "parts" / "checkpoint-10"))
    assert_same(whole, resumed)
    other = copy.deepcopy(network())
    assert not torch.equal(other[0].weight, whole.model[0].weight)
