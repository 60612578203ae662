"""Sources as they come: damaged, cut off, with odd streams and names; the results are decoded back."""
import contextlib
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import (
    decode,
    end_of,
    level_picture,
    levels,
    moving_picture,
    near,
    packets,
    run,
    times,
    write_levels,
    write_video,
)

from common.errors import UserError
from media.image import write_image
from media.video.decode import VideoSource
from media.video.job import VideoJob

F = Fraction


def test_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    for source, word in ((tmp_path / "a.mp4", "a pipe or a device"), (Path("/dev/null"), "null"), (tmp_path, "images")):
        with pytest.raises(UserError, match=word):
            VideoJob(source, tmp_path / "b.mp4")


class Unsought:
    """A container in which every search fails, as it may in MPEG program streams: they have no index."""

    def __init__(self, container):
        self.container = container

    def __getattr__(self, name):
        return getattr(self.container, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.container.close()

    def seek(self, *_, **__):
        raise av.error.PermissionError(1, "read_timestamp() failed in the middle")


def test_place_that_cannot_be_sought_is_found_from_the_beginning(tmp_path, monkeypatch):
    source = write_levels(tmp_path / "a.mpg", 10, codec="mpeg2video", options={"bf": "2"})
    start = VideoSource._open
    monkeypatch.setattr(VideoSource, "_open", lambda self: Unsought(start(self)))
    run(source, tmp_path / "b.mkv", segment=6)
    near(levels(tmp_path / "b.mkv"), [40 + 10 * min(k, 18) for k in range(20)], by=4)


@pytest.mark.parametrize("codec, pix_fmt", [("qtrle", "gray"), ("rawvideo", "rgb8")])
def test_palette_that_comes_with_the_first_packet_alone(tmp_path, codec, pix_fmt):
    source = write_levels(tmp_path / "a.mov", 10, codec=codec, pix_fmt=pix_fmt)
    run(source, tmp_path / "b.mkv", codec="ffv1", pix_fmt="bgr0", multi=1, segment=4)
    run(source, tmp_path / "c.mkv", codec="ffv1", pix_fmt="bgr0", multi=1, start=F("0.2"))
    given = [picture for _, picture in decode(source)]
    for name, first in (("b.mkv", 0), ("c.mkv", 5)):
        made = [picture for _, picture in decode(tmp_path / name)]
        assert len(made) == 10 - first and all((a == b).all() for a, b in zip(made, given[first:]))


def test_names_as_long_as_the_disk_takes_them(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 2)
    run(source, tmp_path / f"{'я' * 122}.mp4")  # 248 bytes of 255; its parts need six more
    for length in (123, 130):
        with pytest.raises(UserError, match="too long: give a shorter one as --output"):
            VideoJob(source, tmp_path / f"{'я' * length}.mp4")


def test_names_that_look_like_protocols(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_levels(tmp_path / "Alien:2.mp4", 3)
    run(Path("Alien:2.mp4"), Path("Aliens:2.mp4"))
    assert len(times(tmp_path / "Aliens:2.mp4")) == 6


def translucent(luma):
    frame = av.VideoFrame(48, 32, "yuva420p")
    for plane, value in zip(frame.planes, (luma, 128, 128, 77)):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame


def test_fewer_than_eight_bits(tmp_path):
    source = write_video(tmp_path / "a.avi", [moving_picture(2 * k) for k in range(3)], codec="rawvideo",
                         pix_fmt="rgb555le")
    run(source, tmp_path / "b.mkv", codec="ffv1", pix_fmt="bgr0", multi=1)
    made, given = ([picture.astype(int) for _, picture in decode(path)] for path in (tmp_path / "b.mkv", source))
    assert len(made) == 3 and all(np.abs(a - b).max() <= 1 for a, b in zip(made, given))


def test_alpha_is_dropped_with_a_word(tmp_path):
    source = write_video(tmp_path / "a.mkv", [translucent(60), translucent(110)], codec="ffv1", pix_fmt="yuva420p")
    assert "alpha" in run(source, tmp_path / "b.mp4")
    assert len(decode(tmp_path / "b.mp4")) == 4


def test_alpha_beside_the_picture_is_dropped_with_a_word(tmp_path):
    """WebM keeps alpha as a second picture that decoders do not show."""
    source = write_video(tmp_path / "a.webm", [translucent(60)], codec="libvpx-vp9", pix_fmt="yuva420p")
    assert "alpha" in run(source, tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert "alpha_mode" not in {name.lower() for name in container.streams.video[0].metadata}


def test_one_frame(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 1)
    run(source, tmp_path / "b.mp4")
    assert len(decode(tmp_path / "b.mp4")) == 2 and end_of(tmp_path / "b.mp4") == end_of(source)


def test_default_video_stream_is_taken(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = []
        for _ in range(2):
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            streams.append(stream)
        streams[0].disposition, streams[1].disposition = 0, av.stream.Disposition.default.value
        for k in range(3):
            for stream, level in zip(streams, (50, 200)):
                frame = av.VideoFrame.from_ndarray(level_picture(level), "bgr24")
                frame.pts = k
                container.mux(stream.encode(frame))
    notes = run(tmp_path / "a.mkv", tmp_path / "b.mp4")
    assert "stream 1" in notes
    near(levels(tmp_path / "b.mp4"), [200] * 6)


@pytest.mark.parametrize("suffix, kept", [(".mkv", 0.6), (".ts", 0.6), (".mp4", 0.6)])
def test_cut_off_file_gives_what_is_there(tmp_path, suffix, kept):
    pictures = [moving_picture(k, 64, 48, grey=True) for k in range(40)]
    whole = write_video(tmp_path / f"a{suffix}", pictures, audio=(1.6, "aac"),
                        options={"crf": "5", "preset": "veryfast", "g": "8"})
    data = whole.read_bytes()
    if suffix == ".mp4":  # its index comes last: move it to the front before cutting
        with av.open(str(whole)) as source, \
                av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "+faststart"}) as target:
            copies = {s.index: target.add_stream_from_template(s, opaque=True) for s in source.streams}
            for packet in source.demux():
                if packet.size:
                    packet.stream = copies[packet.stream.index]
                    target.mux(packet)
        data = (tmp_path / "fast.mp4").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[:int(len(data) * kept)])
    notes = run(cut, tmp_path / "b.mp4")
    count = len(decode(tmp_path / "b.mp4"))
    assert 2 * 15 <= count <= 2 * 35 and count % 2 == 0
    if suffix != ".ts":  # a transport stream does not say how long it is
        assert "cut off" in notes
    originals = dict(decode(whole))  # by time: the last frames that are there need not be neighbours
    with av.open(str(whole)) as container:  # the clock of a transport stream starts anywhere
        start = F(container.start_time, av.time_base) if suffix == ".ts" else 0
    for time, picture in decode(tmp_path / "b.mp4")[::2]:
        assert np.abs(picture - originals[time + start].astype(int)).mean() < 5, time


def decodable(path):
    """How many frames come out if a file is simply decoded from its beginning, past all damage."""
    count = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            with contextlib.suppress(av.error.FFmpegError):
                count += len(packet.decode())
    return count


def test_holes_in_a_file_are_passed_over(tmp_path):
    """Where frames cannot be found from a nearby start, as in the first look, decoding starts further back."""
    whole = write_video(tmp_path / "a.mpg", [moving_picture(2 * (k % 20), 64, 48) for k in range(60)],
                        codec="mpeg2video", options={"g": "12", "bf": "2"})
    data = whole.read_bytes()
    for part in (2, 3, 5):
        start = len(data) * part // 9
        source = tmp_path / f"{part}.mpg"
        source.write_bytes(data[:start] + data[start + 700:])
        run(source, tmp_path / f"{part}.mkv", segment=16)
        shown = times(tmp_path / f"{part}.mkv")
        assert len(shown) == 2 * decodable(source) < 120
        assert shown == sorted(set(shown)) and shown[-1] - shown[0] > F(9, 4)


def test_recording_that_starts_between_key_frames(tmp_path):
    whole = write_video(tmp_path / "a.ts", [moving_picture(2 * (k % 20), 64, 48) for k in range(40)],
                        options={"g": "12", "crf": "10"})
    data = whole.read_bytes()
    (tmp_path / "b.ts").write_bytes(data[len(data) // 188 // 8 * 188:])
    run(tmp_path / "b.ts", tmp_path / "c.mkv")
    assert 40 <= len(times(tmp_path / "c.mkv")) < 80


def test_damaged_sound_is_left_out(tmp_path):
    source = write_levels(tmp_path / "a.ts", 8, audio=(0.6, "aac"))
    with av.open(str(source)) as container:
        heads = [bytes(packet)[:9] for packet in container.demux(audio=0) if packet.size]
    data = source.read_bytes()
    position = data.index(heads[2])
    source.write_bytes(data[:position + 3] + b"\0\0\0" + data[position + 6:])  # the length in the packet's header
    assert "damaged packets of sound" in run(source, tmp_path / "b.mkv")
    assert len(times(tmp_path / "b.mkv")) == 16
    assert 0 < len(packets(tmp_path / "b.mkv", "audio")) < len(heads)


def test_what_is_odd_about_a_sequence_is_said(tmp_path):
    folder = tmp_path / "in"
    for name, level in (("f1.png", 20), ("f2.png", 40), ("f5.png", 60), ("f5.jpg", 60), ("f6.png", 80)):
        write_image(folder / name, level_picture(level))
    (folder / "._f1.png").write_bytes(b"what macOS knows of it")
    os.mkfifo(folder / "f7.png")
    notes = run(folder, tmp_path / "b.mkv", multi=1)
    near(levels(tmp_path / "b.mkv"), [20, 40, 60, 60, 80])
    assert "2 before f5.jpg" in notes and "f5.jpg and f5.png differ only in their suffix" in notes
    (folder / "f5.jpg").unlink()
    (folder / "f5.png").rename(folder / "f4.png")
    (folder / "f1.png").unlink()
    assert "numbers" not in run(folder, tmp_path / "c.mkv", multi=1)  # 2, 4, 6
