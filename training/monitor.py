"""What is seen of a training: a progress bar, TensorBoard scalars and pictures, on the first process only."""
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from common.errors import UserError
from media.visualize import flow_colours
from model.network import UPSCALE, Prediction
from model.routing import SCALES


class Monitor:
    """Scalars, pictures and the bar, in a `with` statement. Made on every process; silent on all but the first.

    Raises:
        UserError: the disk is full, or the log cannot be written for another reason.
    """

    def __init__(self, output: Path, active: bool, step: int, steps: int):
        self.folder = output / "logs"
        threading.excepthook = _quiet_about_files
        with self._writing():
            self.writer = SummaryWriter(str(self.folder), purge_step=step) if active else None
        self.bar = tqdm(total=steps, initial=step, unit="step", disable=not active, dynamic_ncols=True)
        self.measure_from(step)

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        self.bar.close()
        with contextlib.suppress(UserError) if kind else contextlib.nullcontext(), self._writing():
            if self.writer:
                self.writer.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"cannot write to {self.folder}: {error.strerror or error}") from error

    def scalars(self, step: int, **values: float) -> None:
        if self.writer:
            with self._writing():
                for name, value in values.items():
                    self.writer.add_scalar(name, value, step)

    def message(self, text: str) -> None:
        if self.writer:
            self.bar.write(text)

    def progress(self, step: int, samples_a_step: int, used: list, **values: float) -> None:
        """Loss and so on, how fast it goes, the share of the time spent waiting for data, and the scales used."""
        elapsed = max(time.perf_counter() - self.last_time, 1e-9)
        speed = (step - self.last_step) * samples_a_step / elapsed
        self.scalars(step, **values, samples_per_second=speed, waiting_for_data=self.waited / elapsed)
        for index, scales in enumerate(used):
            for scale in {*SCALES, *scales.tolist()} - {0}:
                self.scalars(step, **{f"scales/block{index}_1in{scale}": float((scales == scale).float().mean())})
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
        self.measure_from(step)

    def measure_from(self, step: int) -> None:
        """Take speed and waiting from this step on: validation is not training."""
        self.last_step, self.last_time, self.waited = step, time.perf_counter(), 0.0

    def pictures(self, step: int, inputs: torch.Tensor, targets: torch.Tensor, prediction: Prediction) -> None:
        """The first sample at its timestep between: both inputs, prediction and target above flows and mask."""
        if not self.writer:
            return
        shown = inputs[0].float().clamp(0, 1).cpu().repeat_interleave(UPSCALE, 1).repeat_interleave(UPSCALE, 2)
        frame0, frame1 = shown.split(3)
        frame, target = prediction.frames[1].detach().cpu().clamp(0, 1), targets[0, 3:6].float().cpu()
        flow = prediction.flow[1].detach().float().cpu().permute(1, 2, 0).numpy()
        longest = float(np.hypot(flow[..., ::2], flow[..., 1::2]).max())
        flows = [torch.from_numpy(flow_colours(flow[..., part], longest)).permute(2, 0, 1) / 255
                 for part in (slice(0, 2), slice(2, 4))]
        mask = prediction.mask[1].detach().float().cpu().expand(3, -1, -1)
        rows = [torch.cat((frame0, frame, target, frame1), 2), torch.cat((*flows, mask, (frame - target).abs()), 2)]
        name = "frame0_prediction_target_frame1_over_flows_mask_error"
        with self._writing():
            self.writer.add_image(name, torch.cat(rows, 1).flip(0), step)


def _quiet_about_files(failure: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread tells of what it cannot write, but so does the next call, to which `Monitor` listens."""
    if not issubclass(failure.exc_type, OSError):
        threading.__excepthook__(failure)
