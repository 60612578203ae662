"""Making the segments of one process: decoder, network and encoder, each at its own pace."""
import collections
import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from media.video.background import CallQueue, prefetch
from media.video.decode import VideoSource
from media.video.image_sequence import ImageSequence
from media.video.segment_store import SegmentStore
from media.video.timeline import Interpolation, OutputFrame, Plan

_AT_ONCE = 16  # output frames of one pair handed to the network together
_DECODED, _FINISHED = 4, 8  # frames that may wait between decoder and network, network and encoder


def make_segments(todo: list[int], segments: list[tuple[int, int]], plan: Plan, frames: "Interpolator",
                  store: SegmentStore, suffix: str, new_writer: Callable, step: Callable[[], object]) -> None:
    """Make the segments `todo` and leave them in `store`.

    Args:
        new_writer: (path, number of its first output frame) -> an object with `write(frame, output frame)`
            and `close() -> dict`.
        step: called for each finished frame.
    """
    writer = _SegmentWriter(store, suffix, new_writer, step)
    try:
        with contextlib.closing(frames), CallQueue(_FINISHED) as encoder:
            for number in todo:
                first = plan.first_of[segments[number][0]]
                encoder.put(writer.begin, number, first)
                for index, frame in enumerate(frames.of(number), first):
                    encoder.put(writer.write, frame, index)
                encoder.put(writer.end)
    except BaseException:
        writer.abandon()
        raise


@dataclasses.dataclass
class _SourceFrame:
    image: np.ndarray
    encoded: Any = None  # by the network, as soon as it is needed


class Interpolator:
    """The output frames of segments, in order.

    Each source frame of a segment is encoded by the network once for all its pairs; each distinct output frame is made
    once, however often it is shown.

    Args:
        todo: the segments that will be asked for, in this order.
        stamps: see `VideoSource.read`.
        predictor: see `media.video.job`.
        packing: what is wanted of each output frame in place of a BGR image; see `media.video.packing.Packing.planes`.
        finish: (BGR image of an output frame, the source frame on the screen at its time) -> what is written.
    """

    def __init__(self, source: VideoSource | ImageSequence, plan: Plan, segments: list[tuple[int, int]],
                 todo: list[int], stamps: list[int] | None, predictor: Any, upscale: float,
                 packing: Callable | None = None,
                 finish: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None):
        assert packing is None or finish is None
        self.source, self.plan, self.segments, self.stamps = source, plan, segments, stamps
        self.predictor, self.upscale, self.packing, self.finish = predictor, upscale, packing, finish
        self._decoded = prefetch(self._decode(todo), _DECODED)
        self._window: dict[int, _SourceFrame] = {}  # decoded for the current segment, around the current pair

    def close(self) -> None:
        self._decoded.close()

    def of(self, segment: int) -> Iterator[Any]:
        """A segment's frames. The predictor reads ahead of them, by as many pairs as it works on together."""
        self._window = {}  # nothing of the segment before, which may have been made earlier: its bytes must not matter
        # For each frame that is made: once for each time it is shown, the source frame on the screen then.
        shown: collections.deque[list[np.ndarray]] = collections.deque()

        def pairs() -> Iterator[tuple[Any, Any, list[float]]]:
            for _, same_pair in itertools.groupby(self.plan.frames(self.segments[segment]),
                                                  key=lambda frame: (frame.made_as.first, frame.made_as.second)):
                while frames := list(itertools.islice(same_pair, _AT_ONCE)):
                    needed = self._needed(frames)
                    while not needed <= self._window.keys():
                        self._take(segment)
                    for number in [number for number in self._window if number < min(needed)]:
                        del self._window[number]
                    timesteps = []
                    for timestep, same in itertools.groupby(frames, key=lambda frame: frame.made_as.timestep):
                        timesteps.append(float(timestep))
                        # Without `finish` nobody looks at it, and any will do.
                        shown.append([self._window[frame.on_screen if self.finish else frame.made_as.first].image
                                      for frame in same])
                    yield *self._encoded(frames[0].made_as), timesteps

        for made in self.predictor.frames_between(pairs(), self.packing):
            for original in shown.popleft():
                yield made if self.finish is None else self.finish(made, original)

    def _needed(self, frames: list[OutputFrame]) -> set[int]:
        """The source frames that output frames are made of."""
        pairs = {number for frame in frames for number in (frame.made_as.first, frame.made_as.second)}
        return pairs | {frame.on_screen for frame in frames} if self.finish else pairs

    def _take(self, segment: int) -> None:
        """Fetch the next decoded frame."""
        of, number, image = next(self._decoded)
        assert of == segment, "segments have to be taken to their end, in the order given"
        self._window[number] = _SourceFrame(image)

    def _encoded(self, made_as: Interpolation) -> list:
        """Both source frames of a pair, as the network keeps them."""
        pair = [self._window[number] for number in (made_as.first, made_as.second)]
        for source in pair:
            if source.encoded is None:
                source.encoded = self.predictor.encode(source.image, self.upscale)
        return [source.encoded for source in pair]

    def _decode(self, todo: list[int]) -> Iterator[tuple[int, int, np.ndarray]]:
        # Every segment is decoded from a start of its own: what comes before must not matter to its bytes.
        for segment in todo:
            needed = self._needed(list(self.plan.frames(self.segments[segment])))
            for number, image in self.source.read(min(needed), max(needed), self.stamps):
                if number in needed:
                    yield segment, number, image


class _SegmentWriter:
    """The segment being written; its methods are called in the encoder's thread."""

    def __init__(self, store: SegmentStore, suffix: str, new_writer: Callable, step: Callable[[], object]):
        self.store, self.suffix, self.new_writer, self.step = store, suffix, new_writer, step
        self.stack = contextlib.ExitStack()

    def begin(self, segment: int, first: int) -> None:
        path, self.note = self.stack.enter_context(self.store.finishing(segment, self.suffix))
        self.writer = self.new_writer(path, first)

    def write(self, frame: Any, index: int) -> None:
        self.writer.write(frame, index)
        self.step()

    def end(self) -> None:
        self.note.update(self.writer.close())
        self.stack.close()

    def abandon(self) -> None:
        """Remove what is unfinished."""
        error = RuntimeError("abandoned")
        with contextlib.suppress(RuntimeError):
            self.stack.__exit__(RuntimeError, error, None)
