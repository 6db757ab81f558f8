"""Layer 5, class labels, compared without a conversion: NumPy would first convert both sides to a common dtype.

After that conversion, the string "10" equals the number 10, and 2**53 + 1 equals the float64 2**53. Here a label is
known if it has the same kind as the classes and Python's == finds it among them.
"""

import reprlib
from numbers import Number, Real

import numpy as np
from sklearn.utils import compute_class_weight

MAX_WEIGHT = float(np.finfo(float).max)
KINDS = {
    "b": "numbers", "i": "numbers", "u": "numbers", "f": "numbers", "U": "strings", "T": "strings", "S": "bytes",
}  # fmt: skip
TYPES = (((Number, np.bool_), "numbers"), (str, "strings"), (bytes, "bytes"))


def kind_of(x, name):
    """The kind of all labels in a list or an array; ValueError if they are of several kinds, or if one is None."""
    listed = isinstance(x, list | tuple)
    if not listed and x.dtype.kind != "O":
        kinds = {KINDS.get(x.dtype.kind, x.dtype.name)}
    else:
        types = set(map(type, x if listed else x.ravel()))
        if any(own.__hash__ is None for own in types):
            raise ValueError(f"{name}: expected labels such as numbers or strings, got {short(x)}")
        kinds = {next((kind for known, kind in TYPES if issubclass(own, known)), own.__name__) for own in types}
    if len(kinds) > 1 or "NoneType" in kinds:
        raise ValueError(
            f"{name}: expected labels of one kind, such as numbers or strings, got {' and '.join(sorted(kinds))}"
        )
    return kinds.pop() if kinds else None


def check_list(x, name):
    """Check the kinds of labels in a list, before NumPy converts them to one dtype."""
    if isinstance(x, list | tuple) and not any(
        hasattr(label, "__len__") and not isinstance(label, str | bytes) for label in x
    ):
        kind_of(x, name)


def sorted_classes(classes):
    """The given classes, checked, sorted and without duplicates."""
    check_list(classes, "classes")
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
    """Whether both have the same labels, of the same kind."""
    return kind_of(known, "classes") == kind_of(others, "classes") and known.tolist() == others.tolist()


def encode(y, known):
    """The position of each label in the sorted classes."""
    kind, expected = kind_of(y, "y"), kind_of(known, "classes")
    if kind != expected:
        raise ValueError(f"y: expected labels among the classes {short(known)}, which are {expected}, got {kind}")
    if y.dtype == known.dtype and y.dtype.kind != "O":
        if len(known) == 2:  # without a search
            is_second = y == known[1]
            unknown = y[is_second == (y == known[0])]
            codes = is_second.astype(np.intp)
        else:
            codes = np.minimum(np.searchsorted(known, y), len(known) - 1)
            unknown = y[known[codes] != y]
    else:
        positions = {label: position for position, label in enumerate(known.tolist())}
        labels, inverse = np.unique(y, return_inverse=True)
        code_of_label = np.array([positions.get(label, -1) for label in labels.tolist()])
        codes, unknown = code_of_label[inverse.ravel()], labels[code_of_label < 0]
    if len(unknown):
        raise ValueError(f"y: expected labels among the classes {short(known)}, also got {short(np.unique(unknown))}")
    return codes


def class_weights_of(class_weight, classes, codes, y):
    """The weight of each sample's class."""
    if isinstance(class_weight, str) and class_weight == "balanced":
        return np.asarray(compute_class_weight("balanced", classes=classes, y=y), float)[codes]
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown and any(label not in class_weight for label in labels):
        raise ValueError(f"class_weight: expected classes among {short(classes)}, also got {short(unknown)}")
    weights = [class_weight.get(label, 1.0) for label in labels]
    for label, weight in zip(labels, weights):
        if not isinstance(weight, Real) or not 0 <= weight <= MAX_WEIGHT:
            raise ValueError(f"class_weight: expected finite numbers, not negative, got {short(weight)} for {label!r}")
    return np.array(weights, float)[codes]


def check_class_weight(class_weight):
    """Check for a dict, "balanced" or None; the types come first, since == of an array is an array."""
    if class_weight is None or isinstance(class_weight, dict):
        return
    if not isinstance(class_weight, str) or class_weight != "balanced":
        raise ValueError(f"class_weight: expected a dict, 'balanced' or None, got {short(class_weight)}")


def short(x):
    """A short text of one line for any object."""
    text = reprlib.repr(x) if not isinstance(x, np.ndarray) else f"array({reprlib.repr(x.tolist())})"
    return " ".join(text.split())
