"""Command-line conventions shared by the scripts: exit codes, and the options that choose a predictor."""
import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from common.errors import UserError
from common.memory import keep_freed_memory

MOST_EXP = 10


def run(main: Callable[[], None]) -> None:
    """Call `main`; end the process with one line on stderr and code 2 for what the user can put right.

    Ctrl-C ends with code 130 and SIGTERM with 143, after what is unfinished has been removed. Anything else is
    a bug in this project and keeps its traceback.
    """
    _usable_output()
    signal.signal(signal.SIGTERM, _terminate)
    keep_freed_memory()
    try:
        main()
    except UserError as error:
        sys.exit(_fail(str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted", 130))
    except BrokenPipeError:  # `script | head`: the reader left, which is no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # pathlib raises for these where it answers False for other names
            raise
        sys.exit(_fail(f"no file can have a name as long as {error.filename}", 2))


def _usable_output() -> None:
    """Let every message be written, whatever the terminal can show, and go nowhere where output is closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # or the next file opened, a video perhaps, would get what libraries print there
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
        if name != "stdin" and hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _terminate(number: int, frame: object) -> NoReturn:
    """Leave as Ctrl-C does, so that unfinished files are removed; managers of jobs may ask more than once."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _fail(message: str, code: int) -> int:
    one_line = " ".join(message.split())
    print(f"{Path(sys.argv[0]).name}: error: {one_line}", file=sys.stderr)
    return code


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line with code 2, like every other error, and whose description keeps its lines.

    `run` prints the complaint, so parse inside of `main`.
    """

    def __init__(self, **options) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")


def add_overwrite_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--overwrite yes|no`: what to do where an output exists."""
    parser.add_argument("--overwrite", choices=["yes", "no"], default="yes",
                        help="replace outputs that exist, and say so; or refuse before the work (default yes)")


def positive_int(text: str) -> int:
    """argparse type for a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return value


def positive_number(text: str) -> float:
    """argparse type for a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):  # false for nan too
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def exponent(text: str) -> int:
    """argparse type of `--exp`: 2^N frames for one."""
    value = int(text)
    if not 0 <= value <= MOST_EXP:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to {MOST_EXP}")
    return value
