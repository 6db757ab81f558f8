"""What the benchmark shows: a table for each rule, readable in 80 columns, and a picture of them all."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from rich.text import Text

from fastreg.demo.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, plain
from fastreg.demo.report import heading, note, table_of

COLOURS = {"faster": "green", "slower": "bold red", "tie": "yellow"}
MARKS = {"faster": "", "slower": "!", "tie": "~"}
SEVERAL = 1.3  # processor time over time: more than one thread was at work
STYLES = {  # colours repeat, so markers and dashes tell the peers apart
    "axpy": (GREY, "", "--"),
    "C traffic": (GREY, "", ":"),
    "C loop": ("black", "x", "-"),
    "NumPy": (VERMILION, "o", "-"),
    "NumPy out=": (VERMILION, "s", "--"),
    "numexpr": (ORANGE, "^", "-"),
    "numba": (GREEN, "D", "-"),
    "jax": (GREEN, "v", "--"),
    "torch": (BLUE, "P", "-"),
    "torch.compile": (BLUE, "*", "--"),
}


def intro(settings):
    """What is about to happen."""
    return heading(
        "fastreg and its peers",
        f"Every implementation of a rule that is installed, in turn, on one thread, in {settings.dtype}; about "
        f"{settings.seconds:.0f} seconds, and what compilers need before. Leave the machine alone meanwhile.",
    )


def tables(result):
    """The machine, a table for each rule, and how to read them."""
    yield facts("This machine", result["machine"])
    yield facts("Versions", result["versions"])
    for rule in dict.fromkeys(entry["rule"] for entry in result["results"]):
        yield table(rule, [entry for entry in result["results"] if entry["rule"] == rule])
    yield note(
        "fastreg: time of a call. Others: their time over fastreg's, the median over rounds in which all take turns, "
        "and half the range of the middle half of them. ~ is a tie: fastreg differs as much from itself. ! is faster "
        "than fastreg. NumPy is the expression that one writes first. axpy and C traffic are no peers but the floor: "
        "BLAS axpy, and a C loop without arithmetic, on the same memory; the C loop has no checks to make. Adam's "
        "peers are spared the bias correction. Each peer's result was compared with the reference first. * used "
        f"{SEVERAL:g} threads or more."
    )
    for skip in result["skipped"]:
        where = f" at {count(skip['size'])}" if skip["size"] else ""
        yield Text(f"left out: {skip['implementation'] or 'all'} for {skip['rule']}{where}: {skip['reason']}")
    yield Text("")


def facts(title, entries):
    """Names and what they are."""
    grid = table_of(title, ("", ""))
    grid.show_header = False
    for name, text in entries.items():
        grid.add_row(name, text)
    return grid


def table(rule, entries):
    """One rule: implementations by size."""
    sizes = list(dict.fromkeys(entry["size"] for entry in entries))
    grid = table_of(f"{rule}: times over fastreg's", ("weights",), [count(size) for size in sizes])
    cells = {(entry["implementation"], entry["size"]): entry for entry in entries}
    for name in dict.fromkeys(entry["implementation"] for entry in entries):
        grid.add_row(name, *(cell(cells.get((name, size))) for size in sizes))
        if name == "fastreg":
            noise = (f"±{cells[name, size]['noise']:.2f}".replace("±0", "±") for size in sizes)
            grid.add_row("noise", *noise)
            grid.add_section()
    return grid


def cell(entry):
    """A time, or a ratio with its spread and its mark."""
    if entry is None:
        return "-"
    if entry["verdict"] is None:
        return duration(entry["seconds"])
    ratio, spread = entry["ratio"], (entry["high"] - entry["low"]) / 2
    text = f"{ratio:.2f}±{spread:.2f}".replace("±0", "±") if ratio < 9.995 else f"{ratio:.3g}"
    several = "*" if (entry["threads"] or 0) >= SEVERAL else ""
    return Text(text + MARKS[entry["verdict"]] + several, style=COLOURS[entry["verdict"]])


def duration(seconds):
    """A time in the unit that suits it."""
    for unit, scale in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if seconds * scale < 999.5:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def count(size):
    """1000 as 1000, 1000000 as 1e6."""
    return str(size) if size < 10_000 else f"{size:.3g}".replace("e+0", "e").replace("e+", "e")


def picture(result):
    """Times over fastreg's by size, a panel for each rule; the grey band is the noise."""
    rules = list(dict.fromkeys(entry["rule"] for entry in result["results"]))
    figure = Figure(figsize=(1.2 + 4.2 * max(1, len(rules)), 5.6), layout="constrained")
    for axes, rule in zip(np.atleast_1d(figure.subplots(1, max(1, len(rules)), sharey=True)), rules):
        plain(axes)
        entries = [entry for entry in result["results"] if entry["rule"] == rule]
        own = [entry for entry in entries if entry["implementation"] == "fastreg"]
        x, noise = [e["size"] for e in own], np.array([e["noise"] for e in own])
        axes.fill_between(x, 1 / (1 + noise), 1 + noise, color=GREY, alpha=0.3, linewidth=0, label="noise of the run")
        axes.axhline(1, color="black", linewidth=0.8)
        for name, (colour, marker, dashes) in STYLES.items():
            series = [e for e in entries if e["implementation"] == name]
            if series:
                y = np.array([e["ratio"] for e in series])
                low, high = y - [e["low"] for e in series], np.array([e["high"] for e in series]) - y
                style = {"color": colour, "marker": marker, "linestyle": dashes, "linewidth": 1.3, "markersize": 5}
                axes.errorbar([e["size"] for e in series], y, [low, high], label=name, elinewidth=0.7, **style)
        axes.set(xscale="log", yscale="log", title=rule, xlabel=f"weights ({result['dtype']})")
        axes.xaxis.set_major_locator(FixedLocator(x))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([count(size) for size in x], fontsize=8)
        axes.yaxis.set_major_formatter(lambda y, position: f"{y:g}")
    if rules:
        figure.axes[0].set_ylabel("time over fastreg's (above 1: fastreg is faster)")
        shown = {}
        for axes in figure.axes:
            shown |= dict(zip(*reversed(axes.get_legend_handles_labels())))
        figure.legend(shown.values(), shown, loc="outside right center", fontsize=9, frameon=False)
    figure.suptitle(f"{result['machine']['processor']}, one thread, {result['machine']['caches']}", fontsize=10)
    return figure
