"""Interrupted sweeps go on to the same table; files of other sweeps and broken files are refused."""

import numpy as np
import pytest
from path_cases import FOLDS, STRENGTHS, Interrupted, chain, same_table

from fastreg.path import states, sweep


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.npz"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("warm_start", [True, False])
def test_interrupted_at_each_call_and_resumed_gives_the_same_table(warm_start, error, path):
    whole = sweep(chain, STRENGTHS, folds=FOLDS, warm_start=warm_start)
    for at in range(12):
        path.unlink(missing_ok=True)
        first, second = Interrupted(chain, at, error), Interrupted(chain, np.inf)
        with pytest.raises(error) as raised:
            sweep(first, STRENGTHS, folds=FOLDS, warm_start=warm_start, checkpoint=path)
        assert "in train at strength" in raised.value.__notes__[0]
        resumed = sweep(second, STRENGTHS[::-1], folds=FOLDS, warm_start=warm_start, checkpoint=path)
        assert (first.calls, second.calls) == (at + 1, 12 - at)
        assert same_table(resumed, whole)
    again = Interrupted(chain, 0)
    assert same_table(sweep(again, STRENGTHS, folds=FOLDS, warm_start=warm_start, checkpoint=path), whole)
    assert again.calls == 0
    assert [file.name for file in path.parent.iterdir()] == ["sweep.npz"]


def test_the_network_of_the_demo_interrupted_at_each_call(path):
    pytest.importorskip("sklearn")
    from path_cases import network_training

    train, folds = network_training()
    strengths = [0.01, 1e-3]
    whole = sweep(train, strengths, folds=folds)
    for at in range(6):
        path.unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt):
            sweep(Interrupted(train, at), strengths, folds=folds, checkpoint=path)
        assert same_table(sweep(train, strengths, folds=folds, checkpoint=path), whole)


def test_interrupted_many_times(path):
    whole, last = sweep(chain, STRENGTHS, folds=FOLDS), Interrupted(chain, np.inf)
    for _ in range(11):
        with pytest.raises(KeyboardInterrupt):
            sweep(Interrupted(chain, 1), STRENGTHS, folds=FOLDS, checkpoint=path)
    assert same_table(sweep(last, STRENGTHS, folds=FOLDS, checkpoint=path), whole)
    assert last.calls == 1


@pytest.mark.parametrize("place", ["savez", "fsync"])
def test_an_interrupt_while_the_file_is_written_loses_nothing(place, path, monkeypatch):
    owner = {"savez": np, "fsync": states.sys.modules["os"]}[place]
    write, calls = getattr(owner, place), 0

    def interrupted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == 4:  # the first one is the empty file
            raise KeyboardInterrupt
        return write(*arguments, **options)

    monkeypatch.setattr(owner, place, interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(chain, STRENGTHS, folds=FOLDS, checkpoint=path)
    monkeypatch.undo()
    rest = Interrupted(chain, np.inf)
    assert same_table(sweep(rest, STRENGTHS, folds=FOLDS, checkpoint=path), sweep(chain, STRENGTHS, folds=FOLDS))
    assert rest.calls == 12 - 3
    assert [file.name for file in path.parent.iterdir()] == ["sweep.npz"]


def test_a_disk_that_fails_leaves_the_file_of_before(path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        sweep(Interrupted(chain, 5), STRENGTHS, folds=FOLDS, checkpoint=path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError("no space")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        sweep(chain, STRENGTHS, folds=FOLDS, checkpoint=path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["sweep.npz"]


def test_a_path_that_cannot_be_written_is_an_error_before_the_first_training(tmp_path):
    train = Interrupted(chain, np.inf)
    for path in (tmp_path / "missing" / "sweep.npz", tmp_path):
        with pytest.raises(OSError, match=str(tmp_path)):
            sweep(train, STRENGTHS, checkpoint=path)
    assert train.calls == 0


SPLIT = [(np.arange(4), np.arange(4, 6)), (np.arange(2, 6), np.arange(2))]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"strengths": [1.0, 0.5]}, "strengths"),
        ({"strengths": [*STRENGTHS[:-1], 0.126]}, "strengths"),
        ({"folds": 2}, "folds"),
        ({"folds": [SPLIT[0], (SPLIT[1][0], np.array([1, 0]))]}, "folds"),
        ({"warm_start": False}, "warm_start"),
        ({"key": "other data"}, "key"),
    ],
    ids=str,
)
def test_the_file_of_another_sweep_is_refused(change, name, path):
    options = {"strengths": STRENGTHS, "folds": SPLIT, "warm_start": True, "key": ""}

    def train(strength, fold, state):
        return strength

    sweep(train, **options, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"checkpoint: expected the file of a sweep with the same {name}, got that of"):
        sweep(train, **options | change, checkpoint=path)
    assert path.read_bytes() == before
    sweep(Interrupted(train, 0), **options, checkpoint=path)  # the first one goes on to be valid


def test_files_that_are_no_checkpoint_are_refused(path):
    def refused():
        content, train = path.read_bytes(), Interrupted(chain, np.inf)
        with pytest.raises(
            ValueError, match=r"checkpoint: expected a file that sweep wrote, .* remove it or name another"
        ):
            sweep(train, STRENGTHS, folds=FOLDS, checkpoint=path)
        assert train.calls == 0
        assert path.read_bytes() == content

    for content in (b"", b"text", b"PK\3\4", bytes(1000)):
        path.write_bytes(content)
        refused()
    np.savez(path, scores=np.zeros((4, 3)))
    refused()
    np.savez(path, header=np.array([{"a": print}], object))
    refused()


def test_a_truncated_file_is_refused_and_a_changed_one_is_refused_or_has_the_same_content(path):
    with pytest.raises(KeyboardInterrupt):
        sweep(Interrupted(chain, 7), [1.0, 0.5], folds=4, checkpoint=path)
    content, whole = path.read_bytes(), sweep(chain, [1.0, 0.5], folds=4)

    def refused(changed):
        path.write_bytes(changed)
        try:
            table = sweep(chain, [1.0, 0.5], folds=4, checkpoint=path)
        except ValueError as error:
            assert str(error).startswith("checkpoint: expected")  # noqa: PT017
            return True
        assert same_table(table, whole)
        return False

    step = len(content) // 40
    assert all(refused(content[:n]) for n in range(0, len(content), step))
    changed = [
        refused(content[:i] + bytes([content[i] ^ 0x15]) + content[i + 1 :]) for i in range(0, len(content), step)
    ]
    assert sum(changed) > len(changed) / 2


def test_states_that_cannot_be_stored_are_refused_before_training_goes_on(path):
    class Model:
        pass

    for state in (Model(), {"model": [Model()]}, {1.5: 2}, np.array([None]), b"bytes", 1j, {1, 2}):
        path.unlink(missing_ok=True)
        train = Interrupted(lambda *_, state=state: (state, 1.0), np.inf)
        with pytest.raises(TypeError, match=r"state.*: expected with checkpoint= only .*, got"):
            sweep(train, STRENGTHS, checkpoint=path)
        assert train.calls == 1
    with pytest.raises(TypeError, match=r"folds\[0\]: expected with checkpoint= only"):
        sweep(chain, STRENGTHS, folds=[Model()], checkpoint=path)


def test_a_state_comes_back_as_it_was():
    rng = np.random.default_rng(0)
    state = {
        "c": rng.normal(size=(3, 4)).astype(np.float32),
        "fortran": np.asfortranarray(rng.normal(size=(3, 4))),
        "scalar": np.float32(0.1),
        "bits": rng.bit_generator.state,
        7: [None, True, -3, 2**200, 0.1, float("inf"), "ü"],
        "nested": ((), [], {}, (1, [2.5])),
        "empty": np.zeros((0, 2), np.int8),
        "swapped": np.arange(3, dtype=">i4"),
        "time": np.datetime64("2020-01-01", "s"),
    }
    arrays = []
    encoded = states.json.loads(states.json.dumps(states.encode(state, "state", arrays)))
    back = states.decode(encoded, arrays)
    assert list(back) == list(state)
    assert back["fortran"].flags.f_contiguous
    for name in ("c", "fortran", "empty", "swapped"):
        assert (back[name].dtype, back[name].tobytes()) == (state[name].dtype, state[name].tobytes())
    for name in ("scalar", "time"):
        assert type(back[name]) is type(state[name])
        assert back[name] == state[name]
    for name in ("bits", 7, "nested"):
        assert back[name] == state[name]
    assert states.fingerprint(back, "state") == states.fingerprint(state, "state")
    changed = state | {"c": state["c"] + np.float32(1e-7)}
    assert states.fingerprint(changed, "state") != states.fingerprint(state, "state")


def test_bfloat16_arrays_come_back():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    a, arrays = np.arange(5).astype(ml_dtypes.bfloat16), []
    back = states.decode(states.encode(a, "state", arrays), arrays)
    assert back.dtype == a.dtype
    assert np.array_equal(back, a)
    assert arrays[0].dtype == np.uint16
