"""Frames on their way from the network to arrays on the host."""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

PEAKS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535, np.dtype(np.float32): 1}
STRIP = 1 << 17  # pixels at a time on a CPU: caches hold what is made of them

# (frames (N, 3, rows, W) in float32, peak) -> what is wanted of them, tensors (N, rows, ...) on any device. The
# frames are BGR, whole numbers of 0..peak, or with peak 1 any. The rows are all of them, or a strip: then an even
# number, but for the last one, and the tensors' rows are joined. An int16 carries the bits of a uint16.
Packing = Callable[[torch.Tensor, int], Sequence[torch.Tensor]]


class Download:
    """Frames on their way to the host, as whole numbers of `dtype` or as floats.

    From a GPU only what is needed is copied, to pinned memory by a stream of its own, so that the next frames are
    computed meanwhile; nobody waits before `arrays` is called.

    Args:
        frames: (N, 3, H, W) BGR in [0, 1].
        packing: what is wanted of them; None: one HxWx3 array of `dtype` for each.
        stream: for the copies from a GPU.
    """

    def __init__(self, frames: torch.Tensor, dtype: np.dtype, packing: Packing | None = None,
                 stream: "torch.cuda.Stream | None" = None):
        peak, self._alone = PEAKS[dtype], packing is None
        make = packing or interleaved
        rows = frames.shape[2] if frames.device.type != "cpu" else max(2, STRIP // frames.shape[3] // 2 * 2)
        strips = [make(strip if peak == 1 else (strip * peak).round_(), peak) for strip in frames.split(rows, 2)]
        parts = [torch.cat(part, 1) if len(part) > 1 else part[0] for part in zip(*strips)]
        self._done = None
        if stream:
            stream.wait_stream(torch.cuda.current_stream(frames.device))
            with torch.cuda.stream(stream):
                self._parts = [part.to("cpu", non_blocking=True) for part in parts]
                self._done = stream.record_event()
            for part in parts:
                part.record_stream(stream)  # its memory is not given to others before it is copied
        else:
            self._parts = [part.cpu() for part in parts]

    def arrays(self) -> list[Any]:
        """Wait for the frames, and give each: one array, or with a packing a list of them."""
        if self._done is not None:
            self._done.synchronize()
        parts = [part.numpy() for part in self._parts]
        parts = [part.view(np.uint16) if part.dtype == np.int16 else part for part in parts]
        return list(parts[0]) if self._alone else [list(frame) for frame in zip(*parts)]


def interleaved(frames: torch.Tensor, peak: int) -> list[torch.Tensor]:
    """The packing (N, rows, W, 3), of the type that frames of that peak have."""
    if peak == 255:
        frames = frames.to(torch.uint8)
    elif peak == 65535:
        frames = frames.to(torch.int32).to(torch.int16)  # few devices convert to uint16
    return [frames.permute(0, 2, 3, 1).contiguous()]
