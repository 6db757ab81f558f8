"""Layer 5, clipping of gradients by their global norm."""

from fastreg._boundary import functions
from fastreg.optimizers.params import leaves
from fastreg.optimizers.settings import number


def clip_grad_norm(grads, max_norm):
    """Scale gradients in place so that their common 2-norm is at most `max_norm`.

    Parameters
    ----------
    grads : array, sequence, mapping or nested combination of them
        Gradients, float32, float64 or bfloat16, writable and C or Fortran contiguous. No two may share memory. None is
        skipped.
    max_norm : float
        Not negative. Infinity leaves finite gradients as they are.

    Returns
    -------
    float
        The norm before clipping. It is accumulated in float64 in a fixed order, and has the same bits on every machine.

    Raises
    ------
    TypeError, ValueError
        As the update functions, before anything is written.

    Notes
    -----
    The rule is that of :func:`torch.nn.utils.clip_grad_norm_`: gradients are multiplied by min(1, max_norm/(norm +
    1e-6)). A NaN in one of them therefore makes all of them NaN, and an infinite norm multiplies all of them by 0.

    References
    ----------
    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> grads = [np.array([3.0, 0.0]), np.array([4.0])]
    >>> fastreg.clip_grad_norm(grads, 1.0)
    5.0
    >>> grads[0].round(3), grads[1].round(3)
    (array([0.6, 0. ]), array([0.8]))
    """
    max_norm = number("max_norm", max_norm)
    found = leaves(grads)
    return functions.clip_grad_norm([name for name, _ in found], [x for _, x in found], max_norm)
