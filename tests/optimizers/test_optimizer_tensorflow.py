"""The tables of TensorFlow's tests, with the l2 of fastreg; all of their 6 or 7 digits agree.

Sources: tensorflow/python/training/ftrl_test.py, proximal_gradient_descent_test.py and proximal_adagrad_test.py (Apache
License 2.0). All have lr = 3, initial_accumulator_value = 0.1 and gradients [0.1, 0.2], [0.01, 0.02] at every step.
TensorFlow's FTRL has no ½ in its L2 penalty and starts from z = 0. The two proximal optimizers have the ½.
"""

import numpy as np
import pytest

import fastreg

GRADIENTS = [[0.1, 0.2], [0.01, 0.02]]
ZEROS, ONES = [[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [4.0, 3.0]]

FTRL = {  # name → start, l1, TensorFlow's l2, steps, weights after them
    "testFtrlWithoutRegularization": (ZEROS, 0.0, 0.0, 3, [[-2.60260963, -4.29698515], [-0.28432083, -0.56694895]]),
    "testFtrlwithoutRegularization2": (ONES, 0.0, 0.0, 3, [[-2.55607247, -3.98729396], [-0.28232238, -0.56096673]]),
    "testFtrlWithL1": (ONES, 0.001, 0.0, 10, [[-7.66718769, -10.91273689], [-0.93460727, -1.86147261]]),
    "testFtrlWithL1_L2": (ONES, 0.001, 2.0, 10, [[-0.24059935, -0.46829352], [-0.02406147, -0.04830509]]),
}
PROXIMAL_GRADIENT_DESCENT = {
    "testProximalGradientDescentwithoutRegularization": (ZEROS, 0.0, 0.0, 3, [[-0.9, -1.8], [-0.09, -0.18]]),
    "testProximalGradientDescentwithoutRegularization2": (ONES, 0.0, 0.0, 3, [[0.1, 0.2], [3.91, 2.82]]),
    "testProximalGradientDescentWithL1_L2": (ONES, 0.001, 2.0, 10, [[-0.0495, -0.0995], [-0.0045, -0.0095]]),
}
PROXIMAL_ADAGRAD = {
    "testProximalAdagradwithoutRegularization": (
        ZEROS,
        0.0,
        0.0,
        3,
        [[-2.60260963, -4.29698515], [-0.28432083, -0.56694895]],
    ),
    "testProximalAdagradwithoutRegularization2": (ONES, 0.0, 0.0, 3, [[-1.60261, -2.296985], [3.715679, 2.433051]]),
    "testProximalAdagradWithL1": (ONES, 0.001, 0.0, 10, [[-6.663634, -9.190331], [2.959304, 1.029232]]),
    "testProximalAdagradWithL1_L2": (ONES, 0.001, 2.0, 10, [[-0.0495, -0.0995], [-0.0045, -0.0095]]),
}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)


def assert_table(cls, row, dtype, factor_of_l2=1, **options):
    """TensorFlow's assertAllClose has these tolerances."""
    start, l1, l2, steps, expected = row
    params, grads = ([np.array(x, dtype) for x in both] for both in (start, GRADIENTS))
    optimizer = cls(params, 3.0, l1=l1, l2=factor_of_l2 * l2, **options)
    for _ in range(steps):
        optimizer.step(grads)
    for w, x in zip(params, expected, strict=True):
        np.testing.assert_allclose(w, x, rtol=1e-6, atol=1e-6)


@dtypes
@pytest.mark.parametrize("test", FTRL)
def test_ftrl(test, dtype):
    options = {"beta": 0.0, "initial_accumulator_value": 0.1, "warm_start": False}
    assert_table(fastreg.FTRL, FTRL[test], dtype, factor_of_l2=2, **options)


@dtypes
@pytest.mark.parametrize("test", PROXIMAL_GRADIENT_DESCENT)
def test_proximal_gradient_descent(test, dtype):
    assert_table(fastreg.SGD, PROXIMAL_GRADIENT_DESCENT[test], dtype)


@dtypes
@pytest.mark.parametrize("test", PROXIMAL_ADAGRAD)
def test_proximal_adagrad(test, dtype):
    assert_table(fastreg.Adagrad, PROXIMAL_ADAGRAD[test], dtype, initial_accumulator_value=0.1, eps=0.0)


@dtypes
def test_ftrl_without_a_penalty_is_adagrad(dtype):
    """testEquivAdagradwithoutRegularization: from zero weights, with beta = eps = 0 and a filled accumulator."""
    results = []
    for cls, options in ((fastreg.FTRL, {"beta": 0.0}), (fastreg.Adagrad, {"eps": 0.0})):
        params, grads = ([np.array(x, dtype) for x in both] for both in (ZEROS, GRADIENTS))
        optimizer = cls(params, 3.0, initial_accumulator_value=0.1, **options)
        for _ in range(5):
            optimizer.step(grads)
        results.append(np.concatenate(params))
    np.testing.assert_allclose(*results, rtol=1e-5)
