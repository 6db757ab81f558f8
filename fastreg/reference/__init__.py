"""Layer 1', the reference: rules, steps without a gradient and losses of the public .pxd files in plain NumPy.

Tests compare the compiled kernels with it bit for bit. Its functions have the docstrings of the public ones.
"""

from fastreg.reference import losses  # noqa: F401
from fastreg.reference.catch_up import *  # noqa: F403
from fastreg.reference.functions import *  # noqa: F403
from fastreg.reference.groups import *  # noqa: F403
from fastreg.reference.penalties import *  # noqa: F403
from fastreg.reference.rules import *  # noqa: F403
from fastreg.reference.scalars import *  # noqa: F403
from fastreg.reference.tables import *  # noqa: F403
from fastreg.reference.value_functions import *  # noqa: F403
from fastreg.reference.values import *  # noqa: F403
