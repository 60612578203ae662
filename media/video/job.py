"""A whole video, start to end: looked through, worked on in segments, joined with its sound.

    job = VideoJob("film.mp4", "film_4x.mp4", Options(fps=Fraction(60)))   # finds mistakes at once
    job.run(predictor, identity={"weights": ...})                          # goes on where it stopped

`predictor` is anything with `encode(frame, upscale)` and `between(first, second, timesteps)`, as
`model.Predictor` has them.
"""
import contextlib
import dataclasses
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from tqdm import tqdm

from common.errors import UserError
from media.video.decode import PictureSource, VideoSource
from media.video.encode import PicturePiece, Shape, VideoPiece, choose_encoding, is_sideways, padded_size, turned
from media.video.mux import join, plan_companions, try_output
from media.video.pipeline import Frames, make_segments
from media.video.probe import Survey, survey
from media.video.scene_cuts import DEFAULT_THRESHOLD
from media.video.segment_store import Parts, fingerprint
from media.video.timeline import Plan, check_fps, encoder_clock, plan_fps, plan_multi

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts")  # containers that hold any frame times
DEFAULT_MULTI = 2


@dataclasses.dataclass(frozen=True)
class Options:
    """What is to be made of a video; the command line's names and meanings."""

    multi: int | None = None  # None: DEFAULT_MULTI, or as `fps` has it
    fps: Fraction | None = None
    upscale: float = 4
    slowmo: bool = False
    png: bool = False
    montage: bool = False
    codec: str = "h264"
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    audio: bool = True
    scene_threshold: float = DEFAULT_THRESHOLD
    segment: int = 240  # output frames in a segment, at least


class VideoJob:
    """One video to be made. Making the object checks everything that can be checked without long work.

    Args:
        source: a video file, or a folder of pictures.
        output: the file to write, or with `Options.png` the folder.
        fps_in: frames per second of a folder of pictures.

    Raises:
        UserError: the source cannot be used, the output cannot be written, or the options do not fit.
    """

    def __init__(self, source: str | Path, output: str | Path, options: Options = Options(),
                 fps_in: Fraction = Fraction(25)):
        self.options, self.output = options, Path(output).absolute()  # libav takes `a:b` for protocol `a`
        _check_options(options)
        self.source = PictureSource(source, fps_in) if Path(source).is_dir() else VideoSource(source)
        if options.fps is not None:
            check_fps(options.fps, self.source.rate, Fraction(1, 100))  # the header's rate is only roughly right
        look = self.source.look
        self.encoding = choose_encoding(options.codec, options.crf, options.preset, options.pix_fmt, look.depth)
        width, height = round(look.width * options.upscale), round(look.height * options.upscale)
        if options.montage:
            width, height = (width, 2 * height) if is_sideways(look.matrix) else (2 * width, height)
        # Clock and rate are known after the survey.
        self.shape = Shape(width, height, look.colour, look.aspect, 1 / self.source.rate, self.source.rate)
        self.notes: list[str] = []
        self._check_output()

    def run(self, predictor: Any, identity: dict | None = None, rank: int = 0, world: int = 1,
            meet: Callable[[], object] = lambda: None, say: Callable[[str], object] = lambda text: None,
            progress: bool = False) -> None:
        """Make the video, or this rank's share of it; rank 0 then waits for the others and joins everything.

        Args:
            predictor: see the module's description.
            identity: what of the predictor decides the result (weights, precision ...), as JSON can hold it.
            rank, world: this process's number, and how many there are; they share the output's disk.
            meet: returns when all ranks have called it.
            say: called with each line the user should see.
            progress: show progress bars.

        Raises:
            UserError: the disk is full, another process failed ... What is finished is kept for the next run.
        """
        name = fingerprint({"source": self.source.identity(), "options": dataclasses.asdict(self.options),
                            "fps_in": self.source.rate, "predictor": identity, "av": av.__version__})
        parts = Parts(self.output, name, rank, world)
        say = say if rank == 0 else lambda text: None
        try:
            with _disk_errors(self.output):
                meet()
                for note in self.notes:
                    say(note)
                found = self._survey(parts, progress)
                for note in found.notes:
                    say(note)
                plan = self._plan(found)
                segments = plan.segments(self.options.segment)
                self._work(parts, plan, segments, found, predictor, say, progress)
                if rank == 0:
                    self._finish(parts, plan, segments, say, progress)
        except Exception as error:
            parts.failed(str(error) or type(error).__name__)
            raise
        finally:
            parts.close()

    def _check_output(self) -> None:
        output, options = self.output, self.options
        if options.png:
            if output.exists() and not output.is_dir():
                raise UserError(f"cannot write pictures to {output}: it is a file; give a folder")
            if output.is_dir() and any(output.iterdir()):
                raise UserError(f"{output} is not empty: give another folder, or empty it first")
        else:
            if output.suffix.lower() not in SUFFIXES:
                raise UserError(f"cannot write {output}: give a name ending in {', '.join(SUFFIXES)}, or --png")
            if output.is_dir():
                raise UserError(f"cannot write {output}: a folder has that name")
            if output.exists() and output.resolve() == self.source.path.resolve():
                raise UserError(f"{output} is the source itself: give another --output")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(output.parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise UserError(f"cannot write to {output.parent}: {error.strerror}") from error
        if options.png:
            if options.audio and isinstance(self.source, VideoSource):
                self.notes.append("pictures have no sound: audio and subtitles are dropped")
            return
        file = self.source.path if isinstance(self.source, VideoSource) else None
        picture = self.source.index if file else None
        self.companions = plan_companions(file and file.absolute(), output, picture, options.audio, options.slowmo)
        self.notes += self.companions.notes
        try_output(output, self.encoding, self.shape, self.companions)
        size, padded = (self.shape.width, self.shape.height), padded_size(self.shape.width, self.shape.height,
                                                                          self.encoding.pix_fmt)
        if size != padded:
            self.notes.append("{}x{} becomes {}x{}: {} needs even sizes, the last row or column is repeated "
                              "(--pix_fmt yuv444p keeps the size)".format(*size, *padded, self.encoding.pix_fmt))

    def _survey(self, parts: Parts, progress: bool) -> Survey:
        """The first look, taken once by rank 0 and kept with the job."""
        if parts.rank:
            parts.wait(lambda: set() if parts.load("survey.json") else {0})
        saved = parts.load("survey.json")
        if saved is None:
            declared = self.source.declared
            total = round(declared * self.source.rate) if declared else None
            with tqdm(desc="looking through", total=total, unit="frame", disable=not progress, leave=False) as bar:
                found = survey(self.source, self.options.scene_threshold, bar.update)
            parts.save("survey.json", found.to_json())
            return found
        return Survey.from_json(saved)

    def _plan(self, found: Survey) -> Plan:
        options = self.options
        if options.fps is not None:
            return plan_fps(found.times, options.fps, options.slowmo)
        return plan_multi(found.times, options.multi or DEFAULT_MULTI, options.slowmo)

    def _work(self, parts: Parts, plan: Plan, segments: list[tuple[int, int]], found: Survey, predictor: Any,
              say: Callable[[str], object], progress: bool) -> None:
        """Make this rank's segments that are not there yet."""
        clock, step = encoder_clock(plan)
        steady = len(plan) > 1 and (len(plan) - 1) * step == plan.ticks[-1] - plan.ticks[0]
        rate = 1 / clock if steady else plan.rate.limit_denominator(1 << 16)
        self.shape = dataclasses.replace(self.shape, clock=clock, rate=rate)
        suffix = "" if self.options.png else ".mkv"
        mine = [s for s in range(len(segments)) if s % parts.world == parts.rank]
        todo = [s for s in mine if parts.done(s, suffix) is None]
        counts = {s: plan.first_of[segments[s][1]] - plan.first_of[segments[s][0]] for s in mine}
        if len(todo) < len(mine):
            say(f"going on: {len(mine) - len(todo)} of {len(mine)} segments are finished already")
        rank = f" (process 0 of {parts.world})" if parts.world > 1 else ""
        frames = Frames(self.source, plan, segments, todo, found.stamps, predictor, self.options.upscale,
                        self._beside if self.options.montage else None)

        def new_piece(path: Path, first: int) -> VideoPiece | PicturePiece:
            if self.options.png:
                return PicturePiece(path, first + 1, self.source.look.matrix)
            return VideoPiece(path, self.encoding, self.shape,
                              lambda index: (plan.ticks[index] - plan.ticks[0]) // step)

        with tqdm(desc=f"frames{rank}", total=sum(counts.values()), unit="frame", smoothing=0.05,
                  initial=sum(counts[s] for s in mine if s not in todo),
                  disable=not (progress and parts.rank == 0)) as bar:
            make_segments(todo, segments, plan, frames, parts, suffix, new_piece, bar.update)

    def _finish(self, parts: Parts, plan: Plan, segments: list[tuple[int, int]], say: Callable[[str], object],
                progress: bool) -> None:
        suffix = "" if self.options.png else ".mkv"
        missing = set(range(len(segments)))

        def owing() -> set[int]:
            missing.difference_update([s for s in missing if parts.done(s, suffix)])
            return {s % parts.world for s in missing}

        parts.wait(owing)
        if self.options.png:
            with parts.joining(self.output) as temporary:
                self._gather([parts.file(s, suffix) for s in range(len(segments))], temporary)
        else:
            pieces = [(parts.file(s, suffix), parts.done(s, suffix)) for s in range(len(segments))]
            matrix = self.source.look.matrix
            if matrix:  # its last row moves the picture, in pixels
                across = matrix[6] * (2 if self.options.montage else 1)
                matrix = (*matrix[:6], *(round(move * self.options.upscale) for move in (across, matrix[7])), matrix[8])
            stretch = plan.time_base * (plan.end - plan.ticks[0]) / plan.source.duration if self.options.slowmo else 1
            with parts.joining(self.output) as temporary, tqdm(
                    desc="joining", total=len(plan), unit="frame", disable=not progress, leave=False) as bar:
                picture = self.source.index if isinstance(self.source, VideoSource) else None
                damaged = join(pieces, plan, self.companions, temporary, self.encoding, self.shape, matrix, picture,
                               Fraction(stretch), bar.update)
            if damaged:
                say(f"{damaged} damaged packets of sound or subtitles were left out")
        others = parts.remove()
        say(f"{self.output}: {len(plan)} frames, {float(plan.rate):.6g} per second")
        if others:
            say(f"{parts.base} holds the unfinished work of another job with the same output: delete it if it is "
                "not wanted")

    def _beside(self, picture: np.ndarray, original: np.ndarray) -> np.ndarray:
        """The original, enlarged as a plain player would, to the left of the result as they are shown."""
        height, width = picture.shape[:2]
        original = cv2.resize(original, (width, height), interpolation=cv2.INTER_CUBIC)
        matrix = self.source.look.matrix
        return turned(np.hstack([turned(original, matrix), turned(picture, matrix)]), matrix, back=True)

    def _gather(self, folders: list[Path], target: Path) -> None:
        """Put the segments' pictures into the folder `target`, and make room for it at the output."""
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path in (path for folder in folders for path in sorted(folder.iterdir())):
            try:
                os.link(path, target / path.name)  # segments stay whole until everything is in place
            except OSError:
                shutil.copyfile(path, target / path.name)
        if self.output.is_dir():
            self.output.rmdir()


def _check_options(options: Options) -> None:
    if not 1 <= options.upscale <= 8:
        raise UserError(f"--upscale {options.upscale:g} is not between 1 and 8")
    if options.multi is not None and options.multi < 1:
        raise UserError(f"--multi {options.multi} is not at least 1")
    if options.fps is not None and not 0 < options.fps <= 10000:
        raise UserError(f"--fps {float(options.fps):g} is not a frame rate")
    if not 0 <= options.scene_threshold <= 1:
        raise UserError(f"--scene_threshold {options.scene_threshold:g} is not between 0 and 1")
    if options.segment < 1:
        raise UserError(f"--segment {options.segment} is not at least 1")


@contextlib.contextmanager
def _disk_errors(output: Path) -> Iterator[None]:
    """Turn a full disk and the like into one line for the user."""
    try:
        yield
    except (OSError, UserError) as error:
        cause = error.__cause__ if isinstance(error, UserError) else error
        code = cause.errno if isinstance(cause, OSError) else None  # libav's errors take on Python's types
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(f"no room to write {output}: {os.strerror(code)}; make room, and the same command "
                            "goes on where it stopped") from error
        if error is cause and code in (errno.EACCES, errno.EROFS, errno.EIO, errno.ENOENT, errno.ESTALE, errno.EISDIR,
                                       errno.ENOTEMPTY):
            raise UserError(f"cannot go on with {output}: {error}; the same command continues the work") from error
        raise
