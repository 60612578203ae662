"""The streams beside the video on their way into the result: packets copied, or decoded and encoded again."""
import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import av

from media.video.packets import SET_BACK, demuxed
from media.video.tags import still_true

_LOSSY_BIT_RATE = 96_000  # per channel
MOV = ("mp4", "mov", "ipod")  # what libav calls .mp4, .mov, .m4v
_GAP = Fraction(1, 50)  # seconds; less is a container's rounding, or heard by nobody
_SILENT = {"pcm_u8": b"\x80", "pcm_alaw": b"\xd5", "pcm_mulaw": b"\xff"}  # others have zeros


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


class CompanionWriter:
    """The companions on their way from the source to the result.

    Making it adds their streams to `container`.
    """

    def __init__(self, source, container, streams: list[Companion]):
        self._source = source
        self._feeds = {}
        self._fillers: dict[int, _Filler] = {}
        self._covers: list[av.Packet] = []
        for companion in streams:
            stream = source.streams[companion.index]
            feed = feed_for(container, stream, companion)
            feed.out.metadata.update(still_true(stream.metadata))
            feed.out.disposition = stream.disposition.value
            if isinstance(feed, CoverFeed):
                self._covers += feed.packets
            elif stream.type != "attachment":
                self._feeds[companion.index] = feed
                if container.format.name in MOV and feed.out.codec_context.name.startswith("pcm_"):
                    self._fillers[companion.index] = _Filler(feed.out)

    def packets(self, span: Span = Span()) -> Iterator[tuple[float, av.Packet]]:  # noqa: B008
        """(seconds, packet) of what lies within a span, up to where the file is cut off."""
        yield from ((float("-inf"), cover) for cover in self._covers)
        now = 0.0
        streams = [self._source.streams[index] for index in self._feeds]
        clocks = {index: _Clock() for index in self._feeds}
        for packet in demuxed(self._source, streams) if streams else ():
            if packet is None:
                break
            if packet.size and packet.pts is not None and _begins_in(span, packet):
                shift = round(span.origin / packet.time_base)
                packet.pts -= shift
                packet.dts = packet.pts if packet.dts is None else packet.dts - shift
                clocks[packet.stream.index].set(packet)
                now = float(packet.dts * packet.time_base)
                yield from self._made(packet.stream.index, packet, now)
        for index in self._feeds:
            yield from self._made(index, None, now)

    def _made(self, index: int, packet: av.Packet | None, now: float) -> Iterator[tuple[float, av.Packet]]:
        for made in self._feeds[index](packet):
            if index in self._fillers:
                for silence in self._fillers[index](made):
                    assert silence.dts is not None
                    yield float(silence.dts * silence.time_base), silence
            yield now, made


class _Filler:
    """Fills the gaps of PCM that goes into MP4 and QuickTime files: they count samples, whatever the packets' times."""

    def __init__(self, out):
        context = out.codec_context
        bits = re.search(r"\d+", context.name)
        width = int(bits[0]) // 8 if bits else 1  # bytes of a sample
        self._out, self._rate = out, context.sample_rate
        self._silent = _SILENT.get(context.name, b"\0") * width * context.layout.nb_channels
        self._end: Fraction | None = None

    def __call__(self, packet: av.Packet) -> Iterator[av.Packet]:
        """The silence before a packet, in packets of a second at most."""
        assert packet.pts is not None
        start = packet.pts * packet.time_base
        if self._end is None:
            self._end = start
        missing = round((start - self._end) * self._rate) if start - self._end > _GAP else 0
        while missing > 0:
            count = min(missing, self._rate)
            silence = av.Packet(self._silent * count)
            silence.pts = silence.dts = round(self._end * self._rate)
            silence.duration, silence.time_base, silence.stream = count, Fraction(1, self._rate), self._out
            yield silence
            missing -= count
            self._end += Fraction(count, self._rate)
        self._end += Fraction(packet.size // len(self._silent), self._rate)


class _Clock:
    """Keeps the times of a stream's packets increasing, as all containers demand.

    Where recordings are put behind one another, time is set back: it goes on after the last packet then, as it does for
    the video (`media.video.probe`). A packet that is only a little out of turn, or the only one, is moved alone.
    """

    def __init__(self) -> None:
        self._shift = 0
        self._last: int | None = None
        self._end = 0
        self._before: tuple[int, int] | None = None  # shift and end before the last packet set it back

    def set(self, packet: av.Packet) -> None:
        assert packet.pts is not None and packet.dts is not None
        is_text = packet.stream.type == "subtitle"
        if self._before is not None and packet.dts + self._before[0] >= self._before[1] and not is_text:
            self._shift = self._before[0]  # only that one packet was out of turn
        self._before = None
        pts, dts = packet.pts + self._shift, packet.dts + self._shift
        if self._last is not None:
            earliest = self._last + (not is_text)  # two of those may begin together
            reached = self._last if is_text else self._end
            if dts < self._last and (reached - dts) * packet.time_base > SET_BACK:
                self._before = self._shift, self._end
                self._shift += self._end - dts
                pts, dts = pts + self._end - dts, self._end
            elif dts < earliest:
                pts, dts = max(pts, earliest), earliest
        packet.pts, packet.dts = pts, dts
        self._last, self._end = dts, dts + max(1, packet.duration or 0)


def _begins_in(span: Span, packet: av.Packet) -> bool:
    """Whether a packet begins in a span. A subtitle that is shown in a part of it is cut to that."""
    assert packet.pts is not None
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
    if is_cover(stream):
        return CoverFeed(container, stream)
    if companion.encoder is None:
        return _Copy(container, stream)
    if stream.type == "audio":
        return _Sound(container, stream, companion)
    return _Text(container, stream, companion.encoder)


def is_cover(stream) -> bool:
    """Whether a stream is a cover image, which libav shows as a video of one frame."""
    return stream.type == "video" and bool(stream.disposition & av.stream.Disposition.attached_pic)


class CoverFeed:
    """A cover image: an attachment in Matroska, elsewhere a stream with a single packet, in `packets`."""

    def __init__(self, container, stream):
        packet = next(packet for packet in stream.container.demux(stream) if packet.size)  # libav gives it at once
        if container.format.name == "matroska":
            suffix, kind = ("png", "png") if stream.codec_context.name == "png" else ("jpg", "jpeg")
            self.out = container.add_attachment(f"cover.{suffix}", f"image/{kind}", bytes(packet))
            self.packets = []
        else:
            self.out = container.add_stream_from_template(stream, opaque=True)
            self.out.disposition = stream.disposition.value
            packet.stream, packet.pts, packet.dts = self.out, 0, 0
            self.packets = [packet]

    def __call__(self, packet: av.Packet | None) -> list[av.Packet]:
        return self.packets if packet is None else []


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
        assert companion.encoder is not None
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
        made: list[av.Packet] = []
        with contextlib.suppress(av.error.FFmpegError, ValueError):  # a damaged packet is a gap of some milliseconds
            for frame in self._decoder.decode(packet):
                made += self._encode(self._resample(frame))
        if packet is None:
            made += self._encode([*self._rest(), None])
        return made

    def _encode(self, frames: Iterable[av.AudioFrame | None]) -> list[av.Packet]:
        made: list[av.Packet] = []
        for frame in frames:
            with contextlib.suppress(av.error.FFmpegError):  # damage may decode to what is no number
                made += self.out.encode(frame)
        return made

    def _resample(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        setup = (frame.format.name, frame.layout.name, frame.sample_rate)
        before = []
        if setup != self._setup:
            before = self._rest()
            context = self.out.codec_context
            self._setup = setup
            self._resampler = av.AudioResampler(self._format, context.layout, context.sample_rate)
        assert self._resampler is not None
        return before + self._resampler.resample(frame)

    def _rest(self) -> list[av.AudioFrame]:
        """What a resampler still holds."""
        return self._resampler.resample(None) if self._resampler is not None else []

    def _sample_format(self, encoder: av.codec.Codec) -> str:
        """The source's sample format if the encoder takes it, planar or packed; else the deepest for deep sources."""
        # LAME ends the process where a sample is no number, as damaged sound may have it.
        taken = [f for f in encoder.audio_formats or () if encoder.name != "libmp3lame" or not f.name.startswith("flt")]
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
        if packet is None:
            return []
        shown = None
        with contextlib.suppress(av.error.FFmpegError):
            shown = self._decoder.decode2(packet)
        if shown is None:
            return []
        made = self.out.codec_context.encode_subtitle(shown)
        made.pts = made.dts = packet.pts
        made.duration, made.time_base, made.stream = packet.duration, packet.time_base, self.out
        return [made]
