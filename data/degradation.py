"""The enhancement variant's training data: sharper targets, and inputs as bad as real videos are.

The recipe is that of real-world super-resolution (Wang et al., Real-ESRGAN, 2021), kept mild: targets get an
unsharp mask; the low-resolution inputs, made from the frames as they were, get in this order

    resize   to a random size and back, each way by area, bilinear or bicubic
    blur     an elongated Gaussian
    noise    Gaussian, coloured or gray
    JPEG     at quality 60 to 90
    blend    back toward the clean input

each with its probability. One draw of all parameters holds for both input frames, since a camera and a codec
do to a frame what they did to the one before; only the noise pattern is new in each frame.
"""
from dataclasses import dataclass

import cv2
import numpy as np

from common.errors import UserError
from media.resize import low_resolution

KINDS = ("none", "real")

_RESIZING = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
_BLUR_RADIUS = 3


@dataclass(frozen=True)
class Draw:
    """What happens to the input frames of one sample; None: this step is left out.

    Attributes:
        scale: size of the intermediate image, relative.
        interpolation: OpenCV's code for going there and for coming back.
        blur: standard deviations along and across (input pixels), and the angle (radians).
        noise: standard deviation, in parts of the full range.
        gray_noise: the same noise in all three channels.
        quality: of the JPEG.
        clean: share of the clean input in the result.
    """

    scale: float | None = None
    interpolation: tuple[int, int] = (cv2.INTER_AREA, cv2.INTER_CUBIC)
    blur: tuple[float, float, float] | None = None
    noise: float | None = None
    gray_noise: bool = False
    quality: int | None = None
    clean: float | None = None


@dataclass(frozen=True)
class Degradation:
    """Turns the three frames of a sample into sharpened targets and degraded low-resolution inputs.

    Used as `TrainingStream(dataset, seed, Degradation())`. All randomness comes from the generator given
    to each call, so the stream's seed decides it.

    Attributes:
        sharpen: probability that the targets get the unsharp mask; 1: the network always learns to sharpen.
        resize, blur, noise, jpeg, blend: probability of each step.
        gray: share of the noise that is gray.
        scales, blurs, sigmas, qualities, shares: ranges the parameters are drawn from, evenly.
    """

    sharpen: float = 1.0
    resize: float = 0.5
    blur: float = 0.5
    noise: float = 0.5
    jpeg: float = 0.7
    blend: float = 0.5
    gray: float = 0.4
    scales: tuple[float, float] = (0.5, 1.2)
    blurs: tuple[float, float] = (0.2, 1.2)
    sigmas: tuple[float, float] = (1 / 255, 12 / 255)
    qualities: tuple[int, int] = (60, 90)
    shares: tuple[float, float] = (0.1, 0.7)

    def __call__(self, frames: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Degrade one sample.

        Args:
            frames: (3, H, W, 3) uint8, at times 0, timestep, 1.

        Returns:
            targets (3, H, W, 3) uint8, and low-resolution inputs (2, H/4, W/4, 3) float32 around [0, 1].
        """
        targets = unsharp_mask(frames) if rng.random() < self.sharpen else frames
        return targets, degrade(low_resolution(frames[::2]), self.draw(rng), rng)

    def draw(self, rng: np.random.Generator) -> Draw:
        """The parameters for one sample."""
        # Everything is drawn, used or not, so that one probability does not shift the draws behind it.
        resize, blur, noise, jpeg, blend, gray = rng.random(6)
        scale = float(rng.uniform(*self.scales))
        there, back = (_RESIZING[i] for i in rng.integers(len(_RESIZING), size=2))
        along, across = rng.uniform(*self.blurs, 2).tolist()
        angle = float(rng.uniform(0, np.pi))
        sigma = float(rng.uniform(*self.sigmas))
        quality = int(rng.integers(self.qualities[0], self.qualities[1] + 1))
        share = float(rng.uniform(*self.shares))
        return Draw(scale if resize < self.resize else None, (there, back),
                    (along, across, angle) if blur < self.blur else None,
                    sigma if noise < self.noise else None, bool(gray < self.gray),
                    quality if jpeg < self.jpeg else None, share if blend < self.blend else None)


def make_degradation(kind: str) -> Degradation | None:
    """The degradation that `--degradation` names: None for "none". Raises UserError for unknown names."""
    if kind not in KINDS:
        raise UserError(f"no degradation is called {kind!r}: use one of {', '.join(KINDS)}")
    return Degradation() if kind == "real" else None


def unsharp_mask(frames: np.ndarray, amount: float = 0.5, sigma: float = 2.0, threshold: float = 6.0) -> np.ndarray:
    """Sharpen frames, but not their noise.

    Args:
        frames: (N, H, W, 3) uint8.
        amount: how much of the difference from the blurred frame is added.
        sigma: of the blur, pixels.
        threshold: grey levels; smaller differences are taken for noise. The transition is smooth.
    """
    sharpened = np.empty_like(frames)
    for frame, result in zip(frames, sharpened):
        detail = frame - cv2.GaussianBlur(frame.astype(np.float32), (0, 0), sigma)
        strong = (np.abs(detail).max(2) > threshold).astype(np.float32)
        mask = cv2.GaussianBlur(strong, (0, 0), sigma)[..., None]
        result[...] = np.clip(np.rint(frame + amount * mask * detail), 0, 255)
    return sharpened


def degrade(frames: np.ndarray, draw: Draw, rng: np.random.Generator) -> np.ndarray:
    """Apply one draw to low-resolution frames, (N, H, W, 3) float32 around [0, 1]; the result is like the input.

    `rng` is used for the noise patterns only.
    """
    return np.stack([_degrade_frame(frame, draw, rng) for frame in frames])


def _degrade_frame(clean: np.ndarray, draw: Draw, rng: np.random.Generator) -> np.ndarray:
    frame = clean
    height, width = frame.shape[:2]
    if draw.scale is not None:
        size = max(1, round(width * draw.scale)), max(1, round(height * draw.scale))
        there, back = draw.interpolation
        frame = cv2.resize(cv2.resize(frame, size, interpolation=there), (width, height), interpolation=back)
    if draw.blur is not None:
        frame = cv2.filter2D(frame, -1, gaussian_kernel(*draw.blur), borderType=cv2.BORDER_REFLECT_101)
    if draw.noise is not None:
        pattern = rng.normal(0, draw.noise, (height, width, 1 if draw.gray_noise else 3))
        frame = frame + pattern.astype(np.float32)
    if draw.quality is not None:
        frame = jpeg(frame, draw.quality)
    if draw.clean is not None:
        frame = draw.clean * clean + (1 - draw.clean) * frame
    return frame.astype(np.float32, copy=False)


def gaussian_kernel(along: float, across: float, angle: float) -> np.ndarray:
    """(7, 7) float32 Gaussian that sums to one; `along` and `across` are standard deviations in pixels,
    `angle` (radians) turns the first from the x axis toward y."""
    y, x = np.mgrid[-_BLUR_RADIUS:_BLUR_RADIUS + 1, -_BLUR_RADIUS:_BLUR_RADIUS + 1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))
    return (kernel / kernel.sum()).astype(np.float32)


def jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """What JPEG leaves of one (H, W, 3) float32 frame in [0, 1]; it is clipped and rounded to 8 bits for it."""
    eight_bits = np.clip(np.rint(frame * 255), 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", eight_bits, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # OpenCV has just written it
    return decoded.astype(np.float32) / 255
