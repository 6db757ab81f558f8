"""A stand-in for torch, with what fastreg.torch needs of it to be imported: modules with classes.

Mocked objects of autodoc cannot be base classes that keep the docstrings and signatures of their subclasses. torch
itself is large, and its inherited methods would be listed as ours.
"""

import sys
import types

MODULES = ("torch", "torch.optim", "torch.nn", "torch.autograd", "torch.autograd.graph")


class StandIn(types.ModuleType):
    """A module in which every name is a class of its own."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        kind = type(name, (), {"__module__": self.__name__})
        setattr(self, name, kind)
        return kind


def install():
    """Let `import torch` import the stand-in."""
    for name in MODULES:
        sys.modules[name] = StandIn(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
