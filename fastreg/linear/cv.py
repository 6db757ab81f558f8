"""Layer 5, what the two estimators that choose their own strength have in common.

They are the plain estimators, whose strength is the chosen one. `fit` chooses by cross-validation (folds.py),
`partial_fit` by progressive validation (progress.py). Both leave a Choice, of which the attributes here tell.
"""

import time

import numpy as np
from sklearn.base import is_classifier

from fastreg.convert import from_sklearn
from fastreg.linear.fitting import DivergenceError
from fastreg.linear.folds import Part, Search, folds_of
from fastreg.linear.order import stream_order
from fastreg.linear.progress import new_progress, required_memory, strengths_of
from fastreg.path.checks import checked_strengths
from fastreg.path.rules import RULES

LARGEST_LOSS = 1e140  # of a batch, at a margin of zero: the squares of its losses can be added up


class ChosenStrength:
    """Comes before the plain estimator among the bases of a class, which has the parameters.

    Its `_stream` is that of the chosen strength, in a stream of many strengths a copy that is made when it is needed.
    """

    shuffle, random_state, warm_start, polish = True, None, False, True  # no parameters here
    _default_schedule = "invscaling"  # the same for all strengths
    _progress = None  # the Progress, on a stream
    _choice = None  # the Choice of `fit`
    _path = None  # the Weights of `fit`

    # Parameters

    def _check_strength(self):
        self._check_choice("rule", RULES)
        if not isinstance(self.eps, float | np.floating) or not 0 < self.eps < 1:
            raise ValueError(f"eps: expected a number between 0 and 1, got {self.eps!r}")
        if self._schedule() == "optimal":
            raise ValueError("learning_rate: expected one that does not depend on the strength, got 'optimal'")
        if self.tol is None:
            raise ValueError("tol: expected a finite number from 0, got None")
        if isinstance(self.alphas, int | np.integer):
            if isinstance(self.alphas, bool) or self.alphas < 1:
                raise ValueError(f"alphas: expected a number from 1, or a list of strengths, got {self.alphas!r}")
        else:
            checked_strengths(self.alphas, "alphas")
        ratios = checked_strengths(np.atleast_1d(np.asarray(self.l1_ratio)), "l1_ratio")
        if ratios.max() > 1:
            raise ValueError(f"l1_ratio: expected numbers from 0 to 1, got {ratios.max()}")

    def _strength(self):
        found = self._found()
        return (0.0, 1.0) if found is None else found.strength

    # The choice

    def _found(self):
        """The Choice; None before there is one."""
        progress = self._progress
        return self._choice if progress is None else progress.choice(self.rule)

    def _fitted(self, name):
        found = self._found()
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted")
        return found

    @property
    def _stream(self):
        if self._progress is not None:
            return self._progress.single(self.rule)
        try:
            return vars(self)["_stream"]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} is not fitted") from None

    @_stream.setter
    def _stream(self, stream):
        vars(self)["_stream"] = stream

    def _fitted_stream(self, name, advice=""):
        if advice and self._progress is not None:
            raise AttributeError(f"{name}: cannot be set while all strengths are trained on a stream")
        return super()._fitted_stream(name, advice)

    def __getstate__(self):
        state = super().__getstate__()
        if self._is_sparse and self._progress is not None:  # a file of the chosen model alone
            state |= {"_choice": self._found(), "_path": None, "_progress": None}
        return state

    def __sklearn_is_fitted__(self):
        return self._progress is not None or self._choice is not None

    # Training

    def _fit(self, x, targets, weights, columns, offsets=None, given=None):
        """Chooses the strength, and trains at it; `given` are the groups of the samples."""
        self._check_some_weight(weights)
        self._progress = None
        self._stream = self._new_stream(x, columns)
        start = time.perf_counter()
        whole = Part(x, targets, np.ones(len(targets)) if weights is None else weights, offsets)
        search = Search(self, whole, columns)
        folds = folds_of(self.cv, len(targets), targets, given, is_classifier(self))
        self._choice, self._solution, self._path = search.choose(folds)
        super()._fit(x, targets, weights, columns, offsets)
        del self._solution
        if search.unfinished:
            self._warn(
                f"max_iter: the objective was still falling after {self.max_iter} iterations at {search.unfinished}"
                " strengths, over all folds; increase max_iter"
            )
        if self.verbose:
            alpha, ratio = self._strength()
            self._report(
                f"alpha {alpha:.6g}, l1_ratio {ratio:g}", "mean loss", self._choice.lowest, time.perf_counter() - start
            )

    def _check_training_part(self, part, where):
        """The classifier needs all classes."""

    def _is_polished(self):
        return True

    def _run_epochs(self, samples, order, targets, weights, task, start):
        """One, for sums of squared gradients with which partial_fit can go on."""
        try:
            self._learn(samples, order, targets, weights, task, epochs=1, private=True)
        except DivergenceError:  # features have scales at which the steps diverge
            self._stream = self._new_stream(samples, self._stream.shape[1])
        return 0

    def _polish(self, x, targets, shares, offsets, constants, epochs, start):
        w, b, iterations, _ = self._solution
        if not self._is_finite():
            self._stream = self._new_stream(x, len(b))
        self._place(w, b, iterations)

    def _partial_fit(self, x, targets, weights, columns, offsets=None):
        """A pass of all strengths over the next batch; after `fit`, of the chosen one alone."""
        if self._choice is not None and self._progress is None:
            super()._partial_fit(x, targets, weights, columns, offsets)
        else:
            self._partial_fit_all(x, targets, weights, columns, offsets)

    def _partial_fit_all(self, x, targets, weights, columns, offsets):
        start, progress = time.perf_counter(), self._progress
        ratios = np.atleast_1d(np.asarray(self.l1_ratio, float))
        alphas = strengths_of(self.alphas, ratios)
        if self.group is not None and columns > 1:
            raise ValueError(f"group: expected None with partial_fit at many strengths, got {self.group!r}")
        if progress is None:
            strengths = [from_sklearn(alpha, ratio) for own, ratio in zip(alphas, ratios) for alpha in own.tolist()]
            arguments = x.shape[1], columns, x.dtype, self.optimizer, self.fit_intercept, self.positive
            progress = new_progress(ratios, alphas, strengths, arguments)
        else:
            x = self._cast(x, progress.stream.dtype)
            self._check_same(progress.stream)
            if not (np.array_equal(ratios, progress.l1_ratios) and np.array_equal(alphas, progress.alphas)):
                raise ValueError("alphas, l1_ratio: expected those of the first call of partial_fit, got others")
        samples, stream, left_out = self._samples(x, offsets), progress.stream, []
        order, weights = stream_order(len(samples), weights)
        task = self._task_of(stream, (0.0, float(stream.strengths[:, 1].max()), 0.0))
        if len(order):
            self._check_losses(stream, order, targets, weights, task)
        # a new stream can be interrupted: it is discarded then
        private, seen = self._progress is None, stream.sizes.seen
        totals = stream.learn(samples, order, targets, weights, task, private=private, left_out=left_out)
        if not np.isfinite(totals).any():
            raise DivergenceError
        self._progress = progress
        self._tell_sizes(x, seen, len(order), left_out, stream, task)
        if self.verbose:
            loss = np.nanmin(totals) / max(1, len(order))
            self._report(f"{stream.completed} samples", "smallest mean loss", loss, time.perf_counter() - start)

    def _check_losses(self, stream, order, targets, weights, task):
        """One target with an infinite loss would leave no mean losses to choose by, for good."""
        margins = np.zeros((len(order), stream.shape[1]))
        loss = stream.loss(margins, targets[order], weights, task)
        if not loss <= LARGEST_LOSS:
            raise ValueError(
                f"y: expected targets with a mean loss up to {LARGEST_LOSS:g} at a zero margin, got {loss}"
            )

    def _required_memory(self, features, columns, dtype):
        count = strengths_of(self.alphas, np.atleast_1d(self.l1_ratio)).size
        return required_memory(features, columns, count, np.dtype(dtype), self.optimizer)

    # Results

    @property
    def alpha_(self):
        """The chosen strength."""
        return self._fitted("alpha_").strength[0]

    @property
    def l1_ratio_(self):
        """The chosen share of L1."""
        return self._fitted("l1_ratio_").strength[1]

    @property
    def alphas_(self):
        """The strengths, strongest first: (S,), or (R, S) for a list of R shares of L1."""
        return self._by_ratio(self._fitted("alphas_").alphas)

    @property
    def loss_path_(self):
        """The mean losses on the test part of each fold, (S, folds) or (R, S, folds); after fit."""
        scores = self._fitted("loss_path_").scores
        if scores is None:
            raise AttributeError(f"{type(self).__name__} has no loss_path_ after partial_fit, which has no folds")
        return self._by_ratio(scores)

    @property
    def mean_loss_path_(self):
        """The mean loss at each strength: over the folds, or over the samples of a stream before they are learnt."""
        return self._by_ratio(self._fitted("mean_loss_path_").means)

    @property
    def standard_error_path_(self):
        """The standard errors of these means; NaN for a single fold."""
        return self._by_ratio(self._fitted("standard_error_path_").errors)

    @property
    def progressive_loss_(self):
        """The mean loss at each strength over a stream, of each sample before it is learnt; after partial_fit."""
        self._check_progressive("progressive_loss_")
        return self.mean_loss_path_

    @property
    def progressive_standard_error_(self):
        """The standard errors of these means, not those of differences between strengths."""
        self._check_progressive("progressive_standard_error_")
        return self.standard_error_path_

    def _check_progressive(self, name):
        if self._fitted(name).scores is not None:
            raise AttributeError(f"{type(self).__name__} has no {name} after fit; see mean_loss_path_")

    def _by_ratio(self, array):
        return array.copy() if np.ndim(self.l1_ratio) else array[0].copy()

    def _weights_path(self, name):
        found = self._fitted(name)
        if self._progress is not None:
            return self._progress.weights(found.ratio)
        if self._path is None:
            raise AttributeError(f"{type(self).__name__} from a file of a sparsified stream has no {name}")
        return self._path

    @property
    def coef_path_(self):
        """The weights at each strength of the chosen share of L1, of shape ``(S, *coef_.shape)``.

        After :meth:`sparsify` a CSR matrix (S·classes, features).
        """
        coef, intercepts = self._weights_path("coef_path_")
        if self._is_sparse:
            return coef.copy()
        dense = coef.toarray().reshape(*intercepts.shape, -1)
        return np.array([self._coef_shape(w) for w in dense])

    @property
    def intercept_path_(self):
        """The intercepts at these strengths, of shape ``(S, *intercept_.shape)``."""
        return self._weights_path("intercept_path_").intercepts.copy()

    @property
    def nonzero_path_(self):
        """How many weights are not zero at these strengths, (S,)."""
        return self._weights_path("nonzero_path_").nonzeros()

    @property
    def path_(self):
        """A dict of arrays (S,), for the chosen share of L1: ``pandas.DataFrame(model.path_)`` is a table of it."""
        found = self._fitted("path_")
        return {
            "alpha": found.alphas[found.ratio].copy(),
            "l1_ratio": np.full(found.alphas.shape[1], found.strength[1]),
            "mean_loss": found.means[found.ratio].copy(),
            "standard_error": found.errors[found.ratio].copy(),
            "nonzeros": self.nonzero_path_,
        }

    def plot_path(self, ax=None):
        """Draw mean loss, weights and their number over the strengths; needs matplotlib.

        The mean loss has a band of one standard error on both sides. Vertical lines mark the strength of the smallest
        mean loss, and the strongest one within one standard error; the chosen one is solid.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            For the losses; the number of weights goes to a second axis of it. By default there is a new figure, with
            the weights in a second panel.

        Returns
        -------
        ax : matplotlib Axes
            That of the losses.

        Examples
        --------
        >>> import matplotlib
        >>> from sklearn.datasets import load_diabetes
        >>> from fastreg.linear import StreamingRegressorCV
        >>> matplotlib.use("agg")  # for this example: no window
        >>> model = StreamingRegressorCV(alphas=[1.0, 0.1, 0.01]).fit(*load_diabetes(return_X_y=True))
        >>> model.plot_path().get_ylabel()
        'loss'
        """
        from fastreg.linear.path_plot import draw

        return draw(self._fitted("plot_path"), self._weights_path("plot_path"), ax)
