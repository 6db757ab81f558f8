"""What the converters return: one named tuple for each kind of penalty, with the names of the optimizers' arguments."""

from math import inf
from typing import NamedTuple

from fastreg.convert.checks import checked, number


class Strengths(NamedTuple):
    """The strengths of the penalty l1·‖w‖₁ + l2/2·‖w‖₂²: what most functions of this package return.

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
        return _times(self, factor)


class BoundedStrengths(NamedTuple):
    """:class:`Strengths` of weights that stay within bounds.

    Attributes
    ----------
    l1, l2 : float
        Finite, not negative.
    bounds : (float, float)
        As the optimizers take them: (0, inf) for weights that are not negative.

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> strengths = fastreg.convert.from_sklearn(alpha=0.1, l1_ratio=1, positive=True)
    >>> optimizer = fastreg.SGD(np.ones(3), lr=0.01, **strengths._asdict())
    """

    l1: float
    l2: float
    bounds: tuple[float, float]

    def scaled(self, factor: float) -> "BoundedStrengths":
        """Both strengths times a factor, as :meth:`Strengths.scaled`; the bounds remain.

        Examples
        --------
        >>> from fastreg.convert import BoundedStrengths
        >>> BoundedStrengths(l1=0.5, l2=0.25, bounds=(0.0, 1.0)).scaled(2)
        BoundedStrengths(l1=1.0, l2=0.5, bounds=(0.0, 1.0))
        """
        return _times(self, factor)


class MCPStrengths(NamedTuple):
    """The strengths of the minimax concave penalty (MCP) plus l2/2·‖w‖₂²: see :func:`fastreg.elastic_net_update`.

    Attributes
    ----------
    l1, l2 : float
        Finite, not negative.
    gamma : float
        Positive. Infinite where the penalty is l1·‖w‖₁.

    Examples
    --------
    >>> import numpy as np
    >>> import fastreg
    >>> strengths = fastreg.convert.from_ncvreg(lambda_=0.1, gamma=3.0)
    >>> optimizer = fastreg.SGD(np.zeros(3), lr=0.01, **strengths._asdict())
    """

    l1: float
    l2: float
    gamma: float

    def scaled(self, factor: float) -> "MCPStrengths":
        """The penalty times a factor, as :meth:`Strengths.scaled`; gamma is divided by it, so that gamma·l1 remains.

        Examples
        --------
        >>> from fastreg.convert import MCPStrengths
        >>> MCPStrengths(l1=0.5, l2=0.25, gamma=4.0).scaled(2)
        MCPStrengths(l1=1.0, l2=0.5, gamma=2.0)
        """
        factor = number(factor, "factor")
        return _times(self._replace(gamma=self.gamma / factor if factor else inf), factor)


class GroupStrengths(NamedTuple):
    """The strengths of the penalty l1·‖w‖₁ + l2/2·‖w‖₂² + l21·Σ_g ‖w_g‖₂, the sum over groups of weights.

    Attributes
    ----------
    l1, l2, l21 : float
        Finite, not negative.
    penalty_factor : list of float, or None
        What multiplies all three for each group, in the order of the groups: pass a list of arrays as params, one for
        each group. None if all groups have the same penalty, and for a single group: the strengths contain its weight.

    Examples
    --------
    Two groups, and the rows of a matrix as groups:

    >>> import numpy as np
    >>> import fastreg
    >>> weights = [np.zeros(4), np.zeros(9)]
    >>> strengths = fastreg.convert.from_adelie(lmda=0.1, sizes=[w.size for w in weights])
    >>> optimizer = fastreg.SGD(weights, lr=0.01, **strengths._asdict())
    >>> strengths = fastreg.convert.from_sgl(lambda_=0.1, alpha=0.5, sizes=4)
    >>> optimizer = fastreg.SGD(np.zeros((3, 4)), lr=0.01, group_axis=0, **strengths._asdict())
    """

    l1: float
    l2: float
    l21: float
    penalty_factor: list[float] | None = None

    def scaled(self, factor: float) -> "GroupStrengths":
        """The three strengths times a factor, as :meth:`Strengths.scaled`; penalty_factor remains.

        Examples
        --------
        >>> from fastreg.convert import GroupStrengths
        >>> GroupStrengths(l1=0.5, l2=0.25, l21=1.0).scaled(2)
        GroupStrengths(l1=1.0, l2=0.5, l21=2.0, penalty_factor=None)
        """
        return _times(self, factor)


def _times(strengths, factor):
    """A named tuple with l1, l2 and l21 times a factor."""
    factor = number(factor, "factor")
    products = {name: getattr(strengths, name) * factor for name in ("l1", "l2", "l21") if name in strengths._fields}
    return checked(strengths._replace(**products))
