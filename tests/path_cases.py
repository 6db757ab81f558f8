"""Train functions for sweeps with exact results, shared by the tests of sequences, checkpoints and workers."""

import numpy as np

STRENGTHS = [1.0, 0.5, 0.25, 0.125]
FOLDS = 3


def chain(strength, fold, state):
    """All numbers are small powers of two, so each sum is exact; the state shows the whole way."""
    way = [] if state is None else state["way"]
    way = [*way, strength]
    weights = np.full((2, 3), sum(way) * 2**fold) if state is None else state["weights"] + strength * 2**fold
    state = {"way": way, "weights": weights, "step": np.int64(len(way)), "rest": (None, True, "text", 0.1)}
    return state, sum(way) + fold, {"steps": len(way), "first": way[0]}


def chain_scores():
    """The scores of chain with a warm start."""
    return np.cumsum(STRENGTHS)[:, None] + np.arange(FOLDS)


def same_table(a, b):
    """Whether two tables have the same bits."""
    return (
        a.strengths.tobytes() == b.strengths.tobytes()
        and a.scores.tobytes() == b.scores.tobytes()
        and a.extras.keys() == b.extras.keys()
        and all(a.extras[name].tobytes() == b.extras[name].tobytes() for name in a.extras)
    )


class Interrupted:
    """A train function that raises at call number `at`, from 0."""

    def __init__(self, train, at, error=KeyboardInterrupt):
        self.train, self.at, self.error, self.calls = train, at, error, 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.at + 1:
            raise self.error
        return self.train(*arguments)


def network_training():
    """A train function of a small network on digits, with its fold's images for validation, and its folds."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import KFold

    from fastreg.demo.network import Network, softmax, train

    x, y = load_digits(return_X_y=True)
    x, y = x[:200] / 16, y[:200]

    def train_network(strength, fold, state):
        rows, others = fold
        rng = np.random.default_rng(0)
        network = Network((64, 16, 10), rng)
        if state is not None:
            network.weights, network.biases = state["weights"], state["biases"]  # changed in place
        for _ in train(network, x[rows], y[rows], epochs=3, rng=rng, lr=0.5, l1=strength):
            pass
        probabilities = softmax(network.forward(x[others])[1])[np.arange(len(others)), y[others]]
        zeros = sum(int(np.sum(w == 0)) for w in network.weights)
        state = {"weights": network.weights, "biases": network.biases}
        return state, -np.mean(np.log(probabilities)), {"zeros": zeros}

    return train_network, list(KFold(3, shuffle=True, random_state=0).split(x))
