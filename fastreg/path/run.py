"""Layer 5, the sweep: a user's train function at each strength and fold, in sequence or in joblib's workers.

Trainings go in rounds: with a warm start a round is one strength, in all folds, and its states go through this process,
which alone writes the checkpoint. So it works with workers that share no disk. A task for each whole fold would wait
less for the slowest fold, but would lose all strengths of a fold with its worker.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from itertools import chain
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastreg.convert.checks import flag
from fastreg.path.checks import checked_strengths
from fastreg.path.progress import progress as show_progress
from fastreg.path.record import Record
from fastreg.path.table import SweepTable

Train = Callable[[float, Any, Any], Any]


class Task(NamedTuple):
    """One training: row i of the table, column k."""

    i: int
    k: int
    strength: float


class Outcome(NamedTuple):
    """What a training returned, checked; or its error."""

    score: float = np.nan
    extras: dict[str, float] = {}  # noqa: RUF012  never written
    state: Any = None
    error: BaseException | None = None


def sweep(
    train: Train,
    strengths: ArrayLike,
    *,
    folds: int | Iterable[Any] = 1,
    warm_start: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    key: str = "",
    n_jobs: int | None = None,
    progress: bool | None = None,
    greater_is_better: bool = False,
) -> SweepTable:
    """Call your own train function for each strength and fold, the strongest strength first, and collect the scores.

    Parameters
    ----------
    train : callable, train(strength, fold, state)
        Trains with this strength on the data of this fold, and returns one of

        - the score, a number: a loss on data that was not trained on (see `greater_is_better`);
        - (state, score), with anything from which the next training goes on;
        - (score, reports) or (state, score, reports), with a dict of further numbers by name, such as the number of
          zeros, for the table.

        `state` is what train returned for the next stronger strength of the same fold, or None for the first one and
        with ``warm_start=False``. A score of NaN says that the training failed; its strength is not chosen.
    strengths : array (n,)
        Finite, not negative, in any order, no two of them equal, see :func:`grid`.
    folds : int or iterable
        What train gets as fold: the numbers 0 … folds − 1, or the elements, such as the pairs (training rows, test
        rows) of scikit-learn's ``KFold(5).split(X)``.
    warm_start : bool
        True: each training starts from the state of the one before. It saves time for models that can leave zero.
        A network with ReLU and no weight but zeros has no gradient, and stays there: use False, or strengths at
        which it keeps some weights.
    checkpoint : path of a file, or None
        The table is written to this file after each training, and sweep goes on from the file if it exists, with the
        same result. A file of a sweep with other strengths, folds, warm_start or key is refused. What train does is
        not known: remove the file, or change `key`, if train or its data have changed. The file is an .npz without
        pickles, replaced as a whole. Beside the scores it has the last state of each fold. With a checkpoint, states
        and the elements of folds may consist of None, bools, numbers, strings, NumPy arrays and scalars, tensors of
        torch (which come back on the CPU), and dicts, lists and tuples of these. Without one they can be anything.
    key : str
        What else tells this sweep from others, for example the name of the data and the settings.
    n_jobs : int or None
        The number of joblib's workers: -1 for all processors. Folds run in parallel; without a warm start strengths,
        too. None is sequential, unless joblib.parallel_config says otherwise, as parallel_config("dask") or
        parallel_config("ray", n_jobs=-1) do. Workers get train and its data as joblib sends them: large arrays as
        read-only memory maps. Their number does not change the table, if train gives the same in each process.
    progress : bool or None
        On the standard error: None shows a bar in a terminal if rich is installed, True a bar there and lines
        elsewhere, False nothing.
    greater_is_better : bool
        True for scores such as accuracies; it is for the choice only.

    Returns
    -------
    SweepTable
        `strengths`, `scores`, `extras`, `best("min")`, `best("1se")`, `to_dict()` for pandas.DataFrame, `plot()`.

    Raises
    ------
    TypeError, ValueError
        If an argument or what train returns is out of range. The message names it.
    ImportError
        If n_jobs needs joblib and it is not installed.

    Notes
    -----
    An exception of train is raised as it is, with a note that names strength and fold. Trainings that run at the same
    time in other workers are finished and recorded before. After any exception, KeyboardInterrupt included, the
    checkpoint has all trainings that this process knows to be finished.

    References
    ----------
    J. Friedman, T. Hastie, R. Tibshirani, J. Stat. Softw. 33 (2010): warm starts along the path.

    Examples
    --------
    >>> import numpy as np
    >>> from fastreg.path import sweep
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(60, 8)), rng.normal(size=60)
    >>> y += X[:, 0]
    >>> def train(strength, fold, w):
    ...     test = np.arange(60) % 5 == fold
    ...     w = np.zeros(8) if w is None else w
    ...     for _ in range(100):
    ...         gradient = X[~test].T @ (X[~test] @ w - y[~test]) / np.sum(~test)
    ...         w = w - 0.3 * gradient
    ...         w -= np.clip(w, -0.3 * strength, 0.3 * strength)
    ...     return w, np.mean((X[test] @ w - y[test]) ** 2), {"nonzeros": np.count_nonzero(w)}
    >>> table = sweep(train, [1.0, 0.3, 0.1, 0.03], folds=5)
    >>> table
    strength   loss  std. error  nonzeros
           1  1.584        0.18         0
         0.3  1.131        0.09       1.6  1se
         0.1  1.077        0.14         5  min
        0.03  1.099        0.26       7.2
    """
    if not callable(train):
        raise TypeError(f"train: expected a function of (strength, fold, state), got {type(train).__name__}")
    ordered = _ordered(strengths)
    parts = _parts(folds)
    warm_start, greater_is_better = flag(warm_start, "warm_start"), flag(greater_is_better, "greater_is_better")
    wanted = None if progress is None else flag(progress, "progress")
    if not isinstance(key, str):
        raise TypeError(f"key: expected a string, got {type(key).__name__}")
    shape, file = (len(ordered), len(parts)), None
    record = Record.empty(*shape)
    workers = _workers(n_jobs)
    if checkpoint is not None:
        from fastreg.path import states
        from fastreg.path.checkpoint import Checkpoint

        what = {"strengths": ordered, "folds": list(parts), "warm_start": warm_start, "key": key}
        file = Checkpoint(checkpoint, {name: states.fingerprint(x, name) for name, x in what.items()})
        record = file.load(*shape, warm_start)
    rounds = _rounds(ordered, record, warm_start)
    run = _sequential if workers == 1 else _in_workers
    try:
        with show_progress(wanted, record.done.size, int(record.done.sum())) as advance:
            for task, outcome in run(train, parts, record, rounds, warm_start, n_jobs):
                record.store(task.i, task.k, outcome.score, outcome.extras, outcome.state)
                if file is not None:
                    file.save(record)
                advance(f"strength {task.strength:.4g}, fold {task.k}: {outcome.score:.4g}")
    except BaseException:
        if file is not None:  # an interrupt may have come between a training and the end of its save
            with suppress(Exception):
                file.save(record)
        raise
    return SweepTable(ordered, record.scores, record.extras, greater_is_better)


def _ordered(strengths: ArrayLike) -> np.ndarray:
    """The strengths, the strongest first."""
    ordered = -np.sort(-checked_strengths(strengths))
    if (same := ordered[1:][np.diff(ordered) == 0]).size:
        raise ValueError(f"strengths: expected different numbers, got {same[0]} more than once")
    return ordered + 0.0  # no negative zero


def _parts(folds: int | Iterable[Any]) -> Sequence[Any]:
    """What train gets as fold."""
    if isinstance(folds, bool | str | bytes | dict):
        raise TypeError(f"folds: expected a number of folds or their elements, got {type(folds).__name__}")
    try:
        parts: Sequence[Any] = range(index(folds))  # type: ignore[arg-type]
    except TypeError:
        try:
            parts = list(folds)  # type: ignore[arg-type]
        except TypeError:
            message = f"folds: expected a number of folds or their elements, got {type(folds).__name__}"
            raise TypeError(message) from None
    if not parts:
        raise ValueError("folds: expected at least one fold, got none")
    return parts


def _rounds(strengths: np.ndarray, record: Record, warm_start: bool) -> list[list[Task]]:
    """What is left to do, in rounds; the trainings of a round do not depend on each other."""
    rows = [
        [Task(i, k, float(s)) for k in range(record.done.shape[1]) if not record.done[i, k]]
        for i, s in enumerate(strengths)
    ]
    rounds = rows if warm_start else [list(chain.from_iterable(rows))]
    return [tasks for tasks in rounds if tasks]


def _sequential(
    train: Train, parts: Sequence[Any], record: Record, rounds: list[list[Task]], warm: bool, n_jobs: Any
) -> Iterator[tuple[Task, Outcome]]:
    for tasks in rounds:
        for task in tasks:
            try:
                outcome = _returned(train(task.strength, parts[task.k], record.states[task.k]), warm)
            except BaseException as error:
                error.add_note(_place(task, len(parts)))
                raise
            yield task, outcome


def _in_workers(
    train: Train, parts: Sequence[Any], record: Record, rounds: list[list[Task]], warm: bool, n_jobs: Any
) -> Iterator[tuple[Task, Outcome]]:
    from joblib import Parallel, delayed

    try:
        context = Parallel(n_jobs=n_jobs, batch_size=1, return_as="generator_unordered")
    except (TypeError, ValueError):  # joblib before 1.4, or a backend that gives results at the end of a round only
        context = Parallel(n_jobs=n_jobs, batch_size=1)
    with context as parallel:
        for tasks in rounds:
            failed: list[tuple[Task, BaseException]] = []
            calls = (delayed(_work)(train, task, parts[task.k], record.states[task.k], warm) for task in tasks)
            for task, outcome in parallel(calls):
                if outcome.error is None:
                    yield task, outcome
                else:
                    failed.append((task, outcome.error))
            if failed:
                task, error = min(failed, key=lambda pair: pair[0])
                error.add_note(_place(task, len(parts)))
                raise error


def _work(train: Train, task: Task, fold: Any, state: Any, warm: bool) -> tuple[Task, Outcome]:
    """A training in a worker. An error is returned, so that the others of the round are not lost."""
    try:
        # a copy, since joblib hands large arrays as memory maps that cannot be written
        return task, _returned(train(task.strength, fold, deepcopy(state)), warm)
    except (Exception, KeyboardInterrupt) as error:
        return task, Outcome(error=_portable(error))


def _portable(error: BaseException) -> BaseException:
    """The error with its traceback as a note; as a RuntimeError if it cannot be sent to another process."""
    import pickle

    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in a worker:\n{text}")
    return error


def _returned(result: Any, warm: bool) -> Outcome:
    """What train returned."""
    state, score = None, result
    extras: dict[str, Any] = {}
    if isinstance(result, tuple):
        if len(result) == 3:
            state, score, extras = result
        elif len(result) == 2:
            state, score = result
            if isinstance(score, dict):
                state, score, extras = None, *result
        else:
            raise ValueError(f"train: expected it to return 1 to 3 values, got {len(result)}")
    if not isinstance(extras, dict) or not all(isinstance(name, str) for name in extras):
        raise TypeError(f"train: expected its reports as a dict of numbers by name, got {extras!r:.80}")
    values = {name: _number(x, f"report {name!r}") for name, x in extras.items()}
    return Outcome(_number(score, "score"), values, state if warm else None)


def _number(x: Any, name: str) -> float:
    """A number of train, NaN and infinity included."""
    value = x.item() if getattr(x, "ndim", None) == 0 else x
    if not isinstance(value, bool | int | float):
        raise TypeError(f"train: expected a number as its {name}, got {type(x).__name__} ({x!r:.80})")
    return float(value)


def _place(task: Task, folds: int) -> str:
    return f"in train at strength {task.strength!r}, fold {task.k} of 0 to {folds - 1}"


def _workers(n_jobs: int | None) -> int:
    """The number of workers. joblib is not imported for None: its backends can only be set if it has been."""
    if n_jobs is None and "joblib" not in sys.modules:
        return 1
    if n_jobs is not None:
        if isinstance(n_jobs, bool) or not hasattr(n_jobs, "__index__"):
            raise TypeError(f"n_jobs: expected None or an integer, got {type(n_jobs).__name__} ({n_jobs!r})")
        if n_jobs == 0:
            raise ValueError("n_jobs: expected None or an integer other than 0, got 0")
        if n_jobs == 1:
            return 1
    try:
        from joblib import effective_n_jobs
    except ImportError as error:
        raise ImportError(f"n_jobs: expected joblib, pip install joblib; {error}") from error
    return int(effective_n_jobs(n_jobs))
