"""The user's way in: frames in, enlarged frames at any moments between them out."""
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from common.errors import UserError
from model.checkpoint import load_model
from model.prepare import prepare_for_inference, resolve_device, resolve_precision
from model.safa import MULTIPLE, SAFA, Prediction
from model.tiles import Tile, blend_weights, tile_grid

PEAKS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535, np.dtype(np.float32): 1}
OVERLAP = 64  # output pixels that neighbouring tiles share
# What "auto" means: moments are worked on together up to so many pixels, and frames of over twice as many are cut
# into tiles of this side, so that 3840x2160 stays within 4 GiB in float32, blocks at full size.
AUTO_BATCH_PIXELS = 1024 * 1024
AUTO_TILE = 640


class EncodedFrame(NamedTuple):
    """A frame as the network keeps it, made by `Predictor.encode`."""

    frame: torch.Tensor  # (1, 3, H, W) float32 in [0, 1], enlarged and padded
    features: list[torch.Tensor]  # one tensor for each tile
    size: tuple[int, int]  # (H, W) before padding
    dtype: np.dtype  # of the frames that came in, and go out


class Details(NamedTuple):
    """How one frame came about."""

    flow: np.ndarray  # (H, W, 4) float32, pixels: x, y into frame 0; x, y into frame 1
    mask: np.ndarray  # (H, W) float32 in [0, 1]: the share of frame 0
    scales: list[int]  # the processing scale (1, 2 or 4) each block chose; of the middle tile, if there are tiles


def load_predictor(path: str | Path | None = None, device: str | None = None, precision: str = "auto",
                   tile: int | str | None = "auto", scale_cap: int = 1, compile: bool = False) -> "Predictor":
    """A `Predictor` with the weights of `path` (None: those that come with the project); see both for the rest."""
    return Predictor(load_model(path), device, precision, tile, scale_cap, compile)


class Predictor:
    """Interpolates and enlarges frames.

    Frames are HxWx3 arrays, BGR: uint8, uint16, or float32 in [0, 1]; what comes out is of the type
    that went in. Timesteps are in [0, 1]: 0 is the first frame of a pair, 1 the second.

    Args:
        model: the network; the predictor works on a copy of its own.
        device: "cpu", "cuda:1", ...; None: a GPU if there is one.
        precision: "fp32", "bf16", "fp16"; "auto": fp32 on a CPU, half precision on a GPU.
        tile: side in output pixels of the tiles that large frames are worked on in; 0 or None: no
            tiles; "auto": by the size of the frames.
        scale_cap: 2 or 4 forbid the processing scales finer than a half or a quarter: faster, less exact.
        compile: compile the network with torch.compile: faster, but slow to start.

    Raises:
        UserError: an unknown device or precision, frames of different sizes or types, a timestep
            outside [0, 1], an enlargement outside [1, 8].
    """

    def __init__(self, model: SAFA, device: str | None = None, precision: str = "auto",
                 tile: int | str | None = "auto", scale_cap: int = 1, compile: bool = False):
        if scale_cap not in (1, 2, 4):
            raise UserError(f"scale_cap {scale_cap} is not 1, 2 or 4")
        if isinstance(tile, int) and 0 < tile < 4 * OVERLAP:
            raise UserError(f"tiles of {tile} pixels are too small: at least {4 * OVERLAP}, or 0 for none")
        self.device = resolve_device(device)
        self.precision = resolve_precision(precision, self.device)
        self.tile = tile
        self.scale_cap = scale_cap
        self.model = prepare_for_inference(model, self.device, self.precision, compile)

    def output_size(self, height: int, width: int, upscale: float = 4) -> tuple[int, int]:
        """(height, width) of the frames that frames of this size are turned into."""
        return round(height * upscale), round(width * upscale)

    def encode(self, frame: np.ndarray, upscale: float = 4) -> EncodedFrame:
        """Enlarge a frame and compute its features, once for all the pairs and moments it takes part in."""
        _check_frame(frame, upscale)
        size = self.output_size(*frame.shape[:2], upscale)
        if size != frame.shape[:2]:
            frame = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_CUBIC)
        picture = torch.from_numpy(np.ascontiguousarray(frame)).to(self.device).permute(2, 0, 1)[None].float()
        picture = _pad(picture / PEAKS[frame.dtype])
        with torch.inference_mode():
            features = [self.model.encode(tile.cut(picture)) for tile in self._tiles(picture)]
        return EncodedFrame(picture, features, size, frame.dtype)

    def between(self, first: EncodedFrame, second: EncodedFrame, timesteps: Sequence[float],
                details: list[Details] | None = None) -> list[np.ndarray]:
        """The frames at `timesteps` between two encoded frames, in the order given.

        `details`: a list to which one `Details` is added for each frame.
        """
        if first.size != second.size or first.dtype != second.dtype:
            raise UserError(f"the frames of a pair differ: {first.size[1]}x{first.size[0]} {first.dtype} and "
                            f"{second.size[1]}x{second.size[0]} {second.dtype}")
        for timestep in timesteps:
            if not 0 <= timestep <= 1:  # false for nan too
                raise UserError(f"timestep {timestep} is not between 0 and 1")
        frames = []
        pixels = first.frame[0, 0].numel() if self.tile == "auto" else 0
        at_once = max(1, AUTO_BATCH_PIXELS // pixels) if pixels else max(1, len(timesteps))
        for start in range(0, len(timesteps), at_once):
            frames += self._between(first, second, timesteps[start:start + at_once], details)
        return frames

    def interpolate(self, frame0: np.ndarray, frame1: np.ndarray, timesteps: Sequence[float],
                    upscale: float = 4) -> list[np.ndarray]:
        """The enlarged frames at `timesteps` between two frames."""
        return self.between(self.encode(frame0, upscale), self.encode(frame1, upscale), timesteps)

    def stream(self, frames: Iterable[np.ndarray], timesteps_of_pair: Callable[[int], Sequence[float]],
               upscale: float = 4) -> Iterator[tuple[float, np.ndarray]]:
        """Frames between each two neighbours of a sequence; each input frame is encoded once.

        Args:
            frames: two frames or more.
            timesteps_of_pair: the timesteps wanted between frame i and frame i + 1, for each i.

        Yields:
            (i + timestep, frame), in order.
        """
        previous = None
        for index, frame in enumerate(frames):
            current = self.encode(frame, upscale)
            if previous is not None:
                timesteps = list(timesteps_of_pair(index - 1))
                for timestep, between in zip(timesteps, self.between(previous, current, timesteps)):
                    yield index - 1 + timestep, between
            previous = current

    def _tiles(self, picture: torch.Tensor) -> list[Tile]:
        height, width = picture.shape[-2:]
        size = self.tile or 0
        if size == "auto":
            size = 0 if height * width <= 2 * AUTO_BATCH_PIXELS else AUTO_TILE
        return tile_grid(height, width, size, OVERLAP, MULTIPLE)

    @torch.inference_mode()
    def _between(self, first: EncodedFrame, second: EncodedFrame, timesteps: Sequence[float],
                 details: list[Details] | None) -> list[np.ndarray]:
        times = torch.tensor([list(timesteps)], dtype=torch.float32, device=self.device)
        tiles = self._tiles(first.frame)
        predictions = (self.model.interpolate(tile.cut(first.frame), tile.cut(second.frame), features0, features1,
                                              times, scale_cap=self.scale_cap)
                       for tile, features0, features1 in zip(tiles, first.features, second.features))
        prediction = next(predictions) if len(tiles) == 1 else _assemble(tiles, predictions, first.frame.shape[-2:],
                                                                        details is not None)
        height, width = first.size
        if details is not None:
            flow = prediction.flow[..., :height, :width].permute(0, 2, 3, 1).cpu().numpy()
            mask = prediction.mask[:, 0, :height, :width].cpu().numpy()
            details += [Details(flow[i], mask[i], [int(block[i]) for block in prediction.scales])
                        for i in range(len(timesteps))]
        return _to_arrays(prediction.frames[..., :height, :width], first.dtype)


def _check_frame(frame: np.ndarray, upscale: float) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype not in PEAKS or 0 in frame.shape:
        raise UserError(f"a frame must be HxWx3 of uint8, uint16 or float32, not {frame.shape} of {frame.dtype}")
    if not 1 <= upscale <= 8:
        raise UserError(f"an enlargement of {upscale} is not between 1 and 8")


def _pad(picture: torch.Tensor) -> torch.Tensor:
    """Repeat the last row and column until both sides are multiples of what the network needs."""
    height, width = picture.shape[-2:]
    return F.pad(picture, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")


def _assemble(tiles: list[Tile], predictions: Iterator[Prediction], size: tuple[int, int],
              with_details: bool) -> Prediction:
    """Blend the tiles' predictions into one of `size`; only one tile's prediction exists at a time."""
    parts = 3 if with_details else 1
    sums = [0.0] * parts
    total = torch.zeros(size)
    scales = []
    for index, (tile, prediction) in enumerate(zip(tiles, predictions)):
        weights = blend_weights(tile, *size, OVERLAP).to(prediction.frames.device)
        if index == 0:
            sums = [part.new_zeros(*part.shape[:2], *size) for part in prediction[:parts]]
            total = total.to(weights.device)
        for whole, part in zip(sums, prediction[:parts]):
            tile.cut(whole).add_(part * weights)
        tile.cut(total).add_(weights)
        if index == len(tiles) // 2:
            scales = prediction.scales
    sums = [whole.div_(total) for whole in sums]
    return Prediction(*sums, *[None] * (3 - parts), scales)


def _to_arrays(frames: torch.Tensor, dtype: np.dtype) -> list[np.ndarray]:
    """(N, 3, H, W) in [0, 1] to HxWx3 arrays: integers are rounded to the nearest."""
    frames = frames.permute(0, 2, 3, 1) * PEAKS[dtype]
    if dtype != np.float32:
        # Through int32: PyTorch converts to uint16 on few devices.
        frames = frames.round_().to(torch.uint8 if dtype == np.uint8 else torch.int32)
    return list(np.ascontiguousarray(frames.cpu().numpy()).astype(dtype, copy=False))
