"""Losses and their slopes, observed through the output of verbose and the change of the intercept."""

import re

import numpy as np
import pytest
from linear_cases import LOSSES, PARAMETERS, SLOPES, is_classifier, make
from sklearn.linear_model import SGDClassifier, SGDRegressor

from fastreg._boundary.linear import mean_loss
from fastreg.reference.losses import LOG_LINK, largest_curvature
from fastreg.reference.losses import LOSSES as REFERENCE_LOSSES
from fastreg.reference.losses import loss as formula

ORDINARY = np.concatenate([[-30, -5, -1 - 1e-9, -1, -1 + 1e-9, 0, 0.1, 0.1 + 1e-9], np.linspace(-3, 3, 25)])
LARGE = np.array([-1e300, -1e10, -800, -709, -40, 40, 709, 800, 1e10, 1e300])


TARGETS = {"cross_entropy": (0.3, 1.0), "gamma": (0.5, 2.0)} | dict.fromkeys(("poisson", "tweedie"), (0.0, 2.0))


def one_column(loss):
    return "log_loss" if loss == "multinomial" else loss


def limited(loss, margin, y, slope=None):
    """The slope; with log link, that of a step that does not go beyond the minimum of the loss of its own sample."""
    if loss not in LOG_LINK:
        return SLOPES[one_column(loss)](margin, y) if slope is None else slope
    own = SLOPES[loss](margin, y) if slope is None else slope
    return own / max(1.0, largest_curvature(loss, PARAMETERS[loss], margin, y))


class Probe:
    """Loss and slope of one sample at a given margin, which is set as the intercept of a model."""

    def __init__(self, loss):
        self.loss = loss
        self.model = make(loss, "sgd", alpha=0.0, learning_rate="constant", eta0=1.0, verbose=1)

    def __call__(self, margin, y, capsys):
        """The loss to 6 digits, and the slope: the intercept decreases by it in a step with learning rate 1."""
        known = {"classes": [-1, 1]} if is_classifier(self.loss) else {}
        vars(self.model).pop("_stream", None)
        self.model.partial_fit([[0.0]], [y], sample_weight=[0.0], **known)  # creates the stream
        capsys.readouterr()
        intercept = self.model._stream.learner.intercept[0]
        start = np.log(y) if self.loss in LOG_LINK and y > 0 else 0.0  # added to the intercept
        intercept[:] = margin - start
        self.model.partial_fit([[0.0]], [y])
        reported = re.search(r"mean loss (\S+),", capsys.readouterr().out)[1]
        return float(reported), margin - start - intercept[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_slopes_equal_the_formulas(loss, capsys):
    probe = Probe(loss)
    for y in TARGETS.get(loss, (-1.0, 1.0)):
        for margin in ORDINARY:
            value, slope = probe(margin, y, capsys)
            np.testing.assert_allclose(
                value, formula(one_column(loss), PARAMETERS[loss], margin, y), rtol=1e-5, atol=1e-15
            )
            np.testing.assert_allclose(slope, limited(loss, margin, y), rtol=1e-12, atol=2e-15 * max(1, abs(margin)))


@pytest.mark.parametrize("loss", LOSSES)
def test_slopes_are_derivatives(loss, capsys):
    probe, h = Probe(loss), 1e-6
    for y in TARGETS.get(loss, (-1.0, 1.0)):
        for margin in np.linspace(-3.03, 3.01, 13):
            z = np.array([-h, h]) + margin
            expected = np.diff(formula(one_column(loss), PARAMETERS[loss], z, y))[0] / (2 * h)
            expected = limited(loss, margin, y, expected)
            np.testing.assert_allclose(probe(margin, y, capsys)[1], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
def test_large_margins(loss, capsys):
    """Exponentials do not overflow; a square that overflows is an error, and so is NaN."""
    probe = Probe(loss)
    for y in TARGETS.get(loss, (-1.0, 1.0)):
        for margin in LARGE:
            expected = formula(one_column(loss), PARAMETERS[loss], margin, y)
            if not np.isfinite(expected):
                with pytest.raises(ValueError, match=r"^eta0: expected a learning rate small enough"):
                    probe(margin, y, capsys)
                continue
            value, slope = probe(margin, y, capsys)
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-15)
            tolerance = 1e-15 * abs(margin)  # rounding of the intercept
            np.testing.assert_allclose(slope, limited(loss, margin, y), rtol=1e-12, atol=tolerance)
        for margin in (np.nan, -y * np.inf):
            with pytest.raises(ValueError, match=r"^eta0: expected a learning rate small enough"):
                probe(margin, y, capsys)


def test_log_loss_is_accurate():
    """Its exponential and its logarithm are fastreg's own: 2 units in the last place, and 2 of the expected value."""
    sizes = np.concatenate([np.linspace(0, 40, 801), np.geomspace(1e-20, 700, 200)])
    code = list(REFERENCE_LOSSES).index("log_loss")
    for z in np.concatenate([sizes, -sizes]):
        expected = np.logaddexp(np.longdouble(0), -np.longdouble(z))
        own = mean_loss(np.array([[z]]), np.ones(1), None, code, 0.0)
        assert abs(own - expected) <= 4 * np.spacing(float(expected)), z
    for z, expected in ((1e300, 0.0), (np.inf, 0.0), (-1e300, 1e300), (-np.inf, np.inf), (np.nan, np.nan)):
        np.testing.assert_equal(mean_loss(np.array([[z]]), np.ones(1), None, code, 0.0), expected)


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "modified_huber", "squared_error", "huber"])
def test_steps_equal_those_of_scikit_learn(loss):
    """Without a penalty; both define the squared error as r²/2."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 6))
    y = x[:, 0] - x[:, 1] if not is_classifier(loss) else np.where(x[:, 0] > x[:, 1], 1, 0)
    kind = SGDClassifier if is_classifier(loss) else SGDRegressor
    common = {"alpha": 0.0, "learning_rate": "constant", "eta0": 0.02, "shuffle": False, "max_iter": 3, "tol": None}
    theirs = kind(loss, penalty=None, epsilon=0.1, **common).fit(x, y)
    ours = make(loss, "sgd", **common).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-10)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-10)
