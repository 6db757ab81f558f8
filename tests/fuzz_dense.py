"""Random sequences for fuzz.py: update functions compared with the reference, optimizers compared with a twin.

The twin has plain copies of everything, one thread, and none of the hostile calls. It repeats the operations that
succeed and skips those that fail; the two states must always be equal.
"""

import copy
import gc
import pickle
import threading
from contextlib import suppress

import numpy as np
from cases import RULES, Strengths, update, updated
from fuzz_sequence import Done, HostileError, Rate, Sequence, same_bits
from fuzz_values import BAD_NUMBERS, SIZES, VALID, damaged_file, formed, tampered
from optimizer_cases import DIRECTIONS

import fastreg
from fastreg import reference


class Number:
    """A number that calls a function when it is converted."""

    def __init__(self, act):
        self.act = act

    def __float__(self):
        self.act()
        return 0.1


# -- Update functions -------------------------------------------------------------------------------------------------


class Updates(Sequence):
    """Single updates: the bits of the reference, or an error and no change."""

    def run(self):
        for _ in range(5):
            self.one()

    def one(self):
        draw = self.draw
        shape, dtype = self.shape(), draw.dtype()
        (w, _), (g, _) = formed(draw, draw.numbers(shape, dtype)), formed(draw, draw.numbers(shape, dtype))
        if draw.chance(0.04):
            g = w[1:] if isinstance(w, np.ndarray) and w.ndim == 1 else w
        rule = draw.choice(RULES)
        hostile = draw.chance(0.15)
        s = Strengths(*(self.number(w, g) if hostile else draw.strength() for _ in range(3)))
        before = self.plain(w)
        gradient = self.plain(g)
        ok, _ = self.attempt(f"{rule} {s}", lambda: update(fastreg, rule, w, g, s))
        now = self.plain(w)
        if not ok:
            self.require(before is None or hostile or same_bits(now, before), "an error, but w has changed")
        elif not hostile:
            self.require(before is not None and gradient is not None, "an object that is not an array was taken")
            self.require(same_bits(now, updated(reference, rule, before, gradient, s)), "not the reference's bits")

    def shape(self):
        n = self.draw.choice(SIZES)
        return self.draw.choice([(n,), (1, n), (n, 1), (n, 3), ()]) if n < 5000 else (n,)

    def number(self, w, g):
        def act():
            x = self.draw.choice([w, g])
            how = self.draw.randrange(4)
            if how == 0:
                raise HostileError
            if isinstance(x, np.ndarray):
                if how == 1:
                    x.resize(self.draw.choice([0, 1, 100_000]), refcheck=False)
                elif how == 2:
                    x.flags.writeable = False

        return self.draw.choice([self.draw.strength(), self.draw.choice(BAD_NUMBERS), Number(act)])

    def plain(self, x):
        """The elements of an array in any form, or None for other objects."""
        if isinstance(x, (str, list)) or x is None:
            return None
        return np.array(x, order="K", subok=False)


# -- Optimizers -------------------------------------------------------------------------------------------------------


GOOD_SETTINGS = {"lr": [0.3, 0.0], "l1": [0.0, 0.2], "l2": [0.0, 0.5], "theta": [np.inf]}
BAD_SETTINGS = {"lr": BAD_NUMBERS, "l1": BAD_NUMBERS, "mode": ["x", None], "nope": [1], "betas": [3, (1.0, 2.0)]}


class Optimizers(Sequence):
    def run(self):
        draw = self.draw
        name = draw.choice(list(DIRECTIONS))
        case, self.rate = DIRECTIONS[name], Rate()
        options = case.options | {"l1": draw.choice([0.0, 0.1]), "l2": draw.choice([0.0, 0.1])}
        if case.optimizer not in (fastreg.FTRL, fastreg.Lion, fastreg.AdamW):
            options["mode"] = draw.choice(case.modes)
        options["on_nonfinite"] = draw.choice(["propagate", "raise", "skip"])
        w = [formed(draw, draw.numbers(self.shape(), draw.dtype()), odd=0)[0] for _ in range(draw.randint(1, 4))]
        self.it = case.optimizer(w, self.rate, threads=draw.choice([1, 2, None]), **options)
        self.saved, self.bound = [self.it.state_dict()], False
        self.renew_twin()
        for _ in range(draw.randint(3, 20)):
            draw.choice(self.OPERATIONS)(self)
            self.compare()

    def shape(self):
        n = self.draw.choice([0, 1, 3, 17, 64, 513, 2000])
        return self.draw.choice([(n,), (n, 2), (2, n), ()])

    def renew_twin(self):
        self.twin = self.copied(copy.deepcopy)
        self.twin.threads = 1
        if self.bound:
            self.twin_bound = [np.zeros_like(w, subok=False) for w in self.twin.params]
            for mine, g in zip(self.twin_bound, self.bound):
                mine[...] = np.reshape(g, mine.shape)  # empty weights may have been resized
            self.twin.bind(self.twin_bound)

    def compare(self):
        for x, y in zip(self.look(self.it), self.look(self.twin), strict=True):
            self.require(same_bits(x, y), "the state is not the twin's")

    def look(self, it):
        saved = it.state_dict()
        keys = sorted(key for key in saved if not isinstance(saved[key], str))
        settings = [np.array(saved[key], float) if np.ndim(saved[key]) == 0 else saved[key] for key in keys]
        return [*it.params, *(x for state in it.state.values() for x in state.values()), *map(np.asarray, settings)]

    def gradients(self, odd):
        """Gradients, one of them in an odd form with the given probability, and plain copies for the twin."""
        plain = [np.zeros_like(w, subok=False) for w in self.twin.params]
        for g in plain:
            g[...] = self.draw.numbers(g.shape, g.dtype.type, special=0.05)
        forms = [VALID["plain"](g) if g.flags.c_contiguous else g.copy(order="K") for g in plain]
        if self.draw.chance(odd):
            i = self.draw.randrange(len(forms))
            forms[i], _ = formed(self.draw, plain[i], odd=0.7)
            if forms[i] is None:
                plain[i] = None
            elif not isinstance(forms[i], (str, list)):
                numbers = np.asarray(forms[i])
                if numbers.shape == plain[i].shape and numbers.dtype == plain[i].dtype:
                    plain[i][...] = numbers
        return forms, plain

    def step(self):
        forms, plain = self.gradients(odd=0.3)
        ok, _ = self.attempt("step", lambda: self.it.step(forms))
        if ok:
            self.twin.step(plain)

    def step_large(self):
        """A step with another number of threads."""
        fastreg.set_num_threads(self.draw.choice([1, 2]))
        self.step()

    def bind(self):
        forms, plain = self.gradients(odd=0.2)
        if any(g is None for g in forms):
            return
        ok, _ = self.attempt("bind", lambda: self.it.bind(forms))
        if ok:
            self.bound, self.twin_bound = forms, plain
            self.twin.bind(plain)

    def step_bound(self):
        if self.bound:
            for g, twin in zip(self.bound, self.twin_bound):
                x = np.asarray(g)
                if x.flags.writeable:
                    x[...] = self.draw.numbers(x.shape, twin.dtype.type, special=0.05)
                twin[...] = x
        ok, _ = self.attempt("step()", lambda: self.it.step())
        if ok:
            self.twin.step()
        else:
            self.require(not self.bound or "finite" in self.done[-1], "bound gradients are refused")

    def settings(self):
        table = GOOD_SETTINGS if self.draw.chance(0.6) else GOOD_SETTINGS | BAD_SETTINGS
        changes = {key: self.draw.choice(table[key]) for key in self.draw.sample(list(table), self.draw.randint(1, 2))}
        ok, _ = self.attempt(f"update {changes}", lambda: self.it.param_groups[0].update(changes))
        if ok:
            self.twin.param_groups[0].update(changes)

    def save(self):
        self.saved.append(self.it.state_dict())

    def load(self):
        saved = self.draw.choice(self.saved)
        ok, _ = self.attempt("load_state_dict", lambda: self.it.load_state_dict(saved))
        if ok:
            self.twin.load_state_dict(saved)

    def load_tampered(self):
        saved = tampered(self.draw, self.draw.choice(self.saved))
        ok, _ = self.attempt("load_state_dict, tampered", lambda: self.it.load_state_dict(saved), AttributeError)
        if ok:
            self.twin.load_state_dict(saved)

    def load_file(self):
        file = damaged_file(self.draw, self.draw.choice(self.saved))
        if file is None:
            return
        ok, _ = self.attempt("load_state_dict of a file", lambda: self.it.load_state_dict(file), Exception)
        if ok:
            self.renew_twin()

    def replace(self):
        """Replaces the optimizer by a copy, which has no bound gradients."""
        how = self.draw.choice([copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
        self.it.param_groups[0].update({})
        made = self.copied(how)
        self.it, self.bound = made, False
        self.twin = how(self.twin)
        self.rate = next((x for x in [self.it.param_groups[0]["lr"]] if callable(x)), Rate())

    def copied(self, how):
        ok, made = self.attempt("copy", lambda: how(self.it))
        if not ok:
            pairs = zip(self.it.params, self.it.state.values())
            self.require(
                any(x.shape != w.shape for w, state in pairs for x in state.values()), "no copy of good weights"
            )
            raise Done  # weights were resized to another shape than their state
        return made

    def read(self):
        self.it.penalty(self.draw.choice([None, "group", "tensor"]))
        self.it.zeros("tensor")
        repr(self.it)

    def clip(self):
        forms, _ = self.gradients(odd=0.3)
        before = [None if isinstance(g, (str, list)) or g is None else np.array(g, order="K") for g in forms]
        ok, _ = self.attempt("clip_grad_norm", lambda: fastreg.clip_grad_norm(forms, self.draw.choice([1.0, 0.0, -1])))
        if not ok:
            self.require(
                all(x is None or same_bits(np.asarray(g), x) for g, x in zip(forms, before)),
                "refused gradients have changed",
            )

    def interfere(self):
        """A step with a schedule that changes the optimizer or the arrays."""
        forms, _ = self.gradients(odd=0.1)
        act = self.draw.choice(self.HOSTILE)
        self.rate.act = lambda: act(self, forms)
        before = self.look(self.it)
        ok, _ = self.attempt(f"step, {act.__name__}", lambda: self.it.step(forms), KeyboardInterrupt)
        self.rate.act = None
        if not all(w.flags.writeable for w in self.it.params):
            ok, _ = self.attempt("step, frozen", lambda: self.it.step(forms))
            frozen = [g for w, g in zip(self.it.params, forms) if not w.flags.writeable]
            self.require(not ok or all(g is None for g in frozen), "read-only weights were updated")
            raise Done  # the weights of some pickles cannot be made writable again
        if not ok and act in self.HARMLESS:
            now = self.look(self.it)
            self.require(all(map(same_bits, now, before)), "an error, but the state has changed")
        self.renew_twin()

    def raises(self, forms):
        raise self.draw.choice([HostileError, KeyboardInterrupt])

    def steps(self, forms):
        self.it.step(forms)

    def binds(self, forms):
        self.it.bind([np.zeros_like(w) for w in self.it.params])

    def loads(self, forms):
        self.it.load_state_dict(self.draw.choice(self.saved))

    def constructs(self, forms):
        type(self.it).__init__(self.it, [np.ones(3)], 0.1)

    def sets(self, forms):
        self.it.param_groups[0].update(l1=0.3)

    def copies(self, forms):
        copy.deepcopy(self.it)
        pickle.dumps(self.it)
        self.it.state_dict()

    def collects(self, forms):
        gc.collect()

    def resizes(self, forms):
        x = self.draw.choice([x for x in [*forms, *self.it.params] if isinstance(x, np.ndarray)])
        x.resize(self.draw.choice([0, 1, 50_000]), refcheck=False)

    def freezes(self, forms):
        self.draw.choice(self.it.params).flags.writeable = False

    HARMLESS = (raises, steps, copies, collects, resizes, freezes, constructs)
    HOSTILE = (*HARMLESS, binds, loads, sets)
    OPERATIONS = (
        step, step, step, step_large, bind, step_bound, step_bound, settings, save, load, load_tampered, load_file,
        replace, read, clip, interfere, interfere, interfere,
    )  # fmt: skip


# -- Threads ----------------------------------------------------------------------------------------------------------


class Threads(Sequence):
    """Some threads step, this one reads, copies and loads: complete states or RuntimeErrors; it works afterwards."""

    def run(self):
        w, stop = np.zeros(self.draw.choice([10, 100_000])), threading.Event()
        optimizer = fastreg.SGD(w, self.draw.choice([1.0, Rate()]), threads=self.draw.choice([1, 2]))
        grads = np.full_like(w, -1.0)

        def work():
            while not stop.is_set():
                with suppress(RuntimeError):  # refused during a call of another thread
                    optimizer.step(grads)

        others = [threading.Thread(target=work) for _ in range(self.draw.choice([1, 2]))]
        for thread in others:
            thread.start()
        try:
            for _ in range(10):
                self.read(optimizer)
        finally:
            stop.set()
            for thread in others:
                thread.join()
        optimizer.step(grads)
        self.require((w == w[0]).all(), "a step was incomplete")

    def read(self, optimizer):
        saved = optimizer.state_dict()
        self.require(saved["completed"] == saved["tensor.0.steps"], "counts that differ")
        ok, made = self.attempt("deepcopy", lambda: copy.deepcopy(optimizer))
        if ok:
            self.require((made.params == made.params[0]).all(), "a copy of an incomplete step")
        self.attempt("load_state_dict", lambda: optimizer.load_state_dict(saved | {"completed": -1}))
        self.require(optimizer.zeros() in (0, optimizer.params.size), "a number of zeros of an incomplete step")
