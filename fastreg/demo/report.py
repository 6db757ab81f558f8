"""What the demo prints: readable in 80 columns, in a pipe and in a log; progress only where somebody is watching.

Each function returns something printable and the sections print it, so that a section reads as a sequence of results;
nothing is computed here. The text is ASCII and rich draws its lines in ASCII where the output cannot carry more.
"""

import time
from contextlib import contextmanager

import numpy as np
from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

MARKS = {True: ("yes", "bold green"), False: ("no", "bold yellow")}
VERDICTS = {"best": "bold green", "good": "green", "overfits": "yellow", "underfits": "cyan"}


class Screen:
    """The terminal, or whatever the output goes to."""

    def __init__(self):
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.start = time.perf_counter()

    def print(self, content):
        """Print a text or anything that rich can draw."""
        self.console.print(content)

    @contextmanager
    def progress(self, total):
        """A bar for so many ticks; gives a function that names what is under way and returns what ticks."""
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task("", total=total)

            def under_way(description):
                bar.update(task, description=description)
                return lambda ticks: bar.advance(task, ticks)

            yield under_way

    def claims(self, claims, source="the lesson"):
        """What the lesson or another source says, and what the run says of it."""
        table = table_of(f"What {source} says, and this run")
        table.add_column(source, ratio=1)
        table.add_column("holds")
        table.add_column("numbers", ratio=1)
        for claim in claims:
            word, colour = MARKS[bool(claim.holds)]
            table.add_row(claim.text, Text(word, style=colour), claim.numbers)
        if claims:
            self.print(table)

    def finish(self, files):
        """Say where the pictures are and how long it took."""
        self.console.print("Pictures:", *files, sep="\n  ", soft_wrap=True)
        self.print(f"\nThe whole took {time.perf_counter() - self.start:.0f} s.")


# -- Shapes -----------------------------------------------------------------------------------------------------------


def table_of(title, left=(), right=(), last=()):
    """A table with columns of text, of numbers, and of text again; nothing is cut off where the terminal is narrow."""
    style = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
    table = Table(title=title, title_justify="left", title_style="bold", **style)
    for names, justify in ((left, "left"), (right, "right"), (last, "left")):
        for name in names:
            table.add_column(name, justify=justify, vertical="bottom", overflow="fold")
    return table


def heading(title, text):
    """The beginning of a section."""
    return Group(Text(f"\n{title}", style="bold"), note(text))


def note(text):
    """A paragraph."""
    return Padding(text, (0, 0, 1, 0))


def share(value):
    """A share in per cent, or a dash where there is none."""
    return "-" if np.isnan(value) else f"{100 * value:.1f}"


def results(o):
    """What the tables of both kinds show of an outcome."""
    norm = f"{o.norm:.2f}" if o.norm < 1e4 else f"{o.norm:.0e}"
    return share(o.train), share(o.test), share(o.noise), share(o.zeros / o.size), norm


RESULTS = ("train", "test", "noise\nlearned", "exact\nzeros", "norm")


# -- Handwritten digits -----------------------------------------------------------------------------------------------


def digits_intro(data, settings):
    """What is trained on what."""
    noise = "All labels are right."
    if len(data.wrong):
        noise = (
            f"{len(data.wrong)} training labels ({settings.label_noise:.0%}) were replaced by another digit at random: "
            "this is the noise. A network that learns the digits and no noise reproduces "
            f"{1 - len(data.wrong) / len(data.y):.1%} of its training labels. The test labels are all right."
        )
    return heading(
        "Handwritten digits",
        f"A network of 64-128-64-10 units learns from {len(data.y)} images and is tested on {len(data.y_test)}, drawn "
        f"by class with seed {settings.seed}. {noise} Epochs: {settings.epochs}; l1 = {settings.l1:g}, "
        f"l2 = {settings.l2:g}; biases unpenalised.",
    )


def comparison(outcomes, data):
    """The table of penalties."""
    title = "Penalties (shares in %; time spent in updates in ms)"
    table = table_of(title, ("penalty",), (*RESULTS, "fastreg\nms", "NumPy\nms", "ratio"))
    for o in outcomes:
        times = f"{1e3 * o.seconds:.0f}", f"{1e3 * o.numpy_seconds:.0f}", f"{o.numpy_seconds / o.seconds:.1f}"
        table.add_row(o.penalty, *results(o), *times)
    finite = [o for o in outcomes if np.isfinite(o.norm)]
    difference = max((o.difference for o in finite), default=np.nan)
    notes = [
        "The time is that of a whole training's updates, by fastreg and by NumPy expressions in a second training that "
        f"takes turns with the first, epoch by epoch; {outcomes[0].size:,} weights in float64, everything on one "
        f"thread. The largest difference between the weights that the two end at is {difference:.0e}.",
        f"{np.sum(~data.inked)} of the 64 pixels are blank in every training image: no gradient reaches their weights. "
        "Only the penalty acts on them, which is no feature selection where it makes them zero.",
    ]
    for o in outcomes:
        if o not in finite:
            notes.append(f"{o.penalty} diverged: strengths this large overshoot. It is left out of the pictures.")
    return Group(table, *map(note, notes))


def sweep(outcomes, verdicts):
    """The table of one penalty's strengths."""
    table = table_of(f"Strength of {outcomes[0].penalty} (shares in %)", (), ("l1", "l2", *RESULTS), ("verdict",))
    for o, verdict in zip(outcomes, verdicts):
        strengths = (f"{s:.1e}" if s else "-" for s in (o.l1, o.l2))
        table.add_row(*strengths, *results(o), Text(verdict, style=VERDICTS[verdict]))
    return table


def verdicts_explained():
    """What the verdicts mean."""
    return note(
        "good: within two standard errors of the best test accuracy. overfits: worse on the test digits than that, "
        "though better than the best on its training labels. underfits: worse on both."
    )


# -- Optimizers -------------------------------------------------------------------------------------------------------


def optimizers_intro(optimizers, plain, settings):
    """Who trains what, at which rate beside that of plain descent."""
    rates = ", ".join(f"{name} from {lr:g}" for name, (_, lr) in optimizers.items())
    return heading(
        "Optimizers",
        f"The same network learns the same digits with momentum 0.9 and with Adam, L1 once as a part of the gradient "
        f"(subgradient) and once as a proximal step. Learning rates fall linearly to zero: {rates}. "
        f"Momentum makes that an effective {optimizers['momentum'][1] / (1 - 0.9):g}, where plain descent above had "
        f"{plain:g}: fewer zeros in as many epochs. "
        f"Epochs: {settings.epochs}; l1 = {settings.l1:g}; biases are a group of their own, unpenalised.",
    )


def optimizers(courses):
    """The table of optimizers, its zeros in three parts."""
    title = "Optimizers (shares in %; live zeros among live weights)"
    numbers = "train", "test", "noise\nlearned", "live\nzeros", "blank\nzeros", "silent\nzeros", "norm"
    table = table_of(title, ("", "mode"), numbers)
    before = None
    for c in courses:
        train, test, noise, _, norm = results(c.outcome)
        live, *others = (f"{zeros}/{size}" for zeros, size in zip(c.zeros[-1], c.sizes[-1]))
        live = share(c.zeros[-1, 0] / c.sizes[-1, 0])
        table.add_row("" if c.optimizer == before else c.optimizer, c.mode, train, test, noise, live, *others, norm)
        before = c.optimizer
    explained = (
        "live: weights that have had a gradient. blank: weights of pixels that are blank in every training image; no "
        "gradient ever reaches them. silent: other weights that never had a gradient, nearly all of them of units that "
        "were never on. Only zeros on live weights say anything about features."
    )
    return Group(table, note(explained))


# -- Correlated features ----------------------------------------------------------------------------------------------


def twins_intro(x, strengths):
    """What is fitted to what."""
    return heading(
        "Correlated features",
        f"The diabetes data ({len(x)} patients, {x.shape[1]} features in standard deviations) with every column twice, "
        f"linear regression by full-batch proximal gradient descent from random starts; {strengths}.",
    )


def twins(lasso, net, names):
    """The weights of one feature and its twin, from every start; the feature that L1 splits most unequally."""
    column = int(np.argmax(np.max(np.abs(lasso.first - lasso.second), axis=0)))
    headings = "start", "w", "w of\nits twin", "sum", "scikit-\nlearn", "twins apart\nat most", "sums off\nat most"
    table = table_of(f"The two weights of {names[column]!r}, and all twins", ("penalty",), headings)
    for penalty, result in (("L1", lasso), ("elastic net", net)):
        for start, (w, v) in enumerate(zip(result.first[:, column], result.second[:, column])):
            weights = (f"{number:.3f}" for number in (w, v, w + v, result.known[column]))
            apart = f"{result.apart[start]:.1f}" if result.apart[start] > 0.1 else f"{result.apart[start]:.0e}"
            table.add_row("" if start else penalty, str(start + 1), *weights, apart, f"{result.error[start]:.0e}")
        table.add_section()
    return table


# -- Streaming text ---------------------------------------------------------------------------------------------------


def text_missing():
    """Why the section is empty."""
    return heading("Streaming text", "Left out: fewer than two packages have source files with docstrings here.")


def text_intro(documents, batch, strengths):
    """What is told apart, by what."""
    one, other = documents.packages
    counts = np.bincount(documents.y) + np.bincount(documents.y_test)
    penalty = ", ".join(f"{name} = {value:g}" for name, value in strengths.items())
    return heading(
        "Streaming text",
        f"Who wrote this docstring, {one} or {other}? {counts[0]} and {counts[1]} docstrings, read from the source "
        f"files on this machine, the packages' names removed, the words hashed to {documents.x.shape[1]:,} features, "
        f"of which {documents.features:,} occur in the stream. {len(documents.y)} documents stream past once, {batch} "
        f"in each call of partial_fit, in random order; {len(documents.y_test)} are held out. Log-loss, {penalty}: L1 "
        "alone; learning rates are everybody's defaults.",
    )


def text(courses, documents):
    """The table of learners, in mini-batches and in a single call."""
    numbers = (
        "fore-\ntold",
        "held\nout",
        "non-\nzeros",
        "of those\nseen",
        "time\ns",
        "once:\nheld out",
        "non-\nzeros",
        "differ",
    )
    table = table_of("The same stream in mini-batches, and all at once (shares in %)", ("",), numbers)
    table.columns[0].no_wrap = True
    for c in courses:
        streamed = share(c.accuracy[-1]), f"{c.kept[-1]:,}", share(c.kept[-1] / documents.features), f"{c.seconds:.2f}"
        table.add_row(
            c.name, share(c.foretold), *streamed, share(c.whole_accuracy), f"{c.whole_kept:,}", f"{c.differ:,}"
        )
    explained = (
        "foretold: documents of the stream told right before they were learned. held out: documents held out, told "
        "right at the end. of those seen: non-zeros among the weights of features in the stream. time: in partial_fit. "
        "once: after a single call of partial_fit with the same documents in the same order. differ: weights that are "
        "not the same then, to the bit."
    )
    return Group(table, note(explained))
