"""Layer 5, the gradients of embeddings between forward pass and step: the leaves of the graph with their indices."""

import numpy as np

FEW = 4  # leaves that are kept without a look at whether their graph still exists


class Pending:
    """The leaves whose gradients the next step applies."""

    def __init__(self):
        self._leaves = []  # pairs (indices, leaf)
        self._limit = FEW
        self._taken = None  # the number of completed steps, and what the next one applies

    def add(self, ids, leaf):
        """Note a leaf at a forward pass."""
        if len(self._leaves) >= self._limit:  # forward passes without a backward pass must not fill the memory
            self._prune()
            self._limit = max(FEW, 2 * len(self._leaves))
        self._leaves.append((ids, leaf))

    def step(self, lazy, padding_idx):
        """Apply all gradients as one step; return whether there was one."""
        if self._taken is not None:
            self._settle(lazy)
        ready = []
        for ids, leaf in self._leaves:
            grad = leaf.grad
            if grad is None:
                continue
            if grad.requires_grad:
                raise RuntimeError("expected gradients of backward() without create_graph=True, got some with a graph")
            ready.append((ids, leaf, grad))
        if not ready:
            return False
        ids, grads = ready[0][0], as_rows(*ready[0])
        if len(ready) > 1:
            ids = np.concatenate([ids for ids, _, _ in ready])
            grads = np.concatenate([as_rows(*x) for x in ready])
        if padding_idx is not None and (ids == padding_idx).any():
            others = ids != padding_idx
            ids, grads = ids[others], grads[others]
        self._taken = lazy.completed, ready
        lazy.step(ids, grads if grads.flags.c_contiguous else np.ascontiguousarray(grads))
        self._settle(lazy)
        return True

    def _settle(self, lazy):
        """Forget the gradients that a step has applied. An interrupt may delay this to the next step, not undo it."""
        completed, taken = self._taken
        if lazy.completed != completed:
            for _, leaf, _ in taken:
                leaf.grad = None
        self._taken = None
        self._prune()

    def zero(self):
        """Forget all gradients, but not the leaves, whose backward pass may follow."""
        for _, leaf in self._leaves:
            leaf.grad = None
        self._prune()

    def _prune(self):
        """Forget leaves without a gradient that no graph refers to any more."""
        self._leaves = [pair for pair in self._leaves if pair[1].grad is not None or pair[1]._use_count() > 1]


def as_rows(ids, leaf, grad):
    """A gradient as an array with one row for each index."""
    rows = grad.numpy(force=True)  # which applies a sign that torch has only noted
    return rows if rows.ndim == 2 else rows.reshape(len(ids), leaf.shape[-1])
