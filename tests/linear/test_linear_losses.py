"""Losses and their slopes, seen from outside: what verbose reports, and where the intercept goes."""

import re

import numpy as np
import pytest
from linear_cases import LOSSES, SLOPES, is_classifier, make
from sklearn.linear_model import SGDClassifier, SGDRegressor

ORDINARY = np.concatenate([[-30, -5, -1 - 1e-9, -1, -1 + 1e-9, 0, 0.1, 0.1 + 1e-9], np.linspace(-3, 3, 25)])
FAR = np.array([-1e300, -1e10, -800, -709, -40, 40, 709, 800, 1e10, 1e300])


def losses(loss, z):
    """Formulas that are exact anywhere; z is y·margin, or the error of a regression."""
    with np.errstate(over="ignore"):
        return {
            "log_loss": np.logaddexp(0, -z),
            "hinge": np.maximum(0, 1 - z),
            "squared_hinge": np.maximum(0, 1 - z) ** 2,
            "squared_error": z * z / 2,
            "huber": np.where(np.abs(z) <= 0.1, z * z / 2, 0.1 * (np.abs(z) - 0.05)),
        }[loss]


class Probe:
    """A model whose margin is set by hand: loss and slope of one sample, whatever it has learned."""

    def __init__(self, loss):
        self.loss = loss
        self.model = make(loss, "sgd", alpha=0.0, learning_rate="constant", eta0=1.0, verbose=1)

    def __call__(self, margin, y, capsys):
        """The loss, to 6 digits, and what one step of length 1 takes from the intercept."""
        known = {"classes": [-1, 1]} if is_classifier(self.loss) else {}
        vars(self.model).pop("_stream", None)
        self.model.partial_fit([[0.0]], [y], sample_weight=[0.0], **known)  # begins a stream
        capsys.readouterr()
        intercept = self.model._stream.learner.intercept[0]
        intercept[:] = margin
        self.model.partial_fit([[0.0]], [y])
        told = re.search(r"mean loss (\S+),", capsys.readouterr().out)[1]
        return float(told), margin - intercept[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_slopes_are_those_of_the_formulas(loss, capsys):
    probe = Probe(loss)
    for y in (-1.0, 1.0):
        for margin in ORDINARY:
            value, slope = probe(margin, y, capsys)
            z = y * margin if is_classifier(loss) else margin - y
            np.testing.assert_allclose(value, losses(loss, z), rtol=1e-5, atol=1e-15)
            np.testing.assert_allclose(slope, SLOPES[loss](margin, y), rtol=1e-12, atol=2e-15 * max(1, abs(margin)))


@pytest.mark.parametrize("loss", LOSSES)
def test_slopes_are_derivatives(loss, capsys):
    probe, h = Probe(loss), 1e-6
    for y in (-1.0, 1.0):
        for margin in np.linspace(-3.03, 3.01, 13):
            z = np.array([-h, h]) + margin
            up = np.diff(losses(loss, y * z if is_classifier(loss) else z - y))[0] / (2 * h)
            np.testing.assert_allclose(probe(margin, y, capsys)[1], up, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
def test_far_out(loss, capsys):
    """No overflow in the exponentials; squares that overflow are an error, and so is NaN."""
    probe = Probe(loss)
    for y in (-1.0, 1.0):
        for margin in FAR:
            z = y * margin if is_classifier(loss) else margin - y
            expected = losses(loss, z)
            if not np.isfinite(expected):
                with pytest.raises(ValueError, match=r"^eta0: expected a learning rate small enough"):
                    probe(margin, y, capsys)
                continue
            value, slope = probe(margin, y, capsys)
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-15)
            tolerance = 1e-15 * abs(margin)  # what the intercept can show of it
            np.testing.assert_allclose(slope, SLOPES[loss](margin, y), rtol=1e-12, atol=tolerance)
        for margin in (np.nan, -y * np.inf):
            with pytest.raises(ValueError, match=r"^eta0: expected a learning rate small enough"):
                probe(margin, y, capsys)


@pytest.mark.parametrize("loss", LOSSES)
def test_steps_are_those_of_scikit_learn(loss):
    """Without a penalty the two make the same steps, with the square of the error halved by both."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 6))
    y = x[:, 0] - x[:, 1] if not is_classifier(loss) else np.where(x[:, 0] > x[:, 1], 1, 0)
    kind = SGDClassifier if is_classifier(loss) else SGDRegressor
    common = {"alpha": 0.0, "learning_rate": "constant", "eta0": 0.02, "shuffle": False, "max_iter": 3, "tol": None}
    theirs = kind(loss, penalty=None, epsilon=0.1, **common).fit(x, y)
    ours = make(loss, "sgd", **common).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-10)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-10)
