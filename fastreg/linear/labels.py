"""Layer 5, the labels of classes, compared as they are: NumPy would first promote both sides to one type.

Promoted, the text "10" equals the number 10, and 2**53 + 1 the float64 2**53. A label is known if it is of the classes'
kind and equal to one of them, as Python compares.
"""

import reprlib
from numbers import Number, Real

import numpy as np
from sklearn.utils import compute_class_weight

MOST = float(np.finfo(float).max)
KINDS = {"b": "numbers", "i": "numbers", "u": "numbers", "f": "numbers", "U": "texts", "T": "texts", "S": "bytes"}
TYPES = (((Number, np.bool_), "numbers"), (str, "texts"), (bytes, "bytes"))


def kind_of(x, name):
    """What all labels of a list or an array are; ValueError where they are of several kinds, or None."""
    listed = isinstance(x, list | tuple)
    if not listed and x.dtype.kind != "O":
        kinds = {KINDS.get(x.dtype.kind, x.dtype.name)}
    else:
        types = set(map(type, x if listed else x.ravel()))
        if any(own.__hash__ is None for own in types):
            raise ValueError(f"{name}: expected labels such as numbers or texts, got {short(x)}")
        kinds = {next((kind for known, kind in TYPES if issubclass(own, known)), own.__name__) for own in types}
    if len(kinds) > 1 or "NoneType" in kinds:
        raise ValueError(
            f"{name}: expected labels of one kind, such as numbers or texts, got {' and '.join(sorted(kinds))}"
        )
    return kinds.pop() if kinds else None


def check_listed(x, name):
    """Before NumPy makes one type of what stands in a list."""
    if isinstance(x, list | tuple) and not any(
        hasattr(label, "__len__") and not isinstance(label, str | bytes) for label in x
    ):
        kind_of(x, name)


def sorted_classes(classes):
    """The classes that are told in advance, sorted, each once."""
    check_listed(classes, "classes")
    known = np.asarray(classes)
    if known.ndim != 1:
        raise ValueError(f"classes: expected a list of labels, got {short(classes)}")
    kind_of(known, "classes")
    try:
        known = np.unique(known)
    except TypeError as error:
        raise ValueError(f"classes: expected labels that can be sorted, got {short(classes)}") from error
    if (known != known).any() or (known.dtype.kind == "f" and np.isinf(known).any()):
        raise ValueError(f"classes: expected labels, got NaN or infinity among {short(classes)}")
    return known


def same_classes(known, others):
    """Whether they are the same, and of the same kind."""
    return kind_of(known, "classes") == kind_of(others, "classes") and known.tolist() == others.tolist()


def codes_of(y, known):
    """The place of each label among the classes, which are sorted."""
    kind, expected = kind_of(y, "y"), kind_of(known, "classes")
    if kind != expected:
        raise ValueError(f"y: expected labels among the classes {short(known)}, which are {expected}, got {kind}")
    if y.dtype == known.dtype and y.dtype.kind != "O":
        codes = np.minimum(np.searchsorted(known, y), len(known) - 1)
        bad = y[known[codes] != y]
    else:
        places = {label: place for place, label in enumerate(known.tolist())}
        labels, inverse = np.unique(y, return_inverse=True)
        own = np.array([places.get(label, -1) for label in labels.tolist()])
        codes, bad = own[inverse.ravel()], labels[own < 0]
    if len(bad):
        raise ValueError(f"y: expected labels among the classes {short(known)}, got {short(np.unique(bad))} too")
    return codes


def weights_of(class_weight, classes, codes, y):
    """What each sample counts for its class."""
    if isinstance(class_weight, str) and class_weight == "balanced":
        return np.asarray(compute_class_weight("balanced", classes=classes, y=y), float)[codes]
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown and any(label not in class_weight for label in labels):
        raise ValueError(f"class_weight: expected classes among {short(classes)}, got {short(unknown)} too")
    own = [class_weight.get(label, 1.0) for label in labels]
    for label, weight in zip(labels, own):
        if not isinstance(weight, Real) or not 0 <= weight <= MOST:
            raise ValueError(f"class_weight: expected finite numbers, not negative, got {short(weight)} for {label!r}")
    return np.array(own, float)[codes]


def check_class_weight(class_weight):
    """A dict, "balanced" or None; arrays compare in ways of their own."""
    if class_weight is None or isinstance(class_weight, dict):
        return
    if not isinstance(class_weight, str) or class_weight != "balanced":
        raise ValueError(f"class_weight: expected a dict, 'balanced' or None, got {short(class_weight)}")


def short(x):
    """In a line, whatever it is."""
    text = reprlib.repr(x) if not isinstance(x, np.ndarray) else f"array({reprlib.repr(x.tolist())})"
    return " ".join(text.split())
