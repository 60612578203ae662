"""One step of the training, as the paper's section on it describes, over accumulation and processes."""
from typing import NamedTuple

import torch
import torch.nn.functional as F

from common.errors import UserError
from model.loss import LOSSES, flow_loss, three_frame_loss
from model.network import Prediction
from model.routing import routing_of_step
from training.build import Training
from training.distributed import average
from training.loading import Batches
from training.schedule import cosine, learning_rate, upscale_of_step


class Step(NamedTuple):
    """What came of a step. The figures are means over the whole step, of all processes."""

    figures: dict[str, float]
    taken: bool               # False: it was skipped, see `training.sanity`
    stop: bool                # a process was asked to stop: all of them see it in the same step
    prediction: Prediction    # of this process's last part


def train_step(training: Training, batches: Batches, step: int, stopping: bool) -> Step:
    """Step number `step`, from 0 on. `stopping`: this process was asked to stop."""
    args, device, model, optimizer = training.args, training.device, training.model, training.optimizer
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, training.steps, training.peak, args.warmup)
    routing = routing_of_step(args.routing, model.blocks, 3 * training.batch, args.seed, step)
    factor = upscale_of_step(args.upscale_range, args.seed, step)
    flow_weight = args.flow_loss * cosine(step, training.steps, 0.1)
    sums = torch.zeros(4, device=device)  # loss, distance of the flow, effort, stop
    sums[3] = float(stopping)
    for part in range(args.accumulate):
        targets, inputs, timestep, *flow = (x.to(device, non_blocking=True) for x in next(batches))
        targets = targets.float() / 255
        if factor:
            inputs = downsample_ends(targets, factor)
        share = routing.part(training.processes.rank * args.accumulate + part, 3 * args.batch_size, device)
        with training.autocast:
            prediction = model(*inputs.split(3, 1), timestep[:, None], share, tuple(targets.shape[2:]), ends=True)
        frames = prediction.frames
        loss = three_frame_loss(frames, targets, LOSSES[args.loss])
        if flow:
            true_flow, confidence = (x.flatten(0, 1) for x in flow)
            distance = flow_loss(prediction.flows, true_flow, confidence)
            loss = loss + flow_weight * distance
            sums[1] += distance.detach() / args.accumulate
        if prediction.effort is not None:
            effort = prediction.effort.mean()
            loss = loss + args.effort_price * effort
            sums[2] += effort.detach() / args.accumulate
        elif args.effort_price:
            raise UserError(f"--effort_price: {model.name} with --routing {args.routing} has no selector that learns "
                            "by a price; safa_small with --routing learned has")
        if training.perceptual:
            loss = loss + args.perceptual * training.perceptual(frames, targets.reshape(frames.shape))
        if not loss.requires_grad:
            raise UserError(f"--train_only {' '.join(args.train_only)} has no part in what --routing {args.routing} "
                            "computes, so that it cannot learn: choose another --routing, or further parts")
        training.scaler.scale(loss / args.accumulate).backward()
        sums[0] += loss.detach() / args.accumulate
    sums = average(model, sums)
    training.scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
    loss, distance, effort, stop, norm = torch.cat((sums, norm.reshape(1))).tolist()  # the one wait for the device

    taken = training.sanity.accept(loss, norm)
    if taken:
        training.scaler.step(optimizer)
        if training.average:
            training.average.update_parameters(model)
    training.progress["step"] = step + 1
    training.progress["skipped_steps"] += not taken
    training.scaler.update()
    optimizer.zero_grad()
    figures = {"loss": loss, "gradient_norm": norm, "learning_rate": optimizer.param_groups[0]["lr"],
               "skipped_steps": training.progress["skipped_steps"]}
    if args.flow_loss:
        figures |= {"flow_loss": distance, "flow_weight": flow_weight}
    if prediction.effort is not None:
        figures["effort"] = effort
    return Step(figures, taken, stop > 0, prediction)


def downsample_ends(targets: torch.Tensor, factor: float) -> torch.Tensor:
    """The low-resolution inputs for an enlargement of other than four: (B, 9, H, W) -> (B, 6, H/factor, W/factor).

    Bicubic with antialiasing (a = -0.5, as MATLAB's); the sides are rounded to whole pixels.
    """
    size = [max(round(side / factor), 1) for side in targets.shape[2:]]
    ends = torch.cat((targets[:, :3], targets[:, 6:]), 1)
    return F.interpolate(ends, size, mode="bicubic", align_corners=False, antialias=True)
