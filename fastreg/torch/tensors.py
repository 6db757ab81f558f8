"""Layer 5, tensors that the kernels cannot use as they lie: plain stand-ins, to be written back after the step.

DTensors are stood in for by their local part. Everything that can be refused is refused here, before the first write.
"""

import sys

import torch

from fastreg._boundary import errors
from fastreg._boundary.strided import overlaps_itself

PLAIN = (torch.Tensor, torch.nn.Parameter)
BUILT_ON = ("built_on_lr", "built_on_beta")  # of FTRL's state, two tensors: torch takes one with axes for one like p


def prepare(name, p, g, state):
    """Stand-ins for a parameter, its gradient and its state, which are plain and alike.

    Returns
    -------
    w, g : Tensor
    arrays : list of Tensor
        In the order of `state`.
    copies : list of (Tensor, Tensor)
        What is to be written after the step, and from where.
    """
    placed = p if is_distributed(p) else None
    w, copies = local(p, name), []
    target, w = w, dense(w)
    if target is not w:
        check_elements(target, name)
        copies.append((target, w))
    gradient = local(placed_like(g, placed), f"{name}.grad")
    if gradient.dtype != w.dtype:
        raise TypeError(f"{name}.grad: expected dtype {w.dtype} like the parameter, got {gradient.dtype}")
    g = stand_in(gradient, w, w.dtype, f"{name}.grad")
    arrays = []
    for key, x in state.items():
        target = local(placed_like(x, placed), f"state[{name}][{key!r}]")
        arrays.append(stand_in(target, w, computed(w), f"state[{name}][{key!r}]"))
        if arrays[-1] is not target:
            check_elements(target, f"state[{name}][{key!r}]")
            copies.append((target, arrays[-1]))
    return w, g, arrays, copies


def local(x, name):
    """The plain tensor over the memory of x, the local part if x is distributed."""
    if is_distributed(x):
        x = x.to_local()
    if type(x).__name__ == "AsyncCollectiveTensor":
        x = x.wait()
    check_usable(x, name)
    x = x.detach()
    return x if type(x) is torch.Tensor else x.as_subclass(torch.Tensor)


def check_usable(x, name):
    """Raise TypeError for a tensor that has no memory that the kernels can use."""
    x = x.to_local() if is_distributed(x) else x
    if type(x) not in PLAIN and has_dispatch(type(x)):
        raise TypeError(f"{name}: expected a tensor with memory of its own, got {type(x).__name__}")
    error = errors.bad_tensor(x, name)
    if error is not None:
        raise error
    if x.numel() > 0 and x.data_ptr() == 0:
        raise ValueError(f"{name}: expected a tensor with memory, got one whose storage was freed")


def has_dispatch(kind):
    """Whether a subclass of Tensor computes by itself, so that its own memory means nothing."""
    return kind.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl and kind not in PLAIN


def check_elements(x, name):
    """Raise ValueError for a tensor with elements that share memory, such as an expanded one."""
    if overlaps_itself(x.shape, x.stride()):
        raise ValueError(
            f"{name}: expected elements with a memory of their own, got an expanded tensor of shape {tuple(x.shape)}"
            f" and strides {x.stride()}; it is updated in place"
        )


def is_distributed(x):
    """Whether x is a DTensor. torch.distributed is only looked up: a program without it has no DTensor."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def placed_like(x, placed):
    """A DTensor placed like a parameter: a gradient may be partial, or on other ranks; None for a plain parameter."""
    if not is_distributed(x):
        return x
    if placed is None:
        return x.full_tensor()
    if x.placements != placed.placements:
        return x.redistribute(placed.device_mesh, placed.placements)
    return x


def check_shards(name, p, axis):
    """Raise ValueError if the groups of a group lasso are spread over ranks."""
    if not is_distributed(p):
        return
    for placement in p.placements:
        if not placement.is_replicate() and (axis is None or not placement.is_shard(axis % p.ndim)):
            raise ValueError(
                f"group_axis: expected the axis along which {name} is sharded, so that each rank has whole groups, got"
                f" {axis!r} with {placement!r}"
            )


def dense(x):
    """x, or a copy of it whose elements fill their memory."""
    return x if torch.empty_like(x).stride() == x.stride() and not x.is_neg() else x.clone().contiguous()


def stand_in(x, w, dtype, name):
    """x, or a copy of it that lies like w and has this dtype."""
    if x.shape != w.shape:
        raise ValueError(f"{name}: expected shape {tuple(w.shape)} like the parameter, got {tuple(x.shape)}")
    if x.dtype == dtype and x.stride() == w.stride() and not x.is_neg():
        return x
    return torch.empty_like(w, dtype=dtype).copy_(x)


def computed(p):
    """The dtype in which a parameter is computed, and its state is kept."""
    return torch.float32 if p.dtype == torch.bfloat16 else p.dtype


def new_tensor(p, values=0.0):
    """A tensor like a parameter for its state, filled with a number or with the values of a tensor."""
    x = torch.empty_like(p, dtype=computed(p), requires_grad=False, memory_format=torch.preserve_format)
    with torch.no_grad():
        if isinstance(values, torch.Tensor):
            (x.to_local() if is_distributed(x) else x).copy_(values)
            return x
        return x.fill_(values)


def new_count(steps=0.0):
    """A count of steps, in the dtype and on the device where torch has it."""
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    return torch.tensor(float(steps), dtype=dtype, device="cpu")


def new_number(x):
    """A number of state that is computed in float64."""
    return torch.tensor(float(x), dtype=torch.float64, device="cpu")


def as_contiguous_array(p):
    """The numbers of a parameter, or of its local part, as a new contiguous array, float32 for bfloat16."""
    p = p.to_local() if is_distributed(p) else p
    return p.detach().to(computed(p), copy=True).contiguous().numpy()
