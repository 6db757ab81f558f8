"""Layer 5, the choice of a strength along a stream: all strengths learn in one pass, and predict before they learn."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from scipy import sparse

from fastreg.linear.choice import choice_of, weights_of
from fastreg.linear.strengths import StrengthStream
from fastreg.path import grid

LARGEST, LEAST_SHARE = 0.1, 1e-5  # of the strengths where only their number is given
GROUPS = (  # limits of a container, what it has taken, and a table that says how much of this are files in the cache
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
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
    for names in GROUPS:
        with suppress(OSError, ValueError):  # no such file, or "max"
            limit, taken, table = (Path(name).read_text(encoding="ascii") for name in names)
            cached = dict(line.split() for line in table.splitlines()).get("inactive_file", 0)
            limits.append(float(limit) - float(taken) + float(cached))
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
        key, cache = (rule, self.stream.completed), self._choice
        if cache is None or cache[0] != key:
            judged = self.stream.mean_losses, self.stream.standard_errors()
            means, errors = (x.reshape(self.alphas.shape) for x in judged)
            cache = self._choice = key, choice_of(self.l1_ratios, self.alphas, means, rule, errors=errors)
        return cache[1]

    def single(self, rule):
        """The Stream at the chosen strength."""
        choice = self.choice(rule)
        key = choice.ratio * self.alphas.shape[1] + choice.chosen, self.stream.completed
        cache = self._single
        if cache is None or cache[0] != key:
            cache = self._single = key, self.stream.single(key[0])
        return cache[1]

    def weights(self, ratio):
        """The Weights at all strengths of a share of L1."""
        count = self.alphas.shape[1]
        own = range(ratio * count, (ratio + 1) * count)
        coefs = (sparse.csr_matrix(self.stream.weights(s)) for s in own)
        return weights_of(zip(coefs, (self.stream.intercepts(s) for s in own)), self.stream.dtype)


def new_progress(l1_ratios, alphas, strengths, stream_arguments):
    """The Progress of a new stream; `stream_arguments` are features, columns, dtype, optimizer, and so on.

    MemoryError before anything is allocated, if the stream would not fit.
    """
    features, columns, dtype, optimizer, *rest = stream_arguments
    needed = StrengthStream.required_memory(features, columns, len(strengths), dtype, optimizer)
    available = available_memory()
    if needed > available:
        raise MemoryError(
            f"alphas: expected strengths whose weights fit into memory, of which {available / 1e9:.3g} GB are left;"
            f" {len(strengths)} strengths of {features} features and {columns} columns of weights in {dtype} take"
            f" {needed / 1e9:.3g} GB; give fewer strengths, or hash into fewer features"
        )
    stream = StrengthStream(features, columns, strengths, dtype, optimizer, *rest)
    return Progress(l1_ratios, alphas, stream)
