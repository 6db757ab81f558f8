"""The clock: implementations in turn, round by round, so that what slows the machine down slows all of them.

A ratio is taken within a round, and the median over the rounds is what counts. fastreg stands in every round twice:
what the one time differs from the other is the noise of the run, and a ratio within it is a tie.
"""

import statistics
import time
from dataclasses import dataclass, field
from timeit import Timer

BLOCK = 1e-3  # seconds that a statement is repeated for, at least
FEWEST, MOST = 3, 25  # rounds
SLOWEST = 2  # rounds that are enough for who takes more than his share of the time
SELF = "fastreg again"


@dataclass
class Series:
    """The seconds per call of one implementation, by round; NaN where it sat a round out."""

    seconds: list[float] = field(default_factory=list)
    busy: float = 0.0  # processor time over time: more than one where it used several threads
    repeats: int = 1
    total: float = 0.0


def in_turn(statements, budget, fewest=FEWEST, most=MOST, block=BLOCK):
    """Series by name: every statement once a round until the budget in seconds is spent.

    One that has taken more than its share of it sits out later rounds, except the first, which the others are compared
    with.
    """
    start = time.perf_counter()
    timers = {name: Timer(prepared.statement, globals=prepared.names) for name, prepared in statements.items()}
    series = {name: Series() for name in timers}
    for name, timer in timers.items():
        once = timer.timeit(1)  # compiles, faults in pages, fills caches
        if once < 0.1:
            once = timer.timeit(1)
        if once < block:  # nor are the next calls the quickest
            few = max(1, int(0.2 * block / once))
            once = timer.timeit(few) / few
        series[name].repeats = max(1, int(block / once))
    first = next(iter(timers))
    for done in range(most):
        if done >= fewest and time.perf_counter() - start > budget:
            break
        for name, timer in timers.items():
            own = series[name]
            if done >= SLOWEST and name not in (first, SELF) and own.total > 2 * budget / len(timers):
                own.seconds.append(float("nan"))
                continue
            cpu = time.process_time()
            took = timer.timeit(own.repeats)
            own.busy += time.process_time() - cpu
            own.total += took
            own.seconds.append(took / own.repeats)
    return series


@dataclass(frozen=True)
class Ratio:
    """One implementation's time over another's: the median over rounds, and the middle half of them."""

    median: float
    low: float
    high: float
    rounds: int


def ratio(own, other):
    """The ratio of two series, round by round."""
    ratios = sorted(a / b for a, b in zip(own.seconds, other.seconds) if a == a and b == b)
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Ratio(statistics.median(ratios), low, high, len(ratios))


def noise(again):
    """How far from 1 a ratio has to be to mean anything: from fastreg against itself, one in a hundred at least."""
    return max(0.01, abs(again.median - 1), again.high - 1, 1 - again.low)


def verdict(peer, limit):
    """Whether fastreg is "faster" or "slower" than the peer, or it is a "tie" within the noise."""
    if peer.low > 1 + limit:
        return "faster"
    if peer.high < 1 - limit:
        return "slower"
    return "tie"
