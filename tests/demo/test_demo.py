"""The demo: what it promises, and that its claims are judged by the run and not written down beforehand."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastreg
from fastreg.__main__ import main
from fastreg.demo.expressions import numpy_update
from fastreg.demo.network import BATCH, Network, groups, softmax, train, train_with

PICTURES = {"first-layer.png", "histograms.png", "optimizers.png", "strength.png", "text.png", "twins.png"}
EXTRAS = ("sklearn", "matplotlib", "rich")


@pytest.fixture(scope="module")
def sections():
    """The modules of the demo that need its extra packages."""
    for name in EXTRAS:
        pytest.importorskip(name)
    from fastreg.demo import claims, digits, optimizers, text, twins

    with pytest.MonkeyPatch.context() as patch:  # a short stream
        patch.setattr(text, "DOCUMENTS", 150)
        patch.setattr(text, "ENOUGH", 100)
        yield SimpleNamespace(claims=claims, digits=digits, optimizers=optimizers, text=text, twins=twins)


def python(folder, *arguments):
    """This package in a fresh interpreter, in another folder: the checkout must not stand in for what is installed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastreg.__file__).parents[1])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment, **pipes)


# -- The network ------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_loss():
    rng = np.random.default_rng(0)
    network, x, y = Network((5, 7, 6, 3), rng), rng.normal(size=(11, 5)), rng.integers(0, 3, 11)
    for b in network.biases:
        b += rng.normal(size=b.shape)

    def loss():
        return -np.mean(np.log(softmax(network.forward(x)[1])[np.arange(len(y)), y]))

    pairs = [
        pair
        for w, b, (gw, gb) in zip(network.weights, network.biases, network.gradients(x, y), strict=True)
        for pair in ((w, gw), (b, gb))
    ]
    for parameter, g in pairs:
        assert parameter.shape == g.shape
        for i in np.ndindex(parameter.shape):
            kept, h = parameter[i], 1e-6
            parameter[i] = kept + h
            above = loss()
            parameter[i] = kept - h
            below = loss()
            parameter[i] = kept
            assert (above - below) / (2 * h) == pytest.approx(g[i], rel=1e-5, abs=1e-8)


def test_training_learns_and_leaves_the_biases_unpenalised():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = (x[:, 0] + x[:, 1] > 0).astype(int)
    network, strengths = Network((4, 16, 2), rng), []

    def update(w, g, lr, l1, l2, *, mode):
        strengths.append((w.ndim, l1, l2))
        fastreg.elastic_net_update(w, g, lr, l1, l2, mode=mode)

    epochs = list(train(network, x, y, epochs=30, rng=rng, lr=0.5, l1=1e-4, l2=1e-3, update=update))
    assert epochs == list(range(30))
    assert np.mean(network.predict(x) == y) > 0.95
    assert set(strengths) == {(2, 1e-4, 1e-3), (1, 0.0, 0.0)}


@pytest.mark.parametrize("mode", ["subgradient", "proximal"])
def test_both_training_loops_are_the_same_training(mode):
    x, y = np.random.default_rng(0).normal(size=(70, 4)), np.arange(70) % 3
    epochs, steps, ends = 5, -(-70 // BATCH), []
    strengths = {"l1": 0.01, "l2": 0.02, "mode": mode}
    for loop in (train, train_with):
        rng = np.random.default_rng(1)
        network = Network((4, 9, 3), rng)
        if loop is train:
            course = train(network, x, y, epochs=epochs, rng=rng, lr=0.5, **strengths)
        else:
            lr = lambda completed: 0.5 * (1 - completed // steps / epochs)  # noqa: E731
            optimizer = fastreg.SGD(groups(network), lr=lr, **strengths)
            course = train_with(optimizer, network, x, y, epochs=epochs, rng=rng)
        assert list(course) == list(range(epochs))
        ends.append(network.weights + network.biases)
    for one, other in zip(*ends, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("mode", ["subgradient", "proximal"])
@pytest.mark.parametrize("strengths", [(0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_numpy_expressions_are_the_same_updates(mode, strengths):
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=(2, 9, 31))
    v = w.copy()
    fastreg.elastic_net_update(w, g, 0.5, *strengths, mode=mode)
    numpy_update(v, g, 0.5, *strengths, mode=mode)
    np.testing.assert_allclose(w, v, rtol=1e-14, atol=1e-15)


# -- The claims -------------------------------------------------------------------------------------------------------


def test_exact_zeros_and_agreement_with_numpy(sections):
    from fastreg.demo import Settings

    settings = Settings(epochs=2)
    data = sections.digits.load(settings)
    outcomes = {
        p: sections.digits.compare(data, settings, p, lambda ticks: None) for p in ("l1-subgradient", "l1-proximal")
    }
    assert outcomes["l1-subgradient"].zeros == 0
    assert outcomes["l1-proximal"].zeros > 0
    for o in outcomes.values():
        assert o.difference < 1e-9
        assert o.seconds > 0
        assert o.numpy_seconds > 0
    verdicts = [claim.holds for claim in sections.claims.compared(outcomes.values(), data)][:2]
    assert verdicts == [False, True]


def test_wrong_labels_are_wrong_and_only_as_many_as_asked_for(sections):
    from fastreg.demo import Settings

    clean = sections.digits.load(Settings(label_noise=0.0))
    noisy = sections.digits.load(Settings(label_noise=0.25))
    assert len(clean.wrong) == 0
    assert set(np.flatnonzero(clean.y != noisy.y)) == set(noisy.wrong)
    assert len(noisy.wrong) == round(0.25 * len(noisy.y))
    assert np.array_equal(clean.y_test, noisy.y_test)
    assert len(noisy.x) + len(noisy.x_test) == 1797


@pytest.mark.parametrize(
    ("train_and_test", "expected"),
    [
        (((0.99, 0.80), (0.80, 0.97), (0.10, 0.10)), ["overfits", "best", "underfits"]),
        (((0.99, 0.97), (0.80, 0.965), (0.10, 0.10)), ["best", "good", "underfits"]),
        (((0.50, 0.50), (0.60, 0.60), (0.70, 0.70)), ["underfits", "underfits", "best"]),
    ],
)
def test_verdicts_come_from_the_accuracies(sections, train_and_test, expected):
    outcomes = [SimpleNamespace(train=a, test=b) for a, b in train_and_test]
    assert sections.digits.verdicts(outcomes) == expected


def test_claims_on_the_strength_can_fail(sections):
    outcomes = [SimpleNamespace(test=t) for t in (0.9, 0.95, 0.1)]
    verdicts = {"l2": ["overfits", "best", "underfits"], "l1-proximal": ["good", "best", "underfits"]}
    claims = sections.claims.swept(dict.fromkeys(verdicts, outcomes), verdicts)
    assert [claim.holds for claim in claims] == [True, False]


@pytest.mark.parametrize("name", ["momentum", "Adam"])
def test_optimizers_give_zeros_in_proximal_mode_only(sections, name):
    from fastreg.demo import Settings

    settings = Settings(epochs=2)
    data = sections.digits.load(settings)
    blank = int(np.sum(~data.inked)) * sections.digits.SIZES[1]
    textbook, proximal = (
        sections.optimizers.follow(data, settings, name, mode, lambda ticks: None) for mode in sections.optimizers.MODES
    )
    assert textbook.outcome.zeros == 0
    for c in (textbook, proximal):
        assert c.test.shape == (2,)
        assert c.test[-1] == c.outcome.test > 0.5
        assert np.all(c.sizes.sum(axis=1) == c.outcome.size)
        assert np.all(c.sizes[:, 1] == blank)
        assert np.all(c.zeros <= c.sizes)
        assert c.zeros[-1].sum() == c.outcome.zeros
    assert proximal.zeros[-1, 0] > 0
    assert (proximal.at_once[1] == blank) == (name == "Adam")


def test_zeros_are_counted_by_what_reached_the_weights(sections):
    rng = np.random.default_rng(0)
    network = Network((3, 2, 2), rng)
    watched = sections.optimizers.Watched(fastreg.SGD(groups(network), lr=0.0), network, np.array([True, True, False]))
    network.weights[0][...] = [[0, 0], [1, 0], [0, 1]]
    gradients = [np.array([[1.0, 0], [0, 0], [0, 0]]), np.zeros((2, 2))]
    watched.step([gradients, [np.zeros(2), np.zeros(2)]])
    zeros, sizes = watched.count()
    assert zeros.tolist() == [1, 1, 2]
    assert sizes.tolist() == [1, 2, 7]
    assert watched.at_once.tolist() == zeros.tolist()


def test_claims_on_the_optimizers_can_fail(sections):
    def courses(live, lost, first):
        for name, mode in (("momentum", "subgradient"), ("momentum", "proximal"), ("Adam", "subgradient")):
            outcome = SimpleNamespace(zeros=0, test=0.95, size=100)
            yield SimpleNamespace(optimizer=name, mode=mode, outcome=outcome, zeros=zeros(9), at_once=np.zeros(3, int))
        outcome = SimpleNamespace(zeros=live, test=0.95 - lost, size=100)
        sizes = np.array([[80, 10, 10]])
        counts = {"zeros": zeros(live), "sizes": sizes, "at_once": np.array([0, first, 0])}
        yield SimpleNamespace(optimizer="Adam", mode="proximal", outcome=outcome, **counts)

    def zeros(live):
        return np.array([[live, 0, 0]])

    def judged(**run):
        return [claim.holds for claim in sections.claims.optimizers(list(courses(**run)), 450)]

    assert judged(live=5, lost=0.01, first=10) == [True, True, True, True, True]
    assert judged(live=0, lost=0.011, first=9) == [True, True, False, False, False]


def test_twins(sections):
    twins = sections.twins
    x, y, names = twins.load()
    assert x.shape[1] == len(names)
    lasso = twins.divide(x, y, twins.L1, 0.0, 0, lambda ticks: None)
    net = twins.divide(x, y, twins.L1, twins.L2, 0, lambda ticks: None)
    assert lasso.apart.min() > 1
    assert any(not np.allclose(a, b, atol=1) for a, b in pairwise(lasso.first))
    assert net.apart.max() < 1e-9
    assert max(lasso.error.max(), net.error.max()) < 1e-6
    cycle = twins.cycle(x, y, twins.L1, lasso.known, 0)
    assert cycle.weights == np.sum(lasso.known == 0) > 0
    assert cycle.zeros == 0
    for lr, width in cycle.widths.items():
        assert 0.5 < width / (lr * twins.L1) < 3
    assert all(claim.holds for claim in sections.claims.twins(lasso, net, cycle))


SOURCE = b'''
"""The module says nothing."""
raise RuntimeError("a file that is read is not run, and \\d is no reason to warn")
def public(): "A function tells in ten words or more what it does."
def short(): "Too short."
def _private(): "A private function has ten words or more to say, too."
class Public:
    """A class tells in ten words or more what it is."""
    async def method(self): "A method tells in ten words or more what it does."
class _Private:
    def method(self): "Whoever looks into private classes finds ten words or more."
'''


def test_docstrings_are_read_and_nothing_is_run(sections, tmp_path):
    file = tmp_path / "a.py"
    file.write_bytes(SOURCE)
    found = [text.split()[1] for text in sections.text.docstrings(file)]
    assert found == ["function", "class", "method"]
    for content in (b"def", b"\0", b"\xff"):
        file.write_bytes(content)
        assert list(sections.text.docstrings(file)) == []
    assert list(sections.text.docstrings(tmp_path / "missing.py")) == []
    assert sections.text.sources("a_package_that_nobody_has") == []
    assert all("test" not in path.parts for path in sections.text.sources(""))


def test_packages_are_told_apart_in_mini_batches_and_at_once(sections):
    from fastreg.demo import Settings

    documents, again = (sections.text.load(Settings(seed=2)) for _ in range(2))
    assert (documents.x != again.x).nnz == 0
    assert np.array_equal(documents.y, again.y)
    assert len(documents.packages) == 2
    assert len(documents.y_test) == (len(documents.y) + len(documents.y_test)) // 5
    ticks = []
    courses = [sections.text.follow(documents, name, ticks.append) for name in sections.text.LEARNERS]
    assert len(ticks) == 3 * -(-len(documents.y) // sections.text.BATCH)
    *both, theirs = courses
    for c in both:
        assert c.differ == 0
        assert c.accuracy[-1] == c.whole_accuracy > 0.6
        assert c.kept[-1] == c.whole_kept < documents.features
    assert theirs.differ > 0
    for c in courses:
        assert c.seen[-1] == len(documents.y)
        assert np.all(np.diff(c.seen) > 0)
        assert c.kept[-1] == np.count_nonzero(c.streamed[:-1])
        assert 0.5 < c.foretold < 1
        assert c.seconds > 0
    assert sections.claims.text(courses, documents)[0].holds


def test_one_package_alone_is_left_out(sections, monkeypatch, capsys):
    from fastreg.demo import Settings, report

    monkeypatch.setattr(sections.text, "PACKAGES", {"NumPy": "numpy", "nobody": "a_package_that_nobody_has"})
    assert sections.text.section(Settings(), report.Screen()) == {}
    assert "Left out" in capsys.readouterr().out


def test_claims_on_the_text_can_fail(sections):
    def judged(differ=0, kept=30, whole=30, foretold=0.9, held=0.9, theirs=80):
        counts = {"whole_kept": whole, "foretold": foretold, "accuracy": [held], "streamed": np.zeros(101)}
        theirs_alone = {"foretold": 0.9, "accuracy": [0.9], "whole_kept": 30}
        ours = SimpleNamespace(differ=differ, kept=np.array([kept]), **counts)
        other = SimpleNamespace(differ=9, kept=np.array([theirs]), **counts | theirs_alone)
        same = SimpleNamespace(differ=0)
        documents = SimpleNamespace(features=100, y=np.zeros(900), y_test=np.zeros(100))
        return [claim.holds for claim in sections.claims.text([ours, same, other], documents)]

    assert judged() == judged(foretold=0.885) == judged(held=0.85) == [True, True, True, True]
    assert judged(differ=1) == [False, True, True, True]
    assert judged(kept=31) == judged(kept=60, whole=60) == [True, False, True, True]
    assert judged(theirs=40) == [True, True, False, True]
    assert judged(foretold=0.875) == judged(held=0.83) == [True, True, True, False]


# -- The command line -------------------------------------------------------------------------------------------------


def test_short_run_prints_its_tables_and_writes_its_pictures(sections, tmp_path, capsys):
    out = tmp_path / "a" / "b"
    assert main(["demo", "--epochs", "1", "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for text in (
        "none",
        "l2",
        "l1-subgradient",
        "l1-proximal",
        "elastic-net",
        "269 training labels",
        "scikit-",
        "its twin",
        "never had a gradient",
        "Proximal Adam",
        "Who wrote this docstring",
        "scikit-learn, SGD",
        "is cut.",
    ):
        assert text in printed
    assert {path.name for path in out.iterdir()} == PICTURES
    for path in out.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert str(path) in printed


def test_chosen_penalties_only(sections, tmp_path, capsys):
    options = ["--penalty", "none", "--label-noise", "0", "--epochs", "1", "--out", str(tmp_path)]
    assert main(["demo", *options]) == 0
    printed = capsys.readouterr().out
    assert "elastic-net" not in printed
    assert "All labels are right" in printed
    assert {path.name for path in tmp_path.iterdir()} == PICTURES - {"strength.png"}


def test_divergence_is_said_and_not_drawn(sections, tmp_path, capsys):
    assert main(["demo", "--penalty", "l2", "--l2", "1e3", "--epochs", "3", "--out", str(tmp_path)]) == 0
    assert "l2 diverged" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"optimizers.png", "strength.png", "text.png", "twins.png"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--l1", "-1"),
        ("--l1", "nan"),
        ("--l2", "inf"),
        ("--l2", "much"),
        ("--epochs", "0"),
        ("--epochs", "1.5"),
        ("--seed", "-1"),
        ("--seed", str(2**32)),
        ("--label-noise", "1"),
        ("--label-noise", "-0.1"),
        ("--penalty", "l3"),
    ],
)
def test_bad_options(option, value, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main(["demo", "--out", str(tmp_path), option, value])
    assert error.value.code == 2
    printed = capsys.readouterr().err
    assert f"argument {option}" in printed
    assert repr(value) in printed


def test_a_folder_that_cannot_be_made(sections, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit) as error:
        main(["demo", "--out", str(file)])
    assert error.value.code == 2
    captured = capsys.readouterr()
    assert "argument --out" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("missing", EXTRAS)
def test_a_missing_extra_names_the_command(missing, tmp_path):
    code = f"import sys; sys.modules[{missing!r}] = None; from fastreg.__main__ import main; sys.exit(main())"
    running = python(tmp_path, "-c", code, "demo")
    printed, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert f"python -m pip install {missing.replace('sklearn', 'scikit-learn')}\n" in errors
    assert 'python -m pip install -e ".[demo]"' in errors
    assert "Traceback" not in errors
    assert printed == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], "demo"), (["--version"], fastreg.__version__), (["demo", "--help"], "--label-noise")],
)
def test_help_and_version_need_no_extra(arguments, expected, tmp_path):
    code = f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r})); from fastreg.__main__ import main; main()"
    running = python(tmp_path, "-c", code, *arguments)
    printed, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert expected in printed


def test_config_prints_what_show_config_prints(capsys):
    assert main(["config"]) == 0
    printed = capsys.readouterr().out
    fastreg.show_config()
    assert printed == capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child process")
def test_an_interrupt_leaves_nothing_half_written(sections, tmp_path):
    running = python(tmp_path, "-m", "fastreg", "demo", "--out", ".")
    while "Handwritten" not in running.stdout.readline():
        assert running.poll() is None
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_written_whole_or_not_at_all(sections, tmp_path):
    from fastreg.demo.figures import save

    class Broken:
        def savefig(self, path, **options):
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    (tmp_path / "a.png").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        save(Broken(), tmp_path / "a.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
