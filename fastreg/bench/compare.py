"""The run: every rule at every size with every peer, as plain data that JSON can represent.

Each measurement gets a share of the time in advance. Large arrays get most of it, and time that a measurement does not
use is distributed among the later ones. Peers are prepared for one size at a time and released before the next, so that
memory holds only one set of arrays and jax's copy.
"""

import gc
import sys
import time
from importlib.util import find_spec

from fastreg._boundary import config as _config
from fastreg.bench import SettingError, cases, machine, measure, peers

SCHEMA = 1  # version of the JSON; increases when the meaning of a key changes
NOT_PEERS = ("fastreg", "reference")


def selected_peers(settings):
    """The names of the peers to measure."""
    return [name for name in settings.peers or peers.PEERS if name not in NOT_PEERS]


def validate(settings):
    """Raise SettingError with the name of the option for an unknown rule or peer."""
    for option, names, check in (
        ("--rule", settings.rules, cases.Case.named),
        ("--peer", settings.peers or (), check_peer),
    ):
        for name in names:
            try:
                check(name)
            except ValueError as error:
                raise SettingError(f"argument {option}: {error}") from error
    if settings.peers and (missing := not_installed(settings.peers)):
        print(
            f"not installed: {', '.join(missing)}; python -m pip install {' '.join(missing.values())}", file=sys.stderr
        )
        if len(missing) == len(settings.peers):
            raise SettingError(f"argument --peer: expected a peer that is installed, got {', '.join(missing)}")


def not_installed(names):
    """The peers of this selection that need a module that is not installed, and the name of its distribution."""
    modules = {name: peers.PEERS[name].module for name in names if name in peers.PEERS}
    return {name: module for name, module in modules.items() if module != "compiler" and not is_installed(module)}


def is_installed(module):
    """Whether a module can be found; it is not imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a parent is missing, or the module is blocked
        return False


def check_peer(name):
    """Raise ValueError if there is no such peer."""
    known = [peer for peer in peers.PEERS if peer not in NOT_PEERS]
    if name not in known:
        raise ValueError(f"expected one of {', '.join(known)}, got {name!r}")


def run(settings, progress):
    """Measure; calls `progress(description, share)` with the current task and the share of the run just completed."""
    machine.single_thread()
    found = {"schema": SCHEMA, "machine": machine.describe(), "versions": versions(selected_peers(settings))}
    found |= {"dtype": settings.dtype, "results": [], "skipped": []}
    rules = [cases.Case.named(name) for name in settings.rules]
    usable = {}
    for case in rules:
        progress(f"checking {case.name}", 0)
        usable[case] = usable_peers(case, settings, found["skipped"])
    plan = [(size, case) for size in sorted(settings.sizes) for case in rules]
    weights = {step: 1 + step[0] / 2e6 for step in plan}  # about proportional to the time that one round takes
    start = time.perf_counter()
    for i, (size, case) in enumerate(plan):
        share = weights[size, case] / sum(weights[step] for step in plan[i:])
        left = settings.seconds - (time.perf_counter() - start)
        progress(f"{case.name}, {size:.0e} weights", 0)
        found["results"] += measure_case(case, size, settings, usable[case], max(0.0, share * left), found["skipped"])
        progress("", weights[size, case] / sum(weights.values()))
    return found


def usable_peers(case, settings, skipped):
    """The names of the peers that implement the case and pass the check; adds the others to `skipped`."""
    names = []
    for name in selected_peers(settings):
        try:
            peers.check(name, case, settings.dtype)
        except peers.Skip as reason:
            skipped.append({"rule": case.name, "implementation": name, "size": None, "reason": str(reason)})
        else:
            names.append(name)
    return names


def measure_case(case, size, settings, names, budget, skipped):
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
    series = measure.time_interleaved(statements, budget)
    del statements, arrays
    gc.collect()
    return [entry(case, size, name, series) for name in series if name != measure.SELF]


def entry(case, size, name, series):
    """One implementation's result."""
    timed = series[name]
    again = measure.ratio(series[measure.SELF], series["fastreg"])
    ratio = again if name == "fastreg" else measure.ratio(timed, series["fastreg"])
    limit = measure.noise(again)
    seconds = sorted(x for x in timed.seconds if x == x)
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
        "threads": round(timed.busy / timed.total, 2) if timed.total else None,
    }


def versions(names):
    """The versions of fastreg, Python and the libraries of the peers."""
    config = _config.config()
    kept = ("fastreg", "Python", "NumPy", "compiler", "instruction set chosen")
    found = {name: config[name] for name in kept}
    for module in dict.fromkeys(peers.PEERS[name].module for name in names):
        if module not in ("numpy", "fastreg") and (version := peers.version(module)):
            found["C compiler of the loops" if module == "compiler" else module] = version
    return found
