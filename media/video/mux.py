"""Joining encoded pieces into the final file, with everything else of the source copied beside the picture."""
import contextlib
import dataclasses
import errno
import heapq
import os
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from common.errors import UserError
from media.video.decode import demuxed
from media.video.encode import Encoding, Shape, add_encoder, apply_tags, padded_size
from media.video.timeline import Plan

_SOUND = ("aac", "libopus", "libmp3lame", "flac", "pcm_s16le")
_TRANSPORTED = ("aac", "ac3", "eac3", "mp2", "mp3", "dts", "truehd", "opus", "dvb_subtitle", "dvb_teletext")
_TEXTS = ("mov_text", "webvtt", "subrip", "ass")
# What the source's container and encoder say of themselves, which is no longer true of the result.
_STALE = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "number_of_frames",
          "number_of_bytes", "bps", "_statistics", "vendor_id", "creation_time_of_file", "alpha_mode")
_MOV = ("mp4", "mov", "ipod")  # what libav calls .mp4, .mov, .m4v
_SPECIAL_START = ("mpegts", "mpeg")  # formats whose clock starts anywhere: their times are counted from the start


@dataclasses.dataclass
class Companion:
    """A stream of the source beside the picture: copied, or converted to another codec (`encoder`)."""

    index: int
    encoder: str | None = None


class Span(NamedTuple):
    """Which part of the source is used, in seconds of its clock."""

    origin: Fraction = Fraction(0)  # becomes 0
    since: Fraction | None = None  # what comes before is left out; None: nothing is
    until: Fraction | None = None


@dataclasses.dataclass
class Companions:
    """Everything of the source that goes into the result beside the picture."""

    path: Path | None  # None: nothing
    streams: list[Companion]
    notes: list[str]


def plan_companions(path: Path | None, output: Path, picture: int | None, sound: bool = True,
                    slow: bool = False) -> Companions:
    """Decide for each stream of `path` whether the container of `output` holds it, takes it converted, or not at all.

    Args:
        path: the source file; None if there is none (picture sequences).
        picture: index of the video stream that is worked on.
        sound: whether audio is wanted.
        slow: time is stretched, so that nothing with a time of its own fits any more.
    """
    notes: list[str] = []
    chosen: list[Companion] = []
    if path is None:
        return Companions(None, [], notes)
    suffix = output.suffix.lower()
    with av.open(str(path), metadata_errors="replace") as source:
        probe = av.open(f"probe{suffix}", "w")  # no file appears before something is written
        names = _TRANSPORTED if probe.format.name == "mpegts" else probe.supported_codecs
        for stream in source.streams:
            what = f"{stream.type} stream {stream.index}"
            codec = stream.codec_context.codec if stream.codec_context is not None else None
            if stream.index == picture or stream.type == "audio" and not sound:
                continue
            if slow and stream.type in ("audio", "subtitle"):
                notes.append(f"{what} is dropped: it does not fit slow motion")
            elif stream.type == "attachment" and probe.format.name == "matroska":
                chosen.append(Companion(stream.index))
            elif stream.type not in ("audio", "subtitle") or codec is None:
                if stream.name != "bin_data":  # how MP4 stores chapter titles; chapters are carried over
                    notes.append(f"{what} ({stream.name}) is not carried over")
            elif _holds(probe, stream):
                chosen.append(Companion(stream.index))
            else:
                wishes = _SOUND if stream.type == "audio" else _TEXTS if codec.text_sub else ()
                encoder = next((name for name in wishes if name in names), None)
                if encoder is None:
                    notes.append(f"{what} is dropped: {suffix} holds neither {codec.name} nor anything it could be "
                                 "converted to; .mkv does")
                else:
                    chosen.append(Companion(stream.index, encoder))
                    notes.append(f"{what} is converted to {encoder}: {suffix} does not hold {codec.name}")
    return Companions(path, chosen, notes)


def try_output(output: Path, encoding: Encoding, shape: Shape, companions: Companions) -> None:
    """Begin a file like the final one beside it, so that what cannot work is found before long work.

    Raises:
        UserError: the encoder refuses its settings or the size, or the container refuses a stream.
    """
    path = output.with_name(f".{output.stem}.{os.getpid()}.trial{output.suffix}")
    source = av.open(str(companions.path), metadata_errors="replace") if companions.path else None
    try:
        with av.open(str(path), "w") as container:
            add_encoder(container, encoding, shape)
            if source is not None:
                _companion_packets(source, container, companions.streams, Span())
            with _silent():
                container.start_encoding()
            unused = sorted({"crf", "preset"} & container.streams.video[0].codec_context.options.keys())
            if unused:
                raise UserError(f"{encoding.encoder} knows no --{unused[0]}: leave it out")
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.ENOENT, errno.ENOSPC, errno.EROFS):
            raise UserError(f"cannot write to {output.parent}: {error.strerror}") from error
        width, height = padded_size(shape.width, shape.height, encoding.pix_fmt)
        settings = " ".join([f"{width}x{height}", encoding.pix_fmt, *map("=".join, encoding.options)])
        raise UserError(f"{encoding.encoder} refuses {settings}: change --crf, --preset, --pix_fmt or "
                        "--codec") from error
    finally:
        path.unlink(missing_ok=True)
        if source is not None:
            source.close()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What encoders print on their own, past libav's log, goes nowhere: what fails is told in one line."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def origin_of(path: Path) -> Fraction:
    """Seconds to take off all of a file's times: 0, but where its clock starts anywhere (MPEG streams)."""
    with av.open(str(path), metadata_errors="replace") as source:
        if source.format.name in _SPECIAL_START and source.start_time:
            return Fraction(source.start_time, av.time_base)
    return Fraction(0)


def join(pieces: list[tuple[Path, dict]], plan: Plan, companions: Companions, target: Path, encoding: Encoding,
         shape: Shape, span: Span, matrix: tuple[int, ...] | None = None, picture: int | None = None,
         step: Callable[[], object] = lambda: None) -> int:
    """Write `target` from encoded pieces and the source's other streams; no picture is encoded again.

    Returns how many damaged packets of the other streams were left out.

    Args:
        pieces: files written by `VideoPiece`, and what its `close` returned, in order.
        span: which part of the source's other streams and chapters is taken.
        matrix: display matrix of the result.
        picture: index of the source's video stream, whose title and language are kept.
        step: called for each video packet.
    """
    source = av.open(str(companions.path), metadata_errors="replace") if companions.path else None
    with av.open(str(target), "w") as container, av.open(str(pieces[0][0])) as first:
        container.flags |= av.container.Flags.bitexact.value  # no dates, no random numbers
        video = container.add_stream_from_template(first.streams.video[0], opaque=True, time_base=plan.time_base)
        video.codec_context.framerate = shape.rate
        apply_tags(video.codec_context, encoding, shape)
        if encoding.encoder in ("libx265", "hevc_nvenc") and container.format.name in _MOV:
            video.codec_context.codec_tag = "hvc1"  # the name Apple's players know
        if matrix:
            video.set_display_matrix(matrix)
        by_decoding = container.format.name in _MOV
        feeds = [_picture_packets(pieces, plan, video, bytes(video.codec_context.extradata or b""),
                                  by_decoding, step)]
        if source is not None:
            _copy_descriptions(source, container, video, picture, span, plan.stretch)
            feeds.append(_companion_packets(source, container, companions.streams, span))
        damaged = 0
        for _, packet in heapq.merge(*feeds, key=lambda item: item[0]):
            try:
                container.mux(packet)
            except av.error.InvalidDataError:
                if packet.stream_index == video.index:
                    raise
                damaged += 1
    if source is not None:
        source.close()
    return damaged


def _holds(probe, stream) -> bool:
    # libav writes anything into a transport stream, and reads it back as data.
    if probe.format.name == "mpegts" and stream.codec_context.codec.canonical_name not in _TRANSPORTED:
        return False
    try:
        probe.add_stream_from_template(stream, opaque=True)
    except ValueError:
        return False
    return True


def _copy_descriptions(source, container, video, picture: int | None, span: Span, stretch: Fraction) -> None:
    container.metadata.update(_true_still(source.metadata))
    if picture is not None:
        video.metadata.update(_true_still(source.streams[picture].metadata))
        video.disposition = source.streams[picture].disposition
    chapters = []
    for chapter in source.chapters():
        start, end = _within(span, chapter["time_base"], chapter["start"], chapter["end"])
        if start < end:
            shift = round(span.origin / chapter["time_base"])
            start, end = (round((time - shift) * stretch) for time in (start, end))
            chapters.append({**chapter, "start": start, "end": end})
    if chapters:
        container.set_chapters(chapters)


def _true_still(metadata: dict) -> dict:
    # What MP4 files call a stream's name is read as `name`, but written only as `title`.
    return {"title" if name == "name" else name: value for name, value in metadata.items()
            if not name.lower().startswith(_STALE)}


def _picture_packets(pieces, plan: Plan, video, extradata: bytes, by_decoding: bool,
                     step) -> Iterator[tuple[float, av.Packet]]:
    """The pieces' packets with their real times: shown at their ticks, decoded `delay` frames ahead.

    by_decoding: the container takes the sum of the steps between decoding times for the length of the video.
    """
    ticks = plan.ticks
    delay = max(note["delay"] for _, note in pieces)
    lead = ticks[1] - ticks[0] if len(ticks) > 1 else 1
    base = position = 0
    for path, note in pieces:
        with av.open(str(path)) as piece:
            stream = piece.streams.video[0]
            if bytes(stream.codec_context.extradata or b"") != extradata:
                raise UserError(f"{path} was encoded with other settings: delete {path.parent} and start again")
            for packet in piece.demux(stream):
                if not packet.size:
                    continue
                number = base + packet.pts
                following = ticks[number + 1] if number + 1 < len(ticks) else plan.end
                packet.stream = video
                packet.time_base = plan.time_base
                packet.duration = following - ticks[number]
                packet.pts = ticks[number]
                packet.dts = (ticks[position - delay] if position >= delay
                              else ticks[0] - (delay - position) * lead)
                if by_decoding and position == len(ticks) - 1:
                    packet.duration = max(1, plan.end - packet.dts - delay * lead)
                position += 1
                step()
                yield float(packet.dts * plan.time_base), packet
        base += note["frames"]


def _within(span: Span, tick: Fraction, start: int, end: int) -> tuple[int, int]:
    """The part of a time from `start` to `end` ticks that lies in the span; start >= end if there is none."""
    return (start if span.since is None else max(start, round(span.since / tick)),
            end if span.until is None else min(end, round(span.until / tick)))


def _companion_packets(source, container, streams: list[Companion], span: Span) -> Iterator:
    """Packets of the other streams within a span, copied or converted, up to where the file is cut off."""
    feeds = {}
    for companion in streams:
        stream = source.streams[companion.index]
        if companion.encoder is None:
            out = container.add_stream_from_template(stream, opaque=True)
            feed = _Copy(out)
        else:
            feed = (_Sound if stream.type == "audio" else _Text)(container, stream, companion.encoder)
            out = feed.out
        out.metadata.update(_true_still(stream.metadata))
        out.disposition = stream.disposition
        if stream.type != "attachment":
            feeds[companion.index] = feed
    shifts = {index: round(span.origin / source.streams[index].time_base) for index in feeds}

    def packets() -> Iterator[tuple[float, av.Packet]]:
        now = 0.0
        for packet in demuxed(source, [source.streams[index] for index in feeds]) if feeds else ():
            if packet is None:
                break
            feed = feeds[packet.stream.index]
            if packet.size and packet.pts is not None and _take(packet, span):
                shift = shifts[packet.stream.index]
                packet.pts -= shift
                packet.dts = packet.dts - shift if packet.dts is not None else packet.pts
                now = float(packet.dts * packet.time_base)
                yield from ((now, made) for made in feed(packet))
        for feed in feeds.values():
            yield from ((now, made) for made in feed(None))

    return packets()


def _take(packet: av.Packet, span: Span) -> bool:
    """Whether a packet begins in a span. A subtitle that is shown in a part of it is cut to that."""
    end = packet.pts + (packet.duration or 1)
    start, stop = _within(span, packet.time_base, packet.pts, end)
    if packet.stream.type == "subtitle" and packet.duration and start < stop:
        if packet.dts is not None:
            packet.dts += start - packet.pts
        packet.pts, packet.duration = start, stop - start
    return packet.pts == start and start < stop


class _Copy:
    """Packets as they are."""

    def __init__(self, out):
        self.out = out

    def __call__(self, packet: av.Packet | None) -> list[av.Packet]:
        if packet is None:
            return []
        if self.out.name == "mov_text" and bytes(packet) == b"\0\0":
            return []  # a pause between two texts: MP4 files get their own
        packet.stream = self.out
        return [packet]


class _Sound:
    """Audio decoded and encoded again."""

    def __init__(self, container, stream, encoder: str):
        context = stream.codec_context
        self.context = context
        rate = 48000 if encoder == "libopus" else context.sample_rate
        self.out = container.add_stream(encoder, rate=rate, layout=context.layout.name)
        if encoder in ("aac", "libmp3lame", "libopus"):
            self.out.bit_rate = 96000 * max(1, context.layout.nb_channels)

    def __call__(self, packet: av.Packet | None) -> list[av.Packet]:
        made: list[av.Packet] = []
        try:
            frames = self.context.decode(packet)
        except av.error.FFmpegError:
            frames = []  # a damaged packet is a gap of some milliseconds
        for frame in frames:
            made += self.out.encode(frame)
        return made + (self.out.encode(None) if packet is None else [])


class _Text:
    """Subtitles written in another format."""

    def __init__(self, container, stream, encoder: str):
        self.context = stream.codec_context
        if not self.context.is_open:
            self.context.open()
        self.out = container.add_stream(encoder)
        self.out.time_base = self.out.codec_context.time_base = Fraction(1, 1000)
        self.out.codec_context.subtitle_header = self.context.subtitle_header

    def __call__(self, packet: av.Packet | None) -> list[av.Packet]:
        shown = self.context.decode2(packet) if packet is not None else None
        if shown is None:
            return []
        made = self.out.codec_context.encode_subtitle(shown)
        made.pts = made.dts = packet.pts
        made.duration, made.time_base, made.stream = packet.duration, packet.time_base, self.out
        return [made]
