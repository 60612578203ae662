#!/usr/bin/env python3
"""Train SAFA, or the small network.

The published recipe, on 4 GPUs:
    torchrun --nproc_per_node=4 train.py --data /data/adobe240
Several machines: the same with torchrun's --nnodes, --node_rank, --master_addr on each, or srun (docs/training.md).
One GPU, or a CPU, your own videos:
    python3 train.py --dataset folder --data my_videos
No data at all:
    python3 train.py --dataset synthetic --routing coarse --max_steps 1000
A recipe, and what to change of it:
    python3 train.py --config recipes/safa_adobe240.txt --data /data/adobe240 --batch_size 12
Stopped by Ctrl-C, a time limit or a crash? The same command with --resume goes on exactly where it was, and starts
anew where nothing was begun.

Writes OUTPUT/last.safetensors and best.safetensors (weights, for every script), state-STEP.pt (for --resume),
run.json (what it was made with), train.log and logs/ (`tensorboard --logdir OUTPUT`).
"""
from common import cli
from model.checkpoint import save_model
from training import record
from training.build import Training, build
from training.distributed import total
from training.loading import Batches, positions
from training.monitor import Monitor
from training.options import DEFAULTS, parse_arguments
from training.profiling import Profile
from training.schedule import validation_routing
from training.state import save_state
from training.step import train_step
from training.stopping import StopRequest, failures_in_one_line
from training.validation import validate


def evaluate(training: Training, monitor: Monitor) -> None:
    """Judge the network on held-out samples; keep it as best.safetensors if it is the best so far."""
    args, done = training.args, training.progress["step"]
    figures, shown = validate(training.weights, training.held_out, args.val_samples, training.processes,
                              training.device, training.autocast, training.degradation,
                              validation_routing(args.routing), flow=args.flow_loss > 0)
    monitor.validation(done, figures, shown)
    mean = (figures["psnr_ends"] + figures["psnr_between"]) / 2
    if mean > training.progress["best"]:
        training.progress["best"] = mean
        if training.processes.first:
            save_model(training.weights, args.output / "best.safetensors", header(training))


def save(training: Training) -> None:
    """Everything needed to go on, and the weights for others; by the first process."""
    if training.processes.first:
        save_state(training.args.output, training.state(), training.weights, header(training), training.args.keep)


def header(training: Training) -> dict[str, str]:
    """What weights say of how they were made."""
    return {"steps": str(training.progress["step"]), "run": record.short(training.args, DEFAULTS, training.learned)}


def main() -> None:
    args = parse_arguments(__doc__)
    training, say = build(args)
    processes, progress, steps = training.processes, training.progress, training.steps
    first = progress["step"]
    last = min(steps, first + (args.stop_after or steps))
    stop = StopRequest()
    order = positions(processes, args.batch_size * args.accumulate, first, last)
    batches = Batches(training.stream, args.batch_size, order, args.num_workers, training.device.type == "cuda")
    say(f"{steps} steps of {training.batch} samples, {args.precision} on {processes.count} x {training.device}, "
        f"learning rate up to {training.peak:.3g}")

    with failures_in_one_line(), Monitor(args.output, processes.first, first, steps) as monitor, \
            Profile(args.profile, monitor.folder, processes.first) as profile:
        if processes.first:
            this_start = record.describe(args, training.learned, first, training.device, processes.count,
                                         training.model.settings)
            record.write(args.output, this_start)
            monitor.run(this_start, first)
        for step in range(first, last):
            result = train_step(training, batches, step, bool(stop))
            done = step + 1
            monitor.bar.update()
            profile.step()
            if not result.taken:
                monitor.message(f"step {step}: loss {result.figures['loss']:.4g}, gradient "
                                f"{result.figures['gradient_norm']:.4g}: skipped")
            if done % args.log_every == 0:
                monitor.progress(done, training.batch, batches.waited, result.prediction.scales, result.figures)
            if training.held_out and (done % args.val_every == 0 or done == steps):
                evaluate(training, monitor)
                monitor.measure_from(done, batches.waited)
            if done % args.save_every == 0 or done == last or result.stop:
                save(training)
            if result.stop:
                break

    unreadable = total([training.stream.skipped], training.device)[0]
    say(f"{progress['step']} of {steps} steps done, {progress['skipped_steps']} skipped as not sane, "
        f"{unreadable:.0f} samples skipped as unreadable: {args.output / 'last.safetensors'}")


if __name__ == "__main__":
    cli.run(main)
