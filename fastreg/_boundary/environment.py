"""Environment variables that are read at import: a value that makes no sense is a warning, and the default holds.

Both are read before anything else of fastreg is imported, see __init__.py: where warnings are errors, the import fails
with that warning, leaves nothing half done, and succeeds as soon as the variable is mended.
"""

import os
import warnings

LONGEST = 60  # characters of a value that a message shows


def read(variable):
    """The value without spaces around it; empty where it is not set. Bytes that are no text come as surrogates."""
    return os.environ.get(variable, "").strip()


def warn(variable, expected, got):
    """Say that a value is ignored."""
    warnings.warn(f"{variable}: expected {expected}, got {shown(got)}; it is ignored", RuntimeWarning, stacklevel=3)


def shown(value):
    """A value for a message, in ASCII so that it can be printed anywhere, and short."""
    try:
        text = ascii(value)
    except ValueError:  # Python writes out no whole number of more than 4300 digits
        return f"a number of {value.bit_length()} bits"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
