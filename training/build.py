"""What a training consists of, made from the options: data, network, optimiser, precision, progress."""
import argparse
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from common.errors import UserError
from common.processes import Processes
from data.base import Dataset
from data.degradation import make_degradation
from data.open import open_mixture
from data.sample import Degrade
from data.stream import TrainingStream
from model.checkpoint import load_model
from model.compiled import compile_parts
from model.loss import Perceptual
from model.network import Network
from model.prepare import DTYPES, make_deterministic, resolve_precision
from model.registry import create_network
from model.safa import SAFA
from model.start import load_imagenet_encoder, start_from_blending
from training.distributed import from_first, join_processes, share_weights
from training.muon import Muon
from training.record import check_changes, compare, what_is_learned
from training.sanity import SaneSteps
from training.schedule import PUBLISHED_BATCH
from training.state import open_output, read_state, restore


@dataclass
class Training:
    """Everything a step, a validation and a save need."""

    args: argparse.Namespace
    processes: Processes
    device: torch.device
    stream: TrainingStream
    held_out: list[Dataset]              # what to validate on; empty: nothing
    degradation: Degrade | None
    model: Network
    average: AveragedModel | None        # of the weights, with --ema
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    autocast: contextlib.AbstractContextManager
    perceptual: Perceptual | None
    batch: int                           # samples a step, of all processes
    steps: int                           # of the whole training
    learned: dict                        # what the result depends on, see `training.record`
    progress: dict                       # plain numbers; "step": how many are done
    sanity: SaneSteps

    @property
    def peak(self) -> float:
        """The highest learning rate: what was given is for the published batch."""
        return self.args.lr * self.batch / PUBLISHED_BATCH

    @property
    def weights(self) -> Network:
        """What validation judges and others are to use."""
        return self.average.module if self.average else self.model  # type: ignore[return-value]

    def state(self) -> dict:
        """All that is needed to go on, as `training.state` writes it."""
        return {"model": self.model.state_dict(), "average": self.average.state_dict() if self.average else {},
                "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(),
                "progress": {**self.progress, "recent_losses": list(self.sanity.recent)},
                "network": self.model.name, "settings": self.model.settings, "learned": self.learned,
                "random": torch.get_rng_state()}


def build(args: argparse.Namespace) -> tuple[Training, Callable[[str], None]]:
    """The training, ready for its next step, and a function by which the first process alone speaks.

    Raises:
        UserError: for everything about the options, the data or a state to go on from that cannot be.
    """
    processes, device = join_processes(args.device, args.local_rank)
    say = print if processes.first else lambda text: None
    torch.manual_seed(args.seed)
    if args.deterministic:
        make_deterministic()
    if processes.first:
        open_output(args.output)
    state = from_first(processes, lambda: read_state(args.output)) if args.resume else None

    degradation = make_degradation(args.degradation)
    dataset = open_mixture(args.datasets, "train", args.crop, args.mix, args.skip_corrupt)
    stream = TrainingStream(dataset, args.seed, degradation, flow=args.flow_loss > 0)
    batch = args.batch_size * args.accumulate * processes.count
    steps = args.max_steps or max(1, args.epochs * stream.epoch_length // batch)
    learned = what_is_learned(args, batch, steps, dataset)

    model = create_model(args, state is not None, processes.first, say)
    train_only(model, args.train_only)
    model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    if args.optimizer == "muon":
        optimizer: torch.optim.Optimizer = Muon(model.parameters(), args.lr, args.weight_decay)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=args.weight_decay,
                                      fused=device.type == "cuda")
    autocast, scaler = set_precision(args, device)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.ema)) if args.ema else None
    progress: dict[str, Any] = {"step": 0, "best": float("-inf"), "skipped_steps": 0}
    if state:
        progress |= restore(state, model, optimizer, scaler, average)
        before = state.get("learned") or {"samples a step": progress["batch"]}  # of earlier versions: that alone
        changes = compare(before, learned)
        check_changes(changes, args.allow_changes, args.output)
        say(f"going on from step {progress['step']}" + (f", changed: {', '.join(changes)}" if changes else ""))
    elif args.resume:
        say(f"nothing to resume in {args.output}: starting anew")
    share_weights(model)
    if args.compile:
        compile_parts(model)
    perceptual = Perceptual().to(device) if args.perceptual else None
    if args.warmup >= steps:
        say(f"warning: the warm-up of {args.warmup} steps is longer than the training ({steps}), which never reaches "
            "its full learning rate: give --warmup")
    sanity = SaneSteps(args.skip, progress.pop("recent_losses", None))
    return Training(args, processes, device, stream, open_held_out(args), degradation, model, average, optimizer,
                    scaler, autocast, perceptual, batch, steps, learned, progress, sanity), say


def open_held_out(args: argparse.Namespace) -> list[Dataset]:
    """The held-out part of each dataset, as crops from the middle or as whole frames."""
    crop = None if args.val_whole else args.crop
    return [spec.open("val", crop, args.skip_corrupt) for spec in args.datasets] if args.val_every else []


def create_model(args: argparse.Namespace, resumed: bool, first: bool, say: Callable[[str], None]) -> Network:
    """The network to start from: given weights, or fresh ones with an ImageNet encoder where that can be had.

    What is fetched, the `first` process fetches; the others get its weights. Weights that are `resumed` come later.
    """
    if args.init and not resumed:
        model = load_model(args.init)
        if model.name != args.network or any(model.settings[name] != value for name, value in args.settings.items()):
            raise UserError(f"{args.init} is {model.name} with {model.settings}, not {args.network} with "
                            f"{args.settings or 'its usual settings'}")
        return model
    model = create_network(args.network, **args.settings)
    if resumed or not isinstance(model, SAFA):  # the rest is about the paper's encoder and flow
        return model
    if args.pretrained_encoder != "no" and first:
        say(f"encoder starts from: {load_imagenet_encoder(model, required=args.pretrained_encoder == 'yes')}")
    if args.blend_start:
        start_from_blending(model)
    return model


def train_only(model: torch.nn.Module, parts: Sequence[str]) -> None:
    """Freeze all parameters but those of the modules `parts` names ("decoder", "flow.selector"); none: all learn.

    Raises:
        UserError: there is no such part.
    """
    if not parts:
        return
    modules = {name: module for name, module in model.named_modules() if name and list(module.parameters())}
    model.requires_grad_(False)
    for part in parts:
        if part not in modules:
            near = [name for name in modules if name.count(".") <= part.count(".")]
            raise UserError(f"--train_only {part}: the network has no such part; it has {', '.join(near)}")
        modules[part].requires_grad_()


def set_precision(args: argparse.Namespace, device: torch.device) -> tuple[torch.autocast, torch.amp.GradScaler]:
    """Automatic mixed precision and the scaler of its gradients; and how float32 itself is computed on a GPU.

    "fp32" is that: TF32, which PyTorch uses for convolutions unless told otherwise, is a precision of its own.
    """
    name = "fp32" if args.precision == "tf32" else resolve_precision(args.precision, device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision != "fp32"
    # Sizes that change would be measured again and again, and what is fastest may be another one in the next run.
    torch.backends.cudnn.benchmark = not (args.upscale_range or args.deterministic)
    return (torch.autocast(device.type, DTYPES[name], enabled=name != "fp32"),
            torch.amp.GradScaler(device.type, enabled=name == "fp16"))
