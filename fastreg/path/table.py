"""Layer 5, the result of a sweep: scores by strength and fold, and what is chosen from them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastreg.path.rules import Floats, Rule, choose, mean_and_standard_error


@dataclass(frozen=True, eq=False, repr=False)
class SweepTable:
    """Scores by strength and fold; prints as a table, in which "min" and "1se" mark the rows that these rules choose.

    Attributes
    ----------
    strengths : array (strengths,), float64
        In decreasing order, the strongest first, however they were given.
    scores : array (strengths, folds), float64
    extras : dict of arrays (strengths, folds), float64
        What train reported beside the score, by name; NaN where it reported nothing.
    greater_is_better : bool
        False: scores are losses.

    Examples
    --------
    A table as :func:`sweep` returns it, with the losses of three strengths on two folds:

    >>> import numpy as np
    >>> from fastreg.path import SweepTable
    >>> table = SweepTable(np.array([1.0, 0.1, 0.01]), np.array([[3.0, 4.0], [1.0, 2.0], [1.25, 1.5]]))
    >>> table
    strength   loss  std. error
           1    3.5         0.5
         0.1    1.5         0.5  1se
        0.01  1.375        0.12  min
    >>> table.best(), table.best("1se"), table.choose("1se")
    (0.01, 0.1, 1)
    >>> table.mean, table.standard_error
    (array([3.5  , 1.5  , 1.375]), array([0.5  , 0.5  , 0.125]))
    >>> table.to_dict()["score"]
    array([3.  , 4.  , 1.  , 2.  , 1.25, 1.5 ])
    """

    strengths: Floats
    scores: Floats
    extras: dict[str, Floats] = field(default_factory=dict)
    greater_is_better: bool = False

    @property
    def mean(self) -> Floats:
        """The mean score of each strength, shape (strengths,)."""
        return mean_and_standard_error(self.scores)[0]

    @property
    def standard_error(self) -> Floats:
        """The standard error of each mean over the folds, shape (strengths,); NaN for a single fold."""
        return mean_and_standard_error(self.scores)[1]

    def choose(self, rule: Rule = "min") -> int:
        """The row that a rule chooses, see :func:`choose`."""
        return choose(self.scores, rule, self.strengths, greater_is_better=self.greater_is_better)

    def best(self, rule: Rule = "min") -> float:
        """The strength that a rule chooses."""
        return float(self.strengths[self.choose(rule)])

    def to_dict(self) -> dict[str, Any]:
        """Arrays with an element for each training, by name, as pandas.DataFrame takes them."""
        strengths, folds = self.scores.shape
        columns = {
            "strength": np.repeat(self.strengths, folds),
            "fold": np.tile(np.arange(folds), strengths),
            "score": self.scores.ravel(),
        }
        return columns | {name: values.ravel() for name, values in self.extras.items() if name not in columns}

    def plot(self, ax: Any = None) -> Any:
        """Draw the mean score against the strength, with a band of one standard error and the chosen strengths.

        Parameters
        ----------
        ax : matplotlib Axes, or None
            None makes a new figure.

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> import matplotlib
        >>> import numpy as np
        >>> from fastreg.path import SweepTable
        >>> matplotlib.use("agg")  # for this example: no window
        >>> axes = SweepTable(np.array([1.0, 0.1]), np.array([[3.0], [1.0]])).plot()
        >>> axes.get_xlabel(), axes.get_ylabel()
        ('strength', 'loss')
        """
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(layout="constrained")
        mean, error = self.mean, self.standard_error
        (line,) = ax.plot(
            self.strengths, mean, marker="o", markersize=4, label="mean" if len(self.scores.T) > 1 else None
        )
        if np.isfinite(error).any():
            band = {"color": line.get_color(), "alpha": 0.2, "linewidth": 0, "label": "± one standard error"}
            ax.fill_between(self.strengths, mean - error, mean + error, **band)
        chosen = self._chosen()
        for (i, rules), style in zip(chosen.items(), ("--", ":")):
            label = f"{' and '.join(rules)}: {self.strengths[i]:.3g}"
            ax.axvline(self.strengths[i], color="0.3", linestyle=style, label=label)
        positive = self.strengths[self.strengths > 0]
        if len(positive) == len(self.strengths):
            ax.set_xscale("log")
        elif len(positive):
            ax.set_xscale("symlog", linthresh=positive[-1])
        ax.set(xlabel="strength", ylabel="score" if self.greater_is_better else "loss")
        ax.legend()
        return ax

    def _chosen(self) -> dict[int, list[str]]:
        """The rules by the row that they choose."""
        rules: dict[int, list[str]] = {}
        if np.isfinite(self.mean).any():
            rules[self.choose("min")] = ["min"]
            if self.scores.shape[1] > 1:
                rules.setdefault(self.choose("1se"), []).append("1se")
        return rules

    def __repr__(self) -> str:
        mean, error, chosen = self.mean, self.standard_error, self._chosen()
        several = self.scores.shape[1] > 1
        cells = [["strength", "score" if self.greater_is_better else "loss"]]
        cells[0] += [*["std. error"] * several, *self.extras, ""]
        means = {name: mean_and_standard_error(values)[0] for name, values in self.extras.items()}
        for i, strength in enumerate(self.strengths):
            row = [f"{strength:.4g}", f"{mean[i]:.4g}", *[f"{error[i]:.2g}"] * several]
            row += [f"{values[i]:.5g}" for values in means.values()]
            cells.append([*row, ", ".join(chosen.get(i, ()))])
        widths = [max(map(len, column)) for column in zip(*cells)]
        return "\n".join(
            "  ".join(x.rjust(n) for x, n in zip(row[:-1], widths)) + f"  {row[-1]}".rstrip() for row in cells
        )
