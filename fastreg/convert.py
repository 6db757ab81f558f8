"""Layer 5: strengths of other libraries in the one convention of this package, l1·‖w‖₁ + l2/2·‖w‖₂².

Here the penalty is added to the mean loss, and its gradient is l1·sign(w) + l2·w. Libraries differ from this in three
places: whether L2 has the factor ½, whether the losses are averaged or summed, and whether the squared loss has the
factor ½. Each function says what its library does. The functions return numbers rather than optimizers, since the same
two numbers serve every update, mode and optimizer. There is one function for each convention, rather than one with the
name of a library as argument, so that the arguments keep the names that they have there. Standard library only.
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

    Attributes
    ----------
    l1, l2 : float
        Finite, not negative.

    Examples
    --------
    Unpack them, or pass them by name:

    >>> import numpy as np
    >>> import fastreg
    >>> strengths = fastreg.convert.from_sklearn(alpha=0.1, l1_ratio=0.75)
    >>> l1, l2 = strengths
    >>> optimizer = fastreg.SGD(np.ones(3), lr=0.01, **strengths._asdict())
    """

    l1: float
    l2: float

    def scaled(self, factor: float) -> "Strengths":
        """Both strengths times a factor, such as the number of samples where losses are summed, as in FTRL.

        Parameters
        ----------
        factor : float
            Finite, not negative.

        Returns
        -------
        Strengths

        Raises
        ------
        TypeError, ValueError
            If the factor is no number, or out of range.

        Examples
        --------
        >>> from fastreg.convert import Strengths
        >>> Strengths(l1=0.5, l2=0.25).scaled(100)
        Strengths(l1=50.0, l2=25.0)
        """
        factor = _number(factor, "factor")
        return _strengths(self.l1 * factor, self.l2 * factor)


def from_sklearn(alpha: float, l1_ratio: float) -> Strengths:
    """scikit-learn's `alpha`: mean loss + alpha·(l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂²).

    Parameters
    ----------
    alpha : float
        As given to ElasticNet, Lasso, SGDClassifier, SGDRegressor, PoissonRegressor, GammaRegressor, TweedieRegressor;
        their squared loss is ½(y − p)². For Ridge and the perceptrons use :func:`from_sklearn_ridge`.
    l1_ratio : float in [0, 1]
        1 for Lasso and ``penalty="l1"``. 0 for ``penalty="l2"``, the default of SGD*, which then ignore their l1_ratio,
        and for the three generalised linear models. There is no default here, because theirs differ.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    scikit-learn user guide, "Elastic-Net" and "Stochastic Gradient Descent: Mathematical formulation".

    Examples
    --------
    >>> from_sklearn(alpha=0.5, l1_ratio=0.75)
    Strengths(l1=0.375, l2=0.125)
    """
    alpha, l1_ratio = _number(alpha, "alpha"), _number(l1_ratio, "l1_ratio", RATIO)
    return _strengths(alpha * l1_ratio, alpha * (1 - l1_ratio))


def from_sklearn_ridge(alpha: float, n_samples: float) -> Strengths:
    """scikit-learn's Ridge: ‖y − Xw‖₂² + alpha·‖w‖₂², which is 2n times mean ½(y − p)² + (alpha/n)/2·‖w‖₂².

    Parameters
    ----------
    alpha : float
        As given to Ridge or RidgeClassifier, or, with the batch size as `n_samples`, to MLPRegressor or MLPClassifier.
    n_samples : float
        The number of samples, or the sum of their weights; 1 if your gradient is that of the sum ½‖y − Xw‖₂².

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    scikit-learn user guide, "Ridge regression and classification"; `_multilayer_perceptron.py`, _compute_loss_grad.

    Examples
    --------
    >>> from_sklearn_ridge(alpha=1.0, n_samples=50)
    Strengths(l1=0.0, l2=0.02)
    """
    return _strengths(0.0, _number(alpha, "alpha") / _number(n_samples, "n_samples", POSITIVE))


def from_sklearn_c(C: float, n_samples: float, l1_ratio: float = 0.0) -> Strengths:  # noqa: N803, scikit-learn's name
    """scikit-learn's `C`: C·Σ loss + l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖₂², which is C·n times mean loss + penalty.

    Parameters
    ----------
    C : float
        As given to LogisticRegression, LinearSVC or LinearSVR; infinity means no penalty.
    n_samples : float
        The number of samples, or the sum of their weights; 1 if your gradient is that of the summed loss.
    l1_ratio : float in [0, 1]
        As given to LogisticRegression from scikit-learn 1.8 on. For older versions, LinearSVC and LinearSVR: 1 for
        ``penalty="l1"``, 0 for "l2". The latter two penalise their intercept, too.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    scikit-learn user guide, "Logistic regression" and "Support Vector Machines: Mathematical formulation".

    Examples
    --------
    >>> from_sklearn_c(C=0.5, n_samples=100)
    Strengths(l1=0.0, l2=0.02)
    """
    c, n = _number(C, "C", UNBOUNDED), _number(n_samples, "n_samples", POSITIVE)
    l1_ratio = _number(l1_ratio, "l1_ratio", RATIO)
    return _strengths(l1_ratio / c / n, (1 - l1_ratio) / c / n)


def from_torch(weight_decay: float) -> Strengths:
    """PyTorch's `weight_decay`: the gradient of E plus weight_decay·w, so E + weight_decay/2·‖w‖₂².

    Parameters
    ----------
    weight_decay : float
        As given to an optimizer of torch.optim. SGD, Adam, Adagrad and RMSprop add its term to the gradient, which is
        ``mode="subgradient"`` here. AdamW and the `weight_decay` of Keras optimizers subtract lr·weight_decay·w beside
        the move, which is ``mode="decoupled"`` here.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    PyTorch documentation, torch.optim.SGD and torch.optim.AdamW.

    Examples
    --------
    >>> from_torch(weight_decay=0.01)
    Strengths(l1=0.0, l2=0.01)
    """
    return _strengths(0.0, _number(weight_decay, "weight_decay"))


def from_keras(l1: float = 0.0, l2: float = 0.0) -> Strengths:
    """Keras regularizers: loss + l1·Σ|w| + l2·Σw², without the factor ½, so l2 is doubled.

    Parameters
    ----------
    l1, l2 : float
        As given to keras.regularizers.L1, L2 or L1L2 (also tf.keras). The `weight_decay` of Keras optimizers is
        decoupled and not doubled: use :func:`from_torch`.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    Keras documentation, keras.regularizers.L1L2.

    Examples
    --------
    >>> from_keras(l1=0.01, l2=0.02)
    Strengths(l1=0.01, l2=0.04)
    """
    return _strengths(_number(l1, "l1"), 2 * _number(l2, "l2"))


def from_keras_ftrl(l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0) -> Strengths:
    """The FTRL of Keras and TensorFlow: w = −S(z, l1)/((beta + √n)/lr + 2·l2), so l2 is doubled.

    For FTRL only. In all three libraries the strengths are totals over the whole stream, added once, so that their
    effect fades as 1/t. For mean loss + penalty, scale the strengths of that objective by the number of samples so far.

    Parameters
    ----------
    l1_regularization_strength, l2_regularization_strength : float
        As given to keras.optimizers.Ftrl, tf.keras.optimizers.Ftrl or tf.raw_ops.ApplyFtrl (`l1`, `l2`). Their
        l2_shrinkage_regularization_strength s has no counterpart here: add 2·s·w to the gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    Keras, `keras/src/optimizers/ftrl.py`, `update_step`. The code has the 2, the formula in its documentation does not.

    Examples
    --------
    >>> from_keras_ftrl(l1_regularization_strength=0.01, l2_regularization_strength=0.02)
    Strengths(l1=0.01, l2=0.04)
    """
    l1, l2 = l1_regularization_strength, l2_regularization_strength
    return _strengths(_number(l1, "l1_regularization_strength"), 2 * _number(l2, "l2_regularization_strength"))


def from_glmnet(lambda_: float, alpha: float = 1.0) -> Strengths:
    """glmnet for R: mean loss + lambda·((1 − alpha)/2·‖w‖₂² + alpha·‖w‖₁), where the gaussian loss is ½(y − p)².

    Parameters
    ----------
    lambda_ : float
        One value of glmnet's `lambda`. By default (``standardize=TRUE``) it is for standardised columns. Family
        "gaussian" also standardises y: compare with a y of unit variance (with 1/n).
    alpha : float in [0, 1]
        glmnet's mixing parameter, 1 for the lasso. This is scikit-learn's l1_ratio, not its alpha.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    The manual page of glmnet::glmnet. J. Friedman, T. Hastie, R. Tibshirani, J. Stat. Softw. 33 (2010).

    Examples
    --------
    >>> from_glmnet(lambda_=0.5, alpha=0.75)
    Strengths(l1=0.375, l2=0.125)
    """
    lambda_, alpha = _number(lambda_, "lambda_"), _number(alpha, "alpha", RATIO)
    return _strengths(lambda_ * alpha, lambda_ * (1 - alpha))


def from_vowpal_wabbit(l1: float = 0.0, l2: float = 0.0) -> Strengths:
    """Vowpal Wabbit's --l1 and --l2: loss of each example + l1·‖w‖₁ + l2/2·‖w‖₂², so both remain unchanged.

    Its squared loss is (y − p)², without the factor ½. With ½(y − p)², halve them: ``.scaled(0.5)``. This holds

    - with --sgd, for one of the two. If both are given, the effect of --l1 fades (gd.cc: `gravity`, `contraction`);
    - with --ftrl, for :class:`fastreg.FTRL`, where they are totals over the stream, too;
    - with --bfgs, for the sum of the losses: divide by their number, ``.scaled(1/n)``. --l1 is ignored.

    By default each coordinate has its own learning rate, which the penalty ignores. Strengths that were tuned in this
    way belong to no objective. The constant is penalised, too, unless --noconstant leaves it out.

    Parameters
    ----------
    l1, l2 : float
        As given to --l1 and --l2.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of range. The message names the argument.

    References
    ----------
    Vowpal Wabbit, `gd.cc` (compute_update), `ftrl.cc` (inner_update_proximal), `bfgs.cc` (add_regularization).

    Examples
    --------
    >>> from_vowpal_wabbit(l1=0.5, l2=0.25).scaled(0.5)
    Strengths(l1=0.25, l2=0.125)
    """
    return _strengths(_number(l1, "l1"), _number(l2, "l2"))


def _number(x, name, allowed=NOT_NEGATIVE):
    """x as a float; an array or a tensor counts as a number only if it has no dimensions."""
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
    """Strengths from arguments that are in range; their product or quotient can still overflow."""
    if not (isfinite(l1) and isfinite(l2)):
        raise ValueError(f"l1 and l2: expected strengths that a float can hold, got {l1!r} and {l2!r}")
    return Strengths(l1, l2)
