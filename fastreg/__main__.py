"""The command line: `python -m fastreg demo`, `python -m fastreg bench` and `python -m fastreg config`.

A subcommand is a function that takes the parsed options and returns the exit status; `build_parser` defines its
options. Libraries other than NumPy are imported when a subcommand runs. Thus `--help` works everywhere, and the message
for a missing library shows the command that installs it. That command names the library and not an extra of `fastreg`,
because on the package index `fastreg` is another project.
"""

import argparse
import math
import os
import sys
from pathlib import Path

import fastreg
from fastreg import bench, demo
from fastreg._show.files import CannotWriteError

LIBRARIES = {name: name for name in ("matplotlib", "rich", "threadpoolctl")} | {"sklearn": "scikit-learn"}
QUICK = {"sizes": (1, 1_000, 100_000, 1_000_000), "seconds": 10.0}


def run_demo(options, parser):
    """Run the demo."""
    settings = demo.Settings(
        penalties=tuple(p for p in demo.PENALTIES if p in (options.penalty or demo.PENALTIES)),
        l1=options.l1,
        l2=options.l2,
        epochs=options.epochs,
        seed=options.seed,
        label_noise=options.label_noise,
        only=tuple(name for name in demo.SECTIONS if name in (options.only or demo.SECTIONS)),
        out=options.out,
    )
    return run_with_extra("demo", demo.run, settings, parser)


def run_bench(options, parser):
    """Run the benchmark."""
    quick = QUICK if options.quick else {}
    settings = bench.Settings(
        rules=tuple(options.rule or bench.RULES),
        sizes=tuple(options.sizes or quick.get("sizes", bench.SIZES)),
        dtype=options.dtype,
        peers=tuple(options.peer) if options.peer else None,
        seconds=options.seconds or quick.get("seconds", bench.Settings.seconds),
        out=options.out or (None if options.json else bench.Settings.out),
        json=options.json,
    )
    return run_with_extra("bench", bench.run, settings, parser)


def run_with_extra(extra, run, settings, parser):
    """Run a command that needs extra libraries; if one is missing, print the command that installs it."""
    try:
        run(settings)
    except CannotWriteError as error:
        parser.error(f"argument --out: {error}")
    except bench.SettingError as error:
        parser.error(str(error))
    except ModuleNotFoundError as error:
        library = LIBRARIES.get((error.name or "").split(".")[0])
        if library is None:
            raise
        print(
            f"The {extra} requires {library}, which is not installed. Install it with\n\n"
            f"    python -m pip install {library}\n\n"
            f"or, in a clone of the repository, install everything that the {extra} requires with\n\n"
            f'    python -m pip install -e ".[{extra}]"',
            file=sys.stderr,
        )
        return 1
    return 0


def run_config(options, parser):
    """Print the configuration."""
    fastreg.show_config()
    return 0


def number(convert, *, low, below=math.inf, expected):
    """A converter for argparse: a finite number x with low <= x < below."""

    def checked(text):
        try:
            value = convert(text)
        except ValueError:
            value = math.nan
        if not low <= value < below:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return checked


def build_parser():
    """The parser with all subcommands."""
    parser = argparse.ArgumentParser(prog="python -m fastreg", description=fastreg.__doc__)
    parser.add_argument("--version", action="version", version=f"fastreg {fastreg.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    command = commands.add_parser(
        "demo",
        help="show the effects of L1, L2, elastic net and group lasso on real data",
        description="Train a network on handwritten digits without a penalty and with L2, L1 and elastic net. Sweep "
        "the strengths from far too small to far too large. Compare momentum and Adam, with L1 in the gradient and as "
        "a proximal step. Remove whole units and pixels by the group lasso. Fit correlated features of the diabetes "
        "data. Classify a stream of docstrings by package. Try every sentence of the lesson on L1, L2 and elastic net, "
        "and say which hold. The demo prints tables, writes pictures and takes about a minute.",
    )
    default = demo.Settings()
    command.add_argument(
        "--only",
        action="append",
        choices=demo.SECTIONS,
        metavar="NAME",
        help=f"run only this section, one of {', '.join(demo.SECTIONS)}; can be repeated (default: all)",
    )
    command.add_argument(
        "--penalty",
        action="append",
        choices=demo.PENALTIES,
        metavar="NAME",
        help=f"train only with this penalty, one of {', '.join(demo.PENALTIES)}; can be repeated (default: all)",
    )
    for name, penalty, where in (
        ("--l1", "L1", "penalties and of optimizers"),
        ("--l2", "L2", "penalties"),
    ):
        command.add_argument(
            name,
            type=number(float, low=0, expected="a finite, nonnegative number"),
            default=getattr(default, penalty.lower()),
            metavar="STRENGTH",
            help=f"strength of {penalty} in the comparison of {where} (default: %(default)g)",
        )
    command.add_argument(
        "--epochs",
        type=number(int, low=1, expected="an integer of at least 1"),
        default=default.epochs,
        metavar="N",
        help="passes over the training images; fewer for whole units and pixels (default: %(default)d)",
    )
    command.add_argument(
        "--seed",
        type=number(int, low=0, below=2**32, expected="an integer from 0 to 2**32 - 1"),
        default=default.seed,
        metavar="N",
        help="seed of the splits, the noise, the initial weights and the batches (default: %(default)d)",
    )
    command.add_argument(
        "--label-noise",
        type=number(float, low=0, below=1, expected="a number x with 0 <= x < 1"),
        default=default.label_noise,
        metavar="SHARE",
        help="share of the training labels to corrupt (default: %(default)g)",
    )
    add_out(command, default.out, default.out)
    command.set_defaults(command=run_demo, parser=command)

    add_bench(commands)
    command = commands.add_parser(
        "config",
        help="print version, compiler, flags and instruction sets",
        description="Print what fastreg.show_config() prints: version, compiler, flags and instruction sets.",
    )
    command.set_defaults(command=run_config, parser=command)
    return parser


def add_bench(commands):
    """Add the benchmark and its options."""
    command = commands.add_parser(
        "bench",
        help="compare the speed of fastreg with NumPy, BLAS, C loops and all installed peers",
        description="Time regularised updates on one thread: fastreg, NumPy expressions, NumPy with out=, BLAS axpy, C "
        "loops compiled at run time, and, if installed, numexpr, numba, jax and torch. The benchmark prints tables, "
        "writes a picture and takes about a minute.",
    )
    command.add_argument(
        "--rule",
        action="append",
        metavar="NAME",
        help="measure this rule, such as elastic_net-proximal or Adam:l2-decoupled (direction, penalty, mode); can be "
        f"repeated (default: {', '.join(bench.RULES)})",
    )
    command.add_argument(
        "--peer",
        action="append",
        metavar="NAME",
        help="measure only this peer, such as numba; can be repeated (default: all)",
    )
    command.add_argument(
        "--sizes",
        type=sizes,
        metavar="N,N,...",
        help="numbers of weights, such as 1,1000,1e6 (default: from 1 to 1e8, as far as memory allows)",
    )
    command.add_argument("--dtype", choices=("float32", "float64"), default="float64", help="(default: %(default)s)")
    command.add_argument(
        "--seconds",
        type=number(float, low=0.1, expected="a number of at least 0.1"),
        metavar="S",
        help=f"total measuring time in seconds; more time gives less noise (default: {bench.Settings.seconds:g})",
    )
    command.add_argument("--quick", action="store_true", help="measure for ten seconds, with at most 1e6 weights")
    command.add_argument(
        "--json", action="store_true", help="print JSON instead of tables; write a picture only with --out"
    )
    add_out(command, None, bench.Settings.out)  # None: with --json there is no picture by default
    command.set_defaults(command=run_bench, parser=command)


def add_out(command, default, shown):
    """Add the option for the folder of the pictures."""
    text = f"folder for the pictures, created if missing (default: {shown})"
    command.add_argument("--out", type=Path, default=default, metavar="DIR", help=text)


def sizes(text):
    """Convert numbers of weights, separated by commas; 1e6 is allowed."""
    convert = number(float, low=1, below=1e11, expected="integers of at least 1, separated by commas")
    values = [convert(part) for part in text.split(",")]
    if any(value != int(value) for value in values):
        raise argparse.ArgumentTypeError(f"expected integers of at least 1, separated by commas, got {text!r}")
    return [int(value) for value in dict.fromkeys(values)]


def main(arguments=None):
    """Run the command line; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "command"):
        parser.print_help()
        return 0
    try:
        status = options.command(options, options.parser)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader closed the pipe; avoid a second error at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
