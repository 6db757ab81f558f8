"""Headings, paragraphs, tables and formatted numbers. Each function returns text or something that rich can print."""

import math

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# -- Layout -----------------------------------------------------------------------------------------------------------


def make_table(title, left=(), right=(), last=()):
    """A table with columns of text, of numbers, and of text again; long cells are folded and never cut off."""
    style = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
    table = Table(title=title, title_justify="left", title_style="bold", **style)
    for names, justify in ((left, "left"), (right, "right"), (last, "left")):
        for name in names:
            table.add_column(name, justify=justify, vertical="bottom", overflow="fold")
    return table


def heading(title, text):
    """The title of a section and its first paragraph."""
    return Group(Text(f"\n{title}", style="bold"), paragraph(text))


def paragraph(text):
    """A paragraph and an empty line."""
    return Padding(text, (0, 0, 1, 0))


# -- Numbers ----------------------------------------------------------------------------------------------------------


def percent(share):
    """A share in per cent without the sign; "-" for NaN."""
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def duration(seconds):
    """A time with three digits and a unit from ns to s."""
    for unit, scale in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if seconds * scale < 999.5:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def count(number):
    """A number of weights: 1000 is "1000", 1000000 is "1e6"."""
    return str(number) if number < 10_000 else f"{number:.3g}".replace("e+0", "e").replace("e+", "e")
