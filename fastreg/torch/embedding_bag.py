"""Layer 5, sums and means of embeddings, with exact lazy updates."""

import numpy as np
import torch

from fastreg.torch.embedding import LazyRows

MODES = ("mean", "sum")


class LazyEmbeddingBag(LazyRows):
    """Sums or means of embeddings whose rows are regularised exactly at the price of those that a batch touches.

    In the place of ``torch.nn.EmbeddingBag(sparse=True)``, with the steps, penalties and state of
    :class:`LazyEmbedding`.

    Parameters
    ----------
    num_embeddings, embedding_dim, padding_idx, max_norm, lr, optimizer, dtype, **settings
        As for :class:`LazyEmbedding`. Entries equal to `padding_idx` are left out of sums and means.
    mode : {"mean", "sum"}
        As for :class:`torch.nn.EmbeddingBag`, but without "max".
    include_last_offset : bool, default False
        Whether `offsets` ends with the number of indices.

    Raises
    ------
    TypeError, ValueError, IndexError
        As for :class:`LazyEmbedding`. For bags without a meaning as :func:`torch.nn.functional.embedding_bag`.

    Examples
    --------
    >>> import torch
    >>> from fastreg.torch import LazyEmbeddingBag
    >>> bag = LazyEmbeddingBag(5, 2, lr=0.1, mode="sum", l1=0.5)
    >>> _ = torch.nn.init.ones_(bag.weight)
    >>> bag(torch.tensor([0, 1, 3]), torch.tensor([0, 2])).detach()
    tensor([[2., 2.],
            [1., 1.]])
    >>> bag(torch.tensor([[0, 1]])).sum().backward()
    >>> bag.step()
    >>> bag.weight[:, 0]
    tensor([0.8500, 0.8500, 0.9500, 0.9500, 0.9500])
    >>> bag
    LazyEmbeddingBag(5, 2, optimizer='sgd', mode='sum')
    >>> bag.report()
    tensor  size  zeros  share  untouched   norm  penalty
    w         10      0   0.0%          -  2.882     4.55
    total     10      0   0.0%          -  2.882     4.55

    Gradients that no step has applied can be dropped. Evaluation begins with rows that are up to date:

    >>> bag(torch.tensor([[0, 1]])).sum().backward()
    >>> bag.zero_grad()
    >>> bag.step()  # without a gradient, nothing happens
    >>> _ = bag.train(False)  # as bag.eval() and bag.flush() do
    >>> bag.weight[:, 0]
    tensor([0.8500, 0.8500, 0.9500, 0.9500, 0.9500])
    """

    def __init__(
        self, num_embeddings, embedding_dim, *,
        lr, mode="mean", padding_idx=None, max_norm=None, include_last_offset=False, **settings,
    ):  # fmt: skip
        if mode not in MODES:
            raise ValueError(f"mode: expected 'mean' or 'sum', got {mode!r}")
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, lr=lr, **settings)
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(self, input, offsets=None, per_sample_weights=None):
        """The sums or means of bags of rows.

        Parameters
        ----------
        input : tensor of int32 or int64, shape (bags, n) or (n,)
            Row indices.
        offsets : tensor of int32 or int64, optional
            For 1-d input: where each bag starts.
        per_sample_weights : tensor like input, optional
            For mode "sum": what multiplies each row.

        Returns
        -------
        tensor, shape (bags, width)
        """
        rows, ids = self._gather(input, "input")
        places, padding = np.arange(len(ids)), None
        if self.padding_idx is not None:
            padded = np.flatnonzero(ids == self.padding_idx)
            if len(padded) > 0:
                places[padded] = padding = int(padded[0])
        return torch.nn.functional.embedding_bag(
            torch.from_numpy(places).to(input.dtype).view(input.shape), rows, offsets, mode=self.mode,
            per_sample_weights=per_sample_weights, include_last_offset=self.include_last_offset, padding_idx=padding,
        )  # fmt: skip

    def extra_repr(self):
        """The shape, the optimizer and the mode, for print."""
        return f"{super().extra_repr()}, mode={self.mode!r}"
