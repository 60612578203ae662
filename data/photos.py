"""`photos`: photographs under a slowly moving camera, to learn detail from.

The three frames are cut out of one photograph at places whole pixels apart. Nothing is interpolated, so they are as
sharp as it is, and the motion between them is exact. A whole pixel is a quarter of a low-resolution one, so the two
inputs see the scene sampled at different places, and each can tell the other something new.
"""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from common.errors import UserError
from data.base import Dataset
from data.materials import load_photos
from data.motion import Motion, inside, pixel_grid, still_motion
from data.sample import Triplet

_LONGEST = 16          # pixels of motion over the window, along each axis
_STEPS = (2, 3, 5, 7)  # of the camera over the window: with 4 or 8 it would always go by whole low-resolution pixels
_REDUCE = (1.0, 2.0)   # a photograph's pixels per pixel of the frame


class Photos(Dataset):
    """A photograph seen by a camera that moves in a straight line, at most 16 pixels along each axis.

    It goes by 2, 3, 5 or 7 steps of whole pixels; timesteps are k / steps, k uniform in 1..steps-1.

    Args:
        crop: side of the frames in pixels.
        split: "train" or "val".
        photos: folders of images.
        val_photos: name patterns of photos for "val" alone, see `data.materials.load_photos`.

    Raises:
        UserError: there are no photos, or one is smaller than a frame and the camera's way.
    """

    crop: int  # never None here

    def __init__(self, crop: int, split: str = "train", photos: Sequence[Path] = (),
                 val_photos: Sequence[str] = ()) -> None:
        super().__init__(crop)
        if not photos:
            raise UserError("the dataset photos is made of your photographs: name their folders with --photos")
        self._side = crop + _LONGEST  # of what the camera can see on its way
        self._photos = load_photos(tuple(photos), split, tuple(val_photos))
        smallest = min(min(photo.shape[:2]) for photo in self._photos)
        if smallest < self._side:
            raise UserError(f"{', '.join(map(str, photos))}: a photograph has only {smallest} pixels along one side, "
                            f"and crop {crop} needs {self._side}: use a smaller --crop, or leave small ones out")

    def __len__(self) -> int:
        return len(self._photos)

    def triplet(self, index: int, rng: np.random.Generator, augment: bool, motion: bool = False) -> Triplet:
        steps = int(rng.choice(_STEPS))
        k = int(rng.integers(1, steps))
        step = rng.integers(-(_LONGEST // steps), _LONGEST // steps + 1, 2)  # of the camera, (x, y) in pixels
        scene = self._scene(self._photos[index], rng)
        way = steps * step
        start = rng.integers(np.maximum(0, -way), self._side - self.crop - np.maximum(0, way), endpoint=True)
        places = [start + taken * step for taken in (0, k, steps)]
        frames = np.stack([scene[y:y + self.crop, x:x + self.crop] for x, y in places])
        return Triplet(frames, k / steps, self._motion(places) if motion else None)

    def _scene(self, photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A square of the photograph, reduced by a factor drawn at random, half of them turned by a right angle."""
        side = min(round(self._side * rng.uniform(*_REDUCE)), *photo.shape[:2])
        top, left = (int(rng.integers(length - side, endpoint=True)) for length in photo.shape[:2])
        part = photo[top:top + side, left:left + side]
        if rng.random() < 0.5:
            part = part.transpose(1, 0, 2)
        return cv2.resize(part, (self._side, self._side), interpolation=cv2.INTER_AREA)

    def _motion(self, places: list[np.ndarray]) -> Motion:
        """The flow from each of the three places to both ends, the same for all pixels of a frame."""
        flow, confidence = still_motion(self.crop, self.crop)
        rows, columns = np.broadcast_arrays(*pixel_grid(self.crop, self.crop))
        for frame, here in enumerate(places):
            for end, there in enumerate((places[0], places[2])):
                shift = (here - there).astype(np.float32)
                flow[frame, 2 * end:2 * end + 2] = shift[:, None, None]
                confidence[frame, end] = inside(columns + shift[0], rows + shift[1])
        return Motion(flow, confidence)
