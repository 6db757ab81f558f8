"""A stream of text: who wrote this docstring? Few weights of 2²⁰ while mini-batches come in, against scikit-learn.

Docstrings are real text that every machine with this demo has. They are read from the source files and nothing is
imported: modules can have side effects. The first two of the packages that have enough of them are told apart.

The penalty acts on all weights, a sparse sample touches a few. fastreg remembers what is owed; scikit-learn's
partial_fit forgets it with every call. So every learner takes the same documents in the same order twice, in
mini-batches and in a single call, and what the two come to is compared. Accuracy is judged along the stream, each
mini-batch before it is learned: what SGD comes to at any one moment depends on the last few documents. Learning rates
are everybody's defaults.
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

PACKAGES = {"the standard library": "", "NumPy": "numpy", "SciPy": "scipy", "scikit-learn": "sklearn"}  # the best first
GIVEAWAYS = ["np", "numpy", "plt", "pyplot", "matplotlib", "py", "python", "scikit", "scipy", "sklearn", "sp", "stdlib"]
ELSEWHERE = {"test", "tests", "site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo", "externals"}
DOCUMENTS = 1200  # of a package at most
ENOUGH = 300
WORDS = 10  # in a docstring at least
FEATURES = 2**20
BATCH = 10
LOOKS = 20
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
    """The hashed documents in the order of the stream, those held out, and who wrote them: packages[y]."""

    packages: list
    x: object  # CSR, as x_test
    y: np.ndarray
    x_test: object
    y_test: np.ndarray

    @property
    def features(self):
        """How many features occur in the stream; the weights of the others are zero for everybody."""
        return len(np.unique(self.x.indices))


@dataclass(frozen=True)
class Course:
    """One learner on the stream.

    `foretold` is the share of documents told right before they were learned. `seen`, `kept` and `accuracy` hold
    documents seen, non-zero weights and accuracy on the documents held out at every look; `streamed` and `whole` the
    weights after mini-batches and after a single call, the intercept last.
    """

    name: str
    foretold: float
    seen: np.ndarray
    kept: np.ndarray
    accuracy: np.ndarray
    streamed: np.ndarray
    whole: np.ndarray
    whole_accuracy: float
    seconds: float

    @property
    def whole_kept(self):
        """The non-zero weights after a single call."""
        return int(np.count_nonzero(self.whole[:-1]))

    @property
    def differ(self):
        """How many weights differ, in any bit, between mini-batches and a single call."""
        return int(np.sum(self.streamed.view(np.int64) != self.whole.view(np.int64)))


# -- Docstrings -------------------------------------------------------------------------------------------------------


def sources(package):
    """The source files of a package, or of the standard library, without tests and the work of others; maybe none."""
    if package:
        spec = find_spec(package)
        root = Path(spec.origin).parent if spec and spec.origin else None
    else:
        root = Path(sysconfig.get_path("stdlib"))
    files = [] if root is None else sorted(root.rglob("*.py"))
    return [path for path in files if not ELSEWHERE.intersection(path.relative_to(root).parts)]


def docstrings(path):
    """The docstrings of the public functions, classes and methods in a source file."""
    try:
        with warnings.catch_warnings(action="ignore"):
            nodes = [ast.parse(path.read_bytes())]
    except (OSError, SyntaxError, ValueError, RecursionError):  # a file that cannot be read has nothing to say
        return
    while nodes:
        for node in nodes.pop().body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                text = ast.get_docstring(node)
                if text and len(text.split()) >= WORDS:
                    yield text
                if isinstance(node, ast.ClassDef):
                    nodes.append(node)


def collect(package, rng):
    """Different docstrings from the files of a package in random order, until there are enough."""
    files, found = sources(package), {}
    for i in rng.permutation(len(files)):
        found.update(dict.fromkeys(docstrings(files[i])))
        if len(found) >= DOCUMENTS:
            break
    return list(found)[:DOCUMENTS]


def load(settings, tick=lambda ticks: None):
    """Documents of two packages in random order, a fifth of them held out; None where there are not enough."""
    rng, packages, texts = np.random.default_rng(settings.seed), [], {}
    for name, package in PACKAGES.items():
        found = collect(package, rng)
        if len(found) >= ENOUGH:
            for text in found:
                texts.setdefault(text, len(packages))
            packages.append(name)
            tick(1)
        if len(packages) == 2:
            break
    else:
        return None
    x = HashingVectorizer(n_features=FEATURES, stop_words=GIVEAWAYS).transform(list(texts))
    order = rng.permutation(len(texts))
    x, y = x[order], np.array(list(texts.values()))[order]
    held = len(y) // 5
    return Documents(packages, x[held:], y[held:], x[:held], y[:held])


# -- Learning ---------------------------------------------------------------------------------------------------------


def weights(model):
    """A copy of the weights and the intercept, all in one."""
    return np.append(model.coef_, model.intercept_)


def follow(documents, name, tick):
    """Stream the documents in mini-batches, look at the learner now and then, and give another all of them at once."""
    x, y, classes, right, seconds, looks = documents.x, documents.y, [0, 1], 0, 0.0, []
    model = LEARNERS[name]()
    batches = [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(y), BATCH)]
    times = set(np.linspace(0, len(batches), LOOKS + 1).astype(int))
    for count, (features, labels) in enumerate(batches, 1):
        if count > 1:
            right += np.sum(model.predict(features) == labels)
        start = time.perf_counter()
        model.partial_fit(features, labels, classes=classes)
        seconds += time.perf_counter() - start
        if count in times:
            accuracy = model.score(documents.x_test, documents.y_test)
            looks.append((min(count * BATCH, len(y)), np.count_nonzero(model.coef_), accuracy))
        tick(1)
    at_once = LEARNERS[name]().partial_fit(x, y, classes=classes)
    ends = weights(model), weights(at_once), at_once.score(documents.x_test, documents.y_test)
    return Course(name, right / (len(y) - BATCH), *map(np.array, zip(*looks)), *ends, seconds)


def section(settings, screen):
    """Stream the docstrings through every learner; returns the figure."""
    with screen.progress(2) as progress:
        documents = load(settings, progress("reading docstrings"))
    if documents is None:
        screen.print(report.text_missing())
        return {}
    screen.print(report.text_intro(documents, BATCH, STRENGTHS))
    with screen.progress(len(LEARNERS) * ceil(len(documents.y) / BATCH)) as progress:
        courses = [follow(documents, name, progress(name)) for name in LEARNERS]
    screen.print(report.text(courses, documents))
    screen.claims(claims.text(courses, documents), source="the documentation")
    return {"text.png": figures.text(courses, documents)}
