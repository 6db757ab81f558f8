"""Timing in interleaved rounds, so that other load on the machine affects all implementations alike.

Ratios are computed within a round; the result is the median over all rounds. fastreg is measured twice in every round:
the difference of the two times is the noise of the run, and a ratio within the noise is a tie.
"""

import statistics
import time
from dataclasses import dataclass, field
from timeit import Timer

BLOCK = 1e-3  # the shortest time in seconds for the repeats of a statement in one round
MIN_ROUNDS, MAX_ROUNDS = 3, 25
SLOW_ROUNDS = 2  # for an implementation that takes more than its share of the time
SELF = "fastreg again"


@dataclass
class Series:
    """The seconds per call of one implementation, by round; NaN if it was not measured in that round."""

    seconds: list[float] = field(default_factory=list)
    busy: float = 0.0  # processor time; it exceeds `total` if several threads were used
    repeats: int = 1
    total: float = 0.0


def time_interleaved(statements, budget, min_rounds=MIN_ROUNDS, max_rounds=MAX_ROUNDS, block=BLOCK):
    """Time every statement once a round until the budget in seconds is spent; returns a Series for each name.

    A statement that has taken more than its share is left out of later rounds. This does not apply to the first one,
    because the others are compared with it.
    """
    start = time.perf_counter()
    timers = {name: Timer(prepared.statement, globals=prepared.names) for name, prepared in statements.items()}
    series = {name: Series() for name in timers}
    for name, timer in timers.items():
        once = timer.timeit(1)  # compiles, faults in pages, fills caches
        if once < 0.1:
            once = timer.timeit(1)
        if once < block:  # the second call may still be slower than later ones
            few = max(1, int(0.2 * block / once))
            once = timer.timeit(few) / few
        series[name].repeats = max(1, int(block / once))
    first = next(iter(timers))
    for done in range(max_rounds):
        if done >= min_rounds and time.perf_counter() - start > budget:
            break
        for name, timer in timers.items():
            current = series[name]
            if done >= SLOW_ROUNDS and name not in (first, SELF) and current.total > 2 * budget / len(timers):
                current.seconds.append(float("nan"))
                continue
            cpu = time.process_time()
            took = timer.timeit(current.repeats)
            current.busy += time.process_time() - cpu
            current.total += took
            current.seconds.append(took / current.repeats)
    return series


@dataclass(frozen=True)
class Ratio:
    """The time of one implementation divided by that of another: the median and the quartiles over rounds."""

    median: float
    low: float
    high: float
    rounds: int


def ratio(series, baseline):
    """The ratio of two series, computed round by round."""
    ratios = sorted(a / b for a, b in zip(series.seconds, baseline.seconds) if a == a and b == b)
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Ratio(statistics.median(ratios), low, high, len(ratios))


def noise(again):
    """The noise of the run, from the ratio of fastreg to itself; at least 0.01."""
    return max(0.01, abs(again.median - 1), again.high - 1, 1 - again.low)


def verdict(peer, limit):
    """Whether fastreg is "faster" or "slower" than the peer, or a "tie" within the noise."""
    if peer.low > 1 + limit:
        return "faster"
    if peer.high < 1 - limit:
        return "slower"
    return "tie"
