"""Between pictures as files hold them and frames as the network takes them: gray, alpha, linear light."""
import dataclasses

import cv2
import numpy as np

from common.errors import UserError
from media.resize import enlarge_bicubic


@dataclasses.dataclass(frozen=True)
class LogCurve:
    """Scene-linear light to [0, 1] and back: v = log(1 + (x - lowest) / KNEE) / log(1 + (peak - lowest) / KNEE).

    The network was trained on display-referred pictures, and expects values in [0, 1]. With a peak of 1
    this curve stays near the sRGB one (middle gray 0.18: 0.50 against 0.46); with brighter peaks it
    compresses the highlights more, as film does, instead of pressing everything else into black, and
    nothing is clipped. `lowest` is 0 unless the pictures have negative values (colours out of gamut).
    """

    lowest: float
    peak: float
    KNEE = 0.05

    def encode(self, linear: np.ndarray) -> np.ndarray:
        """Scene-linear values to [0, 1], float32."""
        return (np.log1p((linear - self.lowest) / self.KNEE) / self._range()).clip(0, 1).astype(np.float32)

    def decode(self, value: np.ndarray) -> np.ndarray:
        """[0, 1] to scene-linear values, float32."""
        return (np.expm1(value * self._range()) * self.KNEE + self.lowest).astype(np.float32)

    def _range(self) -> float:
        return float(np.log1p(max(self.peak - self.lowest, 1e-6) / self.KNEE))


@dataclasses.dataclass(frozen=True)
class PicturePair:
    """Two pictures of the same kind, ready for the network.

    Attributes:
        frames: two (H, W, 3) BGR arrays: uint8, uint16, or float32 in [0, 1].
        alphas: two (H, W) arrays of the pictures' own type, or None where both pictures are opaque by format.
        gray: the pictures have one channel.
        curve: for scene-linear pictures, what `frames` went through.
    """

    frames: tuple[np.ndarray, np.ndarray]
    alphas: tuple[np.ndarray, np.ndarray] | None
    gray: bool
    curve: LogCurve | None

    def picture(self, frame: np.ndarray, flow: np.ndarray | None = None, mask: np.ndarray | None = None) -> np.ndarray:
        """Turn one of the network's frames back into a picture of the pair's kind.

        Args:
            frame: (H', W', 3), the network's result for some timestep; same type as `frames`.
            flow: (H', W', 4) float32, pixels, x and y to frame 0, x and y to frame 1; needed with alpha.
            mask: (H', W') float32 in [0, 1], 1 = frame 0; needed with alpha.
        """
        if self.curve:
            frame = self.curve.decode(frame)
        if self.gray:
            mean = frame.mean(axis=2, dtype=np.float32)
            frame = mean if self.curve else np.rint(mean).astype(frame.dtype)
        if self.alphas is None:
            return frame
        return np.dstack([frame, self._alpha(flow, mask)])

    def _alpha(self, flow: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The alpha that belongs to a frame: enlarged, then moved with the flow and mask the colours moved with.

        Sent through the network instead, it would get a motion of its own, and an opaque picture
        would come back nearly opaque.
        """
        height, width = mask.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        warped = []
        for alpha, (dx, dy) in zip(self.alphas, (flow[..., :2].transpose(2, 0, 1), flow[..., 2:].transpose(2, 0, 1)),
                                   strict=True):
            enlarged = enlarge_bicubic(alpha.astype(np.float32), height, width).clip(alpha.min(), alpha.max())
            warped.append(cv2.remap(enlarged, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        blended = warped[1] + mask * (warped[0] - warped[1])
        return blended if self.curve else np.rint(blended).astype(self.alphas[0].dtype)


def prepare_pair(picture0: np.ndarray, picture1: np.ndarray, names: tuple[str, str] = ("the first", "the second"),
                 ) -> PicturePair:
    """Bring two pictures to one kind: the richer of the two in colour, alpha and depth.

    Gray beside colour becomes colour, a picture without alpha is opaque, 8 bits beside 16 become 16.

    Args:
        picture0, picture1: as `media.image.read_image` returns them.
        names: what to call them in errors.

    Raises:
        UserError: different sizes, float beside integer pixels, or NaN or infinite pixels.
    """
    pictures = [picture0, picture1]
    if picture0.shape[:2] != picture1.shape[:2]:
        sizes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in pictures]
        raise UserError(f"the pictures have different sizes: {names[0]} is {sizes[0]}, {names[1]} is {sizes[1]}; "
                        "bring them to one size first")
    linear = [picture.dtype == np.float32 for picture in pictures]
    if any(linear) and not all(linear):
        raise UserError(f"{names[linear.index(True)]} holds linear light and {names[linear.index(False)]} does not; "
                        "convert one of them first")
    for picture, name in zip(pictures, names, strict=True):
        if picture.dtype == np.float32 and not np.isfinite(picture).all():
            count = int((~np.isfinite(picture)).sum())
            raise UserError(f"cannot use {name}: {count} of its values are infinite or not a number; repair them first")
    deep = max(pictures, key=lambda picture: picture.dtype.itemsize).dtype
    pictures = [p * np.uint16(257) if deep == np.uint16 and p.dtype == np.uint8 else p for p in pictures]
    gray = all(picture.ndim == 2 for picture in pictures)
    alphas = None
    if any(picture.ndim == 3 and picture.shape[2] == 4 for picture in pictures):
        opaque = 1 if any(linear) else np.iinfo(deep).max
        alphas = tuple(p[..., 3].copy() if p.ndim == 3 and p.shape[2] == 4 else np.full(p.shape[:2], opaque, deep)
                       for p in pictures)
    colours = [np.dstack([p] * 3) if p.ndim == 2 else np.ascontiguousarray(p[..., :3]) for p in pictures]
    curve = None
    if any(linear):
        curve = LogCurve(min(0.0, *(float(p.min()) for p in colours)), max(float(p.max()) for p in colours))
        colours = [curve.encode(p) for p in colours]
    return PicturePair(tuple(colours), alphas, gray, curve)
