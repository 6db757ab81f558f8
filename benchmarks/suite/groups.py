"""The group lasso on the rows or the columns of a matrix, compared with the elastic net on the same arrays."""

import inspect

from fastreg_bench import machine

import fastreg

from .workload import IN_CACHE, LR, STRENGTH, arrays, ratio, statement

WIDTH = 512
KINDS = {"SGD": (fastreg.SGD, 2), "Adam": (fastreg.Adam, 4)}  # and the number of arrays: weights, gradient, state
AXES = {"rows": 0, "columns": 1}
PENALTIES = ["elastic net", *AXES]


def matrices(level, held):
    """Weights and a gradient in float32, in rows of WIDTH; `held` arrays together fit the level."""
    size = max(1, machine.bytes_at(level, held)[0] // (4 * WIDTH))
    return [x.reshape(size, WIDTH) for x in arrays(size * WIDTH, "float32")]


def bound(kind, penalty, w, g):
    """A step with bound gradients: the elastic net, or in its place the group lasso."""
    if penalty in AXES and "group_axis" not in inspect.signature(kind).parameters:
        raise NotImplementedError("this fastreg has no group lasso")
    strengths = {"l21": STRENGTH, "group_axis": AXES[penalty]} if penalty in AXES else {"l1": STRENGTH, "l2": STRENGTH}
    optimizer = kind(w, LR, mode="proximal", threads=1, **strengths)
    optimizer.bind(g)
    return optimizer.step


class GroupStep:
    """One tensor in float32, in L1, L2 and L3."""

    params = [list(KINDS), PENALTIES, IN_CACHE]
    param_names = ["optimizer", "penalty", "level"]
    rounds, repeat, warmup_time, sample_time, timeout = 1, (3, 7, 0.3), 0.02, 0.005, 120

    def setup(self, optimizer, penalty, level):
        kind, held = KINDS[optimizer]
        self.step = bound(kind, penalty, *matrices(level, held))

    def time_step(self, optimizer, penalty, level):
        self.step()


class GroupStepInDram(GroupStep):
    """The same with arrays that are four times the last cache each, or as large as memory allows."""

    params = [list(KINDS), PENALTIES, ["DRAM"]]
    number, repeat, warmup_time, timeout = 1, (2, 4, 3.0), 0, 600


class GroupStepRatio:
    """The time of a step with the group lasso divided by that with the elastic net, on the same arrays."""

    params = [list(KINDS), list(AXES), IN_CACHE]
    param_names = ["optimizer", "groups", "level"]
    unit = "times elastic net"
    copies, budget, timeout = 1, 0.3, 120

    def track_ratio(self, optimizer, groups, level):
        kind, held = KINDS[optimizer]
        w, g = matrices(level, held * self.copies)
        steps = [bound(kind, penalty, w, g) for penalty in (groups, "elastic net")]
        return ratio(*(statement("step()", step=step) for step in steps), budget=self.budget)


class GroupStepRatioInDram(GroupStepRatio):
    """The same in DRAM, where both optimizers have a state of their own."""

    params = [list(KINDS), list(AXES), ["DRAM"]]
    copies, budget, timeout = 2, 10, 600


class GroupPenalty:
    """The value of the group lasso, divided by the time of the elastic net's value."""

    params = [list(AXES), [1_000, 1_000_000]]
    param_names = ["groups", "size"]
    unit = "times elastic net"

    def track_ratio(self, groups, size):
        if not hasattr(fastreg, "group_penalty"):
            raise NotImplementedError("this fastreg has no group lasso")
        w = arrays(size, "float32")[0].reshape(-1, 50)
        names = {"fastreg": fastreg, "w": w, "l": STRENGTH, "axis": AXES[groups]}
        first = statement("fastreg.group_penalty(w, 0.0, 0.0, l, axis)", **names)
        return ratio(first, statement("fastreg.elastic_net_penalty(w, l, l)", **names))
