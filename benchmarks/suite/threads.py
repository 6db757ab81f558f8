"""Threads: the gain of several threads over one, and that of a plain C loop in the same number of Python threads."""

import inspect
import os
from concurrent.futures import ThreadPoolExecutor

from fastreg_bench import cases

import fastreg

from .workload import LR, STRENGTH, arrays, prepared, ratio, statement

CASE = cases.Case.named("elastic_net-proximal")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sgd(w, g, threads):
    """An optimizer with this number of threads and a bound gradient."""
    optimizer = fastreg.SGD(w, LR, l1=STRENGTH, l2=STRENGTH, threads=threads)
    optimizer.bind(g)
    return optimizer


class Threads:
    """One SGD step with the proximal elastic net."""

    params = [[1, 2, 4, 8, 16], [100_000, 1_000_000, 50_000_000]]
    param_names = ["threads", "size"]
    unit = "times as fast"
    timeout = 300

    def setup(self, threads, size):
        if threads > CORES:
            raise NotImplementedError(f"{CORES} cores")
        if "threads" not in inspect.signature(fastreg.SGD).parameters:
            raise NotImplementedError("this fastreg has no threads")
        self.w, self.g = arrays(size, "float64")
        self.several = sgd(self.w, self.g, threads)

    def time_step(self, threads, size):
        self.several.step()

    def track_gain(self, threads, size):
        one = sgd(self.w, self.g, 1)
        return ratio(statement("step()", step=one.step), statement("step()", step=self.several.step), budget=3)

    def track_gain_of_c_loop(self, threads, size):
        whole = prepared("C loop", CASE, "float64", {"w": self.w, "g": self.g})
        ends = [size * i // threads for i in range(threads + 1)]
        parts = [{"w": self.w[a:b], "g": self.g[a:b]} for a, b in zip(ends[:-1], ends[1:])]
        loops = [prepared("C loop", CASE, "float64", part) for part in parts]
        with ThreadPoolExecutor(threads) as pool:
            names = {"map": pool.map, "f": loops[0].names["f"], "p": [loop.names["p"] for loop in loops], "keep": loops}
            return ratio(whole, statement("list(map(f, p))", **names), budget=3)


Threads.track_gain.unit = Threads.track_gain_of_c_loop.unit = Threads.unit
