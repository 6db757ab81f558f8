"""Layer 1': which directions, modes and penalties there are, and which combinations have a meaning."""

DIRECTIONS: dict[str, type] = {}
PENALTIES: dict[str, type] = {}
MODES_OF: dict[str, tuple[str, ...]] = {}  # of directions and penalties: the table that checks, tests and docs read
LINEAR = "subgradient", "decoupled", "truncated", "proximal"
ADAPTIVE = "subgradient", "decoupled", "proximal"  # coordinates differ in step size


def registered(table, *modes):
    """Lists a class in a table, and its modes."""

    def register(cls):
        table[cls.__name__], MODES_OF[cls.__name__] = cls, modes
        return cls

    return register
