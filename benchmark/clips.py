"""What a benchmark is made of: clips, found in a dataset's folders and read from them."""
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from common.errors import UserError
from common.files import natural_key
from data.packed import reduce_area
from data.windows import FrameSequence
from media.image import is_image, list_images, read_bgr
from media.resize import low_resolution

FACTOR = 4
GROUND_TRUTH = ("gt", "hr")  # what folders of true frames are called


class Video(FrameSequence, Protocol):
    """Frames by number that say where they come from."""

    def origin(self, index: int) -> Path | str:
        """The file that a frame is in; of a generated one, a digest of what it is made of."""


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video file, a packed cache or a generated scene.

    Attributes:
        video: gives frames by number.
        index: the frame's number.
        reduce: frames are reduced by this whole factor (averaging) first.
    """
    video: Video
    index: int
    reduce: int = 1

    @property
    def stem(self) -> str:
        """What the frame would be called as a file."""
        return f"{self.index:08d}"

    def __str__(self) -> str:
        return f"frame {self.index} of {self.video.name}"


Source = Path | VideoFrame


@dataclass(frozen=True)
class Target:
    """One frame to predict and score.

    Attributes:
        pair: the frame lies between the clip's inputs `pair` and `pair + 1`.
        timestep: 0 at the first of the two, 1 at the second.
        position: the frame's place in the clip, 0 for the first input.
        index: the frame's place in its video.
        name: the frame's path below the dataset's videos, without suffix: what saved images are called.
        source: the ground truth.
    """
    pair: int
    timestep: float
    position: int
    index: int
    name: str
    source: Source


@dataclass(frozen=True)
class Clip:
    """Input frames (the high-resolution ones they are made from) and the frames scored for them."""
    name: str
    video: str
    inputs: tuple[Source, ...]
    targets: tuple[Target, ...]


@dataclass
class LoadedClip:
    """A clip's pixels, uint8 BGR: low-resolution inputs, a quarter of the size a side, and each target's ground truth.
    """
    clip: Clip
    inputs: dict[Source, np.ndarray]
    ground_truth: list[np.ndarray]


def find_videos(root: Path, below: tuple[str, ...], names: list[str] | None, layout: str) -> dict[str, list[Path]]:
    """Find the videos, one folder of images each, and list their frames.

    Args:
        root: what the user gave; the videos are looked for in root / each of `below`, in this order.
        names: the videos wanted, or None for all there are.
        layout: one line that shows the user how the folder should look.

    Raises:
        UserError: there is no such folder, a video is missing or holds no images.
    """
    if not root.is_dir():
        raise UserError(f"no dataset at {root}: the folder should hold {layout}")
    places = [root / part for part in below]
    base = next((p for p in places if p.is_dir() and any((p / n).is_dir() for n in names or _folders(p))), None)
    if base is None:
        raise UserError(f"no videos in {root}: the folder should hold {layout}")
    videos = {}
    for name in names or _folders(base):
        if not (base / name).is_dir():
            raise UserError(f"the video {name} is missing in {base}: the folder should hold {layout}")
        folder = _frames_folder(base / name)
        if folder is None:
            raise UserError(f"no images in {base / name}: the folder should hold {layout}")
        videos[name] = list_images(folder)
    return videos


def _folders(base: Path) -> list[str]:
    """The videos' folders in `base`."""
    return [p.name for p in sorted(base.iterdir(), key=lambda p: natural_key(p.name))
            if p.is_dir() and not p.name.startswith(".") and _frames_folder(p)]


def _frames_folder(folder: Path) -> Path | None:
    """Where a video's true frames are: in its folder, or in a folder of that one called after them."""
    inner = [p for p in sorted(folder.iterdir()) if p.name.lower() in GROUND_TRUTH and p.is_dir()]
    return next((p for p in (folder, *inner) if any(map(is_image, p.iterdir()))), None)


def sliding_clips(video: str, frames: Sequence[Source], span: int, score_end: bool = False) -> list[Clip]:
    """Cut a video into clips whose two inputs are `span` frames apart; each starts where the last one ended.

    The scored frames are 0..span-1 of each clip (the next clip scores frame `span` as its own frame 0);
    with `score_end` the video's last clip scores its second input too.
    """
    if len(frames) <= span:
        raise UserError(f"{video} has too few frames: {len(frames)}, at least {span + 1} are needed")
    starts = range(0, len(frames) - span, span)
    clips = []
    for start in starts:
        scored = range(span + 1 if score_end and start == starts[-1] else span)
        targets = tuple(Target(0, k / span, k, start + k, f"{video}/{frames[start + k].stem}", frames[start + k])
                        for k in scored)
        clips.append(Clip(f"{video}/{frames[start].stem}", video, (frames[start], frames[start + span]), targets))
    return clips


def crop_to_multiple(image: np.ndarray) -> np.ndarray:
    """Cut right and bottom so that both sides are multiples of 4, as the field does before reducing."""
    height, width = (side - side % FACTOR for side in image.shape[:2])
    return image[:height, :width]


def load_clip(clip: Clip, lr: Path | None = None) -> LoadedClip:
    """Read a clip: ground truth cropped to multiples of 4, inputs reduced to 1/4 (or read from `lr`).

    Args:
        clip: what to read.
        lr: a folder that holds the low-resolution inputs under the same names as the dataset's videos.

    Raises:
        UserError: a frame cannot be read, or sizes within the clip differ.
    """
    wanted = [target.source for target in clip.targets] + ([] if lr else list(clip.inputs))
    images = {source: crop_to_multiple(image) for source, image in _read(wanted).items()}
    height, width = images[clip.targets[0].source].shape[:2]
    for source, image in images.items():
        if image.shape[:2] != (height, width):
            raise UserError(f"{source} is {image.shape[1]}x{image.shape[0]} (cropped to multiples of {FACTOR}), "
                            f"other frames of its clip {width}x{height}")
    if min(height, width) < 16:
        raise UserError(f"{clip.targets[0].source} is too small to score: {width}x{height}, at least 16x16 is needed")
    inputs = {source: _read_low(lr, source, clip, (height, width)) if lr else
              low_resolution(images[source], FACTOR, rounded=True) for source in clip.inputs}
    return LoadedClip(clip, inputs, [images[target.source] for target in clip.targets])


def stamp_of(clip: Clip, lr: Path | None = None) -> str:
    """Changes when what a clip is made of does: a file's size or time, a scene's textures. Arguments as `load_clip`'s.
    """
    origins = [source if isinstance(source, Path) else source.video.origin(source.index)
               for source in (*clip.inputs, *(target.source for target in clip.targets))]
    origins += [path for source in clip.inputs for path in _low_images(lr, source, clip)] if lr else []
    stamps = [origin if isinstance(origin, str) else _file_stamp(origin) for origin in dict.fromkeys(origins)]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]


def _file_stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:  # reading it will say so
        return []
    return [status.st_size, status.st_mtime_ns]


def _read(sources: Iterable[Source]) -> dict[Source, np.ndarray]:
    """Each frame once; those of one video in one go, because videos are decoded from the last key frame on."""
    images: dict[Source, np.ndarray] = {}
    numbers: dict[tuple[Video, int], set[int]] = {}
    for source in dict.fromkeys(sources):
        if isinstance(source, Path):
            images[source] = read_bgr(source)
        else:
            numbers.setdefault((source.video, source.reduce), set()).add(source.index)
    for (video, reduce), indices in numbers.items():
        ascending = sorted(indices)
        for index, image in zip(ascending, video.read(ascending), strict=True):
            images[VideoFrame(video, index, reduce)] = np.asarray(reduce_area(image, reduce))
    return images


def _low_images(lr: Path, source: Source, clip: Clip) -> list[Path]:
    folder = lr / clip.video
    return [path for path in list_images(folder) if path.stem == source.stem] if folder.is_dir() else []


def _read_low(lr: Path, source: Source, clip: Clip, size: tuple[int, int]) -> np.ndarray:
    matches = _low_images(lr, source, clip)
    if len(matches) != 1:
        raise UserError(f"{len(matches) or 'no'} low-resolution images called {source.stem} in {lr / clip.video}: --lr "
                        "should hold <video>/<frame>.<any image format> under the names of the true frames")
    low = read_bgr(matches[0])
    if (low.shape[0] * FACTOR, low.shape[1] * FACTOR) != size:
        raise UserError(f"{matches[0]} is {low.shape[1]}x{low.shape[0]}, but a quarter of the true frame is "
                        f"{size[1] // FACTOR}x{size[0] // FACTOR}")
    return low
