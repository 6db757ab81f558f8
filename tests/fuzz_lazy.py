"""Random sequences for fuzz.py: lazy updates compared with dense steps."""

import copy
import pickle

import numpy as np
from fuzz_sequence import Done, Finding, HostileError, Rate, Sequence
from fuzz_values import (
    BAD_NUMBERS,
    INDICES,
    TAKEN_INDICES,
    damaged_file,
    damaged_indices,
    damaged_starts,
    formed,
    tampered,
)
from lazy_cases import CASES, make, make_dense, scatter, snapshot


class Lazy(Sequence):
    """Lazy weights, compared with a dense optimizer with the same gradients."""

    def run(self):
        draw = self.draw
        self.name, self.rows = draw.choice(list(CASES)), draw.choice([1, 2, 15, 17, 33, 100, 3000])
        self.shape = draw.choice([(self.rows,), (self.rows, 1), (self.rows, 3)])
        factor = draw.choice([None, None, 0.5, draw.generator().integers(0, 2, self.shape).astype(float)])
        w, self.rate = draw.numbers(self.shape, special=0), Rate()
        options = {"l1": draw.choice([0.0, 0.05]), "l2": draw.choice([0.0, 0.1]), "penalty_factor": factor}
        options["bounds"] = draw.choice([None, None, (0, np.inf), (-0.1, 0.5)])
        rows_are_groups = self.name == "FTRL" or (self.name == "proximal" and options["l1"] == 0)
        if rows_are_groups and options["bounds"] != (-0.1, 0.5) and not isinstance(factor, np.ndarray):
            options["l21"] = draw.choice([0.0, 0.1])
        if self.name in ("proximal", "FTRL") and options["bounds"] is None and not options.get("l21"):
            options["gamma"] = draw.choice([np.inf, 3.0])
        if options.get("gamma") == 3.0 and self.name == "proximal":
            options["l2"] = 0.0
        lr = draw.choice([0.1, self.rate])
        self.dense = make_dense(self.name, w.copy(), Rate() if callable(lr) else lr, group_axis=0, **options)
        self.it = make(self.name, w, lr, **options)
        for _ in range(draw.randint(3, 20)):
            draw.choice(self.OPERATIONS)(self)
            self.compare()

    def compare(self):
        self.require(self.it.completed == self.dense.completed, "the number of steps is not that of the dense steps")
        if self.it.completed:  # before the first step, w does not show warm_start=False
            rounding = 1e-10
            if self.name == "FTRL" and not callable(self.it.lr):  # a weight is lr times what z has above its threshold
                rounding *= max(1.0, self.it.lr)
            close = np.allclose(self.it.weights(), self.dense.params, rtol=1e-9, atol=rounding, equal_nan=True)
            self.require(close, "the weights are not those of dense steps")

    def unchanged_by(self, what, act, *errors):
        """Whether the call succeeds; if not, it must not change anything."""
        before = snapshot(self.it)
        ok, _ = self.attempt(what, act, *errors)
        self.require(ok or snapshot(self.it) == before, f"{what}: an error, but the state has changed")
        return ok

    def gradient(self, n):
        indices = np.array([self.draw.randrange(self.rows) for _ in range(n)], np.int64)
        return indices, self.draw.numbers((n, *self.shape[1:]), special=0)

    def step_dense(self, indices, values):
        self.dense.step(scatter(indices, values, self.shape))

    def step(self):
        indices, values = self.gradient(self.draw.choice([0, 1, 2, 5, 16, 40, 700]))
        kind = self.draw.choice(list(INDICES))
        forms, taken = formed(self.draw, values, odd=0.1)
        ok = self.unchanged_by(f"step, {kind}", lambda: self.it.step(INDICES[kind](indices), forms))
        self.require(ok or kind not in TAKEN_INDICES or not taken or values.ndim > 1, "a good gradient was refused")
        if ok:
            self.step_dense(indices, np.asarray(forms))  # some forms have other numbers

    def step_csr(self):
        indices, values = self.gradient(self.draw.choice([0, 1, 5, 40, 300]))
        cuts = sorted(self.draw.randint(0, len(indices)) for _ in range(self.draw.randint(0, 5)))
        indptr, kind = np.array([0, *cuts, len(indices)]), self.draw.choice(list(INDICES))
        odd = [INDICES[kind](x) if self.draw.chance(0.5) else x for x in (indices, indptr)]
        if self.unchanged_by(f"step_csr, {kind}", lambda: self.it.step_csr(values, *odd)):
            for start, stop in zip(indptr[:-1], indptr[1:]):
                self.step_dense(indices[start:stop], values[start:stop])
        damaged = damaged_starts(self.draw, indptr)
        if self.unchanged_by("step_csr, damaged", lambda: self.it.step_csr(values, indices, damaged)):
            for start, stop in zip(damaged[:-1], damaged[1:]):  # the changed indptr is valid, too
                self.step_dense(indices[start:stop], values[start:stop])

    def step_damaged(self):
        """A step with indices outside the range, or with too few values."""
        indices, values = self.gradient(self.draw.choice([1, 5, 40]))
        how = self.draw.randrange(2)
        if how == 0:
            bad = damaged_indices(self.draw, indices, self.rows)
            ok = self.unchanged_by("step, indices outside", lambda: self.it.step(bad, values))
        elif how == 1:
            ok = self.unchanged_by("step, too few values", lambda: self.it.step(indices, values[:-1]))
        self.require(not ok, "an invalid gradient was taken")

    def set(self):
        name = self.draw.choice(["lr", "l1", "l2"])
        x = self.draw.choice([0.05, 0.2]) if self.draw.chance(0.7) else self.draw.choice(BAD_NUMBERS)
        if name == "lr" and x == 1e300 and self.it.l21:
            x = 1e100  # squares of magnitudes above 1e154 overflow, see fastreg.group_update
        if self.unchanged_by(f"{name} = {x!r}", lambda: setattr(self.it, name, x)):
            try:
                self.dense.param_groups[0][name] = x
            except (TypeError, ValueError) as error:
                raise Finding(f"{name} = {x!r} was taken, but the dense optimizer refuses it") from error

    def flush(self):
        self.it.flush()
        self.require(not self.it.has_pending_penalty, "weights have pending penalties after flush()")

    def read(self):
        indices, _ = self.gradient(7)
        kind = self.draw.choice(list(INDICES))
        whole = self.it.weights()
        ok, some = self.attempt(f"weights, {kind}", lambda: self.it.weights(INDICES[kind](indices)))
        self.require(
            not ok or np.array_equal(some, whole[indices], equal_nan=True), "some weights are not those of all"
        )
        repr(self.it)

    def replace(self):
        how = self.draw.choice([copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
        self.it = how(self.it)
        self.rate = self.it.lr if callable(self.it.lr) else Rate()

    def load(self):
        saved = self.it.state_dict()
        if self.draw.chance(0.5):
            saved = tampered(self.draw, saved)
        elif self.draw.chance(0.5):
            saved = damaged_file(self.draw, saved)
        if saved is not None and self.unchanged_by(
            "load_state_dict", lambda: self.it.load_state_dict(saved), Exception
        ):
            self.restart()

    def restart(self):
        """Ends the sequence, since the dense optimizer cannot follow; the lazy object must still work."""
        if self.it.w.flags.writeable:
            self.it.flush()
        raise Done

    def interfere(self):
        """A step with a schedule that changes the object or the gradient."""
        indices, values = self.gradient(self.draw.choice([2, 20]))
        act = self.draw.choice(self.HOSTILE)
        rate = Rate()
        rate.act = lambda: act(self, indices, values)
        ok, _ = self.attempt("lr, hostile", lambda: setattr(self.it, "lr", rate), KeyboardInterrupt)
        if not ok:  # setting a schedule evaluates it
            return
        rate.act = lambda: act(self, indices, values)
        self.unchanged_by(f"step, {act.__name__}", lambda: self.it.step(indices, values), KeyboardInterrupt)
        self.restart()

    def raises(self, indices, values):
        raise self.draw.choice([HostileError, KeyboardInterrupt])

    def points_elsewhere(self, indices, values):
        indices[self.draw.randrange(len(indices))] = self.draw.choice([-1, self.rows, 2**62])

    def resizes(self, indices, values):
        self.draw.choice([indices, values]).resize(self.draw.choice([0, 1]), refcheck=False)

    def steps(self, indices, values):
        self.it.step(indices, values)

    def constructs(self, indices, values):
        type(self.it).__init__(self.it, np.zeros(3), 0.1)

    def freezes(self, indices, values):
        self.it.w.flags.writeable = False

    HOSTILE = (raises, points_elsewhere, resizes, steps, constructs, freezes)
    OPERATIONS = (step, step, step, step_csr, step_csr, step_damaged, set, flush, read, replace, load, interfere)
