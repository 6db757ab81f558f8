"""fastreg: L1, L2 and elastic-net regularised gradient updates, fused and in place, at memory speed."""

from importlib.util import find_spec as _find_spec

if _find_spec("fastreg._boundary.cpu") is None:
    raise ImportError(
        f"fastreg: expected its compiled modules in {__path__[0]}, got sources that are not built; run, in the folder"
        " with setup.py,\n\n    python -m pip install -e .\n\n"
        "or, if fastreg is installed elsewhere, start Python in another folder"
    )

# dispatch and threads read the environment. They come first, so that a warning that is an error stops the whole import.
from fastreg._boundary import dispatch as _dispatch, threads as _threads  # noqa: F401, I001

from fastreg import convert, optimizers, path, reference
from fastreg._boundary.config import show_config
from fastreg._boundary.functions import (
    elastic_net_penalty,
    elastic_net_update,
    group_penalty,
    group_update,
    l1_penalty,
    l1_update,
    l2_penalty,
    l2_update,
)
from fastreg._boundary.threads import get_num_threads, set_num_threads
from fastreg.lazy import LazyAdagrad, LazyFTRL, LazySGD
from fastreg.optimizers import *  # noqa: F403  each is named once, in its package
from fastreg.optimizers.clip import clip_grad_norm
from fastreg.optimizers.notices import NoExactZerosWarning, NoGradientWarning

__version__ = "0.1.0"

__all__ = [
    "LazyAdagrad",
    "LazyFTRL",
    "LazySGD",
    "NoExactZerosWarning",
    "NoGradientWarning",
    "clip_grad_norm",
    "convert",
    "elastic_net_penalty",
    "elastic_net_update",
    "get_num_threads",
    "group_penalty",
    "group_update",
    "l1_penalty",
    "l1_update",
    "l2_penalty",
    "l2_update",
    "path",
    "reference",
    "set_num_threads",
    "show_config",
]
__all__ += optimizers.__all__
