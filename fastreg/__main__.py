"""The command line: `python -m fastreg demo` and `python -m fastreg config`.

A subcommand is a function that takes the parsed options and returns the exit status; `build_parser` gives it its
options. What a subcommand needs beyond NumPy is imported when it runs, so that `--help` works everywhere and a missing
extra is answered with the command that installs it.
"""

import argparse
import math
import os
import sys
from pathlib import Path

import fastreg
from fastreg import demo

EXTRAS = {"matplotlib", "rich", "sklearn", "threadpoolctl"}


def run_demo(options, parser):
    """Run the demo with its settings."""
    settings = demo.Settings(
        penalties=tuple(p for p in demo.PENALTIES if p in (options.penalty or demo.PENALTIES)),
        l1=options.l1,
        l2=options.l2,
        epochs=options.epochs,
        seed=options.seed,
        label_noise=options.label_noise,
        out=options.out,
    )
    try:
        demo.run(settings)
    except demo.CannotWriteError as error:
        parser.error(f"argument --out: {error}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in EXTRAS:
            raise
        print(
            f"The demo needs {error.name}, which is not installed. This command installs it:\n\n"
            '    python -m pip install "fastreg[demo]"\n\n'
            'or, from a clone of the repository:\n\n    python -m pip install -e ".[demo]"',
            file=sys.stderr,
        )
        return 1
    return 0


def run_config(options, parser):
    """Print the configuration."""
    fastreg.show_config()
    return 0


def number(convert, *, low, below=math.inf, expected):
    """A converter for argparse: a finite number from `low` to less than `below`."""

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
    """The parser and its subcommands."""
    parser = argparse.ArgumentParser(prog="python -m fastreg", description=fastreg.__doc__)
    parser.add_argument("--version", action="version", version=f"fastreg {fastreg.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    command = commands.add_parser(
        "demo",
        help="train a network on handwritten digits with every penalty and two optimizers; show what each does",
        description="Train a network on handwritten digits with no penalty, L2, L1 and elastic net; sweep the "
        "strengths from far too small to far too large; compare momentum and Adam, with L1 in the gradient and as a "
        "proximal step; show correlated features on the diabetes data. Prints tables, writes pictures, takes under a "
        "minute.",
    )
    default = demo.Settings()
    command.add_argument(
        "--penalty",
        action="append",
        choices=demo.PENALTIES,
        metavar="NAME",
        help=f"train with this penalty only, one of {', '.join(demo.PENALTIES)}; may be repeated (default: all)",
    )
    for name, penalty, where in (
        ("--l1", "L1", "penalties and optimizers are"),
        ("--l2", "L2", "the penalties are"),
    ):
        command.add_argument(
            name,
            type=number(float, low=0, expected="a finite number that is not negative"),
            default=getattr(default, penalty.lower()),
            metavar="STRENGTH",
            help=f"strength of {penalty} where {where} compared (default: %(default)g)",
        )
    command.add_argument(
        "--epochs",
        type=number(int, low=1, expected="a whole number from 1"),
        default=default.epochs,
        metavar="N",
        help="passes over the training images (default: %(default)d)",
    )
    command.add_argument(
        "--seed",
        type=number(int, low=0, below=2**32, expected="a whole number from 0 to 2**32 - 1"),
        default=default.seed,
        metavar="N",
        help="seed of the split, the noise, the starts and the batches (default: %(default)d)",
    )
    command.add_argument(
        "--label-noise",
        type=number(float, low=0, below=1, expected="a share from 0 to less than 1"),
        default=default.label_noise,
        metavar="SHARE",
        help="share of the training labels to make wrong; 0 leaves them alone (default: %(default)g)",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=default.out,
        metavar="DIR",
        help="folder for the pictures, made if need be (default: %(default)s)",
    )
    command.set_defaults(command=run_demo, parser=command)

    command = commands.add_parser(
        "config",
        help="print version, compiler, flags and instruction sets",
        description="Print what fastreg.show_config() prints: version, compiler, flags and instruction sets.",
    )
    command.set_defaults(command=run_config, parser=command)
    return parser


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
    except BrokenPipeError:  # the reader of a pipe has seen enough; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
