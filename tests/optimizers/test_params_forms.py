"""The forms of params and grads, params that are refused at construction, and the values of zeros() and penalty()."""

import array
import inspect

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, values
from optimizer_cases import DIRECTIONS, make, weights

import fastreg

PUBLIC = [x for name in fastreg.__all__ if inspect.isclass(x := getattr(fastreg, name))]
CLASSES = [x for x in PUBLIC if issubclass(x, fastreg.Optimizer) and x is not fastreg.Optimizer]
classes = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
names = pytest.mark.parametrize("name", DIRECTIONS)


def tensors():
    """Tensors with many shapes, dtypes and layouts."""
    rng = np.random.default_rng(1)
    return [
        rng.standard_normal(7),
        rng.standard_normal((3, 5)).astype(np.float32),
        np.asfortranarray(rng.standard_normal((4, 6))),
        np.array(0.7),
        np.zeros((3, 0, 2), np.float32),
        rng.standard_normal((2, 3, 4)).transpose(2, 1, 0),
        rng.standard_normal(9000).astype(np.float32),
    ]


def gradients(params):
    rng = np.random.default_rng(2)
    grads = [np.empty_like(w) for w in params]
    for g in grads:
        g[...] = rng.standard_normal(g.shape)
    return grads


FORMS = {  # name → the arrays in another form
    "list": list,
    "tuple": tuple,
    "generator": lambda arrays: (a for a in arrays),
    "mapping": lambda arrays: {f"layer.{i}/w": a for i, a in enumerate(arrays)},
    "keys of all kinds": lambda arrays: dict(zip([3, None, (1, 2), "", "é", "a b", 0.5], arrays)),
    "dict values": lambda arrays: dict(enumerate(arrays)).values(),
    "one group": lambda arrays: [{"params": arrays}],
    "groups": lambda arrays: [{"params": arrays[:1]}, {"params": tuple(arrays[1:4])}, {"params": iter(arrays[4:])}],
    "groups of an array": lambda arrays: [{"params": a} for a in arrays],
    "groups of mappings": lambda arrays: [{"params": {"a": arrays[0]}}, {"params": dict(enumerate(arrays[1:]))}],
    "an empty group": lambda arrays: [{"params": []}, {"params": arrays}, {"params": {}}],
}


def expected_results(name, steps=2):
    params = tensors()
    grads = gradients(params)
    for w, g in zip(params, grads, strict=True):
        one = make(name, w, l1=0.2, l2=0.3)
        for _ in range(steps):
            one.step(g)
    return params


@names
@pytest.mark.parametrize("form", FORMS)
def test_several_tensors_at_once_give_the_bits_of_one_at_a_time_in_every_form(name, form):
    params = tensors()
    grads = gradients(params)
    optimizer = make(name, FORMS[form](params), l1=0.2, l2=0.3)
    for _ in range(2):
        optimizer.step(FORMS[form](grads))
    for w, expected in zip(params, expected_results(name), strict=True):
        assert_same_bits(w, expected)
    assert all(a is b for a, b in zip(weights(optimizer), params, strict=True)), "weights are used in place"
    assert len(optimizer.state) == len(params)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_have_the_form_of_the_groups_or_are_plain_lists(form):
    params = tensors()
    grads = gradients(params)
    optimizer = make("Adam", FORMS[form](params), l1=0.2, l2=0.3)
    given = FORMS[form](grads)
    if form == "groups of an array":
        given = grads
    elif "group" in form:
        given = [own["params"] for own in given]
    optimizer.bind(given)
    optimizer.step()
    optimizer.step()
    for w, expected in zip(params, expected_results("Adam"), strict=True):
        assert_same_bits(w, expected)


def test_params_are_returned_in_the_form_in_which_they_were_given():
    w = np.ones(3)
    assert fastreg.SGD(w).params is w
    assert fastreg.SGD([w]).params == [w]
    assert fastreg.SGD({"a": w}).params["a"] is w
    assert fastreg.SGD([{"params": w}]).params[0] is w
    assert fastreg.SGD([{"params": {"a": w}}]).param_groups[0]["params"]["a"] is w


def test_the_rows_of_one_array_are_disjoint_tensors():
    base, g = values(float, 40)
    rows = list(base.reshape(4, 10))
    whole = base.copy()
    make("Adam", rows, l1=0.1).step(list(g.reshape(4, 10)))
    make("Adam", whole, l1=0.1).step(g)
    assert_same_bits(base, whole)


def test_other_buffers_are_used_without_a_copy():
    w, g = values(float, 9)
    buffer, memory = array.array("d", w), memoryview(bytearray(w.tobytes())).cast("d")
    for own, grad in ((buffer, memoryview(g)), (memory, array.array("d", g))):
        fastreg.SGD([own], 0.1, l1=0.5).step([grad])
    fastreg.SGD(w, 0.1, l1=0.5).step(g)
    assert list(buffer) == memory.tolist() == w.tolist()


@classes
def test_the_signature_has_the_common_parameters_and_the_own_options(cls):
    parameters = inspect.signature(cls).parameters
    common = ["l1", "l2", "l21", "gamma", "mode", "theta", "bounds", "group_axis", "penalty_factor"]
    common += ["on_nonfinite", "threads"]
    if cls is fastreg.FTRL:
        common = [name for name in common if name not in ("mode", "theta")]
    assert list(parameters)[:2] == ["params", "lr"]
    assert list(parameters)[-len(common) :] == common
    assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters.values())[2:])
    defaults = {
        "l1": 0.0,
        "l2": 0.0,
        "l21": 0.0,
        "gamma": np.inf,
        "theta": np.inf,
        "bounds": (-np.inf, np.inf),
        "group_axis": None,
        "penalty_factor": None,
        "on_nonfinite": "propagate",
    }
    defaults["threads"] = None
    assert all(parameters[name].default == x for name, x in defaults.items() if name in parameters)
    if "mode" in parameters:
        fixed = cls in (fastreg.AdamW, fastreg.Lion)
        assert parameters["mode"].default == ("decoupled" if fixed else "proximal")
    assert cls.__doc__.count("Parameters\n") == cls.__doc__.count("References\n") == 1
    assert cls(np.ones(2)).step(np.ones(2)) is None
    assert cls.__name__ in repr(cls(np.ones(2)))


BASE = np.ones(20)
READ_ONLY = np.ones(3)
READ_ONLY.flags.writeable = False
BAD_PARAMS = {
    "nothing": ([], ValueError, "params: .*at least one"),
    "an empty mapping": ({}, ValueError, "params: .*at least one"),
    "an empty group": ([{"params": []}], ValueError, "params: .*at least one"),
    "a list of numbers": ([1.0, 2.0], TypeError, r"params\[0\]: .*float"),
    "a list of lists": ([[1.0]], TypeError, r"params\[0\]: .*list"),
    "a number": (1.0, TypeError, r"params\[0\]: .*float"),
    "None": (None, TypeError, r"params\[0\]: .*None"),
    "a None among them": ([np.ones(2), None], TypeError, r"params\[1\]: .*None"),
    "a string": ("weights", TypeError, r"params\[0\]: .*str"),
    "integers": (np.ones(3, int), TypeError, r"params\[0\]: .*int64"),
    "half precision": ({"a": np.ones(3, np.float16)}, TypeError, r"params\[a\]: .*float16"),
    "byte-swapped": (np.ones(3, ">f8"), ValueError, r"params\[0\]: .*byte"),
    "strided": ([np.ones(4), np.ones(8)[::2]], ValueError, r"params\[1\]: .*strides"),
    "read-only": ({"w": READ_ONLY}, ValueError, r"params\[w\]: .*read-only"),
    "masked": (np.ma.ones(3), TypeError, r"params\[0\]: .*mask"),
    "misaligned": (np.zeros(25, np.uint8)[1:].view(float), ValueError, r"params\[0\]: .*aligned"),
    "twice the same": ([BASE, BASE], ValueError, r"params\[0\] and params\[1\]: .*overlap"),
    "the same in two groups": ([{"params": BASE}, {"params": [BASE]}], ValueError, r"params\[.\.0\] and .*overlap"),
    "overlapping": ({"a": BASE[:10], "b": BASE[9:]}, ValueError, r"params\[a\] and params\[b\]: .*overlap"),
    "one inside another": ([BASE[2:4], np.ones(3), BASE], ValueError, r"params\[.\] and params\[.\]: .*overlap"),
    "another dtype on the same memory": ([BASE, BASE.view(np.float32)], ValueError, ".*overlap"),
    "keys of the same name": ({1: np.ones(2), "1": np.ones(2)}, ValueError, "params: .*keys"),
    "no params in a group": ([{"params": np.ones(2)}, {"lr": 0.1}], TypeError, r"params\[1\]: .*'params'"),
    "an array among groups": ([{"params": np.ones(2)}, np.ones(2)], TypeError, r"params\[1\]: .*dict"),
    "an unknown key in a group": ([{"params": np.ones(2), "weight_decay": 1}], TypeError, "weight_decay: .*l2"),
    "a bad value in a group": ([{"params": np.ones(2), "l1": -1}], ValueError, "l1: .*-1"),
}


@pytest.mark.parametrize("case", BAD_PARAMS)
def test_params_that_cannot_be_used(case):
    params, error, text = BAD_PARAMS[case]
    with pytest.raises(error, match=f"(?s)^{text}") as caught:
        fastreg.SGD(params, 0.1, momentum=0.5)
    assert type(caught.value) is error
    assert len(str(caught.value)) < 500
    assert (BASE == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_and_penalty_by_tensor_and_group(dtype):
    a, b, c = np.array([1, 0, -2], dtype), np.array([[3.0]], dtype), np.array([0, 0], dtype)
    groups = [{"params": {"a": a, "b": b}, "l1": 0.5}, {"params": c, "l2": 1.0}]
    optimizer = fastreg.SGD(groups, l1=0.25, l2=2.0)
    assert optimizer.zeros() == 3
    assert optimizer.zeros("group") == [1, 2]
    assert optimizer.zeros("tensor") == {"0.a": 1, "0.b": 0, "1.0": 2}
    assert optimizer.penalty("tensor") == {"0.a": 0.5 * 3 + 5.0, "0.b": 1.5 + 9.0, "1.0": 0.0}
    assert optimizer.penalty("group") == [17.0, 0.0]
    assert optimizer.penalty() == 17.0
    for by in ("total", 0, "groups"):
        for function in (optimizer.zeros, optimizer.penalty):
            with pytest.raises(ValueError, match=r"^by: "):
                function(by)


@pytest.mark.parametrize("view", [np.ndarray, np.matrix])
def test_the_penalty_includes_the_factors(view):
    w = np.array([[1.0, -2.0], [3.0, 0.0]]).view(view)
    optimizer = fastreg.SGD([w], l1=0.5, l2=2.0, penalty_factor=[[[1, 0], [0.5, 7]]])
    assert optimizer.penalty() == (0.5 + 1.0) + 0.5 * (1.5 + 9.0)
    assert fastreg.SGD(w, l1=0.5, l2=2.0, penalty_factor=3.0).penalty() == 3 * (3.0 + 14.0)
    assert fastreg.SGD(w, l1=lambda n: 0.5 + n, penalty_factor=0).penalty() == 0.0
    scheduled = fastreg.SGD(w, 0.0, l1=lambda n: 1.0 + n)
    assert scheduled.penalty() == 6.0
    scheduled.step(np.zeros((2, 2)))
    assert scheduled.penalty() == 12.0, "that of the next step"
