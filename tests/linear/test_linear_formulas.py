"""The formulas of the losses and their derivatives in reference/losses.py, compared with scikit-learn's."""

from math import inf

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn._loss import HalfBinomialLoss, HalfGammaLoss, HalfPoissonLoss, HalfTweedieLoss, PinballLoss

from fastreg.reference.losses import LOG_LINK, LOSSES, curvature, largest_curvature, loss, raised, slope

CASES = [  # of each loss, its parameters, the targets to try, and scikit-learn's
    ("poisson", 0.0, (0.0, 0.7, 3.0), HalfPoissonLoss()),
    ("gamma", 0.0, (0.2, 3.0), HalfGammaLoss()),
    ("tweedie", 0.0, (-1.0, 0.0, 2.0), HalfTweedieLoss(power=0)),
    ("tweedie", 1.3, (0.0, 2.0), HalfTweedieLoss(power=1.3)),
    ("tweedie", 1.9, (0.0, 2.0), HalfTweedieLoss(power=1.9)),
    ("tweedie", 3.0, (0.5, 2.0), HalfTweedieLoss(power=3)),
    ("quantile", 0.2, (-1.0, 1.5), PinballLoss(quantile=0.2)),
    ("cross_entropy", 0.0, (0.0, 0.3, 1.0), HalfBinomialLoss()),
]
IDS = [f"{name}-{p}" for name, p, _, _ in CASES]
MARGINS = np.linspace(-4.03, 4.01, 60)


@pytest.mark.parametrize(("name", "p", "targets", "theirs"), CASES, ids=IDS)
def test_formulas_are_those_of_scikit_learn(name, p, targets, theirs):
    """Up to a number that depends on y only. For a power of 0 or 3, the curvature is that of Fisher scoring."""
    for y in targets:
        ys = np.full(len(MARGINS), y)
        difference = loss(name, p, MARGINS, y) - theirs.loss(ys, MARGINS)
        np.testing.assert_allclose(difference, difference[0], atol=1e-9)
        if name == "quantile":
            np.testing.assert_allclose(slope(name, p, MARGINS, y), theirs.gradient(ys, MARGINS))
            continue
        gradient, hessian = theirs.gradient_hessian(ys, MARGINS)
        np.testing.assert_allclose(slope(name, p, MARGINS, y), gradient, atol=1e-12)
        if name != "tweedie" or 1 <= p <= 2:
            np.testing.assert_allclose(curvature(name, p, MARGINS, y), hessian, atol=1e-12)
        else:
            expected = curvature(name, p, MARGINS, np.exp(MARGINS))
            np.testing.assert_allclose(curvature(name, p, MARGINS, y), expected)
            assert (curvature(name, p, MARGINS, y) > 0).all()


CURVED = [(name, 0.7) for name in LOSSES if name not in ("tweedie", "multinomial")]
CURVED += [("tweedie", 1.2), ("tweedie", 1.8)]


@pytest.mark.parametrize("width", [0.0, 0.6])
@pytest.mark.parametrize(("name", "p"), CURVED)
def test_slopes_and_curvatures_are_derivatives(name, p, width):
    h = 1e-6
    for y in (0.4, 1.0) if name in (*LOG_LINK, "cross_entropy") else (-1.0, 1.0):
        for f, derivative in ((loss, slope), (slope, curvature)):
            near = (f(name, p, MARGINS + s, y, width) for s in (h, -h))
            expected = np.subtract(*near) / (2 * h)
            np.testing.assert_allclose(derivative(name, p, MARGINS, y, width), expected, rtol=1e-5, atol=1e-7)


def test_derivatives_of_multinomial_are_those_of_the_softmax():
    """By the margin of each class; the margins less the logarithm of their sum are the arguments."""
    margins, own, h = np.array([0.3, -1.2, 2.0]), np.array([-1, 1, -1]), 1e-5

    def total(change):
        return loss("multinomial", 0.0, log_softmax(margins + change), own).sum()

    logarithms = log_softmax(margins)
    for k, e in enumerate(np.eye(3)):
        np.testing.assert_allclose(
            slope("multinomial", 0.0, logarithms, own)[k], (total(h * e) - total(-h * e)) / (2 * h), rtol=1e-8
        )
        second = (total(h * e) - 2 * total(0 * e) + total(-h * e)) / h**2
        np.testing.assert_allclose(curvature("multinomial", 0.0, logarithms, own)[k], second, rtol=1e-3)


@pytest.mark.parametrize("name", ["hinge", "quantile"])
def test_smoothing_replaces_the_corner(name):
    margins = np.linspace(-3, 3, 601)
    exact, smooth = loss(name, 0.3, margins, 1.0), loss(name, 0.3, margins, 1.0, 0.5)
    assert 0 < (smooth - exact).max() <= 0.5 / 8 + 1e-15
    assert (smooth >= exact - 1e-15).all()
    np.testing.assert_allclose(smooth[np.abs(margins - 1) > 0.26], exact[np.abs(margins - 1) > 0.26], atol=1e-15)


@pytest.mark.parametrize(("name", "p"), [("huber", 0.3), *((n, p) for n, p, _, _ in CASES if LOSSES[n] == inf)])
def test_steps_do_not_go_beyond_the_minimum(name, p):
    """Neither with a power of 0 or 3, where the loss is not convex."""
    for y in (0.01, 1.0, 30.0):
        best = y if name in ("quantile", "huber") else np.log(y)
        margins = best + np.linspace(-20, 20, 400)
        after = margins - slope(name, p, margins, y) / largest_curvature(name, p, margins, y)
        assert ((after - best) * (margins - best) >= -1e-9).all()
        assert (np.abs(after - best) < np.abs(margins - best)).mean() > (
            0.95 if 1 <= p <= 2 or p in (0.2, 0.3) else 0.4
        )


def test_raised_margins():
    margins = np.array([-9.0, -1.0, 2.0])
    for name in ("gamma", "tweedie"):
        np.testing.assert_allclose(raised(name, 1.5, margins, 3.0, 4.0), np.maximum(margins, np.log(3 / 4)))
    np.testing.assert_array_equal(raised("tweedie", 1.5, margins, 0.0, 4.0), margins)
    np.testing.assert_array_equal(raised("tweedie", 0.0, margins, 3.0, 4.0), margins)
    np.testing.assert_array_equal(raised("poisson", 0.0, margins, 3.0, 4.0), margins)
