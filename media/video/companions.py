"""What goes into the result beside the video: sound, subtitles and attachments, copied or converted.

Which containers hold which codecs is found out by trying: the first packets of each stream are written to a file in
memory and looked for in it. Lists of codecs are not enough: libav refuses some only when it writes the header or the
first packet, and puts others into a transport stream where no player finds them.
"""
import dataclasses
import io
import itertools
from collections.abc import Iterable
from pathlib import Path

import av

from common.errors import UserError
from media.video.companion_streams import Companion, feed_for, is_cover
from media.video.packets import demuxed
from media.video.tags import plan_tags

# Names of --audio_codec that are not libav's names for encoders.
AUDIO_CODECS = {"opus": "libopus", "mp3": "libmp3lame", "pcm": "pcm_s16le"}
_SOUND = ("aac", "libopus", "libmp3lame", "flac", "pcm_s16le")  # tried in this order
_TEXTS = ("mov_text", "webvtt", "subrip", "ass")
_SAMPLE = 6  # packets of a stream that are tried
_READ_AS = {".ts": "mpegts"}  # what tiny files are not recognized as
_LOOKED_THROUGH = 300  # packets of the file that are read to find those


@dataclasses.dataclass
class Companions:
    """All of them.

    Attributes:
        path: the source; None: there is nothing.
        notes: what the user should know.
        container_options: what the result is opened with, for the source's tags to fit.
    """

    path: Path | None = None
    streams: list[Companion] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    container_options: dict[str, str] = dataclasses.field(default_factory=dict)


def plan_companions(path: Path | None, output: Path, video_index: int | None, sound: bool = True, slow: bool = False,
                    audio_codec: str | None = None, strict: bool = False, png: bool = False) -> Companions:
    """Decide for each stream of `path` whether the container of `output` holds it, takes it converted, or not at all.

    Args:
        path: the source file; None if there is none (image sequences).
        video_index: the number of the stream that is worked on.
        sound: whether audio is wanted.
        slow: time is stretched, so that nothing with a time of its own fits any more.
        audio_codec: what all sound is to be in; "copy": nothing is converted; None: only what does not fit.
        strict: leave nothing out.
        png: `output` is a folder of images, which hold nothing else.

    Raises:
        UserError: there is no such audio codec or it does not fit; or something would be left out, if `strict`.
    """
    if audio_codec not in (None, "copy"):
        _check_audio_codec(audio_codec)
    if path is None:
        return Companions()
    chosen: list[Companion] = []
    notes: list[str] = []
    left_out: list[str] = []
    with av.open(str(path), metadata_errors="replace") as source:
        wanted = [stream for stream in source.streams
                  if stream.index != video_index and (sound or stream.type != "audio")
                  and _name(stream) != "bin_data"  # MP4's chapter titles; chapters are carried over
                  and not (stream.type == "data" and _has_timecode(stream))]
        samples = _first_packets(source, [s for s in wanted if _is_timed(s) and not slow and not png])
        for stream in wanted:
            what = f"{'cover image' if is_cover(stream) else stream.type} stream {stream.index}"
            if png:
                left_out.append(f"{what} ({_name(stream)}): images do not hold it")
                continue
            if slow and _is_timed(stream):
                left_out.append(f"{what}: it does not fit slow motion")
                continue
            companion = _ways(stream, output.suffix.lower(), samples.get(stream.index, []), audio_codec)
            if companion is None:
                reason = "" if not _is_timed(stream) else f": {output.suffix} files do not hold it" + (
                    " or anything it could be converted to" if audio_codec != "copy" else "")
                left_out.append(f"{what} ({_name(stream)}){reason}")
                continue
            chosen.append(companion)
            if companion.encoder is not None and audio_codec is None:
                notes.append(f"{what} is converted to {companion.encoder}: {output.suffix} files do not hold "
                             f"{stream.codec_context.codec.canonical_name}")
        if any(map(_has_timecode, (source, *source.streams))):
            left_out.append("the time code, which counts the source's frames")
        if source.chapters() and (png or output.suffix.lower() == ".ts"):
            left_out.append(f"chapters: {'images' if png else '.ts files'} do not hold them")
        container_options, lost_tags = ({}, []) if png else plan_tags(source.metadata, output.suffix.lower())
    if strict and left_out:
        raise UserError(f"--strict_streams: {path} has what {output} would not: {'; '.join(left_out)}")
    if lost_tags:
        left_out.append(f"tags that {output.suffix} files do not hold: {', '.join(lost_tags)}")
    return Companions(path, chosen, notes + [f"left out: {text}" for text in left_out], container_options)


def _name(stream) -> str:
    return getattr(stream, "name", None) or "unknown"  # PyAV's streams of unknown codecs have none


def _has_timecode(described) -> bool:
    """Whether a container or stream says which time code it starts with."""
    return "timecode" in {name.lower() for name in described.metadata}


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
    if is_cover(stream):
        return copied if suffix == ".mkv" or _fits(stream, copied, suffix, sample) else None
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
    usual = [av.AudioLayout(f"{count}c").name] if count else []
    return list(dict.fromkeys([*([own] if named else []), *usual, *(["5.1"] if count > 6 else []), "stereo", "mono"]))


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
                       and is_cover(found) == is_cover(stream)
                       for found in container.streams if found.codec_context is not None)
    except (av.error.FFmpegError, ValueError, TypeError, ArithmeticError):  # PyAV's own checks of odd parameters, too
        return False
    finally:
        if companion.encoder is not None and stream.codec_context.is_open:
            stream.codec_context.flush_buffers()


def _written(container, packet: av.Packet) -> bool:
    """Whether a packet can be written: a damaged one may not."""
    try:
        container.mux(packet)
    except (av.error.InvalidDataError, av.error.ArgumentError):
        return False
    return True


def _copied(packet: av.Packet) -> av.Packet:
    """Writing a packet changes its times."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    copy.is_keyframe, copy.stream = packet.is_keyframe, packet.stream
    return copy
