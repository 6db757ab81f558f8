"""A state of lazy updates that does not fit is refused by load_state_dict, and nothing is changed."""

import numpy as np
import pytest
from lazy_cases import CASES, make, snapshot

import fastreg

names = pytest.mark.parametrize("name", CASES)


def with_(**changes):
    return lambda saved: saved | changes


def without(key):
    return lambda saved: {k: x for k, x in saved.items() if k != key}


def clock(*numbers):
    return with_(clock=np.array(numbers))


TAMPERED = {
    "nothing": lambda saved: {},
    "None": lambda saved: None,
    "a list of keys": list,
    "another class": with_(optimizer="LazyFTRL2"),
    "no class": without("optimizer"),
    "clock missing": without("clock"),
    "last missing": without("last"),
    "count missing": without("completed"),
    "a strength missing": without("l2"),
    "the state of another class": with_(stamps=np.zeros((5, 2)), z=np.zeros(5), n=np.zeros(5), sum=np.zeros(5)),
    "a negative strength": with_(l1=-1.0),
    "a strength that is NaN": with_(lr=np.nan),
    "a strength that is text": with_(lr="0.1"),
    "a strength that is an array": with_(l2=np.ones(2)),
    "a negative count": with_(completed=-1),
    "a huge count": with_(completed=2**63),
    "a count that is a float": with_(completed=2.0),
    "a clock that is NaN": clock(1, 1, np.nan, 0),
    "a product that is NaN": clock(np.nan, 1, 0, 0),
    "an infinite total": clock(1, 1, np.inf, 0),
    "a loss that is NaN": clock(1, 1, 1e3, np.nan),
    "a negative product": clock(-0.5, -2, 0, 0),
    "a product of 0": clock(0, np.inf, 0, 0),
    "a product above 1": clock(2, 0.5, 0, 0),
    "an inverse that is none": clock(0.5, 1, 0, 0),
    "a negative total": clock(1, 1, -1, 0),
    "a short clock": with_(clock=np.ones(3)),
    "a clock of float32": with_(clock=np.array([1, 1, 0, 0], np.float32)),
    "a last strength that is negative": with_(last=np.array([0.1, -1, 0])),
    "a last strength that is infinite": with_(last=np.array([0.1, np.inf, 0])),
}
OWN = {  # (class, case) → a change that only this class must refuse
    ("proximal", "another mode"): with_(mode="truncated"),
    ("truncated", "lr·l2 of 1"): with_(lr=1.0, l2=1.0),
    ("proximal", "no stamps"): without("stamps"),
    ("proximal", "stamps of another length"): lambda saved: saved | {"stamps": saved["stamps"][1:]},
    ("proximal", "stamps that are NaN"): lambda saved: saved | {"stamps": saved["stamps"] * np.nan},
    ("proximal", "stamps in the future"): lambda saved: saved | {"stamps": saved["stamps"] * 1e6},
    ("proximal", "stamps before the start"): lambda saved: saved | {"stamps": saved["stamps"] * 0},
    ("Adagrad", "stamps in the future"): lambda saved: saved | {"stamps": saved["stamps"] + 3},
    ("Adagrad", "negative stamps"): lambda saved: saved | {"stamps": saved["stamps"] - 3},
    ("Adagrad", "stamps that are floats"): lambda saved: saved | {"stamps": saved["stamps"] + 0.0},
    ("Adagrad", "fewer steps than stamps"): with_(completed=1),
    ("Adagrad", "sums of another shape"): lambda saved: saved | {"sum": saved["sum"][:, None]},
    ("Adagrad", "sums of another dtype"): lambda saved: saved | {"sum": saved["sum"].astype(np.float32)},
    ("Adagrad", "another eps"): with_(eps=1e-3),
    ("FTRL", "no z"): without("z"),
    ("FTRL", "stamps"): with_(stamps=np.zeros(5, int)),
    ("FTRL", "a negative lr of the state"): with_(built_on=-1.0),
    ("FTRL", "an lr of the state with an infinite inverse"): with_(built_on=1e-310),
    ("FTRL", "another start"): with_(warm_start=False),
}
REFUSED = [(name, case, TAMPERED[case]) for name in CASES for case in TAMPERED]
REFUSED += [(name, case, tamper) for (name, case), tamper in OWN.items()]


@pytest.mark.parametrize(("name", "case", "tamper"), REFUSED, ids=lambda x: x if isinstance(x, str) else "")
def test_a_tampered_state_is_refused_and_nothing_is_changed(name, case, tamper):
    donor, lazy = (make(name, np.linspace(-1, 1, 5), lr, l1=0.2, l2=0.1) for lr in (0.5, 0.25))
    for each_one, count in ((donor, 3), (lazy, 2)):
        for i in range(count):
            each_one.step(np.array([i, 4]), np.ones(2))
    before = snapshot(lazy)
    with pytest.raises((TypeError, ValueError), match=r"(?s)(saved|lr|l1|l2).*(, got |lacks )"):
        lazy.load_state_dict(tamper(donor.state_dict()))
    assert snapshot(lazy) == before
    lazy.step(np.array([3]), np.ones(1))
    lazy.load_state_dict(donor.state_dict())


@names
@pytest.mark.parametrize("other", CASES)
def test_the_state_of_another_class_is_refused(name, other):
    if name == other:
        return
    lazy = make(name, np.ones(4))
    with pytest.raises(ValueError, match=r"^saved"):
        lazy.load_state_dict(make(other, np.ones(4)).state_dict())


def test_a_state_with_l2_is_refused_beside_fractional_factors():
    lazy = fastreg.LazySGD(np.ones(2), 0.1, l1=0.1, penalty_factor=[0.5, 1])
    donor = fastreg.LazySGD(np.ones(2), 0.1, l1=0.1, l2=0.1, penalty_factor=[0, 1])
    before = snapshot(lazy)
    with pytest.raises(ValueError, match=r"^penalty_factor: "):
        lazy.load_state_dict(donor.state_dict())
    assert snapshot(lazy) == before


@pytest.mark.parametrize(
    ("make_one", "last"),
    [
        (lambda: fastreg.LazyAdagrad(np.ones((3, 2)), 0.1, l1=0.1), (0.1, 0.1, 0.0, 0.5)),
        (lambda: fastreg.LazySGD(np.ones((3, 2)), 0.1, l21=0.1), (0.1, 0.1, 0.0, 0.5)),
        (lambda: fastreg.LazySGD(np.ones((3, 2)), 0.1, l1=0.1, mode="truncated"), (0.1, 0.0, 0.0, 0.5)),
        (lambda: fastreg.LazySGD(np.ones((3, 2)), 0.1, l1=0.1, gamma=3.0), (0.1, 0.1, 0.2, 0.0)),
    ],
    ids=["l21 of Adagrad", "l1 with l21", "truncated l21", "l2 of MCP"],
)
def test_strengths_that_no_step_can_have_had_are_refused(make_one, last):
    lazy = make_one()
    lazy.step(np.array([0]), np.ones((1, 2)))
    saved, before = lazy.state_dict(), snapshot(lazy)
    with pytest.raises(ValueError, match=r"^saved\['last'\]: .*, got "):
        lazy.load_state_dict({**saved, "last": np.array(last)})
    assert snapshot(lazy) == before
    lazy.load_state_dict(saved)
