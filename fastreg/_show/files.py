"""The folder that pictures are written to."""

import os


class CannotWriteError(Exception):
    """The output folder cannot be created or is not writable."""


def prepare_folder(path):
    """Create the folder and check that it is writable, so that an error is raised before the work and not after it."""
    probe = path / f".fastreg-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotWriteError(f"cannot write to {str(path)!r}: {error.strerror}") from error
