"""Data with known weights for the experiments of the lesson. All features have variance 1, all signals as well."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Design:
    """Samples that come from known weights: each part is a pair (x, y) with the samples along the first axis."""

    weights: np.ndarray
    train: tuple
    validation: tuple
    test: tuple


def correlated(rng, shape, correlation, size):
    """Normal features in groups of `size` neighbours, each pair within a group with this correlation."""
    *rows, features = shape
    common = np.repeat(rng.standard_normal((*rows, -(-features // size))), size, axis=-1)[..., :features]
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal(shape)


def draw(rng, weights, n, *, noise, correlation=0.0, size=1, validation=None, tests=500):
    """Draw training, validation and test data for weights of shape (samples, features).

    The weights are scaled so that the noiseless target has variance 1. By default, there are as many validation data as
    training data.
    """
    samples, features = weights.shape
    validation = n if validation is None else validation
    x = correlated(rng, (samples, n + validation + tests, features), correlation, size)
    signal = (x @ weights[:, :, None])[:, :, 0]
    scale = signal.std(axis=1, keepdims=True)
    y = signal / scale + noise * rng.standard_normal(signal.shape)
    parts = np.split(np.arange(x.shape[1]), (n, n + validation))
    return Design(weights / scale, *((x[:, part], y[:, part]) for part in parts))


def sparse_weights(rng, samples, features, k):
    """k weights of 1 or −1 in random places, all others zero."""
    weights = np.zeros((samples, features))
    for row in weights:
        row[rng.permutation(features)[:k]] = rng.choice((-1.0, 1.0), k)
    return weights


def dense_weights(rng, samples, features):
    """Normal weights: most features contribute a little."""
    return rng.standard_normal((samples, features))
