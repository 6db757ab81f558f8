"""The state of lazy updates goes to a file, a pickle or a copy and back, bit for bit; what does not fit is refused."""

import copy
import pickle

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits
from lazy_cases import CASES, STREAMS, each, gradients, make, schedule, snapshot, weights
from test_state import through_a_file

import fastreg

names = pytest.mark.parametrize("name", CASES)


def train(lazy, grads, strengths, start, stop):
    for s in range(start, stop):
        lazy.lr, lazy.l1, lazy.l2 = 0.01, 0.01, 0.0  # whatever comes in between two steps does not count
        lazy._change(**dict(zip(("lr", "l1", "l2"), strengths[s])))
        lazy.step(*grads[s])


@names
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("stream", range(len(STREAMS)))
@pytest.mark.parametrize("way", ["file", "pickle", "deepcopy"])
def test_resumed_training_has_the_bits_of_uninterrupted(name, dtype, stream, way, tmp_path):
    shape, index, duplicates, factors = STREAMS[stream]
    grads = each(*gradients(40, shape, dtype, 1, 4, index, duplicates))
    strengths = schedule(name, dtype, 40, 2)
    f = None
    if factors:
        f = np.random.default_rng(2).choice([0, 1] if factors == 1 else [0, 0.5, 2], shape)
        strengths = [(lr, l1, l2 * (factors == 1)) for lr, l1, l2 in strengths]
    straight, interrupted = (make(name, weights(shape, dtype), l1=0.1, penalty_factor=f) for _ in range(2))
    train(straight, grads, strengths, 0, 40)
    train(interrupted, grads, strengths, 0, 17)
    if way == "file":
        resumed = make(name, weights(shape, dtype, 1), 0.7, penalty_factor=f)
        train(resumed, grads, strengths, 20, 30)
        before = [id(a) for a in resumed._arrays]
        resumed.load_state_dict(through_a_file({"w": interrupted.w} | interrupted.state_dict(), tmp_path))
        resumed.w[...] = interrupted.w
        assert [id(a) for a in resumed._arrays] == before, "in place"
    else:
        resumed = copy.deepcopy(interrupted) if way == "deepcopy" else pickle.loads(pickle.dumps(interrupted))
    assert snapshot(resumed) == snapshot(interrupted)
    frozen = snapshot(interrupted)
    train(resumed, grads, strengths, 17, 40)
    assert snapshot(resumed) == snapshot(straight)
    assert snapshot(interrupted) == frozen, "nothing is shared with the one that was saved"
    assert_same_bits(resumed.weights(), straight.weights())
    assert (type(resumed), repr(resumed)) == (type(straight), repr(straight))


@pytest.mark.parametrize("mode", ["proximal", "truncated"])
def test_what_is_saved_while_l1_comes_and_goes_can_be_loaded(mode):
    """Rounding errors of the total wait for the next l1: a stamp that lay beyond the clock was refused."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        lazy = fastreg.LazySGD(np.ones(2), 0.1, l1=0.1, l2=0.1, mode=mode)
        for _ in range(6):
            lazy.l1 = rng.choice([0.0, rng.random()])
            lazy.step(np.array([0]), rng.standard_normal(1))
        lazy.l1 = 0.0
        lazy.step(np.empty(0, np.int64), np.empty(0))
        assert snapshot(pickle.loads(pickle.dumps(lazy))) == snapshot(lazy)


@names
def test_a_model_and_what_trains_it_are_copied_together(name):
    w = np.ones(4)
    both = copy.deepcopy({"w": w, "lazy": make(name, w)})
    assert both["lazy"].w is both["w"]


@names
def test_schedules_stay_as_they_are_constructed(name, tmp_path):
    one, other = (make(name, np.ones(4), lambda n: 0.1 / (1 + n), l1=lambda n: 0.01 * n) for _ in range(2))
    for lazy, count in ((one, 5), (other, 2)):
        for _ in range(count):
            lazy.step(np.array([1]), np.array([0.5]))
    saved = one.state_dict()
    assert not {"lr", "l1"} & saved.keys()
    other.load_state_dict(through_a_file(saved, tmp_path))
    other.w[...] = one.w
    for lazy in (one, other):
        lazy.step(np.array([2]), np.array([0.5]))
    assert snapshot(one) == snapshot(other)


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
OWN = {  # of one class
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
    ("FTRL", "a last lr of 0"): with_(last=np.zeros(3)),
    ("FTRL", "another start"): with_(warm_start=False),
}
REFUSED = [(name, case, TAMPERED[case]) for name in CASES for case in TAMPERED]
REFUSED += [(name, case, tamper) for (name, case), tamper in OWN.items()]


@pytest.mark.parametrize(("name", "case", "tamper"), REFUSED, ids=lambda x: x if isinstance(x, str) else "")
def test_what_does_not_fit_is_refused_with_nothing_changed(name, case, tamper):
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
def test_the_state_of_another_is_refused(name, other):
    if name == other:
        return
    lazy = make(name, np.ones(4))
    with pytest.raises(ValueError, match=r"^saved"):
        lazy.load_state_dict(make(other, np.ones(4)).state_dict())


def test_l2_may_not_come_back_beside_fractions():
    lazy = fastreg.LazySGD(np.ones(2), 0.1, l1=0.1, penalty_factor=[0.5, 1])
    donor = fastreg.LazySGD(np.ones(2), 0.1, l1=0.1, l2=0.1, penalty_factor=[0, 1])
    before = snapshot(lazy)
    with pytest.raises(ValueError, match=r"^penalty_factor: "):
        lazy.load_state_dict(donor.state_dict())
    assert snapshot(lazy) == before


@names
def test_what_a_caller_stores_beside_it_is_ignored(name, tmp_path):
    donor, lazy = (make(name, np.linspace(-1, 1, 5), lr, l1=0.2) for lr in (0.5, 0.25))
    donor.step(np.array([1, 4]), np.ones(2))
    np.savez(tmp_path / "all.npz", w=donor.w, epoch=7, note=np.array({"not": "read"}, object), **donor.state_dict())
    lazy.w[...] = donor.w
    with np.load(tmp_path / "all.npz") as file:
        lazy.load_state_dict(file)
    assert snapshot(lazy) == snapshot(donor)
