"""Random sequences of operations over the whole public API, with hostile data, callables, files and threads.

``python tests/fuzz.py [seconds] [first seed]``: each seed gives a sequence. Without a first seed, half the time is for
the seeds from 0 on and the rest for new ones. The checks: results are those of the reference, of dense steps or of a
twin with plain data; errors have the documented types and change nothing; nothing crashes or hangs. A seed that fails
is printed with the operations before the failure, and ``python tests/fuzz.py --seed SEED`` runs it alone. The exit
status is 1 if a seed failed.
"""

import argparse
import faulthandler
import os
import subprocess
import sys
import time
import traceback
import warnings

TIMEOUT = 120  # seconds for one seed
MAX_FAILURES = 20  # the fuzzer ends after this many


def run(seed):
    """Runs the sequence of one seed; returns a description of its failure, or None."""
    from fuzz_dense import Optimizers, Threads, Updates
    from fuzz_lazy import Lazy
    from fuzz_linear import Linear
    from fuzz_sequence import Done, Finding
    from fuzz_values import Draw

    draw = Draw(seed)
    sequence = draw.choice([*[Updates, Optimizers, Optimizers, Lazy, Linear, Linear] * 2, Threads])(draw)
    try:
        sequence.run()
    except Done:
        pass
    except Exception as error:
        where = "" if isinstance(error, Finding) else traceback.format_exc(limit=-6)
        operations = "\n".join(f"    {x}" for x in sequence.done[-12:])
        return f"{type(sequence).__name__}: {type(error).__name__}: {error}\n{operations}\n{where}"
    return None


def work(first, stop):
    """Runs seeds from the first on until a time; prints each number before, so that the seed of a crash is known."""
    warnings.simplefilter("ignore")
    seed = first
    while time.time() < stop:
        faulthandler.dump_traceback_later(TIMEOUT, exit=True)
        print("seed", seed, flush=True)
        if failure := run(seed):
            print(f"failure {failure}".replace("\n", "\nfailure "), flush=True)
        seed += 1


def supervise(first, stop):
    """Runs workers until a time, another one after each crash; returns the number of seeds, and those that fail."""
    count, failing = 0, []
    while time.time() < stop and len(failing) < MAX_FAILURES:
        command = [sys.executable, "-X", "faulthandler", __file__, "--work", str(first), "--stop", str(stop)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
        os.set_blocking(worker.stderr.fileno(), False)
        seed = first
        for line in worker.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "seed":
                seed, count = int(rest), count + 1
            elif word == "failure":
                if seed not in failing:
                    report(seed, failing)
                print(f"  {rest}", flush=True)
        errors = worker.stderr.read() or ""
        if worker.wait():
            report(seed, failing)
            print(f"  ended with status {worker.returncode}\n{errors.partition('Extension modules:')[0][-6000:]}")
        first = seed + 1
    return count, failing


def report(seed, failing):
    failing.append(seed)
    print(f"seed {seed} fails; alone: python tests/fuzz.py --seed {seed}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("seconds", nargs="?", type=float, default=180)
    parser.add_argument("first", nargs="?", type=int, help="the first seed")
    parser.add_argument("--seed", type=int, help="one seed alone")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stop", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        return work(arguments.work, arguments.stop)
    if arguments.seed is not None:
        warnings.simplefilter("ignore")
        failure = run(arguments.seed)
        print(failure or "no failure")
        return bool(failure)
    now, failing = time.time(), []
    if arguments.first is not None:
        runs = [(arguments.first, now + arguments.seconds)]
    else:
        runs = [(0, now + arguments.seconds / 2), (int(now) * 1000, now + arguments.seconds)]
    for first, stop in runs:
        count, found = supervise(first, stop)
        print(f"{count} seeds from {first} on, {len(found)} of them fail", flush=True)
        failing += found
    return bool(failing)


if __name__ == "__main__":
    sys.exit(main())
