"""train.py's command line. Defaults are the published values."""
import argparse
import shlex
import sys
from pathlib import Path

from common.cli import Parser, positive_int, positive_number
from common.errors import UserError
from data.open import NAMES, dataset_specs
from model.loss import LOSSES
from model.registry import NETWORKS
from training.loading import MOST_WORKERS, default_workers
from training.state import saved_states

MOST_SEED = 2**31 - 1  # with the step's number in it, still a seed that PyTorch takes


def parse_arguments(description: str, words: list[str] | None = None) -> argparse.Namespace:
    """The options, checked; `words`: instead of those of the command line.

    Raises:
        UserError: what is wrong with them.
    """
    args = _parser(description).parse_args(_with_configs(sys.argv[1:] if words is None else words))
    if args.num_workers is None:
        args.num_workers = default_workers()
    _check(args)
    return args


def _with_configs(words: list[str]) -> list[str]:
    """The options of every `--config FILE` before those given beside it, which so have the last word.

    A file holds options as the command line has them, on as many lines as one likes; `#` begins a comment.
    """
    reader = Parser(add_help=False, allow_abbrev=False)
    reader.add_argument("--config", type=Path, action="append", default=[])
    given, rest = reader.parse_known_args(words)
    from_files = []
    for path in given.config:
        try:
            found = shlex.split(path.read_text(encoding="utf-8"), comments=True)
        except (OSError, ValueError) as error:  # ValueError: an open quotation, or no text
            raise UserError(f"cannot read options from {path}: {getattr(error, 'strerror', None) or error}") from error
        if any(word.split("=")[0] == "--config" for word in found):
            raise UserError(f"{path} names a --config itself: give both on the command line")
        from_files += found
    return from_files + rest


def _parser(description: str) -> Parser:
    parser = Parser(description=description, allow_abbrev=False)  # `--conf` would be taken and its file not read
    parser.add_argument("--config", type=Path, metavar="FILE", help="read options from a file first, as the ones in "
                        "recipes/; those given beside it win. May be given several times")
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", nargs="+", choices=NAMES, default=["adobe240"], metavar="NAME",
                      help=f"one of {', '.join(NAMES)}, or several to mix (default adobe240)")
    data.add_argument("--data", type=Path, nargs="+", metavar="DIR", help="the dataset's folder, or a packed cache of "
                      "it; of several datasets one each, in their order; photos and synthetic need none")
    data.add_argument("--mix", type=float, nargs="+", metavar="W", help="weights of the mixed datasets (default equal)")
    data.add_argument("--photos", type=Path, nargs="+", metavar="DIR", help="folders of images for the textures of "
                      "synthetic (default: generated ones), and what photos is made of")
    data.add_argument("--val_photos", nargs="+", metavar="PATTERN", help="photos with such names ('kodak_*') are for "
                      "validation alone (default: every tenth)")
    data.add_argument("--list", nargs="+", metavar="FILE", help="clips to train on (default: the dataset's own list); "
                      "of several datasets one each, - for its own")
    data.add_argument("--val_list", nargs="+", metavar="FILE", help="clips to validate on, as --list (default: of "
                      "adobe240 its validation list, of the others the held out share)")
    data.add_argument("--held_out", type=float, metavar="SHARE", help="kept from training, for validation: the end of "
                      "each clip of a folder (default 0.1), of the training list of vimeo90k (default 0.02)")
    data.add_argument("--val_whole", action="store_true", help="validate on whole frames, not on crops from the middle")
    data.add_argument("--gap", type=int, nargs="+", metavar="N", help="frames from one input to the next; several: "
                      "drawn per sample (default: as published for the dataset)")
    data.add_argument("--crop", type=positive_int, default=128, metavar="PIXELS", help="side of the samples (default "
                      "128)")
    data.add_argument("--degradation", choices=["none", "real"], default="none",
                      help="real: train for enhancing real-world video")
    data.add_argument("--skip_corrupt", action="store_true", help="skip and count samples that cannot be read")
    data.add_argument("--num_workers", type=int, metavar="N", help="loader processes of each process (default: its "
                      f"share of the cores, at most {MOST_WORKERS})")
    data.add_argument("--upscale_range", type=positive_number, nargs=2, metavar=("LOW", "HIGH"), help="train for "
                      "enlargements drawn evenly from this range, one a step, as VideoINR's second stage does with 2 4 "
                      "(default: 4 alone)")

    steps = parser.add_argument_group("steps")
    steps.add_argument("--batch_size", type=positive_int, default=6, help="per process and backward pass (default 6)")
    steps.add_argument("--accumulate", type=positive_int, default=1, help="backward passes per step (default 1)")
    steps.add_argument("--epochs", type=positive_int, default=220, help="length of the training (default 220)")
    steps.add_argument("--max_steps", type=positive_int, metavar="N", help="its length in steps, in place of --epochs")
    steps.add_argument("--stop_after", type=positive_int, metavar="N", help="save and end after N steps of this call")
    steps.add_argument("--lr", type=positive_number, default=2e-4, help="peak, for a batch of 24 in all (6 on each of "
                       "4 GPUs); scaled in proportion (default 2e-4)")
    steps.add_argument("--warmup", type=int, default=2000, help="steps (default 2000)")
    steps.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw", help="adamw, as published; muon: "
                       "orthogonal steps for the hidden convolutions, AdamW for the rest: safa_small learns several "
                       "times as fast so")
    steps.add_argument("--weight_decay", type=float, default=1e-4, help="default 1e-4")
    steps.add_argument("--clip", type=positive_number, default=1.0, help="bound of the gradient's norm (default 1)")
    steps.add_argument("--loss", choices=sorted(LOSSES), default="l1", help="of the frames (default l1, as published)")
    steps.add_argument("--perceptual", type=float, default=0.0, metavar="W", help="weight of a VGG-19 feature loss "
                       "(default 0: none)")
    steps.add_argument("--flow_loss", type=float, default=0.0, metavar="W", help="weight of the distance, in pixels, "
                       "of each block's flow to a supervising flow (known of photos and synthetic, estimated by DIS "
                       "for recorded clips); falls to a tenth over the training. safa_small trains well with 0.05 "
                       "(default 0: none)")
    steps.add_argument("--effort_price", type=float, default=0.0, metavar="W", help="weight of the share of its "
                       "optional work that safa_small's selector takes; without a price it takes all (default 0)")
    steps.add_argument("--skip", type=float, default=8.0, metavar="FACTOR", help="skip steps whose loss is above "
                       "FACTOR times the median of the last hundred; 0: only those not finite (default 8)")
    steps.add_argument("--routing", choices=["learned", "full", "coarse", "random"], default="learned",
                       help="learned: the selector learns to choose, as published; coarse: blocks at 1/2 and 1/4, "
                       "several times cheaper, a warm-up; random: all three scales; full: the finest everywhere")
    steps.add_argument("--ema", type=float, default=0.0, metavar="DECAY", help="validate and write the exponential "
                       "moving average of the weights, for instance with 0.999 (default 0: the weights themselves)")
    steps.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")

    network = parser.add_argument_group("network")
    network.add_argument("--network", choices=sorted(NETWORKS), default="safa",
                         help="the paper's, or the small one for everyday use (default safa)")
    network.add_argument("--channels", type=positive_int, metavar="N",
                         help="width of the features (default: the network's own, 80 and 64)")
    network.add_argument("--blocks", type=positive_int, metavar="N",
                         help="of safa: refinements of the flow (default 6)")
    network.add_argument("--pretrained_encoder", choices=["auto", "yes", "no"], default="auto",
                         help="start the encoder from ImageNet weights; auto: if they can be had (default)")
    network.add_argument("--blend_start", action="store_true", help="start from plain blending by the timestep: "
                         "saves a short training its first hundreds of steps")
    network.add_argument("--train_only", nargs="+", default=[], metavar="PART", help="only these parts of the network "
                         "learn, as flow.selector or decoder; the rest stays as --init has it (default: all)")
    network.add_argument("--init", metavar="CKPT", help="start from these weights (with --resume: where there is no "
                         "state yet)")

    run = parser.add_argument_group("run")
    run.add_argument("--output", type=Path, default=Path("runs/safa"), metavar="DIR", help="default runs/safa")
    run.add_argument("--resume", action="store_true", help="go on from the newest state in --output, or start anew "
                     "where there is none: one command for start and restart")
    run.add_argument("--allow_changes", action="store_true", help="with --resume: go on although options that matter "
                     "are others than it was begun with")
    run.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    run.add_argument("--precision", choices=["auto", "fp32", "tf32", "bf16", "fp16"], default="auto",
                     help="auto: fp32 on a CPU, on a GPU bf16 where it has it, else fp16. tf32: float32 with the "
                     "convolutions of newer GPUs in TF32; fp32 is without")
    run.add_argument("--deterministic", action="store_true", help="the same bytes in every run on the same GPU, at "
                     "some cost; a CPU gives them anyway")
    run.add_argument("--compile", action="store_true", help="compile the network first")
    run.add_argument("--val_every", type=int, default=1000, metavar="N", help="0: never (default 1000)")
    run.add_argument("--val_samples", type=positive_int, default=64, metavar="N", help="default 64")
    run.add_argument("--save_every", type=positive_int, default=500, metavar="N", help="default 500")
    run.add_argument("--keep", type=positive_int, default=2, metavar="N", help="how many of the newest states to keep "
                     "(default 2)")
    run.add_argument("--log_every", type=positive_int, default=20, metavar="N", help="default 20")
    run.add_argument("--profile", type=int, default=0, metavar="N", help="record N steps with PyTorch's profiler into "
                     "OUTPUT/logs/profile")
    # What torch.distributed.launch and the published command line pass; the environment says it all.
    run.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)
    run.add_argument("--world_size", type=int, help=argparse.SUPPRESS)
    return parser


DEFAULTS = vars(_parser("").parse_args([]))


def _check(args: argparse.Namespace) -> None:
    args.datasets = dataset_specs(args.dataset, args.data, args.list, args.val_list, args.gap, args.held_out,
                                  args.photos, args.val_photos)
    if args.mix is not None and len(args.mix) != len(args.dataset):
        raise UserError(f"--mix needs one weight for each dataset: {len(args.dataset)}, not {len(args.mix)}")
    if args.mix is not None and not all(0 < weight < float("inf") for weight in args.mix):
        raise UserError("--mix needs weights above 0")
    args.settings = {name: value for name in ("channels", "blocks") if (value := getattr(args, name)) is not None}
    if args.network == "safa" and (args.channels or 2) % 2:
        raise UserError(f"--channels {args.channels} is odd: the decoder halves them")
    if args.network != "safa" and (args.blend_start or args.pretrained_encoder == "yes"):
        raise UserError(f"{'--blend_start' if args.blend_start else '--pretrained_encoder yes'} is for --network safa: "
                        f"{args.network} does not begin so")
    if args.upscale_range:
        low, high = args.upscale_range
        if not 1 <= low <= high <= 16:
            raise UserError(f"--upscale_range {low:g} {high:g} is not a range of enlargements from 1 to 16")
        if args.flow_loss or args.degradation != "none":
            raise UserError("--upscale_range makes its own inputs: it goes with neither --flow_loss nor --degradation "
                            "real")
    if not 0 <= args.ema < 1:
        raise UserError(f"--ema {args.ema} is not a decay from 0 to below 1, such as 0.999")
    if args.crop % 8:
        raise UserError(f"--crop {args.crop} is not a multiple of 8, as the network needs")
    for name in ("warmup", "weight_decay", "perceptual", "flow_loss", "effort_price", "skip", "seed", "num_workers",
                 "val_every", "profile"):
        if not 0 <= getattr(args, name) < float("inf"):  # false for nan too
            raise UserError(f"--{name} {getattr(args, name)} is not a number of at least 0")
    if args.seed > MOST_SEED:
        raise UserError(f"--seed {args.seed} is above {MOST_SEED}")
    if args.gap and min(args.gap) < 2:
        raise UserError(f"--gap {min(args.gap)}: the two input frames must be at least 2 frames apart")
    if not args.resume and saved_states(args.output):
        raise UserError(f"{args.output} holds a training already: go on with --resume, or choose another --output")
