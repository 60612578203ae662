"""Several videos in one call: which ones, under which names, and one after another whatever happens to some of them.

What is finished is written down in `.safa_finished.json` beside the results, so that the same command makes only what
is missing, or has changed since.
"""
import contextlib
import json
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import atomic_path, natural_key
from media.image import list_images
from media.video.codecs import fits
from media.video.decode import VIDEO_SUFFIXES
from media.video.job import OUTPUT_SUFFIXES, VideoJob

_RECORD = ".safa_finished.json"
_ADDED = "_safa"  # to a source's name, for its result


def find_videos(named: Sequence[Path]) -> list[Path]:
    """The videos meant by files and folders: of a folder, its videos in natural order, without hidden files and
    results of earlier runs.

    Raises:
        UserError: a folder holds no videos.
    """
    found: list[Path] = []
    for path in named:
        if not path.is_dir():
            found.append(path)
            continue
        videos = [file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()
                  and not file.name.startswith(".") and not file.stem.endswith(_ADDED)]
        if not videos and list_images(path):
            raise UserError(f"{path} holds images and no videos: give it as --img if they are the frames of one")
        if not videos:
            raise UserError(f"there are no videos in {path}: files ending in {', '.join(VIDEO_SUFFIXES)} are taken")
        found += sorted(videos, key=lambda file: natural_key(file.name))
    return list(dict.fromkeys(found))


def choose_outputs(sources: Sequence[Path], folder: Path | None, png: bool, codec: str | None) -> list[Path]:
    """Where the result of each source goes: to NAME_safa in `folder`, or beside the source.

    Its suffix is the source's, if that is a container for results which holds the codec, else .mkv (.mp4 for a folder
    of images); with `png` there is none. Sources whose results would have the same name keep their suffix in it.

    Raises:
        UserError: there is no such codec here.
    """
    def output(source: Path, name: str) -> Path:
        suffix = ".mp4" if source.is_dir() else source.suffix.lower()
        if suffix not in OUTPUT_SUFFIXES or codec is not None and not png and not fits(codec, suffix):
            suffix = ".mkv"
        return (folder or source.parent) / f"{name}{_ADDED}{'' if png else suffix}"

    # A link gives the result its own name and place; `.` and `..` have a name only in full.
    sources = [source.resolve() if source.name in ("", "..") else source.absolute() for source in sources]
    short = [output(source, source.stem) for source in sources]
    count = Counter(short)
    return [output(source, source.name) if count[path] > 1 else path for source, path in zip(sources, short)]


def make_videos(sources: Sequence[Path], outputs: Sequence[Path], new_job: Callable[[Path, Path], VideoJob],
                predictor: Any, identity: dict | None = None, rank: int = 0, world: int = 1,
                agree: Callable[[str | None], str | None] = lambda problem: problem,
                say: Callable[[str], object] = lambda text: None, progress: bool = False,
                overwrite: bool = True) -> None:
    """Make a video of each source. What fails is said, and does not end the rest.

    Args:
        new_job: (source, output) -> the job.
        predictor, identity, rank, world, agree, say, progress, overwrite: see `VideoJob.run`.

    Raises:
        UserError: at the end, if some failed; it names them.
    """
    say = say if rank == 0 else lambda text: None
    failed = []
    for number, (source, output) in enumerate(zip(sources, outputs), 1):
        say(f"{number} of {len(sources)}: {source}")
        try:
            try:
                job = new_job(source, output)
            except UserError as error:
                agree(str(error))
                raise
            name = job.fingerprint(identity)
            if _record(output).get(output.name) == [name, *_state(output)]:
                say(f"{output} is finished already")
                continue
            job.run(predictor, identity, rank, world, agree, say, progress, overwrite)
            if rank == 0:
                _note_finished(output, name)
        except UserError as error:
            say(f"{source} failed: {error}")
            failed.append(source)
        except Exception:  # a fault of ours costs this video, but not the night's work
            say(traceback.format_exc())
            failed.append(source)
    agree(None)  # a launcher that saw one process end with an error would end those that still work
    if failed:
        raise UserError(f"{len(failed)} of {len(sources)} videos failed: {', '.join(map(str, failed))}")


def _record(output: Path) -> dict[str, list]:
    """What is finished in the folder of `output`: name -> [fingerprint of the job, *_state]."""
    try:
        record = json.loads((output.parent / _RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _note_finished(output: Path, name: str) -> None:
    record = {**_record(output), output.name: [name, *_state(output)]}
    with contextlib.suppress(UserError), atomic_path(output.parent / _RECORD) as temporary:
        temporary.write_text(json.dumps(record))


def _state(path: Path) -> list[int]:
    """By what a file, or a folder of images, is seen to be unchanged; empty if it is not there."""
    try:
        status = path.stat()
        return [len(list(path.iterdir())) if path.is_dir() else status.st_size, status.st_mtime_ns]
    except OSError:
        return []
