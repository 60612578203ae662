"""Whole frames from the two fields of interlaced ones, by libav's filter bwdif (Bob Weaver)."""
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.filter import Graph

MODES = ("field", "frame")  # an output frame for each field, or for each frame


def deinterlaced(frames: Iterable[av.VideoFrame], mode: str, time_base: Fraction,
                 flagged_only: bool) -> Iterator[av.VideoFrame]:
    """Deinterlace decoded frames. Their times come out in time_base / 2.

    The field order is the one the frames are marked with, or top first. The first frame lacks the one before it,
    by which motion is seen: start decoding a frame earlier than needed.

    Args:
        mode: one of MODES.
        time_base: of the frames' time stamps.
        flagged_only: pass on frames that are not marked as interlaced as they are.
    """
    graph: Any = None
    sink: Any = None
    shape: tuple | None = None
    for frame in frames:
        if shape != (frame.width, frame.height, frame.format.name):
            if graph is not None:
                yield from _flushed(graph, sink)
            shape = (frame.width, frame.height, frame.format.name)
            graph, sink = _graph(frame, mode, time_base, flagged_only)
        graph.push(frame)
        yield from _ready(sink)
    if graph is not None:
        yield from _flushed(graph, sink)


def _graph(frame: av.VideoFrame, mode: str, time_base: Fraction, flagged_only: bool):
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    bwdif = graph.add("bwdif", f"mode=send_{mode}:deint={'interlaced' if flagged_only else 'all'}")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph, sink


def _ready(sink) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield sink.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _flushed(graph, sink) -> Iterator[av.VideoFrame]:
    graph.push(None)
    yield from _ready(sink)
