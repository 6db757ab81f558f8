"""Whole units and pixels cut out of the demo's network. The claims depend on the results of the run and can fail."""

from types import SimpleNamespace

import numpy as np
import pytest

import fastreg
from fastreg.demo import Settings
from fastreg.demo.network import Network, groups


@pytest.fixture(scope="module")
def demo():
    """The modules of the demo that need its extra packages."""
    for name in ("sklearn", "matplotlib", "rich"):
        pytest.importorskip(name)
    from fastreg.demo import claims, digits, figures, pruning, report

    return SimpleNamespace(claims=claims, digits=digits, figures=figures, pruning=pruning, report=report)


def network_with_zero_rows(rows_of_layers):
    """A network with biases, in which these rows of the weight matrices are zero."""
    rng = np.random.default_rng(0)
    network = Network((6, 9, 5, 3), rng)
    for w, b, rows in zip(network.weights, network.biases, rows_of_layers, strict=True):
        w[list(rows)] = 0
        b += rng.normal(size=b.shape)
    return network


@pytest.mark.parametrize(
    "rows",
    [
        ((), (), ()),
        ((0, 5), (), ()),
        ((), (2, 3, 8), (4,)),
        ((1,), (0,), (0, 1)),
        (range(6), (), ()),
        ((), range(9), ()),
        ((), (), range(5)),
        (range(6), range(9), range(5)),
    ],
    ids=str,
)
def test_the_smaller_network_computes_the_same_function(demo, rows):
    network = network_with_zero_rows(rows)
    before = [a.copy() for a in network.weights + network.biases]
    kept, smaller = demo.pruning.cut_network(network)
    x = np.random.default_rng(1).normal(size=(20, 6))
    np.testing.assert_allclose(smaller.forward(x[:, kept])[1], network.forward(x)[1], rtol=1e-12, atol=1e-12)
    assert np.flatnonzero(~kept).tolist() == list(rows[0])
    sizes = [n - len(zero) for n, zero in zip((6, 9, 5), rows)] + [3]
    assert [w.shape for w in smaller.weights] == list(zip(sizes, sizes[1:]))
    assert [b.shape for b in smaller.biases] == [(n,) for n in sizes[1:]]
    for a, copy in zip(network.weights + network.biases, before, strict=True):
        assert np.array_equal(a, copy)


def test_the_cut_removes_the_zero_groups_of_the_report(demo):
    network = network_with_zero_rows(((1,), (0, 4), (2,)))
    weights, biases = groups(network)
    optimizer = fastreg.SGD([weights | {"l21": 0.1, "group_axis": 0}, biases], lr=0.0)
    kept, smaller = demo.pruning.cut_network(network)
    left = [int(kept.sum()), *(len(w) for w in smaller.weights[1:])]
    rows = [row for row in optimizer.report().values() if row.groups]
    assert [row.groups - row.zero_groups for row in rows] == left == [5, 7, 4]


def test_training_removes_units_and_l1_gets_as_many_nonzeros(demo, monkeypatch):
    monkeypatch.setattr(demo.pruning, "L1_TRIALS", 2)
    settings = Settings(epochs=6)
    data = demo.digits.load(settings)
    epochs = []
    grouped = demo.pruning.train_network(data, settings, epochs.append, l21=0.02, group_axis=0)
    assert len(epochs) == 6
    nonzeros = demo.pruning.count_nonzeros(demo.pruning.cut_network(grouped)[1])
    l1, sparse = demo.pruning.match_l1(data, settings, nonzeros, lambda amount: None)
    networks = {"none": Network(demo.digits.SIZES, np.random.default_rng(0)), "L1": sparse, "group lasso": grouped}
    pruned = demo.pruning.prune(data, networks, {"none": 0.0, "L1": l1, "group lasso": 0.0})
    none, lasso, group = pruned
    assert none.pixels == 64
    assert none.units == [128, 64]
    assert none.removed_units == none.difference == 0
    assert none.multiplications == none.result.size == 17024
    assert group.removed_units > 0
    assert group.nonzeros == nonzeros <= group.multiplications < 17024
    assert group.difference < 1e-12
    assert lasso.result.l1 == l1 > 0
    assert all(seconds > 0 for p in pruned for seconds in p.seconds)
    assert [claim.holds for claim in demo.claims.pruning(pruned, data)][1]


@pytest.mark.parametrize("found", [[900], [4000, 1010], [4000, 3000, 2000], [10, 20, 30], [0, 0, 0]])
def test_the_search_for_the_strength_takes_the_closest_number(demo, monkeypatch, found):
    tried = []

    def train(data, settings, advance, *, l1):
        tried.append(l1)
        return len(tried) - 1

    monkeypatch.setattr(demo.pruning, "train_network", train)
    monkeypatch.setattr(demo.pruning, "cut_network", lambda network: (None, network))
    monkeypatch.setattr(demo.pruning, "count_nonzeros", lambda network: found[network])
    l1, network = demo.pruning.match_l1(None, None, 1000, None)
    closest = min(range(len(found)), key=lambda i: abs(found[i] - 1000))
    assert len(tried) == len(found)
    assert (l1, network) == (tried[closest], closest)
    assert all((b > a) == (number > 1000) for a, b, number in zip(tried, tried[1:], found))


def test_claims_about_the_cut_can_fail(demo):
    def network(nonblank, test, removed, multiplications, seconds=(2.0, 1.0), difference=0.0):
        kept, weights = np.array([nonblank, False]), [np.zeros((2, 8)), np.zeros((8, 3))]
        result = SimpleNamespace(test=test, weights=weights)
        counts = {"removed_units": removed, "multiplications": multiplications, "nonzeros": 9}
        return SimpleNamespace(kept=kept, result=result, seconds=seconds, difference=difference, **counts)

    def holds(nonblank=False, test=0.94, removed=3, multiplications=20, **options):
        none, lasso = network(True, 0.95, 0, 40), network(True, 0.95, 1, 30)
        grouped = network(nonblank, test, removed, multiplications, **options)
        data = SimpleNamespace(nonblank=np.array([True, False]), y_test=np.zeros(450))
        return [claim.holds for claim in demo.claims.pruning([none, lasso, grouped], data)]

    assert holds() == [True] * 5
    assert holds(nonblank=True) == holds(removed=0) == [False, True, True, True, True]
    assert holds(difference=1e-9) == [True, False, True, True, True]
    assert holds(difference=np.nan) == [True, False, True, True, True]
    assert holds(seconds=(1.0, 1.1)) == [True, True, False, True, True]
    assert holds(test=0.93) == [True, True, True, False, True]
    assert holds(multiplications=30) == [True, True, True, True, False]
    assert holds(multiplications=40) == [True, True, False, True, False]
