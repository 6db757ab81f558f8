"""The numbers lr, l1 and l2 are checked in every function that takes them, before anything is written."""

import numpy as np
import pytest
from cases import DTYPES, NUMBERS, PENALTIES, UPDATES, assert_same_bits
from number_cases import GOOD, INF, INFINITE, NOT_A_NUMBER, OUT_OF_FLOAT32, OUT_OF_RANGE, arguments, assert_refused

import fastreg
from fastreg import reference

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
everywhere = pytest.mark.parametrize(("name", "parameter"), [(f, p) for f, ps in NUMBERS.items() for p in ps])
updates = pytest.mark.parametrize(("name", "parameter"), [(f, p) for f in UPDATES for p in NUMBERS[f]])


@dtypes
@everywhere
@pytest.mark.parametrize("case", GOOD)
def test_numbers_of_every_type(dtype, name, parameter, case):
    given, plain = (arguments(name, dtype, **{parameter: x}) for x in (GOOD[case], float(GOOD[case])))
    assert_same_bits(getattr(fastreg, name)(**given) or given["w"], getattr(reference, name)(**plain) or plain["w"])


@dtypes
@everywhere
@pytest.mark.parametrize("case", NOT_A_NUMBER)
def test_values_that_are_not_numbers(dtype, name, parameter, case):
    assert_refused(name, dtype, parameter, NOT_A_NUMBER[case], TypeError)


@dtypes
@everywhere
@pytest.mark.parametrize("case", OUT_OF_RANGE | INFINITE)
def test_numbers_out_of_range(dtype, name, parameter, case):
    assert_refused(name, dtype, parameter, (OUT_OF_RANGE | INFINITE)[case], ValueError)


@updates
@pytest.mark.parametrize("case", OUT_OF_FLOAT32)
def test_numbers_that_float32_cannot_hold(name, parameter, case):
    assert_refused(name, np.float32, parameter, OUT_OF_FLOAT32[case], ValueError)
    getattr(fastreg, name)(**arguments(name, np.float64, **{parameter: OUT_OF_FLOAT32[case]}))


@pytest.mark.parametrize("parameter", ["lr", "l1", "l2"])
def test_the_largest_and_smallest_numbers_that_float32_can_hold(parameter):
    info = np.finfo(np.float32)
    for x in (info.max, float(info.max) * (1 + 2**-26), info.smallest_subnormal, 2.0**-149 * 0.51):
        fastreg.elastic_net_update(**arguments("elastic_net_update", np.float32, **{parameter: float(x)}))


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_takes_any_double_for_weights_of_every_dtype(name):
    for x in (1e39, 1e-50):
        given = arguments(name, np.float32, **dict.fromkeys(NUMBERS[name], x))
        assert 0 < getattr(fastreg, name)(**given) == getattr(reference, name)(**given) < INF
