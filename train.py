#!/usr/bin/env python3
"""Train SAFA.

The published recipe, on 4 GPUs:
    torchrun --nproc_per_node=4 train.py --data /data/adobe240
Several machines: the same with torchrun's --nnodes, --node_rank, --master_addr on each.
One GPU, or a CPU, your own videos:
    python3 train.py --dataset folder --data my_videos
No data at all:
    python3 train.py --dataset synthetic --routing coarse --max_steps 1000
Stopped by Ctrl-C or a time limit? The same command with --resume goes on exactly where it was.

Writes OUTPUT/last.safetensors and best.safetensors (weights, for every script), state.pt (for --resume)
and logs/ (`tensorboard --logdir OUTPUT`).
"""
import time

import torch
from torch.utils.data import DataLoader

from common import cli
from common.errors import UserError
from data.degradation import make_degradation
from data.open import open_mixture
from data.stream import TrainingStream, next_batch
from model.checkpoint import load_model, save_model
from model.loss import LOSSES, Perceptual, flow_loss, three_frame_loss
from model.prepare import DTYPES, compile_parts, resolve_precision
from model.registry import create_network
from model.start import load_imagenet_encoder, start_from_blending
from training.distributed import average_gradients, join_processes, share_weights, total
from training.monitor import Monitor
from training.options import parse_arguments
from training.sanity import SaneSteps
from training.schedule import PUBLISHED_BATCH, cosine, learning_rate, routing_of_step, validation_routing
from training.state import StopRequest, leave_stopping_to_parent, load_state, open_output, save_state
from training.validation import validate


def build_dataset(args, split):
    crop = None if split == "val" and args.val_whole else args.crop
    return open_mixture(args.datasets, split, crop, args.mix, args.skip_corrupt)


def build_model(args, first, say):
    """The network to start from: given weights, or fresh ones with an ImageNet encoder where that can be had.

    What is fetched, the `first` process fetches, and shares.
    """
    if args.init:
        model = load_model(args.init)
        if model.name != args.network or any(model.settings[name] != value for name, value in args.settings.items()):
            raise UserError(f"{args.init} is {model.name} with {model.settings}, not {args.network} with "
                            f"{args.settings or 'its usual settings'}")
        return model
    model = create_network(args.network, **args.settings)
    if args.resume or args.network != "safa":  # the rest is about the paper's encoder and flow
        return model
    if args.pretrained_encoder != "no" and first:
        say(f"encoder starts from: {load_imagenet_encoder(model, required=args.pretrained_encoder == 'yes')}")
    if args.blend_start:
        start_from_blending(model)
    return model


def main():
    args = parse_arguments(__doc__)
    processes, device = join_processes(args.device, args.local_rank)
    say = print if processes.first else lambda text: None
    torch.manual_seed(args.seed)

    # Data: step s takes the positions s * batch ... of one endless seeded stream, shared out over the
    # processes, so that it does not matter how many there are, or where a training was interrupted.
    degradation = make_degradation(args.degradation)
    extras = {"flow": True} if args.flow_loss else {}
    stream = TrainingStream(build_dataset(args, "train"), args.seed, degradation, **extras)
    held_out = build_dataset(args, "val") if args.val_every else None
    batch = args.batch_size * args.accumulate * processes.count
    steps = args.max_steps or max(1, args.epochs * stream.epoch_length // batch)

    # The network and its optimiser
    model = build_model(args, processes.first, say).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=args.weight_decay)
    precision = resolve_precision(args.precision, device)
    autocast = torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    progress = {"step": 0, "best": float("-inf"), "skipped_steps": 0, "batch": batch}
    if args.resume:
        progress = load_state(args.output, model, optimizer, scaler)
        if progress["batch"] != batch:
            raise UserError(f"{args.output} was trained with {progress['batch']} samples a step, not {batch}: choose "
                            "--batch_size, --accumulate and the number of processes to give that many")
    share_weights(model)
    if args.compile:
        compile_parts(model)
    perceptual = Perceptual().to(device) if args.perceptual else None

    peak = args.lr * batch / PUBLISHED_BATCH
    first, last = progress["step"], min(steps, progress["step"] + (args.stop_after or steps))
    say(f"{steps} steps of {batch} samples, {precision} on {processes.count} x {device}, "
        f"learning rate up to {peak:.3g}")
    loader = iter(DataLoader(stream, args.batch_size, num_workers=args.num_workers, pin_memory=device.type == "cuda",
                             sampler=positions(args, processes, first, last), worker_init_fn=leave_stopping_to_parent,
                             generator=torch.Generator()))  # its own: the loader must not touch the saved random state
    if processes.first:
        open_output(args.output)
    stop = StopRequest()
    sanity = SaneSteps(args.skip, progress.get("recent_losses"))

    with Monitor(args.output, processes.first, first, steps) as monitor:
        for step in range(first, last):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, peak, args.warmup)
            routing = routing_of_step(args.routing, model.blocks, 3 * batch, args.seed, step)
            flow_weight = args.flow_loss * cosine(step, steps, 0.1)
            loss_sum = flow_sum = 0.0
            for part in range(args.accumulate):
                waiting = time.perf_counter()
                targets, inputs, timestep, *flow = next_batch(loader)
                monitor.waited += time.perf_counter() - waiting
                inputs, timestep = inputs.to(device, non_blocking=True), timestep.to(device, non_blocking=True)
                targets = targets.to(device, non_blocking=True).float() / 255
                timesteps = torch.stack((torch.zeros_like(timestep), timestep, torch.ones_like(timestep)), 1)
                share = routing.part(processes.rank * args.accumulate + part, 3 * args.batch_size, device)
                with autocast:
                    prediction = model(*inputs.split(3, 1), timesteps, share)
                frames = prediction.frames
                loss = three_frame_loss(frames, targets, LOSSES[args.loss])
                if flow:
                    part_flow = flow_loss(prediction.flows, *(x.to(device, non_blocking=True).flatten(0, 1)
                                                              for x in flow))
                    loss = loss + flow_weight * part_flow
                    flow_sum += part_flow.detach() / args.accumulate
                if perceptual:
                    loss = loss + args.perceptual * perceptual(frames, targets.reshape(frames.shape))
                scaler.scale(loss / args.accumulate).backward()
                loss_sum += loss.detach() / args.accumulate
            average_gradients(model)
            scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            sums = total([float(loss_sum), float(flow_sum)], device)
            loss_mean, flow_mean = (value / processes.count for value in sums)

            if sanity.accept(loss_mean, float(norm)):
                scaler.step(optimizer)
            else:
                progress["skipped_steps"] += 1
                monitor.message(f"step {step}: loss {loss_mean}, gradient {float(norm)}: skipped")
            scaler.update()
            optimizer.zero_grad()
            done = step + 1
            progress.update(step=done, recent_losses=list(sanity.recent))
            monitor.bar.update()

            if done % args.log_every == 0:
                supervision = {"flow_loss": flow_mean, "flow_weight": flow_weight} if flow else {}
                monitor.progress(done, batch, prediction.scales, loss=loss_mean, gradient_norm=float(norm),
                                 learning_rate=optimizer.param_groups[0]["lr"], skipped_steps=progress["skipped_steps"],
                                 **supervision)
            if held_out and (done % args.val_every == 0 or done == steps):
                figures = validate(model, held_out, args.val_samples, processes, device, autocast, degradation,
                                   validation_routing(args.routing), flow=args.flow_loss > 0)
                monitor.scalars(done, **figures)
                monitor.pictures(done, inputs, targets, prediction)
                listed = ", ".join(f"{name} {value:.2f} {'px' if name == 'epe' else 'dB'}"
                                   for name, value in figures.items())
                monitor.message(f"step {done}: {listed}")
                mean = (figures["psnr_ends"] + figures["psnr_between"]) / 2
                if mean > progress["best"]:
                    progress["best"] = mean
                    if processes.first:
                        save_model(model, args.output / "best.safetensors", {"steps": str(done)})
                monitor.measure_from(done)
            stopping = total([float(bool(stop))], device)[0] > 0  # a signal may have reached one process only
            if processes.first and (done % args.save_every == 0 or done == last or stopping):
                save_state(args.output, model, optimizer, scaler, progress)
            if stopping:
                break

    unreadable = total([stream.skipped], device)[0]
    say(f"{progress['step']} of {steps} steps done, {progress['skipped_steps']} skipped as not sane, "
        f"{unreadable:.0f} samples skipped as unreadable: {args.output / 'last.safetensors'}")
    processes.leave()


def positions(args, processes, first, last):
    """This process's positions in the stream for steps `first` to `last`, in order."""
    per_process = args.batch_size * args.accumulate
    for step in range(first, last):
        start = (step * processes.count + processes.rank) * per_process
        yield from range(start, start + per_process)


if __name__ == "__main__":
    cli.run(main)
