"""Layer 5, lazy stochastic gradient descent."""

from math import inf

from fastreg import reference
from fastreg.lazy.base import LazyOptimizer
from fastreg.optimizers.settings import mode_name


class LazySGD(LazyOptimizer):
    """Gradient descent on sparse gradients with the penalty on all weights: the result of dense steps, in O(non-zeros).

    Parameters
    ----------
    w : ndarray or writable buffer, float32 or float64, shape (n,) or (rows, width)
        The weights, updated in place; 2-d in C order, for gradients of few rows (embeddings). Between steps, weights
        without a gradient are not up to date. Read :meth:`weights`, or call :meth:`flush`, which happens at the end of
        a ``with`` block, too.
    lr : float or callable
        Learning rate. A callable takes the number of completed steps and is called before each step. lr and the
        strengths may be set between steps; the result remains exact.
    l1, l2, l21 : float or callable, default 0.0
        Strengths of the penalty l1·‖w‖₁ + l2/2·‖w‖₂² + l21·Σ‖row‖₂. l21, the group lasso, sets whole rows to zero, as
        :class:`fastreg.SGD` with group_axis=0; a weight of a vector is a row. It needs the mode "proximal". Matrices
        cannot have it together with l1, which turns the direction of a row: then missed steps have no closed form. To
        go from one of the two to the other between steps, set the first to zero before the second: each change is
        checked with the present value of the other. When l21 becomes zero, or is no longer zero, all weights are
        brought up to date.
    gamma : float, default inf
        Positive. Finite: MCP in the place of l1·‖w‖₁, which does not shrink weights above gamma·l1: see
        :class:`fastreg.Optimizer`. It needs the mode "proximal", no bounds, l2 = 0 and lr < gamma: else the steps that
        a weight has missed have no closed form. When l1 changes, all weights are brought up to date. Fixed at
        construction.
    mode : {"proximal", "truncated"}
        As of :func:`fastreg.elastic_net_update`, with theta infinite; "truncated" needs lr·l2 < 1.
    bounds : pair (low, high) of numbers, default (-inf, inf)
        Each step ends by moving the weights into this interval, which must contain 0: a weight without a gradient moves
        towards zero and so stays inside. The first step brings all weights up to date if some of them lie outside. With
        l21 only bounds that are 0 or infinite.
    penalty_factor : float or array like w, optional
        Multiplies the strengths. An array may contain only 0 and 1 if l2 is not zero: other factors have no closed
        form. With l21, all weights of a row need the same factor.

    Attributes
    ----------
    w : ndarray
        The weights.
    lr, l1, l2, l21 : float or callable
        As given; may be set between steps.
    mode : str
        As given.
    state : dict
        Empty: all state of a row is the time of its last update.
    bounds : pair of float
        The interval in which the weights stay.
    penalty_factor : float or ndarray
        What multiplies the strengths: 1.0 without factors; an array is a copy.
    completed : int
        Completed steps.
    has_pending_penalty : bool
        Whether some weight in w is not up to date.

    Raises
    ------
    TypeError, ValueError
        As the update functions, before anything is written.

    Notes
    -----
    A weight with a gradient is first brought up to date, in one operation for all steps since its last one. What these
    steps have in common for all weights is kept in one clock, in float64 with a compensated sum. Each row stores the
    reading of the clock at its last update, in 16 bytes. The clock is rebased, with a pass over all weights, before it
    leaves the range of float64, about every 345/(lr·l2) steps, and before its total becomes so large that new terms are
    lost to rounding: about every 10⁶ steps, with MCP every 14·gamma/lr, or after a step with a very large lr·l1.

    References
    ----------
    Z. Lipton, C. Elkan, "Efficient elastic net regularization for sparse linear models" (2015), arXiv 1505.06449.
    J. Duchi, Y. Singer, "Efficient online and batch learning using forward backward splitting", JMLR 10 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> w = np.ones(4)
    >>> lazy = fastreg.LazySGD(w, lr=0.1, l1=0.5)
    >>> lazy.step(np.array([2]), np.array([1.0]))
    >>> w
    array([1.  , 1.  , 0.85, 1.  ])
    >>> lazy.weights()
    array([0.95, 0.95, 0.85, 0.95])
    >>> lazy.has_pending_penalty
    True
    >>> lazy.weights(np.array([3]))
    array([0.95])
    >>> lazy.flush()
    >>> w
    array([0.95, 0.95, 0.85, 0.95])

    Two steps in one call, as the rows of a CSR matrix, one with gradients of the weights 0 and 1, and one of 0:

    >>> data, indices, indptr = np.array([1.0, 1.0, 0.5]), np.array([0, 1, 0]), np.array([0, 2, 3])
    >>> lazy.step_csr(data, indices, indptr)
    >>> lazy.weights(), lazy.completed
    (array([0.7 , 0.75, 0.75, 0.85]), 3)
    """

    _direction = reference.Plain

    def __init__(
        self, w, lr, *, l1=0.0, l2=0.0, l21=0.0, gamma=inf, mode="proximal",
        bounds=(-inf, inf), penalty_factor=None,
    ):  # fmt: skip
        known = reference.LAZY_MODES_OF["Plain"]
        if mode_name("mode", mode) not in known:
            names = " or ".join(map(repr, known))
            raise ValueError(f"mode: expected {names}, the others have no closed form, got {mode!r}")
        settings = {"lr": lr, "l1": l1, "l2": l2, "l21": l21, "gamma": gamma, "mode": mode}
        super().__init__(w, settings, bounds, penalty_factor)

    @property
    def mode(self):
        """Where the penalty enters."""
        return self._own["mode"]
