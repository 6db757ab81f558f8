"""The run: every rule at every size with every peer, as plain data that JSON can carry.

Time is shared out beforehand: large arrays get most of it, and of what a case leaves over the later ones have more.
Peers are prepared one size at a time and let go of before the next, so that memory holds one set of arrays, and jax's.
"""

import gc
import time

from fastreg._boundary import config as _config
from fastreg.bench import SettingError, cases, machine, measure, peers

SCHEMA = 1  # of the JSON; grows when a name changes its meaning
NOT_PEERS = ("fastreg", "reference")


def chosen(settings):
    """The names of the peers to measure."""
    return [name for name in settings.peers or peers.PEERS if name not in NOT_PEERS]


def validate(settings):
    """SettingError for a rule or a peer that does not exist, naming the option."""
    for option, names, check in (
        ("--rule", settings.rules, cases.Case.named),
        ("--peer", settings.peers or (), known),
    ):
        for name in names:
            try:
                check(name)
            except ValueError as error:
                raise SettingError(f"argument {option}: {error}") from error


def known(name):
    """The name of a peer; ValueError for another."""
    own = [peer for peer in peers.PEERS if peer not in NOT_PEERS]
    if name not in own:
        raise ValueError(f"expected one of {', '.join(own)}, got {name!r}")


def run(settings, tick):
    """Measure; `tick` is told what is under way and which share of the whole was done since the last time."""
    machine.single_thread()
    found = {"schema": SCHEMA, "machine": machine.describe(), "versions": versions(chosen(settings))}
    found |= {"dtype": settings.dtype, "results": [], "skipped": []}
    rules = [cases.Case.named(name) for name in settings.rules]
    usable = {}
    for case in rules:
        tick(f"checking {case.name}", 0)
        usable[case] = checked(case, settings, found["skipped"])
    plan = [(size, case) for size in sorted(settings.sizes) for case in rules]
    weights = {step: 1 + step[0] / 2e6 for step in plan}  # a second for small arrays, a minute's half for the largest
    start = time.perf_counter()
    for i, (size, case) in enumerate(plan):
        share = weights[size, case] / sum(weights[step] for step in plan[i:])
        left = settings.seconds - (time.perf_counter() - start)
        tick(f"{case.name}, {size:.0e} weights", 0)
        found["results"] += measured(case, size, settings, usable[case], max(0.0, share * left), found["skipped"])
        tick("", weights[size, case] / sum(weights.values()))
    return found


def checked(case, settings, skipped):
    """The names of the peers that can do the case, and do it right."""
    names = []
    for name in chosen(settings):
        try:
            peers.check(name, case, settings.dtype)
        except peers.Skip as reason:
            skipped.append({"rule": case.name, "implementation": name, "size": None, "reason": str(reason)})
        else:
            names.append(name)
    return names


def measured(case, size, settings, names, budget, skipped):
    """Entries of the results for one case at one size."""
    itemsize = 4 if settings.dtype == "float32" else 8
    if not machine.fits(peers.footprint(case, ["fastreg", *names]) * size * itemsize):
        reason = f"more than {machine.SHARE:.0%} of the available memory"
        skipped.append({"rule": case.name, "implementation": None, "size": size, "reason": reason})
        return []
    arrays = cases.workload(case, size, settings.dtype)
    statements = {"fastreg": peers.prepare("fastreg", case, arrays)}
    for name in names:
        statements[name] = peers.prepare(name, case, arrays)
    statements[measure.SELF] = statements["fastreg"]
    series = measure.in_turn(statements, budget)
    del statements, arrays
    gc.collect()
    return [entry(case, size, name, series) for name in series if name != measure.SELF]


def entry(case, size, name, series):
    """One implementation's result."""
    own = series[name]
    again = measure.ratio(series[measure.SELF], series["fastreg"])
    ratio = again if name == "fastreg" else measure.ratio(own, series["fastreg"])
    limit = measure.noise(again)
    seconds = sorted(x for x in own.seconds if x == x)
    return {
        "rule": case.name,
        "size": size,
        "implementation": name,
        "floor": peers.PEERS[name].floor,
        "seconds": seconds[len(seconds) // 2],
        "ratio": ratio.median,
        "low": ratio.low,
        "high": ratio.high,
        "noise": limit,
        "rounds": ratio.rounds,
        "verdict": None if name == "fastreg" else measure.verdict(ratio, limit),
        "threads": round(own.busy / own.total, 2) if own.total else None,
    }


def versions(names):
    """The versions of fastreg, Python and what the peers are made of."""
    config = _config.config()
    kept = ("fastreg", "Python", "NumPy", "compiler", "instruction set chosen")
    found = {name: config[name] for name in kept}
    for module in dict.fromkeys(peers.PEERS[name].module for name in names):
        if module not in ("numpy", "fastreg") and (version := peers.version(module)):
            found["C compiler of the loops" if module == "compiler" else module] = version
    return found
