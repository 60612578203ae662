"""Video frames to BGR arrays, by the colour matrix and range the video is tagged with; `media.video.packing` goes back.

libav only unpacks and packs pixel formats here. The matrices and the chroma resampling are written out: its
own conversion is wrong by up to three code values at 10 bits, and shifts the chroma by half a pixel.
"""
import dataclasses

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from common.errors import UserError

RGB, BT709, UNSPECIFIED = 0, 1, 2
# Kr and Kb by ITU-T H.273 matrix coefficients: luma = Kr R + (1 - Kr - Kb) G + Kb B.
_LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
         9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
# SWS_BICUBIC, ACCURATE_RND, BITEXACT, FULL_CHR_H_INT and FULL_CHR_H_INP of libswscale: PyAV names them from 18 on.
BEST = 0x4 | 0x40000 | 0x80000 | 0x2000 | 0x4000


@dataclasses.dataclass(frozen=True)
class Colour:
    """How the numbers of a video mean colours; the numbers are those of ITU-T H.273, which libav uses too."""

    matrix: int  # matrix coefficients: 1 BT.709, 5 and 6 BT.601, 9 BT.2020
    full: bool  # full range (0..255) or limited (16..235, chroma 16..240)
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED


def colour_of(frame: av.VideoFrame, context: av.VideoCodecContext) -> Colour:
    """The colour description of a decoded frame, with what players assume where the tags are missing.

    Untagged YUV is BT.709 from 720 lines (or more than 1024 columns) on, else BT.601; untagged range is limited. RGB
    and gray videos get what they will be written as: BT.709.

    Raises:
        UserError: a matrix this project cannot compute with (ICtCp, YCgCo ...).
    """
    def tag(name: str) -> int:
        value = getattr(frame, name)
        return value if value not in (0, UNSPECIFIED) else getattr(context, name)

    primaries, transfer = (value if value else UNSPECIFIED for value in (tag("color_primaries"), tag("color_trc")))
    format_ = frame.format
    if format_.is_rgb or format_.has_palette or shades(format_) and tag("color_range") == 0:
        return Colour(BT709, format_.name.startswith("gray"), primaries, transfer)
    matrix = tag("colorspace")
    if matrix in (0, UNSPECIFIED, 3):
        matrix = BT709 if frame.height >= 720 or frame.width > 1024 else 6
    if matrix not in _LUMA:
        raise UserError(f"colour matrix {matrix} (ITU-T H.273) cannot be used: convert the video to BT.709 first")
    full = tag("color_range") == ColorRange.JPEG or format_.name.startswith("yuvj")
    return Colour(matrix, full, primaries, transfer)


def depth_of(format_: av.VideoFormat) -> int:
    """Bits in which the format is worked with: those of its deepest component that is not alpha, and at least 8."""
    return max([8, *(part.bits for part in format_.components if not part.is_alpha)])


def has_alpha(format_: av.VideoFormat) -> bool:
    return any(part.is_alpha for part in format_.components)


def samples(frame: av.VideoFrame) -> list[np.ndarray]:
    """The frame's planes as stored: (h, w) views of uint8 or uint16; of packed formats rows with their padding."""
    deep = depth_of(frame.format) > 8
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)  # type: ignore[call-overload]
        planes.append(rows[:, :plane.width] if len(frame.planes) > 2 or len(frame.format.components) == 1 else rows)
    return planes


def to_bgr(frame: av.VideoFrame, colour: Colour) -> np.ndarray:
    """Decode a frame to (H, W, 3) BGR: uint8 of videos of 8 bits, full-range uint16 of deeper ones. Alpha goes."""
    format_ = frame.format
    depth = depth_of(format_)
    peak = 255 if depth == 8 else 65535
    if format_.is_rgb or format_.has_palette:
        return frame.reformat(format="bgr24" if depth <= 8 else "bgr48le", interpolation=BEST).to_ndarray()
    height, width = frame.height, frame.width
    if shades(format_):
        gray = f"gray{depth}le" if depth > 8 else "gray"
        planes = samples(repacked(frame, gray, colour))
        planes += [np.full((height, width), 1 << depth - 1, planes[0].dtype)] * 2
    else:
        shape = (format_.chroma_width(2), format_.chroma_height(2))
        name = {(1, 1): "yuv420p", (1, 2): "yuv422p"}.get(shape, "yuv444p")
        planes = samples(repacked(frame, name + (f"{depth}le" if depth > 8 else ""), colour))
        planes[1:] = [_enlarge_chroma(plane, height, width) for plane in planes[1:]]
    to_yuv, offset = yuv_matrix(colour, depth, peak)
    inverse = np.linalg.inv(to_yuv)
    return _transform(cv2.merge(planes), inverse, -inverse @ offset, peak)


def shades(format_: av.VideoFormat) -> bool:
    """Whether it has no colours: luma only."""
    return sum(not part.is_alpha for part in format_.components) == 1


def yuv_matrix(colour: Colour, depth: int, peak: int) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) matrix and (3,) offset that take (B, G, R) in 0..peak to (Y, Cb, Cr) codes of `depth` bits (H.273)."""
    red, blue = _LUMA[colour.matrix]
    luma = np.array([blue, 1 - red - blue, red])
    cb = (np.array([1, 0, 0]) - luma) / (2 * (1 - blue))
    cr = (np.array([0, 0, 1]) - luma) / (2 * (1 - red))
    unit = 1 << depth - 8
    luma_span, chroma_span = ((1 << depth) - 1,) * 2 if colour.full else (219 * unit, 224 * unit)
    matrix = np.stack([luma * luma_span, cb * chroma_span, cr * chroma_span]) / peak
    return matrix, np.array([0 if colour.full else 16 * unit, 128 * unit, 128 * unit], float)


def _transform(image: np.ndarray, matrix: np.ndarray, offset: np.ndarray, top: int) -> np.ndarray:
    """matrix @ pixel + offset, rounded and clipped to 0..top: uint8 where top fits it, else uint16."""
    # As uint16, because OpenCV rounds the matrix itself to some bits for uint8: codes would be off by one.
    result = np.minimum(cv2.transform(image.astype(np.uint16, copy=False), np.hstack([matrix, offset[:, None]])), top)
    return result.astype(np.uint8) if top <= 255 else result


def repacked(frame: av.VideoFrame, pix_fmt: str, colour: Colour) -> av.VideoFrame:
    """Another packing of the same numbers: neither matrix nor range change."""
    if frame.format.name.replace("yuvj", "yuv") == pix_fmt:
        return frame
    level = ColorRange.JPEG if colour.full else ColorRange.MPEG
    return frame.reformat(format=pix_fmt, src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU709,
                          src_color_range=level, dst_color_range=level, interpolation=BEST)


def _enlarge_chroma(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Chroma to (height, width). It sits on every other column and between two rows, as in MPEG-2 and H.264."""
    if plane.shape[0] != height:
        plane = cv2.resize(plane, (plane.shape[1], 2 * plane.shape[0]), interpolation=cv2.INTER_LINEAR)[:height]
    if plane.shape[1] != width:
        wide = np.repeat(plane, 2, axis=1)
        left, right = plane[:, :-1], plane[:, 1:]
        wide[:, 1:-1:2] = (left.astype(np.uint32) + right + 1) >> 1
        plane = wide[:, :width]
    return np.ascontiguousarray(plane)
