"""Layer 4, strided memory: whether elements share it. Only asked where the ranges of addresses cannot tell."""

import numpy as np


def offsets(shape, strides):
    """The offset of each element from the first one, in the unit of the strides."""
    total = np.zeros((), np.int64)
    for size, stride in zip(shape, strides):
        total = total[..., None] + np.arange(size) * stride
    return total.ravel()


def overlaps_itself(shape, strides):
    """Whether two elements of a tensor have the same memory."""
    if 0 in shape:
        return False
    reach = 0
    for stride, size in sorted((stride, size) for size, stride in zip(shape, strides) if size > 1):
        if stride <= reach:
            break
        reach += stride * (size - 1)
    else:
        return False
    if any(stride == 0 and size > 1 for size, stride in zip(shape, strides)):
        return True
    found = offsets(shape, strides)
    return len(np.unique(found)) < len(found)


def end_of(piece):
    _, start, itemsize, shape, strides = piece
    return start + itemsize * (1 + sum((size - 1) * stride for size, stride in zip(shape, strides)))


def find_shared(pieces):
    """The indices of two pieces of memory that share bytes, or None.

    Parameters
    ----------
    pieces : list of tuple
        Of each piece, which is not empty: its index, the address of its first element, the size of an element in bytes,
        shape, and strides in elements.
    """
    cluster, end = [], 0
    for piece in sorted(pieces, key=lambda piece: piece[1]):
        if piece[1] >= end:
            if shared := shared_in(cluster):
                return shared
            cluster = []
        cluster.append(piece)
        end = max(end, end_of(piece))
    return shared_in(cluster)


def shared_in(pieces):
    """The same for pieces whose ranges of addresses overlap: looks at each element."""
    if len(pieces) < 2:
        return None
    starts = [start + itemsize * offsets(shape, strides) for _, start, itemsize, shape, strides in pieces]
    sizes = [len(x) for x in starts]
    owners = np.repeat([piece[0] for piece in pieces], sizes)
    ends = np.concatenate(starts) + np.repeat([piece[2] for piece in pieces], sizes)
    starts = np.concatenate(starts)
    order = np.argsort(starts, kind="stable")
    found = np.flatnonzero(starts[order[1:]] < ends[order[:-1]])
    return (int(owners[order[found[0]]]), int(owners[order[found[0] + 1]])) if len(found) else None
