"""What is seen of a training: a bar, a text log, TensorBoard scalars and images, on the first process only."""
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from tqdm import tqdm

from common.errors import UserError
from media.visualize import flow_colours
from model.network import UPSCALE
from model.routing import SCALES
from training.validation import Shown

UNITS = {"psnr": "dB", "gain": "dB", "epe": "px"}


class Monitor:
    """Scalars, images, lines and the bar, in a `with` statement. Made on every process; silent on all but the first.

    OUTPUT/train.log gets every line that is printed, and the figures of every `--log_every` steps.

    Raises:
        UserError: the disk is full, or the log cannot be written for another reason.
    """

    def __init__(self, output: Path, active: bool, step: int, steps: int):
        self.folder = output / "logs"
        self.writer: SummaryWriter | None = None
        self.log: TextIO | None = None
        threading.excepthook = _quiet_about_files
        if active:
            with self._writing():
                self.writer = SummaryWriter(str(self.folder), purge_step=step + 1)  # what came after a lost save
                self.log = open(output / "train.log", "a", encoding="utf-8")
        self.bar = tqdm(total=steps, initial=step, unit="step", disable=not active, dynamic_ncols=True)
        self.measure_from(step, 0.0)

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        self.bar.close()
        with contextlib.suppress(UserError) if kind else contextlib.nullcontext(), self._writing():
            if self.writer:
                self.writer.close()
            if self.log:
                self.log.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"cannot write to {self.folder}: {error.strerror or error}") from error

    def run(self, record: dict, step: int) -> None:
        """What the run is made with, as text and as hyperparameters."""
        if not self.writer:
            return
        options = {name: value if isinstance(value, (int, float, str)) else json.dumps(value)
                   for name, value in record["options"].items() if value is not None}
        with self._writing():
            self.writer.add_text("run", f"```\n{json.dumps(record, indent=2)}\n```", step)
            for summary in hparams(options, {"val/psnr_ends": 0.0, "val/psnr_between": 0.0}):
                self.writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]

    def scalars(self, step: int, group: str, **values: float) -> None:
        if self.writer:
            with self._writing():
                for name, value in values.items():
                    self.writer.add_scalar(f"{group}/{name}", value, step)

    def message(self, text: str) -> None:
        """A line above the bar and in the log."""
        if self.writer:
            self.bar.write(text)
            self._note(text)

    def _note(self, text: str) -> None:
        assert self.log is not None
        with self._writing():
            self.log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self.log.flush()

    def progress(self, step: int, samples_a_step: int, waited: float, used: list, figures: dict[str, float]) -> None:
        """Loss and so on, how fast it goes, the share of the time spent waiting for data, and the scales used.

        Args:
            waited: seconds spent waiting for data since the start.
        """
        elapsed = max(time.perf_counter() - self.last_time, 1e-9)
        speed = (step - self.last_step) * samples_a_step / elapsed
        share = min((waited - self.last_waited) / elapsed, 1.0)
        self.scalars(step, "train", **figures, samples_per_second=speed, waiting_for_data=share)
        for index, scales in enumerate(used):
            for scale in {*SCALES, *scales.tolist()} - {0}:
                self.scalars(step, "scales", **{f"block{index}_1in{scale}": float((scales == scale).float().mean())})
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
        if self.writer:
            listed = ", ".join(f"{name} {value:.5g}" for name, value in figures.items())
            self._note(f"step {step}: {listed}, {speed:.1f} samples/s, {share:.0%} of the time waiting for data")
        self.measure_from(step, waited)

    def measure_from(self, step: int, waited: float) -> None:
        """Take speed and waiting from this step on: validation is not training."""
        self.last_step, self.last_time, self.last_waited = step, time.perf_counter(), waited

    def validation(self, step: int, figures: dict[str, float], shown: Shown | None) -> None:
        """The figures, and the held-out sample that is shown every time, above its flows and mask, in full size."""
        self.scalars(step, "val", **figures)
        listed = (f"{name} {value:.2f} {unit}" if (unit := UNITS.get(name.split("_")[0])) else f"{name} {value:.4f}"
                  for name, value in figures.items())
        self.message(f"step {step}: {', '.join(listed)}")
        if self.writer and shown:
            with self._writing():
                self.writer.add_image("val/frame0_prediction_truth_frame1_over_flows_mask_error",
                                      _grid(shown).flip(0), step)


def _grid(shown: Shown) -> torch.Tensor:
    """(3, 2H, 4W) BGR in [0, 1]: both inputs, prediction and truth at the timestep between; flows, mask and error."""
    sample, prediction = shown
    inputs = torch.from_numpy(sample.inputs).float().clamp(0, 1)
    frame0, frame1 = inputs.repeat_interleave(UPSCALE, 1).repeat_interleave(UPSCALE, 2).split(3)
    truth = torch.from_numpy(sample.targets[3:6]).float() / 255
    frame = prediction.frames[1].float().cpu().clamp(0, 1)
    top, error = torch.cat((frame0, frame, truth, frame1), 2), (frame - truth).abs()
    if prediction.flow is None or prediction.mask is None:
        return torch.cat((top, torch.cat((error, *[torch.zeros_like(error)] * 3), 2)), 1)
    flow = prediction.flow[1].float().cpu().permute(1, 2, 0).numpy()
    longest = float(np.hypot(flow[..., ::2], flow[..., 1::2]).max())
    flows = [torch.from_numpy(flow_colours(flow[..., part], longest)).permute(2, 0, 1) / 255
             for part in (slice(0, 2), slice(2, 4))]
    mask = prediction.mask[1].float().cpu().expand(3, -1, -1)
    return torch.cat((top, torch.cat((*flows, mask, error), 2)), 1)


def _quiet_about_files(failure: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread tells of what it cannot write, but so does the next call, to which `Monitor` listens."""
    if not issubclass(failure.exc_type, OSError):
        threading.__excepthook__(failure)
