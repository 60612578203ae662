"""What goes into the result beside the video: sound, subtitles and attachments, copied or converted.

Which containers hold which codecs is found out by trying: the first packets of each stream are written to a file in
memory and looked for in it. Lists of codecs are not enough: libav refuses some only when it writes the header or the
first packet, and puts others into a transport stream where no player finds them.
"""
import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from common.errors import UserError
from media.video.decode import demuxed

# Names of --audio_codec that are not libav's names for encoders.
AUDIO_CODECS = {"opus": "libopus", "mp3": "libmp3lame", "pcm": "pcm_s16le"}
_SOUND = ("aac", "libopus", "libmp3lame", "flac", "pcm_s16le")  # tried in this order
_TEXTS = ("mov_text", "webvtt", "subrip", "ass")
_LOSSY_BIT_RATE = 96_000  # per channel
_SAMPLE = 6  # packets of a stream that are tried
_READ_AS = {".ts": "mpegts"}  # what tiny files are not recognized as
_LOOKED_THROUGH = 3000  # packets of the file that are read to find those

# What the source's container and encoder say of themselves, which is no longer true of the result.
_STALE = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "number_of_frames",
          "number_of_bytes", "bps", "_statistics", "vendor_id", "creation_time_of_file", "alpha_mode")


class Span(NamedTuple):
    """Which part of the source is used, in seconds of its clock."""

    origin: Fraction = Fraction(0)  # becomes 0
    since: Fraction | None = None  # what comes before is left out; None: nothing is
    until: Fraction | None = None

    def cut(self, tick: Fraction, start: int, end: int) -> tuple[int, int]:
        """The part of a time from `start` to `end` ticks that lies in the span; start >= end if there is none."""
        return (start if self.since is None else max(start, round(self.since / tick)),
                end if self.until is None else min(end, round(self.until / tick)))


@dataclasses.dataclass(frozen=True)
class Companion:
    """A stream of the source that goes into the result: copied, or converted by `encoder`; sound to `layout`."""

    index: int
    encoder: str | None = None
    layout: str = ""


@dataclasses.dataclass
class Companions:
    """All of them, and what the user should know of them."""

    path: Path | None  # of the source; None: there is nothing
    streams: list[Companion]
    notes: list[str]


def plan_companions(path: Path | None, output: Path, video_index: int | None, sound: bool = True, slow: bool = False,
                    audio_codec: str | None = None, strict: bool = False) -> Companions:
    """Decide for each stream of `path` whether the container of `output` holds it, takes it converted, or not at all.

    Args:
        path: the source file; None if there is none (image sequences).
        video_index: the number of the stream that is worked on.
        sound: whether audio is wanted.
        slow: time is stretched, so that nothing with a time of its own fits any more.
        audio_codec: what all sound is to be in; "copy": nothing is converted; None: only what does not fit.
        strict: leave nothing out.

    Raises:
        UserError: there is no such audio codec or it does not fit; or something would be left out, if `strict`.
    """
    if audio_codec not in (None, "copy"):
        _check_audio_codec(audio_codec)
    if path is None:
        return Companions(None, [], [])
    chosen: list[Companion] = []
    notes: list[str] = []
    left_out: list[str] = []
    with av.open(str(path), metadata_errors="replace") as source:
        wanted = [stream for stream in source.streams if stream.index != video_index
                  and not (stream.type == "audio" and not sound) and stream.name != "bin_data"]  # MP4's chapter titles
        samples = _first_packets(source, [s for s in wanted if _is_timed(s) and not slow])
        for stream in wanted:
            what = f"{stream.type} stream {stream.index}"
            if slow and _is_timed(stream):
                left_out.append(f"{what}: it does not fit slow motion")
                continue
            companion = _ways(stream, output.suffix.lower(), samples.get(stream.index, []), audio_codec)
            if companion is None:
                left_out.append(f"{what} ({stream.name}): {output.suffix} files hold neither it nor anything it could "
                                "be converted to; .mkv may")
                continue
            chosen.append(companion)
            if companion.encoder is not None and audio_codec is None:
                notes.append(f"{what} is converted to {companion.encoder}: {output.suffix} files do not hold "
                             f"{stream.codec_context.codec.canonical_name}")
    if strict and left_out:
        raise UserError(f"--strict_streams: {path} has what {output} would not: {'; '.join(left_out)}")
    return Companions(path, chosen, notes + [f"left out: {text}" for text in left_out])


def _is_timed(stream) -> bool:
    return stream.type in ("audio", "subtitle") and stream.codec_context is not None


def _check_audio_codec(name: str) -> None:
    try:
        if av.codec.Codec(AUDIO_CODECS.get(name, name), "w").type == "audio":
            return
    except av.codec.codec.UnknownCodecError:
        pass
    raise UserError(f"there is no audio codec {name!r} here: give aac, flac, alac, ac3, {', '.join(AUDIO_CODECS)}, "
                    "the name of another FFmpeg encoder, or copy")


def _ways(stream, suffix: str, sample: list[av.Packet], audio_codec: str | None) -> Companion | None:
    """How the stream goes into the container: the first way that works; None if there is none."""
    copied = Companion(stream.index)
    if not _is_timed(stream):
        return copied if stream.type == "attachment" and suffix == ".mkv" else None
    codec = stream.codec_context.codec
    asked = audio_codec if stream.type == "audio" and audio_codec != "copy" else None
    if asked is None or av.codec.Codec(AUDIO_CODECS.get(asked, asked), "w").canonical_name == codec.canonical_name:
        if _fits(stream, copied, suffix, sample):
            return copied
    if stream.type == "subtitle":
        ways: Iterable[Companion] = [Companion(stream.index, encoder) for encoder in _TEXTS if codec.text_sub]
    elif audio_codec == "copy":
        ways = []
    else:
        encoders = (AUDIO_CODECS.get(asked, asked),) if asked else _sound_encoders(stream, suffix)
        ways = [Companion(stream.index, encoder, layout)
                for encoder, layout in itertools.product(encoders, _layouts(stream.codec_context.layout))]
    for way in ways:
        if _fits(stream, way, suffix, sample):
            return way
    if asked:
        raise UserError(f"{stream.type} stream {stream.index} cannot be converted to {asked} in {suffix} files: give "
                        "another --audio_codec, or another --output")
    return None


def _sound_encoders(stream, suffix: str) -> tuple[str, ...]:
    """Encoders for sound that cannot be copied, in order. What is lossless stays so in .mov, which editors read."""
    context = stream.codec_context
    if suffix == ".mov" and context.codec.lossless:
        deep = context.format is not None and context.format.bits > 16
        return ("pcm_s24le" if deep else "pcm_s16le", *_SOUND)
    return _SOUND


def _layouts(layout: av.AudioLayout) -> list[str]:
    """Channel layouts for converted sound: the source's, or the usual one where it only counts its channels."""
    count = layout.nb_channels
    own = layout.name
    try:
        av.AudioLayout(own)
        named = " channels" not in own
    except ValueError:
        named = False
    usual = av.AudioLayout(f"{count}c").name
    return list(dict.fromkeys([*([own] if named else []), usual, *(["5.1"] if count > 6 else []), "stereo", "mono"]))


def _first_packets(source, streams: list) -> dict[int, list[av.Packet]]:
    """The first packets of each stream, as far as they come early in the file."""
    found: dict[int, list[av.Packet]] = {stream.index: [] for stream in streams}
    if not streams:
        return found
    for packet in itertools.islice(demuxed(source, streams), _LOOKED_THROUGH):
        if packet is None:
            break
        kept = found[packet.stream.index]
        if packet.size and packet.pts is not None and len(kept) < _SAMPLE:
            kept.append(packet)
        if all(len(packets) == _SAMPLE for packets in found.values()):
            break
    return found


def _fits(stream, companion: Companion, suffix: str, sample: list[av.Packet]) -> bool:
    """Whether a file with nothing but this stream can be written, and is read back as what was written."""
    file = io.BytesIO()
    format_ = av.open(f"probe{suffix}", "w").format.name  # no file appears before something is written
    try:
        with av.open(file, "w", format=format_) as container:
            feed = feed_for(container, stream, companion)
            codec = feed.out.codec_context.codec.canonical_name
            container.start_encoding()
            made = [packet for taken in [*map(_copied, sample), None] for packet in feed(taken)]
            if made and not sum(_written(container, packet) for packet in made):
                return False
        if not made:
            return True
        file.seek(0)
        with av.open(file, format=_READ_AS.get(suffix)) as container:
            return any(found.type == stream.type and found.codec_context.codec.canonical_name == codec
                       for found in container.streams if found.codec_context is not None)
    except (av.error.FFmpegError, ValueError):
        return False
    finally:
        if companion.encoder is not None and stream.codec_context.is_open:
            stream.codec_context.flush_buffers()


def _written(container, packet: av.Packet) -> bool:
    """Whether a packet can be written: a damaged one may not."""
    try:
        container.mux(packet)
    except av.error.InvalidDataError:
        return False
    return True


def _copied(packet: av.Packet) -> av.Packet:
    """Writing a packet changes its times."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    copy.is_keyframe, copy.stream = packet.is_keyframe, packet.stream
    return copy


def true_still(metadata: dict) -> dict:
    """The tags of a file or stream that hold for the result, too."""
    # What MP4 files call a stream's name is read as `name`, but written only as `title`.
    return {"title" if name == "name" else name: value for name, value in metadata.items()
            if not name.lower().startswith(_STALE)}


class CompanionWriter:
    """The companions on their way from the source to the result.

    Making it adds their streams to `container`.
    """

    def __init__(self, source, container, streams: list[Companion]):
        self._source = source
        self._feeds = {}
        for companion in streams:
            stream = source.streams[companion.index]
            feed = feed_for(container, stream, companion)
            feed.out.metadata.update(true_still(stream.metadata))
            feed.out.disposition = stream.disposition
            if stream.type != "attachment":
                self._feeds[companion.index] = feed

    def packets(self, span: Span = Span()) -> Iterator[tuple[float, av.Packet]]:  # noqa: B008
        """(seconds, packet) of what lies within a span, up to where the file is cut off."""
        now = 0.0
        streams = [self._source.streams[index] for index in self._feeds]
        for packet in demuxed(self._source, streams) if streams else ():
            if packet is None:
                break
            if packet.size and packet.pts is not None and _begins_in(span, packet):
                shift = round(span.origin / packet.time_base)
                packet.pts -= shift
                packet.dts = packet.dts - shift if packet.dts is not None else packet.pts
                now = float(packet.dts * packet.time_base)
                for made in self._feeds[packet.stream.index](packet):
                    yield now, made
        for feed in self._feeds.values():
            for made in feed(None):
                yield now, made


def _begins_in(span: Span, packet: av.Packet) -> bool:
    """Whether a packet begins in a span. A subtitle that is shown in a part of it is cut to that."""
    end = packet.pts + (packet.duration or 1)
    start, stop = span.cut(packet.time_base, packet.pts, end)
    if packet.stream.type == "subtitle" and packet.duration and start < stop:
        if packet.dts is not None:
            packet.dts += start - packet.pts
        packet.pts, packet.duration = start, stop - start
    return packet.pts == start and start < stop


def feed_for(container, stream, companion: Companion):
    """Add the companion's stream to an output container; what takes its packets and gives those to write.

    Raises:
        ValueError, av.error.FFmpegError: the container or the encoder refuses it.
    """
    if companion.encoder is None:
        return _Copy(container, stream)
    if stream.type == "audio":
        return _Sound(container, stream, companion)
    return _Text(container, stream, companion.encoder)


class _Copy:
    """Packets as they are."""

    def __init__(self, container, stream):
        self.out = container.add_stream_from_template(stream, opaque=True)

    def __call__(self, packet: av.Packet | None) -> list[av.Packet]:
        if packet is None:
            return []
        if self.out.name == "mov_text" and bytes(packet) == b"\0\0":
            return []  # a pause between two texts: MP4 files get their own
        packet.stream = self.out
        return [packet]


class _Sound:
    """Audio decoded and encoded again. Layout, rate and sample format may change on the way, and need no names."""

    def __init__(self, container, stream, companion: Companion):
        self._decoder = stream.codec_context
        encoder = av.codec.Codec(companion.encoder, "w")
        rate = _nearest_rate(self._decoder.sample_rate, encoder.audio_rates)
        self.out = container.add_stream(companion.encoder, rate=rate, layout=companion.layout)
        self._format = self._sample_format(encoder)
        self.out.codec_context.format = self._format
        if not encoder.lossless:
            self.out.bit_rate = _LOSSY_BIT_RATE * self.out.codec_context.layout.nb_channels
        self._setup: tuple | None = None
        self._resampler: av.AudioResampler | None = None

    def __call__(self, packet: av.Packet | None) -> list[av.Packet]:
        try:
            frames = self._decoder.decode(packet)
        except av.error.FFmpegError:
            frames = []  # a damaged packet is a gap of some milliseconds
        resampled = [part for frame in frames for part in self._resample(frame)]
        if packet is None:
            resampled += self._rest()
        made = [packet for frame in resampled for packet in self.out.encode(frame)]
        return made + (self.out.encode(None) if packet is None else [])

    def _resample(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        setup = (frame.format.name, frame.layout.name, frame.sample_rate)
        before = []
        if setup != self._setup:
            before = self._rest()
            context = self.out.codec_context
            self._setup = setup
            self._resampler = av.AudioResampler(self._format, context.layout, context.sample_rate)
        return before + self._resampler.resample(frame)

    def _rest(self) -> list[av.AudioFrame]:
        """What a resampler still holds."""
        return self._resampler.resample(None) if self._resampler is not None else []

    def _sample_format(self, encoder: av.codec.Codec) -> str:
        """The source's sample format if the encoder takes it, planar or packed; else the deepest for deep sources."""
        taken = [format_ for format_ in encoder.audio_formats]
        source = self._decoder.format
        alike = [f.name for f in taken if source is not None and f.packed.name == source.packed.name]
        deep = [f.name for f in taken if source is not None and source.bits > 16 and f.bits > 16]
        return [*alike, *deep, taken[0].name][0]


def _nearest_rate(rate: int, taken: Iterable[int] | None) -> int:
    """The encoder's next higher sample rate, or its highest."""
    taken = list(taken or [])
    if not taken or rate in taken:
        return rate
    return min((r for r in taken if r >= rate), default=max(taken))


class _Text:
    """Subtitles written in another format."""

    def __init__(self, container, stream, encoder: str):
        self._decoder = stream.codec_context
        if not self._decoder.is_open:
            self._decoder.open()
        self.out = container.add_stream(encoder)
        self.out.time_base = self.out.codec_context.time_base = Fraction(1, 1000)
        self.out.codec_context.subtitle_header = self._decoder.subtitle_header

    def __call__(self, packet: av.Packet | None) -> list[av.Packet]:
        shown = self._decoder.decode2(packet) if packet is not None else None
        if shown is None:
            return []
        made = self.out.codec_context.encode_subtitle(shown)
        made.pts = made.dts = packet.pts
        made.duration, made.time_base, made.stream = packet.duration, packet.time_base, self.out
        return [made]
