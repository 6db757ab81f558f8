"""A multi-layer perceptron in plain NumPy whose only weight update is fastreg's: copy this training loop.

The penalty is no part of the loss and no part of backpropagation. It enters where the weights change, so that changing
the penalty means changing the arguments of one call. Biases take the same update with strengths of zero: they set where
a unit switches, and shrinking them would fit nothing more smoothly.
"""

from itertools import pairwise

import numpy as np

from fastreg import elastic_net_update


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


def train(network, x, y, *, epochs, rng, lr, l1=0.0, l2=0.0, mode="proximal", batch=32, update=elastic_net_update):
    """Train the network in place, one epoch for each value taken from this generator.

    The learning rate falls linearly to zero, which takes the noise of the mini-batches out of the last epochs.
    """
    for epoch in range(epochs):
        eta = lr * (1 - epoch / epochs)
        for rows in np.split(rng.permutation(len(x)), range(batch, len(x), batch)):
            gradients = network.gradients(x[rows], y[rows])
            for w, b, (gw, gb) in zip(network.weights, network.biases, gradients):
                update(w, gw, eta, l1, l2, mode=mode)
                update(b, gb, eta, 0.0, 0.0, mode=mode)
        yield epoch
