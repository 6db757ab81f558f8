"""Layer 5, cross-validation: the losses of all strengths on the folds, and the path on all samples.

The folds are made once, so that all strengths are compared on the same samples. One path for each fold and share of L1:
see paths.py.
"""

from itertools import repeat
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import check_cv

from fastreg._boundary.linear import mean_loss
from fastreg.linear.choice import choice_of, weights_of
from fastreg.linear.gram import Reduced, moments_of_folds, pays, reduced
from fastreg.linear.labels import short
from fastreg.linear.newton import Objective, products
from fastreg.linear.paths import Path, Solution, feature_sizes, gradient, null_model
from fastreg.path import alpha_max, grid
from fastreg.reference.losses import LOSSES

LEAST_RATIO = 1e-3  # share of L1 that gives alpha_max for smaller ones, too, as in glmnet
IN_FOLDS = 100.0  # times the tolerance of fit: the losses on the test parts are as good as with less
ROUNDING = 1e-10  # relative, of derivatives: the first strength of a grid leaves nothing
NOTHING = 1e-15  # alpha_max where no feature has a gradient, as with a constant target


class Part(NamedTuple):
    """Samples of a set of data; `weights` are not None."""

    x: object
    targets: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray | None

    def of(self, rows):
        """These samples alone."""
        offsets = None if self.offsets is None else self.offsets[rows]
        return Part(self.x[rows], self.targets[rows], self.weights[rows], offsets)


class Problem(NamedTuple):
    """The arguments of a Path through the solutions for some samples."""

    objective: Objective
    start: Solution
    reference: float
    widths: list
    tol: float
    samples: Reduced | None = None  # what the objective is of, if not of the samples themselves


def rows_of(given, count):
    """Indices or a mask as indices of so many samples."""
    rows = np.asarray(given)
    try:
        return np.arange(count)[rows if rows.size else []]
    except IndexError as error:
        raise ValueError(f"cv: expected indices of {count} samples, got {short(given)}; {error}") from None


def folds_of(cv, count, targets, groups, is_classifier):
    """Pairs of indices, of the training and the test samples."""
    splitter = check_cv(cv, targets, classifier=is_classifier)
    folds = []
    for k, pair in enumerate(splitter.split(np.zeros(count), targets, groups)):
        train, test = (rows_of(rows, count) for rows in pair)
        if not (len(train) and len(test)):
            raise ValueError(f"cv: expected training and test samples in each fold, got none in fold {k}")
        folds.append((train, test))
    if not folds:
        raise ValueError("cv: expected at least one fold, got none")
    return folds


class Search:
    """The search for the strength of a model of StreamingBase.

    Parameters
    ----------
    model : estimator
        With a new `_stream`.
    whole : Part
        All samples.
    columns : int
    """

    def __init__(self, model, whole, columns):
        self.model, self.whole, self.columns = model, whole, columns
        name, self.parameter = model._loss_of_margins()
        self.code = list(LOSSES).index(name)
        self.unfinished = 0  # strengths at which a path has stopped at max_iter

    def problem(self, part, accuracy=1.0, samples=None):
        """The Problem of these samples, with this times the tolerance of `fit`; they may stand in for others."""
        model, has_intercept = self.model, self.model.fit_intercept and samples is None
        constants = model._constants(*part[1:], self.columns) if has_intercept else [np.zeros(self.columns)]
        shares = part.weights / part.weights.sum()
        objective = model._objective(*part[:2], shares, part.offsets, (0.0, 0.0, 0.0), has_intercept)
        reference, constant = model._best_constant(objective, constants)
        widths, tol = model._widths(reference)
        if not widths:  # a loss with a corner that a constant makes zero: no strength has anything to add
            zeros = np.zeros((objective.x.shape[1], len(constant)))
            return Problem(objective, Solution(zeros, constant, 0, True), reference, widths, tol)
        tol *= accuracy if len(widths) == 1 else 1  # that of losses with corners is rough as it is
        smooth = objective.smoothed(widths[-1])
        start = null_model(smooth, constant, reference, tol, model.max_iter)
        return Problem(smooth, start, reference, widths, tol, samples)

    def moments(self, folds):
        """The Moments of all samples, and of each training part; None where they do not help."""
        if self.model._loss_of_margins()[0] == "squared_error" and pays(self.whole.x, folds):
            return moments_of_folds(self.whole, folds, self.model.fit_intercept)
        return None, repeat(None)

    def reduced_problem(self, moments, accuracy=1.0):
        """The Problem of samples with these Moments; None if there is none."""
        samples = None if moments is None else reduced(moments)
        if samples is None:
            return None
        part = Part(samples.x, samples.targets, np.ones(len(samples.x)), None)
        return self.problem(part, accuracy, samples)

    def training_problem(self, train, moments, where):
        """The Problem of a training part."""
        self.model._check_some_weight(self.whole.weights[train], where)
        own = self.reduced_problem(moments, IN_FOLDS)
        if own is None:
            part = self.whole.of(train)
            self.model._check_training_part(part, where)
            own = self.problem(part, IN_FOLDS)
        return own

    def alphas(self, problem, ratio):
        """The strengths to try, strongest first."""
        model = self.model
        if not isinstance(model.alphas, int | np.integer):
            return np.unique(np.asarray(model.alphas, float))[::-1]
        objective, start, _, widths, *_ = problem
        if not widths:
            return grid(NOTHING, model.alphas, model.eps)
        slopes = gradient(objective, *start[:2])
        sizes = feature_sizes(slopes, objective.penalty, model._is_grouped(model._stream))
        largest = alpha_max(sizes, max(float(ratio), LEAST_RATIO), objective.penalty.factors)
        return grid(largest * (1 + ROUNDING) or NOTHING, model.alphas, model.eps)

    def solutions(self, problem, alphas, ratio):
        """The Solution at each strength."""
        path = Path(*problem[:-1], self.model.max_iter)
        for alpha in alphas:
            solution = path.to(self.model._strengths(self.model._stream, (alpha, ratio)))
            self.unfinished += not solution.converged
            yield solution if problem.samples is None else problem.samples.solution(solution)

    def improved(self, problem, solution, alpha, ratio):
        """The Solution for all samples from that for the reduced ones, in which rounding is larger."""
        self.unfinished -= not solution.converged
        (found,) = self.solutions(problem._replace(start=solution), [alpha], ratio)
        return found

    def choose(self, folds):
        """The Choice, the chosen solution on all samples, and the Weights at all strengths of its share of L1."""
        model, weighted = self.model, (self.whole.weights != self.whole.weights[0]).any()
        problem, ratios = self.problem(self.whole), np.atleast_1d(np.asarray(model.l1_ratio, float))
        moments, of_training = self.moments(folds)
        quick = self.reduced_problem(moments) or problem
        alphas = np.array([self.alphas(problem, ratio) for ratio in ratios])
        scores = np.empty((*alphas.shape, len(folds)))
        for k, ((train, test), own_moments) in enumerate(zip(folds, of_training)):
            own = self.training_problem(train, own_moments, f" in the training part of fold {k}")
            judged = self.whole.of(test)
            model._check_some_weight(judged.weights, f" in the test part of fold {k}")
            for r, ratio in enumerate(ratios):
                for s, solution in enumerate(self.solutions(own, alphas[r], ratio)):
                    scores[r, s, k] = self.loss(judged, solution)
        fold_weights = np.array([self.whole.weights[test].sum() for _, test in folds]) if weighted else None
        choice = choice_of(ratios, alphas, scores, model.rule, fold_weights)
        chosen, (alpha, ratio) = [], choice.strength

        def pairs():
            for s, solution in enumerate(self.solutions(quick, alphas[choice.ratio], ratio)):
                if s == choice.chosen:
                    solution = solution if quick is problem else self.improved(problem, solution, alpha, ratio)
                    chosen.append(solution)
                yield solution.w.T, solution.b

        path = weights_of(pairs(), model._stream.dtype)
        return choice, chosen[0], path

    def loss(self, part, solution):
        """The mean loss of these samples."""
        margins = products(part.x, *solution[:2])
        if part.offsets is not None:
            margins += part.offsets[:, np.newaxis]
        return mean_loss(margins, part.targets, part.weights, self.code, self.parameter)
