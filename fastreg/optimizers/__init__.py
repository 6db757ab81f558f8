"""Layer 5, the optimizers: one file each, over any number of tensors, with every penalty that has a meaning for them.

A class says what its settings are, which state they need and which direction they make. base.py does the rest, with one
call into layer 4 for each step. The formulas of the directions stand in rules.pxd and in reference/.
"""

from fastreg.optimizers.adagrad import Adagrad
from fastreg.optimizers.adam import Adam, AdamW
from fastreg.optimizers.base import Optimizer
from fastreg.optimizers.ftrl import FTRL
from fastreg.optimizers.lion import Lion
from fastreg.optimizers.rmsprop import RMSprop
from fastreg.optimizers.sgd import SGD

__all__ = ["FTRL", "SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop"]
