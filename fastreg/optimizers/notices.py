"""Layer 5, what an optimizer tells its user: l1 gives no exact zeros here, or the first step removed weights.

Both are warnings, so that Python shows each once and a filter silences it. Nothing here runs in the steps after the
first one.
"""

import sys
import warnings

import numpy as np

from fastreg._boundary.bfloat16 import as_float32

WITHOUT_ZEROS = ("subgradient", "decoupled")


class NoExactZerosWarning(UserWarning):
    """l1 is used in a mode that makes weights small, but never exactly zero.

    Examples
    --------
    It is silenced by a filter:

    >>> import warnings
    >>> import fastreg
    >>> warnings.simplefilter("ignore", fastreg.NoExactZerosWarning)
    """


class NoGradientWarning(UserWarning):
    """The first step of an adaptive optimizer removed weights because they had no gradient.

    Examples
    --------
    It is silenced by a filter:

    >>> import warnings
    >>> import fastreg
    >>> warnings.simplefilter("ignore", fastreg.NoGradientWarning)
    """


def warn(message, category):
    """Warn at the line of the caller, outside fastreg and outside torch, which wraps the steps of its optimizers."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("fastreg", "torch"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def tell(message, category):
    """Warn, and say how to silence it."""
    warn(f"{message}. To silence this: warnings.simplefilter('ignore', fastreg.{category.__name__})", category)


def tell_no_zeros(name, modes, groups):
    """Tell whether some group, a pair (settings, whether it has bounds), has l1 in a mode without exact zeros.

    Bounds are left out: weights that are clipped at a bound of 0 are exactly zero in every mode. Returns whether it was
    told.
    """
    for settings, has_bounds in groups:
        mode, l1 = settings.get("mode"), settings.get("l1", 0.0)
        if mode in WITHOUT_ZEROS and not has_bounds and (callable(l1) or l1 > 0):
            remedy = "mode='proximal' gives them" if "proximal" in modes else "Adam with mode='proximal' gives them"
            tell(f"{name}: l1 with mode={mode!r} gives no exact zeros; {remedy}", NoExactZerosWarning)
            return True
    return False


def may_remove(squares, groups):
    """Whether the first step may remove weights because they have no gradient: l1 in a proximal, adaptive metric."""
    if squares is None:
        return False
    return any(settings.get("mode") == "proximal" and settings["l1"] != 0 for settings in groups)


def nonzero_masks(weights):
    """Where the weights are not zero, for `tell_removed`."""
    return [as_float32(w) != 0 for w in weights]


DELAY = "an l1 that is zero at first, such as l1=lambda t: 0.0 if t < 100 else 1e-3"


def tell_removed(name, before, weights, squares, delay=DELAY):
    """Tell how many weights have become zero since `before`, although their sum of squared gradients is zero."""
    removed = sum(
        int(np.count_nonzero(mask & (as_float32(w) == 0) & (square == 0)))
        for mask, w, square in zip(before, weights, squares)
    )
    if removed:
        tell(
            f"{name}: {removed} weights had no gradient in the first step, which set them to zero, because their step "
            f"size is enormous. To keep them, use {delay}, or penalty_factor=0 for them",
            NoGradientWarning,
        )
