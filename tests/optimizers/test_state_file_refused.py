"""load_state_dict refuses a state that does not fit, also after manipulation, and changes nothing."""

import numpy as np
import pytest
from optimizer_cases import DIRECTIONS, make, snapshot, train

import fastreg

names = pytest.mark.parametrize("name", DIRECTIONS)


def with_(**changes):
    return lambda saved: saved | {key.replace("__", "."): x for key, x in changes.items()}


def without(key):
    return lambda saved: {k: x for k, x in saved.items() if k != key}


TAMPERED = {
    "nothing": lambda saved: {},
    "a key is missing": without("tensor.1.exp_avg"),
    "the counts are missing": without("tensor.1.steps"),
    "a setting is missing": without("group.0.eps"),
    "an unknown key": with_(tensor__2__exp_avg=np.zeros(3)),
    "an unknown setting": with_(group__0__momentum=0.5),
    "another group": with_(group__1__lr=0.5),
    "another class": with_(optimizer="Adagrad"),
    "another shape": with_(tensor__1__exp_avg=np.zeros((3, 1))),
    "another length": with_(tensor__1__exp_avg=np.zeros(4)),
    "broadcastable": with_(tensor__1__exp_avg=np.zeros(1)),
    "another dtype": with_(tensor__1__exp_avg=np.zeros(3, np.float32)),
    "a list": with_(tensor__1__exp_avg=["a", "b", "c"]),
    "None": with_(tensor__1__exp_avg=None),
    "a negative setting": with_(group__0__lr=-1.0),
    "a setting that is text": with_(group__0__lr="0.1"),
    "a setting that is an array": with_(group__0__lr=np.ones(3)),
    "another mode": with_(group__0__mode="truncated"),
    "settings that need other state": with_(group__0__amsgrad=True),
    "a negative count": with_(tensor__1__steps=-1),
    "a huge count": with_(tensor__1__steps=2**63),
    "a count beyond any integer of NumPy": with_(completed=2**70),
    "a count that is a float": with_(completed=2.0),
    "a count that is an array": with_(skipped=np.array([1])),
    "powers that are NaN": with_(tensor__1__powers=np.array([np.nan, 0.9])),
    "powers above one": with_(tensor__1__powers=np.array([0.9, 1.5])),
    "negative powers": with_(tensor__1__powers=np.array([-0.5, 0.5])),
    "three powers": with_(tensor__1__powers=np.ones(3)),
    "not a mapping": lambda saved: None,
    "a list of keys": list,
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(case):
    donor, optimizer = (fastreg.Adam([np.ones(2, np.float32), np.ones(3)], lr) for lr in (0.5, 0.25))
    train(donor, 0, 3)
    train(optimizer, 5, 7)
    before = snapshot(optimizer)
    with pytest.raises((ValueError, TypeError)) as caught:
        optimizer.load_state_dict(TAMPERED[case](donor.state_dict()))
    assert snapshot(optimizer) == before
    assert len(str(caught.value)) < 1000
    train(optimizer, 0, 1)
    optimizer.load_state_dict(donor.state_dict())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_settings_may_not_require_missing_state(momentum):
    """Otherwise a kernel would access memory that was never allocated."""
    optimizer = fastreg.SGD(np.ones(3), momentum=momentum)
    saved = optimizer.state_dict() | {"group.0.momentum": 0.9 - momentum}
    with pytest.raises(ValueError, match=r"^saved"):
        optimizer.load_state_dict(saved)
    optimizer.step(np.ones(3))


@names
@pytest.mark.parametrize("other", DIRECTIONS)
def test_the_state_of_another_optimizer_is_refused(name, other):
    if DIRECTIONS[name].fields == DIRECTIONS[other].fields:
        return
    optimizer, donor = make(name, np.ones(3)), make(other, np.ones(3))
    before = snapshot(optimizer)
    with pytest.raises(ValueError, match=r"^saved"):
        optimizer.load_state_dict(donor.state_dict())
    assert snapshot(optimizer) == before
