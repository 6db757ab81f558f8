"""Labels are compared without conversion to a common dtype; class weights are for the known classes."""

import numpy as np
import pytest
from linear_cases import bits, data, in_batches, make

from fastreg.linear import StreamingClassifier

pytestmark = pytest.mark.filterwarnings("ignore:fit. the mean loss")  # models with few epochs

MANY = np.arange(30)
DAYS = np.datetime64("2020-01-01") + MANY
KINDS = {
    "numbers": MANY,
    "floats": MANY / 2,
    "unsigned": MANY.astype(np.uint8),
    "strings": MANY.astype(str),
    "objects that are strings": MANY.astype(str).astype(object),
    "objects that are numbers": MANY.astype(object),
    "bytes": MANY.astype("S"),
    "days": DAYS,
}
SAME = {"numbers": "number", "floats": "number", "unsigned": "number", "objects that are numbers": "number"}
SAME |= {"strings": "string", "objects that are strings": "string"}


@pytest.mark.parametrize("samples", [1, 2, 300, 1000])
@pytest.mark.parametrize("classes", [2, 11, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_another_kind_are_refused(kind, classes, samples):
    """For any numbers of classes and samples, since the algorithm of NumPy's search depends on both."""
    known = KINDS[kind][:classes]
    x = np.random.default_rng(0).standard_normal((samples, 3))
    model = StreamingClassifier(optimizer="sgd").partial_fit(x, known[np.arange(samples) % classes], known)
    before = bits(model)
    others = {name: labels for name, labels in KINDS.items() if SAME.get(name, name) != SAME.get(kind, kind)}
    if SAME.get(kind) != "number":
        others["bools"] = np.arange(30) % 2 == 0
    for labels in others.values():
        y = labels[:classes][np.arange(samples) % classes]
        for own in (y, y.astype(object), y.tolist()):
            with pytest.raises(ValueError, match=r"^y: expected labels"):
                model.partial_fit(x, own)
            with pytest.raises(ValueError, match=r"^classes: expected "):
                model.partial_fit(x, known[np.arange(samples) % classes], labels[: max(2, classes)])
    assert bits(model) == before


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_the_same_kind_train(kind):
    x = np.random.default_rng(0).standard_normal((60, 3))
    codes = np.arange(60) % 30
    expected = StreamingClassifier(optimizer="sgd").partial_fit(x, codes, MANY)
    for other in (name for name in KINDS if SAME.get(name, name) == SAME.get(kind, kind)):
        if {kind, other} == {"floats", other} != {"floats"} or {kind, other} == {kind, "floats"} != {"floats"}:
            continue  # multiples of 1/2 are other numbers
        labels = KINDS[other]
        if SAME.get(kind) == "string" or kind == "bytes":
            order = np.argsort(labels)
            x_, y = x, labels[order][codes]
        else:
            x_, y = x, labels[codes]
        model = StreamingClassifier(optimizer="sgd").partial_fit(x_, y, KINDS[kind])
        assert bits(model) == bits(expected)
        assert bits(StreamingClassifier(optimizer="sgd").partial_fit(x_, y.tolist(), KINDS[kind].tolist())) == bits(
            expected
        )


def test_bools_are_the_numbers_0_and_1():
    x = np.random.default_rng(0).standard_normal((20, 3))
    expected = StreamingClassifier().partial_fit(x, (x[:, 0] > 0).astype(int), [0, 1])
    for y, classes in (
        (x[:, 0] > 0, [0, 1]),
        (x[:, 0] > 0, [False, True]),
        ((x[:, 0] > 0).astype(float), [False, True]),
    ):
        assert bits(StreamingClassifier().partial_fit(x, y, classes)) == bits(expected)


NEAR = {
    "integers that are equal as float64": (np.array([2**53, 2**53 + 2]), np.full(4, 2**53 + 1, np.uint64)),
    "a float that is equal to one of them as float64": (np.array([2**53 + 1, 2**53 + 3]), np.full(4, 2.0**53)),
    "a longer string": (np.array(["a", "b"]), np.array(["a", "bc", "a", "b"])),
    "a string with a space": (np.array(["a", "b"], object), np.array(["a ", "b", "a", "b"])),
}


@pytest.mark.parametrize("case", NEAR)
def test_labels_that_are_almost_equal_to_classes(case):
    known, y = NEAR[case]
    model = StreamingClassifier()
    with pytest.raises(ValueError, match=r"^y: expected labels among the classes .*, also got"):
        model.partial_fit(np.ones((4, 2)), y, known)


INVALID = {
    "None": [None, 1, 0, 1],
    "None among strings": np.array([None, "a", "b", "a"], object),
    "strings and numbers": ["a", 1, 0, 1],
    "strings and numbers as objects": np.array(["a", 1, 0, 1], object),
    "NaN": [np.nan, 1.0, 0.0, 1.0],
    "NaN as an object": np.array([np.nan, 1.0, 0.0, 1.0], object),
    "NaN among strings": np.array([np.nan, "a", "b", "a"], object),
    "infinity": [np.inf, 1.0, 0.0, 1.0],
    "bytes and strings": ["a", b"a", "b", "b"],
    "tuples": [(0, 1), (1, 2), (0, 1), (1, 2)],
    "dicts": np.array([{}, {}, {}, {}], object),
    "complex": [0, 1j, 0, 1j],
    "lists": np.array([[1], [2, 3], [1], [1]], object),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_labels(case):
    x = np.random.default_rng(0).standard_normal((4, 3))
    y = INVALID[case]
    new, model = StreamingClassifier(), StreamingClassifier().partial_fit(x, [0, 1, 0, 1], [0, 1])
    before = bits(model)
    for call in (
        lambda: new.fit(x, y),
        lambda: new.partial_fit(x, y, [0, 1]),
        lambda: new.partial_fit(x, [0, 1, 0, 1], y),
        lambda: model.partial_fit(x, y),
        lambda: model.fit(x, y),
        lambda: model.partial_fit(x, [0, 1, 0, 1], y),
    ):
        with pytest.raises(ValueError, match=r"(?i)(y|classes|label|nan|infinity|complex)"):
            call()
    assert not hasattr(new, "classes_")
    assert bits(model) == before


def test_pandas_labels():
    pandas = pytest.importorskip("pandas")
    x, y = data("log_loss", classes=3)
    expected = in_batches(StreamingClassifier(), x, y, 10)
    for kind in (object, "category", "string"):
        series = pandas.Series(y, dtype=kind)
        assert bits(StreamingClassifier().partial_fit(x, series, np.unique(y))) == bits(expected)


CLASS_WEIGHTS = {
    "a key that is not a class": ({"one": 1.0, "four": 2.0}, r"expected classes among .*, also got \['four'\]"),
    "keys of another kind": ({0: 1.0, 1: 2.0}, r"expected classes among"),
    "negative": ({"one": -1.0}, "expected finite numbers, not negative, got -1.0 for 'one'"),
    "NaN": ({"three": np.nan}, "expected finite numbers"),
    "a string": ({"three": "2"}, "expected finite numbers"),
}


@pytest.mark.parametrize("case", CLASS_WEIGHTS)
def test_invalid_class_weights(case):
    weights, match = CLASS_WEIGHTS[case]
    x, y = data("log_loss", classes=3)
    model = in_batches(StreamingClassifier(), x, y, 10).set_params(class_weight=weights)
    before = bits(model)
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=rf"^class_weight: {match}"):
            call(x, y)
    assert bits(model) == before


def test_class_weights_of_pandas_are_refused():
    pandas = pytest.importorskip("pandas")
    x, y = data("log_loss")
    for weights in (pandas.Series({0: 1.0, 1: 2.0}), pandas.DataFrame({0: [1.0]})):
        for call in (lambda model: model.fit(x, y), lambda model: model.partial_fit(x, y, [0, 1])):
            with pytest.raises(ValueError, match=r"^class_weight: expected a dict, 'balanced' or None, got"):
                call(StreamingClassifier(class_weight=weights))


def test_class_weights_of_absent_classes_are_ignored():
    """A fold of a cross-validation may lack a class."""
    x, y = data("log_loss")
    weights = {0: 1.0, 1: 2.0, 2: 3.0}
    models = [make("log_loss", class_weight=w, max_iter=3, tol=None, random_state=0) for w in (weights, {1: 2.0})]
    assert bits(models[0].fit(x, y)) == bits(models[1].fit(x, y))
