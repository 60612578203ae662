"""The user's way in: frames in, enlarged frames at any timesteps between them out."""
import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from common.errors import UserError
from model.capacity import Capacity
from model.checkpoint import weights_hash
from model.download import PEAKS, Download, Packing
from model.encoded import EncodedFrame, Pair, alike, check_pair, number_of
from model.network import Network, Prediction
from model.prepare import DTYPES, prepare_for_inference, resolve_device, resolve_precision
from model.routing import Routing, upload
from model.settings import InferenceSettings
from model.tiles import Tile, assemble, tile_grid


class Details(NamedTuple):
    """How one frame came about."""

    flow: np.ndarray  # (H, W, 4) float32, pixels: x, y into frame 0; x, y into frame 1
    mask: np.ndarray  # (H, W) float32 in [0, 1]: the share of frame 0
    scales: list[int]  # the scale (1, 2, 4; 0: left out) of each block; of the middle tile, if there are tiles; none
                       # where the frame is one of the pair's own and was there already


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
        self._capacity = Capacity(self.model, self.device, self.settings.tile, DTYPES[self.precision].itemsize)
        self._copying = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

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
        height, width = frame.shape[:2]
        size = self.output_size(height, width, upscale)
        peak = PEAKS[frame.dtype]
        # PyTorch converts uint16 on few devices.
        pixels = torch.from_numpy(np.ascontiguousarray(frame, np.int32 if frame.dtype == np.uint16 else None))
        with self._capacity.holding():
            pixels = upload(pixels, self.device).permute(2, 0, 1)[None].float() / peak
            inner = self.model.working_frames(pixels, size, None if peak == 1 else peak)
            working = self.model.padded(inner)
        tiles, features = self._capacity.fitting(working, lambda: self._features(working))
        return EncodedFrame(working, tiles, features, (inner.shape[-2], inner.shape[-1]), size, frame.dtype)

    def between(self, first: EncodedFrame, second: EncodedFrame, timesteps: Sequence[float],
                details: list[Details] | None = None, exact: bool = False) -> list[np.ndarray]:
        """The frames at `timesteps` between two encoded frames, in the order given.

        Args:
            details: a list to which one `Details` is added for each frame.
            exact: give float32 in [0, 1], not rounded, whatever the type of the frames that came in.
        """
        return list(self._frames([(first, second, timesteps)], None, details, exact))

    def frames_between(self, pairs: Iterable[tuple[EncodedFrame, EncodedFrame, Sequence[float]]],
                       packing: Packing | None = None) -> Iterator[Any]:
        """The frames of any number of pairs, in order, each pair with its timesteps: what a video is made by.

        On a GPU as many neighbouring pairs go through the network together as its memory holds, and the frames of one
        call are downloaded while those of the next are computed; so `pairs` is read ahead of what comes out.

        Args:
            packing: what is wanted of each frame in place of an HxWx3 array, made where the frame was computed.

        Yields:
            For each timestep an array, or with a packing a list of arrays.
        """
        return self._frames(pairs, packing)

    def interpolate(self, frame0: np.ndarray, frame1: np.ndarray, timesteps: Sequence[float],
                    upscale: float = 4) -> list[np.ndarray]:
        """The enlarged frames at `timesteps` between two frames."""
        return self.between(self.encode(frame0, upscale), self.encode(frame1, upscale), timesteps)

    def stream(self, frames: Iterable[np.ndarray], timesteps_of_pair: Callable[[int], Sequence[float]],
               upscale: float = 4) -> Iterator[tuple[float, np.ndarray]]:
        """Frames between each two neighbours of a sequence; each input frame is encoded, and restored, once.

        Args:
            frames: two frames or more.
            timesteps_of_pair: the timesteps wanted between frame i and frame i + 1, for each i.

        Yields:
            (i + timestep, frame), in order.
        """
        times: collections.deque[float] = collections.deque()

        def pairs() -> Iterator[Pair]:
            previous = None
            for index, frame in enumerate(frames, -1):
                current = self.encode(frame, upscale)
                if previous is not None:
                    timesteps = list(timesteps_of_pair(index))
                    times.extend(index + timestep for timestep in timesteps)
                    yield Pair(previous, current, timesteps)
                previous = current

        for frame in self._frames(pairs()):
            yield times.popleft(), frame

    def _tiles(self, working: torch.Tensor) -> list[Tile]:
        """Windows of a padded working frame."""
        model = self.model
        size, _ = self._capacity.plan(working)
        height, width = working.shape[-2:]
        # Where tiles are as small as the user may choose them, they still have to end.
        overlap = min(model.overlap, size // 2)
        return tile_grid(height, width, size // model.factor, overlap // model.factor, model.multiple)

    def _features(self, working: torch.Tensor) -> tuple[list[Tile], list[torch.Tensor]]:
        tiles = self._tiles(working)
        return tiles, [self.model.encode(tile.cut(working)) for tile in tiles]

    def _restore(self, call: list[Pair]) -> None:
        """See to it that all frames of a call have the same tiles, and what is warped of each."""
        tiles = self._tiles(call[0].first.working)
        frames = list(dict.fromkeys(frame for pair in call for frame in pair[:2]))
        for frame in frames:
            self._retile(frame, tiles)
            if not self.model.restores:
                frame.warped = [tile.cut(frame.working) for tile in tiles]
        if self.model.restores:
            for first, second, _ in call:
                first.meet(second)
                second.meet(first)
            pending = [frame for frame in frames if not frame.warped]
            _, at_once = self._capacity.plan(call[0].first.working)
            at_once = min(at_once, number_of(call))  # no more memory than what is asked for takes
            for start in range(0, len(pending), at_once):
                self._restore_together(pending[start:start + at_once])

    def _restore_together(self, frames: list[EncodedFrame]) -> None:
        others, tiles = [frame.neighbour for frame in frames if frame.neighbour], frames[0].tiles
        for other in others:
            self._retile(other, tiles)

        def side(of: list[EncodedFrame], index: int) -> tuple[torch.Tensor, torch.Tensor]:
            return (_joined([tiles[index].cut(frame.working) for frame in of]),
                    _joined([frame.features[index] for frame in of]))

        warped, scales = [], []
        for index in range(len(tiles)):
            prediction = self.model.restore(*side(frames, index), *side(others, index), self.routing)
            warped.append(prediction.frames)
            if index == len(tiles) // 2:
                scales = prediction.scales
        for number, frame in enumerate(frames):
            frame.warped = [of_tile[number:number + 1] for of_tile in warped]
            frame.scales = [int(block[number]) for block in scales]

    def _retile(self, frame: EncodedFrame, tiles: list[Tile]) -> None:
        """Give a frame features for these tiles, which shrink when memory is short."""
        if frame.tiles != tiles:
            frame.warped = []
            frame.tiles, frame.features = self._features(frame.working)

    def _frames(self, pairs: Iterable[tuple[EncodedFrame, EncodedFrame, Sequence[float]]],
                packing: Packing | None = None, details: list[Details] | None = None,
                exact: bool = False) -> Iterator[Any]:
        in_flight: collections.deque[list[Download]] = collections.deque()
        for call in self._calls(pairs):
            launch = functools.partial(self._launch, call, packing, details, exact)
            in_flight.append(self._capacity.fitting(call[0].first.working, launch, number_of(call)))
            del call, launch  # their frames would stay in memory while the next call's are encoded
            while len(in_flight) > (1 if self._copying else 0):
                for download in in_flight.popleft():
                    yield from download.arrays()
        for download in itertools.chain.from_iterable(in_flight):
            yield from download.arrays()

    def _calls(self, pairs: Iterable[tuple[EncodedFrame, EncodedFrame, Sequence[float]]]) -> Iterator[list[Pair]]:
        """The pairs, as many together as go through the network in one call; those of many timesteps in parts."""
        call: list[Pair] = []
        for first, second, timesteps in pairs:
            check_pair(first, second, timesteps)
            _, at_once = self._capacity.plan(first.working)
            for start in range(0, len(timesteps), at_once):
                pair = Pair(first, second, timesteps[start:start + at_once])
                if call and (number_of(call) + len(pair.timesteps) > at_once or not alike(first, call[0].first)):
                    yield call
                    call = []
                call.append(pair)
                if number_of(call) == at_once or not self._capacity.joins_pairs:
                    yield call
                    call = []
        if call:
            yield call

    @torch.inference_mode()
    def _launch(self, call: list[Pair], packing: Packing | None, details: list[Details] | None,
                exact: bool) -> list[Download]:
        """Compute the frames of pairs that are alike, and send them on their way."""
        self._restore(call)
        downloads, found = [], []
        for part in self._calls(call):  # more than one if the memory has just been too small for all
            prediction = self._predict(part, details is not None)
            dtype = np.dtype(np.float32) if exact else part[0].first.dtype
            downloads.append(Download(prediction.frames, dtype, packing, self._copying))
            if details is not None:
                assert prediction.flow is not None and prediction.mask is not None
                flow = prediction.flow.permute(0, 2, 3, 1).cpu().numpy()
                mask = prediction.mask[:, 0].cpu().numpy()
                times = itertools.chain.from_iterable(pair.timesteps for pair in part)
                found += [Details(flow[i], mask[i], [] if self._is_given(time) else
                                  [int(block[i]) for block in prediction.scales]) for i, time in enumerate(times)]
        if details is not None:
            details += found
        return downloads

    def _predict(self, pairs: list[Pair], with_details: bool) -> Prediction:
        """Frames at all the pairs' timesteps, by one call of the network for each tile."""
        first = pairs[0].first
        predictions = (self._of_tile(pairs, index, with_details) for index in range(len(first.tiles)))
        if len(first.tiles) == 1:
            prediction = next(predictions)
        else:
            prediction = assemble(first.tiles, predictions, first.working.shape[-2:], self.model, with_details)
        if not with_details:
            prediction = prediction._replace(flow=None, mask=None)
        height, width = (self.model.factor * side for side in first.inner)
        return prediction.fitted(height, width, first.size)

    def _of_tile(self, pairs: list[Pair], index: int, with_details: bool) -> Prediction:
        """What `_predict` gives, of one tile. What is there already is computed for the sake of its details only."""
        wanted = [(pair, time) for pair in pairs for time in pair.timesteps]
        given = {place: (pair.second if time else pair.first).warped[index]
                 for place, (pair, time) in enumerate(wanted) if self._is_given(time)}
        if not given:
            return self._interpolated(pairs, index)
        if not with_details:
            pairs = [pair._replace(timesteps=[time for time in pair.timesteps if not self._is_given(time)])
                     for pair in pairs]
            pairs = [pair for pair in pairs if pair.timesteps]
        prediction = self._interpolated(pairs, index) if pairs else Prediction(torch.empty(0), None, None, [])
        frames = list(prediction.frames.split(1)) if pairs else []
        for place, frame in given.items():
            frames[place:place + with_details] = [frame]  # in place of what was computed, or else between
        return prediction._replace(frames=torch.cat(frames))

    def _interpolated(self, pairs: list[Pair], index: int) -> Prediction:
        """What the network makes of a tile."""
        if len({len(pair.timesteps) for pair in pairs}) > 1:  # the network takes as many of every pair
            pairs = [Pair(first, second, [time]) for first, second, timesteps in pairs for time in timesteps]
        times = upload(torch.tensor([list(pair.timesteps) for pair in pairs], dtype=torch.float32), self.device)
        sides = [pair.first for pair in pairs], [pair.second for pair in pairs]
        frames0, frames1 = (_joined([frame.warped[index] for frame in side]) for side in sides)
        features0, features1 = (_joined([frame.features[index] for frame in side]) for side in sides)
        return self.model.interpolate(frames0, frames1, features0, features1, times, self.routing)

    def _is_given(self, timestep: float) -> bool:
        """Whether the frame there is one of the pair's own, and there already."""
        return self.model.restores and timestep in (0, 1)


def _joined(tensors: list[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _check_frame(frame: np.ndarray, upscale: float) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype not in PEAKS or 0 in frame.shape:
        raise UserError(f"a frame must be HxWx3 of uint8, uint16 or float32, not {frame.shape} of {frame.dtype}")
    if not 1 <= upscale <= 8:
        raise UserError(f"an enlargement of {upscale} is not between 1 and 8")
