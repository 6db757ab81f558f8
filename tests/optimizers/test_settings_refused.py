"""Bad values of every setting are refused: at construction, in a group, and when it is changed between steps."""

import numpy as np
import pytest
from cases import DTYPES
from optimizer_cases import snapshot

import fastreg

NUMBER = {  # bad values of lr, l1, l2, eps, beta and initial_accumulator_value
    "negative": (-0.5, ValueError),
    "NaN": (np.nan, ValueError),
    "infinite": (np.inf, ValueError),
    "huge": (10**400, ValueError),
    "text": ("0.1", TypeError),
    "None": (None, TypeError),
    "complex": (0.1j, TypeError),
    "list": ([0.1], TypeError),
    "array": (np.array([0.1]), TypeError),
}
SHARES = NUMBER | {"above one": (1.5, ValueError)}
BAD = {
    **dict.fromkeys(("lr", "l1", "l2", "l21"), NUMBER),
    "eps": NUMBER,
    "beta": NUMBER,
    "initial_accumulator_value": NUMBER,
    "alpha": SHARES,
    "dampening": SHARES,
    "momentum": SHARES | {"one": (1.0, ValueError)},
    "betas": {
        **NUMBER,
        **{f"{name}, first": ((x, 0.9), error) for name, (x, error) in SHARES.items()},
        **{f"{name}, second": ((0.9, x), error) for name, (x, error) in SHARES.items()},
        "one": ((0.9, 1.0), ValueError),
        "three": ((0.9, 0.9, 0.9), TypeError),
    },
    "gamma": {key: NUMBER[key] for key in ("negative", "NaN", "text", "None", "list")} | {"zero": (0.0, ValueError)},
    "theta": {key: NUMBER[key] for key in ("negative", "NaN", "text", "None", "list")},
    "mode": {"unknown": ("ridge", ValueError), "None": (None, TypeError), "number": (0, TypeError)},
    **{key: {"text": ("yes", TypeError), "None": (None, TypeError)} for key in ("nesterov", "amsgrad", "warm_start")},
}
OWNERS = {
    key: cls
    for cls in (fastreg.SGD, fastreg.RMSprop, fastreg.Adam, fastreg.Adagrad, fastreg.FTRL)
    for key in cls(np.ones(1)).param_groups[0]
}
CASES = [(key, case) for key, cases in BAD.items() for case in cases]


def test_every_setting_of_every_optimizer_is_tested():
    assert BAD.keys() | {"params"} == OWNERS.keys()


@pytest.mark.parametrize(("key", "case"), CASES)
def test_bad_values_of_settings(key, case):
    value, errors = BAD[key][case][0], (BAD[key][case][1], TypeError) if key == "betas" else BAD[key][case][1]
    cls, w = OWNERS[key], np.ones(3)
    options = {"mode": "truncated"} if key == "theta" and cls is fastreg.SGD else {}
    if key == "theta":
        cls, options = fastreg.SGD, {"mode": "truncated"}
    with pytest.raises(errors, match=rf"^{key}(\[.\])?: "):
        cls(w, **options | {key: value})
    with pytest.raises(errors, match=rf"^{key}(\[.\])?: "):
        cls([{"params": w, key: value}], **options)
    optimizer = cls(w, **options)
    optimizer.step(np.ones(3))
    before = snapshot(optimizer)
    with pytest.raises(errors, match=rf"^{key}(\[.\])?: "):
        optimizer.param_groups[0][key] = value
    assert snapshot(optimizer) == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"nesterov": True}, "^nesterov: .*momentum"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "^nesterov: .*dampening"),
        ({"gamma": 1.0, "mode": "truncated"}, "^gamma: .*truncated"),
        ({"l21": 1.0, "mode": "subgradient"}, "^l21: .*subgradient"),
        ({"l21": lambda n: 1.0, "mode": "truncated"}, "^l21: .*truncated"),
        ({"l21": 1.0, "gamma": 3.0}, "^l21: .*gamma"),
        ({"l21": 1.0, "bounds": (0.0, 2.0)}, "^l21: .*bounds"),
        ({"l21": 1.0, "penalty_factor": np.arange(3.0)}, "^l21: .*penalty_factor"),
        ({"group_axis": 1}, "^group_axis: .*axis"),
        ({"theta": 1.0}, "^theta: .*truncated"),
        ({"theta": 1.0, "mode": "subgradient"}, "^theta: .*truncated"),
    ],
)
def test_combinations_of_settings_that_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        fastreg.SGD(np.ones(3), **options)


def test_ftrl_needs_a_positive_denominator_and_a_finite_inverse_of_lr():
    with pytest.raises(ValueError, match=r"^beta: .*positive"):
        fastreg.FTRL(np.ones(3), beta=0.0)
    fastreg.FTRL(np.ones(3), beta=0.0, initial_accumulator_value=0.1)
    for dtype, tiny in ((np.float32, 1e-40), (np.float64, 1e-310)):
        late = fastreg.FTRL(np.ones(3, dtype), lambda n, tiny=tiny: 0.5 if n < 1 else tiny)
        late.step(np.ones(3, dtype))
        before = snapshot(late)
        with pytest.raises(ValueError, match=r"^lr: .*range"):
            late.step(np.ones(3, dtype))
        assert snapshot(late) == before


@pytest.mark.parametrize("key", ["lr", "l1", "l2", "l21", "eps", "beta", "initial_accumulator_value", "momentum"])
def test_numbers_that_single_precision_cannot_hold(key):
    for value in (1e-60, 1e60):
        if key == "momentum" and value > 1:
            continue
        cls = OWNERS[key]
        cls(np.ones(3), **{key: value})
        with pytest.raises(ValueError, match=f"^{key}: .*float32"):
            cls(np.ones(3, np.float32), **{key: value})
        with pytest.raises(ValueError, match=f"^{key}: .*float32"):
            cls([np.ones(3), np.ones(3, np.float32)], **{key: value})
    mixed = fastreg.SGD([{"params": np.ones(3), "l1": 1e-60}, {"params": np.ones(3, np.float32)}])
    mixed.step([np.ones(3), np.ones(3, np.float32)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_strength_times_a_factor_must_be_a_number_of_the_dtype(dtype):
    """The product must not be infinite, nor zero if both are positive."""
    huge, tiny = (1e30, 1e-30) if dtype == np.float32 else (1e300, 1e-300)
    for strength, factor in ((huge, huge), (tiny, tiny)):
        for key in ("l1", "l2"):
            with pytest.raises(ValueError, match=rf"^({key}|penalty_factor)"):
                fastreg.SGD(np.ones(3, dtype), penalty_factor=factor, **{key: strength}).step(np.ones(3, dtype))


FACTORS = {
    "negative": (-1.0, ValueError),
    "NaN": (np.nan, ValueError),
    "infinite": ([1, np.inf, 1], ValueError),
    "one negative": (np.array([1, 1, -1e-9]), ValueError),
    "another length": (np.ones(4), ValueError),
    "too many axes": (np.ones((1, 3)), ValueError),
    "text": ("one", TypeError),
    "texts": (["1", "1", "1"], TypeError),
    "complex": (np.ones(3, complex), TypeError),
    "objects": (np.array([1, 2, None]), TypeError),
}


@pytest.mark.parametrize("case", FACTORS)
def test_bad_penalty_factors(case):
    factor, error = FACTORS[case]
    with pytest.raises(error, match=r"^penalty_factor\[0\]: "):
        fastreg.SGD(np.ones(3), penalty_factor=factor)
    with pytest.raises(error, match=r"^penalty_factor\[b\]: "):
        fastreg.SGD({"a": np.ones(2), "b": np.ones(3)}, penalty_factor={"a": 1.0, "b": factor})
    with pytest.raises(error, match=r"^penalty_factor\[0\.0\]: "):
        fastreg.SGD([{"params": np.ones(3), "penalty_factor": factor}])


def test_penalty_factors_with_another_form_than_params():
    two = [np.ones(2), np.ones(3)]
    for params, factors in ((two, [1.0]), (two, {0: 1.0, 1: 1.0}), ({"a": two[0]}, [1.0]), ({"a": two[0]}, {"b": 1.0})):
        with pytest.raises((TypeError, ValueError), match=r"^penalty_factor: "):
            fastreg.SGD(params, penalty_factor=factors)
    with pytest.raises(ValueError, match=r"^penalty_factor\[0\]: .*float32|^penalty_factor\[0\]: .*finite"):
        fastreg.SGD(np.ones(2, np.float32), penalty_factor=np.array([1e60, 1]))


@pytest.mark.parametrize("optimizer", [fastreg.SGD, fastreg.Adam])
def test_several_settings_change_together_or_not_at_all(optimizer):
    group = optimizer(np.ones(3), 0.1).param_groups[0]
    with pytest.raises(ValueError, match=r"^l1"):
        group.update(lr=0.5, l1=-1)
    assert group["lr"] == 0.1
    group.update({"lr": 0.5}, l1=1.0)
    assert (group["lr"], group["l1"]) == (0.5, 1.0)


def test_settings_that_depend_on_each_other_can_be_updated_in_any_order():
    group = fastreg.SGD(np.ones(3), 0.1).param_groups[0]
    group.update(theta=1.0, mode="truncated")
    group.update(mode="proximal", theta=np.inf)
    assert group["mode"] == "proximal"


def test_groups_are_compared_by_identity():
    groups = fastreg.SGD([{"params": np.ones(2)}, {"params": np.ones(2)}]).param_groups
    assert groups.index(groups[1]) == 1


def test_numbers_that_only_float32_cannot_hold_are_errors():
    with pytest.raises(ValueError, match=r"^momentum"):
        fastreg.SGD(np.ones(3, np.float32), momentum=0.99999999)
    w = np.ones(3, np.float32)
    optimizer = fastreg.SGD(w, 3e38, momentum=0.9)  # the step size of the penalty is 3e39
    with pytest.raises(ValueError, match=r"^lr"):
        optimizer.step(np.zeros(3, np.float32))
    assert w.tolist() == [1.0] * 3


def test_messages_about_forms_that_do_not_fit():
    w = np.ones(3)
    for params, grads, match in (
        (w, [w.copy()], "expected one array like params, got list"),
        ([[np.ones(2)], [np.ones(3)]], None, r"^params\[0\]: expected an array, got list; .* groups"),
        ({"params": [w], "lr": 0.1}, None, r"^params\[params\]: expected an array, got list; .* groups"),
    ):
        with pytest.raises(TypeError, match=match):
            fastreg.SGD(params).step(grads)
    with pytest.raises(TypeError, match="subclasses"):
        fastreg.Optimizer(w, {"lr": 0.1}, (-np.inf, np.inf), None, None, "propagate", None)
    with pytest.raises(ValueError, match=r"^on_nonfinite"):
        fastreg.SGD(w).on_nonfinite = "rais"


def test_setting_an_attribute_of_the_name_of_a_setting_is_an_error():
    optimizer = fastreg.SGD(np.ones(3), 0.1)
    for name in ("lr", "l1", "momentum", "betas"):
        with pytest.raises(AttributeError, match=rf"^{name}: .*param_groups"):
            setattr(optimizer, name, 0.5)
        assert not hasattr(optimizer, name)


def test_resuming_without_a_schedule_that_was_there_is_an_error():
    saved = fastreg.SGD(np.ones(3), lambda n: 0.1).state_dict()
    with pytest.raises(ValueError, match=r"^saved: .*lacks \['group.0.lr'\]"):
        fastreg.SGD(np.ones(3), 0.1).load_state_dict(saved)
    fastreg.SGD(np.ones(3), lambda n: 0.2).load_state_dict(saved)
    with pytest.raises(ValueError, match="of SGD"):
        fastreg.Adam(np.ones(3)).load_state_dict(saved)
    with pytest.raises(TypeError, match=r"^saved: .*str"):
        fastreg.SGD(np.ones(3)).load_state_dict("state.npz")
