"""Arguments that lazy steps refuse: the error names the argument, and nothing is written. Also buffers they accept."""

import re
from array import array

import numpy as np
import pytest
from array_cases import BAD_ARRAYS, BAD_W, OTHER, assert_refused, misaligned
from cases import DTYPES, Subclass
from lazy_cases import CASES, make, snapshot

import fastreg

names = pytest.mark.parametrize("name", CASES)
CALLS = {
    "step": lambda lazy, indices, values: lazy.step(indices, values),
    "step_csr": lambda lazy, indices, values: lazy.step_csr(values, indices, np.array([0, 2, 2, 4])),
}
BAD_INDICES = {  # name → a function of the indices [3, 1, 2, 0] that gives bad ones for 9 rows, and the error
    "list": (lambda a: a.tolist(), TypeError),
    "nothing": (lambda a: None, TypeError),
    "number": (lambda a: 3, TypeError),
    "range": (lambda a: range(4), TypeError),
    "slice": (lambda a: slice(4), TypeError),
    "str": (lambda a: "0123", TypeError),
    "floats": (lambda a: a.astype(float), TypeError),
    "bool": (lambda a: a > 1, TypeError),
    "int8": (lambda a: a.astype(np.int8), TypeError),
    "int16": (lambda a: a.astype(np.int16), TypeError),
    "uint32": (lambda a: a.astype(np.uint32), TypeError),
    "uint64": (lambda a: a.astype(np.uint64), TypeError),
    "bytes": (lambda a: a.tobytes(), TypeError),
    "object": (lambda a: a.astype(object), TypeError),
    "times": (lambda a: a.view("M8[s]"), TypeError),
    "spans": (lambda a: a.view("m8[s]"), TypeError),
    "text": (lambda a: a.astype("U4"), TypeError),
    "variable text": (lambda a: np.array(["1"] * 4, np.dtypes.StringDType()), TypeError),
    "records": (lambda a: a.view([("x", a.dtype)]), TypeError),
    "masked": (lambda a: np.ma.array(a), TypeError),
    "array.array of shorts": (lambda a: array("h", a.tolist()), TypeError),
    "0-d": (lambda a: a[0:1].reshape(()), ValueError),
    "2-d": (lambda a: a.reshape(4, 1), ValueError),
    "strided": (lambda a: np.repeat(a, 2)[::2], ValueError),
    "reversed": (lambda a: a[::-1], ValueError),
    "broadcast": (lambda a: np.broadcast_to(a[:1], (4,)), ValueError),
    "misaligned": (misaligned, ValueError),
    "byte-swapped": (lambda a: a.astype(a.dtype.newbyteorder()), ValueError),
    "one more": (lambda a: np.append(a, 4), ValueError),
    "one fewer": (lambda a: a[:3].copy(), ValueError),
    "none": (lambda a: a[:0].copy(), ValueError),
    "negative first": (lambda a: np.array([-1, 1, 2, 0], a.dtype), ValueError),
    "negative last": (lambda a: np.array([3, 1, 2, -9], a.dtype), ValueError),
    "beyond the end first": (lambda a: np.array([9, 1, 2, 0], a.dtype), ValueError),
    "beyond the end last": (lambda a: np.array([3, 1, 2, 9], a.dtype), ValueError),
    "least": (lambda a: np.array([3, np.iinfo(a.dtype).min, 2, 0], a.dtype), ValueError),
    "largest": (lambda a: np.array([3, 1, np.iinfo(a.dtype).max, 0], a.dtype), ValueError),
}
BAD_STARTS = {
    "empty": [],
    "not from 0": [1, 2, 4],
    "negative": [-1, 2, 4],
    "back": [0, 3, 2, 4],
    "short of the end": [0, 2, 3],
    "beyond the end": [0, 2, 5],
    "beyond in between": [0, 5, 4],
    "differences that wrap around": [0, 2**63 - 1, -2, 4],
    "least": [0, -(2**63), 4],
    "only 0": [0],
}


def with_pending_penalty(name, dtype=np.float64, shape=(9,), **options):
    """A lazy object after steps that leave a pending penalty."""
    lazy = make(name, np.linspace(-1, 1, np.prod(shape)).reshape(shape).astype(dtype), l1=0.1, l2=0.2, **options)
    lazy.step(np.array([5, 1, 5]), np.ones((3, *shape[1:]), dtype))
    lazy.step(np.array([2]), np.ones((1, *shape[1:]), dtype))
    return lazy


def assert_unchanged_by_error(lazy, call, arguments, error, start):
    before = snapshot(lazy)
    assert_refused(call, arguments, error, start)
    assert snapshot(lazy) == before
    lazy.step(np.array([0]), np.zeros((1, *lazy.w.shape[1:]), lazy.w.dtype))  # it is not locked


@names
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_indices_that_cannot_be_used(name, call, index):
    for shape in ((9,), (9, 2)):
        for make_bad, error in BAD_INDICES.values():
            lazy, values = with_pending_penalty(name, shape=shape), np.ones((4, *shape[1:]))
            start = "(indices|values|data|indptr): "
            before = snapshot(lazy)
            indices = make_bad(np.array([3, 1, 2, 0], index))
            with pytest.raises(error, match=f"^{start}.*, got ") as caught:
                CALLS[call](lazy, indices, values)
            assert type(caught.value) is error
            assert snapshot(lazy) == before
            lazy.flush()


@names
def test_messages_give_the_index_outside_and_its_position(name):
    lazy = with_pending_penalty(name)
    for call in CALLS.values():
        for bad, place in ((-1, 0), (9, 3), (2**40, 1)):
            indices = np.array([3, 1, 2, 0])
            indices[place] = bad
            text = f"indices: expected integers from 0 to 8, got {bad} at position {place}"
            with pytest.raises(ValueError, match=f"^{text}$"):
                call(lazy, indices, np.ones(4))
    with pytest.raises(ValueError, match=r"got 9 at position 0$"):
        lazy.weights(np.array([9]))


@pytest.mark.parametrize("case", BAD_ARRAYS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_values_that_cannot_be_used(case, dtype):
    make_bad, error = BAD_ARRAYS[case]
    for call, argument in (("step", "values"), ("step_csr", "data")):
        lazy = with_pending_penalty("proximal", dtype, (9, 6))
        bad = make_bad(np.arange(24, dtype=dtype).reshape(4, 6))
        indices = np.array([3, 1, 2, 0])
        assert_unchanged_by_error(lazy, lambda x: CALLS[call](lazy, indices, x), [bad], error, f"{argument}: ")  # noqa: B023


@names
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_values_that_do_not_fit(name, dtype):
    indices, good = np.array([3, 1, 2, 0]), np.ones((4, 2), dtype)
    bad = [good.astype(OTHER[dtype]), good[:3], good[:, :1].copy(), good[:, 0].copy(), np.ones((4, 3), dtype)]
    for x in (*bad, np.asfortranarray(good), good.ravel(), good[None], np.broadcast_to(good[0], (4, 2))):
        for call, argument in (("step", "values"), ("step_csr", "data")):
            lazy = with_pending_penalty(name, dtype, (9, 2))
            error = ValueError if x.dtype == dtype else TypeError
            assert_unchanged_by_error(lazy, lambda x: CALLS[call](lazy, indices, x), [x], error, f"{argument}: ")  # noqa: B023


@pytest.mark.parametrize("case", BAD_STARTS)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_indptr_that_cannot_be_used(case, index):
    starts = BAD_STARTS[case]
    if index == np.int32 and max(map(abs, starts), default=0) > 2**31:
        starts = np.clip(starts, -(2**31), 2**31 - 1).tolist()
    lazy, indices, data = with_pending_penalty("proximal"), np.array([3, 1, 2, 0]), np.ones(4)
    bad = np.array(starts, index)
    assert_unchanged_by_error(lazy, lambda x: lazy.step_csr(data, indices, x), [bad], ValueError, "indptr: ")
    lazy.lr = lambda step: 0.1  # a schedule is called for each step
    assert_unchanged_by_error(lazy, lambda x: lazy.step_csr(data, indices, x), [bad], ValueError, "indptr: ")
    for wrong in (bad.tolist(), bad.astype(float), bad.astype(np.uint32)):
        assert_unchanged_by_error(lazy, lambda x: lazy.step_csr(data, indices, x), [wrong], TypeError, "indptr: ")


@names
def test_arguments_that_overlap_weights_or_state(name):
    lazy = with_pending_penalty(name, shape=(200,))
    for owner, mine in (("w", lazy.w), *(("the state", a) for a in lazy.state.values())):
        for values in (mine[3:7], mine[-4:], memoryview(mine[:4])):
            for call, argument in (("step", "values"), ("step_csr", "data")):
                error = re.escape(f"{owner} and {argument}: ")
                before = snapshot(lazy)
                with pytest.raises(ValueError, match=f"^{error}"):
                    CALLS[call](lazy, np.arange(4), values)
                assert snapshot(lazy) == before
        kept = mine.copy()
        mine.view(np.int64)[:4] = range(4)
        with pytest.raises(ValueError, match=f"^{owner} and indices: "):
            lazy.step(mine.view(np.int64)[:4], np.ones(4))
        mine[...] = kept
    lazy.step(np.arange(4), np.ones(8)[2:6])


@pytest.mark.parametrize("kind", [fastreg.LazySGD, fastreg.LazyAdagrad, fastreg.LazyFTRL])
@pytest.mark.parametrize("case", BAD_ARRAYS | BAD_W)
def test_weights_that_cannot_be_updated(kind, case):
    make_bad, error = (BAD_ARRAYS | BAD_W)[case]
    assert_refused(lambda w: kind(w, 0.1), [make_bad(np.ones((4, 6)))], error, "w: ")


@pytest.mark.parametrize("w", [np.ones((4, 6), order="F"), np.array(1.0), np.ones((2, 2, 2)), np.ones((0, 3, 3))])
def test_weights_without_rows(w):
    assert_refused(lambda w: fastreg.LazySGD(w, 0.1), [w], ValueError, "w: ")


@names
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_other_buffers_are_used_without_a_copy(name, dtype):
    torch = pytest.importorskip("torch")
    expected = with_pending_penalty(name, dtype)
    expected.step(np.array([1, 4]), np.array([0.5, -1], dtype))
    values = array("f" if dtype == np.float32 else "d", [0.5, -1])
    for indices in (array("i", [1, 4]), array("q", [1, 4]), array("l", [1, 4]), memoryview(np.array([1, 4]))):
        for g in (values, memoryview(values), torch.from_numpy(np.array(values)), np.array(values).view(Subclass)):
            tensor = torch.from_numpy(np.linspace(-1, 1, 9).astype(dtype))
            lazy = make(name, tensor, l1=0.1, l2=0.2)
            lazy.step(np.array([5, 1, 5]), np.ones(3, dtype))
            lazy.step(torch.tensor([2]), torch.ones(1, dtype=tensor.dtype))
            lazy.step(indices, g)
            assert snapshot(lazy) == snapshot(expected)
            assert tensor.numpy().tobytes() == expected.w.tobytes()
    with pytest.raises(TypeError, match=r"^indices: "):
        expected.step(torch.tensor([1.0]), np.ones(1, dtype))


@names
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (0, 0)])
def test_empty_weights(name, shape):
    lazy = make(name, np.ones(shape), l1=0.1, penalty_factor=np.ones(shape))
    count = min(shape[0], 2)
    lazy.step(np.arange(count), np.ones((count, *shape[1:])))
    lazy.step_csr(np.ones((count, *shape[1:])), np.arange(count)[::-1].copy(), np.array([0, 0, count]))
    lazy.flush()
    assert lazy.weights().shape == shape
    assert not lazy.has_pending_penalty
    assert lazy.completed == 3
    with pytest.raises(ValueError, match=r"^indices: "):
        lazy.step(np.array([shape[0]]), np.ones((1, *shape[1:])))
