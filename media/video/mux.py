"""Joining encoded segments into the final file, with everything else of the source beside the video."""
import contextlib
import errno
import heapq
import os
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av

from common.errors import UserError
from media.video.codecs import Encoding
from media.video.companion_streams import MOV, CompanionWriter, Span
from media.video.companions import Companions
from media.video.encode import Shape, add_encoder, apply_tags, padded_size
from media.video.tags import still_true
from media.video.timeline import Plan

_SPECIAL_START = ("mpegts", "mpeg")  # formats whose clock starts anywhere: their times are counted from the start


def try_output(output: Path, encoding: Encoding, shape: Shape, companions: Companions,
               matrix: tuple[int, ...] | None = None) -> None:
    """Begin a file like the final one beside it, so that what cannot work is found before long work.

    Raises:
        UserError: the encoder refuses its settings or the size, or the container the streams; or there is a display
            `matrix`, which PyAV writes from 18 on.
    """
    if matrix and not hasattr(av.VideoStream, "set_display_matrix"):
        raise UserError(f"the video is turned when it is shown, which PyAV {av.__version__} cannot write down: update "
                        "it to 18 (from Python 3.11 on), or give --png")
    path = output.with_name(f".safa.{os.getpid()}.trial{output.suffix}")  # its own name may be the longest
    try:
        _try_encoder(path, encoding, shape)
        if companions.streams:
            with (av.open(str(companions.path), metadata_errors="replace") as source,
                  av.open(str(path), "w") as container):
                add_encoder(container, encoding, shape)
                CompanionWriter(source, container, companions.streams)
                with _silent():
                    container.start_encoding()
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.ENOENT, errno.ENOSPC, errno.EROFS):
            raise UserError(f"cannot write to {output.parent}: {error.strerror}") from error
        numbers = ", ".join(str(companion.index) for companion in companions.streams)
        raise UserError(f"{output.suffix} files do not hold streams {numbers} of {companions.path} together: write a "
                        ".mkv file, or give --no_audio") from error
    finally:
        path.unlink(missing_ok=True)


def _try_encoder(path: Path, encoding: Encoding, shape: Shape) -> None:
    """Begin a file with the video alone."""
    with av.open(str(path), "w") as container, _silent():
        stream = add_encoder(container, encoding, shape)
        try:
            stream.codec_context.open()
        except av.error.FFmpegError as error:
            if encoding.needs and not _opens_at_all(encoding.encoder):
                raise UserError(f"{encoding.encoder} needs {encoding.needs}, which this machine lacks: give another "
                                "--codec") from error
            width, height = padded_size(shape.width, shape.height, encoding.pix_fmt)
            settings = " ".join([f"{width}x{height}", encoding.pix_fmt, *map("=".join, encoding.options)])
            raise UserError(f"{encoding.encoder} refuses {settings}: change --crf, --preset, --pix_fmt or "
                            "--codec") from error
        unused = stream.codec_context.options.keys() & {name for name, _ in encoding.options}
        if unused:
            name = "preset" if "preset" in unused else "crf"
            raise UserError(f"{encoding.encoder} knows no --{name}: leave it out")
        container.start_encoding()


def _opens_at_all(encoder: str) -> bool:
    """Whether an encoder works with settings that any of its kind takes."""
    context = cast(av.VideoCodecContext, av.CodecContext.create(encoder, "w"))
    context.width, context.height, context.time_base = 640, 480, Fraction(1, 25)
    context.pix_fmt = next(f.name for f in context.codec.video_formats or () if f.name in ("nv12", "yuv420p"))
    try:
        context.open()
    except av.error.FFmpegError:
        return False
    return True


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What encoders print on their own, past libav's log, goes nowhere: what fails is told in one line."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, AttributeError):  # standard error may be closed
            sys.stderr.flush()
            kept = os.dup(2)
            stack.callback(os.close, kept)
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            stack.callback(os.dup2, kept, 2)
        yield


def origin_of(path: Path) -> Fraction:
    """Seconds to take off all of a file's times: 0, but where its clock starts anywhere (MPEG streams)."""
    with av.open(str(path), metadata_errors="replace") as source:
        if source.format.name in _SPECIAL_START and source.start_time:
            return Fraction(source.start_time, av.time_base)
    return Fraction(0)


def join(segments: list[tuple[Path, dict]], plan: Plan, companions: Companions, target: Path, encoding: Encoding,
         shape: Shape, span: Span, matrix: tuple[int, ...] | None = None, video_index: int | None = None,
         step: Callable[[], object] = lambda: None) -> int:
    """Write `target` from encoded segments and the source's other streams; no frame is encoded again.

    Returns how many damaged packets of the other streams were left out.

    Args:
        segments: files written by `VideoSegmentWriter`, and what its `close` returned, in order.
        span: which part of the source's other streams and chapters is taken.
        matrix: display matrix of the result.
        video_index: number of the source's video stream, whose title and language are kept.
        step: called for each video packet.

    Raises:
        UserError: the container refuses the video's times.
    """
    with _refusals_named(target.suffix), contextlib.ExitStack() as stack:
        source = companions.path and stack.enter_context(av.open(str(companions.path), metadata_errors="replace"))
        container = stack.enter_context(av.open(str(target), "w", container_options=companions.container_options))
        # No dates, no random numbers.
        container.flags |= av.container.Flags.bitexact.value  # type: ignore[operator]
        first = stack.enter_context(av.open(str(segments[0][0])))
        video = container.add_stream_from_template(first.streams.video[0], opaque=True, time_base=plan.time_base)
        video.codec_context.framerate = shape.rate
        apply_tags(video.codec_context, encoding, shape)
        is_mov = container.format.name in MOV
        if is_mov and av.codec.Codec(encoding.encoder, "w").canonical_name == "hevc":
            video.codec_context.codec_tag = "hvc1"  # the name Apple's players know
        if matrix:
            video.set_display_matrix(matrix)
        feeds = [_video_packets(segments, plan, video, is_mov)]
        if source:
            container.metadata.update(still_true(source.metadata))
            if video_index is not None:
                video.metadata.update(still_true(source.streams[video_index].metadata))
                video.disposition = source.streams[video_index].disposition.value  # type: ignore[assignment]
            chapters = _chapters(source, span, plan.stretch)
            if chapters:
                container.set_chapters(chapters)
            feeds.append(CompanionWriter(source, container, companions.streams).packets(span))
        damaged = 0
        for _, packet in heapq.merge(*feeds, key=lambda item: item[0]):
            is_video = packet.stream_index == video.index
            try:
                container.mux(packet)
            except (av.error.InvalidDataError, av.error.ArgumentError):
                if is_video:
                    raise
                damaged += 1
            if is_video:
                step()
    return damaged


@contextlib.contextmanager
def _refusals_named(suffix: str) -> Iterator[None]:
    try:
        yield
    except (av.error.InvalidDataError, av.error.ArgumentError) as error:
        raise UserError(f"{suffix} files do not take this video's times or data: write a .mkv file") from error


def _chapters(source, span: Span, stretch: Fraction) -> list:
    chapters = []
    for chapter in source.chapters():
        start, end = span.cut(chapter["time_base"], chapter["start"], chapter["end"])
        if start < end:
            shift = round(span.origin / chapter["time_base"])
            start, end = (round((time - shift) * stretch) for time in (start, end))
            chapters.append({**chapter, "start": start, "end": end})
    return chapters


def _video_packets(segments: list[tuple[Path, dict]], plan: Plan, video, is_mov: bool
                   ) -> Iterator[tuple[float, av.Packet]]:
    """The segments' packets as (seconds, packet) with their real times.

    Frame i is shown at ticks[i]. Packets come in the order of decoding: the p-th one is decoded at ticks[p - delay],
    where `delay` is by how many places a packet comes before its turn at most, so that no frame is shown before it is
    decoded. The first `delay` ones are decoded before the first frame is shown, a usual interval apart.
    """
    ticks = plan.ticks
    extradata = bytes(video.codec_context.extradata or b"")
    delay = max(note["delay"] for _, note in segments)
    interval = ticks[1] - ticks[0] if len(ticks) > 1 else 1
    decoded_at = [ticks[0] - early * interval for early in range(delay, 0, -1)] + ticks
    ends = [*ticks[1:], plan.end]
    base = position = 0
    for path, note in segments:
        with av.open(str(path)) as segment:
            stream = segment.streams.video[0]
            if bytes(stream.codec_context.extradata or b"") != extradata:
                raise UserError(f"{path} was encoded with other settings: delete {path.parent} and start again")
            for packet in segment.demux(stream):
                if not packet.size:
                    continue
                assert packet.pts is not None
                number = base + packet.pts
                packet.stream, packet.time_base = video, plan.time_base
                packet.pts, packet.dts = ticks[number], decoded_at[position]
                packet.duration = ends[number] - ticks[number]
                if is_mov and position == len(ticks) - 1:
                    # These files take (last - first decoding time) + this duration for the length of the video.
                    packet.duration = max(1, (plan.end - ticks[0]) - (packet.dts - decoded_at[0]))
                position += 1
                yield float(packet.dts * plan.time_base), packet
        base += note["frames"]
