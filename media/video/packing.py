"""From frames to the planes an encoder takes, by torch: on a GPU before they are downloaded, else on the CPU."""
from collections.abc import Sequence

import av
import numpy as np
import torch
import torch.nn.functional as F
from av.video.reformatter import ColorRange

from media.video.colour import BEST, Colour, depth_of, repacked, shades, yuv_matrix

_SEMI_PLANAR = "nv12", "p010le"  # both chroma planes in one, sample by sample


class Packing:
    """Frames as an encoder takes them: in a pixel format, by a colour description.

    The codes are the same on every device, because every sum is exact: coefficients are rounded to the digits for
    which the type has room, 2^-16 for frames of 8 bits in float32 and 2^-37 or finer for others in float64, and only
    whole codes are rounded, halves up. Chroma is reduced by 1-2-1 over the columns and by the mean of each two rows:
    it sits on every other column and between two rows, as in MPEG-2 and H.264.

    Args:
        pix_fmt: any RGB, gray or YUV format.
        width, height: of the encoder's frames. Smaller ones get their last column and row repeated.
    """

    def __init__(self, pix_fmt: str, colour: Colour, width: int, height: int):
        self.pix_fmt, self.colour, self.width, self.height = pix_fmt, colour, width, height
        format_ = av.VideoFormat(pix_fmt, width, height)
        self.depth, self._rgb = depth_of(format_), format_.is_rgb
        self._deep = self.depth > 8
        self._cell = 1, 1  # rows and columns to a chroma sample
        suffix = f"{self.depth}le" if self._deep else ""
        if self._rgb:
            self._made = "bgr48le" if suffix else "bgr24"  # what is made here; libav has other packings of it
        elif shades(format_):
            self._made = "gray" + suffix
        else:
            across, down = format_.chroma_width(2), format_.chroma_height(2)
            name = {(1, 1): "yuv420p", (1, 2): "yuv422p"}.get((across, down), "yuv444p")
            self._cell = {"yuv420p": (2, 2), "yuv422p": (1, 2)}.get(name, (1, 1))
            self._made = pix_fmt if pix_fmt in _SEMI_PLANAR else name + suffix

    def planes(self, frames: torch.Tensor, peak: int) -> list[torch.Tensor]:
        """
        Args:
            frames: (N, 3, rows, W) BGR, whole numbers of 0..`peak` in float32, on any device. An even number of rows,
                but for a frame's last ones.
            peak: 255 or 65535.

        Returns:
            (N, rows, samples in a row) for each plane of the format: uint8; or, of more than 8 bits, uint16 whose bits
            are in an int16, because few devices have the other.
        """
        if peak > 255 and not self._deep:
            frames, peak = ((frames + 128) / 257).floor_(), 255
        if self._rgb:
            frames = frames * 257 if self._deep and peak == 255 else frames
            return [self._stored(frames.permute(0, 2, 3, 1)).flatten(2)]
        luma, *chroma = self._codes(frames, peak)
        chroma = [_reduce_chroma(plane, *self._cell) for plane in chroma]
        if self._made in _SEMI_PLANAR:
            chroma = [torch.stack(chroma, -1).flatten(2)]
        return [self._stored(plane) for plane in (luma, *chroma)]

    def frame(self, planes: Sequence[np.ndarray]) -> av.VideoFrame:
        """One frame, from its planes as `planes` makes them, but for the dimension N; uint8 or uint16."""
        frame = av.VideoFrame(self.width, self.height, self._made)
        for target, plane in zip(frame.planes, planes):
            rows = np.frombuffer(memoryview(target), plane.dtype).reshape(target.height, -1)
            height, width = plane.shape
            rows[:height, :width], rows[:height, width:] = plane, plane[:, -1:]
            rows[height:] = rows[height - 1]
        if self._rgb:
            return frame.reformat(format=self.pix_fmt, interpolation=BEST)
        frame = repacked(frame, self.pix_fmt, self.colour)
        frame.color_range = ColorRange.JPEG if self.colour.full else ColorRange.MPEG
        frame.colorspace, frame.color_primaries = self.colour.matrix, self.colour.primaries
        frame.color_trc = self.colour.transfer
        return frame

    def image(self, image: np.ndarray) -> av.VideoFrame:
        """One frame, from (H, W, 3) BGR, uint8 or full-range uint16."""
        peak = np.iinfo(image.dtype).max
        pixels = torch.from_numpy(np.ascontiguousarray(image, np.uint8 if peak == 255 else np.float32))
        planes = self.planes(pixels.permute(2, 0, 1)[None].float(), peak)
        return self.frame([plane[0].numpy().view(np.uint16 if self._deep else np.uint8) for plane in planes])

    def _codes(self, frames: torch.Tensor, peak: int) -> list[torch.Tensor]:
        """Y, or Y, Cb and Cr, of (N, 3, H, W): (N, H, W) float32 each, whole numbers."""
        exact, digits = (torch.float32, 24) if peak == 255 and not self._deep else (torch.float64, 53)
        if exact == torch.float64 and frames.device.type == "mps":
            frames = frames.cpu()
        unit, top = 2.0 ** (digits - self.depth), (1 << self.depth) - 1
        matrix, offset = yuv_matrix(self.colour, self.depth, peak)
        blue, green, red = frames.to(exact).unbind(1)
        codes = []
        for (of_blue, of_green, of_red), start in zip((np.rint(matrix * unit) / unit).tolist(), offset.tolist()):
            code = (blue * of_blue).add_(green, alpha=of_green).add_(red, alpha=of_red)
            codes.append(code.add_(start + 0.5).floor_().clamp_(0, top).float())
            if self._made.startswith("gray"):
                break
        return codes

    def _stored(self, codes: torch.Tensor) -> torch.Tensor:
        if not self._deep:
            return codes.to(torch.uint8)
        if self._made in _SEMI_PLANAR:
            codes = codes * (1 << 16 - self.depth)  # in the upper bits
        return codes.to(torch.int32).to(torch.int16)


def _reduce_chroma(plane: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The opposite of `media.video.colour`'s enlargement, of (N, H, W); the ends are repeated."""
    if columns == 1 == rows:
        return plane
    if plane.shape[1] % rows or plane.shape[2] % columns:
        plane = F.pad(plane, (0, plane.shape[2] % columns, 0, plane.shape[1] % rows), mode="replicate")
    plane = plane[:, 0::2] + plane[:, 1::2] if rows == 2 else 2 * plane
    even, odd = plane[..., 0::2], plane[..., 1::2]
    left = torch.cat((even[..., :1], odd[..., :-1]), -1)
    return left.add_(even, alpha=2).add_(odd).add_(4).div_(8).floor_()
