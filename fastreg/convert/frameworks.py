"""Strengths of PyTorch, Keras and TensorFlow."""

from fastreg.convert.checks import checked, number
from fastreg.convert.strengths import Strengths


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
    >>> from fastreg.convert import from_torch
    >>> from_torch(weight_decay=0.01)
    Strengths(l1=0.0, l2=0.01)
    """
    return checked(Strengths(0.0, number(weight_decay, "weight_decay")))


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
    >>> from fastreg.convert import from_keras
    >>> from_keras(l1=0.01, l2=0.02)
    Strengths(l1=0.01, l2=0.04)
    """
    return checked(Strengths(number(l1, "l1"), 2 * number(l2, "l2")))


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
    >>> from fastreg.convert import from_keras_ftrl
    >>> from_keras_ftrl(l1_regularization_strength=0.01, l2_regularization_strength=0.02)
    Strengths(l1=0.01, l2=0.04)
    """
    l1, l2 = l1_regularization_strength, l2_regularization_strength
    return checked(Strengths(number(l1, "l1_regularization_strength"), 2 * number(l2, "l2_regularization_strength")))
