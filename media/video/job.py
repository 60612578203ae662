"""A whole video, start to end: looked through, worked on in segments, joined with its sound.

    job = VideoJob("film.mp4", "film_4x.mp4", Options(fps=Fraction(60)))   # finds mistakes at once
    job.run(predictor, identity={"weights": ...})                          # goes on where it stopped

`predictor` is anything with `encode(frame, upscale)` and `frames_between(pairs, packing)`, as `model.Predictor` has
them. What packs the frames for the encoder is handed to it, so that a GPU does it; it may give BGR images all the same.
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
from common.files import check_outputs
from media.libav_log import unlogged
from media.video.codecs import choose_encoding, default_codec
from media.video.companion_streams import Span
from media.video.companions import plan_companions
from media.video.decode import VideoSource
from media.video.encode import ImageSegmentWriter, Shape, VideoSegmentWriter, packing_for, padded_size
from media.video.image_sequence import ImageSequence
from media.video.mux import join, origin_of, try_output
from media.video.options import Options
from media.video.orientation import is_sideways, turned
from media.video.pipeline import Interpolator, make_segments
from media.video.probe import Survey, survey
from media.video.segment_store import SegmentStore, fingerprint, parts_of
from media.video.timeline import Plan, encoder_clock, make_plan

OUTPUT_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts")  # containers that hold any frame times


class VideoJob:
    """One video to be made. Making the object checks everything that can be checked without long work.

    Args:
        source: a video file, or a folder of images.
        output: the file to write, or with `Options.png` the folder.
        fps_in: frames per second of a folder of images.

    Raises:
        UserError: the source cannot be used, the output cannot be written, or the options do not fit.
    """

    @unlogged()
    def __init__(self, source: str | Path, output: str | Path, options: Options | None = None,
                 fps_in: Fraction = Fraction(25)):
        self.options = options = options or Options()
        self.output = Path(output).absolute()  # libav takes `a:b` for protocol `a`
        self.source: VideoSource | ImageSequence
        if Path(source).is_dir():
            if options.deinterlace:
                raise UserError(f"--deinterlace is for videos, and {source} is a folder of images")
            self.source = ImageSequence(source, fps_in)
        else:
            self.source = VideoSource(source, options.deinterlace)
        # Players count an MPEG stream's time from its start, wherever its clock begins.
        self.origin = origin_of(self.source.path.absolute()) if isinstance(self.source, VideoSource) else Fraction(0)
        frame = self.source.format
        codec = options.codec or default_codec(self.output.suffix, frame.colour.transfer)
        self.encoding = choose_encoding(codec, options.crf, options.preset, options.pix_fmt, frame.depth, frame.hdr)
        width, height = round(frame.width * options.upscale), round(frame.height * options.upscale)
        if options.montage:
            width, height = (width, 2 * height) if is_sideways(frame.matrix) else (2 * width, height)
        # Clock and rate are known after the survey: what the header says of them may be far from the truth.
        self.shape = Shape(width, height, frame.colour, frame.aspect, Fraction(1, 25), Fraction(25))
        self.notes: list[str] = []
        self.span = Span()  # this and the next are known after the survey, too
        self.encoder_times: list[int] = []
        self._check_output()

    @unlogged()
    def run(self, predictor: Any, identity: dict | None = None, rank: int = 0, world: int = 1,
            agree: Callable[[str | None], str | None] = lambda problem: problem,
            say: Callable[[str], object] = lambda text: None, progress: bool = False, overwrite: bool = True) -> None:
        """Make the video, or this rank's share of it; rank 0 then waits for the others and joins everything.

        Args:
            predictor: see the module's description.
            identity: what of the predictor decides the result (weights, precision ...), as JSON can hold it.
            rank, world: this process's number, and how many there are; they share the output's disk.
            agree: called once by every rank, with what keeps it from working or None; returns the first problem of
                any rank when all have called it.
            say: called with each line the user should see.
            progress: show progress bars.
            overwrite: replace an existing output, when the new one is complete, and say so; or refuse.

        Raises:
            UserError: the disk is full, another process failed ... What is finished is kept for the next run.
        """
        try:
            exists = self.check_existing(overwrite)
            store = SegmentStore(self.output, self.fingerprint(identity), rank, world)
        except UserError as error:
            agree(str(error))
            raise
        say = say if rank == 0 else lambda text: None
        try:
            with _disk_errors(self.output):
                if problem := agree(None):
                    raise UserError(problem)
                if exists:
                    say(f"{self.output} exists, and is replaced when the new one is complete")
                for note in self.notes:
                    say(note)
                found = self._survey(store, progress)
                for note in found.notes:
                    say(note)
                plan = self._plan(found, say)
                segments = plan.segments(self.options.segment)
                self._work(store, plan, segments, found, predictor, say, progress)
                if rank == 0:
                    self._finish(store, plan, segments, say, progress)
        except Exception as error:
            store.failed(str(error) or type(error).__name__)
            if isinstance(error, UserError):  # a mistake; the corrected command is another job
                store.forget()
            raise
        finally:
            store.close()

    def fingerprint(self, identity: dict | None = None) -> str:
        """A name for everything that decides the bytes of the result; `identity`: see `run`."""
        return fingerprint({"source": self.source.identity(), "options": dataclasses.asdict(self.options),
                            "fps_in": self.source.rate, "predictor": identity, "av": av.__version__})

    def check_existing(self, overwrite: bool = True) -> bool:
        """Whether a file will be replaced. `run` does this first, too.

        Raises:
            UserError: a file is not to be replaced, or there are images in the folder for images.
        """
        output = self.output
        if self.options.png and output.is_dir() and any(output.iterdir()):
            raise UserError(f"{output} is not empty: give another folder, or empty it first")
        if output.is_file() and not overwrite:
            raise UserError(f"{output} exists already: give another --output, or leave --overwrite no out")
        return output.is_file()

    def _check_output(self) -> None:
        output, options = self.output, self.options
        try:
            os.stat(parts_of(output))
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise UserError(f"the name {output} is too long: give a shorter one as --output") from error
        if options.png:
            if output.exists() and not output.is_dir():
                raise UserError(f"cannot write images to {output}: it is a file; give a folder")
        else:
            if output.suffix.lower() not in OUTPUT_SUFFIXES:
                raise UserError(f"cannot write {output}: give a name ending in {', '.join(OUTPUT_SUFFIXES)}, or --png")
            check_outputs([output], [self.source.path])
            if output.exists() and not output.is_file():
                raise UserError(f"cannot write {output}: it is a pipe or a device")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(output.parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise UserError(f"cannot write to {output.parent}: {error.strerror}") from error
        self._plan_companions(options.slowmo)
        if options.png:
            self.notes += self.companions.notes
            return
        self.notes += [*self.encoding.notes, *self.companions.notes]
        try_output(output, self.encoding, self.shape, self.companions, self.source.format.matrix)
        size, padded = (self.shape.width, self.shape.height), padded_size(self.shape.width, self.shape.height,
                                                                          self.encoding.pix_fmt)
        if size != padded:
            self.notes.append("{}x{} becomes {}x{}: {} needs even sizes, the last row or column is repeated "
                              "(--pix_fmt yuv444p keeps the size)".format(*size, *padded, self.encoding.pix_fmt))

    def _survey(self, store: SegmentStore, progress: bool) -> Survey:
        """The first look, taken once by rank 0 and kept with the job."""
        if store.rank:
            store.wait(lambda: set() if store.load("survey.json") else {0})
        saved = store.load("survey.json")
        if saved is None:
            declared = self.source.declared
            total = round(declared * self.source.rate) if declared else None
            with tqdm(desc="looking through", total=total, unit="frame", disable=not progress, leave=False) as bar:
                found = survey(self.source, self.options.scene_threshold, self.options.dedup > 0,
                               *self._edges(self.source.time_base), bar.update)
            store.save("survey.json", found.to_json())
            return found
        return Survey.from_json(saved)

    def _plan(self, found: Survey, say: Callable[[str], object]) -> Plan:
        """The output frames, tried out on the encoder: now that the times are known, everything is."""
        options, times = self.options, found.times
        tick = times.time_base
        start, end = self._edges(tick)
        if start is not None or end is not None:
            times = times.part(times.times[0] if start is None else start, times.end if end is None else end)
        since = None if start is None else times.times[0] * tick
        until = None if end is None else times.end * tick
        origin = self.origin if since is None else since
        self.span = Span(origin, since, until)
        plan = make_plan(times.counted_from(round(origin / tick)), options.multi, options.fps, options.slowmo,
                         options.dedup)
        clock, rate, self.encoder_times = encoder_clock(plan)
        self.shape = dataclasses.replace(self.shape, clock=clock, rate=rate)
        if not options.png:
            if plan.stretch != 1 and not options.slowmo:
                say(f"--multi with --fps shows {float(plan.stretch):.4g} times as slowly what was filmed")
                self._plan_companions(slow=True)
                for note in self.companions.notes:
                    say(note)
            try_output(self.output, self.encoding, self.shape, self.companions, self.source.format.matrix)
        return plan

    def _edges(self, tick: Fraction) -> tuple[int | None, int | None]:
        """--start and --end in ticks of the source's clock."""
        start, end = ((None if edge is None else round((edge + self.origin) / tick))
                      for edge in (self.options.start, self.options.end))
        return start, end

    def _plan_companions(self, slow: bool) -> None:
        path = index = None
        if isinstance(self.source, VideoSource):
            path, index = self.source.path.absolute(), self.source.index
        self.companions = plan_companions(path, self.output, index, self.options.audio, slow,
                                          self.options.audio_codec, self.options.strict_streams, self.options.png)

    def _work(self, store: SegmentStore, plan: Plan, segments: list[tuple[int, int]], found: Survey, predictor: Any,
              say: Callable[[str], object], progress: bool) -> None:
        """Make this rank's segments that are not there yet."""
        suffix = "" if self.options.png else ".mkv"
        mine = [s for s in range(len(segments)) if s % store.world == store.rank]
        todo = [s for s in mine if store.done(s, suffix) is None]
        counts = {s: plan.first_of[segments[s][1]] - plan.first_of[segments[s][0]] for s in mine}
        if len(todo) < len(mine):
            say(f"going on: {len(mine) - len(todo)} of {len(mine)} segments are finished already")
        rank = f" (process 0 of {store.world})" if store.world > 1 else ""
        finish = self._beside if self.options.montage else None
        packing = None if finish or self.options.png else packing_for(self.encoding, self.shape).planes
        frames = Interpolator(self.source, plan, segments, todo, found.stamps, predictor, self.options.upscale,
                              packing, finish)

        def new_writer(path: Path, first: int) -> VideoSegmentWriter | ImageSegmentWriter:
            if self.options.png:
                return ImageSegmentWriter(path, first + 1, self.source.format.matrix)
            return VideoSegmentWriter(path, self.encoding, self.shape, self.encoder_times.__getitem__)

        with tqdm(desc=f"frames{rank}", total=sum(counts.values()), unit="frame", smoothing=0.05,
                  initial=sum(counts[s] for s in mine if s not in todo),
                  disable=not (progress and store.rank == 0)) as bar:
            make_segments(todo, segments, plan, frames, store, suffix, new_writer, bar.update)

    def _finish(self, store: SegmentStore, plan: Plan, segments: list[tuple[int, int]], say: Callable[[str], object],
                progress: bool) -> None:
        suffix = "" if self.options.png else ".mkv"
        missing = set(range(len(segments)))

        def unfinished() -> set[int]:
            missing.difference_update([s for s in missing if store.done(s, suffix)])
            return {s % store.world for s in missing}

        store.wait(unfinished)
        if self.options.png:
            with store.joining(self.output) as temporary:
                self._gather([store.file(s, suffix) for s in range(len(segments))], temporary)
        else:
            finished = [(store.file(s, suffix), store.done(s, suffix)) for s in range(len(segments))]
            matrix = self.source.format.matrix
            if matrix:  # its last row moves the image, in pixels
                across = matrix[6] * (2 if self.options.montage else 1)
                matrix = (*matrix[:6], *(round(move * self.options.upscale) for move in (across, matrix[7])), matrix[8])
            with store.joining(self.output) as temporary, tqdm(
                    desc="joining", total=len(plan), unit="frame", disable=not progress, leave=False) as bar:
                video = self.source.index if isinstance(self.source, VideoSource) else None
                damaged = join(finished, plan, self.companions, temporary,  # type: ignore[arg-type]  # none is missing
                               self.encoding, self.shape, self.span, matrix, video, bar.update)
            if damaged:
                say(f"{damaged} damaged packets of sound or subtitles were left out")
        others = store.remove()
        say(f"{self.output}: {len(plan)} frames, {float(plan.rate):.6g} per second")
        if others:
            say(f"{store.base} holds the unfinished work of another job with the same output: delete it if it is "
                "not wanted")

    def _beside(self, image: np.ndarray, original: np.ndarray) -> np.ndarray:
        """The original, enlarged as a plain player would, to the left of the result as they are shown."""
        height, width = image.shape[:2]
        original = cv2.resize(original, (width, height), interpolation=cv2.INTER_CUBIC)
        matrix = self.source.format.matrix
        return turned(np.hstack([turned(original, matrix), turned(image, matrix)]), matrix, back=True)

    def _gather(self, folders: list[Path], target: Path) -> None:
        """Put the segments' images into the folder `target`, and make room for it at the output."""
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path in (path for folder in folders for path in sorted(folder.iterdir())):
            try:
                os.link(path, target / path.name)  # segments stay whole until everything is in place
            except OSError:
                shutil.copyfile(path, target / path.name)
        if self.output.is_dir():
            self.output.rmdir()


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
