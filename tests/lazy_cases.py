"""The tables of the lazy tests: each class with its dense optimizer, random streams, and a twin of the reference.

As a script it prints the name of the chosen instruction set and a hash of the bits of random streams.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from cases import DTYPES, bits

import fastreg
from fastreg import reference
from fastreg._boundary import dispatch


class Case(NamedTuple):
    """One lazy class in one mode, and the dense optimizer with the same steps."""

    lazy: type
    options: dict
    dense: type
    dense_options: dict
    direction: type  # the reference's
    second: float = 0.0  # its second field, after lr
    mode: str = "proximal"


SUM, N = {"initial_accumulator_value": 0.1, "eps": 1e-10}, {"beta": 1.0, "initial_accumulator_value": 0.1}
CASES = {
    "proximal": Case(fastreg.LazySGD, {"mode": "proximal"}, fastreg.SGD, {"mode": "proximal"}, reference.Plain),
    "truncated": Case(
        fastreg.LazySGD, {"mode": "truncated"}, fastreg.SGD, {"mode": "truncated"}, reference.Plain, mode="truncated"
    ),
    "Adagrad": Case(fastreg.LazyAdagrad, SUM, fastreg.Adagrad, SUM | {"mode": "proximal"}, reference.Adagrad, 1e-10),
    "FTRL": Case(fastreg.LazyFTRL, N, fastreg.FTRL, N, reference.FTRL, 1.0),
}


def make(name, w, lr=0.1, **options):
    return CASES[name].lazy(w, lr, **CASES[name].options | options)


def make_dense(name, w, lr=0.1, **options):
    return CASES[name].dense(w, lr, **CASES[name].dense_options | options)


def weights(shape, dtype, seed=0):
    """Weights of different magnitudes, some of them zero."""
    rng = np.random.default_rng([seed, 1])
    return (rng.standard_normal(shape) * rng.choice([0, 1e-3, 0.1, 1, 10], shape)).astype(dtype)


def gradients(count, shape, dtype, seed=0, most=8, index=np.int64, duplicates=False):
    """Sparse gradients as CSR arrays (data, indices, indptr), some empty; with duplicates, indices are unsorted."""
    rng = np.random.default_rng([seed, 2])
    rows, rest = shape[0], shape[1:]
    lengths = rng.integers(0, min(most, rows) + 1, count)
    indices = [rng.integers(0, rows, k) if duplicates else np.sort(rng.choice(rows, k, replace=False)) for k in lengths]
    data = rng.standard_normal((lengths.sum(), *rest)).astype(dtype)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(index)
    return data, np.concatenate([np.empty(0, index), *indices]).astype(index), indptr


def each(data, indices, indptr):
    """The gradients as a list of pairs (indices, values)."""
    return [(indices[a:b], data[a:b]) for a, b in zip(indptr[:-1], indptr[1:])]


def scatter(indices, values, shape):
    """A sparse gradient as a dense one."""
    g = np.zeros(shape, values.dtype)
    np.add.at(g, indices, values)
    return g


def snapshot(lazy):
    """Everything that a step can change, as bytes and numbers."""
    saved = {k: x.tobytes() if isinstance(x, np.ndarray) else x for k, x in lazy.state_dict().items()}
    return lazy.w.tobytes(), saved


class Twin:
    """The same steps on a copy of the weights, with the functions of the reference."""

    def __init__(self, name, w, factor=None, first=(0.1, 0.0, 0.0), bounds=None, gamma=np.inf):
        self.bounds, self.inside, self.gamma = bounds, bounds is None, gamma
        self.case, self.w, self.f = CASES[name], w.copy(), factor
        self.m = reference.Truncated(np.inf) if self.case.mode == "truncated" else reference.Proximal()
        self.last, self.clock, self.t = (0.0, 0.0, 0.0, 0.0), reference.Clock(), 0
        self.stamps = np.tile([1.0, 0.0], (len(w), 1))
        self.steps = np.zeros(len(w), np.int64)
        self.state = []
        if name == "Adagrad":
            self.state = [np.full_like(w, SUM["initial_accumulator_value"])]
        elif name == "FTRL":
            n = np.full_like(w, N["initial_accumulator_value"])
            first = self.strengths(*first)
            self.built_on = first[0] or np.inf
            d, p = self.rules((self.built_on, *first[1:]))
            with np.errstate(all="ignore"):
                z = reference.warm_start(d, p, self.w, n, self.f)
                self.state = [z - reference.group_subgradient(first[3], 0, self.w, self.f) if first[3] else z, n]

    def strengths(self, lr, l1, l2, l21=0.0):
        """In rows of one weight, l21 is l1."""
        return (lr, l1 + l21, l2, 0.0) if self.w[:1].size == 1 else (lr, l1, l2, l21)

    def rules(self, strengths):
        lr, l1, l2 = strengths[:3]
        d = self.case.direction(*[lr, self.case.second][: len(self.case.direction._fields)])
        return d, reference.penalty_with(l1, l2, self.gamma)

    def caught_up(self, rows):
        """The weights of these rows after the missed steps."""
        d, p = self.rules(self.last)
        if self.last[3] and len(rows):
            return self.caught_up_groups(d, p, rows)
        column = (-1, *[1] * (self.w.ndim - 1))
        if isinstance(d, reference.Plain):
            then = reference.Stamp(*self.stamps[rows].T)
            scale, threshold, _ = reference.missed(self.clock, then)
            since = reference.Missed(scale.reshape(column), threshold.reshape(column), 0)
        else:
            steps = self.t - self.steps[rows] if isinstance(d, reference.Adagrad) else self.made(len(rows))
            since = reference.Missed(1.0, 0.0, steps.reshape(column))
        now = reference.catch_up(d, p, since, self.w[rows], *self.parts(rows))
        return self.clipped(now) if isinstance(d, reference.FTRL) and self.made(1) > 0 else now

    def made(self, count):
        """For FTRL: the steps, but 0 where all of them had lr = 0."""
        return np.full(count, self.t if self.last[0] != 0 else 0)

    def caught_up_groups(self, d, p, rows):
        if isinstance(d, reference.Plain):
            since = reference.missed(self.clock, reference.Stamp(*self.stamps[rows].T))
            return reference.catch_up_groups(since, self.w[rows], self.parts(rows)[2])
        w, (z, n, f) = self.w[rows], self.parts(rows)
        p, bounds = (p, self.last[3]), self.bounds
        return reference.group_step(d, *p, 0, w, np.zeros_like(w), z.copy(), n.copy(), None, f, bounds)

    def clipped(self, w):
        return w if self.bounds is None else reference.within(w, *map(w.dtype.type, self.bounds))

    def parts(self, rows):
        state = [a[rows] for a in self.state] + [None, None]
        return *state[:2], None if self.f is None else self.f[rows]

    def weights(self):
        with np.errstate(all="ignore"):
            return self.caught_up(np.arange(len(self.w)))

    def flush(self):
        self.w[...] = self.weights()
        self.clock = reference.Clock()
        self.stamps[...] = 1, 0
        self.steps[...] = self.t

    def step(self, indices, values, *strengths):
        with np.errstate(all="ignore"):
            self._step(*summed(indices, values), self.strengths(*strengths))

    def _step(self, rows, g, strengths):
        d, p = self.rules(strengths)
        plain, next_clock, l21 = self.case.direction is reference.Plain, self.clock, strengths[3]
        if plain:
            lr = self.w.dtype.type(strengths[0])
            own = p._replace(l1=l21 or p.l1)
            threshold = float(reference.l1_threshold(own, lr))
            changes = bool(l21) != bool(self.last[3]) or (self.gamma < np.inf and p.l1 != self.last[1])
            if self.t > 0 and changes:
                self.flush()
            next_clock = reference.tick(self.m, own, lr, self.clock)
            if reference.needs_rebase(next_clock, threshold):
                self.flush()
                next_clock = reference.tick(self.m, own, lr, self.clock)
        elif self.case.direction is reference.Adagrad and self.t > 0 and strengths != self.last:
            self.flush()
        elif self.case.direction is reference.FTRL:
            if strengths[0] == 0:
                self.stand_still()
                return
            self.reanchor(strengths[0])
        w, (a, b, f) = self.caught_up(rows), self.parts(rows)
        if l21 and len(rows):
            self.w[rows] = reference.group_step(d, p, l21, 0, w, g, a, b, None, f, self.bounds)
        else:
            self.w[rows] = self.clipped(reference.step(d, self.m, p, w, g, a, b, None, f))
        for mine, part in zip(self.state, (a, b)):
            mine[rows] = part
        self.t, self.clock, self.last = self.t + 1, next_clock, strengths
        self.stamps[rows] = next_clock.inverse, next_clock.total
        self.steps[rows] = self.t
        self.inside |= isinstance(d, reference.FTRL) or np.array_equal(self.clipped(self.w), self.w, equal_nan=True)
        if not self.inside:
            if not l21:
                self.flush()
            self.w[...] = self.clipped(self.w)
            if l21:
                self.flush()
            self.inside = True
        if plain and reference.needs_rebase(next_clock, threshold):
            self.flush()

    def stand_still(self):
        if self.last[0] == 0 and not self.inside:
            self.w[...] = self.clipped(self.w)
            self.inside = True
        self.t += 1

    def reanchor(self, lr):
        if lr == self.built_on:
            return
        self.flush()
        (before, _), (d, _), (z, n) = self.rules((self.built_on, 0, 0)), self.rules((lr, 0, 0)), self.state
        z[...] = reference.reanchored(before, d, self.w, z, n)
        self.built_on, self.last = lr, (0, *self.last[1:])  # all rows are up to date


def summed(indices, values):
    """Each row once, at its first position, with the sum of its values in order."""
    places = {}
    sums = np.zeros((len(indices), *values.shape[1:]), values.dtype)
    for i, x in zip(indices.tolist(), values):
        new = i not in places
        place = places.setdefault(i, len(places))
        sums[place] = x if new else sums[place] + x
    return np.array(list(places), np.intp), sums[: len(places)]


def schedule(name, dtype, count, seed=0):
    """lr, l1 and l2 of each step: mostly ordinary and constant for five steps, sometimes extreme."""
    rng = np.random.default_rng([seed, 3])
    far = 1e30 if dtype == np.float32 else 1e200
    ordinary = np.array([0.1, 0.05, 0.2]) * rng.uniform(0.5, 1.5, (count // 5 + 1, 3))
    table = np.repeat(ordinary, 5, axis=0)[:count]
    odd = [(0.1, 0, 0), (0, 1, 1), (0.1, 0, 3), (0.1, 0.1, 0), (0.1, 1e-9, 1e-12), (0.5, 0.1, 1.9)]
    if name != "truncated":
        odd += [(0.1, 0.01, far), (1.0, 1e-3, 1e20), (far, 1 / far, 1 / far)]
    odd += [(far, far, 0), (0.5, far, 1.5)] if seed % 2 else []
    for s in rng.integers(0, count, count // 6):
        table[s] = odd[rng.integers(len(odd))]
    return [tuple(row) for row in table.tolist()]


STREAMS = [  # (shape, index type, whether indices are unsorted with duplicates, factor: 1 for 0 and 1, 2 for fractions)
    ((13,), np.int64, False, 0),
    ((9,), np.int32, True, 1),
    ((7, 3), np.int32, True, 0),
    ((5, 2), np.int64, False, 1),
    ((11,), np.int64, True, 2),
]


def run(name, dtype, stream, seed, twin, bounds=None):
    """The arrays of a lazy object, or of its twin, after every fourth step of a random stream."""
    shape, index, duplicates, factors = stream
    count, f = 60, None
    if factors:
        f = np.random.default_rng(seed).choice([0, 1, 1] if factors == 1 else [0, 1, 0.3, 2.5], shape).astype(dtype)
    strengths = schedule(name, dtype, count, seed)
    if factors == 2:
        strengths = [(lr, l1, 0.0) for lr, l1, _ in strengths]
    w = weights(shape, dtype, seed)
    lazy = Twin(name, w, f, strengths[0], bounds)
    if not twin:
        lr, l1, l2 = strengths[0]
        lazy = make(name, w, lr, l1=l1, l2=l2, penalty_factor=f, bounds=bounds)
    for s, (rows, g) in enumerate(each(*gradients(count, shape, dtype, seed, 4, index, duplicates))):
        if twin:
            lazy.step(rows, g, *strengths[s])
        else:
            lazy._change(**dict(zip(("lr", "l1", "l2"), strengths[s])))
            lazy.step(rows, g)
        if s % 4 == 0:
            yield from (lazy.w, lazy.weights(), *(lazy.state if twin else lazy._arrays))


def digest(twin):
    result = hashlib.sha256()
    for name in CASES:
        for dtype in DTYPES:
            for i, stream in enumerate(STREAMS):
                for array in run(name, dtype, stream, i, twin):
                    result.update(bits(array))
    return result.hexdigest()


if __name__ == "__main__":
    print(dispatch.name, digest(twin=False))
