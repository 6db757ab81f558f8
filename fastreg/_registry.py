"""The registry of rules that tests and benchmarks read: a rule that is not listed here does not exist for them.

A new mode, penalty or direction is a struct and a branch in rules.pxd, its twin in reference.py, and a row here. For a
direction that is: what state it has, in rules.pxd; its code and its branch in _kernels/table.pxd and .pxi; the optimizer that
makes it, in optimizers.py. tests/test_registry_complete.py fails where one of them is missing.
"""

from typing import NamedTuple

from fastreg.reference import MODES

PENALTIES = {"l1": ("l1",), "l2": ("l2",), "elastic_net": ("l1", "l2")}  # name → the strengths it takes


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
    "Plain": ("SGD", {}),
    "Momentum": ("SGD", {"momentum": 0.9}),
    "Nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "Adagrad": ("Adagrad", {}),
    "RMSprop": ("RMSprop", {}),
    "Adam": ("Adam", {}),
    "AMSGrad": ("Adam", {"amsgrad": True}),
    "Lion": ("Lion", {}),
    "FTRL": ("FTRL", {}),
}
