"""Layer 4, environment variables. They are read at import; an invalid value gives a warning and is ignored.

They are read before the rest of fastreg is imported (see __init__.py). If warnings are errors, an invalid value makes
the import fail before anything is set up, and the import succeeds once the variable is corrected.
"""

import os
import warnings

MAX_CHARACTERS = 60  # of a value in a message


def read(variable):
    """The value, stripped; empty if the variable is not set. Bytes that cannot be decoded become surrogates."""
    return os.environ.get(variable, "").strip()


def warn(variable, expected, got):
    """Warn that a value is ignored."""
    warnings.warn(f"{variable}: expected {expected}, got {shown(got)}; it is ignored", RuntimeWarning, stacklevel=3)


def shown(value):
    """A short text of a value for a message, in ASCII so that it can be printed anywhere."""
    try:
        text = ascii(value)
    except ValueError:  # Python does not convert an int of more than 4300 digits
        return f"a number of {value.bit_length()} bits"
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}... ({len(text)} characters)"
