"""Arrays that the update functions and penalties refuse: the error names the argument, and nothing is written."""

import numpy as np
import pytest
from array_cases import BAD_ARRAYS, BAD_W, OTHER, assert_refused
from cases import DTYPES, PENALTIES, UPDATES, numbers, values

pytestmark = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
PAIRS = {  # name → (w, grad) from two good arrays of shape (4, 6), and the error
    "other dtype": (lambda w, g: (w, g.astype(OTHER[g.dtype.type])), TypeError),
    "other buffer dtype": (lambda w, g: (w, memoryview(g.astype(OTHER[g.dtype.type]))), TypeError),
    "shorter": (lambda w, g: (w.ravel(), g.ravel()[:-1]), ValueError),
    "longer": (lambda w, g: (w.ravel()[:-1], g.ravel()), ValueError),
    "flat": (lambda w, g: (w, g.ravel()), ValueError),
    "of the same size": (lambda w, g: (w, g.reshape(6, 4)), ValueError),
    "that would broadcast": (lambda w, g: (w, g[:1]), ValueError),
    "0-d": (lambda w, g: (w.ravel()[:1], g.ravel()[0:1].reshape(())), ValueError),
    "1-d to 0-d": (lambda w, g: (w.ravel()[0:1].reshape(()), g.ravel()[:1]), ValueError),
    "an axis more": (lambda w, g: (w, g[None]), ValueError),
    "empty of another shape": (lambda w, g: (w[:0], g[:, :0]), ValueError),
    "broadcast": (lambda w, g: (w, np.broadcast_to(g[0], w.shape)), ValueError),
    "broadcast number": (lambda w, g: (w, np.broadcast_to(g[0, 0], w.shape)), ValueError),
    "Fortran order": (lambda w, g: (w, np.asfortranarray(g)), ValueError),
    "C order": (lambda w, g: (np.asfortranarray(w), g), ValueError),
}


def good(dtype):
    w, g = values(dtype, 24)
    return w.reshape(4, 6), g.reshape(4, 6)


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("case", BAD_ARRAYS | BAD_W)
def test_weights_that_cannot_be_updated(dtype, name, case):
    w, g = good(dtype)
    make, error = (BAD_ARRAYS | BAD_W)[case]
    assert_refused(UPDATES[name], [make(w), g, *numbers(name, 0.1)], error, "w: ")


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_gradients_that_cannot_be_used(dtype, name, case):
    w, g = good(dtype)
    make, error = BAD_ARRAYS[case]
    assert_refused(UPDATES[name], [w, make(g), *numbers(name, 0.1)], error, "grad: ")


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_weights_that_have_no_penalty_value(dtype, name, case):
    w, _ = good(dtype)
    make, error = BAD_ARRAYS[case]
    assert_refused(PENALTIES[name], [make(w), *numbers(name, 0.1)], error, "w: ")


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("case", PAIRS)
def test_gradients_that_do_not_fit_the_weights(dtype, name, case):
    make, error = PAIRS[case]
    w, g = make(*good(dtype))
    assert_refused(UPDATES[name], [w, g, *numbers(name, 0.1)], error, "grad: ")
