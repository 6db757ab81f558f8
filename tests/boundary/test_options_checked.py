"""The options mode and theta: which values are taken, and which are refused before anything is written."""

import numpy as np
import pytest
from cases import AXIS, DTYPES, UPDATES, assert_same_bits
from number_cases import GOOD, INF, INFINITE, NOT_A_NUMBER, OUT_OF_RANGE, arguments, assert_refused

import fastreg
from fastreg import reference

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


@dtypes
@pytest.mark.parametrize("name", ["l1_update", "elastic_net_update"])
@pytest.mark.parametrize("case", GOOD | INFINITE)
def test_theta_is_any_number_from_zero_to_infinity(dtype, name, case):
    theta = (GOOD | INFINITE)[case]
    given = arguments(name, dtype, mode="truncated", theta=theta)
    plain = arguments(name, dtype, mode="truncated", theta=INF if case in INFINITE else float(theta))
    getattr(fastreg, name)(**given)
    getattr(reference, name)(**plain)
    assert_same_bits(given["w"], plain["w"])


@dtypes
@pytest.mark.parametrize("name", ["l1_update", "elastic_net_update"])
@pytest.mark.parametrize("case", NOT_A_NUMBER | OUT_OF_RANGE)
def test_values_of_theta_that_are_refused(dtype, name, case):
    error = TypeError if case in NOT_A_NUMBER else ValueError
    assert_refused(name, dtype, "theta", (NOT_A_NUMBER | OUT_OF_RANGE)[case], error, mode="truncated")


@dtypes
@pytest.mark.parametrize("name", ["l1_update", "elastic_net_update"])
@pytest.mark.parametrize("mode", [None, "subgradient", "decoupled", "proximal"])
def test_theta_is_refused_in_modes_without_truncation(dtype, name, mode):
    options = {} if mode is None else {"mode": mode}
    for theta in (0.0, 1.0, 1e300):
        assert_refused(name, dtype, "theta", theta, ValueError, **options)
    getattr(fastreg, name)(**arguments(name, dtype, theta=INF, **options))  # the default, given explicitly


@pytest.mark.parametrize("name", sorted(UPDATES.keys() - AXIS.keys()))
@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("lasso", ValueError),
        ("", ValueError),
        ("Proximal", ValueError),
        ("proximal ", ValueError),
        ("proximal\0", ValueError),
        ("\ud800", ValueError),
        ("x" * 100_000, ValueError),
        (None, TypeError),
        (0, TypeError),
        (b"proximal", TypeError),
        (["proximal"], TypeError),
        (np.array("proximal"), TypeError),
        (np.array(["proximal", "truncated"]), TypeError),
        (np.zeros(100_000), TypeError),
    ],
    ids=lambda x: f"{x!r:.20}",
)
def test_values_of_mode_that_are_refused(name, mode, error):
    assert_refused(name, np.float64, "mode", mode, error)


@pytest.mark.parametrize("name", sorted(UPDATES.keys() - AXIS.keys()))
def test_a_mode_is_any_equal_string(name):
    for mode in ("".join(["proxi", "mal"]), np.str_("proximal"), type("S", (str,), {})("proximal")):
        given, plain = arguments(name, np.float64, mode=mode), arguments(name, np.float64, mode="proximal")
        getattr(fastreg, name)(**given)
        getattr(fastreg, name)(**plain)
        assert given["w"].tobytes() == plain["w"].tobytes()
