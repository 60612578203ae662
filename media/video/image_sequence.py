"""A folder of numbered images as a video."""
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from common.errors import UserError
from common.files import gaps_in_numbers
from media.image import list_images, load_image, read_image
from media.video import colour
from media.video.decode import FrameFormat, Stamp


class ImageSequence:
    """The images of a folder in natural order; the same attributes and methods as `media.video.decode.VideoSource`.

    Raises:
        UserError: no images there, or an image that cannot be used.
    """

    def __init__(self, folder: str | Path, fps: Fraction):
        self.path = Path(folder)
        self.notes: list[str] = []
        if not self.path.is_dir():
            raise UserError(f"{folder} is not a folder of images")
        self.files = list_images(self.path)
        if not self.files:
            raise UserError(f"there are no images in {folder}")
        self.time_base = 1 / fps
        self.rate, self.declared = fps, None
        loaded = load_image(self.files[0])
        first = loaded.pixels
        self.dtype, self.shape = first.dtype, first.shape[:2]
        if first.dtype == np.float32:
            raise UserError(f"{self.files[0]} holds floats: videos are made of images of 8 or 16 bits")
        if first.ndim == 3 and first.shape[2] == 4:
            self.notes.append("the alpha channel is dropped")
        if loaded.colour:
            self.notes.append("the images' colour profile is dropped: a video's colours are those of BT.709")
        self.notes += _odd_names([file.name for file in self.files])
        self.format = FrameFormat(first.shape[1], first.shape[0], 8 * first.dtype.itemsize,
                                  colour.Colour(colour.BT709, False, colour.BT709, colour.BT709))

    def identity(self) -> list:
        return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in self.files]

    def scan(self, since: int | None = None, until: int | None = None) -> Iterator[tuple[Stamp, list[np.ndarray]]]:
        for index in range(max(0, since or 0), len(self.files) if until is None else min(len(self.files), until)):
            yield Stamp(index, 1), [self._image(index)]

    def read(self, first: int, last: int, stamps: list[int] | None) -> Iterator[tuple[int, np.ndarray]]:
        for number in range(first, last + 1):
            yield number, self._image(number if stamps is None else stamps[number])

    def _image(self, index: int) -> np.ndarray:
        file = self.files[index]
        image = read_image(file)
        if image.shape[:2] != self.shape or image.dtype != self.dtype:
            raise UserError(f"{file} is {image.shape[1]}x{image.shape[0]} {image.dtype}, unlike {self.files[0]} "
                            f"({self.shape[1]}x{self.shape[0]} {self.dtype})")
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image[..., :3]


def _odd_names(names: list[str]) -> list[str]:
    """Notes on what may be a mistake: frames missing in the numbering, or the same frame there twice."""
    notes = []
    stems = [Path(name).stem for name in names]
    twice = [(one, other) for one, other, a, b in zip(names, names[1:], stems, stems[1:]) if a == b]
    if twice:
        more = f" (and {len(twice) - 1} more such pairs)" if len(twice) > 1 else ""
        notes.append(f"{twice[0][0]} and {twice[0][1]} differ only in their suffix{more}: each is taken as a frame")
    gaps = gaps_in_numbers(stems)
    if gaps:
        missing = ", ".join(f"{count} before {names[position]}" for position, count in gaps[:3])
        more = f", and in {len(gaps) - 3} more places" if len(gaps) > 3 else ""
        notes.append(f"numbers are missing between the images ({missing}{more}): what is there is taken as consecutive")
    return notes
