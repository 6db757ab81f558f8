"""Sweeps in joblib's workers: threads, processes, and a Dask cluster of two processes give the table of a sequence."""

import os
import subprocess
import sys

import numpy as np
import pytest
from path_cases import FOLDS, STRENGTHS, Interrupted, chain, network_training, same_table

from fastreg.path import sweep

joblib = pytest.importorskip("joblib")


@pytest.fixture(scope="module", params=["loky", "threading"])
def backend(request):
    with joblib.parallel_config(request.param):
        yield request.param
    if request.param == "loky":
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


@pytest.mark.parametrize("warm_start", [True, False])
def test_workers_give_the_same_table(backend, warm_start, tmp_path):
    whole = sweep(chain, STRENGTHS, folds=FOLDS, warm_start=warm_start)
    options = {"folds": FOLDS, "warm_start": warm_start, "checkpoint": tmp_path / "sweep.npz"}
    assert same_table(sweep(chain, STRENGTHS, **options, n_jobs=2), whole)
    assert same_table(sweep(Interrupted(chain, 0), STRENGTHS, **options), whole)  # all is in the file


def test_workers_train_the_network_of_the_demo(backend):
    train, folds = network_training()
    whole = sweep(train, [1e-3, 1e-4], folds=folds)
    assert same_table(sweep(train, [1e-3, 1e-4], folds=folds, n_jobs=2), whole)


def test_large_states_can_be_changed_in_place(backend):
    def train(strength, fold, state):
        w = np.zeros(200_000) if state is None else state  # above the size from which joblib makes memory maps
        w += strength
        return w, w[-1]

    table = sweep(train, [2.0, 1.0], folds=2, n_jobs=2)
    assert table.scores.tolist() == [[2.0, 2.0], [3.0, 3.0]]


class OwnError(Exception):
    """An error that cannot be unpickled, because its arguments differ from those of Exception."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")


@pytest.mark.parametrize("warm_start", [True, False])
def test_the_others_of_a_round_are_kept_when_one_fails(backend, warm_start, tmp_path):
    def fails(strength, fold, state):
        if strength == 0.5 and fold == 1:
            raise ZeroDivisionError("the data")
        return chain(strength, fold, state)

    options = {"folds": FOLDS, "warm_start": warm_start, "checkpoint": tmp_path / "sweep.npz"}
    with pytest.raises(ZeroDivisionError, match="the data") as raised:
        sweep(fails, STRENGTHS, **options, n_jobs=2)
    where, place = raised.value.__notes__
    assert "in fails" in where
    assert place == "in train at strength 0.5, fold 1 of 0 to 2"
    rest = Interrupted(chain, np.inf)
    assert same_table(sweep(rest, STRENGTHS, **options), sweep(chain, STRENGTHS, folds=FOLDS, warm_start=warm_start))
    assert rest.calls == (7 if warm_start else 1)


def test_an_error_that_cannot_be_sent_is_named(backend):
    def fails(strength, fold, state):
        raise OwnError(3, "the data")

    with pytest.raises(RuntimeError, match="OwnError: 3: the data"):
        sweep(fails, STRENGTHS, folds=2, n_jobs=2)


def test_an_interrupt_in_a_worker_ends_the_sweep(backend):
    def interrupts(strength, fold, state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(interrupts, STRENGTHS, folds=2, n_jobs=2)


def test_without_joblib_a_sequence_works_and_workers_are_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert sweep(chain, STRENGTHS, n_jobs=1).scores.shape == (4, 1)
    with pytest.raises(ImportError, match="n_jobs: expected joblib, pip install joblib"):
        sweep(chain, STRENGTHS, n_jobs=2)


def test_a_sequence_does_not_import_joblib_or_anything_else():
    code = (
        "import sys, fastreg; fastreg.path.sweep(lambda s, k, state: s, [1.0, 0.5], progress=True); "
        "print({'joblib', 'rich', 'matplotlib', 'sklearn', 'scipy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


PROGRAM = """
import os, sys, time
from fastreg.path import sweep

def train(strength, fold, state):
    if strength < 1:
        os.write(1, b"waits\\n")  # in one write, since the lines of two workers may come at once
        time.sleep(60)
    return strength

sweep(train, [1.0, 0.5], folds=2, checkpoint=sys.argv[1], n_jobs=int(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_keeps_what_is_finished(n_jobs, tmp_path):
    import signal

    path = tmp_path / "sweep.npz"
    command = [sys.executable, "-c", PROGRAM, str(path), str(n_jobs)]
    # A shell starts what it runs in the background with signals of the terminal ignored, and children inherit that.
    heard = {"start_new_session": True, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heard) as p:
        try:
            assert p.stdout.readline() == "waits\n"
            os.killpg(p.pid, signal.SIGINT)  # a terminal sends it to all processes of the group
            _, errors = p.communicate(timeout=40)
        finally:
            p.kill()
    assert p.returncode
    assert "KeyboardInterrupt" in errors
    with np.load(path) as file:
        assert file["done"].tolist() == [[True, True], [False, False]]


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as local,
        distributed.Client(local) as client,
    ):
        yield client


def test_two_dask_workers_give_the_table_of_one_process(cluster, tmp_path):
    train, folds = network_training()
    whole = sweep(train, [1e-3, 1e-4], folds=folds)

    def train_and_tell(strength, fold, state):
        state, score, reports = train(strength, fold, state)
        return state, score, reports | {"process": os.getpid()}

    path = tmp_path / "sweep.npz"
    with joblib.parallel_config("dask"):
        table = sweep(train_and_tell, [1e-3, 1e-4], folds=folds, checkpoint=path)
        processes = set(table.extras.pop("process").ravel())
        assert len(processes) == 2
        assert os.getpid() not in processes
        assert same_table(table, whole)
        assert same_table(sweep(chain, STRENGTHS, folds=FOLDS), sweep(chain, STRENGTHS, folds=FOLDS, n_jobs=1))
        cold = {"folds": FOLDS, "warm_start": False}
        assert same_table(sweep(chain, STRENGTHS, **cold), sweep(chain, STRENGTHS, **cold, n_jobs=1))
        with pytest.raises(ValueError, match="train: expected it to return 1 to 3 values"):
            sweep(lambda *_: (), STRENGTHS, folds=FOLDS)
