"""Layer 5: strengths of other libraries in the one convention of this package, l1·‖w‖₁ + l2/2·‖w‖₂².

The penalty is added to the mean loss, and its gradient is l1·sign(w) + l2·w. Libraries differ from that in three
places: whether L2 carries the ½, whether the losses are averaged or summed, and whether the squared loss carries a ½;
each function says where its library stands. Why plain numbers come back, not optimizers: the same two numbers serve
every update, mode and optimizer here. Why one function for each convention and not one with a library's name as
argument: the arguments keep the names they have there. Standard library only.
"""

from math import inf, isfinite
from numbers import Real
from typing import NamedTuple

__all__ = [
    "Strengths", "from_glmnet", "from_keras", "from_keras_ftrl", "from_sklearn", "from_sklearn_c", "from_sklearn_ridge",
    "from_torch", "from_vowpal_wabbit",
]  # fmt: skip


NOT_NEGATIVE = ("a finite number, not negative", lambda x: 0 <= x < inf)
POSITIVE = ("a positive, finite number", lambda x: 0 < x < inf)
UNBOUNDED = ("a positive number", lambda x: x > 0)
RATIO = ("a number in [0, 1]", lambda x: 0 <= x <= 1)


class Strengths(NamedTuple):
    """The strengths of the penalty l1·‖w‖₁ + l2/2·‖w‖₂²: what every function of this module returns.

    Unpack them, ``l1, l2 = from_sklearn(0.1, 0.5)``, or pass them by name, ``SGD(w, lr, **strengths._asdict())``.
    Out of range is a ValueError, not a number a TypeError; both name the argument.
    """

    l1: float
    l2: float

    def scaled(self, factor: float) -> "Strengths":
        """Both strengths times a factor: by the number of samples for a sum of losses (FTRL's), not their mean."""
        factor = _number(factor, "factor")
        return _strengths(self.l1 * factor, self.l2 * factor)


def from_sklearn(alpha: float, l1_ratio: float) -> Strengths:
    """scikit-learn's `alpha`: mean loss + alpha·(l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂²).

    Parameters
    ----------
    alpha : float
        As given to ElasticNet, Lasso, SGDClassifier, SGDRegressor, PoissonRegressor, GammaRegressor, TweedieRegressor;
        beside a squared loss of ½(y − p)². Not Ridge and the perceptrons: :func:`from_sklearn_ridge`.
    l1_ratio : float in [0, 1]
        1 for Lasso and ``penalty="l1"``, 0 for ``penalty="l2"`` (the default of SGD*, which ignore their l1_ratio then)
        and the three generalised linear models. No default here, because theirs differ.

    References
    ----------
    scikit-learn user guide, "Elastic-Net" and "Stochastic Gradient Descent: Mathematical formulation".
    """
    alpha, l1_ratio = _number(alpha, "alpha"), _number(l1_ratio, "l1_ratio", RATIO)
    return _strengths(alpha * l1_ratio, alpha * (1 - l1_ratio))


def from_sklearn_ridge(alpha: float, n_samples: float) -> Strengths:
    """scikit-learn's Ridge: ‖y − Xw‖₂² + alpha·‖w‖₂², which is 2n times mean ½(y − p)² + (alpha/n)/2·‖w‖₂².

    Parameters
    ----------
    alpha : float
        As given to Ridge or RidgeClassifier; MLPRegressor or MLPClassifier, with the batch size as `n_samples`.
    n_samples : float
        The number of samples, or the sum of their weights; 1 where your gradient is that of the sum ½‖y − Xw‖₂².

    References
    ----------
    scikit-learn user guide, "Ridge regression and classification"; `_multilayer_perceptron.py`, _compute_loss_grad.
    """
    return _strengths(0.0, _number(alpha, "alpha") / _number(n_samples, "n_samples", POSITIVE))


def from_sklearn_c(C: float, n_samples: float, l1_ratio: float = 0.0) -> Strengths:  # noqa: N803, scikit-learn's name
    """scikit-learn's `C`: C·Σ loss + l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂², which is C·n times mean loss + penalty.

    Parameters
    ----------
    C : float
        As given to LogisticRegression, LinearSVC or LinearSVR; infinity means no penalty.
    n_samples : float
        The number of samples, or the sum of their weights; 1 where your gradient is that of the summed loss.
    l1_ratio : float in [0, 1]
        As given to LogisticRegression from scikit-learn 1.8 on; before, 1 for ``penalty="l1"`` and 0 for "l2".
        LinearSVC and LinearSVR take a penalty still, and penalise their intercept too.

    References
    ----------
    scikit-learn user guide, "Logistic regression" and "Support Vector Machines: Mathematical formulation".
    """
    c, n = _number(C, "C", UNBOUNDED), _number(n_samples, "n_samples", POSITIVE)
    l1_ratio = _number(l1_ratio, "l1_ratio", RATIO)
    return _strengths(l1_ratio / c / n, (1 - l1_ratio) / c / n)


def from_torch(weight_decay: float) -> Strengths:
    """PyTorch's `weight_decay`: the gradient of E plus weight_decay·w, so E + weight_decay/2·‖w‖₂².

    Parameters
    ----------
    weight_decay : float
        As given to an optimizer of torch.optim. SGD, Adam, Adagrad and RMSprop add it to the gradient, which is
        ``mode="subgradient"`` here; AdamW takes w − lr·weight_decay·w beside the move, which is ``mode="decoupled"``,
        and so does the `weight_decay` of Keras optimizers.

    References
    ----------
    PyTorch documentation, torch.optim.SGD and torch.optim.AdamW.
    """
    return _strengths(0.0, _number(weight_decay, "weight_decay"))


def from_keras(l1: float = 0.0, l2: float = 0.0) -> Strengths:
    """Keras regularizers: loss + l1·Σ|w| + l2·Σw², without the ½, so that l2 doubles.

    Parameters
    ----------
    l1, l2 : float
        As given to keras.regularizers.L1, L2 or L1L2 (also tf.keras). Not the `weight_decay` of Keras optimizers,
        which is decoupled and has no 2: :func:`from_torch`.

    References
    ----------
    Keras documentation, keras.regularizers.L1L2.
    """
    return _strengths(_number(l1, "l1"), 2 * _number(l2, "l2"))


def from_keras_ftrl(l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0) -> Strengths:
    """The FTRL of Keras and TensorFlow: w = −S(z, l1)/((beta + √n)/lr + 2·l2), so that l2 doubles.

    For this package's FTRL only. There as here both are totals over the whole stream, added once, so that their effect
    fades as 1/t; for mean loss + penalty, take the strengths of that objective `scaled` by the samples seen.

    Parameters
    ----------
    l1_regularization_strength, l2_regularization_strength : float
        As given to keras.optimizers.Ftrl, tf.keras.optimizers.Ftrl or tf.raw_ops.ApplyFtrl (`l1`, `l2`). Their
        l2_shrinkage_regularization_strength s has no counterpart: add 2·s·w to the gradient.

    References
    ----------
    Keras, `keras/src/optimizers/ftrl.py`, `update_step`: the code has the 2, the formula in its documentation does not.
    """
    l1, l2 = l1_regularization_strength, l2_regularization_strength
    return _strengths(_number(l1, "l1_regularization_strength"), 2 * _number(l2, "l2_regularization_strength"))


def from_glmnet(lambda_: float, alpha: float = 1.0) -> Strengths:
    """glmnet for R: mean loss + lambda·((1 − alpha)/2·‖w‖₂² + alpha·‖w‖₁), the gaussian loss being ½(y − p)².

    Parameters
    ----------
    lambda_ : float
        One value of glmnet's `lambda`. It holds for the columns as glmnet sees them, standardised by default
        (``standardize=TRUE``), and family "gaussian" also standardises y: compare with a y of unit variance (1/n).
    alpha : float in [0, 1]
        glmnet's mixing parameter, 1 being the lasso: scikit-learn's l1_ratio, not its alpha.

    References
    ----------
    The manual page of glmnet::glmnet. J. Friedman, T. Hastie, R. Tibshirani, J. Stat. Softw. 33 (2010).
    """
    lambda_, alpha = _number(lambda_, "lambda_"), _number(alpha, "alpha", RATIO)
    return _strengths(lambda_ * alpha, lambda_ * (1 - alpha))


def from_vowpal_wabbit(l1: float = 0.0, l2: float = 0.0) -> Strengths:
    """Vowpal Wabbit's --l1 and --l2: loss of each example + l1·‖w‖₁ + l2/2·‖w‖₂², so both stay as they are.

    Its squared loss is (y − p)², without the ½: beside ½(y − p)² take half, ``.scaled(0.5)``. This holds

    - with --sgd, for one of the two: given together, the effect of --l1 fades (gd.cc: `gravity`, `contraction`);
    - with --ftrl, for this package's FTRL, totals over the stream as there;
    - with --bfgs, for the sum of the losses, so divide by their number, ``.scaled(1/n)``; --l1 is ignored.

    The default rates are each coordinate's own and the penalty ignores that: strengths tuned with them fit no
    objective. The constant is penalised too, unless --noconstant leaves it out.

    Parameters
    ----------
    l1, l2 : float
        As given to --l1 and --l2.

    References
    ----------
    Vowpal Wabbit, `gd.cc` (compute_update), `ftrl.cc` (inner_update_proximal), `bfgs.cc` (add_regularization).
    """
    return _strengths(_number(l1, "l1"), _number(l2, "l2"))


def _number(x, name, allowed=NOT_NEGATIVE):
    """x as a float; an array or tensor of no dimension is a number too, a longer one is not."""
    expected, fits = allowed
    number = x.item() if getattr(x, "ndim", None) == 0 else x
    if not isinstance(number, Real):
        raise TypeError(f"{name}: expected a real number, got {type(x).__name__} ({x!r})")
    try:
        value = float(number)
    except OverflowError:
        value = inf
    if not fits(value):
        raise ValueError(f"{name}: expected {expected}, got {x!r}")
    return value


def _strengths(l1, l2):
    """Strengths from good arguments, whose product or quotient can still overflow."""
    if not (isfinite(l1) and isfinite(l2)):
        raise ValueError(f"l1 and l2: expected strengths that a float can hold, got {l1!r} and {l2!r}")
    return Strengths(l1, l2)
