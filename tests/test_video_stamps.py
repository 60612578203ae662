"""When a source's frames are shown: times out of turn, set back, of odd clocks; the results are decoded back."""
from fractions import Fraction
from types import SimpleNamespace

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
    run,
    times,
    write_levels,
    write_video,
)

from common.errors import UserError
from media.video import probe
from media.video.companion_streams import _Clock
from media.video.decode import Stamp, VideoSource

F = Fraction


@pytest.mark.parametrize("name", ["a.avi", "a.h264"])
def test_frames_stored_out_of_turn_without_usable_times(tmp_path, name, monkeypatch):
    """AVI numbers frames as they are stored, a raw stream not at all; they come as fast as they were filmed."""
    options = {"bf": "3", "g": "12", "crf": "10", "x264-params": "b-adapt=0:scenecut=0"}
    source = write_video(tmp_path / name, [level_picture(40 + 5 * k) for k in range(36)], options=options)
    opened = []
    start = VideoSource._open
    monkeypatch.setattr(VideoSource, "_open", lambda self: opened.append(0) or start(self))
    predictor = BlendPredictor()
    assert "put in order" in run(source, tmp_path / "b.mkv", predictor, segment=12)
    shown = times(tmp_path / "b.mkv")
    assert [time - shown[0] for time in shown] == [F(k, 50) for k in range(72)]
    near(levels(tmp_path / "b.mkv"), [40 + 5 * min(k / 2, 35) for k in range(72)], by=3)
    assert len(predictor.encoded) == 36 + 5  # once in each of the six segments that show it
    assert len(opened) <= 3  # a look, the survey, the work: not once more for each of the six segments


def test_frames_of_the_same_time_delay_nothing_after_them(tmp_path):
    stamps = [0, 40, 80, 80, 120, 160, 160, 160, 200, 240]
    source = write_video(tmp_path / "a.mkv", [level_picture(20 * k) for k in range(10)], stamps, F(1, 1000), "ffv1",
                         "yuv444p", rate=F(25))
    run(source, tmp_path / "b.mkv", segment=6)
    assert [1000 * time for time in times(tmp_path / "b.mkv")][::2] == [0, 40, 80, 100, 120, 160, 173, 186, 200, 240]


def test_recordings_put_behind_one_another(tmp_path):
    """The clock of the second starts anew."""
    whole = write_video(tmp_path / "a.ts", [moving_picture(k % 20, 64, 48) for k in range(30)])
    (tmp_path / "b.ts").write_bytes(2 * whole.read_bytes())
    assert "put in order" in run(tmp_path / "b.ts", tmp_path / "c.mkv", segment=40)
    shown = times(tmp_path / "c.mkv")
    assert [round(50 * float(time - shown[0])) for time in shown] == list(range(120))


def write_flashes(path, start, codec="mp2"):
    """1.2 seconds of which one frame is white while a tone begins, at 0.8 seconds; the clock begins with `start`."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "bf": "0"})
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        sound = container.add_stream(codec, rate=48000, layout="mono")
        for k in range(30):
            frame = av.VideoFrame.from_ndarray(level_picture(235 if k == 20 else 20 + k), "bgr24")
            frame.pts, frame.time_base = k + round(25 * start), F(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        wave = np.where(np.arange(57600) < 38400, 0, 12000 * np.sin(np.arange(57600) / 10)).astype(np.int16)
        for first in range(0, 57600, 1152):
            frame = av.AudioFrame.from_ndarray(wave[None, first:first + 1152], "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, first + round(48000 * start), F(1, 48000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path.read_bytes()


def flashes_of(path):
    """When frames are white, and when tones begin, in seconds."""
    white = [float(time) for time, picture in decode(path) if picture.mean() > 150]
    tones, quiet_since = [], F(-1)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float).reshape(-1) / (1 if "fl" in frame.format.name else 32768)
            for place in np.nonzero(np.abs(samples) > 0.1)[0]:
                time = frame.pts * frame.time_base + F(int(place), frame.sample_rate)
                if time - quiet_since > F(1, 10):
                    tones.append(float(time))
                quiet_since = time
    return white, tones


@pytest.mark.parametrize("back", [F("0.28"), F("0.48"), F(1)])
def test_sound_and_pictures_stay_together_where_a_clock_is_set_back(tmp_path, back):
    parts = [write_flashes(tmp_path / f"{k}.ts", k * (F("1.2") - back)) for k in (0, 1)]
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    assert "put in order" in run(tmp_path / "a.ts", tmp_path / "b.mkv", multi=1)
    white, tones = flashes_of(tmp_path / "b.mkv")
    assert len(times(tmp_path / "b.mkv")) == 60 and len(white) == len(tones) == 2
    assert all(abs(a - b) < 0.04 for a, b in zip(white, tones)) and abs(white[1] - white[0] - 1.2) < 0.002


@pytest.mark.parametrize("step, expected", [
    ([0, 4, 3, 5, 2, 7, 6, 8, 1, 12], [*range(9), 12]),  # as AVI numbers B-frames: 7 seconds back, and on again
    ([0, 1, 2, 3, 1, 2, 3, 4], list(range(8))),  # set back by three
    ([0, 1, 2, 3, 0, 2, 1, 3], list(range(8))),  # set back, and numbered out of turn
    ([0, 1, 9, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6, 9]),  # one is wrong
])
def test_a_clock_that_is_set_back_is_no_reordering(tmp_path, step, expected):
    source = VideoSource(write_levels(tmp_path / "a.mkv", 2))
    source.time_base, source.rate = F(1, 10), F(1)
    assert probe._increasing([Stamp(10 * time, 0) for time in step], source)[0] == [10 * time for time in expected]


def test_a_packet_of_sound_that_is_out_of_turn_moves_no_other():
    clock, shown = _Clock(), []
    for pts in (0, 100, 200, -900, 400, 500):
        packet = SimpleNamespace(pts=pts, dts=pts, duration=100, time_base=F(1, 1000),
                                 stream=SimpleNamespace(type="audio"))
        clock.set(packet)
        shown.append(packet.pts)
    assert shown == [0, 100, 200, 300, 400, 500]


def test_rate_of_the_header_refuses_nothing(tmp_path):
    """WebM of a browser's recorder says 1000 frames per second; here there are 30 on average."""
    stamps = np.cumsum([0, 33, 34, 16, 50, 33, 33, 33, 34, 17, 49, 33]).tolist()
    source = write_video(tmp_path / "a.webm", [level_picture(40 + 15 * k) for k in range(12)], stamps, F(1, 1000),
                         "libvpx", options={"deadline": "realtime"}, rate=F(1000))
    run(source, tmp_path / "b.mp4", fps=F(60))
    assert times(tmp_path / "b.mp4") == [F(k, 60) for k in range(len(times(tmp_path / "b.mp4")))]
    assert abs(end_of(tmp_path / "b.mp4") - end_of(source)) <= F(1, 1000)
    with pytest.raises(UserError, match="--fps 20 is below the source's 3"):
        run(source, tmp_path / "c.mp4", fps=F(20))


@pytest.mark.parametrize("shown, options", [(1, {"multi": 4}), (1, {"fps": F(60000, 1001)}),
                                            (F(1, 3), {"multi": 4}), (F(1, 3), {"multi": 3, "slowmo": True})])
def test_time_stamps_in_nanoseconds(tmp_path, shown, options):
    """A frame in 40 ms exactly, or in ticks that four frames for one cannot divide."""
    stamps = [round(40_000_000 * shown * k) for k in range(6)]
    source = write_levels(tmp_path / "a.mov", times=stamps, time_base=F(1, 10**9), rate=F(25))
    with av.open(str(source)) as container:
        assert container.streams.video[0].time_base == F(1, 10**9)
    run(source, tmp_path / "b.mp4", **options)
    stretch = 3 if "slowmo" in options else 1
    assert abs(end_of(tmp_path / "b.mp4") - stretch * end_of(source)) < F(1, 10**5)
    step = F(1001, 60000) if "fps" in options else stretch * F(shown) / 25 / options["multi"]
    shown_times = times(tmp_path / "b.mp4")
    assert all(abs(time - k * step) < F(1, 10**5) for k, time in enumerate(shown_times[:5 * len(shown_times) // 6]))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_constant_rate_stays_constant(tmp_path, suffix):
    """Matroska rounds to milliseconds: 41, 42, 42 ... for 24000/1001."""
    source = write_levels(tmp_path / "a.mkv", 9, time_base=F(1001, 24000))
    run(source, tmp_path / f"b{suffix}")
    found = times(tmp_path / f"b{suffix}")
    if suffix == ".mp4":
        assert found == [k * F(1001, 48000) for k in range(18)]
    assert [round(1000 * time) for time in found] == [round(1000 * k * F(1001, 48000)) for k in range(18)]
