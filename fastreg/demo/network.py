"""A multi-layer perceptron in plain NumPy whose only weight updates are fastreg's: copy one of its two training loops.

`train` calls an update function for every array; `train_with` hands all gradients to an optimizer. The penalty is no
part of the loss and no part of backpropagation. It enters where the weights change, so that changing the penalty means
changing the arguments of one call. Biases take the same update with strengths of zero: they set where a unit switches,
and shrinking them would fit nothing more smoothly.
"""

from itertools import pairwise

import numpy as np

from fastreg import elastic_net_update

BATCH = 32


class Network:
    """Fully connected layers with ReLU between them and softmax on top."""

    def __init__(self, sizes, rng):
        self.weights = [rng.normal(0, np.sqrt(2 / n), (n, m)) for n, m in pairwise(sizes)]
        self.biases = [np.zeros(m) for m in sizes[1:]]

    def forward(self, x):
        """What goes into each layer, and the scores that come out of the last."""
        inputs = []
        for w, b in zip(self.weights, self.biases):
            inputs.append(x)
            scores = x @ w + b
            x = np.maximum(scores, 0)
        return inputs, scores

    def predict(self, x):
        """The class with the highest score, for each row."""
        return self.forward(x)[1].argmax(axis=1)

    def gradients(self, x, y):
        """The gradients of the mean cross-entropy: (weights, biases) of each layer, the first layer first."""
        inputs, scores = self.forward(x)
        error = softmax(scores)
        error[np.arange(len(y)), y] -= 1
        error /= len(y)
        gradients = []
        for w, x in zip(reversed(self.weights), reversed(inputs)):
            gradients.append((x.T @ error, error.sum(axis=0)))
            error = error @ w.T * (x > 0)
        return gradients[::-1]


def softmax(scores):
    """Probabilities of the classes, row by row."""
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def batches(x, y, rng):
    """All rows once, in random order, a mini-batch at a time."""
    for rows in np.split(rng.permutation(len(x)), range(BATCH, len(x), BATCH)):
        yield x[rows], y[rows]


def train(network, x, y, *, epochs, rng, lr, l1=0.0, l2=0.0, mode="proximal", update=elastic_net_update):
    """Train the network in place, one epoch for each value taken from this generator.

    The learning rate falls linearly to zero, which takes the noise of the mini-batches out of the last epochs.
    """
    for epoch in range(epochs):
        eta = lr * (1 - epoch / epochs)
        for batch in batches(x, y, rng):
            for w, b, (gw, gb) in zip(network.weights, network.biases, network.gradients(*batch)):
                update(w, gw, eta, l1, l2, mode=mode)
                update(b, gb, eta, 0.0, 0.0, mode=mode)
        yield epoch


def groups(network):
    """The network's arrays for an optimizer: weights with its penalty, biases without."""
    return [{"params": network.weights}, {"params": network.biases, "l1": 0.0, "l2": 0.0}]


def train_with(optimizer, network, x, y, *, epochs, rng):
    """Train the network in place with an optimizer of its groups, one epoch for each value taken from this generator.

    The penalty, its mode and the course of the learning rate are the optimizer's.
    """
    for epoch in range(epochs):
        for batch in batches(x, y, rng):
            weights, biases = zip(*network.gradients(*batch))
            optimizer.step([weights, biases])
        yield epoch
