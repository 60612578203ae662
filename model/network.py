"""What every network of this project is to the rest of it: low-resolution frames in, enlarged frames between out."""
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import cv2
import torch
import torch.nn.functional as F
from torch import nn

from model.routing import BY_SELECTOR, Routing

UPSCALE = 4  # what the networks are trained for


class Prediction(NamedTuple):
    """What a network says of N = B*T timesteps."""

    frames: torch.Tensor         # (N, 3, H, W) float32 in [0, 1], BGR
    flow: torch.Tensor | None    # (N, 4, H, W) float32, pixels: x, y into frame 0; x, y into frame 1
    mask: torch.Tensor | None    # (N, 1, H, W) float32 in [0, 1]: the share of frame 0
    scales: list[torch.Tensor]   # for each block the (N,) scales it was processed at; 0: it was left out
    flows: list[torch.Tensor] = []  # after each block that can be supervised: (N, 4, h, w), low-resolution pixels
    effort: torch.Tensor | None = None  # where a price on work can train the selector: (N,) in [0, 1], the share taken
                                        # of the multiply-adds it may leave out, with its gradient

    def with_ends(self, given: "Prediction") -> "Prediction":
        """One prediction of this one, as many timesteps of each pair, between the pairs' own frames: all first, all
        second.

        A second frame was given as the first of the pair turned round.
        """
        def merged(between: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
            first, second = (part[:, None] for part in ends.chunk(2))
            return torch.cat((first, between.unflatten(0, (len(first), -1)), second), 1).flatten(0, 1)

        def turned(ends: torch.Tensor) -> torch.Tensor:
            first, second = ends.chunk(2)
            return torch.cat((first, second.roll(2, 1)))

        assert self.flow is not None and given.flow is not None and self.mask is not None and given.mask is not None
        first, second = given.mask.chunk(2)
        mask = torch.cat((first, 1 - second))
        effort = None if self.effort is None or given.effort is None else merged(self.effort, given.effort)
        return Prediction(merged(self.frames, given.frames), merged(self.flow, turned(given.flow)),
                          merged(self.mask, mask), [merged(*pair) for pair in zip(self.scales, given.scales)],
                          [merged(between, turned(ends)) for between, ends in zip(self.flows, given.flows)], effort)

    def fitted(self, height: int, width: int, size: tuple[int, int]) -> "Prediction":
        """Cut to the top left `height` x `width`, then resized to `size` where that differs; `flows` are only cut."""
        frames = self.frames[..., :height, :width]
        flow, mask = (None if part is None else part[..., :height, :width] for part in (self.flow, self.mask))
        if size != (height, width):
            smaller = size[0] <= height
            frames = F.interpolate(frames, size, mode="bicubic", align_corners=False, antialias=smaller).clamp(0, 1)
            if flow is not None and mask is not None:
                flow = F.interpolate(flow, size, mode="bilinear", align_corners=False)
                flow = torch.stack((flow[:, 0::2] * (size[1] / width), flow[:, 1::2] * (size[0] / height)), 2)
                flow = flow.flatten(1, 2)
                mask = F.interpolate(mask, size, mode="bilinear", align_corners=False)
        flows = [low[..., :height // UPSCALE, :width // UPSCALE] for low in self.flows]
        return self._replace(frames=frames, flow=flow, mask=mask, flows=flows)


class Network(nn.Module):
    """A network that refines "working frames": the input frames at the resolution it works at.

    A subclass gives `name`, `factor`, `settings` and the methods that are not implemented here. `Predictor`, training
    and benchmarks know nothing else of it, so a further network is one file here and one line in `model/registry.py`.

    Attributes:
        name: what weights and training states call it.
        factor: output pixels a side for each pixel of a working frame.
        multiple: the sides of working frames must be multiples of it (`padded`).
        overlap: output pixels that neighbouring tiles share.
        tile, whole_pixels: in output pixels, what "auto" means on a CPU: the side of tiles, and up to how many pixels
            a frame is worked on whole.
        batch_pixels: of the timesteps' frames, how many output pixels a CPU works on at once.
        bytes_per_pixel: of memory for each output pixel of each timestep, in half precision, at most: what "auto"
            goes by on a GPU.
        parts: the modules beside the flow estimation's blocks that do its work: those are what is compiled.
        restores: a pair's own frames are there, enlarged, before anything between them is (`restore`).
        settings: the constructor's arguments, whole numbers, which weights keep beside them.
        blocks: how many blocks `Routing` speaks of.
    """

    name: ClassVar[str]
    factor: ClassVar[int]
    multiple: ClassVar[int]
    overlap: ClassVar[int]
    tile: ClassVar[int]
    whole_pixels: ClassVar[int]
    batch_pixels: ClassVar[int]
    bytes_per_pixel: ClassVar[int]
    parts: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    restores: ClassVar[bool] = False
    settings: dict[str, int]
    blocks: int

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def working_frames(self, frames: torch.Tensor, size: tuple[int, int], peak: int | None = None) -> torch.Tensor:
        """The frames as the network works on them, before padding.

        Args:
            frames: (N, 3, h, w) float32 in [0, 1], BGR, low resolution.
            size: (H, W) of the enlarged frames.
            peak: the frames come from whole numbers up to this one (255, 65535).
        """
        raise NotImplementedError

    def encode(self, working: torch.Tensor) -> torch.Tensor:
        """Features of (N, 3, ...) working frames, (N, C, ...); once for all pairs they take part in."""
        raise NotImplementedError

    def restore(self, working: torch.Tensor, encoded: torch.Tensor, other_working: torch.Tensor,
                other_encoded: torch.Tensor, routing: Routing = BY_SELECTOR) -> Prediction:
        """What is warped to any time, of frames that a neighbour of each adds to; once for all pairs they take part in.

        Args:
            working, encoded: N padded working frames and what `encode` gives of them.
            other_working, other_encoded: the same of another frame of the video for each.

        Returns:
            Prediction for timestep 0 of the N pairs (frame, other); of a network without `restores` the working frames
            as they are.
        """
        return Prediction(working, None, None, [])

    def interpolate(self, frames0: torch.Tensor, frames1: torch.Tensor, features0: torch.Tensor,
                    features1: torch.Tensor, timesteps: torch.Tensor, routing: Routing = BY_SELECTOR) -> Prediction:
        """Frames at `factor` times the working size, from frames whose features are at hand.

        Args:
            frames0, frames1: (B, 3, H, W) what `restore` gives.
            features0, features1: what `encode` gives.
            timesteps: (B, T) in [0, 1]; 0 is frame 0, 1 is frame 1.

        Returns:
            Prediction for B*T timesteps, those of the first pair first.
        """
        raise NotImplementedError

    def forward(self, frame0: torch.Tensor, frame1: torch.Tensor, timesteps: torch.Tensor,
                routing: Routing = BY_SELECTOR, size: tuple[int, int] | None = None, ends: bool = False) -> Prediction:
        """Enlarged frames at any number of timesteps between two low-resolution frames.

        Args:
            frame0, frame1: (B, 3, h, w) float in [0, 1], BGR.
            timesteps: (B, T) in [0, 1]; 0 is frame 0, 1 is frame 1.
            routing: of as many samples as come out, where it speaks of each.
            size: (H, W) of the result; None: four times the input's.
            ends: the frames themselves as well, before and after those between: a pair has T + 2 then.
        """
        size = size or (UPSCALE * frame0.shape[2], UPSCALE * frame0.shape[3])
        whole = self.working_frames(torch.cat((frame0, frame1)), size)
        return self.fitted(self.predict(self.padded(whole), timesteps, routing, ends), whole, size)

    def predict(self, working: torch.Tensor, timesteps: torch.Tensor, routing: Routing = BY_SELECTOR,
                ends: bool = False) -> Prediction:
        """The same from padded working frames, (2B, 3, h, w): the first ones, then the second ones."""
        encoded, pairs = self.encode(working), len(timesteps)
        of_given, of_between = routing.split(pairs) if ends else (routing.shared(), routing)
        given = self.restore(working, encoded, working.roll(pairs, 0), encoded.roll(pairs, 0), of_given)
        if ends and not self.restores:
            timesteps, of_between = F.pad(F.pad(timesteps, (1, 0)), (0, 1), value=1), routing
        (frames0, frames1), (features0, features1) = given.frames.chunk(2), encoded.chunk(2)
        between = self.interpolate(frames0, frames1, features0, features1, timesteps, of_between)
        return between.with_ends(given) if ends and self.restores else between

    def padded(self, working: torch.Tensor) -> torch.Tensor:
        """The last row and column repeated until both sides are multiples of what the network needs."""
        height, width = working.shape[-2:]
        return F.pad(working, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")

    def fitted(self, prediction: Prediction, working: torch.Tensor, size: tuple[int, int]) -> Prediction:
        """A prediction for padded frames, brought to `size`; `working`: the frames before padding."""
        height, width = (self.factor * side for side in working.shape[-2:])
        return prediction.fitted(height, width, size)

    def scales_at(self, scale: int) -> list[int]:
        """The scale of each block, as `Prediction.scales` has it, where `Routing` gives `scale` to all of them."""
        raise NotImplementedError

    def multiply_adds(self, height: int, width: int, scales: list[list[int]],
                      restoring: Sequence[int] = ()) -> "Cost":
        """Multiply-adds of the convolutions for output frames of height x width, counted from the layers.

        Args:
            scales: for each timestep, the processing scale of each block, 0 where it is left out; no blocks where the
                frame is one of the pair's own and there already (`restores`).
            restoring: the same of a frame's restoring; none: all blocks.
        """
        raise NotImplementedError


class Cost(NamedTuple):
    """Multiply-adds: `frame` to encode and restore an input frame, `pair` of what a pair's timesteps share, `timesteps`
    of each."""

    frame: float
    pair: float
    timesteps: list[float]


def upsample(frames: torch.Tensor, size: Sequence[int], peak: int | None = None) -> torch.Tensor:
    """Bicubic enlargement as OpenCV's (a = -0.75, half-pixel centres), of (N, 3, h, w) in [0, 1], in float32.

    With `peak` the result is clipped and rounded to whole numbers of 0..peak, as OpenCV does with frames of such
    numbers: the release enlarges 8-bit frames so.
    """
    if tuple(frames.shape[-2:]) == tuple(size):
        return frames
    if torch.onnx.is_in_onnx_export():
        return upsample_by_convolution(frames.float(), UPSCALE)
    if frames.device.type == "cpu" and not frames.requires_grad and not torch.compiler.is_compiling():
        enlarged = _upsample_by_opencv(frames, size)
    else:
        enlarged = F.interpolate(frames.float(), size, mode="bicubic", align_corners=False)
    return enlarged if peak is None else enlarged.mul_(peak).round_().clamp_(0, peak).div_(peak)


def _upsample_by_opencv(frames: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The same numbers up to their rounding, in a tenth of the time."""
    images = frames.float().permute(0, 2, 3, 1).contiguous()
    enlarged = images.new_empty(len(images), *size, images.shape[3])
    for image, result in zip(images.numpy(), enlarged.numpy()):
        cv2.resize(image, (size[1], size[0]), result, interpolation=cv2.INTER_CUBIC)
    return enlarged.permute(0, 3, 1, 2)


def upsample_by_convolution(frames: torch.Tensor, factor: int) -> torch.Tensor:
    """`upsample` of (N, C, h, w) by a whole factor without a bicubic operator, which TensorRT, for one, does not have.

    Each of the factor x factor positions within an input pixel has a fixed 5x5 kernel.
    """
    number, channels, height, width = frames.shape
    offsets = (torch.arange(factor) + 0.5) / factor - 0.5
    kernels = _cubic(torch.arange(-2, 3) - offsets[:, None]).to(frames)
    kernels = (kernels[:, None, :, None] * kernels[None, :, None]).reshape(factor**2, 1, 5, 5)
    planes = F.pad(frames.reshape(-1, 1, height, width), (2, 2, 2, 2), mode="replicate")
    enlarged = F.pixel_shuffle(F.conv2d(planes, kernels), factor)
    return enlarged.reshape(number, channels, factor * height, factor * width)


def _cubic(x: torch.Tensor, a: float = -0.75) -> torch.Tensor:
    """Keys' cubic convolution kernel."""
    x = x.abs()
    near, far = ((a + 2) * x - (a + 3)) * x**2 + 1, ((x - 5) * x + 8) * x * a - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
