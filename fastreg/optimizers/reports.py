"""Layer 5, reports on weights, of dense and lazy optimizers and linear models: a row for each tensor, and a table."""

from typing import NamedTuple

import numpy as np

from fastreg._boundary.bfloat16 import as_float32
from fastreg._boundary.functions import l2_penalty


class TensorReport(NamedTuple):
    """One row of a report."""

    size: int
    zeros: int  # weights that are exactly zero
    share: float  # of zeros, from 0 to 1
    untouched: int | None  # weights that never had a gradient, as far as the state tells; None where it does not
    norm: float  # ‖w‖₂
    penalty: float
    groups: int | None = None  # of the group lasso; None where there is none
    zero_groups: int | None = None


class Report(dict):
    """A :class:`TensorReport` by name of tensor, in their order; prints as a table with a total."""

    @property
    def total(self):
        """All tensors as one row."""
        rows = list(self.values())
        size, zeros = sum(row.size for row in rows), sum(row.zeros for row in rows)
        counts = [row.untouched for row in rows]
        norm = float(np.sqrt(sum(row.norm**2 for row in rows)))
        untouched = None if None in counts else sum(counts)
        groups = [(row.groups, row.zero_groups) for row in rows if row.groups is not None]
        groups = map(sum, zip(*groups)) if groups else (None, None)
        return TensorReport(
            size, zeros, share_of(zeros, size), untouched, norm, sum(row.penalty for row in rows), *groups
        )

    def __repr__(self):
        has_groups = self.total.groups is not None
        cells = [["tensor", "size", "zeros", "share", "untouched", "norm", "penalty"]]
        cells[0] += ["zero groups"] * has_groups
        for name, row in [*self.items(), ("total", self.total)]:
            untouched = "-" if row.untouched is None else f"{row.untouched:,}"
            numbers = [f"{row.size:,}", f"{row.zeros:,}", f"{row.share:.1%}", untouched]
            cells.append([name, *numbers, f"{row.norm:.4g}", f"{row.penalty:.4g}"])
            if has_groups:
                cells[-1].append("-" if row.groups is None else f"{row.zero_groups:,} of {row.groups:,}")
        widths = [max(map(len, column)) for column in zip(*cells)]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *(x.rjust(n) for x, n in zip(row[1:], widths[1:]))]) for row in cells
        )


def row(w, penalty, squares=None, initial=0.0, groups=(None, None)):
    """The row of weights w with this penalty.

    `squares` is the state that sums squared gradients, or averages them, from the value `initial`; None for no such
    state. `groups` are the number of groups, and of those that are zero.
    """
    zeros = zero_count(w)
    untouched = None if squares is None else int(np.count_nonzero(squares == squares.dtype.type(initial)))
    norm = float(np.sqrt(l2_penalty(w, 2.0)))
    return TensorReport(w.size, zeros, share_of(zeros, w.size), untouched, norm, penalty, *groups)


def zero_count(w):
    return int(w.size - np.count_nonzero(as_float32(w)))


def share_of(count, size):
    return count / size if size else 0.0
