"""train.py's command line. Defaults are the published values."""
import argparse
from pathlib import Path

from common.cli import Parser, positive_int, positive_number
from common.errors import UserError
from data.open import NAMES, dataset_specs
from model.loss import LOSSES
from model.registry import NETWORKS

MOST_SEED = 2**31 - 1  # with the step's number in it, still a seed that PyTorch takes


def parse_arguments(description: str) -> argparse.Namespace:
    parser = Parser(description=description)
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", nargs="+", choices=NAMES, default=["adobe240"], metavar="NAME",
                      help=f"one of {', '.join(NAMES)}, or several to mix (default adobe240)")
    data.add_argument("--data", type=Path, nargs="+", metavar="DIR", help="the dataset's folder, or a packed cache of "
                      "it; of several datasets one each, in their order; synthetic needs none")
    data.add_argument("--mix", type=float, nargs="+", metavar="W", help="weights of the mixed datasets (default equal)")
    data.add_argument("--photos", type=Path, nargs="+", metavar="DIR", help="folders of images for the textures of "
                      "synthetic (default: generated textures)")
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
    data.add_argument("--crop", type=positive_int, default=128)
    data.add_argument("--degradation", choices=["none", "real"], default="none",
                      help="real: train for enhancing real-world video")
    data.add_argument("--skip_corrupt", action="store_true", help="skip and count samples that cannot be read")
    data.add_argument("--num_workers", type=int, default=4, help="loader processes of each process (default 4)")

    steps = parser.add_argument_group("steps")
    steps.add_argument("--batch_size", type=positive_int, default=6, help="per process and backward pass (default 6)")
    steps.add_argument("--accumulate", type=positive_int, default=1, help="backward passes per step (default 1)")
    length = steps.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=positive_int, default=220)
    length.add_argument("--max_steps", type=positive_int)
    steps.add_argument("--stop_after", type=positive_int, metavar="N", help="save and end after N steps of this call")
    steps.add_argument("--lr", type=positive_number, default=2e-4, help="peak, for a batch of 24 in all (6 on each of "
                       "4 GPUs); scaled in proportion (default 2e-4)")
    steps.add_argument("--warmup", type=int, default=2000, help="steps (default 2000)")
    steps.add_argument("--weight_decay", type=float, default=1e-4)
    steps.add_argument("--clip", type=positive_number, default=1.0, help="bound of the gradient's norm (default 1)")
    steps.add_argument("--loss", choices=sorted(LOSSES), default="l1")
    steps.add_argument("--perceptual", type=float, default=0.0, metavar="W", help="weight of a VGG-19 feature loss")
    steps.add_argument("--flow_loss", type=float, default=0.0, metavar="W", help="weight of the distance, in pixels, "
                       "of each block's flow to a supervising flow (known of synthetic, estimated by DIS for recorded "
                       "clips); falls to a tenth over the training. safa_small trains well with 0.05 (default 0: none)")
    steps.add_argument("--skip", type=float, default=8.0, metavar="FACTOR", help="skip steps whose loss is above "
                       "FACTOR times the median of the last hundred; 0: only those not finite (default 8)")
    steps.add_argument("--routing", choices=["learned", "full", "coarse", "random"], default="learned",
                       help="learned: the selector learns to choose, as published; coarse: blocks at 1/2 and 1/4, "
                       "several times cheaper, a warm-up; random: all three scales; full: the finest everywhere")
    steps.add_argument("--seed", type=int, default=0)

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
    network.add_argument("--init", metavar="CKPT", help="start from these weights")

    run = parser.add_argument_group("run")
    run.add_argument("--output", type=Path, default=Path("runs/safa"), metavar="DIR")
    run.add_argument("--resume", action="store_true", help="go on from the state in --output")
    run.add_argument("--device")
    run.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto")
    run.add_argument("--compile", action="store_true", help="compile the network first")
    run.add_argument("--val_every", type=int, default=1000, metavar="N", help="0: never (default 1000)")
    run.add_argument("--val_samples", type=positive_int, default=64)
    run.add_argument("--save_every", type=positive_int, default=500, metavar="N")
    run.add_argument("--log_every", type=positive_int, default=20, metavar="N")
    # What torch.distributed.launch and the published command line pass; the environment says it all.
    run.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)
    run.add_argument("--world_size", type=int, help=argparse.SUPPRESS)

    args = parser.parse_args()
    _check(args)
    return args


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
    if args.crop % 8:
        raise UserError(f"--crop {args.crop} is not a multiple of 8, as the network needs")
    for name in ("warmup", "weight_decay", "perceptual", "flow_loss", "skip", "seed", "num_workers", "val_every"):
        if not 0 <= getattr(args, name) < float("inf"):  # false for nan too
            raise UserError(f"--{name} {getattr(args, name)} is not a number of at least 0")
    if args.seed > MOST_SEED:
        raise UserError(f"--seed {args.seed} is above {MOST_SEED}")
    if args.gap and min(args.gap) < 2:
        raise UserError(f"--gap {min(args.gap)}: the two input frames must be at least 2 frames apart")
    if args.resume and args.init:
        raise UserError("--resume goes on from the state in --output, --init starts anew: give one of them")
    if not args.resume and (args.output / "state.pt").exists():
        raise UserError(f"{args.output} holds a training already: go on with --resume, or choose another --output")
