"""Images and shapes that generated samples are made of."""
import concurrent.futures
import fnmatch
import functools
from pathlib import Path

import cv2
import numpy as np

from common.errors import UserError
from data.frames import read_frame
from media.image import list_images

_PROCEDURAL = 24   # how many textures there are without photos
_SIZE = 512        # their side
_HELD_OUT = 10     # every tenth photo is for validation
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789&?abdeghkmqrsty"


@functools.lru_cache(maxsize=4)
def load_photos(folders: tuple[Path, ...], split: str, val_photos: tuple[str, ...] = ()) -> list[np.ndarray]:
    """The images of `folders`, HxWx3 uint8 BGR each, decoded once: datasets of the same photos share them.

    Args:
        val_photos: photos whose file names match one of these patterns (`kodak_*`) are for split "val" alone, and
            the others for "train"; without patterns every tenth photo is for "val", the first one of few. A single one
            is for both.

    Raises:
        UserError: there is no such folder, no photo in it for the split, or one cannot be read.
    """
    files = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no such folder of photos: {folder}")
        found = list_images(folder, recursive=True)
        if not found:
            raise UserError(f"{folder} holds no images")
        files += found
    if val_photos:
        files = [file for file in files
                 if any(fnmatch.fnmatch(file.name, pattern) for pattern in val_photos) == (split == "val")]
        if not files:
            raise UserError(f"{', '.join(map(str, folders))}: no photos for {split} with --val_photos "
                            f"{' '.join(val_photos)}")
    elif len(files) > 1:
        files = [file for place, file in enumerate(files) if (place % _HELD_OUT == 0) == (split == "val")]
    with concurrent.futures.ThreadPoolExecutor() as pool:  # decoding leaves Python free
        return list(pool.map(read_frame, files))


@functools.cache
def make_textures(split: str) -> list[np.ndarray]:
    """Procedural textures, 512x512x3 uint8: coloured noise at many scales, stripes, checks, scattered shapes.

    They are the same in every call, and shared.
    """
    rng = np.random.default_rng([2024, split == "val"])
    return [_texture(rng) for _ in range(_PROCEDURAL)]


def _texture(rng: np.random.Generator) -> np.ndarray:
    image = np.zeros((_SIZE, _SIZE, 3), np.float32)
    slope = rng.uniform(0.5, 1.2)  # how fast fine detail fades: natural images have about 1
    for octave in range(1, 9):
        cells = 2 ** octave
        noise = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
        noise = 0.7 * noise.mean(2, keepdims=True) + 0.3 * noise
        image += cv2.resize(noise, (_SIZE, _SIZE), interpolation=cv2.INTER_CUBIC) * cells ** -slope
    image = 128 + 50 * image / image.std() + rng.normal(0, 25, 3)
    y, x = np.mgrid[:_SIZE, :_SIZE].astype(np.float32)
    kind = rng.integers(4)
    if kind == 1:  # stripes
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 60)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
        image += (np.clip(wave * 4, -1, 1) * rng.uniform(15, 60))[..., None]
    elif kind == 2:  # checks, like windows of a house
        wide, high = rng.uniform(8, 60, 2)
        image += ((((x / wide) % 1 < 0.6) & ((y / high) % 1 < 0.7)) * rng.uniform(-90, 90))[..., None]
    image = np.clip(image, 0, 255).astype(np.uint8)
    if kind == 3:
        for _ in range(60):
            centre = rng.integers(0, _SIZE, 2).tolist()
            axes = rng.integers(3, 40, 2).tolist()
            cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, rng.integers(0, 256, 3).tolist(),
                        -1 if rng.random() < 0.7 else 2, cv2.LINE_AA)
    return image


def print_letters(image: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """A copy of the image, HxWx3 uint8, with rows of letters on it in one colour, as on signs, shirts and vehicles.

    Args:
        pixels: of the image for each of the frame: capitals are about 6 to 40 of the frame's high, as OpenCV scales its
            font, but not higher than half of the image.
    """
    printed, (height, width) = image.copy(), image.shape[:2]
    font = int(rng.choice(_FONTS))
    tall = min(pixels * np.exp(rng.uniform(np.log(6), np.log(40))), 0.5 * height)
    thickness = max(1, round(tall * rng.uniform(0.06, 0.2)))
    scale = cv2.getFontScaleFromHeight(font, max(1, round(tall)), thickness)
    ground = image.reshape(-1, 3).mean(0)
    colour = rng.integers(0, 256, 3)
    if np.abs(colour - ground).max() < 80:  # hardly to be seen: as dark or as bright as can be instead
        colour = np.full(3, 255 if ground.mean() < 128 else 0)
    step = rng.uniform(1.9, 3) * tall
    for bottom in np.arange(rng.uniform(1, 1.5) * tall, height, step):
        text = "".join(rng.choice(list(_LETTERS + "   "), 3 + int(width / tall)))
        start = int(rng.uniform(-0.3, 0.5) * width), int(bottom)
        cv2.putText(printed, text, start, font, scale, colour.tolist(), thickness, cv2.LINE_AA)
    return printed


def draw_mask(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """The outline of a foreground layer: (height, width) uint8, 255 inside, with soft edges and a clear border."""
    mask: np.ndarray = np.zeros((height, width), np.uint8)
    size = min(height, width)
    middle = (width // 2, height // 2)
    kind = rng.integers(5)
    if kind == 0:  # blob
        cells = int(rng.integers(3, 7))
        noise = cv2.resize(rng.random((cells, cells), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        inside = np.zeros_like(mask)
        cv2.ellipse(inside, middle, (int(width * 0.44), int(height * 0.44)), 0, 0, 360, 255, -1)
        mask = np.where(noise > np.median(noise) - 0.1, inside, 0).astype(np.uint8)
    elif kind == 1:  # polygon
        corners = int(rng.integers(3, 11))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = rng.uniform(0.15, 0.45, corners)
        points = np.stack([width * (0.5 + radii * np.cos(angles)), height * (0.5 + radii * np.sin(angles))], 1)
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == 2:  # ellipse
        axes = (int(width * rng.uniform(0.15, 0.42)), int(height * rng.uniform(0.15, 0.42)))
        cv2.ellipse(mask, middle, axes, float(rng.uniform(-30, 30)), 0, 360, 255, -1, cv2.LINE_AA)
    elif kind == 3:  # letters
        lines = int(rng.integers(1, 4))
        for line in range(lines):
            text = "".join(rng.choice(list(_LETTERS), int(rng.integers(2, 7))))
            scale = size / lines / 45
            cv2.putText(mask, text, (int(width * 0.08), int(height * (0.1 + 0.75 * (line + 1) / lines))),
                        cv2.FONT_HERSHEY_DUPLEX, scale, 255, max(1, int(scale * rng.uniform(1.5, 5))), cv2.LINE_AA)
    else:  # bars: a fence, branches
        for _ in range(int(rng.integers(1, 6))):
            ends = rng.uniform(0.08, 0.92, (2, 2)) * (width, height)
            start, end = np.round(ends).astype(int).tolist()
            cv2.line(mask, start, end, 255, int(max(2, size * rng.uniform(0.01, 0.12))),
                     cv2.LINE_AA)
    softness = rng.choice([0.6, 1.0, 2.5], p=[0.5, 0.35, 0.15])  # in rendering pixels; half that in the frame
    mask = cv2.GaussianBlur(mask, (0, 0), float(softness))
    mask[[0, -1]] = 0
    mask[:, [0, -1]] = 0
    return mask
