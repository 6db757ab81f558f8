"""l21 and group_axis of the optimizers: forms, settings, state, reports, threads, and what is refused."""

import pickle

import numpy as np
import pytest
from cases import through_a_file
from optimizer_cases import DIRECTIONS, gradients, make, snapshot, train

import fastreg

PROXIMAL = [name for name, case in DIRECTIONS.items() if "proximal" in case.modes]
proximal = pytest.mark.parametrize("name", PROXIMAL)


def params(seed=0):
    rng = np.random.default_rng(seed)
    return {"W": rng.standard_normal((6, 4)), "K": rng.standard_normal((5, 3, 2, 2)), "b": rng.standard_normal(3)}


AXES = {"W": 1, "K": 0, "b": None}


@proximal
def test_every_tensor_can_have_an_axis_of_its_own(name):
    together, apart = params(), params()
    one = make(name, together, l21=0.3, group_axis=AXES)
    many = make(name, [{"params": {key: w}, "l21": 0.3, "group_axis": AXES[key]} for key, w in apart.items()])
    for i in range(3):
        grads = gradients(one, i)
        one.step(grads)
        many.step([{key: g} for key, g in grads.items()])
    for key, w in together.items():
        np.testing.assert_array_equal(w, apart[key])
    assert one.penalty() == pytest.approx(many.penalty())
    assert one.penalty(by="tensor") == pytest.approx(
        {
            "W": 0.3 * np.linalg.norm(together["W"], axis=0).sum(),
            "K": 0.3 * np.linalg.norm(together["K"].reshape(5, -1), axis=1).sum(),
            "b": 0.3 * np.linalg.norm(together["b"]),
        }
    )


@proximal
def test_negative_axes_and_memory_orders(name):
    results = []
    for order, axis in (("C", 0), ("C", -2), ("F", 0), ("F", -2)):
        w = np.array(params()["W"], order=order)
        optimizer = make(name, w, l21=0.5, group_axis=axis)
        for i in range(3):
            optimizer.step(np.array(params(i + 1)["W"], order=order))
        results.append(w)
    assert results[0].tobytes() == results[1].tobytes()
    assert results[2].tobytes("A") == results[3].tobytes("A")
    np.testing.assert_allclose(results[0], results[2], rtol=1e-13)


def test_schedules_and_changes_of_the_strength():
    scheduled, changed = params(), params()
    one = fastreg.Adam(scheduled, 0.1, l21=lambda t: 0.1 * t, group_axis=0)
    two = fastreg.Adam(changed, 0.1, group_axis=0)
    for i in range(5):
        two.param_groups[0]["l21"] = 0.1 * i
        one.step(gradients(one, i))
        two.step(gradients(two, i))
    assert [w.tobytes() for w in scheduled.values()] == [w.tobytes() for w in changed.values()]
    with pytest.raises(AttributeError, match=r"^group_axis: fixed at construction"):
        two.group_axis = 1
    with pytest.raises(TypeError, match=r"^group_axis: fixed at construction"):
        two.param_groups[0]["group_axis"] = 1


@proximal
def test_state_files_and_pickles_resume_to_the_bit(name, tmp_path):
    options = {"l1": 0.05, "l21": 0.3, "group_axis": AXES}
    straight = make(name, params(), **options)
    train(straight, 0, 6)
    first = make(name, params(), **options)
    train(first, 0, 3)
    copied = pickle.loads(pickle.dumps(first))
    resumed = make(name, {key: w.copy() for key, w in first.params.items()}, **options)
    resumed.load_state_dict(through_a_file(first.state_dict(), tmp_path))
    for optimizer in (copied, resumed):
        train(optimizer, 3, 6)
        assert snapshot(optimizer) == snapshot(straight)
        assert optimizer._tensors.axes == [1, 0, None]


def test_files_of_earlier_versions_have_no_group_lasso():
    optimizer = fastreg.SGD(np.ones((2, 2)), momentum=0.9)
    saved = {key: x for key, x in optimizer.state_dict().items() if not key.endswith((".l21", ".gamma"))}
    optimizer.param_groups[0]["l21"] = 0.5
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["l21"] == 0


def test_a_schedule_of_l21_must_be_there_when_its_state_is_loaded():
    saved = fastreg.SGD(np.ones((2, 2)), l21=lambda t: 0.5).state_dict()
    with pytest.raises(ValueError, match=r"^saved: .*lacks \['group.0.l21'\]"):
        fastreg.SGD(np.ones((2, 2)), l21=0.5).load_state_dict(saved)
    fastreg.SGD(np.ones((2, 2)), l21=lambda t: 0.1).load_state_dict(saved)


def test_a_group_without_penalty_adds_nothing_even_if_its_norm_is_infinite():
    w, f = np.array([[np.inf, 1.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [1.0, 1.0]])
    assert fastreg.SGD(w, l21=0.5, group_axis=0, penalty_factor=f).penalty() == 2.5


def test_reports_count_groups():
    w = np.ones((3, 4))
    w[1] = 0
    w[0, 0] = 0
    optimizer = fastreg.SGD({"W": w, "b": np.ones(2)}, l21=0.5, group_axis={"W": 0, "b": None})
    report = optimizer.report()
    assert (report["W"].groups, report["W"].zero_groups, report["W"].zeros) == (3, 1, 5)
    assert (report["b"].groups, report["b"].zero_groups) == (1, 0)
    assert (report.total.groups, report.total.zero_groups) == (4, 1)
    assert repr(report).splitlines()[0].endswith("penalty  zero groups")
    assert repr(report).splitlines()[1].endswith("1 of 3")
    plain = fastreg.SGD({"W": w}).report()
    assert plain.total.groups is None
    assert "groups" not in repr(plain)


@pytest.mark.parametrize(
    ("axis", "error", "text"),
    [
        (2, ValueError, r"params\[W\], from -2 to 1, got 2"),
        (-3, ValueError, r"got -3"),
        (0.0, TypeError, "float"),
        ("0", TypeError, "str"),
        (True, TypeError, "bool"),
        (np.array([0]), TypeError, "ndarray"),
        (np.True_, TypeError, "bool"),
        ({"V": 0}, ValueError, "lacks 'W'"),
        ([0], TypeError, "mapping"),
    ],
)
def test_axes_that_are_refused(axis, error, text):
    with pytest.raises(error, match=rf"^group_axis: .*{text}"):
        fastreg.SGD({"W": np.ones((2, 2))}, group_axis=axis)


def test_a_tensor_without_dimensions_is_one_group():
    w = np.array(1.0)
    fastreg.SGD(w, 0.1, l21=1.0).step(np.array(0.0))
    assert w == 0.9
    with pytest.raises(ValueError, match=r"^group_axis: .*None for params\[0\] without dimensions"):
        fastreg.SGD(w, group_axis=0)


def test_optimizers_without_a_proximal_mode_say_why():
    for cls in (fastreg.AdamW, fastreg.Lion):
        with pytest.raises(ValueError, match=r"^l21: expected 0 with .*"):
            cls(np.ones((2, 2)), l21=0.1)


def test_obstacles_may_stay_while_there_is_no_strength():
    w = np.ones((2, 2))
    optimizer = fastreg.SGD(w, bounds=(-1.0, 2.0), group_axis=0)
    for value in (0.1, lambda t: 0.0):
        with pytest.raises(ValueError, match=r"^l21: expected 0 with bounds of params\[0\]"):
            optimizer.param_groups[0]["l21"] = value
    uneven = fastreg.SGD(w, penalty_factor=np.array([[1.0, 2.0], [1.0, 1.0]]), group_axis=0)
    with pytest.raises(ValueError, match=r"^l21: expected 0 with penalty_factor\[0\], which differs"):
        uneven.param_groups[0].update(l21=0.1)
    fastreg.SGD(w, l21=0.1, penalty_factor=np.array([[1.0, 1.0], [2.0, 2.0]]), group_axis=0)
    with pytest.raises(TypeError, match=r"^penalty_factor\[0\]: .*mask"):
        fastreg.SGD(w, penalty_factor=np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2)))


@pytest.mark.filterwarnings("ignore:Setting the shape")  # deprecated in NumPy 2.5
@pytest.mark.parametrize("shape", [(3, 4), (12,), (2, 2, 3)])
def test_weights_that_were_reshaped_in_place_have_other_groups(shape):
    """Without groups a new shape changes nothing, since the memory is the same."""
    grouped, single = np.ones((4, 3)), np.ones((4, 3))
    optimizer = fastreg.SGD([grouped, single], 0.1, l21=0.5, group_axis=[1, None])
    grouped.shape = single.shape = shape
    before = grouped.copy()
    with pytest.raises(ValueError, match=r"params\[0\].* got (shape|1)"):
        optimizer.step([np.ones(shape), np.ones(shape)])
    np.testing.assert_array_equal(grouped, before)
    optimizer.step([None, np.ones(shape)])
    assert (single != 1).all()
    grouped.shape = (4, 3)
    optimizer.step([np.ones((4, 3)), None])
    assert (grouped != 1).all()
