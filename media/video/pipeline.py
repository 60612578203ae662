"""Making the segments of one process: decoder, network and encoder, each at its own pace."""
import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from media.video.background import Behind, ahead
from media.video.decode import PictureSource, VideoSource
from media.video.segment_store import Parts
from media.video.timeline import Job, Plan, Shown

_AT_ONCE = 16  # timesteps of one pair handed to the network together: bounds the frames in memory
_DECODED, _FINISHED = 4, 8  # frames that may wait between decoder and network, network and encoder


def make_segments(todo: list[int], segments: list[tuple[int, int]], plan: Plan, frames: "Frames", parts: Parts,
                  suffix: str, new_piece: Callable, step: Callable[[], object]) -> None:
    """Make the segments `todo` and leave them in `parts`.

    Args:
        new_piece: (path, number of its first output frame) -> an object with `write(picture, output frame)`
            and `close() -> dict`.
        step: called for each finished frame.
    """
    pieces = _Pieces(parts, suffix, new_piece, step)
    try:
        with contextlib.closing(frames), Behind(_FINISHED) as encoder:
            for number in todo:
                first = plan.first_of[segments[number][0]]
                encoder.do(pieces.begin, number, first)
                for index, picture in enumerate(frames.of(number), first):
                    encoder.do(pieces.write, picture, index)
                encoder.do(pieces.end)
    except BaseException:
        pieces.abandon()
        raise


class Frames:
    """The output frames of segments, in order.

    Each source frame is encoded by the network once for both its pairs, at the seams between segments too;
    each distinct output frame is made once, however often it is shown.

    Args:
        todo: the segments that will be asked for, in this order.
        stamps: see `VideoSource.read`.
        predictor: see `media.video.job`.
        finish: (output frame, the source frame on the screen at its time) -> what is written.
    """

    def __init__(self, source: VideoSource | PictureSource, plan: Plan, segments: list[tuple[int, int]],
                 todo: list[int], stamps: list[int] | None, predictor: Any, upscale: float,
                 finish: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None):
        self.source, self.plan, self.segments, self.stamps = source, plan, segments, stamps
        self.predictor, self.upscale, self.finish = predictor, upscale, finish
        self._decoded = ahead(self._decode(todo), _DECODED)
        self._pictures: dict[int, np.ndarray] = {}
        self._encoded: dict[int, Any] = {}

    def close(self) -> None:
        self._decoded.close()

    def of(self, segment: int) -> Iterator[np.ndarray]:
        arrived: set[int] = set()
        shown = self.plan.frames(self.segments[segment])
        for _, group in itertools.groupby(shown, key=lambda item: (item.job.first, item.job.second)):
            while batch := list(itertools.islice(group, _AT_ONCE)):
                yield from self._make(batch, segment, arrived)

    def _make(self, batch: list[Shown], segment: int, arrived: set[int]) -> Iterator[np.ndarray]:
        """Output frames that all come from one pair."""
        first, second = batch[0].job.first, batch[0].job.second
        needed = {first, second} | ({item.source for item in batch} if self.finish else set())
        while not needed <= arrived:
            arrived.add(self._take(segment))
        for number in [number for number in self._pictures if number < min(needed)]:
            del self._pictures[number]
            self._encoded.pop(number, None)
        for number in (first, second):
            if number not in self._encoded:
                self._encoded[number] = self.predictor.encode(self._pictures[number], self.upscale)
        jobs: list[Job] = list(dict.fromkeys(item.job for item in batch))
        made = dict(zip(jobs, self.predictor.between(self._encoded[first], self._encoded[second],
                                                     [float(job.timestep) for job in jobs])))
        for item in batch:
            picture = made[item.job]
            yield self.finish(picture, self._pictures[item.source]) if self.finish else picture

    def _take(self, segment: int) -> int:
        """Fetch the next decoded frame. At a seam it is there already, unless damage made it come out otherwise."""
        of, number, picture = next(self._decoded)
        assert of == segment, "segments have to be taken to their end, in the order given"
        if number not in self._pictures or not np.array_equal(self._pictures[number], picture):
            self._pictures[number] = picture
            self._encoded.pop(number, None)
        return number

    def _decode(self, todo: list[int]) -> Iterator[tuple[int, int, np.ndarray]]:
        # Every segment is decoded from a start of its own: what comes before must not matter to its bytes.
        for segment in todo:
            needed: set[int] = set()
            for item in self.plan.frames(self.segments[segment]):
                needed |= {item.job.first, item.job.second} | ({item.source} if self.finish else set())
            for number, picture in self.source.read(min(needed), max(needed), self.stamps):
                if number in needed:
                    yield segment, number, picture


class _Pieces:
    """The segment being written; its methods are called in the encoder's thread."""

    def __init__(self, parts: Parts, suffix: str, new_piece: Callable, step: Callable[[], object]):
        self.parts, self.suffix, self.new_piece, self.step = parts, suffix, new_piece, step
        self.stack = contextlib.ExitStack()

    def begin(self, segment: int, first: int) -> None:
        path, self.note = self.stack.enter_context(self.parts.finishing(segment, self.suffix))
        self.piece = self.new_piece(path, first)

    def write(self, picture: np.ndarray, index: int) -> None:
        self.piece.write(picture, index)
        self.step()

    def end(self) -> None:
        self.note.update(self.piece.close())
        self.stack.close()

    def abandon(self) -> None:
        """Remove what is unfinished."""
        error = RuntimeError("abandoned")
        with contextlib.suppress(RuntimeError):
            self.stack.__exit__(RuntimeError, error, None)
