"""Layer 5, the weights of a stream: reading them, predictions, given weights, copies and files.

A model has a Learner, or, if it comes from the file of a sparsified one, only the weights that are not zero; then it
gets a Learner when it is trained.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from fastreg.linear.factors import NONE
from fastreg.linear.given import checked_intercept, checked_weights
from fastreg.linear.scales import Sizes
from fastreg.linear.sparse import Stored, frozen, matrix, products, shared, weights_of
from fastreg.linear.units import Units

COPIED = 1 << 20  # values that are copied at a time where features have units


class Read(NamedTuple):
    """The weights at one moment."""

    version: int
    coef: np.ndarray  # (columns, features), read-only; as they are learnt, as the intercept is
    intercept: np.ndarray
    units: Units | None  # of the features

    def raw_coef(self):
        """The weights for features without units."""
        if self.units is None:
            return self.coef
        coef = self.units.raw_weights(self.coef.T).T
        coef.flags.writeable = False
        return coef

    def raw_intercept(self):
        """The intercept for features without units."""
        if self.units is None:
            return self.intercept.copy()
        raw = self.units.raw_weights(self.coef.T.astype(float))
        return (self.intercept - self.units.moved(raw)).astype(self.intercept.dtype)

    def products(self, x):
        """x·w without the intercept. With units, without the digits that large origins would cost."""
        if self.units is None or (sparse.issparse(x) and self.units.are_scales):
            return x @ self.raw_coef().T
        margins = np.empty((x.shape[0], len(self.coef)), np.result_type(x, self.coef))
        rows = max(1, COPIED // max(1, x.shape[1]))
        for start in range(0, x.shape[0], rows):
            part = x[start : start + rows]
            dense = part.toarray() if sparse.issparse(part) else part
            margins[start : start + rows] = self.units.of(dense) @ self.coef.T
        return margins


class StreamWeights:
    """The base of StreamUnits and Stream, which learns."""

    _learner = None  # absent in a model that has only weights
    _stored = None  # the Stored of such a model
    _cache = None  # the last result of _read
    _sparse_cache = None  # the last result of _read_sparse
    _factors = NONE  # the last result of factors_of
    _is_placed = False  # whether weights or intercept have been placed: they are not forgotten
    _is_given = False  # whether the intercept has been placed: losses with log link do not choose another start

    # Copies and files

    def __getstate__(self):
        left_out = ["_cache", "_sparse_cache", "_factors"] + ["_stored"] * (self._learner is not None)
        state = dict(vars(self))  # at once: another thread may read a model for the first time, and keep what it reads
        return {name: x for name, x in state.items() if name not in left_out}

    def __setstate__(self, state):
        if "learner" in state:  # a file of earlier commits
            learner = state.pop("learner")
            w = learner.records["w"]
            state |= {"shape": w.shape, "dtype": w.dtype, "has_intercept": bool(learner.intercept)}
            state |= {"_learner": learner}
        vars(self).update(state)

    @property
    def learner(self):
        """The Learner. A model from a file of a sparsified one gets it now, with a new state at the stored weights."""
        if self._learner is None:
            coef, intercept, record, numbers, factors = self._stored
            learner = self._new_learner(factors)
            learner.restore_numbers(record, numbers)
            if self._stored.units is not None:
                learner.set_units(factors, True)
            learner.place(coef.toarray(), intercept, learner.epochs)
            vars(self).setdefault("_learner", learner)  # the first one, if two threads train
        return self._learner

    def stored(self):
        """A copy for a file: only the weights that are not zero, the intercept and the counters."""
        new = self._with_learner(None)
        if self._learner is not None:
            _, positions, values, intercept, record, numbers, factors = self._learner.read_nonzero()
            *counters, sizes = numbers
            numbers = *counters, Sizes.of(sizes)._replace(survey=()).numbers()
            new._stored = Stored(matrix(positions, values, self.shape[::-1]), intercept, record, numbers, factors)
        return new

    def copy(self):
        """A consistent copy, even if another thread trains."""
        return self._with_learner(None if self._learner is None else self._learner.copy())

    def _with_learner(self, learner):
        new = object.__new__(type(self))
        new.__dict__ = self.__getstate__() | {"_factors": self._factors}
        if learner is not None:
            new._learner = learner
        else:
            vars(new).pop("_learner", None)
        return new

    # Numbers

    @property
    def completed(self):
        """The number of samples trained on."""
        return self._stored.record[0] if self._learner is None else self._learner.completed

    @property
    def epochs(self):
        """The number of epochs of the last call."""
        return self._stored.numbers[0] if self._learner is None else self._learner.epochs

    @property
    def sizes(self):
        """The Sizes of samples, targets and features so far."""
        return Sizes.of(self.learner.sizes)

    # Weights

    def place(self, weights=None, intercept=None, names=("coef_", "intercept_"), epochs=None):
        """Continue from these weights (columns, features) and this intercept (columns,); None leaves what is there.

        All or nothing. Nothing is pending afterwards. The number of samples and the sums of squared gradients stay.
        ValueError, with these names, unless the dtype of the weights can hold the numbers, and with positive weights
        if one is negative.
        """
        features, columns = self.shape
        if weights is not None:
            weights = checked_weights(weights, names[0], (columns, features), self.dtype, self.positive)
        if intercept is not None:
            intercept = checked_intercept(intercept, names[1], columns, self.dtype, self.has_intercept)
        epochs = self.learner.epochs if epochs is None else epochs
        if self.sizes.units:
            self.learner.exchange(lambda copy: self._with_learner(copy)._place_in_units(weights, intercept, epochs))
        else:
            self.learner.place(weights, intercept, epochs)
        self._is_given, self._is_placed = self._is_given or intercept is not None, True

    def _place_in_units(self, weights, intercept, epochs):
        """The same for features in units, if these have any; nobody else can have this stream."""
        read, given = self._read(), weights is not None
        if read.units is not None:
            weights = read.raw_coef() if weights is None else weights
            intercept = read.raw_intercept() if intercept is None else intercept
            if self.has_intercept:
                intercept = (intercept + read.units.moved(weights.T)).astype(self.dtype)
            weights = read.units.weights(weights.T).T if given else None
            if not (np.isfinite(intercept).all() and (weights is None or np.isfinite(weights).all())):
                raise ValueError(
                    f"coef_: expected finite numbers that {self.dtype} can hold times the sizes of the features, got"
                    " larger ones"
                )
        self.learner.place(weights, intercept, epochs)

    def _read(self):
        """The weights as they are learnt, consistent even if another thread trains."""
        if self._learner is None:
            coef, stored = self._stored.coef.toarray(order="F"), self._stored
            coef.flags.writeable = False
            return Read(0, coef, stored.intercept, stored.units)
        cache = self._cache
        if cache is None or cache.version != self.learner.version:
            version, weights, intercept, sizes = self.learner.read(self.shape[0])
            weights.flags.writeable = False  # later calls of margins use the same array
            cache = self._cache = Read(version, weights.T, intercept, Units.unpacked(Sizes.of(sizes).units))
        return cache

    def _read_sparse(self):
        """Version, the Weights, consistent as those of `_read`, for raw features, and the Units of the intercept."""
        cache, learner = self._sparse_cache, self._learner
        if cache is None or (learner is not None and cache[0] != learner.version):
            if learner is None:
                version, coef, intercept = -1, self._stored.coef, self._stored.intercept  # no version of a learner
                units = self._stored.units
            else:
                version, positions, values, intercept, _, (*_, sizes), _ = learner.read_nonzero()
                coef, units = matrix(positions, values, self.shape[::-1]), Units.unpacked(Sizes.of(sizes).units)
            if units is not None:
                values = units.raw_values(coef.data, coef.indices)
                coef = frozen((values, coef.indices, coef.indptr), coef.shape)
            cache = self._sparse_cache = version, weights_of(coef, intercept), units
        return cache

    def coef(self):
        """The weights after all pending penalties, (columns, features), read-only."""
        return self._read().raw_coef()

    def sparse_coef(self):
        """The same as a CSR matrix with read-only arrays, without a dense copy."""
        return shared(self._read_sparse()[1].coef)

    def intercept(self):
        """The intercept, (columns,); zero if there is none."""
        if not self.has_intercept:
            return np.zeros(self.shape[1])
        learner = self._learner
        if learner is not None:
            version, has_units = learner.version, bool(self.sizes.units)
            intercept = learner.read_intercept()
            if not has_units and learner.version == version:  # or else another thread trains: units may have begun
                return intercept
        return self._read().raw_intercept()

    def margins(self, x, is_sparse=False):
        """x·w plus intercept, (samples, columns), if `is_sparse` from the sparse weights.

        For few non-zeros after a step, only their weights are read.
        """
        features = self.shape[0]
        if x.shape[1] != features:
            raise ValueError(f"X: expected {features} features, as in the first call, got {x.shape[1]}")
        cache, learner = self._sparse_cache if is_sparse else self._cache, self._learner
        outdated = learner is not None and (cache is None or cache[0] != learner.version)
        found = None
        if outdated and sparse.issparse(x) and 10 * x.nnz < features and not self.sizes.units:
            found = self._products_of_few(x)
        if found is None and (is_sparse or learner is None):
            _, weights, units = self._read_sparse()
            found = (products(x, weights), weights.intercept) if units is None else None
        if found is None:
            read = self._read()
            found = read.products(x), read.intercept
        margins, intercept = found
        return margins + intercept if self.has_intercept else margins

    def _products_of_few(self, x):
        """x·w of a sparse matrix, and the intercept, from the weights of its non-zeros; None if features have units."""
        features, positions = np.unique(x.indices, return_inverse=True)
        compact = sparse.csr_matrix((x.data, positions, x.indptr), (x.shape[0], len(features)))
        _, weights, intercept, sizes = self.learner.read(x.shape[1], features.astype(np.int64))
        return None if Sizes.of(sizes).units else (compact @ weights, intercept)
