"""Random sequences for fuzz.py: a linear model gets unusual matrices, its twin gets the canonical ones."""

import copy
import os
import pickle
import signal
import threading

import numpy as np
from fuzz_sequence import Done, HostileError, Rate, Sequence
from fuzz_values import SAME, lying, rebuilt, same_dense
from scipy import sparse
from scipy.special import expit

from fastreg.linear import StreamingClassifier, StreamingRegressor
from fastreg.reference.losses import LOG_LINK

FITTED = ("coef_", "intercept_", "n_iter_", "n_features_in_", "classes_")


class Linear(Sequence):
    """Operations on a model and on its twin, which must have equal fitted attributes afterwards."""

    def run(self):
        draw = self.draw
        self.classify, self.features = draw.chance(0.5), draw.choice([1, 2, 5, 17, 60])
        self.classes = draw.choice([2, 3])
        kind = StreamingClassifier if self.classify else StreamingRegressor
        options = {
            "loss": draw.choice(kind._losses), "optimizer": draw.choice(["ftrl", "sgd", "adagrad"]),
            "alpha": draw.choice([0, 1e-4, 0.1]), "l1_ratio": draw.choice([0, 0.15, 1]), "max_iter": 2, "tol": None,
            "fit_intercept": draw.chance(0.7), "positive": draw.chance(0.3), "shuffle": draw.chance(0.7),
            "random_state": 0,
        }  # fmt: skip
        if self.classify and options["optimizer"] != "adagrad" and draw.chance(0.3):
            options["group"] = "features"
        self.rate = Rate()
        if options["optimizer"] == "sgd" and draw.chance(0.4):
            options["learning_rate"] = self.rate
        if draw.chance(0.3) and (options["optimizer"] != "sgd" or options["l1_ratio"] == 1 or options["alpha"] == 0):
            options["penalty_factor"] = draw.generator().choice([0, 0.5, 1, 3], self.features)
        self.model, self.twin = kind(**options), kind(**options)
        for _ in range(draw.randint(2, 8)):
            draw.choice(self.OPERATIONS)(self)
            self.compare()

    def fitted(self, model):
        values = [getattr(model, name, None) for name in FITTED]
        values = [x.toarray() if sparse.issparse(x) else x for x in values]
        return [None if x is None else np.asarray(x).tobytes() for x in values]

    def compare(self):
        for name, x, y in zip(FITTED, self.fitted(self.model), self.fitted(self.twin)):
            self.require(x == y, f"{name} differs from the twin's")

    def samples(self):
        n, dtype = self.draw.choice([1, 2, 7, 30]), self.draw.choice([np.float32, np.float64])
        x = self.draw.numbers((n, self.features), dtype, special=0)
        margins = x.sum(axis=1, dtype=float) + self.draw.numbers(n, special=0)
        if self.classify:
            return x, np.argsort(np.argsort(margins)) * self.classes // n
        loss = self.model.loss
        return x, expit(margins) if loss == "cross_entropy" else np.exp(margins) if loss in LOG_LINK else margins

    def unusual(self, x):
        """The same matrix in an unusual form, and in the canonical one."""
        if self.draw.chance(0.3):
            return same_dense(self.draw, x), x
        plain = sparse.csr_matrix(x)
        name = self.draw.choice(list(SAME))
        self.done.append(f"X: {name}, {x.dtype}")
        return SAME[name](plain), plain

    def train(self, method, x, plain, y, weights=None):
        more = {"classes": np.arange(self.classes)} if self.classify and method == "partial_fit" else {}
        before = self.fitted(self.model)
        ok, error = self.attempt(method, lambda: getattr(self.model, method)(x, y, sample_weight=weights, **more))
        if ok:
            getattr(self.twin, method)(plain, y, sample_weight=weights, **more)
            return
        self.require(
            self.fitted(self.model) == before or "eta0" in str(error), f"{method} failed and changed the model"
        )
        twin_ok, _ = self.attempt(
            f"{method} of the twin", lambda: getattr(self.twin, method)(plain, y, sample_weight=weights, **more)
        )
        self.require(not twin_ok, f"only the unusual form was refused: {error}")
        if "eta0" in str(error):
            raise Done

    def partial_fit(self):
        x, y = self.samples()
        self.train("partial_fit", *self.forms(x), y, self.weights(len(y)))

    def fit(self):
        x, y = self.samples()
        if self.draw.chance(0.3):
            self.features = self.draw.choice([1, 3, 40])
            if self.model.penalty_factor is not None:
                factors = self.draw.generator().choice([0, 0.5, 1, 3], self.features)
                self.model.set_params(penalty_factor=factors), self.twin.set_params(penalty_factor=factors.tolist())
        self.train("fit", *self.forms(x), y, self.weights(len(y)))

    def forms(self, x):
        """Both forms, in the dtype to which the model converts the unusual one."""
        unusual, plain = self.unusual(x)
        dtype = np.asarray(unusual.data if sparse.issparse(unusual) else unusual).dtype
        return unusual, plain if dtype.kind == "f" and dtype.itemsize == 4 else plain.astype(float)

    def weights(self, n):
        return self.draw.choice([None, None, None, np.ones(n), self.draw.generator().random(n), 2.0, -np.ones(n)])

    def predict(self):
        if self.fitted(self.model)[0] is None:
            return
        x, _ = self.samples()
        x = np.zeros((3, self.model.n_features_in_), x.dtype) if x.shape[1] != self.model.n_features_in_ else x
        unusual, plain = self.forms(x)
        (ok, result), (_, expected) = (
            self.attempt("predict", lambda m=m, z=z: m.predict(z))
            for m, z in ((self.model, unusual), (self.twin, plain))
        )
        self.require(ok, f"the unusual form was refused: {result}")
        self.require(np.allclose(result, expected, rtol=1e-5, atol=1e-6, equal_nan=True), "the predictions differ")

    def refuse(self):
        """A damaged matrix: an invalid one must be refused, and a refused call must not change the model."""
        x, y = self.samples()
        matrix, invalid = lying(self.draw, sparse.csr_matrix(x))
        method, before = self.draw.choice(["fit", "partial_fit", "predict"]), self.fitted(self.model)
        more = {"classes": np.arange(self.classes)} if self.classify and method == "partial_fit" else {}
        arguments = [matrix] if method == "predict" else [matrix, y]
        ok, _ = self.attempt(f"{method} of a damaged matrix", lambda: getattr(self.model, method)(*arguments, **more))
        self.require(not (ok and invalid), "an invalid matrix was accepted")
        self.require(ok or self.fitted(self.model) == before, "a failed call changed the model")
        if ok:
            raise Done

    def refuse_targets(self):
        x, y = self.samples()
        bad = self.draw.choice([y[:-1], None, y[:, None, None], np.full(len(y), "a"), np.full(len(y), np.nan)])
        before = self.fitted(self.model)
        ok, _ = self.attempt("fit with bad targets", lambda: self.model.fit(x, bad))
        self.require(not ok or bad is not None, "targets that are None were accepted")
        self.require(ok or self.fitted(self.model) == before, "a failed call changed the model")
        if ok:
            raise Done

    def sparsify(self):
        """The sparse form of the model only: its twin stays dense."""
        if hasattr(self.model, "_stream"):
            getattr(self.model, self.draw.choice(["sparsify", "densify"]))()

    def set_weights(self):
        """The same weights for both, or an error for both."""
        if not hasattr(self.twin, "_stream"):
            return
        coef = self.twin.coef_
        given = self.draw.numbers(coef.shape, coef.dtype.type, special=self.draw.choice([0, 0, 0.2]))
        results = []
        for model in (self.model, self.twin):
            results.append(self.attempt("set coef_", lambda m=model: setattr(m, "coef_", given))[0])
        self.require(results[0] == results[1], "one of the twins refused the weights")

    def replace(self):
        if self.model._is_sparse:
            self.model.densify()  # a file of the sparse form has no state
        how = self.draw.choice([copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
        self.model = how(self.model)
        if callable(self.model.learning_rate):
            self.rate = self.model.learning_rate

    def interfere(self):
        """A learning rate that changes the checked matrix, trains the model or raises."""
        if not callable(self.model.learning_rate):
            return
        x, y = self.samples()
        x = sparse.csr_matrix(x)
        act = self.draw.choice(self.HOSTILE)
        self.rate.act = lambda: act(self, x, y)
        before = self.fitted(self.model)
        more = {"classes": np.arange(self.classes)} if self.classify else {}
        ok, _ = self.attempt(act.__name__, lambda: self.model.partial_fit(x, y, **more), KeyboardInterrupt)
        self.rate.act = None
        self.require(ok or self.fitted(self.model) == before, f"{act.__name__}: a failed call changed the model")
        if ok:
            raise Done

    def raises(self, x, y):
        raise self.draw.choice([HostileError, KeyboardInterrupt])

    def changes_indices(self, x, y):
        x.indices[:] = self.draw.choice([-1, 500_000_000])

    def reverses_indptr(self, x, y):
        x.indptr[:] = x.indptr[::-1].copy()

    def resizes(self, x, y):
        self.draw.choice([x.indices, x.data, x.indptr]).resize(self.draw.choice([0, 1]), refcheck=False)

    def trains(self, x, y):
        self.model.partial_fit(x, y)

    def during_writes(self):
        """Another thread writes random indices and indptr while the model reads them: errors, but no crash."""
        x, y = self.samples()
        x, stop = rebuilt(sparse.csr_matrix(np.tile(x, (20, 1)))), threading.Event()
        rng = self.draw.generator()

        def write():
            while not stop.is_set():
                x.indices[rng.integers(0, max(1, x.nnz), 3) % max(1, len(x.indices))] = rng.integers(-5, 2**30)
                x.indptr[rng.integers(0, len(x.indptr))] = rng.integers(-5, 2**30)

        if not x.nnz:
            return
        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(3):
                self.attempt("fit during writes", lambda: self.model.fit(x, np.tile(y, 20)))
        finally:
            stop.set()
            thread.join()
        raise Done

    def fork(self):
        """A forked child trains and predicts."""
        x, y = self.samples()
        child = os.fork()
        if not child:
            signal.alarm(20)
            try:
                self.model.fit(x, y).predict(x)
            except ValueError:  # for example, all samples have the same class
                pass
            finally:
                os._exit(0)
        self.require(os.waitpid(child, 0)[1] == 0, "the forked child hung or crashed")

    HOSTILE = (raises, changes_indices, reverses_indptr, resizes, trains)
    OPERATIONS = (
        *[partial_fit] * 8, *[fit] * 4, *[predict] * 3, *[refuse] * 4, refuse_targets, replace, *[interfere] * 3,
        sparsify, set_weights, during_writes, *([fork] if hasattr(os, "fork") else []),
    )  # fmt: skip
