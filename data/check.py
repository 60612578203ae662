"""`dataset.py check`: every frame of a dataset read once, and what is wrong with it named."""
import concurrent.futures
import contextlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from common.errors import UserError
from data import adobe240, vimeo90k
from data.frames import CorruptFrame, FrameFolder, VideoFile, find_clips, read_frame
from data.lists import choose, read_list
from data.packed import is_packed, open_packed


def check_dataset(name: str, root: Path, list_file: Path | None = None) -> tuple[int, list[str]]:
    """Read every frame of a dataset: those its lists name (or `list_file`), or all there are.

    Returns:
        How many clips were looked at, and one line per unreadable, missing or misfit frame, with its file.

    Raises:
        UserError: there is nothing to check, or a list names clips that are not there.
    """
    if not root.is_dir():
        raise UserError(f"no such folder: {root}")
    if is_packed(root):
        return len(open_packed(root)), []  # opening compares sizes; the frames in it were read when it was packed
    clips = _clips(name, root, list_file)
    if not clips:
        raise UserError(f"{root} holds no frames of {name}")
    problems = []
    with concurrent.futures.ThreadPoolExecutor() as pool:  # decoding leaves Python free, threads are enough
        for found in tqdm(pool.map(lambda clip: list(_problems(clip)), clips), "checking", len(clips), unit=" clips"):
            problems += found
    return len(clips), problems


def _clips(name: str, root: Path, list_file: Path | None) -> list:
    module = {"adobe240": adobe240, "vimeo90k": vimeo90k}.get(name)
    if module is None:
        clips = find_clips(root)
        return choose(clips, read_list(list_file), list_file, root) if list_file else clips
    lists = [list_file] if list_file else []
    for split in module.LISTS if not list_file else ():
        with contextlib.suppress(UserError):  # the places where training looks for it
            lists.append(module.own_list(root, split))
    if not lists and module is adobe240:
        return [FrameFolder(folder, name) for name, folder in adobe240.video_folders(root).items()]
    if not lists:
        module.own_list(root, "train")  # says which list is missing and where to get it
    return [clip for listing in lists for clip in module.listed_clips(root, listing)]


def _problems(clip: FrameFolder | VideoFile | vimeo90k.Septuplet) -> Iterator[str]:
    if isinstance(clip, VideoFile):
        try:
            promised, decoded = len(clip), sum(1 for _ in clip.frames())
            if decoded != promised:
                yield f"{clip.path}: {promised} frames in the file, {decoded} can be decoded"
        except CorruptFrame as error:
            yield str(error)
        return
    if isinstance(clip, FrameFolder):
        for position, count in clip.missing:
            yield f"{clip.files[position]}: {count} frame(s) missing before it"
    size = None
    for file in clip.files:
        try:
            shape = read_frame(file).shape[:2]
        except CorruptFrame as error:
            yield str(error)
            continue
        size = size or shape
        if shape != size:
            yield f"{file}: {shape[1]}x{shape[0]} instead of {size[1]}x{size[0]}"
