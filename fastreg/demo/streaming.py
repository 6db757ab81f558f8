"""A stream of docstrings: few nonzero weights of 2²⁰ while mini-batches arrive, compared with scikit-learn.

Docstrings are real text that is available wherever this demo runs. They are read from source files and nothing is
imported, because modules can have side effects. The task is to classify which package a docstring belongs to; the first
two packages with enough docstrings are used.

The penalty acts on all weights, but a sparse sample touches only a few. fastreg applies the pending penalty later;
scikit-learn's partial_fit drops it at the end of every call. To show this, every learner gets the same documents in the
same order twice, in mini-batches and in a single call, and the two results are compared. Progressive accuracy is
measured on each mini-batch before it is learned: the accuracy of SGD at a single moment depends on the last few
documents. All learners have their default learning rates.
"""

import ast
import sysconfig
import time
import warnings
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import ceil
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

from fastreg.demo import claims, figures, report
from fastreg.linear import StreamingClassifier

# In order of preference.
PACKAGES = {"the standard library": "", "NumPy": "numpy", "SciPy": "scipy", "scikit-learn": "sklearn"}
# Words that name a package; they would make the task trivial.
NAMES = ["np", "numpy", "plt", "pyplot", "matplotlib", "py", "python", "scikit", "scipy", "sklearn", "sp", "stdlib"]
SKIPPED_FOLDERS = {"test", "tests", "site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo", "externals"}
MAX_DOCUMENTS = 1200  # of one package
MIN_DOCUMENTS = 300  # of one package
MIN_WORDS = 10  # of one docstring
FEATURES = 2**20
BATCH = 10
EVALUATIONS = 20
STRENGTHS = {"alpha": 3e-5, "l1_ratio": 1.0}
LEARNERS = {
    "fastreg, FTRL": partial(StreamingClassifier, optimizer="ftrl", **STRENGTHS),
    "fastreg, SGD": partial(StreamingClassifier, optimizer="sgd", **STRENGTHS),
    "scikit-learn, SGD": partial(
        SGDClassifier, loss="log_loss", penalty="elasticnet", shuffle=False, random_state=0, **STRENGTHS
    ),
}


@dataclass(frozen=True)
class Documents:
    """The hashed documents in the order of the stream, and the test documents; y indexes packages."""

    packages: list
    x: object  # CSR, as x_test
    y: np.ndarray
    x_test: object
    y_test: np.ndarray

    @property
    def features(self):
        """The number of features that occur in the stream; the weights of all others are zero for every learner."""
        return len(np.unique(self.x.indices))


@dataclass(frozen=True)
class StreamResult:
    """The result of one learner.

    `progressive_accuracy` is the share of documents that are classified correctly before they are learned. `seen`,
    `nonzeros` and `accuracy` hold the documents seen, the nonzero weights and the test accuracy at each evaluation.
    `weights` and `single_weights` hold the weights after mini-batches and after a single call, the intercept last.
    """

    name: str
    progressive_accuracy: float
    seen: np.ndarray
    nonzeros: np.ndarray
    accuracy: np.ndarray
    weights: np.ndarray
    single_weights: np.ndarray
    single_accuracy: float
    seconds: float

    @property
    def single_nonzeros(self):
        """The number of nonzero weights after a single call."""
        return int(np.count_nonzero(self.single_weights[:-1]))

    @property
    def differing(self):
        """How many weights differ, in any bit, between mini-batches and a single call."""
        return int(np.sum(self.weights.view(np.int64) != self.single_weights.view(np.int64)))


# -- Docstrings -------------------------------------------------------------------------------------------------------


def sources(package):
    """The source files of a package, or of the standard library, without tests and vendored code; may be empty."""
    if package:
        spec = find_spec(package)
        root = Path(spec.origin).parent if spec and spec.origin else None
    else:
        root = Path(sysconfig.get_path("stdlib"))
    files = [] if root is None else sorted(root.rglob("*.py"))
    return [path for path in files if not SKIPPED_FOLDERS.intersection(path.relative_to(root).parts)]


def docstrings(path):
    """The docstrings of the public functions, classes and methods in a source file."""
    try:
        with warnings.catch_warnings(action="ignore"):
            nodes = [ast.parse(path.read_bytes())]
    except (OSError, SyntaxError, ValueError, RecursionError):  # a file that cannot be parsed has no docstrings
        return
    while nodes:
        for node in nodes.pop().body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                text = ast.get_docstring(node)
                if text and len(text.split()) >= MIN_WORDS:
                    yield text
                if isinstance(node, ast.ClassDef):
                    nodes.append(node)


def sample_docstrings(package, rng):
    """Up to MAX_DOCUMENTS different docstrings from the files of a package in random order."""
    files, found = sources(package), {}
    for i in rng.permutation(len(files)):
        found.update(dict.fromkeys(docstrings(files[i])))
        if len(found) >= MAX_DOCUMENTS:
            break
    return list(found)[:MAX_DOCUMENTS]


def load(settings, advance=lambda amount: None):
    """Documents of two packages in random order, a fifth of them for testing; None if there are too few."""
    rng, packages, texts = np.random.default_rng(settings.seed), [], {}
    for name, package in PACKAGES.items():
        found = sample_docstrings(package, rng)
        if len(found) >= MIN_DOCUMENTS:
            for text in found:
                texts.setdefault(text, len(packages))
            packages.append(name)
            advance(1)
        if len(packages) == 2:
            break
    else:
        return None
    x = HashingVectorizer(n_features=FEATURES, stop_words=NAMES).transform(list(texts))
    order = rng.permutation(len(texts))
    x, y = x[order], np.array(list(texts.values()))[order]
    tests = len(y) // 5
    return Documents(packages, x[tests:], y[tests:], x[:tests], y[:tests])


# -- Learning ---------------------------------------------------------------------------------------------------------


def all_weights(model):
    """A copy of the weights with the intercept appended."""
    return np.append(model.coef_, model.intercept_)


def learn_stream(documents, name, advance):
    """Train a learner on the documents in mini-batches, and a second one in a single call; returns their results."""
    x, y, classes, correct, seconds, evaluations = documents.x, documents.y, [0, 1], 0, 0.0, []
    model = LEARNERS[name]()
    batches = [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(y), BATCH)]
    evaluated = set(np.linspace(0, len(batches), EVALUATIONS + 1).astype(int))
    for count, (features, labels) in enumerate(batches, 1):
        if count > 1:
            correct += np.sum(model.predict(features) == labels)
        start = time.perf_counter()
        model.partial_fit(features, labels, classes=classes)
        seconds += time.perf_counter() - start
        if count in evaluated:
            accuracy = model.score(documents.x_test, documents.y_test)
            evaluations.append((min(count * BATCH, len(y)), np.count_nonzero(model.coef_), accuracy))
        advance(1)
    single = LEARNERS[name]().partial_fit(x, y, classes=classes)
    seen, nonzeros, accuracy = map(np.array, zip(*evaluations))
    return StreamResult(
        name=name,
        progressive_accuracy=correct / (len(y) - BATCH),  # the first mini-batch has no prediction
        seen=seen,
        nonzeros=nonzeros,
        accuracy=accuracy,
        weights=all_weights(model),
        single_weights=all_weights(single),
        single_accuracy=single.score(documents.x_test, documents.y_test),
        seconds=seconds,
    )


def section(settings, console):
    """Train every learner on the stream of docstrings; returns the figure."""
    with console.progress(2) as start_task:
        documents = load(settings, start_task("reading docstrings"))
    if documents is None:
        console.print(report.streaming_omitted())
        return {}
    console.print(report.streaming_intro(documents, BATCH, STRENGTHS))
    with console.progress(len(LEARNERS) * ceil(len(documents.y) / BATCH)) as start_task:
        results = [learn_stream(documents, name, start_task(name)) for name in LEARNERS]
    console.print(report.streaming(results, documents))
    report.print_claims(console, "documentation", claims.streaming(results, documents))
    return {"streaming-text.png": figures.streaming(results, documents)}
