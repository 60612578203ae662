"""Command-line conventions shared by the scripts: exit codes, and the options that choose a predictor."""
import argparse
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


def tile_size(text: str) -> int | str:
    """argparse type of `--tile`: "auto", 0 for no tiles, or the tile's side in output pixels."""
    if text == "auto":
        return text
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is neither 'auto', 0 nor a size in pixels")
    return value


def add_predictor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `predictor_options` turns into arguments of `model.load_predictor`."""
    group = parser.add_argument_group("network")
    group.add_argument("--model", metavar="PATH", help="weights: .safetensors, the official flownet.pkl, or a "
                       "folder holding one (default: the weights that come with the project)")
    group.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto",
                       help="arithmetic (default auto: fp32 on a CPU, half precision on a GPU)")
    group.add_argument("--fp16", dest="precision", action="store_const", const="fp16",
                       help="short for --precision fp16")
    group.add_argument("--device", help="cpu, cuda, cuda:1, mps ... (default: a GPU if there is one)")
    group.add_argument("--tile", type=tile_size, default="auto", metavar="N",
                       help="side of the tiles large frames are cut into, in output pixels; 0 = never "
                       "(default auto: by the frame's size)")
    group.add_argument("--scale_cap", type=int, choices=[1, 2, 4], default=1,
                       help="finest processing scale the network may choose: 1 = any, 2 = at most half, "
                       "4 = a quarter only; larger is faster (default 1)")
    group.add_argument("--compile", action="store_true",
                       help="compile the network first: faster for long jobs, slower to start")


def predictor_options(args: argparse.Namespace) -> dict:
    """The keyword arguments of `model.load_predictor` chosen on the command line."""
    return {"path": args.model, "device": args.device, "precision": args.precision, "tile": args.tile,
            "scale_cap": args.scale_cap, "compile": args.compile}
