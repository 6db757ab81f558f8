"""Layer 5, the weights of a stream: reading them, predictions, given weights, copies and files.

A model has a Learner, or, if it comes from the file of a sparsified one, only the weights that are not zero; then it
gets a Learner when it is trained.
"""

import numpy as np
from scipy import sparse

from fastreg.linear.factors import NONE
from fastreg.linear.given import checked_intercept, checked_weights
from fastreg.linear.scales import Sizes
from fastreg.linear.sparse import Stored, matrix, products, shared, weights_of


class StreamWeights:
    """The base of Stream, which learns."""

    _learner = None  # absent in a model that has only weights
    _stored = None  # the Stored of such a model
    _cache = None  # the last result of _read
    _sparse_cache = None  # the last result of _read_sparse
    _factors = NONE  # the last result of factors_of
    _is_given = False  # whether the intercept has been placed: losses with log link do not choose another start

    # Copies and files

    def __getstate__(self):
        left_out = ["_cache", "_sparse_cache", "_factors"] + ["_stored"] * (self._learner is not None)
        return {name: x for name, x in vars(self).items() if name not in left_out}

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
            learner.place(coef.toarray(), intercept, learner.epochs)
            vars(self).setdefault("_learner", learner)  # the first one, if two threads train
        return self._learner

    def stored(self):
        """A copy for a file: only the weights that are not zero, the intercept and the counters."""
        new = self._with_learner(None)
        if self._learner is not None:
            _, positions, values, intercept, record, numbers, factors = self._learner.read_nonzero()
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
        """The Sizes of samples and targets so far."""
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
        self.learner.place(weights, intercept, self.learner.epochs if epochs is None else epochs)
        self._is_given = self._is_given or intercept is not None

    def _read(self):
        """Version, weights (columns, features) and intercept, consistent even if another thread trains."""
        if self._learner is None:
            coef, intercept = self._stored.coef.toarray(order="F"), self._stored.intercept
            coef.flags.writeable = False
            return 0, coef, intercept
        cache = self._cache
        if cache is None or cache[0] != self.learner.version:
            version, weights, intercept = self.learner.read(self.shape[0])
            weights.flags.writeable = False  # later calls of margins use the same array
            cache = self._cache = version, weights.T, intercept
        return cache

    def _read_sparse(self):
        """Version and Weights, consistent as those of `_read`."""
        cache, learner = self._sparse_cache, self._learner
        if cache is None or (learner is not None and cache[0] != learner.version):
            if learner is None:
                version, coef, intercept = -1, self._stored.coef, self._stored.intercept  # no version of a learner
            else:
                version, positions, values, intercept, *_ = learner.read_nonzero()
                coef = matrix(positions, values, self.shape[::-1])
            cache = self._sparse_cache = version, weights_of(coef, intercept)
        return cache

    def coef(self):
        """The weights after all pending penalties, (columns, features), read-only."""
        return self._read()[1]

    def sparse_coef(self):
        """The same as a CSR matrix with read-only arrays, without a dense copy."""
        return shared(self._read_sparse()[1].coef)

    def intercept(self):
        """The intercept, (columns,); zero if there is none."""
        if not self.has_intercept:
            return np.zeros(self.shape[1])
        return self._stored.intercept.copy() if self._learner is None else self._learner.read_intercept()

    def margins(self, x, is_sparse=False):
        """x·w plus intercept, (samples, columns), if `is_sparse` from the sparse weights.

        For few non-zeros after a step, only their weights are read.
        """
        features = self.shape[0]
        if x.shape[1] != features:
            raise ValueError(f"X: expected {features} features, as in the first call, got {x.shape[1]}")
        cache, learner = self._sparse_cache if is_sparse else self._cache, self._learner
        outdated = learner is not None and (cache is None or cache[0] != learner.version)
        if outdated and sparse.issparse(x) and 10 * x.nnz < features:
            features, positions = np.unique(x.indices, return_inverse=True)
            compact = sparse.csr_matrix((x.data, positions, x.indptr), (x.shape[0], len(features)))
            _, weights, intercept = learner.read(x.shape[1], features.astype(np.int64))
            margins = compact @ weights
        elif is_sparse or learner is None:
            weights = self._read_sparse()[1]
            margins, intercept = products(x, weights), weights.intercept
        else:
            _, coef, intercept = self._read()
            margins = x @ coef.T
        return margins + intercept if self.has_intercept else margins
