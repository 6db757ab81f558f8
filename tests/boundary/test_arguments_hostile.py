"""Arguments that run code during the call, give false answers about equality, or change the arrays after the check."""

from contextlib import suppress

import numpy as np
import pytest
from cases import AXIS, NUMBERS, UPDATES, numbers

import fastreg


class NumberWithAction:
    """A number that calls a function when it is converted."""

    def __init__(self, act):
        self.act = act

    def __float__(self):
        self.act()
        return 0.5


def set_read_only(w, g):
    w.flags.writeable = False


def set_shape(w, g):
    w.resize((2, 32), refcheck=False)  # NumPy is about to deprecate w.shape = ...


def shrink(w, g):
    w.resize(8, refcheck=False)


def grow(w, g):
    w.resize(1 << 20, refcheck=False)


def shrink_gradient(w, g):
    g.resize(8, refcheck=False)


def set_both_shapes(w, g):
    g.resize((8, 8), refcheck=False)
    w.resize((8, 8), refcheck=False)


ACTIONS = {  # what is done during the call → the error that must follow; None for an update of the changed arrays
    set_read_only: "^w: .*read-only",
    set_shape: "^grad: .*shape",
    shrink: "^grad: .*shape",
    grow: "^grad: .*shape",
    shrink_gradient: "^grad: .*shape",
    set_both_shapes: None,
}
PLACES = [(name, parameter) for name in UPDATES for parameter in NUMBERS[name]]
PLACES += [("l1_update", "theta"), ("elastic_net_update", "theta")]


@pytest.mark.parametrize(("name", "place"), PLACES)
@pytest.mark.parametrize("action", ACTIONS, ids=lambda f: f.__name__)
def test_arrays_that_change_while_the_numbers_are_converted(name, place, action):
    w, g, expected = np.arange(64.0), np.ones(64), np.arange(64.0)
    strengths = dict.fromkeys(NUMBERS[name], 0.5) | AXIS.get(name, {}) | {place: NumberWithAction(lambda: action(w, g))}
    mode = {"mode": "truncated"} if place == "theta" else {}
    if ACTIONS[action] is None:
        UPDATES[name](w, g, **strengths, **mode)
        UPDATES[name](expected, np.ones(64), **strengths | {place: 0.5}, **mode)
    else:
        with pytest.raises(ValueError, match=ACTIONS[action]):
            UPDATES[name](w, g, **strengths, **mode)
    n = min(w.size, 64)
    np.testing.assert_array_equal(w.ravel()[:n], expected[:n])


@pytest.mark.parametrize("name", ["l1_penalty", "l2_penalty"])
def test_weights_that_change_while_a_strength_of_a_penalty_is_converted(name):
    w = np.ones(1 << 16)
    value = getattr(fastreg, name)(w, NumberWithAction(lambda: w.resize(8, refcheck=False)))
    assert value == getattr(fastreg, name)(np.ones(8), 0.5)


def test_a_mode_that_changes_the_weights_when_compared():
    """The comparison may run or not, but read-only weights must not be written."""
    w, g = np.ones(64), np.ones(64)

    class Mode(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            w.flags.writeable = False
            return str.__eq__(self, other)

    with suppress(ValueError):
        fastreg.l1_update(w, g, 0.5, 0.5, mode=Mode("proximal"))
    np.testing.assert_array_equal(w, np.full(64, 0.25 if w.flags.writeable else 1.0))


@pytest.mark.parametrize("name", sorted(UPDATES.keys() - AXIS.keys()))
def test_only_the_text_of_a_mode_counts_when_it_is_equal_to_everything(name):
    class Liar(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            return True

        def __str__(self):
            return "proximal"

    w, g = np.ones(9), np.zeros(9)
    with pytest.raises(ValueError, match=r"^mode: "):
        UPDATES[name](w, g, *numbers(name, 0.5), mode=Liar("nonsense"))
    np.testing.assert_array_equal(w, np.ones(9))


@pytest.mark.parametrize("error", [KeyError, ValueError, ZeroDivisionError, KeyboardInterrupt, SystemExit, MemoryError])
def test_an_error_raised_by_a_number_is_passed_on(error):
    w, g = np.ones(9), np.zeros(9)

    def act():
        raise error("of the number")

    with pytest.raises(error, match="of the number"):
        fastreg.l1_update(w, g, NumberWithAction(act), 0.5)
    np.testing.assert_array_equal(w, np.ones(9))


def test_a_type_error_raised_by_a_number_is_part_of_the_message():
    def act():
        raise TypeError("of the number")

    with pytest.raises(TypeError, match=r"^l1: ") as caught:
        fastreg.l1_update(np.ones(9), np.zeros(9), 0.5, NumberWithAction(act))
    assert "of the number" in str(caught.value) or "of the number" in str(caught.value.__cause__)


def test_an_object_that_cannot_be_printed():
    class Unprintable:
        def __repr__(self):
            raise RuntimeError("no text")

    w = np.ones(9)
    with pytest.raises(TypeError, match=r"^lr: .*Unprintable"):
        fastreg.l1_update(w, np.zeros(9), Unprintable(), 0.5)
    with pytest.raises(TypeError, match=r"^mode: .*Unprintable"):
        fastreg.l1_update(w, np.zeros(9), 0.5, 0.5, mode=Unprintable())


def test_false_attributes_of_a_subclass_are_not_used():
    class Liar(np.ndarray):
        shape = property(lambda self: (1000, 1000))
        size = property(lambda self: 1_000_000)
        dtype = property(lambda self: np.dtype(np.int8))
        strides = property(lambda self: (0,))
        nbytes = property(lambda self: 1)
        __array_interface__ = property(lambda self: {})
        __len__ = lambda self: 0  # noqa: E731

        def __array_finalize__(self, base):
            pass

        def __array_ufunc__(self, *args, **kwargs):
            raise AssertionError("no ufunc is needed")

    w, g = np.arange(9.0), np.ones(9)
    fastreg.l1_update(w.view(Liar), g.view(Liar), 0.5, 0.0)
    np.testing.assert_array_equal(w, np.arange(9.0) - 0.5)


def test_keywords_that_are_a_subclass_of_str():
    class Key(str):
        __slots__ = ()

    w = np.arange(9.0)
    fastreg.l1_update(w, np.ones(9), **{Key("lr"): 0.5, Key("l1"): 0.0, Key("mode"): "proximal"})
    np.testing.assert_array_equal(w, np.arange(9.0) - 0.5)


@pytest.mark.parametrize("equal", [True, False])
def test_keywords_with_a_false_equality(equal):
    class Key(str):
        __slots__ = ()

        def __eq__(self, other):
            return equal

        def __hash__(self):
            return hash("lr")

    w = np.ones(9)
    with pytest.raises(TypeError, match=r"^l1_update\(\)"):
        fastreg.l1_update(w, np.ones(9), **{Key("lr"): 0.5, "l1": 0.0})
    np.testing.assert_array_equal(w, np.ones(9))


@pytest.mark.parametrize(
    "make", [fastreg.SGD, fastreg.FTRL, fastreg.LazySGD, fastreg.LazyFTRL], ids=lambda c: c.__name__
)
def test_a_schedule_cannot_free_the_memory_of_the_weights_at_construction(make):
    """The weights are a view, and a view does not show that its memory was freed."""
    base = np.ones(100)

    def schedule(n):
        with pytest.raises(ValueError, match="cannot resize"):
            base.resize(100_000, refcheck=False)
        return 0.5

    make(base[:50], schedule)
    assert base.size == 100
