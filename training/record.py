"""What a run was made with: written beside it, into its log and weights, and compared when it goes on."""
import argparse
import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy
import torch

from common.errors import UserError
from common.files import atomic_path
from data.base import Dataset, Mixture

# Options that decide where, how fast and how closely watched a training runs, but not what it learns.
_INDIFFERENT = {"output", "resume", "allow_changes", "config", "device", "num_workers", "compile", "val_every",
                "val_samples", "val_whole", "val_list", "save_every", "keep", "log_every", "profile",
                "stop_after", "local_rank", "world_size", "skip_corrupt", "init", "deterministic",
                "pretrained_encoder", "blend_start"}
# These are compared by what they come to: the data by its fingerprint, the rest by samples and number of steps.
_DERIVED = {"datasets", "data", "photos", "held_out", "list", "batch_size", "accumulate", "epochs",
            "max_steps", "network", "settings", "channels", "blocks"}


def what_is_learned(args: argparse.Namespace, batch: int, steps: int, dataset: Dataset | Mixture) -> dict:
    """All that the result depends on besides network and software, as plain values by option name.

    Args:
        batch: samples a step, of all processes.
        steps: of the whole training.
        dataset: what is trained on.
    """
    options = {name: _plain(value) for name, value in vars(args).items() if name not in _INDIFFERENT | _DERIVED}
    return {**options, "samples a step": batch, "steps in all": steps, "data": fingerprint(dataset, args.photos or ())}


def compare(old: dict, new: dict) -> list[str]:
    """What differs, in words: "--lr 0.0002 -> 0.001". What only one of them has is of another version: left out."""
    return [f"{name if ' ' in name else '--' + name} {_short(old[name])} -> {_short(new[name])}"
            for name in new if name in old and old[name] != new[name]]


def check_changes(changes: list[str], allowed: bool, output: Path) -> None:
    """Raise UserError if something that matters would change on the way, and that is not `allowed`."""
    if changes and not allowed:
        raise UserError(f"--resume would go on otherwise than {output} was begun: {', '.join(changes)}; give what it "
                        "was begun with, or --allow_changes")


def fingerprint(dataset: Dataset | Mixture, photos: Iterable[Path] = ()) -> str:
    """Of the names and lengths of all clips, the number of samples, and the names of photos: where they lie is open."""
    parts = dataset.datasets if isinstance(dataset, Mixture) else [dataset]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{type(part).__name__} {len(part)}\n".encode())
        for clip in getattr(part, "clips", ()):
            digest.update(f"{clip.name} {len(clip)}\n".encode())
    for folder in photos:
        digest.update("\n".join(sorted(path.name for path in Path(folder).rglob("*"))).encode())
    return f"{sum(map(len, parts))} samples, {digest.hexdigest()[:16]}"


def describe(args: argparse.Namespace, learned: dict, step: int, device: torch.device, processes: int,
             settings: dict) -> dict:
    """This start of a run: command, options, versions, device, data and commit."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"started": datetime.now(timezone.utc).isoformat(timespec="seconds"), "from_step": step,
            "command": shlex.join(["train.py", *sys.argv[1:]]),
            "options": {name: _plain(value) for name, value in vars(args).items() if name != "datasets"},
            "network": {"name": args.network, **settings},
            "samples_a_step": learned["samples a step"], "steps": learned["steps in all"], "data": learned["data"],
            "processes": processes, "device": f"{device.type}: {gpu}", "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__,
                         "opencv": cv2.__version__},
            "commit": commit()}


def write(output: Path, record: dict) -> None:
    """Add a start to OUTPUT/run.json: a list, as a training is often stopped and gone on with."""
    path = output / "run.json"
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        earlier = earlier if isinstance(earlier, list) else []
    except (OSError, ValueError):
        earlier = []
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps([*earlier, record], indent=2) + "\n", encoding="utf-8")


def short(args: argparse.Namespace, defaults: dict, learned: dict) -> str:
    """For the header of weights: the options that are not the usual ones, and what they were trained on; JSON."""
    options = {name: _plain(value) for name, value in vars(args).items()
               if name in defaults and name not in _INDIFFERENT - {"pretrained_encoder", "blend_start"}
               and value != defaults[name] and name not in ("data", "photos", "list")}
    return json.dumps({"options": options, "samples_a_step": learned["samples a step"], "data": learned["data"],
                       "torch": torch.__version__, "commit": commit()})


def commit() -> str | None:
    """The commit this code is of, with "+" where it was changed since; None outside of a repository."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True,
                              check=True).stdout.strip()
    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _plain(value: object) -> object:
    """As JSON has it."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _short(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
