"""Layer 5, embeddings of torch with exact lazy updates.

An optimizer over `weight.grad` cannot be lazy, since the forward pass would read rows that are not up to date. So the
module owns the weights. Its forward pass gathers the rows that it needs, up to date, as a small leaf of the graph, and
`step` hands the gradients of these leaves to LazySGD, LazyAdagrad or LazyFTRL. The weights are neither a parameter nor
a buffer: code that walks over those would read rows that are not up to date, or train them a second time.
"""

from dataclasses import dataclass

import torch
from torch.autograd.graph import increment_version

from fastreg.lazy import LazyAdagrad, LazyFTRL, LazySGD
from fastreg.optimizers.settings import SCHEDULES
from fastreg.torch.pending import Pending

OPTIMIZERS = {"sgd": LazySGD, "adagrad": LazyAdagrad, "ftrl": LazyFTRL}
DTYPES = (torch.float32, torch.float64)
INDEX_DTYPES = (torch.int64, torch.int32)


@dataclass(slots=True)
class Seen:
    """The weights as the module last saw them; a class, since setting an attribute of a module is slow."""

    version: int
    flushed: tuple | None  # completed steps and strengths at the last flush


class LazyRows(torch.nn.Module):
    """What LazyEmbedding and LazyEmbeddingBag share: the weights, the steps and the state."""

    def __init__(
        self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None, *,
        lr, optimizer="sgd", dtype=None, _weight=None, **settings,
    ):  # fmt: skip
        super().__init__()
        if optimizer not in OPTIMIZERS:
            names = ", ".join(map(repr, OPTIMIZERS))
            raise ValueError(f"optimizer: expected one of {names}, got {optimizer!r}")
        if max_norm is not None:
            raise ValueError(f"max_norm: expected None, since it would rescale rows outside of steps, got {max_norm!r}")
        self.num_embeddings, self.embedding_dim, self.optimizer = num_embeddings, embedding_dim, optimizer
        self.padding_idx = checked_padding(padding_idx, num_embeddings)
        weight = self._initial(dtype) if _weight is None else checked_weight(_weight, dtype)
        if weight.shape != (num_embeddings, embedding_dim):
            raise ValueError(f"_weight: expected shape {(num_embeddings, embedding_dim)}, got {tuple(weight.shape)}")
        factor = settings.get("penalty_factor")
        if isinstance(factor, torch.Tensor):
            settings["penalty_factor"] = factor.detach().numpy()
        self._own(OPTIMIZERS[optimizer](weight.numpy(), lr, **settings))

    def _initial(self, dtype):
        shape = (self.num_embeddings, self.embedding_dim)
        weight = torch.nn.init.normal_(torch.empty(shape, dtype=checked_dtype(dtype or torch.get_default_dtype())))
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        return weight

    def _own(self, lazy):
        """Take these weights with their optimizer in the place of the present ones."""
        self._lazy, self._weight, self._pending = lazy, torch.from_numpy(lazy.w), Pending()
        self._seen = Seen(self._weight._version, None)

    def _settings(self):
        """The settings of the lazy optimizer, as its class takes them."""
        strengths = {key: getattr(self._lazy, key) for key in SCHEDULES}
        return self._lazy._own | strengths | {"bounds": self._lazy.bounds, "penalty_factor": self._lazy.penalty_factor}

    # -- Steps --------------------------------------------------------------------------------------------------------

    def _gather(self, indices, name, keeps_shape=False):
        """The rows of a tensor of indices, up to date, and a private copy of the indices.

        The rows have the shape (n, width), or (*indices.shape, width): a view of them would be one more node of the
        graph, which takes longer than to copy them.
        """
        if not isinstance(indices, torch.Tensor) or indices.dtype not in INDEX_DTYPES:
            got = indices.dtype if isinstance(indices, torch.Tensor) else type(indices).__name__
            raise TypeError(f"{name}: expected a tensor of int32 or int64, got {got}")
        self._notice_writes()
        ids = indices.numpy().flatten()  # a copy: the caller's memory may change before the step
        try:
            rows = self._lazy.weights(ids)
        except ValueError as error:
            raise IndexError(f"index out of range in self: {error}") from None
        if keeps_shape and indices.dim() != 1:
            rows = rows.reshape(*indices.shape, self.embedding_dim)
        rows = torch.from_numpy(rows)
        if torch.is_grad_enabled():
            self._pending.add(ids, rows.requires_grad_())
        return rows, ids

    def step(self):
        """Apply the gradients since the last step, those of all backward passes added up, and forget them.

        The penalty acts on all rows, at the price of those with a gradient. Without a backward pass, nothing happens,
        as with a parameter whose gradient is None.
        """
        self._notice_writes()
        if self._pending.step(self._lazy, self.padding_idx):
            self._written()

    def zero_grad(self, set_to_none=True):
        """Forget the gradients since the last step. :meth:`step` does it, too."""
        super().zero_grad(set_to_none)
        self._pending.zero()

    def _written(self):
        """Tell autograd about a write to the weights."""
        increment_version(self._weight)
        self._seen.version = self._weight._version

    def _notice_writes(self):
        """After somebody has written into `weight`: bring the optimizer in line with it."""
        if self._weight._version != self._seen.version:
            self._seen = Seen(self._weight._version, None)
            if self.optimizer == "ftrl":  # its weights are a function of its state
                self._lazy = LazyFTRL(self._lazy.w, **self._settings())
            else:
                self._lazy.load_state_dict(self._lazy.state_dict())  # looks again for weights outside of the bounds

    # -- Values -------------------------------------------------------------------------------------------------------

    def flush(self):
        """Bring all rows up to date, in O(size of the weights), if there were steps since the last time."""
        self._notice_writes()
        now = self._lazy.completed, *(getattr(self._lazy, key) for key in SCHEDULES)
        if self._seen.flushed != now:
            self._lazy.flush()
            self._written()
            self._seen.flushed = now

    @property
    def weight(self):
        """The weights, all rows up to date: a tensor without gradient over their memory.

        It may be written to, for instance by torch.nn.init, if no step was made since it was read. FTRL then starts
        anew. After steps, read it again.
        """
        self.flush()
        return self._weight.detach()

    @property
    def lazy(self):
        """The optimizer, a LazySGD, LazyAdagrad or LazyFTRL. Its lr, l1, l2 and l21 may be set between steps."""
        return self._lazy

    def zeros(self):
        """The number of weights that are exactly zero."""
        self._notice_writes()
        return self._lazy.zeros()

    def penalty(self):
        """The value of the penalty, a number."""
        self._notice_writes()
        return self._lazy.penalty()

    def report(self):
        """Zeros, norm and penalty of the weights, as a table: see :meth:`fastreg.Optimizer.report`."""
        self._notice_writes()
        return self._lazy.report()

    def train(self, mode=True):
        """As in torch. Evaluation begins with weights that are up to date."""
        if not mode:
            self.flush()
        return super().train(mode)

    def extra_repr(self):
        """The shape and the optimizer, for print."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}, optimizer={self.optimizer!r}"

    # -- State --------------------------------------------------------------------------------------------------------

    def optimizer_state_dict(self):
        """What further steps depend on besides the weights; to be saved beside `state_dict()`, in any order.

        Both bring the weights up to date, so that this run and a resumed one go on with the same bits.
        """
        self.flush()
        return {key: x if isinstance(x, (str, int, float)) else torch.from_numpy(x)
                for key, x in self._lazy.state_dict().items()}  # fmt: skip

    def load_optimizer_state_dict(self, state):
        """Load what :meth:`optimizer_state_dict` returned, all or nothing. Gradients not yet applied are dropped."""
        self.flush()
        self._lazy.load_state_dict({key: x.numpy() if isinstance(x, torch.Tensor) else x for key, x in state.items()})
        self._pending, self._seen.flushed = Pending(), None

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"] = self.weight

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        name, mine = prefix + "weight", tuple(self._weight.shape)
        if name not in state_dict:
            missing_keys.append(name)
            return
        if name in unexpected_keys:  # torch knows only parameters and buffers
            unexpected_keys.remove(name)
        theirs = tuple(state_dict[name].shape)
        if theirs != mine:
            error_msgs.append(f"size mismatch for {name}: expected shape {mine}, got {theirs} in the state")
            return
        loaded = state_dict[name].detach().to("cpu", self._weight.dtype)
        if self.optimizer != "ftrl" or not torch.equal(loaded, self.weight):  # FTRL starts anew when it is written to
            self.weight.copy_(loaded)
            self._notice_writes()

    def _apply(self, fn, recurse=True):
        probe = fn(torch.zeros(1, dtype=self._weight.dtype))
        if probe.device.type != "cpu" or probe.dtype not in DTYPES or probe.is_shared():
            place = "shared memory" if probe.is_shared() else probe.device
            raise TypeError(
                f"{type(self).__name__}: expected float32 or float64 in the CPU memory of one process, got"
                f" {probe.dtype} in {place}"
            )
        if probe.dtype != self._weight.dtype:
            self._cast(probe.dtype)
        return super()._apply(fn, recurse)

    def _cast(self, dtype):
        self.flush()
        settings, saved, factor = self._settings(), self._lazy.state_dict(), self._lazy.penalty_factor
        weight = self._weight.to(dtype).numpy()
        if not isinstance(factor, float):
            settings["penalty_factor"] = factor.astype(weight.dtype)
        lazy = type(self._lazy)(weight, **settings)
        lazy.load_state_dict(saved | {key: saved[key].astype(weight.dtype) for key in lazy._state_names})
        self._own(lazy)

    def __getstate__(self):
        self._notice_writes()
        left_out = ("_weight", "_pending", "_seen")  # the weights are part of _lazy
        return {key: x for key, x in self.__dict__.items() if key not in left_out}

    def __setstate__(self, state):
        super().__setstate__(state)
        self._own(self._lazy)


class LazyEmbedding(LazyRows):
    """An embedding whose rows are regularised exactly at the price of those that a batch touches.

    In the place of ``torch.nn.Embedding(sparse=True)``. The result is that of dense steps of :class:`fastreg.SGD`,
    :class:`fastreg.Adagrad` or :class:`fastreg.FTRL` with a penalty on all rows, also those that no batch contains.

    Parameters
    ----------
    num_embeddings, embedding_dim, padding_idx
        As for :class:`torch.nn.Embedding`. The row `padding_idx` starts as zeros and gets no gradient.
    max_norm
        Must be None.
    lr : float or callable
        Learning rate. A callable takes the number of completed steps.
    optimizer : {"sgd", "adagrad", "ftrl"}
        :class:`fastreg.LazySGD`, :class:`fastreg.LazyAdagrad` or :class:`fastreg.LazyFTRL`.
    dtype : torch.float32 or torch.float64, optional
    **settings
        Further settings of that class: `l1`, `l2`, `l21` (groups are rows), `gamma`, `bounds`, `penalty_factor`, ….

    Raises
    ------
    TypeError, ValueError
        At construction, as that class. `forward` raises TypeError unless the indices are a tensor of int32 or int64,
        and IndexError for an index out of range. RuntimeError at a step after ``backward(create_graph=True)``.

    Notes
    -----
    Call :meth:`step` where the loop calls that of the other weights, or once and for all:
    ``optimizer.register_step_post_hook(lambda *_: embedding.step())``. Gradients add up until then, and each is used
    once. To drop them without a step, call `embedding.zero_grad()`. The module has no parameters, so that optimizers,
    `clip_grad_norm_`, GradScaler, AveragedModel and the `zero_grad` of a model do not reach it. It works in one
    process, on the CPU: DistributedDataParallel does not exchange its gradients.

    `state_dict()` has the key "weight", as that of :class:`torch.nn.Embedding`, into which it can be loaded, and the
    other way round. The optimizer's state is in :meth:`optimizer_state_dict`. deepcopy and pickle have both, but no
    gradients. `to(torch.float64)` and back keeps the optimizer's state; other dtypes and devices are refused.

    Examples
    --------
    >>> import torch
    >>> from fastreg.torch import LazyEmbedding
    >>> embedding = LazyEmbedding(4, 2, lr=0.1, l1=1.0)
    >>> _ = torch.nn.init.constant_(embedding.weight, 0.15)
    >>> for _ in range(2):
    ...     embedding(torch.tensor([1, 1])).sum().mul(-1).backward()
    ...     embedding.step()
    >>> embedding.weight
    tensor([[0.0000, 0.0000],
            [0.3500, 0.3500],
            [0.0000, 0.0000],
            [0.0000, 0.0000]])
    >>> embedding.zeros(), round(embedding.penalty(), 4)
    (6, 0.7)
    >>> saved = embedding.state_dict(), embedding.optimizer_state_dict()
    >>> other = LazyEmbedding.from_pretrained(saved[0]["weight"], lr=0.1, l1=1.0)
    >>> other.load_optimizer_state_dict(saved[1])
    >>> other.lazy.completed
    2
    """

    @classmethod
    def from_pretrained(cls, embeddings, **settings):
        """A module with a copy of these weights; the other arguments as of the class."""
        return cls(*embeddings.shape, _weight=embeddings, **settings)

    def forward(self, input):
        """The rows of `input`, int32 or int64 of any shape, as a tensor of shape ``(*input.shape, width)``."""
        return self._gather(input, "input", True)[0].clone()  # the leaf itself could not be changed in place


def checked_padding(padding_idx, rows):
    """padding_idx, counted from the start."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"padding_idx: expected an integer from {-rows} to {rows - 1}, got {padding_idx!r}")
    return padding_idx % rows


def checked_dtype(dtype):
    if dtype not in DTYPES:
        raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
    return dtype


def checked_weight(weight, dtype):
    """A contiguous copy of given weights."""
    if not isinstance(weight, torch.Tensor):
        raise TypeError(f"_weight: expected a tensor, got {type(weight).__name__}")
    dtype = checked_dtype(dtype or weight.dtype)
    return weight.detach().to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)
