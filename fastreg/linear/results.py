"""Layer 5, the weights of the two estimators as attributes, dense or sparse, and in files."""

import copy
import inspect
from numbers import Real

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from fastreg.optimizers.reports import zero_count


class Results(BaseEstimator):
    """The fitted weights; a subclass has the parameters, `_stream`, `_coef_shape` and `_penalty_of`."""

    _is_sparse = False  # whether coef_ is a CSR matrix

    @property
    def coef_(self):
        """The weights; exactly zero for each feature that the penalty has removed."""
        stream = self._fitted_stream("coef_")
        return stream.sparse_coef() if self._is_sparse else self._coef_shape(stream.coef())

    @coef_.setter
    def coef_(self, weights):
        self._fitted_stream("coef_", "to start from given weights, use fit(..., coef_init=...)").place(weights)

    @property
    def intercept_(self):
        """The intercept; zero with fit_intercept=False."""
        return self._fitted_stream("intercept_").intercept()

    @intercept_.setter
    def intercept_(self, intercept):
        stream = self._fitted_stream("intercept_", "to start from a given intercept, use fit(..., intercept_init=...)")
        stream.place(intercept=intercept)

    def _fitted_stream(self, name, advice=""):
        stream = getattr(self, "_stream", None)
        if stream is None:
            raise AttributeError(
                f"{type(self).__name__} has no {name} before it is fitted{'; ' * bool(advice)}{advice}"
            )
        return stream

    def sparsify(self):
        """Make `coef_` a CSR matrix, without a dense copy on the way, and files small.

        Predictions use only the weights that are not zero. For sparse samples they have the same bits as before, for
        dense ones they can differ by rounding. Training goes on as without it: :meth:`partial_fit` does not need
        :meth:`densify` first, and `coef_` stays sparse, with ``warm_start=True`` in :meth:`fit`, too.

        A pickle or joblib file of a sparsified model contains only the weights that are not zero, the intercept and
        the counters, without the state of the optimizer. The model from such a file can be trained. Its state then
        starts at these weights: squared gradients are summed anew, and with "ftrl" nothing is known of how near to
        zero a removed weight was. For a file from which training goes on with the same bits, call :meth:`densify`
        first; it contains only features that have been seen.

        Returns
        -------
        self : the estimator

        Examples
        --------
        >>> import numpy as np
        >>> from fastreg.linear import StreamingRegressor
        >>> x = np.eye(3)
        >>> model = StreamingRegressor(alpha=0.1, l1_ratio=1.0, fit_intercept=False).fit(x, [2.0, 0.0, 0.0])
        >>> model.sparsify().coef_.nnz, model.predict(x).round(2).tolist()
        (1, [1.7, 0.0, 0.0])
        """
        check_is_fitted(self)
        if not self._is_sparse:
            self._is_sparse = True
        return self

    def densify(self):
        """Make `coef_` an array again.

        Returns
        -------
        self : the estimator

        Examples
        --------
        >>> from fastreg.linear import StreamingRegressor
        >>> model = StreamingRegressor(alpha=0.1, l1_ratio=1.0).fit([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]).sparsify()
        >>> model.densify().coef_
        array([0., 0.])
        """
        check_is_fitted(self)
        if self._is_sparse:
            self._is_sparse = False
        return self

    def zeros(self):
        """The number of weights in `coef_` that are exactly zero.

        Examples
        --------
        >>> from fastreg.linear import StreamingRegressor
        >>> x, y = [[1.0, 0.0], [0.0, 1.0]], [3.0, 0.0]
        >>> StreamingRegressor(alpha=0.1, l1_ratio=1.0, fit_intercept=False).fit(x, y).zeros()
        1
        """
        stream = self._fitted_stream("zeros")
        if self._is_sparse:
            return stream.shape[0] * stream.shape[1] - stream.sparse_coef().nnz
        return zero_count(stream.coef())

    @property
    def penalty(self):
        """The penalty: ``model.penalty()`` is its value at `coef_`, the sum over all classes; no intercept.

        It compares equal to its name in scikit-learn, "l1", "l2" or "elasticnet". An elastic net with an L1 part also
        equals "l1", so that :class:`sklearn.feature_selection.SelectFromModel` keeps the weights that are not zero.

        Examples
        --------
        >>> from fastreg.linear import StreamingRegressor
        >>> model = StreamingRegressor(alpha=0.5, l1_ratio=1.0).fit([[1.0, 0.0], [0.0, 1.0]], [3.0, 0.0])
        >>> model.coef_ = [1.0, -2.0]
        >>> model.penalty(), model.penalty == "l1"
        (1.5, True)
        """
        return Penalty(self)

    # Copies and files

    def __getstate__(self):
        state = dict(super().__getstate__())
        if self._is_sparse:
            state["_stream"] = self._stream.stored()
        return state

    def __setstate__(self, state):
        """Parameters that are newer than the file have their defaults."""
        parameters = inspect.signature(type(self).__init__).parameters
        defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
        super().__setstate__(defaults | state)

    def __copy__(self):
        new = object.__new__(type(self))
        new.__dict__ = dict(vars(self))
        return new

    def __deepcopy__(self, memo):
        """With the state of the optimizer, unlike a file of a sparsified model."""
        new = memo[id(self)] = object.__new__(type(self))
        new.__dict__ = copy.deepcopy(vars(self), memo)
        return new


class Penalty:
    """What the attribute `penalty` of a model is: its value when called, and something that equals its name."""

    def __init__(self, model):
        self.model = model

    def __call__(self):
        return self.model._penalty_of(self.model._fitted_stream("penalty"))

    def __repr__(self):
        ratio = self.model._strength()[1]
        return "elasticnet" if not isinstance(ratio, Real) or 0 < ratio < 1 else "l1" if ratio == 1 else "l2"

    def __eq__(self, other):
        if not isinstance(other, str):
            return NotImplemented
        return other == repr(self) or (other == "l1" and repr(self) == "elasticnet")

    def __hash__(self):
        return id(self)
