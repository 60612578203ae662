"""A look at where a step's time goes, by PyTorch's own profiler."""
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

WAIT, WARMUP = 2, 1  # steps before it: the first ones are no measure of the others


class Profile:
    """Records `steps` steps into OUTPUT/logs/profile, in a `with` statement; does nothing for 0 or where not active.

    TensorBoard shows it with its profiler plugin; so do chrome://tracing and ui.perfetto.dev.
    """

    def __init__(self, steps: int, folder: Path, active: bool) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self._profile = None
        if steps and active:
            self._profile = profile(activities=activities, record_shapes=True,
                                    schedule=schedule(wait=WAIT, warmup=WARMUP, active=steps, repeat=1),
                                    on_trace_ready=tensorboard_trace_handler(str(folder / "profile")))

    def __enter__(self) -> "Profile":
        if self._profile:
            self._profile.start()
        return self

    def step(self) -> None:
        if self._profile:
            self._profile.step()

    def __exit__(self, *_: object) -> None:
        if self._profile:
            self._profile.stop()
