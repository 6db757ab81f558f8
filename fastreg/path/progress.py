"""Layer 5, the progress of a sweep on the standard error: a bar of rich in a terminal, lines elsewhere, or nothing."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[str], None]


@contextmanager
def progress(wanted: bool | None, total: int, done: int) -> Iterator[Advance]:
    """Yields a function that takes a text about each finished training.

    None shows a bar if the standard error is a terminal and rich is installed, True a bar or lines, False nothing.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if wanted is not False and terminal:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            pass
        else:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=Console(stderr=True)) as bar:
                task = bar.add_task("sweep", total=total, completed=done)
                yield lambda text: bar.update(task, advance=1, description=text)
            return
    count = done

    def line(text: str) -> None:
        nonlocal count
        count += 1
        if wanted:
            print(f"{count}/{total}  {text}", file=sys.stderr, flush=True)

    yield line
