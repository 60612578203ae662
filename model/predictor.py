"""The user's way in: frames in, enlarged frames at any timesteps between them out."""
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from common.errors import UserError
from model.checkpoint import weights_hash
from model.network import Network, Prediction
from model.prepare import prepare_for_inference, resolve_device, resolve_precision
from model.routing import Routing
from model.settings import InferenceSettings
from model.tiles import Tile, blend_weights, tile_grid

PEAKS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535, np.dtype(np.float32): 1}


class EncodedFrame(NamedTuple):
    """A frame as the network keeps it, made by `Predictor.encode`."""

    working: torch.Tensor  # (1, 3, h, w) float32 in [0, 1]: the frame as the network works on it, padded
    features: list[torch.Tensor]  # one tensor for each tile
    inner: tuple[int, int]  # (h, w) of the working frame before padding
    size: tuple[int, int]  # (H, W) of the frames that come out
    dtype: np.dtype  # of the frames that came in, and go out


class Details(NamedTuple):
    """How one frame came about."""

    flow: np.ndarray  # (H, W, 4) float32, pixels: x, y into frame 0; x, y into frame 1
    mask: np.ndarray  # (H, W) float32 in [0, 1]: the share of frame 0
    scales: list[int]  # the scale (1, 2, 4; 0: left out) of each block; of the middle tile, if there are tiles


def load_predictor(path: str | Path | None = None, device: str | None = None, precision: str = "auto",
                   tile: int | str | None = "auto", scale_cap: int = 1, compile: bool = False) -> "Predictor":
    """A `Predictor` with the weights of `path` (None: the default ones); see `InferenceSettings` for the rest."""
    return InferenceSettings(path, device, precision, tile, scale_cap, compile).predictor()


class Predictor:
    """Interpolates and enlarges frames.

    Frames are HxWx3 arrays, BGR: uint8, uint16, or float32 in [0, 1]; what comes out is of the type
    that went in. Timesteps are in [0, 1]: 0 is the first frame of a pair, 1 the second.

    Args:
        model: the network; the predictor works on a copy of its own.
        settings: how to run it; or give its fields as keywords. The weights it names are not looked at here.

    Raises:
        UserError: an unknown device or precision, frames of different sizes or types, a timestep
            outside [0, 1], an enlargement outside [1, 8].
    """

    def __init__(self, model: Network, settings: InferenceSettings | None = None, **options):
        self.settings = settings or InferenceSettings(**options)
        self.device = resolve_device(self.settings.device)
        self.precision = resolve_precision(self.settings.precision, self.device)
        self.routing = Routing(cap=self.settings.scale_cap)
        self._trained = model  # as it was given: what runs is folded, and may be of another type
        self._identity = {"network": model.name, "weights_sha256": weights_hash(model)}
        self.model = prepare_for_inference(model, self.device, self.precision, self.settings.compile)

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, token: str | bool | None = None,
                        cache_dir: str | Path | None = None, force_download: bool = False,
                        local_files_only: bool = False, **settings) -> "Predictor":
        """A predictor with the weights of a local folder, or of a repository of the Hugging Face Hub.

        Args:
            name: a path, or "owner/repository"; the other named arguments are those of `huggingface_hub`.
            settings: fields of `InferenceSettings`.

        Raises:
            UserError: no such weights, or the package huggingface_hub is needed and missing.
        """
        from model.hub import find_pretrained
        path = find_pretrained(name, revision=revision, token=token, cache_dir=cache_dir,
                               force_download=force_download, local_files_only=local_files_only)
        return InferenceSettings(model=path, **settings).predictor()

    def save_pretrained(self, folder: str | Path, **options) -> None:
        """Write the weights for `from_pretrained`, and upload them if asked to: see `model.hub.save_pretrained`."""
        from model.hub import save_pretrained
        save_pretrained(self._trained, folder, **options)

    def identity(self) -> dict[str, object]:
        """All of the predictor that decides about its results, as JSON can hold it."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {**self._identity, "precision": self.precision, "tile": self.settings.tile,
                "scale_cap": self.settings.scale_cap, "compile": self.settings.compile, "device": self.device.type,
                "device_name": name, "torch": torch.__version__}

    def output_size(self, height: int, width: int, upscale: float = 4) -> tuple[int, int]:
        """(height, width) of the frames that frames of this size are turned into."""
        return round(height * upscale), round(width * upscale)

    @torch.inference_mode()
    def encode(self, frame: np.ndarray, upscale: float = 4) -> EncodedFrame:
        """Compute a frame's features, once for all the pairs and timesteps it takes part in."""
        _check_frame(frame, upscale)
        size = self.output_size(*frame.shape[:2], upscale)
        peak = PEAKS[frame.dtype]
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(self.device).permute(2, 0, 1)[None].float() / peak
        inner = self.model.working_frames(pixels, size, None if peak == 1 else peak)
        working = self.model.padded(inner)
        features = [self.model.encode(tile.cut(working)) for tile in self._tiles(working)]
        return EncodedFrame(working, features, tuple(inner.shape[-2:]), size, frame.dtype)

    def between(self, first: EncodedFrame, second: EncodedFrame, timesteps: Sequence[float],
                details: list[Details] | None = None, exact: bool = False) -> list[np.ndarray]:
        """The frames at `timesteps` between two encoded frames, in the order given.

        Args:
            details: a list to which one `Details` is added for each frame.
            exact: give float32 in [0, 1], not rounded, whatever the type of the frames that came in.
        """
        if first.size != second.size or first.dtype != second.dtype:
            raise UserError(f"the frames of a pair differ: {first.size[1]}x{first.size[0]} {first.dtype} and "
                            f"{second.size[1]}x{second.size[0]} {second.dtype}")
        for timestep in timesteps:
            if not 0 <= timestep <= 1:  # false for nan too
                raise UserError(f"timestep {timestep} is not between 0 and 1")
        frames = []
        pixels = self._output_pixels(first.working) if self.settings.tile == "auto" else 0
        at_once = max(1, self.model.batch_pixels // pixels) if pixels else max(1, len(timesteps))
        for start in range(0, len(timesteps), at_once):
            frames += self._between(first, second, timesteps[start:start + at_once], details, exact)
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

    def _output_pixels(self, working: torch.Tensor) -> int:
        return working[0, 0].numel() * self.model.factor**2

    def _tiles(self, working: torch.Tensor) -> list[Tile]:
        """Windows of a padded working frame."""
        model = self.model
        size = self.settings.tile or 0
        if size == "auto":
            size = 0 if self._output_pixels(working) <= model.whole_pixels else model.tile
        height, width = working.shape[-2:]
        # Where tiles are as small as the user may choose them, they still have to end.
        overlap = min(model.overlap, size // 2)
        return tile_grid(height, width, size // model.factor, overlap // model.factor, model.multiple)

    @torch.inference_mode()
    def _between(self, first: EncodedFrame, second: EncodedFrame, timesteps: Sequence[float],
                 details: list[Details] | None, exact: bool) -> list[np.ndarray]:
        times = torch.tensor([list(timesteps)], dtype=torch.float32, device=self.device)
        tiles = self._tiles(first.working)
        predictions = (self.model.interpolate(tile.cut(first.working), tile.cut(second.working), features0, features1,
                                              times, self.routing)
                       for tile, features0, features1 in zip(tiles, first.features, second.features))
        if len(tiles) == 1:
            prediction = next(predictions)
        else:
            prediction = _assemble(tiles, predictions, first.working.shape[-2:], self.model, details is not None)
        if details is None:
            prediction = prediction._replace(flow=None, mask=None)
        height, width = (self.model.factor * side for side in first.inner)
        prediction = prediction.fitted(height, width, first.size)
        if details is not None:
            flow = prediction.flow.permute(0, 2, 3, 1).cpu().numpy()
            mask = prediction.mask[:, 0].cpu().numpy()
            details += [Details(flow[i], mask[i], [int(block[i]) for block in prediction.scales])
                        for i in range(len(timesteps))]
        return _to_arrays(prediction.frames, np.dtype(np.float32) if exact else first.dtype)


def _check_frame(frame: np.ndarray, upscale: float) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype not in PEAKS or 0 in frame.shape:
        raise UserError(f"a frame must be HxWx3 of uint8, uint16 or float32, not {frame.shape} of {frame.dtype}")
    if not 1 <= upscale <= 8:
        raise UserError(f"an enlargement of {upscale} is not between 1 and 8")


def _assemble(tiles: list[Tile], predictions: Iterator[Prediction], size: tuple[int, int], model: Network,
              with_details: bool) -> Prediction:
    """Blend the tiles' predictions into one, `size` the padded working frame's; only one tile's exists at a time."""
    parts = 3 if with_details else 1
    sums = [0.0] * parts
    size = (size[0] * model.factor, size[1] * model.factor)
    total = torch.zeros(size)
    scales = []
    for index, (tile, prediction) in enumerate(zip(tiles, predictions)):
        tile = Tile(*(model.factor * side for side in tile))
        overlap = min(model.overlap, min(tile.bottom - tile.top, tile.right - tile.left) // 2)
        weights = blend_weights(tile, *size, overlap).to(prediction.frames.device)
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
