"""Layer 5, clipping: the global norm of many gradients."""

from fastreg._boundary import functions
from fastreg.optimizers.params import leaves
from fastreg.optimizers.settings import number


def clip_grad_norm(grads, max_norm):
    """Scale gradients in place so that their common 2-norm is at most `max_norm`.

    Parameters
    ----------
    grads : array, sequence, mapping or nested combination of them
        Gradients, float32, float64 or bfloat16, writable, contiguous in C or Fortran order, no two with memory in
        common; None is passed over.
    max_norm : float
        Not negative; infinity leaves finite gradients as they are.

    Returns
    -------
    float
        The norm before, accumulated in float64 in a fixed order: the same bits on every machine.

    Raises
    ------
    TypeError, ValueError
        As the update functions, before anything is written.

    Notes
    -----
    As torch.nn.utils.clip_grad_norm_: the gradients are multiplied by min(1, max_norm/(norm + 1e-6)), hence by NaN
    where one of them is a NaN, and by 0 where the norm is infinite.
    """
    max_norm = number("max_norm", max_norm)
    found = leaves(grads)
    return functions.clip_grad_norm([name for name, _ in found], [x for _, x in found], max_norm)
