"""The program that `.ci/sanitize thread` runs with ThreadSanitizer: updates in slices, and one object for each thread.

The results are compared with those of one thread. CPython itself is not instrumented, but ThreadSanitizer knows its
locks and does not report accesses that the GIL protects. With the argument `race`, two threads update the same array,
and ThreadSanitizer must report it.
"""

import copy
import sys
import threading
from functools import cache

import numpy as np

import fastreg
from fastreg._boundary import threads

threads.available = cache(lambda: 7)  # processors, even if the machine has only one
threads.MIN_BYTES_PER_THREAD = 1 << 20
N = 600_000
KINDS = [fastreg.SGD, fastreg.Adagrad, fastreg.RMSprop, fastreg.Adam, fastreg.AdamW, fastreg.Lion, fastreg.FTRL]


def gradient(dtype, size=N):
    return np.random.default_rng(1).standard_normal(size).astype(dtype)


def train(kind, dtype, n_threads, steps=3):
    """The weights after some steps of two tensors, one of them large."""
    params = [np.ones(N, dtype), np.ones(100, dtype)]
    grads = [gradient(dtype), gradient(dtype, 100)]
    optimizer = kind(params, 0.01, l1=0.1, l2=0.1, threads=n_threads)
    for _ in range(steps):
        optimizer.step(grads)
    optimizer.bind(grads)
    optimizer.step()
    fastreg.clip_grad_norm(grads, 1.0)
    copy.deepcopy(optimizer.state_dict())
    return params[0].tobytes() + params[1].tobytes(), optimizer.penalty(), optimizer.zeros()


def sparse(seed):
    """Make lazy updates."""
    rng = np.random.default_rng(seed)
    for kind in (fastreg.LazySGD, fastreg.LazyAdagrad, fastreg.LazyFTRL):
        w = np.zeros(5000)
        lazy = kind(w, 0.1, l1=1e-3)
        for _ in range(30):
            lazy.step(rng.integers(0, 5000, 40), rng.standard_normal(40))
        lazy.flush()


def linear(seed):
    """Fit a linear model."""
    from fastreg.linear import StreamingClassifier

    x = np.random.default_rng(seed).standard_normal((300, 20))
    StreamingClassifier().partial_fit(x, (x[:, 0] > 0).astype(int), [0, 1]).predict(x)


def together(*calls):
    """Run all calls at the same time, each in a thread."""
    workers = [threading.Thread(target=call) for call in calls]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def functions(n_threads):
    """An update function and a penalty in slices."""
    fastreg.set_num_threads(n_threads)
    w = np.ones(N)
    fastreg.elastic_net_update(w, gradient(float), 0.1, 0.1, 0.1, mode="proximal")
    return w.tobytes(), fastreg.l1_penalty(w, 1.0)


def race():
    """Update the same array in two threads, which the documentation forbids."""
    w, g = np.ones(N), gradient(float)
    together(*2 * [lambda: fastreg.l1_update(w, g, 0.1, 0.1)])


def main():
    for kind in KINDS:
        for dtype in (np.float32, np.float64):
            assert train(kind, dtype, 4) == train(kind, dtype, 1), (kind, dtype)
    assert functions(4) == functions(1)
    together(*(lambda kind=kind: train(kind, np.float32, 3) for kind in KINDS))
    together(*(lambda seed=seed, call=call: call(seed) for seed in range(3) for call in (sparse, linear)))
    w, g = np.ones((4, N)), gradient(float)
    together(*(lambda row=row: fastreg.l1_update(row, g, 0.1, 0.1) for row in w))  # disjoint parts of one array
    print(f"{threads.pool.threads} threads of the pool, no race was reported: 1 passed, 0 failed")


if __name__ == "__main__":
    race() if sys.argv[1:] == ["race"] else main()
