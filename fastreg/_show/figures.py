"""Colours, axes and files of all pictures.

Pictures use matplotlib's objects without pyplot, so that neither a backend nor the caller's global state changes. The
colours are those of Okabe and Ito, which colour-blind readers can distinguish; line styles and markers differ as well.
"""

import os

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"


def style_axes(axes):
    """Remove the upper and right spines and draw a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def save(figure, path):
    """Write the picture under a temporary name and rename it: an interrupt leaves no incomplete file."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(part, format="png", dpi=150)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
