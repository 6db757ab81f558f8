"""The console: 80 columns in a pipe or a log file, the terminal's width otherwise.

rich chooses the width and the colours, and draws the lines of tables in ASCII if the encoding requires it. Any other
character that the encoding lacks is printed as "?".
"""

import sys
import time
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class ReportConsole(Console):
    """A rich console that prints text literally and measures the time since its creation.

    `rows` collects what a report repeats in a table at its end.
    """

    def __init__(self):
        if hasattr(sys.stdout, "reconfigure"):  # a caller may have replaced it by any other stream
            sys.stdout.reconfigure(errors="replace")
        super().__init__(highlight=False, markup=False, emoji=False)
        self.start = time.perf_counter()
        self.rows = []

    @contextmanager
    def progress(self, total):
        """Show a progress bar in a terminal, and nothing elsewhere.

        Yields a function that takes the description of the next task and returns a function `advance(amount)`.
        """
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        with Progress(*columns, console=self, transient=True, disable=not self.is_terminal) as bar:
            task = bar.add_task("", total=total)

            def start_task(description):
                bar.update(task, description=description)
                return lambda amount: bar.advance(task, amount)

            yield start_task

    def finish(self, paths):
        """Print the paths of the pictures and the elapsed time."""
        if paths:
            self.print("Pictures:", *paths, sep="\n  ", soft_wrap=True)
        self.print(f"\nTotal time: {time.perf_counter() - self.start:.0f} s.")
