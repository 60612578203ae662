"""The packets and frames of open containers, past what cannot be read or decoded."""
import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import av

SET_BACK = Fraction(1, 4)  # seconds that a stream's clock goes back by at least where it is taken to start anew


@dataclasses.dataclass
class Damage:
    """What of a file could not be decoded: the number of places, and the times of packets marked as damaged."""

    places: int = 0
    packets: set[int | None] = dataclasses.field(default_factory=set)


def decoded(container, stream, start: int | None = None, damage: Damage | None = None) -> Iterator[av.VideoFrame]:
    """A stream's frames, with damage skipped and noted in `damage`.

    start: seek to a key frame at or before this time of the stream; nothing comes where that fails, because a key
    frame shown after the wanted one has leading frames that lack their references. Frames with a palette come from the
    beginning on.
    """
    damage = damage or Damage()
    if start is not None and stream.codec_context.pix_fmt != "pal8":  # which may come with the first packet alone
        try:
            container.seek(start, stream=stream)
        except av.error.FFmpegError:
            return  # MPEG program streams have no index, and looking for the place may fail
    for count, packet in enumerate(demuxed(container, [stream])):
        if count == 0 and start is not None and (packet is None or packet.pts is None or packet.pts > start):
            return
        if packet is None:
            damage.places += 1
            return
        if packet.is_corrupt:
            damage.packets.add(packet.pts)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damage.places += 1
            continue
        yield from frames


def demuxed(container, streams: list) -> Iterator[av.Packet | None]:
    """The streams' packets; None at last where the file cannot be read any further."""
    packets = container.demux(streams)
    while True:
        try:
            yield from packets
            return
        except IndexError:  # PyAV does not know streams that appear on the way, as in transport streams: pass over them
            packets = container.demux(streams)
        except av.error.FFmpegError:
            yield None
            return
