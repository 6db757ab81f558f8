"""A step is all or nothing: bad gradients, tensors without a gradient, and weights that have changed."""

import pickle

import numpy as np
import pytest
from cases import assert_same_bits, values
from optimizer_cases import DIRECTIONS, STATEFUL, Twin, make, snapshot

import fastreg

names = pytest.mark.parametrize("name", DIRECTIONS)
stateful = pytest.mark.parametrize("name", STATEFUL)


def hundred(dtype=float):
    return [values(dtype, 1 + i % 9, i)[0] for i in range(100)], [values(dtype, 1 + i % 9, i)[1] for i in range(100)]


def read_only(g):
    g.flags.writeable = False
    return g


BAD_GRADIENTS = {  # name → a function from a good gradient g to a bad one, the error, and a word of its message
    "another length": (lambda g: np.ones(g.size + 1), ValueError, "shape"),
    "another shape": (lambda g: g.reshape(-1, 1), ValueError, "shape"),
    "without axes": (lambda g: np.array(1.0), ValueError, "shape"),
    "single precision": (lambda g: g.astype(np.float32), TypeError, "float32"),
    "integers": (lambda g: g.astype(int), TypeError, "int64"),
    "complex": (lambda g: g.astype(complex), TypeError, "complex128"),
    "byte-swapped": (lambda g: g.astype(">f8"), ValueError, "byte"),
    "strided": (lambda g: np.ones(2 * g.size)[::2], ValueError, "strides"),
    "reversed": (lambda g: np.ones(g.size)[::-1], ValueError, "strides"),
    "misaligned": (lambda g: np.zeros(8 * g.size + 1, np.uint8)[1:].view(float), ValueError, "aligned"),
    "masked": (np.ma.array, TypeError, "mask"),
    "a list": (list, TypeError, "list"),
    "a number": (lambda g: 1.0, TypeError, "float"),
    "a string": (lambda g: "gradient", TypeError, "str"),
    "False": (lambda g: False, TypeError, "bool"),
    "bytes": (lambda g: g.tobytes(), TypeError, "dtype"),
}


@names
@pytest.mark.parametrize("case", BAD_GRADIENTS)
@pytest.mark.parametrize("how", ["step", "bind", "after a binding"])
def test_one_bad_gradient_among_a_hundred_changes_nothing(name, case, how):
    make_bad, error, text = BAD_GRADIENTS[case]
    params, grads = hundred()
    optimizer = make(
        name, params, l1=0.1, l2=0.1, penalty_factor=[0.5, *params[1:1], *[np.ones_like(w) for w in params[1:]]]
    )
    optimizer.step(grads)
    if how == "after a binding":
        optimizer.bind(grads)
        optimizer.step()
    bad = list(grads)
    bad[97] = make_bad(grads[97])
    before = snapshot(optimizer)
    with pytest.raises(error, match=rf"(?s)^grads\[97\]: .*{text}") as caught:
        optimizer.bind(bad) if how == "bind" else optimizer.step(bad)
    assert type(caught.value) is error
    assert snapshot(optimizer) == before
    optimizer.step(grads)
    assert optimizer.completed == before[2]["completed"] + 1


@names
def test_gradients_may_share_memory_with_each_other(name):
    params, shared = [np.ones(5), np.ones(5), np.ones((5, 1))], np.full(5, 0.5)
    make(name, params, l1=0.1).step([shared, shared, shared[:, None]])
    assert params[0].tobytes() == params[1].tobytes() == params[2].tobytes()
    assert (shared == 0.5).all()


@pytest.mark.parametrize(
    ("grads", "error", "text"),
    [
        ([np.ones(3)], ValueError, "^grads: .*2.*got 1"),
        ([np.ones(3)] * 3, ValueError, "^grads: .*2.*got 3"),
        ([], ValueError, "^grads: .*got 0"),
        (np.ones((2, 3)), TypeError, "^grads: .*sequence.*ndarray"),
        ({0: np.ones(3), 1: np.ones(3)}, TypeError, "^grads: .*sequence.*dict"),
        (1.0, TypeError, "^grads: .*sequence.*float"),
        ((np.ones(3) for _ in range(3)), ValueError, "^grads: .*got 3"),
    ],
)
def test_gradients_in_another_form_than_a_sequence(grads, error, text):
    optimizer = fastreg.SGD([np.ones(3), np.ones(3)], momentum=0.5)
    before = snapshot(optimizer)
    with pytest.raises(error, match=text):
        optimizer.step(grads)
    assert snapshot(optimizer) == before


@pytest.mark.parametrize(
    ("grads", "error"),
    [
        ({"a": np.ones(3)}, ValueError),
        ({"a": np.ones(3), "b": np.ones(3), "c": np.ones(3)}, ValueError),
        ({"a": np.ones(3), "B": np.ones(3)}, ValueError),
        ([np.ones(3), np.ones(3)], TypeError),
        (np.ones(3), TypeError),
    ],
)
def test_gradients_in_another_form_than_a_mapping(grads, error):
    for groups in (False, True):
        params = {"a": np.ones(3), "b": np.ones(3)}
        optimizer = fastreg.SGD([{"params": params}] if groups else params, momentum=0.5)
        before = snapshot(optimizer)
        with pytest.raises(error, match=r"^grads: "):
            optimizer.step([grads] if groups else grads)
        assert snapshot(optimizer) == before
        optimizer.step([params | {"b": None, "a": None}] if groups else {"b": None, "a": np.ones(3)})


@pytest.mark.parametrize("grads", [[[np.ones(3)]], [np.ones(3)] * 3, np.ones((2, 3)), {0: np.ones(3)}, 1.0])
def test_gradients_in_another_form_than_groups(grads):
    optimizer = fastreg.SGD([{"params": np.ones(3)}, {"params": [np.ones(3)]}], momentum=0.5)
    before = snapshot(optimizer)
    with pytest.raises((TypeError, ValueError), match=r"^grads"):
        optimizer.step(grads)
    assert snapshot(optimizer) == before


@names
def test_a_tensor_without_a_gradient_is_skipped_with_its_state_and_its_count(name):
    """For the tensor, these steps do not exist: Adam's bias correction uses the number of its own steps."""
    (w0, g), (w1, _) = values(float, 33, 0), values(float, 33, 1)
    mode = DIRECTIONS[name].modes[-1]
    twins = [Twin(name, w, mode, l1=0.2, l2=0.1) for w in (w0, w1)]
    optimizer = make(name, [w0, w1], mode=mode, l1=0.2, l2=0.1)
    for present in ((1, 1), (1, 0), (0, 0), (0, 1), (1, 0), (1, 1)):
        before = optimizer.state
        optimizer.step([g if p else None for p in present])
        for w, twin, p in zip((w0, w1), twins, present, strict=True):
            if p:
                twin.step(g)
            assert_same_bits(w, twin.w)
        for state, twin in zip(before.values(), twins, strict=True):
            for a, b in zip(state.values(), twin.state, strict=True):
                assert_same_bits(a, b)
    saved = optimizer.state_dict()
    assert (saved["tensor.0.steps"], saved["tensor.1.steps"], optimizer.completed) == (4, 3, 6)


@stateful
@pytest.mark.parametrize("late", [1, 2, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_tensor_with_late_gradients_begins_at_its_first_step(name, late, reverse):
    """Also with a beta of 0 or 1: its powers are the same at all steps."""
    options = {"betas": (0.0, 0.9)} if "betas" in DIRECTIONS[name].options else {}
    (w, g), (x, _) = values(float, 9, 0), values(float, 9, 1)
    twins = [Twin(name, a, DIRECTIONS[name].modes[-1], **options) for a in (w, x)]
    optimizer = make(name, [x, w] if reverse else [w, x], **options)
    for i in range(late + 2):
        grads = [g, None if i < late else g]
        optimizer.step(grads[::-1] if reverse else grads)
        for a, twin, gradient in zip((w, x), twins, grads, strict=True):
            if gradient is not None:
                twin.step(gradient)
            assert_same_bits(a, twin.w)


def set_read_only(w):
    w.flags.writeable = False


def change_shape(w):
    w.resize((2, 2))


@pytest.mark.parametrize(
    ("how", "change"),
    [("step", set_read_only), ("bind", set_read_only), ("bound", set_read_only), ("step", change_shape)],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_weights_that_change_between_steps_are_an_error(how, change):
    params, grads = [np.ones(3), np.ones(4)], [np.ones(3), np.ones(4)]
    optimizer = fastreg.SGD(params, 0.5, momentum=0.5)
    if how == "bound":
        optimizer.bind(grads)
        optimizer.step()
    else:
        optimizer.step(grads)
    change(params[1])
    before, counts = [w.tobytes() for w in params], optimizer.completed
    with pytest.raises(ValueError, match=r"^(params|grads)\[1\]: "):
        optimizer.bind(grads) if how == "bind" else optimizer.step(None if how == "bound" else grads)
    assert [w.tobytes() for w in params] == before
    assert optimizer.completed == counts


def test_weights_state_and_bound_gradients_cannot_be_resized():
    """Not even with refcheck=False, after which the optimizer would have dangling pointers."""
    w, g = np.ones(3), np.ones(3)
    optimizer = fastreg.SGD(w, 0.5, momentum=0.5)
    optimizer.bind(g)
    for a in (w, g, optimizer.state["0"]["momentum_buffer"]):
        with pytest.raises(ValueError, match="cannot resize"):
            a.resize(1 << 16, refcheck=False)
    optimizer.bind(None)
    g.resize(5, refcheck=False)


def test_a_gradient_with_an_equal_dtype_that_is_another_object():
    w, g = values(float, 9)
    other = pickle.loads(pickle.dumps(np.dtype(float)))
    for dtype in (other, np.dtype(float, metadata={"unit": "m"})):
        x, y = w.copy(), w.astype(dtype)
        fastreg.SGD(x, 0.1, l1=0.2).step(g.astype(dtype))
        fastreg.SGD(y, 0.1, l1=0.2).step(g)
        assert x.tobytes() == y.tobytes()
