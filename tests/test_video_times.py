"""Options that decide which time is shown when, on real little files: parts, animation, fields, slow motion."""
from fractions import Fraction

import av
import numpy as np
import pytest
from video_files import (
    BlendPredictor,
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

F = Fraction


def test_variable_frame_rate_keeps_its_times(tmp_path):
    stamps = [0, 30, 100, 110, 240]
    source = write_levels(tmp_path / "a.mp4", 5, times=stamps, time_base=F(1, 1000), rate=F(25))
    stamps.append(round(end_of(source) * 1000))
    run(source, tmp_path / "b.mp4", segment=3)
    expected = [F(t, 1000) for a, b in zip(stamps, stamps[1:]) for t in (F(a), F(a + b, 2))]
    assert times(tmp_path / "b.mp4") == expected
    assert end_of(tmp_path / "b.mp4") == end_of(source)
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == F(stamps[-1], 1000)
    run(source, tmp_path / "c.mp4", fps=F(50))
    assert times(tmp_path / "c.mp4") == [F(k, 50) for k in range(len(times(tmp_path / "c.mp4")))]
    edges = list(zip(stamps[:5], (40, 60, 80, 100, 120)))
    near(levels(tmp_path / "c.mp4"), [np.interp(20 * k, *zip(*edges)) for k in range(len(times(tmp_path / "c.mp4")))])
    assert abs(end_of(tmp_path / "c.mp4") - end_of(source)) <= F(1, 1000)


def test_24_to_59_94_frames_per_second(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 12, step=15, time_base=F(1, 24))
    run(source, tmp_path / "b.mp4", fps=F(60000, 1001), segment=7)
    assert times(tmp_path / "b.mp4") == [k * F(1001, 60000) for k in range(30)]
    near(levels(tmp_path / "b.mp4"), [40 + 15 * min(24 * k * 1001 / 60000, 11) for k in range(30)], by=3)


def test_slow_motion(tmp_path):
    chapters = [{"id": 1, "start": 40, "end": 120, "time_base": F(1, 1000), "metadata": {"title": "One"}}]
    source = write_levels(tmp_path / "a.mkv", 3, audio=(0.1, "flac"), chapters=chapters)
    notes = run(source, tmp_path / "b.mkv", slowmo=True, multi=4)
    assert "left out: audio stream 1" in notes
    assert times(tmp_path / "b.mkv") == [F(k, 25) for k in range(12)]
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert [c["start"] * c["time_base"] for c in container.chapters()] == [F(16, 100)]
        assert len(container.streams) == 1


def subtitles(path):
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        return [(round(float(packet.pts * packet.time_base), 3), round(float(packet.duration * packet.time_base), 3))
                for packet in container.demux(stream) if packet.size]


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_part_of_a_video_with_its_sound_subtitles_and_chapters(tmp_path, suffix):
    """From the frame shown at 0.43 s (the eleventh, at 0.4) to 0.8 s; the clock of .ts starts somewhere else."""
    chapters = [{"id": k, "start": 300 * k, "end": 300 * (k + 1), "time_base": F(1, 1000),
                 "metadata": {"title": str(k)}} for k in range(4)]
    more = {} if suffix == ".ts" else {
        "subtitles": [(100, 200, "before"), (300, 200, "across"), (700, 400, "over the end"), (900, 100, "after")],
        "chapters": chapters}
    source = write_video(tmp_path / f"a{suffix}", [level_picture(40 + 6 * k) for k in range(30)],
                         audio=(1.2, "aac"), options={"crf": "5", "g": "8", "bf": "2"}, **more)
    sound, video = packets(source, "audio"), packets(source, "video")
    # A player's time starts with what comes first: in .ts that is the sound, since its clock has no time before 0.
    origin = min(time for time, _ in sound + video) if suffix == ".ts" else F(0)
    offset = min(time for time, _ in video) - origin
    first = int((F("0.43") - offset) * 25)
    run(source, tmp_path / "b.mkv", start=F("0.43"), end=F("0.8"), segment=8)
    begin = offset + F(first, 25)
    count = 2 * (1 + int((F("0.8") - begin - F(1, 10**4)) * 25))
    near(levels(tmp_path / "b.mkv"), [40 + 6 * first + 3 * min(k, count - 2) for k in range(count)], by=3)
    length = F(count, 50)  # the last frame is shown for its whole time
    part = packets(tmp_path / "b.mkv", "audio")
    kept = [(time - origin - begin, data) for time, data in sound if 0 <= time - origin - begin < length]
    assert len(part) == len(kept) >= 2
    if suffix == ".mkv":  # a transport stream's packets have headers of their own
        assert [data for _, data in part] == [data for _, data in kept]
    assert all(abs(time - expected) < F(2, 1000) for (time, _), (expected, _) in zip(part, kept))
    assert abs(end_of(tmp_path / "b.mkv") - length) < F(1, 1000)
    if suffix == ".mkv":
        assert times(tmp_path / "b.mkv") == [F(k, 50) for k in range(20)]
    if more:
        assert subtitles(tmp_path / "b.mkv") == [(0, 0.1), (0.3, 0.1)]
        with av.open(str(tmp_path / "b.mkv")) as container:
            found = [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
                     for c in container.chapters()]
        assert found == [(0, F(1, 5), "1"), (F(1, 5), F(2, 5), "2")]


def test_end_alone_and_start_alone(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 10, audio=(0.4, "aac"))
    first = packets(source, "audio")[0]
    assert first[0] < 0  # what the encoder needs to start is before the beginning, and has to stay
    run(source, tmp_path / "b.mp4", end=F("0.2"))
    near(levels(tmp_path / "b.mp4"), [40, 50, 60, 70, 80, 90, 100, 110, 120, 120])
    assert packets(tmp_path / "b.mp4", "audio")[0] == first and end_of(tmp_path / "b.mp4") == F(1, 5)
    run(source, tmp_path / "c.mp4", start=F("0.2"))
    near(levels(tmp_path / "c.mp4"), [140, 150, 160, 170, 180, 190, 200, 210, 220, 220])
    with pytest.raises(UserError, match="from 0 to 0.4 seconds"):
        run(source, tmp_path / "d.mp4", start=F(1))
    assert not (tmp_path / "d.mp4").exists()


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_only_the_part_is_looked_through(tmp_path, name, monkeypatch):
    """With times to find frames by; an .avi has none to trust, and is counted from its beginning."""
    source = write_levels(tmp_path / name, 100, step=2, options={"crf": "2", "g": "10", "bf": "3",
                                                                            "x264-params": "b-adapt=0:scenecut=0"})
    scanned = []
    scan = VideoSource.scan
    monkeypatch.setattr(VideoSource, "scan", lambda *given: (scanned.append(1) or found for found in scan(*given)))
    run(source, tmp_path / "b.mkv", start=F(2), end=F("2.2"), multi=1)
    first = 140 if name == "a.mp4" else 138  # the clock of an .avi with frames out of turn starts with 1
    near(levels(tmp_path / "b.mkv"), [first + 2 * k for k in range(5)])
    assert len(scanned) < 70 if name == "a.mp4" else len(scanned) >= 80
    folder = tmp_path / "in"
    for k in range(10):
        write_image(folder / f"{k}.png", level_picture(40 + 10 * k))
    run(folder, tmp_path / "c.mkv", start=F("0.2"), end=F("0.3"), multi=1)
    near(levels(tmp_path / "c.mkv"), [90, 100, 110])


@pytest.mark.parametrize("held", [2, 3])
def test_animation_becomes_even(tmp_path, held):
    """Drawings held for two or three frames, with a lossy codec's noise; a pause of eight; a thin line that moves."""
    drawings = [moving_picture(2 * k, 96, 64, grey=True) for k in range(6)]
    shown = [drawings[k] for k in range(4) for _ in range(held)] + [drawings[4]] * 8 + [drawings[5]] * held
    source = write_video(tmp_path / "a.mp4", shown, options={"crf": "23", "g": "5", "bf": "2"})
    predictor = BlendPredictor()
    run(source, tmp_path / "b.mp4", predictor, dedup=held - 1)
    assert times(tmp_path / "b.mp4") == [F(k, 50) for k in range(2 * len(shown))]
    assert end_of(tmp_path / "b.mp4") == end_of(source)
    steps = sorted({t for first, second, t in predictor.made if second <= 4})
    assert steps == [k / (2 * held) for k in range(2 * held)]
    assert len(predictor.encoded) < len(shown)


def field_video(path, count=8, top_first=True, flagged=True):
    """Fields 1/50 s apart, each of one grey level: 40, 44, 48 ..."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=64, height=48, format="yuv420p", time_base=F(1, 25))
    flags = graph.add("setfield", ("tff" if top_first else "bff") if flagged else "prog")
    sink = graph.add("buffersink")
    source.link_to(flags)
    flags.link_to(sink)
    graph.configure()
    frames = []
    for k in range(count):
        picture = np.empty((48, 64, 3), np.uint8)
        picture[0::2], picture[1::2] = [40 + 4 * (2 * k + late) for late in ((0, 1) if top_first else (1, 0))]
        frame = av.VideoFrame.from_ndarray(picture, "bgr24").reformat(format="yuv420p")
        frame.pts, frame.time_base = k, F(1, 25)
        graph.push(frame)
        frames.append(sink.pull())
    return write_video(path, frames, options={"crf": "1", **({"flags": "+ildct+ilme"} if flagged else {})})


@pytest.mark.parametrize("top_first, flagged", [(True, True), (False, True), (True, False)])
def test_fields_become_frames(tmp_path, top_first, flagged):
    source = field_video(tmp_path / "a.mp4", top_first=top_first, flagged=flagged)
    assert ("--deinterlace" in run(source, tmp_path / "0.mp4")) == flagged
    notes = run(source, tmp_path / "b.mp4", deinterlace="field", multi=1, segment=5)
    near(levels(tmp_path / "b.mp4"), [40 + 4 * k for k in range(16)], by=2)
    assert times(tmp_path / "b.mp4") == [F(k, 50) for k in range(16)] and end_of(tmp_path / "b.mp4") == end_of(source)
    assert max(image.std() for _, image in decode(tmp_path / "b.mp4")) < 1.5 and "interlaced" not in notes
    run(source, tmp_path / "c.mp4", deinterlace="frame", multi=2, segment=5)
    near(levels(tmp_path / "c.mp4"), [40 + 4 * min(k, 14) for k in range(16)], by=2)
    assert times(tmp_path / "c.mp4") == [F(k, 50) for k in range(16)]
    with av.open(str(tmp_path / "c.mp4")) as container:
        assert not next(container.decode(video=0)).interlaced_frame


@pytest.mark.parametrize("options", [{"deinterlace": "field"}, {"dedup": 1, "start": F("0.1"), "end": F("0.5")}])
def test_interrupted_the_bytes_are_the_same(tmp_path, options):
    source = field_video(tmp_path / "a.mp4", 16, flagged="deinterlace" in options)
    run(source, tmp_path / "whole.mp4", segment=5, **options)
    output = tmp_path / "b.mp4"
    for count in (1, 2):
        finished = lambda: list(output.with_name("b.mp4.parts").glob("*/[0-9]*.json"))  # noqa: E731
        with pytest.raises(KeyboardInterrupt):
            run(source, output, BlendPredictor(7, lambda: len(finished()) >= count), segment=5, **options)  # noqa: B023
    assert "going on" in run(source, output, segment=5, **options)
    assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_images_are_not_deinterlaced(tmp_path):
    with pytest.raises(UserError, match="folder of images"):
        run(tmp_path, tmp_path / "b.mp4", deinterlace="field")


def test_so_many_frames_at_a_rate_drop_the_sound_only_if_time_is_stretched(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 6, audio=(0.2, "aac"))
    notes = run(source, tmp_path / "b.mp4", multi=3, fps=F(60))
    assert times(tmp_path / "b.mp4") == [F(k, 60) for k in range(18)] and "audio stream 1" in notes
    near(levels(tmp_path / "b.mp4"), [40 + 20 * min(k / 3, 5) for k in range(18)])
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.audio
    run(source, tmp_path / "c.mp4", multi=2, fps=F(50))
    assert times(tmp_path / "c.mp4") == [F(k, 50) for k in range(12)]
    assert packets(tmp_path / "c.mp4", "audio") == packets(source, "audio")
