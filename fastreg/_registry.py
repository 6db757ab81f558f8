"""The registry of rules that tests and benchmarks read: a rule that is not listed here does not exist for them.

How to add one: fastreg/README.md. tests/test_registry_complete.py fails where a part is missing.
"""

from typing import NamedTuple

from fastreg import optimizers
from fastreg.reference import DIRECTIONS, MODES

PENALTIES = {"l1": ("l1",), "l2": ("l2",), "elastic_net": ("l1", "l2")}  # name → the strengths it takes
GROUP_PENALTIES = {"group": ("l1", "l2", "l21")}  # in the proximal mode only, and with a group_axis


class Rule(NamedTuple):
    """One public update function in one mode."""

    penalty: str
    mode: str

    @property
    def name(self):
        return f"{self.penalty}-{self.mode}"

    @property
    def strengths(self):
        return PENALTIES[self.penalty]

    def function(self, implementation):
        """The update function in `implementation`: the package itself or its reference."""
        return getattr(implementation, f"{self.penalty}_update")


RULES = {rule.name: rule for rule in (Rule(penalty, mode) for penalty in PENALTIES for mode in MODES)}

OPTIMIZERS = {  # direction → the optimizer class that makes it, and the settings with which it does
    direction: (name, vars(optimizers)[name]._directions[direction])
    for direction in DIRECTIONS
    for name in optimizers.__all__
    if direction in vars(vars(optimizers)[name]).get("_directions", {})
}
