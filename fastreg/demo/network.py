"""A multi-layer perceptron in plain NumPy that is trained with fastreg's updates: copy one of its two training loops.

`train` calls an update function for every array; `train_with` passes all gradients to an optimizer. The penalty is not
part of the loss and not part of backpropagation. It is applied where the weights change: to use another penalty, change
the arguments of one call. Biases get the same update with strengths of zero: they set the threshold of a unit, and
shrinking them does not make the fitted function smoother.
"""

from itertools import pairwise

import numpy as np

from fastreg import elastic_net_update

BATCH = 32


class Network:
    """Fully connected layers with ReLU between them and softmax at the end."""

    def __init__(self, sizes, rng):
        self.weights = [rng.normal(0, np.sqrt(2 / n), (n, m)) for n, m in pairwise(sizes)]
        self.biases = [np.zeros(m) for m in sizes[1:]]

    def forward(self, x):
        """The inputs of each layer, and the scores of the last layer."""
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
    """Class probabilities, row by row."""
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def batches(x, y, rng, size=BATCH):
    """All rows once, in random order, in mini-batches."""
    for rows in np.split(rng.permutation(len(x)), range(size, len(x), size)):
        yield x[rows], y[rows]


def train(network, x, y, *, epochs, rng, lr, l1=0.0, l2=0.0, mode="proximal", update=elastic_net_update):
    """Train the network in place. This is a generator: it runs one epoch for each value taken from it.

    The learning rate decreases linearly to zero, which reduces the mini-batch noise of the last epochs.
    """
    for epoch in range(epochs):
        eta = lr * (1 - epoch / epochs)
        for batch in batches(x, y, rng):
            for w, b, (gw, gb) in zip(network.weights, network.biases, network.gradients(*batch)):
                update(w, gw, eta, l1, l2, mode=mode)
                update(b, gb, eta, 0.0, 0.0, mode=mode)
        yield epoch


def groups(network):
    """The network's arrays as parameter groups: weights with the optimizer's penalty, biases without a penalty."""
    return [{"params": network.weights}, {"params": network.biases, "l1": 0.0, "l2": 0.0}]


def train_with(optimizer, network, x, y, *, epochs, rng, batch=BATCH):
    """Train the network in place with an optimizer of `groups(network)`. A generator, like `train`.

    The optimizer determines the penalty, its mode and the schedule of the learning rate.
    """
    for epoch in range(epochs):
        for images in batches(x, y, rng, batch):
            weights, biases = zip(*network.gradients(*images))
            optimizer.step([weights, biases])
        yield epoch
