"""Colours, axes and files of all pictures.

Pictures use matplotlib's objects without pyplot, so that neither a backend nor the caller's global state changes. The
colours are those of Okabe and Ito, which colour-blind readers can distinguish; line styles and markers differ as well.
"""

import os
from textwrap import wrap

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"


def style_axes(axes):
    """Remove the upper and right spines and draw a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


CAPTION_LINE = 0.19  # inches
CAPTION_LETTERS = 15.0  # in an inch


def add_caption(figure, text):
    """Write below the picture what to see in it; the figure grows by the lines of the text."""
    width, height = figure.get_size_inches()
    lines = wrap(text, int(CAPTION_LETTERS * width))
    room = CAPTION_LINE * (len(lines) + 0.8)
    figure.set_size_inches(width, height + room)
    figure.get_layout_engine().set(rect=(0, room / (height + room), 1, height / (height + room)))
    left, top = 0.15 / width, (room - 0.4 * CAPTION_LINE) / (height + room)
    figure.text(left, top, "\n".join(lines), va="top", fontsize=9, linespacing=1.25).set_in_layout(False)


def save(figure, path):
    """Write the picture under a temporary name and rename it: an interrupt leaves no incomplete file."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(part, format="png", dpi=150)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
