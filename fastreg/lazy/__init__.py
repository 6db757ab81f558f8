"""Layer 5, exact lazy updates: a step costs its non-zero gradients, although the penalty acts on all weights.

Elsewhere "lazy" means that weights without a gradient escape the penalty (TensorFlow's LazyAdam, PyTorch's SparseAdam).
Here `weights()` returns at any time what dense steps would have left. The classes define the settings and the initial
state. Their base in _boundary/lazy.pyx makes the steps, with the functions of catch_up.pxd.
"""

from fastreg.lazy.adagrad import LazyAdagrad
from fastreg.lazy.ftrl import LazyFTRL
from fastreg.lazy.sgd import LazySGD

__all__ = ["LazyAdagrad", "LazyFTRL", "LazySGD"]
