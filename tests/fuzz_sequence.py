"""The base of the random sequences of fuzz.py: calls that may fail as documented, a record, schedules with actions."""

from cases import bits

DOCUMENTED = (TypeError, ValueError, RuntimeError, FloatingPointError)


class Finding(Exception):  # noqa: N818  (the fuzzer looks for it)
    """An invariant that does not hold."""


class Done(Exception):  # noqa: N818
    """The sequence ends here, since later results cannot be compared."""


class HostileError(Exception):
    """Raised by a callable of the caller."""


class Sequence:
    """The base of all sequences: calls that may fail in the documented ways, and a record of the calls."""

    def __init__(self, draw):
        self.draw, self.done = draw, []

    def attempt(self, what, act, *more):
        """Whether the call succeeds, and its result or its error."""
        self.done.append(what)
        try:
            return True, act()
        except (*DOCUMENTED, HostileError, *more) as error:
            self.done[-1] += f": {type(error).__name__}: {error}"[:100]
            return False, error

    def require(self, condition, what):
        if not condition:
            raise Finding(what)


class Rate:
    """A schedule that calls `act` the next time it is evaluated, once; copies do not."""

    act = None

    def __call__(self, n):
        act, self.act = self.act, None
        if act:
            act()
        return 0.1 / (1 + n)

    def __reduce__(self):
        return Rate, ()

    def __deepcopy__(self, memo):
        return Rate()


def same_bits(x, y):
    """Whether two arrays have the same bits; NaNs may differ in payload and sign."""
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if x.dtype.kind in "OiuU":
        return x.tolist() == y.tolist()
    return bits(x).tobytes() == bits(y).tobytes()
