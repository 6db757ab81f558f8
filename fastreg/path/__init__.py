"""Layer 5, the choice of a strength for any training loop: grids, rules, and a sweep of your own train function.

NumPy only. joblib, rich and matplotlib are imported where they are used. Nothing here knows a penalty or a model: the
estimators with a choice of their own strength use the same grid and the same rules.

    strengths.py    alpha_max, and the grid below it
    rules.py        the choice from a table of scores: the minimum, and one standard error
"""

from fastreg.path.rules import choose, mean_and_standard_error
from fastreg.path.strengths import alpha_max, grid

__all__ = ["alpha_max", "choose", "grid", "mean_and_standard_error"]
