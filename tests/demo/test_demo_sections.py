"""The sections of the demo and their claims. The claims depend on the results of the run and can fail."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

import fastreg
from fastreg.__main__ import main
from fastreg.demo.network import Network, groups

PICTURES = {
    "correlated-features.png",
    "first-layer.png",
    "histograms.png",
    "optimizers.png",
    "streaming-text.png",
    "strength.png",
    "units-and-pixels.png",
}

ONLY = [word for name in ("digits", "optimizers", "units", "copies", "stream") for word in ("--only", name)]


@pytest.fixture(scope="module")
def sections():
    """The modules of the demo that need its extra packages, with a short stream of docstrings."""
    for name in ("sklearn", "matplotlib", "rich"):
        pytest.importorskip(name)
    from fastreg.demo import claims, correlated, digits, optimizers, streaming

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "MAX_DOCUMENTS", 150)
        patch.setattr(streaming, "MIN_DOCUMENTS", 100)
        yield SimpleNamespace(
            claims=claims, correlated=correlated, digits=digits, optimizers=optimizers, streaming=streaming
        )


def test_proximal_rule_gives_zeros_and_numpy_gives_the_same_weights(sections):
    from fastreg.demo import Settings

    settings = Settings(epochs=2)
    data = sections.digits.load(settings)
    results = {
        p: sections.digits.compare(data, settings, p, lambda amount: None) for p in ("l1-subgradient", "l1-proximal")
    }
    assert results["l1-subgradient"].zeros == 0
    assert results["l1-proximal"].zeros > 0
    for r in results.values():
        assert r.difference < 1e-9
        assert r.seconds > 0
        assert r.numpy_seconds > 0
    holds = [claim.holds for claim in sections.claims.compared(results.values(), data)]
    assert holds[:2] == [False, True]


def test_without_corrupted_labels_no_claim_speaks_of_learned_noise(sections):
    def claim(none, l2, corrupted):
        data = SimpleNamespace(corrupted=np.arange(corrupted), y_test=np.zeros(400))
        results = [SimpleNamespace(penalty=p, test=t, noise=n) for p, t, n in (("none", none, 0.9), ("l2", l2, 0.1))]
        return sections.claims.learns_noise(results[0], results[1:], data)

    assert claim(0.85, 0.95, 9).text == "Without a penalty on large weights a network learns the noise."
    assert claim(0.85, 0.95, 9).holds
    assert "noise" not in claim(0.95, 0.96, 0).text
    assert claim(0.95, 0.96, 0).holds
    assert not claim(0.90, 0.95, 0).holds


def test_corrupted_labels_are_wrong_and_their_number_is_the_requested_one(sections):
    from fastreg.demo import Settings

    clean = sections.digits.load(Settings(label_noise=0.0))
    noisy = sections.digits.load(Settings(label_noise=0.25))
    assert len(clean.corrupted) == 0
    assert set(np.flatnonzero(clean.y != noisy.y)) == set(noisy.corrupted)
    assert len(noisy.corrupted) == round(0.25 * len(noisy.y))
    assert np.array_equal(clean.y_test, noisy.y_test)
    assert len(noisy.x) + len(noisy.x_test) == 1797


@pytest.mark.parametrize(
    ("train_and_loss", "expected"),
    [
        (((0.99, 1.3), (0.80, 1.0), (0.10, 2.3)), ["overfits", "best", "underfits"]),
        (((0.99, 1.0), (0.80, 1.1), (0.10, 1.11)), ["best", "good", "underfits"]),
        (((0.50, 1.9), (0.60, 1.8), (0.70, 1.0)), ["underfits", "underfits", "best"]),
        (((0.99, np.inf), (0.80, 1.0), (0.80, 1.0)), ["overfits", "good", "best"]),
    ],
)
def test_fits_are_classified_by_validation_losses(sections, train_and_loss, expected):
    trials = [SimpleNamespace(l1=0.0, l2=i, train=a, loss=b, error=0.1) for i, (a, b) in enumerate(train_and_loss, 1)]
    assert sections.digits.classify_fits(trials) == expected


def test_a_sweep_holds_out_training_images_and_does_not_see_the_test_images(sections, monkeypatch):
    from fastreg.demo import Settings

    digits, settings = sections.digits, Settings(epochs=2)
    data = digits.load(settings)
    parts = digits.hold_out(data, settings)
    assert len(parts.y) + len(parts.y_test) == len(data.y)
    together = np.concatenate([parts.x, parts.x_test])
    assert np.array_equal(np.sort(together, axis=0), np.sort(data.x, axis=0))
    images = [{row.tobytes() for row in part.x[part.corrupted]} for part in (parts, data)]
    assert images[0] < images[1]
    assert 0.15 < len(parts.corrupted) / len(parts.y) < 0.25
    hidden = digits.Digits(data.x, data.y, data.corrupted, None, None)
    monkeypatch.setattr(digits, "STRENGTHS", np.array([1e-3, 0.1]))
    amounts = []
    table = digits.sweep(hidden, settings, "l1-proximal", amounts.append)
    assert sum(amounts) == 4
    weak, strong = digits.trials_of(table)
    assert (weak.l1, strong.l1, weak.l2) == (1e-3, 0.1, 0.0)
    assert weak.loss < strong.loss == pytest.approx(np.log(10), rel=0.01)
    assert strong.zeros > weak.zeros
    assert weak.size == strong.size == 17024
    result = digits.evaluate_chosen(data, settings, "l1-proximal", table, amounts.append)
    assert (result.l1, table.best()) == (1e-3, 1e-3)
    assert result.test > 0.5


def test_claims_about_strengths_can_fail(sections):
    results = [SimpleNamespace(loss=x) for x in (1.3, 1.0, 2.3)]
    fits = {"l2": ["overfits", "best", "underfits"], "l1-proximal": ["good", "best", "underfits"]}
    claims = sections.claims.swept(dict.fromkeys(fits, results), fits)
    assert [claim.holds for claim in claims] == [True, False]


@pytest.mark.parametrize("name", ["momentum", "Adam"])
def test_optimizers_give_zeros_only_in_proximal_mode(sections, name):
    from fastreg.demo import Settings

    settings = Settings(epochs=2)
    data = sections.digits.load(settings)
    blank = int(np.sum(~data.nonblank)) * sections.digits.SIZES[1]
    textbook, proximal = (
        sections.optimizers.train_and_count(data, settings, name, mode, lambda amount: None)
        for mode in sections.optimizers.MODES
    )
    assert textbook.result.zeros == 0
    for h in (textbook, proximal):
        assert h.test.shape == (2,)
        assert h.test[-1] == h.result.test > 0.5
        assert np.all(h.sizes.sum(axis=1) == h.result.size)
        assert np.all(h.sizes[:, 1] == blank)
        assert np.all(h.zeros <= h.sizes)
        assert h.zeros[-1].sum() == h.result.zeros
    assert proximal.zeros[-1, 0] > 0
    assert (proximal.first_zeros[1] == blank) == (name == "Adam")


def test_zeros_are_counted_by_the_gradients_of_their_weights(sections):
    rng = np.random.default_rng(0)
    network = Network((3, 2, 2), rng)
    counter = sections.optimizers.ZeroCounter(
        fastreg.SGD(groups(network), lr=0.0), network, np.array([True, True, False])
    )
    network.weights[0][...] = [[0, 0], [1, 0], [0, 1]]
    gradients = [np.array([[1.0, 0], [0, 0], [0, 0]]), np.zeros((2, 2))]
    counter.step([gradients, [np.zeros(2), np.zeros(2)]])
    zeros, sizes = counter.count()
    assert zeros.tolist() == [1, 1, 2]
    assert sizes.tolist() == [1, 2, 7]
    assert counter.first_zeros.tolist() == zeros.tolist()


def test_claims_about_optimizers_can_fail(sections):
    def histories(trained, lost, first):
        for name, mode in (("momentum", "subgradient"), ("momentum", "proximal"), ("Adam", "subgradient")):
            result = SimpleNamespace(zeros=0, test=0.95, size=100)
            counts = {"zeros": zeros(9), "first_zeros": np.zeros(3, int)}
            yield SimpleNamespace(optimizer=name, mode=mode, result=result, **counts)
        result = SimpleNamespace(zeros=trained, test=0.95 - lost, size=100)
        sizes = np.array([[80, 10, 10]])
        counts = {"zeros": zeros(trained), "sizes": sizes, "first_zeros": np.array([0, first, 0])}
        yield SimpleNamespace(optimizer="Adam", mode="proximal", result=result, **counts)

    def zeros(trained):
        return np.array([[trained, 0, 0]])

    def holds(**run):
        return [claim.holds for claim in sections.claims.optimizers(list(histories(**run)), 450)]

    assert holds(trained=5, lost=0.01, first=10) == [True, True, True, True, True]
    assert holds(trained=0, lost=0.011, first=9) == [True, True, False, False, False]


def test_duplicated_features_get_equal_weights_from_elastic_net_only(sections):
    correlated = sections.correlated
    x, y, names = correlated.load()
    assert x.shape[1] == len(names)
    lasso = correlated.fit_duplicated(x, y, correlated.L1, 0.0, 0, lambda amount: None)
    net = correlated.fit_duplicated(x, y, correlated.L1, correlated.L2, 0, lambda amount: None)
    assert lasso.difference.min() > 1
    assert any(not np.allclose(a, b, atol=1) for a, b in pairwise(lasso.columns))
    assert net.difference.max() < 1e-9
    assert max(lasso.error.max(), net.error.max()) < 1e-6
    cycle = correlated.observe_cycle(x, y, correlated.L1, lasso.known, 0)
    assert cycle.weights == np.sum(lasso.known == 0) > 0
    assert cycle.zeros == 0
    for lr, width in cycle.widths.items():
        assert 0.5 < width / (lr * correlated.L1) < 3
    assert all(claim.holds for claim in sections.claims.correlated(lasso, net, cycle))


SOURCE = b'''
"""A module docstring is ignored."""
raise RuntimeError("the file is parsed and not run, and \\d must not warn")
def public(): "A function has a docstring of at least ten words here."
def short(): "Too short."
def _private(): "A private function has a docstring of ten words, too, here."
class Public:
    """A class has a docstring of at least ten words here."""
    async def method(self): "A method has a docstring of at least ten words here."
class _Private:
    def method(self): "A method of a private class has at least ten words here."
'''


def test_docstrings_are_read_without_running_the_source(sections, tmp_path):
    file = tmp_path / "a.py"
    file.write_bytes(SOURCE)
    found = [text.split()[1] for text in sections.streaming.docstrings(file)]
    assert found == ["function", "class", "method"]
    for content in (b"def", b"\0", b"\xff"):
        file.write_bytes(content)
        assert list(sections.streaming.docstrings(file)) == []
    assert list(sections.streaming.docstrings(tmp_path / "missing.py")) == []
    assert sections.streaming.sources("a_package_that_nobody_has") == []
    assert all("test" not in path.parts for path in sections.streaming.sources(""))


def test_docstrings_are_classified_in_mini_batches_and_in_a_single_call(sections):
    from fastreg.demo import Settings

    documents, again = (sections.streaming.load(Settings(seed=2)) for _ in range(2))
    assert (documents.x != again.x).nnz == 0
    assert np.array_equal(documents.y, again.y)
    assert len(documents.packages) == 2
    assert len(documents.y_test) == (len(documents.y) + len(documents.y_test)) // 5
    amounts = []
    streaming = sections.streaming
    results = [streaming.learn_stream(documents, name, amounts.append) for name in streaming.LEARNERS]
    assert len(amounts) == 3 * -(-len(documents.y) // streaming.BATCH)
    *fastreg_results, sklearn_result = results
    for r in fastreg_results:
        assert r.differing == 0
        assert r.accuracy[-1] == r.single_accuracy > 0.6
        assert r.nonzeros[-1] == r.single_nonzeros < documents.features
    assert sklearn_result.differing > 0
    for r in results:
        assert r.seen[-1] == len(documents.y)
        assert np.all(np.diff(r.seen) > 0)
        assert r.nonzeros[-1] == np.count_nonzero(r.weights[:-1])
        assert 0.5 < r.progressive_accuracy < 1
        assert r.seconds > 0
    assert sections.claims.streaming(results, documents)[0].holds


def test_streaming_is_omitted_if_there_is_only_one_package(sections, monkeypatch, capsys):
    from fastreg._show.console import ReportConsole
    from fastreg.demo import Settings

    monkeypatch.setattr(sections.streaming, "PACKAGES", {"NumPy": "numpy", "nobody": "a_package_that_nobody_has"})
    assert sections.streaming.section(Settings(), ReportConsole()) == {}
    assert "Omitted" in capsys.readouterr().out


def test_claims_about_streaming_can_fail(sections):
    def holds(differing=0, nonzeros=30, single=30, progressive=0.9, test=0.9, sklearn_nonzeros=80):
        accuracies = {"progressive_accuracy": progressive, "accuracy": [test]}
        counts = {"single_nonzeros": single, "nonzeros": np.array([nonzeros]), "weights": np.zeros(101)}
        ftrl = SimpleNamespace(differing=differing, **accuracies, **counts)
        sgd = SimpleNamespace(differing=0)
        accuracies = {"progressive_accuracy": 0.9, "accuracy": [0.9]}
        counts = {"single_nonzeros": 30, "nonzeros": np.array([sklearn_nonzeros])}
        sklearn = SimpleNamespace(differing=9, **accuracies, **counts)
        documents = SimpleNamespace(features=100, y=np.zeros(900), y_test=np.zeros(100))
        return [claim.holds for claim in sections.claims.streaming([ftrl, sgd, sklearn], documents)]

    assert holds() == holds(progressive=0.885) == holds(test=0.85) == [True, True, True, True]
    assert holds(differing=1) == [False, True, True, True]
    assert holds(nonzeros=31) == holds(nonzeros=60, single=60) == [True, False, True, True]
    assert holds(sklearn_nonzeros=40) == [True, True, False, True]
    assert holds(progressive=0.875) == holds(test=0.83) == [True, True, True, False]


# -- Runs from the command line ---------------------------------------------------------------------------------------


def test_a_short_run_prints_tables_and_writes_pictures(sections, tmp_path, capsys):
    out = tmp_path / "a" / "b"
    assert main(["demo", *ONLY, "--epochs", "1", "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for text in (
        "none",
        "l2",
        "l1-subgradient",
        "l1-proximal",
        "elastic-net",
        "269 training labels",
        "scikit-",
        "of copy",
        "never had a gradient",
        "Proximal Adam",
        "Networks after the cut",
        "does a docstring come from",
        "scikit-learn, SGD",
        "split into batches",
    ):
        assert text in printed
    assert {path.name for path in out.iterdir()} == PICTURES
    for path in out.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert str(path) in printed


def test_only_the_selected_penalties_are_trained(sections, tmp_path, capsys):
    options = [*ONLY, "--penalty", "none", "--label-noise", "0", "--epochs", "1", "--out", str(tmp_path)]
    assert main(["demo", *options]) == 0
    printed = capsys.readouterr().out
    assert "elastic-net" not in printed
    assert "No label is corrupted" in printed
    assert {path.name for path in tmp_path.iterdir()} == PICTURES - {"strength.png"}


def test_divergence_is_reported_and_not_drawn(sections, tmp_path, capsys):
    options = ["--only", "digits", "--penalty", "l2", "--l2", "1e3", "--epochs", "3", "--out", str(tmp_path)]
    assert main(["demo", *options]) == 0
    assert "l2 diverged" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"strength.png"}
