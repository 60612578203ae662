"""How fast the networks are on this machine, beside what this machine can do.

    python3 -m benchmark.speed                                # a pair of 160x96 frames to three of 640x384
    python3 -m benchmark.speed --model small --size 320x180 --timesteps 2 --precision fp32 bf16 --json speed.json
    python3 -m benchmark.speed --video                        # a video to twice its frames, from arrays to arrays
    python3 -m benchmark.speed --pipeline                     # the same with decoding, encoding and writing
    python3 -m benchmark.speed --train --precision bf16       # training steps, batch 6, crop 128
    python3 -m benchmark.speed --data                         # the loader, and its reduction against a loop over rows

Times are medians of warm runs; memory is the peak of the row on a GPU, and of the process so far on a CPU. The share of
the peak counts the job at the multiply-adds of the published network at the scales used, whatever arithmetic is saved,
over the rate of a large matrix product in the same precision, measured in the same run: compare shares, not
milliseconds. A pair is timed on the device. --video includes the way to the device and back, and is counted as the
published network is used, pair by pair: three timesteps (0, 1/2, 1) of every pair and both its frames encoded, where
two new frames come out; so the share may well be above 1.
"""
import argparse
import functools
import itertools
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmark.protocol import hardware, versions
from common import cli
from common.cli import positive_int
from common.files import atomic_path
from media.image import write_image
from media.resize import reduce_bicubic
from media.video.job import Options, VideoJob
from model.checkpoint import load_model
from model.loss import three_frame_loss
from model.network import UPSCALE, Network
from model.predictor import Details, Predictor
from model.prepare import DTYPES, prepare_for_inference, resolve_device
from model.routing import BY_SELECTOR, Routing, routing_of_step

VIDEO_FRAMES, PIPELINE_FRAMES = 5, 24
TWICE = (0.0, 0.5)  # timesteps of each pair of a video that gets twice its frames
SCALE_CHOICES = ["1", "2", "4", "chosen"]
SMALLEST = 8  # side of a frame, in pixels: optical flow needs some
MATRIX_SIZE = {"cuda": 8192, "cpu": 2048}  # of the product that the peak is measured with


def parse_arguments() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("--size", type=frame_size, nargs="+", default=[(160, 96)], metavar="WxH", help="LR frame sizes")
    parser.add_argument("--timesteps", type=two_or_more, nargs="+", default=[3], metavar="N",
                        help="timesteps of a pair at once, its own frames the first and the last of them (default 3)")
    parser.add_argument("--precision", nargs="+", choices=list(DTYPES), default=["fp32", "bf16"],
                        help="arithmetic, one row for each (default fp32 bf16)")
    parser.add_argument("--scales", choices=SCALE_CHOICES, nargs="+", default=SCALE_CHOICES, metavar="S",
                        help="all blocks at 1, 2 or 4, or chosen: by the selector")
    parser.add_argument("--device", help="as for the other scripts (default: a GPU if there is one)")
    parser.add_argument("--model", metavar="NAME|PATH", help="weights, as for the other scripts")
    parser.add_argument("--compile", action="store_true", help="compile the network first")
    parser.add_argument("--runs", type=positive_int, default=5, metavar="N", help="warm runs (default 5)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--video", dest="rows", action="store_const", const=video_rows,
                      help=f"time a video of {VIDEO_FRAMES} frames, from arrays to arrays, instead of a pair")
    what.add_argument("--pipeline", dest="rows", action="store_const", const=pipeline_rows,
                      help=f"time the whole job of a video of {PIPELINE_FRAMES} frames, once, warm")
    what.add_argument("--train", dest="rows", action="store_const", const=train_rows, help="time training steps")
    what.add_argument("--data", dest="rows", action="store_const", const=data_rows, help="time the loader")
    parser.set_defaults(rows=pair_rows)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file as well")
    args = parser.parse_args()
    if args.rows is video_rows and set(args.scales) == {"1"}:
        parser.error("--video --scales 1: a video's scales are capped at 2 or 4, or chosen")
    return args


def main() -> None:
    args = parse_arguments()
    device = resolve_device(args.device)
    rows = []
    for row in args.rows(args, device):
        rows.append(row)
        print(json.dumps(row), flush=True)
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps({"rows": rows, "versions": versions(), "hardware": hardware(str(device))},
                                            indent=1, default=str))


def pair_rows(args: argparse.Namespace, device: torch.device) -> Iterator[dict]:
    """One row per configuration of the network: both frames of a pair encoded, and its timesteps, on the device."""
    trained = load_model(args.model)
    for precision in args.precision:
        peak = matrix_product_rate(device, DTYPES[precision])
        model = prepare_for_inference(trained, device, precision, args.compile)
        for (width, height), count, choice in itertools.product(args.size, args.timesteps, args.scales):
            enlarged = UPSCALE * height, UPSCALE * width
            pixels = torch.cat([to_tensor(frame, device) for frame in moving_noise(2, height, width)])
            between = torch.linspace(0, 1, count)[None, 1:-1].to(device)
            routing = BY_SELECTOR if choice == "chosen" else Routing(scale=int(choice))
            used: list[torch.Tensor] = []

            @torch.inference_mode()
            def job(model=model, pixels=pixels, between=between, routing=routing, used=used, size=enlarged):
                working = model.padded(model.working_frames(pixels, size))
                used[:] = model.predict(working, between, routing, ends=True).scales

            median, spread = timed(job, args.runs, device)
            work = work_of_pair(model, *enlarged, torch.stack(used, 1).tolist())
            yield {"network": model.name, "size": f"{enlarged[1]}x{enlarged[0]}", "timesteps": count,
                   "precision": precision, "device": device_name(device), "scales": choice, "compiled": args.compile,
                   **speed_of(median, spread, count, work, peak),
                   "parameters": sum(p.numel() for p in trained.parameters()), "peak_memory_mib": peak_memory(device)}


def work_of_pair(model: Network, height: int, width: int, scales: list[list[int]]) -> float:
    """Multiply-adds of a pair at each frame's scales: its own frames come first and last, the rest lies between."""
    between = scales[1:-1] if model.restores else scales
    first, second = (model.multiply_adds(height, width, between, end) for end in (scales[0], scales[-1]))
    return first.frame + second.frame + first.pair + sum(first.timesteps)


def video_rows(args: argparse.Namespace, device: torch.device) -> Iterator[dict]:
    """One row per precision, size and scale cap: a video to twice its frames, from arrays to arrays."""
    trained = load_model(args.model)
    for precision, choice in itertools.product(args.precision, args.scales):
        if choice == "1":
            continue  # a cap of 1 is the selector's own choice
        peak = matrix_product_rate(device, DTYPES[precision])
        predictor = Predictor(trained, device=str(device), precision=precision, compile=args.compile,
                              scale_cap=1 if choice == "chosen" else int(choice))
        for width, height in args.size:
            frames = moving_noise(VIDEO_FRAMES, height, width)
            enlarged = predictor.output_size(height, width)
            details: list[Details] = []
            first, second = (predictor.encode(frame) for frame in frames[:2])
            predictor.between(first, second, TWICE, details)
            median, spread = timed(functools.partial(double, predictor, frames), args.runs, device)
            at_start, halfway = (detail.scales for detail in details)
            cost = trained.multiply_adds(*enlarged, [at_start, halfway, at_start], second.scales)
            pairs = VIDEO_FRAMES - 1
            yield {"network": trained.name, "video_frames": VIDEO_FRAMES, "size": f"{enlarged[1]}x{enlarged[0]}",
                   "precision": precision, "device": device_name(device), "finest_scale": choice,
                   "compiled": args.compile,
                   **speed_of(median, spread, 2 * pairs, pairs * (2 * cost.frame + cost.pair + sum(cost.timesteps)),
                              peak), "peak_memory_mib": peak_memory(device)}


def pipeline_rows(args: argparse.Namespace, device: torch.device) -> Iterator[dict]:
    """One row per precision and size: frames read from files, twice as many enlarged ones encoded into a video file."""
    trained = load_model(args.model)
    for precision, (width, height) in itertools.product(args.precision, args.size):
        predictor = Predictor(trained, device=str(device), precision=precision, compile=args.compile)
        with tempfile.TemporaryDirectory() as folder:
            source, frames = Path(folder) / "frames", moving_noise(PIPELINE_FRAMES, height, width)
            source.mkdir()
            for number, frame in enumerate(frames):
                write_image(source / f"{number:04d}.png", frame)
            double(predictor, frames)  # as the first run on a GPU, or compiled, is slow
            job = VideoJob(source, Path(folder) / "out.mp4", Options())
            count_memory_from_here(device)
            start = time.perf_counter()
            job.run(predictor)
            seconds = time.perf_counter() - start
        yield {"network": trained.name, "pipeline_frames": PIPELINE_FRAMES, "size": f"{4 * width}x{4 * height}",
               "precision": precision, "device": device_name(device),
               "frames_per_s": round(2 * PIPELINE_FRAMES / seconds, 2), "peak_memory_mib": peak_memory(device)}


def double(predictor: Predictor, frames: list[np.ndarray]) -> None:
    """Make a video's frames twice as many, each four times larger."""
    for _ in predictor.stream(frames, lambda pair: TWICE):
        pass


def speed_of(seconds: float, spread: float, frames: int, work: float, peak: float) -> dict[str, float]:
    """The figures of a job of `frames` output frames and `work` multiply-adds."""
    return {"ms_per_frame": round(1e3 * seconds / frames, 1), "spread_percent": round(100 * spread, 1),
            "gmac": round(work / 1e9, 1), "gflops_per_s": round(2 * work / seconds / 1e9, 1),
            "gemm_peak_gflops_per_s": round(peak / 1e9, 1), "share_of_peak": round(2 * work / seconds / peak, 3)}


def train_rows(args: argparse.Namespace, device: torch.device) -> Iterator[dict]:
    """One row per precision and routing: a training step of batch 6, crop 128, three timesteps."""
    for precision in args.precision:
        peak = matrix_product_rate(device, DTYPES[precision])
        for routing in ("coarse", "learned"):
            model = load_model(args.model)
            model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
            optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
            inputs, targets = torch.rand(6, 6, 32, 32, device=device), torch.rand(6, 9, 128, 128, device=device)
            halfway = torch.full((6, 1), 0.5, device=device)
            chosen = routing_of_step(routing, model.blocks, 18, 0, 0).part(0, 18, device)

            def step(model=model, optimizer=optimizer, inputs=inputs, targets=targets, halfway=halfway, chosen=chosen,
                     precision=precision):
                with torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32"):
                    frames = model(*inputs.split(3, 1), halfway, chosen, ends=True).frames
                three_frame_loss(frames, targets).backward()
                optimizer.step()
                optimizer.zero_grad()
            median, spread = timed(step, args.runs, device)
            row = {"train_step": routing, "batch": 6, "crop": 128, "precision": precision,
                   "device": device_name(device), "seconds": round(median, 3), "spread_percent": round(100 * spread, 1),
                   "peak_memory_mib": peak_memory(device)}
            if chosen.scales is not None:  # the selector not asked: the backward pass costs twice the forward pass
                work = 3 * 6 * work_of_pair(model, 128, 128, chosen.scales[:, :3].T.tolist())
                row["share_of_peak"] = round(2 * work / median / peak, 3)
            yield row


def data_rows(args: argparse.Namespace, device: torch.device) -> Iterator[dict]:
    """The loader's samples a second, and the reduction's, vectorised and row by row."""
    from data.open import open_dataset
    from data.stream import TrainingStream
    stream = TrainingStream(open_dataset("synthetic", None, crop=128), 0)
    median, _ = timed(lambda: [stream[i] for i in range(20)], args.runs, torch.device("cpu"))
    yield {"loader": "synthetic", "crop": 128, "samples_per_s": round(20 / median, 1)}
    frames = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3)).astype(np.uint8)
    fast, _ = timed(lambda: reduce_bicubic(frames), args.runs, torch.device("cpu"))
    slow, _ = timed(lambda: [reduce_by_rows(frame) for frame in frames], args.runs, torch.device("cpu"))
    yield {"reduction": "two frames of 128x128", "vectorised_samples_per_s": round(1 / fast, 1),
           "row_by_row_samples_per_s": round(1 / slow, 1), "ratio": round(slow / fast, 1)}


def reduce_by_rows(frame: np.ndarray) -> np.ndarray:
    """The same reduction with a loop over the rows and columns of the result: what the ratio is against."""
    from media.resize import _reduction_matrix
    rows, columns = _reduction_matrix(frame.shape[0], 4), _reduction_matrix(frame.shape[1], 4)
    reduced = np.stack([np.tensordot(row, frame, 1) for row in rows])
    return np.stack([np.tensordot(reduced, column, ([1], [0])) for column in columns], 1)


def timed(job: Callable[[], object], runs: int, device: torch.device) -> tuple[float, float]:
    """Median seconds of `runs` warm runs, and (longest - shortest) / median. Memory is counted from here on a GPU."""
    times = []
    count_memory_from_here(device)
    for index in range(runs + 2):
        start = time.perf_counter()
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if index >= 2:
            times.append(time.perf_counter() - start)
    return statistics.median(times), (max(times) - min(times)) / statistics.median(times)


def matrix_product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product: what this machine can do."""
    size = MATRIX_SIZE.get(device.type, MATRIX_SIZE["cpu"])
    a, b = torch.randn(size, size, device=device).to(dtype), torch.randn(size, size, device=device).to(dtype)
    return 2 * size**3 / timed(lambda: a @ b, 10, device)[0]


def moving_noise(count: int, height: int, width: int) -> list[np.ndarray]:
    """HxWx3 uint8 images of smooth noise, each moved by a few pixels from the one before."""
    torch.manual_seed(0)
    noise = torch.nn.functional.interpolate(torch.rand(1, 3, -(-height // 8), -(-width // 8)), (height, width),
                                            mode="bicubic")
    image = (255 * noise.clamp(0, 1)).byte()[0].permute(1, 2, 0).numpy()
    return [np.roll(image, (3 * number, 5 * number), (0, 1)) for number in range(count)]


def to_tensor(frame: np.ndarray, device: torch.device) -> torch.Tensor:
    """(1, 3, H, W) float32 in [0, 1] on the device."""
    return torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() / 255


def two_or_more(text: str) -> int:
    """argparse type for a whole number of at least 2."""
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 2")
    return value


def frame_size(text: str) -> tuple[int, int]:
    """argparse type: (width, height) of "WxH"."""
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not WxH, as in 160x96") from None
    if min(width, height) < SMALLEST:
        raise argparse.ArgumentTypeError(f"{text} is too small: at least {SMALLEST}x{SMALLEST} is needed")
    return width, height


def device_name(device: torch.device) -> str:
    """"cpu", or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def count_memory_from_here(device: torch.device) -> None:
    """Let `peak_memory` of a GPU forget what was before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """MiB: of the GPU's allocations, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    cli.run(main)
