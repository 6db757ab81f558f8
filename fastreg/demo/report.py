"""The text and the tables of the demo. Each function returns something that rich can print."""

import numpy as np
from rich.console import Group
from rich.text import Text

from fastreg._show.tables import heading, make_table, paragraph, percent

HOLDS = {True: ("yes", "bold green"), False: ("no", "bold yellow")}
FITS = {"best": "bold green", "good": "green", "overfits": "yellow", "underfits": "cyan"}
RESULTS = ("train", "test", "noise\nlearned", "exact\nzeros", "norm")


def print_claims(console, source, claims):
    """Print the claims of the textbook or of the documentation, and whether they hold in this run."""
    table = make_table(f"Claims of the {source}, checked on this run")
    table.add_column("claim", ratio=1)
    table.add_column("holds")
    table.add_column("measured", ratio=1)
    for claim in claims:
        word, style = HOLDS[bool(claim.holds)]
        table.add_row(claim.text, Text(word, style=style), claim.numbers)
    if claims:
        console.print(table)


def result_cells(r, accuracy=None):
    """The cells of a result below the RESULTS; `accuracy` is that on other images than the test images."""
    norm = f"{r.norm:.2f}" if r.norm < 1e4 else f"{r.norm:.0e}"
    return (
        percent(r.train),
        percent(r.test if accuracy is None else accuracy),
        percent(r.noise),
        percent(r.zeros / r.size),
        norm,
    )


# -- Handwritten digits -----------------------------------------------------------------------------------------------


def digits_intro(data, settings):
    """The task and the settings."""
    noise = "No label is corrupted, so there is hardly any noise to learn. The tables show what a penalty does then."
    if len(data.corrupted):
        noise = (
            f"{len(data.corrupted)} training labels ({settings.label_noise:.0%}) are corrupted: each is replaced by "
            "another digit at random. These labels are the noise. A network that learns the digits and no noise has a "
            f"training accuracy of {1 - len(data.corrupted) / len(data.y):.1%}. All test labels are correct."
        )
    return heading(
        "Handwritten digits",
        f"A network with layers of 64, 128, 64 and 10 units is trained on {len(data.y)} images and tested on "
        f"{len(data.y_test)} (split by class, seed {settings.seed}). {noise} Epochs: {settings.epochs}; "
        f"l1 = {settings.l1:g}, l2 = {settings.l2:g}; no penalty on biases.",
    )


def comparison(results, data):
    """The table of penalties."""
    title = "Penalties (accuracies and shares in %, total time of all updates in ms)"
    table = make_table(title, ("penalty",), (*RESULTS, "fastreg\nms", "NumPy\nms", "ratio"))
    for r in results:
        times = f"{1e3 * r.seconds:.0f}", f"{1e3 * r.numpy_seconds:.0f}", f"{r.numpy_seconds / r.seconds:.1f}"
        table.add_row(r.penalty, *result_cells(r), *times)
    finite = [r for r in results if np.isfinite(r.norm)]
    difference = max((r.difference for r in finite), default=np.nan)
    notes = [
        "train, test: accuracy on the training and test images. noise learned: share of the corrupted labels that the "
        "network reproduces. norm: Euclidean norm of all weights.",
        "Times: each penalty is trained twice, with fastreg's updates and with NumPy expressions, in alternate epochs "
        f"on one thread. The network has {results[0].size:,} weights in float64. The final weights of the two "
        f"trainings differ by at most {difference:.0e}.",
        f"{np.sum(~data.nonblank)} of the 64 pixels are blank in every training image, so their weights never get a "
        "gradient. If the penalty sets these weights to zero, that is no feature selection.",
    ]
    for r in results:
        if r not in finite:
            notes.append(f"{r.penalty} diverged because its strength is too large. The pictures do not show it.")
    return Group(table, *map(paragraph, notes))


def sweep(penalty, trials, fits):
    """The table of one penalty's strengths."""
    title = f"Strength of {penalty} (accuracies and shares in %)"
    columns = "l1", "l2", "train", "valid.", "valid.\nloss", *RESULTS[2:]
    table = make_table(title, (), columns, ("fit",))
    for t, fit in zip(trials, fits):
        train, validation, *others = result_cells(t, t.validation)
        table.add_row(*strength_cells(t), train, validation, f"{t.loss:.2f}", *others, Text(fit, style=FITS[fit]))
    return table


def strength_cells(r):
    """The cells of l1 and l2."""
    return [f"{s:.1e}" if s else "-" for s in (r.l1, r.l2)]


def fits_explained():
    """The meaning of the last column of a sweep."""
    return paragraph(
        "valid.: accuracy on training images that were held out for validation; their labels are corrupted, too. The "
        "test images are not used. best: lowest validation loss (cross-entropy). good: a loss within one standard "
        "error of the best. overfits: a higher loss, but higher training accuracy than the best. underfits: a higher "
        "loss and no higher training accuracy."
    )


def chosen(results):
    """The table of networks with the chosen strengths."""
    title = "Chosen by validation, and only then tested"
    table = make_table(title, ("penalty",), ("l1", "l2", *RESULTS))
    for r in results:
        table.add_row(r.penalty, *strength_cells(r), *result_cells(r))
    return table


# -- Optimizers -------------------------------------------------------------------------------------------------------


def optimizers_intro(optimizers, plain, settings):
    """The task, and the learning rates compared with that of plain gradient descent."""
    rates = ", ".join(f"{name} {lr:g}" for name, (_, lr) in optimizers.items())
    return heading(
        "Optimizers",
        "The same network is trained on the same digits with momentum 0.9 and with Adam. The L1 penalty is either part "
        "of the gradient (subgradient) or a proximal step (proximal). Learning rates decrease linearly to zero; "
        f"initial values: {rates}. The effective learning rate of momentum is "
        f"{optimizers['momentum'][1] / (1 - 0.9):g}. It was {plain:g} for plain gradient descent above, so there are "
        "fewer zeros here after the same number of epochs. "
        f"Epochs: {settings.epochs}; l1 = {settings.l1:g}; biases are a separate parameter group without a penalty.",
    )


def optimizers(histories):
    """The table of optimizers, with zeros in three parts."""
    title = "Optimizers (accuracies and shares in %)"
    columns = "train", "test", "noise\nlearned", "exact\nzeros", "blank\nzeros", "dead\nzeros", "norm"
    table = make_table(title, ("", "mode"), columns)
    previous = None
    for h in histories:
        train, test, noise, _, norm = result_cells(h.result)
        trained = percent(h.zeros[-1, 0] / h.sizes[-1, 0])
        _, *others = (f"{zeros}/{size}" for zeros, size in zip(h.zeros[-1], h.sizes[-1]))
        name = "" if h.optimizer == previous else h.optimizer
        table.add_row(name, h.mode, train, test, noise, trained, *others, norm)
        previous = h.optimizer
    explained = (
        "exact zeros: their share among trained weights, that is, weights that have had a nonzero gradient. blank "
        "zeros: number of zeros among weights of pixels that are blank in every training image; these weights never "
        "have a gradient. dead zeros: number of zeros among all other weights that never had a gradient, nearly all of "
        "them of dead ReLU units. Only zeros of trained weights are a selection of features."
    )
    return Group(table, paragraph(explained))


# -- Whole units and pixels -------------------------------------------------------------------------------------------


def pruning_intro(lr, momentum, l21, epochs):
    """The task and the settings."""
    return heading(
        "Whole units and pixels",
        "The same network is trained on the same digits without a penalty, with the group lasso, and with L1. A group "
        "is a row of a weight matrix: the outgoing weights of one pixel or of one hidden unit. If they are all zero, "
        "the pixel or the unit is cut out of the matrices. The strength of L1 is chosen such that about as many "
        "weights are nonzero after the cut as with the group lasso; the test images are not used for this. "
        f"Momentum {momentum:g}, proximal; the learning rate decreases linearly from {lr:g} to zero. "
        f"Epochs: {epochs}; l21 = {l21:g}; no penalty on biases.",
    )


def pruning(pruned, data):
    """The table of networks after the cut."""
    columns = (
        "train",
        "test",
        "noise\nlearned",
        "non-\nzeros",
        "pixels",
        "hidden\nunits",
        "mult.",
        "time\nus",
        "ratio",
    )
    table = make_table("Networks after the cut (accuracies and shares in %)", ("penalty",), columns)
    table.columns[0].no_wrap = True
    for p in pruned:
        sizes = f"{p.nonzeros:,}", str(p.pixels), "+".join(map(str, p.units)), f"{p.multiplications:,}"
        before, after = p.seconds
        times = f"{1e6 * after:.0f}", f"{before / after:.1f}"
        table.add_row(p.name, *result_cells(p.result)[:3], *sizes, *times)
    l1 = next(p.result.l1 for p in pruned if p.result.l1)
    explained = (
        "nonzeros, pixels, hidden units: what is left after the cut. mult.: multiplications for one image, one for "
        f"each element of the matrices. time: of a forward pass over the {len(data.y_test)} test images, which have "
        "only the remaining pixels. ratio: time before the cut divided by time after it. Median times on one thread. "
        f"Strength of L1: {l1:.2g}."
    )
    return Group(table, paragraph(explained))


# -- Correlated features ----------------------------------------------------------------------------------------------


def correlated_intro(x, strengths):
    """The task and the settings."""
    return heading(
        "Correlated features",
        f"Linear regression on the diabetes data ({len(x)} patients, {x.shape[1]} standardised features) with every "
        "feature duplicated, by full-batch proximal gradient descent from random initial weights; "
        f"{strengths} (L1 is fitted without l2).",
    )


def correlated(lasso, net, names):
    """The weights of one feature and its copy, from every start; the feature that L1 splits most unequally."""
    column = int(np.argmax(np.max(np.abs(lasso.columns - lasso.copies), axis=0)))
    columns = "start", "weight", "weight\nof copy", "sum", "scikit-\nlearn", "largest\ndifference", "largest\nerror"
    table = make_table(f"Weights of the feature {names[column]!r} and of its copy", ("penalty",), columns)
    for penalty, result in (("L1", lasso), ("elastic net", net)):
        for start, (w, v) in enumerate(zip(result.columns[:, column], result.copies[:, column])):
            weights = (f"{number:.3f}" for number in (w, v, w + v, result.known[column]))
            difference = result.difference[start]
            difference = f"{difference:.1f}" if difference > 0.1 else f"{difference:.0e}"
            row = penalty if start == 0 else "", str(start + 1), *weights, difference, f"{result.error[start]:.0e}"
            table.add_row(*row)
        table.add_section()
    explained = (
        "scikit-learn: the coefficient on the original data. largest difference: between the weights of a feature and "
        "of its copy, over all features. largest error: of the sums, compared with scikit-learn, over all features."
    )
    return Group(table, paragraph(explained))


# -- Streaming text ---------------------------------------------------------------------------------------------------


def streaming_omitted():
    """Why the section is empty."""
    return heading("Streaming text", "Omitted: fewer than two packages on this machine have enough docstrings.")


def streaming_intro(documents, batch, strengths):
    """The task and the settings."""
    one, other = documents.packages
    counts = np.bincount(documents.y) + np.bincount(documents.y_test)
    penalty = ", ".join(f"{name} = {value:g}" for name, value in strengths.items())
    return heading(
        "Streaming text",
        f"The task: does a docstring come from {one} or from {other}? The {counts[0]} and {counts[1]} docstrings are "
        "read from source files on this machine. The names of packages are removed, and words are hashed to "
        f"{documents.x.shape[1]:,} features; {documents.features:,} features occur in the stream. The stream has "
        f"{len(documents.y)} documents in random order, {batch} in each call of partial_fit; {len(documents.y_test)} "
        f"documents are for testing. Log loss, {penalty} (L1 only), default learning rates.",
    )


def streaming(results, documents):
    """The table of learners, for mini-batches and for a single call."""
    columns = (
        "progr.\naccuracy",
        "test\nacc.",
        "non-\nzeros",
        "% of\nseen",
        "time\ns",
        "test\nacc.*",
        "non-\nzeros*",
        "differ*",
    )
    table = make_table("The stream in mini-batches, and in a single call (*)", ("",), columns)
    table.columns[0].no_wrap = True
    for r in results:
        nonzeros = f"{r.nonzeros[-1]:,}", percent(r.nonzeros[-1] / documents.features)
        single = percent(r.single_accuracy), f"{r.single_nonzeros:,}", f"{r.differing:,}"
        accuracies = percent(r.progressive_accuracy), percent(r.accuracy[-1])
        table.add_row(r.name, *accuracies, *nonzeros, f"{r.seconds:.2f}", *single)
    explained = (
        "progr. accuracy: progressive accuracy, the share of documents of the stream classified correctly before they "
        "are learned. test acc.: accuracy on the test documents at the end. nonzeros: number of nonzero weights, also "
        "as a share of the features seen in the stream. time: spent in partial_fit. *: after a single call of "
        "partial_fit with the same documents in the same order. differ*: number of weights that differ, in any bit, "
        "between mini-batches and the single call. Accuracies are in %."
    )
    return Group(table, paragraph(explained))
