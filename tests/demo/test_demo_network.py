"""The demo's network, its two training loops, and the updates as NumPy expressions."""

import numpy as np
import pytest

import fastreg
from fastreg.demo.expressions import numpy_update
from fastreg.demo.network import BATCH, Network, groups, softmax, train, train_with


def test_gradients_equal_finite_differences_of_the_loss():
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
            value, h = parameter[i], 1e-6
            parameter[i] = value + h
            above = loss()
            parameter[i] = value - h
            below = loss()
            parameter[i] = value
            assert (above - below) / (2 * h) == pytest.approx(g[i], rel=1e-5, abs=1e-8)


def test_training_learns_and_does_not_penalise_biases():
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
def test_both_training_loops_give_the_same_weights(mode):
    x, y = np.random.default_rng(0).normal(size=(70, 4)), np.arange(70) % 3
    epochs, steps, results = 5, -(-70 // BATCH), []
    strengths = {"l1": 0.01, "l2": 0.02, "mode": mode}
    for loop in (train, train_with):
        rng = np.random.default_rng(1)
        network = Network((4, 9, 3), rng)
        if loop is train:
            training = train(network, x, y, epochs=epochs, rng=rng, lr=0.5, **strengths)
        else:
            lr = lambda completed: 0.5 * (1 - completed // steps / epochs)  # noqa: E731
            optimizer = fastreg.SGD(groups(network), lr=lr, **strengths)
            training = train_with(optimizer, network, x, y, epochs=epochs, rng=rng)
        assert list(training) == list(range(epochs))
        results.append(network.weights + network.biases)
    for w, v in zip(*results, strict=True):
        assert np.array_equal(w, v)


@pytest.mark.parametrize("mode", ["subgradient", "proximal"])
@pytest.mark.parametrize("strengths", [(0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_numpy_expressions_compute_the_same_updates(mode, strengths):
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=(2, 9, 31))
    v = w.copy()
    fastreg.elastic_net_update(w, g, 0.5, *strengths, mode=mode)
    numpy_update(v, g, 0.5, *strengths, mode=mode)
    np.testing.assert_allclose(w, v, rtol=1e-14, atol=1e-15)
