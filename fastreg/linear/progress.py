"""Layer 5, the choice of a strength along a stream: all strengths learn in one pass, and predict before they learn.

The standard error of the rule "1se" is that of the best mean loss. That of differences between strengths (paired) was
rejected: weak strengths predict nearly alike, so that it is 1e-8 to 1e-4 where the other is 1e-3, and the rule chose
as "min" does, or nearly. After 10⁶ samples with 15 of 32768 hashed features each, 60 of them informative, "min" kept 89
weights with FTRL and 32723 with SGD, "1se" 42 and 3779, at a held-out loss 0.3 standard errors (of 10⁵ samples) larger.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from scipy import sparse

from fastreg._boundary.linear import record_type
from fastreg.linear.choice import choice_of, weights_of
from fastreg.linear.fitting import DivergenceError
from fastreg.linear.optimizers import OPTIMIZERS
from fastreg.linear.strengths import StrengthStream
from fastreg.path import grid

LARGEST, LEAST_SHARE = 0.1, 1e-5  # of the strengths where only their number is given
TRIES = 3  # at reading between the steps of another thread, before a copy is made
GROUPS = (  # folder of a container, its limit, what it has taken, and the part of that which the system can take back
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def strengths_of(given, ratios):
    """The strengths alpha to try for these shares of L1, (R, S), strongest first."""
    if isinstance(given, int | np.integer):
        alphas = grid(LARGEST, given, LEAST_SHARE)
    else:
        alphas = np.unique(np.asarray(given, float))[::-1]
    return np.tile(alphas, (len(ratios), 1))


def available_memory():
    """The bytes that this process can still get, as far as the system says; infinite if it does not."""
    limits = [np.inf]
    for folder, *names, cached in GROUPS:
        with suppress(OSError, ValueError):  # no such file, or "max"
            limit, taken = (float((Path(folder) / name).read_text(encoding="ascii")) for name in names)
            stat = (Path(folder) / "memory.stat").read_text(encoding="ascii").split()
            numbers = dict(zip(stat[::2], stat[1::2]))
            limits.append(limit - taken + float(numbers.get(cached, 0)))  # files that were read count as taken
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        with suppress(AttributeError, OSError, ValueError):
            limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    return min(limits)


class Progress:
    """The stream of a model at all strengths.

    Parameters
    ----------
    l1_ratios : ndarray, (R,)
    alphas : ndarray, (R, S)
    stream : StrengthStream
        Of the R·S strengths.
    """

    def __init__(self, l1_ratios, alphas, stream):
        self.l1_ratios, self.alphas, self.stream = l1_ratios, alphas, stream
        self._choice = self._single = None  # the last results of the methods, and what they belong to

    def __getstate__(self):
        return vars(self) | {"_choice": None, "_single": None}

    def choice(self, rule):
        """The Choice by this rule after the samples so far."""
        return self._dated_choice(rule)[1]

    def _dated_choice(self, rule):
        """The number of samples so far, and the Choice after them."""
        cache = self._choice
        if cache is None or cache[0] != (rule, self.stream.completed):
            completed, judged = self._consistent(lambda stream: (stream.mean_losses, stream.standard_errors()))
            means, errors = (x.reshape(self.alphas.shape) for x in judged)
            if completed and not np.isfinite(means).any():
                raise DivergenceError
            choice = choice_of(self.l1_ratios, self.alphas, means, rule, errors=errors)
            cache = self._choice = (rule, completed), choice
        return cache[0][1], cache[1]

    def _consistent(self, read):
        """The number of samples, and what `read` returns of the stream after them, even if another thread trains."""
        for _ in range(TRIES):
            completed = self.stream.completed
            result = read(self.stream)
            if self.stream.completed == completed:
                return completed, result
        copy = self.stream.copy()
        return copy.completed, read(copy)

    def single(self, rule):
        """The Stream at the chosen strength, after the samples of the choice; copied only if it has changed."""
        for _ in range(TRIES):
            completed, choice = self._dated_choice(rule)
            key, cache = (choice.ratio * self.alphas.shape[1] + choice.chosen, completed), self._single
            if cache is not None and cache[0] == key:
                return cache[1]
            single = self.stream.single(key[0])
            if single.completed == completed:
                self._single = key, single
                return single
        return Progress(self.l1_ratios, self.alphas, self.stream.copy()).single(rule)

    def weights(self, ratio):
        """The Weights at all strengths of a share of L1."""
        count = self.alphas.shape[1]
        own = range(ratio * count, (ratio + 1) * count)

        def read(stream):
            return [(sparse.csr_matrix(stream.weights(s)), stream.intercepts(s)) for s in own]

        return weights_of(self._consistent(read)[1], self.stream.dtype)


def required_memory(features, columns, count, dtype, optimizer):
    """The bytes of so many strengths, and of the copy of the chosen one."""
    single = features * record_type(OPTIMIZERS[optimizer].direction, dtype, columns).itemsize
    return StrengthStream.required_memory(features, columns, count, dtype, optimizer) + single


def new_progress(l1_ratios, alphas, strengths, stream_arguments):
    """The Progress of a new stream; `stream_arguments` are features, columns, dtype, optimizer, and so on.

    MemoryError before anything is allocated, if the stream would not fit.
    """
    features, columns, dtype, optimizer, *rest = stream_arguments
    needed = required_memory(features, columns, len(strengths), dtype, optimizer)
    available = available_memory()
    if needed > available:
        raise MemoryError(
            f"alphas: expected strengths whose weights fit into memory, of which {available / 1e9:.3g} GB are left;"
            f" {len(strengths)} strengths of {features} features and {columns} columns of weights in {dtype} take"
            f" {needed / 1e9:.3g} GB; give fewer strengths, or hash into fewer features"
        )
    stream = StrengthStream(features, columns, strengths, dtype, optimizer, *rest)
    return Progress(l1_ratios, alphas, stream)
