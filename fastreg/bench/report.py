"""The tables of the benchmark, one for each rule, and its picture."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from rich.text import Text

from fastreg._show.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, style_axes
from fastreg._show.tables import count, duration, heading, make_table, paragraph

COLOURS = {"faster": "green", "slower": "bold red", "tie": "yellow"}
MARKS = {"faster": "", "slower": "!", "tie": "~"}
NOT_INSTALLED = " is not installed"
MULTITHREADED = 1.3  # the report marks peers with this ratio of processor time to elapsed time, or more
STYLES = {  # colours repeat, so markers and dashes distinguish the peers
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
    """What will be measured."""
    return heading(
        "fastreg and its peers",
        f"All installed implementations of each rule are timed in {settings.dtype} on one thread, in interleaved "
        f"rounds. This takes about {settings.seconds:.0f} seconds, plus the time for compilation. Other load on the "
        "machine makes the results less precise.",
    )


def tables(result):
    """The machine, a table for each rule, and an explanation."""
    yield facts("This machine", result["machine"])
    yield facts("Versions", result["versions"])
    for rule in dict.fromkeys(entry["rule"] for entry in result["results"]):
        yield table(rule, [entry for entry in result["results"] if entry["rule"] == rule])
    yield paragraph(
        "The row fastreg shows the time of one call. All other rows show the time of an implementation divided by that "
        "of fastreg: the median over rounds, ± half the interquartile range. No mark: fastreg is faster. ~: tie, the "
        "difference is within the noise, that is, the difference between two measurements of fastreg. !: fastreg is "
        f"slower. *: the implementation used {MULTITHREADED:g} threads or more on average."
    )
    yield paragraph(
        "axpy (BLAS) and C traffic (a C loop without arithmetic) do not compute the rule. They read and write the same "
        "memory and show the cost of the memory traffic. C loop is the rule in C without checks of its arguments. "
        "NumPy is a plain expression, NumPy out= uses preallocated temporaries. For Adam, the peers do not compute the "
        "bias correction. The result of each peer was compared with the reference before the measurement."
    )
    yield from skipped(result)
    yield Text("")


def skipped(result):
    """What was not measured: one line for all that is not installed, and one for each other reason."""
    missing, groups = {}, {}
    number = len({entry["rule"] for entry in result["results"] + result["skipped"]})
    for entry in result["skipped"]:
        name, reason = entry["implementation"], entry["reason"]
        if reason.endswith(NOT_INSTALLED):
            missing[name] = reason.removesuffix(NOT_INSTALLED)
        else:
            groups.setdefault((reason, entry["size"]), {}).setdefault(name, []).append(entry["rule"])
    if missing:
        modules = " ".join(dict.fromkeys(missing.values()))
        yield Text(f"Not installed: {', '.join(missing)} (python -m pip install {modules}).")
    for (reason, size), by_name in groups.items():
        with_size = f" with {count(size)} weights" if size else ""
        names = ", ".join(
            (name or "all implementations") + (f" for {', '.join(rules)}" if len(rules) < number else "")
            for name, rules in by_name.items()
        )
        yield Text(f"Not measured{with_size}: {names} ({reason}).")


def facts(title, entries):
    """A table of names and values."""
    grid = make_table(title, ("", ""))
    grid.show_header = False
    for name, text in entries.items():
        grid.add_row(name, text)
    return grid


def table(rule, entries):
    """The table of one rule: implementations by size."""
    sizes = list(dict.fromkeys(entry["size"] for entry in entries))
    grid = make_table(f"{rule}: time divided by that of fastreg", ("weights",), [count(size) for size in sizes])
    cells = {(entry["implementation"], entry["size"]): entry for entry in entries}
    for name in dict.fromkeys(entry["implementation"] for entry in entries):
        grid.add_row(name, *(cell(cells.get((name, size))) for size in sizes))
        if name == "fastreg":
            noise = (f"±{cells[name, size]['noise']:.2f}".replace("±0", "±") for size in sizes)
            grid.add_row("noise", *noise)
            grid.add_section()
    return grid


def cell(entry):
    """A time, or a ratio with its spread and marks."""
    if entry is None:
        return "-"
    if entry["verdict"] is None:
        return duration(entry["seconds"])
    ratio, spread = entry["ratio"], (entry["high"] - entry["low"]) / 2
    text = f"{ratio:.2f}±{spread:.2f}".replace("±0", "±") if ratio < 9.995 else f"{ratio:.3g}"
    threads = "*" if (entry["threads"] or 0) >= MULTITHREADED else ""
    return Text(text + MARKS[entry["verdict"]] + threads, style=COLOURS[entry["verdict"]])


def picture(result):
    """Time divided by that of fastreg, by size, one panel for each rule; the grey band is the noise."""
    rules = list(dict.fromkeys(entry["rule"] for entry in result["results"]))
    figure = Figure(figsize=(1.2 + 4.2 * max(1, len(rules)), 5.6), layout="constrained")
    for axes, rule in zip(np.atleast_1d(figure.subplots(1, max(1, len(rules)), sharey=True)), rules):
        style_axes(axes)
        entries = [entry for entry in result["results"] if entry["rule"] == rule]
        fastreg = [entry for entry in entries if entry["implementation"] == "fastreg"]
        x, noise = [e["size"] for e in fastreg], np.array([e["noise"] for e in fastreg])
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
        figure.axes[0].set_ylabel("time divided by that of fastreg (above 1: fastreg is faster)")
        shown = {}
        for axes in figure.axes:
            shown |= dict(zip(*reversed(axes.get_legend_handles_labels())))
        figure.legend(shown.values(), shown, loc="outside right center", fontsize=9, frameon=False)
    figure.suptitle(f"{result['machine']['processor']}, one thread, {result['machine']['caches']}", fontsize=10)
    return figure
