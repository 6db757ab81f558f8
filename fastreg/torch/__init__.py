"""Layer 5, optimizers of torch over the same kernels: in the place of torch.optim's, with exact zeros.

    from fastreg.torch import AdamW
    optimizer = AdamW(model.parameters(), lr=1e-3, l1=1e-4)

Each class is a subclass of torch.optim.Optimizer. It has the signature, defaults, state and errors of torch's class of
that name, and the penalties of fastreg. base.py documents what they share; each optimizer has a file of its own.
LazyEmbedding and LazyEmbeddingBag are modules that update their own rows, with the classes of fastreg.lazy.
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError("fastreg.torch needs PyTorch: pip install 'fastreg-kernels[torch]'") from error

from fastreg.torch.adagrad import Adagrad
from fastreg.torch.adam import Adam, AdamW
from fastreg.torch.base import Optimizer
from fastreg.torch.embedding import LazyEmbedding
from fastreg.torch.embedding_bag import LazyEmbeddingBag
from fastreg.torch.ftrl import FTRL
from fastreg.torch.lion import Lion
from fastreg.torch.rmsprop import RMSprop
from fastreg.torch.sgd import SGD

__all__ = [
    "FTRL",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "LazyEmbedding",
    "LazyEmbeddingBag",
    "Lion",
    "Optimizer",
    "RMSprop",
]
