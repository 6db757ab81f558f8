"""The public values of penalties in plain NumPy, with the docstrings and signatures of the compiled ones."""

from fastreg.reference.groups import group_sum
from fastreg.reference.penalties import ElasticNet, penalty_with
from fastreg.reference.values import penalty_sum

inf = float("inf")


def l1_penalty(w, l1, *, gamma=inf):
    """The L1 penalty l1·‖w‖₁ of the weights, a float accumulated in float64.

    Parameters
    ----------
    w : ndarray or buffer, float32, float64 or bfloat16, any shape, contiguous in C or Fortran order
    l1 : float
        Strength: finite, not negative. Zero gives 0.0 whatever the weights.
    gamma : float, default inf
        Positive; where it is finite, the value of MCP (see :func:`elastic_net_update`).

    Returns
    -------
    float
        The same bits on every machine: the order of the additions is fixed.

    Raises
    ------
    TypeError, ValueError
        As :func:`l1_update`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> fastreg.l1_penalty(np.array([1.0, -2.0, 0.0]), 0.5)
    1.5
    """
    return penalty_sum(penalty_with(l1, 0.0, gamma), w)


def l2_penalty(w, l2):
    """The L2 penalty l2/2·‖w‖₂² of the weights, a float accumulated in float64.

    Parameters
    ----------
    w : ndarray or buffer, float32, float64 or bfloat16, any shape, contiguous in C or Fortran order
    l2 : float
        Strength: finite, not negative. Zero gives 0.0 whatever the weights.

    Returns
    -------
    float
        The same bits on every machine: the order of the additions is fixed.

    Raises
    ------
    TypeError, ValueError
        As :func:`l1_update`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> fastreg.l2_penalty(np.array([1.0, -2.0, 0.0]), 0.5)
    1.25
    """
    return penalty_sum(ElasticNet(0.0, l2), w)


def elastic_net_penalty(w, l1, l2, *, gamma=inf):
    """The elastic-net penalty l1·‖w‖₁ + l2/2·‖w‖₂² of the weights, a float accumulated in float64.

    Parameters
    ----------
    w : ndarray or buffer, float32, float64 or bfloat16, any shape, contiguous in C or Fortran order
    l1, l2 : float
        Strengths: finite, not negative. A strength of zero adds nothing, whatever the weights.
    gamma : float, default inf
        Positive; where it is finite, MCP takes the place of l1·‖w‖₁ (see :func:`elastic_net_update`).

    Returns
    -------
    float
        The same bits on every machine: the order of the additions is fixed.

    Raises
    ------
    TypeError, ValueError
        As :func:`l1_update`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> fastreg.elastic_net_penalty(np.array([1.0, -2.0, 0.0]), 0.5, 0.5)
    2.75
    """
    return penalty_sum(penalty_with(l1, l2, gamma), w)


def group_penalty(w, l1, l2, l21, group_axis):
    """The penalty l1·‖w‖₁ + l2/2·‖w‖₂² + l21·Σ‖group‖₂ of the weights, a float accumulated in float64.

    Parameters
    ----------
    w : ndarray or buffer, float32, float64 or bfloat16, any shape, contiguous in C or Fortran order
    l1, l2, l21 : float
        Strengths: finite, not negative. A strength of zero adds nothing, whatever the weights.
    group_axis : int or None
        The axis of which each index is a group; None: all weights are one group.

    Returns
    -------
    float
        The same bits on every machine: the order of the additions is fixed.

    Raises
    ------
    TypeError, ValueError
        As :func:`group_update`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> fastreg.group_penalty(np.array([[3.0, 4.0], [0.0, 0.0]]), 0.0, 0.0, 2.0, group_axis=0)
    10.0
    """
    value = elastic_net_penalty(w, l1, l2)
    return value + group_sum(l21, group_axis, w) if l21 != 0 else value
